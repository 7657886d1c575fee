//! Blocks: core memory, its versions, and the agents it is attached to.

mod changes;
mod listing;
mod own;
mod versions;

use std::collections::HashMap;

use mnemic_core::{
    blocks::{Author, Block, BlockLabels},
    ids::{AgentId, BlockId},
    memory::{self, BlockEdit},
    scope::Scope,
    time::Timestamp,
};

pub use self::{
    changes::{Changes, change},
    listing::{BlockFilter, count, list},
    own::{
        Place, add_own, give_own, isolate, isolate_as, of_place, own_blocks, show_own, show_too,
        shown_as,
    },
    versions::{PastValue, history, restore, values_after},
};
use self::{own::thing, versions::add_version};
use crate::{Param, Row, StoreError, Tx, params};

const COLUMNS: &str = "b.id, b.label, b.value, b.char_limit, b.description, b.read_only, \
     b.metadata, b.hidden, b.subject, b.is_template, b.labels, b.revision, b.created_by, \
     b.updated_by, b.created_at, b.updated_at";

fn from_row(row: &mut Row) -> Result<Block, StoreError> {
    Ok(Block {
        id: row.parse()?,
        label: row.text()?,
        value: row.text()?,
        limit: row.int()?,
        description: row.opt_text()?,
        read_only: row.bool()?,
        metadata: row.json()?,
        hidden: row.opt_bool()?,
        subject: row.opt_text()?,
        is_template: row.bool()?,
        labels: row.json()?,
        revision: row.int()?,
        created_by: row.opt_parse()?,
        updated_by: row.opt_parse()?,
        created_at: row.time()?,
        updated_at: row.time()?,
        tags: Vec::new(),
    })
}

/// Fills in the tags of blocks that were just read.
async fn with_tags(tx: &mut Tx<'_>, mut blocks: Vec<Block>) -> Result<Vec<Block>, StoreError> {
    if blocks.is_empty() {
        return Ok(blocks);
    }
    let ids: Vec<String> = blocks.iter().map(|block| block.id.to_string()).collect();
    let sql = format!(
        "SELECT block_id, tag FROM block_tags WHERE {} ORDER BY block_id, position",
        tx.any_of("block_id", 1)
    );
    let mut found: HashMap<BlockId, Vec<String>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids]).await? {
        found.entry(row.parse()?).or_default().push(row.text()?);
    }
    for block in &mut blocks {
        block.tags = found.remove(&block.id).unwrap_or_default();
    }
    Ok(blocks)
}

async fn one(tx: &mut Tx<'_>, rows: Vec<Row>) -> Result<Option<Block>, StoreError> {
    let Some(mut row) = rows.into_iter().next() else {
        return Ok(None);
    };
    let block = from_row(&mut row)?;
    Ok(with_tags(tx, vec![block]).await?.into_iter().next())
}

/// Stores a new block and its first version.
///
/// # Errors
/// The database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    block: &Block,
    author: &Author,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO blocks (id, organization_id, subject, label, value, char_limit, \
                   description, read_only, metadata, hidden, is_template, labels, project_id, \
                   template_name, revision, created_by, updated_by, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, \
                   $17, $17)";
    tx.execute(
        sql,
        params![
            block.id,
            scope.organization,
            scope.subject.as_ref(),
            &block.label,
            &block.value,
            block.limit,
            block.description.as_ref(),
            block.read_only,
            serde_json::to_string(&block.metadata)?,
            block.hidden,
            block.is_template,
            serde_json::to_string(&block.labels)?,
            block.labels.project_id.as_ref(),
            block.labels.template_name.as_ref(),
            block.revision,
            scope.actor,
            block.created_at
        ],
    )
    .await?;
    set_tags(tx, scope, block.id, &block.tags).await?;
    add_version(tx, block, author, block.created_at).await
}

async fn set_tags(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: BlockId,
    tags: &[String],
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM block_tags WHERE block_id = $1", params![id])
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
        "block_tags",
        &["block_id", "organization_id", "position", "tag"],
        rows,
    )
    .await
}

/// A block by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: BlockId) -> Result<Block, StoreError> {
    find(tx, scope, id, "").await
}

