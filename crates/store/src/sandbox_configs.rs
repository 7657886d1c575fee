//! What all tools of an organization have in common: packages, and variables that are encrypted at rest.

use mnemic_core::{
    ids::{SandboxConfigId, SandboxVariableId},
    sandbox_configs::{Layer, LocalConfig, SandboxConfig, SandboxVariable},
    scope::Scope,
    tools::requirements::{Registry, Requirement},
};
use serde_json::Value;

use crate::{
    Row, Secrets, StoreError, Tx,
    page::{Keys, Page, Select, UnknownCursor},
    params,
};

const COLUMNS: &str = "c.id, c.use_venv, c.venv_name, c.pip_requirements, c.packages_since, \
     c.created_by, c.updated_by, c.created_at, c.updated_at";

const VARIABLE_COLUMNS: &str = "v.id, v.config_id, v.key, v.value, v.description, v.created_by, \
     v.updated_by, v.created_at, v.updated_at";

/// What a ciphertext is bound to.
fn place(id: SandboxVariableId, key: &str) -> String {
    format!("sandbox_variables/{id}/{key}")
}

fn from_row(mut row: Row) -> Result<SandboxConfig, StoreError> {
    Ok(SandboxConfig {
        id: row.parse()?,
        config: LocalConfig {
            use_venv: row.bool()?,
            venv_name: row.text()?,
            pip_requirements: requirements(&row.json::<Vec<Value>>()?)?,
        },
        packages_since: row.opt_time()?,
        created_by: row.opt_parse()?,
        updated_by: row.opt_parse()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

fn requirements(stored: &[Value]) -> Result<Vec<Requirement>, StoreError> {
    let read = |one| Requirement::from_json(Registry::Pip, one);
    let found: Result<_, _> = stored.iter().map(read).collect();
    found.map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn requirements_text(config: &LocalConfig) -> Result<String, StoreError> {
    let packages: Vec<Value> = config
        .pip_requirements
        .iter()
        .map(Requirement::to_json)
        .collect();
    Ok(serde_json::to_string(&packages)?)
}

fn variable_from_row(mut row: Row, secrets: &Secrets) -> Result<SandboxVariable, StoreError> {
    let (id, config_id, key) = (row.parse()?, row.parse()?, row.text()?);
    let sealed = row.opt_bytes()?.unwrap_or_default();
    Ok(SandboxVariable {
        value: secrets.decrypt(&place(id, &key), &sealed)?,
        id,
        config_id,
        key,
        description: row.opt_text()?,
        created_by: row.opt_parse()?,
        updated_by: row.opt_parse()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

/// Stores the organization's config, unless it has one already. Returns the one that it has now.
///
/// # Errors
/// The database's.
pub async fn insert_first(
    tx: &mut Tx<'_>,
    scope: &Scope,
    config: &SandboxConfig,
) -> Result<SandboxConfig, StoreError> {
    let sql = "INSERT INTO sandbox_configs (id, organization_id, use_venv, venv_name, \
                   pip_requirements, packages_since, created_by, updated_by, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
               ON CONFLICT (organization_id) DO NOTHING";
    tx.execute(
        sql,
        params![
            config.id,
            scope.organization,
            config.config.use_venv,
            &config.config.venv_name,
            requirements_text(&config.config)?,
            config.packages_since,
            config.created_by,
            config.updated_by,
            config.created_at,
            config.updated_at
        ],
    )
    .await?;
    of_organization(tx, scope)
        .await?
        .ok_or_else(|| StoreError::Corrupt("a config that was just stored is missing".to_owned()))
}

/// The organization's config, where it has one.
///
/// # Errors
/// The database's.
pub async fn of_organization(
    tx: &mut Tx<'_>,
    scope: &Scope,
) -> Result<Option<SandboxConfig>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM sandbox_configs c WHERE c.organization_id = $1");
    let found = tx.query_opt(&sql, params![scope.organization]).await?;
    found.map(from_row).transpose()
}

/// A config by its id.
///
/// # Errors
/// There is none, or the database's.
pub async fn get(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: SandboxConfigId,
) -> Result<SandboxConfig, StoreError> {
    read(tx, scope, id, "").await
}

/// A config by its id, which nobody else changes until the end of the transaction.
///
/// # Errors
/// There is none, or the database's.
pub async fn get_for_update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: SandboxConfigId,
) -> Result<SandboxConfig, StoreError> {
    let lock = tx.for_update();
    read(tx, scope, id, lock).await
}

async fn read(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: SandboxConfigId,
    lock: &str,
) -> Result<SandboxConfig, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sandbox_configs c WHERE c.id = $1 AND c.organization_id = $2{lock}"
    );
    tx.query_opt(&sql, params![id, scope.organization])
        .await?
        .map_or_else(
            || Err(StoreError::not_found("Sandbox config", id)),
            from_row,
        )
}

/// A page of the organization's configs, by their creation.
///
/// # Errors
/// The cursor names none, or the database's.
pub async fn list(
    tx: &mut Tx<'_>,
    scope: &Scope,
    page: &Page,
) -> Result<Vec<SandboxConfig>, StoreError> {
    let mut select = Select::new(format!("SELECT {COLUMNS} FROM sandbox_configs c"));
    select.and_bind("c.organization_id = {}", scope.organization);
    let keys = Keys {
        key: "c.created_at",
        id: "c.id",
        cursor: "SELECT created_at, id FROM sandbox_configs WHERE id = $1",
    };
    let unknown = UnknownCursor::Refuse("Sandbox config");
    let rows = select.page(tx, keys, page, unknown).await?;
    rows.into_iter().map(from_row).collect()
}

/// Stores a changed config.
///
/// # Errors
/// The database's.
pub async fn update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    config: &SandboxConfig,
) -> Result<(), StoreError> {
    let sql = "UPDATE sandbox_configs SET use_venv = $3, venv_name = $4, pip_requirements = $5, \
                   packages_since = $6, updated_by = $7, updated_at = $8 \
               WHERE id = $1 AND organization_id = $2";
    tx.execute(
        sql,
        params![
            config.id,
            scope.organization,
            config.config.use_venv,
            &config.config.venv_name,
            requirements_text(&config.config)?,
            config.packages_since,
            config.updated_by,
            config.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Deletes a config with its variables.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete(tx: &mut Tx<'_>, scope: &Scope, id: SandboxConfigId) -> Result<(), StoreError> {
    let sql = "DELETE FROM sandbox_configs WHERE id = $1 AND organization_id = $2";
    match tx.execute(sql, params![id, scope.organization]).await? {
        0 => Err(StoreError::not_found("Sandbox config", id)),
        _ => Ok(()),
    }
}

/// Stores a new variable of a config that [`get_for_update`] read.
///
/// # Errors
/// The config has one of that name, or the database's.
pub async fn insert_variable(
    tx: &mut Tx<'_>,
    scope: &Scope,
    secrets: &Secrets,
    variable: &SandboxVariable,
) -> Result<(), StoreError> {
    check_unique(tx, variable).await?;
    let sealed = secrets.encrypt(&place(variable.id, &variable.key), &variable.value)?;
    let sql = "INSERT INTO sandbox_variables (id, organization_id, config_id, key, value, \
                   description, created_by, updated_by, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    tx.execute(
        sql,
        params![
            variable.id,
            scope.organization,
            variable.config_id,
            &variable.key,
            sealed.as_slice(),
            variable.description.as_ref(),
            variable.created_by,
            variable.updated_by,
            variable.created_at,
            variable.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Refuses a variable whose name another one of its config has.
async fn check_unique(tx: &mut Tx<'_>, variable: &SandboxVariable) -> Result<(), StoreError> {
    let sql = "SELECT id FROM sandbox_variables WHERE config_id = $1 AND key = $2 AND id <> $3";
    let bound = params![variable.config_id, &variable.key, variable.id];
    match tx.query_opt(sql, bound).await? {
        Some(mut row) => Err(StoreError::Conflict(format!(
            "there is a variable {} already: change that one ({}), or delete it",
            variable.key,
            row.text()?
        ))),
        None => Ok(()),
    }
}

/// How many variables a config has.
///
/// # Errors
/// The database's.
pub async fn count_variables(
    tx: &mut Tx<'_>,
    config_id: SandboxConfigId,
) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) FROM sandbox_variables WHERE config_id = $1";
    tx.query_one(sql, params![config_id]).await?.int()
}

/// A variable by its id, which nobody else changes until the end of the transaction.
///
/// # Errors
/// There is none, its value does not decrypt, or the database's.
pub async fn variable_for_update(
    tx: &mut Tx<'_>,
    scope: &Scope,
    secrets: &Secrets,
    id: SandboxVariableId,
) -> Result<SandboxVariable, StoreError> {
    let sql = format!(
        "SELECT {VARIABLE_COLUMNS} FROM sandbox_variables v \
         WHERE v.id = $1 AND v.organization_id = $2{}",
        tx.for_update()
    );
    let found = tx.query_opt(&sql, params![id, scope.organization]).await?;
    found.map_or_else(
        || Err(StoreError::not_found("Sandbox environment variable", id)),
        |row| variable_from_row(row, secrets),
    )
}

/// A page of a config's variables, by their creation.
///
/// # Errors
/// The cursor names none, a value does not decrypt, or the database's.
pub async fn list_variables(
    tx: &mut Tx<'_>,
    scope: &Scope,
    secrets: &Secrets,
    config_id: SandboxConfigId,
    page: &Page,
) -> Result<Vec<SandboxVariable>, StoreError> {
    let mut select = Select::new(format!(
        "SELECT {VARIABLE_COLUMNS} FROM sandbox_variables v"
    ));
    select.and_bind("v.config_id = {}", config_id);
    let organization = tx.unindexed("v.organization_id");
    select.and_bind(&format!("{organization} = {{}}"), scope.organization);
    let keys = Keys {
        key: "v.created_at",
        id: "v.id",
        cursor: "SELECT created_at, id FROM sandbox_variables WHERE id = $1",
    };
    let unknown = UnknownCursor::Refuse("Sandbox environment variable");
    let rows = select.page(tx, keys, page, unknown).await?;
    let read = |row| variable_from_row(row, secrets);
    rows.into_iter().map(read).collect()
}

/// Stores a changed variable.
///
/// # Errors
/// Another one of its config has its name, or the database's.
pub async fn update_variable(
    tx: &mut Tx<'_>,
    scope: &Scope,
    secrets: &Secrets,
    variable: &SandboxVariable,
) -> Result<(), StoreError> {
    check_unique(tx, variable).await?;
    let sealed = secrets.encrypt(&place(variable.id, &variable.key), &variable.value)?;
    let sql = "UPDATE sandbox_variables SET key = $3, value = $4, description = $5, \
                   updated_by = $6, updated_at = $7 WHERE id = $1 AND organization_id = $2";
    tx.execute(
        sql,
        params![
            variable.id,
            scope.organization,
            &variable.key,
            sealed.as_slice(),
            variable.description.as_ref(),
            variable.updated_by,
            variable.updated_at
        ],
    )
    .await?;
    Ok(())
}

/// Deletes a variable.
///
/// # Errors
/// There is none, or the database's.
pub async fn delete_variable(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: SandboxVariableId,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM sandbox_variables WHERE id = $1 AND organization_id = $2";
    match tx.execute(sql, params![id, scope.organization]).await? {
        0 => Err(StoreError::not_found("Sandbox environment variable", id)),
        _ => Ok(()),
    }
}

/// What a call gets of the organization: its config, where it has one, and its variables.
///
/// # Errors
/// A value does not decrypt, or the database's.
pub async fn for_call(
    tx: &mut Tx<'_>,
    scope: &Scope,
    secrets: &Secrets,
) -> Result<(Option<SandboxConfig>, Layer), StoreError> {
    let Some(config) = of_organization(tx, scope).await? else {
        return Ok((None, Layer::new()));
    };
    let sql = format!("SELECT {VARIABLE_COLUMNS} FROM sandbox_variables v WHERE v.config_id = $1");
    let rows = tx.query(&sql, params![config.id]).await?;
    let pairs = rows.into_iter().map(|row| {
        let variable = variable_from_row(row, secrets)?;
        Ok::<_, StoreError>((variable.key, variable.value))
    });
    Ok((Some(config), pairs.collect::<Result<_, _>>()?))
}
