//! Writes the tokens of `o200k_base` one after the other, in the order of their ranks: a byte for the length of each, and its
//! bytes. The crate that has them brings tables for everything that can be done with them, 32 MB in the program and as much
//! again in memory, where a count needs 3.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let vocabulary = &bpe_openai::o200k_base().bpe;
    let mut tokens = Vec::new();
    for rank in (0_u32..).take(vocabulary.num_tokens()) {
        let token = vocabulary.token_bytes(rank);
        tokens.push(u8::try_from(token.len()).map_err(io::Error::other)?);
        tokens.extend_from_slice(token);
    }
    let folder = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&folder).join("o200k_base.tokens"), tokens)
}
