//! Tool calls that a model writes as plain text, because its server or its template knows no better.
//!
//! A text is a call only when it has one of the known forms and names a tool that was offered. In streams,
//! text that may become a call is held back until that is decided; all other text passes at once.

use std::collections::VecDeque;

use crate::{
    completion::{Assembler, Completion, Delta, FinishReason},
    lenient::unique_id,
};

mod forms;

pub(crate) use forms::Offered;
use forms::{Form, MARKS, Written};

/// Bytes that are held back at the most; a longer text is no call.
const MOST: usize = 256 * 1024;

/// Finds the calls in one answer.
#[derive(Debug)]
pub(crate) struct PlainCalls {
    offered: Offered,
    /// Text of which it is not decided what it is.
    held: String,
    /// The form that the held text has, once its mark is whole.
    form: Option<Form>,
    /// Blanks between two texts; those round a call are nobody's.
    blanks: String,
    said_anything: bool,
    ids: Vec<String>,
    /// Whether the model makes calls as it should: then its text is text.
    calls_natively: bool,
}

impl PlainCalls {
    /// For an answer to a call that offers these tools.
    pub fn new(offered: Offered) -> Self {
        Self {
            offered,
            held: String::new(),
            form: None,
            blanks: String::new(),
            said_anything: false,
            ids: Vec::new(),
            calls_natively: false,
        }
    }

    /// The same answer with its calls where they belong.
    pub fn in_completion(mut self, completion: Completion) -> Completion {
        let mut found = VecDeque::new();
        for delta in completion.into_deltas() {
            self.push(delta, &mut found);
        }
        let mut assembler = Assembler::new();
        found.iter().for_each(|delta| assembler.push(delta));
        assembler.finish()
    }

    /// Takes in a delta, and hands out what is decided.
    pub fn push(&mut self, delta: Delta, out: &mut VecDeque<Delta>) {
        match delta {
            Delta::Text(text) if self.calls_natively => self.say(&text, out),
            Delta::Text(text) => {
                self.held.push_str(&text);
                self.decide(out);
            }
            Delta::ToolCallStart { index, id, name } => {
                self.release(out);
                self.calls_natively = true;
                let index = index + self.ids.len();
                out.push_back(Delta::ToolCallStart { index, id, name });
            }
            Delta::ToolCallArguments { index, fragment } => {
                let index = index + self.ids.len();
                out.push_back(Delta::ToolCallArguments { index, fragment });
            }
            Delta::Finish(finish) => {
                self.end(finish, out);
                let called = !self.ids.is_empty() && finish == FinishReason::Stop;
                let finish = if called {
                    FinishReason::ToolCalls
                } else {
                    finish
                };
                out.push_back(Delta::Finish(finish));
            }
            other => out.push_back(other),
        }
    }

    /// Goes through the held text as far as it can be decided.
    fn decide(&mut self, out: &mut VecDeque<Delta>) {
        loop {
            let went_on = match self.form {
                None => self.look_for_mark(out),
                Some(form) => self.look_for_end(form, out),
            };
            if !went_on {
                break;
            }
        }
        if self.held.len() > MOST {
            self.release(out);
        }
    }

