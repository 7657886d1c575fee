//! Tokens of end users, known by their digests.

use mnemic_core::{api_keys::UserToken, ids::AgentId, scope::Scope, time::Timestamp};

use crate::{Row, StoreError, Tx, agents, params};

fn from_row(mut row: Row) -> Result<UserToken, StoreError> {
    Ok(UserToken {
        organization_id: row.parse()?,
        user_id: row.parse()?,
        agent_id: row.parse()?,
        subject: row.text()?,
        api_key_id: row.opt_parse()?,
        expires_at: row.time()?,
    })
}

/// Stores a token under its digest. Those whose time is over go at the same time.
///
/// # Errors
/// There is no such agent, or the database's.
pub async fn insert(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (hash, token): (&str, &UserToken),
    now: Timestamp,
) -> Result<(), StoreError> {
    agents::get(tx, scope, token.agent_id).await?;
    tx.execute(
        "DELETE FROM user_tokens WHERE expires_at <= $1",
        params![now],
    )
    .await?;
    let sql = "INSERT INTO user_tokens (hash, organization_id, user_id, agent_id, subject, api_key_id, created_at, \
                   expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    tx.execute(
        sql,
        params![
            hash,
            token.organization_id,
            token.user_id,
            token.agent_id,
            token.subject.as_str(),
            token.api_key_id,
            now,
            token.expires_at
        ],
    )
    .await
    .map(drop)
}

/// The token of a digest, while its time lasts.
///
/// # Errors
/// The database's.
pub async fn by_hash(
    tx: &mut Tx<'_>,
    hash: &str,
    now: Timestamp,
) -> Result<Option<UserToken>, StoreError> {
    // A key may be revoked while a token is being made with it.
    let sql = "SELECT organization_id, user_id, agent_id, subject, api_key_id, expires_at FROM user_tokens t \
               WHERE hash = $1 AND expires_at > $2 AND NOT EXISTS (SELECT 1 FROM api_keys k \
                   WHERE k.id = t.api_key_id AND k.revoked_at IS NOT NULL)";
    let row = tx.query_opt(sql, params![hash, now]).await?;
    row.map(from_row).transpose()
}

/// Ends all tokens of the end user of the scope, with one agent or with all; says how many there were.
///
/// # Errors
/// The scope names no end user, or the database's.
pub async fn end(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: Option<AgentId>,
) -> Result<u64, StoreError> {
    let Some(subject) = scope.subject.as_deref() else {
        return Err(StoreError::Invalid(
            "tokens are ended for an end user: say whose".to_owned(),
        ));
    };
    let sql = "DELETE FROM user_tokens WHERE organization_id = $1 AND subject = $2 AND ($3 = '' OR agent_id = $3)";
    let agent = agent_id.map(|id| id.to_string()).unwrap_or_default();
    tx.execute(sql, params![scope.organization, subject, agent])
        .await
}
