//! The figures of a way to rank over all questions.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    calibration::Calibration,
    judge::{BUDGETS, Judged},
    metrics,
};

/// How many of the first hits count.
pub const CUTS: [usize; 3] = [5, 10, 20];

/// Figures of evidence; each list belongs to [`CUTS`].
#[derive(Debug, Clone, Serialize)]
pub struct Evidence {
    /// Questions that have evidence.
    pub questions: usize,
    /// The share of the evidence that is found, averaged over questions.
    pub recall: [f64; CUTS.len()],
    /// The share of questions of which some evidence is found.
    pub any: [f64; CUTS.len()],
    /// The share of questions of which all evidence is found.
    pub all: [f64; CUTS.len()],
}

/// A difference with the interval that holds it with 95 % certainty.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Difference {
    /// The difference.
    pub mean: f64,
    /// The interval.
    pub interval: (f64, f64),
}

/// Questions by whether they have an answer and what the retriever said.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Confusion {
    /// Unanswerable, and it said that nothing is relevant.
    pub rightly_nothing: usize,
    /// Unanswerable, and it did not say so.
    pub wrongly_something: usize,
    /// Answerable, and it said that nothing is relevant.
    pub wrongly_nothing: usize,
    /// Answerable, and it did not say so.
    pub rightly_something: usize,
}

/// All figures of a way to rank.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// The figures of evidence.
    pub evidence: Evidence,
    /// The interval of the recall at 10.
    pub recall_at_10_interval: (f64, f64),
    /// The recall at 10 less that of the whole retriever, question by question.
    pub against_whole: Option<Difference>,
    /// Normalised discounted cumulative gain at 10.
    pub ndcg_at_10: f64,
    /// Mean reciprocal rank.
    pub mrr: f64,
    /// Questions about what changed.
    pub updates: usize,
    /// The share of them whose current statement ranks above all outdated ones.
    pub updates_in_order: Option<f64>,
    /// The share of them whose current statement is among the first five.
    pub updates_in_five: Option<f64>,
    /// How well the best score tells answerable from unanswerable questions.
    pub auroc: Option<f64>,
    /// What the retriever said of them.
    pub nothing_relevant: Option<Confusion>,
    /// The share of the evidence that 500, 1,000 and 2,000 tokens hold.
    pub kept: [f64; BUDGETS.len()],
    /// Milliseconds of a query, median and 99 of 100.
    pub milliseconds: (f64, f64),
    /// What the scores promise; plain ways promise nothing.
    pub calibration: Option<Calibration>,
    /// The figures of evidence of each kind of question.
    pub kinds: BTreeMap<String, Evidence>,
}

/// The recall at 10 of each question that has evidence, by which variants are compared.
#[must_use]
pub fn recalls(judged: &[Judged]) -> Vec<f64> {
    let counted = judged.iter().filter(|one| one.has_evidence());
    counted.map(|one| metrics::recall(&one.ranks, 10)).collect()
}

/// Sums up. `whole` is the recall of the whole retriever, when it was measured and is another one.
#[must_use]
pub fn sum_up(name: &str, judged: &[Judged], whole: Option<&[f64]>) -> Summary {
    let counted: Vec<&Judged> = judged.iter().filter(|one| one.has_evidence()).collect();
    let over = |of: &dyn Fn(&Judged) -> f64| {
        let values: Vec<f64> = counted.iter().map(|one| of(one)).collect();
        metrics::mean(&values)
    };
    let recalls = recalls(judged);
    let against = |whole: &[f64]| {
        let pairs = recalls.iter().zip(whole);
        let differences: Vec<f64> = pairs.map(|(own, whole)| own - whole).collect();
        Difference {
            mean: metrics::mean(&differences),
            interval: metrics::interval(&differences),
        }
    };
    let says = judged.iter().any(|one| one.nothing_relevant.is_some());
    Summary {
        name: name.to_owned(),
        evidence: evidence(&counted),
        recall_at_10_interval: metrics::interval(&recalls),
        against_whole: whole.map(against),
        ndcg_at_10: over(&|one| metrics::ndcg(&one.ranks, 10)),
        mrr: over(&|one| metrics::reciprocal_rank(&one.ranks)),
        updates: judged.iter().filter(|one| one.update.is_some()).count(),
        updates_in_order: share(judged.iter().filter_map(Judged::update_in_order)),
        updates_in_five: share(judged.iter().filter_map(Judged::update_in_five)),
        auroc: auroc(judged),
        nothing_relevant: says.then(|| confusion(judged)),
        kept: std::array::from_fn(|place| {
            over(&|one| one.kept.get(place).copied().unwrap_or_default())
        }),
        milliseconds: milliseconds(judged),
        calibration: says.then(|| Calibration::of(judged)),
        kinds: kinds(judged),
    }
}

