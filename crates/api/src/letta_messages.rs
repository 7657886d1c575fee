//! Messages as the V1 API shows them (V1 contract, section 3.3): whole ones, and the fragments of
//! token streams.

mod render;

use mnemic_core::{
    compaction::{CompactionStats, Trigger},
    ids::{FileId, RunId, StepId},
    parts::Part,
    runs::{RunError, StopReason, Usage},
    time::Timestamp,
};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

pub use self::render::{Shown, Shows, letta_message, letta_messages};

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum MessageType {
    SystemMessage,
    UserMessage,
    AssistantMessage,
    ReasoningMessage,
    HiddenReasoningMessage,
    ToolCallMessage,
    ToolReturnMessage,
    ApprovalRequestMessage,
    ApprovalResponseMessage,
    SummaryMessage,
    EventMessage,
}

impl MessageType {
    /// The kind under which a part is shown.
    #[must_use]
    pub const fn of(part: &Part) -> Self {
        match part {
            Part::System { .. } => Self::SystemMessage,
            Part::User { .. } => Self::UserMessage,
            Part::Reasoning { .. } => Self::ReasoningMessage,
            Part::HiddenReasoning { .. } => Self::HiddenReasoningMessage,
            Part::Assistant { .. } => Self::AssistantMessage,
            Part::ToolCalls { .. } => Self::ToolCallMessage,
            Part::ApprovalRequest { .. } => Self::ApprovalRequestMessage,
            Part::ApprovalResponse { .. } => Self::ApprovalResponseMessage,
            Part::ToolReturn { .. } => Self::ToolReturnMessage,
            Part::Summary { .. } => Self::SummaryMessage,
            Part::Compacting { .. } => Self::EventMessage,
        }
    }

    /// Whether a list of wanted kinds, where there is one, names this part's kind.
    #[must_use]
    pub fn wants(wanted: Option<&[Self]>, part: &Part) -> bool {
        wanted.is_none_or(|wanted| wanted.contains(&Self::of(part)))
    }
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "message_type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LettaMessage {
    SystemMessage(SystemMessage),
    UserMessage(UserMessage),
    AssistantMessage(AssistantMessage),
    ReasoningMessage(ReasoningMessage),
    HiddenReasoningMessage(HiddenReasoningMessage),
    ToolCallMessage(ToolCallMessage),
    ToolReturnMessage(ToolReturnMessage),
    ApprovalRequestMessage(ApprovalRequestMessage),
    ApprovalResponseMessage(ApprovalResponseMessage),
    SummaryMessage(SummaryMessage),
    EventMessage(EventMessage),
    /// Only in streams: the stream lives.
    Ping(Ping),
}

/// What all messages have.
#[derive(Debug, Serialize, ToSchema)]
pub struct Head {
    /// The stored message's id; several messages may share one.
    pub id: String,
    /// When it was said, to the second.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "to_the_second")]
    pub date: Timestamp,
    /// The speaker's or the tool's name.
    pub name: Option<String>,
    /// The client's own id of a message it sent; of others, the id of this part of the message.
    pub otid: Option<String>,
    /// Which agent or identity sent it.
    pub sender_id: Option<String>,
    /// The step.
    #[schema(value_type = Option<String>)]
    pub step_id: Option<StepId>,
    /// Always null.
    pub is_err: Option<bool>,
    /// Its number in the stream of a background run.
    pub seq_id: Option<u64>,
    /// The run.
    #[schema(value_type = Option<String>)]
    pub run_id: Option<RunId>,
}

fn to_the_second<S: Serializer>(date: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date.to_message_date())
}

/// Instructions: the compiled prompt, or a notice.
#[derive(Debug, Serialize, ToSchema)]
pub struct SystemMessage {
    #[serde(flatten)]
    head: Head,
    /// The text.
    content: String,
}

/// What the user said.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserMessage {
    #[serde(flatten)]
    head: Head,
    /// A text, or a list of texts and images.
    content: ContentView,
}

/// A text, or a list of texts and images.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ContentView {
    /// One text.
    Text(String),
    /// Several parts.
    Parts(Vec<PartView>),
}

/// A piece of a content.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PartView {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// Where it is.
        source: ImageSource,
    },
}

/// An image that the server keeps.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageSource {
    /// Always `letta`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The id under which it is kept.
    #[schema(value_type = String)]
    file_id: FileId,
    /// The MIME type.
    media_type: String,
    /// The bytes in base64.
    data: String,
    /// Always null.
    detail: Option<String>,
}

/// What the agent said, or a fragment of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AssistantMessage {
    #[serde(flatten)]
    head: Head,
    /// The text.
    content: String,
}

/// What the model thought, or a fragment of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReasoningMessage {
    #[serde(flatten)]
    head: Head,
    /// `reasoner_model`: the model's own reasoning; `non_reasoner_model`: what another model wrote before a call.
    source: &'static str,
    /// The thoughts.
    reasoning: String,
    /// The provider's signature of them.
    signature: Option<String>,
}

