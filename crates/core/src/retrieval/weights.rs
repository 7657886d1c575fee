//! How the features of a text become its score.
//!
//! The weights come from pairwise logistic regression (evidence against the other turns of its conversation) on the
//! development set of `benches/memory`, where each conversation was judged by weights fitted on the others, and were
//! rounded. That of dates is set by hand: few questions there name one.

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
    own_nearby: f32,
    dense: f32,
    dense_neighbours: f32,
    dense_sitting: f32,
    speaker: f32,
    asks: f32,
    time: f32,
    number: f32,
    length: f32,
    dates: f32,
    superseded: f32,
    with_dense: Calibration,
    without_dense: Calibration,
}

/// How a sum becomes the likelihood that a text answers: logistic regression over the best hits of all
/// questions of the development set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calibration {
    slope: f32,
    middle: f32,
    /// The sum from which on a text may be relevant: of 98 in 100 questions that can be answered, the
    /// best text reaches it.
    relevant: f32,
}

impl Calibration {
    /// The logarithm of the odds that a text with that sum answers.
    pub fn log_odds(self, sum: f32) -> f32 {
        self.slope * (sum - self.middle)
    }

    /// The likelihood that a text with that sum answers.
    pub fn likelihood(self, sum: f32) -> f32 {
        1.0 / (1.0 + (-self.log_odds(sum)).exp())
    }

    /// Whether a text with that sum may have to do with the query.
    pub const fn may_be_relevant(self, sum: f32) -> bool {
        sum >= self.relevant
    }
}

/// Turns of conversations.
const TURNS: Weights = Weights {
    own: 10.0,
    window: 4.5,
    sitting: 3.4,
    own_question: 7.0,
    own_nearby: 8.0,
    dense: 3.1,
    dense_neighbours: 4.9,
    dense_sitting: 8.7,
    speaker: 2.7,
    asks: -1.0,
    time: 2.0,
    number: 2.2,
    length: 2.0,
    dates: 4.0,
    superseded: -1.0,
    with_dense: Calibration {
        slope: 0.3,
        middle: 26.5,
        relevant: 14.0,
    },
    without_dense: Calibration {
        slope: 0.5,
        middle: 18.0,
        relevant: 10.0,
    },
};

/// Texts that stand alone. They are written to be found, so that more of the good matches answer than among
/// turns; their calibration is set by hand: a text that holds all words of the query answers more likely than not,
/// one that holds half of them or means much the same, in one of five cases.
const LONE: Weights = Weights {
    own: 10.8,
    window: 0.0,
    sitting: 0.0,
    own_question: 0.0,
    own_nearby: 0.0,
    dense: 6.0,
    dense_neighbours: 0.0,
    dense_sitting: 0.0,
    length: 0.5,
    with_dense: Calibration {
        slope: 0.8,
        middle: 6.0,
        relevant: 3.0,
    },
    without_dense: Calibration {
        slope: 0.8,
        middle: 5.3,
        relevant: 2.4,
    },
    ..TURNS
};

/// Scores the texts of one index.
pub(super) struct Scorer<'a> {
    pub documents: &'a Documents,
    pub features: &'a Features,
    pub asked: &'a Asked,
    pub settings: &'a Settings,
    /// By speaker: whether it is the one who is asked about.
    pub persons: Vec<bool>,
}

impl Scorer<'_> {
    /// The parts of a text's score, and what their sum means.
    pub fn score(&self, text: usize) -> (Parts, Calibration) {
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
                + weights.own_nearby * at(&features.own_nearby, text)
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
        (parts, calibration)
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
        let is_past = self.documents.superseded.get(text) == Some(&true);
        if self.settings.has(Feature::Recency) && is_past && self.asked.tense != Tense::Past {
            score += weights.superseded;
        }
        score
    }
}

/// What is added, among the best texts, to the newest of all and in proportion to those between, when a query
/// asks what is the case: what was said last is what is true. Fitted to the questions about changes.
pub(super) const fn preference_for_new(tense: Tense) -> f32 {
    match tense {
        Tense::Now => 6.0,
        Tense::Present => 4.0,
        Tense::Past | Tense::Open => 0.0,
    }
}
