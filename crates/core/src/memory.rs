//! Edits of core memory: operations on a block's current value. Errors are written for the model that
//! made the edit, so that it can correct itself.

mod changes;
mod patch;
mod refusal;
mod text;

use std::borrow::Cow;

use crate::blocks::Block;

pub use changes::{BlockWrite, ChangeError, ChangePlan, MemoryChange, named, plan};
pub use patch::{Hunk, HunkLine, PatchError, parse_patch};
pub use refusal::EditError;
use text::{expand_tabs, has_line_numbers, line_of, occurrences, similar_line};

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
    /// Applies the hunks of a diff, all or none.
    Patch {
        /// The hunks.
        hunks: Vec<Hunk>,
    },
    /// Sets the value as a client of the API does, also of a read-only block.
    Set {
        /// The new value.
        value: String,
    },
}

impl BlockEdit {
    /// Whether it depends on more of the value than the text it names.
    const fn needs_fresh_view(&self) -> bool {
        match self {
            Self::Rethink { .. } => true,
            Self::Insert { line, .. } => *line > 0,
            _ => false,
        }
    }

    /// The text that a model wants to have in the block.
    fn new_text(&self) -> Option<&str> {
        match self {
            Self::Append { content: new }
            | Self::Replace { new, .. }
            | Self::ReplaceUnique { new, .. }
            | Self::Insert { new, .. }
            | Self::Rethink { value: new } => Some(new),
            Self::Patch { .. } | Self::Set { .. } => None,
        }
    }

    /// The text that a model says is in the block.
    fn old_text(&self) -> Option<&str> {
        match self {
            Self::Replace { old, .. } | Self::ReplaceUnique { old, .. } => Some(old),
            _ => None,
        }
    }
}

/// The value that a block has after an edit. `based_on` is the revision that the model's prompt
/// showed; without it nothing is taken for stale.
///
/// # Errors
/// The edit is refused; nothing is to be changed then.
pub fn apply(edit: &BlockEdit, block: &Block, based_on: Option<i64>) -> Result<String, EditError> {
    let changed = based_on.is_some_and(|seen| seen < block.revision);
    let by_model = !matches!(edit, BlockEdit::Set { .. });
    if block.read_only && by_model {
        return Err(EditError::ReadOnly {
            label: block.label.clone(),
        });
    }
    check_texts(edit, block)?;
    if changed && edit.needs_fresh_view() {
        let (label, value) = (block.label.clone(), block.value.clone());
        return Err(EditError::Stale { label, value });
    }
    let value = edited(edit, block, changed)?;
    check_limit(block, &value)?;
    Ok(value)
}

/// Whether a value may stand in a block: within its limit, or shorter than what is there. A block
/// that came in over its limit (by import, or before limits were enforced) can so be brought below it.
///
/// # Errors
/// It is too long; the error has the numbers.
pub fn check_limit(block: &Block, value: &str) -> Result<(), EditError> {
    let (current, wanted) = (block.value.chars().count(), value.chars().count());
    let fits = i64::try_from(wanted).is_ok_and(|wanted| wanted <= block.limit);
    if fits || wanted < current || value == block.value {
        return Ok(());
    }
    Err(EditError::OverLimit {
        label: block.label.clone(),
        limit: block.limit,
        current,
        wanted,
    })
}

/// What can be said of an edit's texts by themselves. Text that looks like the line numbers of the
/// display can still be named as old text where it truly stands in the block.
fn check_texts(edit: &BlockEdit, block: &Block) -> Result<(), EditError> {
    if let Some(old) = edit.old_text() {
        if old.is_empty() {
            return Err(EditError::EmptyOld {
                label: block.label.clone(),
            });
        }
        if has_line_numbers(old) && !block.value.contains(old) {
            return Err(EditError::LineNumbers);
        }
    }
    if edit.new_text().is_some_and(has_line_numbers) {
        return Err(EditError::LineNumbers);
    }
    Ok(())
}

fn edited(edit: &BlockEdit, block: &Block, changed: bool) -> Result<String, EditError> {
    let value = block.value.as_str();
    match edit {
        BlockEdit::Append { content } if value.is_empty() => Ok(content.clone()),
        BlockEdit::Append { content } => Ok(format!("{value}\n{content}")),
        BlockEdit::Replace { old, new } if value.contains(old) => Ok(value.replace(old, new)),
        BlockEdit::Replace { old, .. } => Err(not_found(block, old, changed)),
        BlockEdit::ReplaceUnique { old, new } => replace_unique(block, old, new, changed),
        BlockEdit::Insert { new, line } => insert(block, &expand_tabs(new), *line),
        BlockEdit::Rethink { value } => Ok(expand_tabs(value)),
        BlockEdit::Patch { hunks } => patch::apply(hunks, block, changed),
        BlockEdit::Set { value } => Ok(value.clone()),
    }
}

/// A model that reads a tab may well write spaces, or the other way round: a text that is not there
/// as written is looked for once more with all tabs expanded.
fn replace_unique(block: &Block, old: &str, new: &str, changed: bool) -> Result<String, EditError> {
    let (mut value, mut old) = (Cow::Borrowed(block.value.as_str()), Cow::Borrowed(old));
    let mut found = occurrences(&value, &old);
    if found.is_empty() && (value.contains('\t') || old.contains('\t')) {
        (value, old) = (expand_tabs(&value).into(), expand_tabs(&old).into());
        found = occurrences(&value, &old);
    }
    match found.as_slice() {
        [] => Err(not_found(block, &old, changed)),
        [at] => {
            let (before, rest) = value.split_at(*at);
            let after = rest.get(old.len()..).unwrap_or_default();
            Ok(format!("{before}{}{after}", expand_tabs(new)))
        }
        several => {
            let mut lines: Vec<usize> = several.iter().map(|at| line_of(&value, *at)).collect();
            lines.dedup();
            Err(EditError::NotUnique {
                label: block.label.clone(),
                lines,
            })
        }
    }
}

fn not_found(block: &Block, old: &str, changed: bool) -> EditError {
    EditError::NotFound {
        label: block.label.clone(),
        similar_line: similar_line(&block.value, old),
        value: block.value.clone(),
        changed,
    }
}

fn insert(block: &Block, new: &str, line: i64) -> Result<String, EditError> {
    let value = block.value.as_str();
    if line == -1 && (value.is_empty() || value.ends_with('\n')) {
        return Ok(format!("{value}{new}"));
    }
    let mut lines: Vec<&str> = if value.is_empty() {
        Vec::new()
    } else {
        value.split('\n').collect()
    };
    let at = match line {
        -1 => Some(lines.len()),
        line => usize::try_from(line).ok().filter(|at| *at <= lines.len()),
    };
    let Some(at) = at else {
        let (label, lines) = (block.label.clone(), lines.len());
        return Err(EditError::NoSuchLine { label, line, lines });
    };
    lines.insert(at, new);
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests;
