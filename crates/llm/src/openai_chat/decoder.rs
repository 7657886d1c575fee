//! Streams: from events to deltas.

use std::{borrow::Cow, collections::VecDeque};

use mnemic_core::runs::Usage;
use serde_json::Number;

use super::{
    response::error_of,
    wire::{self, Answer, CallPart, Choice, FunctionPart, Said},
};
use crate::{
    completion::{Delta, FinishReason},
    endpoints::Endpoint,
    errors::LlmError,
    json,
    lenient::{lossy_without_bom, non_empty, unique_id, unreadable},
    refusals,
};

/// Turns the events of one stream into deltas.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    calls: Vec<OpenCall>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    model: Option<String>,
    said_anything: bool,
    done: bool,
}

/// A call as far as it has come.
#[derive(Debug, Default)]
struct OpenCall {
    /// The provider's index, when it sends one.
    index: Option<i64>,
    /// The provider's id.
    given_id: Option<String>,
    /// The id in our deltas.
    id: String,
    name: String,
    arguments: String,
    started: bool,
}

impl Decoder {
    /// Whether the provider said that nothing follows.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the answer itself has ended; usage may follow.
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
        match serde_json::from_str::<Answer<'_>>(text) {
            Ok(answer) => self.answer(endpoint, answer, out),
            // A server that leaves out the empty line between events makes one of several.
            Err(_) if text.contains('\n') => text
                .lines()
                .try_for_each(|line| self.event(endpoint, line.as_bytes(), out)),
            Err(error) => Err(LlmError::InvalidResponse {
                provider: endpoint.name().to_owned(),
                message: unreadable(text, &error),
            }),
        }
    }

    fn answer(
        &mut self,
        endpoint: &Endpoint,
        answer: Answer<'_>,
        out: &mut VecDeque<Delta>,
    ) -> Result<(), LlmError> {
        if let Some(error) = error_of(&answer) {
            return Err(refusals::from_object(endpoint, &error));
        }
        if self.model.is_none() {
            self.model = non_empty(answer.model).map(Cow::into_owned);
        }
        if let Some(usage) = wire::usage(answer.usage) {
            self.usage = Some(usage);
        }
        for choice in answer.choices.unwrap_or_default() {
            if choice
                .index
                .as_ref()
                .is_none_or(|index| index.as_f64() == Some(0.0))
            {
                self.choice(&choice, out);
            }
        }
        Ok(())
    }

    fn choice(&mut self, choice: &Choice<'_>, out: &mut VecDeque<Delta>) {
        if let Some(said) = choice.delta.as_ref().or(choice.message.as_ref()) {
            self.said(said, out);
        }
        if let Some(reason) = wire::finish_reason(choice.finish_reason) {
            self.finish = Some(reason);
        }
    }

    fn said(&mut self, said: &Said<'_>, out: &mut VecDeque<Delta>) {
        let told = non_empty(said.reasoning_content).or_else(|| non_empty(said.reasoning));
        let (text, thoughts) = wire::content(said.content);
        let thoughts = told.map_or(thoughts, Cow::into_owned);
        if !thoughts.is_empty() {
            out.push_back(Delta::Reasoning(thoughts));
        }
        if !text.is_empty() {
            self.said_anything = true;
            out.push_back(Delta::Text(text));
        }
        if let Some(refusal) = non_empty(said.refusal) {
            self.said_anything = true;
            out.push_back(Delta::Text(refusal.into_owned()));
        }
        for call in said.tool_calls.iter().flatten().flatten() {
            self.call(call, out);
        }
        if let Some(function) = said
            .function_call
            .as_ref()
            .filter(|_| said.tool_calls.is_none())
        {
            self.part(Some(0), None, function, out);
        }
    }

    fn call(&mut self, call: &CallPart<'_>, out: &mut VecDeque<Delta>) {
        let index = call.index.as_ref().and_then(Number::as_i64);
        let empty = FunctionPart::default();
        let function = call.function.as_ref().unwrap_or(&empty);
        self.part(index, non_empty(call.id), function, out);
    }

    fn part(
        &mut self,
        index: Option<i64>,
        id: Option<Cow<'_, str>>,
        function: &FunctionPart<'_>,
        out: &mut VecDeque<Delta>,
    ) {
        let name = non_empty(function.name);
        let arguments = wire::arguments(function.arguments);
        let at = match self.find(index, id.as_deref(), name.as_deref(), !arguments.is_empty()) {
            Some(at) => at,
            None if id.is_none() && name.is_none() && arguments.is_empty() => return,
            None => {
                self.calls.push(OpenCall {
                    index,
                    ..OpenCall::default()
                });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else {
            return;
        };
        if call.given_id.is_none() {
            call.given_id = id.map(Cow::into_owned);
        }
        if call.name.is_empty() {
            call.name = name.unwrap_or_default().into_owned();
        }
        if !call.started && !call.name.is_empty() {
            self.start(at, out);
        }
        if let Some(call) = self.calls.get_mut(at).filter(|_| !arguments.is_empty()) {
            call.arguments.push_str(&arguments);
            if call.started {
                let fragment = arguments.into_owned();
                out.push_back(Delta::ToolCallArguments {
                    index: at,
                    fragment,
                });
            }
        }
    }

    /// Makes a call known, with the arguments that came before its name.
    fn start(&mut self, at: usize, out: &mut VecDeque<Delta>) {
        let given = self
            .calls
            .get_mut(at)
            .and_then(|call| call.given_id.clone());
        let id = unique_id(given, |id| {
            self.calls.iter().any(|call| call.started && call.id == id)
        });
        let Some(call) = self.calls.get_mut(at) else {
            return;
        };
        call.started = true;
        call.id.clone_from(&id);
        out.push_back(Delta::ToolCallStart {
            index: at,
            id,
            name: call.name.clone(),
        });
        if !call.arguments.is_empty() {
            let fragment = call.arguments.clone();
            out.push_back(Delta::ToolCallArguments {
                index: at,
                fragment,
            });
        }
    }

    /// The call that a part belongs to; `None` when it begins a new one.
    fn find(
        &self,
        index: Option<i64>,
        id: Option<&str>,
        name: Option<&str>,
        has_arguments: bool,
    ) -> Option<usize> {
        if let Some(id) = id
            && let Some(at) = self
                .calls
                .iter()
                .rposition(|call| call.given_id.as_deref() == Some(id))
        {
            // Some servers give all calls of an answer the same id; then the index tells.
            let same = self
                .calls
                .get(at)
                .is_some_and(|call| index.is_none() || call.index == index);
            if same {
                return self.continues(at, None, name, has_arguments).then_some(at);
            }
        }
        let at = match index {
            Some(index) => self
                .calls
                .iter()
                .rposition(|call| call.index == Some(index))?,
            None => self.calls.len().checked_sub(1)?,
        };
        self.continues(at, id, name, has_arguments).then_some(at)
    }

    /// Whether a part with this new id and this name goes on with a call rather than beginning one.
    fn continues(
        &self,
        at: usize,
        id: Option<&str>,
        name: Option<&str>,
        has_arguments: bool,
    ) -> bool {
        let Some(call) = self.calls.get(at) else {
            return false;
        };
        let complete = || json::is_object(&call.arguments);
        match name {
            Some(name) if !call.name.is_empty() && name != call.name => false,
            // The name again: repeated by a server that sends it with every part, or the same tool
            // once more. A new id tells, and so do arguments after arguments that are whole.
            Some(_) if !call.name.is_empty() => {
                let new_id = id.is_some() && call.given_id.is_some();
                !(new_id || (has_arguments && complete()))
            }
            // A call can't begin without its name, unless the last one is over; old vLLMs send a
            // new id with every part.
            _ => !(id.is_some() && call.given_id.is_some() && complete()),
        }
    }

    /// The stream is over: yields what closes it, [`Delta::Finish`] last.
    pub fn end(&mut self, endpoint: &Endpoint, out: &mut VecDeque<Delta>) -> Result<(), LlmError> {
        let provider = || endpoint.name().to_owned();
        let silent = !self.said_anything && self.calls.is_empty();
        if self.finish.is_none() {
            // Some servers, never OpenAI's, leave out every mark of the end. Then text may be all there is, and so is a call
            // whose arguments are whole; one that has none yet was only begun.
            let whole = |call: &OpenCall| json::is_object(&call.arguments);
            let says_so = endpoint.is_openai();
            if !self.done && (says_so || silent || !self.calls.iter().all(whole)) {
                let message = "it closed without an end mark".to_owned();
                return Err(LlmError::StreamIncomplete {
                    provider: provider(),
                    message,
                });
            }
            if silent {
                return Err(LlmError::EmptyResponse {
                    provider: provider(),
                });
            }
        }
        // A call that is nameless to the end is answered by the engine as an unknown tool, so that
        // the model learns of its mistake.
        for at in 0..self.calls.len() {
            if self.calls.get(at).is_some_and(|call| !call.started) {
                self.start(at, out);
            }
        }
        out.extend(self.model.take().map(Delta::Model));
        out.extend(self.usage.map(Delta::Usage));
        out.push_back(Delta::Finish(self.finish.unwrap_or_default()));
        Ok(())
    }
}
