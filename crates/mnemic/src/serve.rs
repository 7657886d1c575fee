//! `mnemic serve`: puts the server together, runs it, and ends it in order.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::serve::ListenerExt as _;
use mnemic_api::ApiSettings;
use mnemic_core::{prices::PriceList, scope::Scope, time::Clock};
#[cfg(feature = "local-models")]
use mnemic_engine::embedding::LocalModels;
use mnemic_engine::{Engine, EngineSettings, WebSettings, embedding::EmbeddingSettings};
use mnemic_llm::{
    Catalogue, Client, EndpointConfig, RetryPolicy, Secret, ServiceSettings, Timeouts, UrlGuard,
    WebSearchSettings,
};
use mnemic_store::{Location, Secrets, Store, StoreError, organizations};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    data::{self, DataFolder},
    detection::{self, Told},
    providers::{self, Roster},
    settings::{Settings, SettingsError, unknown_variables},
    terminal::{complain, say},
};

/// How long connections may take to end after the engine has stopped.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Why the server did not start or go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ServeError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("cannot listen on {address}: {error}; choose another port with --port")]
    Listen {
        address: String,
        error: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] mnemic_engine::EngineError),
    #[error(transparent)]
    Provider(#[from] mnemic_llm::EndpointError),
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
}

/// How a server is run.
pub struct Hosting<S> {
    audience: Audience,
    /// Gets to know when the server listens.
    ready: Option<oneshot::Sender<Ready>>,
    /// Ends when the server is to end.
    stop: S,
}

/// Who reads what the server says while it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    Operator,
    Nobody,
}

/// A server that listens.
#[derive(Debug)]
pub struct Ready {
    /// Where.
    pub address: SocketAddr,
    /// The password that it asks for.
    pub password: Option<String>,
}

impl<S: Future<Output = ()>> Hosting<S> {
    /// Inside of another program: nothing is said, and the end comes from there.
    pub const fn quiet(ready: oneshot::Sender<Ready>, stop: S) -> Self {
        Self {
            audience: Audience::Nobody,
            ready: Some(ready),
            stop,
        }
    }
}

/// Runs the server until a signal tells it to stop.
///
/// # Errors
/// It cannot start.
pub async fn serve(settings: Settings) -> Result<(), ServeError> {
    let hosting = Hosting {
        audience: Audience::Operator,
        ready: None,
        stop: signal(),
    };
    serve_for(settings, hosting).await
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// It cannot start.
pub async fn serve_for<S>(settings: Settings, hosting: Hosting<S>) -> Result<(), ServeError>
where
    S: Future<Output = ()> + Send + 'static,
{
    let for_operator = hosting.audience == Audience::Operator;
    if for_operator {
        warn_of_settings(&settings)?;
    }
    let folder = open_folder(&settings)?;
    let store = open_store(&settings, &folder).await?;
    let timeout = Duration::from_secs(settings.number("llm_timeout_seconds")?);
    let timeouts = Timeouts {
        first_byte: timeout,
        ..Timeouts::default()
    };
    let client = Client::new(timeouts, RetryPolicy::default())
        .map_err(|error| ServeError::Client(error.to_string()))?
        .guarded_by(UrlGuard::new(settings.switch("allow_private_urls")?));
    let prices = known_models(&settings, &folder)?;
    let configs = providers::configs(&settings)?;
    let names: Vec<String> = configs.iter().map(|config| config.name.clone()).collect();
    let catalogue = catalogue(&settings, (&client, configs), hosting.audience)?;
    let engine_settings = EngineSettings {
        tools: crate::tools::tool_settings(&settings, &folder)?,
        prices,
        plans: Arc::new(settings.plans.clone()),
        ..engine_settings(&settings)?
    };
    let engine = Engine::new(
        store.clone(),
        client,
        Arc::clone(&catalogue),
        engine_settings,
        Clock::System,
    );
    engine.start().await?;
    tokio::spawn(crate::tools::tell_layers(engine.clone()));
    let address = format!("{}:{}", settings.text("host"), settings.text("port"));
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| ServeError::Listen {
            address: address.clone(),
            error,
        })?;
    let address = listener.local_addr()?;
    let api = api_settings(&settings)?;
    if for_operator {
        greet(&settings, address, &folder, (&store, &names));
        tell_password(&settings, api.password.as_deref());
    }
    if let Some(ready) = hosting.ready {
        let password = api.password.clone();
        // Nobody waits any more: then the stop comes at once.
        ready.send(Ready { address, password }).ok();
    }
    let callbacks = mnemic_api::callbacks::deliver(engine.clone(), api.allow_private_urls);
    let callbacks = tokio::spawn(callbacks);
    let router = mnemic_api::router(engine.clone(), api);
    run(listener, router, engine, hosting.stop).await?;
    // It ends by itself a moment after the engine, unless the database hangs.
    if let Ok(Err(error)) = tokio::time::timeout(LAST_CALL, callbacks).await {
        tracing::error!(%error, "posting callbacks broke off");
    }
    Ok(())
}

