//! Starts the process of a call: a fork of a warm interpreter where that can be closed in, else a keeper of its own.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::PipeReader,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    net::{UnixStream, unix::pipe},
    process::{Child, Command},
};

use super::{
    Access, Call, Grants, Language, Layer, Layers, Limits, SandboxError, Settings, Warm, granted,
    interpreters::Interpreter,
    packages::{Packages, make_open},
    plan::{Active, CHILD_COMMAND, Folder, PACKAGES, Plan, ProcessLimits, Sockets, Start},
    pool::{Place, Pool},
};

#[cfg(target_os = "linux")]
use super::{
    network,
    proxy::{Proxy, Rules},
    zygote::Zygote,
};

/// A process that waits for its call, or works on it.
#[derive(Debug)]
pub(crate) struct Running {
    pub channel: UnixStream,
    pub stdout: pipe::Receiver,
    pub stderr: pipe::Receiver,
    pub process: Process,
    /// Where it finds its packages.
    pub packages: Option<PathBuf>,
    /// The way to hosts that were granted to it.
    #[cfg(target_os = "linux")]
    pub proxy: Option<Proxy>,
    /// Where its files are, if they are on a disk.
    pub scratch: Option<tempfile::TempDir>,
    /// Its place among those that run at once, if others like it are kept ready.
    pub place: Option<Place>,
}

/// How a call's processes are watched and ended.
#[derive(Debug)]
pub(crate) enum Process {
    /// The keeper; the tool is below it.
    Kept(Child),
    /// A fork of the warm interpreter.
    #[cfg(target_os = "linux")]
    Forked(super::zygote::Fork),
}

/// What calls have in common that the same waiting interpreter can serve: language, limits, and packages.
pub(crate) type Kind = (Language, ProcessLimits, Option<PathBuf>);

/// What is opened for a call.
#[derive(Debug)]
struct Opened {
    folders: Vec<Folder>,
    packages: Option<PathBuf>,
    sockets: Sockets,
}

/// Starts calls.
#[derive(Debug)]
pub(crate) struct Launcher {
    settings: Settings,
    active: Active,
    packages: Packages,
    pub(crate) pool: Pool,
    interpreters: Mutex<BTreeMap<Language, Interpreter>>,
    #[cfg(target_os = "linux")]
    warm: tokio::sync::Mutex<Warmth>,
}

/// The warm interpreter, or why there is none.
#[cfg(target_os = "linux")]
#[derive(Debug)]
enum Warmth {
    Cold,
    Warm(Arc<Zygote>),
    Never,
}

/// The first of the users that calls are when the server is root: numbers that no system gives to anybody.
#[cfg(target_os = "linux")]
const FIRST_USER: u32 = 0x4000_0000;

/// A user that no other call has, of this server or of another one that sees the same processes.
fn user() -> Option<u32> {
    #[cfg(target_os = "linux")]
    if rustix::process::geteuid().is_root() {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = std::process::id() % (1 << 20);
        let call = NEXT.fetch_add(1, Ordering::Relaxed) % (1 << 10);
        return Some(FIRST_USER + (server << 10) + call);
    }
    None
}

pub(crate) fn start_error<E: std::fmt::Display>(step: &str) -> impl FnOnce(E) -> SandboxError + '_ {
    move |error| SandboxError::Start(format!("{step}: {error}"))
}

impl Launcher {
    pub(crate) fn new(settings: &Settings, layers: &Layers) -> Self {
        Self {
            settings: settings.clone(),
            packages: Packages::new(settings),
            active: Active {
                namespaces: layers.has(Layer::Namespaces),
                landlock: layers.has(Layer::Landlock),
                seccomp: layers.has(Layer::Seccomp),
            },
            pool: Pool::new(settings.warm),
            interpreters: Mutex::default(),
            #[cfg(target_os = "linux")]
            warm: tokio::sync::Mutex::new(Warmth::Cold),
        }
    }

    /// The folder of the packages that a call needs, built if need be; none when it needs none.
    pub(crate) async fn packages(&self, call: &Call) -> Result<Option<PathBuf>, SandboxError> {
        if call.packages.is_empty() {
            return Ok(None);
        }
        let interpreter = self.interpreter(call.language).await?;
        let set = self
            .packages
            .set(&interpreter, &call.packages, call.edition);
        Ok(Some(set.await?))
    }

