//! Recovery: what a dead process left is taken over and brought to an end. Nothing that was accepted
//! is lost, and no tool call is ever run a second time.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mnemic_core::{
    conversations::Thread,
    ids::RunId,
    messages::{ToolReturn, ToolStatus},
    runs::{RunError, StopReason},
};
use mnemic_store::{
    StoreError, batches, embed_scopes, leases,
    leases::Lease,
    runs::{self, OpenRun, Progress},
    steps::{self, PendingStep},
    turns,
};

use crate::{
    Engine, EngineError, SendRequest, accept,
    live::{LiveRun, RunIdentity},
    outlet::Outlet,
    session::Session,
    turn::{Turn, TurnEnd},
};

/// How often a crash may interrupt a run before it is given up (DESIGN section 4).
const MAX_RESUMES: i64 = 2;

/// How often the leases of other processes are looked at.
const PATROL: Duration = Duration::from_secs(2);

/// How often cancels are looked for that other processes took, or that came in the moment in which the
/// run was accepted.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// How often a process renews the leases it holds; well below [`leases::TTL_MICROS`].
const RENEWAL: Duration = Duration::from_secs(15);

/// How long runs may go on after a shutdown was asked for.
const GRACE: Duration = Duration::from_secs(3);

impl Engine {
    /// Takes over what earlier processes left, and begins the background tasks. Call once.
    ///
    /// # Errors
    /// The database is not available.
    pub async fn start(&self) -> Result<(), EngineError> {
        let presence = self.inner.store.announce(&self.inner.boot_id).await?;
        self.recover().await?;
        let engine = self.clone();
        tokio::spawn(async move { engine.patrol(presence).await });
        let engine = self.clone();
        tokio::spawn(async move { engine.renew_leases().await });
        let engine = self.clone();
        tokio::spawn(async move { engine.watch_cancels().await });
        self.inner.embeddings.prepare();
        tokio::spawn(self.clone().embed_forever());
        tokio::spawn(self.clone().run_batches());
        tokio::spawn(self.clone().forget_traces());
        tokio::spawn(self.clone().erase_what_is_due());
        tokio::spawn(self.clone().expire_copies());
        Ok(())
    }

    /// Refuses new runs, lets those that run come to an end for a few seconds, and stops the rest:
    /// the next start resumes them.
    pub async fn shutdown(&self) {
        let supervisor = &self.inner.supervisor;
        supervisor.close();
        self.close_doors();
        if tokio::time::timeout(GRACE, supervisor.tasks.wait())
            .await
            .is_err()
        {
            tracing::info!(
                runs = supervisor.all().len(),
                "stopping runs; the next start resumes them"
            );
        }
        supervisor.abort.cancel();
        supervisor.all().iter().for_each(|live| live.close());
    }

