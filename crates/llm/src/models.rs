//! Lists of models, as the many servers write them.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    abilities::Abilities,
    endpoints::{Endpoint, Protocol},
    servers::ModelServer,
    windows,
};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// It talks.
    Llm,
    /// It makes vectors of texts.
    Embedding,
}

/// A model that can be used.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// `provider/model`, as agents name it.
    pub handle: String,
    /// The model as its provider calls it.
    pub model: String,
    /// What it is for, as far as one can guess.
    pub kind: ModelKind,
    /// What it is for, where its server says so or its name is well known.
    pub known_kind: Option<ModelKind>,
    /// Where it is served.
    pub endpoint: Arc<Endpoint>,
    /// Tokens that request and answer may take together.
    pub context_window: i64,
    /// Tokens an answer may take, when that is known.
    pub max_output_tokens: Option<i64>,
    /// Tokens that the window can be set to, where the client sets it and the server says how many.
    pub context_limit: Option<i64>,
    /// What it can do, as far as its server says.
    pub abilities: Abilities,
    /// Why its window is too small, and what to do about it.
    pub warning: Option<String>,
}

/// A model of a list, before it has a handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub id: String,
    pub context_window: Option<i64>,
    pub max_output_tokens: Option<i64>,
    pub context_limit: Option<i64>,
    pub abilities: Abilities,
    pub kind: Option<ModelKind>,
    /// Whether it is in memory already.
    pub is_loaded: bool,
    /// The server program, as its entry tells.
    pub server: Option<ModelServer>,
}

impl Listed {
    /// A model of which only the name is known.
    pub fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            context_window: None,
            max_output_tokens: None,
            context_limit: None,
            abilities: Abilities::default(),
            kind: None,
            is_loaded: false,
            server: None,
        }
    }

    /// The model with its handle and limits.
    pub fn describe(&self, endpoint: &Arc<Endpoint>) -> ModelInfo {
        let kind = self.kind.unwrap_or_else(|| kind_of(&self.id));
        let config = endpoint.config();
        let known = windows::known(&self.id);
        let window = config
            .context_windows
            .get(&self.id)
            .copied()
            .or(config.context_window)
            .or(self.context_window)
            .or(known.map(|(window, _)| window))
            .unwrap_or(match endpoint.protocol() {
                Protocol::Ollama => windows::OLLAMA_DEFAULT,
                _ => windows::DEFAULT,
            });
        // The contract publishes embedding models under the provider's own name in any case.
        let prefix = match kind {
            ModelKind::Llm => endpoint.handle_prefix(),
            ModelKind::Embedding => endpoint.name(),
        };
        ModelInfo {
            handle: format!("{prefix}/{}", self.id),
            model: self.id.clone(),
            kind,
            known_kind: self.kind.or_else(|| known_kind(&self.id, endpoint)),
            endpoint: endpoint.serving(&self.id),
            context_window: window,
            max_output_tokens: self
                .max_output_tokens
                .or(known.and_then(|(_, answer)| answer)),
            context_limit: self.context_limit,
            abilities: self.abilities,
            warning: (kind == ModelKind::Llm)
                .then(|| windows::warning(window, self, endpoint))
                .flatten(),
        }
    }
}

/// What a model is for whose name leaves no doubt.
fn known_kind(id: &str, endpoint: &Endpoint) -> Option<ModelKind> {
    const EMBEDDING: [&str; 2] = ["all-minilm", "bge-m3"];
    const TALKING: [&str; 7] = [
        "gpt-3.5", "gpt-4", "gpt-5", "chatgpt-", "o1", "o3", "claude-",
    ];
    let id = id.to_ascii_lowercase();
    // Behind the maker's name, which routers put before it.
    let name = id.rsplit('/').next().unwrap_or(&id);
    let begins = |known: &&str| name.starts_with(*known);
    // Embedded systems are something to talk about.
    let embeds = name.contains("embed") && !name.contains("embedded");
    if embeds || EMBEDDING.iter().any(begins) {
        return Some(ModelKind::Embedding);
    }
    let talks = TALKING.iter().any(begins);
    let is_makers = matches!(endpoint.protocol(), Protocol::Anthropic | Protocol::Gemini);
    (talks || is_makers).then_some(ModelKind::Llm)
}

/// Embedding models are told by their names; no list says it.
pub(crate) fn kind_of(id: &str) -> ModelKind {
    if id.to_ascii_lowercase().contains("embed") {
        ModelKind::Embedding
    } else {
        ModelKind::Llm
    }
}

/// Models of OpenAI's own list that no chat can be held with.
pub(crate) fn is_chat_or_embedding(id: &str) -> bool {
    const OTHERS: [&str; 16] = [
        "whisper",
        "tts",
        "dall-e",
        "gpt-image",
        "chatgpt-image",
        "moderation",
        "davinci",
        "babbage",
        "sora",
        "realtime",
        "transcribe",
        "audio",
        "-instruct",
        "codex-mini",
        "computer-use",
        "deep-research",
    ];
    !OTHERS.iter().any(|other| id.contains(other))
}

/// Reads a list: `{"data":[...]}`, `{"models":[...]}` or the bare list, of objects or of names.
/// `None` when it is no such thing.
pub(crate) fn parse_list(bytes: &[u8]) -> Option<Vec<Listed>> {
    let answer: Value = serde_json::from_slice(bytes).ok()?;
    let list = match &answer {
        Value::Array(list) => list,
        Value::Object(fields) => ["data", "models"]
            .into_iter()
            .find_map(|key| fields.get(key)?.as_array())?,
        _ => return None,
    };
    Some(list.iter().filter_map(listed).collect())
}

