//! `mnemic config` and `mnemic configure`.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use mnemic_llm::{EndpointConfig, Origin, Protocol};
use serde_json::json;

use crate::{
    data, detection, providers,
    settings::{KEYS, Settings},
    terminal::say,
};

/// How a secret's value is shown.
const MASK: &str = "********";

/// Prints every setting with its value and where that comes from.
pub fn config(settings: &Settings, as_json: bool) {
    let mut rows = Vec::new();
    for key in &KEYS {
        let Some(value) = settings.value(key.name) else {
            continue;
        };
        let usual_folder = data::usual().display().to_string();
        #[cfg(feature = "local-models")]
        let usual_models = crate::models::usual_folder().display().to_string();
        let shown = match value.text.as_str() {
            "" if key.name == "data_dir" => usual_folder.as_str(),
            #[cfg(feature = "local-models")]
            "" if key.name == "models_dir" => usual_models.as_str(),
            text if key.secret && !text.is_empty() => MASK,
            text => text,
        };
        if as_json {
            rows.push(
                json!({"name": key.name, "value": shown, "source": value.origin,
                "environment": key.env, "about": key.about}),
            );
        } else {
            say(format!("{:<26} {:<34} {}", key.name, shown, value.origin));
            say(format!("    {} [{}]", key.about, key.env.join(", ")));
        }
    }
    for config in all_providers(settings) {
        let name = format!("provider {}", config.name);
        let url = without_credentials(&config.base_url);
        let origin = origin_of(settings, &config);
        if as_json {
            rows.push(json!({"name": name, "value": url, "source": origin}));
        } else {
            say(format!("{name:<26} {url:<34} {origin}"));
        }
    }
    if as_json {
        say(json!(rows).to_string());
    }
}

/// The configured providers, and the model servers that run on this machine now.
fn all_providers(settings: &Settings) -> Vec<EndpointConfig> {
    let configured = providers::configs(settings).unwrap_or_default();
    let addresses = detection::addresses(settings).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let found = match runtime {
        Ok(runtime) if !addresses.is_empty() => runtime.block_on(detection::once(&addresses)),
        _ => Vec::new(),
    };
    providers::merged(&configured, &found)
}

/// Where a provider comes from.
fn origin_of(settings: &Settings, config: &EndpointConfig) -> String {
    let mut in_file = settings.providers.iter();
    match (config.origin, &settings.file) {
        (Origin::Found, _) => "found running".to_owned(),
        (Origin::Added, _) => "added by the API".to_owned(),
        (_, Some(file)) if in_file.any(|provider| provider.name == config.name) => {
            file.display().to_string()
        }
        (Origin::Environment, _) => {
            let mut servers = providers::ADDRESSES.into_iter();
            let names = servers.find(|(server, _)| server.name() == config.name);
            names.map_or_else(String::new, |(_, names)| names.join(", "))
        }
        (Origin::Configured, _) => {
            let name = config.name.to_uppercase();
            format!("{name}_BASE_URL, {name}_API_KEY")
        }
    }
}

/// A URL whose user and password, if it has them, are masked.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('@') {
            Some((_, host)) => format!("{scheme}://{MASK}@{host}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    }
}

/// Asks for a model server and writes it to `mnemic.toml`, beside what is there.
///
/// # Errors
/// There is no terminal to ask on, the answers were broken off, or the file cannot be written.
pub fn configure(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    if !std::io::stdin().is_terminal() {
        return Err(
            "`mnemic configure` asks questions and needs a terminal; without one, write \
                    mnemic.toml by hand (docs/configuration.md)"
                .into(),
        );
    }
    let path = settings
        .file
        .clone()
        .unwrap_or_else(|| PathBuf::from("mnemic.toml"));
    let name = inquire::Text::new("Name of the model provider")
        .with_default("local")
        .prompt()?;
    let base_url = inquire::Text::new("Its base URL")
        .with_default("http://127.0.0.1:11434/v1")
        .with_help_message(
            "OpenAI's own is https://api.openai.com/v1, Anthropic's https://api.anthropic.com; servers on this \
             machine are found without this",
        )
        .prompt()?;
    let protocol = ask_protocol(&base_url)?;
    mnemic_llm::Endpoint::new(mnemic_llm::EndpointConfig::new(&*name, &*base_url))?;
    let api_key = inquire::Password::new("Its API key (empty for none)")
        .without_confirmation()
        .prompt()?;
    let model = inquire::Text::new("Default model of agents, as provider/model (empty for none)")
        .prompt()?;
    let text = if path.exists() {
        std::fs::read_to_string(&path)?
    } else {
        String::new()
    };
    let mut table: toml::Table = text.parse()?;
    let mut provider = toml::Table::new();
    provider.insert("name".to_owned(), name.clone().into());
    provider.insert("base_url".to_owned(), base_url.into());
    if protocol != Protocol::default() {
        provider.insert("protocol".to_owned(), protocol.as_str().into());
    }
    if !api_key.is_empty() {
        provider.insert("api_key".to_owned(), api_key.into());
    }
    let mut providers = match table.remove("providers") {
        Some(toml::Value::Array(rows)) => rows,
        _ => Vec::new(),
    };
    providers.retain(|row| row.get("name").and_then(toml::Value::as_str) != Some(name.as_str()));
    providers.push(provider.into());
    table.insert("providers".to_owned(), providers.into());
    if !model.is_empty() {
        table.insert("default_llm_handle".to_owned(), model.into());
    }
    write_private(&path, &toml::to_string_pretty(&table)?)?;
    say(format!(
        "Written to {} (comments in it were not kept). A running server takes the provider within two \
         seconds; a new default model when it is started again.",
        path.display()
    ));
    Ok(())
}

/// Replaces a file at once with a text that nobody else may read, as it may hold a key.
fn write_private(path: &Path, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    let draft = path.with_extension("toml.new");
    std::fs::write(&draft, "")?;
    data::private(&draft, 0o600)?;
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, path)?;
    Ok(())
}

/// Asks what a server speaks.
fn ask_protocol(base_url: &str) -> Result<Protocol, inquire::InquireError> {
    let names = Protocol::ALL.map(Protocol::as_str).to_vec();
    let usual = if base_url.contains("anthropic") {
        Protocol::Anthropic
    } else if base_url.contains(":11434") {
        Protocol::Ollama
    } else {
        Protocol::default()
    };
    let at = Protocol::ALL.iter().position(|known| *known == usual);
    let name = inquire::Select::new("The protocol it speaks", names)
        .with_help_message("`openai`, chat completions, is what nearly every server speaks")
        .with_starting_cursor(at.unwrap_or(0))
        .prompt()?;
    Ok(Protocol::parse(name).unwrap_or_default())
}
