//! Answers, streamed and whole: from content blocks to deltas.

use std::{borrow::Cow, collections::VecDeque};

use mnemic_core::{messages::ReasoningOrigin, runs::Usage};
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::{
    completion::{Assembler, Completion, Delta, FinishReason},
    endpoints::{Endpoint, Protocol},
    errors::LlmError,
    lenient::{Raw, count, lossy_without_bom, non_empty, string, unique_id, unreadable},
    refusals,
};

/// A whole answer, or one event of a stream.
#[derive(Debug, Default, Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Raw<'a>,
    #[serde(default)]
    index: Option<Number>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(borrow, default)]
    content_block: Option<Block<'a>>,
    #[serde(borrow, default)]
    delta: Option<Block<'a>>,
    #[serde(borrow, default)]
    usage: Raw<'a>,
    #[serde(borrow, default)]
    error: Raw<'a>,
}

/// A message: whole in an answer, without content at the beginning of a stream.
#[derive(Debug, Default, Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<Vec<Block<'a>>>,
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    stop_reason: Raw<'a>,
    #[serde(borrow, default)]
    usage: Raw<'a>,
    #[serde(borrow, default)]
    error: Raw<'a>,
}

/// A content block, or what is new of one.
#[derive(Debug, Default, Deserialize)]
struct Block<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow, default)]
    text: Raw<'a>,
    #[serde(borrow, default)]
    thinking: Raw<'a>,
    #[serde(borrow, default)]
    signature: Raw<'a>,
    #[serde(borrow, default)]
    data: Raw<'a>,
    #[serde(borrow, default)]
    id: Raw<'a>,
    #[serde(borrow, default)]
    name: Raw<'a>,
    #[serde(borrow, default)]
    input: Raw<'a>,
    #[serde(borrow, default)]
    partial_json: Raw<'a>,
    #[serde(borrow, default)]
    stop_reason: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct WireUsage {
    #[serde(default)]
    input_tokens: Option<Number>,
    #[serde(default)]
    output_tokens: Option<Number>,
    #[serde(default)]
    cache_read_input_tokens: Option<Number>,
    #[serde(default)]
    cache_creation_input_tokens: Option<Number>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Debug, Default, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Option<Number>,
    #[serde(default)]
    reasoning_tokens: Option<Number>,
}

/// Turns the events of one stream into deltas.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The block that is being told, with the provider's index.
    open: Option<(i64, Open)>,
    calls: Vec<Call>,
    usage: WireUsage,
    finish: Option<FinishReason>,
    model: Option<String>,
    said_anything: bool,
    done: bool,
}

/// A block as far as it has come.
#[derive(Debug)]
enum Open {
    Plain,
    Thinking {
        signature: String,
    },
    Call {
        /// Which call of the answer.
        at: usize,
        /// The input that its beginning held: whole, where no pieces follow.
        given: String,
    },
}

#[derive(Debug)]
struct Call {
    id: String,
    arguments: String,
}

/// Reads an answer that came whole.
pub(crate) fn parse(endpoint: &Endpoint, bytes: &[u8]) -> Result<Completion, LlmError> {
    let text = lossy_without_bom(bytes);
    let message: Message<'_> =
        serde_json::from_str(&text).map_err(|error| LlmError::InvalidResponse {
            provider: endpoint.name().to_owned(),
            message: unreadable(&text, &error),
        })?;
    refused(endpoint, message.error)?;
    let Some(content) = &message.content else {
        return Err(LlmError::EmptyResponse {
            provider: endpoint.name().to_owned(),
        });
    };
    let mut decoder = Decoder::default();
    let mut deltas = VecDeque::new();
    decoder.about(&message);
    for block in content {
        decoder.start(endpoint, 0, block, &mut deltas);
        decoder.stop(endpoint, &mut deltas);
    }
    // Whether a whole answer ended does not depend on the reason that it tells.
    decoder.done = true;
    decoder.finish.get_or_insert_default();
    decoder.end(endpoint, &mut deltas)?;
    let mut assembler = Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    Ok(assembler.finish())
}

/// The error inside an answer whose status was a success.
fn refused(endpoint: &Endpoint, error: Raw<'_>) -> Result<(), LlmError> {
    let error = error.and_then(|error| serde_json::from_str::<Value>(error.get()).ok());
    match error {
        None | Some(Value::Null) => Ok(()),
        Some(error) => Err(refusals::from_object(endpoint, &error)),
    }
}

