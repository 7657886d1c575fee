//! Talking to agents, and what was said.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use http::StatusCode;
use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, ConversationId, MessageId, RunId},
    parts::Speech,
    scope::Scope,
};
use mnemic_engine::WhenBusy;
use mnemic_store::{
    Tx, agents, conversations,
    messages::{self, MessageFilter},
    page::Order,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::{Actor, IsPlain},
    answer::LettaResponse,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Query, body_id, query_id},
    history,
    letta_messages::{LettaMessage, MessageType, Shows, StreamFrame, letta_messages},
    page::PageQuery,
    people::{self, UserQuery},
    plain,
    runs::RunView,
    send_request::{AnswerForm, SendBody, Sent},
    turns::{self, Target},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, send))
        .merge(routes!(send_stream))
        .merge(routes!(send_async))
        .merge(routes!(cancel))
        .merge(routes!(modify))
        .merge(routes!(list_all))
        .merge(routes!(retrieve))
}

/// The scope of a request to an agent and where it runs: in the thread of the user it names, or in the default one.
async fn target(
    state: &AppState,
    scope: &Scope,
    agent: AgentId,
    sent: &mut Sent,
) -> Result<(Scope, Target), ApiError> {
    let scope = people::scope_of(scope, sent.body.user_id.take())?;
    let target = Target {
        agent,
        thread: people::thread_of(state, &scope, agent).await?,
        when_busy: WhenBusy::Queue,
    };
    Ok((scope, target))
}

/// Run the agent on what the client says.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages", tag = "messages",
    operation_id = "send_message", params(("agent_id" = String, Path)), request_body = SendBody,
    responses((status = 200, description = "The answer; with streaming=true a stream of messages",
        content((LettaResponse = "application/json"), (StreamFrame = "text/event-stream")))))]
async fn send(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    IsPlain(may_be_plain): IsPlain,
    mut sent: Sent,
) -> Result<Response, ApiError> {
    let form = match sent.body.streaming {
        Some(true) => AnswerForm::Stream,
        _ => AnswerForm::Json,
    };
    let (scope, target) = target(&state, &scope, agent, &mut sent).await?;
    if may_be_plain && sent.body.message.is_some() {
        sent.body = sent.body.unfolded()?;
        return plain::run(&state, &scope, target, sent, form).await;
    }
    turns::run(&state, &scope, target, sent, form).await
}

/// Run the agent and stream what it does.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/stream", tag = "messages",
    operation_id = "create_agent_message_stream", params(("agent_id" = String, Path)),
    request_body = SendBody, responses((status = 200, description = "A stream of messages",
        content((StreamFrame = "text/event-stream")))))]
async fn send_stream(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    mut sent: Sent,
) -> Result<Response, ApiError> {
    let (scope, target) = target(&state, &scope, agent, &mut sent).await?;
    turns::run(&state, &scope, target, sent, AnswerForm::Stream).await
}

/// Run the agent in the background.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/async", tag = "messages",
    operation_id = "create_agent_message_async", params(("agent_id" = String, Path)),
    request_body = SendBody, responses((status = 200, body = RunView)))]
async fn send_async(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    mut sent: Sent,
) -> Result<Response, ApiError> {
    let (scope, target) = target(&state, &scope, agent, &mut sent).await?;
    turns::run(&state, &scope, target, sent, AnswerForm::Run).await
}

/// Which runs to cancel.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct CancelBody {
    /// The runs; all of the agent when left out.
    run_ids: Option<Vec<String>>,
}

/// Cancel the agent's runs.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/cancel", tag = "messages",
    operation_id = "cancel_message", params(("agent_id" = String, Path)),
    request_body = Option<CancelBody>,
    responses((status = 200, body = BTreeMap<String, String>, description = "Each run: cancelled, or failed to be")))]
async fn cancel(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    OptionalJson(body): OptionalJson<CancelBody>,
) -> Result<Json<BTreeMap<RunId, &'static str>>, ApiError> {
    let named: Option<Result<Vec<RunId>, ApiError>> = body
        .run_ids
        .filter(|ids| !ids.is_empty())
        .map(|ids| ids.iter().map(|id| body_id("run_ids", id)).collect());
    let named = named.transpose()?;
    let cancelled = state
        .engine
        .cancel_agent(&scope, agent, named.clone())
        .await?;
    let mut outcome: BTreeMap<RunId, &'static str> = named
        .into_iter()
        .flatten()
        .map(|id| (id, "failed"))
        .collect();
    outcome.extend(cancelled.into_iter().map(|id| (id, "cancelled")));
    Ok(Json(outcome))
}

