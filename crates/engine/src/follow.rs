//! Following and cancelling runs, wherever their task is.

use std::{sync::Arc, time::Duration};

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, ConversationId, RunId},
    messages::Role,
    parts,
    runs::{Run, RunStatus, StopReason},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    StoreError, Tx, conversations, events,
    messages::{self, MessageFilter},
    page::{Order, Page},
    runs::{self, Ending, Progress, RunFilter},
    steps,
};

use crate::{Engine, EngineError, Event, RunHandle, ending, handle, live::Numbered, request};

/// How often the state of a run whose task is in another process is looked at.
const REMOTE_POLL: Duration = Duration::from_millis(100);

/// Messages that a replay reads at the most.
const MAX_REPLAY: i64 = 100_000;

/// Runs that one request cancels at the most.
const MAX_CANCELLED: i64 = 1_000;

impl Engine {
    /// Follows a run from the event after number `after`: replays what happened, then goes on live.
    ///
    /// # Errors
    /// There is no such run, or the database's.
    pub async fn attach(
        &self,
        scope: &Scope,
        run_id: RunId,
        after: u64,
    ) -> Result<RunHandle, EngineError> {
        loop {
            let run = self.run(scope, run_id).await?;
            if let Some(live) = self.inner.supervisor.get(run_id) {
                let store = self.inner.store.clone();
                // A number that is still to come is as good as the next one.
                let next = after.saturating_add(1).min(live.next_seq());
                return Ok(RunHandle::live(live, next, store).attached());
            }
            if run.status.is_terminal() {
                return self.past(scope, &run, after).await;
            }
            // Its task is in another process, or just about to leave this one.
            tokio::time::sleep(REMOTE_POLL).await;
        }
    }

    pub(crate) async fn run(&self, scope: &Scope, run_id: RunId) -> Result<Run, EngineError> {
        let scope = scope.clone();
        let read = self
            .inner
            .store
            .read(move |tx| Box::pin(async move { runs::get(tx, &scope, run_id).await }));
        Ok(read.await.map_err(|error: StoreError| error)?)
    }

    /// A run that is over: as logged, or told from its messages.
    async fn past(&self, scope: &Scope, run: &Run, after: u64) -> Result<RunHandle, EngineError> {
        let (run_id, background) = (run.id, run.background);
        let from = i64::try_from(after).unwrap_or(i64::MAX);
        let for_steps = scope.clone();
        let read = self.inner.store.read(move |tx| {
            Box::pin(async move {
                let rows = if background {
                    events::after(tx, run_id, from, handle::PAST_ROWS).await?
                } else {
                    Vec::new()
                };
                let filter = steps::StepFilter {
                    run_id: Some(run_id),
                    ..Default::default()
                };
                let page = Page::first(1, Order::Desc);
                let last = steps::list(tx, &for_steps, &filter, &page).await?;
                Ok::<_, StoreError>((rows, last.into_iter().next()))
            })
        });
        let (rows, last_step) = read.await?;
        let context_tokens = last_step.map_or(0, |step| step.usage.total_tokens());
        let reason = run.stop_reason.unwrap_or(StopReason::Error);
        let run_ids = run.follow_ups.clone();
        let last_words = ending::end_events(reason, &ending_of(run), context_tokens, run_ids);
        if handle::is_full_page(&rows) {
            let first = handle::unpack(&rows, after.saturating_add(1))?;
            let store = self.inner.store.clone();
            return Ok(RunHandle::logged(run, first, store, last_words));
        }
        let ends = last_words.len();
        let events = if rows.is_empty() {
            self.told(scope, run, last_words).await?
        } else {
            with_end(handle::unpack(&rows, 0)?, last_words)
        };
        Ok(RunHandle::replay(run, rest(events, after, ends)))
    }

