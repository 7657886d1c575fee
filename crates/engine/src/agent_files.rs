//! Agents that move between servers as files.

mod agents;
mod export;
mod import;
mod memory;
mod threads;
mod tools;

pub use self::{
    export::ExportOptions,
    import::{ImportOptions, Imported},
};
