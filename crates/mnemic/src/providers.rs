//! The model servers that are configured, read anew when `mnemic.toml` changes, and those that were found
//! running beside them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use mnemic_llm::{
    Catalogue, Endpoint, EndpointConfig, EndpointError, ModelServer, Origin, Protocol,
    ProviderAccess, ProviderKind,
};
use parking_lot::Mutex;
use url::Url;

use crate::settings::{Provider, Settings, Sources, usual_file};

/// How often the file's time is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// OpenAI's own address, when no other is configured.
const OPENAI: &str = "https://api.openai.com/v1";

/// Anthropic's.
const ANTHROPIC: &str = "https://api.anthropic.com/v1";

/// Variables that say where a model server is, the first that is set wins. Ollama's second is its own, in
/// a form of its own.
pub const ADDRESSES: [(ModelServer, &[&str]); 5] = [
    (ModelServer::Ollama, &["OLLAMA_BASE_URL", "OLLAMA_HOST"]),
    (ModelServer::LmStudio, &["LMSTUDIO_BASE_URL"]),
    (
        ModelServer::LlamaServer,
        &["LLAMA_SERVER_URL", "LLAMACPP_BASE_URL"],
    ),
    (ModelServer::Vllm, &["VLLM_API_BASE"]),
    (ModelServer::Sglang, &["SGLANG_API_BASE"]),
];

/// Ollama's port, which its variable may leave out.
const OLLAMA_PORT: u16 = 11_434;

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// A model server that was found running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which program it is.
    pub server: ModelServer,
    /// Where.
    pub address: Url,
}

/// The providers of the file, of the environment, and those that were found: what the catalogue is made
/// of.
pub struct Roster {
    catalogue: Arc<Catalogue>,
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    configured: Vec<EndpointConfig>,
    found: Vec<Running>,
    /// Whose models run in this process; it comes last.
    in_process: Option<EndpointConfig>,
}

impl Roster {
    /// With nothing found yet.
    #[must_use]
    pub fn new(
        catalogue: Arc<Catalogue>,
        configured: Vec<EndpointConfig>,
        in_process: Option<EndpointConfig>,
    ) -> Self {
        let roster = Self {
            catalogue,
            parts: Mutex::default(),
        };
        roster.change(|parts| {
            *parts = Parts {
                configured,
                found: Vec::new(),
                in_process,
            };
        });
        roster
    }

    /// The catalogue.
    #[must_use]
    pub const fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    fn configure(&self, configured: Vec<EndpointConfig>) {
        self.change(|parts| parts.configured = configured);
    }

    /// Takes what runs now in the place of what was found before.
    pub fn find(&self, found: Vec<Running>) {
        self.change(|parts| parts.found = found);
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) {
        // Held until the catalogue has it, so that the later change is the one that stays.
        let mut parts = self.parts.lock();
        change(&mut parts);
        let mut all = merged(&parts.configured, &parts.found);
        let is_taken = |name: &str| all.iter().any(|config| config.name == name);
        let in_process = parts
            .in_process
            .iter()
            .filter(|config| !is_taken(&config.name));
        all.extend(in_process.cloned().collect::<Vec<_>>());
        let endpoints = all
            .into_iter()
            .filter_map(|config| match Endpoint::new(config) {
                Ok(endpoint) => Some(endpoint),
                Err(error) => {
                    tracing::warn!(%error, "a provider is left out");
                    None
                }
            });
        self.catalogue.replace(endpoints.collect());
    }
}

/// The configured providers, then those found that are none of them. A name that is taken gets the port
/// behind it.
#[must_use]
pub fn merged(configured: &[EndpointConfig], found: &[Running]) -> Vec<EndpointConfig> {
    let mut all = configured.to_vec();
    let places: Vec<_> = configured
        .iter()
        .filter_map(|config| place(&Url::parse(&config.base_url).ok()?))
        .collect();
    for running in found {
        let Some(place) = place(&running.address).filter(|place| !places.contains(place)) else {
            continue;
        };
        let plain = running.server.name();
        let is_taken = all.iter().any(|config| config.name == plain);
        let name = if is_taken {
            format!("{plain}-{}", place.1)
        } else {
            plain.to_owned()
        };
        let url = running.address.as_str();
        all.push(running.server.config(&name, url, Origin::Found));
    }
    all
}

