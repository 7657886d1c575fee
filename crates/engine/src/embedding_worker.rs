//! The background worker that gives texts their vectors: the newest first, and after the turns that run.
//! On PostgreSQL several processes share the work, scope by scope.

mod batch;
mod gaps;
mod load;
mod texts;

use std::{collections::HashMap, time::Duration};

use mnemic_core::scope::Scope;
use mnemic_store::{
    Dialect, JobFuture, StoreError, Tx,
    embed_scopes::{self, Claim, DirtyScope, ScopeKind},
    vectors,
};
use tokio::time::Instant;

use self::{
    batch::{Begun, Slice, Stored},
    gaps::Gaps,
    texts::Waiting,
};
use crate::{
    Engine, EngineError,
    embedding::{EmbeddingError, EmbeddingModel},
    rests::{Rests, Trouble},
};

/// How often new texts are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// After which time PostgreSQL is looked at again for rows that show late.
const LATE: Duration = Duration::from_secs(5);
/// The wait after a database that did not answer.
const BACK_OFF: Duration = Duration::from_secs(20);
/// How long a model rests after its first failure; each further one doubles it.
const FIRST_REST: Duration = Duration::from_secs(2);
/// How long it rests at the most.
const LONGEST_REST: Duration = Duration::from_secs(120);
/// How long one scope is worked on before a newer one may come first.
const SLICE: Duration = Duration::from_secs(5);
/// For how long other processes leave a scope to the one that embeds it, in seconds: longer than a model
/// needs for one batch.
const LEASE_SECONDS: i64 = 300;
/// Scopes that are tried in turn when the models of the first do not answer.
const SCOPES: i64 = 64;
/// Texts of a batch at the most.
const BATCH: usize = 32;
/// Bytes of the texts of a batch of several.
const BATCH_BYTES: usize = 32 * 1024;
/// Rows whose scopes are marked in one transaction, which holds up all other writes: a few milliseconds.
const NOTICED_SQLITE: i64 = 1_000;
/// The same where it holds nobody up; more than the rows that may show late.
const NOTICED_POSTGRES: i64 = 20_000;
/// Scopes of which is kept how far they are done.
const KEPT: usize = 64;

/// What one process knows between two rounds.
struct Worker {
    engine: Engine,
    /// The default model that was seen last.
    default: Option<String>,
    /// When new texts are looked for next.
    look_at: Instant,
    /// When to look again for rows that show late.
    late_at: Option<Instant>,
    /// Models that failed, by their handles; the empty one is the default.
    resting: Rests,
    /// How far scopes are done, by their ids and models.
    progress: HashMap<(String, String), Gaps>,
    /// Long texts that have part of their vectors.
    begun: Vec<Begun>,
}

