//! The catalogue: which models there are, and what a handle means.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};

use crate::{
    client::Client,
    endpoints::{Endpoint, Origin, Protocol},
    errors::LlmError,
    gemini, in_process,
    models::{Listed, ModelInfo, ModelKind, is_chat_or_embedding, parse_list},
    ollama,
    ollama::models::ShownModels,
    servers,
    suggestions::suggest,
};

/// How long a list is taken for true.
const FRESH: Duration = Duration::from_secs(60);
/// How long after reading a list it is not read again although a model is missing in it.
const RECENT: Duration = Duration::from_secs(2);
/// How long an endpoint may take to tell its models.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what would fail for want of a model waits for the first look at this machine.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// All models of all endpoints.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The models that are there, also from lists that could not be read again.
    pub models: Vec<ModelInfo>,
    /// The endpoints whose list can't be read at the moment.
    pub unreachable: Vec<Unreachable>,
}

/// An endpoint that does not tell its models.
#[derive(Debug, Clone)]
pub struct Unreachable {
    /// Which one.
    pub endpoint: Arc<Endpoint>,
    /// Why.
    pub error: LlmError,
}

/// What a handle means.
#[derive(Debug, Clone)]
pub struct ResolvedModel {
    /// Where it is served.
    pub endpoint: Arc<Endpoint>,
    /// The model as its provider calls it.
    pub model: String,
    /// The handle as the catalogue publishes it.
    pub handle: String,
    /// What it is for, where its server says so or its name is well known.
    pub known_kind: Option<ModelKind>,
    /// Tokens that request and answer may take together.
    pub context_window: i64,
    /// Tokens an answer may take, when that is known.
    pub max_output_tokens: Option<i64>,
    /// Tokens that the window can be set to, where the client sets it and the server says how many.
    pub context_limit: Option<i64>,
}

/// Why a handle means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It has no slash.
    #[error("{handle:?} is no model handle: write provider/model, for example {example}")]
    Malformed {
        /// What was given.
        handle: String,
        /// A handle that exists, or a made-up one.
        example: String,
    },
    /// Nothing is configured at all.
    #[error(
        "no model provider is configured, so {handle:?} can't be used: start a model server on this machine \
         (Ollama, LM Studio, llama-server or vLLM), fetch a model for this process with `mnemic models \
         pull`, set OPENAI_API_KEY or ANTHROPIC_API_KEY, or \
         OPENAI_BASE_URL for a server of your own, or add one to mnemic.toml with `mnemic configure`"
    )]
    NoProviders {
        /// What was given.
        handle: String,
    },
    /// No provider has that name.
    #[error("no provider is named {provider:?} (asked for {handle:?}); there are: {known}")]
    UnknownProvider {
        /// What was given.
        handle: String,
        /// Its first part.
        provider: String,
        /// The names there are.
        known: String,
    },
    /// The provider has no such model.
    #[error("provider {provider:?} has no model {model:?}; {suggestions}")]
    UnknownModel {
        /// The provider.
        provider: String,
        /// The model's name.
        model: String,
        /// What comes near it.
        suggestions: String,
    },
}

/// The configured endpoints with what is known of their models.
#[derive(Debug)]
pub struct Catalogue {
    client: Client,
    shelves: RwLock<Vec<Arc<Shelf>>>,
    /// Whether the first look for running servers is still to come.
    is_looking: watch::Sender<bool>,
}

/// An endpoint and its list.
#[derive(Debug)]
struct Shelf {
    endpoint: Arc<Endpoint>,
    known: RwLock<Known>,
    /// Held while the list is read, so that it is read once however many wait for it.
    reading: Mutex<()>,
    shown: ShownModels,
    /// The models whose warnings the log has.
    warned: parking_lot::Mutex<HashSet<String>>,
}

#[derive(Debug, Default, Clone)]
struct Known {
    models: Option<Arc<HashMap<String, ModelInfo>>>,
    /// The models' names in the server's order.
    order: Arc<Vec<String>>,
    /// The names of those in memory, where the server says so.
    loaded: Arc<HashSet<String>>,
    error: Option<LlmError>,
    read_at: Option<Instant>,
}

impl Catalogue {
    /// A catalogue of these endpoints. Nothing is read before it is asked for.
    #[must_use]
    pub fn new(client: Client, endpoints: Vec<Endpoint>) -> Self {
        let catalogue = Self {
            client,
            shelves: RwLock::default(),
            is_looking: watch::Sender::new(false),
        };
        catalogue.replace(endpoints);
        catalogue
    }

