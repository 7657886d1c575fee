//! What rows look like in a file: their own fields, without what they are linked to.

use mnemic_core::{
    agent_file::{AgentEntry, BlockEntry, ConversationEntry, ToolEntry},
    agents::Agent,
    blocks::Block,
    conversations::Conversation,
    tools::Tool,
};
use serde_json::{Map, Value, json};

use super::agents::handle_of;
use crate::agents::AgentState;

/// What an agent is, without what belongs to it.
pub(super) fn described(id: String, state: &AgentState) -> AgentEntry {
    let Agent {
        name,
        agent_type,
        system,
        description,
        metadata,
        llm_config,
        embedding_config,
        model_settings,
        compaction_settings,
        response_format,
        tool_rules,
        timezone,
        labels,
        ..
    } = state.agent.clone();
    let agent = &state.agent;
    let names = state.secrets.iter();
    AgentEntry {
        id,
        name,
        agent_type,
        system: Some(system),
        description,
        metadata,
        tool_rules,
        tags: state.tags.clone(),
        model: Some(handle_of(&llm_config)),
        llm_config: Some(llm_config),
        embedding_config,
        model_settings: match model_settings {
            Some(Value::Object(settings)) => Some(settings),
            _ => None,
        },
        compaction_settings,
        response_format,
        // The names alone: values are secret.
        tool_exec_environment_variables: names
            .map(|secret| (secret.key.clone(), Some(String::new())))
            .collect(),
        timezone: Some(timezone),
        message_buffer_autoclear: agent.message_buffer_autoclear,
        enable_sleeptime: agent.enable_sleeptime,
        hidden: agent.hidden,
        max_files_open: agent.max_files_open,
        per_file_view_window_char_limit: agent.per_file_view_window_char_limit,
        project_id: labels.project_id,
        template_id: labels.template_id,
        base_template_id: labels.base_template_id,
        rest: v1_fields(),
        ..AgentEntry::default()
    }
}

/// Fields of the V1 API that say nothing of an agent of this server, as its readers expect them.
fn v1_fields() -> Map<String, Value> {
    let fields = json!({
        "source_ids": [],
        "folder_ids": null,
        "initial_message_sequence": null,
        "include_base_tools": false,
        "include_multi_agent_tools": false,
        "include_base_tool_rules": false,
        "include_default_source": false,
        "embedding_chunk_size": null,
        "max_reasoning_tokens": null,
        "enable_reasoner": null,
        "reasoning": null,
        "from_template": null,
        "template": false,
        "project": null,
        "memory_variables": null,
        "identity_ids": null,
        "files_agents": [],
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub(super) fn block_entry(id: String, block: &Block) -> BlockEntry {
    BlockEntry {
        id,
        label: block.label.clone(),
        value: block.value.clone(),
        limit: Some(block.limit),
        description: block.description.clone(),
        read_only: block.read_only,
        metadata: block.metadata.clone(),
        tags: block.tags.clone(),
        hidden: block.hidden,
        is_template: block.is_template,
        labels: block.labels.clone(),
    }
}

pub(super) fn tool_entry(id: String, tool: &Tool) -> ToolEntry {
    let extra = |key: &str| {
        tool.extra
            .get(key)
            .filter(|value| !value.is_null())
            .cloned()
    };
    let object = |key: &str| match extra(key) {
        Some(Value::Object(fields)) => Some(fields),
        _ => None,
    };
    ToolEntry {
        id,
        tool_type: Some(tool.tool_type.as_str().to_owned()),
        description: tool.description.clone(),
        source_type: Some(tool.source_type.clone()),
        name: Some(tool.name.clone()),
        tags: tool.tags.clone(),
        source_code: tool.source_code.clone(),
        json_schema: Some(tool.json_schema.clone()),
        args_json_schema: object("args_json_schema"),
        return_char_limit: Some(tool.return_char_limit),
        pip_requirements: extra("pip_requirements"),
        npm_requirements: extra("npm_requirements"),
        default_requires_approval: tool.default_requires_approval,
        enable_parallel_execution: tool.enable_parallel_execution,
        created_by_id: None,
        last_updated_by_id: None,
        metadata_: object("metadata_"),
        project_id: extra("project_id").and_then(|id| id.as_str().map(str::to_owned)),
    }
}

/// What a conversation is, without what was said in it.
pub(super) fn conversation_entry(
    conversation: &Conversation,
    own_blocks: Vec<BlockEntry>,
) -> ConversationEntry {
    ConversationEntry {
        summary: conversation.summary.clone(),
        model: conversation.model.clone(),
        model_settings: conversation.model_settings.clone(),
        context_window_limit: conversation.context_window_limit,
        description: conversation.description.clone(),
        hidden: conversation.hidden,
        archived_at: conversation.archived_at,
        subject: conversation.subject.clone(),
        isolated_blocks: own_blocks,
        ..ConversationEntry::default()
    }
}
