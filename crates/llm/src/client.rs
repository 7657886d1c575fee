//! The client: sends calls, retries them, and reads their answers.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{Response, header::CONTENT_TYPE};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::{
    adaptation::Parameter,
    anthropic,
    body::WireBody,
    calls::{Call, Delivery},
    choice,
    completion::Completion,
    connect,
    endpoints::{Endpoint, Origin, Protocol},
    errors::LlmError,
    forced, gemini, ollama,
    ollama::prompt_cut::PromptCheck,
    openai_chat, openai_responses,
    reading::Reading,
    refusals,
    retry::{RetryPolicy, Timeouts, retry_after},
    streaming::{self, DeltaStream, MAX_ANSWER, Pump},
    url_guard::UrlGuard,
};

/// Bytes of an error body that are read.
const MAX_ERROR: usize = 256 * 1024;
/// How many parameters a call may lose before its refusal is believed.
const MAX_ADAPTATIONS: u32 = 6;

/// Calls models. Cheap to clone; all clones share one pool of connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// For endpoints whose addresses are not to be trusted; made when it is first needed.
    guarded: Arc<OnceLock<reqwest::Client>>,
    guard: UrlGuard,
    timeouts: Timeouts,
    retries: RetryPolicy,
}

/// What one try brought.
enum Answer {
    Whole(Completion),
    Streaming(Box<Pump>),
}

