//! Blocks that a thread has in place of its agent's blocks of the same label.

use mnemic_core::{
    blocks::{Author, Block},
    ids::{AgentId, BlockId, ConversationId},
    scope::Scope,
    time::Timestamp,
};

use super::{COLUMNS, by_label, from_row, insert, of_agent, one, with_tags};
use crate::{
    StoreError, Tx,
    closed::{Thing, open_to_users},
    params,
};

/// Where memory is read and changed: an agent, and the thread whose own blocks count before the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The agent.
    pub agent_id: AgentId,
    /// The thread; none reads the agent's blocks alone.
    pub conversation_id: Option<ConversationId>,
}

impl From<AgentId> for Place {
    fn from(agent_id: AgentId) -> Self {
        Self {
            agent_id,
            conversation_id: None,
        }
    }
}

impl From<(AgentId, ConversationId)> for Place {
    fn from((agent_id, conversation_id): (AgentId, ConversationId)) -> Self {
        Self {
            agent_id,
            conversation_id: Some(conversation_id),
        }
    }
}

/// The blocks that a thread's prompt shows, in their order.
///
/// # Errors
/// The database's.
pub async fn of_place(
    tx: &mut Tx<'_>,
    scope: &Scope,
    place: Place,
) -> Result<Vec<Block>, StoreError> {
    let mut shown = of_agent(tx, scope, place.agent_id).await?;
    let open = open_to_users(tx, scope, place.agent_id).await?;
    for block in &mut shown {
        block.read_only |= thing(block).is_closed(scope, &open);
    }
    for own in own_blocks(tx, scope, place).await? {
        match shown.iter_mut().find(|block| block.label == own.label) {
            Some(block) => *block = own,
            // The agent lost its block of that label; the thread keeps its own.
            None => shown.push(own),
        }
    }
    Ok(shown)
}

/// A block as something that may be common.
pub(super) fn thing(block: &Block) -> Thing<'_> {
    Thing {
        noun: "block",
        name: &block.label,
        subject: block.subject.as_deref(),
        of_agent: "agents_blocks WHERE agent_id = $1 AND block_id = $2",
        id: block.id.to_string(),
    }
}

/// The blocks that are the thread's alone.
///
/// # Errors
/// The database's.
pub async fn own_blocks(
    tx: &mut Tx<'_>,
    scope: &Scope,
    place: Place,
) -> Result<Vec<Block>, StoreError> {
    let Some(conversation_id) = place.conversation_id else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM conversations_blocks cb JOIN blocks b ON b.id = cb.block_id \
         WHERE cb.conversation_id = $1 AND {} = $2 ORDER BY cb.position, b.id",
        tx.unindexed("b.organization_id")
    );
    let rows = tx
        .query(&sql, params![conversation_id, scope.organization])
        .await?;
    let blocks: Result<Vec<Block>, _> =
        rows.into_iter().map(|mut row| from_row(&mut row)).collect();
    with_tags(tx, blocks?).await
}

/// The block that a thread shows under a label.
///
/// # Errors
/// The database's.
pub async fn shown_as(
    tx: &mut Tx<'_>,
    scope: &Scope,
    place: Place,
    label: &str,
) -> Result<Option<Block>, StoreError> {
    if let Some(conversation_id) = place.conversation_id {
        let sql = format!(
            "SELECT {COLUMNS} FROM conversations_blocks cb JOIN blocks b ON b.id = cb.block_id \
             WHERE cb.conversation_id = $1 AND cb.label = $2 AND b.organization_id = $3"
        );
        let rows = tx
            .query(&sql, params![conversation_id, label, scope.organization])
            .await?;
        if let Some(own) = one(tx, rows).await? {
            return Ok(Some(own));
        }
    }
    by_label(tx, scope, place.agent_id, label).await
}

