//! What the model did since the user spoke last, so that it need not do it again.

use serde_json::Value;

use crate::toolset::ToolSet;

/// Failed calls of a turn after which a model has to answer.
const MAX_FAILURES: usize = 3;

/// A turn up to now.
#[derive(Debug, Clone, Default)]
pub(super) struct TurnSoFar {
    /// What the user asked.
    pub question: String,
    /// The calls since, oldest first.
    calls: Vec<Made>,
}

/// A call that was made.
#[derive(Debug, Clone)]
struct Made {
    name: String,
    arguments: Value,
    has_failed: bool,
}

impl TurnSoFar {
    /// The user speaks: a new turn.
    pub fn begin(&mut self, question: &str) {
        question.clone_into(&mut self.question);
        self.calls.clear();
    }

    /// The model calls a tool.
    pub fn call(&mut self, name: &str, arguments: Value) {
        self.calls.push(Made {
            name: name.to_owned(),
            arguments,
            has_failed: false,
        });
    }

    /// A tool returns an error.
    pub fn fail(&mut self, name: &str) {
        let mut calls = self.calls.iter_mut().rev();
        if let Some(call) = calls.find(|call| call.name == name) {
            call.has_failed = true;
        }
    }

    /// Whether a tool is not offered now. Weak models search again and again for what they have found, or
    /// repeat a call for ever: so a search that was answered is over until another tool did something, and
    /// so is any tool whose last call was one that it had answered before. Nor do they learn from errors: after
    /// a few there are no tools.
    pub fn closes(&self, tools: &ToolSet, name: &str) -> bool {
        let failures = self.calls.iter().filter(|call| call.has_failed).count();
        let repeats = self.calls.split_last().is_some_and(|(last, earlier)| {
            let mut earlier = earlier.iter();
            last.name == name
                && earlier.any(|call| call.name == name && call.arguments == last.arguments)
        });
        let searches = self.calls.iter().rev();
        let mut searches = searches.take_while(|call| tools.is_search(&call.name));
        failures >= MAX_FAILURES
            || repeats
            || searches.any(|call| call.name == name && !call.has_failed)
    }
}
