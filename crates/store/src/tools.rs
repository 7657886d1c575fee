//! Tools and the agents that have them.

use std::collections::HashMap;

use mnemic_core::{
    builtin::{self, BuiltinTool},
    ids::{AgentId, ToolId},
    scope::Scope,
    time::Timestamp,
    tools::{Tool, ToolType},
};

use crate::{
    Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "t.id, t.name, t.tool_type, t.description, t.source_type, t.source_code, \
     t.json_schema, t.tags, t.return_char_limit, t.enable_parallel_execution, \
     t.default_requires_approval, t.extra, t.created_by, t.updated_by, t.created_at, t.updated_at";

/// Characters of a return that models see (V1 contract, section 5).
const RETURN_CHAR_LIMIT: i64 = 50_000;

fn from_row(row: &mut Row) -> Result<Tool, StoreError> {
    Ok(Tool {
        id: row.parse()?,
        name: row.text()?,
        tool_type: row.named(ToolType::parse)?,
        description: row.opt_text()?,
        source_type: row.text()?,
        source_code: row.opt_text()?,
        json_schema: row.json()?,
        tags: row.json()?,
        return_char_limit: row.int()?,
        enable_parallel_execution: row.bool()?,
        default_requires_approval: row.opt_bool()?,
        extra: row.json()?,
        created_by: row.opt_parse()?,
        updated_by: row.opt_parse()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// Makes the built-in tools of an organization be there and up to date. Returns how many changed.
///
/// # Errors
/// The database's.
pub async fn ensure_builtins(
    tx: &mut Tx<'_>,
    scope: &Scope,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let known = list(
        tx,
        scope,
        &ToolFilter::default(),
        &Page::first(10_000, crate::page::Order::Asc),
    )
    .await?;
    let mut changed = 0;
    for tool in builtin::all() {
        let stored = known.iter().find(|stored| stored.name == tool.name);
        if stored.is_some_and(|stored| is_current(stored, tool)) {
            continue;
        }
        changed += 1;
        put_builtin(tx, scope, tool, now).await?;
    }
    Ok(changed)
}

fn is_current(stored: &Tool, tool: &BuiltinTool) -> bool {
    stored.json_schema == tool.json_schema()
        && stored.tool_type == tool.tool_type
        && stored.enable_parallel_execution == tool.enable_parallel_execution
}

async fn put_builtin(
    tx: &mut Tx<'_>,
    scope: &Scope,
    tool: &BuiltinTool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let kind = tool.tool_type.as_str();
    let sql = "INSERT INTO tools (id, organization_id, name, tool_type, description, source_type, \
                   json_schema, tags, return_char_limit, enable_parallel_execution, extra, \
                   created_by, updated_by, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, 'python', $6, $7, $8, $9, '{}', $10, $10, $11, $11) \
               ON CONFLICT (organization_id, name) DO UPDATE SET tool_type = excluded.tool_type, \
                   description = excluded.description, json_schema = excluded.json_schema, \
                   enable_parallel_execution = excluded.enable_parallel_execution, \
                   updated_at = excluded.updated_at";
    tx.execute(
        sql,
        params![
            ToolId::new(),
            scope.organization,
            tool.name,
            kind,
            tool.description,
            tool.json_schema().to_string(),
            serde_json::to_string(&[kind])?,
            RETURN_CHAR_LIMIT,
            tool.enable_parallel_execution,
            scope.actor,
            now
        ],
    )
    .await?;
    let sql = "UPDATE agents SET revision = revision + 1 WHERE id IN (SELECT at.agent_id \
                   FROM agents_tools at JOIN tools t ON t.id = at.tool_id \
                   WHERE t.organization_id = $1 AND t.name = $2)";
    tx.execute(sql, params![scope.organization, tool.name])
        .await?;
    Ok(())
}

/// Says that something which the requests of a tool's agents show has changed.
async fn touch_agents(tx: &mut Tx<'_>, scope: &Scope, id: ToolId) -> Result<(), StoreError> {
    let sql = "UPDATE agents SET revision = revision + 1 WHERE organization_id = $1 \
                   AND id IN (SELECT agent_id FROM agents_tools WHERE tool_id = $2)";
    tx.execute(sql, params![scope.organization, id]).await?;
    Ok(())
}

/// Stores a new tool. `false`, and nothing is stored, when its name is taken.
///
/// # Errors
/// The database's.
pub async fn insert(tx: &mut Tx<'_>, scope: &Scope, tool: &Tool) -> Result<bool, StoreError> {
    let sql = "INSERT INTO tools (id, organization_id, name, tool_type, description, source_type, \
                   source_code, json_schema, tags, return_char_limit, enable_parallel_execution, \
                   default_requires_approval, extra, created_by, updated_by, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $15, $15) \
               ON CONFLICT (organization_id, name) DO NOTHING";
    let stored = tx
        .execute(
            sql,
            params![
                tool.id,
                scope.organization,
                &tool.name,
                tool.tool_type.as_str(),
                tool.description.as_ref(),
                &tool.source_type,
                tool.source_code.as_ref(),
                tool.json_schema.to_string(),
                serde_json::to_string(&tool.tags)?,
                tool.return_char_limit,
                tool.enable_parallel_execution,
                tool.default_requires_approval,
                tool.extra.to_string(),
                scope.actor,
                tool.created_at
            ],
        )
        .await?;
    Ok(stored > 0)
}

/// Writes a changed tool back. The agents that have it see the change in their next step.
///
/// # Errors
/// Another tool has its name, or the database's.
pub async fn update(tx: &mut Tx<'_>, scope: &Scope, tool: &Tool) -> Result<(), StoreError> {
    let names = std::slice::from_ref(&tool.name);
    if by_names(tx, scope, names)
        .await?
        .iter()
        .any(|other| other.id != tool.id)
    {
        return Err(StoreError::Conflict(format!(
            "another tool is already called '{}': rename the function, or change that tool",
            tool.name
        )));
    }
    let sql = "UPDATE tools SET name = $3, description = $4, source_type = $5, source_code = $6, \
                   json_schema = $7, tags = $8, return_char_limit = $9, \
                   enable_parallel_execution = $10, default_requires_approval = $11, extra = $12, \
                   updated_by = $13, updated_at = $14 \
               WHERE id = $1 AND organization_id = $2";
    let written = tx
        .execute(
            sql,
            params![
                tool.id,
                scope.organization,
                &tool.name,
                tool.description.as_ref(),
                &tool.source_type,
                tool.source_code.as_ref(),
                tool.json_schema.to_string(),
                serde_json::to_string(&tool.tags)?,
                tool.return_char_limit,
                tool.enable_parallel_execution,
                tool.default_requires_approval,
                tool.extra.to_string(),
                scope.actor,
                tool.updated_at
            ],
        )
        .await?;
    if written == 0 {
        return Err(StoreError::not_found("Tool", tool.id));
    }
    touch_agents(tx, scope, tool.id).await
}

/// Removes a tool, also from the agents that have it.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: ToolId) -> Result<(), StoreError> {
    touch_agents(tx, scope, id).await?;
    let sql = "DELETE FROM tools WHERE id = $1 AND organization_id = $2";
    if tx.execute(sql, params![id, scope.organization]).await? == 0 {
        return Err(StoreError::not_found("Tool", id));
    }
    Ok(())
}

/// A tool by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: ToolId) -> Result<Tool, StoreError> {
    find(tx, scope, ("t.id", id.to_string()), "")
        .await?
        .ok_or_else(|| StoreError::not_found("Tool", id))
}

/// A tool by its id, which nobody else changes until the transaction ends.
///
/// # Errors
/// There is none, or the database's.
pub async fn get_for_update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: ToolId,
) -> Result<Tool, StoreError> {
    let lock = tx.for_update();
    find(tx, scope, ("t.id", id.to_string()), lock)
        .await?
        .ok_or_else(|| StoreError::not_found("Tool", id))
}

/// A tool by its name, which nobody else changes until the transaction ends.
///
/// # Errors
/// The database's.
pub async fn by_name_for_update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    name: &str,
) -> Result<Option<Tool>, StoreError> {
    let lock = tx.for_update();
    find(tx, scope, ("t.name", name.to_owned()), lock).await
}