/// Host and port, all names of this machine being one.
fn place(url: &Url) -> Option<(String, u16)> {
    let host = match url.host_str()? {
        "localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0" => "localhost",
        host => host,
    };
    Some((host.to_owned(), url.port_or_known_default()?))
}

/// The providers of the environment and the file. One that the file names is the file's.
///
/// # Errors
/// An address is no URL.
pub fn configs(settings: &Settings) -> Result<Vec<EndpointConfig>, EndpointError> {
    let mut found = Vec::new();
    let named = |name: &str| {
        settings
            .providers
            .iter()
            .any(|provider| provider.name == name)
    };
    let openai = env("OPENAI_BASE_URL").or_else(|| env("OPENAI_API_BASE"));
    let openai = from_environment("openai", (openai, OPENAI), "OPENAI_API_KEY");
    let mut anthropic = from_environment(
        "anthropic",
        (env("ANTHROPIC_BASE_URL"), ANTHROPIC),
        "ANTHROPIC_API_KEY",
    );
    if let Some(config) = &mut anthropic {
        speak(config, Protocol::Anthropic);
    }
    let local = ADDRESSES.into_iter().filter_map(|(server, names)| {
        let name = names.iter().find(|name| env(name).is_some())?;
        let url = with_scheme(&env(name)?, *name == "OLLAMA_HOST");
        Some(server.config(server.name(), &url, Origin::Environment))
    });
    let by_key = ProviderKind::all().filter_map(|kind| {
        let access = ProviderAccess {
            name: kind.name.to_owned(),
            api_key: env(kind.key_variable?)?,
            ..ProviderAccess::default()
        };
        kind.config(&access, Origin::Configured).ok()
    });
    let local: Vec<EndpointConfig> = by_key.chain(azure()).chain(local).collect();
    let from_env = [openai, anthropic].into_iter().flatten().chain(local);
    found.extend(from_env.filter(|config| !named(&config.name)));
    found.extend(settings.providers.iter().map(config_of));
    for config in &found {
        Endpoint::new(config.clone())?;
    }
    Ok(found)
}

/// Azure's resource, of which the environment names the key and the address.
fn azure() -> Option<EndpointConfig> {
    let access = ProviderAccess {
        name: "azure".to_owned(),
        api_key: env("AZURE_API_KEY")?,
        base_url: Some(env("AZURE_BASE_URL")?),
        region: None,
    };
    let kind = ProviderKind::named("azure").ok()?;
    match kind.config(&access, Origin::Configured) {
        Ok(config) => Some(config),
        Err(error) => {
            tracing::warn!(%error, "AZURE_BASE_URL is not used");
            None
        }
    }
}

