//! The background worker that gives texts their vectors: one at a time in a database, newest texts
//! first, and after the turns that run.

use std::time::Duration;

use mnemic_core::{
    ids::{AgentId, ArchiveId},
    retrieval,
};
use mnemic_store::{
    Dialect, agents, archives,
    embed_scopes::{self, DirtyScope, LATE_ROWS, ScopeKind},
    messages, passages,
    vectors::{self, TextVectors},
};
use tokio::time::Instant;

use crate::{Engine, EngineError, embedding::EmbeddingModel, search};

/// How often new texts are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long PostgreSQL is looked at again for rows that show late.
const LATE: Duration = Duration::from_secs(5);
/// The wait after a model that did not answer.
const BACK_OFF: Duration = Duration::from_secs(20);
/// How long one scope is worked on before a newer one may come first.
const SLICE: Duration = Duration::from_secs(5);
/// How long turns that run hold the worker up at the most, before each batch.
const MAX_YIELD: Duration = Duration::from_millis(500);
/// For how long the right to embed is held, in seconds.
const LEASE_SECONDS: i64 = 60;
/// Scopes that are tried in turn when the models of the first do not answer.
const SCOPES: i64 = 16;
/// Texts that are embedded together.
const BATCH: usize = 32;
/// Rows that are looked through at once.
const PAGE: i64 = 256;
/// Rows whose scopes are marked at once; more than [`LATE_ROWS`].
const NOTICED: i64 = 20_000;

/// A text that waits.
struct Waiting {
    item: i64,
    text: String,
}

/// Rows of a scope, newest first.
struct Leaf {
    waiting: Vec<Waiting>,
    /// The numbers of the first and last row; `None` when there are no more.
    bounds: Option<(i64, i64)>,
}