async fn find(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: BlockId,
    lock: &str,
) -> Result<Block, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM blocks b WHERE b.id = $1 AND b.organization_id = $2 \
           AND ($3 = '' OR b.subject IS NULL OR b.subject = $3){lock}"
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    let rows = tx
        .query(&sql, params![id, scope.organization, subject])
        .await?;
    one(tx, rows)
        .await?
        .ok_or_else(|| StoreError::not_found("Block", id))
}

/// The blocks of an agent, in the order in which its prompt shows them.
///
/// # Errors
/// The database's.
pub async fn of_agent(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<Vec<Block>, StoreError> {
    let mut found = of_agents(tx, scope, &[agent_id]).await?;
    Ok(found.remove(&agent_id).unwrap_or_default())
}

/// The blocks of several agents, each list in the order in which its prompt shows them.
///
/// # Errors
/// The database's.
pub async fn of_agents(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<Block>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT ab.agent_id, {COLUMNS} FROM agents_blocks ab JOIN blocks b ON b.id = ab.block_id \
         WHERE {} = $1 AND {} ORDER BY ab.agent_id, ab.position, b.id",
        tx.unindexed("b.organization_id"),
        tx.any_of("ab.agent_id", 2)
    );
    let mut owners = Vec::new();
    let mut blocks = Vec::new();
    for mut row in tx.query(&sql, params![scope.organization, ids]).await? {
        owners.push(row.parse::<AgentId>()?);
        blocks.push(from_row(&mut row)?);
    }
    let mut found: HashMap<AgentId, Vec<Block>> = HashMap::new();
    for (owner, block) in owners.into_iter().zip(with_tags(tx, blocks).await?) {
        found.entry(owner).or_default().push(block);
    }
    Ok(found)
}

/// The block of an agent with a label, if it has one.
///
/// # Errors
/// The database's.
pub async fn by_label(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    label: &str,
) -> Result<Option<Block>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM blocks b JOIN agents_blocks ab ON ab.block_id = b.id \
         WHERE ab.agent_id = $1 AND ab.label = $2 AND b.organization_id = $3"
    );
    let rows = tx
        .query(&sql, params![agent_id, label, scope.organization])
        .await?;
    one(tx, rows).await
}

/// What a model reads that names a label its agent does not have.
async fn no_such_label(
    tx: &mut Tx<'_>,
    agent_id: AgentId,
    label: &str,
) -> Result<StoreError, StoreError> {
    let sql = "SELECT label FROM agents_blocks WHERE agent_id = $1 ORDER BY position";
    let rows = tx.query(sql, params![agent_id]).await?;
    let labels: Result<Vec<String>, _> = rows.into_iter().map(|mut row| row.text()).collect();
    let labels = labels?;
    let there = if labels.is_empty() {
        "it has none".to_owned()
    } else {
        labels.join(", ")
    };
    Ok(StoreError::Invalid(format!(
        "this agent has no memory block with the label '{label}'; its blocks are: {there}"
    )))
}

/// What changes in a block; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct BlockPatch {
    pub label: Option<String>,
    pub value: Option<String>,
    pub limit: Option<i64>,
    pub description: Option<Option<String>>,
    pub read_only: Option<bool>,
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    pub tags: Option<Vec<String>>,
    pub hidden: Option<Option<bool>>,
    pub is_template: Option<bool>,
    /// Only those that are given change.
    pub labels: BlockLabels,
}

/// Changes a block for a client of the API.
///
/// # Errors
/// There is none, the value is over the limit, the label is another block's of an agent, or the
/// database's.
pub async fn update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: BlockId,
    patch: BlockPatch,
    now: Timestamp,
) -> Result<Block, StoreError> {
    let lock = tx.for_update();
    let before = find(tx, scope, id, lock).await?;
    thing(&before).refuse_request(tx, scope).await?;
    let mut block = before.clone();
    block.label = patch.label.unwrap_or(block.label);
    block.limit = patch.limit.unwrap_or(block.limit);
    block.description = patch.description.unwrap_or(block.description);
    block.read_only = patch.read_only.unwrap_or(block.read_only);
    block.metadata = patch.metadata.unwrap_or(block.metadata);
    block.hidden = patch.hidden.unwrap_or(block.hidden);
    block.is_template = patch.is_template.unwrap_or(block.is_template);
    block.labels = merged(block.labels, patch.labels);
    block.tags = patch.tags.unwrap_or(block.tags);
    block.value = patch.value.unwrap_or(block.value);
    check_limit(&before, &block)?;
    if scope.subject.is_some() && before.subject.is_none() {
        check_only_value(&before, &block)?;
    }
    if block.label != before.label {
        check_label(tx, &block).await?;
    }
    let author = Author::asking(scope);
    write(tx, scope, (&before, block), &author, now).await
}

