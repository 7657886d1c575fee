//! Quantiles of measured times.

use serde::Serialize;

/// Times of one kind, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantiles {
    /// How many were measured.
    pub count: usize,
    /// The median.
    pub p50: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Quantiles {
    /// The quantiles of times in milliseconds; all zero when there are none.
    #[must_use]
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = times.len().saturating_sub(1) as f64;
            times
                .get((last * share).round() as usize)
                .copied()
                .unwrap_or(0.0)
        };
        Self {
            count: times.len(),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let found = Quantiles::of((1..=100).rev().map(f64::from).collect());
        assert_eq!((found.count, found.max), (100, 100.0));
        assert!((50.0..=51.0).contains(&found.p50) && (98.0..=100.0).contains(&found.p99));
        assert_eq!(Quantiles::of(Vec::new()).max, 0.0);
    }
}