/// The catalogue of the configured providers, which changes with `mnemic.toml` and with what runs on this
/// machine.
fn catalogue(
    settings: &Settings,
    (client, configs): (&Client, Vec<EndpointConfig>),
    audience: Audience,
) -> Result<Arc<Catalogue>, ServeError> {
    let catalogue = Arc::new(Catalogue::new(client.clone(), Vec::new()));
    #[cfg(feature = "local-llm")]
    let in_process = Some(crate::local_llm::provider(settings)?);
    #[cfg(not(feature = "local-llm"))]
    let in_process = None;
    let roster = Arc::new(Roster::new(Arc::clone(&catalogue), configs, in_process));
    let file = settings.given_file.clone();
    tokio::spawn(providers::watch(file, Arc::clone(&roster)));
    let addresses = detection::addresses(settings)?;
    if !addresses.is_empty() {
        catalogue.begin_first_look();
        let told = match audience {
            Audience::Operator => Told::Operator,
            Audience::Nobody => Told::Log,
        };
        let default = settings.optional("default_llm_handle");
        tokio::spawn(detection::watch(addresses, roster, (told, default)));
    }
    Ok(catalogue)
}

fn open_folder(settings: &Settings) -> Result<DataFolder, ServeError> {
    let folder = settings
        .optional("data_dir")
        .map_or_else(data::usual, PathBuf::from);
    Ok(DataFolder::open(&folder)?)
}

/// Where the data is and what opens its secrets.
fn database(settings: &Settings, folder: &DataFolder) -> Result<(Location, Secrets), ServeError> {
    let key = folder.encryption_key(settings.optional("encryption_key"))?;
    let location = match settings.optional("database_url") {
        Some(url) => Location::Postgres {
            url,
            connections: settings.number("database_pool_size")?,
        },
        None => Location::Sqlite(folder.database()?),
    };
    Ok((location, Secrets::new(&key)))
}

/// Opens the database as a server does, where none runs on it.
///
/// # Errors
/// It cannot be opened, as when a server has it.
pub async fn open(settings: &Settings) -> Result<Store, ServeError> {
    let folder = open_folder(settings)?;
    open_store(settings, &folder).await
}

/// Deletes all secrets of a database whose key is lost; returns how many there were.
///
/// # Errors
/// The database cannot be opened.
pub async fn forget_secrets(settings: &Settings) -> Result<usize, ServeError> {
    let folder = open_folder(settings)?;
    let (location, secrets) = database(settings, &folder)?;
    Ok(Store::forget_secrets(location, secrets).await?)
}

/// Opens the database to read from it, also while a server runs on it.
///
/// # Errors
/// There is none, or it cannot be opened.
pub async fn open_to_read(settings: &Settings) -> Result<Store, ServeError> {
    // Nothing is decrypted by who only reads, so that no key is needed.
    let secrets = Secrets::new(b"");
    let location = match settings.optional("database_url") {
        Some(url) => Location::Postgres {
            url,
            connections: 2,
        },
        None => {
            let folder = settings
                .optional("data_dir")
                .map_or_else(data::usual, PathBuf::from);
            Location::Sqlite(data::existing_database(&folder)?)
        }
    };
    Ok(Store::open_to_read(location, secrets).await?)
}

