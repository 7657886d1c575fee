//! Identities: the people and organizations that agents and blocks belong to.

mod shapes;

use axum::extract::State;
use mnemic_core::{
    identities::Identity,
    ids::{AgentId, BlockId, IdentityId},
    scope::Scope,
};
use mnemic_store::{
    agents::AgentFilter,
    blocks::{self, BlockFilter},
    identities::{self, Attachment, IdentityFilter, IdentityPatch},
    page::Order,
};
use serde_json::Value;

pub use self::shapes::IdentityView;
use self::shapes::{CreateIdentityBody, IdentitiesQuery, PropertyBody, UpdateIdentityBody};
use crate::{
    AppState,
    actor::{Actor, ClientVersion, ProjectId},
    agents::{AgentView, RelationsQuery},
    blocks::BlockView,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query},
    page::PageQuery,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create, upsert))
        .merge(routes!(count))
        .merge(routes!(retrieve, update, delete))
        .merge(routes!(set_properties))
        .merge(routes!(agents_of))
        .merge(routes!(blocks_of))
        .merge(routes!(attach_to_agent))
        .merge(routes!(detach_from_agent))
        .merge(routes!(attach_to_block))
        .merge(routes!(detach_from_block))
}

/// An identity with what is linked to it.
async fn one(
    state: &AppState,
    scope: Scope,
    id: IdentityId,
) -> Result<Json<IdentityView>, ApiError> {
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let found = identities::get(tx, &scope, id).await?;
            let mut links = identities::links_of(tx, &scope, &[id]).await?;
            Ok::<_, ApiError>((found, links.remove(&id).unwrap_or_default()))
        })
    });
    let (found, links) = read.await?;
    Ok(Json(IdentityView::new(found, links)))
}

/// Identities, newest first.
#[utoipa::path(get, path = "/v1/identities", tag = "identities", operation_id = "list_identities",
    params(PageQuery, IdentitiesQuery), responses((status = 200, body = Vec<IdentityView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<IdentitiesQuery>,
) -> Result<Json<Vec<IdentityView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let filter = IdentityFilter::from(filter);
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let found = identities::list(tx, &scope, &filter, &page).await?;
            let ids: Vec<IdentityId> = found.iter().map(|identity| identity.id).collect();
            let links = identities::links_of(tx, &scope, &ids).await?;
            Ok::<_, ApiError>((found, links))
        })
    });
    let (found, mut links) = read.await?;
    let view = |identity: Identity| {
        let links = links.remove(&identity.id).unwrap_or_default();
        IdentityView::new(identity, links)
    };
    Ok(Json(found.into_iter().map(view).collect()))
}

/// Make an identity. Its key must be new within its project.
#[utoipa::path(post, path = "/v1/identities", tag = "identities", operation_id = "create_identity",
    request_body = CreateIdentityBody, responses((status = 200, body = IdentityView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    ProjectId(project): ProjectId,
    Json(body): Json<CreateIdentityBody>,
) -> Result<Json<IdentityView>, ApiError> {
    let new = body.into_new(project);
    let id = state.engine.create_identity(&scope, new).await?;
    one(&state, scope, id).await
}

/// Make an identity, or change the one that has its key in its project: properties and links that are left
/// out stay.
#[utoipa::path(put, path = "/v1/identities", tag = "identities", operation_id = "upsert_identity",
    request_body = CreateIdentityBody, responses((status = 200, body = IdentityView)))]
async fn upsert(
    State(state): State<AppState>,
    Actor(scope): Actor,
    ProjectId(project): ProjectId,
    Json(body): Json<CreateIdentityBody>,
) -> Result<Json<IdentityView>, ApiError> {
    let new = body.into_new(project);
    let id = state.engine.upsert_identity(&scope, new).await?;
    one(&state, scope, id).await
}

/// How many identities there are.
#[utoipa::path(get, path = "/v1/identities/count", tag = "identities",
    operation_id = "count_identities", params(IdentitiesQuery),
    responses((status = 200, body = i64, content_type = "application/json")))]
