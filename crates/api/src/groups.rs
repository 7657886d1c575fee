//! Groups of agents.

mod shapes;

use axum::extract::State;
use http::StatusCode;
use mnemic_core::{
    ids::{AgentId, BlockId, GroupId, MessageId},
    scope::Scope,
};
use mnemic_engine::groups::{GroupFields, Sharing};
use mnemic_store::{
    agents,
    groups::{self, GroupFilter},
    page::Order,
};
use serde_json::Value;

pub use self::shapes::GroupView;
use self::shapes::{AgentGroupsQuery, CreateGroupBody, Deleted, GroupsQuery, UpdateGroupBody};
use crate::{
    AppState,
    actor::{Actor, ProjectId},
    answer::{self, LettaResponse},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query},
    history,
    letta_messages::LettaMessage,
    messages::HistoryQuery,
    page::PageQuery,
    people,
    send_request::{AnswerForm, SendBody, Sent},
    turns,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(count))
        .merge(routes!(retrieve, update, delete))
        .merge(routes!(messages, send))
        .merge(routes!(modify_message))
        .merge(routes!(reset_messages))
        .merge(routes!(attach_block))
        .merge(routes!(detach_block))
        .merge(routes!(of_agent))
}

/// Groups, oldest first.
#[utoipa::path(get, path = "/v1/groups", tag = "groups", operation_id = "list_groups",
    params(PageQuery, GroupsQuery), responses((status = 200, body = Vec<GroupView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<GroupsQuery>,
) -> Result<Json<Vec<GroupView>>, ApiError> {
    let page = query.page(50, Order::Asc)?;
    let filter = GroupFilter::from(filter);
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            groups::list(tx, &scope, &filter, &page)
                .await
                .map_err(ApiError::from)
        })
    });
    let found = found.await?.into_iter();
    Ok(Json(found.map(GroupView::from).collect()))
}

/// Make a group. A supervisor or dynamic manager gets the tool with which it asks the members.
#[utoipa::path(post, path = "/v1/groups", tag = "groups", operation_id = "create_group",
    request_body = CreateGroupBody, responses((status = 200, body = GroupView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    ProjectId(project): ProjectId,
    Json(body): Json<CreateGroupBody>,
) -> Result<Json<GroupView>, ApiError> {
    let mut fields = GroupFields::from(body);
    fields.project_id = fields.project_id.or(project);
    let made = state.engine.create_group(&scope, fields).await?;
    Ok(Json(made.into()))
}

/// How many groups there are.
#[utoipa::path(get, path = "/v1/groups/count", tag = "groups", operation_id = "count_groups",
    responses((status = 200, body = i64, content_type = "application/json")))]
async fn count(State(state): State<AppState>, Actor(scope): Actor) -> Result<Json<i64>, ApiError> {
    let counted = state.engine.store().read(move |tx| {
        Box::pin(async move {
            groups::count(tx, &scope, &GroupFilter::default())
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(counted.await?))
}

/// One group.
#[utoipa::path(get, path = "/v1/groups/{group_id}", tag = "groups", operation_id = "retrieve_group",
    params(("group_id" = String, Path)), responses((status = 200, body = GroupView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<GroupId>,
) -> Result<Json<GroupView>, ApiError> {
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { groups::get(tx, &scope, id).await.map_err(ApiError::from) })
    });
    Ok(Json(found.await?.into()))
}

/// Change a group, such as how often its members tidy a memory.
#[utoipa::path(patch, path = "/v1/groups/{group_id}", tag = "groups", operation_id = "modify_group",
    params(("group_id" = String, Path)), request_body = UpdateGroupBody,
    responses((status = 200, body = GroupView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<GroupId>,
    Json(body): Json<UpdateGroupBody>,
) -> Result<Json<GroupView>, ApiError> {
    let changed = state.engine.update_group(&scope, id, body.into()).await?;
    Ok(Json(changed.into()))
}

/// Delete a group. Its members stay, but for the companion that `enable_sleeptime` made.
#[utoipa::path(delete, path = "/v1/groups/{group_id}", tag = "groups", operation_id = "delete_group",
    params(("group_id" = String, Path)), responses((status = 200, body = Deleted)))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<GroupId>,
) -> Result<Json<Deleted>, ApiError> {
    state.engine.delete_group(&scope, id).await?;
    Ok(Json(Deleted::of(id)))
}

/// What was said in a group, newest first.
#[utoipa::path(get, path = "/v1/groups/{group_id}/messages", tag = "groups",
    operation_id = "list_group_messages",
    params(("group_id" = String, Path), PageQuery, HistoryQuery),
    responses((status = 200, body = Vec<LettaMessage>)))]
async fn messages(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<GroupId>,
    query: PageQuery,
    Query(shown): Query<HistoryQuery>,
) -> Result<Json<Vec<LettaMessage>>, ApiError> {
    let page = query.page(10, Order::Desc)?;
    let (shows, order) = (shown.shows(), page.order);
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            groups::get(tx, &scope, id).await?;
            groups::messages(tx, &scope, id, &page, None)
                .await
                .map_err(ApiError::from)
        })
    });
    let found = found.await?;
    Ok(Json(history::of(&found, order, &shows)))
}

