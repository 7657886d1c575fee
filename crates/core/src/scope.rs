//! Whose data a request may see.

use crate::ids::{OrganizationId, UserId};

/// Who asks, and for whom. Every store method takes one and applies it where its query is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The tenant: no row of another organization is ever visible.
    pub organization: OrganizationId,
    /// The API user who acts; recorded as author of changes.
    pub actor: UserId,
    /// The end user for whom a turn runs (not the API's actor); `None` is the agent's common data.
    pub subject: Option<String>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            organization: OrganizationId::DEFAULT,
            actor: UserId::DEFAULT,
            subject: None,
        }
    }
}
