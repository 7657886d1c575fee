//! The way of a running tool to the server's own API. What answers there is not the engine's business; whose data it may
//! show is.

use std::{fmt, sync::Arc};

use mnemic_core::{ids::AgentId, scope::Scope};
use mnemic_tools::sandbox::Door;
use serde::{Deserialize, Serialize};

use crate::Engine;

/// Tools in tools in tools: how deep they may call each other.
pub(crate) const MAX_DEPTH: u8 = 4;

/// What stands above a call: tools that wait for it, and the agents in whose turns they were called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Above {
    /// How many tools.
    pub depth: u8,
    /// The agents. One of them can't be sent a message from below: its turn would wait for itself, or begin itself anew
    /// for ever.
    pub agents: Vec<AgentId>,
    /// Whether the last of the tools waits: then what it waits for must not wait for a turn that this tool holds.
    pub is_awaited: bool,
    /// The agents from whose turns it follows that memory is tidied. None of them tidies in turn, or agents that keep each
    /// other's memory would never come to rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tidied: Vec<AgentId>,
}

impl Above {
    /// What stands above the things that a call asks for.
    pub(crate) fn below(&self, agent: Option<AgentId>) -> Self {
        let mut agents = self.agents.clone();
        agents.extend(agent);
        Self {
            depth: self.depth.saturating_add(1),
            agents,
            is_awaited: true,
            tidied: self.tidied.clone(),
        }
    }

    /// Whether nothing does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.depth == 0
    }
}

/// On whose behalf a tool asks. It is bound to the call: nothing that the tool sends changes it.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Whose data it may see.
    pub scope: Scope,
    /// The agent that called it; none for a source that a client tries.
    pub agent_id: Option<AgentId>,
    /// What stands above it.
    pub above: Above,
    /// What it may ask.
    pub reach: Reach,
}

/// What a visitor may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Everything that the API has.
    Api,
    /// That a tool of its agent is run.
    Tools,
}

/// Opens doors for tools.
pub trait Doors: fmt::Debug + Send + Sync {
    /// The door of one call.
    fn open(&self, visit: Visit) -> Arc<dyn Door>;
}

impl Engine {
    /// Sets who opens doors for tools, until the engine stops.
    pub fn set_doors(&self, doors: Arc<dyn Doors>) {
        *self.inner.doors.write() = Some(doors);
    }

    pub(crate) fn open_door(&self, visit: Visit) -> Option<Arc<dyn Door>> {
        let doors = self.inner.doors.read().clone();
        doors.map(|doors| doors.open(visit))
    }

    /// Lets go of who opens doors, who holds the engine.
    pub(crate) fn close_doors(&self) {
        *self.inner.doors.write() = None;
    }
}
