//! Messages and tools in the protocol's JSON.

use mnemic_core::messages::{ContentPart, MessageBody, Role, ToolCall, ToolReturn};
use serde_json::json;

use crate::{
    json,
    toolset::{Parameters, ToolSpec},
    transcript::{MessageView, OpenCall, Transcript},
    wire_form::{NO_RETURN, shown, text_of, wire_arguments, wire_id, wire_name},
};

/// Appends one tool.
pub(crate) fn tool(out: &mut Vec<u8>, spec: &ToolSpec, parameters: Parameters<'_>) {
    let (parameters, is_strict) = match parameters {
        Parameters::Plain(parameters) => (parameters, false),
        Parameters::Strict(parameters) => (parameters, true),
    };
    out.extend_from_slice(br#"{"type":"function","function":{"name":"#);
    json::write(out, &spec.name);
    json::field(out, "description", &spec.description);
    if parameters.is_object() {
        json::field(out, "parameters", parameters);
    } else {
        json::field(
            out,
            "parameters",
            &json!({"type": "object", "properties": {}}),
        );
    }
    if is_strict {
        out.extend_from_slice(br#","strict":true"#);
    }
    out.extend_from_slice(b"}}");
}

/// Appends a message to a transcript's tail.
pub(crate) fn message(transcript: &mut Transcript, view: &MessageView<'_>) {
    match view.role {
        Role::Tool => returns(transcript, &view.body.tool_returns),
        Role::Assistant => {
            close_calls(transcript);
            assistant(transcript, view);
        }
        Role::User | Role::System => {
            close_calls(transcript);
            spoken(&mut transcript.tail, view);
        }
    }
}

/// Appends a return in place of one that is missing.
pub(crate) fn missing_return(out: &mut Vec<u8>, id: &str) {
    tool_message(out, id, NO_RETURN);
}

fn close_calls(transcript: &mut Transcript) {
    for call in std::mem::take(&mut transcript.open_calls) {
        missing_return(&mut transcript.tail, &call.sent);
    }
    show_images(transcript);
}

fn returns(transcript: &mut Transcript, returns: &[ToolReturn]) {
    for result in returns {
        if let Some(call) = transcript.answered(&result.tool_call_id) {
            tool_message(&mut transcript.tail, &call.sent, &result.text);
            let images = result.images.iter().cloned();
            transcript.returned_images.extend(images);
        }
    }
    if transcript.open_calls.is_empty() {
        show_images(transcript);
    }
}

/// Shows what tools returned: their own messages may hold nothing but text.
fn show_images(transcript: &mut Transcript) {
    let images = std::mem::take(&mut transcript.returned_images);
    if images.is_empty() {
        return;
    }
    let body = shown(images);
    let view = MessageView {
        role: Role::User,
        body: &body,
        name: None,
    };
    spoken(&mut transcript.tail, &view);
}

fn tool_message(out: &mut Vec<u8>, id: &str, text: &str) {
    out.extend_from_slice(br#",{"role":"tool","tool_call_id":"#);
    json::write(out, id);
    json::field(out, "content", text);
    out.push(b'}');
}

fn spoken(out: &mut Vec<u8>, view: &MessageView<'_>) {
    let images = view
        .body
        .content
        .iter()
        .any(|part| matches!(part, ContentPart::Image { .. }));
    out.extend_from_slice(br#",{"role":"#);
    json::write(out, view.role.as_str());
    out.extend_from_slice(br#","content":"#);
    if images && view.role == Role::User {
        parts(out, view.body);
    } else {
        json::write(out, &*text_of(view.body));
    }
    if let Some(name) = view.name.map(wire_name).filter(|name| !name.is_empty()) {
        json::field(out, "name", &*name);
    }
    out.push(b'}');
}

fn parts(out: &mut Vec<u8>, body: &MessageBody) {
    let mut separator = b'[';
    for part in &body.content {
        match part {
            ContentPart::Text { text } => {
                out.push(separator);
                out.extend_from_slice(br#"{"type":"text","text":"#);
                json::write(out, text);
                out.push(b'}');
            }
            ContentPart::Image { media_type, data } => {
                out.push(separator);
                out.extend_from_slice(br#"{"type":"image_url","image_url":{"url":"#);
                json::write(out, &format_args!("data:{media_type};base64,{data}"));
                out.extend_from_slice(b"}}");
            }
            ContentPart::Reasoning { .. } | ContentPart::RedactedReasoning { .. } => continue,
        }
        separator = b',';
    }
    out.push(b']');
}

fn assistant(transcript: &mut Transcript, view: &MessageView<'_>) {
    let text = text_of(view.body);
    let calls = &view.body.tool_calls;
    if text.is_empty() && calls.is_empty() {
        return;
    }
    let out = &mut transcript.tail;
    out.extend_from_slice(br#",{"role":"assistant","content":"#);
    if text.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        json::write(out, &*text);
    }
    if transcript.style.echo_reasoning {
        let thoughts = thoughts_of(view.body);
        if !thoughts.is_empty() {
            json::field(out, "reasoning_content", &thoughts);
        }
    }
    if !calls.is_empty() {
        out.extend_from_slice(br#","tool_calls":"#);
        let mut separator = b'[';
        for call in calls {
            out.push(separator);
            separator = b',';
            let id = tool_call(out, call);
            transcript.open_calls.push(OpenCall {
                sent: id.clone(),
                id,
            });
        }
        out.push(b']');
    }
    out.push(b'}');
}

fn tool_call(out: &mut Vec<u8>, call: &ToolCall) -> String {
    let id = wire_id(&call.id).into_owned();
    out.extend_from_slice(br#"{"id":"#);
    json::write(out, &id);
    out.extend_from_slice(br#","type":"function","function":{"name":"#);
    let name = wire_name(&call.name);
    json::write(out, if name.is_empty() { "unnamed" } else { &*name });
    json::field(out, "arguments", &*wire_arguments(&call.arguments));
    out.extend_from_slice(b"}}");
    id
}

fn thoughts_of(body: &MessageBody) -> String {
    let thoughts = body.content.iter().filter_map(|part| match part {
        ContentPart::Reasoning { text, .. } => Some(text.as_str()),
        _ => None,
    });
    thoughts.collect::<Vec<_>>().join("\n")
}
