//! What was used: summed from the rows of runs, steps and memory whenever somebody asks, so that no count can drift from them.

use mnemic_core::{
    ids::{AgentId, ApiKeyId},
    runs::Usage,
    scope::Scope,
    time::Timestamp,
};

use crate::{StoreError, Tx, page::Select, params, runs};

/// Whose use, and when. The end user is that of the scope.
#[derive(Debug, Clone)]
pub struct UsageFilter {
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only what was asked for with this key, or with user tokens that were made with it.
    pub api_key_id: Option<ApiKeyId>,
    /// From this instant on.
    pub from: Timestamp,
    /// Before this one.
    pub to: Timestamp,
}

/// What one step or call took, and of which model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUsage {
    /// Where the model was asked.
    pub endpoint: Option<String>,
    /// The model.
    pub model: String,
    /// Its tokens.
    pub usage: Usage,
}

/// What calls of one model took together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelUse {
    /// Where the model was asked.
    pub endpoint: Option<String>,
    /// The model.
    pub model: String,
    /// How many calls these were.
    pub calls: i64,
    /// Tokens of the largest request. For each of the sizes that were asked for, either all requests are larger or none is.
    pub largest_prompt: i64,
    /// Their tokens.
    pub usage: Usage,
    /// The same as prices count them: no call has more cached and written tokens than its request has, whatever its provider
    /// said.
    pub priced: Usage,
}

/// The indexes of an agent's runs and of a key's.
const OF_RUNS: [&str; 2] = ["runs_by_agent", "runs_by_key_and_time"];

/// Those of calls that are no step of a run.
const OF_CALLS: [&str; 2] = ["model_calls_by_agent", "model_calls_by_key"];

/// By which index SQLite is to find an agent's rows, or those of a key: that of all rows of the time would do as well.
fn by_index(tx: &Tx<'_>, filter: &UsageFilter, [of_agent, of_key]: [&str; 2]) -> String {
    match (filter.agent_id, filter.api_key_id) {
        (Some(_), _) => tx.by_index(of_agent),
        (None, Some(_)) => tx.by_index(of_key),
        (None, None) => String::new(),
    }
}

fn restrict<'a>(select: &mut Select<'a>, scope: &'a Scope, filter: &'a UsageFilter) {
    select.and_bind("r.organization_id = {}", scope.organization);
    select.and_bind("r.created_at >= {}", filter.from);
    select.and_bind("r.created_at < {}", filter.to);
    if let Some(id) = filter.agent_id {
        select.and_bind("r.agent_id = {}", id);
    }
    if let Some(id) = filter.api_key_id {
        select.and_bind("r.api_key_id = {}", id);
    }
    if let Some(subject) = &scope.subject {
        select.and_bind("r.subject = {}", subject);
    }
}

/// How many messages clients sent: requests that were accepted. What agents do by themselves afterwards is none.
///
/// # Errors
/// The database's.
pub async fn messages(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &UsageFilter,
) -> Result<i64, StoreError> {
    let by_index = by_index(tx, filter, OF_RUNS);
    let mut select = Select::new(format!("SELECT COUNT(*) FROM runs r{by_index}"));
    restrict(&mut select, scope, filter);
    // Runs that no client asked for are made of no request.
    select.and("r.body_hash <> ''");
    let rows = select.all(tx, "").await?;
    rows.into_iter().next().map_or(Ok(0), |mut row| row.int())
}

