//! Conversations: the threads of an agent, each with its own context.

use serde_json::Value;

use crate::{
    ids::{AgentId, BlockId, ConversationId},
    time::Timestamp,
};

/// One thread of an agent. Every agent has a default one from its first moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// Its id; clients name the default one `default` together with the agent's id.
    pub id: ConversationId,
    /// The agent that it is a thread of.
    pub agent_id: AgentId,
    /// Whether it is the agent's default thread.
    pub is_default: bool,
    /// The end user whose thread it is.
    pub subject: Option<String>,
    /// What it is about, in a person's words.
    pub summary: Option<String>,
    /// A model that this thread uses instead of the agent's.
    pub model: Option<String>,
    /// Settings for that model.
    pub model_settings: Option<Value>,
    /// Tokens that a request of this thread may take, in place of the agent's window.
    pub context_window_limit: Option<i64>,
    /// What it is about, at length.
    pub description: Option<String>,
    /// Whether lists leave it out.
    pub hidden: bool,
    /// When it was put aside.
    pub archived_at: Option<Timestamp>,
    /// Blocks of its own in place of the agent's blocks of the same label.
    pub isolated_block_ids: Vec<BlockId>,
    /// Grows with every change of the context's rows, so that a cached copy knows its age.
    pub context_revision: i64,
    /// When the last message came in.
    pub last_message_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Which thread of an agent a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thread {
    /// The agent's default thread.
    Default,
    /// A thread by its id.
    Id(ConversationId),
}
