//! What clients see as jobs: batches, and runs in the background.

use mnemic_core::{
    ids::{AgentId, UserId},
    runs::{Callback, RunStatus, StopReason},
    scope::Scope,
    time::Timestamp,
};
use serde_json::Value;

use crate::{
    Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

/// A batch or a run as a job.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedJob {
    /// The batch's id, or the run's.
    pub id: String,
    /// Whether it is a batch.
    pub is_batch: bool,
    /// Where it stands.
    pub status: RunStatus,
    /// A run's agent.
    pub agent_id: Option<AgentId>,
    /// Why a run ended.
    pub stop_reason: Option<StopReason>,
    /// What the API shows as its metadata.
    pub metadata: Value,
    /// The error that a run ended with.
    pub error: Option<Value>,
    /// Where to post its end.
    pub callback_url: Option<String>,
    /// What became of that.
    pub callback: Callback,
    /// Nanoseconds to a run's first token.
    pub ttft_ns: Option<i64>,
    /// Nanoseconds that it took.
    pub total_duration_ns: Option<i64>,
    /// Who asked for it.
    pub created_by: Option<UserId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was over.
    pub completed_at: Option<Timestamp>,
}

/// Both nouns with the same columns; `which` says which runs, from the end of their table's name on.
fn both(which: &str) -> String {
    format!(
        "SELECT id, is_batch, status, agent_id, stop_reason, metadata, error, callback_url, \
             callback_sent_at, callback_status_code, callback_error, ttft_ns, total_duration_ns, \
             created_by, created_at, completed_at FROM (\
         SELECT b.id, 1 AS is_batch, b.status, NULL AS agent_id, NULL AS stop_reason, '{{}}' AS metadata, \
             NULL AS error, b.callback_url, b.callback_sent_at, b.callback_status_code, \
             b.callback_error, NULL AS ttft_ns, (b.completed_at - b.created_at) * 1000 \
                 AS total_duration_ns, b.created_by, b.created_at, b.completed_at, \
             b.organization_id, b.subject FROM batches b \
         UNION ALL \
         SELECT r.id, 0 AS is_batch, r.status, r.agent_id, r.stop_reason, r.metadata, r.error, \
             r.callback_url, r.callback_sent_at, r.callback_status_code, r.callback_error, \
             r.ttft_ns, r.total_duration_ns, r.created_by, r.created_at, r.completed_at, \
             r.organization_id, r.subject FROM runs r{which}) j"
    )
}

fn from_row(mut row: Row) -> Result<ListedJob, StoreError> {
    Ok(ListedJob {
        id: row.text()?,
        is_batch: row.int()? != 0,
        status: row.named(RunStatus::parse)?,
        agent_id: row.opt_parse()?,
        stop_reason: row.opt_text()?.as_deref().and_then(StopReason::parse),
        metadata: row.json()?,
        error: row.opt_json()?,
        callback_url: row.opt_text()?,
        callback: Callback {
            sent_at: row.opt_time()?,
            status_code: row.opt_int()?,
            error: row.opt_text()?,
        },
        ttft_ns: row.opt_int()?,
        total_duration_ns: row.opt_int()?,
        created_by: row.opt_parse()?,
        created_at: row.time()?,
        completed_at: row.opt_time()?,
    })
}

/// Which jobs a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All.
    All,
    /// Those that are not over.
    Active,
}

/// A page of jobs.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    shown: Shown,
    page: &Page,
) -> Result<Vec<ListedJob>, StoreError> {
    let mut select = Select::new(both(&format!(
        "{} WHERE r.background = 1",
        tx.by_index("runs_in_background")
    )));
    select.and_bind("j.organization_id = {}", scope.organization);
    if let Some(subject) = &scope.subject {
        select.and_bind("j.subject = {}", subject);
    }
    if shown == Shown::Active {
        select.and("j.status IN ('created', 'running')");
    }
    let keys = Keys {
        key: "created_at",
        id: "id",
        cursor: "SELECT created_at, id FROM batches WHERE id = $1 \
                 UNION ALL SELECT created_at, id FROM runs WHERE id = $1",
    };
    let unknown = UnknownCursor::Refuse("Job");
    let rows = select.page(tx, keys, page, unknown).await?;
    rows.into_iter().map(from_row).collect()
}

/// A job by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: &str) -> Result<ListedJob, StoreError> {
    let sql = format!(
        "{} WHERE j.id = $1 AND j.organization_id = $2 AND ($3 = '' OR j.subject = $3)",
        both(" WHERE r.id = $1")
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.query_opt(&sql, params![id, scope.organization, subject])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Job", id)), from_row)
}
