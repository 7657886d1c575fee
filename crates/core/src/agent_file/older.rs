//! Files of the older form: one agent at the top, whose blocks, tools and messages have no ids. A message is named by
//! its place.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{AgentEntry, AgentFile, BlockEntry, MessageEntry, ToolEntry, or_default};
use crate::{
    agents::{AgentType, LlmConfig},
    blocks::BlockLabels,
    time::Timestamp,
};

/// The file.
#[derive(Debug, Deserialize)]
pub(super) struct OlderFile {
    #[serde(default, deserialize_with = "or_default")]
    agent_type: AgentType,
    #[serde(default, deserialize_with = "or_default")]
    core_memory: Vec<OlderBlock>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    embedding_config: Option<Value>,
    #[serde(default)]
    llm_config: Option<LlmConfig>,
    #[serde(default, deserialize_with = "or_default")]
    message_buffer_autoclear: bool,
    #[serde(default, deserialize_with = "or_default")]
    in_context_message_indices: Vec<usize>,
    messages: Vec<MessageEntry>,
    #[serde(default)]
    metadata_: Option<Map<String, Value>>,
    name: String,
    #[serde(default)]
    system: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    tags: Vec<Tag>,
    #[serde(default, deserialize_with = "or_default")]
    tool_exec_environment_variables: Vec<Variable>,
    #[serde(default, deserialize_with = "or_default")]
    tool_rules: Vec<Value>,
    #[serde(default, deserialize_with = "or_default")]
    tools: Vec<ToolEntry>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    timezone: Option<String>,
}

#[derive(Debug, Deserialize)]
struct OlderBlock {
    label: String,
    #[serde(default, deserialize_with = "or_default")]
    value: String,
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    is_template: bool,
    #[serde(default)]
    template_name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    read_only: bool,
    #[serde(default, deserialize_with = "or_default")]
    metadata_: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tag {
    Named { tag: String },
    Plain(String),
}

#[derive(Debug, Deserialize)]
struct Variable {
    key: String,
    #[serde(default)]
    value: Option<String>,
}

/// The same in the current form.
pub(super) fn current(file: OlderFile) -> AgentFile {
    let blocks = numbered("block", file.core_memory, block);
    let tools = numbered("tool", file.tools, |id, tool| ToolEntry { id, ..tool });
    let messages = numbered("message", file.messages, |id, message| MessageEntry {
        id,
        ..message
    });
    // A place that does not exist is named all the same, so that the checks refuse it.
    let shown = file.in_context_message_indices.iter();
    let variables = file.tool_exec_environment_variables.into_iter();
    let tags = file.tags.into_iter().map(|tag| match tag {
        Tag::Named { tag } | Tag::Plain(tag) => tag,
    });
    let agent = AgentEntry {
        id: "agent-0".to_owned(),
        name: file.name,
        agent_type: file.agent_type,
        system: file.system,
        description: file.description,
        metadata: file.metadata_,
        block_ids: blocks.iter().map(|block| block.id.clone()).collect(),
        tool_ids: tools.iter().map(|tool| tool.id.clone()).collect(),
        tool_rules: file.tool_rules,
        tags: tags.collect(),
        llm_config: file.llm_config,
        embedding_config: file.embedding_config,
        secrets: Some(variables.map(|one| (one.key, one.value)).collect()),
        timezone: file.timezone,
        message_buffer_autoclear: file.message_buffer_autoclear,
        in_context_message_ids: shown.map(|place| format!("message-{place}")).collect(),
        messages,
        ..AgentEntry::default()
    };
    let version = file
        .version
        .map(|version| ("version".to_owned(), version.into()));
    AgentFile {
        agents: vec![agent],
        blocks,
        tools,
        metadata: version.into_iter().collect::<BTreeMap<_, _>>(),
        created_at: file
            .created_at
            .and_then(|text| Timestamp::parse(&text).ok()),
        ..AgentFile::default()
    }
}

fn numbered<A, B>(prefix: &str, entries: Vec<A>, with: impl Fn(String, A) -> B) -> Vec<B> {
    let entries = entries.into_iter().enumerate();
    entries
        .map(|(n, entry)| with(format!("{prefix}-{n}"), entry))
        .collect()
}

fn block(id: String, older: OlderBlock) -> BlockEntry {
    BlockEntry {
        id,
        label: older.label,
        value: older.value,
        limit: older.limit,
        description: older.description,
        read_only: older.read_only,
        metadata: older.metadata_,
        tags: Vec::new(),
        hidden: None,
        is_template: older.is_template,
        labels: BlockLabels {
            template_name: older.template_name,
            ..BlockLabels::default()
        },
    }
}
