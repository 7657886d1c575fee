//! Which messages leave.

use crate::messages::Role;

/// A message of the context, as far as the cut needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sized {
    /// Who speaks.
    pub role: Role,
    /// Tokens it takes as it is shown.
    pub tokens: i64,
    /// Whether it is the summary of an earlier compaction.
    pub is_summary: bool,
}

/// How much leaves at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// The oldest messages: this share of them, or as many more as it takes to fit.
    SlidingWindow {
        /// The share that goes first, from 0 to 1.
        share: f64,
    },
    /// All.
    All,
}

/// By how many percent of the messages a sliding window grows when what stays is still too much.
const STRIDE: usize = 10;

/// Where the exchange begins that a turn is in the middle of: the last call with its returns, which the
/// model must see. Without one it is the number of messages.
#[must_use]
pub fn open_exchange(messages: &[Sized]) -> usize {
    let before_returns = messages
        .iter()
        .rposition(|message| message.role != Role::Tool);
    match (messages.last(), before_returns) {
        (Some(last), Some(call)) if last.role == Role::Tool => call,
        (Some(last), None) if last.role == Role::Tool => 0,
        _ => messages.len(),
    }
}

/// The message that a turn in the middle of its steps answers: the last that the user sent, unless a
/// summary stands in its place.
#[must_use]
pub fn open_request(messages: &[Sized]) -> Option<usize> {
    messages
        .iter()
        .rposition(|message| message.role == Role::User && !message.is_summary)
}

/// What may not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staying {
    /// Everything from here on.
    pub from: usize,
    /// A message before that.
    pub request: Option<usize>,
}

/// How many of the oldest messages leave, but for the request among them, so that the others, with a
/// summary of `summary` tokens, take at most `kept`. What stays never begins with a return whose call
/// would be gone. Nothing leaves where only an earlier summary could.
#[must_use]
pub fn cut(messages: &[Sized], staying: Staying, mode: Mode, (kept, summary): (i64, i64)) -> usize {
    let may_go = staying.from.min(messages.len());
    let is_worth_it = |count: usize| {
        messages
            .iter()
            .take(count)
            .enumerate()
            .any(|(index, message)| !message.is_summary && staying.request != Some(index))
    };
    let all = if is_worth_it(may_go) { may_go } else { 0 };
    let Mode::SlidingWindow { share } = mode else {
        return all;
    };
    let first = (share.clamp(0.0, 1.0) * 100.0) as usize;
    for percent in (first..100).step_by(STRIDE) {
        // One message would only give way to another.
        let count = (messages.len() * percent).div_ceil(100).max(2);
        let count = past_returns(messages, count);
        if count >= may_go {
            break;
        }
        let left: i64 = messages
            .iter()
            .enumerate()
            .filter(|(index, _)| *index >= count || staying.request == Some(*index))
            .map(|(_, message)| message.tokens)
            .sum();
        if is_worth_it(count) && left + summary <= kept {
            return count;
        }
    }
    all
}

/// The first place from `count` on at which what stays does not begin with a return.
fn past_returns(messages: &[Sized], count: usize) -> usize {
    let returns = messages
        .iter()
        .skip(count)
        .take_while(|message| message.role == Role::Tool);
    count + returns.count()
}

/// The highest level at which all sizes, each cut off at it, come to at most `budget`: the small ones
/// stay whole, the large ones share what is left.
#[must_use]
pub fn level(sizes: &[i64], budget: i64) -> i64 {
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    let (mut left, mut count) = (
        budget.max(0),
        i64::try_from(sorted.len()).unwrap_or(i64::MAX),
    );
    for size in sorted {
        if size > left / count {
            return left / count;
        }
        left -= size;
        count -= 1;
    }
    i64::MAX
}
