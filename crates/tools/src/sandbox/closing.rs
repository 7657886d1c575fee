//! The layers that a process with a single thread puts around itself, and so around everything it starts.

use std::{os::fd::OwnedFd, path::PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};
use nix::sched::CloneFlags;
use rustix::{
    fs::{Mode, OFlags},
    process::{DumpableBehavior, Resource, Rlimit},
    thread::{CapabilitySet, CapabilitySets, Gid, Uid},
};

use super::{
    plan::{Plan, ProcessLimits, SCRATCH_HOLDER, Start},
    root, syscalls,
};

/// A step of closing that failed, and why.
#[derive(Debug)]
pub(crate) struct Failed(pub String);

pub(crate) fn failed<E: std::fmt::Display>(step: &str) -> impl FnOnce(E) -> Failed + '_ {
    move |error| Failed(format!("{step}: {error}"))
}

/// The user that tools are when the server runs as root and no other number is at hand.
const NOBODY: u32 = 65534;

/// Namespaces, and a root of its own. The next process that it starts is the first of a process namespace.
pub(crate) fn leave(plan: &Plan) -> Result<(), Failed> {
    // The zygote stays master of its namespaces, to make the ones of calls.
    let inner = if plan.start == Start::Zygote { 0 } else { 1000 };
    if rustix::process::geteuid().is_root() {
        // As root, so that folders that only root can enter can be shown.
        nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(failed("mount namespace"))?;
        let proc = open_proc()?;
        root::build(plan)?;
        become_user(plan.user)?;
        own_namespaces(&proc, inner)?;
    } else {
        own_namespaces(&open_proc()?, inner)?;
        root::build(plan)?;
    }
    if plan.start != Start::Zygote {
        root::mount_scratch(plan.limits.scratch_bytes)?;
    }
    Ok(())
}

fn open_proc() -> Result<OwnedFd, Failed> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/proc", flags, Mode::empty()).map_err(failed("/proc"))
}

/// Outside, the processes belong to the server's user or to the one that root chose; inside to `inner`.
fn own_namespaces(proc: &OwnedFd, inner: u32) -> Result<(), Failed> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let all = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    nix::sched::unshare(all).map_err(failed("user namespace"))?;
    let own = std::process::id();
    let write = |name: &str, text: String| {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(proc, format!("{own}/{name}"), flags, Mode::empty())?;
        rustix::io::write(&file, text.as_bytes()).map(drop)
    };
    write("setgroups", "deny".into()).map_err(failed("setgroups"))?;
    write("uid_map", format!("{inner} {user} 1")).map_err(failed("uid_map"))?;
    write("gid_map", format!("{inner} {group} 1")).map_err(failed("gid_map"))
}

/// Gives up root for good. A number of its own keeps the processes of other calls out of reach; where such a number
/// does not exist (in some containers) it is nobody's.
pub(crate) fn become_user(user: Option<u32>) -> Result<(), Failed> {
    rustix::thread::set_thread_groups(&[]).map_err(failed("groups"))?;
    let become_one = |id: u32| {
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    };
    user.map_or(Err(rustix::io::Errno::INVAL), become_one)
        .or_else(|_| become_one(NOBODY))
        .map_err(failed("user"))?;
    // Changing users closed our own entries in /proc to us.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(failed("dumpable"))
}

