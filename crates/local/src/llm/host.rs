//! The thread on which models of this process think: one at a time, loaded when it is first asked, and
//! given up when nobody asked for a while.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    cancel::{Cancel, Cancelled},
    model::{AnswerError, Ending, LoadedModel, Request, Usage},
};

/// Pieces of an answer that wait for their reader.
const PIECES: usize = 64;

/// How models run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostSettings {
    /// Threads that compute; all cores but one unless set.
    pub threads: Option<NonZeroUsize>,
    /// Tokens of the longest context.
    pub window: usize,
    /// Bytes that conversations may take that are kept for their next turns.
    pub cache_bytes: usize,
    /// Calls that may wait.
    pub queue: usize,
    /// How long a model stays in memory that nobody asks.
    pub idle: Duration,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            threads: None,
            window: 8_192,
            cache_bytes: 1024 * 1024 * 1024,
            queue: 16,
            idle: Duration::from_secs(600),
        }
    }
}

impl HostSettings {
    fn threads(&self) -> usize {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let usual = cores.saturating_sub(1).max(1);
        self.threads.map_or(usual, NonZeroUsize::get)
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text.
    Text(String),
    /// The end.
    End(Ending, Usage),
    /// There is no answer, or no more of it.
    Failed(AnswerError),
}

/// As many calls wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} calls wait for the model already")]
pub struct Busy(pub usize);

struct Job {
    path: PathBuf,
    request: Request,
    pieces: mpsc::Sender<Piece>,
}

/// Runs models.
#[derive(Debug)]
pub struct Host {
    settings: HostSettings,
    jobs: OnceLock<SyncSender<Job>>,
}

impl Host {
    /// A host that has neither a thread nor a model yet.
    #[must_use]
    pub const fn new(settings: HostSettings) -> Self {
        Self {
            settings,
            jobs: OnceLock::new(),
        }
    }

    /// Asks the model of a file. Dropping the receiver cancels.
    ///
    /// # Errors
    /// Too many wait.
    pub fn ask(&self, path: &Path, request: Request) -> Result<mpsc::Receiver<Piece>, Busy> {
        let (pieces, receiver) = mpsc::channel(PIECES);
        let job = Job {
            path: path.to_owned(),
            request,
            pieces,
        };
        match self.jobs().try_send(job) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(Busy(self.settings.queue)),
            Err(TrySendError::Disconnected(job)) => {
                let failed = AnswerError::Failed("the thread of local models is gone".into());
                // The channel is new and has room.
                job.pieces.try_send(Piece::Failed(failed)).ok();
                Ok(receiver)
            }
        }
    }

    fn jobs(&self) -> &SyncSender<Job> {
        self.jobs.get_or_init(|| {
            let (sender, receiver) = sync_channel(self.settings.queue);
            let settings = self.settings;
            let spawned = thread::Builder::new()
                .name("local-llm".into())
                .spawn(move || run(&settings, &receiver));
            if let Err(error) = spawned {
                tracing::error!(%error, "no thread for local models");
            }
            sender
        })
    }
}

struct Loaded {
    path: PathBuf,
    model: LoadedModel,
}

fn run(settings: &HostSettings, jobs: &Receiver<Job>) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(settings.threads())
        .thread_name(|at| format!("local-llm-{at}"))
        .build();
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => return tracing::error!(%error, "no threads for local models"),
    };
    let mut loaded: Option<Loaded> = None;
    loop {
        let job = match jobs.recv_timeout(settings.idle) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(Loaded { path, .. }) = loaded.take() {
                    tracing::info!(path = %path.display(), "the model was idle and is unloaded");
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if job.pieces.is_closed() {
            continue;
        }
        let last = match pool.install(|| serve(settings, &mut loaded, &job)) {
            Ok((ending, usage)) => Piece::End(ending, usage),
            Err(AnswerError::Cancelled) => continue,
            Err(error) => Piece::Failed(error),
        };
        // Who does not wait any more does not miss it.
        job.pieces.blocking_send(last).ok();
    }
}

fn serve(
    settings: &HostSettings,
    loaded: &mut Option<Loaded>,
    job: &Job,
) -> Result<(Ending, Usage), AnswerError> {
    let model = match loaded {
        Some(loaded) if loaded.path == job.path => &mut loaded.model,
        _ => {
            *loaded = None;
            &mut loaded.insert(load(settings, &job.path)?).model
        }
    };
    let pieces = job.pieces.clone();
    let cancel = Cancel::when(move || pieces.is_closed());
    let mut say = |text: &str| {
        let piece = Piece::Text(text.to_owned());
        job.pieces.blocking_send(piece).map_err(|_| Cancelled)
    };
    model.answer(&job.request, &mut say, &cancel)
}

fn load(settings: &HostSettings, path: &Path) -> Result<Loaded, AnswerError> {
    let begun = Instant::now();
    let model = LoadedModel::read(path, settings.window, settings.cache_bytes)
        .map_err(|error| AnswerError::Failed(format!("{}: {error}", path.display())))?;
    tracing::info!(
        path = %path.display(),
        megabytes = model.bytes() / 1_000_000,
        milliseconds = begun.elapsed().as_millis(),
        threads = settings.threads(),
        "a model is loaded"
    );
    Ok(Loaded {
        path: path.to_owned(),
        model,
    })
}
