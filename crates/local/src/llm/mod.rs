//! Language models that run in this process: GGUF files of the Llama and Qwen3 architectures.

mod attention;
mod blocks;
mod bpe;
mod cancel;
mod gguf;
mod grammar;
mod host;
mod list_sums;
mod matrix;
mod model;
mod pretokens;
mod sampling;
mod slots;
mod template;
mod transformer;

use std::path::Path;

pub use gguf::GgufError;
pub use host::{Busy, Host, HostSettings, Piece};
pub use model::{AnswerError, Ending, Request, Usage};
pub use sampling::Sampling;
pub use template::Message;

/// The tokens of a text, by the tokenizer of a model's file, of which only the header is read.
///
/// # Errors
/// The file cannot be read, or holds no tokenizer that is known here.
pub fn tokens_of(path: &Path, text: &str) -> Result<Vec<u32>, GgufError> {
    let never = cancel::Cancel::when(|| false);
    let gguf = gguf::Gguf::open(path, &never)?;
    Ok(bpe::Tokenizer::read(&gguf)?.prompt(text))
}
