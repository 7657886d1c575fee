//! The event log of background runs: what clients saw, in commits of its own, only ever extended.

use mnemic_core::{
    ids::{RunId, StepId},
    scope::Scope,
    time::Timestamp,
};

use crate::{StoreError, Tx, params};

/// Consecutive events of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// The number of the first event, from 1.
    pub seq: i64,
    /// A JSON list of the events.
    pub events: String,
    /// How many they are.
    pub count: i64,
    /// The step in which they happened.
    pub step_id: Option<StepId>,
    /// Which attempt at the run, from 0; a crash begins a new one.
    pub attempt: i64,
}

/// Appends events. A gap or an overlap with what is there is refused.
///
/// # Errors
/// The numbers do not follow, or the database's.
pub async fn append(
    tx: &mut Tx<'_>,
    scope: &Scope,
    run_id: RunId,
    row: &EventRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let last = last_seq(tx, run_id).await?;
    if last + 1 != row.seq {
        return Err(StoreError::Conflict(format!(
            "event {} of run {run_id} does not follow event {last}",
            row.seq
        )));
    }
    let sql = "INSERT INTO run_events (run_id, seq, subject, step_id, attempt, events, count, \
                   created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    tx.execute(
        sql,
        params![
            run_id,
            row.seq,
            scope.subject.as_ref(),
            row.step_id,
            row.attempt,
            &row.events,
            row.count,
            now
        ],
    )
    .await?;
    Ok(())
}

/// The number of a run's last stored event; 0 when there is none.
///
/// # Errors
/// The database's.
pub async fn last_seq(tx: &mut Tx<'_>, run_id: RunId) -> Result<i64, StoreError> {
    let sql = "SELECT seq + count - 1 FROM run_events WHERE run_id = $1 ORDER BY seq DESC LIMIT 1";
    tx.query_opt(sql, params![run_id])
        .await?
        .map_or(Ok(0), |mut row| row.int())
}

/// The number of a run's last stored event and the attempt that logged it.
///
/// # Errors
/// The database's.
pub async fn last(tx: &mut Tx<'_>, run_id: RunId) -> Result<Option<(i64, i64)>, StoreError> {
    let sql = "SELECT seq + count - 1, attempt FROM run_events WHERE run_id = $1 \
               ORDER BY seq DESC LIMIT 1";
    let row = tx.query_opt(sql, params![run_id]).await?;
    row.map(|mut row| Ok((row.int()?, row.int()?))).transpose()
}

/// The rows from the one that holds a number on, at most `limit` rows: the first may hold only events
/// up to that number.
///
/// # Errors
/// The database's.
pub async fn after(
    tx: &mut Tx<'_>,
    run_id: RunId,
    seq: i64,
    limit: i64,
) -> Result<Vec<EventRow>, StoreError> {
    let sql = "SELECT seq, events, count, step_id, attempt FROM run_events \
               WHERE run_id = $1 AND seq >= COALESCE((SELECT MAX(e.seq) FROM run_events e \
                   WHERE e.run_id = $1 AND e.seq <= $2), 0) \
               ORDER BY seq LIMIT $3";
    let rows = tx
        .query(sql, params![run_id, seq.saturating_add(1), limit])
        .await?;
    rows.into_iter()
        .map(|mut row| {
            Ok(EventRow {
                seq: row.int()?,
                events: row.text()?,
                count: row.int()?,
                step_id: row.opt_parse()?,
                attempt: row.int()?,
            })
        })
        .collect()
}
