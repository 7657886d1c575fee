//! The keeper: the process between the server and an interpreter. It closes itself, starts the interpreter, and ends
//! it with everything it started as soon as the server lets go of the call, or is gone itself.

use std::{
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitCode},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rustix::{
    event::{PollFd, PollFlags},
    io::FdFlags,
    process::{Pid, PidfdFlags, Signal},
};

use super::{
    closing::{self, Failed, failed},
    network,
    plan::{CHILD_COMMAND, Plan, Sockets, Start},
    syscalls, tree,
};

/// What the program does when the server started it as [`CHILD_COMMAND`]: the argument is the plan, the standard input
/// the call's channel.
pub fn keep(argument: Option<&str>) -> ExitCode {
    let kept = argument
        .ok_or_else(|| Failed("the plan is missing: only the server starts this".into()))
        .and_then(|text| serde_json::from_str(text).map_err(failed("plan")))
        .and_then(|plan: Plan| run(&plan));
    match kept {
        Ok(code) => ExitCode::from(code),
        Err(Failed(reason)) => {
            let text = serde_json::json!({ "refused": reason }).to_string();
            let length = u32::try_from(text.len()).unwrap_or(0).to_le_bytes();
            let frame = [length.as_slice(), text.as_bytes()].concat();
            let _ = rustix::io::write(io::stdin(), &frame);
            ExitCode::from(125)
        }
    }
}

fn run(plan: &Plan) -> Result<u8, Failed> {
    close_inherited();
    if plan.start == Start::Enter {
        return enter(plan);
    }
    // Signals to the server's group are not for tools, and theirs not for it.
    rustix::process::setsid().map_err(failed("session"))?;
    // When memory is short, tools go before anything else.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    if plan.layers.namespaces {
        closing::leave(plan)?;
    } else {
        if rustix::process::geteuid().is_root() {
            own_scratch(plan)?;
            closing::become_user(plan.user)?;
        }
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own)).map_err(failed("subreaper"))?;
    }
    match plan.start {
        Start::Zygote => zygote(plan),
        _ if plan.layers.namespaces => {
            let proxy = match plan.sockets {
                Sockets::None => None,
                Sockets::Proxy => Some(network::offer(io::stdin().as_fd())?),
            };
            closing::limit(&plan.limits)?;
            closing::renounce()?;
            closing::seal(plan, proxy)?;
            if plan.command.is_empty() {
                return Ok(0);
            }
            watch(plan, command(plan).spawn().map_err(failed("interpreter"))?)
        }
        _ => {
            // The keeper itself must see the processes that it has to end.
            let inner = Plan {
                start: Start::Enter,
                ..plan.clone()
            };
            let text = serde_json::to_string(&inner).map_err(failed("plan"))?;
            // By this name, because the path may lead through folders of another user.
            let started = Command::new("/proc/self/exe")
                .args([CHILD_COMMAND, &text])
                .env_clear()
                .spawn();
            watch(plan, started.map_err(failed("interpreter"))?)
        }
    }
}

/// Closes this process in and becomes the interpreter, where a keeper outside has to see it.
fn enter(plan: &Plan) -> Result<u8, Failed> {
    let mut limits = plan.limits;
    if plan.user.is_none() {
        // The kernel counts all processes of the user, and this one has others.
        let user = rustix::process::geteuid().as_raw();
        limits.processes = limits.processes.saturating_add(tree::threads_of(user));
    }
    rustix::process::setsid().map_err(failed("session"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(failed("parent"))?;
    closing::limit(&limits)?;
    closing::renounce()?;
    closing::seal(plan, None)?;
    if plan.command.is_empty() {
        return Ok(0);
    }
    Err(failed("interpreter")(command(plan).exec()))
}

/// The server opens everything close-on-exec; should one of its libraries forget that, a tool must not profit.
fn close_inherited() {
    for number in 3..1024 {
        let _ = nix::unistd::close(number);
    }
}

fn own_scratch(plan: &Plan) -> Result<(), Failed> {
    match (&plan.scratch, plan.user) {
        (Some(path), Some(user)) => {
            std::os::unix::fs::chown(path, Some(user), Some(user)).map_err(failed("scratch"))
        }
        _ => Ok(()),
    }
}

fn command(plan: &Plan) -> Command {
    if plan.folders.iter().any(|folder| folder.writable) {
        // Each call may be another user; what one writes into a granted folder is there for the next to change.
        rustix::process::umask(rustix::fs::Mode::empty());
    }
    let mut parts = plan.command.iter();
    let mut command = Command::new(parts.next().map_or("", String::as_str));
    let scratch = plan.scratch_folder();
    command
        .args(parts)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        // Else the C library reserves address space for every thread, which is bounded.
        .env("MALLOC_ARENA_MAX", "2")
        .env("HOME", &scratch)
        .env("TMPDIR", &scratch);
    if plan.start != Start::Zygote {
        command.current_dir(scratch);
    }
    if plan.start != Start::Enter {
        // A group of its own: a signal to the group would reach the keeper.
        command.process_group(0);
    }
    command
}

/// Starts an interpreter that keeps its power over the namespaces made here, for closing each call's fork. It gets the
/// last layers as data: the rules as a descriptor, the filter of what is refused as bytes.
fn zygote(plan: &Plan) -> Result<u8, Failed> {
    let rules: Option<OwnedFd> = if plan.layers.landlock {
        closing::rules(plan, None)?.into()
    } else {
        None
    };
    let number = match &rules {
        Some(rules) => {
            rustix::io::fcntl_setfd(rules, FdFlags::empty()).map_err(failed("Landlock"))?;
            rules.as_raw_fd()
        }
        None => -1,
    };
    let filters = syscalls::filters(plan).map_err(failed("seccomp"))?;
    let mut command = command(plan);
    command
        .arg(number.to_string())
        .arg(BASE64.encode(syscalls::to_bytes(&filters.refused)));
    seccompiler::apply_filter(&filters.allowed).map_err(failed("seccomp"))?;
    watch(plan, command.spawn().map_err(failed("interpreter"))?)
}

/// Waits for the interpreter, or for the server to let go of the channel.
fn watch(plan: &Plan, mut child: Child) -> Result<u8, Failed> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = id.ok_or_else(|| Failed("interpreter: no process".into()))?;
    let exit = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(failed("pidfd"))?;
    let input = io::stdin();
    loop {
        let mut waited = [
            PollFd::new(&exit, PollFlags::IN),
            PollFd::from_borrowed_fd(input.as_fd(), PollFlags::empty()),
        ];
        match rustix::event::poll(&mut waited, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(failed("poll")(error)),
        }
        let [ended, let_go] = waited.map(|one| !one.revents().is_empty());
        if let_go {
            let _ = rustix::process::pidfd_send_signal(&exit, Signal::KILL);
        }
        if ended || let_go {
            break;
        }
    }
    let status = child.wait().map_err(failed("interpreter"))?;
    if !plan.layers.namespaces {
        // Never with a number that others use as well.
        let own_user = plan.user == Some(rustix::process::geteuid().as_raw());
        tree::end_all_below(own_user);
    }
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
}
