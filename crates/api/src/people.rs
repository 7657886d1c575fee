//! The people an agent talks with: for whom a request is, and what the agent has of each of them.

use axum::extract::State;
use mnemic_core::{
    agents::Agent,
    conversations::{Conversation, Thread},
    ids::{AgentId, ConversationId},
    scope::Scope,
    time::Timestamp,
    validation,
};
use mnemic_store::{
    agents, blocks,
    conversations::{self, ConversationFilter},
    own_threads,
    page::Order,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    blocks::BlockView,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Text},
    page::PageQuery,
    receipts::ReceiptView,
    validation::Issue,
};

/// Bytes that the name of a user may have.
const MAX_BYTES: usize = 256;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list))
        .merge(routes!(retrieve, forget))
        .merge(routes!(forget_everywhere))
}

/// For which user a request is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct UserQuery {
    /// The end user for whom the request is; what is common to all users without one.
    #[serde(alias = "userId", deserialize_with = "as_given")]
    pub user_id: Option<String>,
}

/// An empty parameter is an empty id, which is refused, and not none.
pub fn as_given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

/// The scope of a request for an end user. In one person's turn, and with one person's token, it is that person's, and others are
/// not there.
///
/// # Errors
/// The user's id is empty, too long or has characters that can't be seen, or it is another's.
pub fn scope_of(scope: &Scope, user: Option<String>) -> Result<Scope, ApiError> {
    let Some(user) = user else {
        return Ok(scope.clone());
    };
    check(&user)?;
    narrowed(scope, user)
}

/// The same for a user who may be there already, whatever the id looks like.
///
/// # Errors
/// It is another's turn or token.
pub fn narrowed(scope: &Scope, user: String) -> Result<Scope, ApiError> {
    if user.is_empty() {
        // It would be nobody, and so what is everybody's.
        check(&user)?;
    }
    match &scope.subject {
        Some(own) if *own != user => {
            let error = ApiError::not_found(format!("User '{user}' not found"));
            Err(error.about("user_id", None))
        }
        _ => Ok(scope.narrowed_to(Some(user))),
    }
}

/// Refuses what can't be the id of a user. Ids are otherwise taken as they are, and compared byte for byte.
///
/// # Errors
/// Says what is wrong.
pub fn check(user: &str) -> Result<(), ApiError> {
    validation::user_id(user, MAX_BYTES).map_err(|error| {
        ApiError::invalid(&[Issue::body(&["user_id"], error.to_string(), json!(user))])
    })
}

/// The same for a request about an agent, which may insist on a user.
///
/// # Errors
/// As for [`scope_of`], there is no such agent, it insists on a user and none is named, or the database's.
pub async fn scope_with(
    state: &AppState,
    scope: &Scope,
    (agent, user): (AgentId, Option<String>),
) -> Result<Scope, ApiError> {
    let scope = scope_of(scope, user)?;
    match scope.subject {
        Some(_) => Ok(scope),
        None => Ok(insisting(state, scope, agent).await?.0),
    }
}

/// The same with the agent.
///
/// # Errors
/// As for [`scope_with`].
pub async fn scope_and_agent(
    state: &AppState,
    scope: &Scope,
    (agent, user): (AgentId, Option<String>),
) -> Result<(Scope, Agent), ApiError> {
    insisting(state, scope_of(scope, user)?, agent).await
}

/// An agent, unless it insists on a user and there is none.
async fn insisting(
    state: &AppState,
    scope: Scope,
    id: AgentId,
) -> Result<(Scope, Agent), ApiError> {
    let for_job = scope.clone();
    let read = state
        .engine
        .store()
        .read(move |tx| Box::pin(async move { agents::get(tx, &for_job, id).await }));
    let agent = read.await?;
    if scope.subject.is_none() && agent.people.require_user {
        return Err(mnemic_engine::EngineError::UserRequired.into());
    }
    Ok((scope, agent))
}

/// The thread of an agent for the scope's user, made on first use; the default one where it has no user.
///
/// # Errors
/// There is no such agent, or the database's.
pub async fn thread_of(
    state: &AppState,
    scope: &Scope,
    agent: AgentId,
) -> Result<Thread, ApiError> {
    if scope.subject.is_none() {
        return Ok(Thread::Default);
    }
    Ok(Thread::Id(state.engine.own_thread(scope, agent).await?))
}

