//! Vectors of the scripted model: texts of equal words get equal ones, and a text that says
//! `[[means WORDS]]` gets that of the words.

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
    /// All texts so far.
    #[serde(skip_deserializing)]
    asked: Vec<String>,
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
        self.asked
            .extend(texts.iter().map(|text| (*text).to_owned()));
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
            .map(|(index, text)| json!({"index": index, "embedding": vector(text, dims)}))
            .collect();
        (
            200,
            json!({"object": "list", "data": rows, "model": request.get("model")}),
        )
    }
}

/// A vector in the direction of the text's words.
fn vector(text: &str, dims: usize) -> Vec<f32> {
    let meant = text
        .split_once("[[means ")
        .and_then(|(_, rest)| Some(rest.split_once("]]")?.0));
    let mut vector = vec![0.001_f32; dims];
    let words = meant.unwrap_or(text).to_lowercase();
    for word in words.split(|c: char| !c.is_alphanumeric()) {
        if word.is_empty() {
            continue;
        }
        let digest = Sha256::digest(word.as_bytes());
        for (number, byte) in vector.iter_mut().zip(digest.iter().cycle()) {
            *number += f32::from(*byte) - 127.5;
        }
    }
    vector
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
    fn texts_that_mean_the_same_have_the_same_vector() {
        let one = vector("The keel [[means a boat]]", 16);
        assert_eq!(one, vector("a vessel [[means a boat]]", 16));
        assert_ne!(one, vector("the keel", 16));
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
