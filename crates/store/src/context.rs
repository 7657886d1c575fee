//! The context of a conversation: which messages the model sees, in order. Rows are appended; the
//! compiled prompt is the first.

use std::collections::{HashMap, HashSet};

use mnemic_core::{
    ids::{AgentId, BlockId, ConversationId, MessageId},
    messages::{Message, MessageBody, Role},
    scope::Scope,
    time::Timestamp,
};

use crate::{Param, StoreError, Tx, messages, params};

/// Appends messages to a context, from position `next` on, and says when the last came in. Returns
/// the context's new revision.
///
/// # Errors
/// The conversation is gone, or the database's.
pub async fn append(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    next: i64,
    message_ids: &[MessageId],
    now: Timestamp,
) -> Result<i64, StoreError> {
    let mut rows = Vec::with_capacity(message_ids.len());
    for (position, id) in (next..).zip(message_ids) {
        rows.push(vec![
            Param::from(conversation_id),
            Param::Int(position),
            Param::from(id),
        ]);
    }
    let added = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let (mut rows_tx, mut head_tx) = (*tx, *tx);
    let columns = ["conversation_id", "position", "message_id"];
    let inserted = rows_tx.insert_rows("context_entries", &columns, rows);
    let sql = "UPDATE conversations SET next_position = $2, last_message_at = $3, updated_at = $3, \
                   context_revision = context_revision + 1 \
               WHERE id = $1 RETURNING context_revision";
    let moved_on = params![conversation_id, next + added, now];
    let moved_on = head_tx.query_opt(sql, moved_on);
    let ((), revision) = tokio::try_join!(inserted, moved_on)?;
    revision
        .ok_or_else(|| StoreError::not_found("Conversation", conversation_id))?
        .int()
}

/// The messages of a context, the compiled prompt first.
///
/// # Errors
/// The database's.
pub async fn messages(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
) -> Result<Vec<Message>, StoreError> {
    let sql = format!(
        "SELECT {} FROM context_entries e JOIN messages m ON m.id = e.message_id \
         WHERE e.conversation_id = $1 ORDER BY e.position",
        messages::COLUMNS
    );
    let rows = tx.query(&sql, params![conversation_id]).await?;
    rows.into_iter().map(messages::from_row).collect()
}

/// The newest message of a context; none when it is empty.
///
/// # Errors
/// The database's.
pub async fn last_message(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
) -> Result<Option<Message>, StoreError> {
    let sql = format!(
        "SELECT {} FROM context_entries e JOIN messages m ON m.id = e.message_id \
         WHERE e.conversation_id = $1 ORDER BY e.position DESC LIMIT 1",
        messages::COLUMNS
    );
    let row = tx.query_opt(&sql, params![conversation_id]).await?;
    row.map(messages::from_row).transpose()
}

/// The ids of a context's messages.
///
/// # Errors
/// The database's.
pub async fn message_ids(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
) -> Result<Vec<MessageId>, StoreError> {
    let sql = "SELECT message_id FROM context_entries WHERE conversation_id = $1 ORDER BY position";
    let rows = tx.query(sql, params![conversation_id]).await?;
    rows.into_iter().map(|mut row| row.parse()).collect()
}

/// Of these messages, those that are in the context of a thread: the others were compacted away.
///
/// # Errors
/// The database's.
pub async fn which_are_in_context(
    tx: &mut Tx<'_>,
    message_ids: &[MessageId],
) -> Result<HashSet<MessageId>, StoreError> {
    let ids: Vec<String> = message_ids.iter().map(ToString::to_string).collect();
    // By the thread, whose entries are found by their key: messages stand in no index of it.
    let sql = format!(
        "SELECT m.id FROM messages m WHERE {} AND EXISTS (SELECT 1 FROM context_entries e \
             WHERE e.conversation_id = m.conversation_id AND e.message_id = m.id)",
        tx.any_of("m.id", 1)
    );
    let rows = tx.query(&sql, params![ids]).await?;
    rows.into_iter().map(|mut row| row.parse()).collect()
}

