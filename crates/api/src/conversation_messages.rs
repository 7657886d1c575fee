//! Talking in conversations. In the path a conversation is its id, `default` together with an agent's
//! id, or (the old way) the id of an agent, which means the agent's default conversation.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use mnemic_core::{
    conversations::{Conversation, Thread},
    ids::{AgentId, ConversationId, RunId},
    runs::Run,
    scope::Scope,
};
use mnemic_engine::WhenBusy;
use mnemic_store::{
    Tx, conversations,
    messages::MessageFilter,
    page::{Order, Page},
    runs::{self, RunFilter},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use crate::{
    AppState,
    actor::Actor,
    answer::LettaResponse,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, PathParam, Query, body_id, query_id},
    history,
    letta_messages::{LettaMessage, StreamFrame},
    messages::HistoryQuery,
    page::PageQuery,
    people,
    runs::{ResumeBody, newest_active},
    send_request::{AnswerForm, SendBody, Sent},
    sse,
    turns::{self, Target},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, send))
        .merge(routes!(cancel))
        .merge(routes!(stream))
        .merge(routes!(recompile))
}

/// How a path names a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// `default`: the default one of an agent that is named elsewhere.
    Default,
    /// The default one of this agent.
    Agent(AgentId),
    /// By its id.
    Id(ConversationId),
}

impl PathParam for Named {
    fn parse(name: &str, value: &str) -> Result<Self, ApiError> {
        if value == "default" {
            return Ok(Self::Default);
        }
        if let Ok(agent) = value.parse() {
            return Ok(Self::Agent(agent));
        }
        PathParam::parse(name, value).map(Self::Id)
    }
}

impl Named {
    /// The conversation.
    async fn find(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        agent: Option<AgentId>,
    ) -> Result<Conversation, ApiError> {
        let agent = match self {
            Self::Id(id) => return Ok(conversations::get(tx, scope, id).await?),
            Self::Agent(agent) => Some(agent),
            Self::Default => agent,
        };
        let agent = agent.ok_or_else(|| {
            ApiError::bad_request(
                "INVALID_ARGUMENT: the conversation 'default' needs an agent_id to say whose it is",
            )
        })?;
        Ok(conversations::default_of(tx, scope, agent).await?)
    }

    /// The conversation, read in a job of its own.
    ///
    /// # Errors
    /// There is none, or the database's.
    pub async fn read(
        self,
        state: &AppState,
        scope: &Scope,
        agent: Option<AgentId>,
    ) -> Result<Conversation, ApiError> {
        let scope = scope.clone();
        state
            .engine
            .store()
            .read(move |tx| Box::pin(async move { self.find(tx, &scope, agent).await }))
            .await
    }
}

/// The thread of an agent that a conversation is.
#[must_use]
pub const fn thread(conversation: &Conversation) -> Thread {
    if conversation.is_default {
        Thread::Default
    } else {
        Thread::Id(conversation.id)
    }
}

/// Whose conversation `default` is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct AgentQuery {
    /// The agent, for the conversation `default`.
    agent_id: Option<String>,
}

impl AgentQuery {
    fn agent(&self) -> Result<Option<AgentId>, ApiError> {
        self.agent_id
            .as_deref()
            .map(|id| query_id("agent_id", id))
            .transpose()
    }
}

/// What was said in a conversation, newest first.
#[utoipa::path(get, path = "/v1/conversations/{conversation_id}/messages", tag = "conversations",
    operation_id = "list_conversation_messages",
    params(("conversation_id" = String, Path), PageQuery, HistoryQuery),
    responses((status = 200, body = Vec<LettaMessage>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
    query: PageQuery,
    Query(filter): Query<HistoryQuery>,
) -> Result<Json<Vec<LettaMessage>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let agent = filter
        .agent_id
        .as_deref()
        .map(|id| query_id("agent_id", id))
        .transpose()?;
    let shows = filter.shows();
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                let conversation = named.find(tx, &scope, agent).await?;
                let filter = MessageFilter {
                    conversation_id: Some(conversation.id),
                    ..MessageFilter::default()
                };
                history::page(tx, &scope, &filter, page, &shows).await
            })
        })
        .await?;
    Ok(Json(found))
}

/// Run the agent in a conversation; the answer is a stream unless streaming is false. While another
/// run is at work in the conversation, the request is refused.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/messages", tag = "conversations",
    operation_id = "send_conversation_message", params(("conversation_id" = String, Path)),
    request_body = SendBody,
    responses((status = 200, description = "A stream of messages; with streaming=false the answer",
        content((LettaResponse = "application/json"), (StreamFrame = "text/event-stream"))),
        (status = 409, description = "Another run is at work in the conversation")))]
