//! Sets of packages: each is built once, with the registry's own client, and then read by every call that needs it.
//!
//! A set is built in a folder beside its place and moved there when it is whole. Building never runs code of a package.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use mnemic_core::tools::requirements::Requirement;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::{Language, SandboxError, Settings, installer, interpreters::Interpreter};

/// How long the reason of a build that failed stands before it is tried again.
const RETRY: Duration = Duration::from_mins(1);
/// Builds that run at the same time; others wait.
const AT_ONCE: usize = 2;
/// What the folders are called in which sets are built.
const BUILDING: &str = ".building-";
/// The age at which such a folder is nobody's any more.
const ABANDONED: Duration = Duration::from_hours(1);

/// The sets of a server.
#[derive(Debug)]
pub(crate) struct Packages {
    folder: PathBuf,
    offline: bool,
    builds: Semaphore,
    turns: Mutex<BTreeMap<String, Arc<Turn>>>,
}

/// Who builds a set, and why the last one who did could not.
type Turn = tokio::sync::Mutex<Option<Failure>>;

#[derive(Debug)]
struct Failure {
    reason: String,
    at: Instant,
}

impl Packages {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            folder: settings.packages.clone(),
            offline: settings.offline,
            builds: Semaphore::new(AT_ONCE),
            turns: Mutex::default(),
        }
    }

    /// The folder of all sets, made if it is not there; none when it can't be made.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        make_open(&self.folder).ok()?;
        self.folder.canonicalize().ok()
    }

    /// The folder of a set, built if it is not there yet.
    pub(crate) async fn set(
        &self,
        interpreter: &Interpreter,
        needed: &[Requirement],
        edition: Option<i64>,
    ) -> Result<PathBuf, SandboxError> {
        let specs = specs(interpreter.language, needed);
        let refused = |reason| SandboxError::Packages {
            packages: specs.join(", "),
            reason,
        };
        let name = name(interpreter, &specs, edition);
        let path = self.folder.join(&name);
        if path.is_dir() {
            return Ok(path);
        }
        if self.offline {
            let reason = "they are not installed yet, and this server is set to install none (offline). Install them \
                          while it may, or run this tool without them";
            return Err(refused(reason.to_owned()));
        }
        let turn = self.turn(&name);
        let mut failure = turn.lock().await;
        if path.is_dir() {
            return Ok(path);
        }
        if let Some(failure) = failure.as_ref().filter(|last| last.at.elapsed() < RETRY) {
            return Err(refused(failure.reason.clone()));
        }
        match self.build(interpreter, &specs, &path).await {
            Ok(()) => {
                *failure = None;
                Ok(path)
            }
            Err(reason) => {
                *failure = Some(Failure {
                    reason: reason.clone(),
                    at: Instant::now(),
                });
                Err(refused(reason))
            }
        }
    }

    fn turn(&self, name: &str) -> Arc<Turn> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| {
            Arc::strong_count(turn) > 1
                || turn.try_lock().is_ok_and(|last| {
                    last.as_ref()
                        .is_some_and(|failure| failure.at.elapsed() < RETRY)
                })
        });
        Arc::clone(turns.entry(name.to_owned()).or_default())
    }

    async fn build(
        &self,
        interpreter: &Interpreter,
        specs: &[String],
        path: &Path,
    ) -> Result<(), String> {
        let _permit = self.builds.acquire().await;
        let place = |error| format!("their folder can't be written: {error}");
        make_open(&self.folder).map_err(place)?;
        clear_abandoned(&self.folder);
        let work = tempfile::Builder::new()
            .prefix(BUILDING)
            .tempdir_in(&self.folder)
            .map_err(place)?;
        let built = work.path().join("set");
        std::fs::create_dir(&built).map_err(place)?;
        tracing::info!(packages = %specs.join(", "), "packages of a tool are installed");
        installer::install(interpreter, specs, work.path(), &built).await?;
        let path = path.to_owned();
        let moved = tokio::task::spawn_blocking(move || settle(&built, &path)).await;
        moved.map_err(|error| error.to_string())?.map_err(place)
    }
}

