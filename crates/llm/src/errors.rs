//! How a model call can fail, in the words of the V1 contract (sections 1.7 and 3.4).

use std::time::Duration;

/// A failed call. Texts say what happened, why, and what to do, and never hold a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// No answer in time.
    #[error(
        "provider `{provider}` did not answer in time ({phase}); try again, or raise the timeout \
         if its models are slow"
    )]
    Timeout {
        /// The provider.
        provider: String,
        /// What was waited for, and how long.
        phase: String,
        /// Whether asking again may help: not when a whole answer took too long.
        again: bool,
    },
    /// Too many requests.
    #[error(
        "provider `{provider}` limits the rate of requests ({message}); try again later, or raise \
         the limit at the provider"
    )]
    RateLimit {
        /// The provider.
        provider: String,
        /// Its words.
        message: String,
        /// The wait it asks for.
        retry_after: Option<Duration>,
    },
    /// The key is missing, wrong, or not allowed to do this.
    #[error("provider `{provider}` refuses the API key ({message}); check the key it is given")]
    Authentication {
        /// The provider.
        provider: String,
        /// Its words.
        message: String,
    },
    /// The account has no money left.
    #[error(
        "the account at provider `{provider}` has no credit left ({message}); top it up, or use \
         another provider's model"
    )]
    InsufficientCredits {
        /// The provider.
        provider: String,
        /// Its words.
        message: String,
    },
    /// The request is longer than the model's context.
    #[error(
        "the request does not fit the context window of the model at provider `{provider}` \
         ({message}); lower the agent's context_window_limit to what the model really has"
    )]
    ContextWindowExceeded {
        /// The provider.
        provider: String,
        /// Its words.
        message: String,
        /// Tokens that it says it takes.
        limit: Option<i64>,
    },
    /// The provider refuses the request as such.
    #[error("provider `{provider}` refuses the request with status {status} ({message})")]
    BadRequest {
        /// The provider.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The model, or the route, is not there.
    #[error(
        "provider `{provider}` does not know what was asked for ({message}); check the model's \
         name, and that the base URL ends where the API begins, usually in /v1"
    )]
    NotFound {
        /// The provider.
        provider: String,
        /// Its words.
        message: String,
    },
    /// The provider has no capacity at the moment.
    #[error("provider `{provider}` is overloaded ({message}); try again in a moment")]
    Overloaded {
        /// The provider.
        provider: String,
        /// Its words.
        message: String,
        /// The wait it asks for.
        retry_after: Option<Duration>,
    },
    /// The provider failed.
    #[error(
        "provider `{provider}` failed with status {status} ({message}); try again, or look at its log"
    )]
    Server {
        /// The provider.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
        /// The wait it asks for.
        retry_after: Option<Duration>,
    },
    /// The provider can't be reached, or hung up.
    #[error(
        "no connection to provider `{provider}` at {url} ({message}); check that it runs and that its base URL is right"
    )]
    Connection {
        /// The provider.
        provider: String,
        /// Its base URL.
        url: String,
        /// What failed.
        message: String,
    },
    /// The answer is not what the protocol says.
    #[error(
        "the answer of provider `{provider}` can't be read ({message}); check that its base URL leads to an API of the protocol that is configured, OpenAI-compatible unless set otherwise"
    )]
    InvalidResponse {
        /// The provider.
        provider: String,
        /// What is wrong with it.
        message: String,
    },
    /// A model in this process failed.
    #[error("the model of `{provider}` failed ({message})")]
    InProcess {
        /// The provider.
        provider: String,
        /// Why, and what to do.
        message: String,
    },
    /// The answer holds nothing at all.
    #[error(
        "provider `{provider}` sent an answer without any content; try again, or use another model"
    )]
    EmptyResponse {
        /// The provider.
        provider: String,
    },
    /// The stream ended in the middle.
    #[error(
        "the stream of provider `{provider}` ended before the answer did ({message}); try again"
    )]
    StreamIncomplete {
        /// The provider.
        provider: String,
        /// What happened.
        message: String,
    },
}

impl LlmError {
    /// The word that runs, steps and streams carry.
    #[must_use]
    pub const fn error_type(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "llm_timeout",
            Self::RateLimit { .. } => "llm_rate_limit",
            Self::Authentication { .. } => "llm_authentication",
            Self::InsufficientCredits { .. } => "llm_insufficient_credits",
            Self::ContextWindowExceeded { .. } => "context_window_exceeded",
            Self::EmptyResponse { .. } => "llm_empty_response",
            Self::StreamIncomplete { .. } => "stream_incomplete",
            Self::BadRequest { .. } | Self::NotFound { .. } => "llm_bad_request",
            Self::Overloaded { .. } => "llm_overloaded",
            Self::InvalidResponse { .. } => "llm_invalid_response",
            Self::Server { .. } | Self::Connection { .. } | Self::InProcess { .. } => "llm_error",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { again, .. } => *again,
            Self::RateLimit { .. }
            | Self::Overloaded { .. }
            | Self::Server { .. }
            | Self::Connection { .. }
            | Self::StreamIncomplete { .. } => true,
            _ => false,
        }
    }

    /// The wait that the provider asks for.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimit { retry_after, .. }
            | Self::Overloaded { retry_after, .. }
            | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
