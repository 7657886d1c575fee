//! Which texts still wait for their vectors.
//!
//! Turns and inserts write nothing here: the worker looks up to which row each table has grown and
//! marks the agents and archives whose texts those are. What is marked is worked off scope by scope,
//! the newest first.

use mnemic_core::{ids::OrganizationId, time::Timestamp};

use crate::{Dialect, Row, StoreError, Tx, leases::now_sql, params};

/// What a scope's texts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    /// The messages of an agent.
    Messages,
    /// The passages of an archive.
    Passages,
}

impl ScopeKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Messages, Self::Passages];

    /// The table of its rows.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Passages => "passages",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The column that names the scope of a row.
    pub(crate) const fn owner(self) -> &'static str {
        match self {
            Self::Messages => "agent_id",
            Self::Passages => "archive_id",
        }
    }
}

/// A scope that has texts without vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyScope {
    /// The agent's or archive's id.
    pub scope: String,
    /// Whose it is.
    pub organization: OrganizationId,
    /// What its texts are.
    pub kind: ScopeKind,
    /// The model by which all texts up to `done_to` have their vectors.
    pub model: Option<String>,
    /// See there.
    pub done_to: i64,
    /// When it was marked; negative: when its model failed.
    pub dirty_at: i64,
    /// The handle of its embedding model; `None` is the server's default.
    pub handle: Option<String>,
    /// Whether the agent or archive still exists.
    pub is_there: bool,
}

/// Rows by which PostgreSQL may be late: numbers are handed out before their rows can be seen, so the
/// last ones are looked at again.
pub const LATE_ROWS: i64 = 4_096;

/// How far back a reader that goes on from a row number has to look again.
#[must_use]
pub fn overlap(dialect: Dialect) -> i64 {
    match dialect {
        Dialect::Sqlite => 0,
        Dialect::Postgres => LATE_ROWS,
    }
}

/// Marks a scope as one with texts to embed.
///
/// # Errors
/// The database's.
pub async fn mark(
    tx: &mut Tx<'_>,
    (organization, kind): (OrganizationId, ScopeKind),
    scope: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO embed_scopes (scope, organization_id, kind, done_to, dirty_at) \
               VALUES ($1, $2, $3, 0, $4) \
               ON CONFLICT (scope) DO UPDATE SET dirty_at = excluded.dirty_at";
    tx.execute(sql, params![scope, organization, kind.as_str(), now])
        .await
        .map(drop)
}

/// Marks all scopes that are known, for a server whose embedding model is another one than before.
///
/// # Errors
/// The database's.
pub async fn mark_all(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
    tx.execute("UPDATE embed_scopes SET dirty_at = $1", params![now])
        .await
        .map(drop)
}

/// Forgets a scope that is deleted, with its vectors.
///
/// # Errors
/// The database's.
pub async fn forget(tx: &mut Tx<'_>, scope: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM vectors WHERE scope = $1", params![scope])
        .await?;
    tx.execute("DELETE FROM embed_scopes WHERE scope = $1", params![scope])
        .await
        .map(drop)
}

/// Whether a process may embed the texts of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It may, for a while.
    Held,
    /// Another process does.
    Of(String),
    /// Nothing is known of the scope any more.
    Gone,
}

/// Takes or keeps the right to embed the texts of a scope for `seconds`: one process at a time has it.
///
/// # Errors
/// The database's.
pub async fn claim(
    tx: &mut Tx<'_>,
    scope: &str,
    owner: &str,
    seconds: i64,
) -> Result<Claim, StoreError> {
    let now = now_sql(tx.dialect());
    let sql = format!(
        "UPDATE embed_scopes SET owner = $2, owned_until = {now} + $3 WHERE scope = $1 \
         AND (owner IS NULL OR owner = $2 OR owned_until < {now})"
    );
    let micros = seconds.saturating_mul(1_000_000);
    if tx.execute(&sql, params![scope, owner, micros]).await? > 0 {
        return Ok(Claim::Held);
    }
    let sql = "SELECT owner FROM embed_scopes WHERE scope = $1";
    let row = tx.query_opt(sql, params![scope]).await?;
    let owner = row.map(|mut row| row.opt_text()).transpose()?;
    Ok(owner.flatten().map_or(Claim::Gone, Claim::Of))
}

