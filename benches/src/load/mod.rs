//! The load driver: raw HTTP over kept connections, so that its own share of the processor is small.

pub mod client;
pub mod figures;
pub mod memory;
pub mod process;
pub mod report;
pub mod scenarios;
pub mod streams;
pub mod texts;
