use std::sync::Arc;

use mnemic_core::messages::MessageBody;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Call, Endpoint, EndpointConfig, Protocol, ToolChoice, ToolSet, ToolSpec, Transcript};

fn offered() -> Offered {
    let spec = |name: &str| ToolSpec {
        name: name.into(),
        description: String::new(),
        parameters: json!({"type": "object", "properties": {
            "label": {"type": "string"}, "count": {"type": "integer"}}}),
    };
    let endpoint = Endpoint::new(EndpointConfig::new("p", "http://h")).unwrap();
    let transcript = Transcript::new(Protocol::OpenAiChat);
    let mut call = Call::new(Arc::new(endpoint), "m", "".into(), transcript);
    call.tools = Arc::new(ToolSet::new(&[spec("insert"), spec("search")]));
    Offered::by(&call).unwrap()
}

fn read(pieces: &[&str]) -> (String, Vec<(String, String)>, Vec<Delta>) {
    read_until(FinishReason::Stop, pieces)
}

fn read_until(
    finish: FinishReason,
    pieces: &[&str],
) -> (String, Vec<(String, String)>, Vec<Delta>) {
    let mut reader = PlainCalls::new(offered());
    let mut out = VecDeque::new();
    for piece in pieces {
        reader.push(Delta::Text((*piece).to_owned()), &mut out);
    }
    reader.push(Delta::Finish(finish), &mut out);
    let mut assembler = Assembler::new();
    out.iter().for_each(|delta| assembler.push(delta));
    let body = assembler.finish().body;
    let calls = body.tool_calls.iter();
    let calls = calls.map(|call| (call.name.clone(), call.arguments.clone()));
    (body.plain_text(), calls.collect(), out.into())
}

fn calls(text: &str) -> Vec<(String, String)> {
    read(&[text]).1
}

#[test]
fn half_a_call_at_the_end_of_a_cut_answer_is_text() {
    for text in [
        "<tool_call>{\"name\": \"insert\"",
        "<tool_call>{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"",
        "<function=insert><parameter=label>\nhalf of wh",
        "[TOOL_CALLS]insert[ARGS]",
        "[TOOL_CALLS]insert[ARGS]{\"label\": \"a",
        "{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"",
        "```json\n{\"name\": \"insert\", \"arguments\": {}",
    ] {
        for finish in [FinishReason::Length, FinishReason::Unknown] {
            let (said, calls, _) = read_until(finish, &[text]);
            assert_eq!((said.as_str(), calls.len()), (text, 0), "{finish:?}");
        }
    }
    for text in [
        "<tool_call>{\"name\": \"insert\", \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"insert\", \"arguments\": {}}",
        "<function=insert>{\"label\": \"a\"}",
        "[TOOL_CALLS]insert[ARGS]{\"label\": \"a\"}",
        "{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}",
    ] {
        assert_eq!(
            read_until(FinishReason::Unknown, &[text]).1.len(),
            1,
            "{text}"
        );
    }
}

#[test]
fn a_call_is_found_in_every_form_that_models_write() {
    let meant = [("insert".to_owned(), json!({"label": "a"}))];
    for text in [
        "<tool_call>\n{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}\n</tool_call>",
        "<tool_call>{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}",
        "<tool_call>{'name': 'insert', 'arguments': {'label': 'a',}}</tool_call>",
        "<tool_call>{\"name\": \"insert\", \"arguments\": \"{\\\"label\\\": \\\"a\\\"}\"}</tool_call>",
        "<tool_call><function=insert>\n<parameter=label>\na\n</parameter>\n</function></tool_call>",
        "<function=insert>{\"label\": \"a\"}</function>",
        "<function_call>{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}</function_call>",
        "<|tool_call|>[{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}]<|/tool_call|>",
        "[TOOL_CALLS] [{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}]",
        "[TOOL_CALLS]insert[ARGS]{\"label\": \"a\"}",
        "<|python_tag|>{\"name\": \"insert\", \"parameters\": {\"label\": \"a\"}}",
        "<|python_tag|>insert(label=\"a\")",
        "```json\n{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}\n```",
        "```\n{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}\n```",
        "```tool_code\ninsert(label='a')\n```",
        "{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}",
        "{\"type\": \"function\", \"name\": \"insert\", \"parameters\": {\"label\": \"a\"}}",
        "{\"function\": {\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}}",
        "{\"tool_calls\": [{\"function\": {\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}}]}",
        "\n[{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}]",
        "insert(label='a')",
        "insert(\"a\")",
        "[insert(label=\"a\")]",
    ] {
        let (said, found, _) = read(&[text]);
        let parsed = |(name, arguments): &(String, String)| {
            let arguments: serde_json::Value = serde_json::from_str(arguments).unwrap();
            (name.clone(), arguments)
        };
        let found: Vec<_> = found.iter().map(parsed).collect();
        assert_eq!(found, meant, "{text}");
        assert_eq!(said, "", "{text}");
    }
}

