//! Erasing what deleted rows leave in the database's files. That it is due is noted in the transaction that deletes, so that
//! it is done also when the process dies in between.

use std::path::PathBuf;

use mnemic_core::time::Timestamp;
use uuid::Uuid;

use crate::{Engine, Store, StoreError, Tx, failpoints, params};

/// The tables in which a person's words are.
const TABLES: &str = "mnemic.messages, mnemic.context_entries, mnemic.runs, mnemic.run_events, mnemic.steps, mnemic.tool_calls, \
     mnemic.traces, mnemic.blocks, mnemic.block_versions, mnemic.passages, mnemic.vectors, mnemic.jobs, mnemic.batches, \
     mnemic.batch_requests, mnemic.conversations, mnemic.own_threads, mnemic.own_passage_counts, mnemic.group_turns, \
     mnemic.group_threads, mnemic.user_tokens, mnemic.otids, mnemic.archives, mnemic.identities, \
     mnemic.conversations_blocks, mnemic.plan_holders, mnemic.usage_windows, mnemic.model_calls";

/// How much an engine can erase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Nothing is left in the database's files.
    Complete,
    /// The space is free to be used again, and what was in it is not overwritten before.
    Vacuumed,
}

/// Notes that there is something to be erased once this transaction is committed.
///
/// # Errors
/// The database's.
pub async fn note_due(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let sql = "INSERT INTO server_facts (name, value) VALUES ('erasure_due', $1) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let mark = Uuid::new_v4();
    tx.execute(sql, params![mark.as_bytes().as_slice()])
        .await
        .map(drop)
}

impl Store {
    /// Whether something is still to be erased.
    ///
    /// # Errors
    /// The database's.
    pub async fn erasure_due(&self) -> Result<bool, StoreError> {
        Ok(self.due().await?.is_some())
    }

    async fn due(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|tx| {
            Box::pin(async move {
                let sql = "SELECT value FROM server_facts WHERE name = 'erasure_due'";
                let row = tx.query_opt(sql, &[]).await?;
                Ok::<_, StoreError>(row.map(|mut row| row.opt_bytes()).transpose()?.flatten())
            })
        })
        .await
    }

    /// Erases what all rows that were deleted until now have left.
    ///
    /// # Errors
    /// It could not be done; it stays due.
    pub async fn erase(&self) -> Result<Erasure, StoreError> {
        let mark = self.due().await?.unwrap_or_default();
        let erasure = match &*self.engine {
            Engine::Sqlite(sqlite) => {
                sqlite.erase().await?;
                Erasure::Complete
            }
            Engine::Postgres(database) => {
                let client = database.dedicated().await?;
                client.batch_execute(&format!("VACUUM {TABLES}")).await?;
                Erasure::Vacuumed
            }
        };
        failpoints::hit("erased");
        // Not what became due meanwhile.
        let done = self.write(move |tx| {
            Box::pin(async move {
                let sql = "DELETE FROM server_facts WHERE name = 'erasure_due' AND value = $1";
                tx.execute(sql, params![mark.as_slice()]).await
            })
        });
        done.await
            .map(|_| erasure)
            .map_err(|error: StoreError| error)
    }

    /// The copies that were made before migrations, the oldest first.
    ///
    /// # Errors
    /// Their folder can't be read.
    pub async fn copies(&self) -> Result<Vec<DatabaseCopy>, StoreError> {
        let Engine::Sqlite(sqlite) = &*self.engine else {
            return Ok(Vec::new());
        };
        let folder = copies_folder(sqlite.path());
        on_disk(move || copies_in(&folder)).await
    }

    /// Deletes the copies that were made before a time; returns their names.
    ///
    /// # Errors
    /// One can't be deleted.
    pub async fn delete_copies(&self, before: Timestamp) -> Result<Vec<String>, StoreError> {
        let Engine::Sqlite(sqlite) = &*self.engine else {
            return Ok(Vec::new());
        };
        let folder = copies_folder(sqlite.path());
        on_disk(move || {
            let mut deleted = Vec::new();
            for copy in copies_in(&folder)? {
                if copy.made_at < before {
                    std::fs::remove_file(folder.join(&copy.name))?;
                    deleted.push(copy.name);
                }
            }
            Ok(deleted)
        })
        .await
    }
}

/// A copy of the database that was made before a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCopy {
    /// Its file, in the folder `backups` of the data folder.
    pub name: String,
    /// When it was made.
    pub made_at: Timestamp,
}

/// Where the copies of a database are.
pub(crate) fn copies_folder(database: &std::path::Path) -> PathBuf {
    database.with_file_name("backups")
}

/// The name of a copy that is made now of a database with this version of the schema.
pub(crate) fn copy_name(version: usize) -> String {
    format!("schema-{version}-{}.db", Timestamp::now().0)
}

/// When a copy of this name was made; none for files that are no copies of ours.
fn made_at(name: &str) -> Option<Timestamp> {
    let rest = name.strip_prefix("schema-")?.strip_suffix(".db")?;
    let (version, micros) = rest.split_once('-')?;
    version.parse::<usize>().ok()?;
    micros.parse().ok().map(Timestamp)
}

fn copies_in(folder: &std::path::Path) -> std::io::Result<Vec<DatabaseCopy>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(made_at) = made_at(&name) {
            found.push(DatabaseCopy { name, made_at });
        }
    }
    found.sort_by_key(|copy| copy.made_at.0);
    Ok(found)
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Database(error.to_string()))?
        .map_err(|error| StoreError::Unavailable(format!("the copies of the database: {error}")))
}
