//! Measures the embedding model of the process: how fast it loads and computes, and the memory it takes.
//!
//! `cargo run --release -p mnemic-benches --bin embedding -- [FOLDER OF MODELS]`

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Parser;
use mnemic_local::{Embedder, ModelCache, manifest};

#[derive(Debug, Parser)]
#[command(about)]
struct Arguments {
    /// The folder of models, as `mnemic models list` shows it.
    folder: PathBuf,
    /// Texts of each kind.
    #[arg(long, default_value_t = 200)]
    texts: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let model = manifest::find(manifest::DEFAULT).ok_or("there is no default model")?;
    let cache = ModelCache::new(&arguments.folder);
    let mut out = std::io::stdout();
    writeln!(out, "before: {}", memory()?)?;
    let started = Instant::now();
    let embedder = Embedder::load(model, &cache.folder(model))?;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(out, "loaded and checked in {seconds:.3} s: {}", memory()?)?;
    for words in [5, 24, 200] {
        let texts: Vec<String> = (0..arguments.texts).map(|seed| text(seed, words)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let first = texts.first().copied().unwrap_or_default();
        let tokens = embedder.tokenizer().encode(first, model.max_tokens).len();
        let started = Instant::now();
        for text in texts.iter().take(50) {
            embedder.embed_query(text)?;
        }
        let single = started.elapsed().as_secs_f64() / 50.0;
        let started = Instant::now();
        embedder.embed_passages(&texts)?;
        let rate = texts.len() as f64 / started.elapsed().as_secs_f64();
        writeln!(
            out,
            "about {tokens} tokens: {:.1} ms alone, {rate:.1} a second in batches: {}",
            single * 1e3,
            memory()?
        )?;
    }
    Ok(())
}

/// A text of so many words, different for each seed.
fn text(seed: usize, words: usize) -> String {
    const WORDS: [&str; 12] = [
        "the", "river", "rose", "again", "and", "Anna", "moved", "to", "a", "harbour", "in", "May",
    ];
    let word = |place: usize| WORDS.get((seed * 7 + place * place + place) % WORDS.len());
    let words: Vec<&str> = (0..words)
        .filter_map(|place| word(place).copied())
        .collect();
    words.join(" ")
}

/// This process's memory now and at its peak.
fn memory() -> std::io::Result<String> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status"))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) / 1024
    };
    Ok(format!(
        "{} MB resident, {} MB at most",
        of("VmRSS:"),
        of("VmHWM:")
    ))
}
