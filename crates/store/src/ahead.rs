//! Writes whose outcome is used before it is durable.
//!
//! A commit waits for the disk. Work that shows nothing to anybody, such as a call of the model, can
//! begin meanwhile, as long as it is thrown away when the commit fails.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Engine, JobFuture, Store, StoreError, Tx, postgres, run_in, run_sync};

/// A commit on its way to the disk.
#[derive(Debug)]
pub struct Commit {
    decided: oneshot::Receiver<Result<(), StoreError>>,
    /// Whether the last commit failed, shared by all of a store.
    failing: Arc<AtomicBool>,
}

impl Commit {
    /// Whether the commit before it failed, as commits do on a full disk: work should then not begin
    /// before this one is waited for.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Waits until it is durable.
    ///
    /// # Errors
    /// It failed, and nothing of the job was kept; or, on PostgreSQL, the connection was lost before
    /// the answer came, and nobody knows.
    pub async fn wait(self) -> Result<(), StoreError> {
        let gone = || StoreError::Unavailable("the store is closed".to_owned());
        let decided = self.decided.await.unwrap_or_else(|_| Err(gone()));
        self.failing.store(decided.is_err(), Ordering::Relaxed);
        decided
    }
}

impl Store {
    /// Runs a job as one transaction, like [`Self::write`], and returns what it made together with the
    /// commit that is under way. Nothing that rests on it may be written or shown before that commit
    /// has been waited for.
    ///
    /// # Errors
    /// The job's own error, or that the database is not available.
    pub async fn write_ahead<T, E, F>(&self, job: F) -> Result<(T, Commit), E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx<'_>) -> JobFuture<'t, T, E> + Send + 'static,
    {
        let (sender, decided) = oneshot::channel();
        let commit = Commit {
            decided,
            failing: Arc::clone(&self.failing),
        };
        let value = match &*self.engine {
            Engine::Sqlite(sqlite) => {
                let job = move |connection: &mut rusqlite::Connection| {
                    let shared = Mutex::new(connection);
                    run_sync(job(&mut Tx::sqlite(&shared)))
                };
                sqlite.writer.submit_ahead(sender, job).await?
            }
            Engine::Postgres(database) => commit_behind(database.clone(), sender, job).await?,
        };
        Ok((value, commit))
    }
}

/// Returns what the job made while a task of its own commits it.
async fn commit_behind<T, E, F>(
    database: postgres::Postgres,
    decided: oneshot::Sender<Result<(), StoreError>>,
    job: F,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx<'_>) -> JobFuture<'t, T, E> + Send + 'static,
{
    let (sender, made) = oneshot::channel();
    tokio::spawn(async move {
        let client = match database.client().await {
            Ok(client) => client,
            Err(error) => {
                let _ = sender.send(Err(error.into()));
                return;
            }
        };
        let mut sender = Some(sender);
        let worked = postgres::within_limit(client, async |client| {
            let value = match run_in(client, job).await {
                Ok(value) => value,
                Err(error) => return postgres::finish(client, Err(error)).await,
            };
            // A caller that went away wants neither of the two answers.
            if let Some(sender) = sender.take() {
                let _ = sender.send(Ok(value));
            }
            let _ = decided.send(postgres::finish(client, Ok(())).await);
            Ok(())
        });
        if let (Err(error), Some(sender)) = (worked.await, sender) {
            let _ = sender.send(Err(error));
        }
    });
    made.await
        .unwrap_or_else(|_| Err(StoreError::Database("a write job died".to_owned()).into()))
}
