//! How the features of a text become its score.
//!
//! The weights were fitted by pairwise logistic regression (evidence against other turns) on the development
//! set of `benches/memory`, conversation against conversation, and rounded. `benches/memory/README.md` says how
//! to fit them again.

use super::{
    Feature, Parts, Settings,
    asked::{Asked, Tense},
    dates,
    documents::{Documents, LONG, NOBODY, NONE},
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
    speaker: f32,
    asks: f32,
    time: f32,
    number: f32,
    length: f32,
    dates: f32,
    recent: f32,
    recent_now: f32,
    superseded: f32,
    with_dense: Calibration,
    without_dense: Calibration,
}

/// How a sum becomes a likelihood. The middle is where half of the answerable questions of the development set have
/// their best text; at the tenth that [`super::RELEVANT`] names, all but two in a hundred have one.
#[derive(Debug, Clone, Copy)]
struct Calibration {
    slope: f32,
    middle: f32,
}

/// Turns of conversations.
const TURNS: Weights = Weights {
    own: 7.5,
    window: 3.1,
    sitting: 2.9,
    own_question: 4.9,
    dense: 2.9,
    dense_neighbours: 5.2,
    dense_sitting: 8.1,
    speaker: 2.3,
    asks: -0.9,
    time: 1.9,
    number: 1.6,
    length: 2.3,
    dates: 4.0,
    recent: 0.4,
    recent_now: 3.0,
    superseded: -1.0,
    with_dense: Calibration {
        slope: 0.5,
        middle: 18.5,
    },
    without_dense: Calibration {
        slope: 0.5,
        middle: 14.0,
    },
};

/// Texts that stand alone.
const LONE: Weights = Weights {
    own: 10.8,
    window: 0.0,
    sitting: 0.0,
    own_question: 0.0,
    dense: 6.0,
    dense_neighbours: 0.0,
    dense_sitting: 0.0,
    length: 0.5,
    with_dense: LONE_CALIBRATION,
    without_dense: LONE_CALIBRATION,
    ..TURNS
};

const LONE_CALIBRATION: Calibration = Calibration {
    slope: 0.8,
    middle: 6.0,
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
    /// The parts of a text's score, and the logarithm of its odds to be about what was asked.
    pub fn score(&self, text: usize) -> (Parts, f32) {
        let (documents, features) = (self.documents, self.features);
        let sitting = documents.sitting.get(text).copied().unwrap_or(NONE);
        let weights = if sitting == NONE { LONE } else { TURNS };
        let own = at(&features.own, text);
        let window = if features.window.is_empty() {
            own
        } else {
            at(&features.window, text)
        };
        let parts = Parts {
            text: weights.own * own + weights.window * window,
            dense: weights.dense * at(&features.dense, text),
            context: weights.sitting * at(&features.sitting, text)
                + weights.own_question * at(&features.own_question, text)
                + weights.dense_neighbours * at(&features.dense_neighbours, text)
                + weights.dense_sitting * at(&features.dense_sitting, text),
            person: self.person(text, &weights),
            form: self.form(text, &weights),
            time: self.time(text, &weights),
        };
        let calibration = if features.dense.is_empty() {
            weights.without_dense
        } else {
            weights.with_dense
        };
        let log_odds = calibration.slope * (parts.sum() - calibration.middle);
        (parts, log_odds)
    }

    fn person(&self, text: usize, weights: &Weights) -> f32 {
        let speaker = self.documents.speaker.get(text).copied();
        let speaker = usize::from(speaker.unwrap_or(NOBODY));
        let is_person = self.persons.get(speaker).copied().unwrap_or(false);
        if self.settings.has(Feature::Speaker) && is_person {
            weights.speaker
        } else {
            0.0
        }
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
            let newness = 1.0 - age;
            score += match self.asked.tense {
                Tense::Now => weights.recent_now * newness,
                Tense::Open => weights.recent * newness,
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

/// The likelihood of which these are the log-odds.
pub(super) fn likelihood(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}
