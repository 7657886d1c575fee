//! Black-box tests of the models in the process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[cfg(feature = "llm")]
mod crafted;
mod fake_hub;
#[cfg(feature = "llm")]
mod hostile_models;
#[cfg(feature = "llm")]
mod language_model;
mod pulls;
mod vectors;
mod weights;
