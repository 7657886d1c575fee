//! Everything durable: one set of SQL statements on SQLite and PostgreSQL.
//!
//! Architecture invariant: only this crate knows SQL. Work is done in jobs: closures over a [`Tx`]
//! that combine the functions of the noun modules. A write job is one transaction; when
//! [`Store::write`] returns `Ok`, it is on the disk. Every function of a noun takes a
//! [`mnemic_core::scope::Scope`] and applies it where its query is built.

pub mod agent_secrets;
pub mod agents;
mod ahead;
pub mod api_keys;
pub mod archives;
pub mod batches;
pub mod blocks;
pub mod callbacks;
mod closed;
pub mod commits;
pub mod context;
pub mod conversations;
pub mod embed_scopes;
pub mod erasure;
mod error;
pub mod events;
pub mod failpoints;
pub mod forgetting;
pub mod forks;
pub mod groups;
pub mod identities;
pub mod jobs;
pub mod leases;
pub mod limits;
pub mod listed_jobs;
pub mod messages;
mod migrate;
pub mod organizations;
pub mod otids;
pub mod own_threads;
pub mod page;
pub mod passages;
mod postgres;
pub mod providers;
pub mod runs;
pub mod sandbox_configs;
mod secrets;
mod sqlite;
pub mod steps;
pub mod tools;
pub mod traces;
pub mod turns;
mod tx;
pub mod usage;
pub mod user_tokens;
mod value;
pub mod vectors;
pub mod written;

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
};

pub use ahead::Commit;
pub use error::StoreError;
use futures_util::FutureExt as _;
pub use migrate::MigrationReport;
use parking_lot::Mutex;
pub use secrets::Secrets;
pub use tx::{Dialect, Tx};
pub use value::{Param, Row, Value};

use postgres::Postgres;
use sqlite::Sqlite;

/// The future of a job; jobs are written as `move |tx| Box::pin(async move { ... })`.
pub type JobFuture<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Where the data is kept.
#[derive(Debug, Clone)]
pub enum Location {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database and how many connections to it may be open.
    Postgres {
        /// The connection URL, with its password.
        url: String,
        /// The pool's size.
        connections: usize,
    },
}

enum Engine {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// A handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
    secrets: Secrets,
    report: Arc<MigrationReport>,
    /// Whether the last commit that was written ahead failed.
    failing: Arc<AtomicBool>,
}

impl Store {
    /// Opens the database, makes or migrates its tables, and is ready for jobs.
    ///
    /// # Errors
    /// The place cannot be opened or reached, or holds a newer schema.
    pub async fn open(location: Location, secrets: Secrets) -> Result<Self, StoreError> {
        let store = Self::open_unchecked(location, secrets).await?;
        store.check_key().await?;
        Ok(store)
    }

    /// Opens a database as it is, also beside a server that runs on it: nothing is migrated, and nothing is to be
    /// written.
    ///
    /// # Errors
    /// The database cannot be opened.
    pub async fn open_to_read(location: Location, secrets: Secrets) -> Result<Self, StoreError> {
        let engine = match location {
            Location::Sqlite(path) => {
                let opened = tokio::task::spawn_blocking(move || Sqlite::open(&path));
                let joined = opened.await;
                let failed =
                    |error: tokio::task::JoinError| StoreError::Database(error.to_string());
                Engine::Sqlite(joined.map_err(failed)??)
            }
            Location::Postgres { url, connections } => {
                Engine::Postgres(Postgres::new(&url, connections)?)
            }
        };
        Ok(Self {
            engine: Arc::new(engine),
            secrets,
            report: Arc::default(),
            failing: Arc::default(),
        })
    }

