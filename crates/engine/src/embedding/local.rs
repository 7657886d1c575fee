//! Embedding models in this process: two threads of their own compute, so that a query never waits for a
//! batch of passages, and passages yield to everything else. Nothing is loaded before it is needed.

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use mnemic_local::{
    Artifact as _, Embedder, Model, ModelCache, manifest,
    pull::{self, PullOptions},
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{EmbeddingError, EmbeddingInfo, LocalModels, Purpose};

/// Jobs that may wait for a thread.
const QUEUE: usize = 64;
/// Texts that a thread computes before it looks whether anybody still waits for the rest.
const PIECE: usize = 16;
/// How much less of the processor the thread of passages gets than others (`nice`).
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// A model in this process; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct LocalModel {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    model: &'static Model,
    handle: String,
    cache: ModelCache,
    settings: LocalModels,
    fetching: Arc<AtomicBool>,
    loaded: Arc<Loaded>,
    /// The threads' queues, once there are threads.
    queries: Mutex<Option<mpsc::Sender<Job>>>,
    passages: Mutex<Option<mpsc::Sender<Job>>>,
}

/// The model once somebody needed it.
#[derive(Debug, Default)]
struct Loaded {
    embedder: OnceLock<Embedder>,
    /// Held while it is loaded.
    loading: Mutex<()>,
}

impl Loaded {
    /// The model, which the first caller loads.
    fn get(&self, model: &Model, folder: &Path) -> Result<&Embedder, String> {
        if let Some(embedder) = self.embedder.get() {
            return Ok(embedder);
        }
        let _loading = self.loading.lock();
        if let Some(embedder) = self.embedder.get() {
            return Ok(embedder);
        }
        let embedder = Embedder::load(model, folder).map_err(|error| error.to_string())?;
        tracing::debug!(model = model.id, "the embedding model is loaded");
        Ok(self.embedder.get_or_init(|| embedder))
    }
}

/// Texts that somebody wants the vectors of.
#[derive(Debug)]
struct Job {
    texts: Vec<String>,
    purpose: Purpose,
    answer: oneshot::Sender<Result<Vec<Vec<f32>>, String>>,
}

