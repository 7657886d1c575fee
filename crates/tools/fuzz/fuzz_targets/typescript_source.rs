//! Any text as a TypeScript tool has a schema, or an error that says why, without a panic. Run with
//! `cargo +nightly fuzz run typescript_source` in `crates/tools`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mnemic_tools::schema::{self, Given};

fuzz_target!(|source: &str| {
    let of = format!("/** Does.\n * @param x - it\n */\nexport function f(x: {source}) {{}}");
    for source in [source, &of] {
        match schema::typescript(source, Given::default()) {
            Ok(derived) => assert!(derived.parameters["properties"].is_object()),
            Err(error) => assert!(!error.reason.is_empty()),
        }
    }
});
