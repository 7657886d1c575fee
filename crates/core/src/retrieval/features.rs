//! What the score of a text is made of, column by column.
//!
//! Every feature is comparable between queries: words are measured by the share of the query's weight that
//! a text holds, meaning by the cosine. So one set of weights fits all queries, and a low best score means
//! that nothing is there.

use super::{
    Feature, Index, Settings,
    asked::Asked,
    documents::{Documents, NONE},
    statistics::{Statistics, saturated},
};

/// What the terms of a neighbouring turn count in a window of three, beside the turn's own.
const NEIGHBOUR: f32 = 0.5;

/// The best turns of a sitting, by which its meaning is measured.
const BEST_OF_SITTING: usize = 3;

/// How much meaning is supposed of a text whose vector is not there yet, per share of the query's words
/// that it holds.
const SUPPOSED: f32 = 0.3;

/// The features of the texts of one index. A column is empty where its part of the retriever is off or
/// has nothing to go by; else it has a number for each text.
#[derive(Debug, Default)]
pub(super) struct Features {
    /// The share of the query's words in the text, by BM25.
    pub own: Vec<f32>,
    /// The same in the text and its neighbours.
    pub window: Vec<f32>,
    /// The same in the sitting, by how rare the words are among sittings.
    pub sitting: Vec<f32>,
    /// The words of the turn before, where that ends with a question.
    pub own_question: Vec<f32>,
    /// The mean of the words of the turns two before and two after.
    pub own_nearby: Vec<f32>,
    /// The cosine of text and query.
    pub dense: Vec<f32>,
    /// The mean cosine of the neighbours.
    pub dense_neighbours: Vec<f32>,
    /// The mean cosine of the best texts of the sitting.
    pub dense_sitting: Vec<f32>,
}

impl Features {
    /// The features of an index for a query.
    pub fn of(
        index: &Index,
        asked: &Asked,
        statistics: &Statistics,
        (vector, settings): (Option<&[f32]>, &Settings),
    ) -> Self {
        let documents = &index.documents;
        let mut features = Self::default();
        let own = own(index, asked, statistics);
        if settings.has(Feature::Dense)
            && let Some(vector) = vector
            && !index.vectors.is_empty()
        {
            let nearest = index.vectors.nearest(vector, documents.len());
            features.dense = supposed(nearest, &own);
        }
        let dense = &features.dense;
        if settings.has(Feature::Neighbours) && !documents.sittings.is_empty() {
            features.dense_neighbours = of_neighbours(documents, dense);
            if settings.has(Feature::Text) {
                features.own_question = of_question(documents, &own);
                features.own_nearby = of_second_neighbours(documents, &own);
                features.window = windows(index, asked, statistics);
            }
        }
        if settings.has(Feature::Sittings) && !documents.sittings.is_empty() {
            features.dense_sitting = best_of_sitting(documents, dense);
            if settings.has(Feature::Text) {
                features.sitting = by_sitting(index, asked, statistics);
            }
        }
        if settings.has(Feature::Text) {
            features.own = own;
        }
        features
    }
}

impl Features {
    /// Whether anything of a text has to do with the query.
    pub fn speak_for(&self, text: usize) -> bool {
        !self.dense.is_empty() || at(&self.own, text) > 0.0 || at(&self.window, text) > 0.0
    }
}

/// The number of a text in a column.
pub(super) fn at(column: &[f32], text: usize) -> f32 {
    column.get(text).copied().unwrap_or(0.0)
}

fn add(column: &mut [f32], text: usize, amount: f32) {
    if let Some(number) = column.get_mut(text) {
        *number += amount;
    }
}

fn per(column: &mut [f32], best: f32) {
    if best > 0.0 {
        for number in column {
            *number /= best;
        }
    }
}

fn own(index: &Index, asked: &Asked, statistics: &Statistics) -> Vec<f32> {
    let documents = &index.documents;
    let mut scores = vec![0.0; documents.len()];
    for (term, (weight, _)) in asked.terms.iter().zip(&statistics.weights) {
        for (text, count) in index.holding(term) {
            let length = documents.lengths.get(text).copied().unwrap_or_default();
            let part = saturated(count as f32, length as f32, statistics.length);
            add(&mut scores, text, weight * part);
        }
    }
    per(&mut scores, statistics.best.0);
    scores
}

/// The texts next to one in its sitting.
fn neighbours(documents: &Documents, text: usize) -> [Option<usize>; 2] {
    [&documents.previous, &documents.next].map(|column| {
        let other = column.get(text).copied().filter(|other| *other != NONE)?;
        Some(other as usize)
    })
}

