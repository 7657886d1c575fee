//! The closed place in which tools run that people, or models, wrote.
//!
//! Every call gets a process of its own, with nothing in reach but a scratch folder that is its own and empty, the
//! interpreter's files, and the channel over which it is called. What a tool can do to its own interpreter it can do to
//! its own result and to nothing else: limits, kills and what is true of a call are decided outside of it.

mod call;
#[cfg(target_os = "linux")]
mod closing;
mod door;
#[cfg(target_os = "linux")]
mod handing;
mod hosts;
mod installer;
mod interpreters;
#[cfg(target_os = "linux")]
mod keeper;
mod launch;
mod layers;
#[cfg(target_os = "linux")]
mod network;
mod outcome;
mod packages;
mod plan;
mod pool;
#[cfg(target_os = "linux")]
mod proxy;
#[cfg(target_os = "linux")]
mod proxy_request;
#[cfg(target_os = "linux")]
mod reach;
#[cfg(target_os = "linux")]
mod root;
#[cfg(target_os = "linux")]
mod syscalls;
#[cfg(target_os = "linux")]
mod tree;
#[cfg(target_os = "linux")]
mod zygote;

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use mnemic_core::tools::requirements::Requirement;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use door::{Ask, Door, Reply};
pub use hosts::HostGrant;
pub use interpreters::Interpreter;
#[cfg(target_os = "linux")]
pub use keeper::keep;
pub use layers::{Layer, Layers};
pub use outcome::{Outcome, Raised, Status, Stop};
pub use plan::CHILD_COMMAND;

/// Calls that wait for their turn at the most: each holds its source and its arguments.
const MAX_WAITING: usize = 256;

/// The languages of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// Python, by CPython 3.9 or newer.
    Python,
    /// JavaScript, by Node.
    JavaScript,
    /// TypeScript, by Node; its types are taken off, not checked.
    TypeScript,
}

impl Language {
    /// The language that the interpreter itself runs.
    pub(crate) fn interpreter(self) -> Self {
        match self {
            Self::Python => Self::Python,
            Self::JavaScript | Self::TypeScript => Self::JavaScript,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
            Self::TypeScript => "TypeScript",
        })
    }
}

/// One call of a tool.
#[derive(Debug, Clone)]
pub struct Call {
    /// The language of the source.
    pub language: Language,
    /// The whole source; lines in errors are its lines.
    pub source: String,
    /// The function to call; none to run the source alone.
    pub function: Option<String>,
    /// Arguments by name.
    pub arguments: Map<String, Value>,
    /// What the function gets beside them where it has parameters of these names.
    pub injected: Map<String, Value>,
    /// The way to the server's API; none for none.
    pub door: Option<Arc<dyn Door>>,
    /// Other tools that the source can call by their names, through the door.
    pub tools: Vec<ToolStub>,
    /// The whole environment that the tool sees.
    pub variables: BTreeMap<String, String>,
    /// What it may use.
    pub limits: Limits,
    /// What is opened for it.
    pub grants: Grants,
    /// The packages that it needs: of pip for Python, of npm else.
    pub packages: Vec<Requirement>,
    /// The edition of its set of packages: one that no call had before is installed anew.
    pub edition: Option<i64>,
    /// Whether another call waits for it: then it waits for no turn of its own.
    pub is_nested: bool,
}

/// A tool that a source can call by its name.
#[derive(Debug, Clone, Serialize)]
pub struct ToolStub {
    /// Its name.
    pub name: String,
    /// Where the server's API runs it.
    pub path: String,
    /// The names of its parameters, in their order.
    pub parameters: Vec<String>,
}

/// What a call may use, together with all processes that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time until it must have answered.
    pub time: Duration,
    /// Time on processors.
    pub processor: Duration,
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes of each of stdout and stderr that are kept. A tool that writes sixteen times as much is stopped.
    pub output: usize,
    /// Bytes of the result, as JSON.
    pub result: usize,
    /// Bytes of its files.
    pub scratch: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(180),
            processor: Duration::from_secs(120),
            memory: 512 << 20,
            processes: 32,
            output: 1 << 20,
            result: 8 << 20,
            scratch: 64 << 20,
        }
    }
}

/// What is opened for a tool, beside its scratch folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Folders of this machine, by absolute path.
    pub folders: Vec<FolderGrant>,
    /// Hosts that it reaches over an HTTP proxy of its own, which its variables name. All else stays closed.
    pub hosts: Vec<HostGrant>,
}