async fn open_store(settings: &Settings, folder: &DataFolder) -> Result<Store, ServeError> {
    let (location, secrets) = database(settings, folder)?;
    let store = Store::open(location, secrets).await?;
    let now = mnemic_core::time::Timestamp::now();
    let changed = store.write(move |tx| {
        Box::pin(async move {
            organizations::ensure_default(tx, now).await?;
            for organization in organizations::ids(tx).await? {
                let scope = Scope {
                    organization,
                    ..Scope::default()
                };
                mnemic_store::tools::ensure_builtins(tx, &scope, now).await?;
            }
            Ok(())
        })
    });
    changed.await.map_err(|error: StoreError| error)?;
    Ok(store)
}

fn engine_settings(settings: &Settings) -> Result<EngineSettings, SettingsError> {
    Ok(EngineSettings {
        default_llm_handle: settings.optional("default_llm_handle"),
        embeddings: embedding_settings(settings)?,
        max_context_window: settings.number("max_context_window")?,
        queue_depth: settings.number("queue_depth")?,
        batch_concurrency: settings.number("batch_concurrency")?,
        approval_expiry: Duration::from_secs(settings.number("approval_expiry_seconds")?),
        trace_age: Some(settings.number("trace_hours")?)
            .filter(|hours| *hours > 0)
            .map(|hours: u64| Duration::from_secs(hours * 3600)),
        keep_copies: Duration::from_secs(
            settings
                .number::<u64>("keep_copies_days")?
                .saturating_mul(24 * 3600),
        ),
        index_cache_bytes: settings
            .number::<usize>("index_cache_mb")?
            .saturating_mul(1 << 20),
        compaction_timeout: Duration::from_secs(settings.number("compaction_timeout_seconds")?),
        web: web_settings(settings)?,
        ..EngineSettings::default()
    })
}

/// What is known of models beside what their providers tell.
fn known_models(settings: &Settings, folder: &DataFolder) -> Result<Arc<PriceList>, SettingsError> {
    let prices = crate::prices::read(settings, folder)?;
    mnemic_llm::know_windows(prices.windows());
    Ok(Arc::new(prices))
}

fn web_settings(settings: &Settings) -> Result<WebSettings, SettingsError> {
    let service = |key: &str, base_url: &str| ServiceSettings {
        key: settings.optional(key).map(Secret::new),
        base_url: settings.optional(base_url),
    };
    Ok(WebSettings {
        allow_private_urls: settings.switch("allow_private_urls")?,
        search: WebSearchSettings {
            exa: service("exa_api_key", "exa_base_url"),
            tavily: service("tavily_api_key", "tavily_base_url"),
            brave: service("brave_api_key", "brave_base_url"),
            searxng_url: settings.optional("searxng_url"),
        },
    })
}

fn embedding_settings(settings: &Settings) -> Result<EmbeddingSettings, SettingsError> {
    #[cfg(feature = "local-models")]
    let local = Some(LocalModels {
        folder: crate::models::folder(settings),
        fetch: settings.switch("models_fetch")? && !settings.switch("offline")?,
        hub: settings.optional("model_hub"),
    });
    #[cfg(not(feature = "local-models"))]
    let local = None;
    Ok(EmbeddingSettings {
        default_handle: settings.optional("default_embedding_handle"),
        local,
    })
}

