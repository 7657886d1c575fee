//! The way of a running tool to the server's own API. What answers there is not the engine's business; whose data it may
//! show is.

use std::{fmt, sync::Arc};

use mnemic_core::{ids::AgentId, scope::Scope};
use mnemic_tools::sandbox::Door;

use crate::Engine;

/// Tools in tools in tools: how deep they may call each other.
pub(crate) const MAX_DEPTH: u8 = 4;

/// On whose behalf a tool asks. It is bound to the call: nothing that the tool sends changes it.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Whose data it may see.
    pub scope: Scope,
    /// The agent that called it; none for a source that a client tries.
    pub agent_id: Option<AgentId>,
    /// How many tools stand above it.
    pub depth: u8,
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
