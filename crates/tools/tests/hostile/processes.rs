//! Other processes, the kernel, and what a tool leaves behind.

use std::time::Duration;

use mnemic_tools::sandbox::Stop;
use serde_json::json;

use crate::{
    all_is_well, attempts, nothing_works,
    place::{places, run, value},
    processes_named, stopped,
};

const DAEMON: &str = r#"
def leave_behind(mark):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    LIBC.prctl(15, mark, 0, 0, 0)
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    os.closerange(0, 64)
    while True:
        time.sleep(1)
"#;

#[tokio::test]
async fn nothing_that_a_tool_left_behind_outlives_its_call() {
    let body = format!(
        "{DAEMON}\ndef tool():\n    leave_behind(b'hostile-left')\n    time.sleep(0.2)\n    return 'gone'\n"
    );
    for (name, sandbox) in places().await {
        assert_eq!(
            value(&sandbox, attempts(&body)).await,
            json!("gone"),
            "{name}"
        );
        assert_eq!(
            processes_named("hostile-left"),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_tool_that_ignores_signals_is_ended_with_its_daemons() {
    let body = format!(
        "{DAEMON}\ndef tool():\n    leave_behind(b'hostile-deaf')\n    for number in range(1, 65):\n        try:\n            signal.signal(number, signal.SIG_IGN)\n        except (OSError, ValueError):\n            pass\n    while True:\n        time.sleep(1)\n"
    );
    for (name, sandbox) in places().await {
        let mut call = attempts(&body);
        call.limits.time = Duration::from_millis(700);
        let outcome = run(&sandbox, call).await;
        assert_eq!(
            stopped(name, &outcome),
            Stop::Time(Duration::from_millis(700)),
            "{name}"
        );
        assert_eq!(
            processes_named("hostile-deaf"),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_is_ended_with_its_daemons() {
    let body = format!(
        "{DAEMON}\ndef tool():\n    LIBC.prctl(15, b'hostile-call', 0, 0, 0)\n    leave_behind(b'hostile-call')\n    time.sleep(600)\n"
    );
    for (name, sandbox) in places().await {
        let call = attempts(&body);
        let task = tokio::spawn({
            let sandbox = sandbox.clone();
            async move { sandbox.run(call).await.map(drop) }
        });
        let seen = |count: usize| async move {
            while (processes_named("hostile-call").len() >= 2) != (count >= 2) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, seen(2))
            .await
            .unwrap_or_else(|_| panic!("{name}: it did not begin"));
        task.abort();
        let gone = async {
            while !processes_named("hostile-call").is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(limit, gone)
            .await
            .unwrap_or_else(|_| panic!("{name}: it lives on"));
        all_is_well(name, &sandbox).await;
    }
}

/// Whatever is written into the channel is at most taken for this tool's own result.

#[tokio::test]
async fn other_processes_can_not_be_traced_read_or_signalled() {
    let mut call = attempts(
        r#"
def tool(server: int):
    attempts = {
        "trace": lambda: syscall(101, 16, server, 0, 0),
        "read memory": lambda: syscall(310, server, 0, 0, 0, 0, 0),
        "write memory": lambda: syscall(311, server, 0, 0, 0, 0, 0),
        "steal descriptor": lambda: syscall(438, os.pidfd_open(server), 0, 0),
        "limits": lambda: __import__("resource").prlimit(server, 7, (1, 1)),
        "signal": lambda: os.kill(server, 0),
        "stop": lambda: os.kill(server, signal.SIGSTOP),
        "environment": lambda: read(f"/proc/{server}/environ"),
        "memory": lambda: read(f"/proc/{server}/mem"),
        "descriptors": lambda: os.listdir(f"/proc/{server}/fd"),
        "its root": lambda: os.listdir(f"/proc/{server}/root"),
        "parent": lambda: os.kill(os.getppid(), signal.SIGKILL) if os.getppid() > 1 else 1 / 0,
        "group": lambda: os.killpg(os.getpgid(server), signal.SIGKILL),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, server, 19),
        "schedule": lambda: os.sched_setaffinity(server, {0}),
    }
    return what_worked(attempts)
"#,
    );
    call.arguments
        .insert("server".into(), json!(std::process::id()));
    nothing_works(call).await;
}

#[tokio::test]
async fn killing_everything_kills_the_tool_alone() {
    for (name, sandbox) in places().await {
        for target in ["-1", "0", "-os.getpgrp()"] {
            let other = attempts("def tool():\n    time.sleep(0.3)\n    return 'alive'\n");
            let killer = attempts(&format!(
                "def tool():\n    os.kill({target}, signal.SIGKILL)\n    os.kill(os.getpid(), signal.SIGKILL)\n    time.sleep(0.2)\n    return 1\n"
            ));
            let (other, killed) = tokio::join!(value(&sandbox, other), run(&sandbox, killer));
            assert_eq!(other, json!("alive"), "{name}");
            assert!(killed.took < Duration::from_secs(5), "{name}: {killed:?}");
            all_is_well(name, &sandbox).await;
        }
    }
}

#[tokio::test]
async fn calls_of_the_kernel_that_change_the_machine_are_closed() {
    nothing_works(attempts(
        r#"
def tool():
    calls = {"unshare": (272, 0x10000000), "clone3": (435, ctypes.create_string_buffer(88), 88), "mount": (165, b"a", b"/tool", b"tmpfs", 0, 0),
             "umount": (166, b"/tool", 2), "setns": (308, 0, 0), "bpf": (321, 0, 0, 0), "perf": (298, 0, 0, -1, -1, 0),
             "userfault": (323, 0), "keys": (248, b"user", b"a", b"b", 1, -3), "keyring": (250, 0, -3, 1), "module": (175, 0, 0, b""),
             "reboot": (169, 0, 0, 0, 0), "host name": (170, b"x", 1), "chroot": (161, b"/"), "pivot": (155, b".", b"."),
             "open tree": (428, -100, b"/", 1), "quota": (179, 0, 0, 0, 0), "swap": (167, b"/", 0), "memory file": (319, b"x", 0),
             "clone": (56, 0x10000000 | 17, 0, 0, 0, 0), "own filter": (317, 1, 8, 0), "namespace clone": (56, 0x20000 | 17, 0, 0, 0, 0),
             "handles": (304, 0, 0, 0), "io port": (172, 3), "clock": (227, 0, ctypes.create_string_buffer(16))}
    attempts = {name: lambda call=call: syscall(*call) for name, call in calls.items()}
    attempts["type into terminal"] = lambda: __import__("fcntl").ioctl(0, 0x5412, b"x")
    return what_worked(attempts) if os.uname().machine == "x86_64" else {}
"#,
    ))
    .await;
}

#[tokio::test]
async fn two_calls_share_no_memory_messages_or_semaphores() {
    nothing_works(attempts(
        r#"
from multiprocessing import shared_memory
def tool():
    return what_worked({
        "shared memory": lambda: syscall(29, 4711, 4096, 0o1666),
        "messages": lambda: syscall(68, 4711, 0o1666),
        "semaphores": lambda: syscall(64, 4711, 1, 0o1666),
        "queue": lambda: syscall(240, b"/hostile", 0o102, 0o666, 0),
        "named memory": lambda: shared_memory.SharedMemory("hostile", True, 4096),
        "keys": lambda: syscall(249, b"user", b"hostile", 0, -5),
    }) if os.uname().machine == "x86_64" else {}
"#,
    ))
    .await;
}
