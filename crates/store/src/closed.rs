//! What is common to all users of an agent: in the turn of one of them it is read-only, unless the agent's creator opened it by
//! its name.

use mnemic_core::{ids::AgentId, scope::Scope};

use crate::{StoreError, Tx, params};

/// Something that may be common.
#[derive(Debug, Clone)]
pub(crate) struct Thing<'a> {
    /// What it is, in words.
    pub noun: &'static str,
    /// The label or name under which it can be opened.
    pub name: &'a str,
    /// The end user whose own it is.
    pub subject: Option<&'a str>,
    /// The rows that say which agents have it: a condition on `$1`, the agent, and `$2`, its id.
    pub of_agent: &'static str,
    /// Its id.
    pub id: String,
}

impl Thing<'_> {
    /// Whether the turn of the scope's user may only read it.
    pub(crate) fn is_closed(&self, scope: &Scope, open: &[String]) -> bool {
        scope.subject.is_some()
            && self.subject.is_none()
            && !open.iter().any(|name| name == self.name)
    }

    /// Refuses that the turn of a user changes it where it may only be read.
    ///
    /// # Errors
    /// It may only be read, or the database's.
    pub(crate) async fn refuse(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        agent_id: AgentId,
    ) -> Result<(), StoreError> {
        let open = open_to_users(tx, scope, agent_id).await?;
        if !self.is_closed(scope, &open) {
            return Ok(());
        }
        Err(self.refusal())
    }

    /// The same for a request by the API, where the agent counts out of whose tool call it comes. A request that comes out of
    /// none, as one with a user's token, finds nothing open.
    ///
    /// # Errors
    /// As for [`Thing::refuse`].
    pub(crate) async fn refuse_request(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
    ) -> Result<(), StoreError> {
        match &scope.caller {
            Some(caller) if self.is_had_by(tx, caller.agent_id).await? => {
                self.refuse(tx, scope, caller.agent_id).await
            }
            _ if self.is_closed(scope, &[]) => Err(self.refusal()),
            _ => Ok(()),
        }
    }

    /// Whether the agent has it: a name that one agent opened says nothing of what others have under it.
    async fn is_had_by(&self, tx: &mut Tx<'_>, agent_id: AgentId) -> Result<bool, StoreError> {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", self.of_agent);
        let found = tx.query_opt(&sql, params![agent_id, &self.id]).await?;
        Ok(found.is_some())
    }

    fn refusal(self) -> StoreError {
        let Self { noun, name, .. } = self;
        StoreError::Invalid(format!(
            "the {noun} '{name}' is common to all users, so nothing was changed: in the turn of one of them it is read-only. \
             The agent's creator can open it by its name (open_to_users)"
        ))
    }
}

/// The labels of common blocks, and the names of common archives, that an agent's creator opened to the turns of its users.
/// Without a user in the scope nothing is closed, and nothing is read.
///
/// # Errors
/// The database's.
pub(crate) async fn open_to_users(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
) -> Result<Vec<String>, StoreError> {
    if scope.subject.is_none() {
        return Ok(Vec::new());
    }
    let sql = "SELECT open_to_users FROM agents WHERE id = $1 AND organization_id = $2";
    let found = tx
        .query_opt(sql, params![agent_id, scope.organization])
        .await?;
    let Some(mut row) = found else {
        return Ok(Vec::new());
    };
    Ok(row.opt_json()?.unwrap_or_default())
}
