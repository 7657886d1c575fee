//! Forgetting a person, down to the bytes.

use std::time::Duration;

use mnemic_core::{
    ids::{AgentId, RunId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    StoreError, Tx, agents,
    erasure::Erasure,
    failpoints,
    forgetting::{
        self, By, Forgotten,
        parts::{self, Found, Parts},
    },
    groups,
    runs::RunFilter,
};

use crate::{Engine, EngineError, follow};

/// How long what still runs for the person may take to notice that it was cancelled.
const RUNS_END: Duration = Duration::from_secs(10);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How long whoever asked waits for the bytes to be overwritten. It goes on without them.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an erasure that failed waits before it is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// How often copies are looked for whose time is over.
const COPIES: Duration = Duration::from_secs(24 * 3600);

/// A copy of the database that still holds what was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCopy {
    /// Its file, in the folder `backups`.
    pub name: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it is deleted.
    pub expires_at: Timestamp,
}

/// What was forgotten, and what is left of it.
#[derive(Debug, Clone, Default)]
pub struct Receipt {
    /// What went.
    pub gone: Forgotten,
    /// Whether nothing of it is in the database's files any more.
    pub is_erased: bool,
    /// What is left, in words; nothing where all is gone.
    pub left: Option<String>,
    /// The copies that were made before migrations.
    pub copies: Vec<KeptCopy>,
}

impl Engine {
    /// Forgets the end user of the scope: for one agent and those who keep its memory or work for it, or for all. What runs for
    /// the person is cancelled first, and what it wrote all the same until it ended goes as well.
    ///
    /// # Errors
    /// There is no such agent, the scope names no end user, or the database's.
    pub async fn forget(
        &self,
        scope: &Scope,
        agent_id: Option<AgentId>,
    ) -> Result<Receipt, EngineError> {
        let (cancelled, mut gone) = self.forget_rows(scope, agent_id).await?;
        failpoints::hit("forgotten");
        if !cancelled.is_empty() {
            self.runs_ended(&cancelled).await;
            // Tools of theirs may have stored something in the meantime.
            let (_, more) = self.forget_rows(scope, agent_id).await?;
            gone.add(more);
        }
        self.receipt(gone).await
    }

    /// Finds parts of what an agent, and those who work for it, keep of the scope's end user, or of nobody in particular.
    ///
    /// # Errors
    /// There is no such agent, or the database's.
    pub async fn find_parts(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        wanted: Parts,
    ) -> Result<Found, EngineError> {
        let scope = scope.clone();
        let found = self.store().read(move |tx| {
            Box::pin(async move {
                let agents = agents_of(tx, &scope, agent_id).await?;
                parts::find(tx, &scope, (&agents, &wanted)).await
            })
        });
        Ok(found.await?)
    }

