//! Messages and tools in the protocol's JSON.
//!
//! The protocol knows two speakers, `user` and `model`. All results of a message's calls stand in the one
//! user message right after it, so results are gathered until the last has come. The signature of the
//! model's thoughts goes back with its first call, or with its text.

use mnemic_core::messages::{ContentPart, MessageBody, Role, ToolCall, ToolReturn};
use serde_json::{Value, json};

use crate::{
    anthropic::render::Speaker,
    body::BodyWriter,
    json,
    toolset::ToolSpec,
    transcript::{MessageView, OpenCall, Style, Transcript},
    wire_form::{NO_RETURN, sendable_parts, spoken_parts, wire_arguments, wire_id, wire_name},
};

/// Stands before a history that begins with the model's own words.
const BEFORE: &str = "(The conversation before this point is not shown.)";
/// Stands after one that ends with them.
const GO_ON: &str = "(Go on.)";

/// Appends one tool.
pub(crate) fn tool(out: &mut Vec<u8>, spec: &ToolSpec) {
    out.extend_from_slice(br#"{"name":"#);
    json::write(out, &spec.name);
    json::field(out, "description", &spec.description);
    let has_any = spec
        .parameters
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|properties| !properties.is_empty());
    // An object without any field is refused.
    if has_any {
        json::field(out, "parametersJsonSchema", &spec.parameters);
    }
    out.push(b'}');
}

/// Appends a message to a transcript's tail.
pub(crate) fn message(transcript: &mut Transcript, view: &MessageView<'_>) {
    match view.role {
        Role::Tool => returns(transcript, &view.body.tool_returns),
        Role::Assistant => {
            close_returns(transcript);
            assistant(transcript, view.body);
        }
        Role::User | Role::System => {
            close_returns(transcript);
            spoken(transcript, view);
        }
    }
}

/// Appends a transcript to a request, each message with a comma before it, in a form that the provider
/// can answer.
pub(crate) fn write(transcript: &Transcript, body: &mut BodyWriter) {
    let mut results = transcript.turns.results.clone();
    for call in &transcript.open_calls {
        result(&mut results, call, NO_RETURN);
    }
    transcript.write_marked(body, &[], b"");
    if results.is_empty() && transcript.turns.last != Some(Speaker::User) {
        text_part(&mut results, GO_ON);
    }
    if !results.is_empty() {
        open(body.bytes(), "user", &results);
    }
}

fn returns(transcript: &mut Transcript, returns: &[ToolReturn]) {
    for returned in returns {
        if let Some(call) = transcript.answered(&returned.tool_call_id) {
            let results = &mut transcript.turns.results;
            result(results, &call, &returned.text);
            for image in &returned.images {
                inline(results, &image.media_type, &image.data);
            }
        }
    }
    if transcript.open_calls.is_empty() {
        close_returns(transcript);
    }
}

fn close_returns(transcript: &mut Transcript) {
    for call in std::mem::take(&mut transcript.open_calls) {
        result(&mut transcript.turns.results, &call, NO_RETURN);
    }
    let results = std::mem::take(&mut transcript.turns.results);
    if !results.is_empty() {
        say(transcript, Speaker::User, &results);
    }
}

/// Appends a message of parts each of which has a comma before it.
fn say(transcript: &mut Transcript, speaker: Speaker, parts: &[u8]) {
    let role = match speaker {
        Speaker::User => "user",
        Speaker::Assistant => "model",
    };
    open(&mut transcript.tail, role, parts);
    transcript.turns.last = Some(speaker);
}

fn open(out: &mut Vec<u8>, role: &str, parts: &[u8]) {
    out.extend_from_slice(br#",{"role":"#);
    json::write(out, role);
    out.extend_from_slice(br#","parts":["#);
    out.extend_from_slice(parts.get(1..).unwrap_or_default());
    out.extend_from_slice(b"]}");
}

/// What is sent of a call stands in it as `id name`: results are matched to calls by both.
fn result(out: &mut Vec<u8>, call: &OpenCall, text: &str) {
    let (id, name) = call.sent.split_once(' ').unwrap_or((&call.sent, "unnamed"));
    let response = json!({"functionResponse": {
        "id": id, "name": name, "response": { "result": text },
    }});
    out.push(b',');
    json::write(out, &response);
}

/// Appends a text; empty ones are refused and therefore left out.
fn text_part(out: &mut Vec<u8>, text: &str) {
    if !text.trim().is_empty() {
        out.extend_from_slice(br#",{"text":"#);
        json::write(out, text);
        out.push(b'}');
    }
}

/// Appends an image.
fn inline(out: &mut Vec<u8>, media_type: &str, data: &str) {
    out.extend_from_slice(br#",{"inlineData":{"mimeType":"#);
    json::write(out, media_type);
    json::field(out, "data", data);
    out.extend_from_slice(b"}}");
}

fn spoken(transcript: &mut Transcript, view: &MessageView<'_>) {
    let parts = spoken_parts(view, text_part, inline);
    say(transcript, Speaker::User, &parts);
}

fn assistant(transcript: &mut Transcript, body: &MessageBody) {
    let mut parts = Vec::new();
    for part in body.content.iter().take(sendable_parts(body)) {
        if let ContentPart::Text { text } = part {
            text_part(&mut parts, text);
        }
    }
    let signature = signature(&transcript.style, body);
    if body.tool_calls.is_empty() && !parts.is_empty() {
        sign(&mut parts, signature);
    }
    for (n, call) in body.tool_calls.iter().enumerate() {
        function_call(transcript, &mut parts, call);
        if n == 0 {
            sign(&mut parts, signature);
        }
    }
    if parts.is_empty() {
        return;
    }
    if transcript.turns.last.is_none() {
        let mut before = Vec::new();
        text_part(&mut before, BEFORE);
        say(transcript, Speaker::User, &before);
    }
    say(transcript, Speaker::Assistant, &parts);
}

/// The signature that the provider gave with a message.
fn signature<'b>(style: &Style, body: &'b MessageBody) -> Option<&'b str> {
    body.content.iter().rev().find_map(|part| match part {
        ContentPart::Reasoning {
            signature: Some(signature),
            origin,
            ..
        } if style.signed_by(origin.as_ref()) => Some(signature.as_str()),
        _ => None,
    })
}

/// Puts a signature into the last part.
fn sign(parts: &mut Vec<u8>, signature: Option<&str>) {
    if let Some(signature) = signature {
        parts.pop();
        json::field(parts, "thoughtSignature", signature);
        parts.push(b'}');
    }
}

fn function_call(transcript: &mut Transcript, out: &mut Vec<u8>, call: &ToolCall) {
    let id = wire_id(&call.id).into_owned();
    let name = wire_name(&call.name);
    let name = if name.is_empty() { "unnamed" } else { &*name };
    out.extend_from_slice(br#",{"functionCall":{"id":"#);
    json::write(out, &id);
    json::field(out, "name", name);
    out.extend_from_slice(br#","args":"#);
    let arguments = wire_arguments(&call.arguments);
    // What can't be read as JSON values, as a lone surrogate can't, the provider could not read either.
    if serde_json::from_str::<Value>(&arguments).is_ok() {
        out.extend_from_slice(arguments.as_bytes());
    } else {
        json::write(out, &json!({ "not_json": call.arguments }));
    }
    out.extend_from_slice(b"}}");
    transcript.open_calls.push(OpenCall {
        sent: format!("{id} {name}"),
        id,
    });
}
