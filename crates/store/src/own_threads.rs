//! The threads that agents keep for their end users: one of each agent for each person.

use mnemic_core::{
    blocks::{Author, Block},
    ids::{AgentId, ConversationId},
    scope::Scope,
    system_prompts::default_block_description,
    time::Timestamp,
};

use crate::{
    StoreError, Tx, agents, blocks,
    conversations::{self, NewConversation},
    params,
};

/// The label of the block about the user, of which each person has an own one.
pub const HUMAN: &str = "human";

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

/// Whether the end user of the scope has a thread with an agent, or had one that was only deleted.
///
/// # Errors
/// The database's.
pub async fn is_known(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM conversations WHERE organization_id = $1 AND subject = $2 AND agent_id = $3 LIMIT 1";
    let subject = scope.subject.as_deref().unwrap_or_default();
    let bound = params![scope.organization, subject, agent_id];
    let found = tx.query_opt(sql, bound).await?;
    Ok(found.is_some())
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
        if !has_human(tx, id).await? {
            // Made by a version in which people had no blocks of their own.
            give_human(tx, scope, agent_id, id, now).await?;
        }
        return Ok(id);
    }
    let former = "SELECT conversation_id FROM own_threads WHERE agent_id = $1 AND subject = $2";
    let former = tx.query_opt(former, params![agent_id, subject]).await?;
    let id = make(tx, scope, (agent_id, subject), now).await?;
    match former {
        // What is known of the person is not deleted with a thread.
        Some(mut former) => blocks::show_too(tx, former.parse()?, id).await?,
        None => give_human(tx, scope, agent_id, id, now).await?,
    }
    Ok(id)
}

/// The thread in which an agent that keeps another one's memory works for the end user of the scope. It shows what is that
/// user's own in the thread `of` of the other agent.
///
/// # Errors
/// As for [`find_or_make`].
pub async fn find_or_make_beside(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent_id, of): (AgentId, ConversationId),
    now: Timestamp,
) -> Result<ConversationId, StoreError> {
    let subject = scope.subject.as_deref().unwrap_or_default();
    agents::get_for_update(tx, scope, agent_id).await?;
    let id = match find(tx, scope, agent_id).await? {
        Some(id) => id,
        None => make(tx, scope, (agent_id, subject), now).await?,
    };
    blocks::show_too(tx, of, id).await?;
    Ok(id)
}

async fn make(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent_id, subject): (AgentId, &str),
    now: Timestamp,
) -> Result<ConversationId, StoreError> {
    let id = conversations::insert(tx, scope, agent_id, &NewConversation::default(), now).await?;
    place(tx, subject, agent_id, id).await?;
    Ok(id)
}

/// Whether a thread has its own block about its user.
///
/// # Errors
/// The database's.
pub async fn has_human(tx: &mut Tx<'_>, thread: ConversationId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM conversations_blocks WHERE conversation_id = $1 AND label = $2";
    let found = tx.query_opt(sql, params![thread, HUMAN]).await?;
    Ok(found.is_some())
}

/// Gives a person's new thread its own copy of the block about its user; an agent that has none gets an empty one there.
async fn give_human(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    thread: ConversationId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let labels = [HUMAN.to_owned()];
    let missing = blocks::isolate(tx, scope, (agent_id.into(), thread), &labels, now).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let empty = Block::empty(
        HUMAN,
        default_block_description(HUMAN).map(str::to_owned),
        now,
    );
    let author = Author::asking(scope);
    blocks::add_own(tx, scope, thread, &empty, &author).await
}

/// Makes a conversation the one that an agent keeps for an end user.
///
/// # Errors
/// There is no such agent or conversation, or the database's.
pub async fn place(
    tx: &mut Tx<'_>,
    subject: &str,
    agent_id: AgentId,
    conversation_id: ConversationId,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO own_threads (agent_id, subject, conversation_id) VALUES ($1, $2, $3) \
               ON CONFLICT (agent_id, subject) DO UPDATE SET conversation_id = excluded.conversation_id";
    tx.execute(sql, params![agent_id, subject, conversation_id])
        .await
        .map(drop)
}
