//! `mnemic models list`.

use mnemic_local::{ModelCache, files::Presence, manifest};

use super::megabytes;
use crate::terminal::say;

/// Prints all models and where they are.
pub fn list(cache: &ModelCache) {
    for model in manifest::models() {
        let place = match cache.presence(model) {
            Presence::Whole => cache.folder(model).display().to_string(),
            Presence::Missing => {
                format!("not here; fetch it with: mnemic models pull {}", model.id)
            }
            Presence::Damaged(error) => format!(
                "damaged ({error}); fetch it again with: mnemic models pull {}",
                model.id
            ),
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
