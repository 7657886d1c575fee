//! A text in the person's own editor.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use rand::Rng as _;

use super::error::ChatError;
use crate::data;

/// Opens the editor on a text and gives what it was made to.
///
/// # Errors
/// There is no editor, it failed, or its file cannot be written or read.
pub fn edit(text: &str) -> Result<String, ChatError> {
    let name = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        })
        .ok_or_else(|| {
            ChatError::Usage("no editor is set: set EDITOR, for example EDITOR=nano".to_owned())
        })?;
    let path = write(text)?;
    let edited = run(&name, &path).and_then(|()| Ok(std::fs::read_to_string(&path)?));
    std::fs::remove_file(&path).ok();
    let edited = edited?;
    // Editors end the last line, whether or not the text did.
    match edited.strip_suffix('\n') {
        Some(stripped) if !text.ends_with('\n') => Ok(stripped.to_owned()),
        _ => Ok(edited),
    }
}

/// A new file with the text that only this user can read.
fn write(text: &str) -> Result<PathBuf, ChatError> {
    let number: u64 = rand::rng().random();
    let path = std::env::temp_dir().join(format!("mnemic-{number:016x}.md"));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    data::private(&path, 0o600)?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}

/// The variable may hold arguments as well, as in `code --wait`.
fn run(editor: &str, path: &Path) -> Result<(), ChatError> {
    let mut words = editor.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let status = command.args(words).arg(path).status().map_err(|error| {
        ChatError::Usage(format!("the editor '{editor}' cannot be started: {error}"))
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(ChatError::Usage(format!(
            "the editor ended with {status}; nothing was changed"
        )))
    }
}
