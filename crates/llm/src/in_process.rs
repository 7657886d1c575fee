//! Models that run in this process, which are asked without a connection.
//!
//! Who runs them implements [`LocalModels`]; here are the requests and answers, in the terms of chat
//! completions, so that everything that helps weak models over that protocol serves them as well.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use mnemic_core::runs::Usage;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    abilities::Abilities,
    choice,
    completion::{Delta, FinishReason},
    endpoints::Endpoint,
    errors::LlmError,
    models::{Listed, ModelKind},
};

/// The provider's name: what handles begin with.
pub const PROVIDER: &str = "local";
/// Stands where others have a URL.
pub(crate) const URL: &str = "in-process://local/v1";

/// An answer as it is made. Dropping it ends the call.
pub type LocalAnswer = Pin<Box<dyn Stream<Item = LocalPiece> + Send>>;

/// Who runs models in this process.
pub trait LocalModels: fmt::Debug + Send + Sync {
    /// The models whose files are there. Asked often.
    fn list(&self) -> Vec<LocalModel>;

    /// Asks a model.
    ///
    /// # Errors
    /// The call was not taken in.
    fn ask(&self, request: LocalRequest) -> Result<LocalAnswer, LocalError>;
}

/// A model whose files are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModel {
    /// Its name behind `local/`.
    pub id: String,
    /// Tokens that request and answer may take together.
    pub context_window: i64,
    /// Tokens that an answer may take, unless the agent says otherwise.
    pub max_output_tokens: i64,
}

/// A message of a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LocalMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    #[serde(default)]
    pub content: Option<String>,
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRequest {
    /// Its name behind `local/`.
    pub model: String,
    /// The conversation.
    pub messages: Vec<LocalMessage>,
    /// The JSON schema that the answer must have.
    pub schema: Option<Value>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Tokens that the answer may take.
    pub max_tokens: Option<i64>,
    /// Tokens that it may take in all if its schema is not fulfilled by then.
    pub max_tokens_to_end: Option<i64>,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalPiece {
    /// Text.
    Text(String),
    /// The end.
    End(FinishReason, Usage),
    /// There is no answer, or no more of it.
    Failed(LocalError),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalError {
    /// The files of the model are not there.
    Missing,
    /// The request does not fit the window of so many tokens.
    TooLong {
        /// Tokens of the request.
        prompt: i64,
        /// Tokens of the window.
        window: i64,
    },
    /// As many calls wait as may.
    Busy(String),
    /// The request cannot be served as it is.
    Refused(String),
    /// The model is at fault.
    Failed(String),
}

/// What runs the models of an endpoint, where that is this process.
#[derive(Debug, Clone)]
pub struct InProcess(pub Arc<dyn LocalModels>);

impl PartialEq for InProcess {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for InProcess {}

impl InProcess {
    /// The models as a server would list them.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        let models = self.0.list().into_iter();
        models
            .map(|model| Listed {
                context_window: Some(model.context_window),
                max_output_tokens: Some(model.max_output_tokens),
                kind: Some(ModelKind::Llm),
                // They get tools by a schema of their answers, which is enforced.
                abilities: Abilities {
                    tools: Some(false),
                    vision: Some(false),
                    thinking: Some(false),
                },
                ..Listed::named(&model.id)
            })
            .collect()
    }

    /// Asks a model with a request of chat completions.
    pub(crate) fn ask(&self, endpoint: &Endpoint, body: &[u8]) -> Result<LocalAnswer, LlmError> {
        let request = parse(body).map_err(|error| LlmError::BadRequest {
            provider: endpoint.name().to_owned(),
            status: 400,
            message: error.to_string(),
        })?;
        self.0.ask(request).map_err(|error| as_llm(endpoint, error))
    }
}

#[derive(Deserialize)]
struct Body {
    model: String,
    messages: Vec<LocalMessage>,
    temperature: Option<f64>,
    max_tokens: Option<i64>,
    response_format: Option<Value>,
}

/// So many times the usual limit may a tool call take that is not whole before: half a call is of no use,
/// and a text that is to be remembered has to be written out in it.
const CALL_FACTOR: i64 = 8;

fn parse(body: &[u8]) -> serde_json::Result<LocalRequest> {
    let Body {
        model,
        messages,
        temperature,
        max_tokens,
        response_format,
    } = serde_json::from_slice(body)?;
    let may_call = response_format.as_ref().is_some_and(|format| {
        format
            .pointer("/json_schema/name")
            .is_some_and(|name| name == choice::FORM)
    });
    let max_tokens_to_end = max_tokens
        .filter(|_| may_call)
        .map(|tokens| tokens.saturating_mul(CALL_FACTOR));
    let schema = response_format.and_then(|format| {
        if format.get("type").and_then(Value::as_str) == Some("json_object") {
            return Some(serde_json::json!({"type": "object"}));
        }
        format.pointer("/json_schema/schema").cloned()
    });
    Ok(LocalRequest {
        model,
        messages,
        schema,
        temperature,
        max_tokens,
        max_tokens_to_end,
    })
}

/// What is said of a tool call that its limit cut off. It is not made, and not shown as if it were one.
pub(crate) fn cut_off(endpoint: &Endpoint) -> LlmError {
    LlmError::InProcess {
        provider: endpoint.name().to_owned(),
        message: "the tool call that it wrote had no end within its limit of tokens: the text is too long. \
                  Give it a shorter one, or raise the agent's max_output_tokens or local_context_window"
            .into(),
    }
}

/// The deltas of a piece, and whether it was the last.
pub(crate) fn deltas(
    endpoint: &Endpoint,
    piece: LocalPiece,
) -> Result<(Vec<Delta>, bool), LlmError> {
    match piece {
        LocalPiece::Text(text) => Ok((vec![Delta::Text(text)], false)),
        LocalPiece::End(finish, usage) => {
            Ok((vec![Delta::Usage(usage), Delta::Finish(finish)], true))
        }
        LocalPiece::Failed(error) => Err(as_llm(endpoint, error)),
    }
}

/// How long one should wait for a model that is busy.
const BUSY: Duration = Duration::from_secs(5);

fn as_llm(endpoint: &Endpoint, error: LocalError) -> LlmError {
    let provider = endpoint.name().to_owned();
    match error {
        LocalError::Missing => LlmError::NotFound {
            provider,
            message: "its files are not there: `mnemic models pull` fetches them".into(),
        },
        LocalError::TooLong { prompt, window } => LlmError::ContextWindowExceeded {
            provider,
            message: format!("{prompt} tokens, of {window}"),
            limit: Some(window),
        },
        LocalError::Busy(message) => LlmError::Overloaded {
            provider,
            message,
            retry_after: Some(BUSY),
        },
        LocalError::Refused(message) => LlmError::BadRequest {
            provider,
            status: 400,
            message,
        },
        LocalError::Failed(message) => LlmError::InProcess { provider, message },
    }
}
