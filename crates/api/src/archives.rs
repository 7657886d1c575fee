//! Archives: stores of passages that agents share.

use std::collections::BTreeSet;

use axum::extract::State;
use http::StatusCode;
use mnemic_core::{
    archives::Archive,
    ids::{AgentId, ArchiveId, OrganizationId, PassageId, UserId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_engine::archives::{ArchivePatch, NewArchive};
use mnemic_store::{
    agents::{self, AgentFilter},
    archives::{self, ArchiveFilter},
    page::Order,
    passages,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::{Actor, ClientVersion},
    agents::{AgentView, RelationsQuery},
    archival_memory::{PassageBody, PassageView},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query, query_id},
    page::PageQuery,
    patch::given,
    people,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(retrieve, update, delete))
        .merge(routes!(agents_of))
        .merge(routes!(create_passage))
        .merge(routes!(create_passages))
        .merge(routes!(delete_passage))
        .merge(routes!(attach))
        .merge(routes!(detach))
}

/// An archive.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct ArchiveView {
    #[schema(value_type = String)]
    id: ArchiveId,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    name: String,
    description: Option<String>,
    /// Where vectors are kept: always in the server's own database.
    vector_db_provider: &'static str,
    /// Its embedding model; null follows the server's default.
    embedding_config: Option<Value>,
    #[schema(value_type = Option<Value>)]
    metadata: Option<Map<String, Value>>,
    #[schema(value_type = Option<String>)]
    created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    last_updated_by_id: Option<UserId>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

impl ArchiveView {
    fn new(scope: &Scope, archive: Archive) -> Self {
        Self {
            id: archive.id,
            organization_id: scope.organization,
            name: archive.name,
            description: archive.description,
            vector_db_provider: "native",
            embedding_config: archive.embedding_config,
            metadata: archive.metadata,
            created_by_id: archive.created_by,
            last_updated_by_id: archive.updated_by,
            created_at: archive.created_at,
            updated_at: archive.updated_at,
        }
    }
}

/// A new archive.
#[derive(Debug, Deserialize, ToSchema)]
struct CreateArchiveBody {
    /// Its name.
    #[schema(min_length = 1, max_length = 1000)]
    name: String,
    /// What is in it.
    description: Option<String>,
    /// The handle of its embedding model; without one it follows the server's default.
    embedding: Option<String>,
    /// The old form of `embedding`.
    #[schema(value_type = Option<Value>)]
    embedding_config: Option<Map<String, Value>>,
}

/// What changes of an archive.
#[derive(Debug, Deserialize, ToSchema)]
struct UpdateArchiveBody {
    /// Its name.
    #[schema(min_length = 1, max_length = 1000)]
    name: Option<String>,
    /// What is in it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// The handle of another embedding model: its passages are embedded anew in the background, while
    /// they are found by their words.
    embedding: Option<String>,
}

/// Which archives a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ArchivesQuery {
    /// Only those of exactly this name.
    name: Option<String>,
    /// Only those of this agent.
    agent_id: Option<String>,
}

/// Archives, newest first.
#[utoipa::path(get, path = "/v1/archives", tag = "archives", operation_id = "list_archives",
    params(PageQuery, ArchivesQuery), responses((status = 200, body = Vec<ArchiveView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<ArchivesQuery>,
) -> Result<Json<Vec<ArchiveView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let filter = ArchiveFilter {
        agent_id: match &filter.agent_id {
            Some(id) => Some(query_id("agent_id", id)?),
            None => None,
        },
        name: filter.name,
    };
    let for_job = scope.clone();
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            archives::list(tx, &for_job, &filter, &page)
                .await
                .map_err(ApiError::from)
        })
    });
    let found = found.await?.into_iter();
    Ok(Json(
        found
            .map(|archive| ArchiveView::new(&scope, archive))
            .collect(),
    ))
}