async fn find(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (column, value): (&str, String),
    lock: &str,
) -> Result<Option<Tool>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM tools t WHERE {column} = $1 AND t.organization_id = $2{lock}"
    );
    tx.query_opt(&sql, params![value, scope.organization])
        .await?
        .map(|mut row| from_row(&mut row))
        .transpose()
}

/// The tools of these names; names without a tool are missing in the answer.
///
/// # Errors
/// The database's.
pub async fn by_names(
    tx: &mut Tx<'_>,
    scope: &Scope,
    names: &[String],
) -> Result<Vec<Tool>, StoreError> {
    let filter = ToolFilter {
        names: names.to_vec(),
        ..ToolFilter::default()
    };
    if names.is_empty() {
        return Ok(Vec::new());
    }
    list(
        tx,
        scope,
        &filter,
        &Page::first(10_000, crate::page::Order::Asc),
    )
    .await
}

/// The tools that people wrote, of all organizations: for the server's administrator.
///
/// # Errors
/// The database's.
pub async fn custom_of_all(tx: &mut Tx<'_>) -> Result<Vec<Tool>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM tools t WHERE t.tool_type = $1 ORDER BY t.name, t.organization_id"
    );
    let rows = tx.query(&sql, params![ToolType::Custom.as_str()]).await?;
    rows.into_iter().map(|mut row| from_row(&mut row)).collect()
}

