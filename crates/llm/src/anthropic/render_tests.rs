//! What goes over the wire.

mod images;

use std::sync::Arc;

use mnemic_core::messages::{
    ContentPart, Image, MessageBody, ReasoningOrigin, Role, ToolCall, ToolReturn, ToolStatus,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::request;
use crate::{
    Call, Endpoint, EndpointConfig, MessageView, Protocol, Thinking, ToolChoice, ToolSet, ToolSpec,
    Transcript, body::SHARED_FROM, calls::Delivery,
};

fn endpoint() -> Arc<Endpoint> {
    let config = EndpointConfig {
        protocol: Protocol::Anthropic,
        ..EndpointConfig::new("anthropic", "http://h")
    };
    Arc::new(Endpoint::new(config).unwrap())
}

fn call_with(transcript: Transcript) -> Call {
    Call::new(
        endpoint(),
        "claude-test-4-5",
        "You are \"X\".".into(),
        transcript,
    )
}

fn sent(call: &Call) -> Value {
    serde_json::from_slice(&request::render(call, Delivery::Whole).to_vec()).unwrap()
}

fn push(transcript: &mut Transcript, role: Role, body: &MessageBody) {
    transcript.push(&MessageView {
        role,
        body,
        name: None,
    });
}

fn said(role: Role, text: &str) -> impl Fn(&mut Transcript) {
    move |transcript| push(transcript, role, &MessageBody::text(text))
}

fn called(id: &str, arguments: &str) -> MessageBody {
    MessageBody {
        tool_calls: vec![ToolCall {
            id: id.into(),
            name: "f".into(),
            arguments: arguments.into(),
        }],
        ..MessageBody::default()
    }
}

fn returned(id: &str, text: &str) -> MessageBody {
    MessageBody {
        tool_returns: vec![ToolReturn {
            tool_call_id: id.into(),
            name: "f".into(),
            status: ToolStatus::Success,
            text: text.into(),
            stdout: vec![],
            stderr: vec![],
            images: Vec::new(),
        }],
        ..MessageBody::default()
    }
}

fn signed(text: &str, provider: &str) -> ContentPart {
    ContentPart::Reasoning {
        text: text.into(),
        signature: Some(format!("proof of {text}")),
        origin: Some(ReasoningOrigin {
            protocol: "anthropic".into(),
            provider: provider.into(),
            id: None,
        }),
    }
}

/// The messages, without cache marks.
fn messages(build: impl FnOnce(&mut Transcript)) -> Value {
    let mut transcript = Transcript::for_endpoint(&endpoint());
    build(&mut transcript);
    let mut messages = sent(&call_with(transcript))["messages"].take();
    for message in messages.as_array_mut().unwrap() {
        for block in message["content"].as_array_mut().unwrap() {
            block.as_object_mut().unwrap().remove("cache_control");
        }
    }
    messages
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn spec(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "does it".into(),
        parameters: json!({"type": "object", "properties": {}}),
    }
}

#[test]
fn a_turn_with_tools_is_rendered_as_the_protocol_says() {
    let rendered = messages(|transcript| {
        transcript.push(&MessageView {
            role: Role::User,
            body: &MessageBody::text("Grüße\n\"you\""),
            name: Some("Ann B."),
        });
        let mut answer = called("c1", "{\"x\":1}");
        answer.content = vec![signed("hm", "anthropic"), ContentPart::text("one")];
        answer.tool_calls.extend(called("c2", "").tool_calls);
        push(transcript, Role::Assistant, &answer);
        push(transcript, Role::Tool, &returned("c2", "second"));
        let mut failed = returned("c1", "");
        failed.tool_returns[0].status = ToolStatus::Error;
        push(transcript, Role::Tool, &failed);
        said(Role::System, "a notice")(transcript);
    });
    assert_eq!(
        rendered,
        json!([
            {"role": "user", "content": [text("Ann_B_: Grüße\n\"you\"")]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "proof of hm"},
                text("one"),
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c2", "content": "second"},
                {"type": "tool_result", "tool_use_id": "c1", "is_error": true}]},
            {"role": "user", "content": [text("a notice")]},
        ])
    );
}

#[test]
fn images_go_as_base64() {
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
        rendered[0]["content"][1],
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}})
    );
}

