//! Context windows of well-known models, for servers whose model list does not tell them, and what is
//! said of small ones.

use std::sync::OnceLock;

use crate::{
    endpoints::{Endpoint, Protocol},
    models::Listed,
    servers::ModelServer,
};

/// What is reckoned with when nothing is known: what most open models have had since 2024.
pub(crate) const DEFAULT: i64 = 32_768;

/// What Ollama is told where nothing else is set: enough for an agent's prompt, tools and some
/// conversation, and little enough for the memory of most machines.
pub(crate) const OLLAMA_DEFAULT: i64 = 16_384;

/// Below this, prompt and tools leave an agent next to no room to talk.
pub(crate) const SMALL: i64 = 8_192;

/// What is to be said of a model's window: that it is small, or that nobody knows how large it is.
pub(crate) fn warning(window: i64, model: &Listed, endpoint: &Endpoint) -> Option<String> {
    let config = endpoint.config();
    let is_configured =
        config.context_windows.contains_key(&model.id) || config.context_window.is_some();
    let server = model.server.or(match config.protocol {
        Protocol::Ollama => Some(ModelServer::Ollama),
        _ => ModelServer::of_provider_type(&config.provider_type),
    });
    let is_ollama = server == Some(ModelServer::Ollama);
    if is_ollama && config.protocol != Protocol::Ollama && !is_configured {
        return Some(format!(
            "Ollama cuts what is longer than its own default context (4096 tokens unless \
             OLLAMA_CONTEXT_LENGTH says otherwise) without a word: set `protocol = \"ollama\"` for the \
             provider `{}` in mnemic.toml, so that it can be told the size",
            endpoint.name()
        ));
    }
    let remedy = if is_configured {
        "raise `context_window` of the provider in mnemic.toml, if the server has more"
    } else {
        remedy(server)
    };
    (window < SMALL).then(|| {
        format!("its context window has {window} tokens, which is little for an agent: {remedy}")
    })
}

/// How the window is made larger.
const fn remedy(server: Option<ModelServer>) -> &'static str {
    match server {
        Some(ModelServer::Ollama) => {
            "the model has no more, or its Modelfile sets num_ctx; use another model, or set \
             `context_window` of the provider in mnemic.toml or the agent's context_window_limit"
        }
        Some(ModelServer::LmStudio) => {
            "load the model in LM Studio with a greater context length (16384 or more), or with \
             `lms load MODEL --context-length 16384`"
        }
        Some(ModelServer::LlamaServer) => {
            "start llama-server with a greater --ctx-size (16384 or more; it is divided among the \
             slots of --parallel)"
        }
        Some(ModelServer::Vllm) => {
            "start vLLM with a greater --max-model-len (16384 or more), if the model has it"
        }
        Some(ModelServer::Sglang) => {
            "start SGLang with a greater --context-length (16384 or more), if the model has it"
        }
        None => {
            "raise it at the server, or set `context_window` of the provider in mnemic.toml if the \
             server has more"
        }
    }
}

