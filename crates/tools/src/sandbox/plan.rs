//! What the server tells the process that closes itself and starts an interpreter.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a tool's own files are while it runs, in a file system of its own.
pub(crate) const SCRATCH: &str = "/tool/scratch";
/// The folder that holds [`SCRATCH`]; the rule that lets tools write names this one, so that it also holds for what is
/// mounted below it later.
pub(crate) const SCRATCH_HOLDER: &str = "/tool";

/// Where a call's packages are, in a file system of its own.
pub(crate) const PACKAGES: &str = "/packages";
/// An empty folder, which covers the packages of others.
#[cfg(target_os = "linux")]
pub(crate) const NOTHING: &str = "/nothing";

/// The word that makes the program the keeper of a sandbox in place of a server.
pub const CHILD_COMMAND: &str = "sandbox-child";

/// Everything that a keeper needs. Nothing of a call is in it: it can be seen in the list of processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// What the process closes.
    pub layers: Active,
    /// What can be read, and what else a grant opens.
    pub folders: Vec<Folder>,
    /// The folder of the call's packages; for a warm interpreter the one of all sets, of which each fork sees its own.
    pub packages: Option<PathBuf>,
    /// What sockets it may make.
    pub sockets: Sockets,
    /// The folder for the tool's files, when there is no file system of its own.
    pub scratch: Option<PathBuf>,
    /// The user to become, when the server runs as root.
    pub user: Option<u32>,
    /// Limits per process.
    pub limits: ProcessLimits,
    /// What runs in there.
    pub start: Start,
    /// Program and arguments.
    pub command: Vec<String>,
}

impl Plan {
    /// The tool's own folder, as it sees it.
    pub(crate) fn scratch_folder(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(|| SCRATCH.into())
    }
}

/// Layers that a keeper applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Active {
    pub namespaces: bool,
    pub landlock: bool,
    pub seccomp: bool,
}

/// Sockets that a tool may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sockets {
    /// None.
    None,
    /// Streams to the proxy on the loopback of its own network.
    Proxy,
}

/// What a keeper starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Start {
    /// An interpreter for one call.
    Call,
    /// A warm interpreter that is forked for every call and closes each fork.
    Zygote,
    /// The second half of `Call` where the process namespace does not end what a tool leaves behind.
    Enter,
}

/// A folder or file that can be seen inside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Folder {
    pub path: PathBuf,
    pub writable: bool,
}

/// Limits that the kernel keeps for each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessLimits {
    /// Bytes that a process may map; none for interpreters that reserve far more than they use.
    pub address_space: Option<u64>,
    /// Bytes of private memory.
    pub data: u64,
    /// Seconds on a processor.
    pub processor_seconds: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes of the tool's files.
    pub scratch_bytes: u64,
}

impl ProcessLimits {
    /// Soft and hard limits under the kernel's names.
    pub(crate) fn resources(&self) -> Vec<(&'static str, u64, u64)> {
        let mut all = vec![
            ("RLIMIT_DATA", self.data, self.data),
            (
                "RLIMIT_CPU",
                self.processor_seconds,
                self.processor_seconds + 1,
            ),
            ("RLIMIT_NPROC", self.processes, self.processes),
            ("RLIMIT_FSIZE", self.scratch_bytes, self.scratch_bytes),
            ("RLIMIT_NOFILE", 256, 256),
            ("RLIMIT_CORE", 0, 0),
            ("RLIMIT_MEMLOCK", 0, 0),
            ("RLIMIT_STACK", 8 << 20, 8 << 20),
        ];
        all.extend(self.address_space.map(|bytes| ("RLIMIT_AS", bytes, bytes)));
        all
    }
}
