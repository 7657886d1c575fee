//! How the features of a text become its score.
//!
//! The weights were fitted by pairwise logistic regression (evidence against other turns) on the development
//! set of `benches/memory`, conversation against conversation, and rounded. `benches/memory/README.md` says how
//! to fit them again.

use super::{
    Feature, Parts, Settings,
    asked::{Asked, Tense},
    dates,
    documents::{Documents, LONG, NOBODY},
    features::{Features, at},
};
use crate::time::Timestamp;

/// What each feature counts.
#[derive(Debug, Clone, Copy)]
struct Weights {
    own: f32,
    window: f32,
    sitting: f32,
    own_question: f32,
    dense: f32,
    dense_neighbours: f32,
    dense_sitting: f32,
    dense_question: f32,
    speaker: f32,
    asks: f32,
    only_asks: f32,
    time: f32,
    number: f32,
    length: f32,
    dates: f32,
    recency: f32,
    superseded: f32,
}

/// Turns of conversations, found by words and meaning.
const TURNS: Weights = Weights {
    own: 6.5,
    window: 2.6,
    sitting: 2.9,
    own_question: 4.1,
    dense: 2.5,
    dense_neighbours: 4.2,
    dense_sitting: 8.3,
    dense_question: 1.5,
    speaker: 1.75,
    asks: -1.3,
    only_asks: -0.2,
    time: 2.3,
    number: 1.0,
    length: 2.6,
    dates: 4.0,
    recency: 0.3,
    superseded: -1.0,
};

/// Texts that stand alone.
const LONE: Weights = Weights {
    own: 11.0,
    window: 0.0,
    sitting: 0.0,
    own_question: 0.0,
    dense: 11.0,
    dense_neighbours: 0.0,
    dense_sitting: 0.0,
    dense_question: 0.0,
    speaker: 1.75,
    asks: -1.0,
    only_asks: -0.5,
    time: 1.0,
    number: 0.5,
    length: 0.0,
    dates: 4.0,
    recency: 0.3,
    superseded: -1.0,
};

/// Scores the texts of one index.
pub(super) struct Scorer<'a> {
    pub documents: &'a Documents,
    pub features: &'a Features,
    pub asked: &'a Asked,
    pub settings: &'a Settings,
    /// By speaker: whether it is the one who is asked about.
    pub persons: Vec<bool>,
    /// The first and last time of all texts.
    pub times: (i64, i64),
}

impl Scorer<'_> {
    /// The parts of a text's score, and their sum.
    pub fn score(&self, text: usize) -> (Parts, f32) {
        let (documents, features) = (self.documents, self.features);
        let lone = documents
            .sitting
            .get(text)
            .is_none_or(|own| *own == super::documents::NONE);
        let weights = if lone { LONE } else { TURNS };
        let own = at(&features.own, text);
        let window = if features.window.is_empty() {
            own
        } else {
            at(&features.window, text)
        };
        let dense = at(&features.dense, text);
        let context = weights.sitting * at(&features.sitting, text)
            + weights.own_question * at(&features.own_question, text)
            + weights.dense_neighbours * at(&features.dense_neighbours, text)
            + weights.dense_sitting * at(&features.dense_sitting, text)
            + weights.dense_question * at(&features.dense_question, text);
        let parts = Parts {
            text: weights.own * own + weights.window * window,
            dense: weights.dense * dense,
            context,
            person: weights.speaker * self.person(text),
            form: self.form(text, &weights),
            time: self.time(text, &weights),
        };
        (parts, parts.sum())
    }

    fn person(&self, text: usize) -> f32 {
        let speaker = self.documents.speaker.get(text).copied().unwrap_or(NOBODY);
        let is_person = self.persons.get(usize::from(speaker)).copied();
        f32::from(u8::from(
            self.settings.has(Feature::Speaker) && is_person == Some(true),
        ))
    }

    fn form(&self, text: usize, weights: &Weights) -> f32 {
        if !self.settings.has(Feature::Form) {
            return 0.0;
        }
        let form = self.documents.forms.get(text).copied().unwrap_or_default();
        let length = self
            .documents
            .lengths
            .get(text)
            .copied()
            .unwrap_or_default();
        let given = |weight: f32, holds: bool| if holds { weight } else { 0.0 };
        given(weights.asks, form.asks())
            + given(weights.only_asks, form.only_asks())
            + given(weights.time, self.asked.when && form.tells_time())
            + given(weights.number, self.asked.how_many && form.tells_number())
            + weights.length * ((1 + length.min(LONG)) as f32).ln()
    }

    fn time(&self, text: usize, weights: &Weights) -> f32 {
        let Some(time) = self.documents.times.get(text).copied() else {
            return 0.0;
        };
        let mut score = 0.0;
        if self.settings.has(Feature::Dates) && !self.asked.spans.is_empty() {
            score += weights.dates * dates::fit(&self.asked.spans, Timestamp(time));
        }
        if self.settings.has(Feature::Recency) {
            let (first, last) = self.times;
            let age =
                (last.saturating_sub(time)) as f32 / (last.saturating_sub(first)).max(1) as f32;
            score += match self.asked.tense {
                Tense::Now => 4.0 * weights.recency * (1.0 - age),
                Tense::Open => weights.recency * (1.0 - age),
                Tense::Then => 0.0,
            };
            if self.documents.superseded.get(text) == Some(&true) && self.asked.tense != Tense::Then
            {
                score += weights.superseded;
            }
        }
        score
    }
}

/// How likely a text with that sum is about what was asked: logistic regression on the same set.
pub(super) fn likelihood(sum: f32, with_dense: bool) -> f32 {
    let (slope, middle) = if with_dense { (0.5, 18.0) } else { (0.5, 14.0) };
    1.0 / (1.0 + (-slope * (sum - middle)).exp())
}
