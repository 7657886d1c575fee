//! Forking conversations.

use axum::extract::State;
use mnemic_core::ids::{AgentId, MessageId};
use mnemic_engine::forks::Fork;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    AppState,
    actor::Actor,
    conversation_messages::{Named, thread},
    conversations::{self, ConversationView},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query, query_id},
};

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(fork)
}

/// What is forked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ForkQuery {
    /// The agent, for the conversation `default`.
    agent_id: Option<String>,
    /// The last message that the fork shares; all when left out.
    message_id: Option<String>,
    /// Whether lists leave the fork out.
    hidden: Option<bool>,
}

/// Begin a conversation that goes on from what another one said. Its messages are shared, its prompt is compiled anew,
/// blocks that are the other's own are copied, those of a person are shown in both; what is said in one of them then does not show in the other.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/fork", tag = "conversations",
    operation_id = "fork_conversation", params(("conversation_id" = String, Path), ForkQuery),
    responses((status = 200, body = ConversationView)))]
async fn fork(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
    Query(query): Query<ForkQuery>,
) -> Result<Json<ConversationView>, ApiError> {
    let agent: Option<AgentId> = query
        .agent_id
        .map(|id| query_id("agent_id", &id))
        .transpose()?;
    let up_to: Option<MessageId> = query
        .message_id
        .map(|id| query_id("message_id", &id))
        .transpose()?;
    let origin = named.read(&state, &scope, agent).await?;
    let fork = Fork {
        agent_id: origin.agent_id,
        thread: thread(&origin),
        up_to,
        hidden: query.hidden.unwrap_or(false),
    };
    let id = state.engine.fork(&scope, fork).await?;
    Ok(Json(conversations::stored(&state, &scope, id).await?))
}
