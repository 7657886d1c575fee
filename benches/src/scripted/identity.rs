//! The programs that the scripted model can pass for: the routes by which each is recognised.

use serde_json::{Value, json};

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum Identity {
    Ollama,
    Lmstudio,
    LlamaServer,
    Vllm,
}

impl Identity {
    /// What it answers to a GET, with a model of that window; nothing where it has no such route.
    pub(super) fn answer(self, path: &str, window: usize) -> Option<Value> {
        let model = |owner: &str| json!({"id": "scripted", "object": "model", "owned_by": owner});
        let list = |model: Value| Some(json!({"object": "list", "data": [model]}));
        match (self, path) {
            (Self::Ollama, "/api/version") => Some(json!({"version": "0.12.6"})),
            (Self::Lmstudio, "/v1/models") => list(model("organization_owner")),
            (Self::Lmstudio, "/api/v0/models") => list(
                json!({"id": "scripted", "object": "model", "type": "llm", "state": "loaded",
                "loaded_context_length": window, "max_context_length": 131_072}),
            ),
            // It answers whatever it is asked.
            (Self::Lmstudio, _) => {
                Some(json!({"error": format!("Unexpected endpoint: GET {path}")}))
            }
            (Self::LlamaServer, "/v1/models") => list(model("llamacpp")),
            (Self::LlamaServer, "/props") => Some(
                json!({"default_generation_settings": {"n_ctx": window}, "total_slots": 1,
                "chat_template": "{% if tools %}{% endif %}",
                "chat_template_caps": {"supports_tools": true, "supports_tool_calls": true}}),
            ),
            (Self::Vllm, "/v1/models") => {
                let mut model = model("vllm");
                if let Some(fields) = model.as_object_mut() {
                    fields.insert("max_model_len".to_owned(), json!(window));
                }
                list(model)
            }
            (Self::Vllm, "/version") => Some(json!({"version": "0.11.0"})),
            _ => None,
        }
    }
}
