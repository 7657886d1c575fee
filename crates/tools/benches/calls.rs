//! What a call costs over the tool's own time: alone, and eight at once. `cargo bench -p mnemic-tools`, or a part of it:
//! `cargo bench -p mnemic-tools -- "warm, JavaScript"`.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use mnemic_tools::sandbox::{
    Call, Grants, Language, Layer, Limits, Sandbox, Settings, Status, UnsafeTools, Warm,
};
use serde_json::Map;

const CALLS: usize = 200;

/// The time between calls in the second measurement, as a model takes between two of its own.
const PAUSE: Duration = Duration::from_secs(2);

fn call(language: Language) -> Call {
    let source = match language {
        Language::Python => "def tool():\n    return 'done'\n",
        Language::JavaScript | Language::TypeScript => "function tool() { return 'done' }",
    };
    Call {
        language,
        source: source.to_owned(),
        function: Some("tool".to_owned()),
        arguments: Map::new(),
        injected: Map::new(),
        door: None,
        is_nested: false,
        tools: Vec::new(),
        variables: BTreeMap::new(),
        limits: Limits::default(),
        grants: Grants::default(),
        packages: Vec::new(),
        edition: None,
    }
}

async fn one(sandbox: &Sandbox, language: Language) -> Option<Duration> {
    let started = Instant::now();
    let outcome = sandbox.run(call(language)).await;
    match outcome {
        Ok(outcome) if outcome.status == Status::Returned => Some(started.elapsed()),
        other => {
            println!("  {other:?}");
            None
        }
    }
}

async fn measure(name: &str, sandbox: &Sandbox, language: Language) {
    let mut wanted = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    let part = format!("{name}, {language}");
    if wanted.next().is_some_and(|wanted| wanted != part) || one(sandbox, language).await.is_none()
    {
        return;
    }
    for (at_once, pause) in [
        (1, Duration::ZERO),
        (8, Duration::ZERO),
        (1, PAUSE),
        (8, PAUSE),
    ] {
        let mut times = Vec::new();
        let calls = if pause.is_zero() { CALLS } else { at_once * 20 };
        while times.len() < calls {
            tokio::time::sleep(pause).await;
            let batch = (0..at_once).map(|_| {
                let sandbox = sandbox.clone();
                tokio::spawn(async move { one(&sandbox, language).await })
            });
            for task in batch.collect::<Vec<_>>() {
                times.extend(task.await.ok().flatten());
            }
        }
        times.sort();
        let at = |part: usize| {
            times
                .get(times.len() * part / 100)
                .map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        println!(
            "{part}, {at_once} at once, {pause:?} between: p50 {:.1} ms, p95 {:.1} ms",
            at(50),
            at(95)
        );
    }
}

#[tokio::main]
async fn main() {
    let settings = Settings {
        program: PathBuf::from(env!("CARGO_BIN_EXE_sandbox-child")),
        python: None,
        node: None,
        scratch: std::env::temp_dir(),
        packages: std::env::temp_dir().join("mnemic-bench-packages"),
        open: std::env::temp_dir().join("mnemic-bench-open"),
        offline: true,
        may_reach: |_| false,
        at_once: 8,
        unsafe_tools: UnsafeTools::Refuse,
        warm: Warm::Yes,
        without: Vec::new(),
    };
    let warm = Sandbox::new(settings.clone()).await;
    println!("{}", warm.layers());
    let cold = Sandbox::new(Settings {
        warm: Warm::No,
        ..settings.clone()
    })
    .await;
    let system = PathBuf::from("/usr/bin/python3");
    let bare = Sandbox::new(Settings {
        without: vec![Layer::Namespaces],
        python: system.exists().then_some(system),
        ..settings
    })
    .await;
    measure("warm", &warm, Language::Python).await;
    measure("started for the call", &cold, Language::Python).await;
    measure("without namespaces", &bare, Language::Python).await;
    measure("warm", &warm, Language::JavaScript).await;
}
