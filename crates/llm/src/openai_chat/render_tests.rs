//! What goes over the wire.

use std::sync::Arc;

use mnemic_core::messages::{
    ContentPart, Image, MessageBody, Role, ToolCall, ToolReturn, ToolStatus,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::request;
use crate::{
    Call, Endpoint, EndpointConfig, MessageView, Protocol, Quirks, ToolChoice, ToolSet, ToolSpec,
    Transcript, body::SHARED_FROM, calls::Delivery,
};

fn endpoint(url: &str, quirks: Quirks) -> Arc<Endpoint> {
    let config = EndpointConfig {
        quirks,
        ..EndpointConfig::new("local", url)
    };
    Arc::new(Endpoint::new(config).unwrap())
}

fn call_with(transcript: Transcript) -> Call {
    let endpoint = endpoint("http://h/v1", Quirks::default());
    Call::new(endpoint, "model-1", "You are \"X\".".into(), transcript)
}

fn sent(call: &Call, delivery: Delivery) -> Value {
    serde_json::from_slice(&request::render(call, delivery).to_vec()).unwrap()
}

fn push(transcript: &mut Transcript, role: Role, body: &MessageBody) {
    transcript.push(&MessageView {
        role,
        body,
        name: None,
    });
}

fn called(id: &str, name: &str, arguments: &str) -> MessageBody {
    let call = ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    };
    MessageBody {
        tool_calls: vec![call],
        ..MessageBody::default()
    }
}

fn returned(id: &str, text: &str) -> MessageBody {
    let result = ToolReturn {
        tool_call_id: id.into(),
        name: "f".into(),
        status: ToolStatus::Success,
        text: text.into(),
        stdout: vec![],
        stderr: vec![],
        images: Vec::new(),
    };
    MessageBody {
        tool_returns: vec![result],
        ..MessageBody::default()
    }
}

/// The messages after the system prompt.
fn messages(build: impl FnOnce(&mut Transcript)) -> Value {
    let mut transcript = Transcript::new(Protocol::OpenAiChat);
    build(&mut transcript);
    let mut messages = sent(&call_with(transcript), Delivery::Whole)["messages"].take();
    messages.as_array_mut().unwrap().remove(0);
    messages
}

#[test]
fn a_turn_with_a_tool_is_rendered_as_the_protocol_says() {
    let rendered = messages(|transcript| {
        let hello = MessageBody::text("Grüße\n\"you\"");
        transcript.push(&MessageView {
            role: Role::User,
            body: &hello,
            name: Some("Ann B."),
        });
        let mut answer = called("c1", "f", "{\"x\":1}");
        answer.content = vec![
            ContentPart::reasoning("secret thoughts"),
            ContentPart::text("one"),
            ContentPart::text("two"),
        ];
        answer.tool_calls.push(ToolCall {
            id: "c2".into(),
            name: "g".into(),
            arguments: "{}".into(),
        });
        push(transcript, Role::Assistant, &answer);
        let mut returns = returned("c1", "first");
        returns
            .tool_returns
            .extend(returned("c2", "second").tool_returns);
        push(transcript, Role::Tool, &returns);
        push(transcript, Role::System, &MessageBody::text("a notice"));
    });
    assert_eq!(
        rendered,
        json!([
            {"role": "user", "content": "Grüße\n\"you\"", "name": "Ann_B_"},
            {"role": "assistant", "content": "one\ntwo", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "first"},
            {"role": "tool", "tool_call_id": "c2", "content": "second"},
            {"role": "system", "content": "a notice"},
        ])
    );
}

#[test]
fn images_go_as_data_urls() {
    let rendered = messages(|transcript| {
        let image = ContentPart::Image {
            media_type: "image/png".into(),
            data: "AAAA".into(),
        };
        let body = MessageBody {
            content: vec![ContentPart::text("look"), image],
            ..MessageBody::default()
        };
        push(transcript, Role::User, &body);
    });
    assert_eq!(
        rendered[0]["content"],
        json!([{"type": "text", "text": "look"},
               {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}])
    );
}

