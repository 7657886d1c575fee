//! The agent runtime: turns, steps, tools and their recovery.
//!
//! Architecture invariant: this crate knows neither HTTP nor SQL nor a provider's JSON. A run is a
//! task that the engine owns; callers only subscribe to its events, so that a client that goes away
//! never ends a run.

mod accept;
pub mod agent_files;
pub mod agents;
mod answers;
pub mod archives;
pub mod batches;
pub mod blocks;
mod client;
mod clipping;
mod compaction;
pub mod custom;
mod dispatch;
pub mod embedding;
mod embedding_worker;
mod ending;
mod error;
mod events;
mod follow;
mod follow_ups;
pub mod forgetting;
pub mod forks;
mod gauges;
mod generate;
mod glance;
pub mod groups;
mod handle;
pub mod identities;
pub mod inputs;
mod limits;
mod live;
mod messaging;
mod model;
mod outlet;
mod overview;
pub mod prompting;
pub mod providers;
mod recall;
mod recovery;
mod request;
mod rests;
mod rules;
pub mod sandbox_configs;
pub mod search;
mod second_try;
mod session;
mod settle;
mod step;
mod supervisor;
pub mod threads;
pub mod tools;
mod traces;
mod turn;
mod web;

use std::{sync::Arc, time::Duration};

pub use answers::OpenCall;
pub use compaction::manual::CompactionResult;
use custom::{Doors, ToolSettings};
pub use embedding::EmbeddingError;
use embedding::{EmbeddingSettings, Embeddings};
pub use error::EngineError;
pub use events::Event;
pub use gauges::Gauges;
pub use generate::{GenerateRequest, Generated};
pub use handle::RunHandle;
pub use limits::{Allowance, LimitReached, Standing};
pub use live::Numbered;
use mnemic_core::{
    plans::Plans,
    prices::PriceList,
    time::{Clock, Timestamp},
};
use mnemic_llm::{Catalogue, Client};
use mnemic_store::Store;
use mnemic_tools::sandbox::Sandbox;
pub use overview::{ContextOverview, Share};
use parking_lot::RwLock;
pub use request::{
    AskedChoice, ClientSkill, ClientTool, DEFAULT_MAX_STEPS, Granularity, Round, SendRequest,
    WhenBusy,
};
use rests::Rests;
use search::Shelf;
use session::Sessions;
use supervisor::Supervisor;
use tokio::sync::{Notify, OnceCell};
use web::Web;
pub use web::WebSettings;

/// What an administrator sets.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The model of agents whose creator names none.
    pub default_llm_handle: Option<String>,
    /// The models that make vectors of texts.
    pub embeddings: EmbeddingSettings,
    /// Context window in tokens that agents get at the most when their creator names none.
    pub max_context_window: i64,
    /// Runs that may wait for one conversation.
    pub queue_depth: i64,
    /// Requests of batches that run at once.
    pub batch_concurrency: usize,
    /// How long a conversation waits for answers to its agent's calls, before a message may come in their place.
    pub approval_expiry: Duration,
    /// For how long it is kept what models were asked and answered; none: not at all.
    pub trace_age: Option<Duration>,
    /// Bytes of prompts and transcripts kept in memory between turns.
    pub session_cache_bytes: usize,
    /// Bytes of search indexes kept in memory.
    pub index_cache_bytes: usize,
    /// How long the model may take that makes a summary, before a digest stands in for it.
    pub compaction_timeout: Duration,
    /// How long copies of the database that were made before migrations are kept.
    pub keep_copies: Duration,
    /// How tools run that people wrote.
    pub tools: ToolSettings,
    /// Pages and searches in the web.
    pub web: WebSettings,
    /// What models cost.
    pub prices: Arc<PriceList>,
    /// What agents, end users and keys may use.
    pub plans: Arc<Plans>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            default_llm_handle: None,
            embeddings: EmbeddingSettings::default(),
            max_context_window: 128_000,
            queue_depth: 32,
            batch_concurrency: 4,
            approval_expiry: Duration::from_secs(7 * 24 * 3600),
            trace_age: None,
            session_cache_bytes: 64 * 1024 * 1024,
            index_cache_bytes: 256 * 1024 * 1024,
            compaction_timeout: Duration::from_secs(30),
            keep_copies: Duration::from_secs(30 * 24 * 3600),
            tools: ToolSettings::default(),
            web: WebSettings::default(),
            prices: Arc::default(),
            plans: Arc::default(),
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
    /// The providers that organizations added.
    added: providers::Added,
    embeddings: Embeddings,
    /// Models that made no summary when they were asked last.
    summarizers: Rests,
    settings: EngineSettings,
    clock: Clock,
    boot_id: String,
    sessions: Sessions,
    /// What is stored, as it was measured for limits.
    sizes: limits::Sizes,
    /// Who waits for the answer of another agent.
    waits: Arc<messaging::Waits>,
    shelf: Shelf,
    supervisor: Supervisor,
    /// Who opens the API to running tools.
    doors: RwLock<Option<Arc<dyn Doors>>>,
    /// Made by the first who asks.
    sandbox: OnceCell<Sandbox>,
    web: Web,
    /// Told when a run with a callback ended in this process.
    callback_due: Notify,
    /// Told when a batch was accepted in this process.
    batch_due: Notify,
    /// Held by whoever erases.
    erasing: tokio::sync::Mutex<()>,
}

/// How often callbacks are looked for that no run of this process announces: those of other processes,
/// and those that are tried again.
const CALLBACK_POLL: Duration = Duration::from_secs(2);

/// How long a model makes no summaries after it failed or hung: the first time, and at the most.
const SUMMARIZER_REST: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

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
        let shelf = Shelf::new(settings.index_cache_bytes);
        let embeddings = Embeddings::new(Arc::clone(&catalogue), &settings.embeddings);
        let web = Web::new(&settings.web);
        let boot_id = format!("boot-{}", uuid::Uuid::new_v4());
        let inner = Inner {
            store,
            client,
            catalogue,
            added: providers::Added::default(),
            embeddings,
            summarizers: Rests::new(SUMMARIZER_REST.0, SUMMARIZER_REST.1),
            settings,
            clock,
            boot_id,
            sessions,
            sizes: limits::Sizes::default(),
            waits: Arc::default(),
            shelf,
            supervisor: Supervisor::default(),
            doors: RwLock::default(),
            sandbox: OnceCell::new(),
            web,
            callback_due: Notify::new(),
            batch_due: Notify::new(),
            erasing: tokio::sync::Mutex::default(),
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

    /// The models that make vectors of texts.
    #[must_use]
    pub fn embeddings(&self) -> &Embeddings {
        &self.inner.embeddings
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

    /// Does something for which nobody waits. The engine's end waits for it, for a while.
    pub fn in_background(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.supervisor.tasks.spawn(task);
    }

    /// The present instant by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}
