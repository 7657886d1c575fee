//! Tool arguments of any text are read as a JSON object or refused, without a panic, and what is JSON stays
//! as it is. Run with `cargo +nightly fuzz run repair` in `crates/llm`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mnemic_llm::repair;

fuzz_target!(|text: &str| {
    let is_object = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_object())
    };
    match repair::arguments(text) {
        Ok(mended) => {
            // Numbers out of range are JSON and no value.
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&mended).is_ok();
            assert!(is_json && mended.trim_start().starts_with('{'), "{mended}");
            assert!(!is_object(text) || mended == text, "what is JSON stays as it is");
            assert_eq!(repair::arguments(&mended).as_deref(), Ok(&*mended), "once is enough");
        }
        Err(error) => {
            assert!(!is_object(text));
            assert!(!error.to_string().is_empty());
        }
    }
    if let Ok(strict) = serde_json::from_str::<serde_json::Value>(text) {
        assert_eq!(repair::value(text), Ok(strict));
    } else {
        let _ = repair::value(text);
    }
});
