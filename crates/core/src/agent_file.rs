//! Agent files (`.af`): agents with all that is theirs, as one JSON text that moves between servers (V1 contract,
//! section 16).
//!
//! The form is that of the V1 API. What it has no place for (archival memory, identities, further conversations,
//! grants of tools) stands under one key of our own, `mnemic`, which other readers skip. Files of the older form, one
//! agent at the top, are read as well.

mod checks;
mod groups;
mod messages;
mod older;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

pub use self::{
    groups::{GroupEntry, GroupExtras, GroupTurnsEntry},
    messages::{
        Content, IMAGE_IS_ELSEWHERE, Image, MessageEntry, Part, ReturnEntry, Said, Translator,
        entry,
    },
};
use crate::{
    agents::{AgentType, LlmConfig},
    blocks::BlockLabels,
    identities::Property,
    messages::MessageBody,
    time::Timestamp,
};

/// Agents that one file may hold.
pub const MAX_AGENTS: usize = 1_000;

/// Rows that one file may make, of whatever kind: they are one transaction.
pub const MAX_ROWS: usize = 200_000;

/// A file that can't be read: the text says what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Reads null as the default, as a field that is left out.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// A whole file. Its ids (`agent-0`, `block-1`) mean something only within it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct AgentFile {
    pub agents: Vec<AgentEntry>,
    /// Each a [`GroupEntry`]; one that is none is left out by an import, which says so.
    #[serde(deserialize_with = "or_default")]
    pub groups: Vec<Value>,
    #[serde(deserialize_with = "or_default")]
    pub blocks: Vec<BlockEntry>,
    #[serde(deserialize_with = "or_default")]
    pub files: Vec<Value>,
    #[serde(deserialize_with = "or_default")]
    pub sources: Vec<Value>,
    #[serde(deserialize_with = "or_default")]
    pub tools: Vec<ToolEntry>,
    #[serde(deserialize_with = "or_default")]
    pub mcp_servers: Vec<Value>,
    /// What the client that exported it gave along, for the client that imports it.
    #[serde(deserialize_with = "or_default")]
    pub skills: Vec<Value>,
    /// Of the exporting server; its values are texts.
    #[serde(deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, Value>,
    pub created_at: Option<Timestamp>,
    /// What the form of the V1 API has no place for.
    #[serde(deserialize_with = "or_default")]
    pub mnemic: Extras,
}

/// An agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct AgentEntry {
    pub id: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub agent_type: AgentType,
    pub system: Option<String>,
    pub description: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    /// Blocks that stand here rather than in the file's list.
    #[serde(deserialize_with = "or_default")]
    pub memory_blocks: Vec<BlockEntry>,
    #[serde(deserialize_with = "or_default")]
    pub block_ids: Vec<String>,
    /// Tools of the importing server, by name.
    #[serde(deserialize_with = "or_default")]
    pub tools: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub tool_ids: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub tool_rules: Vec<Value>,
    #[serde(deserialize_with = "or_default")]
    pub tags: Vec<String>,
    pub model: Option<String>,
    pub llm_config: Option<LlmConfig>,
    pub embedding: Option<String>,
    pub embedding_config: Option<Value>,
    pub model_settings: Option<Map<String, Value>>,
    pub compaction_settings: Option<Value>,
    pub response_format: Option<Value>,
    pub context_window_limit: Option<i64>,
    pub max_tokens: Option<i64>,
    pub parallel_tool_calls: Option<bool>,
    /// The names of its secrets, and their values where the exporting server gave them.
    pub secrets: Option<BTreeMap<String, Option<String>>>,
    /// The older name of `secrets`.
    #[serde(deserialize_with = "or_default")]
    pub tool_exec_environment_variables: BTreeMap<String, Option<String>>,
    pub timezone: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub message_buffer_autoclear: bool,
    pub enable_sleeptime: Option<bool>,
    pub hidden: Option<bool>,
    pub max_files_open: Option<i64>,
    pub per_file_view_window_char_limit: Option<i64>,
    pub project_id: Option<String>,
    pub template_id: Option<String>,
    pub base_template_id: Option<String>,
    /// Its default conversation: what the model sees, the compiled prompt first.
    #[serde(deserialize_with = "or_default")]
    pub in_context_message_ids: Vec<String>,
    /// Its default conversation, oldest first.
    #[serde(deserialize_with = "or_default")]
    pub messages: Vec<MessageEntry>,
    /// The groups of the file that it manages, or is a member of; what counts is what those say.
    #[serde(deserialize_with = "or_default")]
    pub group_ids: Vec<String>,
    /// Fields that say nothing to this server; an exported entry has the V1 API's.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BlockEntry {
    #[serde(default)]
    pub id: String,
    pub label: String,
    #[serde(default, deserialize_with = "or_default")]
    pub value: String,
    #[serde(default)]
    pub limit: Option<i64>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub read_only: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub tags: Vec<String>,
    #[serde(default)]
    pub hidden: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    pub is_template: bool,
    #[serde(flatten)]
    pub labels: BlockLabels,
}

