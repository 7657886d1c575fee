//! The processes of a call, seen from outside: what they use together, and how all of them end.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use rustix::process::{Pid, Signal};

/// What a tree of processes uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// Bytes of memory that are theirs alone; what several of them share counts once for each.
    pub memory: u64,
    /// Time on processors, with what processes that ended and were waited for used.
    pub processor: Duration,
    /// Number of processes.
    pub processes: usize,
}

/// All processes below one, without it.
pub(crate) fn below(root: u32) -> Vec<u32> {
    let mut found = children(root);
    let mut next = 0;
    // A tree that grows while it is read ends here at some point.
    while let Some(one) = found.get(next).copied().filter(|_| next < 4096) {
        found.extend(children(one));
        next += 1;
    }
    found
}

fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            let ids: Vec<u32> = text
                .split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect();
            ids
        })
        .collect()
}

/// What these processes use now.
pub(crate) fn measure(processes: &[u32]) -> Use {
    let mut total = Use::default();
    for one in processes {
        let Some((memory, processor)) = fs::read_to_string(format!("/proc/{one}/stat"))
            .ok()
            .and_then(|text| of_stat(&text))
        else {
            continue;
        };
        total.processes += 1;
        total.processor += processor;
        total.memory += memory;
    }
    total
}

/// Of a line of `/proc/N/stat`: bytes that are resident, and times including those of children that were waited for.
fn of_stat(text: &str) -> Option<(u64, Duration)> {
    // The name, in parentheses, may hold anything.
    let fields: Vec<u64> = text
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks: u64 = fields.get(10..14)?.iter().sum();
    let hertz = rustix::param::clock_ticks_per_second().max(1);
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let processor = Duration::from_millis(ticks.saturating_mul(1000) / hertz);
    Some((fields.get(20)?.saturating_mul(page), processor))
}

/// The memory of processes without counting twice what they share. Slower than [`measure`].
pub(crate) fn exact_memory(processes: &[u32]) -> u64 {
    processes
        .iter()
        .filter_map(|one| fs::read_to_string(format!("/proc/{one}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text.lines().find(|line| line.starts_with("Pss:"))?;
            let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kilobytes * 1024)
        })
        .sum()
}

/// Ends every process below this one, also those that make new ones meanwhile. With a user of their own that is one
/// stroke; else it is repeated until none is left.
pub(crate) fn end_all_below(own_user: bool) {
    for _ in 0..10_000 {
        if own_user {
            // Everything that this user may signal: the call's processes. The caller itself is left out.
            let everyone = nix::unistd::Pid::from_raw(-1);
            let _ = nix::sys::signal::kill(everyone, nix::sys::signal::Signal::SIGKILL);
        }
        let left = below(std::process::id());
        for one in &left {
            if let Some(pid) = i32::try_from(*one).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        if left.is_empty() {
            return;
        }
    }
}

/// Processes and threads of a user.
pub(crate) fn threads_of(user: u32) -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| entry.metadata().is_ok_and(|about| about.uid() == user))
        .filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok())
        .filter_map(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Threads:"))?;
            line.trim().parse::<u64>().ok()
        })
        .sum()
}

/// Bytes on the disk of files that have no name any more and are only open: the other part of what a scratch folder holds.
pub(crate) fn bytes_unnamed(processes: &[u32]) -> u64 {
    let mut seen = HashSet::new();
    let open = processes.iter().flat_map(|one| {
        let folder = fs::read_dir(format!("/proc/{one}/fd"));
        folder.into_iter().flatten().flatten()
    });
    open.filter_map(|entry| fs::metadata(entry.path()).ok())
        .filter(|about| about.is_file() && about.nlink() == 0)
        .filter(|about| seen.insert((about.dev(), about.ino())))
        .map(|about| about.blocks().saturating_mul(512))
        .sum()
}

/// Bytes on the disk below a folder, without following links; stops counting soon after `enough`.
pub(crate) fn bytes_below(folder: &Path, enough: u64) -> u64 {
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(one) = folders.pop() {
        for entry in fs::read_dir(one).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else {
                continue;
            };
            // A small file takes a block as well, and so does a folder.
            total += about.blocks().saturating_mul(512).max(4096);
            if about.is_dir() {
                folders.push(entry.path());
            }
        }
        if total > enough {
            break;
        }
    }
    total
}
