//! Streams of deltas: reading an answer while it is made.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt as _, stream};
use mnemic_core::runs::Usage;
use reqwest::Response;
use tokio::time::{Instant, timeout};

use crate::{
    anthropic,
    calls::Call,
    client::{Client, broken_connection, late},
    completion::{Completion, Delta, FinishReason},
    endpoints::{Endpoint, Protocol},
    errors::LlmError,
    gemini,
    in_process::{self, LocalAnswer, LocalError, LocalPiece},
    lines::LineParser,
    ollama,
    ollama::prompt_cut::PromptCheck,
    openai_chat, openai_responses,
    reading::Reading,
    refusals::from_object,
    retry::Timeouts,
    sse::{SseParser, TooLong},
};

/// The deltas of one answer. Its last item is an error or [`Delta::Finish`]. Dropping it ends the
/// call.
pub type DeltaStream = Pin<Box<dyn Stream<Item = Result<Delta, LlmError>> + Send>>;

/// The longest event that is read.
const MAX_EVENT: usize = 16 * 1024 * 1024;
/// The longest answer that is read.
pub(crate) const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// How long an answered connection may take to become free for the next call.
const DRAIN: Duration = Duration::from_secs(1);

/// The events of a protocol's streams.
enum Decoder {
    OpenAiChat(openai_chat::decoder::Decoder),
    OpenAiResponses(openai_responses::decoder::Decoder),
    Anthropic(anthropic::decoder::Decoder),
    Ollama(ollama::decoder::Decoder),
    Gemini(gemini::decoder::Decoder),
}

impl Decoder {
    fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::OpenAiChat => Self::OpenAiChat(Default::default()),
            Protocol::OpenAiResponses => Self::OpenAiResponses(Default::default()),
            Protocol::Anthropic => Self::Anthropic(Default::default()),
            Protocol::Ollama => Self::Ollama(Default::default()),
            Protocol::Gemini => Self::Gemini(Default::default()),
        }
    }

    const fn is_done(&self) -> bool {
        match self {
            Self::OpenAiChat(decoder) => decoder.is_done(),
            Self::OpenAiResponses(decoder) => decoder.is_done(),
            Self::Anthropic(decoder) => decoder.is_done(),
            Self::Ollama(decoder) => decoder.is_done(),
            Self::Gemini(decoder) => decoder.is_done(),
        }
    }

    const fn has_finished(&self) -> bool {
        match self {
            Self::OpenAiChat(decoder) => decoder.has_finished(),
            Self::OpenAiResponses(decoder) => decoder.has_finished(),
            Self::Anthropic(decoder) => decoder.has_finished(),
            Self::Ollama(decoder) => decoder.has_finished(),
            Self::Gemini(decoder) => decoder.has_finished(),
        }
    }

    fn event(
        &mut self,
        endpoint: &Endpoint,
        data: &[u8],
        out: &mut VecDeque<Delta>,
    ) -> Result<(), LlmError> {
        match self {
            Self::OpenAiChat(decoder) => decoder.event(endpoint, data, out),
            Self::OpenAiResponses(decoder) => decoder.event(endpoint, data, out),
            Self::Anthropic(decoder) => decoder.event(endpoint, data, out),
            Self::Ollama(decoder) => decoder.event(endpoint, data, out),
            Self::Gemini(decoder) => decoder.event(endpoint, data, out),
        }
    }

    fn end(&mut self, endpoint: &Endpoint, out: &mut VecDeque<Delta>) -> Result<(), LlmError> {
        match self {
            Self::OpenAiChat(decoder) => decoder.end(endpoint, out),
            Self::OpenAiResponses(decoder) => decoder.end(endpoint, out),
            Self::Anthropic(decoder) => decoder.end(endpoint, out),
            Self::Ollama(decoder) => decoder.end(endpoint, out),
            Self::Gemini(decoder) => decoder.end(endpoint, out),
        }
    }
}

/// How the events of a stream are parted from each other.
enum Framing {
    Sse(SseParser),
    Lines(LineParser),
}

