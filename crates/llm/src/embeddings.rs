//! Embeddings: vectors of texts by OpenAI's protocol, which all servers of embedding models speak, Ollama
//! under `/v1` too.

use std::borrow::Cow;

use base64::Engine as _;
use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::{
    client::Client,
    endpoints::{Endpoint, Protocol},
    errors::LlmError,
    gemini,
};

/// Texts of one request: below what all known servers take (OpenAI 2,048, others 96 or 128).
const MAX_TEXTS: usize = 64;
/// Bytes of the texts of one request, which stay below OpenAI's 300,000 tokens whatever the language.
const MAX_BYTES: usize = 256 * 1024;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

impl Client {
    /// The vectors of texts, in their order, all of one length. With `dimensions` the model is asked for
    /// that many numbers, which not every model can.
    ///
    /// # Errors
    /// When no vectors came, after the retries that the error allows, or others than were asked for.
    pub async fn embed(
        &self,
        endpoint: &Endpoint,
        model: &str,
        texts: &[String],
        dimensions: Option<u32>,
    ) -> Result<Vec<Vec<f32>>, LlmError> {
        let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(texts.len());
        for batch in batches(texts) {
            if endpoint.protocol() == Protocol::Gemini {
                let sent: Vec<Cow<'_, str>> = batch.iter().map(|text| sendable(text)).collect();
                let sent: Vec<&str> = sent.iter().map(|text| &**text).collect();
                let body = gemini::embeddings::request(model, &sent, dimensions);
                let url = endpoint.model_url(model, "batchEmbedContents");
                let answer = self.post_json(endpoint, &url, body.into()).await?;
                vectors.extend(gemini::embeddings::read(endpoint, &answer, batch.len())?);
                continue;
            }
            let mut request = Request {
                model,
                input: batch.iter().map(|text| sendable(text)).collect(),
                encoding_format: Some("float"),
                dimensions,
            };
            let answer = match self.post_embeddings(endpoint, &request).await {
                Err(LlmError::BadRequest { message, .. })
                    if message.contains("encoding_format") =>
                {
                    request.encoding_format = None;
                    self.post_embeddings(endpoint, &request).await?
                }
                answer => answer?,
            };
            vectors.extend(read(endpoint, &answer, batch.len())?);
        }
        check_lengths(endpoint, &vectors, dimensions)?;
        Ok(vectors)
    }

    async fn post_embeddings(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
    ) -> Result<bytes::Bytes, LlmError> {
        // Texts and numbers always make JSON.
        let body = serde_json::to_vec(request).unwrap_or_default();
        self.post_json(endpoint, &url_of(endpoint), body.into())
            .await
    }
}

/// The route beside that of the models.
fn url_of(endpoint: &Endpoint) -> Url {
    if endpoint.protocol() == Protocol::Ollama {
        return endpoint.beside_v1("v1/embeddings");
    }
    let mut url = endpoint.models_url().clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop().push("embeddings");
    }
    url
}

/// Servers refuse texts of nothing.
fn sendable(text: &str) -> Cow<'_, str> {
    if text.trim().is_empty() {
        Cow::Borrowed(".")
    } else {
        Cow::Borrowed(text)
    }
}

/// The texts in groups that one request may carry.
fn batches(texts: &[String]) -> Vec<&[String]> {
    let mut batches = Vec::new();
    let mut rest = texts;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take(MAX_TEXTS).take_while(|text| {
            bytes += text.len();
            bytes <= MAX_BYTES
        });
        let count = fitting.count().max(1);
        let (batch, after) = rest.split_at(count);
        batches.push(batch);
        rest = after;
    }
    batches
}

/// Reads an answer to `count` texts.
fn read(endpoint: &Endpoint, bytes: &[u8], count: usize) -> Result<Vec<Vec<f32>>, LlmError> {
    let invalid = |message: String| LlmError::InvalidResponse {
        provider: endpoint.name().to_owned(),
        message,
    };
    let answer: Value =
        serde_json::from_slice(bytes).map_err(|_| invalid("its embeddings are no JSON".into()))?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Err(crate::refusals::from_object(endpoint, error));
    }
    let rows = answer.get("data").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| invalid("it holds no embeddings".into()))?;
    if rows.len() != count {
        let found = rows.len();
        return Err(invalid(format!(
            "{found} embeddings came for {count} texts"
        )));
    }
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
    for (place, row) in rows.iter().enumerate() {
        let index = row.get("index").and_then(Value::as_u64);
        let index = index.map_or(Some(place), |index| usize::try_from(index).ok());
        let vector = row.get("embedding").and_then(vector_of);
        let vector = vector.ok_or_else(|| invalid("an embedding is no list of numbers".into()))?;
        let slot = index.and_then(|index| vectors.get_mut(index));
        match slot {
            Some(slot) if slot.is_none() => *slot = Some(vector),
            _ => return Err(invalid("the embeddings' numbers are wrong".into())),
        }
    }
    Ok(vectors.into_iter().flatten().collect())
}

/// A vector as a list, or as the bytes of its numbers in base64, which some servers send although they
/// are asked for a list.
fn vector_of(value: &Value) -> Option<Vec<f32>> {
    let vector: Vec<f32> = match value {
        Value::Array(numbers) => {
            let numbers = numbers.iter().map(|number| Some(number.as_f64()? as f32));
            numbers.collect::<Option<_>>()?
        }
        Value::String(text) => {
            let bytes = base64::prelude::BASE64_STANDARD.decode(text).ok()?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return None;
            }
            numbers
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect()
        }
        _ => return None,
    };
    let usable = !vector.is_empty() && vector.iter().all(|number| number.is_finite());
    usable.then_some(vector)
}

fn check_lengths(
    endpoint: &Endpoint,
    vectors: &[Vec<f32>],
    dimensions: Option<u32>,
) -> Result<(), LlmError> {
    let asked = dimensions.and_then(|dimensions| usize::try_from(dimensions).ok());
    let Some(wanted) = asked.or_else(|| vectors.first().map(Vec::len)) else {
        return Ok(());
    };
    match vectors.iter().find(|vector| vector.len() != wanted) {
        None => Ok(()),
        Some(other) => Err(LlmError::InvalidResponse {
            provider: endpoint.name().to_owned(),
            message: format!(
                "an embedding has {} dimensions where {wanted} are right",
                other.len()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointConfig;

    #[test]
    fn the_route_stands_beside_that_of_the_models() {
        for (base, url) in [
            ("http://h:1", "http://h:1/v1/embeddings"),
            ("https://h/api/v1/", "https://h/api/v1/embeddings"),
            (
                "https://h/v1?version=2",
                "https://h/v1/embeddings?version=2",
            ),
        ] {
            let endpoint = Endpoint::new(EndpointConfig::new("p", base)).unwrap();
            assert_eq!(url_of(&endpoint).as_str(), url);
        }
    }

    #[test]
    fn texts_are_grouped_by_number_and_length() {
        let lengths = |texts: &[String]| {
            batches(texts)
                .iter()
                .map(|batch| batch.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[]), [] as [usize; 0]);
        assert_eq!(lengths(&vec!["a".to_owned(); 130]), [64, 64, 2]);
        let long = "a".repeat(MAX_BYTES / 2);
        assert_eq!(lengths(&vec![long; 5]), [2, 2, 1]);
        assert_eq!(
            lengths(&vec!["a".repeat(MAX_BYTES * 2); 2]),
            [1, 1],
            "never none"
        );
    }
}
