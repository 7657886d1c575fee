//! Any text as a Python tool has a schema, or an error that says why, without a panic. Run with
//! `cargo +nightly fuzz run python_source` in `crates/tools`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mnemic_tools::schema::{self, Given};

fuzz_target!(|source: &str| {
    // A hint alone reaches further than whole sources do.
    let hint =
        format!("def f(x: {source}):\n    \"\"\"Does.\n\n    Args:\n        x: it\n    \"\"\"\n");
    let docs = format!("def f(x: int):\n    \"\"\"{source}\n    \"\"\"\n");
    for source in [source, &hint, &docs] {
        match schema::python(source, Given::default()) {
            Ok(derived) => {
                assert!(!derived.description.trim().is_empty());
                assert!(derived.parameters["properties"].is_object());
            }
            Err(error) => {
                assert!(!error.reason.is_empty());
                assert!(error.line.is_none_or(|line| line > 0));
            }
        }
    }
});
