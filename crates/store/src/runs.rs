//! Runs: accepted requests, from acceptance to their one terminal state.

use mnemic_core::{
    ids::{AgentId, ConversationId, RunId},
    runs::{Callback, Run, RunError, RunStatus, StopReason, Usage},
    scope::Scope,
    time::Timestamp,
};
use serde_json::Value;

use crate::{
    Row, StoreError, Tx, callbacks,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "r.id, r.agent_id, r.conversation_id, c.is_default, r.subject, r.status, \
     r.stop_reason, r.error, r.background, r.input, r.metadata, r.request_config, r.resumes, \
     r.prompt_tokens, r.completion_tokens, r.cached_input_tokens, r.cache_write_tokens, \
     r.reasoning_tokens, r.step_count, r.ttft_ns, r.total_duration_ns, r.callback_url, \
     r.callback_sent_at, r.callback_status_code, r.callback_error, r.created_at, r.completed_at, \
     r.follow_ups";

const JOINED: &str = "JOIN conversations c ON c.id = r.conversation_id";

fn from_row(mut row: Row) -> Result<Run, StoreError> {
    Ok(Run {
        id: row.parse()?,
        agent_id: row.parse()?,
        conversation_id: row.parse()?,
        in_default_conversation: row.bool()?,
        subject: row.opt_text()?,
        status: row.named(RunStatus::parse)?,
        stop_reason: row.opt_text()?.as_deref().and_then(StopReason::parse),
        error: row.opt_json()?,
        background: row.bool()?,
        input: row.json()?,
        metadata: row.json()?,
        request_config: row.json()?,
        resumes: row.int()?,
        usage: usage(&mut row)?,
        step_count: row.int()?,
        ttft_ns: row.opt_int()?,
        total_duration_ns: row.opt_int()?,
        callback_url: row.opt_text()?,
        callback: Callback {
            sent_at: row.opt_time()?,
            status_code: row.opt_int()?,
            error: row.opt_text()?,
        },
        created_at: row.time()?,
        completed_at: row.opt_time()?,
        follow_ups: row.opt_json()?.unwrap_or_default(),
    })
}

pub(crate) fn usage(row: &mut Row) -> Result<Usage, StoreError> {
    Ok(Usage {
        prompt_tokens: row.int()?,
        completion_tokens: row.int()?,
        cached_input_tokens: row.int()?,
        cache_write_tokens: row.int()?,
        reasoning_tokens: row.int()?,
    })
}

/// A run at its acceptance.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// The agent.
    pub agent_id: AgentId,
    /// The thread.
    pub conversation_id: ConversationId,
    /// `Running` when it holds the conversation already, `Created` when it waits.
    pub status: RunStatus,
    /// The process whose task it is.
    pub owner: String,
    /// Whether its events are kept as they happen.
    pub background: bool,
    /// The whole accepted request as JSON.
    pub input: String,
    /// SHA-256 of the request.
    pub body_hash: String,
    /// What the API shows as metadata.
    pub metadata: Value,
    /// What the API shows as request_config.
    pub request_config: Value,
    /// Where to post its end.
    pub callback_url: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// Stores an accepted run.
///
/// # Errors
/// The database's.
pub async fn insert(tx: &mut Tx<'_>, scope: &Scope, run: &NewRun) -> Result<(), StoreError> {
    let sql = "INSERT INTO runs (id, organization_id, agent_id, conversation_id, subject, status, \
                   background, input, body_hash, metadata, request_config, resumes, prompt_tokens, \
                   completion_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, \
                   step_count, callback_url, created_by, created_at, owner, api_key_id) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0, 0, 0, 0, 0, $12, $13, \
                   $14, $15, $16)";
    tx.execute(
        sql,
        params![
            run.id,
            scope.organization,
            run.agent_id,
            run.conversation_id,
            scope.subject.as_ref(),
            run.status.as_str(),
            run.background,
            run.input.as_str(),
            &run.body_hash,
            &run.metadata,
            &run.request_config,
            run.callback_url.as_ref(),
            scope.actor,
            run.created_at,
            &run.owner,
            scope.key
        ],
    )
    .await?;
    Ok(())
}

/// A run by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: RunId) -> Result<Run, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM runs r {JOINED} WHERE r.id = $1 AND r.organization_id = $2 \
           AND ($3 = '' OR r.subject = $3)"
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.query_opt(&sql, params![id, scope.organization, subject])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Run", id)), from_row)
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only this run.
    pub run_id: Option<RunId>,
    /// Only these agents'; empty is all.
    pub agent_ids: Vec<AgentId>,
    /// Only this thread's.
    pub conversation_id: Option<ConversationId>,
    /// Only those that stand at one of these; empty is all.
    pub statuses: Vec<RunStatus>,
    /// Only those that ended for this reason.
    pub stop_reason: Option<StopReason>,
    /// Only background runs, or only others.
    pub background: Option<bool>,
}

