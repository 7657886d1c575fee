//! The end of a run: one terminal state, stored as soon as the database can take it.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{
    Engine, EngineError,
    events::Event,
    follow_ups::{self, FollowUp, Following},
    live::LiveRun,
    outlet::Parcel,
    settle::{COMMIT_TRIES, FIRST_PAUSE},
    turn::{self, Turn, TurnEnd},
};
use mnemic_core::{
    ids::RunId,
    runs::{RunError, RunStatus, Step, StopReason},
    time::Timestamp,
};
use mnemic_store::{
    StoreError, Tx,
    leases::{self, Lease},
    otids,
    runs::{self, Ending},
    traces::{self, Trace},
};

/// How often a run that could not be settled is tried again.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);

impl Turn {
    /// Ends the run, unless its last commit did. Returns whether the session is still true.
    pub(crate) async fn settle(&mut self, end: TurnEnd) -> bool {
        let (reason, error) = match end {
            TurnEnd::Settled => return true,
            TurnEnd::LostLease => {
                publish_lost(&self.engine, &self.live).await;
                return false;
            }
            TurnEnd::Stop(reason, error) => (reason, error),
        };
        if !self.live.is_accepted().await {
            return false;
        }
        let ending = Arc::new(RunEnd {
            engine: self.engine.clone(),
            live: Arc::clone(&self.live),
            lease: self.lease.clone(),
            failed_step: self.failed_step.take(),
            ending: Ending {
                stop_reason: reason,
                error: error.clone(),
                progress: self.progress.clone(),
                completed_at: self.engine.now(),
            },
            accepted_at: self.accepted_at,
            following: Following::of(self),
            context_tokens: self.context_tokens,
            parcel: self.outlet.parcel(),
        });
        if ending.commit_with_patience().await {
            return error.is_none() && self.inputs.is_empty();
        }
        if self.live.background {
            // Its events are numbered by the log, which gets the end later: who follows it looks again.
            self.live.close();
        } else {
            publish_end(&self.live, reason, error.or_else(|| Some(not_settled())));
        }
        self.engine.settle_later(ending);
        false
    }
}

/// Shows the end of a run that could not be stored to the clients that are connected now.
fn publish_end(live: &LiveRun, reason: StopReason, error: Option<RunError>) {
    live.publish(Event::Stopped { reason });
    if let Some(error) = error {
        live.publish(Event::Failed { error });
    }
    live.publish(Event::Done);
}

/// Shows the end of a run that does not hold its conversation any more: it was cancelled because its
/// agent or its person is gone, or another process goes on with it.
async fn publish_lost(engine: &Engine, live: &LiveRun) {
    // Who took the run away stores that before telling the run.
    if live.cancelled.is_cancelled() || is_gone(engine, live).await {
        publish_end(live, StopReason::Cancelled, None);
    } else {
        publish_end(live, StopReason::Error, Some(taken_over()));
    }
}

/// Whether nobody goes on with a run: it was cancelled, or there is nothing of it any more.
async fn is_gone(engine: &Engine, live: &LiveRun) -> bool {
    let (scope, id) = (live.scope.clone(), live.id);
    let read = engine
        .store()
        .read(move |tx| Box::pin(async move { runs::get(tx, &scope, id).await }));
    match read.await {
        Ok(run) => run.status == RunStatus::Cancelled,
        Err(error) => matches!(error, StoreError::NotFound { .. }),
    }
}

fn taken_over() -> RunError {
    RunError {
        error_type: "internal_error".to_owned(),
        message: "another process took this run over; follow it by its id".to_owned(),
        detail: None,
    }
}

fn not_settled() -> RunError {
    let unavailable = EngineError::Store(StoreError::Unavailable(String::new()));
    turn::describe(&unavailable).1
}

/// Ends a run in the store; returns why it ended, which is a cancel when that was faster.
pub(crate) async fn end_run(
    tx: &mut Tx<'_>,
    live: &LiveRun,
    ending: &Ending,
    accepted_at: Timestamp,
) -> Result<StopReason, StoreError> {
    let won = runs::finish(tx, live.id, ending).await?;
    let reason = if won {
        ending.stop_reason
    } else {
        StopReason::Cancelled
    };
    let duration_ms = (ending.completed_at.0 - accepted_at.0) / 1_000;
    let whose = (live.agent_id, live.conversation_id);
    runs::note_end(tx, whose, reason, ending.completed_at, duration_ms).await?;
    Ok(reason)
}

/// The last events of a run, with the runs that follow from its end.
pub(crate) fn end_events(
    reason: StopReason,
    ending: &Ending,
    context_tokens: i64,
    run_ids: Vec<RunId>,
) -> Vec<Event> {
    let mut events = vec![Event::Stopped { reason }];
    match &ending.error {
        Some(error) if reason != StopReason::Cancelled => {
            events.push(Event::Failed {
                error: error.clone(),
            });
        }
        _ => events.push(Event::Usage {
            usage: ending.progress.usage,
            step_count: ending.progress.step_count,
            context_tokens,
            run_ids,
        }),
    }
    events.push(Event::Done);
    events
}

