//! Embedding models at providers.

use std::{sync::Arc, time::Duration};

use mnemic_llm::{Client, Endpoint, LlmError, ResolvedModel};

use super::{EmbeddingError, Purpose};

/// How long a few embeddings may take, retries included: models that answer must not wait for one that
/// does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// A model at a provider.
#[derive(Debug, Clone)]
pub(super) struct RemoteModel {
    client: Client,
    endpoint: Arc<Endpoint>,
    pub model: String,
    pub handle: String,
}

impl RemoteModel {
    pub fn new(client: Client, resolved: ResolvedModel) -> Self {
        Self {
            client,
            endpoint: resolved.endpoint,
            model: resolved.model,
            handle: resolved.handle,
        }
    }

    /// Where its provider is.
    pub fn base_url(&self) -> &str {
        self.endpoint.base_url()
    }

    pub async fn embed(
        &self,
        mut texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        let prefix = prefix(&self.model, purpose);
        if !prefix.is_empty() {
            texts.iter_mut().for_each(|text| text.insert_str(0, prefix));
        }
        let answer = self.client.embed(&self.endpoint, &self.model, &texts, None);
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let mut vectors = answer.map_err(|_| LlmError::Timeout {
            provider: self.endpoint.name().to_owned(),
            phase: format!("{} embeddings in {} s", texts.len(), PATIENCE.as_secs()),
            again: true,
        })??;
        vectors.iter_mut().for_each(|vector| normalise(vector));
        Ok(vectors)
    }
}

/// Scales a vector to length 1, so that products of vectors are cosines.
fn normalise(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let factor = 1.0 / square.sqrt().max(f64::MIN_POSITIVE);
    for number in vector {
        *number = (f64::from(*number) * factor) as f32;
    }
}

/// What well-known models want before a query and before a passage, by a part of their names. From the
/// models' own pages.
const PREFIXES: [(&str, &str, &str); 6] = [
    ("nomic-embed-text", "search_query: ", "search_document: "),
    ("multilingual-e5", "query: ", "passage: "),
    ("e5-small", "query: ", "passage: "),
    ("e5-base", "query: ", "passage: "),
    ("mxbai-embed-large", REPRESENT, ""),
    ("snowflake-arctic-embed", REPRESENT, ""),
];
const REPRESENT: &str = "Represent this sentence for searching relevant passages: ";

fn prefix(model: &str, purpose: Purpose) -> &'static str {
    let model = model.to_ascii_lowercase();
    // The second generation of arctic models wants another one.
    let second = model.contains("arctic-embed2") || model.contains("arctic-embed-l-v2");
    let known = PREFIXES.iter().find(|(name, ..)| model.contains(name));
    match (known, purpose) {
        (Some(_), Purpose::Query) if second => "query: ",
        (Some((_, query, _)), Purpose::Query) => query,
        (Some((.., passage)), Purpose::Passage) => passage,
        (None, _) => "",
    }
}

/// Numbers of the vectors of well-known models (their makers' pages, 2025), by a part of their names.
const DIMS: [(&str, usize); 12] = [
    ("text-embedding-3-large", 3_072),
    ("text-embedding-3-small", 1_536),
    ("text-embedding-ada-002", 1_536),
    ("nomic-embed-text", 768),
    ("mxbai-embed-large", 1_024),
    ("snowflake-arctic-embed:335m", 1_024),
    ("all-minilm", 384),
    ("bge-m3", 1_024),
    ("bge-small", 384),
    ("bge-base", 768),
    ("bge-large", 1_024),
    ("embeddinggemma", 768),
];

/// Numbers of a model's vectors, where its name tells.
#[must_use]
pub fn known_dims(model: &str) -> Option<usize> {
    let model = model.to_ascii_lowercase();
    let known = DIMS.iter().find(|(name, _)| model.contains(name));
    known.map(|(_, dims)| *dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_tell_queries_from_passages_are_told() {
        let both = |model| {
            (
                prefix(model, Purpose::Query),
                prefix(model, Purpose::Passage),
            )
        };
        assert_eq!(both("text-embedding-3-small"), ("", ""));
        assert_eq!(
            both("nomic-embed-text:latest"),
            ("search_query: ", "search_document: ")
        );
        assert_eq!(both("Snowflake-Arctic-Embed:22m"), (REPRESENT, ""));
        assert_eq!(both("snowflake-arctic-embed2"), ("query: ", ""));
    }

    #[test]
    fn vectors_are_scaled_to_length_one() {
        let mut vector = vec![3.0, 4.0];
        normalise(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut nothing = vec![0.0, 0.0];
        normalise(&mut nothing);
        assert_eq!(nothing, [0.0, 0.0]);
    }
}
