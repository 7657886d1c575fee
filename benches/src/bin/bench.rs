//! Measures the server on SQLite and PostgreSQL and prints a table and JSON.
//!
//!     cargo build --release -p mnemic -p mnemic-benches
//!     cargo run --release -p mnemic-benches --bin bench -- --json figures.json

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use mnemic_benches::load::{
    figures::Quantiles,
    process::{self, Running},
    report::{self, Report},
    scenarios::Bench,
    streams::Tools,
};
use serde_json::json;

/// Measures Mnemic.
#[derive(Debug, Parser)]
struct Options {
    /// The server's program; beside this one unless given.
    #[arg(long)]
    server: Option<PathBuf>,
    /// A PostgreSQL database to measure as well; its tables are made in the schema `mnemic`.
    #[arg(long)]
    database_url: Option<String>,
    /// The process id of that PostgreSQL's first process, for its processor time.
    #[arg(long)]
    postgres_pid: Option<u32>,
    /// The handle of the server's embedding model; `none` for no embeddings.
    #[arg(long)]
    embedding: Option<String>,
    /// Leave SQLite out.
    #[arg(long)]
    postgres_only: bool,
    /// Measure streams and commits only.
    #[arg(long)]
    streams_only: bool,
    /// A tenth of the work.
    #[arg(long)]
    quick: bool,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let options = Options::parse();
    let beside = std::env::current_exe()?;
    let beside = beside.parent().unwrap_or(Path::new(".")).to_owned();
    let server = options
        .server
        .clone()
        .unwrap_or_else(|| beside.join("mnemic"));
    let scripted = process::start_scripted(&beside.join("scripted-model"))?;
    let mut reports = Vec::new();
    if !options.postgres_only {
        reports.push(("SQLite", measure(&options, &server, &scripted, None).await?));
    }
    if let Some(url) = &options.database_url {
        reports.push((
            "PostgreSQL",
            measure(&options, &server, &scripted, Some(url)).await?,
        ));
    }
    let mut out = io::stdout().lock();
    report::table(&mut out, &reports)?;
    if let Some(path) = &options.json {
        let engines: serde_json::Map<_, _> = reports
            .iter()
            .map(|(name, report)| ((*name).to_owned(), report.to_json()))
            .collect();
        let whole = json!({"machine": process::machine(), "engines": engines});
        std::fs::write(path, serde_json::to_vec_pretty(&whole)?)?;
        writeln!(out, "\nwritten to {}", path.display())?;
    }
    Ok(())
}

async fn measure(
    options: &Options,
    program: &Path,
    scripted: &Running,
    database: Option<&str>,
) -> io::Result<Report> {
    let folder = process::Folder::new("turns")?;
    let scale = if options.quick { 10 } else { 1 };
    let mut report = Report::default();
    report.add(
        "fdatasync of the disk, p50 ms",
        process::fsync_ms(folder.path())?,
        "",
    );
    report.add(
        "ordering 200,000 numbers, p50 ms",
        process::processor_ms(),
        "",
    );
    let start = process::Start {
        program,
        folder: folder.path(),
        model: scripted.address,
        database,
        embedding: options.embedding.as_deref(),
    };
    let start = || process::start_server(&start);
    // The first start makes the tables; what follows is what a user waits for every day.
    drop(start()?);
    let mut starts = Vec::new();
    for _ in 0..5 {
        starts.push(start()?.1);
    }
    report.add("cold start, p50 ms", Quantiles::of(starts).p50, "under 100");
    let (server, _) = start()?;
    report.add(
        "memory idle, MB",
        process::memory_mb(server.pid()),
        "under 60",
    );
    let bench = Bench {
        server: server.address,
        model: scripted.address,
    };
    if options.streams_only {
        streams(&bench, &mut report, server.pid()).await?;
        return Ok(report);
    }
    turns(&bench, &mut report, scale).await?;
    streams(&bench, &mut report, server.pid()).await?;
    loaded(
        &bench,
        &mut report,
        scale,
        &pids(options, &server, scripted, database),
    )
    .await?;
    reads(&bench, &mut report, scale).await?;
    report.add("memory loaded, MB", process::memory_mb(server.pid()), "");
    Ok(report)
}

/// The processes whose time is counted: server, script, database.
struct Pids {
    server: u32,
    script: u32,
    database: Option<u32>,
}

fn pids(options: &Options, server: &Running, scripted: &Running, database: Option<&str>) -> Pids {
    Pids {
        server: server.pid(),
        script: scripted.pid(),
        database: database.and(options.postgres_pid),
    }
}

/// Agents of which each has 500 turns: a median of few turns would tell more of the machine.
const LONG_AGENTS: usize = 10;

