//! The indexes that are in memory, within one budget of bytes, the least recently used out first.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use lru::LruCache;
use mnemic_core::{
    ids::{AgentId, ArchiveId, BlockId},
    retrieval::{Document, Index, Kind},
    time::Timestamp,
};
use mnemic_store::{
    StoreError, Tx, blocks,
    embed_scopes::{LATE_ROWS, overlap},
    messages, passages, vectors,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, Semaphore};

use super::{documents, past};
use crate::{Engine, EngineError};

/// Rows that are read at once when an index is made.
const PAGE: i64 = 4_000;

/// Rows up to which an index is brought up to date where it stands; more go to a thread of their own.
const FEW: usize = 64;

/// Whose texts an index holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ScopeKey {
    /// An agent's messages, of one end user or common.
    Messages(AgentId, Option<String>),
    /// An archive's passages, likewise.
    Passages(ArchiveId, Option<String>),
    /// What a block said once and no longer says.
    Past(BlockId),
}

impl ScopeKey {
    /// The name under which its vectors stand.
    fn vector_scope(&self) -> Option<String> {
        match self {
            Self::Messages(id, _) => Some(id.to_string()),
            Self::Passages(id, _) => Some(id.to_string()),
            Self::Past(_) => None,
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Messages(..) => Kind::Turns,
            Self::Passages(..) | Self::Past(_) => Kind::Passages,
        }
    }
}

/// A text with what its index needs to know.
pub(super) struct Text {
    pub key: i64,
    pub text: String,
    pub speaker: Option<String>,
    pub time: Timestamp,
    pub session: u64,
    pub role: u8,
    pub tags: Vec<String>,
    pub superseded: bool,
}

/// What has come since an index was brought up to date.
#[derive(Default)]
struct Batch {
    texts: Vec<Text>,
    /// The numbers of the rows that were read, in order.
    rows: Vec<i64>,
    vectors: Vec<vectors::Stored>,
    /// Values of a block, where that is what is indexed.
    values: Vec<blocks::PastValue>,
    is_last: bool,
    /// A row came late with a number that was passed already: the index is to be made anew.
    is_late: bool,
}

impl Batch {
    fn len(&self) -> usize {
        self.rows.len() + self.vectors.len() + self.values.len()
    }
}

/// Up to where an index has read.
#[derive(Debug, Clone, Default)]
struct Position {
    row: i64,
    vector: i64,
    /// Rows among the last [`LATE_ROWS`] numbers.
    recent: i64,
}

/// An index in memory.
pub(super) struct Loaded {
    index: Index,
    model: Option<String>,
    position: Position,
    recent: VecDeque<i64>,
    past: past::Lines,
    /// Numbers of the vectors that were read.
    dims: Option<usize>,
}

impl Loaded {
    fn new(kind: Kind, model: Option<String>) -> Self {
        Self {
            index: Index::new(kind),
            model,
            position: Position::default(),
            recent: VecDeque::new(),
            past: past::Lines::default(),
            dims: None,
        }
    }

    /// Whether the model's vectors have another length now: then all of them are new.
    fn is_outgrown_by(&self, batch: &Batch) -> bool {
        let lengths = batch.vectors.iter().filter_map(dims_of);
        self.dims
            .is_some_and(|dims| lengths.into_iter().any(|length| length != dims))
    }

    /// Goes over to the vectors of another model; the texts stay.
    fn change_model(&mut self, model: &str) {
        self.index.clear_vectors();
        self.position.vector = 0;
        self.model = Some(model.to_owned());
    }

    fn push(&mut self, text: &Text) {
        let tags: Vec<&str> = text.tags.iter().map(String::as_str).collect();
        self.index.push(&Document {
            key: text.key,
            text: &text.text,
            speaker: text.speaker.as_deref(),
            time: text.time,
            session: text.session,
            role: text.role,
            tags: &tags,
            superseded: text.superseded,
        });
    }

