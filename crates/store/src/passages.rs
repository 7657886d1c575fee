//! Passages: the texts of archival memory.

use mnemic_core::{
    ids::{AgentId, ArchiveId, PassageId},
    passages::Passage,
    scope::Scope,
    time::Timestamp,
};

use crate::{
    Param, Row, StoreError, Tx, archives,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "p.seq, p.id, p.archive_id, p.subject, p.text, p.tags, p.metadata, p.created_by, \
     p.created_at, p.updated_at";

fn from_row(mut row: Row) -> Result<Passage, StoreError> {
    Ok(Passage {
        seq: row.int()?,
        id: row.parse()?,
        archive_id: row.parse()?,
        subject: row.opt_text()?,
        text: row.text()?,
        tags: row.json()?,
        metadata: row.opt_json()?.unwrap_or_default(),
        created_by: row.opt_parse()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// Stores passages of one archive in their order. They are found by their words at once.
///
/// # Errors
/// The archive is gone, or the database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    archive_id: ArchiveId,
    passages: &[Passage],
) -> Result<(), StoreError> {
    // Whoever writes to an archive holds its row, so that passages become visible in the order of
    // their numbers and no reader that goes on from the last number misses one.
    let count = i64::try_from(passages.len()).unwrap_or(i64::MAX);
    counted(tx, scope, archive_id, (scope.subject.as_deref(), count)).await?;
    let run = scope.caller.as_ref().map(|caller| caller.run_id);
    let mut rows = Vec::with_capacity(passages.len());
    for passage in passages {
        rows.push(vec![
            Param::from(passage.id),
            Param::from(scope.organization),
            Param::from(archive_id),
            Param::from(scope.subject.as_ref()),
            Param::from(&passage.text),
            Param::from(serde_json::to_string(&passage.tags)?),
            Param::from(serde_json::to_string(&passage.metadata)?),
            Param::from(passage.created_by),
            Param::from(passage.created_at),
            Param::from(passage.updated_at),
            Param::from(run),
        ]);
    }
    let columns = [
        "id",
        "organization_id",
        "archive_id",
        "subject",
        "text",
        "tags",
        "metadata",
        "created_by",
        "created_at",
        "updated_at",
        "run_id",
    ];
    tx.insert_rows("passages", &columns, rows).await
}

/// Holds an archive's row, and notes that so many passages, of one person or common, come to it or go.
async fn counted(
    tx: &mut Tx<'_>,
    scope: &Scope,
    archive_id: ArchiveId,
    (subject, more): (Option<&str>, i64),
) -> Result<(), StoreError> {
    let sql = "UPDATE archives SET passage_count = passage_count + $3 WHERE id = $1 AND organization_id = $2";
    let common = if subject.is_none() { more } else { 0 };
    let held = tx
        .execute(sql, params![archive_id, scope.organization, common])
        .await?;
    if held == 0 {
        return Err(StoreError::not_found("Archive", archive_id));
    }
    let Some(subject) = subject else {
        return Ok(());
    };
    let sql = "INSERT INTO own_passage_counts (archive_id, subject, passage_count) VALUES ($1, $2, $3) \
               ON CONFLICT (archive_id, subject) \
               DO UPDATE SET passage_count = own_passage_counts.passage_count + excluded.passage_count";
    tx.execute(sql, params![archive_id, subject, more]).await?;
    Ok(())
}

/// A passage by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: PassageId) -> Result<Passage, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM passages p WHERE p.id = $1 AND p.organization_id = $2 \
           AND p.archive_id IS NOT NULL AND ($3 = '' OR p.subject IS NULL OR p.subject = $3)"
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.query_opt(&sql, params![id, scope.organization, subject])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Passage", id)), from_row)
}

/// The passages of these numbers; those that are gone are missing in the answer.
///
/// # Errors
/// The database's.
pub async fn by_seqs(
    tx: &mut Tx<'_>,
    scope: &Scope,
    archive_id: ArchiveId,
    seqs: &[i64],
) -> Result<Vec<Passage>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM passages p"));
    select.and_bind("p.archive_id = {}", archive_id).and_bind(
        &format!("{} = {{}}", tx.unindexed("p.organization_id")),
        scope.organization,
    );
    let n = select.bind(Param::numbers(seqs));
    select.and(tx.any_number("p.seq", n));
    let rows = select.all(tx, "").await?;
    rows.into_iter().map(from_row).collect()
}

/// Which passages a list shows.
#[derive(Debug, Clone, Default)]
pub struct PassageFilter {
    /// Only those of the archives of this agent.
    pub agent_id: Option<AgentId>,
    /// Only those of this archive.
    pub archive_id: Option<ArchiveId>,
    /// Only those that contain this text, in any case of ASCII letters.
    pub search: Option<String>,
    /// Only those that have a tag of each of these lists.
    pub tags: Vec<Vec<String>>,
    /// Only those of this time or later.
    pub start: Option<Timestamp>,
    /// Only those of this time or earlier.
    pub end: Option<Timestamp>,
}

/// A page of passages, by their dates.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &PassageFilter,
    page: &Page,
) -> Result<Vec<Passage>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM passages p"));
    let organization = format!("{} = {{}}", tx.unindexed("p.organization_id"));
    select.and_bind(&organization, scope.organization);
    if let Some(subject) = &scope.subject {
        select.and_bind("(p.subject IS NULL OR p.subject = {})", subject);
    }
    if let Some(id) = filter.agent_id {
        select.and_bind(
            "p.archive_id IN (SELECT x.archive_id FROM agents_archives x WHERE x.agent_id = {})",
            id,
        );
    }
    if let Some(id) = filter.archive_id {
        select.and_bind("p.archive_id = {}", id);
    }
    if let Some(text) = &filter.search {
        let n = select.bind(text);
        select.and(tx.contains("p.text", n));
    }
    for tags in &filter.tags {
        let n = select.bind(tags.clone());
        select.and(tx.has_any("p.tags", n));
    }
    if let Some(start) = filter.start {
        select.and_bind("p.created_at >= {}", start);
    }
    if let Some(end) = filter.end {
        select.and_bind("p.created_at <= {}", end);
    }
    let keys = Keys {
        key: "p.created_at",
        id: "p.id",
        cursor: "SELECT created_at, id FROM passages WHERE id = $1",
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Passage"))
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Deletes a passage with its vectors.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: PassageId) -> Result<Passage, StoreError> {
    let passage = get(tx, scope, id).await?;
    if passage.subject.is_none() {
        let archive = archives::get(tx, scope, passage.archive_id).await?;
        archives::thing(&archive).refuse_request(tx, scope).await?;
    }
    forget(tx, scope, id).await?;
    Ok(passage)
}

