//! The programs that serve models on people's own machines: recognised by what they answer, and asked
//! for what their lists of models leave out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use crate::{
    abilities::Abilities,
    client::Client,
    endpoints::{Endpoint, EndpointConfig, Origin, Protocol},
    models::{Listed, ModelKind},
};

/// How long a server may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of what it says that are read.
const MOST: usize = 4 * 1024 * 1024;

/// A program that serves models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelServer {
    /// Ollama.
    Ollama,
    /// LM Studio.
    LmStudio,
    /// llama-server of llama.cpp.
    LlamaServer,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
}

/// What answers at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nobody,
    /// A model server that is still loading its model, or anything else that has no time now.
    Busy,
    /// Something that is no model server we know.
    Stranger,
    /// A model server.
    Server(ModelServer),
}

impl ModelServer {
    /// The name of its provider, the first part of handles.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::LmStudio => "lmstudio",
            Self::LlamaServer => "llama-server",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
        }
    }

    /// The V1 API's word for its kind of provider.
    const fn provider_type(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::LmStudio => "lmstudio_openai",
            Self::LlamaServer => "llama-server",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
        }
    }

    pub(crate) fn of_provider_type(word: &str) -> Option<Self> {
        let all = [
            Self::Ollama,
            Self::LmStudio,
            Self::LlamaServer,
            Self::Vllm,
            Self::Sglang,
        ];
        all.into_iter()
            .find(|server| server.provider_type() == word)
    }

    /// The server whose lists of models name this owner.
    pub(crate) fn of_owner(word: &str) -> Option<Self> {
        match word {
            "library" => Some(Self::Ollama),
            "organization_owner" => Some(Self::LmStudio),
            "llamacpp" => Some(Self::LlamaServer),
            "vllm" => Some(Self::Vllm),
            "sglang" => Some(Self::Sglang),
            _ => None,
        }
    }

    /// The configuration of one at an address, which is given with or without `/v1`.
    #[must_use]
    pub fn config(self, name: &str, url: &str, origin: Origin) -> EndpointConfig {
        let protocol = match self {
            Self::Ollama => Protocol::Ollama,
            _ => Protocol::OpenAiChat,
        };
        EndpointConfig {
            provider_type: self.provider_type().to_owned(),
            protocol,
            origin,
            ..EndpointConfig::new(name, url)
        }
    }
}

/// What a server said to a question: its status, and JSON if it was that.
struct Answer {
    status: StatusCode,
    json: Value,
}

impl Answer {
    fn is_busy(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// What a successful answer says.
    fn said(self) -> Value {
        if self.status.is_success() {
            self.json
        } else {
            Value::Null
        }
    }
}

impl Client {
    /// Finds out what answers at an address. Nothing is believed for its port; each kind of server has a
    /// route of its own with an answer of its own.
    pub async fn identify(&self, address: &Url) -> Found {
        let ask = |path: &'static str| self.question(address, path);
        let Some(version) = ask("api/version").await else {
            return Found::Nobody;
        };
        let mut is_busy = version.is_busy();
        let has_version = version.said().get("version").is_some_and(Value::is_string);
        // Others have the first of these routes too, such as the web interfaces of Ollama.
        if has_version && let Some(tags) = ask("api/tags").await {
            is_busy |= tags.is_busy();
            if tags.said().get("models").is_some_and(Value::is_array) {
                return Found::Server(ModelServer::Ollama);
            }
        }
        if let Some(models) = ask("api/v0/models").await
            && is_lm_studio(&models.said())
        {
            return Found::Server(ModelServer::LmStudio);
        }
        if let Some(props) = ask("props").await {
            is_busy |= props.is_busy();
            let props = props.said();
            let own = ["default_generation_settings", "total_slots"];
            if own.iter().all(|key| props.get(key).is_some()) {
                return Found::Server(ModelServer::LlamaServer);
            }
        }
        if let Some(models) = ask("v1/models").await {
            is_busy |= models.is_busy();
            let owner = owner(&models.said());
            if owner == Some(ModelServer::Sglang) {
                return Found::Server(ModelServer::Sglang);
            }
            if owner == Some(ModelServer::Vllm)
                && let Some(version) = ask("version").await
                && version.said().get("version").is_some_and(Value::is_string)
            {
                return Found::Server(ModelServer::Vllm);
            }
        }
        if is_busy {
            Found::Busy
        } else {
            Found::Stranger
        }
    }

