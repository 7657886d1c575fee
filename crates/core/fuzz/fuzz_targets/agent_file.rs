//! Any bytes are read as an agent file or refused, without a panic; what is read is written and read again. Run
//! with `cargo +nightly fuzz run agent_file` in `crates/core`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mnemic_core::agent_file::{self, Translator};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = agent_file::read(bytes) else {
        return;
    };
    let mut translator = Translator::default();
    for entry in file.agents.iter().flat_map(|agent| &agent.messages) {
        translator.said(entry, file.mnemic.bodies.get(&entry.id));
    }
    let written = serde_json::to_vec(&file).expect("what was read can be written");
    agent_file::read(&written).expect("and read again");
});
