//! How a stored message surfaces: the API shows reasoning, text, calls and returns of one stored
//! message as separate messages that share its id.

use crate::{
    ids::{MessageId, RunId, StepId},
    messages::{ContentPart, Message, Role, ToolCall, ToolReturn},
    time::Timestamp,
};

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
    /// What a tool returned.
    ToolReturn {
        /// The return.
        result: ToolReturn,
    },
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

/// The API messages of a stored message, in order.
#[must_use]
pub fn of_message(message: &Message) -> Vec<MessagePart> {
    let parts = match message.role {
        Role::System => vec![Part::System {
            text: message.body.plain_text(),
        }],
        Role::User => vec![Part::User {
            content: message.body.content.clone(),
        }],
        Role::Assistant => assistant_parts(message),
        Role::Tool => message
            .body
            .tool_returns
            .iter()
            .map(|result| Part::ToolReturn {
                result: result.clone(),
            })
            .collect(),
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

/// Reasoning first, then text, then calls: the order in which models produce them.
fn assistant_parts(message: &Message) -> Vec<Part> {
    let mut parts = Vec::new();
    for content in &message.body.content {
        if let ContentPart::Reasoning { text, signature } = content {
            parts.push(Part::Reasoning {
                text: text.clone(),
                signature: signature.clone(),
            });
        }
    }
    let text = message.body.plain_text();
    if !text.is_empty() || (message.body.tool_calls.is_empty() && parts.is_empty()) {
        parts.push(Part::Assistant { text });
    }
    if !message.body.tool_calls.is_empty() {
        parts.push(Part::ToolCalls {
            calls: message.body.tool_calls.clone(),
        });
    }
    parts
}
