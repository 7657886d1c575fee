//! `mnemic chat`: talking to an agent in the terminal. It asks the running server over HTTP like any
//! other client, and starts one when none runs.

mod agents;
mod client;
mod commands;
mod diff;
mod doing;
mod editor;
mod error;
mod input;
#[cfg(feature = "local-llm")]
mod offer;
mod recent;
mod screen;
mod server;
mod turn;

use std::{process::ExitCode, time::Duration};

use clap::Args;

use crate::{settings::Settings, terminal::complain};
use agents::{Agent, Asking};
use client::Client;
use error::ChatError;
use input::{Entry, Input};
use recent::Recent;
use screen::{Screen, Style};
use server::{Host, Keeper};

/// How long what still runs may take when the chat is over.
const LAST_CALL: Duration = Duration::from_millis(200);

/// What `mnemic chat` takes.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// The agent, by name or id; left out, the one that was talked to last.
    agent: Option<String>,
    /// The server's address; left out, the one of --host and --port, where one is started if none runs.
    #[arg(long)]
    url: Option<String>,
    /// The server's password.
    #[arg(long)]
    token: Option<String>,
    /// Ask nothing: make an agent with the usual settings when there is none.
    #[arg(long)]
    yes: bool,
}

/// Whether the chat goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Goes,
    Leave,
}

/// A chat.
struct Chat {
    client: Client,
    host: Host,
    screen: Screen,
    recent: Recent,
    agent: Agent,
    asking: Asking,
}

/// Chats until the person leaves or the input ends.
///
/// # Errors
/// The runtime cannot be made.
pub fn run(settings: Settings, args: ChatArgs) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // Only fails when a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let code = match runtime.block_on(chat(settings, args)) {
        Ok(code) => code,
        Err(error) => {
            complain(format!("mnemic: {error}"));
            ExitCode::FAILURE
        }
    };
    // A read of a pipe that nobody writes to would hold up the end.
    runtime.shutdown_timeout(LAST_CALL);
    Ok(code)
}

/// A variable that is set to something.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The server's address, and who runs it.
fn server_of(settings: &Settings, given: Option<String>) -> (String, Keeper) {
    let given = given
        .or_else(|| env("MNEMIC_URL"))
        .or_else(|| env("LETTA_BASE_URL"));
    match given {
        Some(url) => (url, Keeper::Others),
        None => (server::configured_url(settings), Keeper::Anybody),
    }
}

/// The server's password.
fn token_of(settings: &Settings, given: Option<String>) -> Option<String> {
    given
        .or_else(|| env("MNEMIC_TOKEN"))
        .or_else(|| env("LETTA_API_KEY"))
        .or_else(|| settings.optional("password"))
}

async fn chat(settings: Settings, args: ChatArgs) -> Result<ExitCode, ChatError> {
    let (url, keeper) = server_of(&settings, args.url);
    let token = token_of(&settings, args.token);
    let mut screen = Screen::new();
    let asking = match (args.yes, screen.is_terminal) {
        (true, _) => Asking::Never,
        (false, true) => Asking::Allowed,
        (false, false) => Asking::Nobody,
    };
    if !screen.has_colours() {
        inquire::set_global_render_config(inquire::ui::RenderConfig::empty());
    }
    let recent = Recent::in_folder(&server::folder(&settings));
    #[cfg(feature = "local-llm")]
    let for_offer = settings.clone();
    let mut host = Host::new(settings, keeper);
    let client = host.ensure(Client::new(&url, token)?).await?;
    if host.is_here() {
        screen.note(
            Style::Dim,
            "(no server was running: one runs as long as this chat)",
        );
    }
    let agent = async {
        #[cfg(feature = "local-llm")]
        if args.yes || screen.is_terminal {
            offer::see_to_a_model(&client, &for_offer, &mut screen, asking).await?;
        }
        agents::choose(&client, args.agent.as_deref(), &recent, asking).await
    };
    let agent = agent.await;
    let agent = match agent {
        Ok(agent) => agent,
        Err(error) => {
            host.stop().await;
            return Err(error);
        }
    };
    let mut chat = Chat {
        client,
        host,
        screen,
        recent,
        agent: agent.clone(),
        asking,
    };
    chat.go_over_to(agent);
    let code = chat.until_the_end().await;
    chat.host.stop().await;
    code
}

impl Chat {
    /// Reads entries until there are no more. What fails is told, and the next entry is read: the exit
    /// code tells whether all went well.
    async fn until_the_end(&mut self) -> Result<ExitCode, ChatError> {
        let history = self.recent.history();
        let mut input = Input::open(&self.screen, history.as_deref());
        let mut code = ExitCode::SUCCESS;
        let mut interrupted = false;
        loop {
            let line = match input.next(&self.agent.name).await? {
                Entry::Line(line) | Entry::Ahead(line) if line.trim().is_empty() => continue,
                Entry::Line(line) => line,
                Entry::Ahead(line) => {
                    let shown = format!("{}> {line}", self.agent.name);
                    self.screen.say(Style::Plain, &shown);
                    line
                }
                Entry::Interrupted if !interrupted => {
                    interrupted = true;
                    self.screen
                        .note(Style::Dim, "(Ctrl-C again, or Ctrl-D, leaves)");
                    continue;
                }
                Entry::Interrupted | Entry::End => return Ok(code),
            };
            interrupted = false;
            match self.enter(&line).await {
                Ok(Outcome::Goes) => {}
                Ok(Outcome::Leave) => return Ok(code),
                Err(error) => {
                    self.screen.complain(&error.to_string());
                    // A person has seen it; a program gets to know by the code.
                    if !self.screen.is_terminal {
                        code = ExitCode::FAILURE;
                    }
                }
            }
        }
    }

    /// Does what an entry says. The server may have gone since the one before: then another is started
    /// where that is ours to do.
    async fn enter(&mut self, line: &str) -> Result<Outcome, ChatError> {
        let meant = commands::parse(line)?;
        let was_here = self.host.is_here();
        self.client = self.host.ensure(self.client.clone()).await?;
        if self.host.is_here() && !was_here {
            self.screen.note(
                Style::Dim,
                "(the server is gone: one runs now as long as this chat)",
            );
        }
        match meant {
            Ok(command) => self.command(command).await,
            Err(message) => self.talk(&message).await,
        }
    }

    /// Talks to another agent from now on.
    fn go_over_to(&mut self, agent: Agent) {
        self.recent.set_agent(&self.client.url, &agent.id);
        let hello = format!(
            "{} ({}) on {}. /help lists the commands.",
            agent.name, agent.model, self.client.url
        );
        self.agent = agent;
        self.screen.note(Style::Dim, &hello);
    }
}
