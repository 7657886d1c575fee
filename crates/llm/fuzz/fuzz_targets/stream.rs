//! A stream of any bytes, cut anywhere, is read without a panic, and means the same however it is
//! cut. Run with `cargo +nightly fuzz run stream` in `crates/llm`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mnemic_llm::{
    Assembler, Delta, Endpoint, EndpointConfig, LineParser, Protocol, SseParser, parse_stream,
};

static ENDPOINTS: LazyLock<[Endpoint; 4]> = LazyLock::new(|| {
    Protocol::ALL.map(|protocol| {
        let url = "http://127.0.0.1:1/v1";
        let config = EndpointConfig { protocol, ..EndpointConfig::new("fuzz", url) };
        Endpoint::new(config).expect("a valid endpoint")
    })
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

/// The lines of some pieces; nothing when one is too long.
fn lines(pieces: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut parser = LineParser::new(4096);
    for piece in pieces {
        parser.feed(piece, &mut |line: &[u8]| found.push(line.to_vec())).ok()?;
    }
    parser.finish(&mut |line: &[u8]| found.push(line.to_vec())).ok()?;
    Some(found)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let (a, b) = bytes.split_at(usize::from(cut) % (bytes.len() + 1));
    assert_eq!(events(&[a, b]), events(&[bytes]));
    assert_eq!(lines(&[a, b]), lines(&[bytes]));

    ENDPOINTS.iter().for_each(|endpoint| read(endpoint, bytes));
});

/// Reads a stream in the protocol of an endpoint.
fn read(endpoint: &Endpoint, bytes: &[u8]) {
    let (deltas, error) = parse_stream(endpoint, bytes);
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
}
