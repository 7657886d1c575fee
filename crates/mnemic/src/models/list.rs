//! `mnemic models list`.

use mnemic_local::{ModelCache, manifest};

use super::megabytes;
use crate::terminal::say;

/// Prints all models and where they are.
pub fn list(cache: &ModelCache) {
    for model in manifest::models() {
        let place = if cache.has(model) {
            cache.folder(model).display().to_string()
        } else {
            format!("not here; fetch it with: mnemic models pull {}", model.id)
        };
        say(format!(
            "{:<28} {:>7}  {:<12} {place}",
            model.handle(),
            megabytes(model.bytes()),
            model.licence,
        ));
        say(format!(
            "    {}; {} dimensions, {} tokens",
            model.about, model.dims, model.max_tokens
        ));
    }
}
