//! Agents that move between servers as files.

mod agents;
mod conversations;
mod entries;
mod export;
mod groups;
mod import;
mod memory;
mod threads;
mod tools;

pub use self::{
    export::ExportOptions,
    import::{ImportOptions, Imported},
};
