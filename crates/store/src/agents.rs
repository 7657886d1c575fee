//! Agents. Whatever a prompt or request shows of an agent moves its `revision`.

mod listing;
mod relations;

use std::collections::HashMap;

use mnemic_core::{
    agents::{Agent, AgentLabels, AgentType, People},
    ids::AgentId,
    scope::Scope,
    time::Timestamp,
};

pub use self::{
    listing::{AgentFilter, AgentOrder, count, list},
    relations::{set_folders, set_tags, tags, tags_of},
};
use crate::{
    Param, Row, StoreError, Tx,
    embed_scopes::{self, ScopeKind},
    params,
};

const COLUMNS: &str = "a.id, a.name, a.agent_type, a.system_prompt, a.description, a.metadata, \
     a.llm_config, a.embedding_config, a.model_settings, a.compaction_settings, a.response_format, \
     a.tool_rules, a.timezone, a.message_buffer_autoclear, a.enable_sleeptime, a.hidden, \
     a.max_files_open, a.per_file_view_window_char_limit, \
     a.require_user, a.open_to_users, a.project_id, a.template_id, \
     a.base_template_id, a.deployment_id, a.entity_id, a.revision, a.last_run_completion, \
     a.last_run_duration_ms, a.last_stop_reason, a.created_by, a.updated_by, a.created_at, \
     a.updated_at";

fn from_row(mut row: Row) -> Result<Agent, StoreError> {
    Ok(Agent {
        id: row.parse()?,
        name: row.text()?,
        agent_type: row.named(AgentType::parse)?,
        system: row.text()?,
        description: row.opt_text()?,
        metadata: row.opt_json()?,
        llm_config: row.json()?,
        embedding_config: row.opt_json()?,
        model_settings: row.opt_json()?,
        compaction_settings: row.opt_json()?,
        response_format: row.opt_json()?,
        tool_rules: row.json()?,
        timezone: row.text()?,
        message_buffer_autoclear: row.bool()?,
        enable_sleeptime: row.opt_bool()?,
        hidden: row.opt_bool()?,
        max_files_open: row.opt_int()?,
        per_file_view_window_char_limit: row.opt_int()?,
        people: People {
            require_user: row.bool()?,
            open_to_users: row.opt_json()?.unwrap_or_default(),
        },
        labels: AgentLabels {
            project_id: row.opt_text()?,
            template_id: row.opt_text()?,
            base_template_id: row.opt_text()?,
            deployment_id: row.opt_text()?,
            entity_id: row.opt_text()?,
        },
        revision: row.int()?,
        last_run_completion: row.opt_time()?,
        last_run_duration_ms: row.opt_int()?,
        last_stop_reason: row.opt_text()?,
        created_by: row.opt_parse()?,
        updated_by: row.opt_parse()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

type Column<'a> = (&'static str, Param<'a>);

/// The columns that creation and modification write, with their values.
fn written(agent: &Agent) -> Result<Vec<Column<'_>>, StoreError> {
    let mut columns = model_columns(agent)?;
    let metadata = agent
        .metadata
        .as_ref()
        .map(serde_json::to_string)
        .transpose()?;
    let rules = serde_json::to_string(&agent.tool_rules)?;
    let open = &agent.people.open_to_users;
    let open = (!open.is_empty()).then(|| serde_json::to_string(open));
    let open = open.transpose()?;
    columns.extend([
        ("name", Param::from(&agent.name)),
        ("agent_type", agent.agent_type.as_str().into()),
        ("system_prompt", Param::from(&agent.system)),
        ("description", agent.description.as_ref().into()),
        ("metadata", metadata.into()),
        ("tool_rules", rules.into()),
        ("timezone", Param::from(&agent.timezone)),
        (
            "message_buffer_autoclear",
            agent.message_buffer_autoclear.into(),
        ),
        ("enable_sleeptime", agent.enable_sleeptime.into()),
        ("hidden", agent.hidden.into()),
        ("max_files_open", agent.max_files_open.into()),
        (
            "per_file_view_window_char_limit",
            agent.per_file_view_window_char_limit.into(),
        ),
        ("require_user", agent.people.require_user.into()),
        ("open_to_users", open.into()),
        ("project_id", agent.labels.project_id.as_ref().into()),
        ("template_id", agent.labels.template_id.as_ref().into()),
        (
            "base_template_id",
            agent.labels.base_template_id.as_ref().into(),
        ),
        ("deployment_id", agent.labels.deployment_id.as_ref().into()),
        ("entity_id", agent.labels.entity_id.as_ref().into()),
        ("last_run_completion", agent.last_run_completion.into()),
        ("last_run_duration_ms", agent.last_run_duration_ms.into()),
        ("last_stop_reason", agent.last_stop_reason.as_ref().into()),
        ("updated_at", agent.updated_at.into()),
    ]);
    Ok(columns)
}

fn model_columns(agent: &Agent) -> Result<Vec<Column<'_>>, StoreError> {
    let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    Ok(vec![
        (
            "llm_config",
            serde_json::to_string(&agent.llm_config)?.into(),
        ),
        ("embedding_config", json(&agent.embedding_config).into()),
        ("model_settings", json(&agent.model_settings).into()),
        (
            "compaction_settings",
            json(&agent.compaction_settings).into(),
        ),
        ("response_format", json(&agent.response_format).into()),
    ])
}

/// Stores a new agent.
///
/// # Errors
/// The database's.
pub async fn insert(tx: &mut Tx<'_>, scope: &Scope, agent: &Agent) -> Result<(), StoreError> {
    let mut columns = vec![
        "id",
        "organization_id",
        "revision",
        "created_by",
        "updated_by",
        "created_at",
    ];
    let mut row = vec![
        Param::from(agent.id),
        Param::from(scope.organization),
        Param::from(agent.revision),
        Param::from(scope.actor),
        Param::from(scope.actor),
        Param::from(agent.created_at),
    ];
    for (column, value) in written(agent)? {
        columns.push(column);
        row.push(value);
    }
    tx.insert_rows("agents", &columns, vec![row]).await
}

/// Writes a changed agent back. Its revision moves when its prompt or requests show the change. When its
/// embedding model is another one, its messages are embedded anew in the background.
///
/// # Errors
/// There is none, or the database's.
pub async fn update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    before: &Agent,
    agent: &Agent,
) -> Result<(), StoreError> {
    let moved = i64::from(shows(before, agent));
    let mut params = vec![
        Param::from(agent.id),
        Param::from(scope.organization),
        Param::from(scope.actor),
        Param::from(moved),
    ];
    let mut sets = Vec::new();
    for (column, value) in written(agent)? {
        params.push(value);
        sets.push(format!("{column} = ${}", params.len()));
    }
    let sql = format!(
        "UPDATE agents SET {}, updated_by = $3, revision = revision + $4 \
         WHERE id = $1 AND organization_id = $2",
        sets.join(", ")
    );
    if tx.execute(&sql, &params).await? == 0 {
        return Err(StoreError::not_found("Agent", agent.id));
    }
    if before.embedding_handle() != agent.embedding_handle() {
        let of = (scope.organization, ScopeKind::Messages);
        embed_scopes::mark(tx, of, &agent.id.to_string(), agent.updated_at).await?;
    }
    Ok(())
}

