//! Steps and the tool calls of steps that wait for effects outside of this database.

use mnemic_core::{
    ids::{AgentId, RunId, StepId},
    messages::{MessageBody, ToolCall, ToolReturn},
    runs::{Step, StepStatus, StopReason},
    scope::Scope,
};

use crate::{
    Param, Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
    runs::{OpenRun, open_from_row, usage},
};

const COLUMNS: &str = "s.id, s.run_id, s.agent_id, s.position, s.status, s.stop_reason, \
     s.provider_name, s.model, s.model_handle, s.model_endpoint, s.context_window_limit, \
     s.prompt_tokens, s.completion_tokens, s.cached_input_tokens, s.cache_write_tokens, \
     s.reasoning_tokens, s.error, s.feedback, s.transaction_id, s.llm_request_ns, s.created_at, s.completed_at";

fn from_row(mut row: Row) -> Result<Step, StoreError> {
    Ok(Step {
        id: row.parse()?,
        run_id: row.parse()?,
        agent_id: row.parse()?,
        position: row.int()?,
        status: row.named(StepStatus::parse)?,
        stop_reason: row.opt_text()?.as_deref().and_then(StopReason::parse),
        provider_name: row.text()?,
        model: row.text()?,
        model_handle: row.text()?,
        model_endpoint: row.opt_text()?,
        context_window_limit: row.int()?,
        usage: usage(&mut row)?,
        error: row.opt_json()?,
        feedback: row.opt_text()?,
        transaction_id: row.opt_text()?,
        llm_request_ns: row.opt_int()?,
        created_at: row.time()?,
        completed_at: row.opt_time()?,
    })
}

/// Stores a step: closed, or pending with the model's answer while its tools run.
///
/// # Errors
/// The database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    step: &Step,
    answer: Option<&MessageBody>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO steps (id, organization_id, run_id, agent_id, subject, position, status, \
                   stop_reason, provider_name, model, model_handle, model_endpoint, \
                   context_window_limit, prompt_tokens, completion_tokens, cached_input_tokens, \
                   cache_write_tokens, reasoning_tokens, answer, error, llm_request_ns, created_at, \
                   completed_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
                   $18, $19, $20, $21, $22, $23)";
    let answer = answer.map(serde_json::to_string).transpose()?;
    let error = step.error.as_ref().map(serde_json::to_string).transpose()?;
    tx.execute(
        sql,
        params![
            step.id,
            scope.organization,
            step.run_id,
            step.agent_id,
            scope.subject.as_ref(),
            step.position,
            step.status.as_str(),
            step.stop_reason.map(StopReason::as_str),
            &step.provider_name,
            &step.model,
            &step.model_handle,
            step.model_endpoint.as_ref(),
            step.context_window_limit,
            step.usage.prompt_tokens,
            step.usage.completion_tokens,
            step.usage.cached_input_tokens,
            step.usage.cache_write_tokens,
            step.usage.reasoning_tokens,
            answer,
            error,
            step.llm_request_ns,
            step.created_at,
            step.completed_at
        ],
    )
    .await?;
    Ok(())
}

/// Closes a pending step.
///
/// # Errors
/// It is not pending (somebody else closed it), or the database's.
pub async fn close(tx: &mut Tx<'_>, step: &Step) -> Result<(), StoreError> {
    let error = step.error.as_ref().map(serde_json::to_string).transpose()?;
    let sql = "UPDATE steps SET status = $2, stop_reason = $3, error = $4, completed_at = $5, \
                   answer = NULL \
               WHERE id = $1 AND status = 'pending'";
    let params = params![
        step.id,
        step.status.as_str(),
        step.stop_reason.map(StopReason::as_str),
        error,
        step.completed_at
    ];
    if tx.execute(sql, params).await? == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict(format!(
            "step {} is closed already",
            step.id
        )))
    }
}

