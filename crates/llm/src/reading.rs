//! What of an answer's text is a tool call.

use std::collections::VecDeque;

use crate::{
    calls::Call,
    choice::{self, ChoiceReader},
    completion::{Completion, Delta},
    endpoints::Protocol,
    plain_calls::{Offered, PlainCalls},
};

/// How an answer is read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Its text is text.
    AsItIs,
    /// Its text may hold calls.
    PlainCalls(Box<PlainCalls>),
    /// It is words or a call, in the form that was asked for.
    Choice(Box<ChoiceReader>),
}

impl Reading {
    /// For the answer to a call as it is rendered now.
    pub fn of(call: &Call) -> Self {
        let is_weak = matches!(
            call.endpoint.protocol(),
            Protocol::OpenAiChat | Protocol::Ollama
        ) && !call.endpoint.is_openai();
        let Some(offered) = Offered::by(call).filter(|_| is_weak) else {
            return Self::AsItIs;
        };
        if choice::applies(call) {
            return Self::Choice(Box::new(ChoiceReader::new(offered)));
        }
        // An answer that is to be JSON is no call for being JSON.
        if call.response_format.is_some() {
            return Self::AsItIs;
        }
        Self::PlainCalls(Box::new(PlainCalls::new(offered)))
    }

    /// Reads an answer that came whole.
    pub fn in_completion(self, completion: Completion) -> Completion {
        match self {
            Self::AsItIs => completion,
            Self::PlainCalls(reader) => reader.in_completion(completion),
            Self::Choice(reader) => reader.in_completion(completion),
        }
    }

    /// Whether an answer that ends here ends within a call.
    pub fn is_within_call(&self) -> bool {
        matches!(self, Self::Choice(reader) if reader.is_within_call())
    }

    /// Reads a piece of an answer.
    pub fn push(&mut self, delta: Delta, out: &mut VecDeque<Delta>) {
        match self {
            Self::AsItIs => out.push_back(delta),
            Self::PlainCalls(reader) => reader.push(delta, out),
            Self::Choice(reader) => reader.push(delta, out),
        }
    }
}
