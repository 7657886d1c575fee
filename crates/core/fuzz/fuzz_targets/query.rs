//! Whatever is searched for: its time words are spans that exist, its terms are bounded, and an index that
//! holds it finds it without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mnemic_core::{
    retrieval::{Document, Filter, Index, Kind, Query, Settings, search, spans, terms},
    time::Timestamp,
};

fuzz_target!(|input: (&str, i64, i64)| {
    let (text, now, then) = input;
    for zone in ["UTC", "Pacific/Apia", "no zone"] {
        for span in spans(text, Timestamp(now), zone) {
            assert!(span.start < span.end);
        }
    }
    for term in terms(text) {
        assert!(!term.is_empty() && term.len() <= 64);
    }
    let mut index = Index::new(Kind::Turns);
    for (key, time) in [(1, now), (2, then)] {
        index.push(&Document {
            key,
            text,
            speaker: None,
            time: Timestamp(time),
            session: 0,
            role: 0,
            tags: &[],
            superseded: false,
        });
    }
    let settings = Settings::default();
    let outcome = search(
        &[&index],
        &Query {
            text,
            vector: None,
            now: Timestamp(now),
            zone: "UTC",
            filter: Filter::default(),
            limit: 5,
            settings: &settings,
        },
    );
    for hit in outcome.hits {
        assert!((0.0..=1.0).contains(&hit.score));
    }
});
