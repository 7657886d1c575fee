//! Where labelled conversations come from.

pub mod generated;
pub mod locomo;
pub mod longmemeval;
pub mod shipped;

use std::{io, path::PathBuf};

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line of a conversation is not as it must be.
    #[error("{file}:{line}: {what}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and how it must be.
        what: String,
    },
    /// A file is not of the format that it is said to have.
    #[error("{path} is no {format} file: {what}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// What is wrong.
        what: String,
    },
    /// There is nothing.
    #[error("{path} holds no conversations (*.txt)", path = path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

fn read(path: &std::path::Path) -> Result<String, SourceError> {
    std::fs::read_to_string(path).map_err(|error| SourceError::Unreadable {
        path: path.to_owned(),
        error,
    })
}