    /// Puts other endpoints in the place of the present ones. Those whose configuration is the same
    /// keep what is known of them; runs keep the ones they have resolved.
    pub fn replace(&self, endpoints: Vec<Endpoint>) {
        let mut shelves = self.shelves.write();
        let next = endpoints.into_iter().map(|endpoint| {
            let same = shelves
                .iter()
                .find(|old| old.endpoint.config() == endpoint.config());
            same.cloned()
                .unwrap_or_else(|| Arc::new(Shelf::new(endpoint)))
        });
        *shelves = next.collect();
    }

    /// Says that running servers are being looked for: what would fail for want of a model waits for
    /// the end of it, for at most three seconds.
    pub fn begin_first_look(&self) {
        self.is_looking.send_replace(true);
    }

    /// Says that the first look is over.
    pub fn end_first_look(&self) {
        self.is_looking.send_replace(false);
    }

    /// Whether waiting for the first look may have brought anything.
    async fn waited_for_first_look(&self) -> bool {
        let mut looking = self.is_looking.subscribe();
        if !*looking.borrow() {
            return false;
        }
        let over = looking.wait_for(|is_looking| !is_looking);
        tokio::time::timeout(FIRST_LOOK, over).await.is_ok()
    }

    /// The model of agents whose creator names none, where nobody configured anything: one of a server
    /// that was found on this machine, or that the environment names. Those in memory and those that
    /// call tools come first. While one that the environment names does not answer, nothing in this process
    /// takes its place: an agent keeps its model.
    pub async fn found_model(&self) -> Option<String> {
        self.waited_for_first_look().await;
        let shelves = self.shelves.read().clone();
        let is_configured = |shelf: &Arc<Shelf>| {
            let config = shelf.endpoint.config();
            config.origin == Origin::Configured
        };
        if shelves.iter().any(is_configured) {
            return None;
        }
        let mut is_one_silent = false;
        for shelf in &shelves {
            if shelf.is_in_process() && is_one_silent {
                return None;
            }
            let known = shelf.read(&self.client, FRESH).await;
            let origin = shelf.endpoint.config().origin;
            is_one_silent |= known.models.is_none() && origin != Origin::Found;
            if let Some(best) = known.best(&shelf.endpoint) {
                return Some(best.handle);
            }
        }
        None
    }

    /// Whether an endpoint has that name, or publishes models under it.
    #[must_use]
    pub fn has(&self, provider: &str) -> bool {
        let shelves = self.shelves.read();
        let mut endpoints = shelves.iter().map(|shelf| &shelf.endpoint);
        endpoints.any(|one| one.name() == provider || one.handle_prefix() == provider)
    }

    /// Has the list of an endpoint read again when it is next needed.
    pub fn forget(&self, provider: &str) {
        for shelf in self.shelves.read().iter() {
            if shelf.endpoint.name() == provider {
                shelf.known.write().read_at = None;
            }
        }
    }

