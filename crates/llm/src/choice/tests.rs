use mnemic_core::messages::{MessageBody, Role, ToolCall, ToolReturn, ToolStatus};
use proptest::prelude::*;

use super::*;
use crate::{
    Endpoint, EndpointConfig, MessageView, ToolForm, ToolSpec, Transcript, calls::Delivery,
    client::render,
};

pub(super) fn call(protocol: Protocol) -> Call {
    let config = EndpointConfig {
        protocol,
        tools: ToolForm::Schema,
        ..EndpointConfig::new("p", "http://h")
    };
    let endpoint = Arc::new(Endpoint::new(config).unwrap());
    let transcript = Transcript::for_endpoint(&endpoint);
    let mut call = Call::new(endpoint, "m", "You are Ada.".into(), transcript);
    let spec = |name: &str| ToolSpec {
        name: name.into(),
        description: format!("does {name}"),
        parameters: json!({"type": "object"}),
    };
    call.tools = Arc::new(ToolSet::new(&[spec("insert"), spec("search")]));
    call
}

pub(super) fn push(call: &mut Call, role: Role, body: MessageBody) {
    call.transcript.push(&MessageView {
        role,
        body: &body,
        name: None,
    });
}

pub(super) fn sent(call: &Call) -> Value {
    serde_json::from_slice(&render(call, Delivery::Whole).to_vec()).unwrap()
}

fn read(pieces: &[&str], finish: FinishReason) -> Vec<Delta> {
    let offered = Offered::by(&call(Protocol::OpenAiChat)).unwrap();
    let mut reader = ChoiceReader::new(offered);
    let mut out = VecDeque::new();
    for piece in pieces {
        reader.push(Delta::Text((*piece).to_owned()), &mut out);
    }
    reader.push(Delta::Finish(finish), &mut out);
    out.into()
}

