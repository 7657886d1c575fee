//! What goes over the wire, and what comes back.

use std::sync::Arc;

use mnemic_core::{
    messages::{
        ContentPart, Image, MessageBody, ReasoningOrigin, Role, ToolCall, ToolReturn, ToolStatus,
    },
    runs::Usage,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::request;
use crate::{
    Assembler, Call, Completion, Delta, Endpoint, EndpointConfig, FinishReason, LlmError,
    MessageView, Protocol, ToolChoice, ToolSet, ToolSpec, Transcript, calls::Delivery,
    parse_response, parse_stream,
};

fn endpoint() -> Arc<Endpoint> {
    let config = EndpointConfig {
        protocol: Protocol::OpenAiResponses,
        ..EndpointConfig::new("openai", "http://h/v1")
    };
    Arc::new(Endpoint::new(config).unwrap())
}

fn origin(id: &str) -> ReasoningOrigin {
    ReasoningOrigin {
        protocol: "openai-responses".into(),
        provider: "openai".into(),
        id: Some(id.into()),
    }
}

fn sealed(text: &str, id: &str) -> ContentPart {
    ContentPart::Reasoning {
        text: text.into(),
        signature: Some("gAAA".into()),
        origin: Some(origin(id)),
    }
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

fn call_of(build: impl FnOnce(&mut Transcript)) -> Call {
    let mut transcript = Transcript::for_endpoint(&endpoint());
    build(&mut transcript);
    Call::new(endpoint(), "m", "You are \"X\".".into(), transcript)
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

#[test]
fn a_turn_with_tools_is_rendered_as_the_protocol_says() {
    let request = sent(&call_of(|transcript| {
        transcript.push(&MessageView {
            role: Role::User,
            body: &MessageBody {
                content: vec![
                    ContentPart::text("look"),
                    ContentPart::Image {
                        media_type: "image/png".into(),
                        data: "AAAA".into(),
                    },
                ],
                ..MessageBody::default()
            },
            name: Some("Ann"),
        });
        let mut answer = called("c1", "{\"x\":1}");
        answer.content = vec![
            ContentPart::reasoning("unsealed"),
            sealed("hm", "rs_1"),
            ContentPart::text("one"),
        ];
        push(transcript, Role::Assistant, &answer);
        push(transcript, Role::Tool, &returned("c1", "first"));
        push(transcript, Role::Tool, &returned("c1", "twice"));
        push(transcript, Role::Assistant, &called("c2", "{broken"));
        push(transcript, Role::System, &MessageBody::text("a notice"));
        let thoughts = MessageBody {
            content: vec![sealed("", "rs_2")],
            ..MessageBody::default()
        };
        push(transcript, Role::Assistant, &thoughts);
        push(transcript, Role::Assistant, &called("c3", "{}"));
    }));
    assert_eq!(request["instructions"], "You are \"X\".");
    assert_eq!(
        request["input"],
        json!([
            {"role": "user", "content": [
                {"type": "input_text", "text": "Ann: look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
             "summary": [{"type": "summary_text", "text": "hm"}]},
            {"role": "assistant", "content": "one"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"x\":1}"},
            {"type": "function_call_output", "call_id": "c1", "output": "first"},
            {"type": "function_call", "call_id": "c2", "name": "f",
             "arguments": "{\"not_json\":\"{broken\"}"},
            {"type": "function_call_output", "call_id": "c2",
             "output": "The result of this call was not recorded."},
            {"role": "system", "content": "a notice"},
            {"type": "function_call", "call_id": "c3", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c3",
             "output": "The result of this call was not recorded."},
        ])
    );
    let mut bare = request.clone();
    request::without_reasoning(&mut bare);
    assert_eq!(bare["input"].as_array().unwrap().len(), 9);
}

#[test]
fn options_are_the_protocols() {
    let mut call = call_of(|transcript| push(transcript, Role::User, &MessageBody::text("hi")));
    assert_eq!(
        sent(&call),
        json!({"model": "m", "instructions": "You are \"X\".", "store": false,
               "input": [{"role": "user", "content": "hi"}]})
    );
    let spec = |name: &str| ToolSpec {
        name: name.into(),
        description: "does it".into(),
        parameters: json!({"type": "object"}),
    };
    call.tools = Arc::new(ToolSet::new(&[spec("f"), spec("g")]));
    call.tool_choice = ToolChoice::Tool("g".into());
    call.parallel_tool_calls = Some(false);
    call.temperature = Some(0.5);
    call.max_tokens = Some(100);
    call.response_format =
        Some(json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}));
    let request = sent(&call);
    assert_eq!(
        request["tools"],
        json!([{"type": "function", "name": "g", "description": "does it", "strict": false,
                "parameters": {"type": "object"}}])
    );
    assert_eq!(request["tool_choice"], "required");
    assert_eq!(request["parallel_tool_calls"], false);
    assert_eq!(
        (&request["temperature"], &request["max_output_tokens"]),
        (&json!(0.5), &json!(100))
    );
    let format = json!({"type": "json_schema", "name": "n", "schema": {}});
    assert_eq!(request["text"], json!({ "format": format }));
    assert_eq!(request["reasoning"], Value::Null);
}

#[test]
fn reasoning_models_are_asked_for_summaries_and_sealed_reasoning_as_far_as_they_give_them() {
    let mut call = call_of(|_| ());
    call.model = "o4-mini".into();
    call.reasoning_effort = Some("high".into());
    let asked = |call: &Call| {
        let request = sent(call);
        (request["reasoning"].clone(), request["include"].clone())
    };
    let include = json!(["reasoning.encrypted_content"]);
    let both = json!({"effort": "high", "summary": "auto"});
    assert_eq!(asked(&call), (both, include.clone()));
    let refusal = "Your organization must be verified to generate reasoning summaries.";
    assert!(call.endpoint.learn(&call.model, refusal));
    assert_eq!(asked(&call), (json!({"effort": "high"}), include));
    let refusal = "Encrypted content is not supported with this model.";
    assert!(call.endpoint.learn(&call.model, refusal));
    assert_eq!(asked(&call), (json!({"effort": "high"}), Value::Null));
}

/// A stream of these events.
fn sse(events: &[Value]) -> String {
    let name = |event: &Value| event["type"].as_str().unwrap_or("message").to_owned();
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", name(event)))
        .collect()
}

fn fold(deltas: &[Delta]) -> Completion {
    let mut assembler = Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    assembler.finish()
}

fn read(events: &[Value]) -> (Completion, Option<LlmError>) {
    let (deltas, error) = parse_stream(&endpoint(), sse(events).as_bytes());
    (fold(&deltas), error)
}

fn response() -> Value {
    json!({"id": "resp_1", "object": "response", "model": "m-1", "status": "completed", "error": null,
        "incomplete_details": null,
        "output": [
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": [
                {"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "content": [
                {"type": "output_text", "text": "Grüße", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f",
             "arguments": "{\"x\":1}"}],
        "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 8},
            "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}}})
}

fn expected() -> Completion {
    Completion {
        body: MessageBody {
            content: vec![sealed("one\n\ntwo", "rs_1"), ContentPart::text("Grüße")],
            tool_calls: called("call_1", "{\"x\":1}").tool_calls,
            ..MessageBody::default()
        },
        usage: Some(Usage {
            prompt_tokens: 10,
            completion_tokens: 5,
            cached_input_tokens: 8,
            cache_write_tokens: 0,
            reasoning_tokens: 3,
        }),
        finish: FinishReason::ToolCalls,
        raw_model: Some("m-1".into()),
    }
}

#[test]
fn an_answer_is_the_same_whole_in_pieces_and_in_its_last_event_alone() {
    let whole = response();
    let completion = parse_response(&endpoint(), whole.to_string().as_bytes()).unwrap();
    assert_eq!(completion, expected());
    let last = json!({"type": "response.completed", "response": whole});
    assert_eq!(read(std::slice::from_ref(&last)), (expected(), None));
    let started = json!({"id": "resp_1", "status": "in_progress", "output": [], "model": "m-1"});
    let part = |kind: &str, index: usize, text: &str| json!({"type": format!("response.{kind}.delta"), "output_index": index, "delta": text});
    let done = |index: usize| {
        json!({"type": "response.output_item.done", "output_index": index,
               "item": response()["output"][index]})
    };
    let added = |index: usize, item: Value| json!({"type": "response.output_item.added", "output_index": index, "item": item});
    let paragraph = |index: usize| {
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0,
               "summary_index": index})
    };
    let call = json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f",
                      "arguments": ""});
    let events = [
        json!({"type": "response.created", "response": started}),
        added(0, json!({"type": "reasoning", "id": "rs_1", "summary": []})),
        paragraph(0),
        part("reasoning_summary_text", 0, "o"),
        part("reasoning_summary_text", 0, "ne"),
        paragraph(1),
        part("reasoning_summary_text", 0, "two"),
        done(0),
        added(1, json!({"type": "message", "id": "msg_1", "content": []})),
        part("output_text", 1, "Grü"),
        part("output_text", 1, "ße"),
        done(1),
        added(2, call),
        part("function_call_arguments", 2, "{\"x\""),
        part("function_call_arguments", 2, ":1}"),
        json!({"type": "response.function_call_arguments.done", "output_index": 2,
               "arguments": "{\"x\":1}"}),
        done(2),
        last,
    ];
    assert_eq!(read(&events), (expected(), None));
}

#[test]
fn incomplete_answers_say_why() {
    for (kind, details, expected) in [
        (
            "incomplete",
            json!({"reason": "max_output_tokens"}),
            FinishReason::Length,
        ),
        (
            "incomplete",
            json!({"reason": "content_filter"}),
            FinishReason::ContentFilter,
        ),
        ("incomplete", Value::Null, FinishReason::Unknown),
        ("completed", Value::Null, FinishReason::Stop),
    ] {
        let response = json!({"status": kind, "incomplete_details": details, "output": [
            {"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]});
        let event = json!({"type": format!("response.{kind}"), "response": response});
        let (completion, error) = read(&[event]);
        assert_eq!(
            (completion.finish, error),
            (expected, None),
            "{kind} {details}"
        );
        assert_eq!(completion.body.plain_text(), "no");
        let whole = parse_response(&endpoint(), response.to_string().as_bytes()).unwrap();
        assert_eq!(whole.finish, expected);
    }
}

#[test]
fn errors_are_recognised_wherever_they_stand() {
    for (code, expected) in [
        ("rate_limit_exceeded", "llm_rate_limit"),
        ("insufficient_quota", "llm_insufficient_credits"),
        ("context_length_exceeded", "context_window_exceeded"),
        ("invalid_prompt", "llm_bad_request"),
        ("server_error", "llm_error"),
    ] {
        let error = json!({"code": code, "message": "it failed"});
        let event = json!({"type": "error", "code": code, "message": "it failed", "param": null});
        let in_response =
            json!({"type": "response.failed", "response": {"status": "failed", "error": error}});
        for event in [event, in_response] {
            let (_, failure) = read(std::slice::from_ref(&event));
            assert_eq!(failure.unwrap().error_type(), expected, "{event}");
        }
        let whole = json!({"status": "failed", "error": error, "output": []}).to_string();
        let failure = parse_response(&endpoint(), whole.as_bytes()).unwrap_err();
        assert_eq!(failure.error_type(), expected, "{code}");
    }
}

#[test]
fn a_stream_without_its_last_event_is_no_answer() {
    let said = |delta: &str| json!({"type": "response.output_text.delta", "output_index": 0, "delta": delta});
    let call = json!({"type": "response.output_item.added", "output_index": 1,
        "item": {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""}});
    let piece =
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{}"});
    for events in [
        vec![said("")],
        vec![said("half")],
        vec![said("half"), call.clone()],
        vec![call, piece],
    ] {
        let (_, error) = read(&events);
        assert!(
            matches!(error, Some(LlmError::StreamIncomplete { .. })),
            "{events:?}: {error:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_events_make_it_panic_and_each_stream_ends_once(
        picks in proptest::collection::vec((0..10_usize, 0..3_i64), 0..16),
    ) {
        let event = |(pick, index): &(usize, i64)| match pick {
            0 => json!({"type": "response.output_item.added", "output_index": index, "item": {"type": "function_call"}}),
            1 => json!({"type": "response.output_item.done", "output_index": index, "item": response()["output"][2]}),
            2 => json!({"type": "response.output_item.done", "output_index": index, "item": response()["output"][0]}),
            3 => json!({"type": "response.function_call_arguments.delta", "output_index": index, "delta": "{"}),
            4 => json!({"type": "response.output_text.delta", "output_index": index, "delta": "x"}),
            5 => json!({"type": "response.completed", "response": response()}),
            6 => json!({"type": "response.reasoning_summary_part.added", "summary_index": index}),
            7 => json!([1, "x"]),
            8 => json!({"type": "response.output_item.done", "item": {"type": "message", "content": 7, "arguments": {}}}),
            _ => json!({"type": 9, "delta": {}, "response": {"output": null, "usage": "none"}}),
        };
        let events: Vec<Value> = picks.iter().map(event).collect();
        let (deltas, error) = parse_stream(&endpoint(), sse(&events).as_bytes());
        let finishes = deltas.iter().filter(|delta| matches!(delta, Delta::Finish(_))).count();
        prop_assert_eq!(finishes, usize::from(error.is_none()));
        let ids: Vec<String> = fold(&deltas).body.tool_calls.into_iter().map(|call| call.id).collect();
        let unique: std::collections::HashSet<&String> = ids.iter().collect();
        prop_assert_eq!(unique.len(), ids.len());
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
fn images_that_a_tool_returned_stand_in_its_output() {
    let request = sent(&call_of(|transcript| {
        push(transcript, Role::Assistant, &called("c1", "{}"));
        push(transcript, Role::Tool, &pictured("c1"));
    }));
    let items = request["input"].as_array().unwrap();
    assert_eq!(
        items.last().unwrap(),
        &json!({"type": "function_call_output", "call_id": "c1", "output": [
            {"type": "input_text", "text": "a chart"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]})
    );
}