    pub(crate) async fn start(
        &self,
        call: &Call,
        packages: Option<PathBuf>,
    ) -> Result<Running, SandboxError> {
        let interpreter = self.interpreter(call.language).await?;
        #[cfg(target_os = "linux")]
        if call.language == Language::Python
            && call.grants == Grants::default()
            && let Some(zygote) = self.zygote(&interpreter).await
            && (packages.is_none() || zygote.has_packages())
        {
            return fork(&zygote, call, packages.as_deref()).await;
        }
        if call.grants != Grants::default() {
            return self.start_opened(&interpreter, call, packages).await;
        }
        let limits = process_limits(call.language, &call.limits);
        self.start_waiting(
            &interpreter,
            (call.language.interpreter(), limits, packages),
        )
    }

    /// An interpreter for a call with grants.
    async fn start_opened(
        &self,
        interpreter: &Interpreter,
        call: &Call,
        packages: Option<PathBuf>,
    ) -> Result<Running, SandboxError> {
        let limits = process_limits(call.language, &call.limits);
        let mut opened = Opened {
            folders: opened(&call.grants)?,
            packages,
            sockets: Sockets::None,
        };
        if call.grants.hosts.is_empty() {
            return self.start_kept(interpreter, limits, opened);
        }
        #[cfg(target_os = "linux")]
        {
            opened.sockets = Sockets::Proxy;
            opened.folders.extend(network::certificates());
            let mut running = self.start_kept(interpreter, limits, opened)?;
            let rules = Rules::new(call.grants.hosts.clone(), self.settings.may_reach);
            running.proxy = Some(network::accept(&mut running.channel, rules).await?);
            Ok(running)
        }
        #[cfg(not(target_os = "linux"))]
        self.start_kept(interpreter, limits, opened)
    }

    /// An interpreter that waits already where there is one.
    fn start_waiting(
        &self,
        interpreter: &Interpreter,
        kind: Kind,
    ) -> Result<Running, SandboxError> {
        let (ready, place) = self.pool.take(&kind);
        let mut running = match ready {
            Some(running) => running,
            None => self.start_of(interpreter, &kind)?,
        };
        running.place = Some(place);
        Ok(running)
    }

    fn start_of(&self, interpreter: &Interpreter, kind: &Kind) -> Result<Running, SandboxError> {
        let opened = Opened {
            folders: Vec::new(),
            packages: kind.2.clone(),
            sockets: Sockets::None,
        };
        self.start_kept(interpreter, kind.1, opened)
    }

    /// Keeps interpreters ready for calls to come, until none came for a while. One such task is enough.
    pub(crate) async fn keep_ready(&self) {
        while let Some(task) = self.pool.next().await {
            let Ok(interpreter) = self.interpreter(task.0).await else {
                return self.pool.stop();
            };
            match self.start_of(&interpreter, &task) {
                Ok(running) => self.pool.put(task, running),
                Err(_) => return self.pool.stop(),
            }
        }
    }

    /// Asked once; an interpreter that is not there is looked for again.
    async fn interpreter(&self, language: Language) -> Result<Interpreter, SandboxError> {
        if let Some(known) = self.interpreters.lock().get(&language) {
            return Ok(known.clone());
        }
        let named = match language {
            Language::Python => self.settings.python.clone(),
            Language::JavaScript | Language::TypeScript => self.settings.node.clone(),
        };
        #[cfg(target_os = "linux")]
        let is_for_others = super::reach::is_needed(self.active.namespaces);
        #[cfg(not(target_os = "linux"))]
        let is_for_others = false;
        let find = move || Interpreter::find(language, named.as_deref(), is_for_others);
        let found = tokio::task::spawn_blocking(find)
            .await
            .map_err(start_error("interpreter"))??;
        self.interpreters.lock().insert(language, found.clone());
        Ok(found)
    }

