//! Identities, and the agents and blocks that are linked to them.

use std::collections::{BTreeSet, HashMap};

use mnemic_core::{
    identities::{Identity, IdentityType, Links, Property},
    ids::{AgentId, BlockId, IdentityId},
    scope::Scope,
    time::Timestamp,
};

use crate::{
    Param, Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "i.id, i.organization_id, i.identifier_key, i.name, i.identity_type, \
     i.properties, i.project_id, i.created_at, i.updated_at";

fn from_row(row: &mut Row) -> Result<Identity, StoreError> {
    Ok(Identity {
        id: row.parse()?,
        organization_id: row.parse()?,
        identifier_key: row.text()?,
        name: row.text()?,
        identity_type: row.named(IdentityType::parse)?,
        properties: row.json()?,
        project_id: row.opt_text()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// What changes of an identity; `None` leaves it as it is, lists replace.
#[derive(Debug, Clone, Default)]
pub struct IdentityPatch {
    /// The client's own id of it.
    pub identifier_key: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What it is.
    pub identity_type: Option<IdentityType>,
    /// Facts about it.
    pub properties: Option<Vec<Property>>,
    /// What is linked to it.
    pub links: NamedLinks,
}

/// What is to be linked to an identity; `None` leaves those links as they are, lists replace.
#[derive(Debug, Clone, Default)]
pub struct NamedLinks {
    /// The agents.
    pub agents: Option<Vec<AgentId>>,
    /// The blocks.
    pub blocks: Option<Vec<BlockId>>,
}

fn key_is_taken(key: &str) -> StoreError {
    StoreError::Conflict(format!(
        "an identity with the identifier_key '{key}' exists already in this project: change it with PUT or \
         PATCH, or choose another key"
    ))
}

/// Stores a new identity, unless its key is taken in its project; says whether it did.
async fn stored(tx: &mut Tx<'_>, scope: &Scope, new: &Identity) -> Result<bool, StoreError> {
    let sql = "INSERT INTO identities (id, organization_id, identifier_key, name, identity_type, \
                   properties, project_id, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
    let params = params![
        new.id,
        scope.organization,
        &new.identifier_key,
        &new.name,
        new.identity_type.as_str(),
        serde_json::to_string(&new.properties)?,
        new.project_id.as_ref(),
        new.created_at,
        new.updated_at
    ];
    Ok(tx.execute(sql, params).await? > 0)
}

/// Stores a new identity, linked to what is named for it.
///
/// # Errors
/// Its key is taken in its project, something that is linked does not exist, or the database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    new: &Identity,
    links: &NamedLinks,
) -> Result<(), StoreError> {
    match stored(tx, scope, new).await? {
        true => link(tx, scope, new.id, links).await,
        false => Err(key_is_taken(&new.identifier_key)),
    }
}

/// Stores a new identity, or changes the one that has its key in its project; gives the id of the stored one.
///
/// # Errors
/// Something that is linked does not exist, or the database's.
pub async fn upsert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    new: Identity,
    patch: IdentityPatch,
) -> Result<IdentityId, StoreError> {
    if stored(tx, scope, &new).await? {
        link(tx, scope, new.id, &patch.links).await?;
        return Ok(new.id);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM identities i WHERE i.organization_id = $1 AND i.identifier_key = $2 \
         AND COALESCE(i.project_id, '') = COALESCE($3, ''){}",
        tx.for_update()
    );
    let project = new.project_id.as_ref();
    let key = params![scope.organization, &new.identifier_key, project];
    let mut row = tx
        .query_opt(&sql, key)
        .await?
        // Another request deleted it in between.
        .ok_or(StoreError::Contended)?;
    let id = from_row(&mut row)?.id;
    update(tx, scope, id, patch, new.updated_at).await?;
    Ok(id)
}

/// An identity by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: IdentityId) -> Result<Identity, StoreError> {
    find(tx, scope, id, "").await
}

/// An identity by its id, kept from other writers until the commit.
///
/// # Errors
/// There is none, or the database's.
pub async fn get_for_update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: IdentityId,
) -> Result<Identity, StoreError> {
    let lock = tx.for_update();
    find(tx, scope, id, lock).await
}

