//! Which system calls a tool may make. What is not named does not exist for it (ENOSYS), so that calls of newer kernels
//! are closed as well; well-known ones that it has no right to answer EPERM, which says more.

use std::collections::BTreeMap;

use libc::{c_long, *};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::plan::{Plan, Sockets, Start};

/// The filters of a process, in the order in which they are installed.
pub(crate) struct Filters {
    /// What exists. The warm interpreter has it around itself, so that a fork need not install it: that takes the kernel
    /// longer than anything else in closing a fork in.
    pub allowed: BpfProgram,
    /// What is refused. It wins where both refuse.
    pub refused: BpfProgram,
    /// What answers that it was done, and is not. None where it may be done.
    pub ignored: Option<BpfProgram>,
}

/// The filters for what a keeper starts.
pub(crate) fn filters(plan: &Plan) -> Result<Filters, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut existing = allowed()?;
    let mut forbidden = refused()?;
    if plan.sockets == Sockets::Proxy {
        open_streams(&mut existing, &mut forbidden)?;
    }
    if plan.start == Start::Zygote {
        existing.extend(CLOSING.iter().map(|call| (*call, Vec::new())));
    }
    let is_shared = !plan.layers.namespaces;
    if is_shared {
        forbidden.extend(of_others()?);
    }
    let allowed = SeccompFilter::new(
        existing,
        SeccompAction::Errno(ENOSYS.unsigned_abs()),
        SeccompAction::Allow,
        arch,
    )?;
    let refused = SeccompFilter::new(
        forbidden,
        SeccompAction::Allow,
        SeccompAction::Errno(EPERM.unsigned_abs()),
        arch,
    )?;
    let ignored = || {
        let rules = MODES.iter().chain(OLD_MODES);
        let rules = rules.map(|call| (*call, Vec::new())).collect();
        let done = SeccompAction::Errno(0);
        SeccompFilter::new(rules, SeccompAction::Allow, done, arch)?.try_into()
    };
    Ok(Filters {
        allowed: allowed.try_into()?,
        refused: refused.try_into()?,
        ignored: is_shared.then(ignored).transpose()?,
    })
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// TCP sockets that connect. Where they lead is the network namespace's matter, which holds nothing but a loopback.
fn open_streams(allowed: &mut Rules, refused: &mut Rules) -> Result<(), BackendError> {
    let (inet, stream) = (AF_INET.unsigned_abs(), SOCK_STREAM.unsigned_abs());
    let tcp = [0, IPPROTO_TCP.unsigned_abs()].map(|protocol| {
        SeccompRule::new(vec![
            condition(0, SeccompCmpOp::Eq, inet.into())?,
            condition(1, SeccompCmpOp::MaskedEq(0xf), stream.into())?,
            condition(2, SeccompCmpOp::Eq, protocol.into())?,
        ])
    });
    allowed.insert(SYS_socket, tcp.into_iter().collect::<Result<_, _>>()?);
    allowed.insert(SYS_connect, Vec::new());
    refused.insert(SYS_socket, vec![when(0, SeccompCmpOp::Ne, inet.into())?]);
    refused.remove(&SYS_connect);
    Ok(())
}

fn refused() -> Result<Rules, BackendError> {
    let plain = REFUSED.iter().chain(CLOSING);
    let mut rules: Rules = plain.map(|call| (*call, Vec::new())).collect();
    let names = [
        PR_SET_NAME,
        PR_GET_NAME,
        PR_GET_DUMPABLE,
        PR_CAPBSET_READ,
        PR_SET_VMA,
        PR_SET_NO_NEW_PRIVS,
    ];
    let others = names
        .iter()
        .map(|name| condition(0, SeccompCmpOp::Ne, name.unsigned_abs().into()))
        .collect::<Result<_, _>>()?;
    rules.insert(SYS_prctl, vec![SeccompRule::new(others)?]);
    Ok(rules)
}

