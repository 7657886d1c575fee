//! Messages as text: for a summarizer to read, and as the digest that stands in for a summary.

use super::{clip, cut::level, summary_of};
use crate::{
    messages::{ContentPart, Message, Role, ToolStatus},
    tokens,
};

/// How a digest begins, so that the model knows what it reads.
pub(super) const DIGEST_HEAD: &str =
    "No summary could be written. This is a digest: what was said, each message cut short.";

/// Tokens below which a line of a digest says too little to be worth its place.
const MIN_LINE: i64 = 24;

/// How often the lines are made shorter before they are given up.
const TRIES: usize = 10;

/// One thing that was said, called or returned.
struct Line {
    speaker: String,
    text: String,
}

/// The messages as a summarizer reads them, cut down to `cap` tokens: the longest lose most.
#[must_use]
pub fn transcript(messages: &[Message], zone: &str, cap: i64) -> String {
    fitted(&lines(messages, zone), cap)
}

/// A digest of messages in at most `cap` tokens: what is known of the time before them, then who said
/// what. Where there are too many for their room, the oldest are left out.
#[must_use]
pub fn digest(earlier: &str, messages: &[Message], zone: &str, cap: i64) -> String {
    let earlier = earlier.trim().trim_start_matches(DIGEST_HEAD).trim();
    let mut text = DIGEST_HEAD.to_owned();
    if !earlier.is_empty() {
        text.push_str("\n\n");
        text.push_str(&clip::clip_text(earlier, cap / 2));
    }
    let mut lines = lines(messages, zone);
    let left = cap - count(&text) - MIN_LINE;
    let room = usize::try_from(left.max(0) / MIN_LINE).unwrap_or(0);
    if lines.len() > room {
        let gone = lines.len() - room;
        lines.drain(..gone);
        let note =
            format!("\n\n({gone} older messages are left out; conversation_search finds them.)");
        text.push_str(&note);
    }
    text.push_str("\n\n");
    text.push_str(&fitted(&lines, cap - count(&text)));
    clip::clip_text(text.trim_end(), cap)
}

fn count(text: &str) -> i64 {
    i64::try_from(tokens::count(text)).unwrap_or(i64::MAX)
}

/// The lines, the long ones cut, so that all take at most `cap` tokens.
fn fitted(lines: &[Line], cap: i64) -> String {
    let cap = cap.max(0);
    let lengths: Vec<i64> = lines
        .iter()
        .map(|line| i64::try_from(line.text.len()).unwrap_or(i64::MAX))
        .collect();
    let mut allowed = lengths.iter().sum::<i64>().min(cap.saturating_mul(6));
    for _ in 0..TRIES {
        let bytes = usize::try_from(level(&lengths, allowed)).unwrap_or(usize::MAX);
        let text = written(lines, bytes);
        let count = count(&text).max(1);
        if count <= cap {
            return text;
        }
        allowed = (allowed.saturating_mul(cap) / count * 9 / 10)
            .min(allowed - 1)
            .max(0);
    }
    clip::clip_text(&written(lines, 0), cap)
}

fn written(lines: &[Line], bytes: usize) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| format!("{}: {}", line.speaker, short(&line.text, bytes)))
        .collect();
    lines.join("\n")
}

/// The beginning and the end of a text.
fn short(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(bytes - bytes / 4);
    let tail = text.ceil_char_boundary(text.len() - bytes / 4);
    let piece = |range: Option<&str>| range.unwrap_or_default().trim().to_owned();
    format!(
        "{} [...] {}",
        piece(text.get(..head)),
        piece(text.get(tail..))
    )
}

/// What was said, called and returned, in order, with each new day before its first; summaries are
/// left out.
fn lines(messages: &[Message], zone: &str) -> Vec<Line> {
    let told = messages
        .iter()
        .filter(|message| summary_of(&message.body).is_none());
    let mut lines = Vec::new();
    let mut day = String::new();
    for message in told {
        let mut of_message = of_message(message);
        let human = message.created_at.to_human(zone);
        let today = human.split(' ').next().unwrap_or_default();
        if let Some(first) = of_message.first_mut().filter(|_| today != day) {
            first.speaker = format!("[{today}] {}", first.speaker);
            today.clone_into(&mut day);
        }
        lines.extend(of_message);
    }
    lines
}

fn of_message(message: &Message) -> Vec<Line> {
    let mut lines = Vec::new();
    let said = said(message);
    if !said.is_empty() {
        let speaker = match (message.role, message.name.as_deref()) {
            (Role::User, Some(name)) => format!("user {name}"),
            (role, _) => role.as_str().to_owned(),
        };
        lines.push(Line {
            speaker,
            text: said,
        });
    }
    let calls = message.body.tool_calls.iter().map(|call| Line {
        speaker: format!("assistant calls {}", call.name),
        text: call.arguments.clone(),
    });
    lines.extend(calls);
    for result in &message.body.tool_returns {
        let how = match result.status {
            ToolStatus::Success => "returns",
            ToolStatus::Error => "fails",
        };
        lines.push(Line {
            speaker: format!("{} {how}", result.name),
            text: format!("{}{}", result.text, " [image]".repeat(result.images.len())),
        });
    }
    lines
}

/// The texts of a message, and a word for each image.
fn said(message: &Message) -> String {
    let pieces = message.body.content.iter().filter_map(|part| match part {
        ContentPart::Text { text } => Some(text.trim()),
        ContentPart::Image { .. } => Some("[image]"),
        ContentPart::Reasoning { .. } | ContentPart::RedactedReasoning { .. } => None,
    });
    let pieces: Vec<&str> = pieces.filter(|piece| !piece.is_empty()).collect();
    pieces.join("\n")
}
