//! Retrieval: texts are ranked by their words and by their meaning, by what stands around them, by who
//! speaks and when. Pure: an [`Index`] is made in memory from texts that the caller reads.
//!
//! A query goes through `asked` (what it asks for), `statistics` (how rare its words are), `features` (what
//! speaks for each text, column by column) and `weights` (what that counts together).

mod asked;
mod dates;
mod documents;
mod features;
mod form;
mod index;
mod irregular;
mod statistics;
#[cfg(test)]
mod tests;
mod vectors;
mod weights;
mod words;

use std::{cmp::Ordering, collections::BinaryHeap};

use self::{asked::Asked, features::Features, statistics::Statistics, weights::Scorer};
pub use self::{
    dates::{Span, spans},
    index::Index,
    words::terms,
};
use crate::time::Timestamp;

/// What an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Turns of conversations: neighbours and sessions give each other context.
    Turns,
    /// Texts that stand alone.
    Passages,
}

/// A text to index.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// The row's number.
    pub key: i64,
    /// What it says.
    pub text: &'a str,
    /// Who says it.
    pub speaker: Option<&'a str>,
    /// When.
    pub time: Timestamp,
    /// The thread; 0 is none.
    pub session: u64,
    /// The caller's number of the speaker's role.
    pub role: u8,
    /// Words to find it by.
    pub tags: &'a [&'a str],
    /// Whether it is no longer true.
    pub superseded: bool,
}

/// Tags that a text must have.
#[derive(Debug, Clone, Default)]
pub enum Tags {
    /// Any or none.
    #[default]
    Every,
    /// One of these.
    Any(Vec<String>),
    /// All of these.
    All(Vec<String>),
}

/// Which texts a search may find.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Not before this time.
    pub start: Option<Timestamp>,
    /// Not after this time.
    pub end: Option<Timestamp>,
    /// Only these roles; empty is all.
    pub roles: Vec<u8>,
    /// Only these threads, each up to a number of its texts; empty is all.
    pub sessions: Vec<(u64, i64)>,
    /// Only with these tags.
    pub tags: Tags,
}

/// A part of the retriever that can be switched off, to see what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// The words of a text.
    Text,
    /// Its meaning, by its vector.
    Dense,
    /// The turns before and after it.
    Neighbours,
    /// All that was said in the same go.
    Sittings,
    /// Who speaks.
    Speaker,
    /// Whether it asks or tells, names times or numbers.
    Form,
    /// The times that a query names.
    Dates,
    /// What is newer, and what is no longer true.
    Recency,
}

impl Feature {
    /// All parts, with their names.
    pub const ALL: [(Self, &str); 8] = [
        (Self::Text, "text"),
        (Self::Dense, "dense"),
        (Self::Neighbours, "neighbours"),
        (Self::Sittings, "sittings"),
        (Self::Speaker, "speaker"),
        (Self::Form, "form"),
        (Self::Dates, "dates"),
        (Self::Recency, "recency"),
    ];
}

/// Which parts of the retriever are on: all, unless they are taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    off: u16,
}

impl Settings {
    /// Without one part.
    #[must_use]
    pub const fn without(self, feature: Feature) -> Self {
        Self {
            off: self.off | 1 << feature as u16,
        }
    }

    /// Whether a part is on.
    #[must_use]
    pub const fn has(&self, feature: Feature) -> bool {
        self.off & (1 << feature as u16) == 0
    }

    /// By words only.
    #[must_use]
    pub const fn text_only() -> Self {
        Self { off: 0 }.without(Feature::Dense)
    }

    /// By meaning only.
    #[must_use]
    pub const fn vector_only() -> Self {
        Self { off: 0 }.without(Feature::Text)
    }
}

/// A question.
#[derive(Debug)]
pub struct Query<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its vector.
    pub vector: Option<&'a [f32]>,
    /// The present.
    pub now: Timestamp,
    /// The time zone of its time words.
    pub zone: &'a str,
    /// Which texts it may find.
    pub filter: Filter,
    /// Hits at the most.
    pub limit: usize,
    /// Which parts are on.
    pub settings: &'a Settings,
}

/// What a score is made of; what each part adds before the sum becomes a likelihood.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parts {
    /// The text's words.
    pub text: f32,
    /// Its meaning.
    pub dense: f32,
    /// What stands around it.
    pub context: f32,
    /// Who speaks.
    pub person: f32,
    /// Its form.
    pub form: f32,
    /// When it was said.
    pub time: f32,
}

impl Parts {
    /// The parts with their names.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, f32); 6] {
        [
            ("text", self.text),
            ("dense", self.dense),
            ("context", self.context),
            ("person", self.person),
            ("form", self.form),
            ("time", self.time),
        ]
    }

    fn sum(&self) -> f32 {
        self.named().iter().map(|(_, part)| part).sum()
    }
}

