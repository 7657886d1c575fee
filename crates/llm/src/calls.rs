//! What one call to a model consists of.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    adaptation::Parameter, endpoints::Endpoint, json, toolset::ToolSet, transcript::Transcript,
};

/// The system prompt with its JSON form, made once and shared by all calls that send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemPrompt {
    json: Bytes,
}

impl SystemPrompt {
    /// Keeps a compiled prompt. An empty one is not sent at all.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text.is_empty() {
            return Self { json: Bytes::new() };
        }
        let mut json = Vec::with_capacity(text.len() + text.len() / 16 + 2);
        json::write(&mut json, text);
        Self { json: json.into() }
    }

    /// The prompt with a text after it.
    #[must_use]
    pub fn with(&self, text: &str) -> Self {
        let after = Self::new(text);
        let (Some(head), Some(tail)) = (
            self.json.get(..self.json.len().saturating_sub(1)),
            after.json.get(1..),
        ) else {
            return self.clone();
        };
        if head.is_empty() {
            return after;
        }
        Self {
            json: [head, tail].concat().into(),
        }
    }

    /// The prompt as a JSON string; nothing when it is empty.
    pub(crate) const fn json(&self) -> &Bytes {
        &self.json
    }
}

impl From<&str> for SystemPrompt {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for SystemPrompt {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Arc<str>> for SystemPrompt {
    fn from(text: Arc<str>) -> Self {
        Self::new(&text)
    }
}

/// How an answer is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// When all of it is there.
    Whole,
    /// As it is made.
    Streamed,
}

impl Delivery {
    /// What the protocols call `stream`.
    pub const fn is_streamed(self) -> bool {
        matches!(self, Self::Streamed)
    }
}

/// Whether and which tools the model may call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// None, although they are shown.
    None,
    /// At least one. When the answer holds no call all the same, the call is made again in a form
    /// that leaves the model no choice.
    Required,
    /// This one: sent as the only tool with `required`, because servers read the protocol's own
    /// form of it in four different ways.
    Tool(String),
}

/// Anthropic's setting of how a model thinks; others know efforts only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thinking {
    /// As the provider does when it is not told.
    #[default]
    Unset,
    /// Not at all.
    Disabled,
    /// As much as the model finds right.
    Adaptive,
    /// Up to so many tokens.
    Budget(i64),
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where to.
    pub endpoint: Arc<Endpoint>,
    /// The model as its provider calls it.
    pub model: String,
    /// The compiled system prompt.
    pub system: SystemPrompt,
    /// The messages after it.
    pub transcript: Transcript,
    /// The tools shown.
    pub tools: Arc<ToolSet>,
    /// Whether it must call one.
    pub tool_choice: ToolChoice,
    /// Whether it may call several at once; `None` leaves that to the provider.
    pub parallel_tool_calls: Option<bool>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Tokens the answer may take.
    pub max_tokens: Option<i64>,
    /// How much a reasoning model thinks.
    pub reasoning_effort: Option<String>,
    /// Whether and for how long it thinks, with providers that have a setting for that.
    pub thinking: Thinking,
    /// How much it says, with models that have a setting for that.
    pub verbosity: Option<String>,
    /// The form the answer must have.
    pub response_format: Option<Value>,
    /// Tokens that request and answer may take together, for servers that are told.
    pub context_window: Option<i64>,
}

impl Call {
    /// A call without tools or options.
    #[must_use]
    pub fn new(
        endpoint: Arc<Endpoint>,
        model: impl Into<String>,
        system: SystemPrompt,
        transcript: Transcript,
    ) -> Self {
        Self {
            endpoint,
            model: model.into(),
            system,
            transcript,
            tools: Arc::new(ToolSet::default()),
            tool_choice: ToolChoice::Auto,
            parallel_tool_calls: None,
            temperature: None,
            max_tokens: None,
            reasoning_effort: None,
            thinking: Thinking::default(),
            verbosity: None,
            response_format: None,
            context_window: None,
        }
    }

    /// Whether a parameter may be sent to its model.
    pub(crate) fn accepts(&self, parameter: Parameter) -> bool {
        self.endpoint.accepts(&self.model, parameter)
    }

    /// Whether an answer without a tool call would be no answer.
    pub(crate) fn needs_tool_call(&self) -> bool {
        !self.tools.is_empty()
            && matches!(self.tool_choice, ToolChoice::Required | ToolChoice::Tool(_))
    }
}
