//! How a stored message surfaces: the API shows reasoning, text, calls and returns of one stored
//! message as separate messages that share its id.

use crate::{
    compaction::{self, CompactionStats, Trigger},
    ids::{MessageId, RunId, StepId},
    messages::{
        CallAnswer, ContentPart, Message, ReasoningOrigin, Role, ToolCall, ToolReturn, ToolStatus,
    },
    time::Timestamp,
};
use serde_json::Value;

/// What one API message says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Part {
    /// A system message's text.
    System {
        /// The text.
        text: String,
    },
    /// What the user said.
    User {
        /// Text and images.
        content: Vec<ContentPart>,
    },
    /// What a reasoning model thought.
    Reasoning {
        /// The thoughts, or a fragment of them while streaming.
        text: String,
        /// The provider's signature.
        signature: Option<String>,
        /// Whether the model has no reasoning of its own, and wrote this as the first argument of a call.
        #[serde(default)]
        is_argument: bool,
    },
    /// What a reasoning model thought and its provider does not show.
    HiddenReasoning {
        /// Why there is nothing to read.
        state: HiddenReasoning,
        /// The provider's sealed text, where there is one.
        data: Option<String>,
    },
    /// What the agent said.
    Assistant {
        /// The text, or a fragment of it while streaming.
        text: String,
    },
    /// Tools the agent calls.
    ToolCalls {
        /// The calls; while streaming, one call with a fragment of its arguments.
        calls: Vec<ToolCall>,
    },
    /// Calls that somebody outside has to answer.
    ApprovalRequest {
        /// The calls; while streaming, one call with a fragment of its arguments.
        calls: Vec<ToolCall>,
    },
    /// What was answered to calls.
    ApprovalResponse {
        /// The answers.
        answers: Vec<CallAnswer>,
    },
    /// What a tool returned.
    ToolReturn {
        /// The return.
        result: ToolReturn,
    },
    /// The summary that took the place of older messages.
    Summary {
        /// The summary.
        summary: String,
        /// The same as the model reads it, with the words that introduce it.
        message: String,
        /// What the compaction did.
        stats: Box<CompactionStats>,
    },
    /// A compaction begins; only in the events of runs.
    Compacting {
        /// What made it necessary.
        trigger: Trigger,
        /// Tokens that the context is reckoned to take.
        context_tokens: i64,
        /// Tokens of the model's window.
        context_window: i64,
    },
}

/// Why reasoning can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenReasoning {
    /// The provider sealed it.
    Redacted,
    /// The provider left its text out and sent a signature only.
    Omitted,
}

/// One API message: a part with the identity of the stored message it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MessagePart {
    /// The stored message's id.
    pub message_id: MessageId,
    /// Which part of it this is, from 0; its `otid` follows from it.
    pub index: usize,
    /// The client's own otid, for messages it sent.
    pub otid: Option<String>,
    /// When it was said.
    pub date: Timestamp,
    /// The speaker's name or, for a return, the tool's.
    pub name: Option<String>,
    /// Which agent or identity sent it.
    pub sender_id: Option<String>,
    /// The step.
    pub step_id: Option<StepId>,
    /// The run.
    pub run_id: Option<RunId>,
    /// What it says.
    pub part: Part,
}

/// The tool by whose calls an agent speaks: clients see what it says in place of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speech {
    /// The tool.
    pub tool: String,
    /// Its argument with what is said.
    pub argument: String,
}

impl Default for Speech {
    /// That of agents of the older types.
    fn default() -> Self {
        Self {
            tool: "send_message".to_owned(),
            argument: "message".to_owned(),
        }
    }
}

impl Speech {
    /// What a call says, if it is one by which the agent speaks.
    #[must_use]
    pub fn said(&self, call: &ToolCall) -> Option<String> {
        if call.name != self.tool {
            return None;
        }
        let arguments: Value = serde_json::from_str(&call.arguments).ok()?;
        let said = arguments.get(&self.argument)?.as_str()?;
        Some(said.to_owned())
    }

    /// Whether a return only says that something was said.
    fn is_receipt(&self, result: &ToolReturn) -> bool {
        result.name == self.tool && result.status == ToolStatus::Success
    }
}