/// Labels with those that a client gives in place of the present ones.
fn merged(now: BlockLabels, given: BlockLabels) -> BlockLabels {
    BlockLabels {
        project_id: given.project_id.or(now.project_id),
        template_name: given.template_name.or(now.template_name),
        template_id: given.template_id.or(now.template_id),
        base_template_id: given.base_template_id.or(now.base_template_id),
        deployment_id: given.deployment_id.or(now.deployment_id),
        entity_id: given.entity_id.or(now.entity_id),
        preserve_on_migration: given.preserve_on_migration.or(now.preserve_on_migration),
    }
}

/// Refuses that a person's turn changes more of a common block than what it says: that is known by versions, and can be taken back.
fn check_only_value(before: &Block, after: &Block) -> Result<(), StoreError> {
    let as_before = Block {
        value: before.value.clone(),
        ..after.clone()
    };
    if as_before == *before {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "the block '{}' is common to all users, so nothing was changed: in the turn of one of them only its value can change",
        before.label
    )))
}

/// Refuses a value over its limit, and a limit under its value. A block that is over its limit already
/// (it was imported so) may stay as it is or shrink.
fn check_limit(before: &Block, after: &Block) -> Result<(), StoreError> {
    let count = |block: &Block| i64::try_from(block.value.chars().count()).unwrap_or(i64::MAX);
    let (was, is) = (count(before), count(after));
    let shrinks = is < was || after.value == before.value;
    if is <= after.limit || (was > before.limit && after.limit >= before.limit && shrinks) {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "the value of block '{}' has {is} characters, its limit is {}: shorten the value or raise \
         the limit",
        after.label, after.limit
    )))
}

/// Refuses a label that one of the block's agents has on another block.
async fn check_label(tx: &mut Tx<'_>, block: &Block) -> Result<(), StoreError> {
    let sql = "SELECT other.agent_id FROM agents_blocks own \
               JOIN agents_blocks other ON other.agent_id = own.agent_id \
               WHERE own.block_id = $1 AND other.block_id <> $1 AND other.label = $2 LIMIT 1";
    let Some(mut row) = tx.query_opt(sql, params![block.id, &block.label]).await? else {
        let sql = "SELECT other.block_id FROM conversations_blocks own JOIN conversations_blocks other \
                       ON other.conversation_id = own.conversation_id \
                   WHERE own.block_id = $1 AND other.block_id <> $1 AND other.label = $2 LIMIT 1";
        let taken = tx.query_opt(sql, params![block.id, &block.label]).await?;
        return taken.map_or(Ok(()), |_| {
            Err(StoreError::Conflict(format!(
                "the conversation whose block this is has another one with the label '{}'",
                block.label
            )))
        });
    };
    let agent: AgentId = row.parse()?;
    Err(StoreError::Conflict(format!(
        "agent {agent}, to which this block is attached, has another block with the label '{}': \
         labels are unique within an agent",
        block.label
    )))
}

/// Writes a changed block; a change of anything that prompts show makes a new version.
pub(crate) async fn write(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (before, mut block): (&Block, Block),
    author: &Author,
    now: Timestamp,
) -> Result<Block, StoreError> {
    let shown = |block: &Block| {
        let words = (
            block.label.clone(),
            block.value.clone(),
            block.description.clone(),
        );
        (words, block.limit, block.read_only)
    };
    let moved = shown(before) != shown(&block);
    block.revision += i64::from(moved);
    block.updated_at = now;
    block.updated_by = Some(scope.actor);
    let sql = "UPDATE blocks SET label = $2, value = $3, char_limit = $4, description = $5, \
                   read_only = $6, metadata = $7, hidden = $8, is_template = $9, labels = $10, \
                   project_id = $11, template_name = $12, revision = $13, updated_by = $14, \
                   updated_at = $15 \
               WHERE id = $1";
    tx.execute(
        sql,
        params![
            block.id,
            &block.label,
            &block.value,
            block.limit,
            block.description.as_ref(),
            block.read_only,
            serde_json::to_string(&block.metadata)?,
            block.hidden,
            block.is_template,
            serde_json::to_string(&block.labels)?,
            block.labels.project_id.as_ref(),
            block.labels.template_name.as_ref(),
            block.revision,
            scope.actor,
            now
        ],
    )
    .await?;
    if before.label != block.label {
        for table in ["agents_blocks", "conversations_blocks"] {
            let sql = format!("UPDATE {table} SET label = $2 WHERE block_id = $1");
            tx.execute(&sql, params![block.id, &block.label]).await?;
        }
    }
    if before.tags != block.tags {
        set_tags(tx, scope, block.id, &block.tags).await?;
    }
    if moved {
        add_version(tx, &block, author, now).await?;
    }
    Ok(block)
}

