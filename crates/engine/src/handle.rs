//! A subscription to a run.

use std::{collections::VecDeque, sync::Arc};

use mnemic_core::{
    ids::{AgentId, ConversationId, RunId},
    runs::{RunError, StopReason},
};
use mnemic_store::{Store, StoreError, events::EventRow};

use crate::{
    events::Event,
    live::{Found, LiveRun, Numbered},
};

/// Rows of the stored log that are read at once; a row holds up to 64 events.
const LOG_ROWS: i64 = 64;

/// The same of a run that is over: so few that the first of thousands of events is there at once.
pub(crate) const PAST_ROWS: i64 = 8;

/// What of a run that is over was not read yet.
struct Past {
    log: Store,
    /// The end, should the log have none.
    last_words: Vec<Event>,
}

/// Reads a run's events from some number on. Dropping it never touches the run.
pub struct RunHandle {
    /// The run.
    pub run_id: RunId,
    /// The agent.
    pub agent_id: AgentId,
    /// The thread.
    pub conversation_id: ConversationId,
    /// Whether that is the agent's default one.
    pub in_default_conversation: bool,
    /// Whether the run was begun by an earlier request.
    pub attached: bool,
    /// Whether its events are numbered for its clients.
    pub background: bool,
    next: u64,
    replay: VecDeque<Numbered>,
    live: Option<Arc<LiveRun>>,
    log: Option<Store>,
    past: Option<Past>,
}

impl RunHandle {
    /// Follows a live run from event `next` on; what is no longer in memory is read from `log`.
    pub(crate) fn live(live: Arc<LiveRun>, next: u64, log: Store) -> Self {
        Self {
            run_id: live.id,
            agent_id: live.agent_id,
            conversation_id: live.conversation_id,
            in_default_conversation: live.in_default_conversation,
            attached: false,
            background: live.background,
            next,
            replay: VecDeque::new(),
            log: live.background.then_some(log),
            live: Some(live),
            past: None,
        }
    }

    /// Plays the events of a run that is over.
    pub(crate) fn replay(run: &mnemic_core::runs::Run, events: Vec<Numbered>) -> Self {
        Self {
            run_id: run.id,
            agent_id: run.agent_id,
            conversation_id: run.conversation_id,
            in_default_conversation: run.in_default_conversation,
            attached: true,
            background: run.background,
            next: 0,
            replay: events.into(),
            live: None,
            log: None,
            past: None,
        }
    }

    /// Plays the logged events of a run that is over, of which these are the first; the rest is read as they are taken.
    pub(crate) fn logged(
        run: &mnemic_core::runs::Run,
        first: Vec<Numbered>,
        log: Store,
        last_words: Vec<Event>,
    ) -> Self {
        Self {
            past: Some(Past { log, last_words }),
            ..Self::replay(run, first)
        }
    }

    /// Marks the subscription as one to an earlier request's run.
    pub(crate) fn attached(mut self) -> Self {
        self.attached = true;
        self
    }

    /// The next event with its number; `None` after [`Event::Done`], or when the process stops.
    pub async fn next(&mut self) -> Option<Numbered> {
        loop {
            if let Some(numbered) = self.replay.pop_front() {
                self.next = numbered.0 + 1;
                return Some(numbered);
            }
            if let Some(past) = self.past.take() {
                if let Err(error) = self.read_on(past).await {
                    self.replay = too_slow(self.next, &error);
                }
                continue;
            }
            let live = self.live.as_ref()?;
            match live.wait(self.next).await {
                Found::Event(numbered) => {
                    self.next = numbered.0 + 1;
                    return Some(numbered);
                }
                Found::End => return None,
                Found::Gone(first) => {
                    if let Err(error) = self.catch_up(first).await {
                        self.live = None;
                        self.replay = too_slow(self.next, &error);
                    }
                }
            }
        }
    }

    /// Reads the next rows of a run that is over, and its end where the log has none.
    async fn read_on(&mut self, past: Past) -> Result<(), StoreError> {
        let (run_id, from) = (self.run_id, i64::try_from(self.next).unwrap_or(i64::MAX));
        let rows = past
            .log
            .read(move |tx| {
                Box::pin(async move {
                    mnemic_store::events::after(tx, run_id, from - 1, PAST_ROWS).await
                })
            })
            .await?;
        let mut found = unpack(&rows, self.next)?;
        if is_full_page(&rows) {
            self.past = Some(past);
        } else if !rows.iter().any(ends_run) {
            let next = found.last().map_or(self.next, |(seq, _)| seq + 1);
            found.extend((next..).zip(past.last_words.into_iter().map(Arc::new)));
        }
        self.replay = found.into();
        Ok(())
    }

    /// Fills the gap up to event `first` from the stored log.
    async fn catch_up(&mut self, first: u64) -> Result<(), StoreError> {
        let Some(store) = &self.log else {
            return Err(StoreError::Unavailable(
                "its events were not logged".to_owned(),
            ));
        };
        let (run_id, from) = (self.run_id, i64::try_from(self.next).unwrap_or(i64::MAX));
        let rows = store
            .read(move |tx| {
                Box::pin(async move {
                    mnemic_store::events::after(tx, run_id, from - 1, LOG_ROWS).await
                })
            })
            .await?;
        let found = unpack(&rows, self.next)?;
        self.replay = found.into_iter().filter(|(seq, _)| *seq < first).collect();
        if self.replay.is_empty() {
            return Err(StoreError::Corrupt("the log has a gap".to_owned()));
        }
        Ok(())
    }
}

/// Whether more rows may follow these.
pub(crate) fn is_full_page(rows: &[EventRow]) -> bool {
    i64::try_from(rows.len()).is_ok_and(|count| count >= PAST_ROWS)
}

/// Whether a row holds the last event of its run.
fn ends_run(row: &EventRow) -> bool {
    let events: Option<Vec<Event>> = serde_json::from_str(&row.events).ok();
    let last = events.and_then(|events| events.into_iter().next_back());
    matches!(last, Some(Event::Done))
}

/// The events of stored rows, from number `from` on.
pub(crate) fn unpack(rows: &[EventRow], from: u64) -> Result<Vec<Numbered>, StoreError> {
    let mut numbered = Vec::new();
    for row in rows {
        let events: Vec<Event> = serde_json::from_str(&row.events)?;
        let first = u64::try_from(row.seq).unwrap_or(0);
        for (seq, event) in (first..).zip(events) {
            if seq >= from {
                numbered.push((seq, Arc::new(event)));
            }
        }
    }
    Ok(numbered)
}

/// What a subscriber gets that fell too far behind.
fn too_slow(next: u64, error: &StoreError) -> VecDeque<Numbered> {
    let failed = RunError {
        error_type: "stream_incomplete".to_owned(),
        message: "this stream was read too slowly, and events were left out; the run goes on: \
                  read its messages when it has ended"
            .to_owned(),
        detail: Some(error.to_string()),
    };
    let events = [
        Event::Stopped {
            reason: StopReason::Error,
        },
        Event::Failed { error: failed },
        Event::Done,
    ];
    (next..).zip(events.map(Arc::new)).collect()
}
