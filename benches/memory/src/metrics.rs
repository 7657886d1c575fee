//! The figures of retrieval, as functions of ranks and scores.

use crate::random::Random;

/// How often figures are drawn anew for an interval.
const DRAWS: usize = 2_000;

/// The share of the evidence among the first `k`; ranks count from 0, `None` is not found.
#[must_use]
pub fn recall(ranks: &[Option<usize>], k: usize) -> f64 {
    let within = ranks.iter().flatten().filter(|rank| **rank < k).count();
    within as f64 / (ranks.len() as f64).max(1.0)
}

/// Normalised discounted cumulative gain among the first `k`, where evidence is relevant and nothing else.
#[must_use]
pub fn ndcg(ranks: &[Option<usize>], k: usize) -> f64 {
    let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let within = ranks.iter().flatten().filter(|rank| **rank < k);
    let gain: f64 = within.map(|rank| discount(*rank)).sum();
    let ideal: f64 = (0..ranks.len().min(k)).map(discount).sum();
    (gain + 0.0) / ideal.max(f64::MIN_POSITIVE)
}

/// One over the place of the first evidence.
#[must_use]
pub fn reciprocal_rank(ranks: &[Option<usize>]) -> f64 {
    let first = ranks.iter().flatten().min();
    first.map_or(0.0, |rank| 1.0 / (*rank as f64 + 1.0))
}

/// How likely a value of the first kind is larger than one of the second (area under the ROC curve; Mann
/// and Whitney's U over the number of pairs). `None` when one of them is empty.
#[must_use]
pub fn auroc(larger: &[f32], smaller: &[f32]) -> Option<f64> {
    if larger.is_empty() || smaller.is_empty() {
        return None;
    }
    let mut all: Vec<(f32, bool)> = larger.iter().map(|value| (*value, true)).collect();
    all.extend(smaller.iter().map(|value| (*value, false)));
    all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (mut below, mut wins) = (0.0, 0.0);
    for equal in all.chunk_by(|(a, _), (b, _)| a.total_cmp(b).is_eq()) {
        let of_larger = equal.iter().filter(|(_, is_larger)| *is_larger).count() as f64;
        let of_smaller = equal.len() as f64 - of_larger;
        wins += of_larger * (below + of_smaller / 2.0);
        below += of_smaller;
    }
    Some(wins / (larger.len() as f64 * smaller.len() as f64))
}

/// The mean; 0 of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    // The sum of nothing is -0.
    (values.iter().sum::<f64>() + 0.0) / (values.len() as f64).max(1.0)
}

/// The interval that holds a mean with 95 % certainty, by drawing questions anew (percentile bootstrap).
#[must_use]
pub fn interval(values: &[f64]) -> (f64, f64) {
    let mut random = Random::new(1);
    let mut means: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let draw = |_| values.get(random.below(values.len())).copied();
            let drawn: Vec<f64> = (0..values.len()).filter_map(draw).collect();
            mean(&drawn)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    (quantile(&means, 0.025), quantile(&means, 0.975))
}

/// A quantile of sorted values; 0 of nothing.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    let place = (last * share).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn recall_is_the_share_of_the_evidence_within_the_first() {
        let ranks = [Some(0), Some(9), Some(10), None];
        close(recall(&ranks, 10), 0.5);
        close(recall(&ranks, 11), 0.75);
        close(recall(&ranks, 1), 0.25);
    }

    #[test]
    fn ndcg_is_one_for_the_best_order_and_less_for_others() {
        close(ndcg(&[Some(0), Some(1)], 10), 1.0);
        close(ndcg(&[Some(2)], 10), 0.5);
        close(ndcg(&[None, Some(10)], 10), 0.0);
        // More evidence than places: the best that is possible is still 1.
        close(ndcg(&[Some(0), Some(1), None], 2), 1.0);
    }

    #[test]
    fn the_reciprocal_rank_is_that_of_the_first_evidence() {
        close(reciprocal_rank(&[Some(7), Some(3)]), 0.25);
        close(reciprocal_rank(&[None]), 0.0);
    }

    #[test]
    fn auroc_is_the_share_of_pairs_in_order() {
        assert_eq!(auroc(&[3.0, 2.0], &[1.0, 0.5]), Some(1.0));
        assert_eq!(auroc(&[1.0], &[1.0]), Some(0.5));
        assert_eq!(auroc(&[0.0, 2.0], &[1.0, 3.0]), Some(0.25));
        assert_eq!(auroc(&[], &[1.0]), None);
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows_with_more_values() {
        let values = |count: usize| -> Vec<f64> { (0..count).map(|i| (i % 2) as f64).collect() };
        let (low, high) = interval(&values(40));
        assert!(low < 0.5 && 0.5 < high);
        let (nearer_low, nearer_high) = interval(&values(4_000));
        assert!(nearer_high - nearer_low < (high - low) / 5.0);
        // A share of 0.5 of 4,000 has the standard error 0.0079.
        assert!((nearer_high - nearer_low - 2.0 * 1.96 * 0.0079).abs() < 0.004);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (0..=100).map(f64::from).collect();
        close(quantile(&sorted, 0.99), 99.0);
        close(quantile(&[], 0.5), 0.0);
    }
}
