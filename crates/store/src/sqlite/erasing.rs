//! Erasing: after rows were deleted, nothing of them is in the files either.
//!
//! `secure_delete` has overwritten rows and free pages. What is left are copies inside of pages (`remains`), and the log. All pages are read,
//! beside the writer; it changes only those that hold something, some at a time, and empties the log at the end.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::{Sqlite, Writer, rebuilding, remains};
use crate::StoreError;

/// Pages that are read in one transaction.
const READ: u32 = 256;

/// Pages that the writer changes in one transaction: few enough that others hardly wait.
const WRITTEN: usize = 64;

/// How often the log is tried to be emptied, and the pause between.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);

const PAGE: &str = "SELECT data FROM sqlite_dbpage WHERE pgno = ?1";

/// The end of a file's header with what its pages keep free for extensions.
const RESERVED: usize = 20;

impl Sqlite {
    /// Overwrites what deleted rows have left in the database and its log.
    ///
    /// # Errors
    /// A reader keeps the log, the file is too large, or the database's.
    pub(crate) async fn erase(&self) -> Result<(), StoreError> {
        let (is_clean, pages) = self.read(|connection| state(connection)).await??;
        if !is_clean {
            return Err(StoreError::Unavailable(
                "the database is from a version that did not overwrite what it deleted, and could not be written anew: see \
                 the log of the start, and start the server again"
                    .to_owned(),
            ));
        }
        if pages >= remains::MOST_PAGES {
            return Err(StoreError::Unavailable(format!(
                "the database has {pages} pages, more than what deleted rows leave is looked for in: only a VACUUM of it \
                 removes that"
            )));
        }
        let mut from = 1;
        while from <= pages {
            let to = pages.min(from.saturating_add(READ - 1));
            let with_remains = self.read(move |connection| look(connection, from, to));
            for some in with_remains.await??.chunks(WRITTEN) {
                overwrite(&self.writer, some.to_vec()).await?;
            }
            from = to + 1;
        }
        for _ in 0..TRIES {
            if self.writer.empty_log().await? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(StoreError::Unavailable(
            "somebody reads the database all the time, so that its log can't be emptied: end other programs that have it open"
                .to_owned(),
        ))
    }
}

/// Whether nothing is left of times when deleted rows were not overwritten, and how many pages there are.
fn state(connection: &Connection) -> Result<(bool, u32), StoreError> {
    let pages = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    Ok((rebuilding::is_clean(connection)?, pages))
}

fn read_page(connection: &Connection, number: u32) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = connection.prepare_cached(PAGE)?;
    let page = statement.query_row([number], |row| row.get(0));
    Ok(page.optional()?)
}

/// How many bytes at the end of each page are not the database's.
fn reserved(connection: &Connection) -> Result<usize, StoreError> {
    let first = read_page(connection, 1)?.unwrap_or_default();
    Ok(first.get(RESERVED).copied().map_or(0, usize::from))
}

/// The pages of a range that hold something beside their rows.
fn look(connection: &Connection, from: u32, to: u32) -> Result<Vec<u32>, StoreError> {
    let reserved = reserved(connection)?;
    let mut found = Vec::new();
    for number in from..=to {
        let page = read_page(connection, number)?;
        if page.is_some_and(|mut page| remains::overwrite(&mut page, number, reserved)) {
            found.push(number);
        }
    }
    Ok(found)
}

async fn overwrite(writer: &Writer, pages: Vec<u32>) -> Result<(), StoreError> {
    let job = move |connection: &mut Connection| {
        let reserved = reserved(connection)?;
        for number in pages {
            let Some(mut page) = read_page(connection, number)? else {
                continue;
            };
            if remains::overwrite(&mut page, number, reserved) {
                let sql = "UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1";
                connection.prepare_cached(sql)?.execute((number, page))?;
            }
        }
        Ok::<_, StoreError>(())
    };
    writer.submit(job).await
}
