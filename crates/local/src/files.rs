//! The folder of models: one folder for each, with its files.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::manifest::{Artifact, ModelFile};

/// Bytes that are summed at once.
const PIECE: usize = 256 * 1024;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is longer or shorter than it must be.
    #[error("{path} has {found} bytes, not {wanted}", path = path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// How long it is.
        found: u64,
        /// How long it must be.
        wanted: u64,
    },
    /// It holds something else than it must.
    #[error("{path} has the SHA-256 sum {found}, not {wanted}", path = path.display())]
    Sum {
        /// The file.
        path: PathBuf,
        /// Its sum.
        found: String,
        /// The sum that it must have.
        wanted: String,
    },
}

/// Checks that a file is the one that it must be.
///
/// # Errors
/// It cannot be read, or is another one.
pub fn check(path: &Path, wanted: &ModelFile) -> Result<(), FileError> {
    check_while(path, wanted, &|| true)
}

/// The same, as long as somebody waits for it: then it is an interrupted read.
pub(crate) fn check_while(
    path: &Path,
    wanted: &ModelFile,
    is_waited_for: &dyn Fn() -> bool,
) -> Result<(), FileError> {
    let unreadable = |error| FileError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    if found != wanted.bytes {
        return Err(FileError::Length {
            path: path.to_owned(),
            found,
            wanted: wanted.bytes,
        });
    }
    let found = sum(&mut file, is_waited_for).map_err(unreadable)?;
    if found.eq_ignore_ascii_case(&wanted.sha256) {
        return Ok(());
    }
    Err(FileError::Sum {
        path: path.to_owned(),
        found,
        wanted: wanted.sha256.clone(),
    })
}

/// The SHA-256 sum of what is left to read.
fn sum(file: &mut File, is_waited_for: &dyn Fn() -> bool) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        if !is_waited_for() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = file.read(&mut piece)?;
        if length == 0 {
            let sum = hash.finalize();
            return Ok(sum.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(piece.get(..length).unwrap_or_default());
    }
}

/// What is there of a model.
#[derive(Debug)]
pub enum Presence {
    /// Not all of its files, as before they are fetched and when that broke off.
    Missing,
    /// Every file, and each as it must be.
    Whole,
    /// A file that is another one than it must be.
    Damaged(FileError),
}

/// Bytes of all files of a folder and of those in it.
pub(crate) fn length_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => length_of(&entry.path()),
            Ok(meta) => meta.len(),
            // Gone meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// The folder that holds all models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCache {
    root: PathBuf,
}

impl ModelCache {
    /// The folder at that place, which need not exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a model.
    #[must_use]
    pub fn folder(&self, model: &dyn Artifact) -> PathBuf {
        self.root.join(model.id())
    }

    /// Whether all files of a model are there in their length. What they hold is checked when they are
    /// loaded for the first time.
    #[must_use]
    pub fn has(&self, model: &dyn Artifact) -> bool {
        let folder = self.folder(model);
        model.files().iter().all(|file| {
            std::fs::metadata(folder.join(&file.name)).is_ok_and(|meta| meta.len() == file.bytes)
        })
    }

    /// What is there of a model, which takes as long as reading all of it.
    #[must_use]
    pub fn presence(&self, model: &dyn Artifact) -> Presence {
        let folder = self.folder(model);
        let mut presence = Presence::Whole;
        for file in model.files() {
            let path = folder.join(&file.name);
            if !path.exists() {
                presence = Presence::Missing;
            } else if let Err(error) = check(&path, file) {
                return Presence::Damaged(error);
            }
        }
        presence
    }

    /// Deletes a model's folder; the bytes that it held, if there was one.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub fn remove(&self, model: &dyn Artifact) -> io::Result<Option<u64>> {
        let folder = self.folder(model);
        let held = length_of(&folder);
        match std::fs::remove_dir_all(folder) {
            Ok(()) => Ok(Some(held)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of the files of a model that are there.
    #[must_use]
    pub fn bytes(&self, model: &dyn Artifact) -> u64 {
        let folder = self.folder(model);
        let lengths = model
            .files()
            .iter()
            .map(|file| std::fs::metadata(folder.join(&file.name)));
        lengths.flatten().map(|meta| meta.len()).sum()
    }
}
