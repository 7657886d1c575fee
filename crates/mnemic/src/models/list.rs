//! `mnemic models list`.

use mnemic_local::{Artifact, ModelCache, files::Presence, manifest};
#[cfg(feature = "local-llm")]
use mnemic_local::{ChatModel, chat_models};

use super::megabytes;
use crate::{
    settings::{Settings, SettingsError},
    terminal::say,
};

/// Prints all models and where they are.
///
/// # Errors
/// A setting does not fit.
#[cfg_attr(not(feature = "local-llm"), allow(unused_variables))]
pub fn list(cache: &ModelCache, settings: &Settings) -> Result<(), SettingsError> {
    #[cfg(feature = "local-llm")]
    language_models(cache, crate::local_llm::cache_mb(settings)?);
    say("Embedding models (for the search):");
    for model in manifest::models() {
        say(source(cache, model));
        say(format!(
            "    {}; {} dimensions, {} tokens",
            model.about, model.dims, model.max_tokens
        ));
    }
    Ok(())
}

#[cfg(feature = "local-llm")]
fn language_models(cache: &ModelCache, kept_mb: u64) {
    say("Language models (for agents):");
    for model in chat_models::all() {
        say(source(cache, model));
        say(format!(
            "    {}; {} of memory, {} tokens; {}",
            model.about,
            megabytes(model.memory_mb * 1_000_000),
            model.context,
            abilities(model),
        ));
    }
    say(format!(
        "    One is in memory at a time, and with it up to {kept_mb} MB of conversations (local_cache_mb)."
    ));
}

/// A model with its size and licence, and where it is.
fn source(cache: &ModelCache, model: &dyn Artifact) -> String {
    let (handle, bytes) = (model.handle(), megabytes(model.bytes()));
    let place = place(cache, model);
    format!("{handle:<28} {bytes:>7}  {:<12} {place}", model.licence())
}

fn place(cache: &ModelCache, model: &dyn Artifact) -> String {
    let fetch = format!("mnemic models pull {}", model.id());
    match cache.presence(model) {
        Presence::Whole => cache.folder(model).display().to_string(),
        Presence::Missing => format!("not here; fetch it with: {fetch}"),
        Presence::Damaged(error) => format!("damaged ({error}); fetch it again with: {fetch}"),
    }
}

/// What a model can do, where it was measured.
#[cfg(feature = "local-llm")]
fn abilities(model: &ChatModel) -> String {
    model.measured.map_or_else(
        || "not measured by us".to_owned(),
        |measured| {
            format!(
                "of ten: {} questions, {} from memory, {} tools, {} searches",
                measured.plain, measured.memory, measured.tools, measured.search
            )
        },
    )
}
