//! What a request brings of its client beside the messages: tools that the client runs, and skills that it keeps.

use std::fmt::Write as _;

use mnemic_core::tokens;
use mnemic_llm::ToolChoice;

use crate::{request::AskedChoice, turn::Turn};

impl Turn {
    /// What the model is told of the client's skills, to stand after the prompt; empty where it has none.
    pub(crate) fn skills(&self) -> String {
        let skills = &self.request.client_skills;
        if skills.is_empty() {
            return String::new();
        }
        let mut told = "\n\n<available_skills>\nInstructions for special tasks. Read one with a tool of yours before you do \
                        what it is for.\n"
            .to_owned();
        for skill in skills {
            // Writing to a String cannot fail.
            let _ = writeln!(
                told,
                "- {} ({}): {}",
                one_line(&skill.name),
                one_line(&skill.location),
                one_line(&skill.description)
            );
        }
        told.push_str("</available_skills>");
        told
    }

    /// What the model has to call: what rules say, or else what the client asks for. That is for the run's first step only,
    /// or the run would never end.
    pub(crate) fn ruled_or_asked_choice(&self) -> ToolChoice {
        match (self.tool_choice(), &self.request.tool_choice) {
            (ToolChoice::Auto, Some(asked)) if self.progress.step_count == 0 => match asked {
                AskedChoice::Any => ToolChoice::Required,
                AskedChoice::Tool(name) => ToolChoice::Tool(name.clone()),
            },
            (ruled, _) => ruled,
        }
    }

    /// Tokens of a request that its client's tools and skills take.
    pub(crate) fn client_tokens(&self) -> i64 {
        let tools = self.request.client_tools.iter().map(|tool| {
            tokens::count(&tool.name)
                + tokens::count(&tool.description)
                + tokens::count(&tool.parameters.to_string())
        });
        let total = tools.sum::<usize>() + tokens::count(&self.skills());
        i64::try_from(total).unwrap_or(i64::MAX)
    }
}

/// A text that can't begin a line of its own in the list.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
