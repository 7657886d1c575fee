//! Leases: one running turn per conversation. A lease has an owner (a process, by its boot id) and an
//! epoch that grows with each owner; every commit of a run renews it, and fails when it is not its own.

use mnemic_core::ids::{ConversationId, RunId};

use crate::{Dialect, StoreError, Tx, params};

/// How long a lease lasts without a renewal, in microseconds. Turns renew theirs every few seconds; a
/// dead owner is usually noticed long before.
pub const TTL_MICROS: i64 = 60_000_000;

/// The right to run in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The process that holds it.
    pub owner: String,
    /// The number of this holding.
    pub epoch: i64,
    /// The run that it is held for.
    pub run_id: RunId,
}

/// Now in microseconds by the clock that all owners share: the database's on PostgreSQL. On SQLite
/// there is one process, so its machine's clock is that.
pub(crate) fn now_sql(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    }
}

/// Takes a lease that is free, expired, or held for the same run already: the answer to the commit that
/// took it may have been lost.
///
/// # Errors
/// The database's.
pub async fn acquire(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    owner: &str,
    run_id: RunId,
) -> Result<Option<Lease>, StoreError> {
    let now = now_sql(tx.dialect());
    let sql = format!(
        "INSERT INTO leases (conversation_id, owner, epoch, run_id, expires_at) \
         VALUES ($1, $2, 1, $3, {now} + $4) \
         ON CONFLICT (conversation_id) DO UPDATE \
             SET owner = excluded.owner, epoch = leases.epoch + 1, run_id = excluded.run_id, \
                 expires_at = excluded.expires_at \
             WHERE leases.owner IS NULL OR leases.expires_at < {now} \
                 OR (leases.owner = excluded.owner AND leases.run_id = excluded.run_id) \
         RETURNING epoch"
    );
    let row = tx
        .query_opt(&sql, params![conversation_id, owner, run_id, TTL_MICROS])
        .await?;
    let Some(mut row) = row else { return Ok(None) };
    Ok(Some(Lease {
        conversation_id,
        owner: owner.to_owned(),
        epoch: row.int()?,
        run_id,
    }))
}

/// Renews a lease as part of a commit. The row stays locked until the commit, so that no takeover
/// can come between.
///
/// # Errors
/// [`StoreError::LeaseLost`] when somebody else holds it now, or the database's.
pub async fn renew(tx: &mut Tx<'_>, lease: &Lease) -> Result<(), StoreError> {
    let now = now_sql(tx.dialect());
    let sql = update_own(tx.dialect(), &format!("expires_at = {now} + $4"));
    let params = params![lease.conversation_id, &lease.owner, lease.epoch, TTL_MICROS];
    held(tx.execute(&sql, params).await?)
}

/// Gives a lease back as part of a run's last commit.
///
/// # Errors
/// [`StoreError::LeaseLost`] when somebody else holds it now, or the database's.
pub async fn release(tx: &mut Tx<'_>, lease: &Lease) -> Result<(), StoreError> {
    let sql = update_own(
        tx.dialect(),
        "owner = NULL, run_id = NULL, expires_at = NULL",
    );
    let params = params![lease.conversation_id, &lease.owner, lease.epoch];
    held(tx.execute(&sql, params).await?)
}

/// Gives back the lease that a process holds for a run, if it holds one.
///
/// # Errors
/// The database's.
pub async fn release_run(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    owner: &str,
    run_id: RunId,
) -> Result<(), StoreError> {
    let sql = "UPDATE leases SET owner = NULL, run_id = NULL, expires_at = NULL \
               WHERE conversation_id = $1 AND owner = $2 AND run_id = $3";
    tx.execute(sql, params![conversation_id, owner, run_id])
        .await
        .map(drop)
}

/// Changes the lease of the conversation `$1` if the owner `$2` holds it with the epoch `$3`. Everybody
/// locks a conversation's row before its lease, or two commits could wait for each other.
fn update_own(dialect: Dialect, set: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!(
            "UPDATE leases SET {set} WHERE conversation_id = $1 AND owner = $2 AND epoch = $3"
        ),
        Dialect::Postgres => format!(
            "WITH c AS MATERIALIZED (SELECT id FROM conversations WHERE id = $1 FOR UPDATE) \
             UPDATE leases SET {set} FROM c \
             WHERE leases.conversation_id = c.id AND owner = $2 AND epoch = $3"
        ),
    }
}

fn held(rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(StoreError::LeaseLost)
    }
}

/// Renews the leases that a process holds of these conversations, whose turns may wait long for a
/// model.
///
/// # Errors
/// The database's.
pub async fn renew_all(
    tx: &mut Tx<'_>,
    owner: &str,
    conversations: Vec<String>,
) -> Result<u64, StoreError> {
    let now = now_sql(tx.dialect());
    let sql = format!(
        "UPDATE leases SET expires_at = {now} + $2 WHERE owner = $1 AND {}",
        tx.any_of("conversation_id", 3)
    );
    tx.execute(&sql, params![owner, TTL_MICROS, conversations])
        .await
}

/// The owners of leases that are held now.
///
/// # Errors
/// The database's.
pub async fn owners(tx: &mut Tx<'_>) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT owner FROM leases WHERE owner IS NOT NULL";
    tx.query(sql, &[])
        .await?
        .into_iter()
        .map(|mut row| row.text())
        .collect()
}

/// Frees what a dead process held, and what nobody renewed in time.
///
/// # Errors
/// The database's.
pub async fn free_dead(tx: &mut Tx<'_>, dead: &[String]) -> Result<u64, StoreError> {
    let now = now_sql(tx.dialect());
    let sql = format!(
        "UPDATE leases SET owner = NULL, run_id = NULL, expires_at = NULL \
         WHERE owner IS NOT NULL AND (expires_at < {now} OR {})",
        tx.any_of("owner", 1)
    );
    tx.execute(&sql, params![dead.to_vec()]).await
}