impl Engine {
    /// Embeds for as long as the engine runs.
    pub(crate) async fn embed_forever(self) {
        let abort = self.inner.supervisor.abort.clone();
        let mut worker = Worker {
            engine: self,
            default: None,
            look_at: Instant::now(),
            late_at: None,
            resting: Rests::new(FIRST_REST, LONGEST_REST),
            progress: HashMap::new(),
            begun: Vec::new(),
        };
        loop {
            // Whatever is broken off here is begun anew by the next start.
            let round = tokio::select! {
                round = worker.round() => round,
                () = abort.cancelled() => return,
            };
            let pause = match round {
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
}

impl Worker {
    /// Looks for new texts and embeds for a while. Returns whether there is more to do.
    async fn round(&mut self) -> Result<bool, EngineError> {
        match self.engine.embeddings().default_model().await {
            // What comes in meanwhile is found when they are switched on again.
            Err(EmbeddingError::Disabled) => return Ok(false),
            Ok(model) if model.is_ready() => self.notice_default(&model).await?,
            _ => {}
        }
        self.look().await?;
        let dirty = self.engine.store().read(|tx| {
            Box::pin(async move {
                embed_scopes::dirty(tx, SCOPES)
                    .await
                    .map_err(EngineError::from)
            })
        });
        for scope in dirty.await? {
            if self.try_scope(&scope).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Marks the scopes of texts that came in.
    async fn look(&mut self) -> Result<(), EngineError> {
        if Instant::now() < self.look_at {
            return Ok(());
        }
        self.look_at = Instant::now() + LOOK;
        let heights = self.engine.store().read(|tx| {
            Box::pin(async move {
                let mut grown = false;
                for kind in ScopeKind::ALL {
                    let (top, seen) = embed_scopes::heights(tx, kind).await?;
                    grown |= top > seen;
                }
                Ok::<_, EngineError>(grown)
            })
        });
        let grown = heights.await?;
        let is_late = self.late_at.is_some_and(|late| Instant::now() > late);
        if !grown && !is_late {
            return Ok(());
        }
        let shows_late = grown && self.engine.store().dialect() == Dialect::Postgres;
        self.late_at = shows_late.then(|| Instant::now() + LATE);
        for kind in ScopeKind::ALL {
            // One write after the other, so that turns have theirs in between.
            while self.notice(kind).await? {}
        }
        Ok(())
    }

    /// Marks the scopes of rows that came in, of so many that no turn waits long for the database. Returns whether there
    /// may be more.
    async fn notice(&self, kind: ScopeKind) -> Result<bool, EngineError> {
        let limit = match self.engine.store().dialect() {
            Dialect::Sqlite => NOTICED_SQLITE,
            Dialect::Postgres => NOTICED_POSTGRES,
        };
        let now = self.engine.now();
        let noticed = self.engine.store().write(move |tx| {
            Box::pin(async move {
                let rows = embed_scopes::notice(tx, kind, now, limit).await?;
                Ok::<_, EngineError>(rows >= limit)
            })
        });
        noticed.await
    }

    /// Another default model than before, or the first: all texts that follow it are embedded anew.
    async fn notice_default(&mut self, model: &EmbeddingModel) -> Result<(), EngineError> {
        let key = model.model_key();
        if self.default.as_ref() == Some(&key) {
            return Ok(());
        }
        let (known, now) = (key.clone(), self.engine.now());
        let noticed = self.engine.store().write(move |tx| {
            Box::pin(async move {
                if embed_scopes::remember_default(tx, &known).await? {
                    embed_scopes::mark_all(tx, now).await?;
                }
                Ok::<_, EngineError>(())
            })
        });
        noticed.await?;
        self.default = Some(key);
        Ok(())
    }

    /// Embeds texts of a scope, unless its model rests or another process does. Returns whether it did.
    async fn try_scope(&mut self, scope: &DirtyScope) -> Result<bool, EngineError> {
        if !scope.is_there {
            let id = scope.scope.clone();
            self.write(move |tx| Box::pin(async move { embed_scopes::forget(tx, &id).await }))
                .await?;
            return Ok(true);
        }
        let handle = scope.handle.clone().unwrap_or_default();
        if self.resting.is_resting(&handle) {
            if scope.dirty_at > 0 {
                self.postpone(scope).await?;
            }
            return Ok(false);
        }
        if !self.claim(scope).await? {
            return Ok(false);
        }
        let whose = Scope {
            organization: scope.organization,
            ..Scope::default()
        };
        let worked = match self.engine.model_of(&whose, scope.handle.as_deref()).await {
            Ok(model) => self.embed_scope(scope, &model).await,
            Err(error) => Err(error.into()),
        };
        self.release(scope).await?;
        match worked {
            Ok(()) => {
                self.resting.end(&handle);
                Ok(true)
            }
            Err(EngineError::Embedding(error)) => {
                self.rest(&handle, &error);
                self.postpone(scope).await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets a model rest that failed.
    fn rest(&self, handle: &str, error: &EmbeddingError) {
        if matches!(error, EmbeddingError::NotReady { .. }) {
            // Its files may come at any time, and looking for them costs nothing; the start has said so.
            self.resting.end(handle);
            self.resting.begin(handle, Trouble::Failed);
        } else if self.resting.begin(handle, Trouble::Failed) == FIRST_REST {
            tracing::warn!(%error, "new texts are found by their words only for now");
        } else {
            tracing::debug!(%error, "texts go on waiting for their vectors");
        }
    }

    /// Lets scopes with other models come first.
    async fn postpone(&self, scope: &DirtyScope) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.engine.now());
        self.write(move |tx| Box::pin(async move { embed_scopes::postpone(tx, &scope, now).await }))
            .await
    }

    /// Whether this process is the one that embeds a scope. SQLite has no other.
    async fn claim(&self, scope: &DirtyScope) -> Result<bool, EngineError> {
        if self.engine.store().dialect() == Dialect::Sqlite {
            return Ok(true);
        }
        let (id, owner) = (scope.scope.clone(), self.engine.inner.boot_id.clone());
        let claim = self.write(move |tx| {
            Box::pin(async move { embed_scopes::claim(tx, &id, &owner, LEASE_SECONDS).await })
        });
        Ok(claim.await? == Claim::Held)
    }

    /// Leaves a scope to the others.
    async fn release(&self, scope: &DirtyScope) -> Result<(), EngineError> {
        if self.engine.store().dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let (id, owner) = (scope.scope.clone(), self.engine.inner.boot_id.clone());
        self.write(move |tx| Box::pin(async move { embed_scopes::release(tx, &id, &owner).await }))
            .await
    }

    /// Embeds the texts of a scope, newest first, for a slice of time.
    async fn embed_scope(
        &mut self,
        scope: &DirtyScope,
        model: &EmbeddingModel,
    ) -> Result<(), EngineError> {
        let key = model.model_key();
        let kept = (scope.scope.clone(), key.clone());
        // What is known of other models' vectors is void: they go when this model is done.
        self.progress
            .retain(|(id, model), _| *id != scope.scope || *model == key);
        let is_same = scope.model.as_ref() == Some(&key);
        let above = if is_same { scope.done_to } else { 0 };
        let mut gaps = match self.progress.remove(&kept) {
            Some(mut gaps) => {
                gaps.reopen();
                gaps
            }
            None => Gaps::above(above),
        };
        let until = Instant::now() + SLICE;
        while let Some(gap) = gaps.next() {
            let mut leaf = self.engine.leaf(scope, &key, gap).await?;
            let Some((first, last)) = leaf.bounds else {
                gaps.close();
                continue;
            };
            while !leaf.waiting.is_empty() {
                if Instant::now() > until {
                    // The mark stays.
                    self.keep(kept, gaps);
                    return Ok(());
                }
                let rest = leaf.waiting.split_off(batch_of(&leaf.waiting));
                let batch = std::mem::replace(&mut leaf.waiting, rest);
                let end = batch.last().map_or(last, |text| text.item);
                let mut slice = Slice {
                    until,
                    begun: &mut self.begun,
                };
                match self
                    .engine
                    .embed_batch(scope, model, batch, &mut slice)
                    .await?
                {
                    Stored::Done => {}
                    Stored::Outgrown => {
                        self.progress.clear();
                        self.begun.clear();
                        return Ok(());
                    }
                    Stored::Unfinished => {
                        self.keep(kept, gaps);
                        return Ok(());
                    }
                }
                gaps.cover(first, end);
            }
            gaps.cover(first, last);
        }
        self.close_scope(scope, &key, gaps.top).await
    }

    /// Keeps how far a scope is done, of not too many scopes.
    fn keep(&mut self, of: (String, String), gaps: Gaps) {
        if self.progress.len() >= KEPT {
            // The others are looked through from the beginning, which costs no model calls.
            self.progress.clear();
        }
        self.progress.insert(of, gaps);
    }

    /// Says that a scope is done, up to the rows that may still show late.
    async fn close_scope(
        &self,
        scope: &DirtyScope,
        model: &str,
        top: i64,
    ) -> Result<(), EngineError> {
        let late = embed_scopes::overlap(self.engine.store().dialect());
        let done_to = (top - late).max(0);
        let (scope, model) = (scope.clone(), model.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                embed_scopes::done(tx, &scope, Some(&model), done_to).await?;
                vectors::drop_others(tx, &scope.scope, &model).await
            })
        })
        .await
    }

    async fn write<T, F>(&self, job: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx<'_>) -> JobFuture<'t, T, StoreError> + Send + 'static,
    {
        Ok(self.engine.store().write(job).await?)
    }
}

/// How many of the texts that come next make a batch.
fn batch_of(waiting: &[Waiting]) -> usize {
    let mut bytes = 0;
    let fitting = waiting.iter().take(BATCH).take_while(|waiting| {
        bytes += waiting.text.len();
        bytes <= BATCH_BYTES
    });
    fitting.count().max(1).min(waiting.len())
}