impl Framing {
    const fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Ollama => Self::Lines(LineParser::new(MAX_EVENT)),
            _ => Self::Sse(SseParser::new(MAX_EVENT)),
        }
    }

    /// Takes in bytes, or their end, and hands out the names and data of events.
    fn take_in(
        &mut self,
        bytes: Option<&[u8]>,
        sink: &mut impl FnMut(&str, &[u8]),
    ) -> Result<(), TooLong> {
        match self {
            Self::Sse(parser) => {
                let mut event = |event: crate::sse::SseEvent<'_>| sink(event.name, event.data);
                match bytes {
                    Some(bytes) => parser.feed(bytes, &mut event),
                    None => parser.finish(&mut event),
                }
            }
            Self::Lines(parser) => {
                let mut line = |line: &[u8]| sink("", line);
                match bytes {
                    Some(bytes) => parser.feed(bytes, &mut line),
                    None => parser.finish(&mut line),
                }
            }
        }
    }
}

/// From bytes to deltas, without I/O.
struct Reader {
    endpoint: Arc<Endpoint>,
    framing: Framing,
    decoder: Decoder,
    queue: VecDeque<Delta>,
    received: usize,
}

impl Reader {
    fn new(endpoint: Arc<Endpoint>) -> Self {
        let protocol = endpoint.protocol();
        let decoder = Decoder::new(protocol);
        Self {
            endpoint,
            framing: Framing::new(protocol),
            decoder,
            queue: VecDeque::new(),
            received: 0,
        }
    }

    /// Takes in bytes; `None` is the end of the stream.
    fn take_in(&mut self, bytes: Option<&[u8]>) -> Result<(), LlmError> {
        let Self {
            endpoint,
            framing,
            decoder,
            queue,
            received,
        } = self;
        let mut result = Ok(());
        let mut sink = |name: &str, data: &[u8]| {
            if result.is_ok() && !decoder.is_done() {
                result = if name == "error" {
                    Err(error_event(endpoint, data))
                } else {
                    decoder.event(endpoint, data, queue)
                };
            }
        };
        *received += bytes.map_or(0, <[u8]>::len);
        let parsed = framing.take_in(bytes, &mut sink);
        result?;
        let too_long = |message: String| LlmError::InvalidResponse {
            provider: endpoint.name().to_owned(),
            message,
        };
        parsed.map_err(|error| too_long(error.to_string()))?;
        if *received > MAX_ANSWER {
            return Err(too_long(format!("it is longer than {MAX_ANSWER} bytes")));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), LlmError> {
        self.decoder.end(&self.endpoint, &mut self.queue)
    }
}

/// The error of an SSE event named `error`.
fn error_event(endpoint: &Endpoint, data: &[u8]) -> LlmError {
    let value = serde_json::from_slice(data)
        .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(data).into_owned()));
    from_object(endpoint, &value)
}

/// An answer that is being read.
pub(crate) struct Pump {
    reader: Reader,
    response: Option<Response>,
    /// Comes from this process rather than by a response.
    pieces: Option<LocalAnswer>,
    timeouts: Timeouts,
    sent: Instant,
    heard: bool,
    over: bool,
    failed: Option<LlmError>,
    reading: Reading,
    /// What is read and not yet handed out.
    ready: VecDeque<Delta>,
    check: Option<PromptCheck>,
}

impl Pump {
    /// Reads the stream in `response`, whose request was sent at `sent`.
    pub fn new(
        endpoint: Arc<Endpoint>,
        response: Response,
        timeouts: Timeouts,
        sent: Instant,
    ) -> Self {
        Self {
            reader: Reader::new(endpoint),
            response: Some(response),
            pieces: None,
            timeouts,
            sent,
            heard: false,
            over: false,
            failed: None,
            reading: Reading::AsItIs,
            ready: VecDeque::new(),
            check: None,
        }
    }

    /// The same, read otherwise.
    pub fn read_as(self, reading: Reading, check: Option<PromptCheck>) -> Self {
        Self {
            reading,
            check,
            ..self
        }
    }

    /// Plays an answer that came whole.
    pub fn whole(endpoint: Arc<Endpoint>, deltas: Vec<Delta>, timeouts: Timeouts) -> Self {
        let mut reader = Reader::new(endpoint);
        reader.queue = deltas.into();
        Self {
            reader,
            response: None,
            pieces: None,
            timeouts,
            sent: Instant::now(),
            heard: true,
            over: true,
            failed: None,
            reading: Reading::AsItIs,
            ready: VecDeque::new(),
            check: None,
        }
    }