/// Beginnings of model names (after any `owner/` part) with their context window and, where it is
/// known, the most tokens of an answer. The longest match counts. Source: the providers' model
/// pages and the models' published configurations as of November 2026; where variants differ, the
/// smallest.
const KNOWN: [(&str, i64, Option<i64>); 58] = [
    ("gpt-3.5", 16_385, Some(4_096)),
    ("gpt-4", 8_192, Some(8_192)),
    ("gpt-4-32k", 32_768, Some(8_192)),
    ("gpt-4-turbo", 128_000, Some(4_096)),
    ("gpt-4o", 128_000, Some(16_384)),
    ("chatgpt-4o", 128_000, Some(16_384)),
    ("gpt-4.1", 1_047_576, Some(32_768)),
    ("gpt-4.5", 128_000, Some(16_384)),
    ("gpt-5", 400_000, Some(128_000)),
    ("gpt-5-chat", 128_000, Some(16_384)),
    ("gpt-oss", 131_072, None),
    ("o1", 200_000, Some(100_000)),
    ("o1-mini", 128_000, Some(65_536)),
    ("o1-preview", 128_000, Some(32_768)),
    ("o3", 200_000, Some(100_000)),
    ("o4", 200_000, Some(100_000)),
    ("claude", 200_000, None),
    ("claude-3", 200_000, Some(4_096)),
    ("claude-3-5", 200_000, Some(8_192)),
    ("claude-3-7", 200_000, Some(64_000)),
    ("claude-haiku-4", 200_000, Some(64_000)),
    ("claude-opus-4", 200_000, Some(32_000)),
    ("claude-opus-4-5", 200_000, Some(64_000)),
    ("claude-opus-4-6", 1_000_000, Some(128_000)),
    ("claude-opus-4-7", 1_000_000, Some(128_000)),
    ("claude-opus-5", 1_000_000, Some(128_000)),
    ("claude-fable", 1_000_000, Some(128_000)),
    ("claude-sonnet-4", 200_000, Some(64_000)),
    ("claude-sonnet-4-6", 1_000_000, Some(64_000)),
    ("gemini", 1_048_576, None),
    ("gemma", 8_192, None),
    ("gemma3", 131_072, None),
    ("gemma-3", 32_768, None),
    ("llama-2", 4_096, None),
    ("llama2", 4_096, None),
    ("llama-3", 8_192, None),
    ("llama3", 8_192, None),
    ("meta-llama-3", 8_192, None),
    ("meta-llama-3.1", 131_072, None),
    ("llama-3.1", 131_072, None),
    ("llama-3.2", 131_072, None),
    ("llama-3.3", 131_072, None),
    ("llama3.1", 131_072, None),
    ("llama3.2", 131_072, None),
    ("llama3.3", 131_072, None),
    ("llama-4", 131_072, None),
    ("qwen2", 32_768, None),
    ("qwen3", 32_768, None),
    ("qwen3-coder", 262_144, None),
    ("mistral", 32_768, None),
    ("mistral-large", 131_072, None),
    ("mistral-nemo", 131_072, None),
    ("mistral-small", 32_768, None),
    ("deepseek", 65_536, None),
    ("kimi-k2", 131_072, None),
    ("glm-4", 131_072, None),
    ("phi-4", 16_384, None),
    ("grok", 131_072, None),
];

/// A model's name in small letters, its window, and the most tokens of an answer.
type Window = (String, i64, Option<i64>);

/// What an administrator's list says, which is a fact about the world and the same for all of a process.
static TOLD: OnceLock<Vec<Window>> = OnceLock::new();

/// Takes over the windows of a list, once, before any model is looked at.
pub fn know_windows<'a>(list: impl Iterator<Item = (&'a str, i64, Option<i64>)>) {
    let list = list.map(|(name, window, answer)| (bare(name), window, answer));
    // A second list comes too late: models are known by the first.
    let _ = TOLD.set(list.collect());
}

/// Context window and answer limit of a model, when its name is well known. Of two that fit equally well the
/// first one counts, and a list goes before what is built in.
pub(crate) fn known(model: &str) -> Option<(i64, Option<i64>)> {
    let name = bare(model);
    let told = TOLD.get().into_iter().flatten();
    let told = told.map(|(prefix, window, answer)| (prefix.as_str(), *window, *answer));
    best(&name, told.chain(KNOWN))
}

fn best<'a>(
    name: &str,
    known: impl Iterator<Item = (&'a str, i64, Option<i64>)>,
) -> Option<(i64, Option<i64>)> {
    let mut best: Option<(usize, i64, Option<i64>)> = None;
    for (prefix, window, answer) in known.filter(|(prefix, ..)| name.starts_with(prefix)) {
        match best {
            Some((length, ..)) if prefix.len() < length => {}
            // A list of windows may say nothing of answers.
            Some((length, first, told)) if prefix.len() == length => {
                best = Some((length, first, told.or(answer)));
            }
            _ => best = Some((prefix.len(), window, answer)),
        }
    }
    best.map(|(_, window, answer)| (window, answer))
}

/// A model's name without its owner.
fn bare(model: &str) -> String {
    let name = model.rsplit('/').next().unwrap_or(model);
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts_and_owners_do_not() {
        let window = |model| known(model).map(|(window, _)| window);
        assert_eq!(window("gpt-4"), Some(8_192));
        assert_eq!(window("gpt-4o-mini-2024-07-18"), Some(128_000));
        assert_eq!(window("openai/gpt-4.1-nano"), Some(1_047_576));
        assert_eq!(window("o1-mini"), Some(128_000));
        assert_eq!(window("meta-llama/Llama-3.3-70B-Instruct"), Some(131_072));
        assert_eq!(window("my-own-model"), None);
    }

    #[test]
    fn a_list_goes_before_what_is_built_in_and_leaves_it_the_answers() {
        let own = [("gpt-5.4", 1_050_000, None), ("gpt-5", 300_000, None)];
        let find = |name| best(name, own.into_iter().chain(KNOWN));
        assert_eq!(find("gpt-5.4-mini"), Some((1_050_000, None)));
        assert_eq!(find("gpt-5"), Some((300_000, Some(128_000))));
    }
}