    /// Forgets these parts; tells what they were as well.
    ///
    /// # Errors
    /// There is no such agent, a turn runs in one of the threads, or the database's.
    pub async fn forget_parts(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        wanted: Parts,
    ) -> Result<(Found, Receipt), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let done = self.store().write(move |tx| {
            Box::pin(async move {
                let agents = agents_of(tx, &scope, agent_id).await?;
                let found = parts::find(tx, &scope, (&agents, &wanted)).await?;
                let gone = parts::forget(tx, &scope, (&agents, &wanted, &found), now).await?;
                Ok::<_, StoreError>((found, gone))
            })
        });
        let (found, gone) = done.await?;
        self.inner.sizes.drop_all();
        Ok((found, self.receipt(gone).await?))
    }

    async fn forget_rows(
        &self,
        scope: &Scope,
        agent_id: Option<AgentId>,
    ) -> Result<(Vec<RunId>, Forgotten), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let done = self.store().write(move |tx| {
            Box::pin(async move {
                let of: Option<Vec<AgentId>> = match agent_id {
                    Some(id) => {
                        agents::get_for_update(tx, &scope, id).await?;
                        Some(agents_of(tx, &scope, id).await?)
                    }
                    None => None,
                };
                let filter = RunFilter {
                    agent_ids: of.clone().unwrap_or_default(),
                    ..RunFilter::default()
                };
                let cancelled = follow::cancel_in(tx, &scope, &filter, None, now).await?;
                let by = of.as_deref().map_or(By::Everybody, By::Agents);
                let gone = forgetting::forget(tx, &scope, by, now).await?;
                Ok::<_, EngineError>((cancelled, gone))
            })
        });
        let (cancelled, gone) = done.await?;
        self.tell_cancelled(&cancelled);
        self.inner.sizes.drop_all();
        Ok((cancelled, gone))
    }

    /// Waits until the tasks of these runs, as far as they are of this process, have ended.
    async fn runs_ended(&self, runs: &[RunId]) {
        let ended = async {
            while runs
                .iter()
                .any(|id| self.inner.supervisor.get(*id).is_some())
            {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(RUNS_END, ended).await.is_err() {
            tracing::warn!(
                "a run of somebody who was forgotten does not end; it can't store anything any more"
            );
        }
    }

    /// Erases what was deleted, and tells what is left.
    pub(crate) async fn receipt(&self, gone: Forgotten) -> Result<Receipt, EngineError> {
        let engine = self.clone();
        let erasing = tokio::spawn(async move { engine.erase_once().await });
        let (is_erased, left) = match tokio::time::timeout(PATIENCE, erasing).await {
            Ok(Ok(Ok(Erasure::Complete))) => (true, None),
            Ok(Ok(Ok(Erasure::Vacuumed))) => (false, Some(VACUUMED.to_owned())),
            Ok(Ok(Err(error))) => (
                false,
                Some(format!(
                    "the rows are gone, their bytes are not overwritten yet: {error}"
                )),
            ),
            Ok(Err(_)) | Err(_) => (false, Some(ERASING.to_owned())),
        };
        let keep = self.settings().keep_copies;
        let copies = self.store().copies().await?;
        let copies = copies.into_iter().map(|copy| KeptCopy {
            expires_at: Timestamp(copy.made_at.0.saturating_add(micros(keep))),
            name: copy.name,
            made_at: copy.made_at,
        });
        Ok(Receipt {
            gone,
            is_erased,
            left,
            copies: copies.collect(),
        })
    }

    /// One after the other: each reads the whole database.
    async fn erase_once(&self) -> Result<Erasure, EngineError> {
        let _turn = self.inner.erasing.lock().await;
        Ok(self.store().erase().await?)
    }

    /// Finishes what was not erased when an earlier process died, and tries again what could not be.
    pub(crate) async fn erase_what_is_due(self) {
        loop {
            let due = self.store().erasure_due().await;
            match due {
                Ok(false) => {}
                Ok(true) => {
                    if let Err(error) = self.erase_once().await {
                        tracing::warn!(%error, "what was forgotten is not erased yet; it is tried again");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "whether something is to be erased is unknown")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
        }
    }

    /// Deletes copies that were made before migrations when their time is over.
    pub(crate) async fn expire_copies(self) {
        loop {
            let before = self
                .now()
                .0
                .saturating_sub(micros(self.settings().keep_copies));
            match self.store().delete_copies(Timestamp(before)).await {
                Ok(deleted) if deleted.is_empty() => {}
                Ok(deleted) => tracing::info!(
                    ?deleted,
                    "copies of the database were deleted, as their time was over"
                ),
                Err(error) => tracing::warn!(%error, "old copies of the database were not deleted"),
            }
            tokio::select! {
                () = tokio::time::sleep(COPIES) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
        }
    }
}

/// What is left on PostgreSQL.
const VACUUMED: &str = "the rows are gone and their tables vacuumed; PostgreSQL overwrites their bytes only as it uses the space \
     again, and they are still in its write-ahead log, its archives and backups for as long as those are kept";

/// What is left for a while of a large database.
const ERASING: &str =
    "the rows are gone; their bytes are still being overwritten, which goes on by itself";

/// An agent, and those who work for it or keep its memory.
pub(crate) async fn agents_of(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
) -> Result<Vec<AgentId>, StoreError> {
    agents::get(tx, scope, id).await?;
    let managed = groups::managed_by(tx, scope, id).await?;
    let members = managed.into_iter().flat_map(|group| group.agent_ids);
    Ok(std::iter::once(id).chain(members).collect())
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
