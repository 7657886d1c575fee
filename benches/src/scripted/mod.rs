//! A model server that speaks the wire protocols of OpenAI, Anthropic, Ollama and Gemini and is directed by what
//! stands in the last user message. `benches/README.md` lists the directives.

pub mod directives;
mod embeddings;
mod gemini;
pub mod identity;
mod messages;
mod ollama;
mod overflow;
mod reply;
mod request;
mod responses;
mod search;
pub mod server;
