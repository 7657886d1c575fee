//! The body of a request to run an agent: read, checked, and made into the engine's request (V1
//! contract, section 3.1).

mod client;

use std::collections::HashSet;

use axum::extract::{FromRequest, Request};
use http::{HeaderMap, Method, Uri};
use mnemic_core::{
    messages::{CallAnswer, ContentPart, MessageBody, NewMessage, Role},
    scope::Scope,
};
use mnemic_engine::{DEFAULT_MAX_STEPS, Granularity, SendRequest, custom::Above};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

pub use self::client::{AnswerBody, ClientSkillBody, ClientToolBody};
use crate::{
    AppState,
    actor::Visitor,
    content::{self, Content, Piece},
    error::ApiError,
    extract::{Body, parse_json},
    letta_messages::MessageType,
    sse::StreamOptions,
    validation::Issue,
};

/// Steps a request may ask for.
const MAX_STEPS: i64 = 1_000;

/// Characters of an otid.
const MAX_OTID: usize = 200;

/// Messages of one request.
const MAX_MESSAGES: usize = 1_000;

/// Images of one request that are fetched from the web.
const MAX_FETCHED: usize = 20;

/// A request to run an agent.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct SendBody {
    /// What the user says; give this or `messages`.
    input: Option<Content>,
    /// What is said; give this or `input`.
    messages: Option<Vec<InputMessage>>,
    /// Steps that the run may take.
    #[schema(minimum = 1, maximum = 1000, default = 50)]
    max_steps: Option<i64>,
    /// Whether the answer is a stream.
    pub streaming: Option<bool>,
    /// Whether the stream has fragments of messages, as the model generates them.
    stream_tokens: Option<bool>,
    /// Whether the stream has pings.
    include_pings: Option<bool>,
    /// Whether the stream can be resumed by the run's id.
    background: Option<bool>,
    /// The kinds of messages that the answer has; all when left out.
    include_return_message_types: Option<Vec<MessageType>>,
    /// Whether the answer tells of compactions: an event when one begins, and its summary.
    include_compaction_messages: Option<bool>,
    /// A model in place of the agent's.
    override_model: Option<String>,
    /// A system prompt in place of the agent's.
    #[serde(alias = "system")]
    override_system: Option<String>,
    /// Tools that the client runs: a call of one ends the run with `requires_approval`, and its result comes in a message
    /// of type `approval`.
    client_tools: Option<Vec<ClientToolBody>>,
    /// What the client can do beside its tools; the model is told of it.
    client_skills: Option<Vec<ClientSkillBody>>,
    /// Where to post the run's end: its id, status, time of completion, and metadata with the answer.
    callback_url: Option<String>,
    /// The agent, for the conversation `default`.
    pub agent_id: Option<String>,
    /// Kept with the run.
    use_assistant_message: Option<bool>,
    /// Kept with the run.
    assistant_message_tool_name: Option<String>,
    /// Kept with the run.
    assistant_message_tool_kwarg: Option<String>,
}

/// A message to an agent.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
pub struct InputMessage {
    /// `message` when left out.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Who speaks.
    role: Option<InputRole>,
    /// What is said.
    content: Option<Content>,
    /// The speaker's name.
    name: Option<String>,
    /// The client's own id of the message: a message that is sent again under its id is not taken
    /// in twice.
    #[schema(max_length = 200)]
    otid: Option<String>,
    /// Which agent or identity sends it.
    sender_id: Option<String>,
    /// Answers to calls that wait, one for each.
    approvals: Option<Vec<AnswerBody>>,
    /// The old form of an answer: whether all calls that wait may run.
    approve: Option<bool>,
    /// The old form of an answer: the message that it is for.
    approval_request_id: Option<String>,
    /// The old form of an answer: why they may not.
    reason: Option<String>,
    /// Results of tools that the client ran.
    tool_returns: Option<Vec<AnswerBody>>,
}

/// Who speaks in a message that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum InputRole {
    User,
    System,
    Assistant,
}

impl From<InputRole> for Role {
    fn from(role: InputRole) -> Self {
        match role {
            InputRole::User => Self::User,
            InputRole::System => Self::System,
            InputRole::Assistant => Self::Assistant,
        }
    }
}

