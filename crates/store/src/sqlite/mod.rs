//! The embedded engine: one writer thread with group commit, and a small pool of readers.

mod checkpoint;
mod erasing;
mod rebuilding;
mod remains;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

pub(crate) use rebuilding::rebuild;
pub(crate) use writer::Writer;

use crate::StoreError;

/// Readers that may work at once. Reads are short; more would only fight over two or four cores.
const READERS: usize = 4;

/// How long a connection waits for others.
const BUSY: Duration = Duration::from_secs(10);

/// Statements each connection keeps prepared; the whole store has about two hundred.
const STATEMENT_CACHE: usize = 256;

/// The embedded database.
pub(crate) struct Sqlite {
    pub(crate) writer: Writer,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Sqlite {
    /// Opens the database whose tables exist already.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let writer = Writer::start(open_connection(path, false)?)?;
        let checkpointer = open_connection(path, false)?;
        checkpoint::start(checkpointer, &writer)?;
        Ok(Self {
            writer,
            readers: Arc::new(Readers {
                path: path.to_owned(),
                idle: Mutex::new(Vec::new()),
                permits: Semaphore::new(READERS),
            }),
        })
    }

    /// Where the database is.
    pub(crate) fn path(&self) -> &Path {
        &self.readers.path
    }

    /// Runs `job` on a reader's connection inside one snapshot.
    pub(crate) async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> T + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let closed = |_| StoreError::Unavailable("the store is closed".to_owned());
        let _permit = self.readers.permits.acquire().await.map_err(closed)?;
        tokio::task::spawn_blocking(move || {
            let idle = readers.idle.lock().pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => open_connection(&readers.path, true)?,
            };
            connection.prepare_cached("BEGIN")?.execute([])?;
            let answer = job(&mut connection);
            connection.prepare_cached("COMMIT")?.execute([])?;
            readers.idle.lock().push(connection);
            Ok(answer)
        })
        .await
        .map_err(|error| StoreError::Database(format!("a read job died: {error}")))?
    }
}

/// Opens a connection with the settings every one of ours has.
pub(crate) fn open_connection(path: &Path, read_only: bool) -> Result<Connection, StoreError> {
    let flags = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
    };
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.busy_timeout(BUSY)?;
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;")?;
    if !read_only {
        // FULL: a commit that was answered is on the disk. Checkpoints run off the writer. What is deleted is
        // overwritten at once (`erasing` says what that leaves): when a person is forgotten, nobody knows any more
        // where rows stood that were changed or deleted before.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
             PRAGMA cache_size = -8192; PRAGMA journal_size_limit = 67108864;
             PRAGMA secure_delete = ON;",
        )?;
    }
    Ok(connection)
}