async fn find(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: IdentityId,
    lock: &str,
) -> Result<Identity, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM identities i WHERE i.id = $1 AND i.organization_id = $2{lock}"
    );
    let row = tx.query_opt(&sql, params![id, scope.organization]).await?;
    row.map_or_else(
        || Err(StoreError::not_found("Identity", id)),
        |mut row| from_row(&mut row),
    )
}

/// Which identities a list shows.
#[derive(Debug, Clone, Default)]
pub struct IdentityFilter {
    /// Only those of exactly this name.
    pub name: Option<String>,
    /// Only those with this key.
    pub identifier_key: Option<String>,
    /// Only those of this type.
    pub identity_type: Option<IdentityType>,
    /// Only those of this project.
    pub project_id: Option<String>,
}

fn filtered<'f>(scope: &Scope, filter: &'f IdentityFilter, select: &str) -> Select<'f> {
    let mut query = Select::new(format!("SELECT {select} FROM identities i"));
    query.and_bind("i.organization_id = {}", scope.organization);
    for (column, wanted) in [
        ("i.name", &filter.name),
        ("i.identifier_key", &filter.identifier_key),
        ("i.project_id", &filter.project_id),
    ] {
        if let Some(wanted) = wanted {
            query.and_bind(&format!("{column} = {{}}"), wanted);
        }
    }
    if let Some(kind) = filter.identity_type {
        query.and_bind("i.identity_type = {}", kind.as_str());
    }
    query
}

/// A page of identities, by their creation.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &IdentityFilter,
    page: &Page,
) -> Result<Vec<Identity>, StoreError> {
    let keys = Keys {
        key: "i.created_at",
        id: "i.id",
        cursor: "SELECT created_at, id FROM identities WHERE id = $1",
    };
    let rows = filtered(scope, filter, COLUMNS)
        .page(tx, keys, page, UnknownCursor::Refuse("Identity"))
        .await?;
    rows.into_iter().map(|mut row| from_row(&mut row)).collect()
}

/// How many identities a filter finds.
///
/// # Errors
/// The database's.
pub async fn count(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &IdentityFilter,
) -> Result<i64, StoreError> {
    let rows = filtered(scope, filter, "COUNT(*)").all(tx, "").await?;
    rows.into_iter().next().map_or(Ok(0), |mut row| row.int())
}

/// Changes an identity.
///
/// # Errors
/// There is none, its new key is taken, something that is linked does not exist, or the database's.
pub async fn update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: IdentityId,
    patch: IdentityPatch,
    now: Timestamp,
) -> Result<(), StoreError> {
    let before = get_for_update(tx, scope, id).await?;
    link(tx, scope, id, &patch.links).await?;
    let properties = patch.properties.unwrap_or(before.properties);
    let key = patch.identifier_key.unwrap_or(before.identifier_key);
    let kind = patch.identity_type.unwrap_or(before.identity_type);
    let sql = "UPDATE identities SET identifier_key = $3, name = $4, identity_type = $5, \
                   properties = $6, updated_at = $7 WHERE id = $1 AND organization_id = $2";
    let params = params![
        id,
        scope.organization,
        &key,
        patch.name.unwrap_or(before.name),
        kind.as_str(),
        serde_json::to_string(&properties)?,
        now
    ];
    match tx.execute(sql, params).await {
        Err(StoreError::Conflict(_)) => Err(key_is_taken(&key)),
        done => done.map(drop),
    }
}

/// Deletes an identity. What was linked to it stays.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: IdentityId) -> Result<(), StoreError> {
    let sql = "DELETE FROM identities WHERE id = $1 AND organization_id = $2";
    if tx.execute(sql, params![id, scope.organization]).await? == 0 {
        return Err(StoreError::not_found("Identity", id));
    }
    Ok(())
}