/// The end of a run that no step's commit brought.
pub(crate) struct RunEnd {
    engine: Engine,
    live: Arc<LiveRun>,
    lease: Lease,
    failed_step: Option<(Step, Option<Trace>)>,
    ending: Ending,
    accepted_at: Timestamp,
    following: Following,
    context_tokens: i64,
    parcel: Parcel,
}

impl RunEnd {
    async fn write(self: &Arc<Self>) -> Result<Parcel, EngineError> {
        let end = Arc::clone(self);
        let written = self
            .engine
            .inner
            .store
            .write(move |tx| Box::pin(async move { end.write_in(tx).await }));
        let (parcel, follow_ups) = written.await?;
        self.engine.begin_follow_ups(follow_ups);
        Ok(parcel)
    }

    async fn write_in(&self, tx: &mut Tx<'_>) -> Result<(Parcel, Vec<FollowUp>), EngineError> {
        leases::release(tx, &self.lease).await?;
        if let Some((step, trace)) = &self.failed_step {
            self.engine
                .record_step(tx, &self.live.scope, step, None)
                .await?;
            if let Some(trace) = trace {
                traces::insert(tx, &self.live.scope, step.id, trace).await?;
            }
        }
        let reason = end_run(tx, &self.live, &self.ending, self.accepted_at).await?;
        if self.ending.error.is_some() && self.ending.progress.step_count == 0 {
            // Nothing entered the context, so the same messages may be sent again.
            otids::free(tx, self.live.conversation_id, self.live.id).await?;
        }
        let follow_ups = self
            .following
            .store(tx, &self.engine, &self.live, reason)
            .await?;
        let mut parcel = self.parcel.clone();
        let run_ids = follow_ups::ids(&follow_ups);
        let last = end_events(reason, &self.ending, self.context_tokens, run_ids);
        parcel.events.extend(last);
        parcel.log(tx, self.ending.completed_at).await?;
        Ok((parcel, follow_ups))
    }

    /// Tries a few times; `false` when the database cannot take it now.
    async fn commit_with_patience(self: &Arc<Self>) -> bool {
        let mut pause = FIRST_PAUSE;
        for _ in 0..COMMIT_TRIES {
            match self.write().await {
                Ok(parcel) => {
                    parcel.publish();
                    return true;
                }
                Err(EngineError::Store(StoreError::LeaseLost)) => {
                    publish_lost(&self.engine, &self.live).await;
                    return true;
                }
                Err(error) => {
                    tracing::warn!(run = %self.live.id, %error, "a run's end waits for the database");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        false
    }
}

impl Engine {
    /// Does a run's work. A panic in it is the end of that run and of nothing else.
    pub(crate) async fn guard(&self, live: &Arc<LiveRun>, work: BoxFuture<'_, ()>) {
        let caught = std::panic::AssertUnwindSafe(work).catch_unwind().await;
        if caught.is_err() {
            tracing::error!(run = %live.id, "a run panicked; it ends as failed");
            let error = RunError {
                error_type: "internal_error".to_owned(),
                message: "the server met a defect in this run; its log has more".to_owned(),
                detail: None,
            };
            self.abandon(live, StopReason::Error, Some(error)).await;
        }
    }

    /// Ends a run that cannot go on: its agent or conversation is gone, its request cannot be read, or
    /// a defect broke it off.
    pub(crate) async fn abandon(
        &self,
        live: &Arc<LiveRun>,
        reason: StopReason,
        error: Option<RunError>,
    ) {
        if !live.is_accepted().await {
            return self.leave(live);
        }
        let ending = Arc::new(Ending {
            stop_reason: reason,
            error: error.clone(),
            progress: runs::Progress::default(),
            completed_at: self.now(),
        });
        let mut pause = FIRST_PAUSE;
        loop {
            let (ending, run, me) = (
                Arc::clone(&ending),
                Arc::clone(live),
                self.inner.boot_id.clone(),
            );
            let written = self.inner.store.write(move |tx| {
                Box::pin(async move {
                    leases::release_run(tx, run.conversation_id, &me, run.id).await?;
                    runs::finish(tx, run.id, &ending).await
                })
            });
            match written.await {
                Ok(_) => break,
                Err(StoreError::Unavailable(_) | StoreError::Contended) => {}
                Err(error) => {
                    tracing::error!(run = %live.id, %error, "a run could not be ended");
                    break;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(SETTLE_INTERVAL),
                () = self.inner.supervisor.abort.cancelled() => return self.leave(live),
            }
        }
        publish_end(live, reason, error);
        self.leave(live);
    }

    /// Goes on trying to store a run's end, so that its conversation becomes free as soon as the
    /// database is back.
    fn settle_later(&self, end: Arc<RunEnd>) {
        let engine = self.clone();
        self.inner.supervisor.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(SETTLE_INTERVAL) => {}
                    () = engine.inner.supervisor.abort.cancelled() => return,
                }
                match end.write().await {
                    Ok(_) | Err(EngineError::Store(StoreError::LeaseLost)) => break,
                    Err(error) => {
                        tracing::warn!(run = %end.live.id, %error, "a run's end still waits");
                    }
                }
            }
            engine
                .inner
                .supervisor
                .conversation_freed(end.live.conversation_id);
        });
    }
}