impl RunFilter {
    /// Whether it shows only runs that are not over.
    fn is_of_open(&self) -> bool {
        !self.statuses.is_empty() && !self.statuses.iter().any(|status| status.is_terminal())
    }

    /// By which index SQLite is to find the runs: that of all runs of the organization gives the same order, and would be
    /// taken otherwise.
    fn index(&self) -> Option<&'static str> {
        if self.run_id.is_some() {
            None
        } else if self.is_of_open() {
            Some(OPEN_INDEX)
        } else if self.conversation_id.is_some() {
            Some("runs_by_conversation")
        } else if !self.agent_ids.is_empty() {
            Some("runs_by_agent")
        } else {
            None
        }
    }
}

/// A page of runs in the order of their times.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &RunFilter,
    page: &Page,
) -> Result<Vec<Run>, StoreError> {
    let by_index = filter.index().map(|index| tx.by_index(index));
    let mut select = Select::new(format!(
        "SELECT {COLUMNS} FROM runs r{} {JOINED}",
        by_index.unwrap_or_default()
    ));
    if filter.is_of_open() {
        select.and("r.status IN ('created', 'running')");
    }
    select.and_bind("r.organization_id = {}", scope.organization);
    if let Some(subject) = &scope.subject {
        select.and_bind("r.subject = {}", subject);
    }
    match filter.agent_ids.as_slice() {
        [] => {}
        // Equality, unlike a list, lets the agent's index give the order as well.
        [one] => _ = select.and_bind("r.agent_id = {}", *one),
        several => {
            let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
            let n = select.bind(ids);
            select.and(tx.any_of("r.agent_id", n));
        }
    }
    if let Some(id) = filter.conversation_id {
        select.and_bind("r.conversation_id = {}", id);
    }
    if let Some(id) = filter.run_id {
        select.and_bind("r.id = {}", id);
    }
    if !filter.statuses.is_empty() {
        let names: Vec<String> = filter
            .statuses
            .iter()
            .map(|status| status.as_str().to_owned())
            .collect();
        let n = select.bind(names);
        select.and(tx.any_of("r.status", n));
    }
    if let Some(reason) = filter.stop_reason {
        select.and_bind("r.stop_reason = {}", reason.as_str());
    }
    if let Some(background) = filter.background {
        select.and_bind("r.background = {}", background);
    }
    let keys = Keys {
        key: "r.created_at",
        id: "r.seq",
        cursor: "SELECT created_at, seq FROM runs WHERE id = $1",
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Run"))
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// The index of the runs that are not over. That of all runs of a conversation grows with each turn.
pub(crate) const OPEN_INDEX: &str = "runs_open";

/// A run that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// The run.
    pub id: RunId,
    /// Whose it is.
    pub scope: Scope,
    /// The agent.
    pub agent_id: AgentId,
    /// The thread.
    pub conversation_id: ConversationId,
    /// Whether it runs or waits.
    pub status: RunStatus,
    /// The process whose task it is.
    pub owner: String,
}

/// The runs that are not over, in the order of their acceptance: all of them (for recovery, across
/// organizations), or those of one conversation.
///
/// # Errors
/// The database's.
pub async fn open(
    tx: &mut Tx<'_>,
    conversation_id: Option<ConversationId>,
) -> Result<Vec<OpenRun>, StoreError> {
    let mut select = Select::new(format!(
        "SELECT id, organization_id, created_by, subject, api_key_id, agent_id, conversation_id, status, owner \
         FROM runs{}",
        tx.by_index(OPEN_INDEX)
    ));
    select.and("status IN ('created', 'running')");
    if let Some(id) = conversation_id {
        select.and_bind("conversation_id = {}", id);
    }
    let tail = format!("ORDER BY {}", tx.unindexed("seq"));
    select
        .all(tx, &tail)
        .await?
        .into_iter()
        .map(open_from_row)
        .collect()
}

pub(crate) fn open_from_row(mut row: Row) -> Result<OpenRun, StoreError> {
    Ok(OpenRun {
        id: row.parse()?,
        scope: Scope {
            organization: row.parse()?,
            actor: row.parse()?,
            subject: row.opt_text()?,
            caller: None,
            key: row.opt_parse()?,
        },
        agent_id: row.parse()?,
        conversation_id: row.parse()?,
        status: row.named(RunStatus::parse)?,
        owner: row.text()?,
    })
}

/// Whether an earlier run of the conversation is still not over.
///
/// # Errors
/// The database's.
pub async fn has_earlier_open(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    id: RunId,
) -> Result<bool, StoreError> {
    let by_index = tx.by_index(OPEN_INDEX);
    let sql = format!(
        "SELECT COUNT(*) FROM runs{by_index} WHERE conversation_id = $1 \
         AND status IN ('created', 'running') AND seq < (SELECT seq FROM runs WHERE id = $2)"
    );
    Ok(tx
        .query_one(&sql, params![conversation_id, id])
        .await?
        .int()?
        > 0)
}

/// Whether there is a run of that id.
///
/// # Errors
/// The database's.
pub async fn exists(tx: &mut Tx<'_>, id: RunId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM runs WHERE id = $1";
    Ok(tx.query_opt(sql, params![id]).await?.is_some())
}

/// Whether a run is not over.
///
/// # Errors
/// The database's.
pub async fn is_open(tx: &mut Tx<'_>, id: RunId) -> Result<bool, StoreError> {
    let sql = "SELECT COUNT(*) FROM runs WHERE id = $1 AND status IN ('created', 'running')";
    Ok(tx.query_one(sql, params![id]).await?.int()? == 1)
}

/// Notes on an agent and its thread how their last run ended.
///
/// # Errors
/// The database's.
pub async fn note_end(
    tx: &mut Tx<'_>,
    (agent_id, conversation_id): (AgentId, ConversationId),
    stop_reason: StopReason,
    completed_at: Timestamp,
    duration_ms: i64,
) -> Result<(), StoreError> {
    let (mut agents_tx, mut conversations_tx) = (*tx, *tx);
    let sql = "UPDATE agents SET last_run_completion = $2, last_run_duration_ms = $3, \
                   last_stop_reason = $4 WHERE id = $1";
    let end = params![agent_id, completed_at, duration_ms, stop_reason.as_str()];
    let agent = agents_tx.execute(sql, end);
    let sql = "UPDATE conversations SET last_run_completion = $2 WHERE id = $1";
    let end = params![conversation_id, completed_at];
    let conversation = conversations_tx.execute(sql, end);
    tokio::try_join!(agent, conversation).map(drop)
}

/// Moves a waiting run to `running`. `false` when it is over already (cancelled while it waited).
///
/// # Errors
/// The database's.
pub async fn start(tx: &mut Tx<'_>, id: RunId) -> Result<bool, StoreError> {
    let sql =
        "UPDATE runs SET status = 'running' WHERE id = $1 AND status IN ('created', 'running')";
    Ok(tx.execute(sql, params![id]).await? == 1)
}

/// Makes the run of a dead process one of ours. `false` when another was faster, or it is over.
///
/// # Errors
/// The database's.
pub async fn adopt(tx: &mut Tx<'_>, id: RunId, from: &str, to: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE runs SET owner = $3 WHERE id = $1 AND owner = $2";
    Ok(tx.execute(sql, params![id, from, to]).await? == 1)
}

/// Cancels a run by compare-and-set: `false` when it is over already.
///
/// # Errors
/// The database's.
pub async fn cancel(tx: &mut Tx<'_>, id: RunId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE runs SET status = 'cancelled', stop_reason = 'cancelled', completed_at = $2, \
                   total_duration_ns = ($2 - created_at) * 1000 \
               WHERE id = $1 AND status IN ('created', 'running') RETURNING callback_url";
    let Some(mut row) = tx.query_opt(sql, params![id, now]).await? else {
        return Ok(false);
    };
    if row.opt_text()?.is_some() {
        callbacks::queue(tx, id, now).await?;
    }
    Ok(true)
}

/// Makes a run that ended with calls for somebody else to answer one that was cancelled.
///
/// # Errors
/// The database's.
pub async fn cancel_waiting(tx: &mut Tx<'_>, id: RunId) -> Result<(), StoreError> {
    let sql = "UPDATE runs SET status = 'cancelled', stop_reason = 'cancelled' \
               WHERE id = $1 AND status = 'completed' AND stop_reason = 'requires_approval'";
    tx.execute(sql, params![id]).await.map(drop)
}

/// Which of these runs are cancelled, or gone: those of somebody who was forgotten.
///
/// # Errors
/// The database's.
pub async fn cancelled_among(tx: &mut Tx<'_>, ids: Vec<String>) -> Result<Vec<RunId>, StoreError> {
    let sql = format!(
        "SELECT id FROM runs WHERE status <> 'cancelled' AND {}",
        tx.any_of("id", 1)
    );
    let rows = tx.query(&sql, params![ids.clone()]).await?;
    let going: Result<Vec<String>, _> = rows.into_iter().map(|mut row| row.text()).collect();
    let going = going?;
    let over = ids.iter().filter(|id| !going.contains(id));
    over.map(|id| {
        id.parse()
            .map_err(|_| StoreError::Corrupt(format!("'{id}' is no run")))
    })
    .collect()
}

/// Notes that a crash made the run start again; returns how often that happened.
///
/// # Errors
/// The run is gone, or the database's.
pub async fn count_resume(tx: &mut Tx<'_>, id: RunId) -> Result<i64, StoreError> {
    let sql = "UPDATE runs SET resumes = resumes + 1 WHERE id = $1 RETURNING resumes";
    tx.query_opt(sql, params![id])
        .await?
        .ok_or_else(|| StoreError::not_found("Run", id))?
        .int()
}

/// What a run has taken so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tokens of its steps.
    pub usage: Usage,
    /// How many steps.
    pub step_count: i64,
    /// Nanoseconds to the first token.
    pub ttft_ns: Option<i64>,
}