/// Links an identity to exactly the agents and blocks that are named.
async fn link(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: IdentityId,
    links: &NamedLinks,
) -> Result<(), StoreError> {
    if let Some(agents) = &links.agents {
        let wanted = agents.iter().map(ToString::to_string).collect();
        let clear = "DELETE FROM agents_identities WHERE identity_id = $1";
        tx.execute(clear, params![id]).await?;
        all_linked(tx, scope, &AGENTS, (id.into(), wanted)).await?;
    }
    if let Some(blocks) = &links.blocks {
        let wanted = blocks.iter().map(ToString::to_string).collect();
        let clear = "DELETE FROM blocks_identities WHERE identity_id = $1";
        tx.execute(clear, params![id]).await?;
        all_linked(tx, scope, &BLOCKS, (id.into(), wanted)).await?;
    }
    Ok(())
}

/// A table of links, seen from one of its sides.
struct LinkTable {
    table: &'static str,
    /// The column of the side that has links.
    from: &'static str,
    /// The column of the side that is linked, the table of that, and its name.
    to: (&'static str, &'static str, &'static str),
}

const AGENTS: LinkTable = LinkTable {
    table: "agents_identities",
    from: "identity_id",
    to: ("agent_id", "agents", "agent"),
};

const BLOCKS: LinkTable = LinkTable {
    table: "blocks_identities",
    from: "identity_id",
    to: ("block_id", "blocks", "block"),
};

const OF_AGENT: LinkTable = LinkTable {
    table: "agents_identities",
    from: "agent_id",
    to: ("identity_id", "identities", "identity"),
};

/// Links all of several things to one; each may be named more than once.
async fn all_linked(
    tx: &mut Tx<'_>,
    scope: &Scope,
    links: &LinkTable,
    (from, wanted): (Param<'_>, BTreeSet<String>),
) -> Result<(), StoreError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let (column, table, noun) = links.to;
    let ids: Vec<String> = wanted.iter().cloned().collect();
    let known = format!(
        "SELECT t.id FROM {table} t WHERE {} AND {} = $2",
        tx.any_of("t.id", 1),
        tx.unindexed("t.organization_id")
    );
    let mut missing = wanted;
    let rows = tx
        .query(&known, params![ids.clone(), scope.organization])
        .await?;
    for mut row in rows {
        missing.remove(&row.text()?);
    }
    if let Some(missing) = missing.first() {
        return Err(StoreError::Invalid(format!(
            "{noun} {missing} does not exist"
        )));
    }
    let rows = ids.into_iter().map(|id| vec![from.clone(), id.into()]);
    tx.insert_rows(links.table, &[links.from, column], rows.collect())
        .await
}

/// Makes an agent linked to exactly these identities.
///
/// # Errors
/// One of them does not exist, or the database's.
pub async fn set_of_agent(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent: AgentId,
    identities: &[IdentityId],
) -> Result<(), StoreError> {
    let clear = "DELETE FROM agents_identities WHERE agent_id = $1";
    tx.execute(clear, params![agent]).await?;
    let wanted = identities.iter().map(ToString::to_string).collect();
    all_linked(tx, scope, &OF_AGENT, (agent.into(), wanted)).await
}

/// The identities that several agents are linked to, oldest first.
///
/// # Errors
/// The database's.
pub async fn of_agents(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<Identity>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT x.agent_id, {COLUMNS} FROM agents_identities x JOIN identities i ON i.id = x.identity_id \
         WHERE {} AND {} = $2 ORDER BY i.created_at, i.id",
        tx.any_of("x.agent_id", 1),
        tx.unindexed("i.organization_id")
    );
    let mut found: HashMap<AgentId, Vec<Identity>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids, scope.organization]).await? {
        let agent = row.parse()?;
        found.entry(agent).or_default().push(from_row(&mut row)?);
    }
    Ok(found)
}