impl Client {
    /// A client.
    ///
    /// # Errors
    /// When the system's TLS certificates can't be read.
    pub fn new(timeouts: Timeouts, retries: RetryPolicy) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: connect::builder(timeouts.connect).build()?,
            guarded: Arc::default(),
            guard: UrlGuard::new(false),
            timeouts,
            retries,
        })
    }

    /// The same, with the guard on endpoints that were added by the API.
    #[must_use]
    pub fn guarded_by(self, guard: UrlGuard) -> Self {
        Self {
            guarded: Arc::default(),
            guard,
            ..self
        }
    }

    /// The guard on endpoints that were added by the API.
    #[must_use]
    pub const fn guard(&self) -> &UrlGuard {
        &self.guard
    }

    /// The connections to an endpoint.
    fn connections(&self, endpoint: &Endpoint) -> Result<&reqwest::Client, LlmError> {
        if endpoint.config().origin != Origin::Added || self.guard.allows_private() {
            return Ok(&self.http);
        }
        // The name is looked at when it is resolved, what is an address already here.
        let refused = |message: String| LlmError::Connection {
            provider: endpoint.name().to_owned(),
            url: endpoint.base_url().to_owned(),
            message,
        };
        let checked = self.guard.check(endpoint.base_url());
        checked.map_err(|error| refused(error.to_string()))?;
        if let Some(client) = self.guarded.get() {
            return Ok(client);
        }
        let builder = connect::builder(self.timeouts.connect);
        let made = self.guard.guarding(builder).build();
        let made = made.map_err(|error| refused(error.to_string()))?;
        Ok(self.guarded.get_or_init(|| made))
    }

    /// The limits on waiting.
    #[must_use]
    pub const fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Calls a model and waits for the whole answer.
    ///
    /// # Errors
    /// When no answer came, after the retries that the error allows.
    pub async fn call(&self, call: &Call) -> Result<Completion, LlmError> {
        let completion = match self.answer(call, Delivery::Whole).await? {
            Answer::Whole(completion) => completion,
            Answer::Streaming(mut pump) => {
                let mut assembler = crate::Assembler::new();
                while let Some(delta) = pump.next().await? {
                    assembler.push(&delta);
                }
                assembler.finish()
            }
        };
        if may_force(call) && completion.body.tool_calls.is_empty() {
            return Ok(self.force(call, completion).await);
        }
        Ok(completion)
    }

    /// Calls a model and yields its answer as it is made. Returns when the first piece is there, so
    /// that everything before it could be retried.
    ///
    /// # Errors
    /// When no answer began, after the retries that the error allows.
    pub async fn stream(&self, call: &Call) -> Result<DeltaStream, LlmError> {
        let pump = match self.answer(call, Delivery::Streamed).await? {
            Answer::Streaming(pump) => *pump,
            Answer::Whole(completion) => Pump::whole(
                call.endpoint.clone(),
                completion.into_deltas(),
                self.timeouts,
            ),
        };
        if may_force(call) {
            return Ok(streaming::with_forced_call(
                pump,
                self.clone(),
                call.clone(),
            ));
        }
        Ok(streaming::into_stream(pump))
    }

    /// Makes a call again whose answer lacks the tool call it had to hold. What comes of it is added
    /// to the answer; when nothing does, the answer stays as it is.
    pub(crate) async fn force(&self, call: &Call, mut completion: Completion) -> Completion {
        let again = forced::by_schema(call);
        match self.answer(&again, Delivery::Whole).await {
            Ok(Answer::Whole(forced)) => {
                if let Some(usage) = &forced.usage {
                    completion.usage.get_or_insert_default().add(usage);
                }
                let forced_call = forced::read(&forced, call);
                completion.body.tool_calls.extend(forced_call);
            }
            Ok(Answer::Streaming(_)) => {}
            Err(error) => tracing::warn!(%error, "the forced tool call failed"),
        }
        completion
    }

    /// Tries until there is an answer or no hope.
    async fn answer(&self, call: &Call, delivery: Delivery) -> Result<Answer, LlmError> {
        let mut body = render(call, delivery);
        let (mut tried, mut adapted) = (1, 0);
        loop {
            let error = match self.attempt(call, &body, delivery).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if adapted < MAX_ADAPTATIONS && may_adapt(call, &error) {
                adapted += 1;
                body = render(call, delivery);
                continue;
            }
            if adapted < MAX_ADAPTATIONS && refuses_reasoning(&error) {
                adapted = MAX_ADAPTATIONS;
                body = without_reasoning(call, &body);
                continue;
            }
            let Some(wait) = self.retries.wait(tried, &error) else {
                return Err(error);
            };
            let (kind, wait_ms) = (error.error_type(), wait.as_millis());
            tracing::warn!(tried, wait_ms, kind, "a model call is tried again");
            // Providers repeat what people said.
            tracing::debug!(%error, "why a model call is tried again");
            tokio::time::sleep(wait).await;
            tried += 1;
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        body: &WireBody,
        delivery: Delivery,
    ) -> Result<Answer, LlmError> {
        let sent = Instant::now();
        let endpoint = &call.endpoint;
        let reading = Reading::of(call);
        if let Some(models) = &endpoint.config().in_process {
            let pieces = models.ask(endpoint, &body.to_vec())?;
            let pump = Pump::in_process(endpoint.clone(), pieces, self.timeouts);
            let mut pump = pump.read_as(reading, None);
            pump.prime().await?;
            return Ok(Answer::Streaming(Box::new(pump)));
        }
        let check = PromptCheck::of(call, body);
        let (patience, phase, again) = if delivery.is_streamed() {
            (
                self.timeouts.first_byte,
                "the first byte of the answer",
                true,
            )
        } else {
            (self.timeouts.answer, "the whole answer", false)
        };
        let request = self
            .connections(endpoint)?
            .post(endpoint.call_url(&call.model, delivery.is_streamed()))
            .headers(endpoint.headers().clone())
            .body(body.to_request())
            .send();
        let response = timeout(patience, request)
            .await
            .map_err(|_| late(endpoint, phase, patience, again))?
            .map_err(|error| self.not_sent(endpoint, &error))?;
        if !response.status().is_success() {
            return Err(self.refusal(endpoint, response).await);
        }
        // What comes back is told by its type rather than by what was asked for: some servers
        // stream always, others never.
        let streams = match media_type(&response) {
            Some(kind) if kind.contains("event-stream") || kind.contains("ndjson") => true,
            Some(kind) if kind.contains("json") || kind.contains("html") => false,
            _ => delivery.is_streamed(),
        };
        if streams {
            let pump = Pump::new(endpoint.clone(), response, self.timeouts, sent);
            let mut pump = pump.read_as(reading, check);
            pump.prime().await?;
            return Ok(Answer::Streaming(Box::new(pump)));
        }
        let left = self.timeouts.answer.saturating_sub(sent.elapsed());
        let bytes = timeout(left, streaming::read_whole(endpoint, response, MAX_ANSWER))
            .await
            .map_err(|_| late(endpoint, "the whole answer", self.timeouts.answer, false))??;
        let completion = crate::parse_response(endpoint, &bytes)?;
        if let (Some(usage), Some(check)) = (&completion.usage, check) {
            check.look_at(usage);
        }
        Ok(Answer::Whole(reading.in_completion(completion)))
    }

    /// The error that an answer without success stands for.
    async fn refusal(&self, endpoint: &Endpoint, response: Response) -> LlmError {
        let status = response.status();
        let wait = retry_after(response.headers());
        if status.is_redirection() {
            let to = response
                .headers()
                .get("location")
                .and_then(|to| to.to_str().ok());
            return LlmError::InvalidResponse {
                provider: endpoint.name().to_owned(),
                message: format!(
                    "it redirects to {}, which is not followed; use that as the base URL if it is right",
                    to.unwrap_or("nowhere")
                ),
            };
        }
        let reading = streaming::read_whole(endpoint, response, MAX_ERROR);
        let body = match timeout(self.timeouts.idle, reading).await {
            Ok(Ok(body)) => body,
            _ => bytes::Bytes::new(),
        };
        refusals::from_answer(endpoint, status.as_u16(), &body, wait)
    }

    fn not_sent(&self, endpoint: &Endpoint, error: &reqwest::Error) -> LlmError {
        if error.is_timeout() {
            return late(endpoint, "the connection", self.timeouts.connect, true);
        }
        broken_connection(endpoint, error, false)
    }

    /// Posts JSON to a route of an endpoint until there is an answer or no hope.
    pub(crate) async fn post_json(
        &self,
        endpoint: &Endpoint,
        url: &url::Url,
        body: bytes::Bytes,
    ) -> Result<bytes::Bytes, LlmError> {
        let patience = self.timeouts.first_byte;
        let mut tried = 1;
        loop {
            let post = async {
                let request = self
                    .connections(endpoint)?
                    .post(url.clone())
                    .headers(endpoint.headers().clone())
                    .body(body.clone());
                let response = request
                    .send()
                    .await
                    .map_err(|error| self.not_sent(endpoint, &error))?;
                if !response.status().is_success() {
                    return Err(self.refusal(endpoint, response).await);
                }
                streaming::read_whole(endpoint, response, MAX_ANSWER).await
            };
            let answer = timeout(patience, post).await;
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => late(endpoint, "the whole answer", patience, true),
            };
            let Some(wait) = self.retries.wait(tried, &error) else {
                return Err(error);
            };
            let (kind, wait_ms) = (error.error_type(), wait.as_millis());
            tracing::warn!(tried, wait_ms, kind, "a request is tried again");
            // Providers repeat what people said.
            tracing::debug!(%error, "why a request is tried again");
            tokio::time::sleep(wait).await;
            tried += 1;
        }
    }

    /// The list of an endpoint's models as it came.
    pub(crate) async fn model_list(
        &self,
        endpoint: &Endpoint,
        patience: Duration,
    ) -> Result<bytes::Bytes, LlmError> {
        let url = endpoint.models_url().clone();
        self.ask_once(endpoint, url, None, patience).await
    }

    /// Asks a route of an endpoint once: a GET, or a POST of JSON.
    pub(crate) async fn ask_once(
        &self,
        endpoint: &Endpoint,
        url: url::Url,
        json: Option<String>,
        patience: Duration,
    ) -> Result<bytes::Bytes, LlmError> {
        let fetch = async {
            let http = self.connections(endpoint)?;
            let request = match json {
                Some(json) => http.post(url).body(json),
                None => http.get(url),
            };
            let response = request
                .headers(endpoint.headers().clone())
                .send()
                .await
                .map_err(|error| self.not_sent(endpoint, &error))?;
            if !response.status().is_success() {
                return Err(self.refusal(endpoint, response).await);
            }
            streaming::read_whole(endpoint, response, MAX_ANSWER).await
        };
        timeout(patience, fetch)
            .await
            .map_err(|_| late(endpoint, "what it tells of its models", patience, true))?
    }

    /// For questions to what is no endpoint yet.
    pub(crate) const fn http(&self) -> &reqwest::Client {
        &self.http
    }
}

