//! A model server that speaks the wire protocol of OpenAI's chat completions and is directed by what
//! stands in the last user message. `benches/README.md` lists the directives.

pub mod directives;
mod embeddings;
mod messages;
mod overflow;
mod reply;
mod request;
mod responses;
pub mod server;
