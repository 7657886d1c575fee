//! Finds the interpreters of this machine and what they need to be read.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[cfg(target_os = "linux")]
use super::reach;
use super::{Language, SandboxError, plan::Folder};

/// An interpreter, and the files without which it does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// What it runs; for TypeScript that is JavaScript.
    pub language: Language,
    /// The program itself, not a link or a script that chooses one.
    pub program: PathBuf,
    /// What it calls its version.
    pub version: String,
    /// Folders and files that it reads.
    pub runtime: Vec<PathBuf>,
}

/// What programs read on every system: libraries, the list of them, and time zones by name.
const SYSTEM: [&str; 9] = [
    "/usr/lib",
    "/usr/lib64",
    "/usr/bin",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/usr/share/zoneinfo",
    "/usr/local/lib",
];

const PYTHON: &str = "import sys; print(sys.executable, sys.base_prefix, sys.base_exec_prefix, \
                      '.'.join(map(str, sys.version_info[:3])), sep='\\n')";
const NODE: &str = "console.log([process.execPath, process.versions.node].join('\\n'))";

/// Which interpreters there may be of a language.
struct Wanted {
    /// By the search path.
    usual: &'static [&'static str],
    /// Where systems have theirs.
    systems: &'static [&'static str],
    /// What to install.
    needed: &'static str,
    /// The variable that names one.
    setting: &'static str,
}

impl Wanted {
    fn of(language: Language) -> Self {
        match language {
            Language::Python => Self {
                usual: &["python3", "python"],
                systems: &["/usr/local/bin/python3", "/usr/bin/python3"],
                needed: "Python 3.9 or newer",
                setting: "MNEMIC_PYTHON",
            },
            Language::JavaScript | Language::TypeScript => Self {
                usual: &["node"],
                systems: &["/usr/local/bin/node", "/usr/bin/node"],
                needed: "Node 20 or newer",
                setting: "MNEMIC_NODE",
            },
        }
    }
}

impl Interpreter {
    /// Asks the named program, or the usual ones of the search path, who they are. One that is for others is one that
    /// everybody can read, if there is any: also where the system has its own, behind one of root's in the search path.
    pub(crate) fn find(
        language: Language,
        named: Option<&Path>,
        is_for_others: bool,
    ) -> Result<Self, SandboxError> {
        let wanted = Wanted::of(language);
        let names: Vec<PathBuf> = match named {
            Some(path) => vec![path.to_owned()],
            None => wanted.usual.iter().map(PathBuf::from).collect(),
        };
        let systems = wanted.systems.iter().map(PathBuf::from);
        let more = systems.filter(|_| is_for_others && named.is_none());
        let mut found = names
            .iter()
            .cloned()
            .chain(more)
            .filter_map(|name| match language {
                Language::Python => python(&name),
                Language::JavaScript | Language::TypeScript => node(&name),
            });
        let Some(first) = found.next() else {
            return Err(SandboxError::NoInterpreter {
                language,
                looked: names
                    .iter()
                    .map(|name| name.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
                needed: wanted.needed,
            });
        };
        if !is_for_others {
            return Ok(first);
        }
        let Some(closed) = first.closed() else {
            return Ok(first);
        };
        let open = found.find(|other| other.closed().is_none());
        if let Some(open) = &open {
            tracing::warn!(
                closed = %closed.display(),
                "tools run with {} {} and not with {}, which the users of tool calls can't read",
                open.program.display(),
                open.version,
                first.program.display(),
            );
        }
        open.ok_or_else(|| SandboxError::ClosedInterpreter {
            language,
            program: first.program.display().to_string(),
            closed: closed.display().to_string(),
            needed: wanted.needed,
            setting: wanted.setting,
        })
    }

    /// What of it can't be read by everybody; none when all can.
    fn closed(&self) -> Option<PathBuf> {
        #[cfg(target_os = "linux")]
        return reach::closed(&self.program, reach::Use::Run).or_else(|| {
            let mut parts = self.runtime.iter();
            parts.find_map(|path| reach::closed(path, reach::Use::Read))
        });
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// What a tool may read, for the plan.
    pub(crate) fn folders(&self) -> Vec<Folder> {
        self.runtime
            .iter()
            .map(|path| Folder {
                path: path.clone(),
                writable: false,
            })
            .collect()
    }
}

fn ask(program: &Path, arguments: &[&str]) -> Option<Vec<String>> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.lines().map(str::to_owned).collect())
}

fn python(name: &Path) -> Option<Interpreter> {
    let said = ask(name, &["-I", "-S", "-c", PYTHON])?;
    let [program, prefix, exec_prefix, version] = said.try_into().ok()?;
    let minor: u32 = version
        .strip_prefix("3.")?
        .split('.')
        .next()?
        .parse()
        .ok()?;
    let homes = [PathBuf::from(prefix), PathBuf::from(exec_prefix)];
    (minor >= 9).then(|| interpreter(Language::Python, program.into(), version, &homes))
}

fn node(name: &Path) -> Option<Interpreter> {
    let said = ask(name, &["-e", NODE])?;
    let [program, version] = said.try_into().ok()?;
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major >= 20).then(|| interpreter(Language::JavaScript, program.into(), version, &[]))
}

fn interpreter(
    language: Language,
    program: PathBuf,
    version: String,
    homes: &[PathBuf],
) -> Interpreter {
    let program = program.canonicalize().unwrap_or(program);
    let mut runtime: Vec<PathBuf> = Vec::new();
    // Systems that keep each package in a folder of its own have their libraries there.
    let store = ["/nix/store", "/gnu/store"].map(PathBuf::from);
    let stores = store.into_iter().filter(|store| program.starts_with(store));
    let system = SYSTEM
        .iter()
        .map(PathBuf::from)
        .filter(|path| path.exists() && !path.is_symlink());
    // The whole of /usr is not part of an interpreter that lives there: its parts above are.
    let homes = homes
        .iter()
        .filter(|home| *home != Path::new("/usr"))
        .cloned();
    for path in system.chain(homes).chain(stores).chain([program.clone()]) {
        if !runtime.iter().any(|held| path.starts_with(held)) {
            runtime.retain(|held| !held.starts_with(&path));
            runtime.push(path);
        }
    }
    Interpreter {
        language,
        program,
        version,
        runtime,
    }
}
