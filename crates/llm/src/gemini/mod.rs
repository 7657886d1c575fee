//! Gemini's protocol, `generateContent` and its stream.

pub(crate) mod decoder;
pub(crate) mod embeddings;
pub(crate) mod models;
pub(crate) mod render;
pub(crate) mod request;

#[cfg(test)]
mod tests;
