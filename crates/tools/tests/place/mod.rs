//! A sandbox for tests, and short ways to call tools in it.
#![allow(dead_code, reason = "not every test needs everything")]

use std::{collections::BTreeMap, path::PathBuf};

use mnemic_tools::sandbox::{
    Call, Grants, Language, Layer, Limits, Outcome, Sandbox, Settings, Status, UnsafeTools, Warm,
};
use serde_json::{Map, Value};

/// The settings of tests: the keeper is the program of its own, or where it was copied to.
pub fn settings() -> Settings {
    Settings {
        program: std::env::var_os("MNEMIC_TEST_KEEPER").map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_sandbox-child")),
            PathBuf::from,
        ),
        python: None,
        node: None,
        scratch: std::env::temp_dir(),
        packages: std::env::temp_dir().join("mnemic-test-packages"),
        open: std::env::temp_dir().join("mnemic-test-open"),
        offline: false,
        may_reach: |_| true,
        at_once: 8,
        unsafe_tools: UnsafeTools::Refuse,
        warm: Warm::Yes,
        without: Vec::new(),
    }
}

/// A folder of the machine that no tool was given.
pub fn outside() -> PathBuf {
    match std::env::var_os("MNEMIC_TEST_KEEPER") {
        Some(_) => std::env::temp_dir(),
        None => PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
    }
}

/// A sandbox with every layer of this machine.
pub async fn sandbox() -> Sandbox {
    Sandbox::new(settings()).await
}

/// Every way in which a tool can be kept in on this machine.
pub async fn places() -> Vec<(&'static str, Sandbox)> {
    places_with(&settings()).await
}

/// The same with other settings: forked from the warm interpreter, started for the call, both
/// also without Landlock as on older kernels, and without namespaces, as in Docker's default profile.
pub async fn places_with(settings: &Settings) -> Vec<(&'static str, Sandbox)> {
    let settings = || settings.clone();
    let started = Settings {
        warm: Warm::No,
        ..settings()
    };
    let unruled = Settings {
        without: vec![Layer::Landlock],
        ..settings()
    };
    let unruled_started = Settings {
        warm: Warm::No,
        ..unruled.clone()
    };
    let bare = Settings {
        without: vec![Layer::Namespaces],
        ..settings()
    };
    vec![
        ("forked", Sandbox::new(settings()).await),
        ("started", Sandbox::new(started).await),
        ("forked without Landlock", Sandbox::new(unruled).await),
        (
            "started without Landlock",
            Sandbox::new(unruled_started).await,
        ),
        ("without namespaces", Sandbox::new(bare).await),
    ]
}

/// A call of the function `tool` of a Python source.
pub fn python(source: &str) -> Call {
    Call {
        language: Language::Python,
        source: source.to_owned(),
        function: Some("tool".to_owned()),
        arguments: Map::new(),
        injected: Map::new(),
        door: None,
        is_nested: false,
        tools: Vec::new(),
        variables: BTreeMap::new(),
        limits: Limits {
            time: std::time::Duration::from_secs(20),
            ..Limits::default()
        },
        grants: Grants::default(),
        packages: Vec::new(),
        edition: None,
    }
}

/// Runs a call that has to start.
pub async fn run(sandbox: &Sandbox, call: Call) -> Outcome {
    sandbox.run(call).await.expect("the call starts")
}

/// Runs a call that has to return.
pub async fn value(sandbox: &Sandbox, call: Call) -> Value {
    let outcome = run(sandbox, call).await;
    assert_eq!(outcome.status, Status::Returned, "{outcome:?}");
    outcome.value
}
