//! The schema's versions, and the way from one to the next.

use std::path::Path;

use mnemic_core::time::Timestamp;
use rusqlite::Connection;

use crate::{StoreError, postgres::Postgres};

/// All versions of the schema, oldest first; the number is the place in the list plus one.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001_spine.sql")];

/// Key of the advisory lock under which one replica migrates while the others wait ("mnemic" in ASCII).
const MIGRATION_LOCK: i64 = 0x6d6e_656d_6963;

/// What the start found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// The schema's version before; 0 is an empty database.
    pub from: usize,
    /// The schema's version now.
    pub to: usize,
    /// The copy that was made before a migration.
    pub backup: Option<std::path::PathBuf>,
    /// Tables of another application in the same PostgreSQL database.
    pub foreign_tables: Vec<String>,
}

/// Replaces the few words that the engines spell differently.
fn for_engine(sql: &str, text: &str, serial: &str, bytes: &str) -> String {
    sql.replace("@text", text)
        .replace("@serial", serial)
        .replace("@bytes", bytes)
}

fn newer(version: usize) -> StoreError {
    StoreError::Invalid(format!(
        "the database has schema version {version}, this program knows {}: start the newer version \
         of Mnemic that made it, or restore the copy made before that migration",
        MIGRATIONS.len()
    ))
}

/// Brings an SQLite file up to date, after a copy when it holds anything.
pub(crate) fn sqlite(
    connection: &mut Connection,
    path: &Path,
) -> Result<MigrationReport, StoreError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
    )?;
    let version: usize = connection.query_row(
        "SELECT COALESCE(MAX(version), 0) FROM schema_migrations",
        [],
        |row| row.get(0),
    )?;
    let mut report = MigrationReport {
        from: version,
        to: MIGRATIONS.len(),
        ..Default::default()
    };
    if version > MIGRATIONS.len() {
        return Err(newer(version));
    }
    if version == MIGRATIONS.len() {
        return Ok(report);
    }
    if version > 0 {
        report.backup = Some(copy(connection, path, version)?);
    }
    let transaction = connection.transaction()?;
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(version) {
        let sql = for_engine(sql, "TEXT", "INTEGER PRIMARY KEY AUTOINCREMENT", "BLOB");
        transaction.execute_batch(&sql)?;
        transaction.execute(
            "INSERT INTO schema_migrations (version, applied_at) VALUES (?1, ?2)",
            (index + 1, Timestamp::now().0),
        )?;
    }
    transaction.commit()?;
    Ok(report)
}

/// Copies the database beside itself, into `backups/`.
fn copy(
    connection: &Connection,
    path: &Path,
    version: usize,
) -> Result<std::path::PathBuf, StoreError> {
    let unavailable = |error: std::io::Error| StoreError::Unavailable(error.to_string());
    let folder = path.with_file_name("backups");
    std::fs::create_dir_all(&folder).map_err(unavailable)?;
    let target = folder.join(format!("schema-{version}-{}.db", Timestamp::now().0));
    connection.execute("VACUUM INTO ?1", [target.to_string_lossy()])?;
    Ok(target)
}

/// Brings the schema `mnemic` of a PostgreSQL database up to date; nothing else is written there.
pub(crate) async fn postgres(database: &Postgres) -> Result<MigrationReport, StoreError> {
    let client = database.dedicated().await?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .await?;
    let result = postgres_locked(&client).await;
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
        .await?;
    result
}

async fn postgres_locked(client: &tokio_postgres::Client) -> Result<MigrationReport, StoreError> {
    client
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS mnemic;
             SET search_path TO mnemic;
             CREATE TABLE IF NOT EXISTS schema_migrations (
                 version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
        )
        .await?;
    let row = client
        .query_one(
            "SELECT COALESCE(MAX(version), 0) FROM schema_migrations",
            &[],
        )
        .await?;
    let version = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0);
    if version > MIGRATIONS.len() {
        return Err(newer(version));
    }
    let foreign = client
        .query(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables
             WHERE table_schema NOT IN ('mnemic', 'pg_catalog', 'information_schema')
             ORDER BY 1",
            &[],
        )
        .await?;
    let foreign_tables: Result<Vec<String>, _> = foreign.iter().map(|row| row.try_get(0)).collect();
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(version) {
        let serial = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY";
        let sql = for_engine(sql, "TEXT COLLATE \"C\"", serial, "BYTEA");
        let note = format!(
            "INSERT INTO schema_migrations (version, applied_at) VALUES ({}, {})",
            index + 1,
            Timestamp::now().0
        );
        client
            .batch_execute(&format!("BEGIN;\n{sql}\n{note};\nCOMMIT"))
            .await?;
    }
    Ok(MigrationReport {
        from: version,
        to: MIGRATIONS.len(),
        backup: None,
        foreign_tables: foreign_tables?,
    })
}
