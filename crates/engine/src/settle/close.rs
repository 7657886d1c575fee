//! The closing commit of a step: its messages enter the context, the run moves on or ends, and what follows from that is stored.

use std::sync::Arc;

use mnemic_core::{
    agents::Agent,
    conversations::Thread,
    heartbeat::is_heartbeat,
    ids::MessageId,
    messages::{Message, Role, ToolCall, ToolReturn},
    parts::{self, Speech},
    runs::{Step, StepStatus, StopReason},
    time::Timestamp,
};
use mnemic_llm::Completion;
use mnemic_store::{
    StoreError, Tx, context, failpoints,
    leases::{self, Lease},
    messages,
    runs::{self, Ending, Progress},
    steps::{self, PendingStep},
    traces, turns,
};

use super::{COMMIT_TRIES, Closing, FIRST_PAUSE, Planned, StepCommit, resolve};
use crate::{
    Engine, EngineError, Granularity, clipping, compaction, ending,
    events::Event,
    follow_ups::{self, FollowUp, Following},
    live::LiveRun,
    outlet::Parcel,
    recovery, request,
    rules::Course,
    session::Frame,
    step::{self, Answer},
    turn::Turn,
};

/// What a closing commit left behind.
struct Committed {
    /// The messages that entered the context.
    messages: Vec<Message>,
    context_revision: i64,
    /// The frame, where something that the prompt shows has moved.
    frame: Option<Frame>,
    closing: Closing,
    follow_ups: Vec<FollowUp>,
    parcel: Parcel,
}

/// What the closing commit needs of the turn.
struct Context {
    engine: Engine,
    live: Arc<LiveRun>,
    lease: Lease,
    inputs: Vec<Message>,
    /// A compaction that is stored with the step: the messages that leave, their summary, and what
    /// clients see of it.
    compaction: Option<(Vec<MessageId>, Message, Option<Event>)>,
    next_position: i64,
    signature: String,
    progress: Progress,
    granularity: Granularity,
    agent: Arc<Agent>,
    speech: Option<Speech>,
    assistant: Option<Message>,
    accepted_at: Timestamp,
    following: Following,
    context_tokens: i64,
    parcel: Parcel,
}

impl StepCommit {
    /// The close of a step that its process did not live to close.
    fn interrupted(pending: PendingStep) -> Self {
        let calls: Vec<ToolCall> = pending.calls.iter().map(|(call, _)| call.clone()).collect();
        let planned = pending
            .calls
            .into_iter()
            .map(|(call, known)| known.unwrap_or_else(|| recovery::unknown_effect(&call)))
            .map(Planned::Returned)
            .collect();
        let answer = Answer {
            message_id: MessageId::new(),
            completion: Completion {
                body: pending.answer,
                ..Completion::default()
            },
            streamed: false,
            cancelled: false,
            started_at: pending.step.created_at,
            context_tokens: pending.step.usage.total_tokens(),
            step: pending.step,
            shown: step::Shown::default(),
            trace: None,
        };
        Self {
            answer,
            calls,
            planned,
            course: Course::default(),
            is_open: true,
            max_return_chars: usize::MAX,
        }
    }
}

impl Turn {
    /// Closes the step that a crash interrupted; its started calls get returns, and are not run.
    pub(crate) async fn close_interrupted(
        &mut self,
        pending: PendingStep,
    ) -> Result<(), EngineError> {
        self.outlet.begin_step(pending.step.id);
        self.commit(StepCommit::interrupted(pending))
            .await
            .map(drop)
    }

    fn waiting_compaction(&self) -> Option<(Vec<MessageId>, Message, Option<Event>)> {
        let summary = self.summary.clone().filter(|_| !self.is_partial)?;
        let event = self.summary_event(&summary);
        Some((self.evicted.clone(), summary, event))
    }

