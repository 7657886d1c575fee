//! Messages: what was said, called and returned, in the form the store keeps.

use serde::{Deserialize, Serialize};

use crate::{
    compaction::CompactionStats,
    ids::{AgentId, ConversationId, MessageId, RunId, StepId},
    time::Timestamp,
};

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions: the compiled prompt, or a notice injected by a program.
    System,
    /// The person or program that talks to the agent.
    User,
    /// The model.
    Assistant,
    /// The results of the model's tool calls.
    Tool,
}

impl Role {
    /// The name in the store and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::System, Self::User, Self::Assistant, Self::Tool]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// One piece of a message's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentPart {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// An image, always as bytes: images given by URL are fetched when they are accepted.
    Image {
        /// The MIME type, such as `image/png`.
        media_type: String,
        /// The bytes in standard base64.
        data: String,
    },
    /// What a reasoning model thought before it answered.
    Reasoning {
        /// The thoughts.
        text: String,
        /// The provider's proof that the thoughts are its own, to be sent back as it came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        /// Who can read the proof.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<ReasoningOrigin>,
    },
    /// Reasoning that its provider shows nobody, to be sent back to it as it came.
    RedactedReasoning {
        /// The provider's sealed text.
        data: String,
        /// Who can read it; unknown where a client posted it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<ReasoningOrigin>,
    },
}

/// Where reasoning comes from: only there its signature means anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasoningOrigin {
    /// The wire protocol's name.
    pub protocol: String,
    /// The provider's name.
    pub provider: String,
    /// The provider's id of it, where it wants that back too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl ContentPart {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// Reasoning that nobody signed.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Self::Reasoning {
            text: text.into(),
            signature: None,
            origin: None,
        }
    }
}

/// A tool call as the model made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id of the call, or one of ours when it sent none; unique within its step.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments as JSON text, exactly as the model wrote them.
    pub arguments: String,
}

/// Whether a tool did what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// It did.
    Success,
    /// It did not; the text says why.
    Error,
}

/// The result of one tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolReturn {
    /// The call that this answers.
    pub tool_call_id: String,
    /// The tool's name.
    pub name: String,
    /// Success or error.
    pub status: ToolStatus,
    /// What the model reads.
    pub text: String,
    /// Lines that the tool printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stdout: Vec<String>,
    /// Lines that the tool printed as errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stderr: Vec<String>,
    /// Images that it returned; the text names them by their number, from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

/// An image, always as bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The MIME type, such as `image/png`.
    pub media_type: String,
    /// The bytes in standard base64.
    pub data: String,
}

/// What somebody outside answered to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CallAnswer {
    /// A person let it run, or not.
    Approval {
        /// The call.
        tool_call_id: String,
        /// Whether it may run.
        approve: bool,
        /// Why not.
        reason: Option<String>,
    },
    /// A person let all calls of a request run, or none.
    All {
        /// The message with the calls; any that waits if none is named.
        request_id: Option<String>,
        /// Whether they may run.
        approve: bool,
        /// Why not.
        reason: Option<String>,
    },
    /// The client ran it.
    Tool {
        /// The call.
        tool_call_id: String,
        /// Whether it succeeded.
        status: ToolStatus,
        /// What the model reads.
        text: String,
        /// What the model sees.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        images: Vec<Image>,
        /// Lines that it printed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stdout: Vec<String>,
        /// Lines that it printed as errors.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stderr: Vec<String>,
    },
}

impl CallAnswer {
    /// The call that it answers; nothing for all of them.
    #[must_use]
    pub fn tool_call_id(&self) -> &str {
        match self {
            Self::Approval { tool_call_id, .. } | Self::Tool { tool_call_id, .. } => tool_call_id,
            Self::All { .. } => "",
        }
    }
}

/// What a message says: the part of it that goes to the model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MessageBody {
    /// Text, images, reasoning, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<ContentPart>,
    /// Calls made by an assistant message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Results carried by a tool message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_returns: Vec<ToolReturn>,
    /// Ids of the calls of an assistant message that somebody outside has to answer before the run goes on: a person
    /// who approves them, or the client that runs them. They stay here after they were answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaiting: Vec<String>,
    /// What was answered to such calls; no part of what the model reads, which sees their returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<CallAnswer>,
    /// Set on summaries that stand in the place of older messages: what the compaction did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compaction: Option<Box<CompactionStats>>,
}

impl MessageBody {
    /// A body of one text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![ContentPart::text(text)],
            ..Self::default()
        }
    }

    /// All text parts joined by line breaks; reasoning and images are left out.
    #[must_use]
    pub fn plain_text(&self) -> String {
        let mut joined = String::new();
        for part in &self.content {
            if let ContentPart::Text { text } = part {
                if !joined.is_empty() {
                    joined.push('\n');
                }
                joined.push_str(text);
            }
        }
        joined
    }
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The agent in whose memory it is.
    pub agent_id: AgentId,
    /// The thread in which it was said.
    pub conversation_id: ConversationId,
    /// Who spoke.
    pub role: Role,
    /// What was said.
    pub body: MessageBody,
    /// The speaker's name, where one was given.
    pub name: Option<String>,
    /// The client's own id of a message it sent.
    pub otid: Option<String>,
    /// Which agent or identity sent it, where that is known.
    pub sender_id: Option<String>,
    /// The step that took it into the context or produced it.
    pub step_id: Option<StepId>,
    /// The run it belongs to.
    pub run_id: Option<RunId>,
    /// Tokens it takes in a prompt, counted once when it was stored.
    pub tokens: i64,
    /// When it was said.
    pub created_at: Timestamp,
}

/// A message that is about to be taken in: what a client may give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub body: MessageBody,
    /// The speaker's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The client's own id; a message without one gets a random UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otid: Option<String>,
    /// Which agent or identity sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<String>,
    /// When it was said, for turns of the past; `None` is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}
