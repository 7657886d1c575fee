//! Answers: one JSON object to a line, of which a whole answer is a single one.

use std::collections::VecDeque;

use mnemic_core::runs::Usage;
use serde::Deserialize;
use serde_json::Number;

use crate::{
    completion::{Assembler, Completion, Delta, FinishReason},
    endpoints::Endpoint,
    errors::LlmError,
    lenient::{Raw, count, lossy_without_bom, non_empty, unique_id, unreadable},
    lines::LineParser,
    openai_chat::wire::{CallPart, FunctionPart, arguments},
    refusals,
};

/// Turns the lines of one answer into deltas.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    ids: Vec<String>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    model: Option<String>,
    said_anything: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    message: Option<Said<'a>>,
    #[serde(borrow, default)]
    error: Raw<'a>,
    #[serde(default)]
    done: Option<bool>,
    #[serde(borrow, default)]
    done_reason: Raw<'a>,
    #[serde(default)]
    prompt_eval_count: Option<Number>,
    #[serde(default)]
    eval_count: Option<Number>,
}

#[derive(Debug, Default, Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    content: Raw<'a>,
    #[serde(borrow, default)]
    thinking: Raw<'a>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Option<CallPart<'a>>>>,
}

impl Decoder {
    /// Whether the provider said that nothing follows.
    pub const fn is_done(&self) -> bool {
        self.finish.is_some()
    }

    /// Whether the answer itself has ended.
    pub const fn has_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Takes in a line.
    pub fn event(
        &mut self,
        endpoint: &Endpoint,
        data: &[u8],
        out: &mut VecDeque<Delta>,
    ) -> Result<(), LlmError> {
        let text = lossy_without_bom(data);
        let text = text.trim();
        if text.is_empty() || self.is_done() {
            return Ok(());
        }
        let line: Line<'_> =
            serde_json::from_str(text).map_err(|error| LlmError::InvalidResponse {
                provider: endpoint.name().to_owned(),
                message: unreadable(text, &error),
            })?;
        if line.error.is_some_and(|error| error.get() != "null") {
            let said = serde_json::from_str(text).unwrap_or_default();
            return Err(refusals::from_object(endpoint, &said));
        }
        if self.model.is_none() {
            self.model = non_empty(line.model).map(std::borrow::Cow::into_owned);
        }
        if let Some(said) = &line.message {
            self.said(said, out);
        }
        if line.done == Some(true) {
            if line.prompt_eval_count.is_some() || line.eval_count.is_some() {
                self.usage = Some(Usage {
                    prompt_tokens: count(line.prompt_eval_count),
                    completion_tokens: count(line.eval_count),
                    ..Usage::default()
                });
            }
            self.finish = Some(match non_empty(line.done_reason).as_deref() {
                Some("length") => FinishReason::Length,
                _ if !self.ids.is_empty() => FinishReason::ToolCalls,
                Some("stop") | None => FinishReason::Stop,
                Some(_) => FinishReason::Unknown,
            });
        }
        Ok(())
    }

    fn said(&mut self, said: &Said<'_>, out: &mut VecDeque<Delta>) {
        if let Some(thoughts) = non_empty(said.thinking) {
            out.push_back(Delta::Reasoning(thoughts.into_owned()));
        }
        if let Some(text) = non_empty(said.content) {
            self.said_anything = true;
            out.push_back(Delta::Text(text.into_owned()));
        }
        for call in said.tool_calls.iter().flatten().flatten() {
            self.call(call, out);
        }
    }

    /// A call, which always comes whole.
    fn call(&mut self, call: &CallPart<'_>, out: &mut VecDeque<Delta>) {
        let empty = FunctionPart::default();
        let function = call.function.as_ref().unwrap_or(&empty);
        let name = non_empty(function.name).unwrap_or_default();
        let arguments = arguments(function.arguments);
        if name.is_empty() && arguments.trim().is_empty() {
            return;
        }
        let given = non_empty(call.id).map(std::borrow::Cow::into_owned);
        let id = unique_id(given, |id| self.ids.iter().any(|known| known == id));
        let index = self.ids.len();
        self.ids.push(id.clone());
        out.push_back(Delta::ToolCallStart {
            index,
            id,
            name: name.into_owned(),
        });
        if !arguments.is_empty() {
            let fragment = arguments.into_owned();
            out.push_back(Delta::ToolCallArguments { index, fragment });
        }
    }

    /// The lines are over: yields what closes the answer, [`Delta::Finish`] last.
    pub fn end(&mut self, endpoint: &Endpoint, out: &mut VecDeque<Delta>) -> Result<(), LlmError> {
        let Some(finish) = self.finish else {
            return Err(LlmError::StreamIncomplete {
                provider: endpoint.name().to_owned(),
                message: "it closed without its last line".to_owned(),
            });
        };
        out.extend(self.model.take().map(Delta::Model));
        out.extend(self.usage.map(Delta::Usage));
        out.push_back(Delta::Finish(finish));
        Ok(())
    }
}

/// Reads an answer that came whole, in one line or in many.
pub(crate) fn parse(endpoint: &Endpoint, bytes: &[u8]) -> Result<Completion, LlmError> {
    let text = lossy_without_bom(bytes);
    let mut decoder = Decoder::default();
    let mut deltas = VecDeque::new();
    // A whole answer may be written over several lines; a stream has one object to each.
    if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
        decoder.event(endpoint, text.as_bytes(), &mut deltas)?;
    } else {
        let mut result = Ok(());
        let mut lines = LineParser::new(usize::MAX);
        let mut sink = |line: &[u8]| {
            if result.is_ok() {
                result = decoder.event(endpoint, line, &mut deltas);
            }
        };
        // Without a limit nothing is too long.
        let _ = lines.feed(text.as_bytes(), &mut sink);
        let _ = lines.finish(&mut sink);
        result?;
    }
    if decoder.finish.is_none() && !decoder.said_anything && decoder.ids.is_empty() {
        return Err(LlmError::EmptyResponse {
            provider: endpoint.name().to_owned(),
        });
    }
    decoder.end(endpoint, &mut deltas)?;
    let mut assembler = Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    Ok(assembler.finish())
}
