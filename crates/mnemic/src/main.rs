//! Mnemic: a self-hosted server for agents that remember.

mod audit;
mod chat;
mod data;
mod detection;
#[cfg(feature = "local-llm")]
mod free_memory;
mod keys;
#[cfg(feature = "local-llm")]
mod local_llm;
#[cfg(feature = "local-models")]
mod models;
mod prices;
mod providers;
mod serve;
mod settings;
mod show;
mod terminal;
mod tools;

use std::{collections::BTreeMap, io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use settings::{Settings, Sources};
use tracing_subscriber::EnvFilter;

/// A self-hosted server for agents that remember. Without a command, it serves.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API.
    #[command(alias = "server")]
    Serve,
    /// Talk to an agent in the terminal; starts a server when none runs.
    #[command(alias = "run")]
    Chat(chat::ChatArgs),
    /// Show every setting, its value and where that comes from.
    Config {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask for a model provider and write mnemic.toml.
    Configure,
    /// Delete all stored secrets of agents, because the encryption key is lost.
    ForgetSecrets,
    /// Fetch, list and delete the models that run in the process.
    #[cfg(feature = "local-models")]
    #[command(subcommand)]
    Models(models::Command),
    /// Make keys of the API.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Look at the tools that people wrote.
    #[command(subcommand)]
    Tools(audit::Command),
}

#[derive(Debug, Args)]
struct Flags {
    /// The configuration file.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, global = true)]
    host: Option<String>,
    /// Port to listen on.
    #[arg(long, global = true)]
    port: Option<u16>,
    /// Folder of the database, the key file and backups.
    #[arg(long, global = true)]
    data_dir: Option<String>,
    /// PostgreSQL to use in place of SQLite.
    #[arg(long, global = true)]
    database_url: Option<String>,
    /// Ask every request for the password.
    #[arg(long, global = true)]
    secure: bool,
    /// Run tools that people wrote also where this machine can't keep them in.
    #[arg(long, global = true)]
    unsafe_tools: bool,
    /// Find model servers that run on this machine (true unless set).
    #[arg(long, global = true, value_name = "BOOL")]
    detect: Option<bool>,
}

impl Flags {
    fn given(&self) -> BTreeMap<&'static str, String> {
        let port = self.port.map(|port| port.to_string());
        let secure = self.secure.then(|| "true".to_owned());
        let unsafe_tools = self.unsafe_tools.then(|| "true".to_owned());
        [
            ("host", self.host.clone()),
            ("port", port),
            ("data_dir", self.data_dir.clone()),
            ("database_url", self.database_url.clone()),
            ("secure", secure),
            ("unsafe_tools", unsafe_tools),
            ("detect", self.detect.map(|detect| detect.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = sandbox_child() {
        return code;
    }
    let cli = Cli::parse();
    let env = |name: &str| std::env::var(name).ok();
    let file = cli.flags.config.clone();
    let sources = Sources {
        flags: cli.flags.given(),
        file,
        env: Some(&env),
    };
    let done = Settings::load(&sources)
        .map_err(Into::into)
        .and_then(|settings| run(settings, cli.command.unwrap_or(Command::Serve)));
    match done {
        Ok(code) => code,
        Err(error) => {
            terminal::complain(format!("mnemic: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The server starts this program anew to keep a tool in: then it must have one thread, and is no command of people's.
#[cfg(target_os = "linux")]
fn sandbox_child() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next()?;
    (command == mnemic_tools::sandbox::CHILD_COMMAND).then(|| {
        let plan = arguments.next();
        mnemic_tools::sandbox::keep(plan.as_deref().and_then(|plan| plan.to_str()))
    })
}

fn run(settings: Settings, command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match command {
        Command::Serve => run_server(settings)?,
        Command::Chat(args) => return chat::run(settings, args),
        Command::Config { json } => show::config(&settings, json),
        Command::Configure => show::configure(&settings)?,
        Command::ForgetSecrets => forget_secrets(&settings)?,
        #[cfg(feature = "local-models")]
        Command::Models(command) => models::run(&settings, command)?,
        Command::Keys(command) => keys::run(&settings, command)?,
        Command::Tools(command) => audit::run(&settings, &command)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn forget_secrets(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Only fails when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let count = runtime.block_on(serve::forget_secrets(settings))?;
    terminal::say(format!(
        "Secrets deleted: {count}. The server starts again; set what tools need anew."
    ));
    Ok(())
}

fn run_server(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::try_new(settings.text("log"))
        .map_err(|_| settings.wrong("log", "must be a level such as info, or filters"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.text("log_format") {
        "json" => log.json().init(),
        "text" => log.init(),
        _ => return Err(settings.wrong("log_format", "must be text or json").into()),
    }
    // Only fails when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(serve::serve(settings))?)
}