    /// The events of a run as its messages tell them.
    async fn told(
        &self,
        scope: &Scope,
        run: &Run,
        last_words: Vec<Event>,
    ) -> Result<Vec<Numbered>, EngineError> {
        let (scope, run_id) = (scope.clone(), run.id);
        let read = self.inner.store.read(move |tx| {
            Box::pin(async move {
                let filter = MessageFilter {
                    run_id: Some(run_id),
                    ..Default::default()
                };
                let page = Page::first(MAX_REPLAY, Order::Asc);
                messages::list(tx, &scope, &filter, &page).await
            })
        });
        let said = read.await.map_err(|error: StoreError| error)?;
        let answered = said
            .iter()
            .filter(|message| matches!(message.role, Role::Assistant | Role::Tool));
        let speech = request::speech(&run.request_config);
        let mut told: Vec<Event> = answered
            .flat_map(|message| parts::of_message(message, speech.as_ref()))
            .map(|part| Event::Message(Box::new(part)))
            .collect();
        told.extend(last_words);
        Ok((1u64..).zip(told.into_iter().map(Arc::new)).collect())
    }

    /// Cancels the named runs of an agent, or all that are not over; returns which were.
    ///
    /// # Errors
    /// None of them could be cancelled, or the database's.
    pub async fn cancel_agent(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        wanted: Option<Vec<RunId>>,
    ) -> Result<Vec<RunId>, EngineError> {
        let filter = RunFilter {
            agent_ids: vec![agent_id],
            ..Default::default()
        };
        let what = format!("agent {agent_id}");
        let named = wanted.clone();
        let cancelled = self.cancel(scope, filter, wanted, &what).await;
        match (cancelled, named) {
            (Err(EngineError::Conflict(reason)), None) => {
                let thread = Thread::Default;
                self.cancel_waiting(scope, (agent_id, thread), reason).await
            }
            (Err(EngineError::Conflict(reason)), Some(named)) => {
                let denied = self.cancel_asked(scope, agent_id, &named).await?;
                if denied.is_empty() {
                    return Err(EngineError::Conflict(reason));
                }
                Ok(denied)
            }
            (Ok(mut cancelled), Some(mut named)) => {
                named.retain(|id| !cancelled.contains(id));
                cancelled.extend(self.cancel_asked(scope, agent_id, &named).await?);
                Ok(cancelled)
            }
            (cancelled, _) => cancelled,
        }
    }

    /// Cancels the calls of these runs that wait for an answer; returns the runs that had such.
    async fn cancel_asked(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        named: &[RunId],
    ) -> Result<Vec<RunId>, EngineError> {
        let mut denied = Vec::new();
        for id in named {
            let run = match self.run(scope, *id).await {
                Err(EngineError::Store(StoreError::NotFound { .. })) => continue,
                run => run?,
            };
            let has_asked = run.stop_reason == Some(StopReason::RequiresApproval);
            if run.agent_id != agent_id || !has_asked {
                continue;
            }
            let place = (agent_id, Thread::Id(run.conversation_id));
            denied.extend(self.deny_waiting(scope, place, Some(*id)).await?);
        }
        Ok(denied)
    }

    /// Cancels the runs of a conversation that are not over; returns which.
    ///
    /// # Errors
    /// There was none, or the database's.
    pub async fn cancel_conversation(
        &self,
        scope: &Scope,
        conversation_id: ConversationId,
    ) -> Result<Vec<RunId>, EngineError> {
        let filter = RunFilter {
            conversation_id: Some(conversation_id),
            ..Default::default()
        };
        let what = format!("conversation {conversation_id}");
        match self.cancel(scope, filter, None, &what).await {
            Err(EngineError::Conflict(reason)) => {
                let of = scope.clone();
                let read = self.inner.store.read(move |tx| {
                    Box::pin(async move { conversations::get(tx, &of, conversation_id).await })
                });
                let found = read.await.map_err(|error: StoreError| error)?;
                let place = (found.agent_id, Thread::Id(conversation_id));
                self.cancel_waiting(scope, place, reason).await
            }
            cancelled => cancelled,
        }
    }