impl LocalModel {
    /// All models that can run in this process.
    pub fn all(settings: &LocalModels) -> Vec<Self> {
        let model = |model: &'static Model| Self {
            inner: Arc::new(Inner {
                model,
                handle: model.handle(),
                cache: ModelCache::new(&settings.folder),
                settings: settings.clone(),
                fetching: Arc::default(),
                loaded: Arc::default(),
                queries: Mutex::default(),
                passages: Mutex::default(),
            }),
        };
        manifest::models().iter().map(model).collect()
    }

    pub fn handle(&self) -> &str {
        &self.inner.handle
    }

    pub fn key(&self) -> String {
        self.inner.model.key()
    }

    pub fn info(&self) -> EmbeddingInfo {
        let model = self.inner.model;
        EmbeddingInfo {
            handle: self.inner.handle.clone(),
            model: model.id.clone(),
            dims: model.dims,
            chunk_tokens: model.max_tokens,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.inner.loaded.embedder.get().is_some() || self.inner.cache.has(self.inner.model)
    }

    fn check_ready(&self) -> Result<(), EmbeddingError> {
        if self.is_ready() {
            return Ok(());
        }
        let hint = if self.inner.fetching.load(Ordering::Relaxed) {
            "its files are being fetched".to_owned()
        } else {
            format!(
                "`mnemic models pull {}` fetches its files",
                self.inner.model.id
            )
        };
        Err(EmbeddingError::NotReady {
            handle: self.inner.handle.clone(),
            hint,
        })
    }

    fn failed(&self, reason: impl Into<String>) -> EmbeddingError {
        EmbeddingError::Failed {
            handle: self.inner.handle.clone(),
            reason: reason.into(),
        }
    }

    /// Fetches missing files on a thread of its own, if that is allowed.
    pub fn prepare(&self) {
        let inner = &self.inner;
        if self.is_ready() {
            return;
        }
        let (handle, folder) = (inner.handle.clone(), inner.cache.root().display());
        if !inner.settings.fetch {
            tracing::info!(
                "the embedding model {handle} is not in {folder}: search goes by text alone until \
                 `mnemic models pull` has fetched it"
            );
            return;
        }
        if inner.fetching.swap(true, Ordering::Relaxed) {
            return;
        }
        let megabytes = inner.model.bytes() / 1_000_000;
        tracing::info!(
            "the embedding model {handle} ({megabytes} MB) is fetched into {folder}; until then search \
             goes by text alone"
        );
        let (model, cache) = (inner.model, inner.cache.clone());
        let options = PullOptions {
            hub: inner
                .settings
                .hub
                .clone()
                .unwrap_or_else(|| pull::HUB.to_owned()),
            ..PullOptions::default()
        };
        let fetching = Arc::clone(&inner.fetching);
        let fetch = move || {
            match pull::pull(model, &cache, &options, &mut |_| {}) {
                Ok(_) => tracing::info!("the embedding model {handle} is there"),
                Err(error) => tracing::warn!(
                    "the embedding model could not be fetched, so search goes by text alone: {error}"
                ),
            }
            fetching.store(false, Ordering::Relaxed);
        };
        if let Err(error) = thread::Builder::new()
            .name("model-fetch".into())
            .spawn(fetch)
        {
            inner.fetching.store(false, Ordering::Relaxed);
            tracing::warn!(%error, "no thread could be started to fetch the embedding model");
        }
    }

    pub async fn embed(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        self.check_ready()?;
        let (answer, answered) = oneshot::channel();
        let job = Job {
            texts,
            purpose,
            answer,
        };
        let ended = || self.failed("its thread ended");
        let queue = self.queue(purpose)?;
        queue.send(job).await.map_err(|_| ended())?;
        match answered.await {
            Ok(Ok(vectors)) => Ok(vectors),
            Ok(Err(reason)) => Err(self.failed(reason)),
            Err(_) => Err(ended()),
        }
    }

    pub fn chunks(&self, text: &str) -> Result<Vec<Range<usize>>, EmbeddingError> {
        self.check_ready()?;
        let (model, folder) = (self.inner.model, self.inner.cache.folder(self.inner.model));
        let embedder = self.inner.loaded.get(model, &folder);
        Ok(embedder.map_err(|reason| self.failed(reason))?.chunks(text))
    }

    /// The queue of the thread for that purpose, which is started now if need be.
    fn queue(&self, purpose: Purpose) -> Result<mpsc::Sender<Job>, EmbeddingError> {
        let (queue, name) = match purpose {
            Purpose::Query => (&self.inner.queries, "embed-queries"),
            Purpose::Passage => (&self.inner.passages, "embed-passages"),
        };
        let mut queue = queue.lock();
        if let Some(queue) = queue.as_ref().filter(|queue| !queue.is_closed()) {
            return Ok(queue.clone());
        }
        let (sender, jobs) = mpsc::channel(QUEUE);
        let loaded = Arc::clone(&self.inner.loaded);
        let (model, folder) = (self.inner.model, self.inner.cache.folder(self.inner.model));
        let work = move || {
            if purpose == Purpose::Passage {
                yield_to_others();
            }
            work(jobs, || loaded.get(model, &folder));
        };
        thread::Builder::new()
            .name(name.into())
            .spawn(work)
            .map_err(|error| self.failed(error.to_string()))?;
        *queue = Some(sender.clone());
        Ok(sender)
    }
}

/// Answers jobs until nobody can send any.
fn work<'a>(mut jobs: mpsc::Receiver<Job>, load: impl Fn() -> Result<&'a Embedder, String>) {
    while let Some(job) = jobs.blocking_recv() {
        let Job {
            texts,
            purpose,
            answer,
        } = job;
        let vectors = load().and_then(|embedder| {
            let mut vectors = Vec::with_capacity(texts.len());
            for piece in texts.chunks(PIECE) {
                if answer.is_closed() {
                    break;
                }
                vectors.extend(compute(embedder, piece, purpose)?);
            }
            Ok(vectors)
        });
        // Whoever asked may have gone away.
        answer.send(vectors).ok();
    }
}

fn compute(
    embedder: &Embedder,
    texts: &[String],
    purpose: Purpose,
) -> Result<Vec<Vec<f32>>, String> {
    let vectors = match purpose {
        Purpose::Query => texts
            .iter()
            .map(|text| embedder.embed_query(text))
            .collect(),
        Purpose::Passage => {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            embedder.embed_passages(&texts)
        }
    };
    vectors.map_err(|error| error.to_string())
}

/// Lowers the priority of this thread, where the system counts it by thread.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the embedding thread keeps its priority");
    }
}
