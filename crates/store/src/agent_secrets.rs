//! Agents' secrets: environment variables of their tools, encrypted at rest.

use std::collections::HashMap;

use mnemic_core::{
    ids::{AgentId, AgentSecretId},
    time::Timestamp,
};

use crate::{Secrets, StoreError, Tx, params};

/// A secret of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSecret {
    /// Its id.
    pub id: AgentSecretId,
    /// The variable's name.
    pub key: String,
    /// Its value, decrypted.
    pub value: String,
    /// What it is for.
    pub description: Option<String>,
    /// When it was set first.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What a ciphertext is bound to.
fn place(agent_id: AgentId, key: &str) -> String {
    format!("agent_secrets/{agent_id}/{key}")
}

/// Makes an agent have exactly these secrets.
///
/// # Errors
/// The database's.
pub async fn replace(
    tx: &mut Tx<'_>,
    secrets: &Secrets,
    agent_id: AgentId,
    wanted: &[(String, String)],
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM agent_secrets WHERE agent_id = $1",
        params![agent_id],
    )
    .await?;
    for (key, value) in wanted {
        let sealed = secrets.encrypt(&place(agent_id, key), value)?;
        let sql = "INSERT INTO agent_secrets (id, agent_id, key, value, created_at, updated_at) \
                   VALUES ($1, $2, $3, $4, $5, $5)";
        let id = AgentSecretId::new();
        tx.execute(sql, params![id, agent_id, key, sealed.as_slice(), now])
            .await?;
    }
    Ok(())
}

/// The secrets of several agents, each list by key.
///
/// # Errors
/// One does not decrypt with this key, or the database's.
pub async fn of_agents(
    tx: &mut Tx<'_>,
    secrets: &Secrets,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<AgentSecret>>, StoreError> {
    let ids: Vec<String> = agents.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT agent_id, id, key, value, description, created_at, updated_at FROM agent_secrets \
         WHERE {} ORDER BY agent_id, key",
        tx.any_of("agent_id", 1)
    );
    let mut found: HashMap<AgentId, Vec<AgentSecret>> = HashMap::new();
    for mut row in tx.query(&sql, params![ids]).await? {
        let agent_id = row.parse()?;
        let (id, key) = (row.parse()?, row.text()?);
        let sealed = row.opt_bytes()?.unwrap_or_default();
        let value = secrets.decrypt(&place(agent_id, &key), &sealed)?;
        found.entry(agent_id).or_default().push(AgentSecret {
            id,
            key,
            value,
            description: row.opt_text()?,
            created_at: row.time()?,
            updated_at: row.time()?,
        });
    }
    Ok(found)
}