/// Notes a run's progress at the end of a step after which it goes on.
///
/// # Errors
/// The database's.
pub async fn progress(tx: &mut Tx<'_>, id: RunId, progress: &Progress) -> Result<(), StoreError> {
    let usage = &progress.usage;
    let sql = "UPDATE runs SET prompt_tokens = $2, completion_tokens = $3, cached_input_tokens = $4, \
                   cache_write_tokens = $5, reasoning_tokens = $6, step_count = $7, ttft_ns = $8 \
               WHERE id = $1";
    tx.execute(
        sql,
        params![
            id,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            progress.step_count,
            progress.ttft_ns
        ],
    )
    .await?;
    Ok(())
}

/// How a run ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Why; the status follows from it.
    pub stop_reason: StopReason,
    /// The error, for failed runs.
    pub error: Option<RunError>,
    /// What it took.
    pub progress: Progress,
    /// When.
    pub completed_at: Timestamp,
}

/// Ends a run by compare-and-set: `false` when it is over already, so that of cancel and finish only
/// one wins. What the run took is noted either way.
///
/// # Errors
/// The database's.
pub async fn finish(tx: &mut Tx<'_>, id: RunId, ending: &Ending) -> Result<bool, StoreError> {
    let usage = &ending.progress.usage;
    let error = ending
        .error
        .as_ref()
        .map(serde_json::to_string)
        .transpose()?;
    let sql = "UPDATE runs SET status = $2, stop_reason = $3, error = $4, completed_at = $5, \
                   total_duration_ns = ($5 - created_at) * 1000, prompt_tokens = $6, \
                   completion_tokens = $7, cached_input_tokens = $8, cache_write_tokens = $9, \
                   reasoning_tokens = $10, step_count = $11, ttft_ns = $12 \
               WHERE id = $1 AND status IN ('created', 'running') RETURNING callback_url";
    let ended = tx
        .query_opt(
            sql,
            params![
                id,
                ending.stop_reason.run_status().as_str(),
                ending.stop_reason.as_str(),
                error,
                ending.completed_at,
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_input_tokens,
                usage.cache_write_tokens,
                usage.reasoning_tokens,
                ending.progress.step_count,
                ending.progress.ttft_ns
            ],
        )
        .await?;
    let Some(mut row) = ended else {
        progress(tx, id, &ending.progress).await?;
        return Ok(false);
    };
    if row.opt_text()?.is_some() {
        callbacks::queue(tx, id, ending.completed_at).await?;
    }
    Ok(true)
}

