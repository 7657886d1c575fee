//! Tools that people write.

pub mod schema;