/// Makes a folder that calls can enter, whoever they are, and those above it that are missing.
pub(crate) fn make_open(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder
        .parent()
        .filter(|above| !above.as_os_str().is_empty())
    {
        make_open(above)?;
    }
    std::fs::create_dir_all(folder)?;
    // A strict umask would close it.
    #[cfg(unix)]
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// Deletes what servers left behind that ended while they built.
fn clear_abandoned(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let old = entry
            .metadata()
            .and_then(|about| about.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED));
        if old && entry.file_name().to_string_lossy().starts_with(BUILDING) {
            // What can't be deleted takes room and does no other harm.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Moves a set to its place when all of it is on the disk.
fn settle(built: &Path, path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    make_readable(built)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(std::fs::File::open(built)?)?;
    match std::fs::rename(built, path) {
        // Another server with the same folder was faster.
        Err(_) if path.is_dir() => Ok(()),
        moved => moved,
    }
}

/// Calls may be another user than the server, and its umask may be strict.
#[cfg(unix)]
fn make_readable(folder: &Path) -> std::io::Result<()> {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};
    let mut folders = vec![folder.to_owned()];
    while let Some(one) = folders.pop() {
        std::fs::set_permissions(&one, Permissions::from_mode(0o755))?;
        for entry in std::fs::read_dir(&one)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                folders.push(entry.path());
            } else if about.is_file() {
                let executable = about.permissions().mode() & 0o100 != 0;
                let mode = if executable { 0o755 } else { 0o644 };
                std::fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
            }
        }
    }
    Ok(())
}

/// What the registry's client is asked for, sorted, each once.
fn specs(language: Language, needed: &[Requirement]) -> Vec<String> {
    let mut specs: Vec<String> = needed.iter().map(|one| spec(language, one)).collect();
    specs.sort();
    specs.dedup();
    specs
}

fn spec(language: Language, needed: &Requirement) -> String {
    let name = needed.name();
    let Some(version) = needed.version() else {
        return name.to_owned();
    };
    match language {
        Language::Python if version.starts_with(['=', '<', '>', '!', '~']) => {
            format!("{name}{version}")
        }
        Language::Python => format!("{name}=={version}"),
        Language::JavaScript | Language::TypeScript => format!("{name}@{version}"),
    }
}

/// What a set is called: the same packages for the same interpreter, in the same edition, are the same set.
fn name(interpreter: &Interpreter, specs: &[String], edition: Option<i64>) -> String {
    let machine = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let head = [
        interpreter.language.to_string(),
        interpreter.version.clone(),
        machine,
    ];
    let mut hash = Sha256::new();
    let edition = edition.map(|edition| format!("edition {edition}"));
    for part in head.iter().chain(specs).chain(&edition) {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use mnemic_core::tools::requirements::Registry;

    use super::*;

    fn needed(registry: Registry, name: &str, version: Option<&str>) -> Requirement {
        Requirement::new(registry, name, version).expect("a requirement")
    }

    fn interpreter(version: &str) -> Interpreter {
        Interpreter {
            language: Language::Python,
            program: PathBuf::new(),
            version: version.to_owned(),
            runtime: Vec::new(),
        }
    }

    #[test]
    fn packages_are_asked_for_in_the_words_of_their_registry() {
        let pip = |version| spec(Language::Python, &needed(Registry::Pip, "six", version));
        assert_eq!(pip(None), "six");
        assert_eq!(pip(Some("1.16.0")), "six==1.16.0");
        assert_eq!(pip(Some(">=1.2,<2")), "six>=1.2,<2");
        let npm = |version| {
            spec(
                Language::TypeScript,
                &needed(Registry::Npm, "@types/node", version),
            )
        };
        assert_eq!(npm(None), "@types/node");
        assert_eq!(npm(Some(">=3 <4")), "@types/node@>=3 <4");
    }

    #[test]
    fn the_same_packages_in_any_order_are_the_same_set_and_others_are_not() {
        let [six, toml] = ["six", "toml"].map(|name| needed(Registry::Pip, name, None));
        let set = |version: &str, needed: &[&Requirement], edition| {
            let needed: Vec<_> = needed.iter().copied().cloned().collect();
            let specs = specs(Language::Python, &needed);
            name(&interpreter(version), &specs, edition)
        };
        let both = set("3.11.7", &[&six, &toml], None);
        assert_eq!(both, set("3.11.7", &[&toml, &six, &toml], None));
        assert_ne!(both, set("3.12.1", &[&six, &toml], None));
        assert_ne!(both, set("3.11.7", &[&six], None));
        let anew = set("3.11.7", &[&six, &toml], Some(1));
        assert_ne!(both, anew);
        assert_eq!(anew, set("3.11.7", &[&toml, &six], Some(1)));
        assert_ne!(anew, set("3.11.7", &[&six, &toml], Some(2)));
    }
}
