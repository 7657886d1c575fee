//! Cuts texts into the pieces within which byte pairs are merged, as `o200k_base` does.

use std::sync::LazyLock;

use regex::Regex;

/// Words with what stands before them, numbers, signs, line breaks, and spaces at the end: the pattern of `o200k_base` in
/// OpenAI's `tiktoken`, but for its looks ahead (`\s+(?!\S)|\s+`), which [`spaces`] does.
static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let parts = [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+$",
    ];
    Regex::new(&format!("^(?:{})", parts.join("|"))).ok()
});

/// The pieces of a text, in their order.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = PATTERN.as_ref().and_then(|pattern| pattern.find(rest));
        let end = found.map_or_else(|| spaces(rest), |found| found.end());
        // Nothing is left out, whatever it is.
        let end = if end == 0 { rest.len() } else { end };
        let (piece, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(piece)
    })
}

/// Bytes of the spaces at the beginning but for the last, which belongs to what follows; of one, when it is alone.
fn spaces(text: &str) -> usize {
    let run = text.len() - text.trim_start().len();
    let last = text.get(..run).and_then(|run| run.chars().next_back());
    match last.map_or(0, char::len_utf8) {
        last if last == run => run,
        last => run - last,
    }
}
