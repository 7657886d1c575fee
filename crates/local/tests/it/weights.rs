//! The real weights. Tests that need them fetch them once into the user's cache: without them, they
//! fail rather than pass over what they should test.

use std::{path::PathBuf, sync::LazyLock};

use mnemic_local::{Embedder, Model, ModelCache, manifest, pull};

/// The default model.
pub fn model() -> &'static Model {
    manifest::find(manifest::DEFAULT).unwrap()
}

/// The folder of models.
pub fn root() -> PathBuf {
    std::env::var_os("MNEMIC_MODELS_DIR").map_or_else(
        || {
            let dirs = directories::ProjectDirs::from("", "", "mnemic").unwrap();
            dirs.cache_dir().join("models")
        },
        PathBuf::from,
    )
}

/// Its folder.
pub fn folder() -> PathBuf {
    let mut options = pull::PullOptions::default();
    if let Ok(hub) = std::env::var("HF_ENDPOINT") {
        options.hub = hub;
    }
    pull::pull(model(), &ModelCache::new(root()), &options, &mut |_| {}).unwrap()
}

/// The default model, loaded once.
pub fn embedder() -> &'static Embedder {
    static EMBEDDER: LazyLock<Embedder> =
        LazyLock::new(|| Embedder::load(model(), &folder()).unwrap());
    &EMBEDDER
}
