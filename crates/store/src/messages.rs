//! Messages: recall memory. A message is written once and never changed, except for the compiled
//! prompt, which keeps its id.

use mnemic_core::{
    ids::{AgentId, ConversationId, MessageId, RunId, StepId},
    messages::{Message, MessageBody, Role},
    scope::Scope,
    time::Timestamp,
};

use crate::{
    Param, Row, StoreError, Tx, forks,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

pub(crate) const COLUMNS: &str = "m.id, m.agent_id, m.conversation_id, m.role, m.body, m.name, m.otid, \
     m.sender_id, m.step_id, m.run_id, m.tokens, m.created_at";

pub(crate) fn from_row(mut row: Row) -> Result<Message, StoreError> {
    Ok(Message {
        id: row.parse()?,
        agent_id: row.parse()?,
        conversation_id: row.parse()?,
        role: row.named(Role::parse)?,
        body: row.json()?,
        name: row.opt_text()?,
        otid: row.opt_text()?,
        sender_id: row.opt_text()?,
        step_id: row.opt_parse()?,
        run_id: row.opt_parse()?,
        tokens: row.int()?,
        created_at: row.time()?,
    })
}

/// Stores messages in their order.
///
/// # Errors
/// The database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    messages: &[Message],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(messages.len());
    for message in messages {
        rows.push(vec![
            Param::from(message.id),
            Param::from(scope.organization),
            Param::from(message.agent_id),
            Param::from(message.conversation_id),
            Param::from(scope.subject.as_ref()),
            Param::from(message.role.as_str()),
            Param::from(serde_json::to_string(&message.body)?),
            Param::from(message.name.as_ref()),
            Param::from(message.otid.as_ref()),
            Param::from(message.sender_id.as_ref()),
            Param::from(message.step_id),
            Param::from(message.run_id),
            Param::from(message.tokens),
            Param::from(message.created_at),
        ]);
    }
    let columns = [
        "id",
        "organization_id",
        "agent_id",
        "conversation_id",
        "subject",
        "role",
        "body",
        "name",
        "otid",
        "sender_id",
        "step_id",
        "run_id",
        "tokens",
        "created_at",
    ];
    tx.insert_rows("messages", &columns, rows).await
}

/// Replaces what the message of the compiled prompt says.
///
/// # Errors
/// The database's.
pub(crate) async fn replace_prompt(
    tx: &mut Tx<'_>,
    id: MessageId,
    body: &MessageBody,
    tokens: i64,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(body)?;
    tx.execute(
        "UPDATE messages SET body = $2, tokens = $3 WHERE id = $1",
        params![id, body, tokens],
    )
    .await?;
    Ok(())
}

/// Replaces what a message says, where that takes no more or less room in a prompt.
///
/// # Errors
/// The database's.
pub async fn set_body(
    tx: &mut Tx<'_>,
    id: MessageId,
    body: &MessageBody,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(body)?;
    let sql = "UPDATE messages SET body = $2 WHERE id = $1";
    tx.execute(sql, params![id, body]).await.map(drop)
}

/// A message by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: MessageId) -> Result<Message, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM messages m WHERE m.id = $1 AND m.organization_id = $2 \
           AND ($3 = '' OR m.subject = $3)"
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.query_opt(&sql, params![id, scope.organization, subject])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Message", id)), from_row)
}

/// The message that a run took in under its client's own id.
///
/// # Errors
/// The database's.
pub async fn by_otid(
    tx: &mut Tx<'_>,
    run_id: RunId,
    otid: &str,
) -> Result<Option<MessageId>, StoreError> {
    let sql = "SELECT id FROM messages WHERE run_id = $1 AND otid = $2 LIMIT 1";
    let row = tx.query_opt(sql, params![run_id, otid]).await?;
    row.map(|mut row| row.parse()).transpose()
}

/// Which messages a list shows.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only those of this thread.
    pub conversation_id: Option<ConversationId>,
    /// Only those of this run.
    pub run_id: Option<RunId>,
    /// Only those of this step.
    pub step_id: Option<StepId>,
}

