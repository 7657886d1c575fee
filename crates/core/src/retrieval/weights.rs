//! How the features of a text become its score.
//!
//! The weights come from pairwise logistic regression (evidence against the other turns of its conversation) on the
//! development set of `benches/memory`, where each conversation was judged by weights fitted on the others, and were
//! rounded. That of dates is set by hand: few questions there name one.

use std::sync::LazyLock;

use super::{
    Feature, Index, Parts, Settings,
    asked::{Asked, Tense},
    dates,
    documents::{LONG, NOBODY},
    features::{Features, at},
    statistics::Statistics,
};
use crate::time::Timestamp;

/// Terms by which a question that is asked again may be longer than the query.
const ECHO_WORDS: u32 = 2;
/// The share of the query's words, of that of a text that holds them all, from which on it is one.
const ECHO_SHARE: f32 = 0.9;

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
    echo: f32,
    time: f32,
    number: f32,
    length: f32,
    dates: f32,
    superseded: f32,
    with_dense: Calibration,
    without_dense: Calibration,
}

/// How a sum becomes the likelihood that a text answers: logistic regression over the best hits of all
/// questions of the development set, put to whole conversations and to excerpts of 6 to 96 turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calibration {
    slope: f32,
    middle: f32,
    /// The sum from which on a text may be relevant: of 96 in 100 questions that can be answered, the
    /// best text reaches it; of two in three that were put to another conversation, none does.
    relevant: f32,
    /// How much the middle and that bound grow with the logarithm of the number of texts: among many,
    /// more texts fit by chance.
    growth: (f32, f32),
}

/// Numbers of texts for which the growth was measured.
const MEASURED: (f32, f32) = (6.0, 1_000.0);

impl Calibration {
    /// As it is among so many texts.
    fn among(self, texts: usize) -> Self {
        let many = (texts as f32).clamp(MEASURED.0, MEASURED.1).ln();
        Self {
            middle: self.middle + self.growth.0 * many,
            relevant: self.relevant + self.growth.1 * many,
            ..self
        }
    }

    /// The logarithm of the odds that a text with that sum answers.
    pub fn log_odds(self, sum: f32) -> f32 {
        self.slope * (sum - self.middle)
    }

    /// The sum that is worth so much.
    pub fn sum_of(self, log_odds: f32) -> f32 {
        log_odds / self.slope
    }

    /// Whether a text with that sum may have to do with the query.
    pub const fn may_be_relevant(self, sum: f32) -> bool {
        sum >= self.relevant
    }
}

/// The likelihood with those odds.
pub(super) fn likelihood(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
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
    echo: -9.0,
    time: 2.0,
    number: 2.2,
    length: 2.0,
    dates: 4.0,
    superseded: -1.0,
    with_dense: Calibration {
        slope: 0.3,
        middle: 18.4,
        relevant: 12.0,
        growth: (1.45, 0.62),
    },
    without_dense: Calibration {
        slope: 0.42,
        middle: 11.6,
        relevant: 8.5,
        growth: (1.3, 0.3),
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
    echo: -4.0,
    length: 0.5,
    with_dense: Calibration {
        slope: 0.8,
        middle: 6.0,
        relevant: 3.0,
        growth: (0.0, 0.0),
    },
    without_dense: Calibration {
        slope: 0.8,
        middle: 5.3,
        relevant: 2.4,
        growth: (0.0, 0.0),
    },
    ..TURNS
};

/// What sums mean among so many texts: of texts that stand alone, and of turns.
pub(super) fn calibrations(texts: usize, has_dense: bool) -> [Calibration; 2] {
    [LONE, TURNS].map(|weights| {
        let of_one = if has_dense {
            weights.with_dense
        } else {
            weights.without_dense
        };
        of_one.among(texts)
    })
}

/// By the length of a text, up to [`LONG`], what the weight of its length is taken times.
static LENGTHS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..=LONG)
        .map(|length| ((1 + length) as f32).ln())
        .collect()
});

/// Scores the texts of one index.
pub(super) struct Scorer<'a> {
    pub index: &'a Index,
    pub features: &'a Features,
    pub asked: &'a Asked,
    pub statistics: &'a Statistics,
    pub settings: &'a Settings,
    /// By speaker: whether it is the one who is asked about.
    pub persons: Vec<bool>,
    /// By speaker: whether what bears their name is a turn.
    pub talkers: Vec<bool>,
    /// What sums mean, for texts that stand alone and for turns.
    pub calibrations: [Calibration; 2],
}

impl Scorer<'_> {
    /// The parts of a text's score, and what their sum means.
    pub fn score(&self, text: usize) -> (Parts, Calibration) {
        let features = self.features;
        let [of_lone, of_turns] = self.calibrations;
        let (weights, calibration) = if self.is_turn(text) {
            (&TURNS, of_turns)
        } else {
            (&LONE, of_lone)
        };
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
            person: self.person(text, weights),
            form: self.form(text, weights),
            time: self.time(text, weights),
        };
        (parts, calibration)
    }

    fn speaker(&self, text: usize) -> usize {
        let speaker = self.index.documents.speaker.get(text).copied();
        usize::from(speaker.unwrap_or(NOBODY))
    }

    fn is_turn(&self, text: usize) -> bool {
        let talks = || self.talkers.get(self.speaker(text)).copied();
        self.index.is_talk() || talks().unwrap_or(false)
    }

    /// Whether a text is the query once more, or part of it: whoever asks again wants the answer.
    fn is_echo(&self, text: usize) -> bool {
        let length = self.index.documents.lengths.get(text).copied();
        let length = length.unwrap_or_default();
        let all = self.statistics.share_of_all(length);
        length <= self.asked.length + ECHO_WORDS && at(&self.features.own, text) >= ECHO_SHARE * all
    }

    fn person(&self, text: usize, weights: &Weights) -> f32 {
        let is_person = self.persons.get(self.speaker(text)).copied();
        let is_person = is_person.unwrap_or(false);
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
        let form = self
            .index
            .documents
            .forms
            .get(text)
            .copied()
            .unwrap_or_default();
        let length = self
            .index
            .documents
            .lengths
            .get(text)
            .copied()
            .unwrap_or_default();
        let given = |weight: f32, holds: bool| if holds { weight } else { 0.0 };
        given(weights.asks, form.asks())
            + given(weights.echo, form.asks() && self.is_echo(text))
            + given(weights.time, self.asked.when && form.tells_time())
            + given(weights.number, self.asked.how_many && form.tells_number())
            + weights.length * at(&LENGTHS, length.min(LONG) as usize)
    }

    fn time(&self, text: usize, weights: &Weights) -> f32 {
        let documents = &self.index.documents;
        let Some(time) = documents.times.get(text).copied() else {
            return 0.0;
        };
        let mut score = 0.0;
        if self.settings.has(Feature::Dates) && !self.asked.spans.is_empty() {
            score += weights.dates * dates::fit(&self.asked.spans, Timestamp(time));
        }
        let is_past = documents.superseded.get(text) == Some(&true);
        if self.settings.has(Feature::Recency) && is_past && self.asked.tense != Tense::Past {
            score += weights.superseded;
        }
        score
    }
}

/// What is added to the logarithm of the odds of the newest of the best texts, and in proportion to those
/// between, when a query asks what is the case: what was said last is what is true. Fitted to the questions
/// about changes.
pub(super) const fn preference_for_new(tense: Tense) -> f32 {
    match tense {
        Tense::Now => 2.0,
        Tense::Present => 1.4,
        Tense::Past | Tense::Open => 0.0,
    }
}