/// What changes other processes of the same user, and who owns files anywhere. Where a tool has no process numbers and no
/// files of its own, nothing else keeps it from that: Landlock has no rules for either.
fn of_others() -> Result<Rules, BackendError> {
    let (own, process) = (0, PRIO_PROCESS.into());
    let mut rules: Rules = OWNERS.iter().map(|call| (*call, Vec::new())).collect();
    let another = when(0, SeccompCmpOp::Ne, own)?;
    rules.insert(SYS_prlimit64, vec![another.clone()]);
    rules.insert(SYS_sched_setaffinity, vec![another]);
    let several = when(0, SeccompCmpOp::Ne, process)?;
    let another = when(1, SeccompCmpOp::Ne, own)?;
    rules.insert(SYS_setpriority, vec![several, another]);
    Ok(rules)
}

/// The programs as the kernel reads them, for a process that is not ours.
pub(crate) fn to_bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for step in program {
        bytes.extend_from_slice(&step.code.to_ne_bytes());
        bytes.extend_from_slice(&[step.jt, step.jf]);
        bytes.extend_from_slice(&step.k.to_ne_bytes());
    }
    bytes
}

fn allowed() -> Result<Rules, BackendError> {
    let plain = ALLOWED.iter().chain(OLD);
    let mut rules: Rules = plain.map(|call| (*call, Vec::new())).collect();
    // Threads and processes, but no namespaces. The flags of clone3 can't be read by a filter: it is not allowed, and
    // the C library falls back to clone.
    let namespaces = u64::from(
        (CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET).unsigned_abs()
            | (CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP).unsigned_abs(),
    );
    rules.insert(
        SYS_clone,
        vec![when(0, SeccompCmpOp::MaskedEq(namespaces), 0)?],
    );
    // Pairs of connected streams, which asyncio wakes itself with. Datagram sockets could be pointed elsewhere.
    let stream = SeccompRule::new(vec![
        condition(0, SeccompCmpOp::Eq, AF_UNIX.unsigned_abs().into())?,
        condition(
            1,
            SeccompCmpOp::MaskedEq(0xf),
            SOCK_STREAM.unsigned_abs().into(),
        )?,
    ])?;
    rules.insert(SYS_socketpair, vec![stream]);
    let terminals = [
        TCGETS, TIOCGWINSZ, TIOCGPGRP, FIONBIO, FIONREAD, FIOCLEX, FIONCLEX,
    ];
    rules.insert(SYS_ioctl, any_of(1, terminals)?);
    // Only to ask.
    rules.insert(
        SYS_personality,
        vec![when(0, SeccompCmpOp::Eq, 0xffff_ffff)?],
    );
    Ok(rules)
}

fn any_of<const N: usize>(
    argument: u8,
    values: [u64; N],
) -> Result<Vec<SeccompRule>, BackendError> {
    values
        .into_iter()
        .map(|value| when(argument, SeccompCmpOp::Eq, value))
        .collect()
}

fn when(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition(argument, operator, value)?])
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

