//! Which model this machine can run.

use std::{num::NonZeroUsize, path::Path, thread};

use mnemic_local::{Artifact as _, ChatModel, chat_models};

/// Of the free memory, what a model may take.
const SHARE: f64 = 0.8;

/// The best model that fits: what is free of memory and disk, and the cores, have to be enough. The smallest
/// of all where none does.
#[must_use]
pub fn best(folder: &Path) -> Option<&'static ChatModel> {
    let machine = Machine::this(folder);
    let fitting = chat_models::all().iter().rfind(|model| machine.fits(model));
    fitting.or_else(|| chat_models::all().first())
}

/// What is free on a machine; what is not known is taken for enough.
struct Machine {
    memory_mb: Option<u64>,
    disk_bytes: Option<u64>,
    cores: usize,
}

impl Machine {
    fn this(folder: &Path) -> Self {
        Self {
            memory_mb: free_memory_mb(),
            disk_bytes: free_disk(folder),
            cores: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }

    fn fits(&self, model: &ChatModel) -> bool {
        let memory = self
            .memory_mb
            .is_none_or(|free| model.memory_mb as f64 <= free as f64 * SHARE);
        let disk = self.disk_bytes.is_none_or(|free| model.bytes() <= free);
        memory && disk && model.cores <= self.cores
    }
}

/// The memory that programs can still get, where the system tells it in this way.
fn free_memory_mb() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1_000)
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
        let best = |memory_mb, disk_gb: u64, cores| {
            let machine = Machine {
                memory_mb: Some(memory_mb),
                disk_bytes: Some(disk_gb * 1_000_000_000),
                cores,
            };
            let fitting = chat_models::all().iter().rfind(|model| machine.fits(model));
            fitting.map(|model| model.id.as_str())
        };
        assert_eq!(best(64_000, 100, 16), Some("qwen3-4b"));
        assert_eq!(best(64_000, 2, 16), Some("qwen3-1.7b"));
        assert_eq!(best(64_000, 100, 2), Some("qwen3-0.6b"));
        assert_eq!(best(600, 100, 16), Some("smollm2-135m"));
        assert_eq!(best(100, 100, 16), None);
    }
}