#[test]
fn an_assistant_with_calls_alone_has_no_content_and_one_with_nothing_is_left_out() {
    let rendered = messages(|transcript| {
        push(transcript, Role::Assistant, &MessageBody::default());
        let thoughts = ContentPart::reasoning("hm");
        let body = MessageBody {
            content: vec![thoughts],
            ..MessageBody::default()
        };
        push(transcript, Role::Assistant, &body);
        push(transcript, Role::Assistant, &called("c", "f", ""));
    });
    assert_eq!(rendered.as_array().unwrap().len(), 2);
    assert_eq!(rendered[0]["content"], Value::Null);
    assert_eq!(rendered[0]["tool_calls"][0]["function"]["arguments"], "{}");
}

#[test]
fn calls_and_returns_always_come_in_pairs() {
    let missing = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "The result of this call was not recorded."});
    let rendered = messages(|transcript| {
        push(transcript, Role::Tool, &returned("gone", "orphan"));
        push(transcript, Role::Assistant, &called("a", "f", "{}"));
        push(transcript, Role::User, &MessageBody::text("next"));
        push(transcript, Role::Tool, &returned("a", "late"));
        push(transcript, Role::Assistant, &called("b", "f", "{}"));
        push(transcript, Role::Tool, &returned("b", "in time"));
        push(transcript, Role::Tool, &returned("b", "twice"));
        push(transcript, Role::Assistant, &called("c", "f", "{}"));
    });
    let tools: Vec<&Value> = rendered
        .as_array()
        .unwrap()
        .iter()
        .filter(|message| message["role"] == "tool")
        .collect();
    assert_eq!(
        tools,
        [
            &missing("a"),
            &json!({"role": "tool", "tool_call_id": "b", "content": "in time"}),
            &missing("c"),
        ]
    );
    assert_eq!(
        rendered[2]["content"], "next",
        "the return stands right after its call"
    );
}

#[test]
fn what_a_model_made_up_is_brought_into_a_form_that_servers_take() {
    let long = "x".repeat(80);
    let rendered = messages(|transcript| {
        push(
            transcript,
            Role::Assistant,
            &called(&long, "my tool!", "not json"),
        );
        push(transcript, Role::Tool, &returned(&long, "ok"));
        push(transcript, Role::Assistant, &called("", "", "[1]"));
        push(transcript, Role::Tool, &returned("", "ok"));
    });
    let function = &rendered[0]["tool_calls"][0]["function"];
    assert_eq!(function["name"], "my_tool_");
    assert_eq!(
        function["arguments"],
        json!({"not_json": "not json"}).to_string()
    );
    let id = rendered[0]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(id.len() <= 40 && !id.is_empty(), "{id}");
    assert_eq!(
        rendered[1],
        json!({"role": "tool", "tool_call_id": id, "content": "ok"})
    );
    assert_eq!(rendered[2]["tool_calls"][0]["function"]["name"], "unnamed");
    assert_eq!(
        rendered[3]["tool_call_id"],
        rendered[2]["tool_calls"][0]["id"]
    );
}

#[test]
fn thoughts_go_back_only_where_they_are_wanted() {
    let wants = endpoint(
        "http://h/v1",
        Quirks {
            echo_reasoning: true,
            ..Quirks::default()
        },
    );
    let plain = Transcript::new(Protocol::OpenAiChat);
    assert!(!plain.fits(&wants));
    let mut transcript = Transcript::for_endpoint(&wants);
    assert!(transcript.fits(&wants));
    let thoughts = ContentPart::reasoning("hm");
    let body = MessageBody {
        content: vec![thoughts, ContentPart::text("hi")],
        ..MessageBody::default()
    };
    push(&mut transcript, Role::Assistant, &body);
    let call = Call::new(wants, "m", "".into(), transcript);
    assert_eq!(
        sent(&call, Delivery::Whole)["messages"][0]["reasoning_content"],
        "hm"
    );
}

