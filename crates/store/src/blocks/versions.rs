//! The states that blocks had: kept for ever, so that any can be restored.

use mnemic_core::{
    blocks::{Author, Block, BlockVersion},
    ids::BlockId,
    scope::Scope,
    time::Timestamp,
};

use super::{find, get, own::thing, write};
use crate::{StoreError, Tx, params};

/// Keeps a block's present state.
pub(super) async fn add_version(
    tx: &mut Tx<'_>,
    block: &Block,
    author: &Author,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO block_versions (block_id, version, label, value, char_limit, description, \
                   read_only, user_id, agent_id, run_id, tool_call_id, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    tx.execute(
        sql,
        params![
            block.id,
            block.revision,
            &block.label,
            &block.value,
            block.limit,
            block.description.as_ref(),
            block.read_only,
            author.user_id,
            author.agent_id,
            author.run_id,
            author.tool_call_id.as_ref(),
            now
        ],
    )
    .await?;
    Ok(())
}

/// The versions of a block, the newest first, from before a number on where one is given.
///
/// # Errors
/// There is no such block, or the database's.
pub async fn history(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: BlockId,
    (before, limit): (Option<i64>, i64),
) -> Result<Vec<BlockVersion>, StoreError> {
    get(tx, scope, id).await?;
    let sql = "SELECT block_id, version, label, value, char_limit, description, read_only, user_id, \
                   agent_id, run_id, tool_call_id, created_at \
               FROM block_versions WHERE block_id = $1 AND version < $2 \
               ORDER BY version DESC LIMIT $3";
    let rows = tx
        .query(sql, params![id, before.unwrap_or(i64::MAX), limit])
        .await?;
    rows.into_iter()
        .map(|mut row| {
            Ok(BlockVersion {
                block_id: row.parse()?,
                version: row.int()?,
                label: row.text()?,
                value: row.text()?,
                limit: row.int()?,
                description: row.opt_text()?,
                read_only: row.bool()?,
                author: Author {
                    user_id: row.opt_parse()?,
                    agent_id: row.opt_parse()?,
                    run_id: row.opt_parse()?,
                    tool_call_id: row.opt_text()?,
                },
                created_at: row.time()?,
            })
        })
        .collect()
}

/// Gives a block the value, limit and description of an earlier version, as a new version.
///
/// # Errors
/// There is no such block or version, or the database's.
pub async fn restore(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: BlockId,
    version: i64,
    now: Timestamp,
) -> Result<Block, StoreError> {
    let lock = tx.for_update();
    let before = find(tx, scope, id, lock).await?;
    thing(&before).refuse_request(tx, scope).await?;
    let sql = "SELECT value, char_limit, description FROM block_versions \
               WHERE block_id = $1 AND version = $2";
    let mut row = tx
        .query_opt(sql, params![id, version])
        .await?
        .ok_or_else(|| StoreError::not_found("Block version", version))?;
    let block = Block {
        value: row.text()?,
        limit: row.int()?,
        description: row.opt_text()?,
        ..before.clone()
    };
    let author = Author::asking(scope);
    write(tx, scope, (&before, block), &author, now).await
}

/// A value that a block had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastValue {
    /// The version's number.
    pub version: i64,
    /// The value.
    pub value: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// The values of a block from a version on, the oldest first, at most `limit`.
///
/// # Errors
/// The database's.
pub async fn values_after(
    tx: &mut Tx<'_>,
    id: BlockId,
    (version, limit): (i64, i64),
) -> Result<Vec<PastValue>, StoreError> {
    let sql = "SELECT version, value, created_at FROM block_versions \
               WHERE block_id = $1 AND version > $2 ORDER BY version LIMIT $3";
    let rows = tx.query(sql, params![id, version, limit]).await?;
    let read = |mut row: crate::Row| {
        Ok(PastValue {
            version: row.int()?,
            value: row.text()?,
            created_at: row.time()?,
        })
    };
    rows.into_iter().map(read).collect()
}