/// A tool: one that comes with servers, by its name, or one that somebody wrote, with its source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ToolEntry {
    pub id: String,
    pub tool_type: Option<String>,
    pub description: Option<String>,
    pub source_type: Option<String>,
    pub name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub tags: Vec<String>,
    pub source_code: Option<String>,
    pub json_schema: Option<Value>,
    pub args_json_schema: Option<Map<String, Value>>,
    pub return_char_limit: Option<i64>,
    pub pip_requirements: Option<Value>,
    pub npm_requirements: Option<Value>,
    pub default_requires_approval: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub enable_parallel_execution: bool,
    pub created_by_id: Option<String>,
    pub last_updated_by_id: Option<String>,
    pub metadata_: Option<Map<String, Value>>,
    pub project_id: Option<String>,
}

impl ToolEntry {
    /// The name by which models call it.
    #[must_use]
    pub fn called(&self) -> Option<&str> {
        let of_schema = || self.json_schema.as_ref()?.get("name")?.as_str();
        self.name.as_deref().or_else(of_schema)
    }
}

/// What the form of the V1 API has no place for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    /// The version of this part.
    pub version: u32,
    /// What belongs to each agent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<String, AgentExtras>,
    /// Archives, which agents may share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<ArchiveEntry>,
    /// The identities that agents and blocks are linked to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<IdentityEntry>,
    /// The identities of blocks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub block_identities: BTreeMap<String, Vec<String>>,
    /// What was granted to tools where they come from. That grants nothing where they go.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, Value>,
    /// Messages that the other form does not hold whole.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bodies: BTreeMap<String, MessageBody>,
    /// What belongs to each group.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupExtras>,
}

/// What else belongs to an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentExtras {
    /// Its archives; the first is the one that it writes to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archive_ids: Vec<String>,
    /// The identities that it is linked to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identity_ids: Vec<String>,
    /// What its default conversation has of its own, without the messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_conversation: Option<ConversationEntry>,
    /// Its conversations beside the default one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<ConversationEntry>,
}

/// A conversation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ConversationEntry {
    pub summary: Option<String>,
    pub model: Option<String>,
    pub model_settings: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window_limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "is_false", deserialize_with = "or_default")]
    pub hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<Timestamp>,
    /// The end user whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether it is the one in which that user is spoken to.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "or_default")]
    pub is_own: bool,
    /// The group of the file in which its agent speaks there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// Blocks that it has in place of its agent's of the same labels.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub isolated_blocks: Vec<BlockEntry>,
    pub in_context_message_ids: Vec<String>,
    pub messages: Vec<MessageEntry>,
}

/// An archive with its passages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ArchiveEntry {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub embedding: Option<String>,
    pub passages: Vec<PassageEntry>,
}

/// A passage of archival memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct PassageEntry {
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    pub created_at: Option<Timestamp>,
    /// The end user whose own it is; common without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// An identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct IdentityEntry {
    pub id: String,
    pub identifier_key: String,
    pub name: String,
    pub identity_type: String,
    #[serde(default)]
    pub properties: Vec<Property>,
    #[serde(default)]
    pub project_id: Option<String>,
}

/// Reads a file of either form, and checks that what it refers to is in it.
///
/// # Errors
/// It is no agent file, or something in it is wrong; the text says what, and where.
pub fn read(bytes: &[u8]) -> Result<AgentFile, Unreadable> {
    let file = match form(bytes)? {
        Form::Current => parse(bytes)?,
        Form::Older => older::current(parse(bytes)?),
    };
    checks::check(&file)?;
    Ok(file)
}

/// The forms of agent files.
enum Form {
    Current,
    Older,
}

/// The keys by which forms are told apart; the values are passed over.
#[derive(Deserialize)]
struct Keys {
    agents: Option<serde::de::IgnoredAny>,
    core_memory: Option<serde::de::IgnoredAny>,
    messages: Option<serde::de::IgnoredAny>,
}

fn form(bytes: &[u8]) -> Result<Form, Unreadable> {
    let keys: Keys = serde_json::from_slice(bytes).map_err(|error| {
        Unreadable(match error.classify() {
            serde_json::error::Category::Data => {
                "this is no agent file: an agent file is a JSON object".to_owned()
            }
            _ => format!(
                "the agent file is damaged: it is no JSON from {} on",
                place(&error)
            ),
        })
    })?;
    match keys {
        Keys {
            agents: Some(_), ..
        } => Ok(Form::Current),
        Keys {
            core_memory: Some(_),
            messages: Some(_),
            ..
        } => Ok(Form::Older),
        _ => Err(Unreadable(
            "this is no agent file: it has neither `agents` nor, as the older form, `core_memory` and `messages`"
                .to_owned(),
        )),
    }
}

fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Unreadable> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        Unreadable(format!(
            "the agent file is wrong at {}: {}",
            error.path(),
            error.inner()
        ))
    })
}
