//! Keys of the API: who holds one may ask what its scope lets.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentId, ApiKeyId, OrganizationId, UserId},
    time::Timestamp,
};

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyScope {
    /// Reading and searching.
    Read,
    /// All but keys, administration, providers and what all tools have in common.
    Agent,
    /// Everything.
    Admin,
}

impl KeyScope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Read, Self::Agent, Self::Admin];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Agent => "agent",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A key, without its secret: only a digest of that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The organization in which it was made.
    pub organization_id: OrganizationId,
    /// The user who made it, as whom it acts.
    pub user_id: UserId,
    /// Its name, for people.
    pub name: String,
    /// What it opens.
    pub scope: KeyScope,
    /// The last letters of its secret, by which people know it.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What a user token lets in: one end user of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserToken {
    /// The organization of the agent.
    pub organization_id: OrganizationId,
    /// The user who asked for it, as whom it acts.
    pub user_id: UserId,
    /// The agent.
    pub agent_id: AgentId,
    /// The end user.
    pub subject: String,
    /// The key with which it was asked for; it ends with that.
    pub api_key_id: Option<ApiKeyId>,
    /// From when on it opens nothing.
    pub expires_at: Timestamp,
}
