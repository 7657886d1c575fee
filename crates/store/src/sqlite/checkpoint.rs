//! Checkpoints: the write-ahead log moves into the database file on a thread of its own, so that no
//! commit waits for the bulk of it.
//!
//! A log begins anew only when all of it has been moved, which never happens while commits go on
//! beside. So the last few pages are left to the writer, between two commits.

use std::{io, path::Path, thread, time::Duration};

use rusqlite::Connection;
use tokio::sync::mpsc::WeakSender;

use super::writer::{Work, Writer};
use crate::StoreError;

/// Pages in the log from which they are moved; 4 MiB keep look-ups in it cheap.
const WORTH_MOVING: u32 = 1024;

/// How often the log's length is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Pages that the writer moves itself; few enough for a millisecond.
const REST_PAGES: i64 = 256;

/// Passes after which the writer moves the rest, however much it is.
const MAX_PASSES: usize = 8;

/// Starts the thread; it ends with the writer.
pub(super) fn start(connection: Connection, writer: &Writer) -> Result<(), StoreError> {
    let writer = writer.downgrade();
    thread::Builder::new()
        .name("sqlite-checkpoint".to_owned())
        .spawn(move || run(&connection, &writer))
        .map(drop)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn run(connection: &Connection, writer: &WeakSender<Work>) {
    let index = connection.path().map(|path| format!("{path}-shm"));
    let index = index.unwrap_or_default();
    while writer.upgrade().is_some() {
        thread::sleep(INTERVAL);
        // Without an index there is no log either.
        if pages_in_log(Path::new(&index)).unwrap_or(0) < WORTH_MOVING {
            continue;
        }
        for _ in 0..MAX_PASSES {
            match pass(connection) {
                Some(rest) if rest > REST_PAGES => {}
                _ => break,
            }
        }
        if let Some(writer) = writer.upgrade() {
            // A full queue means busy times; the next look comes soon.
            let _ = writer.try_send(Work::Checkpoint);
        }
    }
}

/// How many pages the log holds, moved or not. The log's file does not tell: it keeps its size and is
/// written over, which a disk takes faster than a file that grows. It is the field `mxFrame` of the
/// log's index, <https://sqlite.org/walformat.html#the_wal_index_file_format>.
fn pages_in_log(index: &Path) -> io::Result<u32> {
    use io::{Read as _, Seek as _};
    let mut file = std::fs::File::open(index)?;
    let mut pages = [0; 4];
    file.seek(io::SeekFrom::Start(16))?;
    file.read_exact(&mut pages)?;
    Ok(u32::from_ne_bytes(pages))
}

/// Moves what can be moved without making anybody wait; returns how many pages are left, or nothing
/// when it failed.
pub(super) fn pass(connection: &Connection) -> Option<i64> {
    let pages = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    match pages {
        Ok((in_log, moved)) => Some(in_log - moved),
        Err(error) => {
            tracing::warn!(%error, "a checkpoint failed; it is tried again");
            None
        }
    }
}