/// How a request wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerForm {
    /// One JSON answer at the end.
    Json,
    /// A stream.
    Stream,
    /// The run at once.
    Run,
}

impl AnswerForm {
    /// A stream if one is asked for.
    #[must_use]
    pub const fn of(stream: Option<bool>) -> Self {
        match stream {
            Some(true) => Self::Stream,
            _ => Self::Json,
        }
    }

    /// What the run's metadata calls it.
    const fn run_type(self) -> &'static str {
        match self {
            Self::Json => "send_message",
            Self::Stream => "send_message_streaming",
            Self::Run => "send_message_async",
        }
    }
}

/// What identifies a request, for a retry to be known by.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    /// SHA-256 of method, path and body.
    pub body_hash: String,
    /// Whether the client says that this is a retry.
    pub is_retry: bool,
}

impl Fingerprint {
    /// The fingerprint of a request.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for piece in [method.as_str().as_bytes(), uri.path().as_bytes(), body] {
            hash.update(piece);
            hash.update(b"\n");
        }
        let body_hash = hash
            .finalize()
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                use std::fmt::Write as _;
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            });
        let retries = headers
            .get("x-stainless-retry-count")
            .and_then(|value| value.to_str().ok());
        let is_retry = retries
            .and_then(|text| text.parse::<u32>().ok())
            .is_some_and(|n| n > 0);
        Self {
            body_hash,
            is_retry,
        }
    }
}

/// A request to run an agent as it came in.
#[derive(Debug)]
pub struct Sent<T = SendBody> {
    /// Its body.
    pub body: T,
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// The running tools that sent it.
    pub above: Above,
}

impl<T> Sent<T> {
    /// The body, and what came with it.
    pub fn parted(self) -> (T, Sent<()>) {
        let rest = Sent {
            body: (),
            fingerprint: self.fingerprint,
            above: self.above,
        };
        (self.body, rest)
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for Sent<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let (method, uri, headers) = (
            parts.method.clone(),
            parts.uri.clone(),
            parts.headers.clone(),
        );
        let above = Visitor::of(&parts.extensions).0;
        let request = Request::from_parts(parts, body);
        let Body(bytes) = Body::from_request(request, state).await?;
        let fingerprint = Fingerprint::of(&method, &uri, &headers, &bytes);
        Ok(Self {
            body: parse_json(&bytes)?,
            fingerprint,
            above,
        })
    }
}

/// A message whose images may still have to be fetched.
#[derive(Debug, Clone)]
struct Draft {
    message: NewMessage,
    pieces: Vec<Piece>,
}

/// A checked request.
#[derive(Debug)]
pub struct Checked {
    drafts: Vec<Draft>,
    request: SendRequest,
    /// What the stream, if there is one, is to show.
    pub stream: StreamOptions,
}

impl SendBody {
    /// A request with one message of the user, for the API's other languages.
    #[must_use]
    pub fn said(content: Content, name: Option<String>, form: AnswerForm) -> Self {
        let message = InputMessage {
            role: Some(InputRole::User),
            content: Some(content),
            name,
            ..InputMessage::default()
        };
        Self {
            messages: Some(vec![message]),
            stream_tokens: (form == AnswerForm::Stream).then_some(true),
            ..Self::default()
        }
    }

    /// Checks the request.
    ///
    /// # Errors
    /// Says what about it is wrong.
    pub fn check(self, form: AnswerForm, fingerprint: Fingerprint) -> Result<Checked, ApiError> {
        let config = self.request_config();
        self.check_options(form)?;
        let drafts = drafts(self.input, self.messages)?;
        let client_tools = client::tools(self.client_tools.unwrap_or_default())?;
        let request = SendRequest {
            messages: Vec::new(),
            max_steps: self.max_steps.unwrap_or(DEFAULT_MAX_STEPS),
            granularity: if self.stream_tokens == Some(true) {
                Granularity::Tokens
            } else {
                Granularity::Steps
            },
            background: form == AnswerForm::Run || self.background == Some(true),
            override_model: self.override_model,
            override_system: self.override_system,
            client_tools,
            client_skills: client::skills(self.client_skills.unwrap_or_default()),
            include_compaction: self.include_compaction_messages.unwrap_or(false),
            request_config: config,
            metadata: json!({ "run_type": form.run_type() }),
            callback_url: self.callback_url,
            above: Above::default(),
            body_hash: fingerprint.body_hash,
            is_retry: fingerprint.is_retry,
        };
        let stream = StreamOptions {
            include_pings: self.include_pings.unwrap_or(true),
            wanted: self.include_return_message_types,
        };
        Ok(Checked {
            drafts,
            request,
            stream,
        })
    }