/// The ids of the messages in the default contexts of several agents.
///
/// # Errors
/// The database's.
pub async fn default_message_ids(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<MessageId>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT c.agent_id, e.message_id FROM conversations c \
         JOIN context_entries e ON e.conversation_id = c.id \
         WHERE {} = $1 AND c.is_default = 1 AND {} \
         ORDER BY c.agent_id, e.position",
        tx.unindexed("c.organization_id"),
        tx.any_of("c.agent_id", 2)
    );
    let mut found: HashMap<AgentId, Vec<MessageId>> = HashMap::new();
    for mut row in tx.query(&sql, params![scope.organization, ids]).await? {
        found.entry(row.parse()?).or_default().push(row.parse()?);
    }
    Ok(found)
}

/// Replaces a context by other messages of the same agent, which the caller has checked. The
/// compiled prompt stays the first and must not be among them.
///
/// # Errors
/// The conversation is gone, or the database's.
pub async fn replace(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    message_ids: &[MessageId],
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM context_entries WHERE conversation_id = $1 AND message_id <> \
             COALESCE((SELECT prompt_message_id FROM conversations WHERE id = $1), '')",
        params![conversation_id],
    )
    .await?;
    let sql = "SELECT next_position FROM conversations WHERE id = $1";
    let next = tx
        .query_opt(sql, params![conversation_id])
        .await?
        .ok_or_else(|| StoreError::not_found("Conversation", conversation_id))?
        .int()?;
    append(tx, conversation_id, next, message_ids, now)
        .await
        .map(drop)
}

/// Puts a summary into a context in the place of older messages, which stay in recall memory. It comes
/// right after the prompt: what stays of the older messages follows it. Returns the context's new revision.
///
/// # Errors
/// [`StoreError::Contended`] when one of the messages is not in the context any more, the conversation
/// is gone, or the database's.
pub async fn compact(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    message_ids: &[MessageId],
    summary: MessageId,
) -> Result<i64, StoreError> {
    let ids: Vec<String> = message_ids.iter().map(ToString::to_string).collect();
    let leaving: HashSet<MessageId> = message_ids.iter().copied().collect();
    // Everything from the prompt to the last that leaves.
    let among = tx.any_of("message_id", 2);
    let older = format!(
        "SELECT position, message_id FROM context_entries WHERE conversation_id = $1 \
             AND position <= (SELECT MAX(position) FROM context_entries \
                 WHERE conversation_id = $1 AND {among}) \
             AND message_id <> COALESCE((SELECT prompt_message_id FROM conversations \
                 WHERE id = $1), '') ORDER BY position"
    );
    let rows = tx.query(&older, params![conversation_id, ids]).await?;
    let (mut positions, mut now) = (Vec::with_capacity(rows.len()), vec![summary]);
    for mut row in rows {
        positions.push(row.int()?);
        now.push(row.parse()?);
    }
    let found: HashSet<MessageId> = now.iter().copied().collect();
    let Some(last) = positions
        .last()
        .copied()
        .filter(|_| leaving.is_subset(&found))
    else {
        return Err(StoreError::Contended);
    };
    now.retain(|id| !leaving.contains(id));
    let sql = "DELETE FROM context_entries WHERE conversation_id = $1 AND position <= $2 \
                   AND message_id <> COALESCE((SELECT prompt_message_id FROM conversations \
                       WHERE id = $1), '')";
    tx.execute(sql, params![conversation_id, last]).await?;
    let entry = |(position, id): (&i64, &MessageId)| {
        vec![
            Param::from(conversation_id),
            Param::Int(*position),
            Param::from(id),
        ]
    };
    let rows = positions.iter().zip(&now).map(entry).collect();
    let columns = ["conversation_id", "position", "message_id"];
    tx.insert_rows("context_entries", &columns, rows).await?;
    touch(tx, conversation_id).await
}