#[test]
fn options_are_sent_when_they_are_set() {
    let mut call = call_with(Transcript::new(Protocol::OpenAiChat));
    assert_eq!(
        sent(&call, Delivery::Whole),
        json!({"model": "model-1", "messages": [{"role": "system", "content": "You are \"X\"."}]})
    );
    let spec = |name: &str| ToolSpec {
        name: name.into(),
        description: String::new(),
        parameters: json!({"type": "object"}),
    };
    call.tools = Arc::new(ToolSet::new(&[spec("a"), spec("b")]));
    call.parallel_tool_calls = Some(false);
    call.temperature = Some(0.5);
    call.max_tokens = Some(100);
    call.reasoning_effort = Some("low".into());
    call.response_format = Some(json!({"type": "json_object"}));
    let body = sent(&call, Delivery::Streamed);
    assert_eq!(body["tools"].as_array().unwrap().len(), 2);
    assert_eq!(body.get("tool_choice"), None);
    assert_eq!(body["parallel_tool_calls"], false);
    assert_eq!(body["temperature"], 0.5);
    assert_eq!(body["max_tokens"], 100);
    assert_eq!(body["reasoning_effort"], "low");
    assert_eq!(body["response_format"], json!({"type": "json_object"}));
    assert_eq!(body["stream"], true);
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
    call.tool_choice = ToolChoice::Tool("b".into());
    let body = sent(&call, Delivery::Whole);
    assert_eq!(body["tool_choice"], "required");
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(body["tools"][0]["function"]["name"], "b");
    call.tool_choice = ToolChoice::None;
    assert_eq!(sent(&call, Delivery::Whole)["tool_choice"], "none");
}

#[test]
fn what_an_endpoint_refuses_is_not_sent_to_it() {
    let quirks = Quirks {
        no_stream_options: true,
        max_completion_tokens: true,
        ..Quirks::default()
    };
    let mut transcript = Transcript::new(Protocol::OpenAiChat);
    push(
        &mut transcript,
        Role::System,
        &MessageBody::text(",{\"role\":\"system\","),
    );
    push(&mut transcript, Role::User, &MessageBody::text("hi"));
    let mut call = Call::new(
        endpoint("http://h/v1", quirks),
        "m",
        "prompt".into(),
        transcript,
    );
    call.max_tokens = Some(5);
    call.temperature = Some(1.0);
    let body = sent(&call, Delivery::Streamed);
    assert_eq!(body.get("stream_options"), None);
    assert_eq!(
        (body.get("max_tokens"), &body["max_completion_tokens"]),
        (None, &json!(5))
    );
    assert!(call.endpoint.learn("m", "temperature is not supported"));
    assert!(
        call.endpoint
            .learn("m", "System message must be at the beginning.")
    );
    assert!(
        !call
            .endpoint
            .learn("m", "System message must be at the beginning.")
    );
    let body = sent(&call, Delivery::Streamed);
    assert_eq!(body.get("temperature"), None);
    let roles: Vec<_> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].clone())
        .collect();
    assert_eq!(roles, ["system", "user", "user"]);
    assert_eq!(
        body["messages"][1]["content"], ",{\"role\":\"system\",",
        "only structure may change"
    );
    let openai = Call {
        endpoint: endpoint("https://api.openai.com/v1", Quirks::default()),
        ..call
    };
    assert_eq!(sent(&openai, Delivery::Whole)["max_completion_tokens"], 5);
}

#[test]
fn a_snapshot_shares_the_history_and_is_not_touched_by_what_follows() {
    let mut transcript = Transcript::new(Protocol::OpenAiChat);
    let text = MessageBody::text("x".repeat(1000));
    for _ in 0..100 {
        push(&mut transcript, Role::User, &text);
    }
    let before = sent(&call_with(transcript.clone()), Delivery::Whole);
    let snapshot = transcript.clone();
    push(&mut transcript, Role::User, &MessageBody::text("later"));
    assert_eq!(sent(&call_with(snapshot.clone()), Delivery::Whole), before);
    assert!(snapshot.tail.len() < SHARED_FROM);
    let shared = snapshot.sealed.iter().zip(&transcript.sealed);
    assert!(shared.clone().count() >= 5);
    assert!(
        shared.into_iter().all(|(a, b)| a.as_ptr() == b.as_ptr()),
        "segments were copied"
    );
}

