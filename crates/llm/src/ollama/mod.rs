//! Ollama's own chat API. It is spoken rather than chat completions because only here the size of the
//! context can be set: over `/v1` Ollama takes its default of 4,096 tokens and cuts longer prompts without
//! a word.

pub(crate) mod decoder;
pub(crate) mod models;
pub(crate) mod prompt_cut;
pub(crate) mod render;
pub(crate) mod request;

#[cfg(test)]
mod tests;