impl Decoder {
    /// Whether the provider said that nothing follows.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the answer itself has ended.
    pub const fn has_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Takes in the data of one event.
    pub fn event(
        &mut self,
        endpoint: &Endpoint,
        data: &[u8],
        out: &mut VecDeque<Delta>,
    ) -> Result<(), LlmError> {
        let text = lossy_without_bom(data);
        let text = text.trim();
        if text.is_empty() || self.done {
            return Ok(());
        }
        if text == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        let event: Event<'_> =
            serde_json::from_str(text).map_err(|error| LlmError::InvalidResponse {
                provider: endpoint.name().to_owned(),
                message: unreadable(text, &error),
            })?;
        refused(endpoint, event.error)?;
        let index = event.index.as_ref().and_then(Number::as_i64).unwrap_or(0);
        match string(event.kind).as_deref() {
            Some("message_start") => {
                if let Some(message) = &event.message {
                    self.about(message);
                }
            }
            Some("content_block_start") => {
                self.stop(endpoint, out);
                if let Some(block) = &event.content_block {
                    self.start(endpoint, index, block, out);
                }
            }
            Some("content_block_delta") => {
                if let Some(delta) = &event.delta {
                    self.more(endpoint, index, delta, out);
                }
            }
            Some("content_block_stop") => self.stop(endpoint, out),
            Some("message_delta") => {
                self.take_usage(event.usage);
                self.take_reason(event.delta.as_ref().and_then(|delta| delta.stop_reason));
            }
            Some("message_stop") => self.done = true,
            // Pings, and kinds of events that are not known yet.
            _ => {}
        }
        Ok(())
    }

    fn about(&mut self, message: &Message<'_>) {
        self.model = non_empty(message.model).map(Cow::into_owned);
        self.take_usage(message.usage);
        self.take_reason(message.stop_reason);
    }

    /// Counts are running totals: what comes later replaces what came before.
    fn take_usage(&mut self, raw: Raw<'_>) {
        let Some(usage) = raw.and_then(|raw| serde_json::from_str::<WireUsage>(raw.get()).ok())
        else {
            return;
        };
        let known = std::mem::take(&mut self.usage);
        self.usage = WireUsage {
            input_tokens: usage.input_tokens.or(known.input_tokens),
            output_tokens: usage.output_tokens.or(known.output_tokens),
            cache_read_input_tokens: usage
                .cache_read_input_tokens
                .or(known.cache_read_input_tokens),
            cache_creation_input_tokens: usage
                .cache_creation_input_tokens
                .or(known.cache_creation_input_tokens),
            output_tokens_details: usage.output_tokens_details.or(known.output_tokens_details),
        };
    }

    fn take_reason(&mut self, raw: Raw<'_>) {
        let Some(word) = non_empty(raw) else {
            return;
        };
        self.finish = Some(match &*word {
            // A pause is for the provider's own tools, of which we send none.
            "end_turn" | "stop_sequence" | "pause_turn" => FinishReason::Stop,
            "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
            "tool_use" => FinishReason::ToolCalls,
            "refusal" => FinishReason::ContentFilter,
            _ => FinishReason::Unknown,
        });
    }

    /// A block begins.
    fn start(
        &mut self,
        endpoint: &Endpoint,
        index: i64,
        block: &Block<'_>,
        out: &mut VecDeque<Delta>,
    ) {
        let open = match string(block.kind).as_deref() {
            Some("text") => Open::Plain,
            Some("thinking") => Open::Thinking {
                signature: String::new(),
            },
            Some("redacted_thinking") => {
                out.extend(non_empty(block.data).map(|data| Delta::RedactedReasoning {
                    data: data.into_owned(),
                    origin: origin(endpoint),
                }));
                Open::Plain
            }
            Some("tool_use") => self.call(block, out),
            _ => return,
        };
        self.open = Some((index, open));
        self.more(endpoint, index, block, out);
    }

    fn call(&mut self, block: &Block<'_>, out: &mut VecDeque<Delta>) -> Open {
        let at = self.calls.len();
        let given = non_empty(block.id).map(Cow::into_owned);
        let id = unique_id(given, |id| self.calls.iter().any(|call| call.id == id));
        self.calls.push(Call {
            id: id.clone(),
            arguments: String::new(),
        });
        out.push_back(Delta::ToolCallStart {
            index: at,
            id,
            name: non_empty(block.name).unwrap_or_default().into_owned(),
        });
        // Streams begin a call with an empty object and send the real one in pieces.
        let input = block.input.map(|input| input.get()).unwrap_or_default();
        let says_something = !matches!(input, "" | "null") && !input.replace(' ', "").eq("{}");
        Open::Call {
            at,
            given: if says_something { input } else { "" }.to_owned(),
        }
    }