    fn apply(&mut self, batch: Batch) {
        for value in &batch.values {
            self.position.row = value.version;
            let (gone, back) = self.past.follow(value);
            for text in gone {
                self.push(&text);
            }
            for line in back {
                self.index.remove(line);
            }
        }
        for text in &batch.texts {
            self.push(text);
        }
        for row in batch.rows {
            self.position.row = row;
            self.recent.push_back(row);
        }
        while self
            .recent
            .front()
            .is_some_and(|row| *row <= self.position.row - LATE_ROWS)
        {
            self.recent.pop_front();
        }
        self.position.recent = i64::try_from(self.recent.len()).unwrap_or(i64::MAX);
        for stored in batch.vectors {
            self.position.vector = stored.seq;
            self.dims = dims_of(&stored).or(self.dims);
            for (chunk, vector) in (0..).zip(&stored.vectors.chunks) {
                self.index.set_vector(stored.vectors.item, chunk, vector);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.index.bytes() + self.past.bytes()
    }
}

/// An index that is up to date, for as long as a search needs it.
pub(super) struct Opened {
    loaded: OwnedRwLockReadGuard<Loaded>,
}

impl Opened {
    pub(super) fn index(&self) -> &Index {
        &self.loaded.index
    }

    /// A line that a block no longer has, with the time at which it went.
    pub(super) fn past(&self) -> &past::Lines {
        &self.loaded.past
    }

    /// Whether its vectors, if it has any, are those of a model.
    pub(super) fn fits(&self, model: Option<&String>) -> bool {
        self.loaded.model.is_none() || self.loaded.model.as_ref() == model
    }
}

struct Slot {
    loaded: Arc<RwLock<Loaded>>,
    bytes: AtomicUsize,
}

/// All indexes in memory.
pub(crate) struct Shelf {
    slots: Mutex<LruCache<ScopeKey, Arc<Slot>>>,
    max_bytes: usize,
    /// Searches that compute at the same time: no more than there are cores.
    permits: Arc<Semaphore>,
}

impl Shelf {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            slots: Mutex::new(LruCache::unbounded()),
            max_bytes,
            permits: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Runs something that computes for long on a thread where it holds nobody up.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|error| StoreError::Database(format!("a search died: {error}")).into())
    }

    /// The indexes of scopes, with everything that was durable when it was asked for. `model` says whose
    /// vectors an index is to have; `None` leaves those that it has.
    ///
    /// Of many scopes it opens only as many as the budget has room for, at least one: so many are returned.
    /// Guards of several indexes are taken only when all are up to date, and by all searches in one
    /// order: whoever waits for one while it holds others would wait for ever otherwise.
    pub(super) async fn open(
        &self,
        engine: &Engine,
        wanted: &[(ScopeKey, Option<String>)],
    ) -> Result<Vec<Opened>, EngineError> {
        let mut slots = Vec::with_capacity(wanted.len());
        let mut bytes = 0;
        for (place, (key, model)) in wanted.iter().enumerate() {
            let slot = self.fresh(engine, key, model.as_ref()).await?;
            bytes += slot.bytes.load(Ordering::Relaxed);
            slots.push((place, slot));
            if bytes > self.max_bytes {
                break;
            }
        }
        slots.sort_by_key(|(_, slot)| Arc::as_ptr(slot));
        let mut opened = Vec::with_capacity(slots.len());
        for (place, slot) in slots {
            let loaded = Arc::clone(&slot.loaded).read_owned().await;
            opened.push((place, Opened { loaded }));
        }
        opened.sort_by_key(|(place, _)| *place);
        Ok(opened.into_iter().map(|(_, opened)| opened).collect())
    }

    /// The slot of a scope after it was brought up to date.
    async fn fresh(
        &self,
        engine: &Engine,
        key: &ScopeKey,
        model: Option<&String>,
    ) -> Result<Arc<Slot>, EngineError> {
        let slot = self.slot(key);
        {
            let loaded = Arc::clone(&slot.loaded).read_owned().await;
            if model.is_none() || loaded.model.as_ref() == model {
                let position = loaded.position.clone();
                let batch = read(engine, key, &loaded.model, position).await?;
                if batch.len() == 0 && !batch.is_late {
                    return Ok(Arc::clone(&slot));
                }
            }
        }
        let mut loaded = Arc::clone(&slot.loaded).write_owned().await;
        if let Some(model) = model
            && loaded.model.as_ref() != Some(model)
        {
            loaded.change_model(model);
        }
        loop {
            let batch = read(engine, key, &loaded.model, loaded.position.clone()).await?;
            if batch.is_late || loaded.is_outgrown_by(&batch) {
                *loaded = Loaded::new(key.kind(), loaded.model.take());
                continue;
            }
            let is_last = batch.is_last;
            loaded = self.apply(loaded, batch).await?;
            if is_last {
                break;
            }
        }
        slot.bytes.store(loaded.bytes(), Ordering::Relaxed);
        drop(loaded);
        self.make_room(key);
        Ok(slot)
    }

    async fn apply(
        &self,
        mut loaded: OwnedRwLockWriteGuard<Loaded>,
        batch: Batch,
    ) -> Result<OwnedRwLockWriteGuard<Loaded>, EngineError> {
        if batch.len() <= FEW {
            loaded.apply(batch);
            return Ok(loaded);
        }
        self.compute(move || {
            loaded.apply(batch);
            loaded
        })
        .await
    }