/// The rules of Landlock: what can be read is what the plan shows, what can be written the scratch folder and grants. The
/// only port is the proxy's, where the kernel knows rules for ports.
pub(crate) fn rules(plan: &Plan, proxy: Option<u16>) -> Result<RulesetCreated, Failed> {
    // Of these, the kernel's part; what is needed at least is decided where layers are probed.
    let abi = ABI::V7;
    let all = AccessFs::from_all(abi);
    let read = AccessFs::from_read(abi);
    // Without a root of its own these rules are what closes files; and without a user of its own they are what keeps the
    // server from being signalled.
    let files = needed(plan.layers.namespaces);
    let signals = needed(plan.layers.namespaces || plan.user.is_some());
    let created = Ruleset::default()
        .set_compatibility(files)
        .handle_access(AccessFs::from_all(ABI::V3))
        .map(|set| set.set_compatibility(signals))
        .and_then(|set| set.scope(Scope::Signal))
        .map(|set| set.set_compatibility(CompatLevel::BestEffort))
        .and_then(|set| set.handle_access(all))
        .and_then(|set| set.handle_access(AccessNet::from_all(abi)))
        .and_then(|set| set.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .map_err(failed("Landlock"))?;
    let write = all & !(AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev);
    let mut opened = Vec::new();
    if plan.layers.namespaces {
        // This root holds nothing else.
        opened.push((PathBuf::from("/"), read));
        opened.push((PathBuf::from(SCRATCH_HOLDER), write));
    }
    if !plan.layers.namespaces {
        opened.extend(plan.packages.clone().map(|path| (path, read)));
    }
    for folder in &plan.folders {
        let access = if folder.writable { write } else { read };
        opened.push((folder.path.clone(), access));
    }
    for device in root::DEVICES {
        let access = AccessFs::ReadFile | AccessFs::WriteFile;
        opened.push((PathBuf::from(device), access));
    }
    opened.extend(plan.scratch.clone().map(|path| (path, write)));
    let connecting = proxy.map(|port| NetPort::new(port, AccessNet::ConnectTcp));
    let created = created.add_rules(connecting.into_iter().map(Ok::<_, landlock::RulesetError>));
    opened.into_iter().try_fold(
        created.map_err(failed("Landlock"))?,
        |set, (path, mut access)| {
            let fd = PathFd::new(&path).map_err(failed("Landlock"))?;
            if !path.is_dir() {
                access &= AccessFs::from_file(abi);
            }
            set.add_rule(PathBeneath::new(fd, access))
                .map_err(failed("Landlock"))
        },
    )
}

/// Rules that another layer stands in for may be missing.
fn needed(otherwise: bool) -> CompatLevel {
    if otherwise {
        CompatLevel::BestEffort
    } else {
        CompatLevel::HardRequirement
    }
}

/// Limits per process; the one of processes counts those of the user in this namespace.
pub(crate) fn limit(limits: &ProcessLimits) -> Result<(), Failed> {
    for (name, current, maximum) in limits.resources() {
        let resource = match name {
            "RLIMIT_AS" => Resource::As,
            "RLIMIT_DATA" => Resource::Data,
            "RLIMIT_CPU" => Resource::Cpu,
            "RLIMIT_NPROC" => Resource::Nproc,
            "RLIMIT_FSIZE" => Resource::Fsize,
            "RLIMIT_NOFILE" => Resource::Nofile,
            "RLIMIT_CORE" => Resource::Core,
            "RLIMIT_MEMLOCK" => Resource::Memlock,
            "RLIMIT_STACK" => Resource::Stack,
            _ => return Err(Failed(format!("{name}: no such limit"))),
        };
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(maximum),
        };
        rustix::process::setrlimit(resource, limit).map_err(failed(name))?;
    }
    Ok(())
}

/// No capability is left, not even inside, and no program can give one back.
pub(crate) fn renounce() -> Result<(), Failed> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).map_err(failed("capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(failed("no_new_privs"))
}

/// The last two layers, with the port of the call's proxy if it has one. What comes after must do with what they allow.
pub(crate) fn seal(plan: &Plan, proxy: Option<u16>) -> Result<(), Failed> {
    if plan.layers.landlock {
        let status = rules(plan, proxy)?
            .restrict_self()
            .map_err(failed("Landlock"))?;
        if status.ruleset == landlock::RulesetStatus::NotEnforced {
            return Err(Failed("Landlock: the kernel did not enforce it".into()));
        }
    }
    if plan.layers.seccomp {
        let filters = syscalls::filters(plan).map_err(failed("seccomp"))?;
        let certain = [&filters.allowed, &filters.refused];
        for filter in certain.into_iter().chain(&filters.ignored) {
            seccompiler::apply_filter(filter).map_err(failed("seccomp"))?;
        }
    }
    Ok(())
}
