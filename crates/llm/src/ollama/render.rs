//! Messages in the protocol's JSON. Tools have the form of chat completions.

use mnemic_core::messages::{ContentPart, MessageBody, Role, ToolCall, ToolReturn};

use crate::{
    json,
    transcript::{MessageView, OpenCall, Transcript},
    wire_form::{NO_RETURN, shown, text_of, wire_arguments, wire_id, wire_name},
};

/// Appends a message to a transcript's tail.
pub(crate) fn message(transcript: &mut Transcript, view: &MessageView<'_>) {
    match view.role {
        Role::Tool => returns(transcript, &view.body.tool_returns),
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
    tool_message(out, (id, ""), NO_RETURN);
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
            let name = wire_name(&result.name);
            tool_message(&mut transcript.tail, (&call.sent, &name), &result.text);
            let images = result.images.iter().cloned();
            transcript.returned_images.extend(images);
        }
    }
    if transcript.open_calls.is_empty() {
        show_images(transcript);
    }
}

/// Shows what tools returned: templates look for images in users' messages alone.
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

/// Templates find the call of a return by the tool's name, newer ones by the call's id.
fn tool_message(out: &mut Vec<u8>, (id, name): (&str, &str), text: &str) {
    out.extend_from_slice(br#",{"role":"tool","content":"#);
    json::write(out, text);
    if !name.is_empty() {
        json::field(out, "tool_name", name);
    }
    json::field(out, "tool_call_id", id);
    out.push(b'}');
}

fn spoken(out: &mut Vec<u8>, view: &MessageView<'_>) {
    out.extend_from_slice(br#",{"role":"#);
    json::write(out, view.role.as_str());
    json::field(out, "content", &*text_of(view.body));
    let images: Vec<&str> = view
        .body
        .content
        .iter()
        .filter_map(|part| match part {
            ContentPart::Image { data, .. } => Some(data.as_str()),
            _ => None,
        })
        .collect();
    if !images.is_empty() {
        json::field(out, "images", &images);
    }
    out.push(b'}');
}

fn assistant(transcript: &mut Transcript, body: &MessageBody) {
    let text = text_of(body);
    let calls = &body.tool_calls;
    if text.is_empty() && calls.is_empty() {
        return;
    }
    let out = &mut transcript.tail;
    out.extend_from_slice(br#",{"role":"assistant","content":"#);
    json::write(out, &*text);
    if !calls.is_empty() {
        // Models that think go on better with what they thought before a call; thoughts before an
        // answer are over, and templates leave them out.
        let thoughts = own_thoughts(body);
        if !thoughts.is_empty() {
            json::field(out, "thinking", &thoughts);
        }
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

/// Arguments are an object here, not a text.
fn tool_call(out: &mut Vec<u8>, call: &ToolCall) -> String {
    let id = wire_id(&call.id).into_owned();
    out.extend_from_slice(br#"{"id":"#);
    json::write(out, &id);
    out.extend_from_slice(br#","function":{"name":"#);
    let name = wire_name(&call.name);
    json::write(out, if name.is_empty() { "unnamed" } else { &*name });
    out.extend_from_slice(br#","arguments":"#);
    out.extend_from_slice(wire_arguments(&call.arguments).as_bytes());
    out.extend_from_slice(b"}}");
    id
}

/// Thoughts that no other provider signed.
fn own_thoughts(body: &MessageBody) -> String {
    let thoughts = body.content.iter().filter_map(|part| match part {
        ContentPart::Reasoning {
            text, origin: None, ..
        } => Some(text.as_str()),
        _ => None,
    });
    thoughts.collect::<Vec<_>>().join("\n")
}
