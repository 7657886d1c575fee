//! Named points at which a test can make the process die, a commit fail or a commit take long.
//!
//! Compiled to nothing without the `failpoints` feature. With it, two environment variables are read:
//! `MNEMIC_CRASH=point:n` aborts the process when `point` is reached for the n-th time, and
//! `MNEMIC_FAULTS=file` names a file that is read anew at each commit: a line `commit fail` makes
//! commits fail as a full disk does, `commit unheard` as a connection does that is lost before their
//! answer comes, `commit slow MS` makes them wait.

/// A failure of a commit that a test wants.
#[cfg_attr(not(feature = "failpoints"), allow(dead_code))]
pub(crate) enum CommitFault {
    /// Nothing is kept.
    Failed(String),
    /// All is kept, but nobody hears of it: the connection is lost. On SQLite it is as [`Self::Failed`].
    Unheard(String),
}

/// Aborts the process if a test asked for it here.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn hit(_point: &str) {}

/// What a test wants from the next commit.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) fn commit_fault() -> Option<CommitFault> {
    None
}

#[cfg(feature = "failpoints")]
mod enabled {
    use super::CommitFault;

    use std::{
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    struct Crash {
        point: String,
        at: u64,
        seen: AtomicU64,
    }

    fn crash() -> Option<&'static Crash> {
        static CRASH: OnceLock<Option<Crash>> = OnceLock::new();
        CRASH
            .get_or_init(|| {
                let spec = std::env::var("MNEMIC_CRASH").ok()?;
                let (point, at) = spec.rsplit_once(':').unwrap_or((spec.as_str(), "1"));
                let at = at.parse().unwrap_or(1);
                Some(Crash {
                    point: point.to_owned(),
                    at,
                    seen: AtomicU64::new(0),
                })
            })
            .as_ref()
    }

    /// Aborts the process if a test asked for it here.
    pub fn hit(point: &str) {
        let Some(crash) = crash() else { return };
        if crash.point == point && crash.seen.fetch_add(1, Ordering::SeqCst) + 1 == crash.at {
            std::process::abort();
        }
    }

    /// What a test wants from the next commit, after any delay.
    pub(crate) fn commit_fault() -> Option<CommitFault> {
        let path = std::env::var_os("MNEMIC_FAULTS")?;
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut fault = None;
        for line in text.lines() {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["commit", "fail"] => {
                    let text = "no space left on device (injected)".to_owned();
                    fault = Some(CommitFault::Failed(text));
                }
                ["commit", "unheard"] => {
                    let text = "connection closed (injected)".to_owned();
                    fault = Some(CommitFault::Unheard(text));
                }
                ["commit", "slow", millis] => {
                    std::thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
                }
                _ => {}
            }
        }
        fault
    }
}

#[cfg(feature = "failpoints")]
pub(crate) use enabled::commit_fault;
#[cfg(feature = "failpoints")]
pub use enabled::hit;
