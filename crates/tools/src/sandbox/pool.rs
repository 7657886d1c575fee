//! Interpreters that are closed in already and wait for their one call, where calls can't be forked from a warm one.

use std::{num::NonZero, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    Warm,
    launch::{Kind, Running},
};

/// Interpreters that wait at the most: each takes about 40 MB.
const READY: usize = 8;

/// How long interpreters wait for calls that do not come.
const IDLE: Duration = Duration::from_secs(60);

/// The waiting interpreters. All are of the kind that was asked for last: others do not keep their processes.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    warm: Warm,
    processors: usize,
}

#[derive(Debug, Default)]
struct State {
    kind: Option<Kind>,
    ready: Vec<Running>,
    /// Calls that run now.
    running: usize,
    /// How many ran at once lately: so many are kept ready, and one more.
    peak: usize,
    /// When the last call began.
    used: Option<Instant>,
    /// Whether a task keeps interpreters ready.
    is_kept: bool,
}

/// A call's place among those that run at once.
#[derive(Debug)]
pub(crate) struct Place {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        self.changed.notify_one();
    }
}

impl Pool {
    pub fn new(warm: Warm) -> Self {
        Self {
            state: Arc::default(),
            changed: Arc::default(),
            warm,
            processors: std::thread::available_parallelism().map_or(1, NonZero::get),
        }
    }

    /// An interpreter of this kind that waits, if there is one, and the call's place.
    pub fn take(&self, kind: &Kind) -> (Option<Running>, Place) {
        let mut state = self.state.lock();
        state.running += 1;
        state.peak = state.peak.max(state.running);
        state.used = Some(Instant::now());
        if state.kind.as_ref() != Some(kind) {
            state.ready.clear();
            state.kind = Some(kind.clone());
        }
        let mut found = None;
        while let Some(mut running) = state.ready.pop() {
            if running.process.lives() {
                found = Some(running);
                break;
            }
        }
        let place = Place {
            state: Arc::clone(&self.state),
            changed: Arc::clone(&self.changed),
        };
        (found, place)
    }

    /// Whether somebody has to begin keeping interpreters ready.
    pub fn wants_keeper(&self) -> bool {
        let mut state = self.state.lock();
        let wants = self.warm == Warm::Yes && !state.is_kept && state.kind.is_some();
        state.is_kept |= wants;
        wants
    }

    /// The kind of which one more is to be started, once that is so. None when no calls came for a while: then none waits
    /// any more.
    pub async fn next(&self) -> Option<Kind> {
        loop {
            {
                let mut state = self.state.lock();
                if state.used.is_none_or(|used| used.elapsed() >= IDLE) {
                    state.ready.clear();
                    state.peak = 0;
                    state.is_kept = false;
                    return None;
                }
                let enough = state.ready.len() > state.peak || state.ready.len() >= READY;
                // Calls that run have the processors before those to come.
                if !enough && state.running < self.processors {
                    return state.kind.clone();
                }
            }
            // The answer is looked for again: whatever woke this.
            let _ = tokio::time::timeout(IDLE, self.changed.notified()).await;
        }
    }

    pub fn put(&self, kind: Kind, running: Running) {
        let mut state = self.state.lock();
        if state.kind.as_ref() == Some(&kind) {
            state.ready.push(running);
        }
    }

    /// Nobody keeps interpreters ready any more: they do not start.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.is_kept = false;
        state.ready.clear();
    }
}
