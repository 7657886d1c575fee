//! Batches of messages, and their requests, each of which becomes a run exactly once.

use mnemic_core::{
    batches::{Batch, BatchItem, Counts},
    ids::{AgentId, JobId, RunId},
    messages::Message,
    runs::{Callback, RunStatus},
    scope::Scope,
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    Param, Row, StoreError, Tx, callbacks,
    jobs::{self, NewJob},
    messages,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "b.id, b.subject, b.status, \
     (SELECT COUNT(*) FROM batch_requests q WHERE q.batch_id = b.id), \
     (SELECT COUNT(*) FROM batch_requests q WHERE q.batch_id = b.id AND q.status = 'completed'), \
     (SELECT COUNT(*) FROM batch_requests q WHERE q.batch_id = b.id AND q.status = 'failed'), \
     (SELECT COUNT(*) FROM batch_requests q WHERE q.batch_id = b.id AND q.status = 'cancelled'), \
     b.callback_url, b.callback_sent_at, b.callback_status_code, b.callback_error, b.created_by, \
     b.created_at, b.completed_at";

/// The condition of the index of requests that are not over, word for word.
const OPEN: &str = "status IN ('created', 'running')";

fn from_row(mut row: Row) -> Result<Batch, StoreError> {
    Ok(Batch {
        id: row.parse()?,
        subject: row.opt_text()?,
        status: row.named(RunStatus::parse)?,
        counts: Counts {
            total: row.int()?,
            completed: row.int()?,
            failed: row.int()?,
            cancelled: row.int()?,
        },
        callback_url: row.opt_text()?,
        callback: Callback {
            sent_at: row.opt_time()?,
            status_code: row.opt_int()?,
            error: row.opt_text()?,
        },
        created_by: row.opt_parse()?,
        created_at: row.time()?,
        completed_at: row.opt_time()?,
    })
}

/// A batch at its acceptance.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Its id.
    pub id: JobId,
    /// Where to post its end.
    pub callback_url: Option<String>,
    /// Its requests: the agent, the run that it becomes, and the request as JSON.
    pub requests: Vec<(AgentId, RunId, String)>,
}

/// Stores a batch with its requests.
///
/// # Errors
/// The database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    new: &NewBatch,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO batches (id, organization_id, subject, status, callback_url, created_by, \
                   created_at, api_key_id) VALUES ($1, $2, $3, 'created', $4, $5, $6, $7)";
    tx.execute(
        sql,
        params![
            new.id,
            scope.organization,
            scope.subject.as_ref(),
            new.callback_url.as_ref(),
            scope.actor,
            now,
            scope.key
        ],
    )
    .await?;
    let columns = [
        "batch_id", "position", "agent_id", "request", "status", "run_id",
    ];
    let rows = (0_i64..).zip(&new.requests);
    let rows = rows.map(|(position, (agent_id, run_id, request))| {
        vec![
            Param::from(new.id),
            Param::Int(position),
            Param::from(*agent_id),
            Param::from(request.as_str()),
            Param::from("created"),
            Param::from(*run_id),
        ]
    });
    tx.insert_rows("batch_requests", &columns, rows.collect())
        .await
}

/// A batch by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: JobId) -> Result<Batch, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM batches b WHERE b.id = $1 AND b.organization_id = $2 \
           AND ($3 = '' OR b.subject = $3)"
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.query_opt(&sql, params![id, scope.organization, subject])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Batch", id)), from_row)
}

/// A page of batches.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(tx: &mut Tx<'_>, scope: &Scope, page: &Page) -> Result<Vec<Batch>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM batches b"));
    select.and_bind("b.organization_id = {}", scope.organization);
    if let Some(subject) = &scope.subject {
        select.and_bind("b.subject = {}", subject);
    }
    let keys = Keys {
        key: "b.created_at",
        id: "b.id",
        cursor: "SELECT created_at, id FROM batches WHERE id = $1",
    };
    let unknown = UnknownCursor::Refuse("Batch");
    let rows = select.page(tx, keys, page, unknown).await?;
    rows.into_iter().map(from_row).collect()
}

/// The requests of a batch, in their order.
///
/// # Errors
/// The database's.
pub async fn items(tx: &mut Tx<'_>, id: JobId) -> Result<Vec<BatchItem>, StoreError> {
    let sql = "SELECT agent_id, run_id, status, error FROM batch_requests WHERE batch_id = $1 \
               ORDER BY position";
    let rows = tx.query(sql, params![id]).await?;
    let items = rows.into_iter().map(|mut row| {
        Ok(BatchItem {
            agent_id: row.parse()?,
            run_id: row.parse()?,
            status: row.named(RunStatus::parse)?,
            error: row.opt_text()?,
        })
    });
    items.collect()
}

