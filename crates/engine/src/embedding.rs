//! Embedding models, wherever they run: in this process or at a provider.
//!
//! Everything that needs vectors asks [`Embeddings`] for an [`EmbeddingModel`] by its handle. A model that
//! cannot be used at the moment is an error that search and indexing live with: text search works alone,
//! and what waits for vectors goes on waiting.

#[cfg(feature = "local-models")]
mod local;
mod remote;
mod settings;

use std::{num::NonZeroUsize, ops::Range, sync::Arc, time::Duration};

#[cfg(feature = "local-models")]
use local::LocalModel;
use lru::LruCache;
use mnemic_core::chunks;
use mnemic_llm::{Catalogue, LlmError, ResolveError, ResolvedModel};
use parking_lot::Mutex;
use remote::RemoteModel;
pub use remote::known_dims;
pub use settings::{EmbeddingSettings, LocalModels};

use crate::{
    EngineError,
    rests::{Rests, Trouble},
};

/// Vectors of queries that are kept: an agent often looks for the same words in several places.
const KEPT_QUERIES: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Bytes of a query that is kept.
const KEPT_LENGTH: usize = 4_096;
/// How long queries do without a model that failed or hung.
const QUERY_REST: Duration = Duration::from_secs(30);
/// Texts of remote models are cut into chunks of so many tokens: the smallest of the usual models read 512
/// of theirs, which are shorter.
const REMOTE_CHUNK: chunks::ChunkSize = chunks::ChunkSize {
    tokens: 320,
    overlap: 32,
};
/// Bytes of a word at the most; longer ones are cut.
const LONGEST_WORD: usize = 64;

/// Why there are no vectors.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmbeddingError {
    /// The administrator wants none.
    #[error("embeddings are switched off (default_embedding_handle = none)")]
    Disabled,
    /// The model's files are not there yet.
    #[error("the embedding model {handle} is not there: {hint}")]
    NotReady {
        /// The model.
        handle: String,
        /// What is going on, or what to do.
        hint: String,
    },
    /// The model in the process failed.
    #[error("the embedding model {handle} failed: {reason}")]
    Failed {
        /// The model.
        handle: String,
        /// Why.
        reason: String,
    },
    /// The model at a provider failed or hung a moment ago.
    #[error("the embedding model {handle} did not answer a moment ago and is not asked")]
    Resting {
        /// The model.
        handle: String,
    },
    /// No provider has the model.
    #[error(transparent)]
    Unknown(#[from] ResolveError),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] LlmError),
}

impl EmbeddingError {
    /// Whether the same texts may be embedded later without anybody changing them or the settings.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::NotReady { .. } | Self::Resting { .. } => true,
            Self::Provider(error) => error.is_retryable(),
            Self::Disabled | Self::Failed { .. } | Self::Unknown(_) => false,
        }
    }
}

/// What is known of an embedding model without using it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingInfo {
    /// `provider/model`, as agents name it.
    pub handle: String,
    /// The model's name.
    pub model: String,
    /// Numbers of its vectors.
    pub dims: usize,
    /// Tokens of a chunk at the most.
    pub chunk_tokens: usize,
}

/// All embedding models of the server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Embeddings {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    catalogue: Arc<Catalogue>,
    default: Option<String>,
    off: bool,
    queries: Arc<Queries>,
    rests: Arc<Rests>,
    #[cfg(feature = "local-models")]
    local: Vec<LocalModel>,
}

/// Vectors of the last queries, by model and text.
type Queries = Mutex<LruCache<(String, String), Vec<f32>>>;

