//! Measures the archival memory of the server on SQLite and PostgreSQL and prints a table and JSON.
//!
//!     cargo build --release -p mnemic -p mnemic-benches
//!     cargo run --release -p mnemic-benches --bin bench-memory -- --json figures.json

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use mnemic_benches::load::{
    client::Connection,
    figures::Quantiles,
    memory::{Memory, Rememberer},
    process::{self, Folder, Running, Start},
    report::{self, Report},
};
use serde_json::json;

/// Measures Mnemic's archival memory.
#[derive(Debug, Parser)]
#[command(about)]
struct Options {
    /// The server's program; beside this one unless given.
    #[arg(long)]
    server: Option<PathBuf>,
    /// A PostgreSQL database to measure as well; its tables are made in the schema `mnemic`, and the agents and
    /// archives of the measurement are deleted at the end.
    #[arg(long)]
    database_url: Option<String>,
    /// Leave SQLite out.
    #[arg(long)]
    postgres_only: bool,
    /// Measure only with these embeddings.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Embeddings>,
    /// Passages of the smaller memory.
    #[arg(long, default_value_t = 20_000)]
    small: usize,
    /// Passages of the larger memory.
    #[arg(long, default_value_t = 200_000)]
    large: usize,
    /// Agents that search at once.
    #[arg(long, default_value_t = 50)]
    agents: usize,
    /// Passages of each of these agents.
    #[arg(long, default_value_t = 4_000)]
    passages: usize,
    /// Words of a passage.
    #[arg(long, default_value_t = 40)]
    words: usize,
    /// A tenth of the work.
    #[arg(long)]
    quick: bool,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Where vectors come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Embeddings {
    /// There are none.
    Off,
    /// From the scripted model, which costs next to nothing.
    Remote,
    /// From the model in the server's process.
    Local,
}

impl Embeddings {
    const ALL: [Self; 3] = [Self::Off, Self::Remote, Self::Local];

    const fn handle(self) -> &'static str {
        match self {
            Self::Off => "none",
            Self::Remote => "openai-proxy/scripted-embed",
            Self::Local => "local/all-MiniLM-L6-v2",
        }
    }

    /// What stands before the names of figures.
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "words only",
            Self::Remote => "words and vectors",
            Self::Local => "model in the process",
        }
    }
}

/// Numbers of a vector: those of the model in the process.
const DIMS: usize = 384;
/// Words of the passages that the model in the process embeds: about a turn of a conversation.
const WORDS_FOR_LOCAL: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut options = Options::parse();
    if options.quick {
        for size in [
            &mut options.small,
            &mut options.large,
            &mut options.passages,
        ] {
            *size = size.div_ceil(10);
        }
    }
    let beside = std::env::current_exe()?;
    let beside = beside.parent().unwrap_or(Path::new(".")).to_owned();
    let server = options
        .server
        .clone()
        .unwrap_or_else(|| beside.join("mnemic"));
    let scripted = process::start_scripted(&beside.join("scripted-model"))?;
    let mut model = Connection::open(scripted.address).await?;
    model
        .json("PUT", "/embeddings", &json!({"dims": DIMS}))
        .await?;
    let mut reports = Vec::new();
    let databases = [
        ("SQLite", None),
        ("PostgreSQL", options.database_url.as_deref()),
    ];
    for (name, database) in databases {
        let is_wanted = if name == "SQLite" {
            !options.postgres_only
        } else {
            database.is_some()
        };
        if is_wanted {
            let run = Run {
                options: &options,
                program: &server,
                model: scripted.address,
                database,
            };
            reports.push((name, run.measure().await?));
        }
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

/// One engine's measurement.
#[derive(Clone, Copy)]
struct Run<'a> {
    options: &'a Options,
    program: &'a Path,
    model: std::net::SocketAddr,
    database: Option<&'a str>,
}

/// A started server with its embeddings.
struct Stage {
    embeddings: Embeddings,
    server: Running,
    memory: Memory,
}

