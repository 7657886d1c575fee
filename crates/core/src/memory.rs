//! Edits of core memory: operations on a block's current value. Errors are written for the model that
//! made the edit, so that it can correct itself.

use crate::blocks::Block;

/// Columns a tab becomes in texts of memory edits (V1 contract, section 5).
const TAB_WIDTH: usize = 8;

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockEdit {
    /// Adds a line at the end.
    Append {
        /// The text.
        content: String,
    },
    /// Replaces every occurrence; there must be one.
    Replace {
        /// What is there.
        old: String,
        /// What is to be there.
        new: String,
    },
    /// Replaces the one occurrence.
    ReplaceUnique {
        /// What is there.
        old: String,
        /// What is to be there.
        new: String,
    },
    /// Inserts lines after line `line`: 0 is the beginning, -1 the end.
    Insert {
        /// The text.
        new: String,
        /// The line after which it goes.
        line: i64,
    },
    /// Overwrites the whole value.
    Rethink {
        /// The new value.
        value: String,
    },
    /// Sets the value as a client of the API does, also of a read-only block.
    Set {
        /// The new value.
        value: String,
    },
}

/// Why an edit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum EditError {
    /// The block may only be read.
    #[error("memory block '{label}' is read-only and cannot be edited")]
    ReadOnly { label: String },
    /// The value would be too long.
    #[error(
        "memory block '{label}' holds at most {limit} characters; it has {current} now and would \
         have {wanted} after this edit. Shorten the new text, or remove something from the block first"
    )]
    OverLimit { label: String, limit: i64, current: usize, wanted: usize },
    /// The text to be replaced is not there.
    #[error(
        "the text to replace does not stand in memory block '{label}'. It must match exactly. The \
         block's current value is:\n{value}"
    )]
    NotFound { label: String, value: String },
    /// The text to be replaced stands there more than once.
    #[error(
        "the text to replace stands more than once in memory block '{label}', on lines {lines}. \
         Give more of the text around it, so that it is unique"
    )]
    NotUnique { label: String, lines: String },
    /// There is nothing to look for.
    #[error("the text to replace must not be empty; to add text, insert or append it")]
    EmptyOld,
    /// There is no such line.
    #[error("insert_line must be -1 (the end) or from 0 to {lines}; {line} is no line of '{label}'")]
    NoSuchLine { label: String, line: i64, lines: usize },
    /// Line numbers of the prompt's display were copied into the edit.
    #[error(
        "the text holds line numbers as the memory display shows them (such as '1→ '); they are not \
         part of memory. Send the text without them"
    )]
    LineNumbers,
    /// The block changed since the prompt was made.
    #[error(
        "memory block '{label}' was changed since you saw it, so this edit was not made. Its current \
         value is:\n{value}"
    )]
    Stale { label: String, value: String },
}

impl BlockEdit {
    /// Whether it depends on more of the value than the text it names.
    fn needs_fresh_view(&self) -> bool {
        match self {
            Self::Rethink { .. } => true,
            Self::Insert { line, .. } => *line > 0,
            _ => false,
        }
    }

    /// The texts that a model wrote.
    fn texts(&self) -> [&str; 2] {
        match self {
            Self::Append { content } => [content, ""],
            Self::Replace { old, new } | Self::ReplaceUnique { old, new } => [old, new],
            Self::Insert { new, .. } => [new, ""],
            Self::Rethink { value } => [value, ""],
            Self::Set { .. } => ["", ""],
        }
    }
}

/// The value that a block has after an edit. `based_on` is the revision that the model's prompt
/// showed.
///
/// # Errors
/// The edit is refused; nothing is to be changed then.
pub fn apply(edit: &BlockEdit, block: &Block, based_on: Option<i64>) -> Result<String, EditError> {
    let label = || block.label.clone();
    let by_api = matches!(edit, BlockEdit::Set { .. });
    if block.read_only && !by_api {
        return Err(EditError::ReadOnly { label: label() });
    }
    if edit.texts().iter().any(|text| has_line_numbers(text)) {
        return Err(EditError::LineNumbers);
    }
    let stale = based_on.is_some_and(|seen| seen < block.revision);
    if stale && edit.needs_fresh_view() {
        return Err(EditError::Stale { label: label(), value: block.value.clone() });
    }
    let value = edited(edit, block)?;
    check_limit(block, &value)?;
    Ok(value)
}