    /// Passes what stands before the first possible mark; true when one is whole.
    fn look_for_mark(&mut self, out: &mut VecDeque<Delta>) -> bool {
        let at_start = !self.said_anything && self.ids.is_empty();
        if at_start {
            let start = self.held.trim_start();
            if start.is_empty() {
                return false;
            }
            match Form::of_start(start, &self.offered) {
                Written::Whole(form) => {
                    self.form = Some(form);
                    return true;
                }
                Written::Begun => return false,
                Written::No => {}
            }
        }
        let places = self.held.char_indices();
        let mut found = None;
        for (at, _) in places.filter(|(_, c)| matches!(c, '<' | '[' | '`')) {
            let (before, rest) = self.held.split_at(at);
            // Behind other words a fence mostly shows or quotes something, and is not meant.
            let begins = at_start && before.trim().is_empty();
            let mut marks = MARKS
                .iter()
                .filter(|(_, form)| begins || *form != Form::Fence);
            if let Some((_, form)) = marks.clone().find(|(mark, _)| rest.starts_with(mark)) {
                found = Some((at, Some(*form)));
                break;
            }
            if marks.any(|(mark, _)| mark.starts_with(rest)) {
                found = Some((at, None));
                break;
            }
        }
        let Some((at, form)) = found else {
            self.release(out);
            return false;
        };
        let rest = self.held.split_off(at);
        let before = std::mem::replace(&mut self.held, rest);
        self.say(&before, out);
        self.form = form;
        form.is_some()
    }

    /// Takes a call out when its end is there; true when there is more to look at.
    fn look_for_end(&mut self, form: Form, out: &mut VecDeque<Delta>) -> bool {
        if form.is_hopeless(&self.held, &self.offered) {
            self.form = None;
            // The mark itself is passed on, so that it is not found again.
            let rest = self.held.split_off(form.mark_len().min(self.held.len()));
            let mark = std::mem::replace(&mut self.held, rest);
            self.say(&mark, out);
            return !self.held.is_empty();
        }
        let Some(end) = form.end(&self.held) else {
            return false;
        };
        let rest = self.held.split_off(end);
        let whole = std::mem::replace(&mut self.held, rest);
        self.form = None;
        self.settle(form, &whole, out);
        !self.held.is_empty()
    }

    /// A text in one of the forms: calls, or text after all.
    fn settle(&mut self, form: Form, whole: &str, out: &mut VecDeque<Delta>) {
        let Some(found) = form.read(whole, &self.offered) else {
            self.say(whole, out);
            return;
        };
        for (name, arguments) in found {
            let id = unique_id(None, |_| false);
            let index = self.ids.len();
            self.ids.push(id.clone());
            tracing::debug!(name, "a call was written as plain text");
            out.push_back(Delta::ToolCallStart { index, id, name });
            out.push_back(Delta::ToolCallArguments {
                index,
                fragment: arguments,
            });
        }
    }

    /// The answer is over: what is held is a call without its end, or text. Servers that take the end of a
    /// call for the end of the answer leave it out; where an answer was cut off, a half call is text.
    fn end(&mut self, finish: FinishReason, out: &mut VecDeque<Delta>) {
        let is_cut = matches!(finish, FinishReason::Length | FinishReason::Unknown);
        match self.form.take() {
            Some(form) if is_cut && !form.is_whole(&self.held) => self.release(out),
            Some(form) => {
                let whole = std::mem::take(&mut self.held);
                self.settle(form, &whole, out);
            }
            None => self.release(out),
        }
        if self.ids.is_empty() && !self.blanks.is_empty() {
            out.push_back(Delta::Text(std::mem::take(&mut self.blanks)));
        }
    }

    /// What is held is text.
    fn release(&mut self, out: &mut VecDeque<Delta>) {
        self.form = None;
        let held = std::mem::take(&mut self.held);
        self.say(&held, out);
    }

    fn say(&mut self, text: &str, out: &mut VecDeque<Delta>) {
        let is_blank = text.trim_end().is_empty();
        if is_blank {
            self.blanks.push_str(text);
            return;
        }
        let mut whole = std::mem::take(&mut self.blanks);
        let mut text = text;
        // Between a call and the first words nothing was meant to be seen.
        if !self.said_anything && !self.ids.is_empty() {
            whole.clear();
            text = text.trim_start();
        }
        let said = text.trim_end();
        let (said, blanks) = text.split_at(said.len());
        whole.push_str(said);
        self.blanks.push_str(blanks);
        self.said_anything = true;
        out.push_back(Delta::Text(whole));
    }
}

#[cfg(test)]
mod tests;