    /// Closes a step: its messages enter the context, and the run moves on or ends.
    pub(crate) async fn commit(&mut self, commit: StepCommit) -> Result<Closing, EngineError> {
        let usage = commit.answer.step.usage;
        self.progress.usage.add(&usage);
        self.progress.step_count += 1;
        self.context_tokens = commit.answer.context_tokens;
        let context = Arc::new(Context {
            engine: self.engine.clone(),
            live: Arc::clone(&self.live),
            lease: self.lease.clone(),
            inputs: self.inputs.clone(),
            compaction: self.waiting_compaction(),
            next_position: self.session.next_position,
            signature: self.session.frame.signature.clone(),
            progress: self.progress.clone(),
            granularity: self.request.granularity,
            agent: Arc::clone(&self.session.frame.agent),
            speech: request::speech(&self.request.request_config),
            assistant: step::assistant_message(self, &commit.answer, &commit.calls),
            accepted_at: self.accepted_at,
            following: Following::of(self),
            context_tokens: self.context_tokens,
            parcel: self.outlet.parcel(),
        });
        let commit = Arc::new(commit);
        let committed = self.commit_with_patience(&context, &commit).await;
        match committed {
            Ok(committed) => Ok(self.take_in(committed)),
            Err(error) => {
                self.outlet.put_back(context.parcel.events.clone());
                self.progress.step_count -= 1;
                Err(error)
            }
        }
    }

    async fn commit_with_patience(
        &self,
        context: &Arc<Context>,
        commit: &Arc<StepCommit>,
    ) -> Result<Committed, EngineError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let (for_job, step) = (Arc::clone(context), Arc::clone(commit));
            let written = self
                .engine
                .inner
                .store
                .write(move |tx| Box::pin(async move { close(tx, &for_job, &step).await }))
                .await;
            match written {
                Err(EngineError::Store(StoreError::Unavailable(_) | StoreError::Contended))
                    if attempt < COMMIT_TRIES =>
                {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return other,
            }
        }
        Err(EngineError::ShuttingDown)
    }

    /// Brings the session up to what was committed, and shows the step to the run's clients.
    fn take_in(&mut self, committed: Committed) -> Closing {
        self.inputs.clear();
        self.evicted.clear();
        if !self.is_partial {
            self.summary = None;
        }
        for message in &committed.messages {
            self.session.push(message);
            self.rules.note(message);
        }
        self.session.next_position += i64::try_from(committed.messages.len()).unwrap_or(0);
        self.session.context_revision = committed.context_revision;
        if let Some(frame) = committed.frame {
            self.session.frame = frame;
        }
        committed.parcel.publish();
        self.engine.begin_follow_ups(committed.follow_ups);
        committed.closing
    }
}

async fn close(
    tx: &mut Tx<'_>,
    context: &Context,
    commit: &StepCommit,
) -> Result<Committed, EngineError> {
    let (live, now) = (&context.live, context.engine.now());
    match commit.course.stop {
        None => leases::renew(tx, &context.lease).await?,
        Some(_) => leases::release(tx, &context.lease).await?,
    }
    let returns = returns(tx, context, commit, now).await?;
    let messages = step_messages(context, commit, returns, now);
    let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
    let conversation_id = live.conversation_id;
    let mut frame = None;
    let mut parcel = context.parcel.clone();
    if let Some((leaving, summary, event)) = &context.compaction {
        let saved = compaction::save(tx, &live.scope, leaving, summary, now).await?;
        frame = Some(saved.frame);
        parcel.events.extend(event.clone());
    }
    let (mut said, mut context_rows, mut steps, mut run) = (*tx, *tx, *tx, *tx);
    let next = context.next_position;
    let ((), context_revision, (), ended) = tokio::try_join!(
        biased;
        messages::insert(&mut said, &live.scope, &messages),
        context::append(&mut context_rows, conversation_id, next, &ids, now),
        store_step(&mut steps, context, commit, now),
        move_on(&mut run, context, commit.course.stop, now),
    )?;
    failpoints::hit("close.written");
    parcel
        .events
        .extend(step_events(context, commit, &messages));
    let mut follow_ups = Vec::new();
    let closing = if let Some((reason, ending)) = ended {
        follow_ups = context
            .following
            .store(tx, &context.engine, live, reason)
            .await?;
        failpoints::hit("follow-ups.written");
        let run_ids = follow_ups::ids(&follow_ups);
        let last = ending::end_events(reason, &ending, context.context_tokens, run_ids);
        parcel.events.extend(last);
        Closing::Ended
    } else {
        let head = turns::head(tx, &live.scope, live.agent_id, Thread::Id(conversation_id)).await?;
        if head.signature != context.signature {
            frame = Some(Frame::load(tx, &live.scope, &head, live.agent_id, now).await?);
        }
        Closing::Goes
    };
    parcel.log(tx, now).await?;
    Ok(Committed {
        messages,
        context_revision,
        frame,
        closing,
        follow_ups,
        parcel,
    })
}

