//! Search: what was said or written is found again by its words and by its meaning.
//!
//! The text index is no second truth beside the rows: it is made in memory from the messages of an agent or
//! the passages of an archive, kept while there is room, and brought up to date by reading the rows that came
//! since. So a text is found as soon as its commit is durable, both engines rank alike, and nobody's data moves the
//! scores of another. How scores are made is `core::retrieval`.

mod documents;
mod messages;
mod passages;
mod past;
mod shelf;

use std::collections::HashMap;

use mnemic_core::{
    ids::{AgentId, ArchiveId, ConversationId},
    messages::Role,
    retrieval::{self, Filter, Outcome, Query, Settings},
    scope::Scope,
    time::Timestamp,
};

pub use documents::said;
pub use messages::Recalled;
pub use mnemic_core::retrieval::Parts;
pub(crate) use shelf::Shelf;
use shelf::{Opened, ScopeKey};

use crate::{
    Engine, EngineError,
    embedding::{EmbeddingError, EmbeddingModel},
    rests::Trouble,
};

/// How long a search waits for the vector of its query.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Characters of a query that are looked at: more than any question has, and few enough that a pasted
/// book holds up nobody else's search.
const MAX_QUERY_CHARS: usize = 4_000;

/// How often a search is made again because rows that it found were deleted meanwhile; each time for
/// more.
const MAX_TRIES: usize = 8;

/// By how much more.
const MORE: usize = 4;

/// Where is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// In the memory of one agent.
    Agent(AgentId),
    /// In one archive.
    Archive(ArchiveId),
    /// In everything of the organization.
    Everywhere,
}

/// What passages are searched for.
#[derive(Debug, Clone)]
pub struct PassageSearch {
    /// A question or words; an empty text finds nothing in an agent's memory, else the newest passages.
    pub text: String,
    /// Where.
    pub within: Where,
    /// Only passages with these tags.
    pub tags: Vec<String>,
    /// Whether all of the tags are needed, or any.
    pub match_all_tags: bool,
    /// Not before this time.
    pub start: Option<Timestamp>,
    /// Not after this time.
    pub end: Option<Timestamp>,
    /// Results at the most.
    pub limit: usize,
    /// The time zone in which the query's time words are meant.
    pub zone: String,
}

/// By what texts are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By words and by meaning.
    #[default]
    Hybrid,
    /// By words only.
    Text,
    /// By meaning only.
    Vector,
}

/// What messages are searched for.
#[derive(Debug, Clone)]
pub struct MessageSearch {
    /// A question or words; an empty text finds the newest messages.
    pub text: String,
    /// Where.
    pub within: Where,
    /// Only in this thread.
    pub conversation_id: Option<ConversationId>,
    /// Only these speakers; empty is everybody but the system.
    pub roles: Vec<Role>,
    /// Not before this time.
    pub start: Option<Timestamp>,
    /// Not after this time.
    pub end: Option<Timestamp>,
    /// Results at the most.
    pub limit: usize,
    /// By what texts are found.
    pub mode: Mode,
    /// The time zone in which the query's time words are meant.
    pub zone: String,
}

/// Something that was found.
#[derive(Debug, Clone)]
pub struct Finding<T> {
    /// What.
    pub item: T,
    /// How likely it is about what was asked, from 0 to 1.
    pub score: f32,
    /// What the score is made of.
    pub parts: Parts,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Findings<T> {
    /// The results, best first.
    pub found: Vec<Finding<T>>,
    /// Whether none of them seems to be about what was asked.
    pub nothing_relevant: bool,
    /// The part of the searched texts that can be found by meaning.
    pub embedded_share: f32,
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self {
            found: Vec::new(),
            nothing_relevant: true,
            embedded_share: 1.0,
        }
    }
}

/// A query that is the same for all scopes it is asked of.
#[derive(Debug, Clone)]
struct Asked {
    scope: Scope,
    text: String,
    filter: Filter,
    limit: usize,
    mode: Mode,
    zone: String,
    now: Timestamp,
}

impl Asked {
    /// The same question for more hits.
    fn for_more(self) -> Self {
        Self {
            limit: self.limit.saturating_mul(MORE),
            ..self
        }
    }
}

/// What of a query's text is looked at.
fn beginning(text: &str) -> String {
    text.chars().take(MAX_QUERY_CHARS).collect()
}

