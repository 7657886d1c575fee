//! What a tool sees of the agent that calls it. The names are those of the V1 API, which tools know.

use mnemic_core::{blocks::Block, tools::Tool};
use serde_json::{Value, json};

use crate::agents::AgentState;

/// An agent as its tools see it.
pub(super) fn of(state: &AgentState) -> Value {
    let agent = &state.agent;
    json!({
        "id": agent.id,
        "name": agent.name,
        "description": agent.description,
        "agent_type": agent.agent_type.as_str(),
        "system": agent.system,
        "metadata": agent.metadata,
        "model": crate::model::handle_of(agent),
        "timezone": agent.timezone,
        "tags": state.tags,
        "message_ids": state.message_ids,
        "tool_rules": agent.tool_rules,
        "tools": state.tools.iter().map(tool).collect::<Vec<_>>(),
        "memory": {"blocks": state.blocks.iter().map(block).collect::<Vec<_>>()},
    })
}

fn tool(tool: &Tool) -> Value {
    json!({
        "id": tool.id,
        "name": tool.name,
        "description": tool.description,
        "tags": tool.tags,
        "tool_type": tool.tool_type.as_str(),
        "json_schema": tool.json_schema,
    })
}

fn block(block: &Block) -> Value {
    json!({
        "id": block.id,
        "label": block.label,
        "value": block.value,
        "limit": block.limit,
        "description": block.description,
        "read_only": block.read_only,
        "metadata": block.metadata,
        "tags": block.tags,
    })
}