/// Whether a value may stand in a block: within its limit, or at least shorter than what is there.
///
/// # Errors
/// It is too long; the error has the numbers.
pub fn check_limit(block: &Block, value: &str) -> Result<(), EditError> {
    let (current, wanted) = (block.value.chars().count(), value.chars().count());
    let fits = i64::try_from(wanted).is_ok_and(|wanted| wanted <= block.limit);
    if fits || wanted < current || value == block.value {
        return Ok(());
    }
    Err(EditError::OverLimit { label: block.label.clone(), limit: block.limit, current, wanted })
}

fn edited(edit: &BlockEdit, block: &Block) -> Result<String, EditError> {
    let value = block.value.as_str();
    let not_found = || EditError::NotFound { label: block.label.clone(), value: value.to_owned() };
    match edit {
        BlockEdit::Append { content } if value.is_empty() => Ok(content.clone()),
        BlockEdit::Append { content } => Ok(format!("{value}\n{content}")),
        BlockEdit::Replace { old, .. } | BlockEdit::ReplaceUnique { old, .. } if old.is_empty() => {
            Err(EditError::EmptyOld)
        }
        BlockEdit::Replace { old, new } => {
            if value.contains(old) { Ok(value.replace(old, new)) } else { Err(not_found()) }
        }
        BlockEdit::ReplaceUnique { old, new } => {
            let (value, old, new) = (expand_tabs(value), expand_tabs(old), expand_tabs(new));
            match value.matches(&old).count() {
                0 => Err(not_found()),
                1 => Ok(value.replacen(&old, &new, 1)),
                _ => Err(EditError::NotUnique {
                    label: block.label.clone(),
                    lines: lines_of(&value, &old),
                }),
            }
        }
        BlockEdit::Insert { new, line } => insert(block, &expand_tabs(new), *line),
        BlockEdit::Rethink { value } | BlockEdit::Set { value } => Ok(value.clone()),
    }
}

fn insert(block: &Block, new: &str, line: i64) -> Result<String, EditError> {
    let value = expand_tabs(&block.value);
    let mut lines: Vec<&str> = if value.is_empty() { Vec::new() } else { value.split('\n').collect() };
    let at = match line {
        -1 => Some(lines.len()),
        line => usize::try_from(line).ok().filter(|at| *at <= lines.len()),
    };
    let Some(at) = at else {
        let (label, lines) = (block.label.clone(), lines.len());
        return Err(EditError::NoSuchLine { label, line, lines });
    };
    lines.splice(at..at, new.split('\n'));
    Ok(lines.join("\n"))
}

/// The numbers, from 1, of the lines on which occurrences begin.
fn lines_of(value: &str, text: &str) -> String {
    let numbers: Vec<String> = value
        .match_indices(text)
        .map(|(at, _)| (value.get(..at).unwrap_or("").matches('\n').count() + 1).to_string())
        .collect();
    numbers.join(", ")
}

fn expand_tabs(text: &str) -> String {
    text.replace('\t', &" ".repeat(TAB_WIDTH))
}

