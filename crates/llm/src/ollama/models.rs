//! What Ollama tells of its models: names by `/api/tags`, the rest by `/api/show`, one by one.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    abilities::Abilities,
    client::Client,
    endpoints::Endpoint,
    errors::LlmError,
    models::{Listed, ModelKind},
    windows::OLLAMA_DEFAULT,
};

/// Models that are asked after at once: it reads a file for each.
const AT_ONCE: usize = 4;

/// What was shown of models, by name, each as long as its digest is the same.
#[derive(Debug, Default)]
pub(crate) struct ShownModels {
    known: Mutex<HashMap<String, (String, Shown)>>,
}

/// What `/api/show` says of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Shown {
    /// The context that it was trained for.
    context_length: Option<i64>,
    /// The context that its Modelfile sets.
    num_ctx: Option<i64>,
    abilities: Abilities,
    kind: Option<ModelKind>,
}

/// The models of an endpoint. Those that can't be shown in time are listed by their names.
pub(crate) async fn list(
    client: &Client,
    endpoint: &Arc<Endpoint>,
    shown: &ShownModels,
    patience: Duration,
) -> Result<Vec<Listed>, LlmError> {
    let until = Instant::now() + patience;
    let bytes = client.model_list(endpoint, patience).await?;
    let tags = parse_tags(&bytes).ok_or_else(|| LlmError::InvalidResponse {
        provider: endpoint.name().to_owned(),
        message: "its list of models is none".to_owned(),
    })?;
    let looked = tags.into_iter().map(|(name, digest)| async move {
        let known = shown.get(&name, &digest);
        let found = match known {
            Some(found) => Some(found),
            None => show(client, endpoint, &name, until).await,
        };
        if let Some(found) = found {
            shown.keep(&name, &digest, found);
        }
        found.unwrap_or_default().listed(name)
    });
    Ok(stream::iter(looked).buffered(AT_ONCE).collect().await)
}

/// Names and digests.
fn parse_tags(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let answer: Value = serde_json::from_slice(bytes).ok()?;
    let rows = answer.get("models")?.as_array()?;
    let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let named = rows.iter().filter_map(|row| {
        let name = text(row, "model").or_else(|| text(row, "name"))?;
        Some((name, text(row, "digest").unwrap_or_default()))
    });
    Some(named.collect())
}

async fn show(
    client: &Client,
    endpoint: &Arc<Endpoint>,
    name: &str,
    until: Instant,
) -> Option<Shown> {
    let body = json!({"model": name, "name": name}).to_string();
    let url = endpoint.beside_v1("api/show");
    let patience = until.saturating_duration_since(Instant::now());
    match client.ask_once(endpoint, url, Some(body), patience).await {
        Ok(bytes) => Shown::parse(&bytes),
        Err(error) => {
            tracing::debug!(model = name, %error, "a model is not shown");
            None
        }
    }
}

impl ShownModels {
    fn get(&self, name: &str, digest: &str) -> Option<Shown> {
        let known = self.known.lock();
        let (of, shown) = known.get(name)?;
        (of == digest && !digest.is_empty()).then_some(*shown)
    }

    fn keep(&self, name: &str, digest: &str, shown: Shown) {
        self.known
            .lock()
            .insert(name.to_owned(), (digest.to_owned(), shown));
    }
}

impl Shown {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(bytes).ok()?;
        let info = answer.get("model_info").and_then(Value::as_object);
        // The key begins with the name of the architecture: `qwen3.context_length`.
        let context_length = info.and_then(|info| {
            let mut lengths = info
                .iter()
                .filter(|(key, _)| key.ends_with(".context_length"));
            lengths.find_map(|(_, value)| value.as_i64())
        });
        let parameters = answer.get("parameters").and_then(Value::as_str);
        let num_ctx = parameters.and_then(|text| {
            let mut lines = text.lines().map(str::split_whitespace);
            lines.find_map(|mut words| {
                (words.next()? == "num_ctx").then(|| words.next()?.parse().ok())?
            })
        });
        let capabilities: Option<Vec<&str>> = answer
            .get("capabilities")
            .and_then(Value::as_array)
            .map(|words| words.iter().filter_map(Value::as_str).collect());
        let can = |word: &str| capabilities.as_ref().map(|words| words.contains(&word));
        Some(Self {
            context_length: context_length.filter(|tokens| *tokens > 0),
            num_ctx: num_ctx.filter(|tokens: &i64| *tokens > 0),
            abilities: Abilities {
                tools: can("tools"),
                vision: can("vision"),
                thinking: can("thinking"),
            },
            kind: match (can("embedding"), can("completion")) {
                (Some(true), Some(false)) => Some(ModelKind::Embedding),
                (_, Some(true)) => Some(ModelKind::Llm),
                _ => None,
            },
        })
    }

    /// The window is what its Modelfile says, else what it was trained for but not more than most
    /// machines have memory for.
    fn listed(self, name: String) -> Listed {
        let trained = self.context_length;
        let usual = trained.map_or(OLLAMA_DEFAULT, |trained| trained.min(OLLAMA_DEFAULT));
        Listed {
            context_window: Some(self.num_ctx.unwrap_or(usual)),
            context_limit: trained,
            abilities: self.abilities,
            kind: self.kind,
            ..Listed::named(&name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_model_tells_its_window_and_what_it_can() {
        let shown = Shown::parse(
            br#"{"parameters":"temperature 0.6\nnum_ctx    24576\nstop \"<|im_end|>\"",
            "model_info":{"general.architecture":"qwen3","qwen3.context_length":40960},
            "capabilities":["completion","tools","thinking"]}"#,
        )
        .unwrap();
        let listed = shown.listed("qwen3:8b".into());
        assert_eq!(listed.context_window, Some(24_576));
        assert_eq!(listed.context_limit, Some(40_960));
        assert_eq!(listed.kind, Some(ModelKind::Llm));
        let abilities = Abilities {
            tools: Some(true),
            vision: Some(false),
            thinking: Some(true),
        };
        assert_eq!(listed.abilities, abilities);
    }

    #[test]
    fn the_window_is_what_fits_a_usual_machine_unless_the_model_has_less() {
        let window = |show: &str| {
            Shown::parse(show.as_bytes())
                .unwrap()
                .listed("m".into())
                .context_window
        };
        let of = |tokens: i64| format!(r#"{{"model_info":{{"a.context_length":{tokens}}}}}"#);
        assert_eq!(window(&of(131_072)), Some(OLLAMA_DEFAULT));
        assert_eq!(window(&of(2_048)), Some(2_048));
        assert_eq!(window("{}"), Some(OLLAMA_DEFAULT));
    }

    #[test]
    fn an_old_server_that_tells_no_capabilities_denies_none() {
        let shown = Shown::parse(br#"{"details":{"family":"llama"}}"#).unwrap();
        assert_eq!(shown.abilities, Abilities::default());
        assert_eq!(shown.kind, None);
    }

    #[test]
    fn a_model_that_only_embeds_is_no_language_model() {
        let shown = Shown::parse(br#"{"capabilities":["embedding"]}"#).unwrap();
        assert_eq!(shown.kind, Some(ModelKind::Embedding));
    }
}
