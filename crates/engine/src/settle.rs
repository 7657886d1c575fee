//! The commits of a step with its effects.
//!
//! A step whose tools only touch our own database is one commit. With other tools it is three
//! phases: the answer and its calls before any of them starts, each return with its effects, and the
//! close (DESIGN section 4).

use std::{sync::Arc, time::Duration};

use crate::{
    Engine, EngineError, Granularity, clipping, compaction,
    dispatch::{self, Action, Editor},
    ending,
    events::Event,
    live::LiveRun,
    model::TurnModel,
    outlet::Parcel,
    recovery,
    session::Frame,
    step::{self, Answer},
    turn::Turn,
};
use futures_util::future::try_join_all;
use mnemic_core::{
    conversations::Thread,
    ids::MessageId,
    messages::{Message, Role, ToolCall, ToolReturn},
    parts,
    runs::{Step, StepStatus, StopReason},
    scope::Scope,
    time::Timestamp,
};
use mnemic_llm::Completion;
use mnemic_store::{
    StoreError, Tx, context, failpoints,
    leases::{self, Lease},
    messages,
    runs::{self, Ending, Progress},
    steps::{self, PendingStep},
    turns,
};

/// Tries of a commit that the database could not take, before the client is told.
pub(crate) const COMMIT_TRIES: u32 = 3;

/// The pause before the second try; it doubles with each further one.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Characters of a tool's return that a model sees at least, however small its window
/// (V1 contract, section 3.6).
const MIN_RETURN_CHARS: i64 = 5_000;

/// Whether the run went on after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    Goes,
    Ended,
}

/// What is known of a call when the step is committed.
#[derive(Debug)]
pub(crate) enum Planned {
    Returned(ToolReturn),
    Edit {
        label: String,
        edit: mnemic_core::memory::BlockEdit,
        based_on: Option<i64>,
    },
    Change(dispatch::MemoryChanges),
    Remember(Box<mnemic_core::passages::NewPassage>),
    Outside(Box<dispatch::Outside>),
}

/// Everything that a step's closing commit writes.
pub(crate) struct StepCommit {
    answer: Answer,
    calls: Vec<ToolCall>,
    planned: Vec<Planned>,
    reason: Option<StopReason>,
    /// Whether the step stands in the store as pending.
    is_open: bool,
    max_return_chars: usize,
}

impl StepCommit {
    pub(crate) fn new(
        model: &TurnModel,
        answer: Answer,
        calls: Vec<ToolCall>,
        reason: Option<StopReason>,
    ) -> Self {
        Self {
            answer,
            calls,
            planned: Vec::new(),
            reason,
            is_open: false,
            max_return_chars: max_return_chars(model.context_window),
        }
    }

    /// Gets ready a step all of whose tools are our own: searches read now, edits wait for the commit.
    pub(crate) async fn prepare(
        &mut self,
        turn: &Turn,
        actions: Vec<Action>,
    ) -> Result<(), EngineError> {
        for (call, action) in self.calls.iter().zip(actions) {
            let planned = planned(turn, call, action).await?;
            self.planned.push(planned);
        }
        Ok(())
    }

    /// Runs a step with effects outside of the database: no call of it is ever run twice.
    pub(crate) async fn run_in_phases(
        &mut self,
        turn: &Turn,
        actions: Vec<Action>,
    ) -> Result<(), EngineError> {
        let store = turn.engine.inner.store.clone();
        let (lease, scope) = (turn.lease.clone(), turn.live.scope.clone());
        let (step, body) = (
            self.answer.step.clone(),
            self.answer.completion.body.clone(),
        );
        let calls = self.calls.clone();
        store
            .write(move |tx| {
                Box::pin(async move {
                    leases::renew(tx, &lease).await?;
                    steps::insert(tx, &scope, &step, Some(&body)).await?;
                    steps::start_calls(tx, step.id, &calls).await
                })
            })
            .await?;
        self.is_open = true;
        failpoints::hit("calls.started");
        for group in groups(self.calls.iter().zip(actions)) {
            let calls: Vec<&ToolCall> = group.iter().map(|(call, _)| *call).collect();
            let running = group
                .into_iter()
                .map(|(call, action)| planned(turn, call, action));
            for (call, planned) in calls.into_iter().zip(try_join_all(running).await?) {
                let returned = self.commit_return(turn, call, planned).await?;
                self.planned.push(Planned::Returned(returned));
                failpoints::hit("call.returned");
            }
        }
        Ok(())
    }

