//! The request body.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    abilities::Ability,
    adaptation::Parameter,
    body::{BodyWriter, SHARED_FROM, WireBody},
    calls::{Call, Delivery, Thinking, ToolChoice},
    endpoints::Protocol,
    json,
    windows::OLLAMA_DEFAULT,
};

const OLLAMA: Protocol = Protocol::Ollama;

/// Renders a call.
pub(crate) fn render(call: &Call, delivery: Delivery) -> WireBody {
    let own = call.transcript.len_bytes().min(2 * SHARED_FROM) + 4 * SHARED_FROM;
    let mut body = BodyWriter::with_capacity(own);
    body.bytes().extend_from_slice(br#"{"model":"#);
    json::write(body.bytes(), &call.model);
    messages(call, &mut body);
    tools(call, &mut body);
    options(call, body.bytes());
    // A prompt that is too long is to be refused, not cut from its beginning; and the beginning is to
    // stay when the answer reaches the end of the context. Servers from before 2025 don't know these.
    body.bytes()
        .extend_from_slice(br#","truncate":false,"shift":false"#);
    json::field(body.bytes(), "stream", &delivery.is_streamed());
    body.bytes().push(b'}');
    body.finish()
}

/// Tokens that request and answer may take together.
pub(crate) fn context_window(call: &Call) -> i64 {
    let window = call.context_window.filter(|window| *window > 0);
    window.unwrap_or(OLLAMA_DEFAULT)
}

fn messages(call: &Call, body: &mut BodyWriter) {
    body.bytes().extend_from_slice(br#","messages":["#);
    if call.system.json().is_empty() {
        let mut alone = BodyWriter::default();
        call.transcript.write_to(&mut alone);
        body.append_without_first_byte(alone);
    } else {
        body.bytes()
            .extend_from_slice(br#"{"role":"system","content":"#);
        body.shared(call.system.json());
        body.bytes().push(b'}');
        call.transcript.write_to(body);
    }
    body.bytes().push(b']');
}

/// Ollama knows no choice of tools: what must not be called is not shown.
fn tools(call: &Call, body: &mut BodyWriter) {
    let all = || call.tools.bytes(OLLAMA).clone();
    let tools: Bytes = match &call.tool_choice {
        ToolChoice::None => return,
        ToolChoice::Auto | ToolChoice::Required => all(),
        ToolChoice::Tool(name) => call.tools.only(OLLAMA, name).unwrap_or_else(all),
    };
    if tools.is_empty() {
        return;
    }
    body.bytes().extend_from_slice(br#","tools":["#);
    body.shared(&tools);
    body.bytes().push(b']');
}

fn options(call: &Call, out: &mut Vec<u8>) {
    // A format would keep the model from calling the tools that it is shown.
    if (call.tools.is_empty() || call.tool_choice == ToolChoice::None)
        && call.accepts(Parameter::ResponseFormat)
        && let Some(format) = call.response_format.as_ref().and_then(format)
    {
        json::field(out, "format", &format);
    }
    if let Some(think) = think(call) {
        json::field(out, "think", &think);
    }
    let window = context_window(call);
    // Without a limit a small model may repeat itself until its context is full.
    let most = call.max_tokens.unwrap_or(window / 2).max(1);
    let mut options = json!({"num_ctx": window, "num_predict": most});
    if let (Some(temperature), Some(fields)) = (call.temperature, options.as_object_mut()) {
        fields.insert("temperature".to_owned(), temperature.into());
    }
    json::field(out, "options", &options);
}

/// The protocol's form of chat completions' `response_format`.
fn format(given: &Value) -> Option<Value> {
    match given.get("type").and_then(Value::as_str)? {
        "json_schema" => given.pointer("/json_schema/schema").cloned(),
        "json_object" => Some("json".into()),
        _ => None,
    }
}

/// Whether the model thinks. One that can is always told, so that its thoughts come apart from its text.
fn think(call: &Call) -> Option<Value> {
    if !call.accepts(Parameter::Thinking) {
        return None;
    }
    if call.thinking == Thinking::Disabled {
        return Some(false.into());
    }
    match call.reasoning_effort.as_deref() {
        Some("none" | "minimal") => return Some(false.into()),
        Some(level @ ("low" | "medium" | "high")) if call.accepts(Parameter::ThinkLevel) => {
            return Some(level.into());
        }
        _ => {}
    }
    let can = call.endpoint.abilities().of(&call.model, Ability::Thinking);
    let wanted = call.thinking != Thinking::Unset || call.reasoning_effort.is_some();
    (wanted || can == Some(true)).then(|| true.into())
}
