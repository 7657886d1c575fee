//! `mnemic models rm`.

use std::io;

use mnemic_local::{Artifact, ModelCache};

use super::megabytes;
use crate::terminal::say;

/// Deletes a model's files.
///
/// # Errors
/// They cannot be deleted.
pub fn remove(model: &dyn Artifact, cache: &ModelCache) -> io::Result<()> {
    let folder = cache.folder(model);
    let folder = folder.display();
    match cache.remove(model)? {
        Some(0) => say(format!("{folder} was empty, and is deleted.")),
        Some(freed) => say(format!("{folder} is deleted ({}).", megabytes(freed))),
        None => say(format!("{} is not in {folder}.", model.id())),
    }
    Ok(())
}
