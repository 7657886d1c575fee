//! A file of any bytes is read as a model's header and tokenizer, or refused, without a panic and without
//! more memory than the file has bytes for; a tokenizer that is read takes any text. Run with `cargo +nightly
//! fuzz run gguf` in `crates/local`, best with the fixture of the tests as a seed.

#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use mnemic_local::llm;

/// A text with all that tokenizers part: words, numbers, marks, spaces, other scripts.
const TEXT: &str = "It's 12,345 o'clock\n\n  <|im_start|>système 日本語 🐈\u{fdd0}";

fn place() -> PathBuf {
    std::env::temp_dir().join(format!("mnemic-fuzz-{}.gguf", std::process::id()))
}

fuzz_target!(|bytes: &[u8]| {
    let path = place();
    if std::fs::write(&path, bytes).is_ok() {
        // Most are refused.
        let _ = llm::tokens_of(&path, TEXT);
    }
});