/// A hit with the scope it is in.
struct Hit {
    key: ScopeKey,
    item: i64,
    score: f32,
    parts: Parts,
}

/// What a query means to an embedding model.
struct Meant {
    /// The model, where one can be used.
    model: Option<String>,
    vector: Option<Vec<f32>>,
}

/// The hits of all scopes.
struct Hits {
    hits: Vec<Hit>,
    nothing_relevant: bool,
    texts: usize,
    embedded: usize,
}

impl Hits {
    /// The rows of the hits, by their scopes.
    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::new();
        for hit in &self.hits {
            wanted.entry(hit.key.clone()).or_default().push(hit.item);
        }
        wanted
    }

    /// The part of the searched texts that can be found by meaning.
    fn embedded_share(&self) -> f32 {
        if self.texts == 0 {
            return 1.0;
        }
        self.embedded as f32 / self.texts as f32
    }

    /// What was found, where `rows` says what the hits are.
    fn with<T>(self, mut rows: Rows<T>) -> Findings<T> {
        let embedded_share = self.embedded_share();
        let found = self.hits.into_iter().filter_map(|hit| {
            Some(Finding {
                item: rows.remove(&(hit.key, hit.item))?,
                score: hit.score,
                parts: hit.parts,
            })
        });
        Findings {
            found: found.collect(),
            nothing_relevant: self.nothing_relevant,
            embedded_share,
        }
    }
}

/// Numbers of rows, by their scopes.
type Wanted = HashMap<ScopeKey, Vec<i64>>;

/// What rows hold, by scope and number.
type Rows<T> = HashMap<(ScopeKey, i64), T>;

impl Engine {
    /// The time zone of an agent.
    ///
    /// # Errors
    /// There is none, or the database's.
    pub async fn timezone_of(
        &self,
        scope: &Scope,
        agent_id: AgentId,
    ) -> Result<String, EngineError> {
        let scope = scope.clone();
        let found = self.store().read(move |tx| {
            Box::pin(async move { mnemic_store::agents::get(tx, &scope, agent_id).await })
        });
        Ok(found.await?.timezone)
    }

    /// Asks scopes, and reads by `read` what the hits are. Rows that were deleted meanwhile are taken out of
    /// the indexes, and more is asked for in their place.
    async fn find<T, Read>(
        &self,
        scopes: Vec<(ScopeKey, Option<String>)>,
        mut asked: Asked,
        read: impl Fn(Wanted) -> Read,
    ) -> Result<Findings<T>, EngineError>
    where
        Read: Future<Output = Result<Rows<T>, EngineError>>,
    {
        let limit = asked.limit;
        let mut found = Findings::default();
        for _ in 0..MAX_TRIES {
            let hits = self.ask(scopes.clone(), &asked).await?;
            let wanted = hits.wanted();
            let rows = read(wanted.clone()).await?;
            let mut is_all = true;
            for (key, mut items) in wanted {
                items.retain(|item| !rows.contains_key(&(key.clone(), *item)));
                if !items.is_empty() {
                    is_all = false;
                    self.inner.shelf.remove(&key, &items).await;
                }
            }
            found = hits.with(rows);
            if is_all || found.found.len() >= limit {
                break;
            }
            asked = asked.for_more();
        }
        found.found.truncate(limit);
        Ok(found)
    }

    /// Asks the indexes of several scopes, each with the handle of its embedding model. Scopes of one
    /// model are ranked as one, as far as they are in memory at once; others by their calibrated scores.
    async fn ask(
        &self,
        scopes: Vec<(ScopeKey, Option<String>)>,
        asked: &Asked,
    ) -> Result<Hits, EngineError> {
        let mut groups: Vec<(Option<String>, Vec<ScopeKey>)> = Vec::new();
        for (key, handle) in scopes {
            match groups.iter_mut().find(|(known, _)| *known == handle) {
                Some((_, keys)) => keys.push(key),
                None => groups.push((handle, vec![key])),
            }
        }
        let mut all = Hits {
            hits: Vec::new(),
            nothing_relevant: true,
            texts: 0,
            embedded: 0,
        };
        for (handle, mut keys) in groups {
            let meant = self.meant(handle.as_deref(), asked).await;
            while !keys.is_empty() {
                let (outcome, asked_now) = self.ask_some(&meant, &mut keys, asked).await?;
                all.nothing_relevant &= outcome.nothing_relevant;
                all.texts += outcome.texts;
                all.embedded += outcome.embedded;
                let hits = outcome.hits.into_iter().filter_map(|hit| {
                    Some(Hit {
                        key: asked_now.get(hit.index)?.clone(),
                        item: hit.key,
                        score: hit.score,
                        parts: hit.parts,
                    })
                });
                all.hits.extend(hits);
            }
        }
        // Stable: hits that were ranked as one keep their order.
        all.hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.hits.truncate(asked.limit);
        Ok(all)
    }

