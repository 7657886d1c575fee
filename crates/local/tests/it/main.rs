//! Black-box tests of the models in the process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod fake_hub;
mod pulls;
mod vectors;
mod weights;