#[test]
fn several_calls_and_the_text_around_them_are_told_apart() {
    let one = "<tool_call>{\"name\": \"insert\", \"arguments\": {}}</tool_call>";
    let two = "<tool_call>{\"name\": \"search\", \"arguments\": {\"count\": 2}}</tool_call>";
    let (said, found, _) = read(&[&format!("I note it.\n{one}\n{two}\nDone.")]);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["insert", "search"]);
    assert_eq!(said, "I note it.\n\n\nDone.");
    let names = |text: &str| {
        calls(text)
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    let both = ["insert".to_owned(), "search".to_owned()];
    assert_eq!(names("[insert(label='a'), search(count=2)]"), both);
    let json = |name| format!("{{\"name\": \"{name}\", \"arguments\": {{}}}}");
    assert_eq!(
        names(&format!("{}; {}", json("insert"), json("search"))),
        both
    );
    assert_eq!(names("[TOOL_CALLS]insert{}[TOOL_CALLS]search{}"), both);
}

#[test]
fn text_that_is_no_call_of_an_offered_tool_stays_text() {
    for text in [
        "<tool_call>{\"name\": \"erase\", \"arguments\": {}}</tool_call>",
        "{\"name\": \"Ada\", \"arguments\": {}}",
        "{\"name\": \"insert\"}",
        "{\"answer\": 42}",
        "[1, 2, 3]",
        "[a link](http://h)",
        "```json\n{\"name\": \"Ada\"}\n```",
        "```rust\nfn insert() {}\n```",
        "For example:\n```json\n{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}\n```",
        "```python\ninsert = 3\n```",
        "Use `insert(label)` for that.",
        "insert(label='a') is how to call it.",
        "insert is a tool.",
        "inserted.",
        "a < b and <b>bold</b>, `` ` `` and ```` ``` ````",
        "<tool_call>",
        "<",
        "```",
        " \n ",
        "[TOOL_CALLS] none",
        "<function=erase>{}</function> and <function=insert",
    ] {
        let (said, found, _) = read(&[text]);
        assert_eq!(found, [], "{text}");
        assert_eq!(said, text);
    }
}

#[test]
fn text_passes_at_once_and_only_what_may_be_a_call_is_held_back() {
    let mut reader = PlainCalls::new(offered());
    let mut shown = |text: &str| {
        let mut out = VecDeque::new();
        reader.push(Delta::Text(text.to_owned()), &mut out);
        let texts = out.into_iter().map(|delta| match delta {
            Delta::Text(text) => text,
            other => format!("{other:?}"),
        });
        texts.collect::<String>()
    };
    assert_eq!(shown("Hello"), "Hello");
    assert_eq!(shown(" there <"), " there");
    assert_eq!(shown("b>bold"), " <b>bold");
    assert_eq!(shown("\n<tool"), "");
    assert_eq!(shown("_call>{\"name\": \"ins"), "");
    let call = shown("ert\", \"arguments\": {}}</tool_call>");
    assert!(call.contains("ToolCallStart"), "{call}");
    // A fence of JSON that can be no call is not held back to its end.
    assert_eq!(
        shown("\nSo:\n```json\n{\"answ"),
        "\n\nSo:\n```json\n{\"answ"
    );
}

