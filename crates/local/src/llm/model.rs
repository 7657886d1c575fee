//! A loaded model: from messages to the tokens of an answer.

use std::{path::Path, sync::Arc};

use serde_json::Value;

use super::{
    bpe::Tokenizer,
    cancel::{Cancel, Cancelled},
    gguf::{Gguf, GgufError},
    grammar::{Grammar, Grammars},
    sampling::Sampling,
    slots::{Slot, Slots},
    template::{Message, Template},
    transformer::{Shape, Transformer},
};

/// Tokens of a prompt that are read together.
const CHUNK: usize = 128;

/// What is asked of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The conversation.
    pub messages: Vec<Message>,
    /// The JSON schema of the answer.
    pub schema: Option<Value>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens that the answer may have.
    pub max_tokens: Option<usize>,
    /// Tokens that it may have in all when it has a schema and is not whole at `max_tokens`: half of it would
    /// be of no use.
    pub max_tokens_to_end: Option<usize>,
    /// Texts that end the answer and are no part of it.
    pub stop: Vec<String>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model had said all.
    Stop,
    /// The limit on tokens, or the end of the window.
    Length,
}

/// What an answer took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Of these, those that had been read before.
    pub cached: usize,
    /// Tokens of the answer.
    pub answer: usize,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The prompt is longer than the window.
    #[error("the prompt has {prompt} tokens, the window {window}")]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the window.
        window: usize,
    },
    /// The request cannot be served as it is.
    #[error("{0}")]
    Refused(String),
    /// The model or its file is at fault.
    #[error("{0}")]
    Failed(String),
    /// Nobody waits any more.
    #[error("the call was cancelled")]
    Cancelled,
}

impl From<Cancelled> for AnswerError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// A model in memory.
#[derive(Debug)]
pub(super) struct LoadedModel {
    tokenizer: Arc<Tokenizer>,
    grammars: Grammars,
    template: Template,
    transformer: Transformer,
    slots: Slots,
    window: usize,
}

impl LoadedModel {
    /// Reads a model from its file. `window` is the longest context; `cache` the bytes that conversations
    /// may take together.
    pub fn read(
        path: &Path,
        (window, cache): (usize, usize),
        cancel: &Cancel,
    ) -> Result<Self, GgufError> {
        let gguf = Gguf::open(path, cancel)?;
        let shape = Shape::read(&gguf)?;
        let tokenizer = Arc::new(Tokenizer::read(&gguf)?);
        Ok(Self {
            grammars: Grammars::new(&tokenizer, shape.vocabulary).map_err(GgufError::Damaged)?,
            template: Template::new(gguf.text("tokenizer.chat_template"))?,
            tokenizer,
            window: window.min(shape.context),
            slots: Slots::new(cache),
            transformer: Transformer::read(&gguf, shape)?,
        })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.transformer.bytes()
    }

    /// Answers a request; each piece of the text goes to `say`.
    pub fn answer(
        &mut self,
        request: &Request,
        say: &mut dyn FnMut(&str) -> Result<(), Cancelled>,
        cancel: &Cancel,
    ) -> Result<(Ending, Usage), AnswerError> {
        let prompt = self.prompt(request, cancel)?;
        let grammar = match &request.schema {
            Some(schema) => Some(self.grammars.of(schema).map_err(|error| {
                AnswerError::Refused(format!("answers cannot be held to this schema: {error}"))
            })?),
            None => None,
        };
        let shape = self.transformer.shape();
        let room = (shape.bytes_per_token(), shape.key_values());
        let mut slot = self.slots.take(&prompt, room);
        let usage = Usage {
            prompt: prompt.len(),
            cached: slot.tokens.len(),
            answer: 0,
        };
        let most = request.max_tokens.unwrap_or(usize::MAX);
        let to_end = request
            .max_tokens_to_end
            .filter(|_| request.schema.is_some());
        let room = self.window - prompt.len();
        let mut answer = Answer {
            model: self,
            slot: &mut slot,
            grammar,
            text: Text::new(&request.stop),
            usage,
            // What is whole ends by itself, so that only what is not comes to this limit.
            most: to_end.map_or(most, |to_end| most.max(to_end)).min(room),
        };
        let done = answer.run(&prompt, request.sampling, (say, cancel));
        let usage = answer.usage;
        self.slots.put(slot);
        done.map(|ending| (ending, usage))
    }

    /// The tokens of a conversation, which leave room for at least one more.
    fn prompt(&mut self, request: &Request, cancel: &Cancel) -> Result<Vec<u32>, AnswerError> {
        let messages = &request.messages;
        let text = self.template.render(messages, &self.tokenizer, cancel)?;
        let tokens = self.tokenizer.prompt(&text);
        if tokens.is_empty() {
            return Err(AnswerError::Refused("there is nothing to answer".into()));
        }
        if tokens.len() >= self.window {
            return Err(AnswerError::TooLong {
                prompt: tokens.len(),
                window: self.window,
            });
        }
        Ok(tokens)
    }
}

/// An answer on its way.
struct Answer<'a> {
    model: &'a LoadedModel,
    slot: &'a mut Slot,
    grammar: Option<Grammar>,
    text: Text,
    usage: Usage,
    most: usize,
}

type Listener<'a> = (&'a mut dyn FnMut(&str) -> Result<(), Cancelled>, &'a Cancel);