/// Deletes a passage with its vectors, whoever asks for it; tells how many vectors it had.
///
/// # Errors
/// There is none, or the database's.
pub(crate) async fn forget(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: PassageId,
) -> Result<u64, StoreError> {
    let passage = get(tx, scope, id).await?;
    let fewer = (passage.subject.as_deref(), -1);
    counted(tx, scope, passage.archive_id, fewer).await?;
    // The passage first: whoever is about to store its vectors holds it, and has ended then.
    let sql = "DELETE FROM passages WHERE id = $1 AND organization_id = $2";
    tx.execute(sql, params![id, scope.organization]).await?;
    let sql = "DELETE FROM vectors WHERE scope = $1 AND item = $2";
    let key = passage.archive_id.to_string();
    tx.execute(sql, params![key, passage.seq]).await
}

/// How many passages an agent's archives hold: those that are common, and those of the scope's user.
///
/// # Errors
/// The database's.
pub async fn count(tx: &mut Tx<'_>, scope: &Scope, agent_id: AgentId) -> Result<i64, StoreError> {
    let sql = format!(
        "SELECT CAST(COALESCE(SUM(r.passage_count + COALESCE(o.passage_count, 0)), 0) AS BIGINT) \
         FROM agents_archives x JOIN archives r ON r.id = x.archive_id \
         LEFT JOIN own_passage_counts o ON o.archive_id = r.id AND o.subject = $3 \
         WHERE x.agent_id = $1 AND {} = $2",
        tx.unindexed("r.organization_id")
    );
    let subject = scope.subject.as_deref().unwrap_or_default();
    tx.query_one(&sql, params![agent_id, scope.organization, subject])
        .await?
        .int()
}

/// A passage as far as the text index needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Indexed {
    /// Its number.
    pub seq: i64,
    /// Its text.
    pub text: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it was so.
    pub created_at: mnemic_core::time::Timestamp,
}

/// The passages of an archive after a number, in their order; `subject` says whose.
///
/// # Errors
/// The database's.
pub async fn after(
    tx: &mut Tx<'_>,
    archive_id: ArchiveId,
    subject: Option<&str>,
    (seq, limit): (i64, i64),
) -> Result<Vec<Indexed>, StoreError> {
    let sql = "SELECT p.seq, p.text, p.tags, p.created_at FROM passages p \
               WHERE p.archive_id = $1 AND p.seq > $2 AND COALESCE(p.subject, '') = $3 \
               ORDER BY p.seq LIMIT $4";
    let subject = subject.unwrap_or_default();
    let rows = tx
        .query(sql, params![archive_id, seq, subject, limit])
        .await?;
    rows.into_iter().map(indexed).collect()
}

/// The passages of an archive with a number above `above` and below `below`, the newest first, of
/// whatever end user.
///
/// # Errors
/// The database's.
pub async fn downwards(
    tx: &mut Tx<'_>,
    archive_id: ArchiveId,
    (above, below): (i64, i64),
    limit: i64,
) -> Result<Vec<Indexed>, StoreError> {
    let sql = "SELECT p.seq, p.text, p.tags, p.created_at FROM passages p \
               WHERE p.archive_id = $1 AND p.seq > $2 AND p.seq < $3 \
               ORDER BY p.seq DESC LIMIT $4";
    let rows = tx
        .query(sql, params![archive_id, above, below, limit])
        .await?;
    rows.into_iter().map(indexed).collect()
}

fn indexed(mut row: Row) -> Result<Indexed, StoreError> {
    Ok(Indexed {
        seq: row.int()?,
        text: row.text()?,
        tags: row.json()?,
        created_at: row.time()?,
    })
}
