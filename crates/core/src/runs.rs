//! Runs and steps: what happened for one request, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::{AgentId, ConversationId, RunId, StepId},
    time::Timestamp,
};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Accepted: its input is durable, it waits for its turn.
    Created,
    /// Its task runs.
    Running,
    /// It ended as it should.
    Completed,
    /// It ended with an error, which stands on it.
    Failed,
    /// A client cancelled it.
    Cancelled,
}

impl RunStatus {
    /// All states, in the order of a run's life.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in the store and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Why a run or step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum StopReason {
    EndTurn,
    Error,
    LlmApiError,
    InvalidLlmResponse,
    InvalidToolCall,
    MaxSteps,
    MaxTokensExceeded,
    NoToolCall,
    ToolRule,
    Cancelled,
    InsufficientCredits,
    RequiresApproval,
    ContextWindowOverflowInSystemPrompt,
}

impl StopReason {
    const NAMES: [(Self, &'static str); 13] = [
        (Self::EndTurn, "end_turn"),
        (Self::Error, "error"),
        (Self::LlmApiError, "llm_api_error"),
        (Self::InvalidLlmResponse, "invalid_llm_response"),
        (Self::InvalidToolCall, "invalid_tool_call"),
        (Self::MaxSteps, "max_steps"),
        (Self::MaxTokensExceeded, "max_tokens_exceeded"),
        (Self::NoToolCall, "no_tool_call"),
        (Self::ToolRule, "tool_rule"),
        (Self::Cancelled, "cancelled"),
        (Self::InsufficientCredits, "insufficient_credits"),
        (Self::RequiresApproval, "requires_approval"),
        (
            Self::ContextWindowOverflowInSystemPrompt,
            "context_window_overflow_in_system_prompt",
        ),
    ];

    /// The name in the store and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(reason, _)| *reason == self)
            .map_or("error", |(_, name)| name)
    }

    /// The reason of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(reason, _)| *reason)
    }

    /// The status of a run that stopped for this reason (V1 contract, section 3.5).
    #[must_use]
    pub const fn run_status(self) -> RunStatus {
        match self {
            Self::EndTurn | Self::MaxSteps | Self::ToolRule | Self::RequiresApproval => {
                RunStatus::Completed
            }
            Self::Cancelled => RunStatus::Cancelled,
            _ => RunStatus::Failed,
        }
    }
}

/// Tokens that model calls took, as the provider counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    pub prompt_tokens: i64,
    /// Tokens of the answer.
    pub completion_tokens: i64,
    /// Part of the request that the provider had in its cache.
    pub cached_input_tokens: i64,
    /// Part of the request that the provider wrote to its cache.
    pub cache_write_tokens: i64,
    /// Part of the answer that was reasoning.
    pub reasoning_tokens: i64,
}

impl Usage {
    /// Request and answer together.
    #[must_use]
    pub const fn total_tokens(&self) -> i64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Adds the tokens of another call.
    pub const fn add(&mut self, other: &Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cached_input_tokens += other.cached_input_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
    }
}

/// An error as a run or step keeps it and as streams show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// A word of the contract such as `llm_timeout` or `internal_error`.
    pub error_type: String,
    /// One sentence for people.
    pub message: String,
    /// More of what is known, where that helps and reveals nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// All steps of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The agent that runs.
    pub agent_id: AgentId,
    /// The thread it runs in.
    pub conversation_id: ConversationId,
    /// Whether that is the agent's default thread (the API then shows no id).
    pub in_default_conversation: bool,
    /// The end user for whom it runs.
    pub subject: Option<String>,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it ended.
    pub stop_reason: Option<StopReason>,
    /// The error it ended with.
    pub error: Option<RunError>,
    /// Whether it goes on without its client, with every event kept for replay.
    pub background: bool,
    /// The accepted request: input messages and options.
    pub input: Value,
    /// Free data, with `run_type`.
    pub metadata: Value,
    /// The request's options as the API shows them.
    pub request_config: Value,
    /// How often a crash made it start again.
    pub resumes: i64,
    /// Tokens of all its steps.
    pub usage: Usage,
    /// How many steps it took.
    pub step_count: i64,
    /// Nanoseconds from acceptance to the first token.
    pub ttft_ns: Option<i64>,
    /// Nanoseconds from acceptance to the end.
    pub total_duration_ns: Option<i64>,
    /// Where to post its end.
    pub callback_url: Option<String>,
    /// What became of that.
    pub callback: Callback,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// The runs that its end began.
    pub follow_ups: Vec<RunId>,
}

/// What became of the last post to a run's callback URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callback {
    /// When it was tried.
    pub sent_at: Option<Timestamp>,
    /// The HTTP status that the receiver answered with.
    pub status_code: Option<i64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum StepStatus {
    Pending,
    Success,
    Failed,
    Cancelled,
}

impl StepStatus {
    /// The name in the store and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Success, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// One model call and its tool runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// The run it is part of.
    pub run_id: RunId,
    /// The agent that ran.
    pub agent_id: AgentId,
    /// Its place in the run, from 0.
    pub position: i64,
    /// Where it stands.
    pub status: StepStatus,
    /// Why it ended.
    pub stop_reason: Option<StopReason>,
    /// The provider's name.
    pub provider_name: String,
    /// The model as the provider calls it.
    pub model: String,
    /// The model's handle, `provider/model`.
    pub model_handle: String,
    /// The base URL that was called.
    pub model_endpoint: Option<String>,
    /// The context window that was reckoned with, in tokens.
    pub context_window_limit: i64,
    /// Tokens of the call.
    pub usage: Usage,
    /// The error it ended with.
    pub error: Option<RunError>,
    /// `positive` or `negative`, where somebody judged it.
    pub feedback: Option<String>,
    /// A client's own name for it.
    pub transaction_id: Option<String>,
    /// Nanoseconds that the model call took.
    pub llm_request_ns: Option<i64>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}