    /// What the API shows as the run's `request_config`.
    fn request_config(&self) -> Value {
        json!({
            "use_assistant_message": self.use_assistant_message.unwrap_or(true),
            "assistant_message_tool_name":
                self.assistant_message_tool_name.as_deref().unwrap_or("send_message"),
            "assistant_message_tool_kwarg":
                self.assistant_message_tool_kwarg.as_deref().unwrap_or("message"),
            "include_return_message_types": self.include_return_message_types,
        })
    }

    fn check_options(&self, form: AnswerForm) -> Result<(), ApiError> {
        let steps = self.max_steps.unwrap_or(DEFAULT_MAX_STEPS);
        if !(1..=MAX_STEPS).contains(&steps) {
            let msg = format!("Input should be between 1 and {MAX_STEPS}");
            return Err(ApiError::invalid(&[Issue::body(
                &["max_steps"],
                msg,
                json!(steps),
            )]));
        }
        let streams = [
            ("stream_tokens", self.stream_tokens),
            ("background", self.background),
        ];
        for (name, value) in streams {
            if form != AnswerForm::Stream && value == Some(true) {
                let msg = format!("{name} can only be true in a request with streaming=true");
                return Err(ApiError::invalid(&[Issue::body(&[name], msg, json!(true))]));
            }
        }
        Ok(())
    }
}

impl Checked {
    /// The engine's request, once all images are here and a model and a URL that it names are
    /// known to be good.
    ///
    /// # Errors
    /// An image cannot be fetched, there is no such model, or nothing may be posted to the URL.
    pub async fn into_request(
        self,
        state: &AppState,
        scope: &Scope,
        above: Above,
    ) -> Result<SendRequest, ApiError> {
        let mut request = self.request;
        request.above = above;
        if let Some(handle) = &request.override_model {
            state.engine.resolve_model(scope, handle).await?;
        }
        if let Some(url) = &request.callback_url
            && let Err(error) = state.outside.check(url)
        {
            let issue = Issue::body(&["callback_url"], error.to_string(), json!(url));
            return Err(ApiError::invalid(&[issue]));
        }
        for draft in self.drafts {
            let mut message = draft.message;
            for piece in draft.pieces {
                let part = match piece {
                    Piece::Ready(part) => part,
                    Piece::Fetch(url) => fetch(state, &url).await?,
                };
                message.body.content.push(part);
            }
            request.messages.push(message);
        }
        Ok(request)
    }
}

/// Fetches an image before anything is accepted.
async fn fetch(state: &AppState, url: &str) -> Result<ContentPart, ApiError> {
    let image = state.outside.fetch_image(url).await;
    image.map_err(|error| ApiError::bad_request(format!("INVALID_ARGUMENT: {error}")))
}

/// The messages of a request: `input` xor `messages`.
fn drafts(
    input: Option<Content>,
    messages: Option<Vec<InputMessage>>,
) -> Result<Vec<Draft>, ApiError> {
    let value_error = |msg: &str| {
        let msg = format!("Value error, {msg}");
        ApiError::invalid(&[Issue::body(&[], msg, Value::Null)])
    };
    let messages = match (input, messages) {
        (Some(_), Some(_)) => {
            return Err(value_error(
                "Cannot specify both 'input' and 'messages'. Use one or the other.",
            ));
        }
        (None, None) => return Err(value_error("Must specify either 'input' or 'messages'.")),
        (Some(content), None) => vec![InputMessage {
            role: Some(InputRole::User),
            content: Some(content),
            ..InputMessage::default()
        }],
        (None, Some(messages)) => messages,
    };
    if messages.is_empty() {
        return Err(ApiError::unprocessable("Messages must not be empty"));
    }
    if messages.len() > MAX_MESSAGES {
        return Err(ApiError::unprocessable(format!(
            "a request may have at most {MAX_MESSAGES} messages; this one has {}",
            messages.len()
        )));
    }
    let drafts: Result<Vec<Draft>, ApiError> = messages
        .into_iter()
        .enumerate()
        .map(|(n, message)| draft(n, message))
        .collect();
    let drafts = drafts?;
    check_together(&drafts)?;
    Ok(drafts)
}

