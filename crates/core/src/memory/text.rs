//! Looking into texts: tabs, lines, occurrences.

use std::collections::HashSet;

/// Columns from one tab stop to the next.
const TAB_WIDTH: usize = 8;

/// Occurrences that are looked for: enough to say that there are too many, and where.
const MAX_OCCURRENCES: usize = 64;

/// The text with spaces up to the next tab stop in place of each tab.
pub(super) fn expand_tabs(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' => {
                let width = TAB_WIDTH - column % TAB_WIDTH;
                expanded.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            '\n' | '\r' => {
                expanded.push(c);
                column = 0;
            }
            other => {
                expanded.push(other);
                column += 1;
            }
        }
    }
    expanded
}

/// Whether a line begins with a number and an arrow, as the prompt shows lines to some models.
pub(super) fn has_line_numbers(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < line.len() && rest.starts_with('→')
    })
}

/// Where a text stands in a value, in bytes, overlapping occurrences included: in `aaa`, `aa` stands
/// twice, and which one is meant is not known.
pub(super) fn occurrences(value: &str, text: &str) -> Vec<usize> {
    let Some(step) = text.chars().next().map(char::len_utf8) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = value.get(from..).and_then(|rest| rest.find(text)) {
        found.push(from + at);
        if found.len() == MAX_OCCURRENCES {
            break;
        }
        from += at + step;
    }
    found
}

/// The number, from 1, of the line of a place in a value.
pub(super) fn line_of(value: &str, at: usize) -> usize {
    value.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The number, from 1, of the line on which a text begins when white space and letter case do not
/// count.
pub(super) fn similar_line(value: &str, text: &str) -> Option<usize> {
    let wanted = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    if wanted.is_empty() {
        return None;
    }
    let mut words = String::with_capacity(value.len());
    let mut begins: Vec<(usize, usize)> = Vec::new();
    for (index, line) in value.split('\n').enumerate() {
        for word in line.split_whitespace() {
            if !words.is_empty() {
                words.push(' ');
            }
            begins.push((words.len(), index + 1));
            words.push_str(&word.to_lowercase());
        }
    }
    let at = words.find(&wanted)?;
    begins
        .iter()
        .rev()
        .find(|(begin, _)| *begin <= at)
        .map(|(_, line)| *line)
}

/// The line, with its number from 1, that has most words in common with a text; none when no line shares
/// at least half of them.
pub(super) fn nearest_line<'a>(lines: &[&'a str], text: &str) -> Option<(usize, &'a str)> {
    let words = |line: &str| -> HashSet<String> {
        line.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let wanted = words(text);
    let shared = |line: &str| words(line).intersection(&wanted).count();
    let (index, line, count) = lines
        .iter()
        .enumerate()
        .map(|(index, line)| (index, *line, shared(line)))
        .max_by_key(|(index, _, count)| (*count, std::cmp::Reverse(*index)))?;
    (count > 0 && count * 2 >= wanted.len()).then_some((index + 1, line))
}
