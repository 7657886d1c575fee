//! Blocks: pieces of core memory that stand in every prompt.

use serde_json::{Map, Value};

use crate::{
    ids::{AgentId, BlockId, RunId, UserId},
    scope::Scope,
    time::Timestamp,
};

/// Characters a block may hold when its creator names no limit (V1 contract, section 2.1).
pub const DEFAULT_LIMIT: i64 = 100_000;

/// A piece of core memory; it can be attached to many agents.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Its id.
    pub id: BlockId,
    /// The name under which agents edit it.
    pub label: String,
    /// The text.
    pub value: String,
    /// Characters (Unicode scalar values) it may hold.
    pub limit: i64,
    /// What it is for, shown to the model.
    pub description: Option<String>,
    /// Whether agents may only read it.
    pub read_only: bool,
    /// Free data of the client's.
    pub metadata: Map<String, Value>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Left out of lists unless asked for.
    pub hidden: Option<bool>,
    /// The end user whose own it is; `None` is common.
    pub subject: Option<String>,
    /// Whether it is a template rather than part of a memory.
    pub is_template: bool,
    /// Fields that the server stores for its clients without giving them a meaning.
    pub labels: BlockLabels,
    /// Grows with each change of anything a prompt shows; also the number of its newest version.
    pub revision: i64,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// Who changed it last.
    pub updated_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Block {
    /// A new block without text, with the usual limit.
    #[must_use]
    pub fn empty(label: impl Into<String>, description: Option<String>, now: Timestamp) -> Self {
        Self {
            id: BlockId::new(),
            label: label.into(),
            value: String::new(),
            limit: DEFAULT_LIMIT,
            description,
            read_only: false,
            metadata: Map::new(),
            tags: Vec::new(),
            hidden: None,
            subject: None,
            is_template: false,
            labels: BlockLabels::default(),
            revision: 1,
            created_by: None,
            updated_by: None,
            created_at: now,
            updated_at: now,
        }
    }
}

/// Fields of the V1 API that are stored and returned, and mean nothing to the server itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct BlockLabels {
    pub project_id: Option<String>,
    pub template_name: Option<String>,
    pub template_id: Option<String>,
    pub base_template_id: Option<String>,
    pub deployment_id: Option<String>,
    pub entity_id: Option<String>,
    pub preserve_on_migration: Option<bool>,
}

/// Who made a version of a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Author {
    /// The API user, for changes that came by the API, also by a tool's client.
    pub user_id: Option<UserId>,
    /// The agent, for changes by a tool.
    pub agent_id: Option<AgentId>,
    /// The run in which the tool was called.
    pub run_id: Option<RunId>,
    /// The tool call.
    pub tool_call_id: Option<String>,
}

impl Author {
    /// Who asks by the API: a user, or a tool in a user's turn.
    #[must_use]
    pub fn asking(scope: &Scope) -> Self {
        let caller = scope.caller.as_deref();
        Self {
            user_id: Some(scope.actor),
            agent_id: caller.map(|caller| caller.agent_id),
            run_id: caller.map(|caller| caller.run_id),
            tool_call_id: caller.map(|caller| caller.tool_call_id.clone()),
        }
    }
}

/// One state that a block had; kept for ever, so that any can be restored.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockVersion {
    /// The block.
    pub block_id: BlockId,
    /// Its number, from 1; unique within the block.
    pub version: i64,
    /// The label it had.
    pub label: String,
    /// The text it had.
    pub value: String,
    /// The limit it had.
    pub limit: i64,
    /// The description it had.
    pub description: Option<String>,
    /// Whether it was read-only.
    pub read_only: bool,
    /// Who made this version.
    pub author: Author,
    /// When.
    pub created_at: Timestamp,
}
