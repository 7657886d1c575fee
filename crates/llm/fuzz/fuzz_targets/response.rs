//! An answer of any bytes is read without a panic, in every protocol. Run with `cargo +nightly fuzz run response` in
//! `crates/llm`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mnemic_llm::{Endpoint, EndpointConfig, Protocol, parse_response};

static ENDPOINTS: LazyLock<[Endpoint; 4]> = LazyLock::new(|| {
    Protocol::ALL.map(|protocol| {
        let url = "http://127.0.0.1:1/v1";
        let config = EndpointConfig { protocol, ..EndpointConfig::new("fuzz", url) };
        Endpoint::new(config).expect("a valid endpoint")
    })
});

fuzz_target!(|bytes: &[u8]| {
    for endpoint in ENDPOINTS.iter() {
        if let Ok(completion) = parse_response(endpoint, bytes) {
            assert!(completion.body.tool_calls.iter().all(|call| !call.id.is_empty()));
        }
    }
});
