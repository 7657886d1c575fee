//! The warm interpreter: it has imported what tools usually need, and every call is a fork of it. It never runs a
//! tool itself, and never sees what a call is given: the fork reads that from the call's own channel.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{fs::MetadataExt as _, net::UnixStream as StdStream},
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::{
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
        SocketType,
    },
    process::Signal,
};
use serde::Deserialize;
use tokio::{
    io::Interest, net::UnixStream, process::Child, sync::oneshot, task::JoinHandle, time::timeout,
};

use super::{
    SandboxError, handing,
    launch::{keeper, start_error},
    plan::{NOTHING, PACKAGES, Plan, ProcessLimits},
    root,
};

/// How long the interpreter may take to become warm, or to fork.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the interpreter says.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    ready: bool,
    call: Option<u64>,
    status: Option<i32>,
    failed: Option<String>,
}

/// Who waits for a call's fork, and for its end.
#[derive(Debug)]
struct Waiting {
    fork: Option<oneshot::Sender<Result<OwnedFd, String>>>,
    end: oneshot::Sender<i32>,
}

type Calls = Arc<Mutex<HashMap<u64, Waiting>>>;

/// A warm interpreter. When it is dropped, its keeper ends it with all its forks.
#[derive(Debug)]
pub(crate) struct Zygote {
    control: Arc<UnixStream>,
    calls: Calls,
    next: AtomicU64,
    listener: JoinHandle<()>,
    /// The folder of all sets of packages, if it sees them; each fork sees its own set. It is open, so that no other
    /// folder gets its number.
    packages: Option<(PathBuf, File)>,
    _keeper: Child,
}

impl Zygote {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(program: &Path, plan: &Plan) -> Result<Self, SandboxError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Packets, so that descriptors and words stay together, and the end of either side shows.
        let packets = SocketType::SEQPACKET;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, packets, flags, None)
            .map_err(start_error("channel"))?;
        rustix::io::ioctl_fionbio(&theirs, false).map_err(start_error("channel"))?;
        let keeper = keeper(program, plan)?
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(start_error("process"))?;
        // To the runtime it is a socket like others; what is sent and received is this module's own.
        let ours = UnixStream::from_std(StdStream::from(ours)).map_err(start_error("channel"))?;
        let control = Arc::new(ours);
        let said = timeout(PATIENCE, hear(&control))
            .await
            .map_err(start_error("warm interpreter"))?
            .map_err(start_error("warm interpreter"))?;
        if !said.0.ready {
            let reason = said
                .0
                .failed
                .unwrap_or_else(|| "it did not begin".to_owned());
            return Err(start_error("warm interpreter")(reason));
        }
        let packages = plan.packages.clone();
        let packages = packages.map(|path| File::open(&path).map(|open| (path, open)));
        let packages = packages.transpose().map_err(start_error("packages"))?;
        let calls = Calls::default();
        let listener = tokio::spawn(listen(Arc::clone(&control), Arc::clone(&calls)));
        Ok(Self {
            control,
            calls,
            next: AtomicU64::new(0),
            listener,
            packages,
            _keeper: keeper,
        })
    }

    /// Whether it still answers.
    pub(crate) fn lives(&self) -> bool {
        !self.listener.is_finished()
    }

    /// Whether forks can have packages.
    pub(crate) fn has_packages(&self) -> bool {
        self.packages.is_some()
    }

    /// Whether the folder of all sets is still the one that it sees. Over one that was deleted nothing can be laid.
    pub(crate) fn is_current(&self) -> bool {
        let Some((path, seen)) = &self.packages else {
            return true;
        };
        matches!(
            (seen.metadata(), std::fs::metadata(path)),
            (Ok(seen), Ok(now)) if (seen.dev(), seen.ino()) == (now.dev(), now.ino())
        )
    }

    /// A fork for one call, which sees one set of packages by its name, or none. It closes itself in and then reads
    /// its request from the first of what is handed to it: channel, stdout and stderr.
    pub(crate) async fn fork(
        &self,
        limits: &ProcessLimits,
        packages: Option<&str>,
        handed: [OwnedFd; 3],
    ) -> Result<Fork, SandboxError> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (fork, forked) = oneshot::channel();
        let (end, status) = oneshot::channel();
        let waiting = Waiting {
            fork: Some(fork),
            end,
        };
        self.calls.lock().insert(call, waiting);
        let text = serde_json::json!({
            "call": call,
            "packages": self.packages.as_ref().map(|_| match packages {
                Some(name) => format!("{PACKAGES}/{name}"),
                None => NOTHING.to_owned(),
            }),
            "limits": {
                "scratch_options": root::scratch_options(limits.scratch_bytes),
                "resources": limits.resources(),
            },
        })
        .to_string();
        let sent = self
            .control
            .async_io(Interest::WRITABLE, || {
                say(self.control.as_fd(), text.as_bytes(), &handed)
            })
            .await;
        drop(handed);
        if let Err(error) = sent {
            self.calls.lock().remove(&call);
            return Err(start_error("warm interpreter")(error));
        }
        let pidfd = timeout(PATIENCE, forked)
            .await
            .map_err(start_error("warm interpreter"))?
            .map_err(|_| SandboxError::Start("the warm interpreter ended".to_owned()))?
            .map_err(start_error("warm interpreter"))?;
        Ok(Fork {
            process: process_of(&pidfd),
            pidfd,
            status,
        })
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// A call's process, which is the first of its process namespace: with it everything ends that it started.
#[derive(Debug)]
pub(crate) struct Fork {
    process: Option<u32>,
    pidfd: OwnedFd,
    status: oneshot::Receiver<i32>,
}

