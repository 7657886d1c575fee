//! A patch of any text is read and applied to a block of any text without a panic, and what is refused
//! is said in few words. Run with `cargo +nightly fuzz run patch` in `crates/core`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mnemic_core::{
    blocks::Block,
    memory,
    time::Timestamp,
};

fn block(value: &str) -> Block {
    Block {
        value: value.to_owned(),
        limit: 1_000,
        ..Block::empty("human", None, Timestamp(0))
    }
}

fuzz_target!(|input: (&str, &str)| {
    let (patch, value) = input;
    let changes = match memory::parse_patch(Some("human"), patch) {
        Ok(changes) => changes,
        Err(error) => {
            assert!(error.to_string().chars().count() < 1_000, "{error}");
            return;
        }
    };
    let blocks = [block(value)];
    if let Ok(plan) = memory::plan(&changes, &blocks, &|_| None, Timestamp(1)) {
        assert!(!plan.writes.is_empty(), "a patch that is accepted changes something");
    }
});
