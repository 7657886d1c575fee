//! Answers, streamed and whole: from output items to deltas.

use std::{borrow::Cow, collections::VecDeque};

use mnemic_core::{messages::ReasoningOrigin, runs::Usage};
use serde::Deserialize;
use serde_json::{Number, Value, value::RawValue};

use crate::{
    completion::{Assembler, Completion, Delta, FinishReason},
    endpoints::{Endpoint, Protocol},
    errors::LlmError,
    lenient::{Raw, count, lossy_without_bom, non_empty, string, unique_id, unreadable},
    refusals,
};

/// One event of a stream.
#[derive(Debug, Default, Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Raw<'a>,
    #[serde(default)]
    output_index: Option<Number>,
    #[serde(default)]
    summary_index: Option<Number>,
    #[serde(borrow, default)]
    delta: Raw<'a>,
    #[serde(borrow, default)]
    arguments: Raw<'a>,
    #[serde(borrow, default)]
    item: Option<Item<'a>>,
    #[serde(borrow, default)]
    response: Option<Response<'a>>,
    #[serde(borrow, default)]
    error: Raw<'a>,
}

/// An answer: whole, or as far as it has come.
#[derive(Debug, Default, Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    output: Option<Vec<Item<'a>>>,
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    status: Raw<'a>,
    #[serde(borrow, default)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow, default)]
    usage: Raw<'a>,
    #[serde(borrow, default)]
    error: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow, default)]
    reason: Raw<'a>,
}

/// A message, a call or a piece of reasoning.
#[derive(Debug, Default, Deserialize)]
struct Item<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow, default)]
    id: Raw<'a>,
    #[serde(borrow, default)]
    call_id: Raw<'a>,
    #[serde(borrow, default)]
    name: Raw<'a>,
    #[serde(borrow, default)]
    arguments: Raw<'a>,
    #[serde(borrow, default)]
    content: Raw<'a>,
    #[serde(borrow, default)]
    summary: Raw<'a>,
    #[serde(borrow, default)]
    encrypted_content: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct WireUsage {
    #[serde(default)]
    input_tokens: Option<Number>,
    #[serde(default)]
    output_tokens: Option<Number>,
    #[serde(default)]
    input_tokens_details: Option<Details>,
    #[serde(default)]
    output_tokens_details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<Number>,
    #[serde(default)]
    cache_write_tokens: Option<Number>,
    #[serde(default)]
    reasoning_tokens: Option<Number>,
}

/// Turns the events of one stream into deltas.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    items: Vec<Known>,
    calls: Vec<Call>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    model: Option<String>,
    said_anything: bool,
    done: bool,
}

/// An item of which something came.
#[derive(Debug, Default)]
struct Known {
    index: i64,
    /// Whether its text came in pieces, so that the whole of it is no news.
    told: bool,
    /// Which call of the answer it is.
    call: Option<usize>,
    ended: bool,
}

#[derive(Debug)]
struct Call {
    id: String,
    arguments: String,
}