#[test]
fn reasoning_goes_back_to_who_signed_it_alone_and_never_ends_a_message() {
    let rendered = messages(|transcript| {
        said(Role::User, "hello")(transcript);
        let sealed = ContentPart::RedactedReasoning {
            data: "sealed".into(),
            origin: Some(ReasoningOrigin {
                protocol: "anthropic".into(),
                provider: "anthropic".into(),
                id: None,
            }),
        };
        let mut other = signed("responses", "anthropic");
        if let ContentPart::Reasoning {
            origin: Some(origin),
            ..
        } = &mut other
        {
            origin.protocol = "openai-responses".into();
        }
        let content = vec![
            signed("elsewhere", "proxy"),
            other,
            ContentPart::reasoning("unsigned"),
            sealed,
            signed("", "anthropic"),
            ContentPart::text("answer"),
            signed("afterthought", "anthropic"),
            ContentPart::text(" \n"),
        ];
        let body = MessageBody {
            content,
            ..MessageBody::default()
        };
        push(transcript, Role::Assistant, &body);
        let thoughts = MessageBody {
            content: vec![signed("only", "anthropic")],
            ..MessageBody::default()
        };
        push(transcript, Role::Assistant, &thoughts);
        said(Role::User, "and?")(transcript);
    });
    assert_eq!(rendered.as_array().unwrap().len(), 3);
    assert_eq!(
        rendered[1]["content"],
        json!([
            {"type": "redacted_thinking", "data": "sealed"},
            {"type": "thinking", "thinking": "", "signature": "proof of "},
            text("answer"),
        ])
    );
}

#[test]
fn what_the_provider_would_refuse_for_ever_is_not_sent() {
    let rendered = messages(|transcript| {
        said(Role::Assistant, "I begin.")(transcript);
        push(transcript, Role::Tool, &returned("gone", "orphan"));
        push(
            transcript,
            Role::Assistant,
            &called("call:1", "{\"a\": \"\\ud800\"}"),
        );
        push(transcript, Role::Tool, &returned("call:1", "found"));
        push(transcript, Role::Assistant, &called("call:1", "{broken"));
        said(Role::User, " ")(transcript);
        push(transcript, Role::Tool, &returned("call:1", "late"));
        said(Role::Assistant, "I end.")(transcript);
    });
    let lone = "{\"a\": \"\\ud800\"}";
    assert_eq!(
        rendered,
        json!([
            {"role": "user", "content": [text("(The conversation before this point is not shown.)")]},
            {"role": "assistant", "content": [text("I begin.")]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "call_1", "name": "f", "input": {"not_json": lone}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "found"}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "call_1_2", "name": "f", "input": {"not_json": "{broken"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1_2", "is_error": true,
                 "content": "The result of this call was not recorded."}]},
            {"role": "user", "content": [text("(This message is empty.)")]},
            {"role": "assistant", "content": [text("I end.")]},
            {"role": "user", "content": [text("(Go on.)")]},
        ])
    );
    assert_eq!(
        messages(|_| ()),
        json!([{"role": "user", "content": [text("(Go on.)")]}])
    );
}

/// Where cache marks are, as `tools`, `system` or the index of a message.
fn marked(request: &Value) -> Vec<String> {
    let has = |block: &Value| block["cache_control"] == json!({"type": "ephemeral"});
    let mut found = Vec::new();
    for key in ["tools", "system"] {
        let list = request[key].as_array().cloned().unwrap_or_default();
        if list.last().is_some_and(has) {
            found.push(key.to_owned());
        }
    }
    for (index, message) in request["messages"].as_array().unwrap().iter().enumerate() {
        if message["content"]
            .as_array()
            .unwrap()
            .last()
            .is_some_and(has)
        {
            found.push(index.to_string());
        }
    }
    assert_eq!(
        request.to_string().matches("cache_control").count(),
        found.len()
    );
    found
}

#[test]
fn tools_prompt_and_the_last_two_user_messages_are_marked_for_the_cache() {
    let mut transcript = Transcript::for_endpoint(&endpoint());
    let long = "x".repeat(SHARED_FROM);
    for turn in 0..3 {
        said(Role::User, &format!("{turn} {long}"))(&mut transcript);
        said(Role::Assistant, &format!("{turn} {long}"))(&mut transcript);
    }
    said(Role::User, "now")(&mut transcript);
    let mut call = call_with(transcript);
    call.tools = Arc::new(ToolSet::new(&[spec("f"), spec("g")]));
    assert_eq!(marked(&sent(&call)), ["tools", "system", "4", "6"]);
    push(&mut call.transcript, Role::Assistant, &called("a", "{}"));
    assert_eq!(
        marked(&sent(&call)),
        ["tools", "system", "6", "8"],
        "results that are missing"
    );
    push(&mut call.transcript, Role::Tool, &returned("a", "done"));
    assert_eq!(marked(&sent(&call)), ["tools", "system", "6", "8"]);
    call.tools = Arc::default();
    call.system = "".into();
    assert_eq!(marked(&sent(&call)), ["6", "8"]);
    assert!(
        call.endpoint
            .learn(&call.model, "cache_control: Extra inputs are not permitted")
    );
    assert!(marked(&sent(&call)).is_empty());
}

