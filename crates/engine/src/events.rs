//! What happens in a run, in the order in which its clients see it.
//!
//! One event is one frame of a stream: JSON answers, step streams, token streams and replays are all
//! renderings of the same events.

use mnemic_core::{
    ids::RunId,
    parts::MessagePart,
    runs::{RunError, StopReason, Usage},
};
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A finished message, or a tool's return; in runs that stream by token, of messages whose
    /// deltas were sent only the returns.
    Message(Box<MessagePart>),
    /// A fragment of a message that is being generated.
    Delta(Box<MessagePart>),
    /// The run ended; nothing but usage follows.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// The tokens it took, after [`Event::Stopped`].
    Usage {
        /// Tokens of all steps.
        usage: Usage,
        /// How many steps there were.
        step_count: i64,
        /// Tokens of the last step's context.
        context_tokens: i64,
        /// Runs that its end began.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        run_ids: Vec<RunId>,
    },
    /// The error with which it ended, after [`Event::Stopped`] and in place of usage.
    Failed {
        /// The error.
        error: RunError,
    },
    /// The last event of every run.
    Done,
}