    /// The warm interpreter, started anew if it ended or the folder of packages was deleted. None where its forks can't be
    /// closed in, or when it does not start: then every call has an interpreter of its own, which takes longer and is as safe.
    #[cfg(target_os = "linux")]
    async fn zygote(&self, interpreter: &Interpreter) -> Option<Arc<Zygote>> {
        if self.settings.warm == Warm::No || !self.active.namespaces || !self.active.seccomp {
            return None;
        }
        let mut warm = self.warm.lock().await;
        match &*warm {
            Warmth::Never => return None,
            Warmth::Warm(zygote) if zygote.lives() && zygote.is_current() => {
                return Some(Arc::clone(zygote));
            }
            Warmth::Warm(_) | Warmth::Cold => {}
        }
        let plan = Plan {
            layers: self.active,
            folders: interpreter.folders(),
            packages: self.packages.folder(),
            sockets: Sockets::None,
            scratch: None,
            user: user(),
            limits: process_limits(Language::Python, &Limits::default()),
            start: Start::Zygote,
            command: python(interpreter, &format!("{RUNNER}{ZYGOTE}")),
        };
        match Zygote::start(&self.settings.program, &plan).await {
            Ok(zygote) => {
                let zygote = Arc::new(zygote);
                *warm = Warmth::Warm(Arc::clone(&zygote));
                Some(zygote)
            }
            Err(error) => {
                tracing::warn!(
                    "no interpreter is kept warm, calls of Python tools take longer: {error}"
                );
                *warm = Warmth::Never;
                None
            }
        }
    }

    /// Where a call sees its packages.
    fn seen(&self, packages: PathBuf) -> PathBuf {
        if self.active.namespaces {
            PACKAGES.into()
        } else {
            packages
        }
    }

    fn start_kept(
        &self,
        interpreter: &Interpreter,
        limits: ProcessLimits,
        opened: Opened,
    ) -> Result<Running, SandboxError> {
        let mut folders = interpreter.folders();
        folders.extend(opened.folders);
        let scratch = if self.active.namespaces {
            None
        } else {
            Some(scratch_in(&self.settings.scratch).map_err(start_error("scratch folder"))?)
        };
        let plan = Plan {
            layers: self.active,
            folders,
            packages: opened.packages.clone(),
            sockets: opened.sockets,
            scratch: scratch.as_ref().map(|folder| folder.path().to_owned()),
            user: user(),
            limits,
            start: Start::Call,
            command: command(interpreter),
        };
        let (channel, theirs) = channel()?;
        let (stdout, out) = output()?;
        let (stderr, err) = output()?;
        let child = keeper(&self.settings.program, &plan)?
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(out))
            .stderr(Stdio::from(err))
            .spawn()
            .map_err(start_error("process"))?;
        Ok(Running {
            channel,
            stdout,
            stderr,
            process: Process::Kept(child),
            packages: opened.packages.map(|path| self.seen(path)),
            #[cfg(target_os = "linux")]
            proxy: None,
            scratch,
            place: None,
        })
    }
}

#[cfg(target_os = "linux")]
async fn fork(
    zygote: &Zygote,
    call: &Call,
    packages: Option<&Path>,
) -> Result<Running, SandboxError> {
    let (channel, theirs) = channel()?;
    let (stdout, out) = output()?;
    let (stderr, err) = output()?;
    let limits = process_limits(call.language, &call.limits);
    let name = packages.and_then(Path::file_name).and_then(OsStr::to_str);
    let fork = zygote.fork(&limits, name, [theirs, out, err]).await?;
    Ok(Running {
        channel,
        stdout,
        stderr,
        process: Process::Forked(fork),
        packages: name.map(|_| PACKAGES.into()),
        proxy: None,
        scratch: None,
        place: None,
    })
}

/// A folder for the files of one call, closed to all other users.
fn scratch_in(folder: &Path) -> std::io::Result<tempfile::TempDir> {
    // Somebody may have emptied the folder of caches.
    make_open(folder)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.prefix("call-").tempdir_in(folder)
}

/// A keeper with this plan. It sees nothing of the server's environment.
pub(crate) fn keeper(program: &Path, plan: &Plan) -> Result<Command, SandboxError> {
    let text = serde_json::to_string(plan).map_err(start_error("plan"))?;
    let mut command = Command::new(program);
    command
        .args([CHILD_COMMAND, &text])
        .env_clear()
        .current_dir("/");
    Ok(command)
}

