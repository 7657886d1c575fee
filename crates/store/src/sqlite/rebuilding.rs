//! Databases of versions that did not overwrite what they deleted are written anew, once.

use std::path::Path;

use rusqlite::Connection;

use super::{checkpoint, open_connection};
use crate::StoreError;

/// The fact that a file holds nothing that was deleted before: since it was made, what is deleted is overwritten.
const CLEAN: &str = "overwrites_deleted";

/// Writes a database anew if it may hold what was deleted, or notes that it is new. No store has it open yet.
///
/// # Errors
/// The database's, such as that the disk has no room for it twice.
pub(crate) fn rebuild(path: &Path, is_new: bool) -> Result<(), StoreError> {
    let connection = open_connection(path, false)?;
    if is_new || is_clean(&connection)? {
        return note(&connection);
    }
    // What it sorts out meanwhile stands beside the database: it is as large, and as private.
    let folder = path.parent().unwrap_or(Path::new("."));
    connection.pragma_update(None, "temp_store", "FILE")?;
    connection.pragma_update(None, "temp_store_directory", folder.to_string_lossy())?;
    let rebuilt = connection.execute_batch("VACUUM");
    connection.pragma_update(None, "temp_store_directory", "")?;
    rebuilt?;
    checkpoint::empty(&connection)?;
    note(&connection)
}

/// Whether the database is known to hold nothing that was deleted.
pub(crate) fn is_clean(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT COUNT(*) FROM server_facts WHERE name = ?1";
    let known: i64 = connection.query_row(sql, [CLEAN], |row| row.get(0))?;
    Ok(known > 0)
}

fn note(connection: &Connection) -> Result<(), StoreError> {
    let sql = "INSERT INTO server_facts (name, value) VALUES (?1, X'01') ON CONFLICT DO NOTHING";
    connection.execute(sql, [CLEAN])?;
    Ok(())
}
