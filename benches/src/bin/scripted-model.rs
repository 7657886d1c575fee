//! Starts the scripted model server; `benches/README.md` says what it can be told.

use std::{io::Write as _, time::Duration};

use clap::Parser;
use mnemic_benches::scripted::{identity::Identity, server::Scripted};

/// A model server that does what the last user message says.
#[derive(Debug, Parser)]
struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds before each answer.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Keep the last requests for GET /requests.
    #[arg(long)]
    record_memory: bool,
    /// Pass for this program.
    #[arg(long = "as", value_enum)]
    identity: Option<Identity>,
    /// Tokens of the context of the program's model.
    #[arg(long, default_value_t = 32_768)]
    window: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port)).await?;
    writeln!(std::io::stdout(), "listening {}", listener.local_addr()?)?;
    let latency = Duration::from_millis(options.latency_ms);
    let mut model = Scripted::new(latency, options.record_memory);
    if let Some(identity) = options.identity {
        model = model.passing_for(identity, options.window);
    }
    model.serve(listener).await
}
