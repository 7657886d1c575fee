//! How a call ended.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

/// The end of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Whether it returned, and if not, why.
    pub status: Status,
    /// What it returned; null if it did not.
    pub value: Value,
    /// Blocks of the agent's memory that it changed, by label, with their new text.
    pub memory: BTreeMap<String, String>,
    /// Lines that it printed.
    pub stdout: Vec<String>,
    /// Lines that it wrote to stderr, the error's traceback among them.
    pub stderr: Vec<String>,
    /// From start to end, as the server saw it.
    pub took: Duration,
}

/// Whether a call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It returned a value.
    Returned,
    /// It ended with an error of its own.
    Raised(Raised),
    /// It was stopped from outside, or ended without an answer.
    Stopped(Stop),
}

/// An error that a tool raised.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Raised {
    /// The error's type.
    pub kind: String,
    /// What it says.
    pub message: String,
    /// The line of the tool's source.
    #[serde(default)]
    pub line: Option<u64>,
}

/// Why a call was stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// It took too long.
    #[error("it did not answer within {0:?}")]
    Time(Duration),
    /// It used too much of the processors.
    #[error("it used more than {0:?} of processor time")]
    Processor(Duration),
    /// It used too much memory.
    #[error("it used more than {0} bytes of memory")]
    Memory(u64),
    /// It had too many processes.
    #[error("it had more than {0} processes")]
    Processes(u64),
    /// Its files became too large.
    #[error("its files took more than {0} bytes")]
    Files(u64),
    /// It wrote too much.
    #[error("it wrote more than {0} bytes to stdout or stderr")]
    Output(usize),
    /// It asked the server too often.
    #[error("it made more than {0} requests to the server")]
    Requests(usize),
    /// Its result was too large.
    #[error("its result is longer than {0} bytes")]
    Result(usize),
    /// What came over the channel is no result.
    #[error("its result can't be read: {0}")]
    Unreadable(String),
    /// Its process ended.
    #[error("its process ended before it answered ({0})")]
    Died(String),
}