/// That the model thought something which its provider does not show.
#[derive(Debug, Serialize, ToSchema)]
pub struct HiddenReasoningMessage {
    #[serde(flatten)]
    head: Head,
    /// Why it is not shown: `redacted` by the provider, or `omitted`.
    state: &'static str,
    /// The provider's sealed text.
    hidden_reasoning: Option<String>,
}

/// Tools that the agent calls, or a fragment of one call.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToolCallMessage {
    #[serde(flatten)]
    head: Head,
    /// The first call.
    tool_call: ToolCallView,
    /// All calls; in a fragment, the call that it belongs to.
    tool_calls: ToolCallList,
}

/// A call; in a fragment, what is new of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolCallView {
    /// The tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The arguments as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    /// The call's id.
    tool_call_id: String,
}

/// All calls, or the one of a fragment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum ToolCallList {
    Whole(Vec<ToolCallView>),
    Fragment(ToolCallView),
}

/// What a tool returned.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToolReturnMessage {
    #[serde(flatten)]
    head: Head,
    /// What the model reads.
    tool_return: String,
    /// `success` or `error`.
    status: &'static str,
    /// The call that this answers.
    tool_call_id: String,
    /// Lines that the tool printed.
    stdout: Option<Vec<String>>,
    /// Lines that the tool printed as errors.
    stderr: Option<Vec<String>>,
    /// The same as a list.
    tool_returns: Vec<ToolReturnView>,
}

/// Calls that wait for an answer from outside: a person's approval, or the client's own result.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApprovalRequestMessage {
    #[serde(flatten)]
    head: Head,
    /// The first call.
    tool_call: RequestedCallView,
    /// All calls; in a fragment, the call that it belongs to.
    tool_calls: RequestedCallList,
}

/// A call that waits; in a fragment, what is new of it, and null for what is not.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RequestedCallView {
    /// The tool.
    name: Option<String>,
    /// The arguments as JSON text.
    arguments: Option<String>,
    /// The call's id.
    tool_call_id: String,
}

/// All calls that wait, or the one of a fragment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum RequestedCallList {
    Whole(Vec<RequestedCallView>),
    Fragment(RequestedCallView),
}

impl From<ToolCallView> for RequestedCallView {
    fn from(call: ToolCallView) -> Self {
        Self {
            name: call.name,
            arguments: call.arguments,
            tool_call_id: call.tool_call_id,
        }
    }
}

/// What was answered to calls that waited.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApprovalResponseMessage {
    #[serde(flatten)]
    head: Head,
    /// The answers.
    approvals: Vec<AnswerView>,
    /// Whether the first call was approved.
    approve: Option<bool>,
    /// Always null.
    approval_request_id: Option<String>,
    /// Why the first call was denied.
    reason: Option<String>,
}

/// One answer of an [`ApprovalResponseMessage`].
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AnswerView {
    /// A person let it run, or not.
    Approval {
        /// The call.
        tool_call_id: String,
        /// Whether it may run.
        approve: bool,
        /// Why not.
        reason: Option<String>,
    },
    /// The client ran it.
    Tool {
        /// The call.
        tool_call_id: String,
        /// What the model reads and sees.
        tool_return: ContentView,
        /// `success` or `error`.
        status: &'static str,
        /// Lines that it printed.
        stdout: Option<Vec<String>>,
        /// Lines that it printed as errors.
        stderr: Option<Vec<String>>,
    },
}

/// One return of a [`ToolReturnMessage`].
#[derive(Debug, Serialize, ToSchema)]
pub struct ToolReturnView {
    /// Always `tool`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What the model reads and sees.
    tool_return: ContentView,
    /// `success` or `error`.
    status: &'static str,
    /// The call that this answers.
    tool_call_id: String,
    /// Lines that the tool printed.
    stdout: Option<Vec<String>>,
    /// Lines that the tool printed as errors.
    stderr: Option<Vec<String>>,
}

/// The summary that took the place of older messages in the agent's context.
#[derive(Debug, Serialize, ToSchema)]
pub struct SummaryMessage {
    #[serde(flatten)]
    head: Head,
    /// The summary.
    summary: String,
    /// What the compaction did.
    compaction_stats: StatsView,
}

/// What a compaction did.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatsView {
    /// What made it necessary: `post_step_context_check`, `context_window_exceeded` or `manual`.
    #[schema(value_type = String)]
    trigger: Trigger,
    /// Tokens of prompt, tools and messages before it.
    context_tokens_before: Option<i64>,
    /// Tokens of prompt, tools and messages after it.
    context_tokens_after: Option<i64>,
    /// Tokens of the model's window.
    context_window: i64,
    /// Messages of the context before it, with the prompt.
    messages_count_before: i64,
    /// Messages of the context after it, with the prompt.
    messages_count_after: i64,
}

impl From<&CompactionStats> for StatsView {
    fn from(stats: &CompactionStats) -> Self {
        Self {
            trigger: stats.trigger,
            context_tokens_before: stats.context_tokens_before,
            context_tokens_after: stats.context_tokens_after,
            context_window: stats.context_window,
            messages_count_before: stats.messages_count_before,
            messages_count_after: stats.messages_count_after,
        }
    }
}