/// An edit of an agent's memory.
#[derive(Debug)]
pub struct Change<'a> {
    /// The edit.
    pub edit: &'a BlockEdit,
    /// The revision that the editor saw.
    pub based_on: Option<i64>,
    /// Who makes it.
    pub author: &'a Author,
    /// When.
    pub now: Timestamp,
}

/// Applies an edit to the current value of a block that is shown in a place, whoever changed it meanwhile.
///
/// # Errors
/// There is no such block, the edit is refused (the text is for the model), or the database's.
pub async fn edit(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (place, label): (Place, &str),
    change: &Change<'_>,
) -> Result<Block, StoreError> {
    let Some(named) = shown_as(tx, scope, place, label).await? else {
        return Err(no_such_label(tx, place.agent_id, label).await?);
    };
    let lock = tx.for_update();
    let before = find(tx, scope, named.id, lock).await?;
    thing(&before).refuse(tx, scope, place.agent_id).await?;
    let value = memory::apply(change.edit, &before, change.based_on)
        .map_err(|error| StoreError::Invalid(error.to_string()))?;
    let block = Block {
        value,
        ..before.clone()
    };
    write(tx, scope, (&before, block), change.author, change.now).await
}

/// Removes a block from everywhere.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: BlockId) -> Result<(), StoreError> {
    let block = get(tx, scope, id).await?;
    thing(&block).refuse_request(tx, scope).await?;
    let sql = "UPDATE agents SET revision = revision + 1 WHERE id IN \
                   (SELECT agent_id FROM agents_blocks WHERE block_id = $1)";
    tx.execute(sql, params![id]).await?;
    tx.execute("DELETE FROM blocks WHERE id = $1", params![id])
        .await?;
    Ok(())
}

/// Attaches a block to an agent; `false` when it was attached already.
///
/// # Errors
/// There is no such block, the agent has another block of that label, or the database's.
pub async fn attach(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    id: BlockId,
) -> Result<bool, StoreError> {
    let block = get(tx, scope, id).await?;
    let sql = "SELECT block_id FROM agents_blocks WHERE agent_id = $1 AND label = $2";
    if let Some(mut row) = tx.query_opt(sql, params![agent_id, &block.label]).await? {
        if row.parse::<BlockId>()? == id {
            return Ok(false);
        }
        return Err(StoreError::Conflict(format!(
            "the agent has a block with the label '{}' already: labels are unique within an agent",
            block.label
        )));
    }
    let sql = "INSERT INTO agents_blocks (agent_id, block_id, label, position) \
               SELECT $1, $2, $3, COALESCE(MAX(position), -1) + 1 FROM agents_blocks \
               WHERE agent_id = $1";
    tx.execute(sql, params![agent_id, id, &block.label]).await?;
    Ok(true)
}

/// Whether any agent has a block.
///
/// # Errors
/// The database's.
pub async fn is_attached(tx: &mut Tx<'_>, id: BlockId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM agents_blocks WHERE block_id = $1 LIMIT 1";
    Ok(tx.query_opt(sql, params![id]).await?.is_some())
}

/// Takes a block off an agent; the block itself stays. `false` when it was not attached.
///
/// # Errors
/// The database's.
pub async fn detach(tx: &mut Tx<'_>, agent_id: AgentId, id: BlockId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM agents_blocks WHERE agent_id = $1 AND block_id = $2";
    Ok(tx.execute(sql, params![agent_id, id]).await? > 0)
}