/// A folder that a tool may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderGrant {
    /// Its path, the same inside and outside.
    pub path: PathBuf,
    /// Whether the tool may change it.
    pub access: Access,
}

/// What a tool may do in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read its files.
    Read,
    /// Also write, make and delete files.
    Write,
}

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program that becomes the keeper of a call when its first argument is [`CHILD_COMMAND`]: the server's own.
    pub program: PathBuf,
    /// The Python interpreter; none for the one of the search path.
    pub python: Option<PathBuf>,
    /// The Node interpreter; none for the one of the search path.
    pub node: Option<PathBuf>,
    /// A folder below which scratch folders are made where tools can't have file systems of their own.
    pub scratch: PathBuf,
    /// A folder below which sets of packages are built and kept.
    pub packages: PathBuf,
    /// A folder that every user can enter, made when it is needed: where both of these are if tools have no file system
    /// of their own and run as users who can't enter those.
    pub open: PathBuf,
    /// Whether packages that are not there yet are refused rather than fetched from their registry.
    pub offline: bool,
    /// Whether tools may be connected to an address when its host is granted: only public ones, so that no name leads
    /// into the server's own network.
    pub may_reach: fn(IpAddr) -> bool,
    /// Calls that run at the same time; others wait.
    pub at_once: usize,
    /// Whether tools also run where they can't be closed in.
    pub unsafe_tools: UnsafeTools,
    /// Whether calls are forked from a warm interpreter where that can be closed in.
    pub warm: Warm,
    /// Layers that are not to be used, for tests of those that remain.
    pub without: Vec<Layer>,
}

/// What happens to tools where they can't be closed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsafeTools {
    /// They are refused.
    Refuse,
    /// They run all the same: the administrator said so.
    Run,
}

/// Whether an interpreter is kept warm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warm {
    /// One waits for calls, which are its forks.
    Yes,
    /// Each call starts an interpreter of its own.
    No,
}

/// Why a call did not run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The machine can't keep tools in.
    #[error(
        "tools can't run on this machine: {reason}. Start the server with --unsafe-tools to run them unprotected"
    )]
    Unavailable {
        /// Which guarantee is missing.
        reason: String,
    },
    /// There is no interpreter.
    #[error(
        "no {language} interpreter was found (looked for {looked}): running this tool needs {needed}"
    )]
    NoInterpreter {
        /// The tool's language.
        language: Language,
        /// The names that were tried.
        looked: String,
        /// What to install.
        needed: &'static str,
    },
    /// There is one, and tools can't use it.
    #[error(
        "the {language} interpreter {program} is closed to the users that tools run as where there are no namespaces: \
         {closed} can't be read by everybody. Install {needed} for all users, or name another one in {setting}"
    )]
    ClosedInterpreter {
        /// The tool's language.
        language: Language,
        /// The program.
        program: String,
        /// The file or folder that is closed.
        closed: String,
        /// What to install.
        needed: &'static str,
        /// The variable that names the program.
        setting: &'static str,
    },
    /// A grant names something that is not there.
    #[error("the folder {path} was granted to this tool, but {reason}")]
    Grant {
        /// The granted path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The hosts that were granted can't be opened without opening others.
    #[error(
        "this tool was granted hosts, and this machine can't open them alone: {reason}. Take the grant back, or allow \
         namespaces"
    )]
    Network {
        /// Which layer is missing.
        reason: String,
    },
    /// Packages that it needs are not there.
    #[error("the packages {packages} can't be installed: {reason}")]
    Packages {
        /// What the registry was to be asked for.
        packages: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Other calls have all the turns.
    #[error("{0}: try again later")]
    Busy(&'static str),
    /// A process could not be started or closed in.
    #[error("the tool could not be started: {0}")]
    Start(String),
}

/// Runs tools.
#[derive(Debug, Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    layers: Layers,
    permits: Semaphore,
    /// Places of calls that run or wait.
    places: Semaphore,
    launcher: launch::Launcher,
    #[cfg(target_os = "linux")]
    reach: reach::Reach,
}

