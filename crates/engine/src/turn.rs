//! A turn: from holding the conversation to the run's one terminal state.

use std::sync::Arc;

use mnemic_core::{
    conversations::Thread,
    ids::MessageId,
    messages::Message,
    runs::{RunError, Step, StopReason},
    time::Timestamp,
};
use mnemic_store::{
    StoreError,
    leases::{self, Lease},
    runs::{self, Progress},
    traces::Trace,
    turns,
};

use crate::{
    Engine, EngineError, SendRequest, accept, inputs, live::LiveRun, outlet::Outlet,
    rules::TurnRules, session::Session, step::StepEnd,
};

/// How long a waiting run sleeps at the most before it looks at its conversation again; on one
/// machine it is woken as soon as the conversation is free.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(200);

/// A run that holds its conversation.
pub(crate) struct Turn {
    pub engine: Engine,
    pub live: Arc<LiveRun>,
    pub request: Arc<SendRequest>,
    pub lease: Lease,
    pub session: Box<Session>,
    pub outlet: Outlet,
    pub progress: Progress,
    /// Tokens of the last step's request and answer.
    pub context_tokens: i64,
    pub accepted_at: Timestamp,
    /// The input, until the first step takes it into the context.
    pub inputs: Vec<Message>,
    /// Messages that left the transcript, and leave the stored context with the next commit.
    pub evicted: Vec<MessageId>,
    /// The summary in the transcript that stands in their place and is not stored yet, or never will be.
    pub summary: Option<Message>,
    /// Whether the session lacks messages that the stored context has.
    pub is_partial: bool,
    /// The step whose model call failed, to be stored with the run's end, and what was asked.
    pub failed_step: Option<(Step, Option<Trace>)>,
    /// How often in a row the provider said that the request is too long.
    pub overflows: u32,
    /// Tokens of prompt, tools and messages that a request may take, after one was too long.
    pub ceiling: Option<i64>,
    /// Tokens of an input that are shown at the most.
    pub input_cap: i64,
    /// Tokens that the request takes as we count them.
    pub reckoned: i64,
    /// What the rules on the agent's tools say at this moment.
    pub rules: TurnRules,
}

/// How a turn ends, when its last step has not committed that already.
pub(crate) enum TurnEnd {
    /// The last step's commit ended the run as well.
    Settled,
    /// It is to be ended.
    Stop(StopReason, Option<RunError>),
    /// Another process took the conversation over; it owns the run now.
    LostLease,
}

impl Engine {
    /// Waits until the conversation is free and it is this run's turn, then runs it.
    pub(crate) async fn wait_and_run(
        &self,
        live: Arc<LiveRun>,
        request: Arc<SendRequest>,
        accepted_at: Timestamp,
    ) {
        let waiter = self.inner.supervisor.waiter(live.conversation_id);
        // A cancel wakes the wait once: what it did is looked at, and then again after a while.
        let mut saw_cancel = false;
        loop {
            let freed = waiter.notified();
            let mut freed = std::pin::pin!(freed);
            // Registered before looking, so that a release in between is not missed.
            freed.as_mut().enable();
            match self.try_begin(&live).await {
                Ok(Begin::Now { lease, session }) => {
                    return self
                        .run_turn(live, request, lease, session, accepted_at)
                        .await;
                }
                Ok(Begin::Over) => {
                    self.report_over(&live).await;
                    return self.leave(&live);
                }
                Ok(Begin::NotYet) => {}
                Err(EngineError::Store(StoreError::NotFound { .. })) => {
                    return self.abandon(&live, StopReason::Cancelled, None).await;
                }
                // Many runs may wait, and look often: that the database is away is said elsewhere.
                Err(error) => tracing::debug!(run = %live.id, %error, "a waiting run looks again"),
            }
            tokio::select! {
                () = freed => {}
                () = live.cancelled.cancelled(), if !saw_cancel => saw_cancel = true,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.inner.supervisor.abort.cancelled() => return self.leave(&live),
            }
        }
    }

    async fn try_begin(&self, live: &Arc<LiveRun>) -> Result<Begin, EngineError> {
        let (engine, run) = (self.clone(), Arc::clone(live));
        self.inner
            .store
            .write(move |tx| Box::pin(async move { begin(tx, &engine, &run).await }))
            .await
    }

    /// Runs a turn to its end. Nothing a client does or fails to do keeps it from getting there.
    pub(crate) async fn run_turn(
        &self,
        live: Arc<LiveRun>,
        request: Arc<SendRequest>,
        lease: Lease,
        session: Box<Session>,
        accepted_at: Timestamp,
    ) {
        let turn = Turn::new(self, (live, request), (lease, session), accepted_at);
        turn.run().await;
    }

    /// Takes a run out of this process.
    pub(crate) fn leave(&self, live: &LiveRun) {
        if live.has_callback {
            self.inner.callback_due.notify_one();
        }
        live.close();
        self.inner.supervisor.remove(live.id);
        self.inner
            .supervisor
            .conversation_freed(live.conversation_id);
    }
}

/// What a waiting run finds.
enum Begin {
    Now {
        lease: Lease,
        session: Box<Session>,
    },
    NotYet,
    /// It was cancelled while it waited.
    Over,
}