/// An address with its scheme; that of `OLLAMA_HOST` may also lack its port, or name the address that
/// Ollama listens on.
fn with_scheme(text: &str, is_ollama_host: bool) -> String {
    let text = text.trim();
    let has_scheme = text.contains("://");
    let url = if has_scheme {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    if !is_ollama_host {
        return url;
    }
    let Ok(mut parsed) = Url::parse(&url) else {
        return url;
    };
    // Setting the host and port of a URL that has a host does not fail.
    if matches!(parsed.host_str(), Some("0.0.0.0" | "[::]")) {
        let _ = parsed.set_host(Some("127.0.0.1"));
    }
    if parsed.port().is_none() && !has_scheme {
        let _ = parsed.set_port(Some(OLLAMA_PORT));
    }
    parsed.into()
}

/// A provider of which the environment names the key or the address.
fn from_environment(
    name: &str,
    (base_url, usual): (Option<String>, &str),
    key: &str,
) -> Option<EndpointConfig> {
    let key = env(key);
    if key.is_none() && base_url.is_none() {
        return None;
    }
    let config = EndpointConfig::new(name, base_url.unwrap_or_else(|| usual.to_owned()));
    Some(match key {
        Some(key) => config.with_key(key),
        None => config,
    })
}

/// Makes a provider speak a protocol.
fn speak(config: &mut EndpointConfig, protocol: Protocol) {
    config.protocol = protocol;
    match protocol {
        // Who asks for chat completions gets them for all models.
        Protocol::OpenAiChat => config.quirks.no_responses = true,
        Protocol::OpenAiResponses => {}
        Protocol::Anthropic => "anthropic".clone_into(&mut config.provider_type),
        Protocol::Ollama => "ollama".clone_into(&mut config.provider_type),
        Protocol::Gemini => "google_ai".clone_into(&mut config.provider_type),
    }
}

fn config_of(provider: &Provider) -> EndpointConfig {
    let mut config = EndpointConfig::new(provider.name.as_str(), provider.base_url.as_str());
    let from_env = || provider.api_key_env.as_deref().and_then(env);
    if let Some(key) = provider.api_key.clone().or_else(from_env) {
        config = config.with_key(key);
    }
    if let Some(protocol) = provider.protocol {
        speak(&mut config, protocol);
    }
    config.models.clone_from(&provider.models);
    config.context_window = provider.context_window;
    let headers = provider.headers.iter();
    config.headers = headers
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    config.quirks.echo_reasoning = provider.echo_reasoning;
    config.tools = provider.tools.unwrap_or_default();
    config
}

/// Goes on looking at the file (the one given, else the one in its usual places, which may come to be
/// while the server runs), and gives the roster what changed. A file that cannot be read leaves
/// everything as it was.
pub async fn watch(given: Option<PathBuf>, roster: Arc<Roster>) {
    let look = || {
        let file = given.clone().or_else(usual_file);
        let time = file.as_ref().and_then(|file| {
            std::fs::metadata(file)
                .and_then(|meta| meta.modified())
                .ok()
        });
        (file, time)
    };
    let mut known = look();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = look();
        if now == known {
            continue;
        }
        known = now;
        let sources = Sources {
            file: known.0.clone(),
            ..Sources::default()
        };
        let read = Settings::load(&sources).map_err(|error| error.to_string());
        match read.and_then(|settings| configs(&settings).map_err(|error| error.to_string())) {
            Ok(configured) => {
                tracing::info!(providers = configured.len(), "the providers were read anew");
                roster.configure(configured);
            }
            Err(error) => tracing::warn!(%error, "the providers stay as they were"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(server: ModelServer, address: &str) -> Running {
        Running {
            server,
            address: Url::parse(address).unwrap(),
        }
    }

    #[test]
    fn configured_providers_come_first_and_win_at_their_address() {
        let configured = [
            EndpointConfig::new("desk", "http://localhost:11434/v1"),
            EndpointConfig::new("vllm", "http://10.0.0.7:8000/v1"),
        ];
        let found = [
            running(ModelServer::Ollama, "http://127.0.0.1:11434"),
            running(ModelServer::Vllm, "http://127.0.0.1:8000"),
            running(ModelServer::LlamaServer, "http://127.0.0.1:8080"),
            running(ModelServer::LlamaServer, "http://127.0.0.1:8081"),
        ];
        let all = merged(&configured, &found);
        let names: Vec<_> = all.iter().map(|config| config.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "desk",
                "vllm",
                "vllm-8000",
                "llama-server",
                "llama-server-8081"
            ]
        );
        assert_eq!(all[3].origin, Origin::Found);
        assert_eq!(all[0].origin, Origin::Configured);
    }

    #[test]
    fn addresses_of_the_environment_come_in_many_forms() {
        for (text, is_ollama_host, url) in [
            (
                "http://127.0.0.1:11434/v1",
                false,
                "http://127.0.0.1:11434/v1",
            ),
            ("127.0.0.1:1234", false, "http://127.0.0.1:1234"),
            ("0.0.0.0", true, "http://127.0.0.1:11434/"),
            ("0.0.0.0:9000", true, "http://127.0.0.1:9000/"),
            ("box.lan", true, "http://box.lan:11434/"),
            ("https://box.lan", true, "https://box.lan/"),
        ] {
            assert_eq!(with_scheme(text, is_ollama_host), url);
        }
    }
}
