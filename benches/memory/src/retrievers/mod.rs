//! What is measured: our retriever, whole and in parts, and plain ways to rank that know nothing of it.

mod baselines;
mod bm25;

use std::time::{Duration, Instant};

pub use baselines::Baseline;
use mnemic_core::retrieval::{Filter, Index, Query, Settings, search};

use crate::{conversation::Question, corpus::Corpus};

/// The name of our retriever with all its parts.
pub const WHOLE: &str = "whole";

/// A way to rank, with the name it has in tables.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name.
    pub name: &'static str,
    /// How it ranks.
    pub way: Way,
}

/// How texts are ranked.
#[derive(Debug, Clone)]
pub enum Way {
    /// By our retriever.
    Ours(Settings),
    /// By a plain way.
    Plain(Baseline),
}

impl Variant {
    /// Whether it ranks by vectors and nothing else.
    #[must_use]
    pub const fn needs_vectors(&self) -> bool {
        match &self.way {
            Way::Ours(_) => false,
            Way::Plain(baseline) => baseline.needs_vectors(),
        }
    }
}

/// All that is measured. This is the one place that lists the parts of the retriever: each is left out,
/// and each that can rank by itself stands alone.
#[must_use]
pub fn variants() -> Vec<Variant> {
    let ours = [
        (WHOLE, Settings::default()),
        ("words alone", Settings::text_only()),
        ("vectors alone", Settings::vector_only()),
    ];
    let plain = [
        ("plain BM25", Baseline::Bm25),
        ("plain BM25 of three turns", Baseline::Windows),
        ("plain vectors", Baseline::Dense),
        ("plain RRF of BM25, vectors", Baseline::FusedTwo),
        ("plain RRF of these three", Baseline::FusedThree),
        ("plain sums, smoothed", Baseline::Smoothed),
    ];
    let ours = ours.map(|(name, settings)| (name, Way::Ours(settings)));
    let plain = plain.map(|(name, baseline)| (name, Way::Plain(baseline)));
    let all = ours.into_iter().chain(plain);
    all.map(|(name, way)| Variant { name, way }).collect()
}

/// A turn that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its place in the conversation.
    pub turn: usize,
    /// Its score.
    pub score: f32,
    /// What the score is made of.
    pub parts: Vec<(&'static str, f32)>,
}

/// What a question found.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    /// Best first.
    pub found: Vec<Found>,
    /// Whether the retriever says that nothing is relevant; plain ones say nothing.
    pub nothing_relevant: Option<bool>,
    /// How long the search took, the question's vector apart.
    pub took: Duration,
}

/// A conversation that can be searched in all ways.
pub struct Searched<'a> {
    corpus: &'a Corpus<'a>,
    index: Index,
    /// How long our index took to make.
    pub built: Duration,
    plain: baselines::Plain<'a>,
}

impl<'a> Searched<'a> {
    /// Makes the indexes.
    #[must_use]
    pub fn new(corpus: &'a Corpus<'a>) -> Self {
        let begun = Instant::now();
        let index = corpus.index();
        let built = begun.elapsed();
        Self {
            plain: baselines::Plain::new(corpus),
            corpus,
            index,
            built,
        }
    }

    /// Bytes of memory that our index says it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.index.bytes()
    }

    /// Ranks the turns for a question, and returns so many at the most.
    #[must_use]
    pub fn ask(&self, question: &Question, way: &Way, limit: usize) -> Ranking {
        match way {
            Way::Ours(settings) => self.ask_ours(question, settings, limit),
            Way::Plain(baseline) => {
                let begun = Instant::now();
                let vector = self.corpus.query_vector(question);
                let found = self.plain.ask(&question.text, vector, *baseline, limit);
                Ranking {
                    found,
                    nothing_relevant: None,
                    took: begun.elapsed(),
                }
            }
        }
    }

    fn ask_ours(&self, question: &Question, settings: &Settings, limit: usize) -> Ranking {
        let query = Query {
            text: &question.text,
            vector: self.corpus.query_vector(question),
            now: question.asked,
            zone: "UTC",
            filter: Filter::default(),
            limit,
            settings,
        };
        let begun = Instant::now();
        let outcome = search(&[&self.index], &query);
        let took = begun.elapsed();
        let found = outcome.hits.iter().filter_map(|hit| {
            Some(Found {
                turn: usize::try_from(hit.key).ok()?,
                score: hit.score,
                parts: hit.parts.named(),
            })
        });
        Ranking {
            found: found.collect(),
            nothing_relevant: Some(outcome.nothing_relevant),
            took,
        }
    }
}
