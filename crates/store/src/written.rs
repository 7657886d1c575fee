//! What a run wrote into memory.

use mnemic_core::{
    ids::{BlockId, PassageId, RunId},
    scope::Scope,
};

use crate::{Row, StoreError, Tx, params};

/// A block that a run changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenBlock {
    /// The block.
    pub id: BlockId,
    /// Its label.
    pub label: String,
    /// Its value before the run's first change; `None` where the run made the block.
    pub before: Option<String>,
    /// Its value after the run's last change.
    pub after: String,
}

/// A passage that a run stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPassage {
    /// The passage.
    pub id: PassageId,
    /// Its text.
    pub text: String,
}

/// What a run wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The blocks that it changed, in the order of their first change.
    pub blocks: Vec<WrittenBlock>,
    /// The passages that it stored and that are still there, in their order.
    pub passages: Vec<WrittenPassage>,
}

/// What a run wrote into blocks and archives that the scope sees. Blocks that were deleted since are left out.
///
/// # Errors
/// The database's.
pub async fn by_run(tx: &mut Tx<'_>, scope: &Scope, run_id: RunId) -> Result<Written, StoreError> {
    let subject = scope.subject.as_deref().unwrap_or_default();
    let blocks = "SELECT b.id, last.label, before.value, last.value FROM \
             (SELECT block_id, MIN(version) AS lowest, MAX(version) AS highest, MIN(created_at) AS began \
                  FROM block_versions WHERE run_id = $1 GROUP BY block_id) w \
         JOIN blocks b ON b.id = w.block_id \
         JOIN block_versions last ON last.block_id = w.block_id AND last.version = w.highest \
         LEFT JOIN block_versions before ON before.block_id = w.block_id AND before.version = w.lowest - 1 \
         WHERE b.organization_id = $2 AND ($3 = '' OR b.subject IS NULL OR b.subject = $3) \
         ORDER BY w.began, b.id";
    let blocks = tx
        .query(blocks, params![run_id, scope.organization, subject])
        .await?;
    let passages = "SELECT p.id, p.text FROM passages p WHERE p.run_id = $1 AND p.organization_id = $2 \
             AND ($3 = '' OR p.subject IS NULL OR p.subject = $3) ORDER BY p.seq";
    let passages = tx
        .query(passages, params![run_id, scope.organization, subject])
        .await?;
    Ok(Written {
        blocks: blocks.into_iter().map(block).collect::<Result<_, _>>()?,
        passages: passages
            .into_iter()
            .map(passage)
            .collect::<Result<_, _>>()?,
    })
}

fn block(mut row: Row) -> Result<WrittenBlock, StoreError> {
    Ok(WrittenBlock {
        id: row.parse()?,
        label: row.text()?,
        before: row.opt_text()?,
        after: row.text()?,
    })
}

fn passage(mut row: Row) -> Result<WrittenPassage, StoreError> {
    Ok(WrittenPassage {
        id: row.parse()?,
        text: row.text()?,
    })
}
