//! The provider's list of models, which tells their limits and what they are for.

use serde_json::Value;

use crate::models::{Listed, ModelKind};

/// What stands before a model's name in lists, and not in handles.
const PREFIX: &str = "models/";

/// Reads a list; `None` when it is none.
pub(crate) fn parse_list(bytes: &[u8]) -> Option<Vec<Listed>> {
    let answer: Value = serde_json::from_slice(bytes).ok()?;
    let list = answer.get("models")?.as_array()?;
    Some(list.iter().filter_map(listed).collect())
}

/// A model that talks or embeds; there are others, for images and speech.
fn listed(entry: &Value) -> Option<Listed> {
    let name = entry.get("name")?.as_str()?;
    let can = |method: &str| {
        let methods = entry.get("supportedGenerationMethods");
        let mut methods = methods.and_then(Value::as_array).into_iter().flatten();
        methods.any(|one| one == method)
    };
    let kind = if can("generateContent") {
        ModelKind::Llm
    } else if can("embedContent") {
        ModelKind::Embedding
    } else {
        return None;
    };
    let tokens = |key: &str| {
        let tokens = entry.get(key).and_then(Value::as_i64);
        tokens.filter(|tokens| *tokens > 0)
    };
    Some(Listed {
        context_window: tokens("inputTokenLimit"),
        max_output_tokens: tokens("outputTokenLimit"),
        kind: Some(kind),
        ..Listed::named(name.strip_prefix(PREFIX).unwrap_or(name))
    })
}