    /// Deletes a conversation; its runs are cancelled.
    ///
    /// # Errors
    /// There is no such conversation, or the database's.
    pub async fn delete_conversation(
        &self,
        scope: &Scope,
        id: ConversationId,
    ) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let cancelled = self.inner.store.write(move |tx| {
            Box::pin(async move {
                let of_it = RunFilter {
                    conversation_id: Some(id),
                    ..RunFilter::default()
                };
                let cancelled = cancel_in(tx, &scope, &of_it, None, now).await?;
                conversations::soft_delete(tx, &scope, id, now).await?;
                Ok::<_, StoreError>(cancelled)
            })
        });
        self.tell_cancelled(&cancelled.await?);
        Ok(())
    }

    /// Cancels calls that wait for an answer, where no run is active: returns the run that made them.
    async fn cancel_waiting(
        &self,
        scope: &Scope,
        (agent_id, thread): (AgentId, Thread),
        nothing: String,
    ) -> Result<Vec<RunId>, EngineError> {
        let denied = self.deny_waiting(scope, (agent_id, thread), None).await?;
        denied.map_or(Err(EngineError::Conflict(nothing)), |run| Ok(vec![run]))
    }

    async fn cancel(
        &self,
        scope: &Scope,
        filter: RunFilter,
        wanted: Option<Vec<RunId>>,
        what: &str,
    ) -> Result<Vec<RunId>, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let cancelled = self
            .inner
            .store
            .write(move |tx| {
                Box::pin(
                    async move { cancel_in(tx, &scope, &filter, wanted.as_deref(), now).await },
                )
            })
            .await?;
        self.tell_cancelled(&cancelled);
        if cancelled.is_empty() {
            return Err(EngineError::Conflict(format!(
                "No active runs to cancel for {what}"
            )));
        }
        Ok(cancelled)
    }

    /// Tells the tasks of these runs that they were cancelled.
    pub(crate) fn tell_cancelled(&self, runs: &[RunId]) {
        for live in runs.iter().filter_map(|id| self.inner.supervisor.get(*id)) {
            live.cancelled.cancel();
        }
    }

    /// Shows a run that was cancelled while it waited to those who follow it.
    pub(crate) async fn report_over(&self, live: &crate::live::LiveRun) {
        let ended = match self.run(&live.scope, live.id).await {
            Ok(run) => ending::end_events(
                run.stop_reason.unwrap_or(StopReason::Cancelled),
                &ending_of(&run),
                0,
                run.follow_ups.clone(),
            ),
            Err(_) => vec![
                Event::Stopped {
                    reason: StopReason::Cancelled,
                },
                Event::Done,
            ],
        };
        for event in ended {
            live.publish(event);
        }
    }
}

/// The events of a log, with an end where a crash between a cancel and its last words left none.
fn with_end(mut events: Vec<Numbered>, last_words: Vec<Event>) -> Vec<Numbered> {
    let last = events
        .last()
        .map(|(seq, event)| (*seq, matches!(event.as_ref(), Event::Done)));
    if let Some((last, false)) = last {
        events.extend((last + 1..).zip(last_words.into_iter().map(Arc::new)));
    }
    events
}

/// How a stored run ended.
/// Cancels the runs of a filter that are not over, or those of them that are wanted; returns which.
pub(crate) async fn cancel_in(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &RunFilter,
    wanted: Option<&[RunId]>,
    now: Timestamp,
) -> Result<Vec<RunId>, StoreError> {
    let open = RunFilter {
        statuses: vec![RunStatus::Created, RunStatus::Running],
        ..filter.clone()
    };
    let page = Page::first(MAX_CANCELLED, Order::Asc);
    let mut cancelled = Vec::new();
    for run in runs::list(tx, scope, &open, &page).await? {
        let named = wanted.is_none_or(|ids| ids.contains(&run.id));
        if named && runs::cancel(tx, run.id, now).await? {
            cancelled.push(run.id);
        }
    }
    Ok(cancelled)
}

/// The events after a number; of one that lies beyond all of them the last ones, of which there are
/// `ends`, so that a client learns in any case how the run ended.
fn rest(events: Vec<Numbered>, after: u64, ends: usize) -> Vec<Numbered> {
    let first_end = events.len().saturating_sub(ends);
    let is_beyond = events.last().is_none_or(|(seq, _)| *seq <= after);
    let wanted = |index: usize, seq: u64| seq > after || (is_beyond && index >= first_end);
    let numbered = events.into_iter().enumerate();
    numbered
        .filter(|(index, (seq, _))| wanted(*index, *seq))
        .map(|(_, event)| event)
        .collect()
}

fn ending_of(run: &Run) -> Ending {
    Ending {
        stop_reason: run.stop_reason.unwrap_or(StopReason::Error),
        error: run.error.clone(),
        progress: Progress {
            usage: run.usage,
            step_count: run.step_count,
            ttft_ns: run.ttft_ns,
        },
        completed_at: run.completed_at.unwrap_or(run.created_at),
    }
}
