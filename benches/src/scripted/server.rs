//! The HTTP side of the scripted model.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use super::{
    directives, directives::Directives, embeddings::Embedder, gemini, identity::Identity, messages,
    ollama, overflow, reply, request, request::Protocol, responses, search,
};

/// Requests that are kept for tests to look at.
const RECORDED: usize = 2_000;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How the server behaves besides its directives.
#[derive(Debug, Default)]
struct Control {
    record: bool,
    latency: Duration,
    fail_all: Option<u16>,
    /// The requests as they came.
    requests: Vec<String>,
    /// How often a text has failed already.
    failures: HashMap<String, u64>,
    /// How often a text that names a request was asked.
    asked: HashMap<String, u64>,
    /// Names of answers that need not wait any more.
    released: watch::Sender<HashSet<String>>,
    /// The largest request so far, in bytes.
    largest: usize,
    embedder: Embedder,
}

/// The scripted model.
#[derive(Debug, Default, Clone)]
pub struct Scripted {
    control: Arc<Mutex<Control>>,
    /// What it passes for, and the window of its model.
    identity: Option<(Identity, usize)>,
}

impl Scripted {
    /// A server that waits so long before each answer, and records requests if asked to.
    #[must_use]
    pub fn new(latency: Duration, record: bool) -> Self {
        let control = Control {
            latency,
            record,
            ..Control::default()
        };
        Self {
            control: Arc::new(Mutex::new(control)),
            identity: None,
        }
    }

    /// One that passes for a program whose model has that window.
    #[must_use]
    pub fn passing_for(self, identity: Identity, window: usize) -> Self {
        Self {
            identity: Some((identity, window)),
            ..self
        }
    }

