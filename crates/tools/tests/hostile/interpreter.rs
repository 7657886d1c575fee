//! Tools that turn on the interpreter that runs them.

use mnemic_tools::sandbox::Status;
use serde_json::json;

use crate::{
    all_is_well, attempts,
    place::{places, run, value},
};

#[tokio::test]
async fn a_forged_result_is_only_the_forgers_own() {
    let forgeries = [
        ("a result", r#"frame(b'{"value": "forged"}')"#),
        (
            "two results",
            r#"frame(b'{"value": 1}') + frame(b'{"value": 2}')"#,
        ),
        (
            "a refusal",
            r#"frame(b'{"refused": "the machine is on fire"}')"#,
        ),
        ("a huge promise", r#"b"\xff\xff\xff\xff" + b"x" * 100"#),
        ("no end", r#"struct.pack("<I", 1000) + b"x""#),
        ("no JSON", r#"frame(b"\xff\xfe nothing")"#),
        (
            "a tower",
            r#"frame(b'{"value": ' + b"[" * 500000 + b"]" * 500000 + b"}")"#,
        ),
        ("a large number", r#"frame(b'{"value": 1e999999}')"#),
        ("half a letter", r#"frame(b'{"value": "\\ud800"}')"#),
        ("another kind", r#"frame(b'{"call": 1, "status": 0}')"#),
        ("nothing", r#"frame(b"")"#),
    ];
    for (name, sandbox) in places().await {
        for (what, bytes) in forgeries {
            let body = format!(
                r#"
import struct
def frame(text):
    return struct.pack("<I", len(text)) + text
def tool():
    for descriptor in range(3, 256):
        try:
            os.write(descriptor, {bytes})
        except OSError:
            pass
    os._exit(0)
"#
            );
            let honest = attempts("def tool():\n    time.sleep(0.05)\n    return 'honest'\n");
            let (forged, honest) =
                tokio::join!(sandbox.run(attempts(&body)), value(&sandbox, honest));
            assert_eq!(honest, json!("honest"), "{name}: {what}");
            match (what, forged) {
                ("a result", Ok(outcome)) => assert_eq!(outcome.value, json!("forged"), "{name}"),
                ("two results", Ok(outcome)) => assert_eq!(outcome.value, json!(1), "{name}"),
                ("a refusal", Err(_)) => {}
                (_, Ok(outcome)) => assert!(
                    matches!(outcome.status, Status::Stopped(_)),
                    "{name}: {what}: {outcome:?}"
                ),
                (_, Err(error)) => panic!("{name}: {what}: {error}"),
            }
            all_is_well(name, &sandbox).await;
        }
    }
}

#[tokio::test]
async fn what_a_tool_does_to_its_interpreter_is_gone_with_it() {
    let spoil = attempts(
        r#"
def tool():
    import builtins, json, sys
    builtins.sorted = lambda *a: "spoiled"
    json.dumps = lambda *a, **k: '{"value": "spoiled"}'
    json.loads = lambda *a, **k: {}
    sys.modules["os"] = None
    os.environ["PYTHONSTARTUP"] = "/tmp/x.py"
    os._exit = lambda code: None
    for module in list(sys.modules.values()):
        for name in ("serve", "_call", "_plain", "_frame", "main"):
            if hasattr(module, name):
                setattr(module, name, None)
    return 1
"#,
    );
    let look = attempts(
        "import builtins\ndef tool():\n    return [sorted([2, 1]), json.loads(json.dumps([1])), 'PYTHONSTARTUP' in os.environ]\n",
    );
    for (name, sandbox) in places().await {
        for _ in 0..3 {
            sandbox.run(spoil.clone()).await.ok();
        }
        let seen = value(&sandbox, look.clone()).await;
        assert_eq!(seen, json!([[1, 2], [1], false]), "{name}");
    }
}

#[tokio::test]
async fn no_descriptor_of_the_server_is_inherited() {
    let file = tempfile::tempfile().expect("a file");
    // As a library would that forgets to close it when programs start.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("flags");
    let call = attempts(
        r#"
def tool():
    found = []
    for descriptor in range(3, 1024):
        try:
            kind = os.fstat(descriptor).st_mode & 0o170000
            found.append("channel" if kind == 0o140000 else oct(kind))
        except OSError:
            pass
    return found
"#,
    );
    for (name, sandbox) in places().await {
        assert_eq!(
            value(&sandbox, call.clone()).await,
            json!(["channel"]),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_one_call_was_given_is_not_in_the_memory_of_the_next() {
    let secret = "mnemic-secret-4f1c9a";
    let mut first = attempts("def tool(key):\n    return len(key)\n");
    first.arguments.insert("key".into(), json!(secret));
    first.variables.insert("KEY".into(), secret.into());
    let second = attempts(
        r#"
import gc
def tool():
    mark = "mnemic-secret-" + "4f1c9a"
    found = [type(one).__name__ for one in gc.get_objects() if isinstance(one, dict) and any(
        isinstance(item, str) and item == mark for item in list(one.values())) and "mark" not in one]
    return found
"#,
    );
    for (name, sandbox) in places().await {
        run(&sandbox, first.clone()).await;
        assert_eq!(value(&sandbox, second.clone()).await, json!([]), "{name}");
    }
}
