//! Vectors of the scripted model: texts of equal words get equal ones; a word may be told to mean another.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Numbers of a vector unless told otherwise.
const DIMS: usize = 16;

/// How embeddings are answered, and what was asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Embedder {
    /// Numbers of a vector; 0 is the usual.
    dims: usize,
    /// Refuses with this status.
    status: Option<u16>,
    /// Only texts that hold these words are refused; any unless set.
    status_for: Option<String>,
    /// Waits so long before each answer.
    pub delay_ms: u64,
    /// Leaves out so many vectors.
    missing: usize,
    /// Words that mean others.
    synonyms: HashMap<String, String>,
    /// All texts so far, each with the model that was asked.
    #[serde(skip_deserializing)]
    asked: Vec<(String, String)>,
}

impl Embedder {
    /// Takes new settings and goes on counting.
    pub fn set(&mut self, wanted: Self) {
        let asked = std::mem::take(&mut self.asked);
        *self = Self { asked, ..wanted };
    }

    /// Status and body of an answer.
    pub fn answer(&mut self, body: &[u8]) -> (u16, Value) {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let texts: Vec<&str> = match request.get("input") {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let model = request.get("model").and_then(Value::as_str);
        let model = model.unwrap_or_default();
        let asked = texts
            .iter()
            .map(|text| (model.to_owned(), (*text).to_owned()));
        self.asked.extend(asked);
        let is_meant = |words: &String| texts.iter().any(|text| text.contains(words));
        if let Some(status) = self.status
            && self.status_for.as_ref().is_none_or(is_meant)
        {
            let message = format!("scripted error {status}");
            return (status, json!({"error": {"message": message}}));
        }
        let dims = if self.dims == 0 { DIMS } else { self.dims };
        let kept = texts.len().saturating_sub(self.missing);
        let rows: Vec<Value> = texts
            .iter()
            .take(kept)
            .enumerate()
            .map(|(index, text)| json!({"index": index, "embedding": self.vector(text, dims)}))
            .collect();
        (200, json!({"object": "list", "data": rows, "model": model}))
    }

    /// A vector in the direction of the text's words.
    fn vector(&self, text: &str, dims: usize) -> Vec<f32> {
        let mut vector = vec![0.001_f32; dims];
        let text = text.to_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric());
        for word in words.filter(|word| !word.is_empty()) {
            let word = self.synonyms.get(word).map_or(word, String::as_str);
            let digest = Sha256::digest(word.as_bytes());
            for (number, byte) in vector.iter_mut().zip(digest.iter().cycle()) {
                *number += f32::from(*byte) - 127.5;
            }
        }
        vector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(embedder: &mut Embedder, texts: &[&str]) -> (u16, usize) {
        let body = json!({"model": "m", "input": texts}).to_string();
        let (status, answer) = embedder.answer(body.as_bytes());
        let rows = answer
            .get("data")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        (status, rows)
    }

    #[test]
    fn words_that_mean_the_same_have_the_same_vector() {
        let synonyms = HashMap::from([("keel".to_owned(), "vessel".to_owned())]);
        let embedder = Embedder {
            synonyms,
            ..Embedder::default()
        };
        assert_eq!(embedder.vector("Keel!", 16), embedder.vector("vessel", 16));
        assert_ne!(embedder.vector("Keel!", 16), embedder.vector("spoon", 16));
    }

    #[test]
    fn it_fails_as_it_is_told() {
        let mut embedder = Embedder::default();
        assert_eq!(ask(&mut embedder, &["a", "b"]), (200, 2));
        embedder.set(Embedder {
            missing: 1,
            ..Embedder::default()
        });
        assert_eq!(ask(&mut embedder, &["a", "b"]), (200, 1));
        embedder.set(Embedder {
            status: Some(400),
            status_for: Some("bad".to_owned()),
            ..Embedder::default()
        });
        assert_eq!(ask(&mut embedder, &["a", "b"]), (200, 2));
        assert_eq!(ask(&mut embedder, &["a", "bad"]), (400, 0));
        assert_eq!(embedder.asked.len(), 8);
    }
}