/// Gives a scope back that a process embeds, or embedded before it died.
///
/// # Errors
/// The database's.
pub async fn release(tx: &mut Tx<'_>, scope: &str, owner: &str) -> Result<(), StoreError> {
    let sql =
        "UPDATE embed_scopes SET owner = NULL, owned_until = NULL WHERE scope = $1 AND owner = $2";
    tx.execute(sql, params![scope, owner]).await.map(drop)
}

/// The processes that embed something, dead ones too.
///
/// # Errors
/// The database's.
pub async fn owners(tx: &mut Tx<'_>) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT owner FROM embed_scopes \
               WHERE dirty_at IS NOT NULL AND owner IS NOT NULL";
    let rows = tx.query(sql, &[]).await?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// Gives the scopes of dead processes to whoever comes first.
///
/// # Errors
/// The database's.
pub async fn free_dead(tx: &mut Tx<'_>, dead: &[String]) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE embed_scopes SET owner = NULL, owned_until = NULL \
         WHERE dirty_at IS NOT NULL AND {}",
        tx.any_of("owner", 1)
    );
    tx.execute(&sql, params![dead.to_vec()]).await.map(drop)
}

/// Puts a scope behind those whose models answer: its own did not. Of several such, the one that was
/// tried last comes last.
///
/// # Errors
/// The database's.
pub async fn postpone(
    tx: &mut Tx<'_>,
    scope: &DirtyScope,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE embed_scopes SET dirty_at = $3 WHERE scope = $1 AND dirty_at = $2";
    let bound = params![&scope.scope, scope.dirty_at, now.0.saturating_neg()];
    tx.execute(sql, bound).await.map(drop)
}

/// Lets all texts of a model be embedded anew: its vectors have another length than before.
///
/// # Errors
/// The database's.
pub async fn restart(tx: &mut Tx<'_>, model: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE embed_scopes SET done_to = 0, dirty_at = $2 WHERE model = $1";
    tx.execute(sql, params![model, now]).await.map(drop)
}

/// Says that the last rows of a kind may be gone: SQLite gives their numbers to the next ones.
///
/// # Errors
/// The database's.
pub(crate) async fn lower(tx: &mut Tx<'_>, kind: ScopeKind) -> Result<(), StoreError> {
    let table = kind.as_str();
    let sql = format!(
        "UPDATE embed_cursors SET seen_to = (SELECT COALESCE(MAX(seq), 0) FROM {table}) \
         WHERE name = $1 AND seen_to > (SELECT COALESCE(MAX(seq), 0) FROM {table})"
    );
    tx.execute(&sql, params![table]).await.map(drop)
}

/// The greatest number of a kind's rows, and up to which the worker has looked.
///
/// # Errors
/// The database's.
pub async fn heights(tx: &mut Tx<'_>, kind: ScopeKind) -> Result<(i64, i64), StoreError> {
    let table = kind.as_str();
    let sql = format!(
        "SELECT COALESCE((SELECT MAX(seq) FROM {table}), 0), \
             COALESCE((SELECT seen_to FROM embed_cursors WHERE name = $1), 0)"
    );
    let mut row = tx.query_one(&sql, params![table]).await?;
    Ok((row.int()?, row.int()?))
}

/// Remembers the server's default embedding model. Returns whether it was another one before, or none.
///
/// # Errors
/// The database's.
pub async fn remember_default(tx: &mut Tx<'_>, model: &str) -> Result<bool, StoreError> {
    let sql = "SELECT value FROM server_facts WHERE name = 'embedding_model'";
    let known = match tx.query_opt(sql, &[]).await? {
        Some(mut row) => row.opt_bytes()?.unwrap_or_default(),
        None => Vec::new(),
    };
    if known == model.as_bytes() {
        return Ok(false);
    }
    let sql = "INSERT INTO server_facts (name, value) VALUES ('embedding_model', $1) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.execute(sql, params![model.as_bytes()]).await?;
    Ok(true)
}

