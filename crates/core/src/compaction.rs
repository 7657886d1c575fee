//! Compaction: when a conversation outgrows the model's window, its older part gives way to a summary.
//! What leaves the context stays in recall memory. Everything here is pure: how the window is divided,
//! which messages leave, how one huge message is shown, what a summarizer reads, and the digest that
//! stands in when no summarizer answers.

mod clip;
mod cut;
mod digest;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use self::clip::shorten;
pub use self::{
    clip::{clip, clip_text},
    cut::{Mode, Sized, Staying, cut, level, open_exchange, open_request},
    digest::{digest, transcript},
};
use crate::messages::{ContentPart, Message, MessageBody};

/// Tokens of a message that are shown at the least, however little room there is.
pub const MIN_SHOWN: i64 = 256;

/// What the model reads before a summary.
const INTRODUCTION: &str = "The earlier part of this conversation has left your view; the summary below stands in its place. \
     Every message of it is kept: conversation_search finds what was said word for word. The \
     conversation goes on after the summary.";

/// What made a compaction necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The context grew beyond what a call may take (the V1 API's word for it).
    PostStepContextCheck,
    /// The provider said that a request is too long.
    ContextWindowExceeded,
    /// A client asked for it.
    Manual,
}

/// What a compaction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionStats {
    /// What made it necessary.
    pub trigger: Trigger,
    /// Tokens of prompt, tools and messages before it.
    pub context_tokens_before: Option<i64>,
    /// Tokens of prompt, tools and messages after it.
    pub context_tokens_after: Option<i64>,
    /// Tokens of the model's window.
    pub context_window: i64,
    /// Messages of the context before it, with the prompt.
    pub messages_count_before: i64,
    /// Messages of the context after it, with the prompt.
    pub messages_count_after: i64,
}

/// The body of the message that holds a summary.
#[must_use]
pub fn summary_body(summary: &str, stats: CompactionStats) -> MessageBody {
    MessageBody {
        content: vec![ContentPart::text(INTRODUCTION), ContentPart::text(summary)],
        compaction: Some(Box::new(stats)),
        ..MessageBody::default()
    }
}

/// The summary that a body holds, if it holds one.
#[must_use]
pub fn summary_of(body: &MessageBody) -> Option<&str> {
    body.compaction.as_ref()?;
    match body.content.last() {
        Some(ContentPart::Text { text }) => Some(text),
        _ => None,
    }
}

/// The summaries among messages, joined: what is known already of the time before them.
#[must_use]
pub fn earlier_summaries(messages: &[Message]) -> String {
    let found: Vec<&str> = messages
        .iter()
        .filter_map(|message| summary_of(&message.body))
        .collect();
    found.join("\n\n")
}

/// How a model's window is divided, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What messages may take; above that the context is compacted.
    pub messages: i64,
    /// What they may take after a compaction, with the summary.
    pub kept: i64,
    /// What the summary may take.
    pub summary: i64,
    /// What one message may take; of a longer one only a part is shown.
    pub message: i64,
}

impl Budget {
    /// Divides a window of which prompt and tools take `fixed`. A tenth stays free in any case, and as
    /// much as the answer may take, though never more than half of what prompt and tools leave.
    /// `drift` is by how much the provider counts more than we do.
    #[must_use]
    pub fn new(window: i64, fixed: i64, max_answer: Option<i64>, drift: i64) -> Self {
        let free = (window - fixed).max(0);
        let tenth = window / 10;
        let answer = max_answer.map_or(tenth, |tokens| tokens.max(tenth));
        let messages = (free - answer.min(free / 2) - drift).max(free / 4);
        // V1 contract, section 7: what stays takes 70 % of the window at the most.
        let kept = (window / 10 * 7 - fixed - drift / 10 * 7).clamp(messages / 4, messages);
        let summary = (window / 8).min(messages / 4).max(64);
        Self {
            messages,
            kept,
            summary,
            message: (messages - summary).max(MIN_SHOWN),
        }
    }

    /// What each of the messages that a request brings may take. They are shown whole where they fit
    /// beside a summary; if not, they leave half of the room to a context that needs it.
    #[must_use]
    pub fn incoming(&self, sizes: &[i64], context: i64) -> i64 {
        let total: i64 = sizes.iter().sum();
        if total <= self.message {
            return self.message;
        }
        let room = (self.message - context).max(self.messages / 2);
        level(sizes, room).max(MIN_SHOWN)
    }
}