impl Fork {
    pub(crate) fn process(&self) -> Option<u32> {
        self.process
    }

    pub(crate) fn kill(&self) {
        // It may have ended: then there is nothing to do.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    pub(crate) async fn wait(&mut self) -> String {
        match (&mut self.status).await {
            Ok(status) if status < 0 => format!("signal {}", -status),
            Ok(status) => format!("exit code {status}"),
            Err(_) => "the warm interpreter ended".to_owned(),
        }
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The number of a process as this process sees it.
fn process_of(pidfd: &OwnedFd) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok()
}

/// Passes on what the interpreter says until it ends.
async fn listen(control: Arc<UnixStream>, calls: Calls) {
    while let Ok((said, pidfd)) = hear(&control).await {
        let Some(call) = said.call else { continue };
        let mut calls = calls.lock();
        if let Some(status) = said.status {
            if let Some(waiting) = calls.remove(&call) {
                let _ = waiting.end.send(status);
            }
            continue;
        }
        let Some(fork) = calls.get_mut(&call).and_then(|waiting| waiting.fork.take()) else {
            continue;
        };
        let result = pidfd.ok_or_else(|| said.failed.unwrap_or_default());
        if result.is_err() {
            calls.remove(&call);
        }
        // A caller that is gone meanwhile: the fork must go as well.
        if let Err(Ok(pidfd)) = fork.send(result) {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
    calls.lock().clear();
}

fn say(control: BorrowedFd<'_>, text: &[u8], handed: &[OwnedFd; 3]) -> io::Result<()> {
    let descriptors = handed.each_ref().map(|one| one.as_fd());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut extra = SendAncillaryBuffer::new(&mut space);
    if !extra.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("the descriptors do not fit"));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(control, &[IoSlice::new(text)], &mut extra, flags)?;
    Ok(())
}

async fn hear(control: &UnixStream) -> io::Result<(Said, Option<OwnedFd>)> {
    let mut text = [0; 4096];
    let (bytes, pidfd) = handing::receive(control, &mut text).await?;
    let text = text.get(..bytes).unwrap_or_default();
    if text.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((read(text)?, pidfd))
}

/// A keeper that could not close itself in says so in a frame, as it would to a call.
fn read(text: &[u8]) -> io::Result<Said> {
    if text.first() == Some(&b'{') {
        return serde_json::from_slice(text).map_err(io::Error::other);
    }
    let failed = text.get(4..).and_then(super::call::refused);
    Ok(Said {
        failed,
        ..Said::default()
    })
}
