//! Model providers that organizations added, with their keys encrypted at rest.

use std::fmt;

use mnemic_core::{ids::ProviderId, scope::Scope, time::Timestamp};

use crate::{
    Row, Secrets, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "p.id, p.name, p.provider_type, p.base_url, p.region, p.api_version, \
     p.api_key, p.access_key, p.last_synced, p.created_at, p.updated_at";

/// Providers that an organization may have.
pub const MAX_PROVIDERS: i64 = 200;

/// A key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey(Vec<u8>);

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Its name, with which the handles of its models begin; unique in the organization.
    pub name: String,
    /// The V1 API's word for its kind.
    pub provider_type: String,
    /// Its address, where that is not the usual one.
    pub base_url: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// The version of its API.
    pub api_version: Option<String>,
    /// Its key.
    pub api_key: Option<SealedKey>,
    /// A second part of its key.
    pub access_key: Option<SealedKey>,
    /// When its list of models was last read because a client wanted it.
    pub last_synced: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Provider {
    /// Its key in the clear.
    ///
    /// # Errors
    /// It was stored with another encryption key.
    pub fn open_key(&self, secrets: &Secrets) -> Result<String, StoreError> {
        match &self.api_key {
            Some(sealed) => secrets.decrypt(&place(self.id, "api_key"), &sealed.0),
            None => Ok(String::new()),
        }
    }

    /// Gives it a key.
    ///
    /// # Errors
    /// The key is too long for the cipher.
    pub fn seal_key(&mut self, secrets: &Secrets, key: &str) -> Result<(), StoreError> {
        let sealed = secrets.encrypt(&place(self.id, "api_key"), key)?;
        self.api_key = Some(SealedKey(sealed));
        Ok(())
    }
}

/// What a ciphertext is bound to.
fn place(id: ProviderId, column: &str) -> String {
    format!("providers/{id}/{column}")
}

fn from_row(mut row: Row) -> Result<Provider, StoreError> {
    Ok(Provider {
        id: row.parse()?,
        name: row.text()?,
        provider_type: row.text()?,
        base_url: row.opt_text()?,
        region: row.opt_text()?,
        api_version: row.opt_text()?,
        api_key: row.opt_bytes()?.map(SealedKey),
        access_key: row.opt_bytes()?.map(SealedKey),
        last_synced: row.opt_time()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// Adds a provider.
///
/// # Errors
/// The organization has one of that name, or too many, or the database's.
pub async fn insert(tx: &mut Tx<'_>, scope: &Scope, provider: &Provider) -> Result<(), StoreError> {
    let sql = "SELECT COUNT(*) FROM providers WHERE organization_id = $1";
    let mut count = tx.query_one(sql, params![scope.organization]).await?;
    if count.int()? >= MAX_PROVIDERS {
        return Err(StoreError::Conflict(format!(
            "an organization has at most {MAX_PROVIDERS} providers: delete one that is not needed"
        )));
    }
    let sql = "INSERT INTO providers (id, organization_id, name, provider_type, base_url, region, \
                   api_version, api_key, access_key, last_synced, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
               ON CONFLICT (organization_id, name) DO NOTHING";
    let added = tx
        .execute(
            sql,
            params![
                provider.id,
                scope.organization,
                &provider.name,
                &provider.provider_type,
                provider.base_url.as_ref(),
                provider.region.as_ref(),
                provider.api_version.as_ref(),
                provider.api_key.as_ref().map(|key| key.0.as_slice()),
                provider.access_key.as_ref().map(|key| key.0.as_slice()),
                provider.last_synced,
                provider.created_at,
                provider.updated_at
            ],
        )
        .await?;
    if added == 0 {
        return Err(StoreError::Conflict(format!(
            "there is a provider named '{}': choose another name, or change that one",
            provider.name
        )));
    }
    Ok(())
}

/// Writes what may change of a provider.
///
/// # Errors
/// There is none, or the database's.
pub async fn update(tx: &mut Tx<'_>, scope: &Scope, provider: &Provider) -> Result<(), StoreError> {
    let sql = "UPDATE providers SET base_url = $3, region = $4, api_version = $5, api_key = $6, \
                   access_key = $7, last_synced = $8, updated_at = $9 \
               WHERE id = $1 AND organization_id = $2";
    let changed = tx
        .execute(
            sql,
            params![
                provider.id,
                scope.organization,
                provider.base_url.as_ref(),
                provider.region.as_ref(),
                provider.api_version.as_ref(),
                provider.api_key.as_ref().map(|key| key.0.as_slice()),
                provider.access_key.as_ref().map(|key| key.0.as_slice()),
                provider.last_synced,
                provider.updated_at
            ],
        )
        .await?;
    match changed {
        0 => Err(StoreError::not_found("Provider", provider.id)),
        _ => Ok(()),
    }
}

/// A provider by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, scope: &Scope, id: ProviderId) -> Result<Provider, StoreError> {
    find(tx, scope, id, "").await
}

/// A provider by its id, kept from other writers until the commit.
///
/// # Errors
/// There is none, or the database's.
pub async fn get_for_update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: ProviderId,
) -> Result<Provider, StoreError> {
    let lock = tx.for_update();
    find(tx, scope, id, lock).await
}

async fn find(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: ProviderId,
    lock: &str,
) -> Result<Provider, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM providers p WHERE p.id = $1 AND p.organization_id = $2{lock}"
    );
    tx.query_opt(&sql, params![id, scope.organization])
        .await?
        .map_or_else(|| Err(StoreError::not_found("Provider", id)), from_row)
}

/// Removes a provider.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: ProviderId) -> Result<(), StoreError> {
    let sql = "DELETE FROM providers WHERE id = $1 AND organization_id = $2";
    match tx.execute(sql, params![id, scope.organization]).await? {
        0 => Err(StoreError::not_found("Provider", id)),
        _ => Ok(()),
    }
}

/// All providers of the organization, oldest first.
///
/// # Errors
/// The database's.
pub async fn all(tx: &mut Tx<'_>, scope: &Scope) -> Result<Vec<Provider>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM providers p WHERE p.organization_id = $1 \
         ORDER BY p.created_at, p.id"
    );
    let rows = tx.query(&sql, params![scope.organization]).await?;
    rows.into_iter().map(from_row).collect()
}

/// Which providers a list shows.
#[derive(Debug, Clone, Default)]
pub struct ProviderFilter {
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only those of this kind.
    pub provider_type: Option<String>,
}

/// A page of providers, by their creation.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &ProviderFilter,
    page: &Page,
) -> Result<Vec<Provider>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM providers p"));
    select.and_bind("p.organization_id = {}", scope.organization);
    if let Some(name) = &filter.name {
        select.and_bind("p.name = {}", name);
    }
    if let Some(kind) = &filter.provider_type {
        select.and_bind("p.provider_type = {}", kind);
    }
    let keys = Keys {
        key: "p.created_at",
        id: "p.id",
        cursor: "SELECT created_at, id FROM providers WHERE id = $1",
    };
    let rows = select
        .page(tx, keys, page, UnknownCursor::Refuse("Provider"))
        .await?;
    rows.into_iter().map(from_row).collect()
}
