//! The client against servers that behave as real ones do, over real connections.

// Clippy takes the functions that tests share for production code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod calls;
mod catalogue;
mod embeddings;
mod images;
mod in_process;
mod ollama;
mod protocols;
mod server;
mod servers;
mod streams;
