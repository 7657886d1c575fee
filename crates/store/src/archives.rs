//! Archives and the agents that have them.

use mnemic_core::{
    archives::Archive,
    ids::{AgentId, ArchiveId},
    scope::Scope,
    time::Timestamp,
};

use crate::{
    Row, StoreError, Tx,
    closed::Thing,
    embed_scopes::{self, ScopeKind},
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "r.id, r.subject, r.name, r.description, r.embedding_config, r.metadata, \
     r.created_by, r.updated_by, r.created_at, r.updated_at";

fn from_row(mut row: Row) -> Result<Archive, StoreError> {
    Ok(Archive {
        id: row.parse()?,
        subject: row.opt_text()?,
        name: row.text()?,
        description: row.opt_text()?,
        embedding_config: row.opt_json()?,
        metadata: row.opt_json()?,
        created_by: row.opt_parse()?,
        updated_by: row.opt_parse()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// Stores a new archive.
///
/// # Errors
/// The database's.
pub async fn insert(tx: &mut Tx<'_>, scope: &Scope, archive: &Archive) -> Result<(), StoreError> {
    let sql = "INSERT INTO archives (id, organization_id, subject, name, description, \
                   embedding_config, metadata, created_by, updated_by, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let metadata = archive.metadata.as_ref().map(serde_json::to_string);
    tx.execute(
        sql,
        params![
            archive.id,
            scope.organization,
            archive.subject.as_ref(),
            &archive.name,
            archive.description.as_ref(),
            archive.embedding_config.as_ref(),
            metadata.transpose()?,
            archive.created_by,
            archive.updated_by,
            archive.created_at,
            archive.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// An archive by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: ArchiveId) -> Result<Archive, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM archives r WHERE r.id = $1 AND r.organization_id = $2");
    tx.query_opt(&sql, params![id, scope.organization])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Archive", id)), from_row)
}

/// The archives of an agent, its own first.
///
/// # Errors
/// The database's.
pub async fn of_agent(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<Vec<Archive>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM agents_archives x JOIN archives r ON r.id = x.archive_id \
         WHERE x.agent_id = $1 AND {} = $2 AND (r.subject IS NULL OR r.subject = $3) \
         ORDER BY x.is_owner DESC, x.created_at, r.id",
        tx.unindexed("r.organization_id")
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    let rows = tx
        .query(&sql, params![agent_id, scope.organization, subject])
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Which archives a list shows.
#[derive(Debug, Clone, Default)]
pub struct ArchiveFilter {
    /// Only those of this agent.
    pub agent_id: Option<AgentId>,
    /// Only those of exactly this name.
    pub name: Option<String>,
}

/// A page of archives, by their creation.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &ArchiveFilter,
    page: &Page,
) -> Result<Vec<Archive>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM archives r"));
    select.and_bind("r.organization_id = {}", scope.organization);
    if let Some(subject) = &scope.subject {
        select.and_bind("(r.subject IS NULL OR r.subject = {})", subject);
    }
    if let Some(id) = filter.agent_id {
        select.and_bind(
            "EXISTS (SELECT 1 FROM agents_archives x WHERE x.archive_id = r.id AND x.agent_id = {})",
            id,
        );
    }
    if let Some(name) = &filter.name {
        select.and_bind("r.name = {}", name);
    }
    let keys = Keys {
        key: "r.created_at",
        id: "r.id",
        cursor: "SELECT created_at, id FROM archives WHERE id = $1",
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Archive"))
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// An archive as something that may be common.
pub(crate) fn thing(archive: &Archive) -> Thing<'_> {
    Thing {
        noun: "archive",
        name: &archive.name,
        subject: archive.subject.as_deref(),
        of_agent: "agents_archives WHERE agent_id = $1 AND archive_id = $2",
        id: archive.id.to_string(),
    }
}

/// Stores a changed archive. When its embedding model is another one, its passages are embedded anew
/// in the background.
///
/// # Errors
/// There is none, or the database's.
pub async fn update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    archive: &Archive,
    now: Timestamp,
) -> Result<(), StoreError> {
    let before = get(tx, scope, archive.id).await?;
    thing(&before).refuse_request(tx, scope).await?;
    let sql = "UPDATE archives SET name = $3, description = $4, embedding_config = $5, \
                   updated_by = $6, updated_at = $7 WHERE id = $1 AND organization_id = $2";
    tx.execute(
        sql,
        params![
            archive.id,
            scope.organization,
            &archive.name,
            archive.description.as_ref(),
            archive.embedding_config.as_ref(),
            scope.actor,
            now
        ],
    )
    .await?;
    if before.embedding_handle() != archive.embedding_handle() {
        let key = archive.id.to_string();
        embed_scopes::mark(tx, (scope.organization, ScopeKind::Passages), &key, now).await?;
    }
    Ok(())
}

/// Deletes an archive with its passages.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: ArchiveId) -> Result<(), StoreError> {
    let archive = get(tx, scope, id).await?;
    if scope.subject.is_some() && archive.subject.is_none() {
        // Open or not, others have passages in it.
        return Err(StoreError::Invalid(
            "an archive that is common to all users can't be deleted in the turn of one of them"
                .to_owned(),
        ));
    }
    let sql = "DELETE FROM archives WHERE id = $1 AND organization_id = $2";
    tx.execute(sql, params![id, scope.organization]).await?;
    embed_scopes::forget(tx, &id.to_string()).await
}

/// Attaches an archive to an agent, as the one its passages go into or as a further one. Returns
/// `false` when it was attached already.
///
/// # Errors
/// There is no such archive, or the database's.
pub async fn attach(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent_id, id): (AgentId, ArchiveId),
    now: Timestamp,
) -> Result<bool, StoreError> {
    get(tx, scope, id).await?;
    // The first archive of an agent is the one that it writes to.
    let sql = "INSERT INTO agents_archives (agent_id, archive_id, is_owner, created_at) \
               SELECT $1, $2, CASE WHEN EXISTS (SELECT 1 FROM agents_archives \
                   WHERE agent_id = $1 AND is_owner = 1) THEN 0 ELSE 1 END, $3 WHERE 1 = 1 \
               ON CONFLICT (agent_id, archive_id) DO NOTHING";
    Ok(tx.execute(sql, params![agent_id, id, now]).await? > 0)
}

/// Takes an archive off an agent; of those left, the oldest becomes the one it writes to. Returns
/// `false` when it was not attached.
///
/// # Errors
/// The database's.
pub async fn detach(tx: &mut Tx<'_>, agent_id: AgentId, id: ArchiveId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM agents_archives WHERE agent_id = $1 AND archive_id = $2";
    let gone = tx.execute(sql, params![agent_id, id]).await? > 0;
    let sql = "UPDATE agents_archives SET is_owner = 1 WHERE agent_id = $1 AND archive_id = (\
                   SELECT archive_id FROM agents_archives WHERE agent_id = $1 \
                   ORDER BY created_at, archive_id LIMIT 1) \
               AND NOT EXISTS (SELECT 1 FROM agents_archives WHERE agent_id = $1 AND is_owner = 1)";
    tx.execute(sql, params![agent_id]).await?;
    Ok(gone)
}

/// The archives of the organization, for a search over all of them.
///
/// # Errors
/// The database's.
pub async fn all(tx: &mut Tx<'_>, scope: &Scope, limit: i64) -> Result<Vec<Archive>, StoreError> {
    let page = Page::first(limit, crate::page::Order::Desc);
    list(tx, scope, &ArchiveFilter::default(), &page).await
}
