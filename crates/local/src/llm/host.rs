//! The thread on which models of this process think: one at a time, loaded when it is first asked, and
//! given up when nobody asked for a while.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc;

use super::{
    cancel::{Cancel, Cancelled},
    gguf::GgufError,
    model::{AnswerError, Ending, LoadedModel, Request, Usage},
};

use crate::{ChatModel, ModelCache, files, manifest::ModelFile};

/// Pieces of an answer that wait for their reader.
const PIECES: usize = 64;

/// Threads that a core may have: more only wait for each other.
const MAX_PER_CORE: usize = 4;

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
        self.threads_on(cores)
    }

    fn threads_on(&self, cores: usize) -> usize {
        let usual = cores.saturating_sub(1).max(1);
        let wanted = self.threads.map_or(usual, NonZeroUsize::get);
        wanted.min(cores.saturating_mul(MAX_PER_CORE))
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
    /// What the file must be, and the model's name.
    known: Option<(ModelFile, String)>,
    request: Request,
    pieces: mpsc::Sender<Piece>,
}

/// Runs models.
#[derive(Debug)]
pub struct Host {
    settings: HostSettings,
    /// The way to the thread, once there is one.
    jobs: Mutex<Option<SyncSender<Job>>>,
}

impl Host {
    /// A host that has neither a thread nor a model yet.
    #[must_use]
    pub const fn new(settings: HostSettings) -> Self {
        Self {
            settings,
            jobs: Mutex::new(None),
        }
    }

    /// Asks the model of a file, whatever that holds. Dropping the receiver cancels.
    ///
    /// # Errors
    /// Too many wait.
    pub fn ask(&self, path: &Path, request: Request) -> Result<mpsc::Receiver<Piece>, Busy> {
        self.send(path.to_owned(), None, request)
    }

    /// Asks a model of a folder of models. Its file is checked against its sum before it is loaded for the
    /// first time. Dropping the receiver cancels.
    ///
    /// # Errors
    /// Too many wait.
    pub fn ask_model(
        &self,
        cache: &ModelCache,
        model: &ChatModel,
        request: Request,
    ) -> Result<mpsc::Receiver<Piece>, Busy> {
        let folder = cache.folder(model);
        let file = model.files.first();
        let known = file.map(|file| (file.clone(), model.id.clone()));
        self.send(folder.join(model.weights()), known, request)
    }

    fn send(
        &self,
        path: PathBuf,
        known: Option<(ModelFile, String)>,
        request: Request,
    ) -> Result<mpsc::Receiver<Piece>, Busy> {
        let (pieces, receiver) = mpsc::channel(PIECES);
        let job = Job {
            path,
            known,
            request,
            pieces,
        };
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match jobs.as_ref() {
            Some(jobs) => jobs.try_send(job),
            None => Err(TrySendError::Disconnected(job)),
        };
        let sent = match sent {
            // There is no thread yet, or it died.
            Err(TrySendError::Disconnected(job)) => jobs.insert(self.start()).try_send(job),
            sent => sent,
        };
        match sent {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(Busy(self.settings.queue)),
            Err(TrySendError::Disconnected(job)) => {
                let failed = "there is no thread for local models: the log says why";
                // The channel is new and has room.
                let failed = Piece::Failed(AnswerError::Failed(failed.into()));
                job.pieces.try_send(failed).ok();
                Ok(receiver)
            }
        }
    }

    /// The way to a new thread.
    fn start(&self) -> SyncSender<Job> {
        let (sender, receiver) = sync_channel(self.settings.queue);
        let settings = self.settings;
        let spawned = thread::Builder::new()
            .name("local-llm".into())
            .spawn(move || run(&settings, &receiver));
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for local models");
        }
        sender
    }
}

struct Loaded {
    path: PathBuf,
    model: LoadedModel,
}

/// The files whose sums were found right, with the time of their last change.
#[derive(Default)]
struct Checked(HashMap<PathBuf, SystemTime>);

