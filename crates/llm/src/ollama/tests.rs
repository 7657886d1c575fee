use std::{collections::VecDeque, sync::Arc};

use mnemic_core::messages::{
    ContentPart, Image, MessageBody, ReasoningOrigin, Role, ToolCall, ToolReturn, ToolStatus,
};
use serde_json::{Value, json};

use super::decoder::{Decoder, parse};
use crate::{
    Call, Delta, Endpoint, EndpointConfig, FinishReason, LlmError, MessageView, Protocol, Thinking,
    ToolChoice, ToolSet, ToolSpec, Transcript, abilities::Abilities, calls::Delivery,
    client::render,
};

fn endpoint() -> Arc<Endpoint> {
    let config = EndpointConfig {
        protocol: Protocol::Ollama,
        ..EndpointConfig::new("ollama", "http://127.0.0.1:11434")
    };
    Arc::new(Endpoint::new(config).unwrap())
}

fn call() -> Call {
    let endpoint = endpoint();
    let transcript = Transcript::for_endpoint(&endpoint);
    let mut call = Call::new(endpoint, "qwen3", "You are Ada.".into(), transcript);
    push(&mut call, Role::User, MessageBody::text("hello"));
    call
}

fn push(call: &mut Call, role: Role, body: MessageBody) {
    call.transcript.push(&MessageView {
        role,
        body: &body,
        name: Some("bob"),
    });
}

fn sent(call: &Call) -> Value {
    serde_json::from_slice(&render(call, Delivery::Whole).to_vec()).unwrap()
}

fn with_tools(call: &mut Call) {
    let spec = |name: &str| ToolSpec {
        name: name.into(),
        description: "does it".into(),
        parameters: json!({"type": "object"}),
    };
    call.tools = Arc::new(ToolSet::new(&[spec("insert"), spec("search")]));
}

fn returned(id: &str, text: &str) -> MessageBody {
    let result = ToolReturn {
        tool_call_id: id.into(),
        name: "insert".into(),
        status: ToolStatus::Success,
        text: text.into(),
        stdout: Vec::new(),
        stderr: Vec::new(),
        images: Vec::new(),
    };
    MessageBody {
        tool_returns: vec![result],
        ..MessageBody::default()
    }
}

#[test]
fn every_request_says_how_large_the_context_is_and_that_nothing_may_be_cut() {
    let mut call = call();
    let request = sent(&call);
    assert_eq!(
        request,
        json!({"model": "qwen3", "messages": [
            {"role": "system", "content": "You are Ada."}, {"role": "user", "content": "hello"}],
            "options": {"num_ctx": 16384, "num_predict": 8192},
            "truncate": false, "shift": false, "stream": false})
    );
    call.context_window = Some(40_000);
    call.max_tokens = Some(100);
    call.temperature = Some(0.5);
    let options = json!({"num_ctx": 40_000, "num_predict": 100, "temperature": 0.5});
    assert_eq!(sent(&call)["options"], options);
    let streaming: Value =
        serde_json::from_slice(&render(&call, Delivery::Streamed).to_vec()).unwrap();
    assert_eq!(streaming["stream"], true);
}

#[test]
fn a_prompt_that_is_empty_is_left_out() {
    let mut call = call();
    call.system = "".into();
    assert_eq!(
        sent(&call)["messages"],
        json!([{"role": "user", "content": "hello"}])
    );
}

#[test]
fn calls_have_objects_for_arguments_and_returns_name_their_tool() {
    let mut call = call();
    let tool_call = |id: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: "insert".into(),
        arguments: arguments.into(),
    };
    let origin = ReasoningOrigin {
        protocol: "anthropic".into(),
        provider: "anthropic".into(),
        id: None,
    };
    let calling = MessageBody {
        content: vec![
            ContentPart::reasoning("I note it."),
            ContentPart::Reasoning {
                text: "signed elsewhere".into(),
                signature: Some("proof".into()),
                origin: Some(origin),
            },
        ],
        tool_calls: vec![tool_call("a", "{\"x\":1}"), tool_call("b", "{broken")],
        ..MessageBody::default()
    };
    push(&mut call, Role::Assistant, calling);
    push(&mut call, Role::Tool, returned("a", "done"));
    push(&mut call, Role::Tool, returned("nowhere", "lost"));
    push(&mut call, Role::User, MessageBody::text("and?"));
    let messages = sent(&call)["messages"].clone();
    assert_eq!(
        messages[2],
        json!({"role": "assistant", "content": "", "thinking": "I note it.", "tool_calls": [
            {"id": "a", "function": {"name": "insert", "arguments": {"x": 1}}},
            {"id": "b", "function": {"name": "insert", "arguments": {"not_json": "{broken"}}}]})
    );
    assert_eq!(
        messages[3],
        json!({"role": "tool", "content": "done", "tool_name": "insert", "tool_call_id": "a"})
    );
    assert_eq!(
        messages[4]["tool_call_id"], "b",
        "a call without a return is closed"
    );
    assert_eq!(messages[5], json!({"role": "user", "content": "and?"}));
    assert_eq!(messages.as_array().unwrap().len(), 6);
}