/// Notes which runs the end of a run began.
///
/// # Errors
/// The database's.
pub async fn note_follow_ups(
    tx: &mut Tx<'_>,
    id: RunId,
    follow_ups: &[RunId],
) -> Result<(), StoreError> {
    let sql = "UPDATE runs SET follow_ups = $2 WHERE id = $1";
    tx.execute(sql, params![id, serde_json::to_string(follow_ups)?])
        .await
        .map(drop)
}

/// The newest run with the same request that was accepted since a time and did not fail, among the
/// conversation's last thousand.
///
/// # Errors
/// The database's.
pub async fn same_request(
    tx: &mut Tx<'_>,
    scope: &Scope,
    conversation_id: ConversationId,
    body_hash: &str,
    since: Timestamp,
) -> Result<Option<RunId>, StoreError> {
    let sql = "SELECT r.id FROM (SELECT * FROM runs WHERE conversation_id = $1 \
                   ORDER BY created_at DESC, seq DESC LIMIT 1000) r \
               WHERE r.organization_id = $2 AND r.body_hash = $3 AND r.status <> 'failed' \
                   AND r.created_at >= $4 ORDER BY r.created_at DESC, r.seq DESC LIMIT 1";
    let given = params![conversation_id, scope.organization, body_hash, since];
    let row = tx.query_opt(sql, given).await?;
    row.map(|mut row| row.parse()).transpose()
}

/// Removes a run and its steps and events; its messages stay.
///
/// # Errors
/// There is none, it is not over yet, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: RunId) -> Result<(), StoreError> {
    if !get(tx, scope, id).await?.status.is_terminal() {
        return Err(StoreError::Conflict(format!(
            "run {id} is not over: cancel it first"
        )));
    }
    tx.execute("DELETE FROM runs WHERE id = $1", params![id])
        .await?;
    Ok(())
}