impl Checked {
    fn check(&mut self, job: &Job, cancel: &Cancel) -> Result<(), AnswerError> {
        let Some((file, model)) = &job.known else {
            return Ok(());
        };
        let changed = std::fs::metadata(&job.path).and_then(|meta| meta.modified());
        if changed.as_ref().ok() == self.0.get(&job.path) && changed.is_ok() {
            return Ok(());
        }
        let is_waited_for = || cancel.check().is_ok();
        let checked = files::check_while(&job.path, file, &is_waited_for);
        cancel.check()?;
        checked.map_err(|error| {
            AnswerError::Failed(format!(
                "{error}: the file is damaged; fetch it again with `mnemic models pull {model}`"
            ))
        })?;
        self.0
            .extend(changed.ok().map(|changed| (job.path.clone(), changed)));
        Ok(())
    }
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
    let mut checked = Checked::default();
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
        let answered = guarded(&mut loaded, |loaded| {
            pool.install(|| serve(settings, (loaded, &mut checked), &job))
        });
        let last = match answered {
            Ok((ending, usage)) => Piece::End(ending, usage),
            Err(AnswerError::Cancelled) => continue,
            Err(error) => Piece::Failed(error),
        };
        // Who does not wait any more does not miss it.
        job.pieces.blocking_send(last).ok();
    }
}

/// Does work with the model. If it panics, which a file may bring about that somebody made for that, the
/// model is dropped with all that it may have left half done, and the next call has a new one.
fn guarded<T, R>(
    loaded: &mut Option<T>,
    work: impl FnOnce(&mut Option<T>) -> Result<R, AnswerError>,
) -> Result<R, AnswerError> {
    catch_unwind(AssertUnwindSafe(|| work(loaded))).unwrap_or_else(|panic| {
        *loaded = None;
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        let said = said.unwrap_or("it does not say why");
        tracing::error!(panic = said, "a local model broke off; it is unloaded");
        Err(AnswerError::Failed(format!(
            "the model broke off, and is loaded anew with the next call ({said})"
        )))
    })
}

fn serve(
    settings: &HostSettings,
    (loaded, checked): (&mut Option<Loaded>, &mut Checked),
    job: &Job,
) -> Result<(Ending, Usage), AnswerError> {
    let pieces = job.pieces.clone();
    let cancel = Cancel::when(move || pieces.is_closed());
    let model = match loaded {
        Some(loaded) if loaded.path == job.path => &mut loaded.model,
        _ => {
            *loaded = None;
            checked.check(job, &cancel)?;
            &mut loaded.insert(load(settings, &job.path, &cancel)?).model
        }
    };
    let mut say = |text: &str| {
        let piece = Piece::Text(text.to_owned());
        job.pieces.blocking_send(piece).map_err(|_| Cancelled)
    };
    model.answer(&job.request, &mut say, &cancel)
}

fn load(settings: &HostSettings, path: &Path, cancel: &Cancel) -> Result<Loaded, AnswerError> {
    let begun = Instant::now();
    let sizes = (settings.window, settings.cache_bytes);
    let model = LoadedModel::read(path, sizes, cancel).map_err(|error| match error {
        GgufError::Cancelled => AnswerError::Cancelled,
        error => AnswerError::Failed(format!("{}: {error}", path.display())),
    })?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::sampling::Sampling;

    #[test]
    fn a_panic_costs_the_call_and_the_model_but_not_the_next_call() {
        let mut loaded = Some("a model");
        let failed = guarded::<_, ()>(&mut loaded, |_| panic!("layer {}", 3));
        assert!(
            matches!(&failed, Err(AnswerError::Failed(text)) if text.contains("layer 3")),
            "{failed:?}"
        );
        assert_eq!(loaded, None);
        let next = guarded(&mut loaded, |loaded| Ok(*loaded.insert("a new one")));
        assert_eq!(next, Ok("a new one"));
        assert!(loaded.is_some());
    }

    #[test]
    fn all_cores_but_one_compute_unless_set_and_never_more_threads_than_cores_can_use() {
        let threads = |set, cores| {
            let threads = NonZeroUsize::new(set);
            let settings = HostSettings {
                threads,
                ..HostSettings::default()
            };
            settings.threads_on(cores)
        };
        let told = [
            threads(0, 8),
            threads(0, 1),
            threads(3, 2),
            threads(1_024, 2),
        ];
        assert_eq!(told, [7, 1, 3, 8]);
    }

    #[test]
    fn a_thread_that_died_is_started_anew() {
        let host = Host::new(HostSettings::default());
        // Its end of the channel is gone, as when the thread is.
        *host.jobs.lock().unwrap() = Some(sync_channel(1).0);
        let request = Request {
            messages: Vec::new(),
            schema: None,
            sampling: Sampling::default(),
            max_tokens: None,
            max_tokens_to_end: None,
            stop: Vec::new(),
        };
        let mut pieces = host.ask(Path::new("no such file"), request).unwrap();
        let said = pieces.blocking_recv();
        let Some(Piece::Failed(AnswerError::Failed(said))) = said else {
            panic!("{said:?}");
        };
        assert!(said.starts_with("no such file: "), "{said}");
    }
}
