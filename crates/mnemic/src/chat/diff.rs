//! What changed in the agent's memory, as a small diff.

use std::collections::BTreeMap;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::screen::{Style, clipped};

/// Lines that the diff of one block shows.
const MAX_LINES: usize = 24;

/// Characters of a line that are shown.
const MAX_CHARACTERS: usize = 200;

/// Blocks by label: value and description.
pub type Blocks = BTreeMap<String, (String, String)>;

/// The blocks of an answer of the API.
#[must_use]
pub fn blocks_of(list: &Value) -> Blocks {
    let text = |block: &Value, key: &str| {
        let value = block.get(key).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    list.as_array()
        .into_iter()
        .flatten()
        .map(|block| {
            (
                text(block, "label"),
                (text(block, "value"), text(block, "description")),
            )
        })
        .collect()
}

/// The lines that tell how the memory changed.
#[must_use]
pub fn changes(before: &Blocks, after: &Blocks) -> Vec<(Style, String)> {
    let mut lines = Vec::new();
    for (label, (value, description)) in after {
        match before.get(label) {
            None => {
                lines.push((Style::Dim, format!("  memory block '{label}' is new")));
                if !description.is_empty() {
                    let about = clipped(description, MAX_CHARACTERS);
                    lines.push((Style::Dim, format!("  ({about})")));
                }
                lines.extend(block_diff("", value));
            }
            Some((old, was)) => {
                if old != value {
                    lines.push((Style::Dim, format!("  memory block '{label}'")));
                    lines.extend(block_diff(old, value));
                }
                if was != description {
                    let about = clipped(description, MAX_CHARACTERS);
                    lines.push((
                        Style::Dim,
                        format!("  memory block '{label}' is for: {about}"),
                    ));
                }
            }
        }
    }
    for label in before.keys().filter(|label| !after.contains_key(*label)) {
        lines.push((Style::Dim, format!("  memory block '{label}' is gone")));
    }
    lines
}

/// The changed lines of a text, each with a neighbour.
fn block_diff(old: &str, new: &str) -> Vec<(Style, String)> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for (number, group) in diff.grouped_ops(1).iter().enumerate() {
        if number > 0 {
            lines.push((Style::Dim, "    …".to_owned()));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (style, sign) = match change.tag() {
                ChangeTag::Equal => (Style::Dim, ' '),
                ChangeTag::Delete => (Style::Red, '-'),
                ChangeTag::Insert => (Style::Green, '+'),
            };
            let text: String = change
                .value()
                .trim_end_matches('\n')
                .chars()
                .take(MAX_CHARACTERS)
                .collect();
            lines.push((style, format!("  {sign} {text}")));
        }
    }
    let hidden = lines.len().saturating_sub(MAX_LINES);
    if hidden > 1 {
        lines.truncate(MAX_LINES);
        lines.push((Style::Dim, format!("    … and {hidden} more lines")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(list: &[(&str, &str, &str)]) -> Blocks {
        list.iter()
            .map(|(label, value, about)| {
                (
                    (*label).to_owned(),
                    ((*value).to_owned(), (*about).to_owned()),
                )
            })
            .collect()
    }

    fn told(before: &[(&str, &str, &str)], after: &[(&str, &str, &str)]) -> Vec<String> {
        changes(&blocks(before), &blocks(after))
            .into_iter()
            .map(|(_, line)| line)
            .collect()
    }

    #[test]
    fn a_diff_shows_the_changed_lines_with_a_neighbour() {
        let before = [("human", "a\nb\nc\nd\ne\nf", ""), ("old", "x", "")];
        let after = [("human", "a\nB\nc\nd\ne\nf\ng", "who"), ("new", "y", "z")];
        assert_eq!(
            told(&before, &after),
            [
                "  memory block 'human'",
                "    a",
                "  - b",
                "  + B",
                "    c",
                "    …",
                "    e",
                "  - f",
                "  + f",
                "  + g",
                "  memory block 'human' is for: who",
                "  memory block 'new' is new",
                "  (z)",
                "  + y",
                "  memory block 'old' is gone",
            ]
        );
        assert!(told(&before, &before).is_empty());
    }

    #[test]
    fn a_long_diff_is_cut() {
        let value = "x\n".repeat(500);
        let lines = told(&[], &[("human", &value, "")]);
        assert_eq!(lines.len(), MAX_LINES + 2);
        assert_eq!(lines.last().unwrap(), "    … and 476 more lines");
    }
}
