//! Groups of agents, their members, and the blocks that these share.

mod threads;
mod turns;

use std::collections::HashMap;

use mnemic_core::{
    groups::{Group, ManagerType},
    ids::{AgentId, BlockId, GroupId},
    scope::Scope,
};

pub use self::{
    threads::{messages, of_thread, place_thread, speaks_for, thread, threads},
    turns::{Turns, all_turns, count_turn, note_run, place_turns},
};
use crate::{
    Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "g.id, g.manager_type, g.manager_agent_id, g.manager_config, g.description, \
     g.project_id, g.hidden, g.companion_id, t.turns_counter, t.last_processed_message_id, \
     g.created_at, g.updated_at";

/// The place of turns of nobody in particular stands beside the group.
const FROM: &str = "agent_groups g LEFT JOIN group_turns t ON t.group_id = g.id AND t.subject = ''";

fn from_row(mut row: Row) -> Result<Group, StoreError> {
    let id = row.parse()?;
    let manager_type = row.named(ManagerType::parse)?;
    let tidies = manager_type == ManagerType::Sleeptime;
    Ok(Group {
        id,
        manager_type,
        manager_agent_id: row.opt_parse()?,
        settings: row.json()?,
        description: row.opt_text()?.unwrap_or_default(),
        project_id: row.opt_text()?,
        hidden: row.opt_bool()?,
        companion: row.opt_parse()?,
        turns_counter: row.opt_int()?.or(tidies.then_some(-1)),
        last_processed_message_id: row.opt_parse()?,
        created_at: row.time()?,
        updated_at: row.time()?,
        agent_ids: Vec::new(),
        shared_block_ids: Vec::new(),
    })
}

/// Fills in the members and blocks of groups that were just read.
async fn with_members(tx: &mut Tx<'_>, rows: Vec<Row>) -> Result<Vec<Group>, StoreError> {
    let mut groups: Vec<Group> = rows.into_iter().map(from_row).collect::<Result<_, _>>()?;
    if groups.is_empty() {
        return Ok(groups);
    }
    let ids: Vec<String> = groups.iter().map(|group| group.id.to_string()).collect();
    let of_groups = tx.any_of("group_id", 1);
    let sql = format!(
        "SELECT group_id, agent_id FROM groups_agents WHERE {of_groups} ORDER BY group_id, position"
    );
    let mut members: HashMap<GroupId, Vec<AgentId>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids.clone()]).await? {
        members.entry(row.parse()?).or_default().push(row.parse()?);
    }
    let sql = format!(
        "SELECT group_id, block_id FROM groups_blocks WHERE {of_groups} ORDER BY group_id, position"
    );
    let mut blocks: HashMap<GroupId, Vec<BlockId>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids]).await? {
        blocks.entry(row.parse()?).or_default().push(row.parse()?);
    }
    for group in &mut groups {
        group.agent_ids = members.remove(&group.id).unwrap_or_default();
        group.shared_block_ids = blocks.remove(&group.id).unwrap_or_default();
    }
    Ok(groups)
}

/// Stores a new group.
///
/// # Errors
/// An agent or block of it does not exist, or the database's.
pub async fn insert(tx: &mut Tx<'_>, scope: &Scope, group: &Group) -> Result<(), StoreError> {
    let sql = "INSERT INTO agent_groups (id, organization_id, manager_type, manager_agent_id, \
                   manager_config, description, project_id, hidden, companion_id, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    tx.execute(
        sql,
        params![
            group.id,
            scope.organization,
            group.manager_type.as_str(),
            group.manager_agent_id,
            serde_json::to_string(&group.settings)?,
            &group.description,
            group.project_id.as_ref(),
            group.hidden,
            group.companion,
            group.created_at,
            group.updated_at
        ],
    )
    .await?;
    set_members(tx, scope, group).await
}

/// Writes a changed group back.
///
/// # Errors
/// There is none, an agent or block of it does not exist, or the database's.
pub async fn update(tx: &mut Tx<'_>, scope: &Scope, group: &Group) -> Result<(), StoreError> {
    let sql = "UPDATE agent_groups SET manager_type = $3, manager_agent_id = $4, manager_config = $5, \
                   description = $6, project_id = $7, hidden = $8, updated_at = $9 \
               WHERE id = $1 AND organization_id = $2";
    let changed = tx
        .execute(
            sql,
            params![
                group.id,
                scope.organization,
                group.manager_type.as_str(),
                group.manager_agent_id,
                serde_json::to_string(&group.settings)?,
                &group.description,
                group.project_id.as_ref(),
                group.hidden,
                group.updated_at
            ],
        )
        .await?;
    if changed == 0 {
        return Err(StoreError::not_found("Group", group.id));
    }
    set_members(tx, scope, group).await
}

