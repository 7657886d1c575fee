//! The API as a client meets it, over a real engine and store; only the model is played.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod basics;
mod conversations;
mod history;
mod model;
mod openai;
mod runs;
mod server;
mod turns;