/// Whether an answer without a tool call is worth asking once more, in another form than it was asked
/// for in.
fn may_force(call: &Call) -> bool {
    call.needs_tool_call() && !choice::applies(call)
}

/// The body of the request that a call makes, as its endpoint would get it now. It holds no key: those go in
/// headers.
#[must_use]
pub fn request_body(call: &Call, streamed: bool) -> Value {
    let delivery = if streamed {
        Delivery::Streamed
    } else {
        Delivery::Whole
    };
    serde_json::from_slice(&render(call, delivery).to_vec()).unwrap_or_default()
}

/// A call as its model is to be asked.
pub(crate) fn render(call: &Call, delivery: Delivery) -> WireBody {
    let protocol = call.endpoint.protocol();
    let by_choice = choice::applies(call);
    let is_blind = call.transcript.has_images()
        && matches!(protocol, Protocol::OpenAiChat | Protocol::Ollama)
        && !call.accepts(Parameter::Images);
    let body = if by_choice {
        render_plainly(&choice::without_tools(call), delivery)
    } else {
        render_plainly(call, delivery)
    };
    if !by_choice && !is_blind {
        return body;
    }
    let Ok(mut request) = serde_json::from_slice::<Value>(&body.to_vec()) else {
        return body;
    };
    if by_choice {
        choice::rewritten(call, &mut request);
    }
    if is_blind {
        choice::without_images(&mut request);
    }
    WireBody::from_vec(request.to_string().into_bytes())
}