/// What a list of messages shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only this conversation: its id, or `default` for the agent's default one.
    pub conversation_id: Option<String>,
    /// The agent, for the conversation `default`.
    pub agent_id: Option<String>,
    /// Only these kinds of messages.
    pub include_return_message_types: Vec<MessageType>,
    /// Whether what agents say by a tool is shown as their message; true unless said otherwise.
    pub use_assistant_message: Option<bool>,
    /// The tool by which they speak; `send_message` unless said otherwise.
    pub assistant_message_tool_name: Option<String>,
    /// Its argument with what they say; `message` unless said otherwise.
    pub assistant_message_tool_kwarg: Option<String>,
}

impl HistoryQuery {
    /// What is shown of each message.
    #[must_use]
    pub fn shows(&self) -> Shows {
        let wanted = &self.include_return_message_types;
        let usual = Speech::default();
        let speech = Speech {
            tool: self
                .assistant_message_tool_name
                .clone()
                .unwrap_or(usual.tool),
            argument: self
                .assistant_message_tool_kwarg
                .clone()
                .unwrap_or(usual.argument),
        };
        Shows {
            wanted: (!wanted.is_empty()).then(|| wanted.clone()),
            speech: self.use_assistant_message.unwrap_or(true).then_some(speech),
        }
    }
}

/// The messages of an agent, of all its conversations or of one.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/messages", tag = "messages",
    operation_id = "list_messages", params(("agent_id" = String, Path), PageQuery, HistoryQuery, UserQuery),
    responses((status = 200, body = Vec<LettaMessage>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    query: PageQuery,
    Query(history): Query<HistoryQuery>,
    Query(user): Query<UserQuery>,
) -> Result<Json<Vec<LettaMessage>>, ApiError> {
    let scope = people::scope_of(&scope, user.user_id)?;
    let page = query.page(100, Order::Desc)?;
    let shows = history.shows();
    let thread = history.conversation_id.as_deref().map(thread).transpose()?;
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                let conversation_id = conversation_of(tx, &scope, agent, thread).await?;
                let filter = MessageFilter {
                    agent_id: Some(agent),
                    conversation_id,
                    ..MessageFilter::default()
                };
                history::page(tx, &scope, &filter, page, &shows).await
            })
        })
        .await?;
    Ok(Json(found))
}

/// The thread that the parameter `conversation_id` names.
fn thread(name: &str) -> Result<Thread, ApiError> {
    if name == "default" {
        return Ok(Thread::Default);
    }
    Ok(Thread::Id(query_id("conversation_id", name)?))
}

/// The conversation to which a list is limited. The agent must exist in any case.
async fn conversation_of(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent: AgentId,
    thread: Option<Thread>,
) -> Result<Option<ConversationId>, ApiError> {
    agents::get(tx, scope, agent).await?;
    match thread {
        None => Ok(None),
        Some(thread) => Ok(Some(
            conversations::resolve(tx, scope, agent, thread).await?.id,
        )),
    }
}

/// Messages cannot be changed.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/messages/{message_id}", tag = "messages",
    operation_id = "modify_message",
    params(("agent_id" = String, Path), ("message_id" = String, Path)),
    responses((status = 405, description = "Always")))]
async fn modify(Path(_): Path<(AgentId, MessageId)>) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "messages cannot be changed: they are the record of what was said",
    )
}

/// The messages of all agents.
#[utoipa::path(get, path = "/v1/messages", tag = "messages", operation_id = "list_all_messages",
    params(PageQuery, HistoryQuery), responses((status = 200, body = Vec<LettaMessage>)))]
async fn list_all(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(history): Query<HistoryQuery>,
) -> Result<Json<Vec<LettaMessage>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let shows = history.shows();
    let conversation_id = history
        .conversation_id
        .map(|id| query_id("conversation_id", &id))
        .transpose()?;
    let filter = MessageFilter {
        conversation_id,
        ..MessageFilter::default()
    };
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move { history::page(tx, &scope, &filter, page, &shows).await })
        })
        .await?;
    Ok(Json(found))
}

/// One stored message with all its parts.
#[utoipa::path(get, path = "/v1/messages/{message_id}", tag = "messages",
    operation_id = "retrieve_message", params(("message_id" = String, Path)),
    responses((status = 200, body = Vec<LettaMessage>)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<MessageId>,
) -> Result<Json<Vec<LettaMessage>>, ApiError> {
    let message = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move { messages::get(tx, &scope, id).await.map_err(ApiError::from) })
        })
        .await?;
    Ok(Json(letta_messages(&message, &Shows::default())))
}