impl Sandbox {
    /// Finds out what this machine can close. Nothing is started until the first call.
    pub async fn new(settings: Settings) -> Self {
        let layers = Layers::probe(&settings).await;
        #[cfg(target_os = "linux")]
        let (settings, reach) = reach::within_reach(settings, &layers);
        let launcher = launch::Launcher::new(&settings, &layers);
        Self {
            inner: Arc::new(Inner {
                permits: Semaphore::new(settings.at_once.max(1)),
                places: Semaphore::new(settings.at_once.max(1) + MAX_WAITING),
                settings,
                layers,
                launcher,
                #[cfg(target_os = "linux")]
                reach,
            }),
        }
    }

    /// Which layers are active, and why others are not.
    pub fn layers(&self) -> &Layers {
        &self.inner.layers
    }

    /// Runs one call to its end. When the future is dropped, everything that the call started ends as well.
    pub async fn run(&self, call: Call) -> Result<Outcome, SandboxError> {
        let inner = &self.inner;
        if let (Some(reason), UnsafeTools::Refuse) =
            (inner.layers.missing(), inner.settings.unsafe_tools)
        {
            return Err(SandboxError::Unavailable { reason });
        }
        if let (false, Some(reason)) = (
            call.grants.hosts.is_empty(),
            inner.layers.why(Layer::Namespaces),
        ) {
            return Err(SandboxError::Network { reason });
        }
        #[cfg(target_os = "linux")]
        if let Some(reason) = &inner.reach.closed {
            return Err(SandboxError::Start(reason.clone()));
        }
        // Before its turn: a call that waits for its packages must not keep others from running.
        let packages = inner.launcher.packages(&call).await?;
        let turn = match call.is_nested {
            true => None,
            false => Some(inner.turn(call.limits.time).await?),
        };
        let begun = Instant::now();
        let running = inner.launcher.start(&call, packages).await?;
        let request = request(&call, &running);
        let conducted = call::Conducted {
            request: &request,
            limits: &call.limits,
            door: call.door.as_deref(),
        };
        let outcome = call::conduct(running, conducted, begun).await;
        drop(turn);
        if inner.launcher.pool.wants_keeper() {
            let inner = Arc::clone(inner);
            tokio::spawn(async move { inner.launcher.keep_ready().await });
        }
        outcome
    }
}

impl Inner {
    /// Waits for a turn, as long as a call may take.
    async fn turn(&self, at_most: Duration) -> Result<[SemaphorePermit<'_>; 2], SandboxError> {
        let place = self
            .places
            .try_acquire()
            .map_err(|_| SandboxError::Busy("too many calls of tools wait for their turn"))?;
        match tokio::time::timeout(at_most, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok([place, permit]),
            _ => Err(SandboxError::Busy("no turn to run came in time")),
        }
    }
}

/// What the interpreter is told. It goes over the call's own channel: nothing of it is seen by another process.
fn request(call: &Call, running: &launch::Running) -> Vec<u8> {
    let mut variables = call.variables.clone();
    #[cfg(target_os = "linux")]
    let port = running.proxy.as_ref().map(|proxy| {
        // Hosts that are not to be reached over the proxy could not be reached at all.
        variables.retain(|name, _| !name.eq_ignore_ascii_case("no_proxy"));
        variables.extend(proxy.variables());
        proxy.port()
    });
    #[cfg(not(target_os = "linux"))]
    let port: Option<u16> = None;
    let text = serde_json::json!({
        "source": call.source,
        "function": call.function,
        "arguments": call.arguments,
        "injected": call.injected,
        "door": call.door.is_some(),
        "tools": call.tools,
        "variables": variables,
        "proxy": port,
        "packages": running.packages.iter().collect::<Vec<_>>(),
        "typescript": call.language == Language::TypeScript,
    })
    .to_string();
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&length, text.as_bytes()].concat()
}

/// Whether a path can be granted: absolute, there, and not a way around through links.
fn granted(path: &Path) -> Result<PathBuf, SandboxError> {
    let wrong = |reason: &str| SandboxError::Grant {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    };
    if !path.is_absolute() {
        return Err(wrong("its path is not absolute"));
    }
    let real = path
        .canonicalize()
        .map_err(|error| wrong(&format!("it can't be opened: {error}")))?;
    // Whoever let the tool have it looked at this path and no other; a link could lead anywhere by now.
    if real != path {
        return Err(wrong("it is a link, or leads through one"));
    }
    if real == Path::new("/")
        || ["/proc", "/sys", "/dev"]
            .iter()
            .any(|own| real.starts_with(own))
    {
        return Err(wrong("the system's own folders can't be granted"));
    }
    Ok(real)
}