fn words(deltas: &[Delta]) -> String {
    let texts = deltas.iter().filter_map(|delta| match delta {
        Delta::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

fn called(deltas: &[Delta]) -> Option<(String, String)> {
    let name = deltas.iter().find_map(|delta| match delta {
        Delta::ToolCallStart { name, .. } => Some(name.clone()),
        _ => None,
    })?;
    let arguments = deltas.iter().find_map(|delta| match delta {
        Delta::ToolCallArguments { fragment, .. } => Some(fragment.clone()),
        _ => None,
    })?;
    Some((name, arguments))
}

#[test]
fn the_tools_are_offered_as_the_form_of_the_answer() {
    for protocol in [Protocol::OpenAiChat, Protocol::Ollama] {
        let mut call = call(protocol);
        push(&mut call, Role::User, MessageBody::text("hello"));
        let request = sent(&call);
        assert_eq!(request.get("tools"), None);
        let schema = match protocol {
            Protocol::Ollama => &request["format"],
            _ => &request["response_format"]["json_schema"]["schema"],
        };
        let choices = schema["anyOf"].as_array().unwrap();
        assert_eq!(choices.len(), 3);
        assert_eq!(choices[1]["properties"]["name"]["enum"], json!(["search"]));
        assert!(choices[2]["properties"]["answer"].is_object());
        let prompt = request["messages"][0]["content"].as_str().unwrap();
        assert!(
            prompt.starts_with("You are Ada.") && prompt.contains("does search"),
            "{prompt}"
        );
        call.tool_choice = ToolChoice::Tool("search".into());
        let request = sent(&call);
        assert!(!request.to_string().contains("\"answer\""), "{request}");
    }
}

#[test]
fn the_history_is_told_in_the_same_form_with_alternating_roles() {
    for protocol in [Protocol::OpenAiChat, Protocol::Ollama] {
        let mut call = call(protocol);
        push(&mut call, Role::User, MessageBody::text("note it"));
        let tool_call = ToolCall {
            id: "call_1".into(),
            name: "insert".into(),
            arguments: "{\"label\":\"a\"}".into(),
        };
        let mut calling = MessageBody::text("Well.");
        calling.tool_calls = vec![tool_call];
        push(&mut call, Role::Assistant, calling);
        let result = ToolReturn {
            tool_call_id: "call_1".into(),
            name: "insert".into(),
            status: ToolStatus::Success,
            text: "done".into(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            images: Vec::new(),
        };
        let returned = MessageBody {
            tool_returns: vec![result],
            ..MessageBody::default()
        };
        push(&mut call, Role::Tool, returned);
        let request = sent(&call);
        let last = request["messages"].as_array().unwrap().last().unwrap();
        let text = last["content"].as_str().unwrap();
        assert!(
            text.starts_with("Result of insert: done\n\nNow answer"),
            "{text}"
        );
        push(&mut call, Role::User, MessageBody::text("and?"));
        let request = sent(&call);
        let messages = request["messages"].as_array().unwrap();
        let told: Vec<_> = messages[1..]
            .iter()
            .map(|message| {
                (
                    message["role"].as_str().unwrap(),
                    message["content"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("user", "note it"),
                (
                    "assistant",
                    "{\"answer\":\"Well.\"}\n{\"name\":\"insert\",\"arguments\":{\"label\":\"a\"}}"
                ),
                ("user", "Result of insert: done\n\nand?"),
            ],
            "{protocol:?}"
        );
        assert!(!request.to_string().contains("tool_call"), "{request}");
    }
}

#[test]
fn words_are_passed_on_as_they_come() {
    let deltas = read(
        &[
            "{\"ans",
            "wer\": \"Hel",
            "lo \\",
            "n\\u00e9\\ud83d",
            "\\ude00",
            "\"",
            "}",
        ],
        FinishReason::Stop,
    );
    assert_eq!(words(&deltas), "Hello \né😀");
    assert_eq!(deltas[0], Delta::Text("Hel".into()));
    assert_eq!(deltas.last(), Some(&Delta::Finish(FinishReason::Stop)));
    assert_eq!(
        words(&read(&["{\"answer\": \"cut o"], FinishReason::Length)),
        "cut o"
    );
}

#[test]
fn a_call_is_a_call() {
    for text in [
        "{\"name\": \"insert\", \"arguments\": {\"label\":\"a\"}}",
        "```json\n{\"name\": \"insert\", \"arguments\": {\"label\":\"a\"}}\n```",
        "{'name': 'insert', 'arguments': {'label': 'a'}}",
    ] {
        let deltas = read(&[text], FinishReason::Stop);
        let meant = ("insert".to_owned(), "{\"label\":\"a\"}".to_owned());
        assert_eq!(called(&deltas), Some(meant), "{text}");
        assert_eq!(words(&deltas), "");
        assert_eq!(deltas.last(), Some(&Delta::Finish(FinishReason::ToolCalls)));
    }
    let cut = read(
        &["{\"name\": \"insert\", \"arguments\": {\"label\":\"a"],
        FinishReason::Length,
    );
    let meant = ("insert".to_owned(), "{\"label\":\"a".to_owned());
    assert_eq!(called(&cut), Some(meant), "what is cut stays visibly so");
    let begun = read(&["{\"name\": \"insert\""], FinishReason::Length);
    let meant = ("insert".to_owned(), "{".to_owned());
    assert_eq!(
        called(&begun),
        Some(meant),
        "and is not made without arguments"
    );
}

#[test]
fn what_keeps_to_no_form_is_said() {
    for text in [
        "Just words.",
        "{\"name\": \"erase\", \"arguments\": {}}",
        "{\"odd\": 1}",
    ] {
        let deltas = read(&[text], FinishReason::Stop);
        assert_eq!((words(&deltas).as_str(), called(&deltas)), (text, None));
    }
    let text = "{\"thought\": \"hm\", \"answer\": \"Yes.\"}";
    assert_eq!(words(&read(&[text], FinishReason::Stop)), "Yes.");
}

#[test]
fn images_that_nobody_sees_become_notes() {
    use mnemic_core::messages::ContentPart;
    for protocol in [Protocol::OpenAiChat, Protocol::Ollama] {
        let mut call = call(protocol);
        call.tools = Arc::default();
        let image = ContentPart::Image {
            media_type: "image/png".into(),
            data: "AAAA".into(),
        };
        let body = MessageBody {
            content: vec![ContentPart::text("look"), image],
            ..MessageBody::default()
        };
        push(&mut call, Role::User, body);
        assert!(sent(&call).to_string().contains("AAAA"));
        assert!(call.endpoint.learn("m", "image input is not supported"));
        let request = sent(&call).to_string();
        assert!(
            !request.contains("AAAA") && request.contains("cannot see"),
            "{request}"
        );
    }
}

proptest! {
    #[test]
    fn any_words_come_through_however_they_are_cut(
        text in "[a-z\"\\\\\n{}é😀]{0,24}",
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let answer = json!({"answer": text}).to_string();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(answer.len() + 1)).collect();
        cuts.extend([0, answer.len()]);
        cuts.retain(|cut| answer.is_char_boundary(*cut));
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &answer[pair[0]..pair[1]]).collect();
        prop_assert_eq!(words(&read(&pieces, FinishReason::Stop)), text);
    }
}
