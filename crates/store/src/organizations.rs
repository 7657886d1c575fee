//! Organizations and users: for the server's administrator, across all organizations.

use mnemic_core::{
    ids::{OrganizationId, UserId},
    organizations::{Organization, User},
    scope::Scope,
    time::Timestamp,
};

use crate::{
    Row, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params, tools,
};

/// The names of the organization and the user that every database has.
const DEFAULT_NAMES: (&str, &str) = ("default_org", "default_user");

/// Tables whose rows go with their organization. What hangs on these rows goes with them.
const OWNED: [&str; 17] = [
    "batches",
    "jobs",
    "agent_groups",
    "block_tags",
    "blocks",
    "tools",
    "passages",
    "archives",
    "files",
    "folders",
    "identities",
    "providers",
    "mcp_servers",
    "sandbox_variables",
    "sandbox_configs",
    "embed_scopes",
    "users",
];

fn organization(mut row: Row) -> Result<Organization, StoreError> {
    Ok(Organization {
        id: row.parse()?,
        name: row.text()?,
        privileged_tools: row.bool()?,
        created_at: row.time()?,
    })
}

fn user(mut row: Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.parse()?,
        organization_id: row.parse()?,
        name: row.text()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

const ORGANIZATION: &str = "SELECT id, name, privileged_tools, created_at FROM organizations";

const USER: &str = "SELECT id, organization_id, name, created_at, COALESCE(updated_at, created_at) \
     FROM users";

/// Makes the default organization and its user be there.
///
/// # Errors
/// The database's.
pub async fn ensure_default(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
    let (organization, person) = DEFAULT_NAMES;
    let sql = "INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3) \
               ON CONFLICT (id) DO NOTHING";
    tx.execute(sql, params![OrganizationId::DEFAULT, organization, now])
        .await?;
    let sql = "INSERT INTO users (id, organization_id, name, created_at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (id) DO NOTHING";
    let of = OrganizationId::DEFAULT;
    tx.execute(sql, params![UserId::DEFAULT, of, person, now])
        .await
        .map(drop)
}

/// A page of organizations.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(tx: &mut Tx<'_>, page: &Page) -> Result<Vec<Organization>, StoreError> {
    let keys = Keys {
        key: "created_at",
        id: "id",
        cursor: "SELECT created_at, id FROM organizations WHERE id = $1",
    };
    let unknown = UnknownCursor::Refuse("Organization");
    let rows = Select::new(ORGANIZATION).page(tx, keys, page, unknown);
    rows.await?.into_iter().map(organization).collect()
}

/// An organization by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(tx: &mut Tx<'_>, id: OrganizationId) -> Result<Organization, StoreError> {
    let sql = format!("{ORGANIZATION} WHERE id = $1");
    tx.query_opt(&sql, params![id]).await?.map_or_else(
        || Err(StoreError::not_found("Organization", id)),
        organization,
    )
}

/// Makes an organization, with the built-in tools.
///
/// # Errors
/// The database's.
pub async fn create(
    tx: &mut Tx<'_>,
    (name, privileged_tools): (&str, bool),
    now: Timestamp,
) -> Result<Organization, StoreError> {
    let id = OrganizationId::new();
    let sql = "INSERT INTO organizations (id, name, privileged_tools, created_at) \
               VALUES ($1, $2, $3, $4)";
    tx.execute(sql, params![id, name, privileged_tools, now])
        .await?;
    let scope = Scope {
        organization: id,
        ..Scope::default()
    };
    tools::ensure_builtins(tx, &scope, now).await?;
    get(tx, id).await
}

/// The organizations that there are.
///
/// # Errors
/// The database's.
pub async fn ids(tx: &mut Tx<'_>) -> Result<Vec<OrganizationId>, StoreError> {
    let rows = tx.query("SELECT id FROM organizations", &[]).await?;
    rows.into_iter().map(|mut row| row.parse()).collect()
}

/// Changes an organization; `None` leaves a field as it is.
///
/// # Errors
/// There is none, or the database's.
pub async fn update(
    tx: &mut Tx<'_>,
    id: OrganizationId,
    name: Option<String>,
    privileged_tools: Option<bool>,
) -> Result<Organization, StoreError> {
    let now = get(tx, id).await?;
    let (name, privileged) = (
        name.unwrap_or(now.name),
        privileged_tools.unwrap_or(now.privileged_tools),
    );
    let sql = "UPDATE organizations SET name = $2, privileged_tools = $3 WHERE id = $1";
    tx.execute(sql, params![id, name, privileged]).await?;
    get(tx, id).await
}

/// Lets one transaction at a time go on for the organization of the scope, until it commits.
///
/// # Errors
/// The database's.
pub async fn lock(tx: &mut Tx<'_>, scope: &Scope) -> Result<(), StoreError> {
    if tx.dialect() == crate::Dialect::Postgres {
        let sql = "SELECT id FROM organizations WHERE id = $1 FOR NO KEY UPDATE";
        tx.query(sql, params![scope.organization]).await?;
    }
    Ok(())
}