/// Says that a context changed in another way than by its rows. Returns its new revision.
///
/// # Errors
/// The conversation is gone, or the database's.
pub async fn touch(tx: &mut Tx<'_>, conversation_id: ConversationId) -> Result<i64, StoreError> {
    let sql = "UPDATE conversations SET context_revision = context_revision + 1 WHERE id = $1 \
               RETURNING context_revision";
    tx.query_opt(sql, params![conversation_id])
        .await?
        .ok_or_else(|| StoreError::not_found("Conversation", conversation_id))?
        .int()
}

/// A compiled prompt on its way into the store.
#[derive(Debug, Clone)]
pub struct CompiledPrompt {
    /// The text.
    pub text: String,
    /// Tokens it takes.
    pub tokens: i64,
    /// Ids and revisions of what it was compiled from.
    pub signature: String,
    /// The time that it shows.
    pub rendered_at: Timestamp,
}

/// Stores a compiled prompt as the first message of a context; a later one keeps the message's id.
///
/// # Errors
/// The conversation is gone, or the database's.
pub async fn save_prompt(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent_id, conversation_id): (AgentId, ConversationId),
    prompt: &CompiledPrompt,
) -> Result<MessageId, StoreError> {
    let sql = "SELECT prompt_message_id, next_position FROM conversations WHERE id = $1";
    let mut row = tx
        .query_opt(sql, params![conversation_id])
        .await?
        .ok_or_else(|| StoreError::not_found("Conversation", conversation_id))?;
    let body = MessageBody::text(prompt.text.as_str());
    let known: Option<MessageId> = row.opt_parse()?;
    let next = row.int()?;
    let id = known.unwrap_or_else(MessageId::new);
    if known.is_some() {
        messages::replace_prompt(tx, id, &body, prompt.tokens).await?;
    } else {
        let message = Message {
            id,
            agent_id,
            conversation_id,
            role: Role::System,
            body,
            name: None,
            otid: None,
            sender_id: None,
            step_id: None,
            run_id: None,
            tokens: prompt.tokens,
            created_at: prompt.rendered_at,
        };
        messages::insert(tx, scope, &[message]).await?;
        append(tx, conversation_id, next, &[id], prompt.rendered_at).await?;
    }
    tx.execute(
        "UPDATE conversations SET prompt_message_id = $2, prompt_signature = $3, \
             prompt_rendered_at = $4 WHERE id = $1",
        params![conversation_id, id, &prompt.signature, prompt.rendered_at],
    )
    .await?;
    Ok(id)
}

/// Empties the compiled prompts that may show a block: what it says is not to be known any more, and they are compiled anew
/// by the next step only.
///
/// # Errors
/// The database's.
pub(crate) async fn empty_prompts_with(
    tx: &mut Tx<'_>,
    block_id: BlockId,
) -> Result<(), StoreError> {
    let shown = "(agent_id IN (SELECT x.agent_id FROM agents_blocks x WHERE x.block_id = $1) \
             OR id IN (SELECT x.conversation_id FROM conversations_blocks x WHERE x.block_id = $1))";
    empty_prompts(tx, shown, params![block_id]).await
}

/// Empties the compiled prompts of the threads for which a condition holds.
///
/// # Errors
/// The database's.
pub(crate) async fn empty_prompts(
    tx: &mut Tx<'_>,
    threads: &str,
    bound: &[Param<'_>],
) -> Result<(), StoreError> {
    let empty = serde_json::to_string(&MessageBody::text(""))?;
    let n = bound.len() + 1;
    let sql = format!(
        "UPDATE messages SET body = ${n}, tokens = 0 WHERE id IN \
             (SELECT prompt_message_id FROM conversations WHERE {threads} AND prompt_message_id IS NOT NULL)"
    );
    let mut with_body = bound.to_vec();
    with_body.push(Param::from(empty));
    tx.execute(&sql, &with_body).await?;
    let sql = format!(
        "UPDATE conversations SET prompt_signature = NULL, context_revision = context_revision + 1 WHERE {threads} \
             AND prompt_message_id IS NOT NULL"
    );
    tx.execute(&sql, bound).await.map(drop)
}