fn evidence(judged: &[&Judged]) -> Evidence {
    let recall = |one: &&Judged, k: usize| metrics::recall(&one.ranks, k);
    let mean = |of: &dyn Fn(f64) -> f64, k: usize| {
        let values: Vec<f64> = judged.iter().map(|one| of(recall(one, k))).collect();
        metrics::mean(&values)
    };
    Evidence {
        questions: judged.len(),
        recall: CUTS.map(|k| mean(&|recall| recall, k)),
        any: CUTS.map(|k| mean(&|recall| f64::from(recall > 0.0), k)),
        all: CUTS.map(|k| mean(&|recall| f64::from(recall >= 1.0), k)),
    }
}

/// Kinds by their names; what is unanswerable has its own row where it has evidence all the same.
fn kinds(judged: &[Judged]) -> BTreeMap<String, Evidence> {
    let mut kinds: BTreeMap<String, Vec<&Judged>> = BTreeMap::new();
    for one in judged.iter().filter(|one| !one.ranks.is_empty()) {
        kinds.entry(one.kind.clone()).or_default().push(one);
    }
    kinds
        .into_iter()
        .map(|(kind, judged)| (kind, evidence(&judged)))
        .collect()
}

fn share(values: impl Iterator<Item = bool>) -> Option<f64> {
    let values: Vec<f64> = values.map(f64::from).collect();
    (!values.is_empty()).then(|| metrics::mean(&values))
}

fn auroc(judged: &[Judged]) -> Option<f64> {
    let scores = |answerable: bool| -> Vec<f32> {
        let of = judged.iter().filter(|one| one.answerable == answerable);
        of.map(|one| one.best_score).collect()
    };
    metrics::auroc(&scores(true), &scores(false))
}

fn confusion(judged: &[Judged]) -> Confusion {
    let mut confusion = Confusion::default();
    for one in judged {
        let cell = match (one.answerable, one.nothing_relevant.unwrap_or(false)) {
            (false, true) => &mut confusion.rightly_nothing,
            (false, false) => &mut confusion.wrongly_something,
            (true, true) => &mut confusion.wrongly_nothing,
            (true, false) => &mut confusion.rightly_something,
        };
        *cell += 1;
    }
    confusion
}

fn milliseconds(judged: &[Judged]) -> (f64, f64) {
    let times = judged.iter().map(|one| one.took.as_secs_f64() * 1e3);
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    (
        metrics::quantile(&times, 0.5),
        metrics::quantile(&times, 0.99),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judged(kind: &str, answerable: bool, ranks: &[Option<usize>], best_score: f32) -> Judged {
        Judged {
            kind: kind.into(),
            answerable,
            ranks: ranks.to_vec(),
            update: None,
            best_score,
            nothing_relevant: Some(best_score < 0.3),
            kept: [0.0, 0.5, 1.0],
            first: Vec::new(),
            took: Duration::from_millis(2),
        }
    }

    fn four() -> Vec<Judged> {
        vec![
            judged("single", true, &[Some(0)], 0.9),
            judged("multi", true, &[Some(0), Some(12)], 0.2),
            judged("none", false, &[], 0.1),
            judged("adversarial", false, &[Some(0)], 0.4),
        ]
    }

    #[test]
    fn evidence_is_averaged_over_the_questions_that_have_an_answer() {
        let summary = sum_up("x", &four(), None);
        assert_eq!(summary.evidence.questions, 2);
        assert_eq!(summary.evidence.recall, [0.75, 0.75, 1.0]);
        assert_eq!(summary.evidence.any, [1.0, 1.0, 1.0]);
        assert_eq!(summary.evidence.all, [0.5, 0.5, 1.0]);
        assert_eq!(summary.kept, [0.0, 0.5, 1.0]);
    }

    #[test]
    fn questions_without_an_answer_count_for_what_is_said_of_them() {
        let summary = sum_up("x", &four(), None);
        assert_eq!(summary.auroc, Some(0.75));
        let confusion = summary.nothing_relevant.unwrap();
        assert_eq!(
            (confusion.rightly_nothing, confusion.wrongly_something),
            (1, 1)
        );
        assert_eq!(
            (confusion.wrongly_nothing, confusion.rightly_something),
            (1, 1)
        );
        assert_eq!(summary.kinds["adversarial"].recall, [1.0; 3]);
        assert!(!summary.kinds.contains_key("none"));
    }

    #[test]
    fn variants_are_compared_with_the_whole_question_by_question() {
        let whole = [1.0, 1.0];
        let against = sum_up("x", &four(), Some(&whole)).against_whole.unwrap();
        assert!((against.mean + 0.25).abs() < 1e-9);
        assert!(against.interval.0 < -0.4 && against.interval.1 >= -1e-9);
    }
}
