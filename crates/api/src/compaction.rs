//! Compacting a conversation at a client's request.

use axum::extract::State;
use mnemic_core::{conversations::Thread, ids::AgentId};
use mnemic_engine::CompactionResult;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    AppState,
    actor::Actor,
    conversation_messages::{Named, thread},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, body_id},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(summarize))
        .merge(routes!(compact))
}

/// How a context is compacted.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct CompactionBody {
    /// Settings that go before the agent's, field by field; another mode brings its own prompt.
    #[schema(value_type = Option<serde_json::Value>)]
    compaction_settings: Option<Map<String, Value>>,
    /// The agent, for the conversation `default`.
    agent_id: Option<String>,
}

/// What a compaction came to.
#[derive(Debug, Serialize, ToSchema)]
struct CompactionView {
    /// What stands now in the place of the messages that left.
    summary: String,
    /// Messages of the context before, with the prompt.
    num_messages_before: usize,
    /// Messages of the context after.
    num_messages_after: usize,
}

impl From<CompactionResult> for CompactionView {
    fn from(result: CompactionResult) -> Self {
        Self {
            summary: result.summary,
            num_messages_before: result.messages_before,
            num_messages_after: result.messages_after,
        }
    }
}

/// Let the older messages of an agent's context give way to a summary. They can still be found.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/summarize", tag = "agents",
    operation_id = "summarize_messages", params(("agent_id" = String, Path)),
    request_body = Option<CompactionBody>,
    responses((status = 200, body = CompactionView),
        (status = 400, description = "There are too few messages, or a setting is wrong"),
        (status = 409, description = "A run is at work in the conversation")))]
async fn summarize(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    OptionalJson(body): OptionalJson<CompactionBody>,
) -> Result<Json<CompactionView>, ApiError> {
    let settings = body.compaction_settings;
    let done = state
        .engine
        .compact(&scope, agent, Thread::Default, settings);
    Ok(Json(done.await?.into()))
}

/// Let the older messages of a conversation's context give way to a summary. They can still be found.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/compact", tag = "conversations",
    operation_id = "compact_conversation", params(("conversation_id" = String, Path)),
    request_body = Option<CompactionBody>,
    responses((status = 200, body = CompactionView),
        (status = 400, description = "There are too few messages, or a setting is wrong"),
        (status = 409, description = "A run is at work in the conversation")))]
async fn compact(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
    OptionalJson(body): OptionalJson<CompactionBody>,
) -> Result<Json<CompactionView>, ApiError> {
    let agent = body
        .agent_id
        .as_deref()
        .map(|id| body_id("agent_id", id))
        .transpose()?;
    let conversation = named.read(&state, &scope, agent).await?;
    let (agent, settings) = (conversation.agent_id, body.compaction_settings);
    let done = state
        .engine
        .compact(&scope, agent, thread(&conversation), settings);
    Ok(Json(done.await?.into()))
}
