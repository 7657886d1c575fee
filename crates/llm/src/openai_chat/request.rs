//! The request body.

use bytes::Bytes;
use serde_json::json;

use crate::{
    adaptation::Parameter,
    body::{BodyWriter, SHARED_FROM, WireBody},
    calls::{Call, Delivery, Thinking, ToolChoice},
    endpoints::Protocol,
    json,
};

const CHAT: Protocol = Protocol::OpenAiChat;

/// Renders a call.
pub(crate) fn render(call: &Call, delivery: Delivery) -> WireBody {
    let shared = |bytes: &Bytes| {
        if bytes.len() < SHARED_FROM {
            bytes.len()
        } else {
            0
        }
    };
    let own = call.transcript.len_bytes().min(2 * SHARED_FROM)
        + shared(call.system.json())
        + shared(call.tools.bytes(CHAT))
        + 512;
    let mut body = BodyWriter::with_capacity(own);
    body.bytes().extend_from_slice(br#"{"model":"#);
    json::write(body.bytes(), &call.model);
    messages(call, &mut body);
    tools(call, &mut body);
    options(call, delivery, body.bytes());
    body.bytes().push(b'}');
    let body = body.finish();
    if call
        .endpoint
        .accepts(&call.model, Parameter::LaterSystemMessages)
    {
        return body;
    }
    WireBody::from_vec(without_later_system_messages(&body.to_vec()))
}

fn messages(call: &Call, body: &mut BodyWriter) {
    body.bytes().extend_from_slice(br#","messages":["#);
    if call.system.json().is_empty() {
        // Every message begins with a comma; an object without meaning to the server can't stand
        // before the first, so the transcript goes through a writer of its own.
        let mut alone = BodyWriter::default();
        call.transcript.write_to(&mut alone);
        let bytes = Bytes::from(alone.finish().to_vec());
        if !bytes.is_empty() {
            body.shared(&bytes.slice(1..));
        }
    } else {
        body.bytes()
            .extend_from_slice(br#"{"role":"system","content":"#);
        body.shared(call.system.json());
        body.bytes().push(b'}');
        call.transcript.write_to(body);
    }
    body.bytes().push(b']');
}

fn tools(call: &Call, body: &mut BodyWriter) {
    if call.tools.is_empty() {
        return;
    }
    let (tools, choice) = match &call.tool_choice {
        // `auto` is what every server does when tools are there, and some know no other word.
        ToolChoice::Auto => (call.tools.bytes(CHAT).clone(), None),
        ToolChoice::None => (call.tools.bytes(CHAT).clone(), Some("none")),
        ToolChoice::Required => (call.tools.bytes(CHAT).clone(), Some("required")),
        ToolChoice::Tool(name) => {
            let only = call
                .tools
                .only(CHAT, name)
                .unwrap_or_else(|| call.tools.bytes(CHAT).clone());
            (only, Some("required"))
        }
    };
    body.bytes().extend_from_slice(br#","tools":["#);
    body.shared(&tools);
    body.bytes().push(b']');
    if let Some(choice) = choice {
        json::field(body.bytes(), "tool_choice", choice);
    }
    if let Some(parallel) = call.parallel_tool_calls
        && call
            .endpoint
            .accepts(&call.model, Parameter::ParallelToolCalls)
    {
        json::field(body.bytes(), "parallel_tool_calls", &parallel);
    }
}

fn options(call: &Call, delivery: Delivery, out: &mut Vec<u8>) {
    let accepts = |parameter| call.endpoint.accepts(&call.model, parameter);
    if let Some(temperature) = call.temperature.filter(|_| accepts(Parameter::Temperature)) {
        json::field(out, "temperature", &temperature);
    }
    if let Some(tokens) = call.max_tokens {
        let key = if accepts(Parameter::MaxTokens) {
            "max_tokens"
        } else {
            "max_completion_tokens"
        };
        json::field(out, key, &tokens);
    }
    if let Some(effort) = call
        .reasoning_effort
        .as_ref()
        .filter(|_| accepts(Parameter::ReasoningEffort))
    {
        json::field(out, "reasoning_effort", effort);
    }
    if let Some(verbosity) = call
        .verbosity
        .as_ref()
        .filter(|_| accepts(Parameter::Verbosity))
    {
        json::field(out, "verbosity", verbosity);
    }
    if let Some(thinking) = switch(call).filter(|_| accepts(Parameter::Thinking)) {
        json::field(out, "thinking", &json!({ "type": thinking }));
    }
    if let Some(format) = call
        .response_format
        .as_ref()
        .filter(|_| accepts(Parameter::ResponseFormat))
    {
        json::field(out, "response_format", format);
    }
    if delivery.is_streamed() {
        out.extend_from_slice(br#","stream":true"#);
        if accepts(Parameter::StreamOptions) {
            out.extend_from_slice(br#","stream_options":{"include_usage":true}"#);
        }
    }
}

/// Whether the model thinks, at the provider that has a switch for it.
fn switch(call: &Call) -> Option<&'static str> {
    if !call.endpoint.provider_type().starts_with("zai") {
        return None;
    }
    match call.thinking {
        Thinking::Unset => None,
        Thinking::Disabled => Some("disabled"),
        Thinking::Adaptive | Thinking::Budget(_) => Some("enabled"),
    }
}

/// The same body with the system messages after the first given to the user: some chat templates
/// refuse any that does not come first. The search is safe because a quotation mark inside a JSON
/// string is always escaped: these bytes can only be the beginning of a message.
fn without_later_system_messages(body: &[u8]) -> Vec<u8> {
    const SYSTEM: &[u8] = br#",{"role":"system","#;
    const USER: &[u8] = br#",{"role":"user","#;
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest
        .windows(SYSTEM.len())
        .position(|window| window == SYSTEM)
    {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(USER);
        rest = after.get(SYSTEM.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}