    /// Tries whether an endpoint answers to its key.
    ///
    /// # Errors
    /// It refuses the key, or does not answer.
    pub async fn try_out(&self, endpoint: Endpoint) -> Result<(), LlmError> {
        let shelf = Shelf::new(endpoint);
        match shelf.fetch_list(&self.client).await {
            // A server without a list of models is not a server in trouble.
            Ok(_) | Err(LlmError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The configured endpoints.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.shelves
            .read()
            .iter()
            .map(|shelf| shelf.endpoint.clone())
            .collect()
    }

    /// The client that calls them.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// All models. Lists older than a minute are read again, all at once; an endpoint that does not
    /// answer within five seconds holds nobody up for longer and is named in the result. What would be
    /// empty waits for the first look at this machine.
    pub async fn list(&self) -> Listing {
        let listing = self.list_now().await;
        if listing.models.is_empty() && self.waited_for_first_look().await {
            return self.list_now().await;
        }
        listing
    }

    async fn list_now(&self) -> Listing {
        let shelves = self.shelves.read().clone();
        let lists = join_all(shelves.iter().map(|shelf| shelf.read(&self.client, FRESH))).await;
        let mut listing = Listing {
            models: Vec::new(),
            unreachable: Vec::new(),
        };
        for (shelf, known) in shelves.iter().zip(lists) {
            listing.models.extend(known.published(&shelf.endpoint));
            if let Some(error) = known.error {
                listing.unreachable.push(Unreachable {
                    endpoint: shelf.endpoint.clone(),
                    error,
                });
            }
        }
        listing
    }

    /// The model that a handle means. Costs no request when the model is known; a model that is
    /// not makes the list be read again. Where no list can be read, a handle is taken at its word.
    ///
    /// # Errors
    /// When no provider or model has that name.
    pub async fn resolve(&self, handle: &str) -> Result<ResolvedModel, ResolveError> {
        let Some((provider, model)) = handle
            .split_once('/')
            .filter(|(provider, model)| !provider.is_empty() && !model.is_empty())
        else {
            return Err(self.malformed(handle));
        };
        let shelf = match self.shelf(handle, provider) {
            Err(_) if self.waited_for_first_look().await => self.shelf(handle, provider)?,
            other => other?,
        };
        if let Some(found) = shelf.known.read().find(model) {
            return Ok(found.into());
        }
        let known = shelf.read(&self.client, RECENT).await;
        if let Some(found) = known.find(model) {
            return Ok(found.into());
        }
        if known.models.is_none() {
            return Ok(Listed::named(model).describe(&shelf.endpoint).into());
        }
        Err(ResolveError::UnknownModel {
            provider: provider.to_owned(),
            model: model.to_owned(),
            suggestions: suggest(model, &known.talking()),
        })
    }

    /// The endpoint that serves the model of a handle, as far as that is known without asking it.
    #[must_use]
    pub fn endpoint_of(&self, handle: &str) -> Option<Arc<Endpoint>> {
        let (provider, model) = handle.split_once('/')?;
        let shelf = self.shelf(handle, provider).ok()?;
        Some(shelf.endpoint.serving(model))
    }

    fn shelf(&self, handle: &str, provider: &str) -> Result<Arc<Shelf>, ResolveError> {
        let shelves = self.shelves.read();
        let named = |name: &str| shelves.iter().find(|shelf| shelf.endpoint.name() == name);
        let aliased = || {
            shelves
                .iter()
                .find(|shelf| shelf.endpoint.handle_prefix() == provider)
        };
        if let Some(shelf) = named(provider).or_else(aliased) {
            return Ok(shelf.clone());
        }
        if shelves.iter().all(|shelf| shelf.is_in_process()) && provider != in_process::PROVIDER {
            return Err(ResolveError::NoProviders {
                handle: handle.to_owned(),
            });
        }
        let known: Vec<_> = shelves
            .iter()
            .map(|shelf| shelf.endpoint.handle_prefix())
            .collect();
        Err(ResolveError::UnknownProvider {
            handle: handle.to_owned(),
            provider: provider.to_owned(),
            known: known.join(", "),
        })
    }

    fn malformed(&self, handle: &str) -> ResolveError {
        let shelves = self.shelves.read();
        let existing = shelves.iter().find_map(|shelf| {
            let known = shelf.known.read();
            let name = known
                .order
                .iter()
                .find(|name| name.contains(handle) && !handle.is_empty());
            let name = name.or_else(|| known.order.first())?;
            known.find(name).map(|model| model.handle)
        });
        let example = existing.unwrap_or_else(|| "openai/gpt-4o-mini".to_owned());
        ResolveError::Malformed {
            handle: handle.to_owned(),
            example,
        }
    }
}

impl Shelf {
    fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            known: RwLock::default(),
            reading: Mutex::default(),
            shown: ShownModels::default(),
            warned: parking_lot::Mutex::default(),
        }
    }

    /// Whether its models run in this process.
    fn is_in_process(&self) -> bool {
        self.endpoint.config().in_process.is_some()
    }

    /// What is known, after reading the list if the last reading is older than `age`.
    async fn read(&self, client: &Client, age: Duration) -> Known {
        // Looking at files costs nothing, and they come and go by commands.
        let age = if self.is_in_process() {
            Duration::ZERO
        } else {
            age
        };
        let recent = || {
            let known = self.known.read();
            known
                .read_at
                .is_some_and(|at| at.elapsed() < age)
                .then(|| known.clone())
        };
        if let Some(known) = recent() {
            return known;
        }
        let _reading = self.reading.lock().await;
        if let Some(known) = recent() {
            return known;
        }
        let list = self.fetch(client).await;
        let mut known = self.known.write();
        known.read_at = Some(Instant::now());
        match list {
            Ok(models) => {
                known.set(&models, &self.endpoint);
                known.error = None;
                self.warn(&known);
            }
            Err(error) => {
                if known.error.as_ref() != Some(&error) {
                    tracing::warn!(provider = self.endpoint.name(), %error, "its models can't be listed");
                }
                known.error = Some(error);
            }
        }
        known.clone()
    }

    /// Says once of each model what is wrong with its window.
    fn warn(&self, known: &Known) {
        let mut warned = self.warned.lock();
        for model in known.models.iter().flat_map(|models| models.values()) {
            if let Some(warning) = &model.warning
                && warned.insert(model.model.clone())
            {
                tracing::warn!(model = model.handle, "{warning}");
            }
        }
    }

