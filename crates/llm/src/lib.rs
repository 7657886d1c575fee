//! The model side: one call to a language model, whatever the server that runs it.
//!
//! The engine hands over a [`Call`]: an [`Endpoint`], a model, a [`SystemPrompt`], a [`Transcript`]
//! and a [`ToolSet`]. These keep their wire bytes, so that a turn copies its history once, in whole
//! blocks, and never serialises it again. Back comes a [`Completion`], or a [`DeltaStream`] whose
//! items an [`Assembler`] folds into one.
//!
//! Architecture invariant: only this crate knows a provider's JSON, and nothing here knows agents,
//! the store or our own API. A provider is data (an [`Endpoint`] with its [`Quirks`]); a protocol is
//! a module with the same few functions, chosen by [`Protocol`].

mod abilities;
mod adaptation;
mod anthropic;
mod body;
mod calls;
mod catalogue;
mod choice;
mod client;
mod completion;
mod connect;
mod embeddings;
mod endpoints;
mod errors;
mod forced;
mod gemini;
mod images;
mod in_process;
mod json;
mod lenient;
mod lines;
mod models;
mod ollama;
mod openai_chat;
mod openai_responses;
mod plain_calls;
mod provider_kinds;
mod reading;
mod refusals;
pub mod repair;
mod retry;
mod servers;
mod sse;
mod streaming;
mod strict_schema;
mod structured;
mod suggestions;
mod toolset;
mod transcript;
mod url_guard;
mod web_search;
mod windows;
mod wire_form;

pub use abilities::Abilities;
pub use calls::{Call, SystemPrompt, Thinking, ToolChoice};
pub use catalogue::{Catalogue, Listing, ResolveError, ResolvedModel, Unreachable};
pub use client::{Client, request_body};
pub use completion::{Assembler, Completion, Delta, FinishReason, response_body};
pub use endpoints::{
    Endpoint, EndpointConfig, EndpointError, Origin, Protocol, Quirks, Secret, ToolForm,
};
pub use errors::LlmError;
pub use images::{ImageError, image_from_data_url, sniff_image};
pub use in_process::{
    InProcess, LocalAnswer, LocalError, LocalMessage, LocalModel, LocalModels, LocalPiece,
    LocalRequest, PROVIDER as IN_PROCESS_PROVIDER,
};
pub use lines::LineParser;
pub use models::{ModelInfo, ModelKind};
pub use provider_kinds::{ProviderAccess, ProviderKind, ProviderKindError};
pub use retry::{RetryPolicy, Timeouts};
pub use servers::{Found, ModelServer};
pub use sse::{SseEvent, SseParser, TooLong};
pub use streaming::DeltaStream;
pub use toolset::{ToolSet, ToolSpec};
pub use transcript::{MessageView, Transcript};
pub use url_guard::{FetchLimits, Fetched, UrlError, UrlGuard, is_public};
pub use web_search::{SearchError, SearchService, ServiceSettings, WebSearchSettings, WebSearcher};
pub use windows::know_windows;

/// Reads the answer to a call that did not ask for a stream.
///
/// # Errors
/// When the bytes are no answer of the protocol, or carry the provider's error.
pub fn parse_response(endpoint: &Endpoint, bytes: &[u8]) -> Result<Completion, LlmError> {
    match endpoint.protocol() {
        Protocol::OpenAiChat => openai_chat::response::parse(endpoint, bytes),
        Protocol::OpenAiResponses => openai_responses::decoder::parse(endpoint, bytes),
        Protocol::Anthropic => anthropic::decoder::parse(endpoint, bytes),
        Protocol::Ollama => ollama::decoder::parse(endpoint, bytes),
        Protocol::Gemini => gemini::decoder::parse(endpoint, bytes),
    }
}

/// Reads the recorded bytes of a stream, for replays and fuzzing: the deltas that came, and the
/// error with which it ended, if any.
#[must_use]
pub fn parse_stream(endpoint: &Endpoint, bytes: &[u8]) -> (Vec<Delta>, Option<LlmError>) {
    streaming::replay(endpoint, bytes)
}