/// The API messages of a stored message, in order. What the agent says by `speech` is shown as said; with `None`, as the
/// calls that it is.
#[must_use]
pub fn of_message(message: &Message, speech: Option<&Speech>) -> Vec<MessagePart> {
    let parts = match message.role {
        Role::System => vec![Part::System {
            text: message.body.plain_text(),
        }],
        Role::User if message.body.compaction.is_some() => summary_parts(message),
        Role::User => vec![Part::User {
            content: message.body.content.clone(),
        }],
        Role::Assistant => assistant_parts(message, speech),
        Role::Tool => returned_parts(message, speech),
    };
    let with_identity = |(index, part): (usize, Part)| MessagePart {
        message_id: message.id,
        index,
        otid: message.otid.clone(),
        date: message.created_at,
        name: match &part {
            Part::ToolReturn { result } => Some(result.name.clone()),
            _ => message.name.clone(),
        },
        sender_id: message.sender_id.clone(),
        step_id: message.step_id,
        run_id: message.run_id,
        part,
    };
    parts.into_iter().enumerate().map(with_identity).collect()
}

/// What was answered, and what tools returned.
fn returned_parts(message: &Message, speech: Option<&Speech>) -> Vec<Part> {
    let answers = message.body.answers.clone();
    let answered = (!answers.is_empty()).then_some(Part::ApprovalResponse { answers });
    let is_receipt = |result: &&ToolReturn| speech.is_some_and(|speech| speech.is_receipt(result));
    let returns = message.body.tool_returns.iter();
    let returns = returns.filter(|result| !is_receipt(result));
    let returned = returns.map(|result| Part::ToolReturn {
        result: result.clone(),
    });
    answered.into_iter().chain(returned).collect()
}

fn summary_parts(message: &Message) -> Vec<Part> {
    let summary = compaction::summary_of(&message.body);
    let stats = message.body.compaction.clone();
    let part = |(summary, stats): (&str, _)| Part::Summary {
        summary: summary.to_owned(),
        message: message.body.plain_text(),
        stats,
    };
    summary.zip(stats).map(part).into_iter().collect()
}

/// Reasoning and text in the order in which the model made them, then the calls. Texts that follow
/// each other are one.
fn assistant_parts(message: &Message, speech: Option<&Speech>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for content in &message.body.content {
        match content {
            ContentPart::Reasoning {
                text,
                signature,
                origin,
            } => parts.push(reasoning(text, signature.as_ref(), origin.as_ref())),
            ContentPart::RedactedReasoning { data, .. } => parts.push(Part::HiddenReasoning {
                state: HiddenReasoning::Redacted,
                data: Some(data.clone()),
            }),
            ContentPart::Text { text } => match parts.last_mut() {
                Some(Part::Assistant { text: before }) => {
                    before.push('\n');
                    before.push_str(text);
                }
                _ => parts.push(Part::Assistant { text: text.clone() }),
            },
            ContentPart::Image { .. } => {}
        }
    }
    let calls = &message.body.tool_calls;
    parts.retain(|part| !matches!(part, Part::Assistant { text } if text.is_empty()));
    if parts.is_empty() && calls.is_empty() {
        parts.push(Part::Assistant {
            text: String::new(),
        });
    }
    let awaiting = &message.body.awaiting;
    let (waiting, calls): (Vec<_>, Vec<_>) = calls
        .iter()
        .cloned()
        .partition(|call| awaiting.contains(&call.id));
    let said = |call: &ToolCall| speech.and_then(|speech| speech.said(call));
    let (spoken, calls): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|call| said(call).is_some());
    let spoken = spoken.iter().filter_map(said);
    parts.extend(spoken.map(|text| Part::Assistant { text }));
    if !calls.is_empty() {
        parts.push(Part::ToolCalls { calls });
    }
    if !waiting.is_empty() {
        parts.push(Part::ApprovalRequest { calls: waiting });
    }
    parts
}

/// Thoughts, or the sign that there were some which are not shown.
fn reasoning(text: &str, signature: Option<&String>, origin: Option<&ReasoningOrigin>) -> Part {
    if text.is_empty() && signature.is_some() {
        return Part::HiddenReasoning {
            state: HiddenReasoning::Omitted,
            data: None,
        };
    }
    Part::Reasoning {
        text: text.to_owned(),
        signature: signature.cloned(),
        is_argument: origin.is_some_and(ReasoningOrigin::is_inner_thoughts),
    }
}
