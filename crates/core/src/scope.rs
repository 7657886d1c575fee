//! Whose data a request may see.

use crate::ids::{AgentId, ApiKeyId, OrganizationId, RunId, UserId};

/// Who asks, and for whom. Every store method takes one and applies it where its query is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The tenant: no row of another organization is ever visible.
    pub organization: OrganizationId,
    /// The API user who acts; recorded as author of changes.
    pub actor: UserId,
    /// The end user for whom a turn runs (not the API's actor); `None` is the agent's common data.
    pub subject: Option<String>,
    /// The tool call out of which the request comes, if it comes out of one; recorded as author of changes, too.
    pub caller: Option<Box<Caller>>,
    /// The key with which the request came: what it takes is counted for that.
    pub key: Option<ApiKeyId>,
}

/// A tool call out of which the server is asked for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The agent whose model made the call.
    pub agent_id: AgentId,
    /// The run in which it was made.
    pub run_id: RunId,
    /// The call.
    pub tool_call_id: String,
}

impl Scope {
    /// The same, for what a tool call asks.
    #[must_use]
    pub fn called_by(&self, caller: Caller) -> Self {
        Self {
            caller: Some(Box::new(caller)),
            ..self.clone()
        }
    }
}

impl Scope {
    /// The same without an end user: what is common to all of them.
    #[must_use]
    pub fn common(&self) -> Self {
        self.of_subject(None)
    }

    /// The same for an end user, where it is nobody's yet: what is done in one person's turn never becomes another's.
    #[must_use]
    pub fn narrowed_to(&self, subject: Option<String>) -> Self {
        self.of_subject(self.subject.clone().or(subject))
    }

    /// The same for another end user.
    #[must_use]
    pub fn of_subject(&self, subject: Option<String>) -> Self {
        Self {
            subject,
            ..self.clone()
        }
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            organization: OrganizationId::DEFAULT,
            actor: UserId::DEFAULT,
            subject: None,
            caller: None,
            key: None,
        }
    }
}