/// Whether a line begins with a number and an arrow, as the prompt shows lines to some models.
fn has_line_numbers(text: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < line.trim_start().len() && rest.starts_with('→')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{blocks::BlockLabels, ids::BlockId, time::Timestamp};

    fn block(value: &str, limit: i64) -> Block {
        Block {
            id: BlockId::new(),
            label: "human".to_owned(),
            value: value.to_owned(),
            limit,
            description: None,
            read_only: false,
            metadata: serde_json::Map::new(),
            tags: Vec::new(),
            hidden: None,
            subject: None,
            is_template: false,
            labels: BlockLabels::default(),
            revision: 3,
            created_by: None,
            updated_by: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn replace(old: &str, new: &str) -> BlockEdit {
        BlockEdit::ReplaceUnique { old: old.to_owned(), new: new.to_owned() }
    }

    #[test]
    fn edits_do_what_their_names_say() {
        let at = |line| BlockEdit::Insert { new: "x".to_owned(), line };
        for (edit, before, after) in [
            (BlockEdit::Append { content: "b".to_owned() }, "a", "a\nb"),
            (BlockEdit::Append { content: "b".to_owned() }, "", "b"),
            (BlockEdit::Replace { old: "a".into(), new: "c".into() }, "a-a", "c-c"),
            (replace("a", "c"), "a-b", "c-b"),
            (at(-1), "a\nb", "a\nb\nx"),
            (at(0), "a\nb", "x\na\nb"),
            (at(1), "a\nb", "a\nx\nb"),
            (BlockEdit::Rethink { value: "new".to_owned() }, "old", "new"),
        ] {
            assert_eq!(apply(&edit, &block(before, 100), Some(3)).as_deref(), Ok(after), "{edit:?}");
        }
    }

    #[test]
    fn refusals_tell_the_model_what_it_needs() {
        let missing = apply(&replace("z", "y"), &block("abc", 100), None).unwrap_err();
        assert!(missing.to_string().contains("abc"), "the current value is shown");
        let twice = apply(&replace("a", "y"), &block("a\nb\na", 100), None).unwrap_err();
        assert!(twice.to_string().contains("lines 1, 3"));
        let long = BlockEdit::Append { content: "12345".to_owned() };
        let over = apply(&long, &block("1234", 8), None).unwrap_err().to_string();
        assert!(over.contains('8') && over.contains('4') && over.contains("10"), "{over}");
        let numbered = apply(&replace("1→ a", "y"), &block("a", 100), None);
        assert_eq!(numbered, Err(EditError::LineNumbers));
    }

    #[test]
    fn a_block_over_its_limit_may_shrink_but_not_grow() {
        let over = block("1234567890", 5);
        assert_eq!(apply(&replace("890", ""), &over, None).as_deref(), Ok("1234567"));
        assert!(apply(&replace("0", "00"), &over, None).is_err());
    }

    #[test]
    fn overwriting_what_has_changed_meanwhile_is_refused() {
        let rethink = BlockEdit::Rethink { value: "new".to_owned() };
        assert!(apply(&rethink, &block("seen", 100), Some(3)).is_ok());
        let stale = apply(&rethink, &block("changed", 100), Some(2)).unwrap_err();
        assert!(stale.to_string().contains("changed"));
        let append = BlockEdit::Append { content: "x".to_owned() };
        assert!(apply(&append, &block("changed", 100), Some(2)).is_ok(), "an append loses nothing");
    }

    #[test]
    fn only_the_api_writes_to_a_read_only_block() {
        let read_only = Block { read_only: true, ..block("a", 100) };
        let append = BlockEdit::Append { content: "x".to_owned() };
        assert!(apply(&append, &read_only, None).is_err());
        assert!(apply(&BlockEdit::Set { value: "b".to_owned() }, &read_only, None).is_ok());
    }

    proptest! {
        #[test]
        fn no_edit_lets_a_block_grow_over_its_limit(
            before in "[a-c\n]{0,30}", text in "[a-c\n]{0,30}", line in -2i64..5, limit in 0i64..40,
        ) {
            for edit in [
                BlockEdit::Append { content: text.clone() },
                BlockEdit::Insert { new: text.clone(), line },
                BlockEdit::Replace { old: "a".into(), new: text.clone() },
                BlockEdit::Rethink { value: text.clone() },
            ] {
                let block = block(&before, limit);
                if let Ok(after) = apply(&edit, &block, None) {
                    let (was, is) = (before.chars().count(), after.chars().count());
                    prop_assert!(is as i64 <= limit || is < was || after == before);
                }
            }
        }
    }
}
