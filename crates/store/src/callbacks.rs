//! Callbacks: the posts that tell a client's own server that a run ended. The end of the run and the
//! job that posts it are one commit, so none is forgotten with a process.

use mnemic_core::{ids::RunId, runs::Callback, scope::Scope, time::Timestamp};
use serde_json::json;

use crate::{
    StoreError, Tx,
    jobs::{self, NewJob},
    params,
};

/// The kind of the jobs.
pub const KIND: &str = "run.callback";

/// The kind of the jobs that post the ends of batches.
pub const BATCH_KIND: &str = "batch.callback";

/// How often a post is tried at the most.
pub(crate) const MAX_ATTEMPTS: i64 = 4;

/// Queues the post of a run that ended and has a callback.
///
/// # Errors
/// The database's.
pub(crate) async fn queue(tx: &mut Tx<'_>, id: RunId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT organization_id, created_by, subject, agent_id FROM runs WHERE id = $1";
    let Some(mut row) = tx.query_opt(sql, params![id]).await? else {
        return Ok(());
    };
    let scope = Scope {
        organization: row.parse()?,
        actor: row.parse()?,
        subject: row.opt_text()?,
        caller: None,
        key: None,
    };
    let job = NewJob {
        agent_id: Some(row.parse()?),
        kind: KIND.to_owned(),
        payload: json!({ "run_id": id }),
        max_attempts: MAX_ATTEMPTS,
        run_at: now,
    };
    jobs::enqueue(tx, &scope, &job, now).await.map(drop)
}

/// Notes on the run what became of a post.
///
/// # Errors
/// The database's.
pub async fn record(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: RunId,
    callback: &Callback,
) -> Result<(), StoreError> {
    let sql = "UPDATE runs SET callback_sent_at = $3, callback_status_code = $4, callback_error = $5 \
               WHERE id = $1 AND organization_id = $2";
    let Callback {
        sent_at,
        status_code,
        error,
    } = callback;
    tx.execute(
        sql,
        params![
            id,
            scope.organization,
            *sent_at,
            *status_code,
            error.as_ref()
        ],
    )
    .await
    .map(drop)
}
