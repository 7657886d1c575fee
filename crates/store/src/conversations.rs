//! Conversations: rows of their own, each with a context.

use mnemic_core::{
    conversations::{Conversation, Thread},
    ids::{AgentId, ConversationId},
    scope::Scope,
    time::Timestamp,
};
use serde_json::Value;

use crate::{
    Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "c.id, c.agent_id, c.is_default, c.subject, c.summary, c.model, \
     c.model_settings, c.isolated_block_ids, c.context_revision, c.last_message_at, c.created_at, \
     c.updated_at";

fn from_row(mut row: Row) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: row.parse()?,
        agent_id: row.parse()?,
        is_default: row.bool()?,
        subject: row.opt_text()?,
        summary: row.opt_text()?,
        model: row.opt_text()?,
        model_settings: row.opt_json()?,
        isolated_block_ids: row.json()?,
        context_revision: row.int()?,
        last_message_at: row.opt_time()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// What a new conversation is made of.
#[derive(Debug, Clone, Default)]
pub struct NewConversation {
    /// Whether it is the agent's default thread.
    pub is_default: bool,
    /// What it is about.
    pub summary: Option<String>,
    /// A model in place of the agent's.
    pub model: Option<String>,
    /// Settings of that model.
    pub model_settings: Option<Value>,
}

/// Adds a conversation to an agent.
///
/// # Errors
/// The database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    new: &NewConversation,
    now: Timestamp,
) -> Result<ConversationId, StoreError> {
    let id = ConversationId::new();
    tx.execute(
        "INSERT INTO conversations (id, organization_id, agent_id, is_default, subject, summary, \
             model, model_settings, isolated_block_ids, context_revision, next_position, \
             created_by, updated_by, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '[]', 1, 0, $9, $9, $10, $10)",
        params![
            id,
            scope.organization,
            agent_id,
            new.is_default,
            scope.subject.as_ref(),
            new.summary.as_ref(),
            new.model.as_ref(),
            new.model_settings.as_ref(),
            scope.actor,
            now
        ],
    )
    .await?;
    Ok(id)
}

/// A conversation by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: ConversationId,
) -> Result<Conversation, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM conversations c \
         WHERE c.id = $1 AND c.organization_id = $2 AND c.deleted_at IS NULL \
           AND ($3 = '' OR c.subject = $3)"
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.query_opt(&sql, params![id, scope.organization, subject])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Conversation", id)), from_row)
}

/// The default conversation of an agent.
///
/// # Errors
/// There is no such agent, or the database's.
pub async fn default_of(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<Conversation, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM conversations c \
         WHERE c.agent_id = $1 AND c.organization_id = $2 AND c.is_default = 1"
    );
    tx.query_opt(&sql, params![agent_id, scope.organization])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Agent", agent_id)), from_row)
}

/// The conversation that a request means; it must belong to the agent.
///
/// # Errors
/// There is no such agent or conversation, or the database's.
pub async fn resolve(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    thread: Thread,
) -> Result<Conversation, StoreError> {
    match thread {
        Thread::Default => default_of(tx, scope, agent_id).await,
        Thread::Id(id) => {
            let conversation = get(tx, scope, id).await?;
            if conversation.agent_id == agent_id {
                Ok(conversation)
            } else {
                Err(StoreError::not_found("Conversation", id))
            }
        }
    }
}

/// Which conversations a list shows. Default threads are never listed.
#[derive(Debug, Clone, Default)]
pub struct ConversationFilter {
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only those whose summary contains this.
    pub summary_search: Option<String>,
    /// The sort column.
    pub order_by: ConversationOrder,
}

/// What conversations are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConversationOrder {
    /// When they were made.
    #[default]
    CreatedAt,
    /// When their last run ended.
    LastRunCompletion,
    /// When their last message came in.
    LastMessageAt,
}

/// A page of conversations.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &ConversationFilter,
    page: &Page,
) -> Result<Vec<Conversation>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM conversations c"));
    select
        .and_bind("c.organization_id = {}", scope.organization)
        .and("c.deleted_at IS NULL")
        .and("c.is_default = 0");
    if let Some(subject) = &scope.subject {
        select.and_bind("c.subject = {}", subject);
    }
    if let Some(agent_id) = filter.agent_id {
        select.and_bind("c.agent_id = {}", agent_id);
    }
    if let Some(text) = &filter.summary_search {
        let n = select.bind(text);
        let condition = tx.contains("c.summary", n);
        select.and(condition);
    }
    let column = match filter.order_by {
        ConversationOrder::CreatedAt => "c.created_at",
        ConversationOrder::LastRunCompletion => "COALESCE(c.last_run_completion, 0)",
        ConversationOrder::LastMessageAt => "COALESCE(c.last_message_at, 0)",
    };
    let cursor = format!("SELECT {column}, c.id FROM conversations c WHERE c.id = $1");
    let keys = Keys {
        key: column,
        id: "c.id",
        cursor: &cursor,
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Conversation"))
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// What a PATCH changes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ConversationPatch {
    /// What it is about.
    pub summary: Option<Option<String>>,
    /// A model in place of the agent's.
    pub model: Option<Option<String>>,
    /// Settings of that model.
    pub model_settings: Option<Option<Value>>,
}

/// Changes a conversation.
///
/// # Errors
/// There is none, or the database's.
pub async fn update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: ConversationId,
    patch: ConversationPatch,
    now: Timestamp,
) -> Result<Conversation, StoreError> {
    let mut row = get(tx, scope, id).await?;
    row.summary = patch.summary.unwrap_or(row.summary);
    row.model = patch.model.unwrap_or(row.model);
    row.model_settings = patch.model_settings.unwrap_or(row.model_settings);
    tx.execute(
        "UPDATE conversations SET summary = $2, model = $3, model_settings = $4, \
             context_revision = context_revision + 1, updated_by = $5, updated_at = $6 \
         WHERE id = $1",
        params![
            id,
            row.summary.as_ref(),
            row.model.as_ref(),
            row.model_settings.as_ref(),
            scope.actor,
            now
        ],
    )
    .await?;
    get(tx, scope, id).await
}

/// Takes a conversation out of sight; its messages stay searchable.
///
/// # Errors
/// There is none, it is a default thread, or the database's.
pub async fn soft_delete(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: ConversationId,
    now: Timestamp,
) -> Result<(), StoreError> {
    if get(tx, scope, id).await?.is_default {
        return Err(StoreError::Conflict(
            "the default conversation of an agent cannot be deleted; reset its messages instead"
                .to_owned(),
        ));
    }
    tx.execute(
        "UPDATE conversations SET deleted_at = $2 WHERE id = $1",
        params![id, now],
    )
    .await?;
    Ok(())
}
