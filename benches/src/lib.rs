//! Programs that measure Mnemic, and a model server that does what it is told.

pub mod load;
pub mod scripted;
