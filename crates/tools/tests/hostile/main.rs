//! Tools that mean harm. None gets through, the server stays small, and the next call works. Every test tries every way
//! in which tools are kept in on this machine.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod files;
mod interpreter;
mod limits;
mod network;
#[path = "../place/mod.rs"]
mod place;
mod processes;
mod unprivileged;

use mnemic_tools::sandbox::{Call, Outcome, Sandbox, Status, Stop};
use place::{places, python, value};
use serde_json::json;

/// Runs each of the named attempts and returns those that did something.
const ATTEMPTS: &str = r#"
import ctypes, os, sys, json, time, signal, socket, subprocess, threading
LIBC = ctypes.CDLL(None, use_errno=True)
def syscall(number, *arguments):
    result = LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result
def what_worked(attempts):
    worked = {}
    for name, attempt in attempts.items():
        try:
            worked[name] = repr(attempt())
        except Exception:
            pass
    return worked
def read(path):
    with open(path, "rb") as file:
        return file.read(64)
"#;

fn attempts(body: &str) -> Call {
    python(&format!("{ATTEMPTS}\n{body}"))
}

/// After whatever happened: the next call works, and this process, which stands for the server, is as small as before.
async fn all_is_well(name: &str, sandbox: &Sandbox) {
    let after = value(
        sandbox,
        python("def tool():\n    return sorted([3, 1, 2])\n"),
    )
    .await;
    assert_eq!(after, json!([1, 2, 3]), "{name}");
    let status = std::fs::read_to_string("/proc/self/status").expect("own status");
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("peak");
    let kilobytes: u64 = peak
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("a number");
    assert!(kilobytes < 128 * 1024, "{name}: {kilobytes} KB");
}

async fn nothing_works(call: Call) {
    for (name, sandbox) in places().await {
        assert_eq!(value(&sandbox, call.clone()).await, json!({}), "{name}");
        all_is_well(name, &sandbox).await;
    }
}

fn stopped(name: &str, outcome: &Outcome) -> Stop {
    match &outcome.status {
        Status::Stopped(stop) => stop.clone(),
        _ => panic!("{name}: {outcome:?}"),
    }
}

/// Processes of this machine that carry a name that a tool gave itself.
fn processes_named(name: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("processes").flatten();
    entries
        .filter(|entry| {
            std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        })
        .filter(|entry| {
            let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            !status.contains("State:\tZ")
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
