//! `POST /v1/chat/completions`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use bytes::BytesMut;
use mnemic_core::runs::{RunError, StopReason, Usage};
use mnemic_engine::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ask::{self, Ask},
    errors::{ErrorBody, OpenAiError},
    input::{self, NO_FORMAT, NO_TOOLS, Said},
    reading::{self, Reader, Seen},
};
use crate::{
    AppState,
    actor::Actor,
    error::ApiError,
    extract::Json,
    send_request::{AnswerForm, Sent},
    sse::{self, Renderer},
};

/// What stands between two messages of one answer.
const BETWEEN: &str = "\n\n";

const MICROS: i64 = 1_000_000;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create))
}

/// A request; fields that are not here are ignored, as the agent has its own settings.
#[derive(Debug, Deserialize, ToSchema)]
struct ChatRequest {
    /// The agent's id, or its name where no other agent has it.
    model: String,
    /// What was said; the newest message of the user is taken.
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
    /// Not taken: agents have their own.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    tools: Option<Vec<Value>>,
    /// The old form of `tools`.
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
    content: String,
    refusal: Option<String>,
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
const fn finish_reason(reason: StopReason) -> &'static str {
    match reason {
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
            (input::is_some(self.tools.as_ref()), "tools", NO_TOOLS),
            (
                input::is_some(self.functions.as_ref()),
                "functions",
                NO_TOOLS,
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
/// user is read. Its own tools are not shown.
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
    let (content, name) = input::newest(body.messages, "messages")?;
    let form = AnswerForm::of(body.stream);
    let ask = Ask {
        model: body.model.clone(),
        user: input::user([body.user, body.safety_identifier])?,
        thread: None,
        content,
        name,
        form,
    };
    let run = ask::begin(&state, &scope, ask, sent).await?;
    let id = format!("chatcmpl-{}", run.run_id);
    let created = state.engine.now().0 / MICROS;
    if form == AnswerForm::Stream {
        let options = body.stream_options.unwrap_or_default();
        let include_usage = options.include_usage.unwrap_or(false);
        let chunks = Chunks::new(id, created, body.model, include_usage);
        return Ok(sse::rendered(run, chunks));
    }
    let whole = reading::wait(run).await?;
    let message = ChatMessage {
        role: "assistant",
        content: whole.messages.join(BETWEEN),
        refusal: None,
    };
    let completion = Completion {
        id,
        object: "chat.completion",
        created,
        model: body.model,
        choices: vec![Choice {
            index: 0,
            message,
            logprobs: None,
            finish_reason: finish_reason(whole.reason),
        }],
        usage: whole.usage.into(),
        system_fingerprint: None,
    };
    Ok(Json(completion).into_response())
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
    fn new(id: String, created: i64, model: String, include_usage: bool) -> Self {
        let mut chunks = Self {
            id,
            created,
            model,
            include_usage,
            has_spoken: false,
            reader: Reader::default(),
            out: BytesMut::new(),
        };
        let opening = ChunkDelta {
            role: Some("assistant"),
            content: Some(""),
        };
        chunks.delta(opening, None);
        chunks
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
            role: None,
            content: Some(text),
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
            Some(Seen::Failed(error)) => self.failed(error),
            Some(Seen::Ended { reason, usage }) => {
                self.delta(ChunkDelta::default(), Some(finish_reason(reason)));
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