#[test]
fn a_model_that_calls_natively_is_taken_at_its_word() {
    let mut reader = PlainCalls::new(offered());
    let mut out = VecDeque::new();
    let native = Delta::ToolCallStart {
        index: 0,
        id: "a".into(),
        name: "insert".into(),
    };
    let text = "<tool_call>{\"name\": \"insert\", \"arguments\": {}}</tool_call>";
    reader.push(native.clone(), &mut out);
    reader.push(Delta::Text(text.into()), &mut out);
    reader.push(Delta::Finish(FinishReason::Stop), &mut out);
    assert_eq!(
        out,
        [
            native,
            Delta::Text(text.into()),
            Delta::Finish(FinishReason::Stop)
        ]
    );
}

#[test]
fn a_whole_answer_is_read_like_a_stream_and_keeps_the_rest() {
    let completion = Completion {
        body: MessageBody::text("{\"name\": \"insert\", \"arguments\": {}}"),
        raw_model: Some("m".into()),
        finish: FinishReason::Stop,
        ..Completion::default()
    };
    let found = PlainCalls::new(offered()).in_completion(completion);
    assert_eq!(found.body.tool_calls[0].name, "insert");
    assert_eq!(found.finish, FinishReason::ToolCalls);
    assert_eq!(found.raw_model.as_deref(), Some("m"));
    assert!(found.body.content.is_empty());
}

#[test]
fn a_forced_tool_is_the_only_one_and_no_tools_are_none() {
    let endpoint = Arc::new(Endpoint::new(EndpointConfig::new("p", "http://h")).unwrap());
    let transcript = Transcript::new(Protocol::OpenAiChat);
    let mut call = Call::new(endpoint, "m", "".into(), transcript);
    assert!(Offered::by(&call).is_none());
    call.tools = offered_tools();
    call.tool_choice = ToolChoice::Tool("search".into());
    let text = "{\"name\": \"insert\", \"arguments\": {}}";
    let mut reader = PlainCalls::new(Offered::by(&call).unwrap());
    let mut out = VecDeque::new();
    reader.push(Delta::Text(text.into()), &mut out);
    reader.push(Delta::Finish(FinishReason::Stop), &mut out);
    assert_eq!(out[0], Delta::Text(text.into()));
    call.tool_choice = ToolChoice::None;
    assert!(Offered::by(&call).is_none());
}

#[test]
fn blanks_between_a_call_and_the_first_words_are_not_said_however_the_text_comes() {
    let call = "<function=insert>[TOOL_CALLS]</function>";
    let whole = format!("{call}\n```<tool_call>");
    let (said, _, _) = read(&[&whole]);
    let (in_pieces, _, _) = read(&[call, "\n", "```<tool_call>"]);
    assert_eq!(said, "```<tool_call>");
    assert_eq!(in_pieces, said);
}

fn offered_tools() -> Arc<ToolSet> {
    let spec = |name: &str| ToolSpec {
        name: name.into(),
        description: String::new(),
        parameters: json!({}),
    };
    Arc::new(ToolSet::new(&[spec("insert"), spec("search")]))
}

fn answer() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<tool_call>".to_owned()),
        Just("</tool_call>".to_owned()),
        Just("{\"name\": \"insert\", \"arguments\": {\"label\": \"a\"}}".to_owned()),
        Just("[TOOL_CALLS]".to_owned()),
        Just("```json\n".to_owned()),
        Just("\n```".to_owned()),
        Just("<function=insert>".to_owned()),
        Just("</function>".to_owned()),
        Just("insert(label='a')".to_owned()),
        "[a-z <`\\[{é\n]{0,6}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_calls_and_the_same_text(
        text in answer(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.retain(|cut| text.is_char_boundary(*cut));
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let (said, found, _) = read(&pieces);
        let (whole_said, whole_found, _) = read(&[&text]);
        prop_assert_eq!(found, whole_found);
        prop_assert_eq!(said, whole_said);
    }

    #[test]
    fn an_answer_without_calls_is_said_as_it_is(text in "[a-zA-Z <>`\\[\\]{}:\"é\n]{0,40}") {
        let (said, found, _) = read(&[&text]);
        if found.is_empty() {
            prop_assert_eq!(said, text);
        }
    }
}