    /// Reads an answer of a model in this process.
    pub fn in_process(endpoint: Arc<Endpoint>, pieces: LocalAnswer, timeouts: Timeouts) -> Self {
        Self {
            pieces: Some(pieces),
            over: false,
            ..Self::whole(endpoint, Vec::new(), timeouts)
        }
    }

    /// Reads until there is something to show, so that an error before it can still be retried.
    pub async fn prime(&mut self) -> Result<(), LlmError> {
        while self.reader.queue.is_empty() && !self.over {
            self.advance().await;
        }
        match self.failed.take_if(|_| self.reader.queue.is_empty()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The next delta; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Delta>, LlmError> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Ok(Some(delta));
            }
            self.prime().await?;
            let Some(delta) = self.reader.queue.pop_front() else {
                return Ok(None);
            };
            if let (Delta::Usage(usage), Some(check)) = (&delta, &self.check) {
                check.look_at(usage);
            }
            // A server's broken call is asked for once more. This process would write the same again.
            let endpoint = &self.reader.endpoint;
            if delta == Delta::Finish(FinishReason::Length)
                && endpoint.config().in_process.is_some()
                && self.reading.is_within_call()
            {
                return Err(in_process::cut_off(endpoint));
            }
            self.reading.push(delta, &mut self.ready);
        }
    }

    /// Reads one piece of the answer. What came before an error is shown before it.
    async fn advance(&mut self) {
        if let Err(error) = self.read_piece().await {
            self.over = true;
            self.response = None;
            self.pieces = None;
            self.failed = Some(error);
        }
    }

    async fn read_piece(&mut self) -> Result<(), LlmError> {
        if let Some(pieces) = &mut self.pieces {
            // On a slow machine reading a long prompt takes minutes; a thread of ours can't hang like a
            // connection, so only the whole has a limit.
            let deadline = self.sent + self.timeouts.answer;
            let endpoint = &self.reader.endpoint;
            let piece = tokio::time::timeout_at(deadline, pieces.next()).await;
            let piece = piece
                .map_err(|_| late(endpoint, "the whole answer", self.timeouts.answer, false))?;
            let broken =
                || LocalPiece::Failed(LocalError::Failed("the model's thread ended".into()));
            let (deltas, is_last) = in_process::deltas(endpoint, piece.unwrap_or_else(broken))?;
            self.reader.queue.extend(deltas);
            if is_last {
                self.over = true;
                self.pieces = None;
            }
            return Ok(());
        }
        let Some(response) = &mut self.response else {
            self.over = true;
            return Ok(());
        };
        let finished = self.reader.decoder.has_finished();
        let limits = &self.timeouts;
        let (since, patience, phase) = match (finished, self.heard) {
            (true, _) => (Instant::now(), limits.grace, "the end of the stream"),
            (false, true) => (Instant::now(), limits.idle, "the next piece of the stream"),
            (false, false) => (self.sent, limits.first_byte, "the first byte of the answer"),
        };
        let deadline = self.sent + limits.answer;
        let until = (since + patience).min(deadline);
        let endpoint = &self.reader.endpoint;
        let piece = match tokio::time::timeout_at(until, response.chunk()).await {
            Ok(piece) => piece,
            Err(_) if finished => Ok(None),
            Err(_) if until == deadline => {
                return Err(late(endpoint, "the whole answer", limits.answer, false));
            }
            Err(_) => return Err(late(endpoint, phase, patience, true)),
        };
        match piece {
            Ok(Some(bytes)) => {
                self.heard = true;
                self.reader.take_in(Some(&bytes))?;
                if self.reader.decoder.is_done() {
                    self.end()?;
                }
                Ok(())
            }
            Ok(None) => {
                self.reader.take_in(None)?;
                self.end()
            }
            // The answer is all there; how the connection ended does not matter.
            Err(_) if finished => self.end(),
            Err(error) => Err(broken_connection(&self.reader.endpoint, &error, self.heard)),
        }
    }

    fn end(&mut self) -> Result<(), LlmError> {
        self.over = true;
        if let Some(response) = self.response.take() {
            release(response);
        }
        self.reader.end()
    }
}