/// Makes a group have exactly the members and blocks that it names.
async fn set_members(tx: &mut Tx<'_>, scope: &Scope, group: &Group) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM groups_agents WHERE group_id = $1",
        "DELETE FROM groups_blocks WHERE group_id = $1",
    ] {
        tx.execute(sql, params![group.id]).await?;
    }
    for (position, agent) in (0_i64..).zip(&group.agent_ids) {
        let sql = "INSERT INTO groups_agents (group_id, agent_id, position) \
                   SELECT $1, a.id, $2 FROM agents a WHERE a.id = $3 AND a.organization_id = $4 \
                   ON CONFLICT DO NOTHING";
        tx.execute(sql, params![group.id, position, agent, scope.organization])
            .await?;
    }
    for (position, block) in (0_i64..).zip(&group.shared_block_ids) {
        let sql = "INSERT INTO groups_blocks (group_id, block_id, position) \
                   SELECT $1, b.id, $2 FROM blocks b WHERE b.id = $3 AND b.organization_id = $4 \
                   ON CONFLICT DO NOTHING";
        tx.execute(sql, params![group.id, position, block, scope.organization])
            .await?;
    }
    Ok(())
}

/// A group by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: GroupId) -> Result<Group, StoreError> {
    find(tx, scope, id, "").await
}

/// A group by its id, kept from other writers until the commit.
///
/// # Errors
/// There is none, or the database's.
pub async fn get_for_update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: GroupId,
) -> Result<Group, StoreError> {
    let lock = match tx.dialect() {
        crate::Dialect::Sqlite => "",
        crate::Dialect::Postgres => " FOR UPDATE OF g",
    };
    find(tx, scope, id, lock).await
}

async fn find(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: GroupId,
    lock: &str,
) -> Result<Group, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM {FROM} WHERE g.id = $1 AND g.organization_id = $2{lock}");
    let rows = tx.query(&sql, params![id, scope.organization]).await?;
    let found = with_members(tx, rows).await?.into_iter().next();
    found.ok_or_else(|| StoreError::not_found("Group", id))
}

/// The group with which an agent was made, to keep another one's memory.
///
/// # Errors
/// The database's.
pub async fn made_with(
    tx: &mut Tx<'_>,
    scope: &Scope,
    companion: AgentId,
) -> Result<Option<Group>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE g.organization_id = $1 AND g.companion_id = $2 \
             AND g.id IN (SELECT group_id FROM groups_agents WHERE agent_id = $2)"
    );
    let rows = tx
        .query(&sql, params![scope.organization, companion])
        .await?;
    Ok(with_members(tx, rows).await?.into_iter().next())
}

/// Which groups a list shows.
#[derive(Debug, Clone, Default)]
pub struct GroupFilter {
    /// Only those that are managed so.
    pub manager_type: Option<String>,
    /// Only those of this project.
    pub project_id: Option<String>,
    /// Only those that this agent manages or is a member of.
    pub agent_id: Option<AgentId>,
}

fn filtered<'f>(scope: &Scope, filter: &'f GroupFilter, select: &str) -> Select<'f> {
    let mut query = Select::new(select);
    query.and_bind("g.organization_id = {}", scope.organization);
    if let Some(kind) = &filter.manager_type {
        query.and_bind("g.manager_type = {}", kind);
    }
    if let Some(project) = &filter.project_id {
        query.and_bind("g.project_id = {}", project);
    }
    if let Some(agent) = filter.agent_id {
        query.and_bind(
            "(g.manager_agent_id = {} OR EXISTS (SELECT 1 FROM groups_agents m \
                 WHERE m.group_id = g.id AND m.agent_id = {}))",
            agent,
        );
    }
    query
}

/// A page of groups, by their creation.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &GroupFilter,
    page: &Page,
) -> Result<Vec<Group>, StoreError> {
    let select = filtered(scope, filter, &format!("SELECT {COLUMNS} FROM {FROM}"));
    let keys = Keys {
        key: "g.created_at",
        id: "g.id",
        cursor: "SELECT created_at, id FROM agent_groups WHERE id = $1",
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Group"))
        .await?;
    with_members(tx, rows).await
}

/// How many groups there are.
///
/// # Errors
/// The database's.
pub async fn count(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &GroupFilter,
) -> Result<i64, StoreError> {
    let select = filtered(scope, filter, "SELECT COUNT(*) FROM agent_groups g");
    let row = select.all(tx, "").await?.into_iter().next();
    row.ok_or_else(|| StoreError::Corrupt("a count returned no row".to_owned()))?
        .int()
}

/// The groups that an agent manages, the oldest first.
///
/// # Errors
/// The database's.
pub async fn managed_by(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<Vec<Group>, StoreError> {
    let mut found = managed_by_each(tx, scope, &[agent_id]).await?;
    Ok(found.remove(&agent_id).unwrap_or_default())
}

/// The groups that agents manage, the oldest first.
///
/// # Errors
/// The database's.
pub async fn managed_by_each(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<Group>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE {} = $1 AND {} ORDER BY g.created_at, g.id",
        tx.unindexed("g.organization_id"),
        tx.any_of("g.manager_agent_id", 2)
    );
    let rows = tx.query(&sql, params![scope.organization, ids]).await?;
    let mut found: HashMap<AgentId, Vec<Group>> = HashMap::new();
    for group in with_members(tx, rows).await? {
        if let Some(manager) = group.manager_agent_id {
            found.entry(manager).or_default().push(group);
        }
    }
    Ok(found)
}

/// Removes a group; its members stay.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: GroupId) -> Result<(), StoreError> {
    let sql = "DELETE FROM agent_groups WHERE id = $1 AND organization_id = $2";
    if tx.execute(sql, params![id, scope.organization]).await? == 0 {
        return Err(StoreError::not_found("Group", id));
    }
    Ok(())
}
