//! Plain ways to rank turns.

use std::collections::BTreeMap;

use super::{Found, bm25::Bm25};
use crate::{conversation::Turn, corpus::Corpus};

/// The constant of reciprocal rank fusion (Cormack, Clarke, Büttcher, 2009).
const RRF: f32 = 60.0;

/// A plain way to rank turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// BM25 of each turn.
    Bm25,
    /// BM25 of each turn with the one before and the one after.
    Windows,
    /// The nearest vectors.
    Dense,
    /// Rank fusion of BM25 and vectors.
    FusedTwo,
    /// Rank fusion of BM25, vectors and BM25 of windows.
    FusedThree,
    /// The sum of BM25's and the vectors' scores, each over its largest, smoothed over neighbours, plus the
    /// session's BM25.
    Smoothed,
}

impl Baseline {
    /// Whether it is nothing without vectors.
    #[must_use]
    pub const fn needs_vectors(self) -> bool {
        !matches!(self, Self::Bm25 | Self::Windows)
    }
}

/// A conversation indexed for the plain ways.
pub struct Plain<'a> {
    corpus: &'a Corpus<'a>,
    turns: Bm25,
    windows: Bm25,
    sessions: Bm25,
    /// The place of each turn's session in `sessions`.
    session_of: Vec<usize>,
}

impl<'a> Plain<'a> {
    /// Makes the indexes.
    pub fn new(corpus: &'a Corpus<'a>) -> Self {
        let turns = &corpus.conversation.turns;
        let mut places: BTreeMap<u64, usize> = BTreeMap::new();
        let mut texts: Vec<String> = Vec::new();
        let mut session_of = Vec::with_capacity(turns.len());
        for (turn, told) in turns.iter().zip(&corpus.told) {
            let place = *places.entry(turn.session).or_insert(texts.len());
            match texts.get_mut(place) {
                Some(text) => text.extend(["\n", told]),
                None => texts.push(told.clone()),
            }
            session_of.push(place);
        }
        Self {
            turns: Bm25::new(corpus.told.iter()),
            windows: Bm25::new((0..turns.len()).map(|at| window(turns, &corpus.told, at))),
            sessions: Bm25::new(texts.iter()),
            corpus,
            session_of,
        }
    }

    /// The best turns for a query.
    pub fn ask(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        way: Baseline,
        limit: usize,
    ) -> Vec<Found> {
        let scores = match way {
            Baseline::Bm25 => self.turns.scores(text),
            Baseline::Windows => self.windows.scores(text),
            Baseline::Dense => self.dense(vector),
            Baseline::FusedTwo => fuse(&[self.turns.scores(text), self.dense(vector)]),
            Baseline::FusedThree => fuse(&[
                self.turns.scores(text),
                self.dense(vector),
                self.windows.scores(text),
            ]),
            Baseline::Smoothed => self.smoothed(text, vector),
        };
        let ranked = ranked(&scores).into_iter().take(limit);
        let found = ranked.map(|turn| Found {
            turn,
            score: scores.get(turn).copied().unwrap_or_default(),
            parts: Vec::new(),
        });
        found.collect()
    }

    fn dense(&self, vector: Option<&[f32]>) -> Vec<f32> {
        let Some(vector) = vector else {
            return vec![0.0; self.corpus.vectors.len()];
        };
        let product = |own: &&[f32]| own.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>();
        let best = |chunks: &Vec<&[f32]>| chunks.iter().map(product).fold(0.0, f32::max);
        self.corpus.vectors.iter().map(best).collect()
    }

