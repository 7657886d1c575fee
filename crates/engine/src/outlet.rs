//! Where a run's events go: straight to its subscribers or, for background runs, into the stored log
//! first. A client never sees a number that a crash could take back.

use std::{sync::Arc, time::Duration};

use mnemic_core::{ids::StepId, time::Timestamp};
use mnemic_store::{Store, StoreError, Tx, events::EventRow};
use tokio::time::Instant;

use crate::{events::Event, live::LiveRun};

/// Events that share a row of the log at the most.
const MAX_ROW: usize = 64;

/// How long an event waits at the most for others to share its row.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// The events of one run on their way out.
pub(crate) struct Outlet {
    live: Arc<LiveRun>,
    /// Which attempt at the run this is; only background runs have a log.
    attempt: i64,
    waiting: Vec<Event>,
    since: Option<Instant>,
    step_id: Option<StepId>,
}

/// Events that are to be logged by a commit, and published when it succeeded.
#[derive(Clone)]
pub(crate) struct Parcel {
    live: Arc<LiveRun>,
    attempt: i64,
    step_id: Option<StepId>,
    pub(crate) events: Vec<Event>,
}

impl Outlet {
    pub(crate) fn new(live: Arc<LiveRun>, attempt: i64) -> Self {
        Self {
            live,
            attempt,
            waiting: Vec::new(),
            since: None,
            step_id: None,
        }
    }

    /// Says in which step the events from now on happen.
    pub(crate) fn begin_step(&mut self, step_id: StepId) {
        self.step_id = Some(step_id);
    }

    /// Sends an event that no commit carries, such as a fragment of text.
    pub(crate) fn emit(&mut self, event: Event) {
        if self.live.background {
            self.since.get_or_insert_with(Instant::now);
            self.waiting.push(event);
        } else {
            self.live.publish(event);
        }
    }

    /// When the waiting events must be logged; `None` while none wait.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + MAX_WAIT)
    }

    /// Whether the waiting events fill a row.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_ROW
    }

    /// Logs what waits and shows it to the subscribers. What could not be logged goes on waiting.
    pub(crate) async fn flush(&mut self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.since = Some(Instant::now());
        let parcel = self.parcel();
        let kept = parcel.events.clone();
        let written = store
            .write(move |tx| {
                Box::pin(async move {
                    parcel.log(tx, now).await?;
                    Ok::<_, StoreError>(parcel)
                })
            })
            .await;
        match written {
            Ok(parcel) => {
                self.since = None;
                parcel.publish();
                Ok(())
            }
            Err(error) => {
                self.waiting = kept;
                Err(error)
            }
        }
    }

    /// Takes what waits, for a commit to log together with what it adds.
    pub(crate) fn parcel(&mut self) -> Parcel {
        Parcel {
            live: Arc::clone(&self.live),
            attempt: self.attempt,
            step_id: self.step_id,
            events: std::mem::take(&mut self.waiting),
        }
    }

    /// Puts back what a failed commit did not log.
    pub(crate) fn put_back(&mut self, events: Vec<Event>) {
        self.waiting = events;
    }
}

impl Parcel {
    /// Logs the events as part of a commit; foreground runs have no log.
    pub(crate) async fn log(&self, tx: &mut Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
        if !self.live.background || self.events.is_empty() {
            return Ok(());
        }
        let first = i64::try_from(self.live.next_seq()).unwrap_or(i64::MAX);
        // What an earlier commit logged whose answer was lost is there already: only this attempt's
        // task logs its events, and it tries the same ones again.
        let known = match mnemic_store::events::last(tx, self.live.id).await? {
            Some((last, attempt)) if attempt == self.attempt => last + 1 - first,
            _ => 0,
        };
        let known = usize::try_from(known).unwrap_or(0);
        let events = self.events.get(known..).unwrap_or_default();
        if events.is_empty() {
            return Ok(());
        }
        let row = EventRow {
            seq: first.saturating_add(i64::try_from(known).unwrap_or(i64::MAX)),
            events: serde_json::to_string(events)?,
            count: i64::try_from(events.len()).unwrap_or(i64::MAX),
            step_id: self.step_id,
            attempt: self.attempt,
        };
        mnemic_store::events::append(tx, &self.live.scope, self.live.id, &row, now).await
    }

    /// Shows the events to the subscribers.
    pub(crate) fn publish(self) {
        for event in self.events {
            self.live.publish(event);
        }
    }
}