/// Reads an answer that came whole.
pub(crate) fn parse(endpoint: &Endpoint, bytes: &[u8]) -> Result<Completion, LlmError> {
    let text = lossy_without_bom(bytes);
    let response: Response<'_> =
        serde_json::from_str(&text).map_err(|error| LlmError::InvalidResponse {
            provider: endpoint.name().to_owned(),
            message: unreadable(&text, &error),
        })?;
    let has_output = response.output.is_some();
    let mut decoder = Decoder::default();
    let mut deltas = VecDeque::new();
    decoder.response(endpoint, &response, &mut deltas)?;
    if !has_output {
        return Err(LlmError::EmptyResponse {
            provider: endpoint.name().to_owned(),
        });
    }
    decoder.conclude(string(response.status).as_deref(), &response);
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
        let kind = string(event.kind).unwrap_or_default();
        if kind == "error" {
            let error = serde_json::from_str(text).unwrap_or_default();
            return Err(refusals::from_object(endpoint, &error));
        }
        refused(endpoint, event.error)?;
        if let Some(response) = &event.response {
            let status = kind.strip_prefix("response.");
            self.response(endpoint, response, out)?;
            if let Some(status @ ("completed" | "incomplete" | "failed" | "cancelled")) = status {
                self.conclude(Some(status), response);
            }
            return Ok(());
        }
        self.progress(endpoint, &kind, &event, out);
        Ok(())
    }

    /// An event about one item.
    fn progress(
        &mut self,
        endpoint: &Endpoint,
        kind: &str,
        event: &Event<'_>,
        out: &mut VecDeque<Delta>,
    ) {
        let index = event.output_index.as_ref().and_then(Number::as_i64);
        let at = self.known(index.unwrap_or(0));
        let delta = || non_empty(event.delta).unwrap_or_default().into_owned();
        match kind {
            "response.output_item.added" => {
                if let Some(item) = &event.item
                    && string(item.kind).as_deref() == Some("function_call")
                {
                    self.start_call(at, item, out);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = &event.item {
                    self.end_item(endpoint, at, item, out);
                }
            }
            "response.output_text.delta" | "response.refusal.delta" => self.say(at, delta(), out),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.think(at, delta(), out);
            }
            // Summaries come in parts, which are paragraphs.
            "response.reasoning_summary_part.added" => {
                let follows = event.summary_index.as_ref().and_then(Number::as_i64) > Some(0);
                if follows && self.items.get(at).is_some_and(|item| item.told) {
                    self.think(at, "\n\n".to_owned(), out);
                }
            }
            "response.function_call_arguments.delta" => self.argue(at, delta(), out),
            "response.function_call_arguments.done" => {
                self.all_arguments(at, event.arguments, out);
            }
            _ => {}
        }
    }

    /// What an answer says of itself, with the items that no event told of.
    fn response(
        &mut self,
        endpoint: &Endpoint,
        response: &Response<'_>,
        out: &mut VecDeque<Delta>,
    ) -> Result<(), LlmError> {
        refused(endpoint, response.error)?;
        if let Some(model) = non_empty(response.model) {
            self.model = Some(model.into_owned());
        }
        if let Some(usage) = usage(response.usage) {
            self.usage = Some(usage);
        }
        for (index, item) in (0..).zip(response.output.iter().flatten()) {
            let at = self.known(index);
            self.end_item(endpoint, at, item, out);
        }
        Ok(())
    }

    /// The answer is over.
    fn conclude(&mut self, status: Option<&str>, response: &Response<'_>) {
        let reason = response
            .incomplete_details
            .as_ref()
            .and_then(|details| non_empty(details.reason));
        self.done = true;
        self.finish = Some(match (status, reason.as_deref()) {
            (_, Some("max_output_tokens" | "max_tokens")) => FinishReason::Length,
            (_, Some("content_filter")) => FinishReason::ContentFilter,
            (Some("completed") | None, _) if self.calls.is_empty() => FinishReason::Stop,
            (Some("completed") | None, _) => FinishReason::ToolCalls,
            _ => FinishReason::Unknown,
        });
    }

    /// Where an item of the provider's index is kept.
    fn known(&mut self, index: i64) -> usize {
        if let Some(at) = self.items.iter().position(|item| item.index == index) {
            return at;
        }
        self.items.push(Known {
            index,
            ..Known::default()
        });
        self.items.len() - 1
    }

    fn say(&mut self, at: usize, text: String, out: &mut VecDeque<Delta>) {
        if let Some(item) = self.items.get_mut(at).filter(|_| !text.is_empty()) {
            item.told = true;
            self.said_anything = true;
            out.push_back(Delta::Text(text));
        }
    }

    fn think(&mut self, at: usize, text: String, out: &mut VecDeque<Delta>) {
        if let Some(item) = self.items.get_mut(at).filter(|_| !text.is_empty()) {
            item.told = true;
            out.push_back(Delta::Reasoning(text));
        }
    }

    fn start_call(&mut self, at: usize, item: &Item<'_>, out: &mut VecDeque<Delta>) {
        let next = self.calls.len();
        let Some(known) = self.items.get_mut(at).filter(|known| known.call.is_none()) else {
            return;
        };
        known.call = Some(next);
        let given = non_empty(item.call_id).or_else(|| non_empty(item.id));
        let id = unique_id(given.map(Cow::into_owned), |id| {
            self.calls.iter().any(|call| call.id == id)
        });
        self.calls.push(Call {
            id: id.clone(),
            arguments: String::new(),
        });
        out.push_back(Delta::ToolCallStart {
            index: next,
            id,
            name: non_empty(item.name).unwrap_or_default().into_owned(),
        });
    }

    fn argue(&mut self, at: usize, fragment: String, out: &mut VecDeque<Delta>) {
        let Some(index) = self.items.get(at).and_then(|item| item.call) else {
            return;
        };
        if let Some(call) = self.calls.get_mut(index).filter(|_| !fragment.is_empty()) {
            call.arguments.push_str(&fragment);
            out.push_back(Delta::ToolCallArguments { index, fragment });
        }
    }

    /// Takes arguments that come whole, unless they came in pieces already.
    fn all_arguments(&mut self, at: usize, raw: Raw<'_>, out: &mut VecDeque<Delta>) {
        let call = self.items.get(at).and_then(|item| item.call);
        let call = call.and_then(|index| self.calls.get(index));
        if call.is_none_or(|call| call.arguments.is_empty()) {
            let whole = match raw.map(RawValue::get) {
                // An object, against the protocol.
                Some(json) if json.starts_with('{') => json.to_owned(),
                _ => string(raw).unwrap_or_default().into_owned(),
            };
            self.argue(at, whole, out);
        }
    }

    /// An item is whole: what of it did not come in pieces is told now.
    fn end_item(
        &mut self,
        endpoint: &Endpoint,
        at: usize,
        item: &Item<'_>,
        out: &mut VecDeque<Delta>,
    ) {
        let Some(known) = self.items.get_mut(at).filter(|known| !known.ended) else {
            return;
        };
        known.ended = true;
        let told = known.told;
        match string(item.kind).as_deref() {
            Some("function_call") => {
                self.start_call(at, item, out);
                self.all_arguments(at, item.arguments, out);
            }
            Some("message") if !told => self.say(at, texts(item.content, ""), out),
            Some("reasoning") => {
                if !told {
                    let mut thoughts = texts(item.summary, "\n\n");
                    if thoughts.is_empty() {
                        thoughts = texts(item.content, "");
                    }
                    self.think(at, thoughts, out);
                }
                out.push_back(Delta::ReasoningEnd {
                    signature: non_empty(item.encrypted_content).map(Cow::into_owned),
                    origin: ReasoningOrigin {
                        protocol: Protocol::OpenAiResponses.as_str().to_owned(),
                        provider: endpoint.name().to_owned(),
                        id: non_empty(item.id).map(Cow::into_owned),
                    },
                });
            }
            _ => {}
        }
    }

    /// The stream is over: yields what closes it, [`Delta::Finish`] last.
    pub fn end(&mut self, endpoint: &Endpoint, out: &mut VecDeque<Delta>) -> Result<(), LlmError> {
        let provider = || endpoint.name().to_owned();
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
        out.extend(self.usage.map(Delta::Usage));
        out.push_back(Delta::Finish(self.finish.unwrap_or_default()));
        Ok(())
    }
}

