//! Models that run in this process: their files, tokenizers and arithmetic.
//!
//! Architecture invariant: this crate knows weights, tokenizers and files; it knows neither SQL nor our
//! HTTP API nor what an agent is.

mod arithmetic;
mod bert;
pub mod chat_models;

mod embedder;
pub mod files;
#[cfg(feature = "llm")]
pub mod llm;
pub mod manifest;
pub mod pull;
mod tensors;
mod wordpiece;

pub use chat_models::ChatModel;
pub use embedder::{EmbedError, Embedder};
pub use files::ModelCache;
pub use manifest::{Artifact, Model};
pub use wordpiece::WordPiece;