impl Embeddings {
    /// The models of the catalogue, and those of this process.
    #[must_use]
    pub fn new(catalogue: Arc<Catalogue>, settings: &EmbeddingSettings) -> Self {
        let inner = Inner {
            catalogue,
            default: settings.default_model(),
            off: settings.is_off(),
            queries: Arc::new(Mutex::new(LruCache::new(KEPT_QUERIES))),
            rests: Arc::new(Rests::new(QUERY_REST, QUERY_REST)),
            #[cfg(feature = "local-models")]
            local: settings
                .local
                .as_ref()
                .map_or_else(Vec::new, LocalModel::all),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The handle of the model that is used where none is named; `None`: no embeddings.
    #[must_use]
    pub fn default_handle(&self) -> Option<&str> {
        self.inner.default.as_deref()
    }

    /// Fetches the files of the default model in the background, if it is one of this process, its files
    /// are not there, and fetching is allowed. Returns at once.
    pub fn prepare(&self) {
        #[cfg(feature = "local-models")]
        if let Some(local) = self.default_handle().and_then(|handle| self.local(handle)) {
            local.prepare();
        }
    }

    /// The models of this process.
    #[must_use]
    pub fn in_process(&self) -> Vec<EmbeddingInfo> {
        #[cfg(feature = "local-models")]
        if !self.inner.off {
            return self.inner.local.iter().map(LocalModel::info).collect();
        }
        Vec::new()
    }

    /// What is known of a model of this process.
    #[must_use]
    pub fn in_process_named(&self, handle: &str) -> Option<EmbeddingInfo> {
        let mut models = self.in_process().into_iter();
        models.find(|info| info.handle.eq_ignore_ascii_case(handle))
    }

    /// The model that a handle names, of this process or of the server's own providers. It need not be
    /// usable yet.
    ///
    /// # Errors
    /// Embeddings are switched off, or no provider has the model.
    pub async fn model(&self, handle: &str) -> Result<EmbeddingModel, EmbeddingError> {
        let found = async { Ok(self.inner.catalogue.resolve(handle).await?) };
        self.model_of(handle, found).await
    }

    /// The model that a handle names: one of this process, or else what is `found` at a provider.
    ///
    /// # Errors
    /// Embeddings are switched off, or no provider has the model.
    pub(crate) async fn model_of(
        &self,
        handle: &str,
        found: impl Future<Output = Result<ResolvedModel, EngineError>>,
    ) -> Result<EmbeddingModel, EmbeddingError> {
        if self.inner.off {
            return Err(EmbeddingError::Disabled);
        }
        let queries = Arc::clone(&self.inner.queries);
        let rests = Arc::clone(&self.inner.rests);
        #[cfg(feature = "local-models")]
        if let Some(local) = self.local(handle) {
            let kind = Kind::Local(local.clone());
            return Ok(EmbeddingModel {
                kind,
                queries,
                rests,
            });
        }
        let resolved = found.await.map_err(|error| match error {
            EngineError::Model(error) => EmbeddingError::Unknown(error),
            other => EmbeddingError::Failed {
                handle: handle.to_owned(),
                reason: other.to_string(),
            },
        })?;
        let client = self.inner.catalogue.client().clone();
        let kind = Kind::Remote(Box::new(RemoteModel::new(client, resolved)));
        Ok(EmbeddingModel {
            kind,
            queries,
            rests,
        })
    }

    /// The model that is used where none is named.
    ///
    /// # Errors
    /// Embeddings are switched off, or no provider has the model.
    pub async fn default_model(&self) -> Result<EmbeddingModel, EmbeddingError> {
        match self.default_handle() {
            Some(handle) => self.model(handle).await,
            None => Err(EmbeddingError::Disabled),
        }
    }

    #[cfg(feature = "local-models")]
    fn local(&self, handle: &str) -> Option<&LocalModel> {
        let mut models = self.inner.local.iter();
        models.find(|local| local.info().handle.eq_ignore_ascii_case(handle))
    }
}

/// A model that makes vectors of texts; cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddingModel {
    kind: Kind,
    queries: Arc<Queries>,
    rests: Arc<Rests>,
}

#[derive(Debug, Clone)]
enum Kind {
    #[cfg(feature = "local-models")]
    Local(LocalModel),
    Remote(Box<RemoteModel>),
}

/// What texts are for: some models want to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To find others.
    Query,
    /// To be found.
    Passage,
}

impl EmbeddingModel {
    /// `provider/model`, as agents name it.
    #[must_use]
    pub fn handle(&self) -> &str {
        match &self.kind {
            #[cfg(feature = "local-models")]
            Kind::Local(model) => model.handle(),
            Kind::Remote(model) => &model.handle,
        }
    }

    /// What is kept beside each vector: vectors are compared only where it is equal. For a model of this
    /// process it changes with the weights; for others it is the handle, and vectors tell their length.
    #[must_use]
    pub fn model_key(&self) -> String {
        match &self.kind {
            #[cfg(feature = "local-models")]
            Kind::Local(model) => model.key(),
            Kind::Remote(model) => model.handle.clone(),
        }
    }