/// Reads what follows the end mark, so that the connection can be used again.
fn release(mut response: Response) {
    if let Some(Ok(None) | Err(_)) = response.chunk().now_or_never() {
        return;
    }
    tokio::spawn(timeout(DRAIN, async move {
        let mut left = 64_usize;
        while left > 0 && matches!(response.chunk().await, Ok(Some(_))) {
            left -= 1;
        }
    }));
}

/// The pump as a stream.
pub(crate) fn into_stream(pump: Pump) -> DeltaStream {
    Box::pin(stream::unfold(Some(pump), |pump| async move {
        let mut pump = pump?;
        match pump.next().await {
            Ok(Some(delta)) => Some((Ok(delta), Some(pump))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// The pump as a stream in which a tool call has to come: when none does, it is forced before the
/// stream ends.
pub(crate) fn with_forced_call(pump: Pump, client: Client, call: Call) -> DeltaStream {
    let state = Forcing {
        pump,
        called: false,
        usage: None,
        rest: VecDeque::new(),
    };
    Box::pin(stream::unfold(
        Some((state, client, call)),
        |state| async move {
            let (mut forcing, client, call) = state?;
            match forcing.next(&client, &call).await {
                Ok(Some(delta)) => Some((Ok(delta), Some((forcing, client, call)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        },
    ))
}

struct Forcing {
    pump: Pump,
    called: bool,
    usage: Option<Usage>,
    rest: VecDeque<Delta>,
}

impl Forcing {
    async fn next(&mut self, client: &Client, call: &Call) -> Result<Option<Delta>, LlmError> {
        loop {
            if let Some(delta) = self.rest.pop_front() {
                return Ok(Some(delta));
            }
            match self.pump.next().await? {
                // Held back until it is known whether a second call adds to it.
                Some(Delta::Usage(usage)) => self.usage = Some(usage),
                Some(Delta::Finish(finish)) => {
                    let so_far = Completion {
                        usage: self.usage.take(),
                        finish,
                        ..Completion::default()
                    };
                    let whole = if self.called {
                        so_far
                    } else {
                        client.force(call, so_far).await
                    };
                    self.rest = whole.into_deltas().into();
                }
                Some(delta) => {
                    self.called |= matches!(delta, Delta::ToolCallStart { .. });
                    return Ok(Some(delta));
                }
                None => return Ok(None),
            }
        }
    }
}

/// Reads recorded bytes.
pub(crate) fn replay(endpoint: &Endpoint, bytes: &[u8]) -> (Vec<Delta>, Option<LlmError>) {
    let Ok(endpoint) = Endpoint::new(endpoint.config().clone()) else {
        return (Vec::new(), None);
    };
    let mut reader = Reader::new(Arc::new(endpoint));
    let result = reader
        .take_in(Some(bytes))
        .and_then(|()| reader.take_in(None))
        .and_then(|()| reader.end());
    (reader.queue.into(), result.err())
}

/// Reads a whole body, up to [`MAX_ANSWER`] bytes.
pub(crate) async fn read_whole(
    endpoint: &Endpoint,
    mut response: Response,
    limit: usize,
) -> Result<Bytes, LlmError> {
    let announced = response
        .content_length()
        .and_then(|len| usize::try_from(len).ok());
    let first = match response.chunk().await {
        Ok(Some(first)) => first,
        Ok(None) => return Ok(Bytes::new()),
        Err(error) => return Err(broken_connection(endpoint, &error, true)),
    };
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(announced.unwrap_or(0).clamp(first.len(), limit));
    whole.extend_from_slice(&first);
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => whole.extend_from_slice(&piece),
            Ok(None) => return Ok(whole.into()),
            Err(error) => return Err(broken_connection(endpoint, &error, true)),
        }
        if whole.len() > limit {
            return Err(LlmError::InvalidResponse {
                provider: endpoint.name().to_owned(),
                message: format!("it is longer than {limit} bytes"),
            });
        }
    }
}