    async fn fetch(&self, client: &Client) -> Result<Option<Vec<Listed>>, LlmError> {
        let config = self.endpoint.config();
        if let Some(models) = &config.in_process {
            return Ok(Some(models.listed()));
        }
        let named = || {
            config
                .models
                .iter()
                .map(|id| Listed::named(id))
                .collect::<Vec<_>>()
        };
        if config.quirks.no_model_list {
            return Ok((!config.models.is_empty()).then(named));
        }
        let listed = match self.fetch_list(client).await {
            Ok(listed) => listed,
            // A server without a list is not a server in trouble.
            Err(LlmError::NotFound { .. }) => return Ok((!config.models.is_empty()).then(named)),
            Err(error) => return Err(error),
        };
        if config.models.is_empty() {
            return Ok(Some(listed));
        }
        let chosen = config.models.iter().map(|id| {
            listed
                .iter()
                .find(|model| model.id == *id)
                .cloned()
                .unwrap_or_else(|| Listed::named(id))
        });
        Ok(Some(chosen.collect()))
    }

    /// The server's list, with what else it tells of its models.
    async fn fetch_list(&self, client: &Client) -> Result<Vec<Listed>, LlmError> {
        let endpoint = &self.endpoint;
        if endpoint.protocol() == Protocol::Ollama {
            return ollama::models::list(client, endpoint, &self.shown, PATIENCE).await;
        }
        let bytes = client.model_list(endpoint, PATIENCE).await?;
        let parse = match endpoint.protocol() {
            Protocol::Gemini => gemini::models::parse_list,
            _ => parse_list,
        };
        let mut listed = parse(&bytes).ok_or_else(|| LlmError::InvalidResponse {
            provider: endpoint.name().to_owned(),
            message: "its list of models is none".to_owned(),
        })?;
        if endpoint.protocol() == Protocol::OpenAiChat {
            servers::complete(client, endpoint, &mut listed, PATIENCE).await;
        }
        Ok(listed)
    }
}

impl Known {
    fn set(&mut self, models: &Option<Vec<Listed>>, endpoint: &Arc<Endpoint>) {
        let Some(models) = models else {
            self.models = None;
            return;
        };
        let able = models
            .iter()
            .map(|model| (model.id.clone(), model.abilities));
        endpoint.abilities().set(able);
        self.order = Arc::new(models.iter().map(|model| model.id.clone()).collect());
        let loaded = models.iter().filter(|model| model.is_loaded);
        self.loaded = Arc::new(loaded.map(|model| model.id.clone()).collect());
        let described = models
            .iter()
            .map(|model| (model.id.clone(), model.describe(endpoint)));
        self.models = Some(Arc::new(described.collect()));
    }

    fn find(&self, model: &str) -> Option<ModelInfo> {
        self.models.as_ref()?.get(model).cloned()
    }

    /// Names and handles of the models that talk.
    fn talking(&self) -> Vec<(&str, String)> {
        let talks = |model: &ModelInfo| model.kind == ModelKind::Llm;
        let found = self.order.iter().filter_map(|id| {
            let model = self.find(id).filter(talks)?;
            Some((id.as_str(), model.handle))
        });
        found.collect()
    }

    /// The model to take when nobody chose one.
    fn best(&self, endpoint: &Arc<Endpoint>) -> Option<ModelInfo> {
        let talking = self.published(endpoint).into_iter();
        let talking = talking.filter(|model| model.kind == ModelKind::Llm);
        // The first of the best, as the server lists them.
        let rank = |model: &ModelInfo| {
            let is_loaded = self.loaded.contains(&model.model);
            (!is_loaded, model.abilities.tools == Some(false))
        };
        talking.min_by_key(rank)
    }

    /// The models worth showing, in the server's order; configured ones are shown although the
    /// server is away.
    fn published(&self, endpoint: &Arc<Endpoint>) -> Vec<ModelInfo> {
        let all = endpoint.is_openai() && endpoint.config().models.is_empty();
        if self.models.is_none() {
            let configured = endpoint.config().models.iter();
            return configured
                .map(|id| Listed::named(id).describe(endpoint))
                .collect();
        }
        let shown = self
            .order
            .iter()
            .filter(|id| !all || is_chat_or_embedding(id));
        shown.filter_map(|id| self.find(id)).collect()
    }
}

impl From<ModelInfo> for ResolvedModel {
    fn from(model: ModelInfo) -> Self {
        Self {
            endpoint: model.endpoint,
            model: model.model,
            handle: model.handle,
            known_kind: model.known_kind,
            context_window: model.context_window,
            max_output_tokens: model.max_output_tokens,
            context_limit: model.context_limit,
        }
    }
}