/// A step whose tools were running when its process died.
#[derive(Debug, Clone)]
pub struct PendingStep {
    /// The step.
    pub step: Step,
    /// The model's answer.
    pub answer: MessageBody,
    /// Its calls, each with its return where one was committed.
    pub calls: Vec<(ToolCall, Option<ToolReturn>)>,
}

/// The pending step of a run, if there is one.
///
/// # Errors
/// The database's.
pub async fn pending(
    tx: &mut Tx<'_>,
    scope: &Scope,
    run_id: RunId,
) -> Result<Option<PendingStep>, StoreError> {
    let sql = format!(
        "SELECT s.answer, {COLUMNS} FROM steps s \
         WHERE s.run_id = $1 AND s.organization_id = $2 AND s.status = 'pending'"
    );
    let Some(mut row) = tx
        .query_opt(&sql, params![run_id, scope.organization])
        .await?
    else {
        return Ok(None);
    };
    let answer = row.opt_json()?.unwrap_or_default();
    let step = from_row(row)?;
    Ok(Some(PendingStep {
        calls: calls(tx, step.id).await?,
        step,
        answer,
    }))
}

/// The calls of a step that were noted before they began, each with its return if it has one.
///
/// # Errors
/// The database's.
pub async fn calls(
    tx: &mut Tx<'_>,
    step_id: StepId,
) -> Result<Vec<(ToolCall, Option<ToolReturn>)>, StoreError> {
    let sql = "SELECT tool_call_id, name, arguments, result FROM tool_calls \
               WHERE step_id = $1 ORDER BY position";
    let mut calls = Vec::new();
    for mut row in tx.query(sql, params![step_id]).await? {
        let call = ToolCall {
            id: row.text()?,
            name: row.text()?,
            arguments: row.text()?,
        };
        calls.push((call, row.opt_json()?));
    }
    Ok(calls)
}

/// Notes that calls are about to start: from here on none of them is ever run again.
///
/// # Errors
/// The database's.
pub async fn start_calls(
    tx: &mut Tx<'_>,
    step_id: StepId,
    calls: &[ToolCall],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(calls.len());
    for (position, call) in (0i64..).zip(calls) {
        rows.push(vec![
            Param::from(step_id),
            Param::from(&call.id),
            Param::Int(position),
            Param::from(&call.name),
            Param::from(&call.arguments),
            Param::from("started"),
        ]);
    }
    let columns = [
        "step_id",
        "tool_call_id",
        "position",
        "name",
        "arguments",
        "status",
    ];
    tx.insert_rows("tool_calls", &columns, rows).await
}

/// Forgets what was noted of a step's calls, once their returns stand elsewhere.
///
/// # Errors
/// The database's.
pub async fn forget_calls(tx: &mut Tx<'_>, step_id: StepId) -> Result<(), StoreError> {
    let sql = "DELETE FROM tool_calls WHERE step_id = $1";
    tx.execute(sql, params![step_id]).await.map(drop)
}

/// Notes what a started call returned.
///
/// # Errors
/// It has a return already or never started, or the database's.
pub async fn return_call(
    tx: &mut Tx<'_>,
    step_id: StepId,
    result: &ToolReturn,
) -> Result<(), StoreError> {
    let sql = "UPDATE tool_calls SET status = 'returned', result = $3 \
               WHERE step_id = $1 AND tool_call_id = $2 AND status = 'started'";
    let text = serde_json::to_string(result)?;
    if tx
        .execute(sql, params![step_id, &result.tool_call_id, text])
        .await?
        == 1
    {
        Ok(())
    } else {
        Err(StoreError::Conflict(format!(
            "call {} has a return already",
            result.tool_call_id
        )))
    }
}

