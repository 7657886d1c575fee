//! How many commits this process has made: what a turn costs beside its model, and what operators watch.

use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Notes a commit that succeeded.
pub(crate) fn note() {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// Commits of this process since its start.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}