    /// Asks a server something; `None` when there is no answer.
    async fn question(&self, address: &Url, path: &str) -> Option<Answer> {
        let mut url = address.clone();
        url.set_path(path);
        let asking = async {
            let mut response = self.http().get(url).send().await.ok()?;
            let status = response.status();
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await.ok()? {
                body.extend_from_slice(&piece);
                if body.len() > MOST {
                    break;
                }
            }
            let json = serde_json::from_slice(&body).unwrap_or_default();
            Some(Answer { status, json })
        };
        tokio::time::timeout(PATIENCE, asking).await.ok()?
    }
}

/// Its rows say whether a model is loaded; it answers unknown routes with 200 and an error.
fn is_lm_studio(answer: &Value) -> bool {
    let rows = answer.get("data").and_then(Value::as_array);
    let is_list = answer.get("object").and_then(Value::as_str) == Some("list");
    is_list && rows.is_some_and(|rows| rows.iter().all(|row| row.get("state").is_some()))
}

fn owner(answer: &Value) -> Option<ModelServer> {
    let rows = answer.get("data")?.as_array()?;
    rows.iter()
        .find_map(|row| ModelServer::of_owner(row.get("owned_by")?.as_str()?))
}

/// Adds what only the server's own routes tell: windows, and what models can do.
pub(crate) async fn complete(
    client: &Client,
    endpoint: &Arc<Endpoint>,
    listed: &mut [Listed],
    patience: Duration,
) {
    let server = listed.iter().find_map(|model| model.server);
    let server = server.or_else(|| ModelServer::of_provider_type(endpoint.provider_type()));
    let path = match server {
        Some(ModelServer::LmStudio) => "api/v0/models",
        Some(ModelServer::LlamaServer) => "props",
        _ => return,
    };
    let url = endpoint.beside_v1(path);
    let answer: Result<Bytes, _> = client.ask_once(endpoint, url, None, patience).await;
    let said: Value = match answer {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(error) => {
            tracing::debug!(provider = endpoint.name(), %error, "its own routes tell nothing");
            return;
        }
    };
    match server {
        Some(ModelServer::LmStudio) => from_lm_studio(&said, listed),
        _ => from_llama_server(&said, listed),
    }
}

fn from_lm_studio(said: &Value, listed: &mut [Listed]) {
    let rows = said.get("data").and_then(Value::as_array);
    for row in rows.into_iter().flatten() {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let tokens = |key: &str| {
            let tokens = row.get(key).and_then(Value::as_i64);
            tokens.filter(|tokens| *tokens > 0)
        };
        let Some(model) = listed
            .iter_mut()
            .find(|model| text("id") == Some(&*model.id))
        else {
            continue;
        };
        model.server = Some(ModelServer::LmStudio);
        model.is_loaded = text("state") == Some("loaded");
        model.context_window = tokens("loaded_context_length")
            .or_else(|| tokens("max_context_length"))
            .or(model.context_window);
        let kind = text("type");
        model.kind = match kind {
            Some("embeddings") => Some(ModelKind::Embedding),
            Some("llm" | "vlm") => Some(ModelKind::Llm),
            _ => None,
        };
        // It names the tools of those that were trained for them, and serves the others by a prompt
        // of its own; so their lack is no reason to do without.
        model.abilities.vision = kind.map(|kind| kind == "vlm");
    }
}

/// One model unless it routes to several, of which it then says nothing here.
fn from_llama_server(said: &Value, listed: &mut [Listed]) {
    let window = said
        .pointer("/default_generation_settings/n_ctx")
        .and_then(Value::as_i64)
        .filter(|tokens| *tokens > 0);
    let caps = |name: &str| {
        let path = format!("/chat_template_caps/{name}");
        said.pointer(&path).and_then(Value::as_bool)
    };
    let template = said.get("chat_template").and_then(Value::as_str);
    let named = template.map(|template| template.contains("tools"));
    let vision = said.pointer("/modalities/vision").and_then(Value::as_bool);
    let [only] = listed else {
        return;
    };
    only.server = Some(ModelServer::LlamaServer);
    only.is_loaded = true;
    // What a request may take is a slot's share of the context.
    only.context_window = window.or(only.context_window);
    only.abilities = Abilities {
        tools: caps("supports_tools").or(named),
        vision,
        thinking: None,
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lm_studio_tells_windows_kinds_and_eyes() {
        let mut listed = [
            Listed::named("a"),
            Listed::named("b"),
            Listed::named("nomic"),
        ];
        let said = json!({"object": "list", "data": [
            {"id": "a", "type": "vlm", "state": "loaded", "loaded_context_length": 4096, "max_context_length": 32768},
            {"id": "b", "type": "llm", "state": "not-loaded", "max_context_length": 131_072},
            {"id": "nomic", "type": "embeddings", "state": "not-loaded", "max_context_length": 2048},
        ]});
        assert!(is_lm_studio(&said));
        from_lm_studio(&said, &mut listed);
        let windows: Vec<_> = listed.iter().map(|model| model.context_window).collect();
        assert_eq!(windows, [Some(4096), Some(131_072), Some(2048)]);
        assert_eq!(listed[2].kind, Some(ModelKind::Embedding));
        assert!(listed[0].is_loaded && !listed[1].is_loaded);
        assert_eq!(listed[0].abilities.vision, Some(true));
        assert_eq!(listed[1].abilities.vision, Some(false));
        assert!(!is_lm_studio(
            &json!({"error": "Unexpected endpoint or method."})
        ));
        assert!(!is_lm_studio(
            &json!({"object": "list", "data": [{"id": "gpt-4o"}]})
        ));
    }

    #[test]
    fn llama_server_tells_its_slots_window_and_what_its_template_can() {
        let tell = |said: Value| {
            let mut listed = [Listed::named("a")];
            from_llama_server(&said, &mut listed);
            let [only] = listed;
            (only.context_window, only.abilities.tools)
        };
        let settings = json!({"n_ctx": 2048});
        assert_eq!(
            tell(
                json!({"default_generation_settings": settings, "chat_template_caps": {"supports_tools": false}})
            ),
            (Some(2048), Some(false))
        );
        assert_eq!(
            tell(
                json!({"default_generation_settings": settings, "chat_template": "{% if tools %}"})
            ),
            (Some(2048), Some(true))
        );
        assert_eq!(
            tell(json!({"chat_template": "{{ messages }}"})),
            (None, Some(false))
        );
        assert_eq!(tell(json!({})), (None, None));
    }
}
