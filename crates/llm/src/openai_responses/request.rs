//! The request body.

use serde_json::{Map, Value};

use crate::{
    adaptation::Parameter,
    body::{BodyWriter, SHARED_FROM, WireBody},
    calls::{Call, Delivery, ToolChoice},
    endpoints::{Protocol, is_openai_reasoner},
    json,
};

/// Renders a call.
pub(crate) fn render(call: &Call, delivery: Delivery) -> WireBody {
    let own = call.transcript.len_bytes().min(2 * SHARED_FROM)
        + call.system.json().len().min(SHARED_FROM)
        + 512;
    let mut body = BodyWriter::with_capacity(own);
    body.bytes().extend_from_slice(br#"{"model":"#);
    json::write(body.bytes(), &call.model);
    if !call.system.json().is_empty() {
        body.bytes().extend_from_slice(br#","instructions":"#);
        body.shared(call.system.json());
    }
    tools(call, &mut body);
    body.bytes().extend_from_slice(br#","input":["#);
    let mut items = BodyWriter::default();
    call.transcript.write_to(&mut items);
    body.append_without_first_byte(items);
    body.bytes().push(b']');
    options(call, body.bytes());
    if delivery.is_streamed() {
        body.bytes().extend_from_slice(br#","stream":true"#);
    }
    body.bytes().push(b'}');
    body.finish()
}

/// The same request without any reasoning in its history.
pub(crate) fn without_reasoning(request: &mut Value) {
    if let Some(items) = request.get_mut("input").and_then(Value::as_array_mut) {
        items.retain(|item| item.get("type").and_then(Value::as_str) != Some("reasoning"));
    }
}

fn tools(call: &Call, body: &mut BodyWriter) {
    const RESPONSES: Protocol = Protocol::OpenAiResponses;
    if call.tools.is_empty() {
        return;
    }
    let all = || call.tools.bytes(RESPONSES).clone();
    let (tools, choice) = match &call.tool_choice {
        ToolChoice::Auto => (all(), None),
        ToolChoice::None => (all(), Some("none")),
        ToolChoice::Required => (all(), Some("required")),
        ToolChoice::Tool(name) => {
            let only = call.tools.only(RESPONSES, name).unwrap_or_else(all);
            (only, Some("required"))
        }
    };
    body.bytes().extend_from_slice(br#","tools":["#);
    body.shared(&tools);
    body.bytes().push(b']');
    if let Some(choice) = choice {
        json::field(body.bytes(), "tool_choice", choice);
    }
    if let Some(parallel) = call
        .parallel_tool_calls
        .filter(|_| call.accepts(Parameter::ParallelToolCalls))
    {
        json::field(body.bytes(), "parallel_tool_calls", &parallel);
    }
}

fn options(call: &Call, out: &mut Vec<u8>) {
    if let Some(temperature) = call
        .temperature
        .filter(|_| call.accepts(Parameter::Temperature))
    {
        json::field(out, "temperature", &temperature);
    }
    if let Some(tokens) = call.max_tokens {
        json::field(out, "max_output_tokens", &tokens);
    }
    reasoning(call, out);
    let mut text = Map::new();
    if let Some(format) = call.response_format.as_ref().and_then(format) {
        text.insert("format".to_owned(), format);
    }
    if let Some(verbosity) = call
        .verbosity
        .as_deref()
        .filter(|_| call.accepts(Parameter::Verbosity))
    {
        text.insert("verbosity".to_owned(), verbosity.into());
    }
    if !text.is_empty() {
        json::field(out, "text", &text);
    }
    // Nothing of a conversation is kept at the provider.
    out.extend_from_slice(br#","store":false"#);
}

/// What a reasoning model is told. Its reasoning comes back sealed, and goes with the history from
/// then on.
fn reasoning(call: &Call, out: &mut Vec<u8>) {
    let reasons = is_openai_reasoner(&call.model) || call.reasoning_effort.is_some();
    if !reasons {
        return;
    }
    let mut fields = Map::new();
    if let Some(effort) = &call.reasoning_effort {
        fields.insert("effort".to_owned(), effort.as_str().into());
    }
    if call.accepts(Parameter::ReasoningSummary) {
        fields.insert("summary".to_owned(), "auto".into());
    }
    if !fields.is_empty() && call.accepts(Parameter::Reasoning) {
        json::field(out, "reasoning", &fields);
    }
    if call.accepts(Parameter::SealedReasoning) {
        json::field(out, "include", &["reasoning.encrypted_content"]);
    }
}

/// The form of the answer, which lies one level flatter than in chat completions.
fn format(given: &Value) -> Option<Value> {
    match given.get("type").and_then(Value::as_str)? {
        "json_schema" => {
            let mut format = given.get("json_schema")?.as_object()?.clone();
            format.insert("type".to_owned(), "json_schema".into());
            format
                .entry("name")
                .or_insert_with(|| Value::from("answer"));
            Some(Value::Object(format))
        }
        _ => Some(given.clone()),
    }
}
