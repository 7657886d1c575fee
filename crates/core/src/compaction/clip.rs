//! How a message is shown that is too long: its beginning and its end, and between them a note.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::cut::level;
use crate::{
    messages::{ContentPart, MessageBody, Role},
    tokens,
};

/// Tokens that are reckoned for an image, as [`tokens::count_message`] does.
const IMAGE_TOKENS: i64 = 1_600;

/// How often a text is made shorter before nothing of it is shown.
const TRIES: usize = 12;

/// What stands for the middle of a message.
const NOT_SHOWN: &str = "characters are not shown here; conversation_search finds them";

/// Bytes below which a piece of text says nothing, so that only the note is shown.
const MIN_PIECE: usize = 24;

/// Bytes of names and the like in arguments that are left as they are.
const SHORT_VALUE: usize = 64;

/// A body as the model is shown it when `tokens` of it are more than `cap`; `None` when it fits. The
/// stored body stays whole. Calls keep their ids and names, and arguments stay JSON.
#[must_use]
pub fn clip(role: Role, body: &MessageBody, tokens: i64, cap: i64) -> Option<MessageBody> {
    if tokens <= cap {
        return None;
    }
    let body = without_images(body, cap);
    let lengths: Vec<i64> = texts(&body).map(|text| length(text)).collect();
    let total: i64 = lengths.iter().sum();
    // Bytes to a token are not known before they are counted; four is usual, and less is tried next.
    let mut allowed = total.min(cap.max(0).saturating_mul(4));
    for _ in 0..TRIES {
        let shown = shortened(&body, level(&lengths, allowed));
        let count = tokens::count_message(role, &shown, None).max(1);
        if count <= cap {
            return Some(shown);
        }
        let fitting = allowed.saturating_mul(cap.max(0)) / count;
        allowed = (fitting * 9 / 10).min(allowed - 1).max(0);
    }
    Some(shortened(&body, 0))
}

/// A text cut down to `cap` tokens; one that fits stays as it is.
#[must_use]
pub fn clip_text(text: &str, cap: i64) -> String {
    let size = length(text);
    // No token is shorter than a byte.
    if size <= cap {
        return text.to_owned();
    }
    let cap = cap.max(0);
    let mut allowed = size.min(cap.saturating_mul(8));
    for _ in 0..TRIES {
        let bytes = usize::try_from(allowed).unwrap_or(usize::MAX);
        let shown = shorten(text, bytes, NOT_SHOWN);
        let count = i64::try_from(tokens::count(&shown))
            .unwrap_or(i64::MAX)
            .max(1);
        if count <= cap {
            return shown.into_owned();
        }
        allowed = (allowed.saturating_mul(cap) / count * 9 / 10)
            .min(allowed - 1)
            .max(0);
    }
    String::new()
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

/// The texts of a body that may be shortened.
fn texts(body: &MessageBody) -> impl Iterator<Item = &String> {
    let said = body.content.iter().filter_map(|part| match part {
        ContentPart::Text { text } => Some(text),
        ContentPart::Image { .. }
        | ContentPart::Reasoning { .. }
        | ContentPart::RedactedReasoning { .. } => None,
    });
    let called = body.tool_calls.iter().map(|call| &call.arguments);
    let returned = body.tool_returns.iter().map(|result| &result.text);
    said.chain(called).chain(returned)
}

/// What stands for images that are left out.
const NO_IMAGE: &str = "[an image is not shown here]";

/// The body with at most so many images as take half of `cap`; a note stands for the others.
fn without_images(body: &MessageBody, cap: i64) -> MessageBody {
    let mut left = cap / 2 / IMAGE_TOKENS;
    let mut body = body.clone();
    for part in &mut body.content {
        if matches!(part, ContentPart::Image { .. }) {
            left -= 1;
            if left < 0 {
                *part = ContentPart::text(NO_IMAGE);
            }
        }
    }
    for result in &mut body.tool_returns {
        let fit = usize::try_from(left.max(0)).unwrap_or(0);
        left -= i64::try_from(result.images.len()).unwrap_or(i64::MAX);
        if fit < result.images.len() {
            result.images.truncate(fit);
            result.text.push('\n');
            result.text.push_str(NO_IMAGE);
        }
    }
    body
}

/// The body with every text cut down to `level` bytes.
fn shortened(body: &MessageBody, level: i64) -> MessageBody {
    let bytes = usize::try_from(level).unwrap_or(0);
    let mut body = body.clone();
    for part in &mut body.content {
        if let ContentPart::Text { text } = part {
            cut(text, bytes);
        }
    }
    for call in &mut body.tool_calls {
        call.arguments = shorten_arguments(&call.arguments, bytes);
    }
    for result in &mut body.tool_returns {
        cut(&mut result.text, bytes);
    }
    body
}

fn cut(text: &mut String, bytes: usize) {
    if let Cow::Owned(shown) = shorten(text, bytes, NOT_SHOWN) {
        *text = shown;
    }
}

/// The first two thirds and the last third of so many bytes of a text, with a note between them that says
/// what is `not_shown`.
pub(crate) fn shorten<'t>(text: &'t str, bytes: usize, not_shown: &str) -> Cow<'t, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let (head, tail) = if bytes < MIN_PIECE {
        ("", "")
    } else {
        let head = text.floor_char_boundary(bytes - bytes / 3);
        let tail = text.ceil_char_boundary(text.len() - bytes / 3);
        (
            text.get(..head).unwrap_or_default(),
            text.get(tail..).unwrap_or_default(),
        )
    };
    let hidden = text.get(head.len()..text.len() - tail.len());
    let hidden = hidden.unwrap_or_default().chars().count();
    let note = format!("[{hidden} {not_shown}]");
    Cow::Owned(if head.is_empty() {
        note
    } else {
        format!("{head}\n{note}\n{tail}")
    })
}

/// Arguments of about so many bytes: long texts in them are cut, and what is no JSON, or long without
/// long texts, is shown as a text.
fn shorten_arguments(arguments: &str, bytes: usize) -> String {
    if arguments.len() <= bytes {
        return arguments.to_owned();
    }
    if let Ok(mut value) = serde_json::from_str::<Value>(arguments)
        && value.is_object()
    {
        let mut lengths = Vec::new();
        each_text(&mut value, &mut |text| lengths.push(length(text)));
        let texts: i64 = lengths.iter().sum();
        let rest = length(arguments) - texts;
        let room = length_of(bytes) - rest;
        if room > 0 {
            let level = usize::try_from(level(&lengths, room)).unwrap_or(usize::MAX);
            let level = level.max(SHORT_VALUE);
            each_text(&mut value, &mut |text| cut(text, level));
            return value.to_string();
        }
    }
    json!({ "not_shown": shorten(arguments, bytes / 2, NOT_SHOWN) }).to_string()
}

fn length_of(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Visits every text in a JSON value.
fn each_text(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, visit)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| each_text(field, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
