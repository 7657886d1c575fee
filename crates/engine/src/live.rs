//! Runs that are alive in this process: their events, in a buffer from which every subscriber reads
//! at its own pace, and their cancellation.

use std::{collections::VecDeque, sync::Arc};

use mnemic_core::{
    ids::{AgentId, ConversationId, RunId},
    scope::Scope,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, SetOnce};
use tokio_util::sync::CancellationToken;

use crate::events::Event;

/// Events that a run keeps in memory. A subscriber that falls further behind is told so, and reads
/// the stored log (background runs) or the stored messages.
const MAX_BUFFERED: usize = 50_000;

/// An event with its number.
pub type Numbered = (u64, Arc<Event>);

/// A run whose task is alive, or ended a moment ago.
#[derive(Debug)]
pub struct LiveRun {
    /// The run.
    pub id: RunId,
    /// Whose it is.
    pub scope: Scope,
    /// The agent.
    pub agent_id: AgentId,
    /// The thread.
    pub conversation_id: ConversationId,
    /// Whether that is the agent's default one.
    pub in_default_conversation: bool,
    /// Whether its events are logged before they are seen.
    pub background: bool,
    /// Whether its end is to be posted to a URL.
    pub has_callback: bool,
    /// Fires when a client cancelled the run.
    pub cancelled: CancellationToken,
    /// Whether its acceptance is durable, once that is known.
    accepted: SetOnce<bool>,
    buffer: Mutex<Buffer>,
    changed: Notify,
}

#[derive(Debug)]
struct Buffer {
    /// The number of the oldest event that is still here.
    first: u64,
    events: VecDeque<Arc<Event>>,
    done: bool,
}

/// What a subscriber finds at its place in the buffer.
#[derive(Debug)]
pub(crate) enum Found {
    /// The next event.
    Event(Numbered),
    /// Events up to this number are no longer in memory.
    Gone(u64),
    /// Nothing follows.
    End,
}

/// What a run is, for its [`LiveRun`].
#[derive(Debug, Clone)]
pub(crate) struct RunIdentity {
    pub id: RunId,
    pub scope: Scope,
    pub agent_id: AgentId,
    pub conversation_id: ConversationId,
    pub in_default_conversation: bool,
    pub background: bool,
    pub has_callback: bool,
}

impl LiveRun {
    /// A run whose next event gets the number `first`.
    pub(crate) fn new(identity: RunIdentity, first: u64) -> Self {
        Self {
            id: identity.id,
            scope: identity.scope,
            agent_id: identity.agent_id,
            conversation_id: identity.conversation_id,
            in_default_conversation: identity.in_default_conversation,
            background: identity.background,
            has_callback: identity.has_callback,
            cancelled: CancellationToken::new(),
            accepted: SetOnce::new(),
            buffer: Mutex::new(Buffer {
                first,
                events: VecDeque::new(),
                done: false,
            }),
            changed: Notify::new(),
        }
    }

    /// Notes what became of the commit that took the run in.
    pub(crate) fn note_acceptance(&self, durable: bool) {
        // Noted once; a run does not become another one.
        let _ = self.accepted.set(durable);
    }

    /// Waits until the commit that took the run in is decided; `false` when it failed, so that there
    /// is no such run. Before that, nothing of the run may be written or shown.
    pub(crate) async fn is_accepted(&self) -> bool {
        *self.accepted.wait().await
    }

    /// Whether it is known that the commit which took the run in is durable.
    pub(crate) fn was_accepted(&self) -> bool {
        self.accepted.get().is_some_and(|durable| *durable)
    }

    /// The number that the next event gets.
    pub(crate) fn next_seq(&self) -> u64 {
        let buffer = self.buffer.lock();
        buffer.first + buffer.events.len() as u64
    }

    /// Publishes an event to all subscribers.
    pub(crate) fn publish(&self, event: Event) {
        {
            let mut buffer = self.buffer.lock();
            buffer.done |= matches!(event, Event::Done);
            buffer.events.push_back(Arc::new(event));
            if buffer.events.len() > MAX_BUFFERED {
                buffer.events.pop_front();
                buffer.first += 1;
            }
        }
        self.changed.notify_waiters();
    }

    /// Ends all subscriptions without a further event; used when the process stops.
    pub(crate) fn close(&self) {
        self.buffer.lock().done = true;
        self.changed.notify_waiters();
    }

    fn look(&self, seq: u64) -> Option<Found> {
        let buffer = self.buffer.lock();
        if seq < buffer.first {
            return Some(Found::Gone(buffer.first));
        }
        let index = usize::try_from(seq - buffer.first).unwrap_or(usize::MAX);
        match buffer.events.get(index) {
            Some(event) => Some(Found::Event((seq, Arc::clone(event)))),
            None if buffer.done => Some(Found::End),
            None => None,
        }
    }

    /// Waits for the event of that number.
    pub(crate) async fn wait(&self, seq: u64) -> Found {
        loop {
            let notified = self.changed.notified();
            let mut notified = std::pin::pin!(notified);
            // Registered before looking, so that nothing published in between is missed.
            notified.as_mut().enable();
            if let Some(found) = self.look(seq) {
                return found;
            }
            notified.await;
        }
    }
}
