//! How rare the words of a query are, over all indexes that it is put to.

use super::{Index, asked::Asked, documents::NONE};

/// The usual constants of BM25 (Robertson and Zaragoza, 2009).
const K1: f32 = 1.2;
const B: f32 = 0.75;

/// What scores of words are measured against.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// How many texts there are.
    pub texts: usize,
    /// By term of the query: its weight among texts, and among sittings.
    pub weights: Vec<(f32, f32)>,
    /// The scores of a text and of a sitting that hold every term without end.
    pub best: (f32, f32),
    /// Mean lengths of texts and sittings, in terms.
    pub length: f32,
    pub sitting_length: f32,
}

impl Statistics {
    pub fn of(indexes: &[&Index], asked: &Asked) -> Self {
        let texts: usize = indexes.iter().map(|index| index.live).sum();
        let total: u64 = indexes.iter().map(|index| index.total_length).sum();
        let sittings = || indexes.iter().flat_map(|index| &index.documents.sittings);
        let taken = sittings().filter(|sitting| sitting.turns > 0);
        let (count, sitting_total) = taken.fold((0_usize, 0.0_f32), |(count, total), sitting| {
            (count + 1, total + sitting.length as f32)
        });
        let weights: Vec<(f32, f32)> = asked
            .terms
            .iter()
            .map(|term| {
                let holding: usize = indexes.iter().map(|index| index.frequency(term)).sum();
                let holding_sittings: usize = indexes
                    .iter()
                    .map(|index| sittings_holding(index, term))
                    .sum();
                (
                    rarity(texts, holding),
                    // A word that is nowhere is no reason to look for another sitting.
                    if holding_sittings == 0 {
                        0.0
                    } else {
                        rarity(count, holding_sittings)
                    },
                )
            })
            .collect();
        let sum = weights.iter().fold((0.0, 0.0), |sum, weight| {
            (sum.0 + weight.0, sum.1 + weight.1)
        });
        Self {
            texts,
            weights,
            best: (sum.0 * (K1 + 1.0), sum.1 * (K1 + 1.0)),
            length: mean(total as f32, texts),
            sitting_length: mean(sitting_total, count),
        }
    }
}

impl Statistics {
    /// The share of the query's words in a text of so many terms that holds each of them once.
    pub fn share_of_all(&self, length: u32) -> f32 {
        saturated(1.0, length as f32, self.length) / (K1 + 1.0)
    }
}

/// What a term that occurs `count` times adds to a text of `length` terms, where `mean` are usual, before
/// its weight.
pub(super) fn saturated(count: f32, length: f32, mean: f32) -> f32 {
    count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / mean))
}

/// The weight of a term that `holding` of `all` texts hold.
fn rarity(all: usize, holding: usize) -> f32 {
    let (all, holding) = (all as f32, holding as f32);
    ((all - holding + 0.5) / (holding + 0.5) + 1.0)
        .ln()
        .max(0.0)
}

fn mean(total: f32, count: usize) -> f32 {
    (total / count.max(1) as f32).max(1.0)
}

fn sittings_holding(index: &Index, term: &str) -> usize {
    let mut last = NONE;
    let mut seen = std::collections::HashSet::new();
    index
        .holding(term)
        .filter_map(|(text, _)| index.documents.sitting.get(text).copied())
        .filter(|sitting| {
            // Texts of one sitting mostly stand together.
            let new = *sitting != NONE && *sitting != last && seen.insert(*sitting);
            last = *sitting;
            new
        })
        .count()
}