#[test]
fn options_are_the_protocols() {
    let mut transcript = Transcript::for_endpoint(&endpoint());
    said(Role::User, "hello")(&mut transcript);
    let mut call = call_with(transcript);
    call.temperature = Some(1.5);
    let plain = sent(&call);
    assert_eq!(
        (&plain["model"], &plain["max_tokens"]),
        (&json!("claude-test-4-5"), &json!(8192))
    );
    assert_eq!(plain["temperature"], 1.0);
    assert_eq!(plain["system"][0]["text"], "You are \"X\".");
    assert_eq!(
        (&plain["thinking"], &plain["tools"]),
        (&Value::Null, &Value::Null)
    );
    call.tools = Arc::new(ToolSet::new(&[spec("f"), spec("g")]));
    for (choice, parallel, expected) in [
        (ToolChoice::Auto, None, Value::Null),
        (ToolChoice::Auto, Some(true), Value::Null),
        (
            ToolChoice::Auto,
            Some(false),
            json!({"type": "auto", "disable_parallel_tool_use": true}),
        ),
        (ToolChoice::None, Some(false), json!({"type": "none"})),
        (ToolChoice::Required, None, json!({"type": "any"})),
        (
            ToolChoice::Tool("g".into()),
            Some(false),
            json!({"type": "tool", "name": "g", "disable_parallel_tool_use": true}),
        ),
    ] {
        call.tool_choice = choice;
        call.parallel_tool_calls = parallel;
        assert_eq!(
            sent(&call)["tool_choice"],
            expected,
            "{:?}",
            call.tool_choice
        );
        assert_eq!(sent(&call)["tools"][1]["input_schema"]["type"], "object");
    }
    call.response_format =
        Some(json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}}));
    let format = json!({"type": "json_schema", "schema": {"a": 1}});
    assert_eq!(sent(&call)["output_config"]["format"], format);
    let streamed = request::render(&call, Delivery::Streamed).to_vec();
    assert!(streamed.ends_with(br#","stream":true}"#));
}

/// A model, what its agent wants, and the `thinking` and effort that it is told.
type ThinkingCase = (
    &'static str,
    Thinking,
    Option<&'static str>,
    &'static str,
    &'static str,
);

const THINKING: [ThinkingCase; 10] = [
    ("claude-sonnet-4-5", Thinking::Unset, None, "", ""),
    (
        "claude-sonnet-4-5",
        Thinking::Budget(5000),
        None,
        "enabled 5000",
        "",
    ),
    (
        "claude-3-7-sonnet-20250219",
        Thinking::Budget(1),
        None,
        "enabled 1024",
        "",
    ),
    (
        "claude-opus-4-20250514",
        Thinking::Adaptive,
        Some("low"),
        "enabled 2048",
        "low",
    ),
    (
        "claude-opus-4-6",
        Thinking::Budget(9000),
        None,
        "adaptive",
        "medium",
    ),
    (
        "claude-opus-5-5",
        Thinking::Adaptive,
        Some("max"),
        "adaptive",
        "max",
    ),
    (
        "claude-mythos-preview",
        Thinking::Adaptive,
        None,
        "adaptive",
        "",
    ),
    (
        "claude-opus-4-5",
        Thinking::Unset,
        Some("minimal"),
        "",
        "low",
    ),
    (
        "deepseek-chat",
        Thinking::Budget(2000),
        None,
        "enabled 2000",
        "",
    ),
    ("claude-opus-4-6", Thinking::Disabled, None, "disabled", ""),
];

#[test]
fn thinking_is_asked_for_in_the_form_that_the_model_takes() {
    let mut transcript = Transcript::for_endpoint(&endpoint());
    said(Role::User, "hello")(&mut transcript);
    for (model, thinking, effort, expected, wire_effort) in THINKING {
        let mut call = call_with(transcript.clone());
        call.model = model.into();
        call.thinking = thinking;
        call.reasoning_effort = effort.map(str::to_owned);
        call.max_tokens = Some(4096);
        call.temperature = Some(0.5);
        let request = sent(&call);
        let kind = request["thinking"]["type"].as_str().unwrap_or_default();
        let budget = request["thinking"]["budget_tokens"].as_i64();
        let told = budget.map_or_else(|| kind.to_owned(), |budget| format!("{kind} {budget}"));
        assert_eq!(told, expected, "{model} {thinking:?}");
        let effort = request["output_config"]["effort"].as_str();
        assert_eq!(
            effort.unwrap_or_default(),
            wire_effort,
            "{model} {thinking:?}"
        );
        assert!(request["max_tokens"].as_i64() > budget, "{model}");
        let thinks = matches!(kind, "enabled" | "adaptive");
        assert_eq!(
            request["temperature"].is_null(),
            thinks,
            "{model} {thinking:?}"
        );
        call.tools = Arc::new(ToolSet::new(&[spec("f")]));
        call.tool_choice = ToolChoice::Required;
        assert!(
            sent(&call)["thinking"].is_null(),
            "a forced call and thinking exclude each other"
        );
    }
}

#[test]
fn a_refused_form_of_thinking_gives_way_to_the_other() {
    let mut transcript = Transcript::for_endpoint(&endpoint());
    said(Role::User, "hello")(&mut transcript);
    let mut call = call_with(transcript);
    call.thinking = Thinking::Budget(2000);
    assert_eq!(sent(&call)["thinking"]["type"], "enabled");
    assert!(call.endpoint.learn(
        &call.model,
        "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\""
    ));
    assert_eq!(sent(&call)["thinking"]["type"], "adaptive");
    let refusal = "adaptive thinking is not supported on this model";
    assert!(call.endpoint.learn(&call.model, refusal));
    assert!(sent(&call)["thinking"].is_null());
}

#[test]
fn a_turn_that_began_without_thinking_goes_on_without_it() {
    let mut transcript = Transcript::for_endpoint(&endpoint());
    said(Role::User, "hello")(&mut transcript);
    push(&mut transcript, Role::Assistant, &called("a", "{}"));
    push(&mut transcript, Role::Tool, &returned("a", "x"));
    let mut call = call_with(transcript);
    call.thinking = Thinking::Budget(2000);
    assert!(sent(&call)["thinking"].is_null());
    said(Role::User, "next")(&mut call.transcript);
    assert!(!sent(&call)["thinking"].is_null());
    let mut thoughtful = called("b", "{}");
    thoughtful.content = vec![signed("hm", "anthropic")];
    push(&mut call.transcript, Role::Assistant, &thoughtful);
    push(&mut call.transcript, Role::Tool, &returned("b", "x"));
    push(&mut call.transcript, Role::Assistant, &called("c", "{}"));
    assert!(!sent(&call)["thinking"].is_null());
    let mut bare = sent(&call);
    request::without_reasoning(&mut bare);
    assert!(bare["thinking"].is_null() && !bare.to_string().contains("proof of hm"));
}

fn step() -> impl Strategy<Value = (Role, MessageBody)> {
    let id = prop_oneof![Just("a"), Just("b"), Just("c d")];
    prop_oneof![
        ".{0,12}".prop_map(|text| (Role::User, MessageBody::text(text))),
        ".{0,12}".prop_map(|text| (Role::Assistant, MessageBody::text(text))),
        (id.clone(), ".{0,8}")
            .prop_map(|(id, arguments)| (Role::Assistant, called(id, &arguments))),
        (id, ".{0,8}").prop_map(|(id, text)| (Role::Tool, returned(id, &text))),
        Just((Role::User, MessageBody::text("y".repeat(SHARED_FROM)))),
    ]
}

proptest! {
    /// The provider's rules: a user begins and ends, every call is answered in the next message,
    /// before any text, no result lacks its call, ids are unique, and at most four marks are set.
    #[test]
    fn any_history_becomes_one_that_the_provider_takes(
        steps in proptest::collection::vec(step(), 0..12),
    ) {
        let mut transcript = Transcript::for_endpoint(&endpoint());
        for (role, body) in &steps {
            push(&mut transcript, *role, body);
        }
        let request = sent(&call_with(transcript));
        let messages = request["messages"].as_array().unwrap();
        prop_assert_eq!(&messages[0]["role"], "user");
        prop_assert_eq!(&messages[messages.len() - 1]["role"], "user");
        let ids = |message: &Value, kind: &str, key: &str| -> Vec<String> {
            let blocks = message["content"].as_array().unwrap();
            let found = blocks.iter().filter(|block| block["type"] == kind);
            found.map(|block| block[key].as_str().unwrap().to_owned()).collect()
        };
        let mut all = Vec::new();
        let mut before = Vec::new();
        for message in messages {
            prop_assert!(!message["content"].as_array().unwrap().is_empty());
            let mut results = ids(message, "tool_result", "tool_use_id");
            results.sort();
            before.sort();
            prop_assert_eq!(&results, &before);
            before = ids(message, "tool_use", "id");
            all.extend(before.clone());
        }
        let count = all.len();
        all.sort();
        all.dedup();
        prop_assert_eq!(all.len(), count);
        prop_assert!(marked(&request).len() <= 4);
    }
}