    /// What its queries are kept under: organizations may have providers of the same name.
    fn query_key(&self) -> String {
        match &self.kind {
            #[cfg(feature = "local-models")]
            Kind::Local(model) => model.key(),
            Kind::Remote(model) => format!("{} {}", model.handle, model.base_url()),
        }
    }

    /// Numbers of a vector, where that is known beforehand.
    #[must_use]
    pub fn dims(&self) -> Option<usize> {
        match &self.kind {
            #[cfg(feature = "local-models")]
            Kind::Local(model) => Some(model.info().dims),
            Kind::Remote(model) => known_dims(&model.model),
        }
    }

    /// Whether vectors can be had now. Costs a look at the files, until the model is loaded.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.kind {
            #[cfg(feature = "local-models")]
            Kind::Local(model) => model.is_ready(),
            Kind::Remote(_) => true,
        }
    }

    /// Whether its arithmetic takes the processors of this process.
    #[cfg(feature = "local-models")]
    pub(crate) fn computes_here(&self) -> bool {
        matches!(self.kind, Kind::Local(_))
    }

    /// Has queries do without the model for a while, where it is a provider's: in the process it is no
    /// slower than the machine.
    pub(crate) fn let_rest(&self, trouble: Trouble) {
        match &self.kind {
            #[cfg(feature = "local-models")]
            Kind::Local(_) => {}
            Kind::Remote(_) => {
                self.rests.begin(&self.query_key(), trouble);
            }
        }
    }

    /// The vector of what is searched for, of length 1. Asked for again, it is at hand.
    ///
    /// # Errors
    /// There is none.
    pub async fn embed_query(&self, text: &str) -> Result<Vec<f32>, EmbeddingError> {
        let key = (self.query_key(), text.to_owned());
        if let Some(known) = self.queries.lock().get(&key) {
            return Ok(known.clone());
        }
        if self.rests.is_resting(&self.query_key()) {
            let handle = self.handle().to_owned();
            return Err(EmbeddingError::Resting { handle });
        }
        let embedded = self.embed(vec![text.to_owned()], Purpose::Query).await;
        match &embedded {
            Ok(_) => self.rests.end(&self.query_key()),
            Err(error) if error.is_passing() => self.let_rest(Trouble::Failed),
            Err(_) => {}
        }
        let vector = embedded?.pop().unwrap_or_default();
        if text.len() <= KEPT_LENGTH {
            self.queries.lock().put(key, vector.clone());
        }
        Ok(vector)
    }

    /// The vectors of several queries, of length 1.
    ///
    /// # Errors
    /// There are none.
    pub async fn embed_queries(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        self.embed(texts, Purpose::Query).await
    }

    /// The vectors of what is found, of length 1. A text that is longer than a chunk is cut: see
    /// [`EmbeddingModel::chunks`].
    ///
    /// # Errors
    /// There are none.
    pub async fn embed_passages(
        &self,
        texts: Vec<String>,
    ) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        let embedded = self.embed(texts, Purpose::Passage).await?;
        self.rests.end_failure(&self.query_key());
        Ok(embedded)
    }

    async fn embed(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        match &self.kind {
            #[cfg(feature = "local-models")]
            Kind::Local(model) => model.embed(texts, purpose).await,
            Kind::Remote(model) => model.embed(texts, purpose).await,
        }
    }

    /// The parts of a text that the model reads whole, as ranges of its bytes that overlap a little and
    /// together cover it. Takes time with the text's length, and the first call of a model in the process
    /// reads its vocabulary (tens of milliseconds): for long texts, not for an asynchronous thread.
    ///
    /// # Errors
    /// The model's vocabulary is not there yet.
    pub fn chunks(&self, text: &str) -> Result<Vec<Range<usize>>, EmbeddingError> {
        match &self.kind {
            #[cfg(feature = "local-models")]
            Kind::Local(model) => model.chunks(text),
            Kind::Remote(_) => {
                let spans = chunks::plain_spans(text, LONGEST_WORD, mnemic_core::tokens::count);
                Ok(chunks::split(text, &spans, REMOTE_CHUNK))
            }
        }
    }
}