/// The identities that several blocks are linked to.
///
/// # Errors
/// The database's.
pub async fn of_blocks(
    tx: &mut Tx<'_>,
    scope: &Scope,
    blocks: &[BlockId],
) -> Result<HashMap<BlockId, Vec<Identity>>, StoreError> {
    let ids: Vec<String> = blocks.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT x.block_id, {COLUMNS} FROM blocks_identities x JOIN identities i ON i.id = x.identity_id \
         WHERE {} AND {} = $2 ORDER BY i.created_at, i.id",
        tx.any_of("x.block_id", 1),
        tx.unindexed("i.organization_id")
    );
    let mut found: HashMap<BlockId, Vec<Identity>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids, scope.organization]).await? {
        let block = row.parse()?;
        found.entry(block).or_default().push(from_row(&mut row)?);
    }
    Ok(found)
}

/// What is linked to several identities.
///
/// # Errors
/// The database's.
pub async fn links_of(
    tx: &mut Tx<'_>,
    scope: &Scope,
    identities: &[IdentityId],
) -> Result<HashMap<IdentityId, Links>, StoreError> {
    let ids: Vec<String> = identities.iter().map(ToString::to_string).collect();
    let mut found: HashMap<IdentityId, Links> = HashMap::new();
    let sql = format!(
        "SELECT identity_id, agent_id FROM agents_identities WHERE {} ORDER BY agent_id",
        tx.any_of("identity_id", 1)
    );
    for mut row in tx.query(&sql, params![ids.clone()]).await? {
        let links = found.entry(row.parse()?).or_default();
        links.agents.push(row.parse()?);
    }
    // A block may be an end user's own.
    let sql = format!(
        "SELECT x.identity_id, x.block_id FROM blocks_identities x JOIN blocks b ON b.id = x.block_id \
         WHERE {} AND (b.subject IS NULL OR $2 = '' OR b.subject = $2) ORDER BY x.block_id",
        tx.any_of("x.identity_id", 1)
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    for mut row in tx.query(&sql, params![ids, subject]).await? {
        let links = found.entry(row.parse()?).or_default();
        links.blocks.push(row.parse()?);
    }
    Ok(found)
}

/// What an identity is attached to, one at a time.
#[derive(Debug, Clone, Copy)]
pub enum Attachment {
    /// An agent.
    Agent(AgentId),
    /// A block.
    Block(BlockId),
}

impl Attachment {
    /// The table of links, its column, and the id.
    fn place(self) -> (&'static str, &'static str, Param<'static>) {
        match self {
            Self::Agent(id) => ("agents_identities", "agent_id", id.into()),
            Self::Block(id) => ("blocks_identities", "block_id", id.into()),
        }
    }

    /// Whether it exists.
    async fn check(self, tx: &mut Tx<'_>, scope: &Scope) -> Result<(), StoreError> {
        match self {
            Self::Agent(id) => crate::agents::get(tx, scope, id).await.map(drop),
            Self::Block(id) => crate::blocks::get(tx, scope, id).await.map(drop),
        }
    }
}

/// Attaches an identity; one that is attached already stays so.
///
/// # Errors
/// One of the two does not exist, or the database's.
pub async fn attach(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: IdentityId,
    to: Attachment,
) -> Result<(), StoreError> {
    to.check(tx, scope).await?;
    get(tx, scope, id).await?;
    let (table, column, other) = to.place();
    let sql = format!(
        "INSERT INTO {table} ({column}, identity_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    );
    tx.execute(&sql, &[other, id.into()]).await.map(drop)
}

/// Detaches an identity; one that is not attached stays so.
///
/// # Errors
/// One of the two does not exist, or the database's.
pub async fn detach(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: IdentityId,
    from: Attachment,
) -> Result<(), StoreError> {
    from.check(tx, scope).await?;
    get(tx, scope, id).await?;
    let (table, column, other) = from.place();
    let sql = format!("DELETE FROM {table} WHERE {column} = $1 AND identity_id = $2");
    tx.execute(&sql, &[other, id.into()]).await.map(drop)
}