/// A text that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// In which of the indexes.
    pub index: usize,
    /// The row's number.
    pub key: i64,
    /// How likely it is about what was asked, from 0 to 1.
    pub score: f32,
    /// What the score is made of.
    pub parts: Parts,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Whether none seems to be about what was asked.
    pub nothing_relevant: bool,
    /// How many texts were searched.
    pub texts: usize,
    /// How many of them have vectors.
    pub embedded: usize,
}

/// A day in microseconds.
const DAY: i64 = 86_400_000_000;

/// Texts among which what is newer can move up.
const CLOSE: usize = 10;

/// What of a text is embedded: its speaker is part of what it says.
#[must_use]
pub fn embedding_text(text: &str, speaker: Option<&str>) -> String {
    match speaker {
        Some(speaker) if form::split_speaker(text).0.is_none() => format!("{speaker}: {text}"),
        _ => text.to_owned(),
    }
}

/// Ranks the texts of several indexes as if they were one. Equal scores rank the newer text first.
#[must_use]
pub fn search(indexes: &[&Index], query: &Query<'_>) -> Outcome {
    let asked = Asked::new(query, indexes);
    let statistics = Statistics::of(indexes, &asked);
    let mut best = Best::new(query.limit.max(CLOSE));
    for (number, index) in indexes.iter().enumerate() {
        let features = Features::of(index, &asked, &statistics, (query.vector, query.settings));
        let scorer = Scorer {
            index,
            features: &features,
            asked: &asked,
            statistics: &statistics,
            settings: query.settings,
            persons: asked.is_person(index),
            talkers: index.talkers(),
            calibrations: weights::calibrations(statistics.texts, !features.dense.is_empty()),
        };
        let passing = index.documents.passing(&query.filter);
        for text in 0..index.documents.len() {
            if !features.speak_for(text) || !passing.has(text) {
                continue;
            }
            let (parts, calibration) = scorer.score(text);
            let time = index.documents.times.get(text).copied().unwrap_or_default();
            best.offer(Ranked {
                log_odds: calibration.log_odds(parts.sum()),
                calibration,
                order: (time, number, text),
                parts,
            });
        }
    }
    let mut ranked = best.into_sorted();
    let relevant = ranked
        .iter()
        .any(|ranked| ranked.calibration.may_be_relevant(ranked.parts.sum()));
    if query.settings.has(Feature::Recency) {
        prefer_new(&mut ranked, asked.tense);
    }
    ranked.truncate(query.limit);
    let hits = ranked.into_iter().filter_map(|ranked| {
        let (_, index, text) = ranked.order;
        Some(Hit {
            index,
            key: *indexes.get(index)?.documents.keys.get(text)?,
            score: weights::likelihood(ranked.log_odds),
            parts: ranked.parts,
        })
    });
    Outcome {
        hits: hits.collect(),
        nothing_relevant: !relevant,
        texts: indexes.iter().map(|index| index.live).sum(),
        embedded: indexes.iter().map(|index| index.embedded).sum(),
    }
}

/// Lets what is newer move up among the best, where a query asks what is the case. Newness is the place in the
/// order of their days, so that one odd date moves no others, and what was said in one go is equally new; who moves
/// up takes the score of the place.
fn prefer_new(ranked: &mut [Ranked], tense: asked::Tense) {
    let most = weights::preference_for_new(tense);
    let close = ranked.len().min(CLOSE);
    let Some(best) = ranked.get_mut(..close).filter(|_| most > 0.0) else {
        return;
    };
    let scores: Vec<f32> = best.iter().map(|one| one.log_odds).collect();
    let day_of = |one: &Ranked| one.order.0.div_euclid(DAY);
    let mut days: Vec<i64> = best.iter().map(day_of).collect();
    days.sort_unstable();
    days.dedup();
    for one in &mut *best {
        let older = days.partition_point(|day| *day < day_of(one));
        let newness = older as f32 / days.len().saturating_sub(1).max(1) as f32;
        one.log_odds += most * newness;
        one.parts.time += one.calibration.sum_of(most * newness);
    }
    best.sort_by(|a, b| b.cmp(a));
    for (one, score) in best.iter_mut().zip(scores) {
        one.log_odds = score;
    }
}

/// A text with its score, ordered by it.
#[derive(Debug)]
struct Ranked {
    log_odds: f32,
    calibration: weights::Calibration,
    /// Time, index, text: what decides between equal scores.
    order: (i64, usize, usize),
    parts: Parts,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.log_odds
            .total_cmp(&other.log_odds)
            .then_with(|| self.order.cmp(&other.order))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// The best few.
struct Best {
    limit: usize,
    kept: BinaryHeap<std::cmp::Reverse<Ranked>>,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: BinaryHeap::new(),
        }
    }

    fn offer(&mut self, ranked: Ranked) {
        if self.kept.len() < self.limit {
            self.kept.push(std::cmp::Reverse(ranked));
        } else if let Some(mut worst) = self.kept.peek_mut()
            && ranked > worst.0
        {
            *worst = std::cmp::Reverse(ranked);
        }
    }

    fn into_sorted(self) -> Vec<Ranked> {
        let sorted = self.kept.into_sorted_vec();
        sorted.into_iter().map(|reversed| reversed.0).collect()
    }
}