    async fn patrol(&self, mut presence: mnemic_store::Presence) {
        let mut stranded = HashSet::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(PATROL) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
            if !presence.is_held()
                && let Ok(renewed) = self.inner.store.announce(&self.inner.boot_id).await
            {
                presence = renewed;
            }
            if self.inner.store.dialect() == mnemic_store::Dialect::Postgres
                && let Err(error) = self.recover().await
            {
                tracing::warn!(%error, "looking for the runs of dead processes failed");
            }
            if self.inner.store.dialect() == mnemic_store::Dialect::Postgres {
                stranded = self.begin_stranded(stranded).await;
            }
        }
    }

    async fn renew_leases(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RENEWAL) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
            let owner = self.inner.boot_id.clone();
            let held = self.inner.supervisor.conversations();
            if held.is_empty() {
                continue;
            }
            let held = held.iter().map(ToString::to_string).collect();
            let renewed = self.inner.store.write(move |tx| {
                Box::pin(async move { leases::renew_all(tx, &owner, held).await })
            });
            if let Err(error) = renewed.await {
                tracing::warn!(%error, "renewing the leases failed");
            }
        }
    }

    async fn watch_cancels(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(CANCEL_POLL) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
            let live = self.inner.supervisor.all();
            // Of others there may be no row yet.
            let accepted = live.iter().filter(|run| run.was_accepted());
            let ids: Vec<String> = accepted.map(|run| run.id.to_string()).collect();
            if ids.is_empty() {
                continue;
            }
            let found = self
                .inner
                .store
                .read(move |tx| Box::pin(async move { runs::cancelled_among(tx, ids).await }));
            for id in found.await.unwrap_or_else(|_: StoreError| Vec::new()) {
                if let Some(run) = live.iter().find(|run| run.id == id) {
                    run.cancelled.cancel();
                }
            }
        }
    }

    /// Adopts the runs of dead processes and goes on with them.
    async fn recover(&self) -> Result<(), EngineError> {
        let me = self.inner.boot_id.clone();
        let (open, orphans, holders) = self
            .inner
            .store
            .read(|tx| {
                Box::pin(async move {
                    let open = runs::open(tx, None).await?;
                    let orphans = steps::runs_with_orphans(tx).await?;
                    let mut holders = leases::owners(tx).await?;
                    holders.extend(embed_scopes::owners(tx).await?);
                    holders.extend(batches::owners(tx).await?);
                    Ok::<_, StoreError>((open, orphans, holders))
                })
            })
            .await?;
        let mut owners: Vec<String> = open.iter().map(|run| run.owner.clone()).collect();
        owners.extend(orphans.iter().map(|orphan| orphan.owner.clone()));
        owners.extend(holders);
        owners.sort();
        owners.dedup();
        let dead = self.inner.store.dead_owners(&me, owners).await?;
        if dead.is_empty() {
            return Ok(());
        }
        let freed = dead.clone();
        self.inner
            .store
            .write(move |tx| {
                Box::pin(async move {
                    leases::free_dead(tx, &freed).await?;
                    batches::free_dead(tx, &freed).await?;
                    embed_scopes::free_dead(tx, &freed).await
                })
            })
            .await?;
        for run in open
            .into_iter()
            .chain(orphans)
            .filter(|run| dead.contains(&run.owner))
        {
            let id = run.id;
            // One run that cannot be taken over must not keep the others, or the server, from going on.
            if let Err(error) = self.adopt(run).await {
                tracing::error!(run = %id, %error, "a run could not be taken over");
            }
        }
        Ok(())
    }

    pub(crate) async fn adopt(&self, run: OpenRun) -> Result<(), EngineError> {
        let (id, from, me) = (run.id, run.owner.clone(), self.inner.boot_id.clone());
        let scope = run.scope.clone();
        let adopted = self
            .inner
            .store
            .write(move |tx| {
                Box::pin(async move {
                    let adopted = runs::adopt(tx, id, &from, &me).await?;
                    let last = mnemic_store::events::last_seq(tx, id).await?;
                    Ok::<_, StoreError>((adopted, runs::get(tx, &scope, id).await?, last))
                })
            })
            .await?;
        let (true, stored, last) = adopted else {
            return Ok(());
        };
        let identity = RunIdentity {
            id,
            scope: run.scope,
            agent_id: run.agent_id,
            conversation_id: run.conversation_id,
            in_default_conversation: stored.in_default_conversation,
            background: stored.background,
            has_callback: stored.callback_url.is_some(),
        };
        let next = u64::try_from(last).unwrap_or(0) + 1;
        let live = Arc::new(LiveRun::new(identity, next));
        live.note_acceptance(true);
        self.inner.supervisor.add(Arc::clone(&live));
        let request = match serde_json::from_value::<SendRequest>(stored.input.clone()) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(run = %id, %error, "the request of a run cannot be read; it ends as failed");
                self.abandon(&live, StopReason::Error, Some(unreadable()))
                    .await;
                return Ok(());
            }
        };
        let engine = self.clone();
        let resumed = stored.status != mnemic_core::runs::RunStatus::Created;
        tracing::info!(run = %id, resumed, "taking over a run of a process that died");
        self.inner.supervisor.tasks.spawn(async move {
            let (run, request) = (Arc::clone(&live), Arc::new(request));
            let work = async {
                if resumed {
                    Box::pin(engine.resume(run, request)).await;
                } else {
                    engine.wait_and_run(run, request, stored.created_at).await;
                }
            };
            engine.guard(&live, Box::pin(work)).await;
        });
        Ok(())
    }

    /// Goes on with a run that was interrupted.
    async fn resume(&self, live: Arc<LiveRun>, request: Arc<SendRequest>) {
        let found = loop {
            match self.reopen(&live).await {
                Ok(Some(found)) => break found,
                Ok(None) => {}
                Err(EngineError::Store(StoreError::NotFound { .. })) => {
                    return self.abandon(&live, StopReason::Cancelled, None).await;
                }
                Err(error) => tracing::warn!(run = %live.id, %error, "resuming waits"),
            }
            tokio::select! {
                () = tokio::time::sleep(CANCEL_POLL) => {}
                () = self.inner.supervisor.abort.cancelled() => return self.leave(&live),
            }
        };
        if found.run.status.is_terminal() {
            live.cancelled.cancel();
        }
        let outlet = Outlet::new(Arc::clone(&live), found.resumes);
        let held = (found.lease, found.session);
        let mut turn = Turn::new(self, (live, request), held, found.run.created_at);
        turn.outlet = outlet;
        turn.progress = Progress {
            usage: found.run.usage,
            step_count: found.run.step_count,
            ttft_ns: found.run.ttft_ns,
        };
        // The first step took the input into the context.
        if turn.progress.step_count > 0 {
            turn.inputs.clear();
        }
        Box::pin(turn.run_resumed(found.pending, found.resumes > MAX_RESUMES)).await;
    }

    async fn reopen(&self, live: &Arc<LiveRun>) -> Result<Option<Found>, EngineError> {
        let (engine, live) = (self.clone(), Arc::clone(live));
        self.inner
            .store
            .write(move |tx| {
                Box::pin(async move {
                    let (scope, id) = (&live.scope, live.id);
                    let me = &engine.inner.boot_id;
                    let Some(lease) = leases::acquire(tx, live.conversation_id, me, id).await?
                    else {
                        return Ok(None);
                    };
                    let thread = Thread::Id(live.conversation_id);
                    let head = turns::head(tx, scope, live.agent_id, thread).await?;
                    let session =
                        accept::open_session(tx, &engine, scope, live.agent_id, &head).await?;
                    Ok(Some(Found {
                        lease,
                        session,
                        resumes: runs::count_resume(tx, id).await?,
                        pending: steps::pending(tx, scope, id).await?,
                        run: runs::get(tx, scope, id).await?,
                    }))
                })
            })
            .await
    }
}