    /// What a query means to the embedding model of a handle, as far as that can say so now.
    async fn meant(&self, handle: Option<&str>, asked: &Asked) -> Meant {
        let model = match asked.mode {
            Mode::Text => None,
            Mode::Hybrid | Mode::Vector => self.model_of(&asked.scope, handle).await.ok(),
        };
        let vector = match &model {
            Some(model) => query_vector(model, &asked.text).await,
            None => None,
        };
        Meant {
            model: model.as_ref().map(EmbeddingModel::model_key),
            vector,
        }
    }

    /// Asks as many scopes as the indexes' budget has room for, and takes them off the list.
    async fn ask_some(
        &self,
        meant: &Meant,
        keys: &mut Vec<ScopeKey>,
        asked: &Asked,
    ) -> Result<(Outcome, Vec<ScopeKey>), EngineError> {
        // What blocks said once has no vectors; and a search by words takes an index as it is.
        let wanted: Vec<(ScopeKey, Option<String>)> = keys
            .iter()
            .map(|key| match key {
                ScopeKey::Past(_) => (key.clone(), None),
                _ => (key.clone(), meant.model.clone()),
            })
            .collect();
        let opened = self.inner.shelf.open(self, &wanted).await?;
        let rest = keys.split_off(opened.len().min(keys.len()));
        let asked_now = std::mem::replace(keys, rest);
        // Another search may have gone over to another model meanwhile.
        let fits = opened.iter().all(|one| one.fits(meant.model.as_ref()));
        let vector = meant.vector.clone().filter(|_| fits);
        let asked = asked.clone();
        let outcome = self
            .inner
            .shelf
            .compute(move || search_in(&opened, &asked, vector.as_deref()))
            .await?;
        Ok((outcome, asked_now))
    }
}

impl Engine {
    /// The embedding model of a handle, or the default; only one that can be used now.
    pub(crate) async fn model_of(
        &self,
        scope: &Scope,
        handle: Option<&str>,
    ) -> Result<EmbeddingModel, EmbeddingError> {
        let embeddings = &self.inner.embeddings;
        let model = match handle {
            Some(handle) => {
                let found = async { self.resolve_model(scope, handle).await };
                embeddings.model_of(handle, found).await?
            }
            None => embeddings.default_model().await?,
        };
        if model.is_ready() {
            return Ok(model);
        }
        Err(EmbeddingError::NotReady {
            handle: model.handle().to_owned(),
            hint: "its files are not there yet".to_owned(),
        })
    }
}

/// The vector of a query. A model that does not answer in time is done without, by the next ones at once.
async fn query_vector(model: &EmbeddingModel, text: &str) -> Option<Vec<f32>> {
    match tokio::time::timeout(PATIENCE, model.embed_query(text)).await {
        Ok(Ok(vector)) => Some(vector),
        Ok(Err(EmbeddingError::Resting { .. })) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a search goes by words only");
            None
        }
        Err(_) => {
            model.let_rest(Trouble::Hung);
            let model = model.handle();
            tracing::warn!(
                model,
                "the embedding model is slow; a search goes by words only"
            );
            None
        }
    }
}

fn search_in(opened: &[Opened], asked: &Asked, vector: Option<&[f32]>) -> Outcome {
    let indexes: Vec<&retrieval::Index> = opened.iter().map(Opened::index).collect();
    let settings = match asked.mode {
        Mode::Hybrid => Settings::default(),
        Mode::Text => Settings::text_only(),
        Mode::Vector => Settings::vector_only(),
    };
    let query = Query {
        text: &asked.text,
        vector,
        now: asked.now,
        zone: &asked.zone,
        filter: asked.filter.clone(),
        limit: asked.limit,
        settings: &settings,
    };
    retrieval::search(&indexes, &query)
}
