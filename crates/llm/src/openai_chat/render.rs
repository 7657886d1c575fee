//! Messages and tools in the protocol's JSON.
//!
//! What a provider refuses in a history it refuses for ever after, so nothing that a model or an
//! import may have left there is passed on unseen: names, ids and arguments are brought into the
//! forms that all servers accept.

use std::borrow::Cow;

use mnemic_core::messages::{ContentPart, MessageBody, Role, ToolCall, ToolReturn};
use serde_json::json;

use crate::{
    json,
    toolset::ToolSpec,
    transcript::{MessageView, Transcript},
};

/// OpenAI's limit on the length of call ids.
const MAX_ID: usize = 40;
/// OpenAI's limit on the length of function names and speakers' names.
const MAX_NAME: usize = 64;
/// What the model reads in place of a return that the history does not hold.
const NO_RETURN: &str = "The result of this call was not recorded.";

/// Appends one tool.
pub(crate) fn tool(out: &mut Vec<u8>, spec: &ToolSpec) {
    out.extend_from_slice(br#"{"type":"function","function":{"name":"#);
    json::write(out, &spec.name);
    json::field(out, "description", &spec.description);
    if spec.parameters.is_object() {
        json::field(out, "parameters", &spec.parameters);
    } else {
        json::field(
            out,
            "parameters",
            &json!({"type": "object", "properties": {}}),
        );
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
    for id in std::mem::take(&mut transcript.open_calls) {
        missing_return(&mut transcript.tail, &id);
    }
}

fn returns(transcript: &mut Transcript, returns: &[ToolReturn]) {
    for result in returns {
        let id = wire_id(&result.tool_call_id);
        let Some(at) = transcript.open_calls.iter().position(|open| *open == id) else {
            tracing::debug!(tool_call_id = %result.tool_call_id, "a return without a call is left out");
            continue;
        };
        transcript.open_calls.remove(at);
        tool_message(&mut transcript.tail, &id, &result.text);
    }
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
            ContentPart::Reasoning { .. } => continue,
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
            transcript.open_calls.push(id);
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

/// One text as it is, several joined by line breaks.
fn text_of(body: &MessageBody) -> Cow<'_, str> {
    match body.content.as_slice() {
        [] => Cow::Borrowed(""),
        [ContentPart::Text { text }] => Cow::Borrowed(text),
        _ => Cow::Owned(body.plain_text()),
    }
}

fn thoughts_of(body: &MessageBody) -> String {
    let thoughts = body.content.iter().filter_map(|part| match part {
        ContentPart::Reasoning { text, .. } => Some(text.as_str()),
        _ => None,
    });
    thoughts.collect::<Vec<_>>().join("\n")
}

/// A call id that fits: short, visible ASCII. Others are replaced by a digest, the same every time.
fn wire_id(id: &str) -> Cow<'_, str> {
    if !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(id);
    }
    // FNV-1a, written out because the standard hasher may differ between compilers.
    let digest = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Cow::Owned(format!("call_{digest:016x}"))
}

/// A name of letters, digits, `_` and `-`, which is what OpenAI accepts of functions and speakers.
fn wire_name(name: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.len() <= MAX_NAME && name.chars().all(fits) {
        return Cow::Borrowed(name);
    }
    let safe = name
        .chars()
        .take(MAX_NAME)
        .map(|c| if fits(c) { c } else { '_' });
    Cow::Owned(safe.collect())
}

/// Arguments as a JSON object in text: llama-server and vLLM parse them for their chat templates
/// and fail on anything else.
fn wire_arguments(arguments: &str) -> Cow<'_, str> {
    if json::is_object(arguments) {
        return Cow::Borrowed(arguments);
    }
    if arguments.trim().is_empty() {
        return Cow::Borrowed("{}");
    }
    Cow::Owned(json!({ "not_json": arguments }).to_string())
}