/// Ends the run, for the reason given, or notes how far it is.
async fn move_on(
    tx: &mut Tx<'_>,
    context: &Context,
    reason: Option<StopReason>,
    now: Timestamp,
) -> Result<Option<(StopReason, Ending)>, StoreError> {
    let progress = context.progress.clone();
    let Some(stop_reason) = reason else {
        runs::progress(tx, context.live.id, &progress).await?;
        return Ok(None);
    };
    let ending = Ending {
        stop_reason,
        error: None,
        progress,
        completed_at: now,
    };
    let ended = ending::end_run(tx, &context.live, &ending, context.accepted_at).await?;
    Ok(Some((ended, ending)))
}

/// The returns of a step's calls; of a step that ran in phases they are committed already.
async fn returns(
    tx: &mut Tx<'_>,
    context: &Context,
    commit: &StepCommit,
    now: Timestamp,
) -> Result<Vec<ToolReturn>, EngineError> {
    let mut returns = Vec::with_capacity(commit.calls.len());
    for (call, planned) in commit.calls.iter().zip(&commit.planned) {
        let returned = resolve(tx, &context.live, call, planned, now).await?;
        returns.push(clipping::clipped(returned, commit.max_return_chars));
    }
    Ok(returns)
}

/// Input (with the first step), answer and returns, in the order in which the model sees them.
fn step_messages(
    context: &Context,
    commit: &StepCommit,
    returns: Vec<ToolReturn>,
    now: Timestamp,
) -> Vec<Message> {
    let mut messages = context.inputs.clone();
    messages
        .iter_mut()
        .for_each(|message| message.step_id = Some(commit.answer.step.id));
    messages.extend(context.assistant.clone());
    let place = (
        context.live.agent_id,
        context.live.conversation_id,
        context.live.id,
    );
    if !returns.is_empty() {
        messages.push(step::tool_message(place, &commit.answer, returns));
    }
    messages.extend(commit.heartbeat(place, (now, &context.agent.timezone)));
    messages
}

async fn store_step(
    tx: &mut Tx<'_>,
    context: &Context,
    commit: &StepCommit,
    now: Timestamp,
) -> Result<(), StoreError> {
    let cancelled = commit.answer.cancelled;
    let step = Step {
        status: if cancelled {
            StepStatus::Cancelled
        } else {
            StepStatus::Success
        },
        stop_reason: if cancelled {
            Some(StopReason::Cancelled)
        } else {
            commit.course.stop
        },
        completed_at: Some(now),
        ..commit.answer.step.clone()
    };
    if commit.is_open {
        steps::close(tx, &step).await?;
    } else {
        context
            .engine
            .record_step(tx, &context.live.scope, &step, None)
            .await?;
    }
    match &commit.answer.trace {
        Some(trace) => traces::insert(tx, &context.live.scope, step.id, trace).await,
        None => Ok(()),
    }
}

/// What the run's clients see of a step: the answer, unless they saw it grow, and the returns.
fn step_events(context: &Context, commit: &StepCommit, messages: &[Message]) -> Vec<Event> {
    // The older loop tells its clients nothing of heartbeats.
    let echoes = !context.agent.agent_type.needs_heartbeats();
    let seen = context.granularity == Granularity::Tokens && commit.answer.streamed;
    messages
        .iter()
        .filter(|message| match message.role {
            Role::Assistant => !seen,
            Role::Tool => true,
            Role::User => echoes && is_heartbeat(message),
            Role::System => false,
        })
        .flat_map(|message| parts::of_message(message, context.speech.as_ref()))
        .map(|part| Event::Message(Box::new(part)))
        .collect()
}
