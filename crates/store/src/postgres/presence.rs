//! Which processes are alive: each holds a session advisory lock on its boot id, which PostgreSQL
//! gives back the moment the process's connection is gone.

use sha2::{Digest, Sha256};

use super::Postgres;
use crate::StoreError;

/// The lock's key: the first eight bytes of the boot id's SHA-256.
fn lock_key(boot_id: &str) -> i64 {
    let digest = Sha256::digest(boot_id.as_bytes());
    let mut bytes = [0u8; 8];
    bytes
        .iter_mut()
        .zip(digest.iter())
        .for_each(|(to, from)| *to = *from);
    i64::from_be_bytes(bytes)
}

/// Holds the lock of `boot_id` on a connection of its own for as long as the returned client lives.
pub(crate) async fn hold(
    database: &Postgres,
    boot_id: &str,
) -> Result<tokio_postgres::Client, StoreError> {
    let client = database.dedicated().await?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&lock_key(boot_id)])
        .await?;
    Ok(client)
}

/// Those of `owners` whose lock nobody holds.
pub(crate) async fn dead(
    database: &Postgres,
    owners: &[String],
) -> Result<Vec<String>, StoreError> {
    let client = database.dedicated().await?;
    let mut dead = Vec::new();
    for owner in owners {
        let key = lock_key(owner);
        let row = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&key])
            .await?;
        if row.try_get(0)? {
            client
                .execute("SELECT pg_advisory_unlock($1)", &[&key])
                .await?;
            dead.push(owner.clone());
        }
    }
    Ok(dead)
}