/// What is wrong only between messages.
fn check_together(drafts: &[Draft]) -> Result<(), ApiError> {
    let mut otids = HashSet::new();
    for otid in drafts
        .iter()
        .filter_map(|draft| draft.message.otid.as_deref())
    {
        if !otids.insert(otid) {
            return Err(ApiError::unprocessable(format!(
                "two messages of the request have the otid '{otid}'; each needs its own"
            )));
        }
    }
    let pieces = drafts.iter().flat_map(|draft| &draft.pieces);
    if pieces
        .filter(|piece| matches!(piece, Piece::Fetch(_)))
        .count()
        > MAX_FETCHED
    {
        return Err(ApiError::unprocessable(format!(
            "a request may have at most {MAX_FETCHED} images given by URL"
        )));
    }
    Ok(())
}

fn draft(n: usize, input: InputMessage) -> Result<Draft, ApiError> {
    let answers = input.approvals.is_some()
        || input.approve.is_some()
        || input.approval_request_id.is_some()
        || input.tool_returns.is_some();
    match input.kind.as_deref() {
        None | Some("message") if !answers => {}
        None | Some("message" | "approval" | "tool_return") => return answer_draft(n, input),
        Some(other) => {
            let msg = "Input should be 'message', 'approval' or 'tool_return'";
            return Err(message_error(n, "type", msg, json!(other)));
        }
    }
    let role = input
        .role
        .ok_or_else(|| message_error(n, "role", "Field required", Value::Null))?;
    let content = input
        .content
        .ok_or_else(|| message_error(n, "content", "Field required", Value::Null))?;
    check_otid(input.otid.as_deref())
        .map_err(|msg| message_error(n, "otid", &msg, json!(input.otid)))?;
    let role = Role::from(role);
    Ok(Draft {
        pieces: content::pieces(content, role)?,
        message: NewMessage {
            role,
            body: content::body(Vec::new()),
            name: input.name.filter(|name| !name.is_empty()),
            otid: input.otid,
            sender_id: input.sender_id,
            created_at: None,
        },
    })
}

/// A message that answers calls.
fn answer_draft(n: usize, input: InputMessage) -> Result<Draft, ApiError> {
    check_otid(input.otid.as_deref())
        .map_err(|msg| message_error(n, "otid", &msg, json!(input.otid)))?;
    let given = input.approvals.into_iter().chain(input.tool_returns);
    let mut answers = Vec::new();
    for answer in given.flatten() {
        answers.push(answer.checked()?);
    }
    if let (true, Some(approve)) = (answers.is_empty(), input.approve) {
        answers.push(CallAnswer::All {
            request_id: input.approval_request_id,
            approve,
            reason: input.reason,
        });
    }
    if answers.is_empty() {
        return Err(message_error(n, "approvals", "Field required", Value::Null));
    }
    Ok(Draft {
        pieces: Vec::new(),
        message: NewMessage {
            role: Role::Tool,
            body: MessageBody {
                answers,
                ..MessageBody::default()
            },
            name: None,
            otid: input.otid,
            sender_id: input.sender_id,
            created_at: None,
        },
    })
}

/// Whether an otid has a sensible length.
///
/// # Errors
/// Says that it has not.
pub fn check_otid(otid: Option<&str>) -> Result<(), String> {
    match otid {
        Some(otid) if otid.is_empty() || otid.chars().count() > MAX_OTID => {
            Err(format!("an otid has 1 to {MAX_OTID} characters"))
        }
        _ => Ok(()),
    }
}

fn message_error(n: usize, field: &str, msg: &str, input: Value) -> ApiError {
    let mut issue = Issue::body(&["messages"], msg, input);
    issue.loc.push(crate::validation::Loc::Index(n));
    issue.loc.push(crate::validation::Loc::from(field));
    if msg == "Field required" {
        issue.kind = "missing";
    }
    ApiError::invalid(&[issue])
}

#[cfg(test)]
#[path = "send_request_tests.rs"]
mod tests;
