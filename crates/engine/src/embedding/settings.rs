//! What an administrator sets about embeddings.

use std::path::PathBuf;

#[cfg(feature = "local-models")]
use mnemic_local::Artifact as _;

/// The word that switches embeddings off.
const NONE: &str = "none";

/// Which models make vectors.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingSettings {
    /// The handle of the model that is used where none is named; `none` switches embeddings off. When it
    /// is not set, the default model of this process is used, if there are such.
    pub default_handle: Option<String>,
    /// Models that run in this process; `None`: there are none.
    pub local: Option<LocalModels>,
}

/// Where the files of models in this process are and come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModels {
    /// The folder of models.
    pub folder: PathBuf,
    /// Whether missing files are fetched in the background.
    pub fetch: bool,
    /// The base URL of the hub they are fetched from, if it is not the usual one.
    pub hub: Option<String>,
}

impl EmbeddingSettings {
    /// Whether there are to be no embeddings at all.
    pub(super) fn is_off(&self) -> bool {
        let handle = self.default_handle.as_deref();
        handle.is_some_and(|handle| handle.trim().eq_ignore_ascii_case(NONE))
    }

    /// The handle of the model that is used where none is named.
    pub(super) fn default_model(&self) -> Option<String> {
        if self.is_off() {
            return None;
        }
        if let Some(handle) = &self.default_handle {
            return Some(canonical(handle));
        }
        #[cfg(feature = "local-models")]
        if self.local.is_some() {
            let default = mnemic_local::manifest::models().first();
            return default.map(|model| model.handle());
        }
        None
    }
}

/// A handle as the catalogue publishes it.
fn canonical(handle: &str) -> String {
    #[cfg(feature = "local-models")]
    if let Some(model) = mnemic_local::manifest::find(handle)
        && handle.contains('/')
    {
        return model.handle();
    }
    handle.to_owned()
}
