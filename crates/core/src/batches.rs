//! Batches: many requests to agents that are accepted as one, and run in the background.

use crate::{
    ids::{AgentId, JobId, RunId, UserId},
    runs::{Callback, RunStatus},
    time::Timestamp,
};

/// A batch. Its states are those of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Its id.
    pub id: JobId,
    /// The end user whose it is.
    pub subject: Option<String>,
    /// Where it stands.
    pub status: RunStatus,
    /// How many of its requests stand where.
    pub counts: Counts,
    /// Where to post its end.
    pub callback_url: Option<String>,
    /// What became of that.
    pub callback: Callback,
    /// Who sent it.
    pub created_by: Option<UserId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was over.
    pub completed_at: Option<Timestamp>,
}

/// How many requests of a batch stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All.
    pub total: i64,
    /// Those whose runs ended as they should.
    pub completed: i64,
    /// Those whose runs failed, or could not begin.
    pub failed: i64,
    /// Those that were cancelled.
    pub cancelled: i64,
}

/// A request of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    /// Its agent.
    pub agent_id: AgentId,
    /// The run that it becomes, or became.
    pub run_id: RunId,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<String>,
}
