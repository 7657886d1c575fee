//! The model servers that are configured, read anew when `mnemic.toml` changes.

use std::{path::PathBuf, sync::Arc, time::Duration};

use mnemic_llm::{Catalogue, Endpoint, EndpointConfig, EndpointError, Protocol};

use crate::settings::{Provider, Settings, Sources, usual_file};

/// How often the file's time is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// OpenAI's own address, when no other is configured.
const OPENAI: &str = "https://api.openai.com/v1";

/// Anthropic's.
const ANTHROPIC: &str = "https://api.anthropic.com/v1";

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The endpoints of the environment and the file. A provider that the file names is the file's.
///
/// # Errors
/// An address is no URL.
pub fn endpoints(settings: &Settings) -> Result<Vec<Endpoint>, EndpointError> {
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
    for config in [openai, anthropic].into_iter().flatten() {
        if !named(&config.name) {
            found.push(Endpoint::new(config)?);
        }
    }
    for provider in &settings.providers {
        found.push(Endpoint::new(config_of(provider))?);
    }
    Ok(found)
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
    config
}

/// Goes on looking at the file (the one given, else the one in its usual places, which may come to be
/// while the server runs), and gives the catalogue what changed. A file that cannot be read leaves
/// everything as it was.
pub async fn watch(given: Option<PathBuf>, catalogue: Arc<Catalogue>) {
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
        match read.and_then(|settings| endpoints(&settings).map_err(|error| error.to_string())) {
            Ok(endpoints) => {
                tracing::info!(providers = endpoints.len(), "the providers were read anew");
                catalogue.replace(endpoints);
            }
            Err(error) => tracing::warn!(%error, "the providers stay as they were"),
        }
    }
}