/// Marks the scopes of all rows that came since the last look. Returns how many rows were looked at.
///
/// # Errors
/// The database's.
pub async fn notice(
    tx: &mut Tx<'_>,
    kind: ScopeKind,
    now: Timestamp,
    limit: i64,
) -> Result<i64, StoreError> {
    let (table, owner) = (kind.as_str(), kind.owner());
    let sql = "SELECT seen_to FROM embed_cursors WHERE name = $1";
    let seen = match tx.query_opt(sql, params![table]).await? {
        Some(mut row) => row.int()?,
        None => 0,
    };
    let from = (seen - overlap(tx.dialect())).max(0);
    // SQLite must not take the index of an organization, which is all rows.
    let sql = format!(
        "SELECT x.{owner}, x.organization_id, MAX(x.seq), COUNT(*) FROM (SELECT {owner}, \
             organization_id, seq FROM {table} WHERE seq > $1 AND {owner} IS NOT NULL \
             ORDER BY seq LIMIT $2) x GROUP BY x.{owner}, x.organization_id"
    );
    let mut to = seen;
    let mut rows = 0;
    for mut row in tx.query(&sql, params![from, limit]).await? {
        let (scope, organization): (String, OrganizationId) = (row.text()?, row.parse()?);
        let last = row.int()?;
        rows += row.int()?;
        mark_if_new(tx, (organization, kind), (&scope, last, seen), now).await?;
        to = to.max(last);
    }
    let sql = "INSERT INTO embed_cursors (name, seen_to) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET seen_to = excluded.seen_to";
    if to > seen {
        tx.execute(sql, params![table, to]).await?;
    }
    Ok(if to > seen { rows } else { 0 })
}

/// Marks a scope whose last row is new. One that is marked already is marked again, so that whoever
/// embeds it at the moment does not take the mark away with the rows that it knows; but not for rows
/// that are only looked at again.
async fn mark_if_new(
    tx: &mut Tx<'_>,
    of: (OrganizationId, ScopeKind),
    (scope, last, seen): (&str, i64, i64),
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM embed_scopes WHERE scope = $1 \
               AND (done_to >= $2 OR ($2 <= $3 AND dirty_at IS NOT NULL))";
    if tx
        .query_opt(sql, params![scope, last, seen])
        .await?
        .is_some()
    {
        return Ok(());
    }
    mark(tx, of, scope, now).await
}

/// The marked scopes, the newest first, and those whose models failed last.
///
/// # Errors
/// The database's.
pub async fn dirty(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<DirtyScope>, StoreError> {
    let sql = "SELECT s.scope, s.organization_id, s.kind, s.model, s.done_to, s.dirty_at, \
                   COALESCE(a.embedding_config, r.embedding_config), COALESCE(a.id, r.id) \
               FROM embed_scopes s LEFT JOIN agents a ON a.id = s.scope \
                   LEFT JOIN archives r ON r.id = s.scope \
               WHERE s.dirty_at IS NOT NULL ORDER BY s.dirty_at DESC LIMIT $1";
    let rows = tx.query(sql, params![limit]).await?;
    rows.into_iter().map(from_row).collect()
}

/// How many scopes are marked.
///
/// # Errors
/// The database's.
pub async fn backlog(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) FROM embed_scopes WHERE dirty_at IS NOT NULL";
    tx.query_one(sql, &[]).await?.int()
}

/// Says that all texts of a scope up to `done_to` have their vectors by a model, and gives it back. The
/// mark goes unless it was set again meanwhile.
///
/// # Errors
/// The database's.
pub async fn done(
    tx: &mut Tx<'_>,
    scope: &DirtyScope,
    model: Option<&str>,
    done_to: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE embed_scopes SET model = $2, done_to = $3, owner = NULL, owned_until = NULL, \
                   dirty_at = CASE WHEN dirty_at = $4 THEN NULL ELSE dirty_at END WHERE scope = $1";
    let bound = params![&scope.scope, model, done_to, scope.dirty_at];
    tx.execute(sql, bound).await.map(drop)
}

fn from_row(mut row: Row) -> Result<DirtyScope, StoreError> {
    Ok(DirtyScope {
        scope: row.text()?,
        organization: row.parse()?,
        kind: row.named(ScopeKind::parse)?,
        model: row.opt_text()?,
        done_to: row.int()?,
        dirty_at: row.int()?,
        handle: handle_in(row.opt_json()?),
        is_there: row.opt_text()?.is_some(),
    })
}

fn handle_in(config: Option<serde_json::Value>) -> Option<String> {
    Some(config?.get("handle")?.as_str()?.to_owned())
}
