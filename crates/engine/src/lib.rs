//! The agent runtime: turns, steps, tools and their recovery.
//!
//! Architecture invariant: this crate knows neither HTTP nor SQL nor a provider's JSON. A run is a
//! task that the engine owns; callers only subscribe to its events, so that a client that goes away
//! never ends a run.

mod accept;
pub mod agents;
pub mod blocks;
mod dispatch;
mod ending;
mod error;
mod events;
mod fit;
mod follow;
mod handle;
pub mod inputs;
mod live;
mod model;
mod outlet;
pub mod prompting;
mod recall;
mod recovery;
mod request;
mod session;
mod settle;
mod step;
mod supervisor;
pub mod threads;
pub mod tools;
mod turn;

use std::{sync::Arc, time::Duration};

pub use error::EngineError;
pub use events::Event;
pub use handle::RunHandle;
pub use live::Numbered;
use mnemic_core::time::{Clock, Timestamp};
use mnemic_llm::{Catalogue, Client};
use mnemic_store::Store;
pub use request::{DEFAULT_MAX_STEPS, Granularity, SendRequest, WhenBusy};
use session::Sessions;
use supervisor::Supervisor;
use tokio::sync::Notify;

/// What an administrator sets.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The model of agents whose creator names none.
    pub default_llm_handle: Option<String>,
    /// The embedding model of agents whose creator names none.
    pub default_embedding_handle: Option<String>,
    /// Context window in tokens that agents get at the most when their creator names none.
    pub max_context_window: i64,
    /// Runs that may wait for one conversation.
    pub queue_depth: i64,
    /// Bytes of prompts and transcripts kept in memory between turns.
    pub session_cache_bytes: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            default_llm_handle: None,
            default_embedding_handle: None,
            max_context_window: 128_000,
            queue_depth: 32,
            session_cache_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The agent runtime; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    client: Client,
    catalogue: Arc<Catalogue>,
    settings: EngineSettings,
    clock: Clock,
    boot_id: String,
    sessions: Sessions,
    supervisor: Supervisor,
    /// Told when a run with a callback ended in this process.
    callback_due: Notify,
}

/// How often callbacks are looked for that no run of this process announces: those of other processes,
/// and those that are tried again.
const CALLBACK_POLL: Duration = Duration::from_secs(2);

impl Engine {
    /// Puts the runtime together. [`Engine::start`] sets it going.
    #[must_use]
    pub fn new(
        store: Store,
        client: Client,
        catalogue: Arc<Catalogue>,
        settings: EngineSettings,
        clock: Clock,
    ) -> Self {
        let sessions = Sessions::new(settings.session_cache_bytes);
        let boot_id = format!("boot-{}", uuid::Uuid::new_v4());
        let inner = Inner {
            store,
            client,
            catalogue,
            settings,
            clock,
            boot_id,
            sessions,
            supervisor: Supervisor::default(),
            callback_due: Notify::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The model providers.
    #[must_use]
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.inner.catalogue
    }

    /// What the administrator set.
    #[must_use]
    pub fn settings(&self) -> &EngineSettings {
        &self.inner.settings
    }

    /// The name of this process among those of its database.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.inner.boot_id
    }

    /// Waits until a run's callback may be due; `false` when the engine stops.
    pub async fn callback_due(&self) -> bool {
        tokio::select! {
            () = self.inner.callback_due.notified() => true,
            () = tokio::time::sleep(CALLBACK_POLL) => true,
            () = self.inner.supervisor.abort.cancelled() => false,
        }
    }

    /// The present instant by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}
