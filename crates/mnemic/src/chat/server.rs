//! The server that a chat talks to: the one that runs, or one in this process for as long as the chat.

use std::{fs::OpenOptions, path::PathBuf, time::Duration};

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
};
use tracing_subscriber::EnvFilter;

use super::{client::Client, error::ChatError};
use crate::{
    data,
    serve::{self, Hosting, ServeError},
    settings::Settings,
};

/// How long the server may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Who runs the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Somebody else: its address was given.
    Others,
    /// Whoever comes first: it is started when none answers.
    Anybody,
}

/// The server of a chat.
pub struct Host {
    settings: Settings,
    keeper: Keeper,
    running: Option<Running>,
    /// Whether the log goes to its file.
    has_log: bool,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

/// The address at which the configured server can be asked.
#[must_use]
pub fn configured_url(settings: &Settings) -> String {
    let host = match settings.text("host") {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" | "[::]" => "[::1]".to_owned(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    };
    format!("http://{host}:{}", settings.text("port"))
}

/// The folder in which a chat keeps what it remembers, and its server its data.
#[must_use]
pub fn folder(settings: &Settings) -> PathBuf {
    settings
        .optional("data_dir")
        .map_or_else(data::usual, PathBuf::from)
}

impl Host {
    /// A server that is not started yet.
    #[must_use]
    pub const fn new(settings: Settings, keeper: Keeper) -> Self {
        Self {
            settings,
            keeper,
            running: None,
            has_log: false,
        }
    }

    /// Whether the server runs in this process.
    #[must_use]
    pub const fn is_here(&self) -> bool {
        self.running.is_some()
    }

    /// Sees to it that a server answers; gives the client to ask it with.
    ///
    /// # Errors
    /// None answers, and none can be started.
    pub async fn ensure(&mut self, client: Client) -> Result<Client, ChatError> {
        match client.check().await {
            Err(error) if error.is_unreachable() && self.keeper == Keeper::Anybody => {
                self.start(client).await
            }
            checked => checked.map(|()| client),
        }
    }

    async fn start(&mut self, client: Client) -> Result<Client, ChatError> {
        self.stop().await;
        let log = self.open_log();
        let (stop, stopped) = oneshot::channel();
        let (ready, when_ready) = oneshot::channel();
        let hosting = Hosting::quiet(ready, async move {
            // Without a sender the chat is gone, and the server ends with it.
            stopped.await.ok();
        });
        let mut task = tokio::spawn(serve::serve_for(self.settings.clone(), hosting));
        let ready = tokio::select! {
            ready = when_ready => ready.map_err(|_| ChatError::Died(log.display().to_string())),
            ended = &mut task => return Err(why(ended, &log)),
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(_) => return Err(why(task.await, &log)),
        };
        self.running = Some(Running { stop, task });
        let url = if self.settings.text("port") == "0" {
            format!("http://{}", ready.address)
        } else {
            client.url.clone()
        };
        let client = match ready.password {
            Some(password) => client.with_token(Some(password)),
            None => client,
        };
        let client = client.at(url);
        client.check().await?;
        Ok(client)
    }

    /// Ends the server of this process, if there is one.
    pub async fn stop(&mut self) {
        let Some(Running { stop, task }) = self.running.take() else {
            return;
        };
        // It may have ended by itself.
        stop.send(()).ok();
        tokio::time::timeout(STOP_TIMEOUT, task).await.ok();
    }

    /// The log of a server in this process goes to a file: the screen is the chat's.
    fn open_log(&mut self) -> PathBuf {
        let path = folder(&self.settings).join("chat-server.log");
        if self.has_log {
            return path;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).ok();
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let filter = EnvFilter::try_new(self.settings.text("log"));
        if let (Ok(file), Ok(filter)) = (file, filter) {
            data::private(&path, 0o600).ok();
            let log = tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_ansi(false)
                .with_writer(std::sync::Mutex::new(file));
            self.has_log = log.try_init().is_ok();
        }
        path
    }
}

fn why(ended: Result<Result<(), ServeError>, JoinError>, log: &std::path::Path) -> ChatError {
    match ended {
        Ok(Err(error)) => error.into(),
        _ => ChatError::Died(log.display().to_string()),
    }
}
