//! Which model this machine can run.

use std::{num::NonZeroUsize, path::Path, thread};

use mnemic_local::{Artifact as _, ChatModel, chat_models};

use crate::free_memory;

/// Of the free memory, what a model may take.
const SHARE: f64 = 0.8;

/// The best model that fits: what is free of memory and disk, and the cores, have to be enough, also when so
/// many megabytes of conversations are kept. The smallest of all where none does.
#[must_use]
pub fn best(folder: &Path, cache_mb: u64) -> Option<&'static ChatModel> {
    let machine = Machine::this(folder, cache_mb);
    let fitting = chat_models::all().iter().rfind(|model| machine.fits(model));
    fitting.or_else(|| chat_models::all().first())
}

/// What is free on a machine; what is not known is taken for enough.
struct Machine {
    memory_mb: Option<u64>,
    /// Of it, what conversations take.
    cache_mb: u64,
    disk_bytes: Option<u64>,
    cores: usize,
}

impl Machine {
    fn this(folder: &Path, cache_mb: u64) -> Self {
        Self {
            memory_mb: free_memory::megabytes(),
            cache_mb,
            disk_bytes: free_disk(folder),
            cores: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }

    fn fits(&self, model: &ChatModel) -> bool {
        let needed = model.memory_mb.saturating_add(self.cache_mb);
        let memory = self
            .memory_mb
            .is_none_or(|free| needed as f64 <= free as f64 * SHARE);
        let disk = self.disk_bytes.is_none_or(|free| model.bytes() <= free);
        memory && disk && model.cores <= self.cores
    }
}

/// What is free on the disk of a folder, or of the nearest one above it that exists.
#[cfg(unix)]
fn free_disk(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    let disk = rustix::fs::statvfs(existing).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn free_disk(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_fits_is_taken() {
        let best = |memory_mb, cache_mb, disk_gb: u64, cores| {
            let machine = Machine {
                memory_mb: Some(memory_mb),
                cache_mb,
                disk_bytes: Some(disk_gb * 1_000_000_000),
                cores,
            };
            let fitting = chat_models::all().iter().rfind(|model| machine.fits(model));
            fitting.map(|model| model.id.as_str())
        };
        assert_eq!(best(64_000, 1_024, 100, 16), Some("qwen3-4b"));
        assert_eq!(best(64_000, 1_024, 2, 16), Some("qwen3-1.7b"));
        assert_eq!(best(64_000, 1_024, 100, 2), Some("qwen3-0.6b"));
        assert_eq!(
            best(7_000, 1_024, 100, 16),
            Some("qwen3-1.7b"),
            "with its conversations"
        );
        assert_eq!(best(7_000, 100, 100, 16), Some("qwen3-4b"));
        assert_eq!(best(800, 200, 100, 16), Some("smollm2-135m"));
        assert_eq!(best(100, 0, 100, 16), None);
    }
}