/// Deletes an organization with its users, blocks, tools and all else that is its. One that has agents is refused, as
/// deleting would take their memory with it.
///
/// # Errors
/// There is none, it is the default one, it has agents, or the database's.
pub async fn delete(tx: &mut Tx<'_>, id: OrganizationId) -> Result<Organization, StoreError> {
    let sql = format!("{ORGANIZATION} WHERE id = $1{}", tx.for_update());
    let found = tx.query_opt(&sql, params![id]).await?;
    let gone = found.map_or_else(
        || Err(StoreError::not_found("Organization", id)),
        organization,
    )?;
    if id == OrganizationId::DEFAULT {
        return Err(StoreError::Conflict(
            "the default organization cannot be deleted: requests that name no user act in it"
                .to_owned(),
        ));
    }
    let sql = "SELECT COUNT(*) FROM agents WHERE organization_id = $1";
    let agents = tx.query_one(sql, params![id]).await?.int()?;
    if agents > 0 {
        return Err(StoreError::Conflict(format!(
            "organization {id} has {agents} agents: delete them first, as their memory would go with it"
        )));
    }
    let sql = "INSERT INTO former_users (id) SELECT id FROM users WHERE organization_id = $1";
    tx.execute(sql, params![id]).await?;
    for table in OWNED {
        let sql = format!("DELETE FROM {table} WHERE organization_id = $1");
        tx.execute(&sql, params![id]).await?;
    }
    tx.execute("DELETE FROM organizations WHERE id = $1", params![id])
        .await?;
    Ok(gone)
}

/// A page of users.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list_users(tx: &mut Tx<'_>, page: &Page) -> Result<Vec<User>, StoreError> {
    let keys = Keys {
        key: "created_at",
        id: "id",
        cursor: "SELECT created_at, id FROM users WHERE id = $1",
    };
    let unknown = UnknownCursor::Refuse("User");
    let rows = Select::new(USER).page(tx, keys, page, unknown);
    rows.await?.into_iter().map(user).collect()
}

/// A user by its id; none if there never was one.
///
/// # Errors
/// The user was deleted, or the database's.
pub async fn find_user(tx: &mut Tx<'_>, id: UserId) -> Result<Option<User>, StoreError> {
    let sql = format!("{USER} WHERE id = $1");
    if let Some(row) = tx.query_opt(&sql, params![id]).await? {
        return user(row).map(Some);
    }
    let sql = "SELECT 1 FROM former_users WHERE id = $1";
    match tx.query_opt(sql, params![id]).await? {
        Some(_) => Err(StoreError::not_found("User", id)),
        None => Ok(None),
    }
}

async fn get_user(tx: &mut Tx<'_>, id: UserId) -> Result<User, StoreError> {
    let found = find_user(tx, id).await?;
    found.ok_or_else(|| StoreError::not_found("User", id))
}

/// Makes a user of an organization.
///
/// # Errors
/// There is no such organization, or the database's.
pub async fn create_user(
    tx: &mut Tx<'_>,
    organization: OrganizationId,
    name: &str,
    now: Timestamp,
) -> Result<User, StoreError> {
    get(tx, organization).await?;
    let id = UserId::new();
    let sql = "INSERT INTO users (id, organization_id, name, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $4)";
    tx.execute(sql, params![id, organization, name, now])
        .await?;
    get_user(tx, id).await
}

/// Changes a user; `None` leaves a field as it is.
///
/// # Errors
/// There is no such user or organization, it is the default user that would move, or the database's.
pub async fn update_user(
    tx: &mut Tx<'_>,
    id: UserId,
    (name, organization): (Option<String>, Option<OrganizationId>),
    now: Timestamp,
) -> Result<User, StoreError> {
    let before = get_user(tx, id).await?;
    let organization = organization.unwrap_or(before.organization_id);
    if id == UserId::DEFAULT && organization != before.organization_id {
        return Err(StoreError::Conflict(
            "the default user stays in the default organization".to_owned(),
        ));
    }
    get(tx, organization).await?;
    let name = name.unwrap_or(before.name);
    let sql = "UPDATE users SET name = $2, organization_id = $3, updated_at = $4 WHERE id = $1";
    tx.execute(sql, params![id, name, organization, now])
        .await?;
    get_user(tx, id).await
}

/// Deletes a user; what the user made stays its organization's.
///
/// # Errors
/// There is none, it is the default one, or the database's.
pub async fn delete_user(tx: &mut Tx<'_>, id: UserId) -> Result<User, StoreError> {
    let gone = get_user(tx, id).await?;
    if id == UserId::DEFAULT {
        return Err(StoreError::Conflict(
            "the default user cannot be deleted: requests that name no user act as this one"
                .to_owned(),
        ));
    }
    tx.execute("INSERT INTO former_users (id) VALUES ($1)", params![id])
        .await?;
    tx.execute("DELETE FROM users WHERE id = $1", params![id])
        .await?;
    Ok(gone)
}
