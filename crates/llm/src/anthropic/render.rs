//! Messages and tools in the protocol's JSON.
//!
//! The protocol knows two speakers. All results of an assistant message's calls stand in the one user
//! message right after it, so results are gathered until the last has come. Messages of the same
//! speaker may follow each other; the provider reads them as one.

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use mnemic_core::messages::{ContentPart, Role, ToolCall, ToolReturn, ToolStatus};
use serde_json::{Value, json};

use crate::{
    body::BodyWriter,
    json,
    toolset::ToolSpec,
    transcript::{MessageView, OpenCall, Style, Transcript},
    wire_form::{NO_RETURN, sendable_parts, spoken_parts, wire_arguments, wire_id, wire_name},
};

/// What asks the provider to keep everything up to the end of a block in its prompt cache.
pub(crate) const MARK: &[u8] = br#","cache_control":{"type":"ephemeral"}"#;
/// Stands before a history that begins with the model's own words.
const BEFORE: &str = "(The conversation before this point is not shown.)";
/// Stands after one that ends with them.
const GO_ON: &str = "(Go on.)";

/// Whether cache marks are put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// At the ends of the last user messages.
    With,
    /// Nowhere.
    Without,
}

/// What a transcript in this form keeps besides its bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    /// Results that wait for those of the other calls, each with a comma before it.
    pub(crate) results: Vec<u8>,
    pub(crate) last: Option<Speaker>,
    /// Where the last two user messages can be marked, the older first.
    ends: Vec<usize>,
    /// Ids of all calls: the provider refuses a history in which one comes twice.
    ids: Arc<HashSet<String>>,
    /// Whether the assistant began to answer the last user message with signed thinking.
    thoughtful: Option<bool>,
}

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    User,
    Assistant,
}

impl Turns {
    /// Whether the model is in the middle of a turn that it began without thinking, so that thinking
    /// can't be asked for before the next.
    pub(crate) fn is_unthinking(&self) -> bool {
        self.thoughtful == Some(false)
    }
}

