//! Agents and their tags. Whatever a prompt or request shows of an agent moves its `revision`.

use std::collections::HashMap;

use mnemic_core::{
    agents::{Agent, AgentLabels, AgentType},
    ids::{AgentId, BlockId, FolderId, IdentityId},
    scope::Scope,
    time::Timestamp,
};

use crate::{
    Param, Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "a.id, a.name, a.agent_type, a.system_prompt, a.description, a.metadata, \
     a.llm_config, a.embedding_config, a.model_settings, a.compaction_settings, a.response_format, \
     a.tool_rules, a.timezone, a.message_buffer_autoclear, a.enable_sleeptime, a.hidden, \
     a.max_files_open, a.per_file_view_window_char_limit, a.project_id, a.template_id, \
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

/// Writes a changed agent back. Its revision moves when its prompt or requests show the change.
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
    Ok(())
}

/// What agents are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AgentOrder {
    /// When they were made.
    #[default]
    CreatedAt,
    /// When they last changed.
    UpdatedAt,
    /// When their last run ended; those that never ran come last.
    LastRunCompletion,
}

/// Which agents a list shows.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    /// Only those of exactly this name.
    pub name: Option<String>,
    /// Only those whose name contains this.
    pub query_text: Option<String>,
    /// Only those with these tags.
    pub tags: Vec<String>,
    /// Whether all of the tags are needed, or any.
    pub match_all_tags: bool,
    /// Only those linked to this identity.
    pub identity_id: Option<IdentityId>,
    /// Only those linked to an identity of one of these keys.
    pub identifier_keys: Vec<String>,
    /// Only those of this project.
    pub project_id: Option<String>,
    /// Only those of this template.
    pub template_id: Option<String>,
    /// Only those of this base template.
    pub base_template_id: Option<String>,
    /// Only those whose last run ended so.
    pub last_stop_reason: Option<String>,
    /// Only those that this user made.
    pub created_by_id: Option<String>,
    /// Only those that this block is attached to.
    pub block_id: Option<BlockId>,
    /// Whether hidden ones are shown as well.
    pub show_hidden: bool,
    /// The sort column.
    pub order_by: AgentOrder,
}

fn filtered<'f>(tx: &Tx<'_>, scope: &Scope, filter: &'f AgentFilter, select: &str) -> Select<'f> {
    let mut query = Select::new(format!("SELECT {select} FROM agents a"));
    query.and_bind("a.organization_id = {}", scope.organization);
    if !filter.show_hidden {
        query.and("COALESCE(a.hidden, 0) = 0");
    }
    for (column, wanted) in [
        ("a.name", &filter.name),
        ("a.project_id", &filter.project_id),
        ("a.template_id", &filter.template_id),
        ("a.base_template_id", &filter.base_template_id),
        ("a.last_stop_reason", &filter.last_stop_reason),
        ("a.created_by", &filter.created_by_id),
    ] {
        if let Some(wanted) = wanted {
            query.and_bind(&format!("{column} = {{}}"), wanted);
        }
    }
    if let Some(text) = &filter.query_text {
        let n = query.bind(text);
        query.and(tx.contains("a.name", n));
    }
    links(tx, filter, &mut query);
    query
}

/// The conditions on what an agent is linked to.
fn links<'f>(tx: &Tx<'_>, filter: &'f AgentFilter, query: &mut Select<'f>) {
    if !filter.tags.is_empty() {
        let n = query.bind(filter.tags.clone());
        let any = tx.any_of("t.tag", n);
        let count = format!(
            "(SELECT COUNT(DISTINCT t.tag) FROM agent_tags t WHERE t.agent_id = a.id AND {any})"
        );
        let mut distinct = filter.tags.clone();
        distinct.sort();
        distinct.dedup();
        let wanted = if filter.match_all_tags {
            distinct.len()
        } else {
            1
        };
        query.and_bind(
            &format!("{count} >= {{}}"),
            i64::try_from(wanted).unwrap_or(i64::MAX),
        );
    }
    if let Some(id) = filter.identity_id {
        query.and_bind(
            "EXISTS (SELECT 1 FROM agents_identities ai \
             WHERE ai.agent_id = a.id AND ai.identity_id = {})",
            id,
        );
    }
    if let Some(id) = filter.block_id {
        query.and_bind(
            "EXISTS (SELECT 1 FROM agents_blocks ab WHERE ab.agent_id = a.id AND ab.block_id = {})",
            id,
        );
    }
    if !filter.identifier_keys.is_empty() {
        let n = query.bind(filter.identifier_keys.clone());
        let any = tx.any_of("i.identifier_key", n);
        query.and(format!(
            "EXISTS (SELECT 1 FROM agents_identities ai JOIN identities i ON i.id = ai.identity_id \
             WHERE ai.agent_id = a.id AND {any})"
        ));
    }
}

