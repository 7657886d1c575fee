//! Owner of the tasks of runs: finds live runs by id, lets runs of one conversation wait for each
//! other in this process, and ends everything at shutdown.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mnemic_core::ids::{ConversationId, RunId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::live::LiveRun;

#[derive(Default)]
pub(crate) struct Supervisor {
    runs: Mutex<HashMap<RunId, Arc<LiveRun>>>,
    /// Conversations that are held for something else than a run.
    held: Mutex<HashSet<ConversationId>>,
    /// Told when a conversation becomes free in this process.
    freed: Mutex<HashMap<ConversationId, Arc<Notify>>>,
    pub(crate) tasks: TaskTracker,
    closing: AtomicBool,
    /// Fires when tasks must end at once.
    pub(crate) abort: CancellationToken,
}

impl Supervisor {
    /// Adds a run; its task takes it out again.
    pub(crate) fn add(&self, run: Arc<LiveRun>) {
        self.runs.lock().insert(run.id, run);
    }

    /// Takes a run out; subscribers keep what they have.
    pub(crate) fn remove(&self, id: RunId) {
        self.runs.lock().remove(&id);
    }

    /// A live run.
    pub(crate) fn get(&self, id: RunId) -> Option<Arc<LiveRun>> {
        self.runs.lock().get(&id).cloned()
    }

    /// Whether any run is live.
    pub(crate) fn is_busy(&self) -> bool {
        !self.runs.lock().is_empty()
    }

    /// All live runs.
    pub(crate) fn all(&self) -> Vec<Arc<LiveRun>> {
        self.runs.lock().values().cloned().collect()
    }

    /// Notes that a conversation is held for something else than a run.
    pub(crate) fn hold(&self, id: ConversationId) {
        self.held.lock().insert(id);
    }

    /// Notes that it is not any more, and tells the runs that wait for it.
    pub(crate) fn let_go(&self, id: ConversationId) {
        self.held.lock().remove(&id);
        self.conversation_freed(id);
    }

    /// All conversations that are held in this process.
    pub(crate) fn conversations(&self) -> HashSet<ConversationId> {
        let mut all = self.held.lock().clone();
        all.extend(self.runs.lock().values().map(|run| run.conversation_id));
        all
    }

    /// What tells waiters that the conversation may be free. An entry lives as long as somebody waits.
    pub(crate) fn waiter(&self, id: ConversationId) -> Arc<Notify> {
        Arc::clone(self.freed.lock().entry(id).or_default())
    }

    /// Tells the runs that wait for the conversation to look again.
    pub(crate) fn conversation_freed(&self, id: ConversationId) {
        let mut freed = self.freed.lock();
        if let Some(notify) = freed.get(&id) {
            notify.notify_waiters();
            // The map and this reference are the only ones: nobody waits any more.
            if Arc::strong_count(notify) == 1 {
                freed.remove(&id);
            }
        }
    }

    /// Whether new runs are refused.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Refuses new runs from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.tasks.close();
    }
}
