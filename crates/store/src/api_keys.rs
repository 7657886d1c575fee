//! Keys of the API, known by the digests of their secrets.

use mnemic_core::{
    api_keys::{ApiKey, KeyScope},
    ids::ApiKeyId,
    scope::Scope,
    time::Timestamp,
};

use crate::{
    Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

/// The fact that a key was made once: from then on the server is closed, also when all keys are revoked.
const FACT: &str = "api_keys";

/// How long the time of a key's last use stays as it is, in microseconds.
pub const USE_MICROS: i64 = 60_000_000;

const KEY: &str = "SELECT id, organization_id, user_id, name, scope, hint, created_at, last_used_at, revoked_at \
     FROM api_keys";

fn from_row(mut row: Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.parse()?,
        organization_id: row.parse()?,
        user_id: row.parse()?,
        name: row.text()?,
        scope: row.named(KeyScope::parse)?,
        hint: row.text()?,
        created_at: row.time()?,
        last_used_at: row.opt_time()?,
        revoked_at: row.opt_time()?,
    })
}

/// A key as it is made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// Its name.
    pub name: String,
    /// What it opens.
    pub scope: KeyScope,
    /// The digest of its secret.
    pub hash: String,
    /// The last letters of its secret.
    pub hint: String,
}

/// Who can administer the server beside those who hold keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherAdmins {
    /// Whoever knows the server's password.
    Password,
    /// Nobody.
    None,
}

/// Makes a key.
///
/// # Errors
/// Nobody could administer the server afterwards, or the database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    new: &NewApiKey,
    others: OtherAdmins,
    now: Timestamp,
) -> Result<ApiKey, StoreError> {
    if others == OtherAdmins::None && new.scope != KeyScope::Admin && admins(tx).await?.is_empty() {
        return Err(StoreError::Conflict(
            "the first key must have the scope admin: with it the server asks everybody for a key, and with no other could \
             one make or revoke keys"
                .to_owned(),
        ));
    }
    let id = ApiKeyId::new();
    let sql = "INSERT INTO api_keys (id, organization_id, user_id, name, scope, hash, hint, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    tx.execute(
        sql,
        params![
            id,
            scope.organization,
            scope.actor,
            new.name.as_str(),
            new.scope.as_str(),
            new.hash.as_str(),
            new.hint.as_str(),
            now
        ],
    )
    .await?;
    let sql =
        "INSERT INTO server_facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    tx.execute(sql, params![FACT, b"made".as_slice()]).await?;
    get(tx, scope, id).await
}

/// The keys that open everything.
async fn admins(tx: &mut Tx<'_>) -> Result<Vec<ApiKeyId>, StoreError> {
    // On PostgreSQL two requests could else revoke the last two at once.
    let sql = format!(
        "SELECT id FROM api_keys WHERE scope = 'admin' AND revoked_at IS NULL ORDER BY id{}",
        tx.for_update()
    );
    let rows = tx.query(&sql, &[]).await?;
    rows.into_iter().map(|mut row| row.parse()).collect()
}

/// Whether a key was ever made.
///
/// # Errors
/// The database's.
pub async fn was_any_made(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM server_facts WHERE name = $1";
    Ok(tx.query_opt(sql, params![FACT]).await?.is_some())
}

/// A key by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: ApiKeyId) -> Result<ApiKey, StoreError> {
    let sql = format!("{KEY} WHERE id = $1 AND organization_id = $2");
    tx.query_opt(&sql, params![id, scope.organization])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Key", id)), from_row)
}

/// The key of a secret's digest, unless it is revoked.
///
/// # Errors
/// The database's.
pub async fn by_hash(tx: &mut Tx<'_>, hash: &str) -> Result<Option<ApiKey>, StoreError> {
    let sql = format!("{KEY} WHERE hash = $1 AND revoked_at IS NULL");
    let row = tx.query_opt(&sql, params![hash]).await?;
    row.map(from_row).transpose()
}

/// A page of keys, also revoked ones.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(tx: &mut Tx<'_>, scope: &Scope, page: &Page) -> Result<Vec<ApiKey>, StoreError> {
    let mut select = Select::new(KEY);
    select.and_bind("organization_id = {}", scope.organization);
    let keys = Keys {
        key: "created_at",
        id: "id",
        cursor: "SELECT created_at, id FROM api_keys WHERE id = $1",
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Key"))
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Ends a key, and with it the user tokens that were asked for with it. One that is revoked already stays so.
///
/// # Errors
/// There is none, nobody could administer the server afterwards, or the database's.
pub async fn revoke(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: ApiKeyId,
    others: OtherAdmins,
    now: Timestamp,
) -> Result<ApiKey, StoreError> {
    let key = get(tx, scope, id).await?;
    if others == OtherAdmins::None && admins(tx).await? == [key.id] {
        return Err(StoreError::Conflict(
            "this is the last key of scope admin, and the server has no password: make another one first, or nobody could \
             make or revoke keys"
                .to_owned(),
        ));
    }
    let sql = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    tx.execute(sql, params![id, now]).await?;
    tx.execute("DELETE FROM user_tokens WHERE api_key_id = $1", params![id])
        .await?;
    get(tx, scope, id).await
}

/// Notes that a key was used, unless that was noted within the last minute.
///
/// # Errors
/// The database's.
pub async fn note_use(tx: &mut Tx<'_>, id: ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE api_keys SET last_used_at = $2 \
               WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)";
    tx.execute(sql, params![id, now, now.plus_micros(-USE_MICROS)])
        .await
        .map(drop)
}
