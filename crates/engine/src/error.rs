//! What the engine answers when it cannot do what was asked.

use mnemic_core::ids::{MessageId, RunId};
use mnemic_llm::{LlmError, ResolveError};
use mnemic_store::StoreError;

use crate::LimitReached;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model provider's answer.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// No configured provider has the model.
    #[error(transparent)]
    Model(#[from] ResolveError),
    /// There are no vectors.
    #[error(transparent)]
    Embedding(#[from] crate::embedding::EmbeddingError),
    /// The request asks for something that cannot be; the text says what and why.
    #[error("{0}")]
    Invalid(String),
    /// The agent answers only requests that say for which user they are.
    #[error("this agent talks with named users only: say for whom the request is in `user_id`")]
    UserRequired,
    /// A rule on the agent's tools can't be followed; the text says which and why.
    #[error("{0}")]
    Rule(String),
    /// A thing that was named (a model handle, a tool) does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// The conversation is busy with another run.
    #[error(
        "the conversation is currently being processed by another request (run_id={run_id}); \
         wait for it to end, or cancel it"
    )]
    Busy {
        /// The run that it is busy with.
        run_id: RunId,
    },
    /// Somebody has to answer the agent's calls before it hears anything else.
    #[error(
        "the agent is waiting for approval of tool calls: answer request {request_id} first, or cancel it"
    )]
    PendingApproval {
        /// The message with the calls.
        request_id: MessageId,
    },
    /// A call that somebody else answered before, and otherwise.
    #[error(
        "the call {tool_call_id} was {decision} already; this answer came later and changes nothing"
    )]
    Decided {
        /// The call.
        tool_call_id: String,
        /// What became of it.
        decision: &'static str,
    },
    /// Too many runs wait for the same conversation.
    #[error("{waiting} requests already wait for this agent; try again in {retry_after_seconds} s")]
    QueueFull {
        /// How many wait.
        waiting: i64,
        /// When to try again.
        retry_after_seconds: u64,
    },
    /// More was used than a plan allows.
    #[error("{0}")]
    LimitReached(Box<LimitReached>),
    /// The prompt alone is larger than the model's window, so no message can fit beside it.
    #[error(
        "the system prompt with its memory and tools takes about {prompt_tokens} tokens, the model's \
         context window has {context_window}: shorten blocks or the system prompt, or choose a model \
         with a larger window"
    )]
    Overflow {
        /// Tokens of prompt and tools.
        prompt_tokens: i64,
        /// Tokens of the window.
        context_window: i64,
    },
    /// The server is stopping.
    #[error("the server is shutting down; send the request again in a moment")]
    ShuttingDown,
}
