//! What the default model makes of texts, compared with an independent implementation.

use proptest::prelude::*;
use serde::Deserialize;

use crate::weights::{embedder, folder, model};

#[derive(Deserialize)]
struct Reference {
    vectors: Vec<Vector>,
    tokens: Vec<Tokens>,
}

#[derive(Deserialize)]
struct Vector {
    text: String,
    vector: Vec<f32>,
}

#[derive(Deserialize)]
struct Tokens {
    text: String,
    ids: Vec<u32>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../fixtures/reference.json")).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn vectors_agree_with_an_independent_implementation() {
    let reference = reference();
    let texts: Vec<&str> = reference
        .vectors
        .iter()
        .map(|row| row.text.as_str())
        .collect();
    let made = embedder().embed_batch(&texts).unwrap();
    assert_eq!(made.len(), texts.len());
    for (row, made) in reference.vectors.iter().zip(&made) {
        assert_eq!(made.len(), model().dims);
        assert!((cosine(made, made) - 1.0).abs() < 1e-5, "not of length 1");
        let agreement = cosine(made, &row.vector);
        assert!(agreement > 0.999_99, "{agreement} for {:.40?}", row.text);
    }
}

#[test]
fn tokens_agree_with_the_reference_tokenizer() {
    for row in reference().tokens {
        let ids = embedder().tokenizer().encode(&row.text, model().max_tokens);
        assert_eq!(ids, row.ids, "{:?}", row.text);
    }
}

#[test]
fn a_question_is_nearer_to_its_answer_than_to_other_texts() {
    let query = embedder().embed_query("Where does Anna live now?").unwrap();
    let passages = [
        "Anna moved to Lisbon last spring and likes the trams.",
        "The oven needs twenty minutes to heat up.",
    ];
    let vectors = embedder().embed_passages(&passages).unwrap();
    assert!(cosine(&query, &vectors[0]) > cosine(&query, &vectors[1]) + 0.3);
}

#[test]
fn a_vector_does_not_depend_on_the_texts_beside_it() {
    let texts: Vec<String> = (0..40)
        .map(|number| {
            format!(
                "Note {number}: {}",
                "the river rose again. ".repeat(number % 9)
            )
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = embedder().embed_batch(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        let alone = embedder().embed_query(text).unwrap();
        assert!(cosine(&alone, vector) > 0.999_999, "{text}");
    }
}

#[test]
fn a_damaged_file_is_told_and_not_loaded() {
    let copy = tempfile::tempdir().unwrap();
    for file in &model().files {
        std::fs::copy(folder().join(&file.name), copy.path().join(&file.name)).unwrap();
    }
    let path = copy.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = mnemic_local::Embedder::load(model(), copy.path())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("SHA-256") && error.contains("models pull"),
        "{error}"
    );
}

#[test]
fn a_long_text_is_chunked_not_cut() {
    let text = "The harbour of Ostend was rebuilt in that year. ".repeat(200);
    let chunks = embedder().chunks(&text);
    assert!(chunks.len() > 5);
    for chunk in &chunks {
        let ids = embedder()
            .tokenizer()
            .encode(&text[chunk.clone()], usize::MAX);
        assert!(ids.len() <= model().max_tokens);
        assert!(text[chunk.clone()].starts_with("The harbour"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn chunks_of_any_text_cover_it_and_are_read_whole(
        text in "(\\PC{0,40}|[a-z]{1,130}|[.!?]|日本語|\n\n| ){0,400}",
    ) {
        let chunks = embedder().chunks(&text);
        prop_assert_eq!(chunks[0].start, 0);
        prop_assert_eq!(chunks[chunks.len() - 1].end, text.len());
        for pair in chunks.windows(2) {
            prop_assert!(pair[1].start <= pair[0].end && pair[0].end < pair[1].end);
        }
        for chunk in chunks {
            let ids = embedder().tokenizer().encode(&text[chunk], usize::MAX);
            prop_assert!(ids.len() <= model().max_tokens, "{}", ids.len());
        }
    }
}