impl Run<'_> {
    async fn measure(self) -> io::Result<Report> {
        let mut report = Report::default();
        let probe = Folder::new("probe")?;
        report.add(
            "fdatasync of the disk, p50 ms",
            process::fsync_ms(probe.path())?,
            "",
        );
        report.add(
            "ordering 200,000 numbers, p50 ms",
            process::processor_ms(),
            "",
        );
        for embeddings in Embeddings::ALL {
            let only = &self.options.only;
            if !only.is_empty() && !only.contains(&embeddings) {
                continue;
            }
            writeln!(io::stderr(), "measuring: {}", embeddings.name())?;
            match embeddings {
                Embeddings::Local => self.local(&mut report).await?,
                Embeddings::Off | Embeddings::Remote => self.load(embeddings, &mut report).await?,
            }
        }
        Ok(report)
    }

    fn start(&self, embeddings: Embeddings, folder: &Folder) -> io::Result<Stage> {
        let (server, _) = process::start_server(&Start {
            program: self.program,
            folder: folder.path(),
            model: self.model,
            database: self.database,
            embedding: Some(embeddings.handle()),
        })?;
        let words = match embeddings {
            Embeddings::Local => WORDS_FOR_LOCAL,
            Embeddings::Off | Embeddings::Remote => self.options.words,
        };
        let memory = Memory {
            server: server.address,
            words,
        };
        Ok(Stage {
            embeddings,
            server,
            memory,
        })
    }

    /// Writing and searching, alone and by many agents.
    async fn load(&self, embeddings: Embeddings, report: &mut Report) -> io::Result<()> {
        let folder = Folder::new("memory")?;
        let mut stage = self.start(embeddings, &folder)?;
        if embeddings == Embeddings::Off {
            self.inserts(&stage, report).await?;
        }
        let mut kept = Vec::new();
        let sizes = [
            (self.options.small, "under 10"),
            (self.options.large, "under 40"),
        ];
        for (size, target) in sizes {
            let mut one = stage.memory.rememberer(10 * size).await?;
            stage.fill(&mut one, size, report).await?;
            let times = stage.memory.searches(&one, 500).await?;
            stage.add(report, &format!("search in {size}"), times, (target, ""));
            kept.push((one, size));
        }
        self.many(&stage, report).await?;
        stage.tell(
            report,
            "server memory, MB",
            process::memory_mb(stage.server.pid()),
            "",
        );
        drop(stage);
        for (one, size) in &kept {
            stage = self.start(embeddings, &folder)?;
            let first = stage.memory.one_search(one).await?;
            stage.tell(
                report,
                &format!("first search in {size} after a start, ms"),
                first,
                "",
            );
            stage.memory.forget(one).await?;
            drop(stage);
        }
        Ok(())
    }

    /// How fast passages are stored.
    async fn inserts(&self, stage: &Stage, report: &mut Report) -> io::Result<()> {
        let mut one = stage.memory.rememberer(0).await?;
        let count = self.options.small;
        let batch = stage.memory.fill(&mut one, count, false).await?;
        report.add("inserted in batches of 500, a second", batch, "2,000");
        let searched = stage.memory.fill(&mut one, count, true).await?;
        report.add(
            "the same, each batch found at once, a second",
            searched,
            "2,000",
        );
        let single = stage.memory.fill_singly(&mut one, count / 20, 1).await?;
        report.add("inserted singly by one client, a second", single, "");
        let many = stage.memory.fill_singly(&mut one, count / 5, 16).await?;
        report.add("inserted singly by 16 clients, a second", many, "");
        stage.memory.forget(&one).await
    }

    /// Many agents who search at once.
    async fn many(&self, stage: &Stage, report: &mut Report) -> io::Result<()> {
        let Options {
            agents, passages, ..
        } = *self.options;
        let mut all = Vec::new();
        for number in 0..agents {
            let mut one = stage.memory.rememberer(number * passages).await?;
            stage.memory.fill(&mut one, passages, false).await?;
            all.push(one);
        }
        if stage.embeddings != Embeddings::Off {
            for one in &all {
                stage.memory.embedded(one).await?;
            }
        }
        let length = Duration::from_secs(if self.options.quick { 2 } else { 15 });
        let once = Some(Duration::from_secs(1));
        let open = stage.memory.searches_at_once(&all, length, once).await?;
        let name = format!("{agents} agents of {passages}, a search a second each");
        stage.add(report, &name, open, ("", "under 30"));
        let closed = stage.memory.searches_at_once(&all, length, None).await?;
        let rate = closed.count as f64 / length.as_secs_f64();
        let name = format!("{agents} agents of {passages}, as fast as it goes");
        stage.tell(report, &format!("{name}: searches a second"), rate, "");
        stage.add(report, &name, closed, ("", ""));
        forget_all(&stage.memory, &all).await
    }

    /// The memory of a server that embeds by itself.
    async fn local(&self, report: &mut Report) -> io::Result<()> {
        let folder = Folder::new("local")?;
        let stage = self.start(Embeddings::Local, &folder)?;
        let pid = stage.server.pid();
        stage.tell(
            report,
            "server memory before, MB",
            process::memory_mb(pid),
            "",
        );
        let size = self.options.small;
        let mut one = stage.memory.rememberer(0).await?;
        stage.fill(&mut one, size, report).await?;
        let times = stage.memory.searches(&one, 200).await?;
        stage.add(report, &format!("search in {size}"), times, ("", ""));
        let name = format!("server memory with {size} vectors, MB");
        stage.tell(report, &name, process::memory_mb(pid), "under 200");
        stage.tell(
            report,
            "the most of it so far, MB",
            process::peak_memory_mb(pid),
            "",
        );
        stage.memory.forget(&one).await
    }
}

async fn forget_all(memory: &Memory, all: &[Rememberer]) -> io::Result<()> {
    for one in all {
        memory.forget(one).await?;
    }
    Ok(())
}

impl Stage {
    /// Stores passages and waits for their vectors, if they get any.
    async fn fill(&self, of: &mut Rememberer, size: usize, report: &mut Report) -> io::Result<()> {
        self.memory.fill(of, size, false).await?;
        if self.embeddings != Embeddings::Off {
            let rate = self.memory.embedded(of).await?;
            self.tell(
                report,
                &format!("vectors of {size} passages, a second"),
                rate,
                "",
            );
        }
        Ok(())
    }

    fn tell(&self, report: &mut Report, name: &str, value: f64, target: &'static str) {
        report.add(format!("{}: {name}", self.embeddings.name()), value, target);
    }

    /// The times of searches with their targets for the median and for 99 of 100.
    fn add(
        &self,
        report: &mut Report,
        name: &str,
        times: Quantiles,
        (median, most): (&'static str, &'static str),
    ) {
        self.tell(report, &format!("{name}, p50 ms"), times.p50, median);
        self.tell(report, &format!("{name}, p99 ms"), times.p99, most);
    }
}
