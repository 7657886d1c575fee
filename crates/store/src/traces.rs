//! What models were asked in steps and answered, kept for a while where the administrator wants it. They go with their step.

use mnemic_core::{ids::StepId, scope::Scope, time::Timestamp};
use serde_json::Value;

use crate::{StoreError, Tx, params};

/// The request of a step and the answer to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// What was asked, as the provider got it.
    pub request: Value,
    /// What came back.
    pub response: Value,
    /// When it was kept.
    pub created_at: Timestamp,
}

/// Keeps what was asked and answered in a step.
///
/// # Errors
/// There is no such step, or the database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    step_id: StepId,
    trace: &Trace,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO traces (step_id, organization_id, subject, request, response, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(
        sql,
        params![
            step_id,
            scope.organization,
            scope.subject.as_ref(),
            &trace.request,
            &trace.response,
            trace.created_at
        ],
    )
    .await
    .map(drop)
}

/// What was asked and answered in a step, where it was kept.
///
/// # Errors
/// The database's.
pub async fn get(
    tx: &mut Tx<'_>,
    scope: &Scope,
    step_id: StepId,
) -> Result<Option<Trace>, StoreError> {
    let sql = "SELECT request, response, created_at FROM traces \
               WHERE step_id = $1 AND organization_id = $2 AND ($3 = '' OR subject = $3)";
    let subject = scope.subject.as_deref().unwrap_or_default();
    let row = tx
        .query_opt(sql, params![step_id, scope.organization, subject])
        .await?;
    row.map(|mut row| {
        Ok(Trace {
            request: row.json()?,
            response: row.json()?,
            created_at: row.time()?,
        })
    })
    .transpose()
}

/// Whether a trace was kept before a time.
///
/// # Errors
/// The database's.
pub async fn any_before(tx: &mut Tx<'_>, time: Timestamp) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM traces WHERE created_at < $1 LIMIT 1";
    Ok(tx.query_opt(sql, params![time]).await?.is_some())
}

/// Deletes the oldest traces that were kept before a time, so many at the most; returns how many.
///
/// # Errors
/// The database's.
pub async fn forget_before(tx: &mut Tx<'_>, time: Timestamp, most: i64) -> Result<u64, StoreError> {
    let sql = "DELETE FROM traces WHERE step_id IN \
                   (SELECT step_id FROM traces WHERE created_at < $1 ORDER BY created_at LIMIT $2)";
    tx.execute(sql, params![time, most]).await
}