fn windows(index: &Index, asked: &Asked, statistics: &Statistics) -> Vec<f32> {
    let documents = &index.documents;
    let length = |text: usize| documents.lengths.get(text).copied().unwrap_or_default() as f32;
    let mut scores = vec![0.0; documents.len()];
    let mut counts = vec![0.0_f32; documents.len()];
    let mut touched: Vec<usize> = Vec::new();
    // Windows are longer than texts; what is usual for them follows from what is usual for texts.
    let mean = statistics.length * (1.0 + 2.0 * NEIGHBOUR);
    for (term, (weight, _)) in asked.terms.iter().zip(&statistics.weights) {
        touched.clear();
        for (text, count) in index.holding(term) {
            let count = count as f32;
            add(&mut counts, text, count);
            touched.push(text);
            for other in neighbours(documents, text).into_iter().flatten() {
                add(&mut counts, other, NEIGHBOUR * count);
                touched.push(other);
            }
        }
        for text in &touched {
            let Some(count) = counts.get_mut(*text).map(std::mem::take) else {
                continue;
            };
            if count > 0.0 {
                let beside = neighbours(documents, *text).into_iter().flatten();
                let long =
                    length(*text) + beside.map(|other| NEIGHBOUR * length(other)).sum::<f32>();
                add(&mut scores, *text, weight * saturated(count, long, mean));
            }
        }
    }
    per(&mut scores, statistics.best.0);
    scores
}

fn by_sitting(index: &Index, asked: &Asked, statistics: &Statistics) -> Vec<f32> {
    let documents = &index.documents;
    let sittings = &documents.sittings;
    let mut scores = vec![0.0; sittings.len()];
    let mut counts = vec![0.0_f32; sittings.len()];
    for (term, (_, weight)) in asked.terms.iter().zip(&statistics.weights) {
        counts.fill(0.0);
        for (text, count) in index.holding(term) {
            let sitting = documents.sitting.get(text).copied().unwrap_or(NONE);
            add(&mut counts, sitting as usize, count as f32);
        }
        for ((score, count), sitting) in scores.iter_mut().zip(&counts).zip(sittings) {
            let length = sitting.length as f32;
            *score += weight * saturated(*count, length, statistics.sitting_length);
        }
    }
    per(&mut scores, statistics.best.1);
    spread(documents, &scores)
}

/// The number of each text's sitting.
fn spread(documents: &Documents, of_sittings: &[f32]) -> Vec<f32> {
    let sittings = documents.sitting.iter();
    sittings
        .map(|sitting| at(of_sittings, *sitting as usize))
        .collect()
}

/// What is supposed where no vector is: what is usual for texts, and more where words fit.
fn supposed(mut dense: Vec<f32>, own: &[f32]) -> Vec<f32> {
    let (mut sum, mut count) = (0.0, 0.0_f32);
    for cosine in dense.iter().filter(|cosine| !cosine.is_nan()) {
        sum += cosine;
        count += 1.0;
    }
    let usual = sum / count.max(1.0);
    for (cosine, own) in dense.iter_mut().zip(own) {
        if cosine.is_nan() {
            *cosine = usual + SUPPOSED * own;
        }
    }
    dense
}

fn of_neighbours(documents: &Documents, column: &[f32]) -> Vec<f32> {
    if column.is_empty() {
        return Vec::new();
    }
    (0..documents.len())
        .map(|text| {
            let beside = neighbours(documents, text).into_iter().flatten();
            beside.map(|other| at(column, other)).sum::<f32>() / 2.0
        })
        .collect()
}

fn of_second_neighbours(documents: &Documents, column: &[f32]) -> Vec<f32> {
    let second = |links: &[u32], text: usize| {
        let first = links.get(text).copied().unwrap_or(NONE);
        let second = links.get(first as usize).copied().unwrap_or(NONE);
        at(column, second as usize)
    };
    (0..documents.len())
        .map(|text| (second(&documents.previous, text) + second(&documents.next, text)) / 2.0)
        .collect()
}

/// The number of the turn before, where that asks something.
fn of_question(documents: &Documents, column: &[f32]) -> Vec<f32> {
    if column.is_empty() {
        return Vec::new();
    }
    let before = documents.previous.iter().map(|before| *before as usize);
    before
        .map(|before| match documents.forms.get(before) {
            Some(form) if form.asks() => at(column, before),
            _ => 0.0,
        })
        .collect()
}

fn best_of_sitting(documents: &Documents, column: &[f32]) -> Vec<f32> {
    if column.is_empty() {
        return Vec::new();
    }
    let mut best = vec![[f32::MIN; BEST_OF_SITTING]; documents.sittings.len()];
    for (sitting, number) in documents.sitting.iter().zip(column) {
        let Some(best) = best.get_mut(*sitting as usize) else {
            continue;
        };
        // The smallest of the best gives way.
        let mut number = *number;
        for kept in best {
            if number > *kept {
                std::mem::swap(kept, &mut number);
            }
        }
    }
    let means: Vec<f32> = best
        .iter()
        .map(|best| {
            let there = best.iter().filter(|number| **number > f32::MIN);
            let (sum, count) =
                there.fold((0.0, 0.0_f32), |(sum, n), number| (sum + number, n + 1.0));
            sum / count.max(1.0)
        })
        .collect();
    spread(documents, &means)
}