/// Something happened in a run; it is no part of the agent's context.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventMessage {
    #[serde(flatten)]
    head: Head,
    /// Always `compaction`: older messages begin to give way to a summary.
    event_type: &'static str,
    /// More of it.
    event_data: CompactionBegun,
}

/// What makes a compaction necessary.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompactionBegun {
    /// `post_step_context_check` or `context_window_exceeded`.
    #[schema(value_type = String)]
    trigger: Trigger,
    /// Tokens that the context is reckoned to take.
    context_token_estimate: i64,
    /// Tokens of the model's window.
    context_window: i64,
}

/// Only in streams: the stream lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ping {
    #[serde(flatten)]
    head: Head,
}

impl Ping {
    /// A ping of a run's stream.
    #[must_use]
    pub fn of(run_id: RunId, now: Timestamp) -> LettaMessage {
        LettaMessage::Ping(Self {
            head: Head {
                id: format!("ping-{}", uuid::Uuid::new_v4()),
                date: now,
                name: None,
                otid: None,
                sender_id: None,
                step_id: None,
                is_err: None,
                seq_id: None,
                run_id: Some(run_id),
            },
        })
    }
}

/// Why a run ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct StopReasonView {
    /// Always `stop_reason`.
    message_type: &'static str,
    /// Why.
    #[schema(value_type = String)]
    stop_reason: StopReason,
}

impl From<StopReason> for StopReasonView {
    fn from(stop_reason: StopReason) -> Self {
        Self {
            message_type: "stop_reason",
            stop_reason,
        }
    }
}

/// What a run took.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct UsageView {
    /// Always `usage_statistics`.
    message_type: &'static str,
    completion_tokens: i64,
    prompt_tokens: i64,
    total_tokens: i64,
    step_count: i64,
    /// Background runs that this one began.
    #[schema(value_type = Option<Vec<String>>)]
    run_ids: Option<Vec<RunId>>,
    cached_input_tokens: i64,
    cache_write_tokens: i64,
    reasoning_tokens: i64,
    /// Tokens of the context after the last step.
    context_tokens: Option<i64>,
}

impl UsageView {
    /// The usage of a run.
    #[must_use]
    pub const fn of(usage: &Usage, step_count: i64, context_tokens: Option<i64>) -> Self {
        Self {
            message_type: "usage_statistics",
            completion_tokens: usage.completion_tokens,
            prompt_tokens: usage.prompt_tokens,
            total_tokens: usage.total_tokens(),
            step_count,
            run_ids: None,
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            context_tokens,
        }
    }

    /// The same of a run whose end began others.
    #[must_use]
    pub fn with_runs(mut self, run_ids: &[RunId]) -> Self {
        self.run_ids = (!run_ids.is_empty()).then(|| run_ids.to_vec());
        self
    }

    /// The runs that its end began.
    #[must_use]
    pub fn run_ids(&self) -> &[RunId] {
        self.run_ids.as_deref().unwrap_or_default()
    }

    /// What this run and one after it took together.
    #[must_use]
    pub fn followed_by(self, next: Self) -> Self {
        Self {
            message_type: next.message_type,
            completion_tokens: self.completion_tokens + next.completion_tokens,
            prompt_tokens: self.prompt_tokens + next.prompt_tokens,
            total_tokens: self.total_tokens + next.total_tokens,
            step_count: self.step_count + next.step_count,
            run_ids: next.run_ids,
            cached_input_tokens: self.cached_input_tokens + next.cached_input_tokens,
            cache_write_tokens: self.cache_write_tokens + next.cache_write_tokens,
            reasoning_tokens: self.reasoning_tokens + next.reasoning_tokens,
            context_tokens: next.context_tokens,
        }
    }
}

/// The error with which a stream ends.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorView {
    /// Always `error_message`.
    message_type: &'static str,
    /// The run.
    #[schema(value_type = String)]
    run_id: RunId,
    /// A word for the kind of error, such as `llm_timeout`.
    error_type: String,
    /// What happened.
    message: String,
    /// More of it.
    detail: Option<String>,
    /// Always null.
    seq_id: Option<u64>,
}

impl ErrorView {
    /// The error of a run.
    #[must_use]
    pub fn of(run_id: RunId, error: &RunError) -> Self {
        Self {
            message_type: "error_message",
            run_id,
            error_type: error.error_type.clone(),
            message: error.message.clone(),
            detail: error.detail.clone(),
            seq_id: None,
        }
    }
}

/// What a frame of a stream holds; the last one holds the word `[DONE]`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(
    dead_code,
    reason = "it describes the frames, which are written one by one"
)]
pub enum StreamFrame {
    /// A message, or a fragment of one.
    Message(LettaMessage),
    /// Why the run ended.
    StopReason(StopReasonView),
    /// What it took.
    Usage(UsageView),
    /// The error with which it ended.
    Error(ErrorView),
}

#[cfg(test)]
mod tests;
