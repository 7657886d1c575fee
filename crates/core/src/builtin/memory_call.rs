//! Calls of `memory` and `memory_apply_patch` as changes. The names that other memory and editing tools
//! give to the same arguments are understood: models have learned several.

use super::arguments::{ArgumentError, Arguments};
use crate::memory::{BlockEdit, MemoryChange, parse_patch};

/// What `memory` can do.
pub(super) const COMMANDS: &[&str] = &["create", "str_replace", "insert", "delete", "rename"];

const CREATE: &str = r#"with {"command": "create", "path": "/memories/<label>", "description": "<what the block is for>", "file_text": "<its text>"}"#;
const STR_REPLACE: &str = r#"with {"command": "str_replace", "path": "/memories/<label>", "old_string": "<text in the block>", "new_string": "<text in its place>"}"#;
const INSERT: &str = r#"with {"command": "insert", "path": "/memories/<label>", "insert_line": -1, "insert_text": "<new lines>"}"#;
const DELETE: &str = r#"with {"command": "delete", "path": "/memories/<label>"}"#;
const RENAME: &str = r#"with {"command": "rename", "old_path": "/memories/<label>", "new_path": "/memories/<new label>"}, or, to change only the description, {"command": "rename", "path": "/memories/<label>", "description": "<what the block is for>"}"#;

/// The changes of a call of `memory`.
pub(super) fn command(given: &Arguments<'_>) -> Result<Vec<MemoryChange>, ArgumentError> {
    let command = given.required("command")?.trim().to_lowercase();
    let change = match command.as_str() {
        "create" => create(&given.as_in(CREATE))?,
        "str_replace" => {
            let given = given.as_in(STR_REPLACE);
            MemoryChange::Edit {
                label: path(&given)?,
                edit: BlockEdit::ReplaceUnique {
                    old: given.first_of(&["old_string", "old_str"])?,
                    new: given.first_of(&["new_string", "new_str"])?,
                },
            }
        }
        "insert" => {
            let given = given.as_in(INSERT);
            MemoryChange::Edit {
                label: path(&given)?,
                edit: BlockEdit::Insert {
                    new: given.first_of(&["insert_text", "new_string", "file_text"])?,
                    line: given.whole_number("insert_line")?.unwrap_or(-1),
                },
            }
        }
        "delete" => MemoryChange::Detach {
            label: path(&given.as_in(DELETE))?,
        },
        "rename" => return rename(&given.as_in(RENAME)),
        _ => {
            return Err(given.wrong(
                "command",
                "create, str_replace, insert, delete or rename (all blocks are shown in your prompt; there is no command to view them)",
            ));
        }
    };
    Ok(vec![change])
}

fn path(given: &Arguments<'_>) -> Result<String, ArgumentError> {
    given.first_of(&["path", "label", "old_path"])
}

fn create(given: &Arguments<'_>) -> Result<MemoryChange, ArgumentError> {
    let label = path(given)?;
    let description = match given.words("description")? {
        Some(description) => description,
        None => return Err(given.missing("description")),
    };
    let value = given.text("file_text")?.unwrap_or_default();
    Ok(MemoryChange::Create {
        label,
        description: Some(description),
        value,
    })
}

fn rename(given: &Arguments<'_>) -> Result<Vec<MemoryChange>, ArgumentError> {
    let label = given.first_of(&["old_path", "path", "label"])?;
    let (to, description) = (given.words("new_path")?, given.words("description")?);
    let mut changes = Vec::new();
    if let Some(description) = description {
        let label = label.clone();
        changes.push(MemoryChange::Describe { label, description });
    }
    if let Some(to) = to {
        changes.push(MemoryChange::Rename { label, to });
    }
    if changes.is_empty() {
        return Err(given.missing("new_path"));
    }
    Ok(changes)
}

/// The changes of a call of `memory_apply_patch`.
pub(super) fn patch(given: &Arguments<'_>) -> Result<Vec<MemoryChange>, ArgumentError> {
    let label = given.words("label")?;
    let patch = given.first_of(&["patch", "input", "diff"])?;
    Ok(parse_patch(label.as_deref(), &patch)?)
}