async fn turns(bench: &Bench, report: &mut Report, scale: usize) -> io::Result<()> {
    report.add(
        "agents created, per second",
        bench.create_agents(500 / scale).await?,
        "",
    );
    let alone = Quantiles::of(bench.sequential(1_000 / scale).await?);
    report.add("turn at one conversation, p50 ms", alone.p50, "under 2");
    report.add("turn at one conversation, p99 ms", alone.p99, "");
    let mut agents = Vec::new();
    for _ in 0..LONG_AGENTS.div_ceil(scale) {
        agents.push(bench.one_agent(500).await?);
    }
    let part = |range: std::ops::Range<usize>| {
        let times = agents.iter().filter_map(|times| times.get(range.clone()));
        Quantiles::of(times.flatten().copied().collect()).p50
    };
    report.add("500 turns: first tenth, p50 ms", part(0..50), "");
    report.add("500 turns: last tenth, p50 ms", part(450..500), "");
    report.add(
        "500 turns: about the 500th over about the 50th",
        part(480..500) / part(40..60),
        "at most 1.1",
    );
    let (through, direct) = bench.streams(200 / scale).await?;
    let p50 = |times: &[f64]| Quantiles::of(times.to_vec()).p50;
    let firsts: Vec<f64> = through.iter().map(|times| times.first_text).collect();
    let alone: Vec<f64> = direct.iter().map(|times| times.first_text).collect();
    report.add("stream: first text, p50 ms", p50(&firsts), "");
    report.add(
        "stream: added to the model's first text, p50 ms",
        p50(&firsts) - p50(&alone),
        "under 1",
    );
    Ok(())
}

async fn streams(bench: &Bench, report: &mut Report, server: u32) -> io::Result<()> {
    let run = bench.long_run(10_000).await?;
    for (name, after) in [
        ("10,000 events told again: the first, p50 ms", 0),
        ("10,000 events told again: the 9,000th, p50 ms", 8_999),
    ] {
        let resumed = bench.resumes(&run, after, 30).await?;
        report.add(name, resumed.p50, "under 20");
    }
    let open = bench.open_streams(500, server).await?;
    report.add("500 streams open: memory more, MB", open, "under 100");
    for (name, tools) in [
        ("turn with three own tools in parallel: commits", Tools::Own),
        (
            "turn with three written tools in parallel: commits",
            Tools::Written,
        ),
    ] {
        report.add(name, bench.commits(tools, 9).await?, "at most 4");
    }
    Ok(())
}

async fn loaded(bench: &Bench, report: &mut Report, scale: usize, pids: &Pids) -> io::Result<()> {
    // The database makes a process for each connection, so its family is looked up each time.
    let cpu = || {
        [
            vec![pids.server],
            vec![pids.script],
            pids.database.map(process::family).unwrap_or_default(),
            vec![std::process::id()],
        ]
        .map(|pids| process::cpu_seconds_of(&pids))
    };
    let length = Duration::from_secs_f64(20.0 / scale as f64);
    let talks = bench.talks(64, length).await?;
    bench.largest_request().await?;
    let before = cpu();
    let (rate, times) = bench.closed_loop(talks, length).await?;
    let after = cpu();
    report.add(
        "64 conversations: turns per second",
        rate,
        "1,200 (PostgreSQL 500)",
    );
    report.add(
        "64 conversations: largest request, KB",
        bench.largest_request().await?,
        "16",
    );
    report.add("64 conversations: turn, p50 ms", times.p50, "");
    report.add("64 conversations: turn, p99 ms", times.p99, "");
    let names = [
        ("CPU per turn: server, ms", "at most 0.9"),
        ("CPU per turn: scripted model, ms", ""),
        ("CPU per turn: database, ms", ""),
        ("CPU per turn: driver, ms", ""),
    ];
    for ((name, target), (before, after)) in names.into_iter().zip(before.into_iter().zip(after)) {
        report.add(
            name,
            (after - before) * 1e3 / times.count.max(1) as f64,
            target,
        );
    }
    let open = bench.open_loop(600.0, length).await?;
    report.add("600 turns a second, open loop: p50 ms", open.p50, "");
    report.add(
        "600 turns a second, open loop: p99 ms",
        open.p99,
        "under 50",
    );
    report.add("600 turns a second, open loop: max ms", open.max, "");
    Ok(())
}

async fn reads(bench: &Bench, report: &mut Report, scale: usize) -> io::Result<()> {
    let agents = bench.gets("/v1/agents/?limit=100", 100 / scale).await?;
    report.add("list 100 agents, p50 ms", agents.p50, "");
    let path = bench.filled_agent(10_000).await?;
    let list = bench
        .gets(&format!("{path}?limit=100"), 200 / scale)
        .await?;
    report.add("list 100 of 10,000 messages, p50 ms", list.p50, "");
    Ok(())
}