/// What the runs of a batch said and heard, of one agent or of all.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn said(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (id, agent_id): (JobId, Option<AgentId>),
    page: &Page,
) -> Result<Vec<Message>, StoreError> {
    let mut select = Select::new(format!("SELECT {} FROM messages m", messages::COLUMNS));
    select
        .and_bind(
            "m.run_id IN (SELECT q.run_id FROM batch_requests q WHERE q.batch_id = {})",
            id,
        )
        .and_bind(
            &format!("{} = {{}}", tx.unindexed("m.organization_id")),
            scope.organization,
        );
    if let Some(agent_id) = agent_id {
        select.and_bind(&format!("{} = {{}}", tx.unindexed("m.agent_id")), agent_id);
    }
    let keys = Keys {
        key: "m.seq",
        id: "m.id",
        cursor: "SELECT seq, id FROM messages WHERE id = $1",
    };
    let unknown = UnknownCursor::Refuse("Message");
    let rows = select.page(tx, keys, page, unknown).await?;
    rows.into_iter().map(messages::from_row).collect()
}

/// A request on its way to become a run.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its number among all requests.
    pub seq: i64,
    /// Its batch.
    pub batch_id: JobId,
    /// Whose it is.
    pub scope: Scope,
    /// Its agent.
    pub agent_id: AgentId,
    /// The run that it becomes.
    pub run_id: RunId,
    /// The request as JSON.
    pub request: Value,
    /// Whether nobody wants it any more: then it does not begin, but what has begun goes on.
    pub is_cancelled: bool,
}

/// Whether any request waits to be taken up.
///
/// # Errors
/// The database's.
pub async fn waits(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM batch_requests WHERE {OPEN} AND status = 'created' LIMIT 1");
    Ok(tx.query_opt(&sql, &[]).await?.is_some())
}

/// Takes the oldest request that nobody works on and whose agent no other request of a batch keeps busy.
///
/// # Errors
/// The database's.
pub async fn claim(tx: &mut Tx<'_>, owner: &str) -> Result<Option<Claimed>, StoreError> {
    let skip = match tx.dialect() {
        crate::Dialect::Sqlite => "",
        crate::Dialect::Postgres => " FOR UPDATE SKIP LOCKED",
    };
    let sql = format!(
        "UPDATE batch_requests SET status = 'running', owner = $1 \
         WHERE seq = (SELECT q.seq FROM batch_requests q WHERE q.{OPEN} AND q.status = 'created' \
             AND NOT EXISTS (SELECT 1 FROM batch_requests o WHERE o.{OPEN} \
                 AND o.status = 'running' AND o.agent_id = q.agent_id) \
             ORDER BY q.seq LIMIT 1{skip}) \
         RETURNING seq, batch_id, agent_id, run_id, request"
    );
    let Some(mut row) = tx.query_opt(&sql, params![owner]).await? else {
        return Ok(None);
    };
    let (seq, batch_id) = (row.int()?, row.parse::<JobId>()?);
    let (agent_id, run_id, request) = (row.parse()?, row.parse()?, row.json()?);
    let sql = "UPDATE batches SET status = 'running' WHERE id = $1 AND status = 'created'";
    tx.execute(sql, params![batch_id]).await?;
    let sql = "SELECT organization_id, created_by, subject, api_key_id, status FROM batches WHERE id = $1";
    let mut batch = tx.query_one(sql, params![batch_id]).await?;
    Ok(Some(Claimed {
        seq,
        batch_id,
        scope: Scope {
            organization: batch.parse()?,
            actor: batch.parse()?,
            subject: batch.opt_text()?,
            caller: None,
            key: batch.opt_parse()?,
        },
        agent_id,
        run_id,
        request,
        is_cancelled: batch.named(RunStatus::parse)? == RunStatus::Cancelled,
    }))
}

/// Gives a request back that could not begin for the time being.
///
/// # Errors
/// The database's.
pub async fn give_back(tx: &mut Tx<'_>, seq: i64) -> Result<(), StoreError> {
    let sql = "UPDATE batch_requests SET status = 'created', owner = NULL \
               WHERE seq = $1 AND status = 'running'";
    tx.execute(sql, params![seq]).await.map(drop)
}