async fn count(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Query(filter): Query<IdentitiesQuery>,
) -> Result<Json<i64>, ApiError> {
    let filter = IdentityFilter::from(filter);
    let counted = state.engine.store().read(move |tx| {
        Box::pin(async move {
            identities::count(tx, &scope, &filter)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(counted.await?))
}

/// One identity.
#[utoipa::path(get, path = "/v1/identities/{identity_id}", tag = "identities",
    operation_id = "retrieve_identity", params(("identity_id" = String, Path)),
    responses((status = 200, body = IdentityView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<IdentityId>,
) -> Result<Json<IdentityView>, ApiError> {
    one(&state, scope, id).await
}

/// Change an identity: lists replace.
#[utoipa::path(patch, path = "/v1/identities/{identity_id}", tag = "identities",
    operation_id = "update_identity", params(("identity_id" = String, Path)),
    request_body = UpdateIdentityBody, responses((status = 200, body = IdentityView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<IdentityId>,
    Json(body): Json<UpdateIdentityBody>,
) -> Result<Json<IdentityView>, ApiError> {
    let patch = IdentityPatch::from(body);
    state.engine.update_identity(&scope, id, patch).await?;
    one(&state, scope, id).await
}

/// Delete an identity. The agents and blocks that were linked to it stay.
#[utoipa::path(delete, path = "/v1/identities/{identity_id}", tag = "identities",
    operation_id = "delete_identity", params(("identity_id" = String, Path)),
    responses((status = 200, description = "null")))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<IdentityId>,
) -> Result<Json<()>, ApiError> {
    let gone = state.engine.store().write(move |tx| {
        Box::pin(async move {
            identities::delete(tx, &scope, id)
                .await
                .map_err(ApiError::from)
        })
    });
    gone.await?;
    Ok(Json(()))
}

/// Set properties of an identity; those with other keys stay.
#[utoipa::path(put, path = "/v1/identities/{identity_id}/properties", tag = "identities",
    operation_id = "upsert_properties_for_identity", params(("identity_id" = String, Path)),
    request_body = Vec<PropertyBody>, responses((status = 200, body = IdentityView)))]
async fn set_properties(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<IdentityId>,
    Json(body): Json<Vec<PropertyBody>>,
) -> Result<Json<IdentityView>, ApiError> {
    let properties = body.into_iter().map(Into::into).collect();
    state
        .engine
        .set_identity_properties(&scope, id, properties)
        .await?;
    one(&state, scope, id).await
}

/// The agents that are linked to an identity, newest first.
#[utoipa::path(get, path = "/v1/identities/{identity_id}/agents", tag = "identities",
    operation_id = "list_agents_for_identity",
    params(("identity_id" = String, Path), PageQuery, RelationsQuery),
    responses((status = 200, body = Vec<AgentView>)))]
async fn agents_of(
    State(state): State<AppState>,
    Actor(scope): Actor,
    version: ClientVersion,
    Path(id): Path<IdentityId>,
    query: PageQuery,
    Query(relations): Query<RelationsQuery>,
) -> Result<Json<Vec<AgentView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let for_job = scope.clone();
    let known = state.engine.store().read(move |tx| {
        Box::pin(async move {
            identities::get(tx, &for_job, id)
                .await
                .map_err(ApiError::from)
        })
    });
    known.await?;
    let filter = AgentFilter {
        identity_id: Some(id),
        show_hidden: true,
        ..AgentFilter::default()
    };
    let wanted = relations.wanted(version);
    let found = state.engine.agents(&scope, filter, page, wanted).await?;
    Ok(Json(found.into_iter().map(AgentView::from).collect()))
}

/// The blocks that are linked to an identity, newest first.
#[utoipa::path(get, path = "/v1/identities/{identity_id}/blocks", tag = "identities",
    operation_id = "list_blocks_for_identity", params(("identity_id" = String, Path), PageQuery),
    responses((status = 200, body = Vec<BlockView>)))]