impl Engine {
    /// Embeds for as long as the engine runs.
    pub(crate) async fn embed_forever(self) {
        let abort = self.inner.supervisor.abort.clone();
        let mut late_until = Instant::now();
        let mut default = None;
        loop {
            let worked = async {
                self.notice_new_default(&mut default).await?;
                self.embed_some(&mut late_until).await
            };
            let pause = match worked.await {
                Ok(true) => Duration::ZERO,
                Ok(false) => LOOK,
                Err(error) => {
                    tracing::warn!(%error, "embedding waits");
                    BACK_OFF
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = abort.cancelled() => return,
            }
        }
    }

    /// Looks for new texts and embeds for a while. Returns whether there is more to do.
    async fn embed_some(&self, late_until: &mut Instant) -> Result<bool, EngineError> {
        let mut grown = false;
        for kind in ScopeKind::ALL {
            let heights = self.store().read(move |tx| {
                Box::pin(async move {
                    embed_scopes::heights(tx, kind)
                        .await
                        .map_err(EngineError::from)
                })
            });
            let (top, seen) = heights.await?;
            grown |= top > seen;
        }
        if grown && self.store().dialect() == Dialect::Postgres {
            *late_until = Instant::now() + LATE;
        }
        if grown || Instant::now() < *late_until {
            let now = self.now();
            self.store()
                .write(move |tx| {
                    Box::pin(async move {
                        for kind in ScopeKind::ALL {
                            embed_scopes::notice(tx, kind, now, NOTICED).await?;
                        }
                        Ok::<_, EngineError>(())
                    })
                })
                .await?;
        }
        let dirty = self.store().read(|tx| {
            Box::pin(async move {
                embed_scopes::dirty(tx, SCOPES)
                    .await
                    .map_err(EngineError::from)
            })
        });
        let mut worked = false;
        for scope in dirty.await? {
            if !worked && !self.may_embed().await? {
                return Ok(false);
            }
            match self.embed_scope(&scope).await {
                Ok(()) => return Ok(true),
                // Another scope's model may answer.
                Err(EngineError::Embedding(error)) if error.is_passing() => {
                    tracing::debug!(scope = scope.scope, %error, "its texts wait for their vectors");
                }
                Err(EngineError::Store(mnemic_store::StoreError::NotFound { .. })) => {
                    self.forget_scope(&scope).await?;
                }
                Err(error) => return Err(error),
            }
            worked = true;
        }
        Ok(false)
    }

    /// A scope that was deleted while it waited.
    async fn forget_scope(&self, scope: &DirtyScope) -> Result<(), EngineError> {
        let id = scope.scope.clone();
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    embed_scopes::forget(tx, &id)
                        .await
                        .map_err(EngineError::from)
                })
            })
            .await
    }

    /// Another default model than before, or the first: all texts that follow it are embedded anew.
    async fn notice_new_default(&self, known: &mut Option<String>) -> Result<(), EngineError> {
        let Ok(model) = self.inner.embeddings.default_model().await else {
            return Ok(());
        };
        let key = model.model_key();
        if !model.is_ready() || known.as_ref() == Some(&key) {
            return Ok(());
        }
        *known = Some(key.clone());
        let now = self.now();
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    if embed_scopes::remember_default(tx, &key).await? {
                        embed_scopes::mark_all(tx, now).await?;
                    }
                    Ok::<_, EngineError>(())
                })
            })
            .await
    }

    /// Whether this process is the one that embeds. SQLite has no other.
    async fn may_embed(&self) -> Result<bool, EngineError> {
        if self.store().dialect() == Dialect::Sqlite {
            return Ok(true);
        }
        let (owner, now) = (self.inner.boot_id.clone(), self.now());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    embed_scopes::hold(tx, &owner, now, LEASE_SECONDS)
                        .await
                        .map_err(EngineError::from)
                })
            })
            .await
    }

    /// Embeds the texts of a scope, newest first, for a slice of time.
    async fn embed_scope(&self, scope: &DirtyScope) -> Result<(), EngineError> {
        let handle = self.handle_of(scope).await?;
        let model = match self.model_of(handle.as_deref()).await {
            Ok(model) => model,
            Err(error) if error.is_passing() => return Err(error.into()),
            // No embeddings are wanted, or nobody has the model: texts are found by their words.
            Err(_) => return self.close_scope(scope, None, 0).await,
        };
        let key = model.model_key();
        let is_same = scope.model.as_deref() == Some(key.as_str());
        let above = if is_same { scope.done_to } else { 0 };
        let (mut below, mut top) = (i64::MAX, above);
        let until = Instant::now() + SLICE;
        loop {
            let leaf = self.leaf(scope, &key, (above, below)).await?;
            let Some((first, last)) = leaf.bounds else {
                break;
            };
            (top, below) = (top.max(first), last);
            for batch in leaf.waiting.chunks(BATCH) {
                self.yield_to_turns().await;
                self.embed_batch(scope, &model, batch).await?;
            }
            if Instant::now() > until {
                // The mark stays, and what is done is known by its vectors.
                return Ok(());
            }
        }
        self.close_scope(scope, Some(&key), top).await
    }

    /// Turns come first: while some run, the worker waits, but not for ever.
    async fn yield_to_turns(&self) {
        let until = Instant::now() + MAX_YIELD;
        while self.inner.supervisor.is_busy() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn embed_batch(
        &self,
        scope: &DirtyScope,
        model: &EmbeddingModel,
        batch: &[Waiting],
    ) -> Result<(), EngineError> {
        let mut texts = Vec::new();
        let mut counts = Vec::with_capacity(batch.len());
        for waiting in batch {
            let chunks = model.chunks(&waiting.text)?;
            counts.push((waiting.item, chunks.len()));
            let chunks = chunks
                .into_iter()
                .filter_map(|range| waiting.text.get(range));
            texts.extend(chunks.map(str::to_owned));
        }
        let mut made = model.embed_passages(texts).await?.into_iter();
        let vectors: Vec<TextVectors> = counts
            .into_iter()
            .map(|(item, count)| TextVectors {
                item,
                chunks: made.by_ref().take(count).collect(),
            })
            .collect();
        let (scope, key) = (scope.scope.clone(), model.model_key());
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    vectors::insert(tx, (&scope, &key), &vectors)
                        .await
                        .map_err(EngineError::from)
                })
            })
            .await
    }

    /// The handle of the embedding model of a scope; `None` is the server's default.
    async fn handle_of(&self, dirty: &DirtyScope) -> Result<Option<String>, EngineError> {
        let scope = mnemic_core::scope::Scope {
            organization: dirty.organization,
            ..mnemic_core::scope::Scope::default()
        };
        let (id, kind) = (dirty.scope.clone(), dirty.kind);
        let found = self.store().read(move |tx| {
            Box::pin(async move {
                Ok::<_, EngineError>(match kind {
                    ScopeKind::Messages => match id.parse::<AgentId>() {
                        Ok(id) => agents::get(tx, &scope, id)
                            .await?
                            .embedding_handle()
                            .map(str::to_owned),
                        Err(_) => None,
                    },
                    ScopeKind::Passages => match id.parse::<ArchiveId>() {
                        Ok(id) => archives::get(tx, &scope, id)
                            .await?
                            .embedding_handle()
                            .map(str::to_owned),
                        Err(_) => None,
                    },
                })
            })
        });
        found.await
    }

    /// The next rows of a scope downwards, and those of them that have no vectors yet.
    async fn leaf(
        &self,
        scope: &DirtyScope,
        model: &str,
        bounds: (i64, i64),
    ) -> Result<Leaf, EngineError> {
        let (id, kind, model) = (scope.scope.clone(), scope.kind, model.to_owned());
        self.store()
            .read(move |tx| {
                Box::pin(async move {
                    let (rows, waiting) = match kind {
                        ScopeKind::Messages => said(tx, &id, bounds).await?,
                        ScopeKind::Passages => written(tx, &id, bounds).await?,
                    };
                    let bounds = rows.first().copied().zip(rows.last().copied());
                    let known = vectors::known(tx, (&id, &model), &rows).await?;
                    let waiting = waiting
                        .into_iter()
                        .filter(|text| !known.contains(&text.item));
                    Ok::<_, EngineError>(Leaf {
                        waiting: waiting.collect(),
                        bounds,
                    })
                })
            })
            .await
    }

    /// Says that a scope is done, up to the rows that may still show late.
    async fn close_scope(
        &self,
        scope: &DirtyScope,
        model: Option<&str>,
        top: i64,
    ) -> Result<(), EngineError> {
        let late = match self.store().dialect() {
            Dialect::Sqlite => 0,
            Dialect::Postgres => LATE_ROWS,
        };
        let done_to = (top - late).max(0);
        let (scope, model) = (scope.clone(), model.map(str::to_owned));
        self.store()
            .write(move |tx| {
                Box::pin(async move {
                    embed_scopes::done(tx, &scope, model.as_deref(), done_to).await?;
                    if let Some(model) = &model {
                        vectors::drop_others(tx, &scope.scope, model).await?;
                    }
                    Ok::<_, EngineError>(())
                })
            })
            .await
    }
}

