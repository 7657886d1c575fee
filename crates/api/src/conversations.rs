//! Conversations: the threads of an agent.

use axum::extract::State;
use mnemic_core::{
    conversations::Conversation,
    ids::{AgentId, BlockId, ConversationId, MessageId, UserId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    Tx, context,
    conversations::{
        self, Archived, ConversationFilter, ConversationOrder, ConversationPatch, NewConversation,
    },
    page::Order,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Query, query_id},
    page::PageQuery,
    patch::given,
    validation::Issue,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(retrieve, update, delete))
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct ConversationView {
    #[schema(value_type = Option<String>)]
    created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    last_updated_by_id: Option<UserId>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
    #[schema(value_type = String)]
    id: ConversationId,
    #[schema(value_type = String)]
    agent_id: AgentId,
    summary: Option<String>,
    /// The messages that the model sees; the compiled prompt is the first.
    #[schema(value_type = Vec<String>)]
    in_context_message_ids: Vec<MessageId>,
    #[schema(value_type = Vec<String>)]
    isolated_block_ids: Vec<BlockId>,
    /// A model in place of the agent's.
    model: Option<String>,
    model_settings: Option<Value>,
    /// Tokens that a request of this conversation may take, in place of the agent's window.
    context_window_limit: Option<i64>,
    /// What it is about, at length.
    description: Option<String>,
    /// Whether lists leave it out.
    hidden: bool,
    /// Whether it is put aside.
    archived: bool,
    #[schema(value_type = Option<String>)]
    archived_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    last_message_at: Option<Timestamp>,
}

impl ConversationView {
    fn of(row: Conversation, in_context: Vec<MessageId>, scope: &Scope) -> Self {
        Self {
            created_by_id: Some(scope.actor),
            last_updated_by_id: Some(scope.actor),
            created_at: row.created_at,
            updated_at: row.updated_at,
            id: row.id,
            agent_id: row.agent_id,
            summary: row.summary,
            in_context_message_ids: in_context,
            isolated_block_ids: row.isolated_block_ids,
            model: row.model,
            model_settings: row.model_settings,
            context_window_limit: row.context_window_limit,
            description: row.description,
            hidden: row.hidden,
            archived: row.archived_at.is_some(),
            archived_at: row.archived_at,
            last_message_at: row.last_message_at,
        }
    }
}

/// A conversation with the ids of its context.
async fn view(
    tx: &mut Tx<'_>,
    scope: &Scope,
    row: Conversation,
) -> Result<ConversationView, ApiError> {
    let in_context = context::message_ids(tx, row.id).await?;
    Ok(ConversationView::of(row, in_context, scope))
}

/// Which conversations a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ConversationsQuery {
    /// Only this agent's.
    agent_id: Option<String>,
    /// Only those whose summary contains this.
    summary_search: Option<String>,
    /// `created_at`, `last_run_completion` or `last_message_at`.
    #[param(inline)]
    order_by: Option<OrderBy>,
    /// `unarchived`, `archived` or `all`.
    #[param(inline)]
    archive_status: Option<ArchiveStatus>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ArchiveStatus {
    Unarchived,
    Archived,
    All,
}

impl From<ArchiveStatus> for Archived {
    fn from(status: ArchiveStatus) -> Self {
        match status {
            ArchiveStatus::Unarchived => Self::Without,
            ArchiveStatus::Archived => Self::Only,
            ArchiveStatus::All => Self::With,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OrderBy {
    CreatedAt,
    LastRunCompletion,
    LastMessageAt,
}

impl From<OrderBy> for ConversationOrder {
    fn from(order: OrderBy) -> Self {
        match order {
            OrderBy::CreatedAt => Self::CreatedAt,
            OrderBy::LastRunCompletion => Self::LastRunCompletion,
            OrderBy::LastMessageAt => Self::LastMessageAt,
        }
    }
}

/// Conversations, newest first; agents' default ones are left out.
#[utoipa::path(get, path = "/v1/conversations", tag = "conversations",
    operation_id = "list_conversations", params(PageQuery, ConversationsQuery),
    responses((status = 200, body = Vec<ConversationView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<ConversationsQuery>,
) -> Result<Json<Vec<ConversationView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let filter = ConversationFilter {
        agent_id: filter
            .agent_id
            .map(|id| query_id("agent_id", &id))
            .transpose()?,
        summary_search: filter.summary_search.filter(|text| !text.is_empty()),
        order_by: filter
            .order_by
            .map(ConversationOrder::from)
            .unwrap_or_default(),
        archived: filter
            .archive_status
            .map(Archived::from)
            .unwrap_or_default(),
        of_people: false,
        show_hidden: false,
    };
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                let rows = conversations::list(tx, &scope, &filter, &page).await?;
                let mut views = Vec::with_capacity(rows.len());
                for row in rows {
                    views.push(view(tx, &scope, row).await?);
                }
                Ok::<_, ApiError>(views)
            })
        })
        .await?;
    Ok(Json(found))
}

/// The agent of a new conversation.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CreateQuery {
    /// The agent.
    agent_id: String,
}

/// A new conversation.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct CreateBody {
    /// What it is about.
    summary: Option<String>,
    /// Blocks that the conversation has copies of.
    isolated_block_labels: Option<Vec<String>>,
    /// A model in place of the agent's.
    model: Option<String>,
    /// Settings of that model.
    model_settings: Option<Value>,
    /// Tokens that a request of the conversation may take.
    #[schema(minimum = 1)]
    context_window_limit: Option<i64>,
    /// What it is about, at length.
    description: Option<String>,
    /// Whether lists leave it out.
    hidden: Option<bool>,
}

