//! What agents do outside of the server: the tools that people write, and the closed place in which they run.

pub mod audit;
pub mod page;
pub mod sandbox;
pub mod schema;