/// Both ends of a call's channel.
pub(crate) fn channel() -> Result<(UnixStream, OwnedFd), SandboxError> {
    let (ours, theirs) = StdStream::pair().map_err(start_error("channel"))?;
    ours.set_nonblocking(true).map_err(start_error("channel"))?;
    let ours = UnixStream::from_std(ours).map_err(start_error("channel"))?;
    Ok((ours, theirs.into()))
}

/// Both ends of an output.
pub(crate) fn output() -> Result<(pipe::Receiver, OwnedFd), SandboxError> {
    let (ours, theirs): (PipeReader, _) = std::io::pipe().map_err(start_error("pipe"))?;
    let ours = pipe::Receiver::from_owned_fd(ours.into()).map_err(start_error("pipe"))?;
    Ok((ours, theirs.into()))
}

fn opened(grants: &Grants) -> Result<Vec<Folder>, SandboxError> {
    grants
        .folders
        .iter()
        .map(|grant| {
            Ok(Folder {
                path: granted(&grant.path)?,
                writable: grant.access == Access::Write,
            })
        })
        .collect()
}

/// The part of the limits that the kernel keeps per process; those of the whole tree are watched by the server.
pub(crate) fn process_limits(language: Language, limits: &Limits) -> ProcessLimits {
    ProcessLimits {
        // Node reserves many times what it uses.
        address_space: (language == Language::Python).then_some(limits.memory),
        data: limits.memory,
        processor_seconds: limits.processor.as_secs().max(1),
        processes: limits.processes,
        scratch_bytes: limits.scratch,
    }
}

const RUNNER: &str = concat!(
    include_str!("python/runner.py"),
    include_str!("python/door.py")
);
// In a function of its own, for its names are not the tool's: `const fs = require("fs")` is how many begin.
const NODE: &str = concat!("(() => {\n", include_str!("node/runner.cjs"), "})();");
const ONCE: &str = include_str!("python/once.py");

#[cfg(target_os = "linux")]
const ZYGOTE: &str = include_str!("python/zygote.py");

fn command(interpreter: &Interpreter) -> Vec<String> {
    match interpreter.language {
        Language::Python => python(interpreter, &format!("{RUNNER}{ONCE}")),
        Language::JavaScript | Language::TypeScript => {
            let program = interpreter.program.display().to_string();
            let arguments = [
                "--experimental-vm-modules",
                "--no-warnings",
                // The system's settings can't be read by tools, and Node ends where they are there and closed.
                "--openssl-config=/dev/null",
                "-e",
                NODE,
            ];
            [program]
                .into_iter()
                .chain(arguments.map(str::to_owned))
                .collect()
        }
    }
}

/// Python that sees no variables, no folders of users or sites, and writes nothing beside the sources it reads.
fn python(interpreter: &Interpreter, source: &str) -> Vec<String> {
    let program = interpreter.program.display().to_string();
    let arguments = ["-I", "-S", "-B", "-X", "utf8", "-c", source].map(str::to_owned);
    [program].into_iter().chain(arguments).collect()
}

/// Tries one layer alone. The reason why it can't be had is the error.
#[cfg(target_os = "linux")]
pub(crate) async fn probe(settings: &Settings, layer: Layer) -> Result<(), String> {
    let plan = Plan {
        layers: Active {
            namespaces: layer == Layer::Namespaces,
            landlock: layer == Layer::Landlock,
            seccomp: layer == Layer::Seccomp,
        },
        folders: Vec::new(),
        packages: None,
        sockets: Sockets::None,
        scratch: None,
        user: user(),
        limits: process_limits(Language::Python, &Limits::default()),
        start: if layer == Layer::Namespaces {
            Start::Call
        } else {
            Start::Enter
        },
        command: Vec::new(),
    };
    let asked = async {
        let (mut channel, theirs) = channel().map_err(|error| error.to_string())?;
        let mut child = keeper(&settings.program, &plan)
            .map_err(|error| error.to_string())?
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        let frame = super::call::read_frame(&mut channel, 1 << 16).await;
        let reason = frame.ok().and_then(|bytes| super::call::refused(&bytes));
        Err(reason.unwrap_or_else(|| format!("the try ended with {status}")))
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), asked)
        .await
        .unwrap_or_else(|_| Err("the try did not end".to_owned()))
}