impl Answer<'_> {
    fn run(
        &mut self,
        prompt: &[u32],
        sampling: Sampling,
        (say, cancel): Listener<'_>,
    ) -> Result<Ending, AnswerError> {
        let unread = prompt.get(self.slot.tokens.len()..).unwrap_or_default();
        let mut likely = self.read(unread, cancel)?;
        loop {
            if self.usage.answer >= self.most {
                self.text.finish(say)?;
                return Ok(Ending::Length);
            }
            let Some(token) = self.choose(likely, prompt.len(), sampling)? else {
                self.text.finish(say)?;
                return Ok(Ending::Stop);
            };
            let mut tokens = vec![token];
            if let Some(grammar) = &mut self.grammar {
                grammar.take(token).map_err(AnswerError::Failed)?;
                tokens.extend(grammar.forced());
            }
            let is_whole = tokens.len() <= self.most - self.usage.answer;
            tokens.truncate(self.most - self.usage.answer);
            self.usage.answer += tokens.len();
            for token in &tokens {
                self.text.push(self.model.tokenizer.bytes(*token));
            }
            let is_over = is_whole && self.grammar.as_ref().is_some_and(Grammar::is_over);
            if self.text.say(say)? || is_over {
                self.text.finish(say)?;
                return Ok(Ending::Stop);
            }
            likely = self.read(&tokens, cancel)?;
        }
    }

    /// The next token; nothing at the end.
    fn choose(
        &mut self,
        likely: Vec<f32>,
        prompt: usize,
        sampling: Sampling,
    ) -> Result<Option<u32>, AnswerError> {
        let tokenizer = &self.model.tokenizer;
        let allowed = match &mut self.grammar {
            Some(grammar) => Some(grammar.allowed().map_err(AnswerError::Failed)?),
            None => None,
        };
        let said = self.slot.tokens.get(prompt..).unwrap_or_default();
        let chosen = sampling.choose(likely, said, |token| match &allowed {
            Some(allowed) => allowed.is_allowed(token),
            None => tokenizer.is_end(token) || !tokenizer.is_control(token),
        });
        let chosen = chosen.ok_or_else(|| {
            AnswerError::Failed("the model finds no token likely: its weights are damaged".into())
        })?;
        Ok(Some(chosen).filter(|token| !tokenizer.is_end(*token)))
    }

    /// Reads tokens, and gives what the last of them makes likely.
    fn read(&mut self, tokens: &[u32], cancel: &Cancel) -> Result<Vec<f32>, AnswerError> {
        let mut likely = Vec::new();
        let all = self.slot.tokens.len() + tokens.len();
        self.slot.past.reserve(all).map_err(|error| {
            AnswerError::Failed(format!("there is no memory for {all} tokens: {error}"))
        })?;
        for chunk in tokens.chunks(CHUNK) {
            cancel.check()?;
            let past = &mut self.slot.past;
            likely = self.model.transformer.read_tokens(chunk, past, cancel)?;
            self.slot.tokens.extend_from_slice(chunk);
        }
        Ok(likely)
    }
}

/// The text of an answer, of which only whole characters are said, and nothing that may become a stop.
struct Text {
    stops: Vec<String>,
    bytes: Vec<u8>,
    text: String,
}

impl Text {
    fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty());
        Self {
            stops: stops.cloned().collect(),
            bytes: Vec::new(),
            text: String::new(),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // What is no text will not become one.
            Err(_) => self.bytes.len(),
        };
        let rest = self.bytes.split_off(whole);
        self.text.push_str(&String::from_utf8_lossy(&self.bytes));
        self.bytes = rest;
    }

    /// Says what can be said; whether a stop came.
    fn say(
        &mut self,
        say: &mut dyn FnMut(&str) -> Result<(), Cancelled>,
    ) -> Result<bool, Cancelled> {
        let stop = self
            .stops
            .iter()
            .filter_map(|stop| self.text.find(stop))
            .min();
        if let Some(at) = stop {
            self.text.truncate(at);
            return Ok(true);
        }
        let held = self.stops.iter().map(|stop| self.may_begin(stop)).max();
        let rest = self.text.split_off(self.text.len() - held.unwrap_or(0));
        let text = std::mem::replace(&mut self.text, rest);
        if !text.is_empty() {
            say(&text)?;
        }
        Ok(false)
    }

    /// Bytes at the end with which a stop may begin.
    fn may_begin(&self, stop: &str) -> usize {
        let beginnings = stop.char_indices().map(|(at, _)| at).skip(1);
        let beginnings = beginnings.filter(|at| {
            stop.get(..*at)
                .is_some_and(|begun| self.text.ends_with(begun))
        });
        beginnings.max().unwrap_or(0)
    }

    /// Says the rest.
    fn finish(
        &mut self,
        say: &mut dyn FnMut(&str) -> Result<(), Cancelled>,
    ) -> Result<(), Cancelled> {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() { Ok(()) } else { say(&text) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn reading_a_model_ends_soon_when_nobody_waits_any_more() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3-tiny.gguf");
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        let counting = Cancel::when(move || {
            counts.fetch_add(1, Ordering::Relaxed);
            false
        });
        LoadedModel::read(&path, (256, 0), &counting).unwrap();
        let in_all = asked.load(Ordering::Relaxed);
        assert!(
            in_all > 100,
            "it is asked {in_all} times, often within a matrix"
        );
        let left = AtomicUsize::new(in_all / 2);
        let halfway = Cancel::when(move || {
            let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
            before.is_err()
        });
        let cancelled = LoadedModel::read(&path, (256, 0), &halfway);
        assert!(matches!(cancelled, Err(GgufError::Cancelled)));
    }
}
