//! What scores promise, and what would make them keep it.

use serde::Serialize;

use crate::{judge::Judged, metrics};

/// Bins of scores.
const BINS: usize = 10;

/// Steps of Newton's method; it converges in fewer.
const STEPS: usize = 50;

/// Hits with about the same score.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Bin {
    /// The lowest score.
    pub from: f64,
    /// How many hits.
    pub hits: usize,
    /// Their mean score.
    pub score: f64,
    /// The share of them that is evidence.
    pub evidence: f64,
}

/// A likelihood `1 / (1 + exp(-slope * (sum - middle)))` of the sum of a score's parts.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Likelihood {
    /// How fast it grows.
    pub slope: f64,
    /// The sum at which it is one half.
    pub middle: f64,
}

/// A bound of the best score, below which nothing relevant was found.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Threshold {
    /// The score.
    pub score: f64,
    /// The share of answerable questions above it.
    pub answerable_above: f64,
    /// The share of unanswerable questions below it.
    pub unanswerable_below: f64,
}

/// How scores and labels go together.
#[derive(Debug, Clone, Serialize)]
pub struct Calibration {
    /// The first ten hits of all questions by their scores.
    pub bins: Vec<Bin>,
    /// The mean distance of score and share of evidence in the bins, weighted by their hits.
    pub error: f64,
    /// The likelihood that fits these hits best.
    pub fitted: Option<Likelihood>,
    /// The bound that tells answerable from unanswerable questions best.
    pub threshold: Option<Threshold>,
}

impl Calibration {
    /// Compares scores with labels.
    #[must_use]
    pub fn of(judged: &[Judged]) -> Self {
        let hits = judged.iter().flat_map(|one| &one.first);
        let bins = bins(
            hits.clone()
                .map(|hit| (f64::from(hit.score), hit.is_evidence)),
        );
        let all: usize = bins.iter().map(|bin| bin.hits).sum();
        let off = bins
            .iter()
            .map(|bin| (bin.score - bin.evidence).abs() * bin.hits as f64);
        let pairs: Vec<(f64, bool)> = hits
            .map(|hit| (f64::from(hit.sum), hit.is_evidence))
            .collect();
        Self {
            error: off.sum::<f64>() / (all as f64).max(1.0),
            bins,
            fitted: fit(&pairs),
            threshold: threshold(judged),
        }
    }
}

fn bins(hits: impl Iterator<Item = (f64, bool)>) -> Vec<Bin> {
    let mut bins: Vec<Vec<(f64, bool)>> = vec![Vec::new(); BINS];
    for (score, is_evidence) in hits {
        let bin = (score * BINS as f64).clamp(0.0, (BINS - 1) as f64) as usize;
        if let Some(bin) = bins.get_mut(bin) {
            bin.push((score, is_evidence));
        }
    }
    let bin = |(number, hits): (usize, Vec<(f64, bool)>)| {
        let scores: Vec<f64> = hits.iter().map(|(score, _)| *score).collect();
        let evidence: Vec<f64> = hits.iter().map(|(_, is)| f64::from(*is)).collect();
        Bin {
            from: number as f64 / BINS as f64,
            hits: hits.len(),
            score: metrics::mean(&scores),
            evidence: metrics::mean(&evidence),
        }
    };
    bins.into_iter().enumerate().map(bin).collect()
}

/// Logistic regression with one variable, by Newton's method. `None` when the two kinds are not mixed.
fn fit(pairs: &[(f64, bool)]) -> Option<Likelihood> {
    let sums: Vec<f64> = pairs.iter().map(|(sum, _)| *sum).collect();
    let center = metrics::mean(&sums);
    let (mut slope, mut offset) = (0.0, 0.0);
    for _ in 0..STEPS {
        // Gradient and Hessian of the log likelihood.
        let (mut g0, mut g1, mut h00, mut h01, mut h11) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (sum, is_evidence) in pairs {
            let x = sum - center;
            let likely = 1.0 / (1.0 + f64::exp(-(offset + slope * x)));
            let off = f64::from(*is_evidence) - likely;
            let weight = likely * (1.0 - likely);
            (g0, g1) = (g0 + off, g1 + off * x);
            (h00, h01, h11) = (h00 + weight, h01 + weight * x, h11 + weight * x * x);
        }
        let determinant = h00 * h11 - h01 * h01;
        if determinant.abs() < 1e-9 {
            return None;
        }
        offset += (h11 * g0 - h01 * g1) / determinant;
        slope += (h00 * g1 - h01 * g0) / determinant;
    }
    let middle = center - offset / slope;
    (slope.is_finite() && middle.is_finite()).then_some(Likelihood { slope, middle })
}

/// The bound with the largest sum of both shares (Youden's index).
fn threshold(judged: &[Judged]) -> Option<Threshold> {
    let scores = |answerable: bool| -> Vec<f64> {
        let of = judged.iter().filter(|one| one.answerable == answerable);
        of.map(|one| f64::from(one.best_score)).collect()
    };
    let (answerable, unanswerable) = (scores(true), scores(false));
    if answerable.is_empty() || unanswerable.is_empty() {
        return None;
    }
    let share = |scores: &[f64], holds: &dyn Fn(f64) -> bool| {
        scores.iter().filter(|score| holds(**score)).count() as f64 / scores.len() as f64
    };
    let bounds = answerable.iter().chain(&unanswerable);
    let thresholds = bounds.map(|bound| Threshold {
        score: *bound,
        answerable_above: share(&answerable, &|score| score >= *bound),
        unanswerable_below: share(&unanswerable, &|score| score < *bound),
    });
    let gain = |one: &Threshold| one.answerable_above + one.unanswerable_below;
    thresholds.max_by(|a, b| gain(a).total_cmp(&gain(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn hits_are_counted_by_their_scores() {
        let bins = bins([(0.91, true), (1.0, false), (0.05, false)].into_iter());
        assert_eq!((bins[9].hits, bins[9].evidence), (2, 0.5));
        assert_eq!((bins[0].hits, bins[0].evidence), (1, 0.0));
    }

    #[test]
    fn the_likelihood_that_made_the_labels_is_found_again() {
        let mut random = Random::new(1);
        let mut unit = || random.below(1_000_000) as f64 / 1e6;
        let pairs: Vec<(f64, bool)> = (0..20_000)
            .map(|_| {
                let sum = 10.0 + 16.0 * unit();
                (sum, unit() < 1.0 / (1.0 + f64::exp(-0.7 * (sum - 18.0))))
            })
            .collect();
        let fitted = fit(&pairs).unwrap();
        assert!((fitted.slope - 0.7).abs() < 0.03, "{fitted:?}");
        assert!((fitted.middle - 18.0).abs() < 0.1, "{fitted:?}");
        assert!(fit(&[(1.0, true), (2.0, true)]).is_none());
    }
}