/// Make an archive.
#[utoipa::path(post, path = "/v1/archives", tag = "archives", operation_id = "create_archive",
    request_body = CreateArchiveBody, responses((status = 200, body = ArchiveView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Json(body): Json<CreateArchiveBody>,
) -> Result<Json<ArchiveView>, ApiError> {
    let new = NewArchive {
        name: body.name,
        description: body.description,
        embedding: body.embedding,
        embedding_config: body.embedding_config.map(Value::Object),
    };
    let made = state.engine.create_archive(&scope, new).await?;
    Ok(Json(ArchiveView::new(&scope, made)))
}

/// An archive by its id.
#[utoipa::path(get, path = "/v1/archives/{archive_id}", tag = "archives",
    operation_id = "retrieve_archive", params(("archive_id" = String, Path)),
    responses((status = 200, body = ArchiveView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ArchiveId>,
) -> Result<Json<ArchiveView>, ApiError> {
    let for_job = scope.clone();
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            archives::get(tx, &for_job, id)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(ArchiveView::new(&scope, found.await?)))
}

/// Change an archive.
#[utoipa::path(patch, path = "/v1/archives/{archive_id}", tag = "archives",
    operation_id = "modify_archive", params(("archive_id" = String, Path)),
    request_body = UpdateArchiveBody, responses((status = 200, body = ArchiveView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ArchiveId>,
    Json(body): Json<UpdateArchiveBody>,
) -> Result<Json<ArchiveView>, ApiError> {
    let patch = ArchivePatch {
        name: body.name,
        description: body.description,
        embedding: body.embedding,
    };
    let changed = state.engine.update_archive(&scope, id, patch).await?;
    Ok(Json(ArchiveView::new(&scope, changed)))
}

/// Delete an archive with its passages; it is taken off the agents that have it.
#[utoipa::path(delete, path = "/v1/archives/{archive_id}", tag = "archives",
    operation_id = "delete_archive", params(("archive_id" = String, Path)),
    responses((status = 204)))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ArchiveId>,
) -> Result<StatusCode, ApiError> {
    let gone = state.engine.store().write(move |tx| {
        Box::pin(async move {
            archives::delete(tx, &scope, id)
                .await
                .map_err(ApiError::from)
        })
    });
    gone.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The agents that have an archive.
#[utoipa::path(get, path = "/v1/archives/{archive_id}/agents", tag = "archives",
    operation_id = "list_agents_for_archive",
    params(("archive_id" = String, Path), PageQuery, RelationsQuery),
    responses((status = 200, body = Vec<AgentView>)))]
async fn agents_of(
    State(state): State<AppState>,
    Actor(scope): Actor,
    version: ClientVersion,
    Path(id): Path<ArchiveId>,
    query: PageQuery,
    Query(relations): Query<RelationsQuery>,
) -> Result<Json<Vec<AgentView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let for_job = scope.clone();
    let known = state.engine.store().read(move |tx| {
        Box::pin(async move {
            archives::get(tx, &for_job, id)
                .await
                .map_err(ApiError::from)
        })
    });
    known.await?;
    let filter = AgentFilter {
        archive_id: Some(id),
        show_hidden: true,
        ..AgentFilter::default()
    };
    let wanted = relations.wanted(version);
    let found = state.engine.agents(&scope, filter, page, wanted).await?;
    Ok(Json(found.into_iter().map(AgentView::from).collect()))
}

/// Several passages at once.
#[derive(Debug, Deserialize, ToSchema)]
struct PassagesBody {
    /// The passages; they are stored together or not at all.
    #[schema(max_items = 10_000)]
    passages: Vec<PassageBody>,
}

/// Write a passage into an archive. It is found by its words at once, and by its meaning as soon as
/// it is embedded.
#[utoipa::path(post, path = "/v1/archives/{archive_id}/passages", tag = "archives",
    operation_id = "create_passage_in_archive", params(("archive_id" = String, Path)),
    request_body = PassageBody, responses((status = 200, body = PassageView)))]