fn listed(entry: &Value) -> Option<Listed> {
    if let Value::String(id) = entry {
        return Some(Listed::named(id));
    }
    let id = ["id", "name", "model"]
        .into_iter()
        .find_map(|key| entry.get(key)?.as_str())?;
    let number = |pointers: &[&str]| {
        let found = pointers
            .iter()
            .find_map(|pointer| entry.pointer(pointer)?.as_i64());
        found.filter(|tokens| *tokens > 0)
    };
    Some(Listed {
        id: id.to_owned(),
        // What is loaded counts before what the model was trained for: OpenRouter, vLLM, LM Studio,
        // llama-server, Mistral and Groq, Together, Anthropic.
        context_window: number(&[
            "/meta/n_ctx",
            "/loaded_context_length",
            "/max_model_len",
            "/top_provider/context_length",
            "/context_length",
            "/context_window",
            "/max_context_length",
            "/meta/n_ctx_train",
            "/max_input_tokens",
        ]),
        max_output_tokens: number(&[
            "/max_completion_tokens",
            "/top_provider/max_completion_tokens",
            "/max_output_tokens",
            "/max_tokens",
        ]),
        context_limit: None,
        abilities: Abilities::default(),
        kind: None,
        is_loaded: false,
        server: entry
            .get("owned_by")
            .and_then(Value::as_str)
            .and_then(ModelServer::of_owner),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointConfig;

    fn windows_of(list: &str) -> Vec<(String, Option<i64>)> {
        let listed = parse_list(list.as_bytes()).unwrap();
        listed
            .into_iter()
            .map(|model| (model.id, model.context_window))
            .collect()
    }

    #[test]
    fn every_servers_list_is_read() {
        let table = [
            (
                r#"{"object":"list","data":[{"id":"a","object":"model"}]}"#,
                None,
            ),
            (r#"{"data":[{"id":"a","context_length":8192}]}"#, Some(8192)),
            (r#"{"data":[{"id":"a","max_model_len":4096}]}"#, Some(4096)),
            (
                r#"{"data":[{"id":"a","context_window":131072}]}"#,
                Some(131_072),
            ),
            (
                r#"{"data":[{"id":"a","meta":{"n_ctx_train":32768}}]}"#,
                Some(32_768),
            ),
            (
                r#"{"data":[{"id":"a","meta":{"n_ctx_train":32768,"n_ctx":2048}}]}"#,
                Some(2048),
            ),
            (
                r#"{"data":[{"id":"a","meta":null,"context_length":0}]}"#,
                None,
            ),
            (
                r#"{"data":[{"type":"model","id":"a","display_name":"A","max_input_tokens":200000,"max_tokens":64000}],"has_more":false}"#,
                Some(200_000),
            ),
            (r#"{"models":[{"name":"a"}]}"#, None),
            (r#"[{"id":"a"}]"#, None),
            (r#"["a"]"#, None),
        ];
        for (list, window) in table {
            assert_eq!(windows_of(list), [("a".to_owned(), window)], "{list}");
        }
        assert_eq!(windows_of(r#"{"data":[]}"#), []);
        for odd in ["", "<html>", "{}", "null", r#"{"data":{}}"#] {
            assert_eq!(parse_list(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn limits_come_from_the_configuration_then_the_list_then_the_name() {
        let mut config = EndpointConfig::new("p", "http://h");
        let describe = |config: &EndpointConfig, listed: &Listed| {
            listed
                .describe(&Arc::new(Endpoint::new(config.clone()).unwrap()))
                .context_window
        };
        let named = Listed::named("gpt-4o");
        let told = Listed {
            context_window: Some(7),
            ..named.clone()
        };
        assert_eq!(
            describe(&config, &Listed::named("mystery")),
            windows::DEFAULT
        );
        assert_eq!(describe(&config, &named), 128_000);
        assert_eq!(describe(&config, &told), 7);
        config.context_window = Some(5);
        assert_eq!(describe(&config, &told), 5);
        config.context_windows.insert("gpt-4o".into(), 3);
        assert_eq!(describe(&config, &told), 3);
    }

    #[test]
    fn what_a_model_is_for_is_known_from_its_server_or_a_well_known_name() {
        let endpoint = Arc::new(Endpoint::new(EndpointConfig::new("p", "http://h")).unwrap());
        let known = |listed: &Listed| listed.describe(&endpoint).known_kind;
        for (name, kind) in [
            ("text-embedding-3-small", Some(ModelKind::Embedding)),
            ("Qwen/Qwen3-Embedding-0.6B", Some(ModelKind::Embedding)),
            ("nomic-embed-text:latest", Some(ModelKind::Embedding)),
            (
                "sentence-transformers/all-MiniLM-L6-v2",
                Some(ModelKind::Embedding),
            ),
            ("gpt-4o-mini", Some(ModelKind::Llm)),
            ("openai/gpt-5", Some(ModelKind::Llm)),
            ("claude-haiku-4-5", Some(ModelKind::Llm)),
            ("llama3.2:3b", None),
            ("e5-mistral-7b-instruct", None),
            ("embedded-systems-assistant", None),
        ] {
            assert_eq!(known(&Listed::named(name)), kind, "{name}");
        }
        let told = Listed {
            kind: Some(ModelKind::Llm),
            ..Listed::named("embedder")
        };
        assert_eq!(known(&told), Some(ModelKind::Llm), "its server knows best");
    }

    #[test]
    fn embedding_models_keep_the_providers_own_name() {
        let endpoint = Arc::new(Endpoint::new(EndpointConfig::new("openai", "http://h")).unwrap());
        let handle = |id| Listed::named(id).describe(&endpoint).handle;
        assert_eq!(
            handle("text-embedding-3-small"),
            "openai/text-embedding-3-small"
        );
        assert_eq!(handle("llama"), "openai-proxy/llama");
    }
}
