//! Agents.

mod request;
mod selection;
mod view;

use axum::{extract::State, routing::get};
use mnemic_core::{conversations::Thread, ids::AgentId};
use mnemic_engine::agents::Relations;
use mnemic_store::{
    agents::{self, AgentFilter},
    page::Order,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::{
    request::{CreateAgentBody, UpdateAgentBody},
    selection::{AgentsQuery, RelationsQuery},
    view::{AgentView, MemoryView},
};
use crate::{
    AppState,
    actor::{Actor, ClientVersion, IsPlain, ProjectId},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Query},
    page::PageQuery,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(count))
        .merge(routes!(retrieve, update, delete))
        .merge(routes!(recompile))
        .merge(routes!(recompile_system_prompt))
        .merge(routes!(reset_messages))
        .route("/v1/_internal_agents/count", get(count_internal))
}

/// Agents, newest first; hidden ones are left out.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", operation_id = "list_agents",
    params(PageQuery, AgentsQuery, RelationsQuery),
    responses((status = 200, body = Vec<AgentView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    version: ClientVersion,
    query: PageQuery,
    Query(filter): Query<AgentsQuery>,
    Query(relations): Query<RelationsQuery>,
) -> Result<Json<Vec<AgentView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let filter = filter.filter()?;
    let found = state
        .engine
        .agents(&scope, filter, page, relations.wanted(version))
        .await?;
    Ok(Json(found.into_iter().map(AgentView::from).collect()))
}

/// Make an agent.
#[utoipa::path(post, path = "/v1/agents", tag = "agents", operation_id = "create_agent",
    request_body = CreateAgentBody, responses((status = 200, body = AgentView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    ProjectId(project): ProjectId,
    IsPlain(is_plain): IsPlain,
    Json(body): Json<CreateAgentBody>,
) -> Result<Json<AgentView>, ApiError> {
    let mut request = body.into_request(project)?;
    if is_plain && let Some(name) = request.model.take() {
        // An agent that is there already comes back, whatever model is named.
        let full = state.engine.full_handle(&scope, &name).await;
        request.model = Some(match full {
            Err(_) if request.if_not_exists => name,
            full => full?,
        });
    }
    let id = state.engine.create_agent(&scope, request).await?;
    Ok(Json(
        state.engine.agent(&scope, id, Relations::ALL).await?.into(),
    ))
}

/// How many agents there are.
#[utoipa::path(get, path = "/v1/agents/count", tag = "agents", operation_id = "count_agents",
    params(AgentsQuery), responses((status = 200, body = i64, content_type = "application/json")))]
async fn count(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Query(filter): Query<AgentsQuery>,
) -> Result<Json<i64>, ApiError> {
    counted(&state, scope, filter.filter()?).await
}

/// Whether hidden agents are counted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InternalCountQuery {
    exclude_hidden: Option<bool>,
}

async fn count_internal(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Query(query): Query<InternalCountQuery>,
) -> Result<Json<i64>, ApiError> {
    let show_hidden = query.exclude_hidden == Some(false);
    counted(
        &state,
        scope,
        AgentFilter {
            show_hidden,
            ..AgentFilter::default()
        },
    )
    .await
}

async fn counted(
    state: &AppState,
    scope: mnemic_core::scope::Scope,
    filter: AgentFilter,
) -> Result<Json<i64>, ApiError> {
    let counted = state.engine.store().read(move |tx| {
        Box::pin(async move {
            agents::count(tx, &scope, &filter)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(counted.await?))
}

/// One agent.
#[utoipa::path(get, path = "/v1/agents/{agent_id}", tag = "agents",
    operation_id = "retrieve_agent", params(("agent_id" = String, Path), RelationsQuery),
    responses((status = 200, body = AgentView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    version: ClientVersion,
    Path(id): Path<AgentId>,
    Query(relations): Query<RelationsQuery>,
) -> Result<Json<AgentView>, ApiError> {
    let found = state
        .engine
        .agent(&scope, id, relations.wanted(version))
        .await?;
    Ok(Json(found.into()))
}

/// Change an agent. Its next step shows what changed.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}", tag = "agents",
    operation_id = "modify_agent", params(("agent_id" = String, Path)),
    request_body = UpdateAgentBody, responses((status = 200, body = AgentView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<AgentId>,
    Json(body): Json<UpdateAgentBody>,
) -> Result<Json<AgentView>, ApiError> {
    state
        .engine
        .update_agent(&scope, id, body.into_patch()?)
        .await?;
    Ok(Json(
        state.engine.agent(&scope, id, Relations::ALL).await?.into(),
    ))
}

/// That something was done.
#[derive(Debug, Serialize, ToSchema)]
struct Done {
    message: String,
}

/// Remove an agent with its messages. Its blocks stay, as others may share them.
#[utoipa::path(delete, path = "/v1/agents/{agent_id}", tag = "agents",
    operation_id = "delete_agent", params(("agent_id" = String, Path)),
    responses((status = 200, body = Done)))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<AgentId>,
) -> Result<Json<Done>, ApiError> {
    state.engine.delete_agent(&scope, id).await?;
    Ok(Json(Done {
        message: format!("Agent id={id} successfully deleted"),
    }))
}

/// How a prompt is compiled anew.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct RecompileQuery {
    /// Whether the prompt is only shown, not kept.
    dry_run: Option<bool>,
    /// Kept for older clients: the time in the prompt is always that of its compilation.
    #[allow(dead_code)]
    update_timestamp: Option<bool>,
}

/// Compile an agent's prompt from what is true now, and return it. There is no need to: a change is in
/// the agent's next step in any case.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/recompile", tag = "agents",
    operation_id = "recompile_agent", params(("agent_id" = String, Path), RecompileQuery),
    responses((status = 200, body = String, content_type = "application/json")))]
async fn recompile(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<AgentId>,
    Query(query): Query<RecompileQuery>,
) -> Result<Json<String>, ApiError> {
    let dry_run = query.dry_run.unwrap_or(false);
    Ok(Json(
        state
            .engine
            .recompile(&scope, id, Thread::Default, dry_run)
            .await?,
    ))
}

/// The older name of recompile.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/system-prompt/recompile", tag = "agents",
    operation_id = "recompile_agent_system_prompt",
    params(("agent_id" = String, Path), RecompileQuery),
    responses((status = 200, body = String, content_type = "application/json")))]
async fn recompile_system_prompt(
    state: State<AppState>,
    actor: Actor,
    path: Path<AgentId>,
    query: Query<RecompileQuery>,
) -> Result<Json<String>, ApiError> {
    recompile(state, actor, path, query).await
}

/// How a context is emptied.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct ResetBody {
    /// Kept for older clients.
    #[allow(dead_code)]
    add_default_initial_messages: Option<bool>,
}

/// Empty an agent's context. What was said can still be found.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/reset-messages", tag = "agents",
    operation_id = "reset_messages", params(("agent_id" = String, Path)),
    request_body = Option<ResetBody>, responses((status = 200, body = AgentView)))]
async fn reset_messages(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<AgentId>,
    OptionalJson(_): OptionalJson<ResetBody>,
) -> Result<Json<AgentView>, ApiError> {
    state.engine.reset_messages(&scope, id).await?;
    Ok(Json(
        state.engine.agent(&scope, id, Relations::ALL).await?.into(),
    ))
}
