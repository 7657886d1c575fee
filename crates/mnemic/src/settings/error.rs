//! What can be wrong with settings.

use std::path::PathBuf;

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no TOML, or a provider in it is not complete.
    #[error("{path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A key that does not exist.
    #[error(
        "{path}: there is no setting '{key}'; did you mean '{nearest}'? `mnemic config` lists all"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The nearest that exists.
        nearest: &'static str,
    },
    /// A value that does not fit.
    #[error("{name} = '{value}' ({origin}): {wanted}")]
    Wrong {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// Where it comes from.
        origin: String,
        /// What it must be.
        wanted: String,
    },
}
