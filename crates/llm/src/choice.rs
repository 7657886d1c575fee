//! Tools for models that have none: the answer is to have a JSON schema, which servers enforce while the
//! model writes. Its choices are the call of a tool, and an answer in words; so a model that was never
//! trained for tools can both talk and use them.
//!
//! The history is rewritten in the same form, since templates without tools drop calls and returns, or
//! fail on them.

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};

use crate::{
    adaptation::Parameter,
    calls::{Call, Thinking, ToolChoice},
    completion::{CUT_BEFORE_ARGUMENTS, Completion, Delta, FinishReason},
    endpoints::Protocol,
    json,
    lenient::unique_id,
    plain_calls::{Offered, PlainCalls},
    repair,
    toolset::ToolSet,
};

mod form;
mod history;
mod plain;
mod turn;

pub(crate) use history::{rewritten, without_images};

/// The name of the form among those of answers.
pub(crate) const FORM: &str = "choice";

/// Whether a call's tools are offered in this way.
pub(crate) fn applies(call: &Call) -> bool {
    let protocol = call.endpoint.protocol();
    matches!(protocol, Protocol::OpenAiChat | Protocol::Ollama)
        && !call.tools.is_empty()
        && call.tool_choice != ToolChoice::None
        && !call.accepts(Parameter::Tools)
}

/// The call without its tools, and with a form of its answer that [`rewritten`] fills in, as it does the
/// history.
pub(crate) fn without_tools(call: &Call) -> Call {
    let mut plain = call.clone();
    plain.tools = Arc::new(ToolSet::default());
    plain.tool_choice = ToolChoice::Auto;
    plain.parallel_tool_calls = None;
    plain.response_format = call.accepts(Parameter::ResponseFormat).then(|| {
        json!({
            "type": "json_schema",
            "json_schema": {"name": FORM, "schema": {}},
        })
    });
    // Without a limit a weak model may go on until its context is full.
    plain.max_tokens = call
        .max_tokens
        .or_else(|| Some((call.context_window? / 2).max(1)));
    if call.endpoint.protocol() == Protocol::Ollama {
        // It would hold the thoughts to the schema as well.
        plain.thinking = Thinking::Disabled;
    }
    plain
}

/// Reads answers in the form: words are passed on as they come, a call when it is whole.
#[derive(Debug)]
pub(crate) struct ChoiceReader {
    offered: Offered,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What the answer is to be is not known yet.
    Undecided(String),
    /// Inside of the words.
    Talking(Words),
    /// Behind the words: nothing that follows counts.
    Over,
    /// A call, or something else than words.
    Calling(String),
    /// The server did not enforce the form.
    Free(PlainCalls),
}

impl ChoiceReader {
    /// For an answer to a call.
    pub fn new(offered: Offered) -> Self {
        Self {
            offered,
            state: State::Undecided(String::new()),
        }
    }

    /// The same answer as words and calls.
    pub fn in_completion(mut self, completion: Completion) -> Completion {
        let mut found = VecDeque::new();
        for delta in completion.into_deltas() {
            self.push(delta, &mut found);
        }
        let mut assembler = crate::Assembler::new();
        found.iter().for_each(|delta| assembler.push(delta));
        assembler.finish()
    }

    /// Takes in a delta, and hands out what is known by it.
    pub fn push(&mut self, delta: Delta, out: &mut VecDeque<Delta>) {
        match (delta, &mut self.state) {
            (delta, State::Free(free)) => free.push(delta, out),
            (Delta::Text(text), _) => self.text(&text, out),
            (Delta::Finish(finish), _) => self.finish(finish, out),
            (other, _) => out.push_back(other),
        }
    }

    /// Whether what came so far is a call, and not the whole of it.
    pub fn is_within_call(&self) -> bool {
        matches!(&self.state, State::Calling(text) if !json::is_object(text))
    }

    fn text(&mut self, text: &str, out: &mut VecDeque<Delta>) {
        match &mut self.state {
            State::Undecided(held) => {
                held.push_str(text);
                self.decide(out);
            }
            State::Talking(words) => {
                let said = words.read(text);
                let is_over = words.is_over;
                say(said, out);
                if is_over {
                    self.state = State::Over;
                }
            }
            State::Calling(held) => held.push_str(text),
            State::Over => {}
            State::Free(free) => free.push(Delta::Text(text.to_owned()), out),
        }
    }

    fn decide(&mut self, out: &mut VecDeque<Delta>) {
        let State::Undecided(held) = &mut self.state else {
            return;
        };
        let start = held.trim_start();
        let Some(inside) = start.strip_prefix('{') else {
            if !start.is_empty() {
                let text = std::mem::take(held);
                self.state = State::Free(PlainCalls::new(self.offered.clone()));
                self.text(&text, out);
            }
            return;
        };
        match words_of(inside) {
            Beginning::Begun => {}
            Beginning::Words(rest) => {
                let rest = rest.to_owned();
                self.state = State::Talking(Words::default());
                self.text(&rest, out);
            }
            Beginning::Other => self.state = State::Calling(std::mem::take(held)),
        }
    }

