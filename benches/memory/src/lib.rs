//! Measures how well what was said is found again, on labelled long conversations.

pub mod calibration;
pub mod conversation;
pub mod corpus;
pub mod dump;
pub mod judge;
pub mod metrics;
pub mod random;
pub mod report;
pub mod retrievers;
pub mod sources;
pub mod summary;
pub mod vectors;