/// What the steps of the runs took that were accepted then, also those of agents by themselves, and the calls beside them:
/// summed up for each model, apart by whether requests were larger than each of `sizes` (tokens).
///
/// # Errors
/// The database's.
pub async fn by_model(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &UsageFilter,
    sizes: &[i64],
) -> Result<Vec<ModelUse>, StoreError> {
    let mut all = Vec::new();
    let runs = by_index(tx, filter, OF_RUNS);
    let calls = by_index(tx, filter, OF_CALLS);
    for (of, from) in [
        ("s", format!("runs r{runs} JOIN steps s ON s.run_id = r.id")),
        ("r", format!("model_calls r{calls}")),
    ] {
        let column = |name: &str| format!("{of}.{name}");
        let (prompt, read) = (column("prompt_tokens"), column("cached_input_tokens"));
        let read_within = lesser(&read, &prompt);
        let written_within = lesser(
            &column("cache_write_tokens"),
            &format!("({prompt} - {read_within})"),
        );
        let sum = |number: String| format!("CAST(SUM({number}) AS BIGINT)");
        let sums = [
            prompt.clone(),
            column("completion_tokens"),
            read,
            column("cache_write_tokens"),
            column("reasoning_tokens"),
            read_within,
            written_within,
        ];
        let mut select = Select::new(format!(
            "SELECT {of}.model_endpoint, {of}.model, COUNT(*), MAX({prompt}), {} FROM {from}",
            sums.map(sum).join(", ")
        ));
        restrict(&mut select, scope, filter);
        let larger = sizes
            .iter()
            .map(|size| format!(", CASE WHEN {prompt} > {size} THEN 1 ELSE 0 END"));
        let tail = format!(
            "GROUP BY {of}.model_endpoint, {of}.model{}",
            larger.collect::<String>()
        );
        for mut row in select.all(tx, &tail).await? {
            let (endpoint, model) = (row.opt_text()?, row.text()?);
            let (calls, largest_prompt) = (row.int()?, row.int()?);
            let usage = runs::usage(&mut row)?;
            all.push(ModelUse {
                endpoint,
                model,
                calls,
                largest_prompt,
                usage,
                priced: Usage {
                    cached_input_tokens: row.int()?,
                    cache_write_tokens: row.int()?,
                    ..usage
                },
            });
        }
    }
    Ok(all)
}

/// The lesser of two numbers in SQL; the engines have different names for it.
fn lesser(a: &str, b: &str) -> String {
    format!("CASE WHEN {a} < {b} THEN {a} ELSE {b} END")
}

/// Notes a call of a model that is no step of a run. It is the end user's while that person has a thread with the agent: a call that
/// ends after the person was forgotten is nobody's.
///
/// # Errors
/// The database's.
pub async fn note_call(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    call: &StepUsage,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO model_calls (organization_id, agent_id, subject, api_key_id, model_endpoint, model, prompt_tokens, \
                   completion_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, created_at) \
               SELECT a.organization_id, a.id, (SELECT MAX(c.subject) FROM conversations c \
                       WHERE c.organization_id = a.organization_id AND c.agent_id = a.id AND c.subject = $3), \
                   $4, $5, $6, $7, $8, $9, $10, $11, $12 \
               FROM agents a WHERE a.organization_id = $1 AND a.id = $2";
    let usage = &call.usage;
    let bound = params![
        scope.organization,
        agent_id,
        scope.subject.as_ref(),
        scope.key,
        call.endpoint.as_ref(),
        call.model.as_str(),
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        now
    ];
    tx.execute(sql, bound).await.map(drop)
}

/// Bytes of the texts that are stored now: messages, passages and blocks, of an agent or of all, of one person or of everybody.
///
/// # Errors
/// The database's.
pub async fn stored_bytes(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: Option<AgentId>,
) -> Result<i64, StoreError> {
    let agent = "agent_id = {}";
    let in_archives =
        "t.archive_id IN (SELECT x.archive_id FROM agents_archives x WHERE x.agent_id = {})";
    let on_agent = "t.id IN (SELECT ab.block_id FROM agents_blocks ab WHERE ab.agent_id = {} UNION \
         SELECT cb.block_id FROM conversations_blocks cb \
             JOIN conversations c ON c.id = cb.conversation_id WHERE c.agent_id = {})";
    let kinds = [
        ("messages", "body", agent),
        ("passages", "text", in_archives),
        ("blocks", "value", on_agent),
    ];
    let mut bytes = 0_i64;
    for (table, column, of_agent) in kinds {
        let mut select = Select::new(format!(
            "SELECT CAST(COALESCE(SUM(OCTET_LENGTH(t.{column})), 0) AS BIGINT) FROM {table} t"
        ));
        select.and_bind("t.organization_id = {}", scope.organization);
        if let Some(id) = agent_id {
            let n = select.bind(id);
            select.and(of_agent.replace("{}", &format!("${n}")));
        }
        if let Some(subject) = &scope.subject {
            select.and_bind("t.subject = {}", subject);
        }
        for mut row in select.all(tx, "").await? {
            bytes = bytes.saturating_add(row.int()?);
        }
    }
    Ok(bytes)
}
