//! Measures a language model of the process: how fast it reads and writes, how soon it answers with and
//! without what it has read before, and the memory it takes; beside a llama.cpp server, where one runs.
//!
//! `cargo run --release -p mnemic-benches --bin language-model -- FILE.gguf [--llama-server 127.0.0.1:8080]`

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    process,
    time::Instant,
};

use clap::Parser;
use mnemic_benches::load::{client::Connection, process::memory_mb};
use mnemic_local::llm::{Host, HostSettings, Message, Piece, Request, Sampling, Usage};
use serde_json::{Value, json};

#[derive(Debug, Parser)]
#[command(about)]
struct Arguments {
    /// The model's file, as `mnemic models list` shows its folder.
    file: PathBuf,
    /// Threads that compute.
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Sentences of the prompt, of about 16 tokens each.
    #[arg(long, default_value_t = 60)]
    sentences: usize,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// A llama.cpp server with the same model and threads.
    #[arg(long)]
    llama_server: Option<SocketAddr>,
}

/// What an answer took.
struct Figures {
    usage: Usage,
    first_ms: f64,
    total_ms: f64,
}

impl Figures {
    fn line(&self, name: &str) -> String {
        let Usage {
            prompt,
            cached,
            answer,
        } = self.usage;
        let read = (prompt - cached) as f64 / self.first_ms * 1e3;
        let written = answer.saturating_sub(1) as f64 / (self.total_ms - self.first_ms) * 1e3;
        format!(
            "{name:<34} {:>7.0} ms to the first token, {prompt} tokens of prompt ({cached} read before): \
             {read:>5.0} read, {written:>5.1} written a second",
            self.first_ms
        )
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let mut out = io::stdout();
    let own = process::id();
    writeln!(out, "before: {:.0} MB", memory_mb(own))?;
    let host = Host::new(HostSettings {
        threads: Some(arguments.threads),
        ..HostSettings::default()
    });
    let started = Instant::now();
    ask(&host, &arguments, vec![("user", "Hello.".to_owned())])?;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        out,
        "loaded, with a first short answer, in {seconds:.2} s: {:.0} MB",
        memory_mb(own)
    )?;
    let (first, second) = conversation(arguments.sentences);
    let figures = ask(&host, &arguments, first.clone())?;
    writeln!(out, "{}", figures.line("in the process, new"))?;
    let figures = ask(&host, &arguments, second.clone())?;
    writeln!(out, "{}", figures.line("in the process, its next turn"))?;
    writeln!(out, "after: {:.0} MB", memory_mb(own))?;
    if let Some(address) = arguments.llama_server {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        for (name, messages) in [
            ("llama.cpp, new", first),
            ("llama.cpp, its next turn", second),
        ] {
            let figures = runtime.block_on(ask_server(address, &messages, arguments.tokens))?;
            writeln!(out, "{}", figures.line(name))?;
        }
    }
    Ok(())
}

type Conversation = Vec<(&'static str, String)>;

/// A conversation and its next turn.
fn conversation(sentences: usize) -> (Conversation, Conversation) {
    let sentence = |number| format!("Ship number {number} sails to the island of birds. ");
    let story: String = (0..sentences).map(sentence).collect();
    let first = vec![
        ("system", "You are brief.".to_owned()),
        ("user", format!("{story}How many ships are there?")),
    ];
    let mut second = first.clone();
    second.push(("assistant", "There are many ships.".to_owned()));
    second.push(("user", "Where do they sail to?".to_owned()));
    (first, second)
}

fn ask(host: &Host, arguments: &Arguments, messages: Conversation) -> io::Result<Figures> {
    let started = Instant::now();
    let messages = messages.into_iter().map(|(role, content)| Message {
        role: role.to_owned(),
        content,
    });
    let request = Request {
        messages: messages.collect(),
        schema: None,
        sampling: Sampling {
            temperature: 0.0,
            ..Sampling::default()
        },
        max_tokens: Some(arguments.tokens),
        max_tokens_to_end: None,
        stop: Vec::new(),
    };
    let mut pieces = host
        .ask(&arguments.file, request)
        .map_err(io::Error::other)?;
    let mut first_ms = None;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Text(_)) => {
                first_ms.get_or_insert(milliseconds(started));
            }
            Some(Piece::End(_, usage)) => {
                let total_ms = milliseconds(started);
                return Ok(Figures {
                    usage,
                    first_ms: first_ms.unwrap_or(total_ms),
                    total_ms,
                });
            }
            Some(Piece::Failed(error)) => return Err(io::Error::other(error)),
            None => return Err(io::Error::other("the model's thread ended")),
        }
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

async fn ask_server(
    address: SocketAddr,
    messages: &Conversation,
    tokens: usize,
) -> io::Result<Figures> {
    let messages: Vec<Value> = messages
        .iter()
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect();
    let body = json!({"messages": messages, "temperature": 0, "max_tokens": tokens});
    let mut connection = Connection::open(address).await?;
    let answer = connection
        .json("POST", "/v1/chat/completions", &body)
        .await?;
    let number = |place: &str| answer.pointer(place).and_then(Value::as_f64).unwrap_or(0.0);
    let count = |place: &str| number(place) as usize;
    let first_ms = number("/timings/prompt_ms") + number("/timings/predicted_per_token_ms");
    Ok(Figures {
        usage: Usage {
            prompt: count("/usage/prompt_tokens"),
            cached: count("/usage/prompt_tokens_details/cached_tokens"),
            answer: count("/usage/completion_tokens"),
        },
        first_ms,
        total_ms: number("/timings/prompt_ms") + number("/timings/predicted_ms"),
    })
}
