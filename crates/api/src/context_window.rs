//! What an agent's context consists of, and what each part takes.

use axum::extract::State;
use mnemic_core::{agent_file, conversations::Thread, ids::AgentId, messages::Message};
use mnemic_engine::{ContextOverview, Share};
use mnemic_llm::ToolSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query, query_id},
};

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(overview)
}

/// Which of the agent's contexts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ContextQuery {
    /// The conversation; the agent's default one when left out.
    conversation_id: Option<String>,
}

/// A context and its parts. The tokens of the parts add up to `context_window_size_current`.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct ContextView {
    context_window_size_max: i64,
    context_window_size_current: i64,
    num_messages: usize,
    num_archival_memory: i64,
    num_recall_memory: i64,
    num_tokens_external_memory_summary: i64,
    external_memory_summary: String,
    num_tokens_system: i64,
    system_prompt: String,
    num_tokens_core_memory: i64,
    core_memory: String,
    num_tokens_memory_filesystem: i64,
    memory_filesystem: Option<String>,
    num_tokens_tool_usage_rules: i64,
    tool_usage_rules: Option<String>,
    num_tokens_directories: i64,
    directories: Option<String>,
    num_tokens_summary_memory: i64,
    summary_memory: Option<String>,
    num_tokens_functions_definitions: i64,
    functions_definitions: Vec<Value>,
    num_tokens_messages: i64,
    messages: Vec<Value>,
}

impl From<ContextOverview> for ContextView {
    fn from(overview: ContextOverview) -> Self {
        let total = overview.total();
        let tokens = |share: &Option<Share>| share.as_ref().map_or(0, |share| share.tokens);
        let text = |share: Option<Share>| share.map(|share| share.text);
        Self {
            context_window_size_max: overview.window,
            context_window_size_current: total,
            num_messages: overview.messages.len(),
            num_archival_memory: overview.archival_count,
            num_recall_memory: overview.recall_count,
            num_tokens_external_memory_summary: overview.metadata.tokens,
            external_memory_summary: overview.metadata.text,
            num_tokens_system: overview.system.tokens,
            system_prompt: overview.system.text,
            num_tokens_core_memory: tokens(&overview.core_memory),
            core_memory: text(overview.core_memory).unwrap_or_default(),
            num_tokens_memory_filesystem: 0,
            memory_filesystem: None,
            num_tokens_tool_usage_rules: tokens(&overview.tool_rules),
            tool_usage_rules: text(overview.tool_rules),
            num_tokens_directories: tokens(&overview.directories),
            directories: text(overview.directories),
            num_tokens_summary_memory: tokens(&overview.summary),
            summary_memory: text(overview.summary),
            num_tokens_functions_definitions: overview.tools_tokens,
            functions_definitions: overview.tools.iter().map(function).collect(),
            num_tokens_messages: overview.messages_tokens,
            messages: overview.messages.iter().map(message).collect(),
        }
    }
}

fn function(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": null,
        },
    })
}

/// A message in the contract's form of stored messages, which is that of agent files with more ids.
fn message(message: &Message) -> Value {
    let ids = (message.id.to_string(), message.agent_id.to_string());
    let mut view = json!(agent_file::entry(message, ids, None));
    if let Some(fields) = view.as_object_mut() {
        fields.remove("type");
        let more = json!({
            "created_by_id": null,
            "last_updated_by_id": null,
            "updated_at": null,
            "step_id": message.step_id,
            "run_id": message.run_id,
            "conversation_id": message.conversation_id,
            "is_err": null,
        });
        fields.extend(more.as_object().cloned().unwrap_or_default());
    }
    view
}

/// What an agent's context consists of as the next call would show it, and how many tokens each part takes.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/context", tag = "agents",
    operation_id = "retrieve_agent_context_window", params(("agent_id" = String, Path), ContextQuery),
    responses((status = 200, body = ContextView)))]
async fn overview(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    Query(query): Query<ContextQuery>,
) -> Result<Json<ContextView>, ApiError> {
    let thread = match query.conversation_id.as_deref() {
        None | Some("default") => Thread::Default,
        Some(id) => Thread::Id(query_id("conversation_id", id)?),
    };
    let overview = state.engine.context_overview(&scope, agent, thread);
    Ok(Json(overview.await?.into()))
}
