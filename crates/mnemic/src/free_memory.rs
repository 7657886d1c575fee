//! How much memory this process can still get: of the machine, and of what its control groups leave it.

use std::{fs, path::Path};

/// Where the system shows control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// Megabytes that are free; nothing where the system does not tell.
#[must_use]
pub fn megabytes() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = available(&read("/proc/meminfo"));
    let groups = left(&read("/proc/self/cgroup"), Path::new(GROUPS));
    let bytes = [machine, groups].into_iter().flatten().min()?;
    Some(bytes / 1_000_000)
}

/// Of `/proc/meminfo`, the bytes that programs can still get.
fn available(told: &str) -> Option<u64> {
    let mut lines = told.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1_024)
}

/// The bytes that the groups of `/proc/self/cgroup` leave; nothing where none has a limit. A group also has
/// the limits of those above it.
fn left(groups: &str, shown: &Path) -> Option<u64> {
    let lefts = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (kinds, group) = (fields.next()?, fields.next()?);
        let form = match kinds {
            "" => &SECOND,
            kinds if kinds.split(',').any(|kind| kind == "memory") => &FIRST,
            _ => return None,
        };
        let root = shown.join(form.folder);
        let group = root.join(group.trim_start_matches('/'));
        let mut above = group
            .ancestors()
            .take_while(|folder| folder.starts_with(&root));
        above.by_ref().filter_map(|folder| form.left(folder)).min()
    });
    lefts.min()
}

/// How a version of control groups tells of memory.
struct Form {
    folder: &'static str,
    limit: &'static str,
    used: &'static str,
    /// Of what is used, what is given back when it is needed.
    cached: &'static str,
}

const FIRST: Form = Form {
    folder: "memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: "total_inactive_file",
};

const SECOND: Form = Form {
    folder: "",
    limit: "memory.max",
    used: "memory.current",
    cached: "inactive_file",
};

impl Form {
    fn left(&self, folder: &Path) -> Option<u64> {
        let number = |name| {
            let text = fs::read_to_string(folder.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let limit = number(self.limit)?;
        let used = number(self.used).unwrap_or(0);
        let counts = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cached = counts.lines().find_map(|line| {
            let (name, count) = line.split_once(' ')?;
            (name == self.cached).then(|| count.trim().parse::<u64>().ok())?
        });
        Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_machine_tells_what_programs_can_still_get() {
        let told = "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    2000 kB\n";
        assert_eq!(available(told), Some(2_048_000));
        assert_eq!(available(""), None);
    }

    #[test]
    fn the_tightest_of_all_groups_counts_and_what_is_cached_is_free() {
        let shown = tempfile::tempdir().unwrap();
        let root = shown.path();
        let service = root.join("system/mnemic");
        write(&service, &[("memory.max", "max\n")]);
        assert_eq!(left("0::/system/mnemic\n", root), None);
        let counts = "anon 1\ninactive_file 300\n";
        write(
            &root.join("system"),
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "800\n"),
                ("memory.stat", counts),
            ],
        );
        assert_eq!(left("0::/system/mnemic\n", root), Some(500));
        write(
            &service,
            &[("memory.max", "400\n"), ("memory.current", "100\n")],
        );
        assert_eq!(left("0::/system/mnemic\n", root), Some(300));
        // Within a container its own group is the root of all.
        write(root, &[("memory.max", "200\n"), ("memory.current", "90\n")]);
        assert_eq!(left("0::/\n", root), Some(110));
    }

    #[test]
    fn groups_of_the_first_version_count_too() {
        let shown = tempfile::tempdir().unwrap();
        let group = shown.path().join("memory/box");
        let files = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "600\n"),
            ("memory.stat", "total_inactive_file 100\n"),
        ];
        write(&group, &files);
        assert_eq!(
            left("4:cpu,memory:/box\n2:pids:/box\n", shown.path()),
            Some(500)
        );
    }
}