/// What an interrupted run left.
struct Found {
    lease: Lease,
    session: Box<Session>,
    resumes: i64,
    pending: Option<PendingStep>,
    run: mnemic_core::runs::Run,
}

impl Turn {
    /// Closes the step that was interrupted, then goes on.
    async fn run_resumed(mut self, pending: Option<PendingStep>, give_up: bool) {
        let given_up = interrupted(self.live.id);
        if self.progress.step_count > 0
            && let Err(error) = self.recall_history().await
        {
            tracing::warn!(run = %self.live.id, %error, "rules count from here on");
        }
        if let Some(pending) = pending
            && let Err(error) = self.close_interrupted(pending).await
        {
            tracing::error!(run = %self.live.id, %error, "an interrupted step could not be closed");
            return self
                .end(TurnEnd::Stop(StopReason::Error, Some(given_up)))
                .await;
        }
        if give_up {
            return self
                .end(TurnEnd::Stop(StopReason::Error, Some(given_up)))
                .await;
        }
        self.run().await;
    }
}

fn unreadable() -> RunError {
    RunError {
        error_type: "internal_error".to_owned(),
        message: "the request of this run cannot be read by this version of the server".to_owned(),
        detail: None,
    }
}

/// The return of a call of which nobody knows whether it had its effect.
pub(crate) fn unknown_effect(call: &mnemic_core::messages::ToolCall) -> ToolReturn {
    ToolReturn {
        tool_call_id: call.id.clone(),
        name: call.name.clone(),
        status: ToolStatus::Error,
        text:
            "Error: the server stopped while this tool ran. Whether it had its effect is unknown; \
               it was not run again. Check before you repeat it."
                .to_owned(),
        stdout: Vec::new(),
        stderr: Vec::new(),
        images: Vec::new(),
    }
}

fn interrupted(id: RunId) -> RunError {
    RunError {
        error_type: "internal_error".to_owned(),
        message: format!(
            "the server stopped {} times while run {id} was at work; it was given up. Its input is \
             kept on the run: send it again when the cause is mended",
            MAX_RESUMES + 1
        ),
        detail: None,
    }
}