async fn begin(
    tx: &mut mnemic_store::Tx<'_>,
    engine: &Engine,
    live: &LiveRun,
) -> Result<Begin, EngineError> {
    let thread = Thread::Id(live.conversation_id);
    let head = turns::head(tx, &live.scope, live.agent_id, thread).await?;
    if !runs::is_open(tx, live.id).await? {
        return Ok(Begin::Over);
    }
    if runs::has_earlier_open(tx, live.conversation_id, live.id).await? {
        return Ok(Begin::NotYet);
    }
    let owner = &engine.inner.boot_id;
    let Some(lease) = leases::acquire(tx, live.conversation_id, owner, live.id).await? else {
        return Ok(Begin::NotYet);
    };
    runs::start(tx, live.id).await?;
    let session = accept::open_session(tx, engine, &live.scope, live.agent_id, &head).await?;
    Ok(Begin::Now { lease, session })
}

impl Turn {
    /// A turn that has not begun, at its run's first attempt.
    pub(crate) fn new(
        engine: &Engine,
        (live, request): (Arc<LiveRun>, Arc<SendRequest>),
        (lease, session): (Lease, Box<Session>),
        accepted_at: Timestamp,
    ) -> Self {
        let inputs = inputs::of_live(&live, &request, engine.now());
        Self {
            engine: engine.clone(),
            outlet: Outlet::new(Arc::clone(&live), 0),
            live,
            request,
            lease,
            session,
            progress: Progress::default(),
            context_tokens: 0,
            accepted_at,
            inputs,
            evicted: Vec::new(),
            summary: None,
            is_partial: false,
            failed_step: None,
            overflows: 0,
            ceiling: None,
            input_cap: i64::MAX,
            reckoned: 0,
            rules: TurnRules::default(),
        }
    }

    /// Steps until something ends the run, then settles it.
    pub(crate) async fn run(mut self) {
        let end = self.steps().await;
        self.end(end).await;
    }

    /// Settles the run and leaves.
    pub(crate) async fn end(mut self, end: TurnEnd) {
        let kept = self.settle(end).await;
        // The session is what the last commit left, unless something failed on the way.
        if kept && !self.is_partial && self.evicted.is_empty() {
            self.engine.inner.sessions.put(self.session);
        }
        self.engine.leave(&self.live);
    }

    async fn steps(&mut self) -> TurnEnd {
        match self.answer_waiting().await {
            Ok(None) => {}
            Ok(Some(end)) => return end,
            Err(EngineError::Store(StoreError::LeaseLost)) => return TurnEnd::LostLease,
            Err(error) => return self.failure(&error),
        }
        loop {
            if self.live.cancelled.is_cancelled() {
                return TurnEnd::Stop(StopReason::Cancelled, None);
            }
            if self.progress.step_count >= self.request.max_steps {
                return TurnEnd::Stop(StopReason::MaxSteps, None);
            }
            match self.step().await {
                Ok(StepEnd::Continue) => {}
                Ok(StepEnd::Settled) => return TurnEnd::Settled,
                Ok(StepEnd::Cancelled) => return TurnEnd::Stop(StopReason::Cancelled, None),
                Err(EngineError::Store(StoreError::LeaseLost)) => return TurnEnd::LostLease,
                Err(error) => return self.failure(&error),
            }
        }
    }

    /// The end of a run whose step failed.
    fn failure(&self, error: &EngineError) -> TurnEnd {
        let (reason, described) = describe(error);
        let (run, agent, kind) = (self.live.id, self.live.agent_id, &described.error_type);
        // Providers repeat what people said; the run has the whole error.
        tracing::warn!(%run, %agent, kind, "a run failed");
        tracing::debug!(%run, %error, "why a run failed");
        TurnEnd::Stop(reason, Some(described))
    }
}

/// How an error stands on a run and in its stream.
pub(crate) fn describe(error: &EngineError) -> (StopReason, RunError) {
    let (reason, error_type, message) = match error {
        EngineError::Llm(llm) => return llm_failure(llm),
        EngineError::Overflow { .. } => (
            StopReason::ContextWindowOverflowInSystemPrompt,
            "context_window_overflow_in_system_prompt",
            error.to_string(),
        ),
        EngineError::Store(StoreError::Unavailable(_) | StoreError::Contended) => (
            StopReason::Error,
            "service_unavailable",
            "the database is not available; nothing of this step was kept: send the message again"
                .to_owned(),
        ),
        EngineError::Store(_) => (
            StopReason::Error,
            "internal_error",
            "an internal error ended the run; the server's log has the details".to_owned(),
        ),
        EngineError::Rule(_) => (
            StopReason::InvalidToolCall,
            "invalid_tool_rule",
            error.to_string(),
        ),
        EngineError::Invalid(_) | EngineError::NotFound(_) | EngineError::Model(_) => {
            (StopReason::Error, "invalid_request", error.to_string())
        }
        _ => (StopReason::Error, "internal_error", error.to_string()),
    };
    (
        reason,
        RunError {
            error_type: error_type.to_owned(),
            message,
            detail: None,
        },
    )
}

/// How a failed model call stands on its step and run.
pub(crate) fn llm_failure(error: &mnemic_llm::LlmError) -> (StopReason, RunError) {
    let error_type = error.error_type();
    let reason = match error_type {
        "llm_insufficient_credits" => StopReason::InsufficientCredits,
        "llm_empty_response" | "llm_invalid_response" => StopReason::InvalidLlmResponse,
        _ => StopReason::LlmApiError,
    };
    let message = error.to_string();
    (
        reason,
        RunError {
            error_type: error_type.to_owned(),
            message,
            detail: None,
        },
    )
}