/// A page of messages, in the order in which they came in; a fork's prompt, which came in after what it tells of others,
/// is the first of its thread.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &MessageFilter,
    page: &Page,
) -> Result<Vec<Message>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM messages m"));
    select.and_bind("m.organization_id = {}", scope.organization);
    if let Some(subject) = &scope.subject {
        select.and_bind("m.subject = {}", subject);
    }
    if let Some(id) = filter.agent_id {
        select.and_bind("m.agent_id = {}", id);
    }
    let mut key = "m.seq".to_owned();
    if let Some(id) = filter.conversation_id
        && told_in(tx, &mut select, id).await?
    {
        key = forks::order_in(id);
    }
    if let Some(id) = filter.run_id {
        select.and_bind("m.run_id = {}", id);
    }
    if let Some(id) = filter.step_id {
        select.and_bind("m.step_id = {}", id);
    }
    let keys = Keys {
        key: &key,
        id: "m.id",
        cursor: &format!("SELECT {key}, m.id FROM messages m WHERE m.id = $1"),
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Message"))
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Lets only the messages through that a thread tells. Whether it is a fork.
async fn told_in(
    tx: &mut Tx<'_>,
    select: &mut Select<'_>,
    id: ConversationId,
) -> Result<bool, StoreError> {
    let n = select.bind(id);
    let is_fork = forks::has_origins(tx, id).await?;
    select.and(if is_fork {
        forks::told_in(n)
    } else {
        format!("m.conversation_id = ${n}")
    });
    Ok(is_fork)
}

/// Which messages of an agent are wanted.
#[derive(Debug, Clone, Default)]
pub struct MessageSpan {
    /// Only these speakers; empty is everybody but the system.
    pub roles: Vec<Role>,
    /// Not before this time.
    pub start: Option<Timestamp>,
    /// Not after this time.
    pub end: Option<Timestamp>,
    /// Only of this thread.
    pub conversation_id: Option<ConversationId>,
}

/// Searches show nothing of threads that were deleted, but for what a fork of one tells as well.
const IN_A_THREAD: &str = "NOT EXISTS (SELECT 1 FROM conversations gone \
     WHERE gone.id = m.conversation_id AND gone.deleted_at IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM conversation_origins o \
             JOIN conversations fork ON fork.id = o.conversation_id \
             WHERE o.origin_id = gone.id AND o.up_to >= m.seq AND fork.deleted_at IS NULL))";

/// The newest messages of an agent, at most `limit`.
///
/// # Errors
/// The database's.
pub async fn newest(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    span: &MessageSpan,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM messages m"));
    select
        .and_bind("m.organization_id = {}", scope.organization)
        .and_bind("m.agent_id = {}", agent_id);
    if let Some(subject) = &scope.subject {
        select.and_bind("m.subject = {}", subject);
    }
    let all = [Role::User, Role::Assistant, Role::Tool];
    let roles: &[Role] = if span.roles.is_empty() {
        &all
    } else {
        &span.roles
    };
    let names: Vec<String> = roles.iter().map(|role| role.as_str().to_owned()).collect();
    let n = select.bind(names);
    let condition = tx.any_of("m.role", n);
    select.and(condition);
    select.and(IN_A_THREAD.to_owned());
    if let Some(start) = span.start {
        select.and_bind("m.created_at >= {}", start);
    }
    if let Some(end) = span.end {
        select.and_bind("m.created_at <= {}", end);
    }
    if let Some(id) = span.conversation_id {
        told_in(tx, &mut select, id).await?;
    }
    let n = select.bind(limit);
    let tail = format!("ORDER BY m.seq DESC LIMIT ${n}");
    let rows = select.all(tx, &tail).await?;
    rows.into_iter().map(from_row).collect()
}

/// What was said to and by an agent after one of its messages, the newest first and at most `limit`: for the scope's end
/// user, or for nobody in particular.
///
/// # Errors
/// The database's.
pub async fn said_since(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    after: Option<MessageId>,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM messages m WHERE m.agent_id = $1 AND {} = $2 \
             AND COALESCE(m.subject, '') = $3 AND m.role <> 'system' AND {IN_A_THREAD} \
             AND m.seq > COALESCE((SELECT last.seq FROM messages last WHERE last.id = $4), 0) \
         ORDER BY m.seq DESC LIMIT $5",
        tx.unindexed("m.organization_id")
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = tx
        .query(
            &sql,
            params![agent_id, scope.organization, subject, after, limit],
        )
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// A message as far as search needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Indexed {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// The thread in which it was said.
    pub conversation_id: ConversationId,
    /// Who spoke.
    pub role: Role,
    /// What was said.
    pub body: MessageBody,
    /// The speaker's name.
    pub name: Option<String>,
    /// When it was said.
    pub created_at: Timestamp,
}

/// The messages of an agent after a number, in their order; `subject` says whose.
///
/// # Errors
/// The database's.
pub async fn after(
    tx: &mut Tx<'_>,
    agent_id: AgentId,
    subject: Option<&str>,
    (seq, limit): (i64, i64),
) -> Result<Vec<Indexed>, StoreError> {
    let sql = "SELECT m.seq, m.conversation_id, m.role, m.body, m.name, m.created_at \
               FROM messages m WHERE m.agent_id = $1 AND m.seq > $2 \
                 AND COALESCE(m.subject, '') = $3 ORDER BY m.seq LIMIT $4";
    let subject = subject.unwrap_or_default();
    let rows = tx
        .query(sql, params![agent_id, seq, subject, limit])
        .await?;
    rows.into_iter().map(indexed).collect()
}

/// The messages of an agent with a number above `above` and below `below`, the newest first, of
/// whatever end user.
///
/// # Errors
/// The database's.
pub async fn downwards(
    tx: &mut Tx<'_>,
    agent_id: AgentId,
    (above, below): (i64, i64),
    limit: i64,
) -> Result<Vec<Indexed>, StoreError> {
    let sql = "SELECT m.seq, m.conversation_id, m.role, m.body, m.name, m.created_at \
               FROM messages m WHERE m.agent_id = $1 AND m.seq > $2 AND m.seq < $3 \
               ORDER BY m.seq DESC LIMIT $4";
    let rows = tx
        .query(sql, params![agent_id, above, below, limit])
        .await?;
    rows.into_iter().map(indexed).collect()
}

/// The messages of a thread before a number, the newest first.
///
/// # Errors
/// The database's.
pub async fn preceding(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    below: i64,
    limit: i64,
) -> Result<Vec<Indexed>, StoreError> {
    let sql = "SELECT m.seq, m.conversation_id, m.role, m.body, m.name, m.created_at \
               FROM messages m WHERE m.conversation_id = $1 AND m.seq < $2 \
               ORDER BY m.seq DESC LIMIT $3";
    let rows = tx
        .query(sql, params![conversation_id, below, limit])
        .await?;
    rows.into_iter().map(indexed).collect()
}

fn indexed(mut row: Row) -> Result<Indexed, StoreError> {
    Ok(Indexed {
        seq: row.int()?,
        conversation_id: row.parse()?,
        role: row.named(Role::parse)?,
        body: row.json()?,
        name: row.opt_text()?,
        created_at: row.time()?,
    })
}

/// How many messages of an agent have a number above `from` and up to `to`: on PostgreSQL a row may
/// show later than one of a greater number.
///
/// # Errors
/// The database's.
pub async fn count_between(
    tx: &mut Tx<'_>,
    agent_id: AgentId,
    subject: Option<&str>,
    (from, to): (i64, i64),
) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) FROM messages m WHERE m.agent_id = $1 AND m.seq > $2 AND m.seq <= $3 \
                 AND COALESCE(m.subject, '') = $4";
    let subject = subject.unwrap_or_default();
    tx.query_one(sql, params![agent_id, from, to, subject])
        .await?
        .int()
}