    fn smoothed(&self, text: &str, vector: Option<&[f32]>) -> Vec<f32> {
        let words = over_largest(self.turns.scores(text));
        let meaning = over_largest(self.dense(vector));
        let sums: Vec<f32> = words.iter().zip(meaning).map(|(a, b)| a + b).collect();
        let sessions = over_largest(self.sessions.scores(text));
        let turns = &self.corpus.conversation.turns;
        let smooth = |at: usize| {
            let near = neighbours(turns, at).filter_map(|near| sums.get(near));
            let own = sums.get(at).copied().unwrap_or_default();
            let session = self
                .session_of
                .get(at)
                .and_then(|place| sessions.get(*place));
            own + 0.5 * near.sum::<f32>() + 0.5 * session.copied().unwrap_or_default()
        };
        (0..turns.len()).map(smooth).collect()
    }
}

/// The turns before and after in the same session.
fn neighbours(turns: &[Turn], at: usize) -> impl Iterator<Item = usize> {
    let session = turns.get(at).map(|turn| turn.session);
    let around = [at.checked_sub(1), at.checked_add(1)].into_iter().flatten();
    around.filter(move |near| turns.get(*near).map(|turn| turn.session) == session)
}

fn window(turns: &[Turn], told: &[String], at: usize) -> String {
    let mut places: Vec<usize> = neighbours(turns, at).chain([at]).collect();
    places.sort_unstable();
    let texts = places.into_iter().filter_map(|place| told.get(place));
    texts.map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// The places of the scores above 0, best first; equal ones in their order.
fn ranked(scores: &[f32]) -> Vec<usize> {
    let mut places: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
    places.retain(|(_, score)| *score > 0.0);
    places.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    places.into_iter().map(|(place, _)| place).collect()
}

fn fuse(lists: &[Vec<f32>]) -> Vec<f32> {
    let mut fused = vec![0.0; lists.first().map_or(0, Vec::len)];
    for scores in lists {
        for (rank, place) in ranked(scores).into_iter().enumerate() {
            if let Some(score) = fused.get_mut(place) {
                *score += 1.0 / (RRF + 1.0 + rank as f32);
            }
        }
    }
    fused
}

fn over_largest(mut scores: Vec<f32>) -> Vec<f32> {
    let largest = scores.iter().copied().fold(0.0, f32::max);
    if largest > 0.0 {
        scores.iter_mut().for_each(|score| *score /= largest);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{conversation::Conversation, corpus::Form, sources::shipped};

    const TEXT: &str = "\
@speakers Maya, Tom
@session 1 2023-05-08 13:56
1 Maya: Which colour did you paint the kitchen?
2 Tom: Blue, like the old one!
3 Maya: And the soup?
@session 2 2023-05-25 19:10
1 Tom: My bicycle was stolen.
2 Maya: The kitchen of the museum is open.
";

    fn conversation() -> Conversation {
        shipped::parse(TEXT, "a", "a").unwrap()
    }

    fn ranking(way: Baseline, text: &str) -> Vec<usize> {
        let conversation = conversation();
        let corpus = Corpus::new(&conversation, Form::Turns, None);
        let found = Plain::new(&corpus).ask(text, None, way, 10);
        found.into_iter().map(|found| found.turn).collect()
    }

    #[test]
    fn windows_find_the_answer_that_lacks_the_words_of_the_question() {
        assert_eq!(ranking(Baseline::Bm25, "kitchen painted colour"), [0, 4]);
        let found = ranking(Baseline::Windows, "kitchen painted colour");
        assert!(found[..2].contains(&1), "{found:?}");
    }

    #[test]
    fn neighbours_are_of_the_same_session() {
        let turns = conversation().turns;
        let near = |at| neighbours(&turns, at).collect::<Vec<_>>();
        assert_eq!(
            (near(0), near(1), near(2), near(3)),
            (vec![1], vec![0, 2], vec![1], vec![4])
        );
    }

    #[test]
    fn what_two_rankings_like_wins_their_fusion() {
        let fused = fuse(&[vec![3.0, 2.0, 1.0, 0.0], vec![0.0, 2.0, 1.0, 3.0]]);
        assert_eq!(ranked(&fused)[0], 1);
        assert!((fused[0] - 1.0 / 61.0).abs() < 1e-6);
        assert!((fused[1] - 2.0 / 62.0).abs() < 1e-6);
    }
}
