//! What a ranking is worth for one question.

use std::{cell::OnceCell, time::Duration};

use mnemic_core::tokens;

use crate::{conversation::Question, corpus::Corpus, metrics, retrievers::Ranking};

/// The sizes of context for which is measured what evidence they hold.
pub const BUDGETS: [usize; 3] = [500, 1_000, 2_000];

/// Hits of a question by which scores are compared with what they promise.
const CALIBRATED: usize = 10;

/// One of the first hits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct First {
    /// Its score.
    pub score: f32,
    /// The sum of the parts of its score.
    pub sum: f32,
    /// Whether it is evidence.
    pub is_evidence: bool,
}

/// A ranking compared with the labels.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The question's kind.
    pub kind: String,
    /// Whether the conversation answers it.
    pub answerable: bool,
    /// The rank of each evidence, from 0; `None` was not found.
    pub ranks: Vec<Option<usize>>,
    /// Of updates: the best ranks of current and of outdated statements.
    pub update: Option<(Option<usize>, Option<usize>)>,
    /// The score of the best hit; 0 when there is none.
    pub best_score: f32,
    /// Whether the retriever said that nothing is relevant.
    pub nothing_relevant: Option<bool>,
    /// The share of the evidence within each of [`BUDGETS`].
    pub kept: [f64; BUDGETS.len()],
    /// The first hits.
    pub first: Vec<First>,
    /// How long the search took.
    pub took: Duration,
}

/// Judges rankings of one conversation.
pub struct Judge<'a> {
    corpus: &'a Corpus<'a>,
    tokens: Vec<OnceCell<usize>>,
}

impl<'a> Judge<'a> {
    /// A judge of rankings of this conversation.
    #[must_use]
    pub fn new(corpus: &'a Corpus<'a>) -> Self {
        Self {
            tokens: vec![OnceCell::new(); corpus.told.len()],
            corpus,
        }
    }

    /// Compares a ranking with the labels.
    #[must_use]
    pub fn judge(&self, question: &Question, ranking: &Ranking) -> Judged {
        let rank = |turn: &usize| ranking.found.iter().position(|found| found.turn == *turn);
        let best = |turns: &[usize]| turns.iter().filter_map(rank).min();
        let ranks: Vec<Option<usize>> = question.evidence.iter().map(rank).collect();
        let first = ranking.found.iter().take(CALIBRATED);
        Judged {
            kind: question.kind.clone(),
            answerable: question.answerable,
            update: question
                .is_update()
                .then(|| (best(&question.current), best(&question.outdated))),
            best_score: ranking.found.first().map_or(0.0, |found| found.score),
            nothing_relevant: ranking.nothing_relevant,
            kept: BUDGETS.map(|budget| metrics::recall(&ranks, self.fitting(ranking, budget))),
            first: first
                .map(|found| First {
                    score: found.score,
                    sum: found.parts.iter().map(|(_, part)| part).sum(),
                    is_evidence: question.answerable && question.evidence.contains(&found.turn),
                })
                .collect(),
            ranks,
            took: ranking.took,
        }
    }

    /// How many of the first texts fit into so many tokens, whole.
    fn fitting(&self, ranking: &Ranking, budget: usize) -> usize {
        let mut left = budget;
        let fits = ranking.found.iter().take_while(|found| {
            let tokens = self.tokens(found.turn);
            let fits = tokens <= left;
            left = left.saturating_sub(tokens);
            fits
        });
        fits.count()
    }

    fn tokens(&self, turn: usize) -> usize {
        let told = self.corpus.told.get(turn).map_or("", String::as_str);
        let cell = self.tokens.get(turn);
        cell.map_or(0, |cell| *cell.get_or_init(|| tokens::count(told)))
    }
}

impl Judged {
    /// Whether it counts for the figures of evidence: there is some, and the question has an answer.
    #[must_use]
    pub const fn has_evidence(&self) -> bool {
        self.answerable && !self.ranks.is_empty()
    }

    /// Whether the current statement ranks above all outdated ones; one that is not found does not.
    #[must_use]
    pub fn update_in_order(&self) -> Option<bool> {
        self.update
            .map(|(current, outdated)| match (current, outdated) {
                (Some(current), Some(outdated)) => current < outdated,
                (current, None) => current.is_some(),
                (None, Some(_)) => false,
            })
    }

    /// Whether the current statement is among the first five.
    #[must_use]
    pub fn update_in_five(&self) -> Option<bool> {
        self.update
            .map(|(current, _)| current.is_some_and(|rank| rank < 5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{corpus::Form, retrievers::Found, sources::shipped};

    const TEXT: &str = "\
@speakers Maya, Tom
@session 1 2023-05-08 13:56
1 Maya: one two three four five six seven eight nine ten
2 Tom: one two three four five six seven eight nine ten
3 Maya: yes
@questions 2024-01-20
update | Well? | 1:1 1:3 < 1:2 | now
";

    fn judged(order: &[usize]) -> Judged {
        let conversation = shipped::parse(TEXT, "a", "a").unwrap();
        let corpus = Corpus::new(&conversation, Form::Turns, None);
        let found = order.iter().map(|turn| Found {
            turn: *turn,
            score: 0.5,
            parts: vec![("text", 2.0), ("dense", 1.0)],
        });
        let ranking = Ranking {
            found: found.collect(),
            ..Ranking::default()
        };
        let judge = Judge::new(&corpus);
        assert_eq!(judge.fitting(&ranking, 11), 0);
        assert_eq!(judge.fitting(&ranking, 25), order.len().min(2));
        judge.judge(&conversation.questions[0], &ranking)
    }

    #[test]
    fn an_update_is_right_when_a_current_statement_ranks_above_all_outdated_ones() {
        assert_eq!(judged(&[0, 1]).update_in_order(), Some(true));
        assert_eq!(judged(&[1, 0]).update_in_order(), Some(false));
        assert_eq!(judged(&[0]).update_in_order(), Some(true));
        assert_eq!(judged(&[]).update_in_order(), Some(false));
        assert_eq!(judged(&[1, 0]).update_in_five(), Some(true));
    }

    #[test]
    fn evidence_is_kept_as_far_as_whole_texts_fit() {
        let judged = judged(&[1, 0, 2]);
        assert_eq!(judged.kept, [1.0; 3]);
        assert_eq!(judged.ranks, [Some(1), Some(2)]);
        let evidence: Vec<bool> = judged.first.iter().map(|hit| hit.is_evidence).collect();
        assert_eq!(evidence, [false, true, true]);
        assert_eq!((judged.first[0].score, judged.first[0].sum), (0.5, 3.0));
    }
}
