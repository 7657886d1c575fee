//! BM25 as the textbooks have it, with the stemmer of the Snowball project. It shares nothing but that with the
//! retriever that it is compared with, so that a mistake in that one shows.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};

/// How soon further occurrences of a word count less.
const K1: f32 = 1.2;
/// How much longer texts are discounted.
const B: f32 = 0.75;

/// An index of texts.
pub struct Bm25 {
    stemmer: Stemmer,
    /// The texts that hold a word, with how often they do.
    postings: HashMap<String, Vec<(usize, f32)>>,
    lengths: Vec<f32>,
    average: f32,
}

impl Bm25 {
    /// The index of texts, which are numbered from 0.
    pub fn new<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        let mut postings: HashMap<String, Vec<(usize, f32)>> = HashMap::new();
        let mut lengths = Vec::new();
        for (number, text) in texts.enumerate() {
            let mut length = 0.0;
            let mut counts: HashMap<String, f32> = HashMap::new();
            for word in words(&stemmer, text.as_ref()) {
                *counts.entry(word).or_default() += 1.0;
                length += 1.0;
            }
            for (word, count) in counts {
                postings.entry(word).or_default().push((number, count));
            }
            lengths.push(length);
        }
        let average = lengths.iter().sum::<f32>() / (lengths.len() as f32).max(1.0);
        Self {
            stemmer,
            postings,
            lengths,
            average,
        }
    }

    /// The score of each text.
    pub fn scores(&self, query: &str) -> Vec<f32> {
        let mut scores = vec![0.0; self.lengths.len()];
        let all = self.lengths.len() as f32;
        for word in words(&self.stemmer, query) {
            let Some(postings) = self.postings.get(&word) else {
                continue;
            };
            let with = postings.len() as f32;
            let rarity = ((all - with + 0.5) / (with + 0.5) + 1.0).ln();
            for (number, count) in postings {
                let length = self.lengths.get(*number).copied().unwrap_or_default();
                let norm = K1 * (1.0 - B + B * length / self.average.max(1.0));
                if let Some(score) = scores.get_mut(*number) {
                    *score += rarity * count * (K1 + 1.0) / (count + norm);
                }
            }
        }
        scores
    }
}

fn words(stemmer: &Stemmer, text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'');
    words
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
        .map(|word| stemmer.stem(word).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_what_the_formula_gives() {
        let index = Bm25::new(["cats and dogs", "a cat", "two birds", "no"].iter());
        let scores = index.scores("the cat's dogs");
        // Lengths 3, 2, 2, 1, average 2. "cat" is in two texts of four, "dog" in one.
        let rarity = |with: f32| ((4.0 - with + 0.5) / (with + 0.5) + 1.0).ln();
        let weight = |length: f32| 2.2 / (1.0 + 1.2 * (0.25 + 0.75 * length / 2.0));
        let first = (rarity(2.0) + rarity(1.0)) * weight(3.0);
        let second = rarity(2.0) * weight(2.0);
        for (score, wanted) in scores.iter().zip([first, second, 0.0, 0.0]) {
            assert!((score - wanted).abs() < 1e-5, "{scores:?}");
        }
    }
}