async fn create_passage(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ArchiveId>,
    Json(mut body): Json<PassageBody>,
) -> Result<Json<PassageView>, ApiError> {
    let scope = people::scope_of(&scope, body.user_id.take())?;
    let new = vec![body.passage()?];
    let (archive, made) = state.engine.insert_passages(&scope, id, new).await?;
    let made = made.into_iter().next();
    made.map(|passage| Json(PassageView::new(&scope, &archive, passage)))
        .ok_or_else(|| ApiError::internal("a stored passage is missing"))
}

/// Write several passages into an archive, all or none.
#[utoipa::path(post, path = "/v1/archives/{archive_id}/passages/batch", tag = "archives",
    operation_id = "create_passages_in_archive", params(("archive_id" = String, Path)),
    request_body = PassagesBody, responses((status = 200, body = Vec<PassageView>)))]
async fn create_passages(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ArchiveId>,
    Json(mut body): Json<PassagesBody>,
) -> Result<Json<Vec<PassageView>>, ApiError> {
    let users: BTreeSet<Option<String>> = body
        .passages
        .iter_mut()
        .map(|one| one.user_id.take())
        .collect();
    if users.len() > 1 {
        return Err(ApiError::unprocessable(
            "the passages of one request are of one user, or all common: send those of others apart",
        ));
    }
    let scope = people::scope_of(&scope, users.into_iter().next().flatten())?;
    let new = body.passages.into_iter().map(PassageBody::passage);
    let new = new.collect::<Result<Vec<_>, _>>()?;
    let (archive, made) = state.engine.insert_passages(&scope, id, new).await?;
    let made = made.into_iter();
    Ok(Json(
        made.map(|passage| PassageView::new(&scope, &archive, passage))
            .collect(),
    ))
}

/// Delete a passage of an archive.
#[utoipa::path(delete, path = "/v1/archives/{archive_id}/passages/{passage_id}", tag = "archives",
    operation_id = "delete_passage_from_archive",
    params(("archive_id" = String, Path), ("passage_id" = String, Path)),
    responses((status = 204)))]
async fn delete_passage(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((archive, passage)): Path<(ArchiveId, PassageId)>,
) -> Result<StatusCode, ApiError> {
    let gone = state.engine.store().write(move |tx| {
        Box::pin(async move {
            archives::get(tx, &scope, archive).await?;
            if passages::get(tx, &scope, passage).await?.archive_id != archive {
                return Err(ApiError::not_found(format!(
                    "Passage {passage} not found in archive {archive}"
                )));
            }
            passages::delete(tx, &scope, passage).await?;
            Ok(())
        })
    });
    gone.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Attach an archive to an agent: it is searched with the agent's others, and the agent writes to it
/// if it has no other yet.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/archives/attach/{archive_id}", tag = "archives",
    operation_id = "attach_archive_to_agent",
    params(("agent_id" = String, Path), ("archive_id" = String, Path)),
    responses((status = 200, body = Option<Value>)))]
async fn attach(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, archive)): Path<(AgentId, ArchiveId)>,
) -> Result<Json<Value>, ApiError> {
    let now = state.engine.now();
    let attached = state.engine.store().write(move |tx| {
        Box::pin(async move {
            agents::get_for_update(tx, &scope, agent).await?;
            archives::attach(tx, &scope, (agent, archive), now).await?;
            Ok::<_, ApiError>(())
        })
    });
    attached.await?;
    Ok(Json(Value::Null))
}

/// Take an archive off an agent; the archive stays.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/archives/detach/{archive_id}", tag = "archives",
    operation_id = "detach_archive_from_agent",
    params(("agent_id" = String, Path), ("archive_id" = String, Path)),
    responses((status = 200, body = Option<Value>)))]
async fn detach(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, archive)): Path<(AgentId, ArchiveId)>,
) -> Result<Json<Value>, ApiError> {
    let detached = state.engine.store().write(move |tx| {
        Box::pin(async move {
            agents::get_for_update(tx, &scope, agent).await?;
            archives::get(tx, &scope, archive).await?;
            archives::detach(tx, agent, archive).await?;
            Ok::<_, ApiError>(())
        })
    });
    detached.await?;
    Ok(Json(Value::Null))
}