fn api_settings(settings: &Settings) -> Result<ApiSettings, SettingsError> {
    let password = if settings.switch("secure")? {
        Some(
            settings
                .optional("password")
                .unwrap_or_else(random_password),
        )
    } else {
        None
    };
    let origins = settings
        .text("cors_origins")
        .split(',')
        .map(|origin| origin.trim().to_owned());
    Ok(ApiSettings {
        password,
        no_default_actor: settings.switch("no_default_actor")?,
        body_limit_bytes: settings
            .number::<usize>("body_limit_mb")?
            .saturating_mul(1024 * 1024),
        cors_origins: origins.filter(|origin| !origin.is_empty()).collect(),
        allow_private_urls: settings.switch("allow_private_urls")?,
        ..ApiSettings::default()
    })
}

/// A password for this run.
fn random_password() -> String {
    use rand::Rng as _;
    let letters = rand::rng().sample_iter(rand::distr::Alphanumeric).take(24);
    letters.map(char::from).collect()
}

/// What in the settings and the environment is probably not meant so.
fn warn_of_settings(settings: &Settings) -> Result<(), SettingsError> {
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in unknown_variables(variables) {
        complain(format!(
            "There is no setting {name}; `mnemic config` lists all"
        ));
    }
    if !settings.switch("secure")? && settings.optional("password").is_some() {
        complain("A password is set but not asked for: start with --secure (MNEMIC_SECURE=true)");
    }
    Ok(())
}

/// Says the password that was made up for this run.
fn tell_password(settings: &Settings, password: Option<&str>) {
    if let (Some(password), None) = (password, settings.optional("password")) {
        say(format!(
            "Secure mode without a password: this run's is {password}"
        ));
    }
}

fn greet(
    settings: &Settings,
    address: SocketAddr,
    folder: &DataFolder,
    (store, providers): (&Store, &[String]),
) {
    let place = match settings.optional("database_url") {
        Some(_) => "PostgreSQL, schema mnemic".to_owned(),
        None => format!("SQLite in {}", folder.path.display()),
    };
    let models = if providers.is_empty() {
        "none".to_owned()
    } else {
        providers.join(", ")
    };
    say(format!(
        "Mnemic {} on http://{address} ({place}; model providers: {models})",
        env!("CARGO_PKG_VERSION")
    ));
    if providers.is_empty() {
        say(
            "No model provider is configured: agents can be made once there is one. `mnemic chat` in another \
             terminal (cargo run --release -- chat) offers a model that runs in this process, and talks to an \
             agent at once. Or start Ollama, LM Studio, llama-server or vLLM on this machine, set \
             OPENAI_API_KEY (and OPENAI_BASE_URL for another server) or ANTHROPIC_API_KEY, or run \
             `mnemic configure`.",
        );
    }
    let migration = store.migration();
    if let Some(backup) = &migration.backup {
        say(format!(
            "The database was migrated; the copy from before is {}",
            backup.display()
        ));
    }
    if !migration.foreign_tables.is_empty() {
        say(format!(
            "This database holds {} tables of another application. They are left as they are: Mnemic \
             keeps its own in the schema `mnemic`. To bring agents of the old server over, see \
             docs/import.md.",
            migration.foreign_tables.len()
        ));
    }
}

/// Serves until it is to stop, then ends within five seconds.
async fn run(
    listener: TcpListener,
    router: axum::Router,
    engine: Engine,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (stopped, when_stopped) = tokio::sync::oneshot::channel::<()>();
    let graceful = async move {
        stop.await;
        tracing::info!("stopping");
        engine.shutdown().await;
        // The receiver waits in this same function.
        let _ = stopped.send(());
    };
    // Without it the frames of a stream wait for the client to acknowledge the ones before, up to 40 ms.
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps Nagle's algorithm");
        }
    });
    let serving = axum::serve(listener, router).with_graceful_shutdown(graceful);
    tokio::select! {
        served = async { serving.await } => served?,
        () = async {
            if when_stopped.await.is_ok() {
                tokio::time::sleep(LAST_CALL).await;
            } else {
                std::future::pending::<()>().await;
            }
        } => complain("some connections were still open and are closed now"),
    }
    Ok(())
}

async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    // A failure to listen for the signal leaves the default action, which ends the process.
    let _ = tokio::signal::ctrl_c().await;
}