    /// Commits one call's return together with its effects in our database.
    async fn commit_return(
        &self,
        turn: &Turn,
        call: &ToolCall,
        planned: Planned,
    ) -> Result<ToolReturn, EngineError> {
        let (lease, live, now) = (
            turn.lease.clone(),
            Arc::clone(&turn.live),
            turn.engine.now(),
        );
        let (step_id, call, max) = (self.answer.step.id, call.clone(), self.max_return_chars);
        let store = &turn.engine.inner.store;
        store
            .write(move |tx| {
                Box::pin(async move {
                    leases::renew(tx, &lease).await?;
                    let returned = resolve(tx, &live, &call, &planned, now).await?;
                    let returned = clipping::clipped(returned, max);
                    steps::return_call(tx, step_id, &returned).await?;
                    Ok::<_, EngineError>(returned)
                })
            })
            .await
    }
}

/// Characters of a return that a model with such a window sees: a fifth of it, at about four characters a token.
pub(crate) fn max_return_chars(context_window: i64) -> usize {
    let chars = (context_window / 5 * 4).max(MIN_RETURN_CHARS);
    usize::try_from(chars).unwrap_or(usize::MAX)
}

/// Calls in their order, together where they may run at the same time.
pub(crate) fn groups<'c>(
    calls: impl Iterator<Item = (&'c ToolCall, Action)>,
) -> Vec<Vec<(&'c ToolCall, Action)>> {
    let mut groups: Vec<Vec<(&ToolCall, Action)>> = Vec::new();
    let mut is_open = false;
    for (call, action) in calls {
        let beside = action.runs_beside_others();
        match groups.last_mut() {
            Some(group) if is_open && beside => group.push((call, action)),
            _ => groups.push(vec![(call, action)]),
        }
        is_open = beside;
    }
    groups
}

/// What is known of a call before the commit: searches and other tools run now, edits wait for it.
pub(crate) async fn planned(
    turn: &Turn,
    call: &ToolCall,
    action: Action,
) -> Result<Planned, EngineError> {
    Ok(match action {
        Action::Known(result) => Planned::Returned(result),
        Action::Edit {
            label,
            edit,
            based_on,
        } => Planned::Edit {
            label,
            edit,
            based_on,
        },
        Action::Change(changes) => Planned::Change(changes),
        Action::Remember(passage) => Planned::Remember(passage),
        Action::Search(look) => Planned::Returned(search_now(turn, call, look).await?),
        // These were looked up before; see `web::look_up`.
        Action::Web(_) => {
            Planned::Returned(dispatch::failed(call, "it was not looked up".to_owned()))
        }
        Action::External(external) => {
            let outside = dispatch::run_external(turn, external, call).await?;
            Planned::Outside(Box::new(outside))
        }
    })
}

async fn search_now(
    turn: &Turn,
    call: &ToolCall,
    look: dispatch::Look,
) -> Result<ToolReturn, EngineError> {
    let agent = &turn.session.frame.agent;
    dispatch::search(&turn.engine, &turn.live.scope, agent, (call, look)).await
}

