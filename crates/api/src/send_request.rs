//! The body of a request to run an agent: read, checked, and made into the engine's request (V1
//! contract, section 3.1).

mod client;
mod sent;

use std::collections::HashSet;

use mnemic_core::{
    ids::AgentId,
    messages::{CallAnswer, ContentPart, Image, MessageBody, NewMessage, Role},
    scope::Scope,
};
use mnemic_engine::{DEFAULT_MAX_STEPS, Granularity, SendRequest, custom::Above};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

pub(crate) use self::client::tools as client_tools;
pub use self::{
    client::{AnswerBody, ClientSkillBody, ClientToolBody},
    sent::{Fingerprint, Sent},
};
use crate::{
    AppState,
    content::{self, Content, Piece},
    error::ApiError,
    extract::body_id,
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
    /// The plain form, understood below `/api` only: what the user says. The answer is plain as well: `messages` with the answer's text, `memory` with what
    /// this turn wrote, and `usage`.
    pub message: Option<String>,
    /// The client's own id of the plain form's message: sent again under its id, it is not taken in twice.
    #[schema(max_length = 200)]
    otid: Option<String>,
    /// The end user for whom the turn runs, in a thread of their own.
    #[serde(alias = "userId")]
    pub user_id: Option<String>,
    /// What the user says; give this or `messages`.
    input: Option<Content>,
    /// What is said; give this or `input`.
    messages: Option<Vec<InputMessage>>,
    /// Steps that the run may take.
    #[schema(minimum = 1, maximum = 1000, default = 50)]
    max_steps: Option<i64>,
    /// Whether the answer is a stream.
    #[serde(alias = "stream")]
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

impl InputMessage {
    /// What the user says.
    #[must_use]
    pub fn of_user(content: Content, name: Option<String>) -> Self {
        Self {
            role: Some(InputRole::User),
            content: Some(content),
            name,
            ..Self::default()
        }
    }

    /// Answers to calls that wait.
    #[must_use]
    pub fn of_answers(answers: Vec<AnswerBody>) -> Self {
        Self {
            kind: Some("approval".to_owned()),
            approvals: Some(answers),
            ..Self::default()
        }
    }
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
    /// Nobody waits: the request is one of a batch.
    Batch,
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

    /// The same on the routes of conversations: a stream unless something else is asked for (V1 contract, section 3.1).
    #[must_use]
    pub const fn of_thread(stream: Option<bool>) -> Self {
        match stream {
            Some(false) => Self::Json,
            _ => Self::Stream,
        }
    }

    /// What the run's metadata calls it.
    const fn run_type(self) -> &'static str {
        match self {
            Self::Json => "send_message",
            Self::Stream => "send_message_streaming",
            Self::Run => "send_message_async",
            Self::Batch => "send_message_batch",
        }
    }
}

/// A message whose images may still have to be fetched.
#[derive(Debug, Clone)]
struct Draft {
    message: NewMessage,
    pieces: Vec<Piece>,
    /// The images of each of its answers.
    images: Vec<Vec<Piece>>,
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
    /// A request of these messages, for the API's other languages.
    #[must_use]
    pub fn of(messages: Vec<InputMessage>, form: AnswerForm) -> Self {
        Self {
            messages: Some(messages),
            stream_tokens: (form == AnswerForm::Stream).then_some(true),
            ..Self::default()
        }
    }

    /// The plain form as one message of the user.
    ///
    /// # Errors
    /// It says the same in two ways.
    pub fn unfolded(mut self) -> Result<Self, ApiError> {
        let text = self.message.take().unwrap_or_default();
        if self.input.is_some() || self.messages.is_some() {
            let msg = "Value error, give one of message, input and messages";
            return Err(ApiError::invalid(&[Issue::body(
                &["message"],
                msg,
                json!(text),
            )]));
        }
        self.messages = Some(vec![InputMessage {
            role: Some(InputRole::User),
            content: Some(Content::Text(text)),
            otid: self.otid.take(),
            ..InputMessage::default()
        }]);
        if self.streaming == Some(true) {
            self.stream_tokens = self.stream_tokens.or(Some(true));
        }
        Ok(self)
    }

    /// The agent that it names, beside a conversation `default`.
    ///
    /// # Errors
    /// It is no id of an agent.
    pub fn agent(&self) -> Result<Option<AgentId>, ApiError> {
        let named = self.agent_id.as_deref();
        named.map(|id| body_id("agent_id", id)).transpose()
    }

    /// Whether the client wants the answer as a stream.
    pub fn wants_stream(&self) -> bool {
        self.streaming == Some(true) || self.stream_tokens == Some(true)
    }

    /// Checks the request.
    ///
    /// # Errors
    /// Says what about it is wrong.
    pub fn check(self, form: AnswerForm, fingerprint: Fingerprint) -> Result<Checked, ApiError> {
        let config = self.request_config();
        self.check_options(form)?;
        if let Some(user) = &self.user_id {
            // Whoever knows where the user's thread is has taken it out.
            let msg = "requests of this kind can't be made for a user";
            return Err(ApiError::invalid(&[Issue::body(
                &["user_id"],
                msg,
                json!(user),
            )]));
        }
        let drafts = drafts(self.input, self.messages)?;
        let client_tools = client::tools(self.client_tools.unwrap_or_default())
            .map_err(|issue| ApiError::invalid(&[*issue]))?;
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
            body_hash: fingerprint.body_hash,
            is_retry: fingerprint.is_retry,
            ..SendRequest::default()
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
                message.body.content.push(ready(state, piece).await?);
            }
            for (answer, pieces) in message.body.answers.iter_mut().zip(draft.images) {
                for piece in pieces {
                    let part = ready(state, piece).await?;
                    if let (
                        CallAnswer::Tool { images, .. },
                        ContentPart::Image { media_type, data },
                    ) = (&mut *answer, part)
                    {
                        images.push(Image { media_type, data });
                    }
                }
            }
            request.messages.push(message);
        }
        Ok(request)
    }
}

/// A part of a message; an image is fetched before anything is accepted.
async fn ready(state: &AppState, piece: Piece) -> Result<ContentPart, ApiError> {
    let url = match piece {
        Piece::Ready(part) => return Ok(part),
        Piece::Fetch(url) => url,
    };
    let image = state.outside.fetch_image(&url).await;
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
        (Some(content), None) => vec![InputMessage::of_user(content, None)],
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
    let in_answers = drafts
        .iter()
        .flat_map(|draft| draft.images.iter().flatten());
    let pieces = drafts
        .iter()
        .flat_map(|draft| &draft.pieces)
        .chain(in_answers);
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
        images: Vec::new(),
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
    let (mut answers, mut images) = (Vec::new(), Vec::new());
    for answer in given.flatten() {
        let (answer, shown) = answer.checked()?;
        answers.push(answer);
        images.push(shown);
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
        images,
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