    fn slot(&self, key: &ScopeKey) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        let made = || {
            Arc::new(Slot {
                loaded: Arc::new(RwLock::new(Loaded::new(key.kind(), None))),
                bytes: AtomicUsize::new(0),
            })
        };
        Arc::clone(slots.get_or_insert(key.clone(), made))
    }

    /// How many indexes are in memory, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let slots = self.slots.lock();
        let bytes = slots
            .iter()
            .map(|(_, slot)| slot.bytes.load(Ordering::Relaxed));
        (slots.len(), bytes.sum())
    }

    /// Lets go of indexes until the rest is within the budget; the one just used stays.
    fn make_room(&self, used: &ScopeKey) {
        let mut slots = self.slots.lock();
        let mut bytes: usize = slots
            .iter()
            .map(|(_, slot)| slot.bytes.load(Ordering::Relaxed))
            .sum();
        while bytes > self.max_bytes {
            let Some((key, slot)) = slots.pop_lru() else {
                return;
            };
            if key == *used {
                slots.put(key, slot);
                // It was the least recently used, so it is the only one.
                return;
            }
            bytes -= slot.bytes.load(Ordering::Relaxed);
        }
    }

    /// Takes texts out of an index whose rows are gone.
    pub(super) async fn remove(&self, key: &ScopeKey, items: &[i64]) {
        let slot = self.slots.lock().get(key).map(Arc::clone);
        if let Some(slot) = slot {
            let mut loaded = slot.loaded.write().await;
            for item in items {
                loaded.index.remove(*item);
            }
        }
    }
}

fn dims_of(stored: &vectors::Stored) -> Option<usize> {
    stored.vectors.chunks.first().map(Vec::len)
}

/// Reads what has come after a position.
async fn read(
    engine: &Engine,
    key: &ScopeKey,
    model: &Option<String>,
    position: Position,
) -> Result<Batch, EngineError> {
    let (key, model) = (key.clone(), model.clone());
    engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                let mut batch = match &key {
                    ScopeKey::Messages(id, subject) => {
                        said(tx, *id, subject.as_deref(), &position).await?
                    }
                    ScopeKey::Passages(id, subject) => {
                        written(tx, *id, subject.as_deref(), &position).await?
                    }
                    ScopeKey::Past(id) => past(tx, *id, &position).await?,
                };
                if let (Some(model), Some(scope)) = (&model, key.vector_scope()) {
                    let after = (position.vector, PAGE);
                    batch.vectors = vectors::after(tx, (&scope, model), after).await?;
                    batch.is_last &= (batch.vectors.len() as i64) < PAGE;
                }
                Ok::<_, EngineError>(batch)
            })
        })
        .await
}

async fn said(
    tx: &mut Tx<'_>,
    agent_id: AgentId,
    subject: Option<&str>,
    position: &Position,
) -> Result<Batch, StoreError> {
    let window = overlap(tx.dialect());
    if window > 0 && position.row > 0 {
        let between = (position.row - window, position.row);
        if messages::count_between(tx, agent_id, subject, between).await? > position.recent {
            return Ok(Batch {
                is_late: true,
                ..Batch::default()
            });
        }
    }
    let rows = messages::after(tx, agent_id, subject, (position.row, PAGE)).await?;
    let mut batch = Batch {
        rows: rows.iter().map(|row| row.seq).collect(),
        is_last: (rows.len() as i64) < PAGE,
        ..Batch::default()
    };
    for row in rows {
        if let Some(text) = documents::said(row.role, &row.body) {
            let role = row.role.as_str().to_owned();
            batch.texts.push(Text {
                key: row.seq,
                text,
                speaker: row.name.or(Some(role)),
                time: row.created_at,
                session: documents::session(row.conversation_id),
                role: documents::role_number(row.role),
                tags: Vec::new(),
                superseded: false,
            });
        }
    }
    Ok(batch)
}

async fn written(
    tx: &mut Tx<'_>,
    archive_id: ArchiveId,
    subject: Option<&str>,
    position: &Position,
) -> Result<Batch, StoreError> {
    let rows = passages::after(tx, archive_id, subject, (position.row, PAGE)).await?;
    let mut batch = Batch {
        rows: rows.iter().map(|row| row.seq).collect(),
        is_last: (rows.len() as i64) < PAGE,
        ..Batch::default()
    };
    let texts = rows.into_iter().map(|row| Text {
        key: row.seq,
        text: row.text,
        speaker: None,
        time: row.created_at,
        session: 0,
        role: 0,
        tags: row.tags,
        superseded: false,
    });
    batch.texts.extend(texts);
    Ok(batch)
}

async fn past(tx: &mut Tx<'_>, id: BlockId, position: &Position) -> Result<Batch, StoreError> {
    /// Versions hold whole values, so fewer are read at once.
    const VERSIONS: i64 = 200;
    let values = blocks::values_after(tx, id, (position.row, VERSIONS)).await?;
    Ok(Batch {
        is_last: (values.len() as i64) < VERSIONS,
        values,
        ..Batch::default()
    })
}