/// The return of a call, after its edit was applied.
pub(crate) async fn resolve(
    tx: &mut Tx<'_>,
    live: &LiveRun,
    call: &ToolCall,
    planned: &Planned,
    now: Timestamp,
) -> Result<ToolReturn, EngineError> {
    let editor = Editor {
        scope: &live.scope,
        agent_id: live.agent_id,
        run_id: Some(live.id),
        now,
    };
    match planned {
        Planned::Returned(result) => Ok(result.clone()),
        Planned::Edit {
            label,
            edit,
            based_on,
        } => dispatch::edit(tx, &editor, call, (label, edit, *based_on)).await,
        Planned::Change(changes) => dispatch::change(tx, &editor, call, changes).await,
        Planned::Remember(passage) => dispatch::remember(tx, &editor, call, passage).await,
        Planned::Outside(outside) => dispatch::keep(tx, &editor, call, outside).await,
    }
}

/// What a closing commit left behind.
struct Committed {
    /// The messages that entered the context.
    messages: Vec<Message>,
    context_revision: i64,
    /// The frame, where something that the prompt shows has moved.
    frame: Option<Frame>,
    closing: Closing,
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
    assistant: Option<Message>,
    accepted_at: Timestamp,
    context_tokens: i64,
    parcel: Parcel,
}

impl StepCommit {
    /// The close of a step that its process did not live to close.
    fn interrupted(pending: PendingStep, reason: Option<StopReason>) -> Self {
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
        };
        Self {
            answer,
            calls,
            planned,
            reason,
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
        self.commit(StepCommit::interrupted(pending, None))
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
            assistant: step::assistant_message(self, &commit.answer, &commit.calls),
            accepted_at: self.accepted_at,
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
        }
        self.session.next_position += i64::try_from(committed.messages.len()).unwrap_or(0);
        self.session.context_revision = committed.context_revision;
        if let Some(frame) = committed.frame {
            self.session.frame = frame;
        }
        committed.parcel.publish();
        committed.closing
    }
}

async fn close(
    tx: &mut Tx<'_>,
    context: &Context,
    commit: &StepCommit,
) -> Result<Committed, EngineError> {
    let (live, now) = (&context.live, context.engine.now());
    match commit.reason {
        None => leases::renew(tx, &context.lease).await?,
        Some(_) => leases::release(tx, &context.lease).await?,
    }
    let returns = returns(tx, context, commit, now).await?;
    let messages = step_messages(context, commit, returns);
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
        store_step(&mut steps, &live.scope, commit, now),
        move_on(&mut run, context, commit.reason, now),
    )?;
    failpoints::hit("close.written");
    parcel
        .events
        .extend(step_events(context, commit, &messages));
    let closing = if let Some((reason, ending)) = ended {
        let last = ending::end_events(reason, &ending, context.context_tokens);
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
fn step_messages(context: &Context, commit: &StepCommit, returns: Vec<ToolReturn>) -> Vec<Message> {
    let mut messages = context.inputs.clone();
    messages
        .iter_mut()
        .for_each(|message| message.step_id = Some(commit.answer.step.id));
    messages.extend(context.assistant.clone());
    if !returns.is_empty() {
        let identity = (
            context.live.agent_id,
            context.live.conversation_id,
            context.live.id,
        );
        messages.push(step::tool_message(identity, &commit.answer, returns));
    }
    messages
}

async fn store_step(
    tx: &mut Tx<'_>,
    scope: &Scope,
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
            commit.reason
        },
        completed_at: Some(now),
        ..commit.answer.step.clone()
    };
    if commit.is_open {
        steps::close(tx, &step).await
    } else {
        steps::insert(tx, scope, &step, None).await
    }
}

/// What the run's clients see of a step: the answer, unless they saw it grow, and the returns.
fn step_events(context: &Context, commit: &StepCommit, messages: &[Message]) -> Vec<Event> {
    let seen = context.granularity == Granularity::Tokens && commit.answer.streamed;
    messages
        .iter()
        .filter(|message| match message.role {
            Role::Assistant => !seen,
            Role::Tool => true,
            Role::User | Role::System => false,
        })
        .flat_map(parts::of_message)
        .map(|part| Event::Message(Box::new(part)))
        .collect()
}
