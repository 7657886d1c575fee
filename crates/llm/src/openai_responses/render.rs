//! Items and tools in the protocol's JSON.

use mnemic_core::messages::{ContentPart, MessageBody, Role, ToolCall, ToolReturn};
use serde_json::json;

use crate::{
    json,
    toolset::{Parameters, ToolSpec},
    transcript::{MessageView, OpenCall, Style, Transcript},
    wire_form::{NO_RETURN, sendable_parts, text_of, wire_arguments, wire_id, wire_name},
};

/// Appends one tool.
pub(crate) fn tool(out: &mut Vec<u8>, spec: &ToolSpec, parameters: Parameters<'_>) {
    let (parameters, is_strict) = match parameters {
        Parameters::Plain(parameters) => (parameters, false),
        Parameters::Strict(parameters) => (parameters, true),
    };
    out.extend_from_slice(br#"{"type":"function","name":"#);
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
    // Strict schemas are the default here, and few schemas are such.
    let strict: &[u8] = if is_strict {
        br#","strict":true}"#
    } else {
        br#","strict":false}"#
    };
    out.extend_from_slice(strict);
}

/// Appends a message's items to a transcript's tail.
pub(crate) fn message(transcript: &mut Transcript, view: &MessageView<'_>) {
    match view.role {
        Role::Tool => {
            for result in &view.body.tool_returns {
                if let Some(call) = transcript.answered(&result.tool_call_id) {
                    returned(&mut transcript.tail, &call.sent, result);
                }
            }
        }
        Role::Assistant => {
            close_calls(transcript);
            assistant(transcript, view.body);
        }
        Role::User | Role::System => {
            close_calls(transcript);
            spoken(&mut transcript.tail, view);
        }
    }
}

/// Appends a return in place of one that is missing.
pub(crate) fn missing_return(out: &mut Vec<u8>, id: &str) {
    output(out, id, NO_RETURN);
}

fn close_calls(transcript: &mut Transcript) {
    for call in std::mem::take(&mut transcript.open_calls) {
        missing_return(&mut transcript.tail, &call.sent);
    }
}

fn output(out: &mut Vec<u8>, id: &str, text: &str) {
    out.extend_from_slice(br#",{"type":"function_call_output","call_id":"#);
    json::write(out, id);
    json::field(out, "output", text);
    out.push(b'}');
}

fn returned(out: &mut Vec<u8>, id: &str, result: &ToolReturn) {
    if result.images.is_empty() {
        return output(out, id, &result.text);
    }
    out.extend_from_slice(br#",{"type":"function_call_output","call_id":"#);
    json::write(out, id);
    out.extend_from_slice(br#","output":[{"type":"input_text","text":"#);
    json::write(out, &result.text);
    for image in &result.images {
        out.extend_from_slice(br#"},{"type":"input_image","image_url":"#);
        json::write(
            out,
            &format_args!("data:{};base64,{}", image.media_type, image.data),
        );
    }
    out.extend_from_slice(b"}]}");
}

fn spoken(out: &mut Vec<u8>, view: &MessageView<'_>) {
    let is_user = view.role == Role::User;
    let images = view
        .body
        .content
        .iter()
        .any(|part| matches!(part, ContentPart::Image { .. }));
    // The protocol has no field for a speaker's name.
    let name = view
        .name
        .map(wire_name)
        .filter(|name| is_user && !name.is_empty());
    let prefix = name.map_or_else(String::new, |name| format!("{name}: "));
    out.extend_from_slice(br#",{"role":"#);
    json::write(out, view.role.as_str());
    out.extend_from_slice(br#","content":"#);
    if images && is_user {
        parts(out, view.body, &prefix);
    } else {
        json::write(out, &format_args!("{prefix}{}", text_of(view.body)));
    }
    out.push(b'}');
}

fn parts(out: &mut Vec<u8>, body: &MessageBody, mut prefix: &str) {
    let mut separator = b'[';
    for part in &body.content {
        match part {
            ContentPart::Text { text } => {
                out.push(separator);
                out.extend_from_slice(br#"{"type":"input_text","text":"#);
                json::write(out, &format_args!("{prefix}{text}"));
                out.push(b'}');
                prefix = "";
            }
            ContentPart::Image { media_type, data } => {
                out.push(separator);
                out.extend_from_slice(br#"{"type":"input_image","image_url":"#);
                json::write(out, &format_args!("data:{media_type};base64,{data}"));
                out.push(b'}');
            }
            ContentPart::Reasoning { .. } | ContentPart::RedactedReasoning { .. } => continue,
        }
        separator = b',';
    }
    out.push(b']');
}

fn assistant(transcript: &mut Transcript, body: &MessageBody) {
    let out = &mut transcript.tail;
    for part in body.content.iter().take(sendable_parts(body)) {
        match part {
            ContentPart::Text { text } if !text.is_empty() => {
                out.extend_from_slice(br#",{"role":"assistant","content":"#);
                json::write(out, text);
                out.push(b'}');
            }
            _ => thoughts(out, &transcript.style, part),
        }
    }
    for call in &body.tool_calls {
        let id = function_call(out, call);
        transcript.open_calls.push(OpenCall {
            sent: id.clone(),
            id,
        });
    }
}

/// Appends reasoning that the provider sealed.
fn thoughts(out: &mut Vec<u8>, style: &Style, part: &ContentPart) {
    if let ContentPart::Reasoning {
        text,
        signature: Some(sealed),
        origin: Some(origin),
    } = part
        && style.signed_by(Some(origin))
    {
        out.extend_from_slice(br#",{"type":"reasoning""#);
        if let Some(id) = &origin.id {
            json::field(out, "id", id);
        }
        if text.is_empty() {
            out.extend_from_slice(br#","summary":[]"#);
        } else {
            out.extend_from_slice(br#","summary":[{"type":"summary_text","text":"#);
            json::write(out, text);
            out.extend_from_slice(b"}]");
        }
        json::field(out, "encrypted_content", sealed);
        out.push(b'}');
    }
}

fn function_call(out: &mut Vec<u8>, call: &ToolCall) -> String {
    let id = wire_id(&call.id).into_owned();
    out.extend_from_slice(br#",{"type":"function_call","call_id":"#);
    json::write(out, &id);
    let name = wire_name(&call.name);
    json::field(
        out,
        "name",
        if name.is_empty() { "unnamed" } else { &*name },
    );
    json::field(out, "arguments", &*wire_arguments(&call.arguments));
    out.push(b'}');
    id
}