/// Gives a thread copies of blocks that `from` shows under these labels. Labels that are not there are
/// returned, and nothing was made then.
///
/// # Errors
/// The database's.
pub async fn isolate(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (from, to): (Place, ConversationId),
    labels: &[String],
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    // As they are, not as one person's turn may use them.
    let shown = of_place(tx, &scope.common(), from).await?;
    let is_shown = |label: &&String| shown.iter().any(|block| block.label == **label);
    let missing: Vec<String> = labels
        .iter()
        .filter(|label| !is_shown(label))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Ok(missing);
    }
    for (position, block) in (0_i64..).zip(&shown) {
        if !labels.contains(&block.label) {
            continue;
        }
        let copy = Block {
            id: BlockId::new(),
            revision: 1,
            created_at: now,
            updated_at: now,
            ..block.clone()
        };
        give_own(tx, scope, to, (position, &copy)).await?;
    }
    Ok(missing)
}

/// Shows in a thread what another one has for its own: the same blocks, not copies.
///
/// # Errors
/// The database's.
pub async fn show_too(
    tx: &mut Tx<'_>,
    from: ConversationId,
    to: ConversationId,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO conversations_blocks (conversation_id, label, block_id, position) \
               SELECT $2, label, block_id, position FROM conversations_blocks WHERE conversation_id = $1 \
               ON CONFLICT (conversation_id, label) DO UPDATE SET block_id = excluded.block_id";
    tx.execute(sql, params![from, to]).await?;
    Ok(())
}

/// Gives a thread a new block of its own.
///
/// # Errors
/// It has one of that label, or the database's.
pub async fn add_own(
    tx: &mut Tx<'_>,
    scope: &Scope,
    to: ConversationId,
    block: &Block,
    author: &Author,
) -> Result<(), StoreError> {
    insert(tx, scope, block, author).await?;
    let sql = "INSERT INTO conversations_blocks (conversation_id, label, block_id, position) \
               SELECT $1, $2, $3, COALESCE(MAX(position), 999) + 1 FROM conversations_blocks \
               WHERE conversation_id = $1";
    tx.execute(sql, params![to, &block.label, block.id]).await?;
    // What is known of a person shows in all threads that show the person's other blocks.
    let sql = "INSERT INTO conversations_blocks (conversation_id, label, block_id, position) \
               SELECT c.id, $2, $3, (SELECT COALESCE(MAX(x.position), 999) + 1 FROM conversations_blocks x \
                       WHERE x.conversation_id = c.id) \
               FROM conversations c JOIN conversations o ON o.id = $1 \
               WHERE c.agent_id = o.agent_id AND c.subject = o.subject AND c.id <> o.id AND c.deleted_at IS NULL \
                   AND EXISTS (SELECT 1 FROM conversations_blocks a JOIN conversations_blocks b ON b.block_id = a.block_id \
                       WHERE a.conversation_id = c.id AND b.conversation_id = o.id) \
               ON CONFLICT (conversation_id, label) DO NOTHING";
    tx.execute(sql, params![to, &block.label, block.id]).await?;
    Ok(())
}

/// Makes a new block that is a thread's alone, at a position among its own.
///
/// # Errors
/// The thread has a block of its own under that label already, or the database's.
pub async fn give_own(
    tx: &mut Tx<'_>,
    scope: &Scope,
    to: ConversationId,
    (position, block): (i64, &Block),
) -> Result<(), StoreError> {
    insert(tx, scope, block, &Author::asking(scope)).await?;
    show_own(tx, to, (position, block)).await
}

/// Shows a block, which another thread of the same person has too, at a position among a thread's own.
///
/// # Errors
/// The thread has a block of its own under that label already, or the database's.
pub async fn show_own(
    tx: &mut Tx<'_>,
    to: ConversationId,
    (position, block): (i64, &Block),
) -> Result<(), StoreError> {
    let sql = "INSERT INTO conversations_blocks (conversation_id, label, block_id, position) \
               VALUES ($1, $2, $3, $4)";
    tx.execute(sql, params![to, &block.label, block.id, position])
        .await
        .map(drop)
}

/// Gives a thread copies of all blocks that are another thread's own.
///
/// # Errors
/// The database's.
pub async fn isolate_as(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (from, to): (Place, ConversationId),
    now: Timestamp,
) -> Result<(), StoreError> {
    let own = own_blocks(tx, scope, from).await?;
    let labels: Vec<String> = own.into_iter().map(|block| block.label).collect();
    if !labels.is_empty() {
        isolate(tx, scope, (from, to), &labels, now).await?;
    }
    Ok(())
}
