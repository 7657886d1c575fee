//! A stream of any bytes, cut anywhere, is read without a panic, and means the same however it is
//! cut. Run with `cargo +nightly fuzz run stream` in `crates/llm`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mnemic_llm::{Assembler, Delta, Endpoint, EndpointConfig, SseParser, parse_stream};

static ENDPOINT: LazyLock<Endpoint> = LazyLock::new(|| {
    Endpoint::new(EndpointConfig::new("fuzz", "http://127.0.0.1:1/v1")).expect("a valid endpoint")
});

/// The events of some pieces; nothing when one is too long.
fn events(pieces: &[&[u8]]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut parser = SseParser::new(4096);
    for piece in pieces {
        parser
            .feed(piece, &mut |event| found.push((event.name.to_owned(), event.data.to_vec())))
            .ok()?;
    }
    parser.finish(&mut |event| found.push((event.name.to_owned(), event.data.to_vec()))).ok()?;
    Some(found)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (a, b) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    assert_eq!(events(&[a, b]), events(&[bytes]));

    let (deltas, error) = parse_stream(&ENDPOINT, bytes);
    let mut assembler = Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    let finished = matches!(deltas.last(), Some(Delta::Finish(_)));
    assert_eq!(finished, error.is_none(), "a stream ends with Finish or with an error");
    let completion = assembler.finish();
    let mut ids: Vec<&str> =
        completion.body.tool_calls.iter().map(|call| call.id.as_str()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "ids of calls are unique");
});