/// Send a message to a group. Where its members speak one after the other, the answer has what all of them said; else it is
/// the manager's.
#[utoipa::path(post, path = "/v1/groups/{group_id}/messages", tag = "groups",
    operation_id = "send_group_message", params(("group_id" = String, Path)),
    request_body = SendBody, responses((status = 200, body = LettaResponse)))]
async fn send(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<GroupId>,
    mut sent: Sent,
) -> Result<Json<LettaResponse>, ApiError> {
    let scope = people::scope_of(&scope, sent.body.user_id.take())?;
    if sent.body.wants_stream() {
        return Err(ApiError::bad_request(
            "a group's answer is not streamed: leave out `streaming`, or follow the runs of its members",
        ));
    }
    let above = sent.above;
    let checked = sent.body.check(AnswerForm::Json, sent.fingerprint)?;
    let wanted = checked.stream.wanted.clone();
    let request = checked.into_request(&state, &scope, above).await?;
    let run = state.engine.send_to_group(&scope, id, request).await?;
    let mut answer = answer::wait(run, wanted.as_deref()).await?;
    while let Some(next) = next_speaker(&state, &scope, &answer).await? {
        let run = state.engine.attach(&scope, next, 0).await?;
        answer = answer.followed_by(answer::wait(run, wanted.as_deref()).await?);
    }
    Ok(Json(answer))
}

/// The run of the member who speaks next, where a run's end began one.
async fn next_speaker(
    state: &AppState,
    scope: &Scope,
    answer: &LettaResponse,
) -> Result<Option<mnemic_core::ids::RunId>, ApiError> {
    for id in answer.usage.run_ids() {
        let run = turns::stored(state, scope, *id).await?;
        let kind = run.metadata.get("run_type").and_then(Value::as_str);
        if kind == Some(mnemic_engine::groups::GROUP_TURN) {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Messages cannot be changed.
#[utoipa::path(patch, path = "/v1/groups/{group_id}/messages/{message_id}", tag = "groups",
    operation_id = "modify_group_message",
    params(("group_id" = String, Path), ("message_id" = String, Path)),
    responses((status = 405, description = "Always")))]
async fn modify_message(Path(_): Path<(GroupId, MessageId)>) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "messages cannot be changed: they are the record of what was said",
    )
}

/// Let the members of a group begin anew: what was said in it is forgotten.
#[utoipa::path(patch, path = "/v1/groups/{group_id}/reset-messages", tag = "groups",
    operation_id = "reset_group_messages", params(("group_id" = String, Path)),
    responses((status = 200, body = Option<Value>)))]
async fn reset_messages(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<GroupId>,
) -> Result<Json<Value>, ApiError> {
    state.engine.reset_group(&scope, id).await?;
    Ok(Json(Value::Null))
}

/// Share a block among the members of a group.
#[utoipa::path(patch, path = "/v1/groups/{group_id}/blocks/attach/{block_id}", tag = "groups",
    operation_id = "attach_block_to_group",
    params(("group_id" = String, Path), ("block_id" = String, Path)),
    responses((status = 200, body = Option<Value>)))]
async fn attach_block(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(ids): Path<(GroupId, BlockId)>,
) -> Result<Json<Value>, ApiError> {
    state
        .engine
        .share_block(&scope, ids, Sharing::Begins)
        .await?;
    Ok(Json(Value::Null))
}

/// Share a block no longer.
#[utoipa::path(patch, path = "/v1/groups/{group_id}/blocks/detach/{block_id}", tag = "groups",
    operation_id = "detach_block_from_group",
    params(("group_id" = String, Path), ("block_id" = String, Path)),
    responses((status = 200, body = Option<Value>)))]
async fn detach_block(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(ids): Path<(GroupId, BlockId)>,
) -> Result<Json<Value>, ApiError> {
    state.engine.share_block(&scope, ids, Sharing::Ends).await?;
    Ok(Json(Value::Null))
}

/// The groups that an agent manages or is a member of, newest first.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/groups", tag = "groups",
    operation_id = "list_groups_for_agent",
    params(("agent_id" = String, Path), PageQuery, AgentGroupsQuery),
    responses((status = 200, body = Vec<GroupView>)))]
async fn of_agent(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    query: PageQuery,
    Query(filter): Query<AgentGroupsQuery>,
) -> Result<Json<Vec<GroupView>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let filter = GroupFilter {
        manager_type: filter.manager_type,
        agent_id: Some(agent),
        ..GroupFilter::default()
    };
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            agents::get(tx, &scope, agent).await?;
            groups::list(tx, &scope, &filter, &page)
                .await
                .map_err(ApiError::from)
        })
    });
    let found = found.await?.into_iter();
    Ok(Json(found.map(GroupView::from).collect()))
}
