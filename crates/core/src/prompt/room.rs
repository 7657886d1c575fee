//! Core memory that has grown too large for the window: the prompt shows its longest blocks in part, so
//! that the agent can still talk, and make them shorter.

use super::{PromptInputs, render};
use crate::{compaction, tokens};

/// How often values are made shorter before nothing of them is shown.
const TRIES: usize = 8;

/// Bytes of each block that are shown where the rest of the prompt alone is too long.
const LEAST: usize = 1_000;

/// The prompt in at most `cap` tokens, where showing less of the longest blocks brings it there.
#[must_use]
pub fn render_within(inputs: &PromptInputs<'_>, cap: i64) -> String {
    let whole = render(inputs);
    let mut count = counted(&whole);
    if count <= cap {
        return whole;
    }
    let lengths: Vec<i64> = inputs
        .blocks
        .iter()
        .map(|block| i64::try_from(block.value.len()).unwrap_or(i64::MAX))
        .collect();
    let without = counted(&at_most(inputs, 0));
    let room = cap - without;
    if room <= 0 {
        return at_most(inputs, LEAST);
    }
    let mut allowed: i64 = lengths.iter().sum();
    for _ in 0..TRIES {
        // What the values took in the last try tells how many bytes a token has.
        let taken = (count - without).max(1);
        allowed = (allowed.saturating_mul(room) / taken * 19 / 20).min(allowed - 1);
        let level = compaction::level(&lengths, allowed);
        let text = at_most(inputs, usize::try_from(level).unwrap_or(0));
        count = counted(&text);
        if count <= cap {
            return text;
        }
    }
    at_most(inputs, 0)
}

fn at_most(inputs: &PromptInputs<'_>, value_bytes: usize) -> String {
    let inputs = PromptInputs {
        value_bytes,
        ..inputs.clone()
    };
    render(&inputs)
}

fn counted(text: &str) -> i64 {
    i64::try_from(tokens::count(text)).unwrap_or(i64::MAX)
}
