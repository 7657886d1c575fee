//! `POST /v1/chat/completions`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use bytes::BytesMut;
use mnemic_core::{
    messages::ToolCall,
    runs::{RunError, StopReason, Usage},
};
use mnemic_engine::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    ask::{self, Ask},
    errors::{ErrorBody, OpenAiError},
    input::{self, NO_FORMAT, Said},
    reading::{self, CallPiece, Reader, Seen, Whole},
    tools::ClientSide,
};
use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::Json,
    send_request::{AnswerForm, Sent},
    sse::{self, Renderer},
};

/// What stands between two messages of one answer.
const BETWEEN: &str = "\n\n";

const MICROS: i64 = 1_000_000;

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(create)
}

/// A request; fields that are not here are ignored, as the agent has its own settings.
#[derive(Debug, Deserialize, ToSchema)]
struct ChatRequest {
    /// The agent's id, or its name where no other agent has it.
    model: String,
    /// What was said; the newest message of the user is taken, and results of tools after it.
    messages: Vec<Said>,
    /// Whether the answer is a stream.
    stream: Option<bool>,
    /// What the stream has.
    stream_options: Option<ChatStreamOptions>,
    /// The end user: everyone has a thread of their own with the agent.
    user: Option<String>,
    /// The newer name of `user`.
    safety_identifier: Option<String>,
    /// Answers; there is one.
    n: Option<i64>,
    /// Functions that the client runs, beside the agent's own tools.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    tools: Option<Vec<Value>>,
    /// `none`, `auto`, `required`, or a function of the tools.
    #[schema(value_type = Option<serde_json::Value>)]
    tool_choice: Option<Value>,
    /// The old form of `tools`, not taken.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    functions: Option<Vec<Value>>,
    /// Text only.
    #[schema(value_type = Option<serde_json::Value>)]
    response_format: Option<Value>,
    /// Not told.
    logprobs: Option<bool>,
    /// Text only.
    modalities: Option<Vec<String>>,
}

/// What a stream has.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct ChatStreamOptions {
    /// Whether the last chunk tells the tokens.
    include_usage: Option<bool>,
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
struct Completion {
    id: String,
    object: &'static str,
    created: i64,
    model: String,
    choices: Vec<Choice>,
    usage: ChatUsage,
    system_fingerprint: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Choice {
    index: i64,
    message: ChatMessage,
    #[schema(value_type = Option<serde_json::Value>)]
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChatMessage {
    role: &'static str,
    /// Null where there are calls and no words.
    content: Option<String>,
    refusal: Option<String>,
    /// Calls of the client's tools, where there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ChatCall>,
}

/// A call of a client's tool.
#[derive(Debug, Serialize, ToSchema)]
struct ChatCall {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: ChatFunction,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChatFunction {
    name: String,
    /// JSON text.
    arguments: String,
}

impl From<ToolCall> for ChatCall {
    fn from(call: ToolCall) -> Self {
        Self {
            id: call.id,
            kind: "function",
            function: ChatFunction {
                name: call.name,
                arguments: call.arguments,
            },
        }
    }
}

/// A piece of a streamed answer.
#[derive(Debug, Serialize, ToSchema)]
struct Chunk<'c> {
    id: &'c str,
    object: &'static str,
    created: i64,
    model: &'c str,
    choices: Vec<ChunkChoice<'c>>,
    system_fingerprint: Option<&'c str>,
    /// Only where it was asked for, and null but in the last chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<ChatUsage>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkChoice<'c> {
    index: i64,
    delta: ChunkDelta<'c>,
    #[schema(value_type = Option<serde_json::Value>)]
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct ChunkDelta<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'c str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ChunkCall<'c>>,
}

/// A call of a client's tool, or a fragment of its arguments.
#[derive(Debug, Serialize, ToSchema)]
struct ChunkCall<'c> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'c str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: ChunkFunction<'c>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkFunction<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    arguments: &'c str,
}

impl<'c> From<CallPiece<'c>> for ChunkCall<'c> {
    fn from(piece: CallPiece<'c>) -> Self {
        Self {
            index: piece.index,
            id: piece.begins.map(|(id, _)| id),
            kind: piece.begins.map(|_| "function"),
            function: ChunkFunction {
                name: piece.begins.map(|(_, name)| name),
                arguments: piece.arguments,
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
struct ChatUsage {
    prompt_tokens: i64,
    completion_tokens: i64,
    total_tokens: i64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
struct PromptDetails {
    cached_tokens: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
struct CompletionDetails {
    reasoning_tokens: i64,
}

impl From<Usage> for ChatUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens(),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_input_tokens,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens,
            },
        }
    }
}

/// OpenAI's word for why a run ended.
const fn finish_reason(reason: StopReason, has_calls: bool) -> &'static str {
    match reason {
        StopReason::RequiresApproval if has_calls => "tool_calls",
        StopReason::MaxSteps | StopReason::MaxTokensExceeded => "length",
        _ => "stop",
    }
}

impl ChatRequest {
    fn check(&self) -> Result<(), ApiError> {
        let format = self.response_format.as_ref().and_then(|f| f.get("type"));
        let audio = |kind: &String| kind != "text";
        let modalities = self.modalities.as_deref().unwrap_or_default();
        input::refuse(&[
            (
                self.functions.as_ref().is_some_and(|list| !list.is_empty()),
                "functions",
                "functions are taken in their newer form only: give them as tools",
            ),
            (
                format.is_some_and(|kind| kind != "text"),
                "response_format",
                NO_FORMAT,
            ),
            (
                self.n.is_some_and(|n| n != 1),
                "n",
                "an agent gives one answer",
            ),
            (
                self.logprobs == Some(true),
                "logprobs",
                "the probabilities of an agent's words are not known",
            ),
            (
                modalities.iter().any(audio),
                "modalities",
                "an agent answers in text",
            ),
        ])
    }
}

/// Say something to an agent, as OpenAI's API has it. The agent remembers: only the newest message of the
/// user and the results of the client's tools are read. Its own tools are not shown.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai",
    operation_id = "create_chat_completion", request_body = ChatRequest,
    responses((status = 200, description = "The answer; with stream=true a stream of chunks",
        content((Completion = "application/json"), (Chunk = "text/event-stream")))))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    sent: Sent<ChatRequest>,
) -> Result<Response, ApiError> {
    let (body, sent) = sent.parted();
    body.check()?;
    let client = ClientSide::read(body.tools, body.tool_choice.as_ref())?;
    let tools = client.names();
    let form = AnswerForm::of(body.stream);
    let ask = Ask {
        model: body.model.clone(),
        user: input::user([body.user, body.safety_identifier])?,
        thread: None,
        heard: input::heard(body.messages, "messages")?,
        client,
        form,
        param: "messages",
    };
    let run = ask::begin(&state, &scope, ask, sent).await?;
    let id = format!("chatcmpl-{}", run.run_id);
    let created = state.engine.now().0 / MICROS;
    if form == AnswerForm::Stream {
        let options = body.stream_options.unwrap_or_default();
        let include_usage = options.include_usage.unwrap_or(false);
        let chunks = Chunks {
            include_usage,
            ..Chunks::new(id, created, body.model, Reader::new(tools))
        };
        return Ok(sse::rendered(run, chunks.opened()));
    }
    let whole = reading::wait(run, tools).await?;
    let completion = Completion {
        id,
        object: "chat.completion",
        created,
        model: body.model,
        usage: whole.usage.into(),
        choices: vec![Choice::of(whole)],
        system_fingerprint: None,
    };
    Ok(Json(completion).into_response())
}

