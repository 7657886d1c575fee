//! Embeddings, `batchEmbedContents`.

use serde_json::{Value, json};

use crate::{endpoints::Endpoint, errors::LlmError};

/// The body of a request for the vectors of these texts.
pub(crate) fn request(model: &str, texts: &[&str], dimensions: Option<u32>) -> Vec<u8> {
    let one = |text: &&str| {
        let mut one = json!({
            "model": format!("models/{model}"),
            "content": { "parts": [{ "text": text }] },
        });
        if let (Some(dimensions), Some(fields)) = (dimensions, one.as_object_mut()) {
            fields.insert("outputDimensionality".to_owned(), dimensions.into());
        }
        one
    };
    let requests: Vec<Value> = texts.iter().map(one).collect();
    json!({ "requests": requests }).to_string().into_bytes()
}

/// Reads an answer to `count` texts.
pub(crate) fn read(
    endpoint: &Endpoint,
    bytes: &[u8],
    count: usize,
) -> Result<Vec<Vec<f32>>, LlmError> {
    let invalid = |message: String| LlmError::InvalidResponse {
        provider: endpoint.name().to_owned(),
        message,
    };
    let answer: Value =
        serde_json::from_slice(bytes).map_err(|_| invalid("its embeddings are no JSON".into()))?;
    let rows = answer.get("embeddings").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| invalid("it holds no embeddings".into()))?;
    if rows.len() != count {
        let found = rows.len();
        return Err(invalid(format!(
            "{found} embeddings came for {count} texts"
        )));
    }
    let vector = |row: &Value| -> Option<Vec<f32>> {
        let values = row.get("values")?.as_array()?;
        let numbers = values
            .iter()
            .map(|number| number.as_f64().map(|n| n as f32));
        numbers.collect()
    };
    let vectors: Option<Vec<Vec<f32>>> = rows.iter().map(vector).collect();
    vectors.ok_or_else(|| invalid("an embedding is no list of numbers".into()))
}