/// Appends one tool.
pub(crate) fn tool(out: &mut Vec<u8>, spec: &ToolSpec) {
    out.extend_from_slice(br#"{"name":"#);
    json::write(out, &spec.name);
    json::field(out, "description", &spec.description);
    if spec.parameters.is_object() {
        json::field(out, "input_schema", &spec.parameters);
    } else {
        json::field(
            out,
            "input_schema",
            &json!({"type": "object", "properties": {}}),
        );
    }
    out.push(b'}');
}

/// Appends a message to a transcript's tail.
pub(crate) fn message(transcript: &mut Transcript, view: &MessageView<'_>) {
    match view.role {
        Role::Tool => returns(transcript, &view.body.tool_returns),
        Role::Assistant => {
            close_returns(transcript);
            assistant(transcript, view);
        }
        Role::User | Role::System => {
            close_returns(transcript);
            spoken(transcript, view);
        }
    }
}

/// Appends a transcript to a request, each message with a comma before it, in a form that the
/// provider can answer.
pub(crate) fn write(transcript: &Transcript, body: &mut BodyWriter, marks: Marks) {
    let turns = &transcript.turns;
    let mut results = turns.results.clone();
    for call in &transcript.open_calls {
        no_result(&mut results, &call.sent);
    }
    let ends = match (marks, turns.ends.as_slice()) {
        (Marks::Without, _) => &[],
        // The results are one of the two ends themselves.
        (Marks::With, [_, last]) if !results.is_empty() => std::slice::from_ref(last),
        (Marks::With, ends) => ends,
    };
    transcript.write_marked(body, ends, MARK);
    if results.is_empty() {
        if turns.last != Some(Speaker::User) {
            let mut text = Vec::new();
            text_block(&mut text, GO_ON);
            open_user(body.bytes(), &text);
            body.bytes().extend_from_slice(b"]}");
        }
        return;
    }
    open_user(body.bytes(), &results);
    if marks == Marks::With {
        body.bytes().pop();
        body.bytes().extend_from_slice(MARK);
        body.bytes().push(b'}');
    }
    body.bytes().extend_from_slice(b"]}");
}

fn returns(transcript: &mut Transcript, returns: &[ToolReturn]) {
    for returned in returns {
        if let Some(call) = transcript.answered(&returned.tool_call_id) {
            let results = &mut transcript.turns.results;
            open_result(results, &call.sent);
            if returned.images.is_empty() {
                text_content(results, &returned.text);
            } else {
                shown_content(results, returned);
            }
            // The provider refuses images in what is marked as an error; the text says that it is one.
            let status = match returned.images.as_slice() {
                [] => returned.status,
                _ => ToolStatus::Success,
            };
            close_result(results, status);
        }
    }
    if transcript.open_calls.is_empty() {
        close_returns(transcript);
    }
}

fn close_returns(transcript: &mut Transcript) {
    for call in std::mem::take(&mut transcript.open_calls) {
        let results = &mut transcript.turns.results;
        no_result(results, &call.sent);
    }
    let results = std::mem::take(&mut transcript.turns.results);
    if !results.is_empty() {
        user_message(transcript, &results);
    }
}

/// Appends a user message of these blocks.
fn user_message(transcript: &mut Transcript, blocks: &[u8]) {
    open_user(&mut transcript.tail, blocks);
    // A mark goes into the last block, before the brace that ends it.
    let end = transcript.place() - 1;
    transcript.tail.extend_from_slice(b"]}");
    let ends = &mut transcript.turns.ends;
    if ends.len() > 1 {
        ends.remove(0);
    }
    ends.push(end);
    transcript.turns.last = Some(Speaker::User);
}

/// Begins a user message with blocks each of which has a comma before it.
fn open_user(out: &mut Vec<u8>, blocks: &[u8]) {
    out.extend_from_slice(br#",{"role":"user","content":["#);
    out.extend_from_slice(blocks.get(1..).unwrap_or_default());
}

/// Appends a return in place of one that is missing.
fn no_result(out: &mut Vec<u8>, id: &str) {
    open_result(out, id);
    text_content(out, NO_RETURN);
    close_result(out, ToolStatus::Error);
}

fn open_result(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(br#",{"type":"tool_result","tool_use_id":"#);
    json::write(out, id);
}

fn text_content(out: &mut Vec<u8>, text: &str) {
    if !text.trim().is_empty() {
        json::field(out, "content", text);
    }
}

/// A text and the images after it.
fn shown_content(out: &mut Vec<u8>, returned: &ToolReturn) {
    let mut blocks = Vec::new();
    text_block(&mut blocks, &returned.text);
    for image in &returned.images {
        image_block(&mut blocks, &image.media_type, &image.data);
    }
    out.extend_from_slice(br#","content":["#);
    out.extend_from_slice(blocks.get(1..).unwrap_or_default());
    out.push(b']');
}

fn image_block(out: &mut Vec<u8>, media_type: &str, data: &str) {
    out.extend_from_slice(br#",{"type":"image","source":{"type":"base64""#);
    json::field(out, "media_type", media_type);
    json::field(out, "data", data);
    out.extend_from_slice(b"}}");
}

fn close_result(out: &mut Vec<u8>, status: ToolStatus) {
    if status == ToolStatus::Error {
        json::field(out, "is_error", &true);
    }
    out.push(b'}');
}

/// Appends a text; blank ones are refused and therefore left out.
fn text_block(out: &mut Vec<u8>, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    out.extend_from_slice(br#",{"type":"text","text":"#);
    json::write(out, text);
    out.push(b'}');
}

fn spoken(transcript: &mut Transcript, view: &MessageView<'_>) {
    let blocks = spoken_parts(view, text_block, image_block);
    user_message(transcript, &blocks);
    transcript.turns.thoughtful = None;
}

fn assistant(transcript: &mut Transcript, view: &MessageView<'_>) {
    let mut blocks = Vec::new();
    let mut thoughtful = false;
    for part in view.body.content.iter().take(sendable_parts(view.body)) {
        match part {
            ContentPart::Text { text } => text_block(&mut blocks, text),
            _ => thoughtful |= thoughts(&mut blocks, &transcript.style, part),
        }
    }
    for call in &view.body.tool_calls {
        tool_use(transcript, &mut blocks, call);
    }
    let Some(blocks) = blocks.get(1..) else {
        return;
    };
    if transcript.turns.last.is_none() {
        let mut before = Vec::new();
        text_block(&mut before, BEFORE);
        user_message(transcript, &before);
    }
    let out = &mut transcript.tail;
    out.extend_from_slice(br#",{"role":"assistant","content":["#);
    out.extend_from_slice(blocks);
    out.extend_from_slice(b"]}");
    transcript.turns.last = Some(Speaker::Assistant);
    transcript.turns.thoughtful.get_or_insert(thoughtful);
}

/// Appends thoughts that the provider signed; whether it did.
fn thoughts(out: &mut Vec<u8>, style: &Style, part: &ContentPart) -> bool {
    match part {
        ContentPart::Reasoning {
            text,
            signature: Some(signature),
            origin,
        } if style.signed_by(origin.as_ref()) => {
            out.extend_from_slice(br#",{"type":"thinking","thinking":"#);
            json::write(out, text);
            json::field(out, "signature", signature);
        }
        ContentPart::RedactedReasoning { data, origin } if style.signed_by(origin.as_ref()) => {
            out.extend_from_slice(br#",{"type":"redacted_thinking","data":"#);
            json::write(out, data);
        }
        _ => return false,
    }
    out.push(b'}');
    true
}

fn tool_use(transcript: &mut Transcript, out: &mut Vec<u8>, call: &ToolCall) {
    let id = wire_id(&call.id).into_owned();
    let sent = unused_id(&mut transcript.turns.ids, &id);
    out.extend_from_slice(br#",{"type":"tool_use","id":"#);
    json::write(out, &sent);
    let name = wire_name(&call.name);
    json::field(
        out,
        "name",
        if name.is_empty() { "unnamed" } else { &*name },
    );
    out.extend_from_slice(br#","input":"#);
    out.extend_from_slice(input(&call.arguments).as_bytes());
    out.push(b'}');
    transcript.open_calls.push(OpenCall { id, sent });
}

/// Arguments as the object that they are. What can't be read as JSON values, as a lone surrogate
/// can't, the provider could not read either.
fn input(arguments: &str) -> Cow<'_, str> {
    let input = wire_arguments(arguments);
    if serde_json::from_str::<Value>(&input).is_ok() {
        return input;
    }
    Cow::Owned(json!({ "not_json": arguments }).to_string())
}

/// An id of letters, digits, `_` and `-` that no other call has.
fn unused_id(ids: &mut Arc<HashSet<String>>, id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let plain: String = id.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    let numbered = (2_u32..).map(|number| format!("{plain}_{number}"));
    let unused = std::iter::once(plain.clone())
        .chain(numbered)
        .find(|id| !ids.contains(id))
        .unwrap_or_default();
    Arc::make_mut(ids).insert(unused.clone());
    unused
}
