//! Changes of an agent's core memory as a whole, by its own tools.

use std::collections::HashMap;

use mnemic_core::{
    blocks::{Author, Block},
    ids::{AgentId, BlockId},
    memory::{self, BlockWrite, MemoryChange},
    scope::Scope,
    time::Timestamp,
};

use super::{
    attach, detach, find, insert, of_place,
    own::{Place, add_own, own_blocks, thing},
    write,
};
use crate::{StoreError, Tx, closed::open_to_users, params};

/// Changes of which all or none are made.
#[derive(Debug)]
pub struct Changes<'a> {
    /// The changes, in order.
    pub changes: &'a [MemoryChange],
    /// The revisions that the editor saw, by label.
    pub seen: &'a HashMap<String, i64>,
    /// Who makes them.
    pub author: &'a Author,
    /// When.
    pub now: Timestamp,
}

/// Makes changes of an agent's memory on the basis of its blocks' current values, whoever changed them
/// meanwhile. Everything is checked before the first write, so that a refusal leaves nothing behind in
/// a transaction that goes on. Returns what the model reads.
///
/// # Errors
/// A change is refused (the text is for the model), or the database's.
pub async fn change(
    tx: &mut Tx<'_>,
    scope: &Scope,
    place: Place,
    changes: &Changes<'_>,
) -> Result<String, StoreError> {
    let agent_id = place.agent_id;
    let blocks = locked(tx, scope, place, changes.changes).await?;
    let seen = |label: &str| changes.seen.get(label).copied();
    let plan = memory::plan(changes.changes, &blocks, &seen, changes.now)
        .map_err(|error| StoreError::Invalid(error.to_string()))?;
    keep_own(tx, scope, place, &plan.writes).await?;
    for planned in &plan.writes {
        check_other_agents(tx, agent_id, &blocks, planned).await?;
    }
    let mut latest: HashMap<BlockId, Block> =
        blocks.into_iter().map(|block| (block.id, block)).collect();
    for planned in plan.writes {
        match planned {
            BlockWrite::Insert(block) => {
                match (&scope.subject, place.conversation_id) {
                    // What is noted in one person's turn is that person's.
                    (Some(_), Some(own)) => add_own(tx, scope, own, &block, changes.author).await?,
                    _ => {
                        insert(tx, scope, &block, changes.author).await?;
                        attach(tx, scope, agent_id, block.id).await?;
                    }
                }
                latest.insert(block.id, *block);
            }
            BlockWrite::Update(block) => {
                let Some(before) = latest.remove(&block.id) else {
                    return Err(StoreError::not_found("Block", block.id));
                };
                let after = Block {
                    revision: before.revision,
                    ..*block
                };
                let written = write(tx, scope, (&before, after), changes.author, changes.now);
                let written = written.await?;
                latest.insert(written.id, written);
            }
            BlockWrite::Detach(id) => {
                detach(tx, agent_id, id).await?;
            }
        }
    }
    Ok(plan.report)
}

/// The blocks of a place, those that the changes are about being locked; where labels are given, the agent
/// as well, so that two of its conversations cannot give the same one at once.
async fn locked(
    tx: &mut Tx<'_>,
    scope: &Scope,
    place: Place,
    changes: &[MemoryChange],
) -> Result<Vec<Block>, StoreError> {
    let lock = tx.for_update();
    if changes.iter().any(MemoryChange::names) {
        let sql = format!("SELECT id FROM agents WHERE id = $1{lock}");
        tx.query(&sql, params![place.agent_id]).await?;
    }
    let mut blocks = of_place(tx, scope, place).await?;
    let open = open_to_users(tx, scope, place.agent_id).await?;
    // In the order of ids, the same for everybody, or else two could wait for each other.
    for id in memory::named(changes, &blocks) {
        match find(tx, scope, id, lock).await {
            Ok(current) => {
                let read_only = current.read_only || thing(&current).is_closed(scope, &open);
                for block in blocks.iter_mut().filter(|block| block.id == id) {
                    *block = Block {
                        read_only,
                        ..current.clone()
                    };
                }
            }
            Err(StoreError::NotFound { .. }) => blocks.retain(|block| block.id != id),
            Err(error) => return Err(error),
        }
    }
    Ok(blocks)
}

/// Refuses that a thread's own blocks go or change their labels: the agent's would show again in their place.
async fn keep_own(
    tx: &mut Tx<'_>,
    scope: &Scope,
    place: Place,
    writes: &[BlockWrite],
) -> Result<(), StoreError> {
    for own in own_blocks(tx, scope, place).await? {
        let goes = |planned: &BlockWrite| match planned {
            BlockWrite::Detach(id) => *id == own.id,
            BlockWrite::Update(after) => after.id == own.id && after.label != own.label,
            BlockWrite::Insert(_) => false,
        };
        if writes.iter().any(goes) {
            return Err(StoreError::Invalid(format!(
                "the block '{}' is this conversation's own copy, so nothing was changed: it can't be \
                 deleted or renamed here. Change its text instead",
                own.label
            )));
        }
    }
    Ok(())
}

/// Refuses a new label that another agent, to which the block is attached too, has on another block.
async fn check_other_agents(
    tx: &mut Tx<'_>,
    agent_id: AgentId,
    blocks: &[Block],
    planned: &BlockWrite,
) -> Result<(), StoreError> {
    let BlockWrite::Update(after) = planned else {
        return Ok(());
    };
    let is_new = |block: &Block| block.id == after.id && block.label != after.label;
    if !blocks.iter().any(is_new) {
        return Ok(());
    }
    let sql = "SELECT other.agent_id FROM agents_blocks own \
               JOIN agents_blocks other ON other.agent_id = own.agent_id \
               WHERE own.block_id = $1 AND own.agent_id <> $2 AND other.block_id <> $1 \
                   AND other.label = $3 LIMIT 1";
    let found = tx
        .query_opt(sql, params![after.id, agent_id, &after.label])
        .await?;
    match found {
        None => Ok(()),
        Some(_) => Err(StoreError::Invalid(format!(
            "the block cannot be called '{}', so nothing was changed: it is shared with another agent, \
             which has another block of that label. Choose another label",
            after.label
        ))),
    }
}