#[test]
fn thoughts_before_an_answer_are_over() {
    let mut call = call();
    let said = MessageBody {
        content: vec![ContentPart::reasoning("hm"), ContentPart::text("Hi.")],
        ..MessageBody::default()
    };
    push(&mut call, Role::Assistant, said);
    assert_eq!(
        sent(&call)["messages"][2],
        json!({"role": "assistant", "content": "Hi."})
    );
}

#[test]
fn images_are_raw_base64() {
    let mut call = call();
    let image = ContentPart::Image {
        media_type: "image/png".into(),
        data: "AAAA".into(),
    };
    let body = MessageBody {
        content: vec![ContentPart::text("look"), image],
        ..MessageBody::default()
    };
    push(&mut call, Role::User, body);
    assert_eq!(
        sent(&call)["messages"][2],
        json!({"role": "user", "content": "look", "images": ["AAAA"]})
    );
}

#[test]
fn what_must_not_be_called_is_not_shown() {
    let mut call = call();
    with_tools(&mut call);
    let names = |call: &Call| {
        let request = sent(call);
        let tools = request["tools"].as_array().cloned().unwrap_or_default();
        let name = |tool: &Value| tool["function"]["name"].as_str().unwrap().to_owned();
        tools.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&call), ["insert", "search"]);
    call.tool_choice = ToolChoice::Tool("search".into());
    assert_eq!(names(&call), ["search"]);
    call.tool_choice = ToolChoice::None;
    assert!(names(&call).is_empty());
}

#[test]
fn a_form_of_the_answer_is_asked_for_unless_it_would_shut_out_the_tools() {
    let mut call = call();
    let schema = json!({"type": "object"});
    call.response_format = Some(json!({"type": "json_schema", "json_schema": {"schema": schema}}));
    assert_eq!(sent(&call)["format"], schema);
    call.response_format = Some(json!({"type": "json_object"}));
    assert_eq!(sent(&call)["format"], "json");
    with_tools(&mut call);
    assert_eq!(sent(&call).get("format"), None);
}

#[test]
fn a_model_that_can_think_is_told_whether_to() {
    let mut call = call();
    let think = |call: &Call| sent(call).get("think").cloned();
    assert_eq!(think(&call), None, "nothing is known of it");
    call.reasoning_effort = Some("high".into());
    assert_eq!(think(&call), Some("high".into()));
    call.endpoint.learn(
        "qwen3",
        "think value \"high\" is not supported for this model",
    );
    assert_eq!(think(&call), Some(true.into()));
    call.thinking = Thinking::Disabled;
    assert_eq!(think(&call), Some(false.into()));
    let able = |thinking| {
        let abilities = Abilities {
            thinking: Some(thinking),
            ..Abilities::default()
        };
        call.endpoint
            .abilities()
            .set([("qwen3".to_owned(), abilities)].into_iter());
    };
    able(false);
    assert_eq!(think(&call), None);
    able(true);
    call.thinking = Thinking::Unset;
    call.reasoning_effort = None;
    assert_eq!(think(&call), Some(true.into()));
}

fn decode(lines: &[Value]) -> Result<Vec<Delta>, LlmError> {
    let (endpoint, mut decoder, mut out) = (endpoint(), Decoder::default(), VecDeque::new());
    for line in lines {
        decoder.event(&endpoint, line.to_string().as_bytes(), &mut out)?;
    }
    decoder.end(&endpoint, &mut out)?;
    Ok(out.into())
}

fn last(reason: &str) -> Value {
    json!({"model": "qwen3", "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": reason, "prompt_eval_count": 26, "eval_count": 298})
}