#[test]
fn the_beginning_of_a_request_stays_the_same_while_the_history_grows() {
    let mut transcript = Transcript::new(Protocol::OpenAiChat);
    let mut last = request::render(&call_with(transcript.clone()), Delivery::Whole).to_vec();
    for turn in 0..50 {
        push(
            &mut transcript,
            Role::User,
            &MessageBody::text(format!("question {turn}")),
        );
        push(
            &mut transcript,
            Role::Assistant,
            &MessageBody::text("x".repeat(900)),
        );
        let next = request::render(&call_with(transcript.clone()), Delivery::Whole).to_vec();
        let common = last.len() - "]}".len();
        assert_eq!(next[..common], last[..common], "turn {turn}");
        last = next;
    }
}

fn any_message() -> impl Strategy<Value = (Role, MessageBody)> {
    let text = "[ -~é語\\n\"\\\\{}]{0,20}";
    prop_oneof![
        text.prop_map(|text| (Role::User, MessageBody::text(text))),
        text.prop_map(|text| (Role::System, MessageBody::text(text))),
        text.prop_map(|text| (Role::Assistant, MessageBody::text(text))),
        ("[abc ]{0,3}", text, text)
            .prop_map(|(id, name, arguments)| (Role::Assistant, called(&id, &name, &arguments))),
        ("[abc ]{0,3}", text).prop_map(|(id, text)| (Role::Tool, returned(&id, &text))),
    ]
}

proptest! {
    #[test]
    fn every_history_is_valid_json_with_calls_and_returns_paired(
        history in proptest::collection::vec(any_message(), 0..16),
        prompt in prop_oneof![Just(""), Just("prompt")],
    ) {
        let mut transcript = Transcript::new(Protocol::OpenAiChat);
        for (role, body) in &history {
            push(&mut transcript, *role, body);
        }
        let bytes = transcript.len_bytes();
        let mut call = call_with(transcript);
        call.system = prompt.into();
        let body = sent(&call, Delivery::Whole);
        prop_assert!(bytes <= body.to_string().len());
        let mut open: Vec<String> = Vec::new();
        for message in body["messages"].as_array().unwrap() {
            if message["role"] == "tool" {
                let id = message["tool_call_id"].as_str().unwrap();
                let at = open.iter().position(|known| known == id);
                prop_assert!(at.is_some(), "an orphan: {}", body);
                open.remove(at.unwrap());
            } else {
                prop_assert!(open.is_empty(), "an unanswered call: {}", body);
                for made in message["tool_calls"].as_array().into_iter().flatten() {
                    open.push(made["id"].as_str().unwrap().to_owned());
                    let arguments = made["function"]["arguments"].as_str().unwrap();
                    prop_assert!(serde_json::from_str::<Value>(arguments).unwrap().is_object());
                }
            }
        }
        prop_assert!(open.is_empty());
    }
}

/// A return with a picture.
fn pictured(id: &str) -> MessageBody {
    let mut body = returned(id, "a chart");
    body.tool_returns[0].images.push(Image {
        media_type: "image/png".into(),
        data: "AAAA".into(),
    });
    body
}

#[test]
fn images_that_tools_returned_follow_the_last_return() {
    let rendered = messages(|transcript| {
        let mut calling = called("c1", "f", "{}");
        calling
            .tool_calls
            .extend(called("c2", "f", "{}").tool_calls);
        push(transcript, Role::Assistant, &calling);
        push(transcript, Role::Tool, &pictured("c1"));
        // The second call is never answered: what is made up for it comes before the image as well.
        push(transcript, Role::User, &MessageBody::text("and?"));
    });
    let roles: Vec<_> = rendered
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["role"])
        .collect();
    assert_eq!(roles, ["assistant", "tool", "tool", "user", "user"]);
    assert_eq!(rendered[1]["content"], "a chart");
    assert_eq!(
        rendered[3]["content"][1],
        json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})
    );
}