/// A page of agents. An unknown cursor is ignored, as the V1 API does.
///
/// # Errors
/// The database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &AgentFilter,
    page: &Page,
) -> Result<Vec<Agent>, StoreError> {
    let key = match filter.order_by {
        AgentOrder::CreatedAt => "a.created_at",
        AgentOrder::UpdatedAt => "a.updated_at",
        AgentOrder::LastRunCompletion => match page.order {
            // Those that never ran come last in either order.
            crate::page::Order::Asc => "COALESCE(a.last_run_completion, 9223372036854775807)",
            crate::page::Order::Desc => "COALESCE(a.last_run_completion, -1)",
        },
    };
    let cursor = format!("SELECT {key}, a.id FROM agents a WHERE a.id = $1");
    let query = filtered(tx, scope, filter, COLUMNS);
    let keys = Keys {
        key,
        id: "a.id",
        cursor: &cursor,
    };
    let rows = query.page(tx, keys, page, UnknownCursor::Ignore).await?;
    rows.into_iter().map(from_row).collect()
}

/// How many agents a filter finds.
///
/// # Errors
/// The database's.
pub async fn count(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &AgentFilter,
) -> Result<i64, StoreError> {
    let rows = filtered(tx, scope, filter, "COUNT(*)").all(tx, "").await?;
    rows.into_iter().next().map_or(Ok(0), |mut row| row.int())
}

/// Replaces the tags of an agent; doubles are left out.
///
/// # Errors
/// The database's.
pub async fn set_tags(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    tags: &[String],
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM agent_tags WHERE agent_id = $1", params![id])
        .await?;
    let mut rows: Vec<Vec<Param<'_>>> = Vec::new();
    for (position, tag) in tags.iter().enumerate() {
        if tags.iter().take(position).any(|earlier| earlier == tag) {
            continue;
        }
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        rows.push(vec![
            id.into(),
            scope.organization.into(),
            position.into(),
            tag.into(),
        ]);
    }
    tx.insert_rows(
        "agent_tags",
        &["agent_id", "organization_id", "position", "tag"],
        rows,
    )
    .await
}

/// The tags of several agents.
///
/// # Errors
/// The database's.
pub async fn tags_of(
    tx: &mut Tx<'_>,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<String>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT agent_id, tag FROM agent_tags WHERE {} ORDER BY agent_id, position",
        tx.any_of("agent_id", 1)
    );
    let mut found: HashMap<AgentId, Vec<String>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids]).await? {
        found.entry(row.parse()?).or_default().push(row.text()?);
    }
    Ok(found)
}

/// The identities that several agents are linked to.
///
/// # Errors
/// The database's.
pub async fn identities_of(
    tx: &mut Tx<'_>,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<IdentityId>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT agent_id, identity_id FROM agents_identities WHERE {} ORDER BY agent_id, identity_id",
        tx.any_of("agent_id", 1)
    );
    let mut found: HashMap<AgentId, Vec<IdentityId>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids]).await? {
        found.entry(row.parse()?).or_default().push(row.parse()?);
    }
    Ok(found)
}

/// Makes an agent linked to exactly these identities.
///
/// # Errors
/// One of them does not exist, or the database's.
pub async fn set_identities(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    identities: &[IdentityId],
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM agents_identities WHERE agent_id = $1",
        params![id],
    )
    .await?;
    for identity in identities {
        let sql = "INSERT INTO agents_identities (agent_id, identity_id) \
                   SELECT $1, i.id FROM identities i WHERE i.id = $2 AND i.organization_id = $3";
        if tx
            .execute(sql, params![id, identity, scope.organization])
            .await?
            == 0
        {
            return Err(StoreError::Invalid(format!(
                "identity {identity} does not exist"
            )));
        }
    }
    Ok(())
}

/// Makes an agent have exactly these folders.
///
/// # Errors
/// One of them does not exist, or the database's.
pub async fn set_folders(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    folders: &[FolderId],
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM agents_folders WHERE agent_id = $1",
        params![id],
    )
    .await?;
    for (position, folder) in (0_i64..).zip(folders) {
        let sql = "INSERT INTO agents_folders (agent_id, folder_id, position) \
                   SELECT $1, f.id, $2 FROM folders f WHERE f.id = $3 AND f.organization_id = $4";
        if tx
            .execute(sql, params![id, position, folder, scope.organization])
            .await?
            == 0
        {
            return Err(StoreError::not_found("Folder", folder));
        }
    }
    Ok(())
}

/// A page of the distinct tags of agents, in alphabetical order; the cursor is the tag's text.
///
/// # Errors
/// The database's.
pub async fn tags(
    tx: &mut Tx<'_>,
    scope: &Scope,
    query_text: Option<&str>,
    page: &Page,
) -> Result<Vec<String>, StoreError> {
    let mut query = Select::new("SELECT DISTINCT tag FROM agent_tags");
    query.and_bind("organization_id = {}", scope.organization);
    if let Some(text) = query_text {
        let n = query.bind(text);
        query.and(tx.contains("tag", n));
    }
    let backwards = page.before.is_some() && page.after.is_none();
    if let Some(after) = &page.after {
        query.and_bind(&format!("tag {} {{}}", page.order.further()), after);
    }
    if let Some(before) = &page.before {
        query.and_bind(
            &format!("tag {} {{}}", page.order.reversed().further()),
            before,
        );
    }
    let order = if backwards {
        page.order.reversed()
    } else {
        page.order
    };
    let n = query.bind(page.limit);
    let tail = format!("ORDER BY tag {} LIMIT ${n}", order.sql());
    let rows = query.all(tx, &tail).await?;
    let tags: Result<Vec<String>, _> = rows.into_iter().map(|mut row| row.text()).collect();
    let mut tags = tags?;
    if backwards {
        tags.reverse();
    }
    Ok(tags)
}