type Rows = (Vec<i64>, Vec<Waiting>);

async fn said(
    tx: &mut mnemic_store::Tx<'_>,
    id: &str,
    bounds: (i64, i64),
) -> Result<Rows, EngineError> {
    let Ok(id) = id.parse::<AgentId>() else {
        return Ok(Rows::default());
    };
    let rows = messages::downwards(tx, id, bounds, PAGE).await?;
    let mut waiting = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(text) = search::said(row.role, &row.body) else {
            continue;
        };
        let speaker = row.name.as_deref().unwrap_or(row.role.as_str());
        waiting.push(Waiting {
            item: row.seq,
            text: retrieval::embedding_text(&text, Some(speaker)),
        });
    }
    Ok((rows.iter().map(|row| row.seq).collect(), waiting))
}

async fn written(
    tx: &mut mnemic_store::Tx<'_>,
    id: &str,
    bounds: (i64, i64),
) -> Result<Rows, EngineError> {
    let Ok(id) = id.parse::<ArchiveId>() else {
        return Ok(Rows::default());
    };
    let rows = passages::downwards(tx, id, bounds, PAGE).await?;
    let numbers = rows.iter().map(|row| row.seq).collect();
    let waiting = rows
        .into_iter()
        .filter(|row| !row.text.trim().is_empty())
        .map(|row| Waiting {
            item: row.seq,
            text: retrieval::embedding_text(&row.text, None),
        });
    Ok((numbers, waiting.collect()))
}