    /// Opens a database whose encryption key is lost: deletes the secrets that only that key opens, and
    /// takes the given one from now on. Returns how many secrets there were.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn forget_secrets(location: Location, secrets: Secrets) -> Result<usize, StoreError> {
        let store = Self::open_unchecked(location, secrets).await?;
        let deleted = store.write(move |tx| {
            Box::pin(async move {
                tx.execute("DELETE FROM server_facts WHERE name = 'key_check'", &[])
                    .await?;
                let variables = tx.execute("DELETE FROM sandbox_variables", &[]).await?;
                let keys = tx.execute("DELETE FROM providers", &[]).await?;
                let secrets = tx.execute("DELETE FROM agent_secrets", &[]).await?;
                Ok::<_, StoreError>(secrets + variables + keys)
            })
        });
        let deleted = deleted.await?;
        store.check_key().await?;
        Ok(usize::try_from(deleted).unwrap_or(usize::MAX))
    }

    async fn open_unchecked(location: Location, secrets: Secrets) -> Result<Self, StoreError> {
        let (engine, report) = match location {
            Location::Sqlite(path) => {
                let opened = tokio::task::spawn_blocking(move || {
                    let mut connection = sqlite::open_connection(&path, false)?;
                    let report = migrate::sqlite(&mut connection, &path)?;
                    drop(connection);
                    if let Err(error) = sqlite::rebuild(&path, report.from == 0) {
                        tracing::warn!(%error, "the database was not written anew: it may hold what was deleted before");
                    }
                    Ok::<_, StoreError>((Sqlite::open(&path)?, report))
                });
                let joined = opened.await;
                let (sqlite, report) =
                    joined.map_err(|error| StoreError::Database(error.to_string()))??;
                (Engine::Sqlite(sqlite), report)
            }
            Location::Postgres { url, connections } => {
                let database = Postgres::new(&url, connections)?;
                let report = migrate::postgres(&database).await?;
                (Engine::Postgres(database), report)
            }
        };
        Ok(Self {
            engine: Arc::new(engine),
            secrets,
            report: Arc::new(report),
            failing: Arc::default(),
        })
    }

    /// Sees to it that the encryption key is the one with which this database was begun: another would
    /// show only when the first secret is read.
    async fn check_key(&self) -> Result<(), StoreError> {
        const PLACE: &str = "server_facts.value:key_check";
        let secrets = self.secrets.clone();
        self.write(move |tx| {
            Box::pin(async move {
                const STORED: &str = "SELECT value FROM server_facts WHERE name = 'key_check'";
                let mut stored = tx.query_opt(STORED, &[]).await?;
                if stored.is_none() {
                    // Of replicas that begin a database at once, one's check is kept and all compare theirs with it.
                    let sealed = secrets.encrypt(PLACE, "right")?;
                    let sql = "INSERT INTO server_facts (name, value) VALUES ('key_check', $1) \
                         ON CONFLICT (name) DO NOTHING";
                    tx.execute(sql, params![sealed.as_slice()]).await?;
                    stored = tx.query_opt(STORED, &[]).await?;
                }
                let sealed = stored.map(|mut row| row.opt_bytes()).transpose()?;
                let opened = secrets.decrypt(PLACE, &sealed.flatten().unwrap_or_default());
                opened.map(drop).map_err(|_| {
                    StoreError::Invalid(
                        "the encryption key is not the one with which this database was begun: \
                         set MNEMIC_ENCRYPTION_KEY (the same for all servers on one database), or \
                         put back secret.key; if it is lost, `mnemic forget-secrets` deletes what \
                         only it opens"
                            .to_owned(),
                    )
                })
            })
        })
        .await
    }

    /// What opening found and did.
    #[must_use]
    pub fn migration(&self) -> &MigrationReport {
        &self.report
    }

    /// The cipher of secret columns.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The engine's dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match *self.engine {
            Engine::Sqlite(_) => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a job as one transaction. `Ok` means that it is durable; on an error nothing of it is
    /// kept. The job runs to its end even if the caller goes away.
    ///
    /// # Errors
    /// The job's own error, or that the database is not available.
    pub async fn write<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx<'_>) -> JobFuture<'t, T, E> + Send + 'static,
    {
        match &*self.engine {
            Engine::Sqlite(sqlite) => {
                sqlite
                    .writer
                    .submit(move |connection| {
                        let shared = Mutex::new(connection);
                        run_sync(job(&mut Tx::sqlite(&shared)))
                    })
                    .await
            }
            Engine::Postgres(database) => {
                let database = database.clone();
                let task = tokio::spawn(async move {
                    let client = database.client().await?;
                    postgres::within_limit(client, async |client| {
                        let result = run_in(client, job).await;
                        postgres::finish(client, result).await
                    })
                    .await
                });
                task.await.unwrap_or_else(|error| {
                    Err(StoreError::Database(format!("a write job died: {error}")).into())
                })
            }
        }
    }

    /// Runs a job that only reads; on SQLite inside one snapshot.
    ///
    /// # Errors
    /// The job's own error, or that the database is not available.
    pub async fn read<T, E, F>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx<'_>) -> JobFuture<'t, T, E> + Send + 'static,
    {
        match &*self.engine {
            Engine::Sqlite(sqlite) => {
                sqlite
                    .read(move |connection| {
                        let shared = Mutex::new(connection);
                        run_sync(job(&mut Tx::sqlite(&shared)))
                    })
                    .await?
            }
            Engine::Postgres(database) => {
                let client = database.client().await?;
                postgres::within_limit(client, async |client| job(&mut Tx::postgres(client)).await)
                    .await
            }
        }
    }
}

