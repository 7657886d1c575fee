//! Core memory: the blocks of one agent.

use axum::{extract::State, routing::patch};
use mnemic_core::ids::{AgentId, BlockId};
use mnemic_engine::agents::{AgentState, Relations};
use mnemic_store::{
    agents,
    blocks::{self, BlockFilter},
    page::Order,
};

use crate::{
    AppState,
    actor::Actor,
    agents::{AgentView, MemoryView},
    blocks::{BlockView, UpdateBlockBody, no_such_label},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Text},
    page::PageQuery,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(memory))
        .merge(routes!(list))
        .merge(routes!(attach))
        .merge(routes!(detach))
        .merge(routes!(retrieve, update))
        .route(
            "/v1/_internal_agents/{agent_id}/core-memory/blocks/{block_label}",
            patch(update),
        )
}

/// An agent's core memory as a whole.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory", tag = "core memory",
    operation_id = "retrieve_agent_memory", params(("agent_id" = String, Path)),
    responses((status = 200, body = MemoryView)))]
async fn memory(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
) -> Result<Json<MemoryView>, ApiError> {
    let wanted = Relations {
        blocks: true,
        ..Relations::NONE
    };
    let AgentState { agent, blocks, .. } = state.engine.agent(&scope, agent, wanted).await?;
    let blocks = blocks.into_iter().map(BlockView::from).collect();
    Ok(Json(MemoryView::new(agent.agent_type, blocks)))
}

/// The blocks of an agent, newest first.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/blocks", tag = "core memory",
    operation_id = "list_core_memory_blocks", params(("agent_id" = String, Path), PageQuery),
    responses((status = 200, body = Vec<BlockView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    query: PageQuery,
) -> Result<Json<Vec<BlockView>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let filter = BlockFilter {
        agent_id: Some(agent),
        show_hidden: true,
        ..BlockFilter::default()
    };
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            agents::get(tx, &scope, agent).await?;
            blocks::list(tx, &scope, &filter, &page)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(
        found.await?.into_iter().map(BlockView::from).collect(),
    ))
}

/// Attach a block to an agent; its next step shows it. Several agents can share a block.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}",
    tag = "core memory", operation_id = "attach_core_memory_block",
    params(("agent_id" = String, Path), ("block_id" = String, Path)),
    responses((status = 200, body = AgentView)))]
async fn attach(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, block)): Path<(AgentId, BlockId)>,
) -> Result<Json<AgentView>, ApiError> {
    let (for_job, now) = (scope.clone(), state.engine.now());
    let attached = state.engine.store().write(move |tx| {
        Box::pin(async move {
            agents::get_for_update(tx, &for_job, agent).await?;
            if blocks::attach(tx, &for_job, agent, block).await? {
                agents::touch(tx, &for_job, agent, now).await?;
            }
            Ok::<_, ApiError>(())
        })
    });
    attached.await?;
    Ok(Json(
        state
            .engine
            .agent(&scope, agent, Relations::ALL)
            .await?
            .into(),
    ))
}

/// Take a block off an agent; the block itself stays.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}",
    tag = "core memory", operation_id = "detach_core_memory_block",
    params(("agent_id" = String, Path), ("block_id" = String, Path)),
    responses((status = 200, body = AgentView)))]
async fn detach(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, block)): Path<(AgentId, BlockId)>,
) -> Result<Json<AgentView>, ApiError> {
    let (for_job, now) = (scope.clone(), state.engine.now());
    let detached = state.engine.store().write(move |tx| {
        Box::pin(async move {
            agents::get_for_update(tx, &for_job, agent).await?;
            blocks::get(tx, &for_job, block).await?;
            if blocks::detach(tx, agent, block).await? {
                agents::touch(tx, &for_job, agent, now).await?;
            }
            Ok::<_, ApiError>(())
        })
    });
    detached.await?;
    Ok(Json(
        state
            .engine
            .agent(&scope, agent, Relations::ALL)
            .await?
            .into(),
    ))
}

/// A block of an agent by its label.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/core-memory/blocks/{block_label}",
    tag = "core memory", operation_id = "retrieve_core_memory_block",
    params(("agent_id" = String, Path), ("block_label" = String, Path)),
    responses((status = 200, body = BlockView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, Text(label))): Path<(AgentId, Text)>,
) -> Result<Json<BlockView>, ApiError> {
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            agents::get(tx, &scope, agent).await?;
            let block = blocks::by_label(tx, &scope, agent, &label).await?;
            block.ok_or_else(|| no_such_label(agent, &label))
        })
    });
    Ok(Json(found.await?.into()))
}

/// Change a block of an agent by its label. All agents that have the block see the change in their
/// next step.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/core-memory/blocks/{block_label}",
    tag = "core memory", operation_id = "modify_core_memory_block",
    params(("agent_id" = String, Path), ("block_label" = String, Path)),
    request_body = UpdateBlockBody, responses((status = 200, body = BlockView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, Text(label))): Path<(AgentId, Text)>,
    Json(body): Json<UpdateBlockBody>,
) -> Result<Json<BlockView>, ApiError> {
    let (patch, now) = (body.patch()?, state.engine.now());
    let changed = state.engine.store().write(move |tx| {
        Box::pin(async move {
            agents::get(tx, &scope, agent).await?;
            let block = blocks::by_label(tx, &scope, agent, &label).await?;
            let block = block.ok_or_else(|| no_such_label(agent, &label))?;
            Ok::<_, ApiError>(blocks::update(tx, &scope, block.id, patch, now).await?)
        })
    });
    Ok(Json(changed.await?.into()))
}
