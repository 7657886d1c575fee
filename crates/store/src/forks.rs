//! Forks: threads that begin with the messages of another. Messages are never copied: a fork notes from which
//! threads it takes them, and up to which in the order of arrival, so that neither changes with the other.

use mnemic_core::{
    ids::{ConversationId, MessageId},
    messages::Role,
    scope::Scope,
};

use crate::{StoreError, Tx, messages, params};

/// The condition that a message `m` is told in the thread of the bound parameter: its own, and those that it was
/// forked with. Compiled prompts are their own thread's.
pub(crate) fn told_in(n: usize) -> String {
    format!(
        "(m.conversation_id = ${n} OR EXISTS (SELECT 1 FROM conversation_origins o \
             JOIN conversations origin ON origin.id = o.origin_id \
             WHERE o.conversation_id = ${n} AND o.origin_id = m.conversation_id \
                 AND m.seq <= o.up_to AND m.id <> COALESCE(origin.prompt_message_id, '')))"
    )
}

/// The order of messages `m` in a fork's thread, as an expression. An id is letters of its own, digits and dashes: it can
/// stand in a statement as it is.
pub(crate) fn order_in(id: ConversationId) -> String {
    format!(
        "(CASE WHEN m.id = (SELECT c.prompt_message_id FROM conversations c WHERE c.id = '{id}') \
             THEN 0 ELSE m.seq END)"
    )
}

/// The threads whose messages a thread tells, with the number up to which it does; of its own all.
///
/// # Errors
/// The database's.
pub async fn sources(
    tx: &mut Tx<'_>,
    id: ConversationId,
) -> Result<Vec<(ConversationId, i64)>, StoreError> {
    let sql = "SELECT origin_id, up_to FROM conversation_origins WHERE conversation_id = $1 \
               ORDER BY up_to DESC";
    let rows = tx.query(sql, params![id]).await?;
    let mut sources = vec![(id, i64::MAX)];
    for mut row in rows {
        sources.push((row.parse()?, row.int()?));
    }
    Ok(sources)
}

/// Whether a thread is a fork.
///
/// # Errors
/// The database's.
pub(crate) async fn has_origins(tx: &mut Tx<'_>, id: ConversationId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM conversation_origins WHERE conversation_id = $1 LIMIT 1";
    Ok(tx.query_opt(sql, params![id]).await?.is_some())
}

/// Where a fork ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The position of the last message in the origin's context.
    position: i64,
    /// Its number in the order of arrival.
    seq: i64,
}

/// The end of what is shared: the message that is named, with the returns of its calls, or everything that is there.
///
/// # Errors
/// The message is not in the context, or the database's.
pub async fn cut(
    tx: &mut Tx<'_>,
    scope: &Scope,
    origin: ConversationId,
    message_id: Option<MessageId>,
) -> Result<Cut, StoreError> {
    let Some(message_id) = message_id else {
        let sql = "SELECT COALESCE(MAX(seq), 0) FROM messages WHERE conversation_id = $1";
        let own = tx.query_one(sql, params![origin]).await?.int()?;
        let sql =
            "SELECT COALESCE(MAX(up_to), 0) FROM conversation_origins WHERE conversation_id = $1";
        let inherited = tx.query_one(sql, params![origin]).await?.int()?;
        return Ok(Cut {
            position: i64::MAX,
            seq: own.max(inherited),
        });
    };
    let message = messages::get(tx, &scope.common(), message_id).await?;
    let sql = "SELECT e.position, m.seq FROM context_entries e JOIN messages m ON m.id = e.message_id \
               WHERE e.conversation_id = $1 AND e.message_id = $2";
    let Some(mut row) = tx.query_opt(sql, params![origin, message_id]).await? else {
        return Err(StoreError::Invalid(format!(
            "message {message_id} is not in the context of this conversation: name one of its \
             in_context_message_ids"
        )));
    };
    let mut cut = Cut {
        position: row.int()?,
        seq: row.int()?,
    };
    if message.role == Role::Assistant && !message.body.tool_calls.is_empty() {
        // Calls without their returns would be refused by providers.
        let sql = "SELECT e.position, m.seq, m.role FROM context_entries e \
                   JOIN messages m ON m.id = e.message_id \
                   WHERE e.conversation_id = $1 AND e.position > $2 ORDER BY e.position LIMIT 1";
        if let Some(mut row) = tx.query_opt(sql, params![origin, cut.position]).await? {
            let next = Cut {
                position: row.int()?,
                seq: row.int()?,
            };
            if row.named(Role::parse)? == Role::Tool {
                cut = next;
            }
        }
    }
    Ok(cut)
}

/// Gives a new thread the context and the history of its origin up to a cut, but for the compiled prompt.
///
/// # Errors
/// The database's.
pub async fn share(
    tx: &mut Tx<'_>,
    (origin, fork): (ConversationId, ConversationId),
    cut: Cut,
) -> Result<(), StoreError> {
    let least = match tx.dialect() {
        crate::Dialect::Sqlite => "MIN",
        crate::Dialect::Postgres => "LEAST",
    };
    let sql = format!(
        "INSERT INTO conversation_origins (conversation_id, origin_id, up_to) \
             SELECT $2, origin_id, {least}(up_to, $3) FROM conversation_origins \
             WHERE conversation_id = $1"
    );
    tx.execute(&sql, params![origin, fork, cut.seq]).await?;
    let sql =
        "INSERT INTO conversation_origins (conversation_id, origin_id, up_to) VALUES ($2, $1, $3)";
    tx.execute(sql, params![origin, fork, cut.seq]).await?;
    // The prompt of the fork is compiled first, so positions begin after it.
    let sql = "INSERT INTO context_entries (conversation_id, position, message_id) \
               SELECT $2, e.position + f.next_position, e.message_id FROM context_entries e, conversations c, \
                   conversations f \
               WHERE e.conversation_id = $1 AND c.id = $1 AND f.id = $2 AND e.position <= $3 \
                   AND e.message_id <> COALESCE(c.prompt_message_id, '')";
    tx.execute(sql, params![origin, fork, cut.position]).await?;
    let sql = "UPDATE conversations SET context_revision = context_revision + 1, \
                   next_position = (SELECT MAX(position) + 1 FROM context_entries \
                       WHERE conversation_id = $2), \
                   last_message_at = (SELECT c.last_message_at FROM conversations c WHERE c.id = $1) \
               WHERE id = $2";
    tx.execute(sql, params![origin, fork]).await.map(drop)
}
