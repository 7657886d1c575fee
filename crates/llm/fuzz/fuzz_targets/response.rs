//! An answer of any bytes is read without a panic. Run with `cargo +nightly fuzz run response` in
//! `crates/llm`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mnemic_llm::{Endpoint, EndpointConfig, parse_response};

static ENDPOINT: LazyLock<Endpoint> = LazyLock::new(|| {
    Endpoint::new(EndpointConfig::new("fuzz", "http://127.0.0.1:1/v1")).expect("a valid endpoint")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(completion) = parse_response(&ENDPOINT, bytes) {
        assert!(completion.body.tool_calls.iter().all(|call| !call.id.is_empty()));
    }
});