async fn blocks_of(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<IdentityId>,
    query: PageQuery,
) -> Result<Json<Vec<BlockView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            identities::get(tx, &scope, id).await?;
            let filter = BlockFilter {
                identity_id: Some(id),
                show_hidden: true,
                ..BlockFilter::default()
            };
            let found = blocks::list(tx, &scope, &filter, &page).await?;
            Ok::<_, ApiError>(found)
        })
    });
    Ok(Json(
        found.await?.into_iter().map(BlockView::from).collect(),
    ))
}

/// What becomes of an identity's link.
#[derive(Clone, Copy)]
enum Link {
    Attach,
    Detach,
}

/// Links an identity to something, or takes the link away.
async fn link(
    state: &AppState,
    scope: Scope,
    (identity, to): (IdentityId, Attachment),
    link: Link,
) -> Result<(), ApiError> {
    let linked = state.engine.store().write(move |tx| {
        Box::pin(async move {
            let linked = match link {
                Link::Attach => identities::attach(tx, &scope, identity, to).await,
                Link::Detach => identities::detach(tx, &scope, identity, to).await,
            };
            linked.map_err(ApiError::from)
        })
    });
    linked.await
}

/// Attach an identity to an agent, so that the agent is found by it.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/identities/attach/{identity_id}",
    tag = "identities", operation_id = "attach_identity_to_agent",
    params(("agent_id" = String, Path), ("identity_id" = String, Path)),
    responses((status = 200, body = Option<Value>)))]
async fn attach_to_agent(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, identity)): Path<(AgentId, IdentityId)>,
) -> Result<Json<Value>, ApiError> {
    let to = Attachment::Agent(agent);
    link(&state, scope, (identity, to), Link::Attach).await?;
    Ok(Json(Value::Null))
}

/// Detach an identity from an agent; both stay.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/identities/detach/{identity_id}",
    tag = "identities", operation_id = "detach_identity_from_agent",
    params(("agent_id" = String, Path), ("identity_id" = String, Path)),
    responses((status = 200, body = Option<Value>)))]
async fn detach_from_agent(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, identity)): Path<(AgentId, IdentityId)>,
) -> Result<Json<Value>, ApiError> {
    let to = Attachment::Agent(agent);
    link(&state, scope, (identity, to), Link::Detach).await?;
    Ok(Json(Value::Null))
}

/// Attach an identity to a block, so that the block is found by it.
#[utoipa::path(patch, path = "/v1/blocks/{block_id}/identities/attach/{identity_id}",
    tag = "identities", operation_id = "attach_identity_to_block",
    params(("block_id" = String, Path), ("identity_id" = String, Path)),
    responses((status = 200, body = BlockView)))]
async fn attach_to_block(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((block, identity)): Path<(BlockId, IdentityId)>,
) -> Result<Json<BlockView>, ApiError> {
    let to = Attachment::Block(block);
    link(&state, scope.clone(), (identity, to), Link::Attach).await?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { blocks::get(tx, &scope, block).await.map_err(ApiError::from) })
    });
    Ok(Json(found.await?.into()))
}

/// Detach an identity from a block; both stay.
#[utoipa::path(patch, path = "/v1/blocks/{block_id}/identities/detach/{identity_id}",
    tag = "identities", operation_id = "detach_identity_from_block",
    params(("block_id" = String, Path), ("identity_id" = String, Path)),
    responses((status = 200, body = BlockView)))]
async fn detach_from_block(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((block, identity)): Path<(BlockId, IdentityId)>,
) -> Result<Json<BlockView>, ApiError> {
    let to = Attachment::Block(block);
    link(&state, scope.clone(), (identity, to), Link::Detach).await?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { blocks::get(tx, &scope, block).await.map_err(ApiError::from) })
    });
    Ok(Json(found.await?.into()))
}
