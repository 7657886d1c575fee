//! Blocks: core memory that stands in prompts.

mod request;
mod view;

use axum::{
    extract::State,
    routing::{delete as http_delete, get},
};
use mnemic_core::ids::{AgentId, BlockId};
use mnemic_store::{agents::AgentFilter, blocks, page::Order};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

pub use self::{
    request::{BlocksQuery, CreateBlockBody, UpdateBlockBody},
    view::{BlockVersionView, BlockView},
};
use crate::{
    AppState,
    actor::{Actor, ClientVersion, ProjectId},
    agents::{AgentView, RelationsQuery},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query},
    page::PageQuery,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(count))
        .merge(routes!(retrieve, update, delete))
        .merge(routes!(list_agents))
        .merge(routes!(history))
        .merge(routes!(restore))
        .route("/v1/_internal_blocks", get(list).post(create))
        .route("/v1/_internal_blocks/{block_id}", http_delete(delete))
        .route("/v1/_internal_blocks/{block_id}/agents", get(list_agents))
}

/// Blocks, oldest first.
#[utoipa::path(get, path = "/v1/blocks", tag = "blocks", operation_id = "list_blocks",
    params(PageQuery, BlocksQuery), responses((status = 200, body = Vec<BlockView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<BlocksQuery>,
) -> Result<Json<Vec<BlockView>>, ApiError> {
    let page = query.page(50, Order::Asc)?;
    let filter = filter.filter()?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            blocks::list(tx, &scope, &filter, &page)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(
        found.await?.into_iter().map(BlockView::from).collect(),
    ))
}

/// Make a block.
#[utoipa::path(post, path = "/v1/blocks", tag = "blocks", operation_id = "create_block",
    request_body = CreateBlockBody, responses((status = 200, body = BlockView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    ProjectId(project): ProjectId,
    Json(body): Json<CreateBlockBody>,
) -> Result<Json<BlockView>, ApiError> {
    let block = state
        .engine
        .create_block(&scope, body.in_project(project).into())
        .await?;
    Ok(Json(block.into()))
}

/// How many blocks there are.
#[utoipa::path(get, path = "/v1/blocks/count", tag = "blocks", operation_id = "count_blocks",
    params(BlocksQuery), responses((status = 200, body = i64, content_type = "application/json")))]
async fn count(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Query(filter): Query<BlocksQuery>,
) -> Result<Json<i64>, ApiError> {
    let filter = filter.filter()?;
    let counted = state.engine.store().read(move |tx| {
        Box::pin(async move {
            blocks::count(tx, &scope, &filter)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(counted.await?))
}

/// One block.
#[utoipa::path(get, path = "/v1/blocks/{block_id}", tag = "blocks",
    operation_id = "retrieve_block", params(("block_id" = String, Path)),
    responses((status = 200, body = BlockView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<BlockId>,
) -> Result<Json<BlockView>, ApiError> {
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { blocks::get(tx, &scope, id).await.map_err(ApiError::from) })
    });
    Ok(Json(found.await?.into()))
}

/// Change a block. All agents that have it see the new value in their next step.
#[utoipa::path(patch, path = "/v1/blocks/{block_id}", tag = "blocks",
    operation_id = "modify_block", params(("block_id" = String, Path)),
    request_body = UpdateBlockBody, responses((status = 200, body = BlockView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<BlockId>,
    Json(body): Json<UpdateBlockBody>,
) -> Result<Json<BlockView>, ApiError> {
    let (patch, now) = (body.patch()?, state.engine.now());
    let changed = state.engine.store().write(move |tx| {
        Box::pin(async move {
            blocks::update(tx, &scope, id, patch, now)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(changed.await?.into()))
}

/// Remove a block from all agents that have it.
#[utoipa::path(delete, path = "/v1/blocks/{block_id}", tag = "blocks",
    operation_id = "delete_block", params(("block_id" = String, Path)),
    responses((status = 200, description = "null")))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<BlockId>,
) -> Result<Json<()>, ApiError> {
    let gone = state.engine.store().write(move |tx| {
        Box::pin(async move { blocks::delete(tx, &scope, id).await.map_err(ApiError::from) })
    });
    gone.await?;
    Ok(Json(()))
}

/// The agents that have a block, newest first.
#[utoipa::path(get, path = "/v1/blocks/{block_id}/agents", tag = "blocks",
    operation_id = "list_agents_for_block",
    params(("block_id" = String, Path), PageQuery, RelationsQuery),
    responses((status = 200, body = Vec<AgentView>)))]
async fn list_agents(
    State(state): State<AppState>,
    Actor(scope): Actor,
    version: ClientVersion,
    Path(id): Path<BlockId>,
    query: PageQuery,
    Query(relations): Query<RelationsQuery>,
) -> Result<Json<Vec<AgentView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let for_job = scope.clone();
    let exists = state.engine.store().read(move |tx| {
        Box::pin(async move { blocks::get(tx, &for_job, id).await.map_err(ApiError::from) })
    });
    exists.await?;
    let filter = AgentFilter {
        block_id: Some(id),
        show_hidden: true,
        ..AgentFilter::default()
    };
    let found = state
        .engine
        .agents(&scope, filter, page, relations.wanted(version))
        .await?;
    Ok(Json(found.into_iter().map(AgentView::from).collect()))
}

/// Which versions a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Only versions before this one.
    before: Option<i64>,
    /// How many versions at the most.
    #[param(minimum = 0, maximum = 10_000, default = 100)]
    limit: Option<i64>,
}

/// All states that a block had, newest first, each with who made it.
#[utoipa::path(get, path = "/v1/blocks/{block_id}/history", tag = "blocks",
    operation_id = "list_block_versions", params(("block_id" = String, Path), HistoryQuery),
    responses((status = 200, body = Vec<BlockVersionView>)))]
async fn history(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<BlockId>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Vec<BlockVersionView>>, ApiError> {
    let bounds = PageQuery {
        limit: query.limit,
        ..PageQuery::default()
    };
    let part = (query.before, bounds.page(100, Order::Desc)?.limit);
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            blocks::history(tx, &scope, id, part)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(
        found
            .await?
            .into_iter()
            .map(BlockVersionView::from)
            .collect(),
    ))
}

/// Which state is wanted back.
#[derive(Debug, Deserialize, ToSchema)]
struct RestoreBody {
    /// The version's number.
    version: i64,
}

/// Give a block the value, limit and description of an earlier version. That makes a new version.
#[utoipa::path(post, path = "/v1/blocks/{block_id}/restore", tag = "blocks",
    operation_id = "restore_block", params(("block_id" = String, Path)),
    request_body = RestoreBody, responses((status = 200, body = BlockView)))]
async fn restore(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<BlockId>,
    Json(body): Json<RestoreBody>,
) -> Result<Json<BlockView>, ApiError> {
    let now = state.engine.now();
    let restored = state.engine.store().write(move |tx| {
        Box::pin(async move {
            blocks::restore(tx, &scope, id, body.version, now)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(restored.await?.into()))
}

/// The error for a label that an agent has no block with.
#[must_use]
pub fn no_such_label(agent: AgentId, label: &str) -> ApiError {
    ApiError::not_found(format!(
        "No block with label '{label}' found for agent '{agent}'"
    ))
}
