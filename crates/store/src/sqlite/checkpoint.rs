//! Checkpoints: the write-ahead log moves into the database file on a thread of its own, so that no
//! commit waits for the bulk of it.
//!
//! A log begins anew only when all of it has been moved, which never happens while commits go on
//! beside. So the last few pages are left to the writer, between two commits.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

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
    let (pages, writer) = (writer.pages_in_log(), writer.downgrade());
    thread::Builder::new()
        .name("sqlite-checkpoint".to_owned())
        .spawn(move || run(&connection, &pages, &writer))
        .map(drop)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

fn run(connection: &Connection, pages: &AtomicU32, writer: &WeakSender<Work>) {
    while writer.upgrade().is_some() {
        thread::sleep(INTERVAL);
        if pages.load(Ordering::Relaxed) < WORTH_MOVING {
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

thread_local! {
    /// The length of the log after this thread's last commit.
    static PAGES_IN_LOG: Cell<u32> = const { Cell::new(0) };
}

/// Lets the thread that commits on a connection know how many pages the log holds, moved or not. The
/// log's file does not tell: it keeps its size and is written over. Its index does, but must not be
/// opened by anybody but SQLite: the first file that is closed takes all locks of this process away
/// (fcntl(2)), and then another process that opens the database truncates the index under our feet.
pub(super) fn watch(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        PAGES_IN_LOG.set(u32::try_from(pages).unwrap_or(0));
        Ok(())
    }));
}

/// The length of the log after this thread's last commit.
pub(super) fn pages_in_log() -> u32 {
    PAGES_IN_LOG.get()
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

/// How long emptying the log waits for readers, each time that it is tried: meanwhile nothing is written.
const READERS_END: Duration = Duration::from_millis(200);

/// Moves all of the log and empties its file; says whether readers let it.
pub(super) fn empty(connection: &Connection) -> Result<bool, StoreError> {
    connection.busy_timeout(READERS_END)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, i64>(0)
    });
    connection.busy_timeout(super::BUSY)?;
    Ok(busy? == 0)
}