impl Choice {
    fn of(whole: Whole) -> Self {
        let has_calls = !whole.calls.is_empty();
        let has_words = !whole.messages.is_empty();
        let message = ChatMessage {
            role: "assistant",
            content: (has_words || !has_calls).then(|| whole.messages.join(BETWEEN)),
            refusal: None,
            tool_calls: whole.calls.into_iter().map(ChatCall::from).collect(),
        };
        Self {
            index: 0,
            message,
            logprobs: None,
            finish_reason: finish_reason(whole.reason, has_calls),
        }
    }
}

/// Writes chunks.
struct Chunks {
    id: String,
    created: i64,
    model: String,
    include_usage: bool,
    has_spoken: bool,
    reader: Reader,
    out: BytesMut,
}

impl Chunks {
    fn new(id: String, created: i64, model: String, reader: Reader) -> Self {
        Self {
            id,
            created,
            model,
            include_usage: false,
            has_spoken: false,
            reader,
            out: BytesMut::new(),
        }
    }

    /// With the first chunk written.
    fn opened(mut self) -> Self {
        let opening = ChunkDelta {
            role: Some("assistant"),
            content: Some(""),
            ..ChunkDelta::default()
        };
        self.delta(opening, None);
        self
    }

    fn delta(&mut self, delta: ChunkDelta<'_>, finish_reason: Option<&'static str>) {
        let choice = ChunkChoice {
            index: 0,
            delta,
            logprobs: None,
            finish_reason,
        };
        self.chunk(vec![choice], None);
    }

    fn chunk(&mut self, choices: Vec<ChunkChoice<'_>>, usage: Option<ChatUsage>) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices,
            system_fingerprint: None,
            usage: self.include_usage.then_some(usage),
        };
        sse::write_frame(&mut self.out, &chunk);
    }

    fn words(&mut self, text: &str) {
        let delta = ChunkDelta {
            content: Some(text),
            ..ChunkDelta::default()
        };
        self.delta(delta, None);
    }

    fn failed(&mut self, error: &RunError) {
        let error = OpenAiError::of_run(error);
        self.frame(&ErrorBody { error });
        self.done();
    }

    fn done(&mut self) {
        self.out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl Renderer for Chunks {
    fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    fn ping(&mut self) {
        // A comment, which clients skip.
        self.out.extend_from_slice(b": ping\n\n");
    }

    fn event(&mut self, _: u64, event: &Event) {
        match self.reader.read(event) {
            Some(Seen::Words { begins, text }) => {
                if begins && std::mem::replace(&mut self.has_spoken, true) {
                    self.words(BETWEEN);
                }
                self.words(text);
            }
            Some(Seen::Calls(pieces)) => {
                let delta = ChunkDelta {
                    tool_calls: pieces.into_iter().map(ChunkCall::from).collect(),
                    ..ChunkDelta::default()
                };
                self.delta(delta, None);
            }
            Some(Seen::Failed(error)) => self.failed(error),
            Some(Seen::Ended { reason, usage }) => {
                let reason = finish_reason(reason, self.reader.has_calls());
                self.delta(ChunkDelta::default(), Some(reason));
                if self.include_usage {
                    self.chunk(Vec::new(), Some(usage.into()));
                }
                self.done();
            }
            None => {}
        }
    }

    fn incomplete(&mut self, message: &str) {
        self.failed(&RunError {
            error_type: "stream_incomplete".to_owned(),
            message: message.to_owned(),
            detail: None,
        });
    }
}