    /// More of a block. Its kind is told by what there is: compatible servers leave beginnings out.
    fn more(
        &mut self,
        endpoint: &Endpoint,
        index: i64,
        delta: &Block<'_>,
        out: &mut VecDeque<Delta>,
    ) {
        if self.open.as_ref().is_some_and(|(known, _)| *known != index) {
            self.stop(endpoint, out);
        }
        if let Some(thoughts) = non_empty(delta.thinking) {
            if !matches!(self.open, Some((_, Open::Thinking { .. }))) {
                let signature = String::new();
                self.open = Some((index, Open::Thinking { signature }));
            }
            out.push_back(Delta::Reasoning(thoughts.into_owned()));
        }
        if let Some((_, Open::Thinking { signature })) = &mut self.open
            && let Some(more) = non_empty(delta.signature)
        {
            signature.push_str(&more);
        }
        if let Some(text) = non_empty(delta.text) {
            self.said_anything = true;
            out.push_back(Delta::Text(text.into_owned()));
        }
        if let Some((_, Open::Call { at, .. })) = &self.open
            && let Some(piece) = non_empty(delta.partial_json)
        {
            arguments(&mut self.calls, *at, piece.into_owned(), out);
        }
    }

    /// The block that is open ends.
    fn stop(&mut self, endpoint: &Endpoint, out: &mut VecDeque<Delta>) {
        match self.open.take() {
            Some((_, Open::Thinking { signature })) => out.push_back(Delta::ReasoningEnd {
                signature: Some(signature).filter(|signature| !signature.is_empty()),
                origin: origin(endpoint),
            }),
            Some((_, Open::Call { at, given })) => {
                let pieces = self
                    .calls
                    .get(at)
                    .is_some_and(|call| !call.arguments.is_empty());
                if !pieces && !given.is_empty() {
                    arguments(&mut self.calls, at, given, out);
                }
            }
            Some((_, Open::Plain)) | None => {}
        }
    }

    /// The stream is over: yields what closes it, [`Delta::Finish`] last.
    pub fn end(&mut self, endpoint: &Endpoint, out: &mut VecDeque<Delta>) -> Result<(), LlmError> {
        let provider = || endpoint.name().to_owned();
        self.stop(endpoint, out);
        let silent = !self.said_anything && self.calls.is_empty();
        if self.finish.is_none() {
            // The protocol always says so when an answer has ended.
            if !self.done {
                return Err(LlmError::StreamIncomplete {
                    provider: provider(),
                    message: "it closed without its last event".to_owned(),
                });
            }
            if silent {
                return Err(LlmError::EmptyResponse {
                    provider: provider(),
                });
            }
        }
        out.extend(self.model.take().map(Delta::Model));
        out.extend(usage(std::mem::take(&mut self.usage)).map(Delta::Usage));
        out.push_back(Delta::Finish(self.finish.unwrap_or_default()));
        Ok(())
    }
}

fn arguments(calls: &mut [Call], at: usize, fragment: String, out: &mut VecDeque<Delta>) {
    if let Some(call) = calls.get_mut(at) {
        call.arguments.push_str(&fragment);
        out.push_back(Delta::ToolCallArguments {
            index: at,
            fragment,
        });
    }
}

fn origin(endpoint: &Endpoint) -> ReasoningOrigin {
    ReasoningOrigin {
        protocol: Protocol::Anthropic.as_str().to_owned(),
        provider: endpoint.name().to_owned(),
        id: None,
    }
}

/// Counts of tokens; nothing when none are there. The provider counts what it has from its cache, and
/// what it writes there, apart from the rest of the request.
fn usage(wire: WireUsage) -> Option<Usage> {
    wire.input_tokens.as_ref().or(wire.output_tokens.as_ref())?;
    let cached = count(wire.cache_read_input_tokens);
    let written = count(wire.cache_creation_input_tokens);
    let details = wire.output_tokens_details.unwrap_or_default();
    Some(Usage {
        prompt_tokens: count(wire.input_tokens) + cached + written,
        completion_tokens: count(wire.output_tokens),
        cached_input_tokens: cached,
        cache_write_tokens: written,
        reasoning_tokens: count(details.thinking_tokens.or(details.reasoning_tokens)),
    })
}