async fn send(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
    mut sent: Sent,
) -> Result<Response, ApiError> {
    let agent = sent.body.agent()?;
    let form = AnswerForm::of_thread(sent.body.streaming);
    let scope = people::scope_of(&scope, sent.body.user_id.take())?;
    let conversation = named.read(&state, &scope, agent).await?;
    let target = Target {
        agent: conversation.agent_id,
        thread: thread(&conversation),
        when_busy: WhenBusy::Refuse,
    };
    let scope = scope.narrowed_to(conversation.subject);
    turns::run(&state, &scope, target, sent, form).await
}

/// Cancel the runs of a conversation.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/cancel", tag = "conversations",
    operation_id = "cancel_conversation", params(("conversation_id" = String, Path), AgentQuery),
    responses((status = 200, body = BTreeMap<String, String>, description = "Each run: cancelled")))]
async fn cancel(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
    Query(query): Query<AgentQuery>,
) -> Result<Json<BTreeMap<RunId, &'static str>>, ApiError> {
    let conversation = named.read(&state, &scope, query.agent()?).await?;
    let cancelled = state
        .engine
        .cancel_conversation(&scope, conversation.id)
        .await?;
    Ok(Json(
        cancelled.into_iter().map(|id| (id, "cancelled")).collect(),
    ))
}

/// Follow the newest background run of a conversation, or the one that is named.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/stream", tag = "conversations",
    operation_id = "retrieve_conversation_stream", params(("conversation_id" = String, Path)),
    request_body = Option<ResumeBody>, responses((status = 200, description = "A stream of messages",
        content((StreamFrame = "text/event-stream")))))]
async fn stream(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
    OptionalJson(body): OptionalJson<ResumeBody>,
) -> Result<Response, ApiError> {
    let agent = body
        .agent_id
        .as_deref()
        .map(|id| body_id("agent_id", id))
        .transpose()?;
    let after = body.after()?;
    let conversation = named.read(&state, &scope, agent).await?;
    let run_id = match (&body.run_id, &body.otid) {
        (Some(id), _) => {
            let id = body_id("run_id", id)?;
            let run = turns::stored(&state, &scope, id).await?;
            (run.conversation_id == conversation.id).then_some(id)
        }
        (None, Some(otid)) => run_of_otid(&state, &scope, conversation.id, otid.clone()).await?,
        (None, None) => newest_active(&state, &scope, conversation.id).await?,
    };
    let run_id = run_id.ok_or_else(|| {
        ApiError::not_found(
            "No active runs found for this conversation: there is nothing to follow",
        )
    })?;
    let run = state.engine.attach(&scope, run_id, after).await?;
    Ok(sse::response(run, body.options()))
}

/// Runs of a conversation among which one is looked for by an otid.
const RECENT_RUNS: i64 = 50;

/// The recent run whose request had a message with this otid.
async fn run_of_otid(
    state: &AppState,
    scope: &Scope,
    conversation_id: ConversationId,
    otid: String,
) -> Result<Option<RunId>, ApiError> {
    let scope = scope.clone();
    let filter = RunFilter {
        conversation_id: Some(conversation_id),
        ..RunFilter::default()
    };
    let recent = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                let page = Page::first(RECENT_RUNS, Order::Desc);
                runs::list(tx, &scope, &filter, &page)
                    .await
                    .map_err(ApiError::from)
            })
        })
        .await?;
    let has_otid = |run: &Run| {
        let messages = run.input.get("messages").and_then(Value::as_array);
        messages
            .into_iter()
            .flatten()
            .any(|message| message["otid"] == otid.as_str())
    };
    Ok(recent.iter().find(|run| has_otid(run)).map(|run| run.id))
}

/// How a prompt is compiled.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct RecompileQuery {
    /// Whether the text is only shown and nothing is stored.
    dry_run: Option<bool>,
    /// The agent, for the conversation `default`.
    agent_id: Option<String>,
}

/// Compile the prompt of a conversation and read it.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/recompile", tag = "conversations",
    operation_id = "recompile_conversation",
    params(("conversation_id" = String, Path), RecompileQuery),
    responses((status = 200, body = String, content_type = "application/json")))]
async fn recompile(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
    Query(query): Query<RecompileQuery>,
) -> Result<Json<String>, ApiError> {
    let agent = AgentQuery {
        agent_id: query.agent_id,
    }
    .agent()?;
    let conversation = named.read(&state, &scope, agent).await?;
    let dry_run = query.dry_run.unwrap_or(false);
    let text = state
        .engine
        .recompile(
            &scope,
            conversation.agent_id,
            thread(&conversation),
            dry_run,
        )
        .await?;
    Ok(Json(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_named_in_three_ways() {
        let (agent, id) = (AgentId::new(), ConversationId::new());
        let read = |text: &str| Named::parse("conversation_id", text);
        assert_eq!(read("default").unwrap(), Named::Default);
        assert_eq!(read(&agent.to_string()).unwrap(), Named::Agent(agent));
        assert_eq!(read(&id.to_string()).unwrap(), Named::Id(id));
        assert_eq!(read("conv-1").unwrap_err().status().as_u16(), 422);
    }
}
