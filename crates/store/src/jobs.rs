//! Background work as rows: leased, retried, never lost with a process.

use mnemic_core::{
    ids::{AgentId, JobId},
    scope::Scope,
    time::Timestamp,
};
use serde_json::Value;

use crate::{Dialect, Row, StoreError, Tx, leases::now_sql, params};

/// A job as a worker gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub scope: Scope,
    /// The agent it works for.
    pub agent_id: Option<AgentId>,
    /// What kind of work.
    pub kind: String,
    /// What to work on.
    pub payload: Value,
    /// How often it was begun, this time included.
    pub attempts: i64,
}

/// Work that is to be done.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The agent it works for.
    pub agent_id: Option<AgentId>,
    /// What kind of work.
    pub kind: String,
    /// What to work on.
    pub payload: Value,
    /// How often it is begun at the most.
    pub max_attempts: i64,
    /// Not before this time.
    pub run_at: Timestamp,
}

/// The condition of the index of jobs that are not over, word for word: SQLite uses the index only then.
const OPEN: &str = "status IN ('created', 'running')";

/// Adds a job.
///
/// # Errors
/// The database's.
pub async fn enqueue(
    tx: &mut Tx<'_>,
    scope: &Scope,
    job: &NewJob,
    now: Timestamp,
) -> Result<JobId, StoreError> {
    let id = JobId::new();
    let sql = "INSERT INTO jobs (id, organization_id, agent_id, subject, kind, status, payload, \
                   attempts, max_attempts, run_at, created_by, created_at) \
               VALUES ($1, $2, $3, $4, $5, 'created', $6, 0, $7, $8, $9, $10)";
    tx.execute(
        sql,
        params![
            id,
            scope.organization,
            job.agent_id,
            scope.subject.as_ref(),
            &job.kind,
            &job.payload,
            job.max_attempts,
            job.run_at,
            scope.actor,
            now
        ],
    )
    .await?;
    Ok(id)
}

/// Takes the job of these kinds that is due longest, for `lease_micros`; one whose worker let its
/// lease run out counts as due. Workers never get the same job twice at once.
///
/// # Errors
/// The database's.
pub async fn claim(
    tx: &mut Tx<'_>,
    owner: &str,
    kinds: &[&str],
    lease_micros: i64,
) -> Result<Option<Job>, StoreError> {
    give_up(tx, kinds).await?;
    let sql = claim_sql(tx.dialect(), &tx.any_of("kind", 3));
    let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    tx.query_opt(&sql, params![owner, lease_micros, kinds])
        .await?
        .map(from_row)
        .transpose()
}

fn claim_sql(dialect: Dialect, of_kinds: &str) -> String {
    let now = now_sql(dialect);
    let skip = match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " FOR UPDATE SKIP LOCKED",
    };
    format!(
        "UPDATE jobs SET status = 'running', attempts = attempts + 1, lease_owner = $1, \
             lease_expires_at = {now} + $2 \
         WHERE id = (SELECT id FROM jobs WHERE {OPEN} AND {of_kinds} AND attempts < max_attempts \
             AND run_at <= {now} AND (status = 'created' \
                 OR (status = 'running' AND lease_expires_at < {now})) \
             ORDER BY run_at LIMIT 1{skip}) \
         RETURNING id, organization_id, created_by, subject, agent_id, kind, payload, attempts"
    )
}

/// Fails the jobs whose last worker died.
async fn give_up(tx: &mut Tx<'_>, kinds: &[&str]) -> Result<(), StoreError> {
    let sql = give_up_sql(tx.dialect(), &tx.any_of("kind", 1));
    let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    tx.execute(&sql, params![kinds]).await.map(drop)
}

fn give_up_sql(dialect: Dialect, of_kinds: &str) -> String {
    let now = now_sql(dialect);
    format!(
        "UPDATE jobs SET status = 'failed', completed_at = {now}, lease_owner = NULL, \
             lease_expires_at = NULL, error = 'its worker died, as those before did' \
         WHERE {OPEN} AND status = 'running' AND lease_expires_at < {now} \
             AND attempts >= max_attempts AND {of_kinds}"
    )
}

fn from_row(mut row: Row) -> Result<Job, StoreError> {
    Ok(Job {
        id: row.parse()?,
        scope: Scope {
            organization: row.parse()?,
            actor: row.parse()?,
            subject: row.opt_text()?,
            caller: None,
            key: None,
        },
        agent_id: row.opt_parse()?,
        kind: row.text()?,
        payload: row.json()?,
        attempts: row.int()?,
    })
}

/// Removes a job that is over, when its result is kept elsewhere.
///
/// # Errors
/// The database's.
pub async fn forget(tx: &mut Tx<'_>, id: JobId) -> Result<(), StoreError> {
    let sql = "DELETE FROM jobs WHERE id = $1 AND status IN ('completed', 'failed')";
    tx.execute(sql, params![id]).await.map(drop)
}

/// What became of a job's attempt.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is done, with a result.
    Completed(Value),
    /// It failed: it is tried again at the time given, as long as attempts are left.
    Failed {
        /// What went wrong.
        error: String,
        /// When to try again.
        retry_at: Timestamp,
    },
}

/// Ends an attempt, which the claimed job's `attempts` numbers. A worker whose lease went to another gets [`StoreError::LeaseLost`], and what it
/// did in the same transaction is rolled back.
///
/// # Errors
/// The lease is another's, or the database's.
pub async fn settle(
    tx: &mut Tx<'_>,
    owner: &str,
    (id, attempt): (JobId, i64),
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), StoreError> {
    let changed = match outcome {
        Outcome::Completed(result) => {
            let sql = "UPDATE jobs SET status = 'completed', result = $3, completed_at = $4, \
                           lease_owner = NULL, lease_expires_at = NULL \
                       WHERE id = $1 AND lease_owner = $2 AND attempts = $5 AND status = 'running'";
            tx.execute(sql, params![id, owner, result, now, attempt])
                .await?
        }
        Outcome::Failed { error, retry_at } => {
            let sql = "UPDATE jobs SET \
                           status = CASE WHEN attempts < max_attempts THEN 'created' ELSE 'failed' END, \
                           completed_at = CASE WHEN attempts < max_attempts THEN NULL ELSE CAST($5 AS BIGINT) END, \
                           error = $3, run_at = $4, lease_owner = NULL, lease_expires_at = NULL \
                       WHERE id = $1 AND lease_owner = $2 AND attempts = $6 AND status = 'running'";
            tx.execute(sql, params![id, owner, error, *retry_at, now, attempt])
                .await?
        }
    };
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::LeaseLost)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn jobs_that_are_over_are_not_looked_through_for_those_that_are_due() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        crate::migrate::sqlite(&mut connection, Path::new("none")).unwrap();
        for sql in [
            claim_sql(Dialect::Sqlite, "kind = $3"),
            give_up_sql(Dialect::Sqlite, "kind = $1"),
        ] {
            let mut statement = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            let mut rows = statement.raw_query();
            let mut plan = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>("detail").unwrap());
            }
            let plan = plan.join("; ");
            assert!(plan.contains("INDEX jobs_due"), "{plan}");
            assert!(
                !plan
                    .replace("SCAN jobs USING INDEX", "")
                    .contains("SCAN jobs"),
                "{plan}"
            );
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
