//! Conversations: rows of their own, each with a context.

use mnemic_core::{
    conversations::{Conversation, Thread},
    ids::{AgentId, BlockId, ConversationId},
    scope::Scope,
    time::Timestamp,
};
use serde_json::Value;

use crate::{
    Row, StoreError, Tx, own_threads,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "c.id, c.agent_id, c.is_default, c.subject, c.summary, c.model, \
     c.model_settings, c.context_window_limit, c.description, c.hidden, c.archived_at, \
     (SELECT string_agg(cb.block_id, ' ' ORDER BY cb.position, cb.block_id) \
         FROM conversations_blocks cb WHERE cb.conversation_id = c.id), \
     c.context_revision, c.last_message_at, c.created_at, c.updated_at";

fn from_row(mut row: Row) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: row.parse()?,
        agent_id: row.parse()?,
        is_default: row.bool()?,
        subject: row.opt_text()?,
        summary: row.opt_text()?,
        model: row.opt_text()?,
        model_settings: row.opt_json()?,
        context_window_limit: row.opt_int()?,
        description: row.opt_text()?,
        hidden: row.bool()?,
        archived_at: row.opt_time()?,
        isolated_block_ids: block_ids(row.opt_text()?)?,
        context_revision: row.int()?,
        last_message_at: row.opt_time()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// The ids of a list that the query made.
fn block_ids(listed: Option<String>) -> Result<Vec<BlockId>, StoreError> {
    let listed = listed.unwrap_or_default();
    let ids = listed.split_whitespace().map(str::parse);
    ids.collect::<Result<_, _>>()
        .map_err(|error: mnemic_core::ids::InvalidId| StoreError::Database(error.to_string()))
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
    /// Tokens that a request of it may take.
    pub context_window_limit: Option<i64>,
    /// A longer text of what it is about.
    pub description: Option<String>,
    /// Whether lists leave it out.
    pub hidden: bool,
    /// When it was put aside.
    pub archived_at: Option<Timestamp>,
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
             model, model_settings, context_window_limit, description, hidden, archived_at, \
             isolated_block_ids, context_revision, next_position, created_by, updated_by, created_at, \
             updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '[]', 1, 0, $13, $13, $14, $14)",
        params![
            id,
            scope.organization,
            agent_id,
            new.is_default,
            scope.subject.as_ref(),
            new.summary.as_ref(),
            new.model.as_ref(),
            new.model_settings.as_ref(),
            new.context_window_limit,
            new.description.as_ref(),
            new.hidden,
            new.archived_at,
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

/// The conversation that a request means; it must belong to the agent. For an end user, the default one is their own.
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
        Thread::Default if scope.subject.is_some() => {
            let own = own_threads::find(tx, scope, agent_id).await?;
            let own = own.ok_or_else(|| StoreError::not_found("Conversation", "default"))?;
            get(tx, scope, own).await
        }
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
    /// Whether hidden ones are among them.
    pub show_hidden: bool,
    /// Only those that agents keep for one end user each.
    pub of_people: bool,
    /// Whether archived ones are shown.
    pub archived: Archived,
    /// The sort column.
    pub order_by: ConversationOrder,
}

/// Which conversations a list shows, of those that were put aside and those that were not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Archived {
    /// Those that were not.
    #[default]
    Without,
    /// Only those that were.
    Only,
    /// Both.
    With,
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
    if filter.of_people {
        select.and("EXISTS (SELECT 1 FROM own_threads t WHERE t.conversation_id = c.id)");
    }
    if !filter.show_hidden {
        select.and("c.hidden = 0");
    }
    match filter.archived {
        Archived::Without => _ = select.and("c.archived_at IS NULL"),
        Archived::Only => _ = select.and("c.archived_at IS NOT NULL"),
        Archived::With => {}
    }
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
    /// Tokens that a request of it may take.
    pub context_window_limit: Option<Option<i64>>,
    /// A longer text of what it is about.
    pub description: Option<Option<String>>,
    /// Whether it is put aside.
    pub archived: Option<bool>,
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
    let limit = patch.context_window_limit;
    row.context_window_limit = limit.unwrap_or(row.context_window_limit);
    row.description = patch.description.unwrap_or(row.description);
    row.archived_at = match patch.archived {
        Some(true) => row.archived_at.or(Some(now)),
        Some(false) => None,
        None => row.archived_at,
    };
    tx.execute(
        "UPDATE conversations SET summary = $2, model = $3, model_settings = $4, \
             context_window_limit = $7, description = $8, archived_at = $9, \
             context_revision = context_revision + 1, updated_by = $5, updated_at = $6 \
         WHERE id = $1",
        params![
            id,
            row.summary.as_ref(),
            row.model.as_ref(),
            row.model_settings.as_ref(),
            scope.actor,
            now,
            row.context_window_limit,
            row.description.as_ref(),
            row.archived_at
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