/// A window has at least one token.
fn check_window(limit: Option<i64>) -> Result<(), ApiError> {
    let wrong = limit.filter(|limit| *limit < 1);
    wrong.map_or(Ok(()), |limit| {
        let msg = "Input should be greater than or equal to 1";
        let place = ["context_window_limit"];
        Err(ApiError::invalid(&[Issue::body(&place, msg, limit.into())]))
    })
}

/// A thread's own model has to be one that can be talked with.
async fn know_model(state: &AppState, scope: &Scope, model: Option<&str>) -> Result<(), ApiError> {
    check_handle(model)?;
    if let Some(handle) = model {
        state.engine.know_model(scope, handle).await?;
    }
    Ok(())
}

/// A handle is `provider/model`.
fn check_handle(model: Option<&str>) -> Result<(), ApiError> {
    let wrong = model.filter(|handle| {
        let parts = handle.split_once('/');
        parts.is_none_or(|(provider, model)| provider.is_empty() || model.is_empty())
    });
    wrong.map_or(Ok(()), |handle| {
        let msg = "a model is named as 'provider/model'";
        Err(ApiError::invalid(&[Issue::body(
            &["model"],
            msg,
            handle.into(),
        )]))
    })
}

/// Begin a conversation with an agent.
#[utoipa::path(post, path = "/v1/conversations", tag = "conversations",
    operation_id = "create_conversation", params(CreateQuery),
    request_body = Option<CreateBody>, responses((status = 200, body = ConversationView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Query(query): Query<CreateQuery>,
    OptionalJson(body): OptionalJson<CreateBody>,
) -> Result<Json<ConversationView>, ApiError> {
    let agent: AgentId = query_id("agent_id", &query.agent_id)?;
    know_model(&state, &scope, body.model.as_deref()).await?;
    check_window(body.context_window_limit)?;
    let new = NewConversation {
        is_default: false,
        summary: body.summary,
        model: body.model,
        model_settings: body.model_settings,
        context_window_limit: body.context_window_limit,
        description: body.description,
        hidden: body.hidden.unwrap_or(false),
        archived_at: None,
    };
    let labels = body.isolated_block_labels.unwrap_or_default();
    let begun = state.engine.begin_conversation(&scope, agent, new, labels);
    let id = begun.await?;
    Ok(Json(stored(&state, &scope, id).await?))
}

/// One conversation.
#[utoipa::path(get, path = "/v1/conversations/{conversation_id}", tag = "conversations",
    operation_id = "retrieve_conversation", params(("conversation_id" = String, Path)),
    responses((status = 200, body = ConversationView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ConversationId>,
) -> Result<Json<ConversationView>, ApiError> {
    Ok(Json(stored(&state, &scope, id).await?))
}

/// A conversation as it is stored.
///
/// # Errors
/// There is none, or the database's.
pub(crate) async fn stored(
    state: &AppState,
    scope: &Scope,
    id: ConversationId,
) -> Result<ConversationView, ApiError> {
    let scope = scope.clone();
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let row = conversations::get(tx, &scope, id).await?;
            view(tx, &scope, row).await
        })
    });
    found.await
}

/// What changes of a conversation; what is left out stays, null clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct UpdateBody {
    /// What it is about.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    summary: Option<Option<String>>,
    /// A model in place of the agent's.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    model: Option<Option<String>>,
    /// Settings of that model.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    model_settings: Option<Option<Value>>,
    /// Tokens that a request of the conversation may take.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 1)]
    context_window_limit: Option<Option<i64>>,
    /// What it is about, at length.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// Whether it is put aside.
    archived: Option<bool>,
}

/// Change a conversation.
#[utoipa::path(patch, path = "/v1/conversations/{conversation_id}", tag = "conversations",
    operation_id = "update_conversation", params(("conversation_id" = String, Path)),
    request_body = UpdateBody, responses((status = 200, body = ConversationView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ConversationId>,
    Json(body): Json<UpdateBody>,
) -> Result<Json<ConversationView>, ApiError> {
    let model = body.model.as_ref().and_then(Option::as_deref);
    know_model(&state, &scope, model).await?;
    check_window(body.context_window_limit.flatten())?;
    let patch = ConversationPatch {
        summary: body.summary,
        model: body.model,
        model_settings: body.model_settings,
        context_window_limit: body.context_window_limit,
        description: body.description,
        archived: body.archived,
    };
    let now = state.engine.now();
    let changed = state
        .engine
        .store()
        .write(move |tx| {
            Box::pin(async move {
                let row = conversations::update(tx, &scope, id, patch, now).await?;
                view(tx, &scope, row).await
            })
        })
        .await?;
    Ok(Json(changed))
}

/// Take a conversation out of sight, its runs cancelled; what was said in it can still be found.
#[utoipa::path(delete, path = "/v1/conversations/{conversation_id}", tag = "conversations",
    operation_id = "delete_conversation", params(("conversation_id" = String, Path)),
    responses((status = 200, description = "null")))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ConversationId>,
) -> Result<Json<()>, ApiError> {
    state.engine.delete_conversation(&scope, id).await?;
    Ok(Json(()))
}