/// Gives back what processes that died worked on. Whether a run came of it, their successor finds out.
///
/// # Errors
/// The database's.
pub async fn free_dead(tx: &mut Tx<'_>, dead: &[String]) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE batch_requests SET status = 'created', owner = NULL WHERE {OPEN} \
             AND status = 'running' AND {}",
        tx.any_of("owner", 1)
    );
    tx.execute(&sql, params![dead.to_vec()]).await.map(drop)
}

/// The processes that work on requests.
///
/// # Errors
/// The database's.
pub async fn owners(tx: &mut Tx<'_>) -> Result<Vec<String>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT owner FROM batch_requests WHERE {OPEN} AND status = 'running' \
             AND owner IS NOT NULL"
    );
    let rows = tx.query(&sql, &[]).await?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// Notes what became of a request; the last one ends its batch. `true` when that queued a callback.
///
/// # Errors
/// The database's.
pub async fn settle(
    tx: &mut Tx<'_>,
    claimed: &Claimed,
    (status, error): (RunStatus, Option<&str>),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let id = claimed.batch_id;
    // Of two that end at once, the second sees the first.
    let sql = format!("SELECT id FROM batches WHERE id = $1{}", tx.for_update());
    tx.query(&sql, params![id]).await?;
    let sql = "UPDATE batch_requests SET status = $2, error = $3, owner = NULL \
               WHERE seq = $1 AND status IN ('created', 'running')";
    tx.execute(sql, params![claimed.seq, status.as_str(), error])
        .await?;
    let sql = "SELECT SUM(CASE WHEN status IN ('created', 'running') THEN 1 ELSE 0 END), \
                   SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END), COUNT(*) \
               FROM batch_requests WHERE batch_id = $1";
    let mut counted = tx.query_one(sql, params![id]).await?;
    let open = counted.opt_int()?.unwrap_or(0);
    let (failed, total) = (counted.opt_int()?.unwrap_or(0), counted.int()?);
    if open > 0 {
        return Ok(false);
    }
    let status = match failed == total {
        true => RunStatus::Failed,
        false => RunStatus::Completed,
    };
    end(tx, &claimed.scope, id, status, now).await
}

/// Ends a batch, unless it is over. `true` when that queued a callback.
async fn end(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: JobId,
    status: RunStatus,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE batches SET status = $2, completed_at = $3 \
               WHERE id = $1 AND status IN ('created', 'running') RETURNING callback_url";
    let ended = tx.query_opt(sql, params![id, status.as_str(), now]).await?;
    let Some(mut row) = ended else {
        return Ok(false);
    };
    if row.opt_text()?.is_none() {
        return Ok(false);
    }
    let job = NewJob {
        agent_id: None,
        kind: callbacks::BATCH_KIND.to_owned(),
        payload: json!({ "batch_id": id }),
        max_attempts: callbacks::MAX_ATTEMPTS,
        run_at: now,
    };
    jobs::enqueue(tx, scope, &job, now).await?;
    Ok(true)
}

/// Cancels a batch: what has not begun never does, what runs goes on to its end. `true` when that queued a callback.
///
/// # Errors
/// There is none, it is over, or the database's.
pub async fn cancel(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: JobId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if get(tx, scope, id).await?.status.is_terminal() {
        return Err(StoreError::Conflict(format!(
            "batch {id} is over: there is nothing to cancel"
        )));
    }
    let sql = "UPDATE batch_requests SET status = 'cancelled' WHERE batch_id = $1 \
               AND status = 'created'";
    tx.execute(sql, params![id]).await?;
    end(tx, scope, id, RunStatus::Cancelled, now).await
}

/// Removes a batch that is over; its runs and their messages stay.
///
/// # Errors
/// There is none, it is not over, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: JobId) -> Result<(), StoreError> {
    if !get(tx, scope, id).await?.status.is_terminal() {
        return Err(StoreError::Conflict(format!(
            "batch {id} is not over: cancel it first"
        )));
    }
    let sql = "DELETE FROM batches WHERE id = $1";
    tx.execute(sql, params![id]).await.map(drop)
}

/// Notes what became of posting a batch's end.
///
/// # Errors
/// The database's.
pub async fn record(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: JobId,
    callback: &Callback,
) -> Result<(), StoreError> {
    let sql = "UPDATE batches SET callback_sent_at = $3, callback_status_code = $4, \
                   callback_error = $5 WHERE id = $1 AND organization_id = $2";
    tx.execute(
        sql,
        params![
            id,
            scope.organization,
            callback.sent_at,
            callback.status_code,
            callback.error.as_ref()
        ],
    )
    .await
    .map(drop)
}