const ALLOWED: &[c_long] = &[
    // Files that are open, or that the other layers let it open.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_openat,
    SYS_openat2,
    SYS_close,
    SYS_close_range,
    SYS_lseek,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_getdents64,
    SYS_readlinkat,
    SYS_getcwd,
    SYS_chdir,
    SYS_fchdir,
    SYS_mkdirat,
    SYS_unlinkat,
    SYS_renameat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_ftruncate,
    SYS_truncate,
    SYS_fallocate,
    SYS_utimensat,
    SYS_umask,
    SYS_flock,
    SYS_fsync,
    SYS_fdatasync,
    SYS_sync_file_range,
    SYS_fadvise64,
    SYS_copy_file_range,
    SYS_sendfile,
    SYS_splice,
    SYS_tee,
    SYS_fcntl,
    SYS_dup,
    SYS_dup3,
    SYS_pipe2,
    SYS_getxattr,
    SYS_lgetxattr,
    SYS_fgetxattr,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_flistxattr,
    // Waiting.
    SYS_ppoll,
    SYS_pselect6,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_signalfd4,
    // Streams that were handed in or made as a pair.
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_shutdown,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_getsockname,
    SYS_getpeername,
    // Memory.
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_msync,
    SYS_mincore,
    SYS_brk,
    SYS_membarrier,
    SYS_mlock,
    SYS_munlock,
    SYS_pkey_alloc,
    SYS_pkey_free,
    SYS_pkey_mprotect,
    // Threads, processes and signals among themselves.
    SYS_execve,
    SYS_execveat,
    SYS_exit,
    SYS_exit_group,
    SYS_wait4,
    SYS_waitid,
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_rt_sigsuspend,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_futex,
    SYS_futex_waitv,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_set_tid_address,
    SYS_rseq,
    SYS_gettid,
    SYS_getpid,
    SYS_getppid,
    SYS_getpgid,
    SYS_setpgid,
    SYS_getsid,
    SYS_setsid,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
    SYS_sched_rr_get_interval,
    SYS_getpriority,
    SYS_setpriority,
    SYS_ioprio_get,
    SYS_prlimit64,
    SYS_getrusage,
    SYS_times,
    SYS_getcpu,
    // The second filter.
    SYS_seccomp,
    SYS_prctl,
    // Who and when.
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getresuid,
    SYS_getresgid,
    SYS_getgroups,
    SYS_capget,
    SYS_uname,
    SYS_sysinfo,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_getrandom,
    SYS_getitimer,
    SYS_setitimer,
    SYS_timer_create,
    SYS_timer_settime,
    SYS_timer_gettime,
    SYS_timer_getoverrun,
    SYS_timer_delete,
];

/// What only older instruction sets have.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[
    SYS_open,
    SYS_creat,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_mkdir,
    SYS_rmdir,
    SYS_unlink,
    SYS_rename,
    SYS_link,
    SYS_symlink,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
    SYS_utime,
    SYS_utimes,
    SYS_futimesat,
    SYS_getdents,
    SYS_dup2,
    SYS_pipe,
    SYS_poll,
    SYS_select,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_signalfd,
    SYS_fork,
    SYS_vfork,
    SYS_getpgrp,
    SYS_getrlimit,
    SYS_setrlimit,
    SYS_alarm,
    SYS_pause,
    SYS_time,
    SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// What a fork of the warm interpreter closes itself in with, and can't do afterwards.
const CLOSING: &[c_long] = &[
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_capset,
    SYS_landlock_restrict_self,
];

/// What changes modes and times of files, by their names wherever they are. Where nothing but Landlock keeps files apart
/// these do nothing and say that they did, as on file systems that have neither: programs that copy files end otherwise.
const MODES: &[c_long] = &[SYS_fchmod, SYS_fchmodat, SYS_utimensat];
#[cfg(target_arch = "x86_64")]
const OLD_MODES: &[c_long] = &[SYS_chmod, SYS_utime, SYS_utimes, SYS_futimesat];
#[cfg(not(target_arch = "x86_64"))]
const OLD_MODES: &[c_long] = &[];

#[cfg(target_arch = "x86_64")]
const OWNERS: &[c_long] = &[SYS_fchown, SYS_fchownat, SYS_chown, SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const OWNERS: &[c_long] = &[SYS_fchown, SYS_fchownat];

const REFUSED: &[c_long] = &[
    SYS_socket,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_pidfd_getfd,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_mknodat,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_memfd_create,
    SYS_shmget,
    SYS_shmat,
    SYS_msgget,
    SYS_semget,
    SYS_mq_open,
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setgroups,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_reboot,
    SYS_kexec_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_fanotify_init,
    SYS_quotactl,
    SYS_syslog,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsmount,
    SYS_mount_setattr,
];
