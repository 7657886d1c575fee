//! What is measured: our retriever, whole and in parts, and plain ways to rank that know nothing of it.

mod baselines;
mod bm25;

use std::time::{Duration, Instant};

pub use baselines::Baseline;
use mnemic_core::retrieval::{Feature, Filter, Index, Query, Settings, search};

use crate::{conversation::Question, corpus::Corpus};

/// The name of our retriever with all its parts.
pub const WHOLE: &str = "whole";

/// A way to rank, with the name it has in tables.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Its name.
    pub name: String,
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

/// All that is measured: our retriever without each of its parts, each part that can rank alone, these two
/// with each of the others, and the plain ways.
#[must_use]
pub fn variants() -> Vec<Variant> {
    let ours = |name: String, settings| Variant {
        name,
        way: Way::Ours(settings),
    };
    let mut all = vec![ours(WHOLE.to_owned(), Settings::default())];
    for (part, name) in Feature::ALL {
        all.push(ours(
            format!("without {name}"),
            Settings::default().without(part),
        ));
    }
    for (part, name) in Feature::ALL {
        if matches!(part, Feature::Text | Feature::Dense) {
            all.push(ours(format!("{name} alone"), only(&[part])));
        }
    }
    let both = [Feature::Text, Feature::Dense];
    all.push(ours("text and dense".to_owned(), only(&both)));
    for (part, name) in Feature::ALL {
        if !both.contains(&part) {
            let [text, dense] = both;
            all.push(ours(
                format!("these and {name}"),
                only(&[text, dense, part]),
            ));
        }
    }
    let plain = [
        ("plain BM25", Baseline::Bm25),
        ("plain BM25 of three turns", Baseline::Windows),
        ("plain vectors", Baseline::Dense),
        ("plain RRF of two", Baseline::FusedTwo),
        ("plain RRF of three", Baseline::FusedThree),
        ("plain smoothed sums", Baseline::Smoothed),
    ];
    all.extend(plain.map(|(name, baseline)| Variant {
        name: name.to_owned(),
        way: Way::Plain(baseline),
    }));
    all
}

/// Our retriever with these parts and no others.
fn only(parts: &[Feature]) -> Settings {
    let others = Feature::ALL
        .iter()
        .filter(|(part, _)| !parts.contains(part));
    others.fold(Settings::default(), |settings, (part, _)| {
        settings.without(*part)
    })
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
    pub fn bytes(&self) -> usize {
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
                parts: hit.parts.named().to_vec(),
            })
        });
        Ranking {
            found: found.collect(),
            nothing_relevant: Some(outcome.nothing_relevant),
            took,
        }
    }
}