/// The tools of an agent, in the order in which they were attached.
///
/// # Errors
/// The database's.
pub async fn of_agent(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<Vec<Tool>, StoreError> {
    let mut found = of_agents(tx, scope, &[agent_id]).await?;
    Ok(found.remove(&agent_id).unwrap_or_default())
}

/// The tools of several agents, each list in the order of attachment.
///
/// # Errors
/// The database's.
pub async fn of_agents(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<Tool>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT at.agent_id, {COLUMNS} FROM agents_tools at JOIN tools t ON t.id = at.tool_id \
         WHERE {} = $1 AND {} ORDER BY at.agent_id, at.position, t.id",
        tx.unindexed("t.organization_id"),
        tx.any_of("at.agent_id", 2)
    );
    let mut found: HashMap<AgentId, Vec<Tool>> = HashMap::new();
    for mut row in tx.query(&sql, params![scope.organization, ids]).await? {
        found
            .entry(row.parse()?)
            .or_default()
            .push(from_row(&mut row)?);
    }
    Ok(found)
}

/// Attaches a tool to an agent; `false` when it was attached already.
///
/// # Errors
/// There is no such tool, or the database's.
pub async fn attach(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    id: ToolId,
) -> Result<bool, StoreError> {
    get(tx, scope, id).await?;
    // The WHERE is also what lets SQLite tell this ON CONFLICT from a join's ON.
    let sql = "INSERT INTO agents_tools (agent_id, tool_id, position) \
               SELECT $1, $2, COALESCE(MAX(position), -1) + 1 FROM agents_tools WHERE agent_id = $1 \
               ON CONFLICT (agent_id, tool_id) DO NOTHING";
    Ok(tx.execute(sql, params![agent_id, id]).await? > 0)
}

/// Takes a tool off an agent. `false` when it was not attached.
///
/// # Errors
/// The database's.
pub async fn detach(tx: &mut Tx<'_>, agent_id: AgentId, id: ToolId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM agents_tools WHERE agent_id = $1 AND tool_id = $2";
    Ok(tx.execute(sql, params![agent_id, id]).await? > 0)
}

/// Which tools a list shows.
#[derive(Debug, Clone, Default)]
pub struct ToolFilter {
    /// Only those of this agent.
    pub agent_id: Option<AgentId>,
    /// Only those of one of these names.
    pub names: Vec<String>,
    /// Only those of one of these ids.
    pub ids: Vec<ToolId>,
    /// Only those whose name contains this.
    pub search: Option<String>,
    /// Only these types.
    pub types: Vec<ToolType>,
    /// None of these types.
    pub without_types: Vec<ToolType>,
}

fn filtered<'f>(tx: &Tx<'_>, scope: &Scope, filter: &'f ToolFilter, select: &str) -> Select<'f> {
    let mut query = Select::new(format!("SELECT {select} FROM tools t"));
    query.and_bind("t.organization_id = {}", scope.organization);
    if let Some(id) = filter.agent_id {
        query.and_bind(
            "EXISTS (SELECT 1 FROM agents_tools x WHERE x.tool_id = t.id AND x.agent_id = {})",
            id,
        );
    }
    if !filter.names.is_empty() {
        let n = query.bind(filter.names.clone());
        query.and(tx.any_of("t.name", n));
    }
    if !filter.ids.is_empty() {
        let ids: Vec<String> = filter.ids.iter().map(ToString::to_string).collect();
        let n = query.bind(ids);
        query.and(tx.any_of("t.id", n));
    }
    if let Some(text) = &filter.search {
        let n = query.bind(text);
        query.and(tx.contains("t.name", n));
    }
    let names = |types: &[ToolType]| -> Vec<String> {
        types.iter().map(|kind| kind.as_str().to_owned()).collect()
    };
    if !filter.types.is_empty() {
        let n = query.bind(names(&filter.types));
        query.and(tx.any_of("t.tool_type", n));
    }
    if !filter.without_types.is_empty() {
        let n = query.bind(names(&filter.without_types));
        query.and(format!("NOT ({})", tx.any_of("t.tool_type", n)));
    }
    query
}

/// A page of tools. An unknown cursor is ignored, as the V1 API does.
///
/// # Errors
/// The database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &ToolFilter,
    page: &Page,
) -> Result<Vec<Tool>, StoreError> {
    let cursor = "SELECT created_at, id FROM tools WHERE id = $1";
    let keys = Keys {
        key: "t.created_at",
        id: "t.id",
        cursor,
    };
    let query = filtered(tx, scope, filter, COLUMNS);
    let rows = query.page(tx, keys, page, UnknownCursor::Ignore).await?;
    rows.into_iter().map(|mut row| from_row(&mut row)).collect()
}

/// How many tools a filter finds.
///
/// # Errors
/// The database's.
pub async fn count(tx: &mut Tx<'_>, scope: &Scope, filter: &ToolFilter) -> Result<i64, StoreError> {
    let rows = filtered(tx, scope, filter, "COUNT(*)").all(tx, "").await?;
    rows.into_iter().next().map_or(Ok(0), |mut row| row.int())
}