/// The texts of a list of parts, or a bare text.
fn texts(raw: Raw<'_>, separator: &str) -> String {
    let Some(json) = raw else {
        return String::new();
    };
    if let Some(text) = string(raw) {
        return text.into_owned();
    }
    let parts = serde_json::from_str::<Vec<Value>>(json.get()).unwrap_or_default();
    let texts = parts.iter().filter_map(|part| {
        let text = part.get("text").or_else(|| part.get("refusal"));
        text.and_then(Value::as_str)
    });
    texts.collect::<Vec<_>>().join(separator)
}

/// Counts of tokens; nothing when none are there.
fn usage(raw: Raw<'_>) -> Option<Usage> {
    let wire = serde_json::from_str::<Option<WireUsage>>(raw?.get()).ok()??;
    wire.input_tokens.as_ref().or(wire.output_tokens.as_ref())?;
    let input = wire.input_tokens_details.unwrap_or_default();
    let output = wire.output_tokens_details.unwrap_or_default();
    Some(Usage {
        prompt_tokens: count(wire.input_tokens),
        completion_tokens: count(wire.output_tokens),
        cached_input_tokens: count(input.cached_tokens),
        cache_write_tokens: count(input.cache_write_tokens),
        reasoning_tokens: count(output.reasoning_tokens),
    })
}