/// Shows other processes of the same database that this one is alive, until it is dropped.
#[derive(Debug)]
pub struct Presence {
    connection: Option<tokio_postgres::Client>,
}

impl Presence {
    /// Whether others still see it; when not, a new one is to be announced.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.connection
            .as_ref()
            .is_none_or(|client| !client.is_closed())
    }
}

impl Store {
    /// Announces this process under its boot id. On SQLite there is nobody to tell: the data
    /// folder's file lock keeps others out.
    ///
    /// # Errors
    /// The database is not available.
    pub async fn announce(&self, boot_id: &str) -> Result<Presence, StoreError> {
        Ok(match &*self.engine {
            Engine::Sqlite(_) => Presence { connection: None },
            Engine::Postgres(database) => Presence {
                connection: Some(postgres::presence::hold(database, boot_id).await?),
            },
        })
    }

    /// Those of `owners` (boot ids) that are dead. `own` never is.
    ///
    /// # Errors
    /// The database is not available.
    pub async fn dead_owners(
        &self,
        own: &str,
        owners: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        let others: Vec<String> = owners.into_iter().filter(|owner| owner != own).collect();
        match &*self.engine {
            // There is one process, so whoever else is named was an earlier one.
            Engine::Sqlite(_) => Ok(others),
            Engine::Postgres(_) if others.is_empty() => Ok(others),
            Engine::Postgres(database) => postgres::presence::dead(database, &others).await,
        }
    }
}

/// Begins a transaction and runs a job in it; how it ends is the caller's.
async fn run_in<T, E, F>(client: &deadpool_postgres::Client, job: F) -> Result<T, E>
where
    E: From<StoreError>,
    F: for<'t> FnOnce(&'t mut Tx<'_>) -> JobFuture<'t, T, E>,
{
    let mut tx = Tx::postgres(client);
    // A panic must not give a connection with an open transaction back to the pool.
    let caught = std::panic::AssertUnwindSafe(job(&mut tx)).catch_unwind();
    // The first statement follows BEGIN without waiting for its answer.
    let (begun, caught) = tokio::join!(biased; client.batch_execute("BEGIN"), caught);
    begun.map_err(StoreError::from)?;
    caught.unwrap_or_else(|_| {
        tracing::error!("a write job panicked and was rolled back");
        Err(StoreError::Database("a write job died".to_owned()).into())
    })
}

/// Runs a job's future on SQLite, where no statement ever waits.
fn run_sync<T, E: From<StoreError>>(future: JobFuture<'_, T, E>) -> Result<T, E> {
    future.now_or_never().unwrap_or_else(|| {
        Err(StoreError::Database("a job waited for something else than the database".into()).into())
    })
}