/// Runs that are over but left a pending step: their process died between cancel and close.
///
/// # Errors
/// The database's.
pub async fn runs_with_orphans(tx: &mut Tx<'_>) -> Result<Vec<OpenRun>, StoreError> {
    let sql = "SELECT r.id, r.organization_id, r.created_by, r.subject, r.api_key_id, r.agent_id, \
                   r.conversation_id, r.status, r.owner \
               FROM steps s JOIN runs r ON r.id = s.run_id \
               WHERE s.status = 'pending' AND r.status NOT IN ('created', 'running')";
    tx.query(sql, &[])
        .await?
        .into_iter()
        .map(open_from_row)
        .collect()
}

/// The run whose calls got their returns in another run, which took the answers that they waited for.
///
/// # Errors
/// The database's.
pub async fn answered_by(tx: &mut Tx<'_>, run_id: RunId) -> Result<Option<RunId>, StoreError> {
    let sql = "SELECT s.run_id FROM messages m JOIN steps s ON s.id = m.step_id \
               WHERE m.run_id = $1 AND s.run_id <> $1 LIMIT 1";
    let row = tx.query_opt(sql, params![run_id]).await?;
    row.map(|mut row| row.parse()).transpose()
}

/// A step by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: StepId) -> Result<Step, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM steps s WHERE s.id = $1 AND s.organization_id = $2 \
           AND ($3 = '' OR s.subject = $3)"
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.query_opt(&sql, params![id, scope.organization, subject])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Step", id)), from_row)
}

/// Which steps a list shows.
#[derive(Debug, Clone, Default)]
pub struct StepFilter {
    /// Only this run's.
    pub run_id: Option<RunId>,
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only those of this model.
    pub model: Option<String>,
    /// Only those judged so.
    pub feedback: Option<String>,
    /// Only those that were judged, or only others.
    pub has_feedback: Option<bool>,
    /// Not before this time.
    pub start: Option<mnemic_core::time::Timestamp>,
    /// Not after this time.
    pub end: Option<mnemic_core::time::Timestamp>,
}

/// A page of steps by the time they began.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &StepFilter,
    page: &Page,
) -> Result<Vec<Step>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM steps s"));
    select.and_bind("s.organization_id = {}", scope.organization);
    if let Some(subject) = &scope.subject {
        select.and_bind("s.subject = {}", subject);
    }
    if let Some(id) = filter.run_id {
        select.and_bind("s.run_id = {}", id);
    }
    if let Some(id) = filter.agent_id {
        select.and_bind("s.agent_id = {}", id);
    }
    if let Some(model) = &filter.model {
        select.and_bind("s.model = {}", model);
    }
    if let Some(feedback) = &filter.feedback {
        select.and_bind("s.feedback = {}", feedback);
    }
    match filter.has_feedback {
        Some(true) => _ = select.and("s.feedback IS NOT NULL"),
        Some(false) => _ = select.and("s.feedback IS NULL"),
        None => {}
    }
    if let Some(start) = filter.start {
        select.and_bind("s.created_at >= {}", start);
    }
    if let Some(end) = filter.end {
        select.and_bind("s.created_at <= {}", end);
    }
    let cursor = "SELECT seq, id FROM steps WHERE id = $1";
    let keys = Keys {
        key: "s.seq",
        id: "s.id",
        cursor,
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Step"))
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Notes somebody's judgement of a step, or takes it back.
///
/// # Errors
/// There is no such step, or the database's.
pub async fn set_feedback(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: StepId,
    feedback: Option<&str>,
) -> Result<Step, StoreError> {
    get(tx, scope, id).await?;
    tx.execute(
        "UPDATE steps SET feedback = $2 WHERE id = $1",
        params![id, feedback],
    )
    .await?;
    get(tx, scope, id).await
}

/// Notes a client's own name for a step, in place of the one that it had.
///
/// # Errors
/// There is no such step, or the database's.
pub async fn set_transaction_id(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: StepId,
    transaction_id: &str,
) -> Result<Step, StoreError> {
    get(tx, scope, id).await?;
    tx.execute(
        "UPDATE steps SET transaction_id = $2 WHERE id = $1",
        params![id, transaction_id],
    )
    .await?;
    get(tx, scope, id).await
}