    fn finish(&mut self, finish: FinishReason, out: &mut VecDeque<Delta>) {
        let state = std::mem::replace(&mut self.state, State::Over);
        let mut called = false;
        match state {
            State::Calling(text) | State::Undecided(text) => match self.call(&text) {
                Some((name, arguments)) => {
                    called = true;
                    let (index, id) = (0, unique_id(None, |_| false));
                    out.push_back(Delta::ToolCallStart { index, id, name });
                    out.push_back(Delta::ToolCallArguments {
                        index,
                        fragment: arguments,
                    });
                }
                None => say(words_in(&text).unwrap_or(text), out),
            },
            State::Talking(_) | State::Over => {}
            State::Free(mut free) => return free.push(Delta::Finish(finish), out),
        }
        let finish = match finish {
            FinishReason::Stop if called => FinishReason::ToolCalls,
            other => other,
        };
        out.push_back(Delta::Finish(finish));
    }

    /// The call in a text, also when it was cut off: then its arguments are what there is of them, and
    /// whoever reads them asks again.
    fn call(&self, text: &str) -> Option<(String, String)> {
        if let Ok(Value::Object(fields)) = repair::value(text) {
            let name = fields.get("name")?.as_str()?;
            let name = self.offered.name(name)?;
            let arguments = match fields.get("arguments") {
                Some(Value::String(text)) => text.clone(),
                None if !json::is_object(text) => CUT_BEFORE_ARGUMENTS.to_owned(),
                Some(Value::Null) | None => "{}".to_owned(),
                Some(other) => other.to_string(),
            };
            return Some((name, arguments));
        }
        let (_, rest) = text.split_once("\"name\"")?;
        let (_, rest) = rest.split_once('"')?;
        let (name, rest) = rest.split_once('"')?;
        let (_, arguments) = rest.split_once("\"arguments\"")?;
        let arguments = arguments.trim_start().strip_prefix(':')?;
        Some((self.offered.name(name)?, arguments.trim().to_owned()))
    }
}

fn say(text: String, out: &mut VecDeque<Delta>) {
    if !text.is_empty() {
        out.push_back(Delta::Text(text));
    }
}

/// The words of an object that has them in another place than its first.
fn words_in(text: &str) -> Option<String> {
    let value = repair::value(text).ok()?;
    let words = ["answer", "text", "message", "content", "response"];
    let found = words.into_iter().find_map(|key| value.get(key)?.as_str());
    found.map(str::to_owned)
}

/// How an object begins.
enum Beginning<'a> {
    Begun,
    /// With words, the rest of which is this.
    Words(&'a str),
    Other,
}

/// Whether an object, from behind its brace, begins with `"answer": "`.
fn words_of(inside: &str) -> Beginning<'_> {
    let mut rest = inside.trim_start();
    for part in ["\"answer\"", ":", "\""] {
        if let Some(behind) = rest.strip_prefix(part) {
            rest = if part == "\"" {
                behind
            } else {
                behind.trim_start()
            };
        } else if part.starts_with(rest) {
            return Beginning::Begun;
        } else {
            return Beginning::Other;
        }
    }
    Beginning::Words(rest)
}

/// The inside of a JSON string, read as it comes.
#[derive(Debug, Default)]
struct Words {
    /// An escape that is not whole.
    escape: String,
    is_over: bool,
}

impl Words {
    fn read(&mut self, text: &str) -> String {
        let mut said = String::new();
        for c in text.chars() {
            if self.is_over {
                break;
            }
            if self.escape.is_empty() {
                match c {
                    '"' => self.is_over = true,
                    '\\' => self.escape.push(c),
                    c => said.push(c),
                }
                continue;
            }
            self.escape.push(c);
            if let Some(text) = unescaped(&self.escape) {
                said.push_str(&text);
                self.escape.clear();
            }
        }
        said
    }
}

/// What an escape stands for; nothing while it is not whole.
fn unescaped(escape: &str) -> Option<String> {
    let is_pair = |code: &str| matches!(code.get(..2), Some("d8" | "d9" | "da" | "db"));
    let code = escape.get(2..).unwrap_or_default().to_ascii_lowercase();
    let whole = match escape.chars().nth(1)? {
        'u' if is_pair(&code) => 12,
        'u' => 6,
        _ => 2,
    };
    if escape.chars().count() < whole {
        return None;
    }
    // Half a pair is no character; grammars let models write such.
    let text = serde_json::from_str::<String>(&format!("\"{escape}\""));
    Some(text.unwrap_or_else(|_| char::REPLACEMENT_CHARACTER.to_string()))
}

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod tests;