fn render_plainly(call: &Call, delivery: Delivery) -> WireBody {
    match call.endpoint.protocol() {
        Protocol::OpenAiChat => openai_chat::request::render(call, delivery),
        Protocol::OpenAiResponses => openai_responses::request::render(call, delivery),
        Protocol::Anthropic => anthropic::request::render(call, delivery),
        Protocol::Ollama => ollama::request::render(call, delivery),
        Protocol::Gemini => gemini::request::render(call),
    }
}

/// Whether the provider does not take the reasoning of a history: because a key of another account
/// signed it, or because the history was changed since.
fn refuses_reasoning(error: &LlmError) -> bool {
    const WORDS: [&str; 8] = [
        "thought signature",
        "thought_signature",
        "`signature` in `thinking`",
        "thinking` blocks",
        "redacted_thinking",
        "encrypted content",
        "encrypted_content",
        "of type 'reasoning'",
    ];
    match error {
        LlmError::BadRequest { message, .. } => {
            let message = message.to_ascii_lowercase();
            WORDS.iter().any(|words| message.contains(words))
        }
        _ => false,
    }
}

/// The same request without the reasoning in its history.
fn without_reasoning(call: &Call, body: &WireBody) -> WireBody {
    tracing::info!(
        provider = call.endpoint.name(),
        "the provider refuses the reasoning of the history; the call goes without it"
    );
    let Ok(mut request) = serde_json::from_slice::<Value>(&body.to_vec()) else {
        return body.clone();
    };
    match call.endpoint.protocol() {
        Protocol::OpenAiChat | Protocol::Ollama => {}
        Protocol::OpenAiResponses => openai_responses::request::without_reasoning(&mut request),
        Protocol::Anthropic => anthropic::request::without_reasoning(&mut request),
        Protocol::Gemini => gemini::request::without_reasoning(&mut request),
    }
    WireBody::from_vec(request.to_string().into_bytes())
}

/// Whether an error names a parameter that the call can do without.
fn may_adapt(call: &Call, error: &LlmError) -> bool {
    match error {
        LlmError::BadRequest { message, .. }
        | LlmError::Server { message, .. }
        | LlmError::NotFound { message, .. } => call.endpoint.learn(&call.model, message),
        _ => false,
    }
}

fn media_type(response: &Response) -> Option<&str> {
    response.headers().get(CONTENT_TYPE)?.to_str().ok()
}

/// The error of a wait that took too long.
pub(crate) fn late(endpoint: &Endpoint, what: &str, waited: Duration, again: bool) -> LlmError {
    LlmError::Timeout {
        provider: endpoint.name().to_owned(),
        phase: format!("{what} took longer than {} s", waited.as_secs_f64()),
        again,
    }
}

/// The error of a connection that failed before or, when something was `heard`, within an answer.
pub(crate) fn broken_connection(
    endpoint: &Endpoint,
    error: &reqwest::Error,
    heard: bool,
) -> LlmError {
    let provider = endpoint.name().to_owned();
    let message = endpoint.redact(&root_cause(error));
    if heard {
        return LlmError::StreamIncomplete { provider, message };
    }
    LlmError::Connection {
        provider,
        url: endpoint.base_url().to_owned(),
        message,
    }
}

/// The innermost cause: the outer ones only say that a request failed, and name its URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