/// The messages of these numbers with those numbers; what is gone, or in a thread that was deleted, is
/// missing in the answer.
///
/// # Errors
/// The database's.
pub async fn by_seqs(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    seqs: &[i64],
) -> Result<Vec<(i64, Message)>, StoreError> {
    let mut select = Select::new(format!("SELECT m.seq, {COLUMNS} FROM messages m"));
    select.and_bind("m.agent_id = {}", agent_id).and_bind(
        &format!("{} = {{}}", tx.unindexed("m.organization_id")),
        scope.organization,
    );
    let n = select.bind(Param::numbers(seqs));
    let condition = tx.any_number("m.seq", n);
    select.and(condition);
    select.and(IN_A_THREAD.to_owned());
    let rows = select.all(tx, "").await?;
    rows.into_iter()
        .map(|mut row| Ok((row.int()?, from_row(row)?)))
        .collect()
}

/// How many messages a thread has.
///
/// # Errors
/// The database's.
pub async fn count(
    tx: &mut Tx<'_>,
    scope: &Scope,
    conversation_id: ConversationId,
) -> Result<i64, StoreError> {
    let mut select = Select::new("SELECT COUNT(*) FROM messages m");
    told_in(tx, &mut select, conversation_id).await?;
    select.and_bind("m.organization_id = {}", scope.organization);
    let rows = select.all(tx, "").await?;
    rows.into_iter().next().map_or(Ok(0), |mut row| row.int())
}
