//! Reading the arguments of a call. Models are forgiven what can be understood all the same: numbers as
//! texts, texts as numbers, lists of lines, null for what was left out, arguments that nobody asked for.

use serde_json::{Map, Value};

use super::BuiltinTool;
use crate::{
    memory::PatchError,
    messages::Role,
    time::{Bound, Timestamp, parse_bound},
};

/// Arguments a call may name in an error, so that the error stays short.
const MAX_NAMED: usize = 12;

/// What is wrong with a call's arguments, for the model that made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A required argument is missing.
    #[error("the argument '{name}' is missing (given: {given}). Call the tool again: {usage}")]
    Missing {
        /// Its name.
        name: &'static str,
        /// The arguments that were given.
        given: String,
        /// What the tool takes.
        usage: String,
    },
    /// An argument has the wrong type or form.
    #[error(
        "the argument '{name}' must be {wanted}, but was {given}. Call the tool again: {usage}"
    )]
    Wrong {
        /// Its name.
        name: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// What was given.
        given: String,
        /// What the tool takes.
        usage: String,
    },
    /// The arguments are not named.
    #[error("the arguments must be a JSON object. Call the tool again: {usage}")]
    NotAnObject {
        /// What the tool takes.
        usage: String,
    },
    /// A patch cannot be read.
    #[error("{0}")]
    Patch(#[from] PatchError),
    /// The tool is not one of ours.
    #[error("there is no built-in tool '{0}'")]
    Unknown(String),
}

/// The arguments of a call of a tool.
pub(super) struct Arguments<'a> {
    tool: &'a BuiltinTool,
    values: &'a Map<String, Value>,
    /// What to send, where that is more exact than all that the tool takes.
    example: Option<&'static str>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(tool: &'a BuiltinTool, arguments: &'a Value) -> Result<Self, ArgumentError> {
        match arguments {
            Value::Object(values) => Ok(Self {
                tool,
                values,
                example: None,
            }),
            _ => Err(ArgumentError::NotAnObject {
                usage: tool.usage(),
            }),
        }
    }

    /// The same arguments, with errors that show an example of a call.
    pub(super) const fn as_in(&self, example: &'static str) -> Self {
        Self {
            tool: self.tool,
            values: self.values,
            example: Some(example),
        }
    }

    fn usage(&self) -> String {
        self.example.map_or_else(
            || self.tool.usage(),
            |example| format!("{} {example}", self.tool.name),
        )
    }

    /// An argument that was given; null counts as left out.
    fn given(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, name: &'static str, wanted: &'static str) -> ArgumentError {
        let given: String = self
            .values
            .get(name)
            .map(Value::to_string)
            .unwrap_or_default()
            .chars()
            .take(100)
            .collect();
        ArgumentError::Wrong {
            name,
            wanted,
            given,
            usage: self.usage(),
        }
    }

    pub(super) fn required(&self, name: &'static str) -> Result<String, ArgumentError> {
        self.first_of(&[name])
    }

    /// The first argument that was given of those that mean the same; the first name is the right one.
    pub(super) fn first_of(&self, names: &[&'static str]) -> Result<String, ArgumentError> {
        for name in names {
            if let Some(text) = self.text(name)? {
                return Ok(text);
            }
        }
        Err(self.missing(names.first().copied().unwrap_or_default()))
    }

    pub(super) fn missing(&self, name: &'static str) -> ArgumentError {
        let given: Vec<String> = self
            .values
            .keys()
            .take(MAX_NAMED)
            .map(|key| clipped(key))
            .collect();
        let given = if given.is_empty() {
            "nothing".to_owned()
        } else {
            given.join(", ")
        };
        ArgumentError::Missing {
            name,
            given,
            usage: self.usage(),
        }
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, ArgumentError> {
        let wrong = || self.wrong(name, "a text");
        let Some(value) = self.given(name) else {
            return Ok(None);
        };
        match value {
            Value::Array(items) => {
                let lines: Option<Vec<String>> = items.iter().map(plain).collect();
                Ok(Some(lines.ok_or_else(wrong)?.join("\n")))
            }
            other => plain(other).map(Some).ok_or_else(wrong),
        }
    }

    /// A text that means something only when it is not blank.
    pub(super) fn words(&self, name: &'static str) -> Result<Option<String>, ArgumentError> {
        Ok(self
            .text(name)?
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()))
    }

    pub(super) fn whole_number(&self, name: &'static str) -> Result<Option<i64>, ArgumentError> {
        let parsed = match self.given(name) {
            None => return Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok().and_then(whole),
            Some(value) => value.as_f64().and_then(whole),
        };
        parsed
            .map(Some)
            .ok_or_else(|| self.wrong(name, "a whole number"))
    }

    /// A yes or no, also as a word or number.
    pub(super) fn truth(&self, name: &'static str) -> Result<Option<bool>, ArgumentError> {
        let word = match self.given(name) {
            None => return Ok(None),
            Some(Value::Bool(truth)) => return Ok(Some(*truth)),
            Some(value) => plain(value).unwrap_or_default().trim().to_lowercase(),
        };
        match word.as_str() {
            "" => Ok(None),
            "true" | "yes" | "1" => Ok(Some(true)),
            "false" | "no" | "0" => Ok(Some(false)),
            _ => Err(self.wrong(name, "true or false")),
        }
    }

    /// A list of texts, also as one text with commas.
    pub(super) fn texts(&self, name: &'static str) -> Result<Vec<String>, ArgumentError> {
        let wrong = || self.wrong(name, "a list of texts");
        let texts: Vec<String> = match self.given(name) {
            None => return Ok(Vec::new()),
            Some(Value::String(text)) => match serde_json::from_str::<Vec<String>>(text) {
                Ok(texts) => texts,
                Err(_) => text.split(',').map(str::to_owned).collect(),
            },
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| plain(item).ok_or_else(wrong))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong()),
        };
        let trimmed = texts.iter().map(|text| text.trim().to_owned());
        Ok(trimmed.filter(|text| !text.is_empty()).collect())
    }

    /// A list of speakers, also as one text with commas.
    pub(super) fn roles(&self, name: &'static str) -> Result<Vec<Role>, ArgumentError> {
        let wrong = || self.wrong(name, "a list of 'assistant', 'user' or 'tool'");
        let names: Vec<&str> = match self.given(name) {
            None => return Ok(Vec::new()),
            Some(Value::String(text)) => text.split(',').collect(),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().ok_or_else(wrong))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong()),
        };
        let quoting = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | '"' | '\'');
        names
            .iter()
            .map(|name| name.trim_matches(quoting).to_lowercase())
            .filter(|name| !name.is_empty())
            .map(|name| match Role::parse(&name) {
                Some(Role::System) | None => Err(wrong()),
                Some(role) => Ok(role),
            })
            .collect()
    }

    /// A day or time; what has no offset is meant in the given time zone. A day is its first moment as
    /// a start and its last as an end.
    pub(super) fn time(
        &self,
        name: &'static str,
        zone: &str,
        bound: Bound,
    ) -> Result<Option<Timestamp>, ArgumentError> {
        let Some(text) = self.words(name)? else {
            return Ok(None);
        };
        parse_bound(&text, zone, bound)
            .map(Some)
            .ok_or_else(|| self.wrong(name, "a day (2026-03-31) or an ISO 8601 time"))
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(40).collect()
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Numbers that a double holds exactly are enough for lines and counts.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation)]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}