/// A person an agent talks with.
#[derive(Debug, Serialize, ToSchema)]
struct PersonView {
    /// The user's id, as the program names it that talks with the agent.
    user_id: String,
    /// The thread that the agent keeps for this person.
    #[schema(value_type = String)]
    conversation_id: ConversationId,
    /// When they first met.
    #[schema(value_type = String)]
    created_at: Timestamp,
    /// When they last spoke.
    #[schema(value_type = Option<String>)]
    last_message_at: Option<Timestamp>,
}

/// A person, with what the agent knows.
#[derive(Debug, Serialize, ToSchema)]
struct PersonDetail {
    #[serde(flatten)]
    person: PersonView,
    /// The blocks that are this person's own.
    blocks: Vec<BlockView>,
}

impl PersonView {
    fn of(conversation: Conversation) -> Option<Self> {
        Some(Self {
            user_id: conversation.subject?,
            conversation_id: conversation.id,
            created_at: conversation.created_at,
            last_message_at: conversation.last_message_at,
        })
    }
}

/// The people an agent has talked with; cursors are the ids of their conversations.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/users", tag = "people", operation_id = "list_agent_users",
    params(("agent_id" = String, Path), PageQuery), responses((status = 200, body = Vec<PersonView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    query: PageQuery,
) -> Result<Json<Vec<PersonView>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let filter = ConversationFilter {
        agent_id: Some(agent),
        of_people: true,
        show_hidden: true,
        ..ConversationFilter::default()
    };
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            agents::get(tx, &scope, agent).await?;
            Ok::<_, ApiError>(conversations::list(tx, &scope, &filter, &page).await?)
        })
    });
    let people = found.await?.into_iter().filter_map(PersonView::of);
    Ok(Json(people.collect()))
}

/// A person an agent has talked with.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/users/{user_id}", tag = "people", operation_id = "retrieve_agent_user",
    params(("agent_id" = String, Path), ("user_id" = String, Path)), responses((status = 200, body = PersonDetail)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, Text(user))): Path<(AgentId, Text)>,
) -> Result<Json<PersonDetail>, ApiError> {
    let scope = narrowed(&scope, user.clone())?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            agents::get(tx, &scope, agent).await?;
            let Some(id) = own_threads::find(tx, &scope, agent).await? else {
                return Ok(None);
            };
            let thread = conversations::get(tx, &scope, id).await?;
            let shown = blocks::of_place(tx, &scope, (agent, id).into()).await?;
            Ok::<_, ApiError>(Some((thread, shown)))
        })
    });
    let unknown = || ApiError::not_found(format!("the agent has not talked with user '{user}'"));
    let (thread, shown) = found.await?.ok_or_else(unknown)?;
    let own = shown.into_iter().filter(|block| block.subject.is_some());
    Ok(Json(PersonDetail {
        person: PersonView::of(thread).ok_or_else(unknown)?,
        blocks: own.map(BlockView::from).collect(),
    }))
}

/// Forget a person: what an agent, and those who keep its memory, have of one user.
#[utoipa::path(delete, path = "/v1/agents/{agent_id}/users/{user_id}", tag = "people", operation_id = "forget_agent_user",
    params(("agent_id" = String, Path), ("user_id" = String, Path)), responses((status = 200, body = ReceiptView)))]
async fn forget(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, Text(user))): Path<(AgentId, Text)>,
) -> Result<Json<ReceiptView>, ApiError> {
    let scope = narrowed(&scope, user.clone())?;
    let receipt = state.engine.forget(&scope, Some(agent)).await?;
    Ok(Json(ReceiptView::of(Some(user), receipt)))
}

/// Forget a person: what all agents have of one user.
#[utoipa::path(delete, path = "/v1/end-users/{user_id}", tag = "people", operation_id = "forget_end_user",
    params(("user_id" = String, Path)), responses((status = 200, body = ReceiptView)))]
async fn forget_everywhere(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(Text(user)): Path<Text>,
) -> Result<Json<ReceiptView>, ApiError> {
    let scope = narrowed(&scope, user.clone())?;
    let receipt = state.engine.forget(&scope, None).await?;
    Ok(Json(ReceiptView::of(Some(user), receipt)))
}