/// Whether a change is one that the agent's prompt or requests can show. A field that is not listed
/// here counts as shown, so that a new one is never forgotten.
fn shows(before: &Agent, after: &Agent) -> bool {
    let comparable = Agent {
        description: before.description.clone(),
        metadata: before.metadata.clone(),
        hidden: before.hidden,
        labels: before.labels.clone(),
        last_run_completion: before.last_run_completion,
        last_run_duration_ms: before.last_run_duration_ms,
        last_stop_reason: before.last_stop_reason.clone(),
        updated_by: before.updated_by,
        updated_at: before.updated_at,
        ..after.clone()
    };
    comparable != *before
}

/// Says that something which an agent's requests show has changed.
///
/// # Errors
/// There is no such agent, or the database's.
pub async fn touch(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE agents SET revision = revision + 1, updated_at = $3, updated_by = $4 \
               WHERE id = $1 AND organization_id = $2";
    if tx
        .execute(sql, params![id, scope.organization, now, scope.actor])
        .await?
        == 0
    {
        return Err(StoreError::not_found("Agent", id));
    }
    Ok(())
}

/// An agent by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: AgentId) -> Result<Agent, StoreError> {
    find(tx, scope, id, "").await
}

/// Makes sure that there is such an agent.
///
/// # Errors
/// There is none, or the database's.
pub async fn check(tx: &mut Tx<'_>, scope: &Scope, id: AgentId) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM agents WHERE id = $1 AND organization_id = $2";
    let found = tx.query_opt(sql, params![id, scope.organization]).await?;
    found.map_or_else(|| Err(StoreError::not_found("Agent", id)), |_| Ok(()))
}

/// The oldest agent of a name, if there is one.
///
/// # Errors
/// The database's.
pub async fn oldest_named(
    tx: &mut Tx<'_>,
    scope: &Scope,
    name: &str,
) -> Result<Option<AgentId>, StoreError> {
    let sql = "SELECT a.id FROM agents a WHERE a.organization_id = $1 AND a.name = $2 \
               ORDER BY a.created_at, a.id LIMIT 1";
    let found = tx.query_opt(sql, params![scope.organization, name]).await?;
    found.map(|mut row| row.parse()).transpose()
}

/// An agent by its id, kept from other writers until the commit.
///
/// # Errors
/// There is none, or the database's.
pub async fn get_for_update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
) -> Result<Agent, StoreError> {
    let lock = tx.for_update();
    find(tx, scope, id, lock).await
}

async fn find(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    lock: &str,
) -> Result<Agent, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM agents a WHERE a.id = $1 AND a.organization_id = $2{lock}");
    tx.query_opt(&sql, params![id, scope.organization])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Agent", id)), from_row)
}

/// Several agents by their ids, in the order of the ids; those that do not exist are left out.
///
/// # Errors
/// The database's.
pub async fn get_many(
    tx: &mut Tx<'_>,
    scope: &Scope,
    ids: &[AgentId],
) -> Result<Vec<Agent>, StoreError> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT {COLUMNS} FROM agents a WHERE a.organization_id = $1 AND {}",
        tx.any_of("a.id", 2)
    );
    let mut found = HashMap::new();
    for row in tx.query(&sql, params![scope.organization, texts]).await? {
        let agent = from_row(row)?;
        found.insert(agent.id, agent);
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// Removes an agent with everything that is its own.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: AgentId) -> Result<(), StoreError> {
    let sql = "DELETE FROM agents WHERE id = $1 AND organization_id = $2";
    if tx.execute(sql, params![id, scope.organization]).await? == 0 {
        return Err(StoreError::not_found("Agent", id));
    }
    embed_scopes::forget(tx, &id.to_string()).await?;
    embed_scopes::lower(tx, ScopeKind::Messages).await
}
