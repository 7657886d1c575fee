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

pub use gguf::GgufError;
pub use host::{Busy, Host, HostSettings, Piece};
pub use model::{AnswerError, Ending, Request, Usage};
pub use sampling::Sampling;
pub use template::Message;