    /// Serves until the listener fails.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let model = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let model = model.clone();
                    async move { model.answer(request).await }
                });
                // A client that goes away is no error of ours.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map_err(std::io::Error::other)?
            .to_bytes();
        if let Some(answer) = self.as_program(&parts.method, parts.uri.path()) {
            return Ok(json_reply(200, &answer));
        }
        if let Some((status, answer)) = search::answer(&parts, &body) {
            return Ok(json_reply(status, &answer));
        }
        if let Some(wanted) = gemini::wanted(&parts.method, parts.uri.path()) {
            return self.as_gemini(wanted, body).await;
        }
        if let Some(protocol) = protocol_of(&parts.method, parts.uri.path()) {
            return self.reply_as(protocol, None, body).await;
        }
        match (parts.method, parts.uri.path()) {
            (Method::POST, "/api/show") => Ok(json_reply(200, &ollama::show(&body))),
            (Method::GET, "/api/tags") => Ok(json_reply(200, &ollama::tags())),
            (Method::POST, path) if path.ends_with("/embeddings") => {
                let (status, answer) = self.embedded(body).await;
                Ok(json_reply(status, &answer))
            }
            (Method::GET, "/embeddings") => {
                Ok(json_reply(200, &json!(self.control.lock().embedder)))
            }
            (Method::PUT, "/embeddings") => {
                let wanted = serde_json::from_slice(&body).unwrap_or_default();
                self.control.lock().embedder.set(wanted);
                Ok(json_reply(200, &json!({})))
            }
            (Method::GET, path) if path.ends_with("/models") => Ok(json_reply(200, &models())),
            (Method::GET, "/health") => Ok(json_reply(200, &json!({"status": "ok"}))),
            (Method::GET, "/requests") => {
                let list = self.recorded(parts.uri.query().unwrap_or_default());
                Ok(full(200, "application/json", list))
            }
            (Method::DELETE, "/requests") => {
                self.control.lock().requests.clear();
                Ok(json_reply(200, &json!({})))
            }
            (Method::GET, "/control") => {
                let largest = std::mem::take(&mut self.control.lock().largest);
                Ok(json_reply(200, &json!({"largest_request": largest})))
            }
            (Method::POST, "/control") => {
                self.set(&serde_json::from_slice(&body).unwrap_or_default());
                Ok(json_reply(200, &json!({})))
            }
            _ => Ok(json_reply(
                404,
                &json!({"error": {"message": "no such route"}}),
            )),
        }
    }

    async fn as_gemini(
        &self,
        wanted: gemini::Wanted,
        body: Bytes,
    ) -> Result<Response<Body>, std::io::Error> {
        match wanted {
            gemini::Wanted::Models => Ok(json_reply(200, &gemini::models())),
            gemini::Wanted::Vectors => {
                let asked = gemini::embedding_request(&body);
                let (status, answer) = self.embedded(asked.into()).await;
                Ok(json_reply(status, &gemini::embedding_answer(&answer)))
            }
            gemini::Wanted::Answer { streamed } => {
                self.reply_as(Protocol::Gemini, Some(streamed), body).await
            }
        }
    }

    /// The answer of the program that it passes for.
    fn as_program(&self, method: &Method, path: &str) -> Option<Value> {
        let (identity, window) = self.identity?;
        let is_ours = ["/requests", "/control", "/health"].contains(&path);
        (*method == Method::GET && !is_ours).then(|| identity.answer(path, window))?
    }

    async fn embedded(&self, body: Bytes) -> (u16, Value) {
        let (delay, answer) = {
            let embedder = &mut self.control.lock().embedder;
            (embedder.delay_ms, embedder.answer(&body))
        };
        tokio::time::sleep(Duration::from_millis(delay)).await;
        answer
    }

    /// The recorded requests that hold what a query names (as JSON writes it within a string), as JSON.
    fn recorded(&self, query: &str) -> String {
        let mut parameters = url::form_urlencoded::parse(query.as_bytes());
        let wanted = parameters.find_map(|(name, text)| (name == "containing").then_some(text));
        let wanted = memchr::memmem::Finder::new(wanted.as_deref().unwrap_or_default());
        let control = self.control.lock();
        let found = control
            .requests
            .iter()
            .filter(|text| wanted.find(text.as_bytes()).is_some());
        let found: Vec<&str> = found.map(String::as_str).collect();
        format!("[{}]", found.join(","))
    }

    fn set(&self, wanted: &Value) {
        let mut control = self.control.lock();
        if let Some(record) = wanted.get("record").and_then(Value::as_bool) {
            control.record = record;
        }
        if let Some(millis) = wanted.get("latency_ms").and_then(Value::as_u64) {
            control.latency = Duration::from_millis(millis);
        }
        if let Some(name) = wanted.get("release").and_then(Value::as_str) {
            let name = name.to_owned();
            control.released.send_modify(|names| {
                names.insert(name);
            });
        }
        if let Some(status) = wanted.get("fail_all") {
            control.fail_all = status
                .as_u64()
                .and_then(|status| u16::try_from(status).ok());
        }
    }

    /// The answer to a request, whose path may say whether it is to be streamed.
    async fn reply_as(
        &self,
        protocol: Protocol,
        stream: Option<bool>,
        body: Bytes,
    ) -> Result<Response<Body>, std::io::Error> {
        let mut asked = request::read_as(protocol, &body);
        asked.stream = stream.unwrap_or(asked.stream);
        let directives = if request::is_directed_by_system(&body) {
            directives::parse(&request::system(&body))
        } else if asked.text.contains(reply::NOT_MADE) {
            // What to do then stands in the message before.
            let before = request::mendable(protocol, &body).unwrap_or_default();
            Directives {
                mend: directives::parse(&before).mend,
                steps: usize::MAX,
                ..Directives::default()
            }
        } else {
            directives::parse(&asked.text)
        };
        let latency = self.note(&body) + Duration::from_millis(directives.sleep_ms);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if let Some(name) = &directives.hold {
            self.released(name).await;
        }
        if directives.hang || self.hangs_at(directives.hang_at, &asked.text) {
            std::future::pending::<()>().await;
        }
        if let Some(failure) = self.failure(protocol, &asked, &directives, &body) {
            return Ok(failure);
        }
        let reply = reply::of(&asked, &directives, &body);
        if !asked.stream {
            if directives.drop {
                return Err(std::io::Error::other("dropped as directed"));
            }
            let whole = match protocol {
                Protocol::Chat => reply::whole(&reply),
                Protocol::Messages => messages::whole(&reply),
                Protocol::Responses => responses::whole(&reply),
                Protocol::Ollama => ollama::whole(&reply),
                Protocol::Gemini => gemini::whole(&reply),
            };
            return Ok(full(200, "application/json", whole));
        }
        let mut frames = match protocol {
            Protocol::Chat => reply::frames(&reply, directives.whole_call, asked.include_usage),
            Protocol::Messages => messages::frames(&reply),
            Protocol::Responses => responses::frames(&reply),
            Protocol::Ollama => ollama::lines(&reply),
            Protocol::Gemini => gemini::frames(&reply),
        };
        frames.truncate(directives.cut.unwrap_or(usize::MAX));
        Ok(streamed(protocol, frames, &directives))
    }

    fn note(&self, body: &Bytes) -> Duration {
        let mut control = self.control.lock();
        control.largest = control.largest.max(body.len());
        if control.record {
            if control.requests.len() >= RECORDED {
                control.requests.remove(0);
            }
            control
                .requests
                .push(String::from_utf8_lossy(body).into_owned());
        }
        control.latency
    }

    async fn released(&self, name: &str) {
        let mut released = self.control.lock().released.subscribe();
        // The sender lives as long as this model.
        released.wait_for(|names| names.contains(name)).await.ok();
    }

    fn hangs_at(&self, number: Option<u64>, text: &str) -> bool {
        let Some(number) = number else {
            return false;
        };
        let mut control = self.control.lock();
        let asked = control.asked.entry(text.to_owned()).or_default();
        *asked += 1;
        *asked == number
    }

    fn failure(
        &self,
        protocol: Protocol,
        asked: &request::Asked,
        directives: &Directives,
        body: &[u8],
    ) -> Option<Response<Body>> {
        let text = &asked.text;
        if request::is_beyond_it(body) {
            let message = "registry.ollama.ai/library/scripted-toolless does not support tools";
            return Some(json_reply(400, &refused(protocol, message)));
        }
        let most = directives.overflow_above.or_else(|| real_window(body));
        let tokens = asked.bytes / 4;
        if directives.overflow || most.is_some_and(|most| tokens > most) {
            let words = directives.refusal.as_deref();
            let (status, body) = overflow::refusal(words, protocol, (tokens, most));
            return Some(json_reply(status, &body));
        }
        let mut control = self.control.lock();
        let mut status = directives.error.or(control.fail_all);
        if let Some((times, wanted)) = directives.error_times {
            let failed = control.failures.entry(text.clone()).or_default();
            if *failed < times {
                *failed += 1;
                status = Some(wanted);
            }
        }
        let status = status?;
        let message = format!("scripted error {status}");
        Some(json_reply(status, &refused(protocol, &message)))
    }
}

