//! What can go wrong in a chat, in words that say what to do.

use crate::{serve::ServeError, settings::SettingsError};

/// Why something in a chat did not work.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChatError {
    #[error(
        "no server answers at {url} ({cause}); start one with `mnemic serve`, or name another with --url"
    )]
    Unreachable { url: String, cause: String },
    #[error(
        "the connection to the server broke ({0}). What you said may have reached it: /history shows \
         it; otherwise say it again"
    )]
    Broken(String),
    #[error("the server wants a password: give it with --token or MNEMIC_TOKEN")]
    Password,
    #[error("{detail}")]
    Refused { status: u16, detail: String },
    #[error(
        "what answers at {url} is no Mnemic server; name another with --url, or another --port"
    )]
    NotOurs { url: String },
    #[error("the model did not answer: {0}")]
    Model(String),
    #[error("{0}")]
    Usage(String),
    #[error(
        "no model is configured: start Ollama, LM Studio, llama-server or vLLM on this machine, fetch a model \
         that runs in the server with `mnemic models pull` (`mnemic models list` shows them), set \
         OPENAI_API_KEY (and OPENAI_BASE_URL for another server) or ANTHROPIC_API_KEY, or run \
         `mnemic configure`"
    )]
    NoModel,
    #[error(
        "{provider} is configured but does not answer: {why}. Nothing is taken in its place: see to it that it \
         answers, or take it out of the configuration (`mnemic config` shows where it stands)"
    )]
    Silent { provider: String, why: String },
    #[error("the server could not start: {0}")]
    Start(#[from] ServeError),
    #[error("the server ended while it started; its log is {0}")]
    Died(String),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the terminal cannot be read: {0}")]
    Terminal(#[from] std::io::Error),
}

impl ChatError {
    /// Whether the server did not answer at all.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the server does not have what was asked for, or not yet the route.
    pub const fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 404 | 405 | 501,
                ..
            }
        )
    }
}
