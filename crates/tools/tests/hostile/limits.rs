//! Tools that use more than they may.

use std::time::Duration;

use mnemic_tools::sandbox::{Outcome, Status, Stop};

use crate::{
    all_is_well, attempts,
    place::{places, run},
    processes_named, stopped,
};

#[tokio::test]
async fn processes_are_counted_over_the_whole_tree() {
    let mut call = attempts(
        r#"
def tool():
    made = 0
    for _ in range(100):
        try:
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
            made += 1
        except OSError:
            break
    return made
"#,
    );
    call.limits.processes = 12;
    for (name, sandbox) in places().await {
        let made = match run(&sandbox, call.clone()).await {
            Outcome {
                status: Status::Returned,
                value,
                ..
            } => value.as_u64().expect("a number"),
            outcome => match stopped(name, &outcome) {
                Stop::Processes(12) => 0,
                other => panic!("{name}: {other}"),
            },
        };
        assert!(made <= 12, "{name}: {made}");
        all_is_well(name, &sandbox).await;
    }
}

#[tokio::test]
async fn a_fork_bomb_is_contained_and_ended() {
    let mut call = attempts(
        r#"
def tool():
    LIBC.prctl(15, b"hostile-forks", 0, 0, 0)
    while True:
        try:
            os.fork()
        except OSError:
            pass
"#,
    );
    call.limits.processes = 12;
    call.limits.time = Duration::from_millis(800);
    for (name, sandbox) in places().await {
        let outcome = run(&sandbox, call.clone()).await;
        stopped(name, &outcome);
        assert_eq!(
            processes_named("hostile-forks"),
            Vec::<String>::new(),
            "{name}"
        );
        assert!(
            outcome.took < Duration::from_secs(5),
            "{name}: {:?}",
            outcome.took
        );
        all_is_well(name, &sandbox).await;
    }
}

#[tokio::test]
async fn memory_is_limited_in_one_process_and_over_all_of_them() {
    let alone =
        "def tool():\n    kept = []\n    while True:\n        kept.append(bytearray(8 << 20))\n";
    let together = r#"
def tool():
    for _ in range(6):
        if os.fork() == 0:
            kept = [bytearray(os.urandom(1 << 20)) for _ in range(60)]
            time.sleep(600)
    time.sleep(600)
"#;
    let hidden = r#"
import mmap
def tool():
    kept = [mmap.mmap(-1, 24 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) for _ in range(3)]
    for part in kept:
        for place in range(0, len(part), 4096):
            part[place] = 1
    for _ in range(6):
        if os.fork() == 0:
            more = [bytearray(os.urandom(1 << 20)) for _ in range(40)]
            time.sleep(600)
    time.sleep(600)
"#;
    for (name, sandbox) in places().await {
        for source in [alone, together, hidden] {
            let mut call = attempts(source);
            call.limits.memory = 160 << 20;
            call.limits.time = Duration::from_secs(10);
            let outcome = run(&sandbox, call).await;
            match &outcome.status {
                Status::Raised(raised) if raised.kind == "MemoryError" => {}
                Status::Stopped(Stop::Memory(_)) => {}
                other => panic!("{name}: {other:?}"),
            }
            all_is_well(name, &sandbox).await;
        }
    }
}

#[tokio::test]
async fn files_are_limited_one_by_one_and_together() {
    let one = "def tool():\n    with open('large', 'wb') as file:\n        while True:\n            file.write(b'x' * 65536)\n";
    let many = r#"
def tool():
    for number in range(1000000):
        with open(f"file{number}", "wb") as file:
            file.write(b"x" * 30000)
"#;
    let unnamed = r#"
def tool():
    kept = []
    while True:
        time.sleep(0.005)
        kept.append(open(f"file{len(kept) % 4}", "wb"))
        os.unlink(kept[-1].name)
        kept[-1].write(b"x" * 1000000)
        kept[-1].flush()
"#;
    for (name, sandbox) in places().await {
        for source in [one, many, unnamed] {
            let mut call = attempts(source);
            call.limits.scratch = 8 << 20;
            call.limits.time = Duration::from_secs(10);
            let outcome = run(&sandbox, call).await;
            match &outcome.status {
                // "No space left on device" or "File too large", not an end of descriptors.
                Status::Raised(raised)
                    if raised.message.contains("[Errno 28]")
                        || raised.message.contains("[Errno 27]") => {}
                Status::Stopped(Stop::Files(_) | Stop::Died(_)) => {}
                other => panic!("{name}: {other:?}"),
            }
            all_is_well(name, &sandbox).await;
        }
    }
}

#[tokio::test]
async fn time_on_processors_is_limited_over_the_whole_tree() {
    let mut call = attempts(
        r#"
def tool():
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    os.fork()
    os.fork()
    while True:
        pass
"#,
    );
    call.limits.processor = Duration::from_secs(1);
    for (name, sandbox) in places().await {
        let outcome = run(&sandbox, call.clone()).await;
        assert_eq!(
            stopped(name, &outcome),
            Stop::Processor(Duration::from_secs(1)),
            "{name}"
        );
        all_is_well(name, &sandbox).await;
    }
}

#[tokio::test]
async fn a_gigabyte_of_output_is_not_kept() {
    for (stream, place) in [("stdout", 1), ("stderr", 2)] {
        let call = attempts(&format!(
            "def tool():\n    for _ in range(1024):\n        sys.{stream}.write('x' * (1 << 20))\n    return 'all'\n"
        ));
        for (name, sandbox) in places().await {
            let outcome = run(&sandbox, call.clone()).await;
            assert!(
                matches!(stopped(name, &outcome), Stop::Output(_)),
                "{name} {place}: {:?}",
                outcome.status
            );
            let kept: usize = outcome
                .stdout
                .iter()
                .chain(&outcome.stderr)
                .map(String::len)
                .sum();
            assert!(kept <= (1 << 20) + 100, "{name}: {kept}");
            all_is_well(name, &sandbox).await;
        }
    }
}

#[tokio::test]
async fn a_result_larger_than_allowed_is_stopped() {
    let mut call = attempts("def tool():\n    return 'x' * (4 << 20)\n");
    call.limits.result = 1 << 20;
    for (name, sandbox) in places().await {
        let outcome = run(&sandbox, call.clone()).await;
        assert_eq!(stopped(name, &outcome), Stop::Result(1 << 20), "{name}");
    }
}
