//! `mnemic models pull`.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use mnemic_local::{
    Artifact, ModelCache,
    pull::{self, Progress, PullError, PullOptions},
};

use super::megabytes;

/// How often a progress bar is drawn although nothing came.
const REDRAW: std::time::Duration = std::time::Duration::from_millis(200);

/// Fetches a model and shows how far it is.
///
/// # Errors
/// No source has it.
pub fn pull(
    model: &dyn Artifact,
    cache: &ModelCache,
    from: Option<PathBuf>,
    (offline, hub): (bool, Option<String>),
    tell: &dyn Fn(String),
) -> Result<(), PullError> {
    let options = PullOptions {
        from,
        offline,
        hub: hub.unwrap_or_else(|| pull::HUB.to_owned()),
        ..PullOptions::default()
    };
    let bar = ProgressBar::no_length();
    // What was last drawn would stand while a source is slow, however far it had come.
    bar.enable_steady_tick(REDRAW);
    if let Ok(style) = ProgressStyle::with_template(
        "{msg} [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
    ) {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut show = |progress: Progress<'_>| match progress {
        Progress::Waiting => bar.suspend(|| {
            tell("Another process fetches it; waiting for that.".to_owned());
        }),
        Progress::Source(source) => bar.suspend(|| tell(format!("Asking {source}"))),
        Progress::Failed { reason, .. } => {
            // How far it was says nothing of the next source.
            bar.reset();
            bar.suspend(|| tell(format!("  no: {reason}")));
        }
        Progress::File { name, done, total } => {
            bar.set_length(total);
            bar.set_message(name.to_owned());
            bar.set_position(done);
        }
    };
    let pulled = pull::pull(model, cache, &options, &mut show);
    bar.finish_and_clear();
    let folder = pulled?;
    tell(format!(
        "{} is in {} ({}, {}), every file as it must be.",
        model.id(),
        folder.display(),
        megabytes(cache.bytes(model)),
        model.licence(),
    ));
    Ok(())
}
