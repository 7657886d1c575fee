//! The threads that agents keep for their end users: one of each agent for each person.

use mnemic_core::{
    ids::{AgentId, ConversationId},
    scope::Scope,
    time::Timestamp,
};

use crate::{
    StoreError, Tx, agents,
    conversations::{self, NewConversation},
    params,
};

/// The thread that an agent keeps for the end user of the scope, if there is one.
///
/// # Errors
/// The database's.
pub async fn find(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<Option<ConversationId>, StoreError> {
    let sql = format!(
        "SELECT c.id FROM own_threads t JOIN conversations c ON c.id = t.conversation_id \
         WHERE t.agent_id = $1 AND t.subject = $2 AND {} = $3 AND c.deleted_at IS NULL",
        tx.unindexed("c.organization_id")
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    let found = tx
        .query_opt(&sql, params![agent_id, subject, scope.organization])
        .await?;
    found.map(|mut row| row.parse()).transpose()
}

/// The same, made when there is none yet, or when the earlier one was deleted.
///
/// # Errors
/// There is no such agent, the scope names no end user, or the database's.
pub async fn find_or_make(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    now: Timestamp,
) -> Result<ConversationId, StoreError> {
    let Some(subject) = &scope.subject else {
        return Err(StoreError::Invalid(
            "a thread of one's own needs a user to say whose it is".to_owned(),
        ));
    };
    // Two first messages at once must not make two threads.
    agents::get_for_update(tx, scope, agent_id).await?;
    if let Some(id) = find(tx, scope, agent_id).await? {
        return Ok(id);
    }
    let id = conversations::insert(tx, scope, agent_id, &NewConversation::default(), now).await?;
    let sql = "INSERT INTO own_threads (agent_id, subject, conversation_id) VALUES ($1, $2, $3) \
               ON CONFLICT (agent_id, subject) DO UPDATE SET conversation_id = excluded.conversation_id";
    tx.execute(sql, params![agent_id, subject, id]).await?;
    Ok(id)
}