/// The protocol of a request for an answer.
fn protocol_of(method: &Method, path: &str) -> Option<Protocol> {
    const ENDS: [(&str, Protocol); 4] = [
        ("/api/chat", Protocol::Ollama),
        ("/chat/completions", Protocol::Chat),
        ("/messages", Protocol::Messages),
        ("/responses", Protocol::Responses),
    ];
    let is_post = *method == Method::POST;
    let mut ends = ENDS
        .iter()
        .filter(|(end, _)| is_post && path.ends_with(end));
    ends.next().map(|(_, protocol)| *protocol)
}

/// How each provider says that something is wrong.
fn refused(protocol: Protocol, message: &str) -> Value {
    match protocol {
        Protocol::Ollama => json!({ "error": message }),
        Protocol::Gemini => json!({"error": {"message": message, "status": "SCRIPTED"}}),
        _ => json!({"type": "error", "error": {"message": message, "type": "scripted",
            "code": Value::Null}}),
    }
}

/// A model whose window is smaller than it tells.
const NARROW: &str = "scripted-narrow";

/// Tokens of its requests that it takes.
const NARROW_WINDOW: usize = 6_000;

fn real_window(body: &[u8]) -> Option<usize> {
    request::model_is(body, NARROW).then_some(NARROW_WINDOW)
}

fn models() -> Value {
    let model =
        |id: &str, context: i64| json!({"id": id, "object": "model", "context_length": context});
    json!({"object": "list", "data": [
        model("scripted", 128_000),
        model("scripted-small", 8_192),
        model("scripted-embed", 8_192),
        model("other-embed", 8_192),
        model(NARROW, 128_000),
        model("scripted-toolless", 32_768),
    ]})
}

fn full(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static(kind));
    response
}

fn json_reply(status: u16, body: &Value) -> Response<Body> {
    full(status, "application/json", body.to_string())
}

/// The frames one by one with the directed pause, or all at once without one.
fn streamed(
    protocol: Protocol,
    mut frames: Vec<String>,
    directives: &Directives,
) -> Response<Body> {
    let kind = match protocol {
        Protocol::Ollama => "application/x-ndjson",
        _ => "text/event-stream",
    };
    let drop_at = directives.drop.then_some(frames.len() / 2);
    if directives.delay_ms == 0 && drop_at.is_none() {
        return full(200, kind, frames.concat());
    }
    let pause = Duration::from_millis(directives.delay_ms);
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    tokio::spawn(async move {
        for (index, frame) in frames.drain(..).enumerate() {
            let item = if drop_at == Some(index) {
                Err(std::io::Error::other("dropped as directed"))
            } else {
                Ok(Frame::data(Bytes::from(frame)))
            };
            let end = item.is_err();
            if sender.send(item).await.is_err() || end {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    let body = StreamBody::new(Received(receiver)).boxed_unsync();
    let mut response = Response::new(body);
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert("content-type", kind);
    response
}

/// A channel as a stream.
struct Received(mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>);

impl futures_util::Stream for Received {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
