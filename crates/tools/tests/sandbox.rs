//! What people who write tools rely on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod place;

use std::{collections::BTreeMap, time::Duration};

use mnemic_tools::sandbox::{
    Access, FolderGrant, Language, Layer, SandboxError, Settings, Status, Stop, UnsafeTools,
};
use place::{python, run, sandbox, value};
use serde_json::json;

#[tokio::test]
async fn a_function_is_called_with_its_arguments_and_its_value_comes_back() {
    let mut call = python("def tool(a: int, b: list[str]):\n    return {'a': a + 1, 'b': b}\n");
    call.arguments.insert("a".into(), json!("41"));
    call.arguments.insert("b".into(), json!(["x"]));
    assert_eq!(
        value(&sandbox().await, call).await,
        json!({"a": 42, "b": ["x"]})
    );
}

/// Hints, what is given in JSON, what the tool returns of it, and what that is. `Elsewhere` is a class that the source does not
/// hold, as where its schema is given beside it.
const HINTED: &[(&str, &str, &str, &str)] = &[
    ("datetime.date", r#""2026-11-28""#, "given.year", "2026"),
    (
        "datetime.date",
        r#""2026-11-28T10:00:00Z""#,
        "given.day",
        "28",
    ),
    (
        "datetime.datetime",
        r#""2026-11-28T10:30:00Z""#,
        "[given.minute, given.utcoffset().seconds]",
        "[30, 0]",
    ),
    ("Optional[datetime.time]", r#""10:30""#, "given.hour", "10"),
    (
        "uuid.UUID",
        r#""0b7e4b9e-5c0f-4a7d-9d8e-1f2a3b4c5d6e""#,
        "given.version",
        "4",
    ),
    (
        "decimal.Decimal",
        r#""0.10""#,
        "str(given * 3)",
        r#""0.30""#,
    ),
    ("pathlib.Path", r#""a/b""#, "given.name", r#""b""#),
    ("list[int]", r#""[1, \"2\"]""#, "given", "[1, 2]"),
    ("Optional[List[int]]", r#""[1]""#, "given", "[1]"),
    ("list", r#""[1]""#, "given", "[1]"),
    ("dict", r#""{\"a\": 1}""#, "given['a']", "1"),
    ("Dict[str, int]", r#"{"a": "1"}"#, "given['a']", "1"),
    ("tuple[int, ...]", r#"["1", 2]"#, "given[0] + given[1]", "3"),
    ("Item", r#"{"count": "2"}"#, "given['count']", "2"),
    (
        "list[Item]",
        r#"[{"count": "2"}]"#,
        "given[0]['count']",
        "2",
    ),
    (
        "Boat",
        r#""{\"built\": \"1998-05-01\"}""#,
        "given.built.year",
        "1998",
    ),
    ("Id", r#""7""#, "given", "7"),
    ("Literal[1, 2]", r#""2""#, "given", "2"),
    ("str", r#""[1]""#, "given", r#""[1]""#),
    ("Union[str, list]", r#""[1]""#, "given", r#""[1]""#),
    ("Any", r#""[1]""#, "given", r#""[1]""#),
    ("list[str]", r#""no list""#, "given", r#""no list""#),
    (
        "List['Elsewhere']",
        r#"[{"sku": "a"}]"#,
        "given[0].sku",
        r#""a""#,
    ),
    (
        "Elsewhere",
        r#"{"sku": {"code": 1}}"#,
        "[given.sku.code, given['sku']]",
        r#"[1, {"code": 1}]"#,
    ),
];

#[tokio::test]
async fn arguments_are_what_their_hints_say() {
    let above = "import datetime, dataclasses, decimal, pathlib, uuid\nfrom typing import *\n\
        class Item(TypedDict):\n    count: int\n\
        @dataclasses.dataclass\nclass Boat:\n    built: datetime.date\n\
        Id = NewType('Id', int)\n";
    let sandbox = sandbox().await;
    for (hint, given, returned, expected) in HINTED {
        let mut call = python(&format!(
            "{above}def tool(given: {hint}):\n    return {returned}\n"
        ));
        let read = |json: &str| -> serde_json::Value { serde_json::from_str(json).expect("JSON") };
        call.arguments.insert("given".into(), read(given));
        assert_eq!(value(&sandbox, call).await, read(expected), "{hint}");
    }
}

#[tokio::test]
async fn long_integers_keep_their_digits() {
    let call =
        python("def tool():\n    return [2**63, 2**64, {'n': -2**63 - 1}, True, 2**64 - 1]\n");
    assert_eq!(
        value(&sandbox().await, call).await,
        json!([9_223_372_036_854_775_808_u64, "18446744073709551616", {"n": "-9223372036854775809"}, true, u64::MAX])
    );
}

#[tokio::test]
async fn a_program_may_end_itself_where_it_is_done() {
    let program = |source: &str| mnemic_tools::sandbox::Call {
        function: None,
        ..python(source)
    };
    let sandbox = sandbox().await;
    for source in [
        "print('done')\nimport sys\nsys.exit(0)",
        "print('done')\nexit()",
    ] {
        let outcome = run(&sandbox, program(source)).await;
        assert_eq!(outcome.status, Status::Returned, "{outcome:?}");
        assert_eq!(outcome.stdout, ["done"]);
    }
    let outcome = run(&sandbox, program("import sys\nsys.exit('no boat')")).await;
    let Status::Raised(raised) = &outcome.status else {
        panic!("{outcome:?}");
    };
    assert_eq!(raised.message, "no boat");
}

#[tokio::test]
async fn programs_in_javascript_choose_their_own_names() {
    let program = mnemic_tools::sandbox::Call {
        function: None,
        ..javascript(
            "const fs = require('fs'), vm = require('vm'), path = require('path');\n\
             const main = () => fs.existsSync('/none');\nclass plain {}\nmain()",
        )
    };
    assert_eq!(value(&sandbox().await, program).await, json!(false));
}

#[tokio::test]
async fn what_a_tool_prints_comes_back_as_lines() {
    let call = python(
        "import sys\ndef tool():\n    print('one')\n    print('two')\n    print('three', file=sys.stderr)\n",
    );
    let outcome = run(&sandbox().await, call).await;
    assert_eq!(outcome.status, Status::Returned, "{outcome:?}");
    assert_eq!(outcome.stdout, ["one", "two"]);
    assert_eq!(outcome.stderr, ["three"]);
}

#[tokio::test]
async fn an_error_names_the_line_of_the_tools_own_source() {
    let call = python("def inner():\n    return 1 / 0\n\ndef tool():\n    return inner()\n");
    let outcome = run(&sandbox().await, call).await;
    let Status::Raised(raised) = &outcome.status else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        (raised.kind.as_str(), raised.line),
        ("ZeroDivisionError", Some(2))
    );
    assert_eq!(
        outcome.stderr,
        [
            "Traceback (most recent call last):",
            "  File \"tool.py\", line 5, in tool",
            "    return inner()",
            "           ^^^^^^^",
            "  File \"tool.py\", line 2, in inner",
            "    return 1 / 0",
            "           ~~^~~",
            "ZeroDivisionError: division by zero",
        ]
    );
}

#[tokio::test]
async fn an_error_of_syntax_is_the_tools_error() {
    let outcome = run(&sandbox().await, python("def tool(:\n    pass\n")).await;
    let Status::Raised(raised) = &outcome.status else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        (raised.kind.as_str(), raised.line),
        ("SyntaxError", Some(1))
    );
}

#[tokio::test]
async fn a_tool_sees_the_granted_variables_and_no_others() {
    let mut call = python("import os\ndef tool():\n    return dict(os.environ)\n");
    call.variables = BTreeMap::from([("KEY".to_owned(), "value".to_owned())]);
    assert_eq!(value(&sandbox().await, call).await, json!({"KEY": "value"}));
}

#[tokio::test]
async fn functions_may_be_asynchronous() {
    let call = python(
        "import asyncio\nasync def tool():\n    await asyncio.sleep(0.01)\n    return 'done'\n",
    );
    assert_eq!(value(&sandbox().await, call).await, json!("done"));
}

#[tokio::test]
async fn values_that_json_lacks_come_back_as_what_they_stand_for() {
    let source = "
import dataclasses, enum
class Color(enum.Enum):
    RED = 'red'
@dataclasses.dataclass
class Point:
    x: float
    color: Color
def tool():
    return [Point(float('nan'), Color.RED), {1: (2, 3)}, {4}, object]
";
    let value = value(&sandbox().await, python(source)).await;
    let expected = json!([{"x": "nan", "color": "red"}, {"1": [2, 3]}, [4], "<class 'object'>"]);
    assert_eq!(value, expected);
}

#[tokio::test]
async fn a_tool_has_a_folder_for_its_files_that_begins_empty_every_time() {
    let source = "
import os, tempfile, pathlib
def tool():
    before = os.listdir('.')
    pathlib.Path('note').write_text('text')
    with tempfile.NamedTemporaryFile() as file:
        file.write(b'x')
    return [before, pathlib.Path('note').read_text()]
";
    let sandbox = sandbox().await;
    for _ in 0..2 {
        assert_eq!(value(&sandbox, python(source)).await, json!([[], "text"]));
    }
}

#[tokio::test]
async fn a_tool_that_takes_too_long_is_stopped() {
    let mut call =
        python("import time\ndef tool():\n    print('begun', flush=True)\n    time.sleep(60)\n");
    call.limits.time = Duration::from_millis(400);
    let outcome = run(&sandbox().await, call).await;
    assert_eq!(
        outcome.status,
        Status::Stopped(Stop::Time(Duration::from_millis(400)))
    );
    assert_eq!(outcome.stdout, ["begun"]);
    assert!(outcome.took < Duration::from_secs(3), "{outcome:?}");
}

#[tokio::test]
async fn a_tool_may_start_programs_of_the_system() {
    let call = python(
        "import subprocess\ndef tool():\n    return subprocess.run(['sh', '-c', 'echo $((6*7))'], capture_output=True, text=True).stdout\n",
    );
    assert_eq!(value(&sandbox().await, call).await, json!("42\n"));
}

#[tokio::test]
async fn a_granted_folder_can_be_used_as_granted() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("in"), "text").expect("a file");
    let source = "
import os
def tool(folder: str):
    text = open(folder + '/in').read()
    try:
        open(folder + '/out', 'w').write(text)
    except OSError as error:
        return [text, type(error).__name__]
    return [text, 'written']
";
    let sandbox = sandbox().await;
    let mut call = python(source);
    call.arguments.insert("folder".into(), json!(folder.path()));
    call.grants.folders = vec![FolderGrant {
        path: folder.path().to_owned(),
        access: Access::Read,
    }];
    let read = value(&sandbox, call.clone()).await;
    assert_eq!(read[0], "text");
    assert_ne!(read[1], "written");
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .expect("a mode");
    call.grants.folders[0].access = Access::Write;
    assert_eq!(value(&sandbox, call).await, json!(["text", "written"]));
}

#[tokio::test]
async fn a_folder_that_was_not_granted_is_named_in_the_error() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    std::fs::write(folder.path().join("in"), "text").expect("a file");
    let mut call = python("def tool(path):\n    return open(path).read()\n");
    call.arguments
        .insert("path".into(), json!(folder.path().join("in")));
    let outcome = run(&sandbox().await, call).await;
    let Status::Raised(raised) = &outcome.status else {
        panic!("{outcome:?}");
    };
    let missing = format!(
        "this tool has no grant for the folder {}",
        folder.path().display()
    );
    assert!(raised.message.ends_with(&missing), "{}", raised.message);
}

#[tokio::test]
async fn an_interpreter_that_is_not_there_is_named_with_what_to_install() {
    let sandbox = mnemic_tools::sandbox::Sandbox::new(Settings {
        python: Some("/nonexistent/python".into()),
        ..place::settings()
    })
    .await;
    let error = sandbox
        .run(python("def tool(): pass"))
        .await
        .expect_err("no interpreter");
    assert_eq!(
        error.to_string(),
        "no Python interpreter was found (looked for /nonexistent/python): running this tool needs Python 3.9 or newer"
    );
}

#[tokio::test]
async fn where_a_guarantee_is_missing_tools_are_refused_unless_the_administrator_said_otherwise() {
    let open = Settings {
        without: vec![Layer::Seccomp],
        ..place::settings()
    };
    let call = || python("def tool():\n    return 1\n");
    let refusing = mnemic_tools::sandbox::Sandbox::new(open.clone()).await;
    let error = refusing.run(call()).await.expect_err("refused");
    assert!(
        matches!(&error, SandboxError::Unavailable { reason } if reason.contains("seccomp")),
        "{error}"
    );
    let running = mnemic_tools::sandbox::Sandbox::new(Settings {
        unsafe_tools: UnsafeTools::Run,
        ..open
    })
    .await;
    assert_eq!(value(&running, call()).await, json!(1));
}

fn javascript(source: &str) -> mnemic_tools::sandbox::Call {
    mnemic_tools::sandbox::Call {
        language: Language::JavaScript,
        ..python(source)
    }
}

#[tokio::test]
async fn javascript_functions_get_their_arguments_by_name() {
    let source = "
import path from 'node:path';
async function tool(b, a) {
    console.log('called');
    await new Promise((done) => setTimeout(done, 5));
    return { joined: path.join(a, b), none: undefined, big: 10n };
}
";
    let mut call = javascript(source);
    call.arguments.insert("a".into(), json!("x"));
    call.arguments.insert("b".into(), json!("y"));
    let outcome = run(&sandbox().await, call).await;
    assert_eq!(
        outcome.value,
        json!({"joined": "x/y", "big": "10"}),
        "{outcome:?}"
    );
    assert_eq!(outcome.stdout, ["called"]);
}

#[tokio::test]
async fn errors_in_javascript_name_the_line_of_the_tools_own_source() {
    let outcome = run(
        &sandbox().await,
        javascript("function tool() {\n    return nothing.here;\n}\n"),
    )
    .await;
    let Status::Raised(raised) = &outcome.status else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        (raised.kind.as_str(), raised.line),
        ("ReferenceError", Some(2))
    );
    assert_eq!(
        outcome.stderr,
        [
            "ReferenceError: nothing is not defined",
            "    at tool (tool.js:2:5)"
        ]
    );
}

#[tokio::test]
async fn javascript_reaches_neither_files_nor_the_network_nor_variables() {
    let source = "
async function tool() {
    const fs = require('node:fs'), net = require('node:net'), child = require('node:child_process');
    const attempts = {
        passwd: () => fs.readFileSync('/etc/passwd'),
        runtime: () => fs.writeFileSync('/usr/lib/x', 'x'),
        environ: () => fs.readFileSync('/proc/self/environ'),
        parent: () => process.kill(process.ppid || 1e9, 0),
        child: () => child.execSync('cat /etc/passwd', { stdio: 'pipe' }),
        connect: () => new Promise((done, fail) => net.connect(80, '127.0.0.1').on('connect', done).on('error', fail)),
        fetch: () => fetch('http://127.0.0.1:1/'),
    };
    const worked = Object.keys(process.env);
    for (const [name, attempt] of Object.entries(attempts)) {
        try { await attempt(); worked.push(name); } catch {}
    }
    fs.writeFileSync('own', 'x');
    return worked;
}
";
    assert_eq!(value(&sandbox().await, javascript(source)).await, json!([]));
}

#[tokio::test]
async fn typescript_runs_where_node_takes_types_off_and_else_says_what_is_needed() {
    let mut call = javascript("function tool(a: number): number { return a + 1 }");
    call.language = Language::TypeScript;
    call.arguments.insert("a".into(), json!(1));
    let outcome = run(&sandbox().await, call).await;
    match &outcome.status {
        Status::Returned => assert_eq!(outcome.value, json!(2)),
        Status::Raised(raised) => {
            assert!(
                raised
                    .message
                    .starts_with("TypeScript tools need Node 22.13 or newer"),
                "{raised:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}