#[test]
fn a_stream_brings_thoughts_text_calls_and_counts() {
    let said = |message: Value| json!({"model": "qwen3", "message": message, "done": false});
    let deltas = decode(&[
        said(json!({"role": "assistant", "content": "", "thinking": "hm"})),
        said(json!({"role": "assistant", "content": "Hel"})),
        said(json!({"role": "assistant", "content": "lo"})),
        said(json!({"content": "", "tool_calls": [
            {"function": {"name": "insert", "arguments": {"x": 1}}},
            {"id": "call_7", "function": {"index": 1, "name": "search", "arguments": {}}}]})),
        last("stop"),
    ])
    .unwrap();
    let mut assembler = crate::Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    let completion = assembler.finish();
    assert_eq!(
        completion.body.content,
        [ContentPart::reasoning("hm"), ContentPart::text("Hello")]
    );
    let calls = &completion.body.tool_calls;
    assert_eq!(
        (calls[0].name.as_str(), calls[0].arguments.as_str()),
        ("insert", "{\"x\":1}")
    );
    assert_eq!(
        (calls[1].id.as_str(), calls[1].arguments.as_str()),
        ("call_7", "{}")
    );
    assert!(calls[0].id.starts_with("call_") && calls[0].id != calls[1].id);
    let usage = completion.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (26, 298));
    assert_eq!(completion.finish, FinishReason::ToolCalls);
    assert_eq!(completion.raw_model.as_deref(), Some("qwen3"));
}

#[test]
fn the_reason_of_the_end_is_the_last_lines() {
    for (reason, finish) in [
        ("stop", FinishReason::Stop),
        ("length", FinishReason::Length),
        ("unload", FinishReason::Unknown),
    ] {
        assert_eq!(
            decode(&[last(reason)]).unwrap().last(),
            Some(&Delta::Finish(finish))
        );
    }
}

#[test]
fn an_error_in_the_middle_and_an_end_without_a_last_line_are_errors() {
    let said = json!({"message": {"content": "Hel"}, "done": false});
    let error = |line: Value| decode(&[said.clone(), line]).unwrap_err().error_type();
    assert_eq!(
        error(json!({"error": "an error was encountered while running the model"})),
        "llm_error"
    );
    let long =
        "the prompt is longer than the context length currently set: context length exceeded";
    assert_eq!(error(json!({ "error": long })), "context_window_exceeded");
    assert_eq!(
        decode(&[said]).unwrap_err().error_type(),
        "stream_incomplete"
    );
    let junk = Decoder::default().event(&endpoint(), b"<html>", &mut VecDeque::new());
    assert_eq!(junk.unwrap_err().error_type(), "llm_invalid_response");
}

#[test]
fn a_whole_answer_may_be_one_object_or_many_lines() {
    let whole = json!({"model": "qwen3", "message": {"role": "assistant", "content": "Hi", "thinking": "hm"},
        "done": true, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 1});
    let pretty = serde_json::to_string_pretty(&whole).unwrap();
    let lines = "{\"message\":{\"thinking\":\"hm\"},\"done\":false}\n{\"message\":{\"content\":\"Hi\"},\"done\":true}\n";
    for text in [whole.to_string(), pretty, lines.to_owned()] {
        let completion = parse(&endpoint(), text.as_bytes()).unwrap();
        assert_eq!(completion.body.plain_text(), "Hi", "{text}");
        assert_eq!(completion.body.content.len(), 2);
    }
    let kind = |text: &str| {
        parse(&endpoint(), text.as_bytes())
            .unwrap_err()
            .error_type()
    };
    assert_eq!(kind("{}"), "llm_empty_response");
    assert_eq!(kind("not json"), "llm_invalid_response");
    assert_eq!(kind("{\"error\":\"model 'x' not found\"}"), "llm_error");
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
    let mut call = call();
    let calls = ["a", "b"].map(|id| ToolCall {
        id: id.into(),
        name: "insert".into(),
        arguments: "{}".into(),
    });
    let calling = MessageBody {
        tool_calls: calls.into(),
        ..MessageBody::default()
    };
    push(&mut call, Role::Assistant, calling);
    push(&mut call, Role::Tool, pictured("a"));
    push(&mut call, Role::Tool, returned("b", "done"));
    let request = sent(&call);
    let messages = request["messages"].as_array().unwrap();
    let roles: Vec<_> = messages
        .iter()
        .skip(3)
        .map(|message| &message["role"])
        .collect();
    assert_eq!(roles, ["tool", "tool", "user"]);
    assert_eq!(messages.last().unwrap()["images"], json!(["AAAA"]));
}
