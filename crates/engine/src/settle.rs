//! The commits of a step with its effects.
//!
//! A step whose tools only touch our own database is one commit. With other tools it has phases: the answer and its calls
//! before any of them starts, the returns of calls that ran together, and the close with the last ones (DESIGN section 4).

mod close;

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use mnemic_core::{
    messages::{ToolCall, ToolReturn},
    time::Timestamp,
};
use mnemic_store::{Tx, failpoints, leases, steps};

use crate::{
    EngineError, clipping,
    dispatch::{self, Action, Editor},
    live::LiveRun,
    model::TurnModel,
    rules::Course,
    step::Answer,
    turn::Turn,
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
    pub(crate) answer: Answer,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) planned: Vec<Planned>,
    /// How the turn goes on.
    pub(crate) course: Course,
    /// Whether the step stands in the store as pending.
    is_open: bool,
    max_return_chars: usize,
}

impl StepCommit {
    pub(crate) fn new(model: &TurnModel, answer: Answer, calls: Vec<ToolCall>) -> Self {
        Self {
            answer,
            calls,
            planned: Vec::new(),
            course: Course::default(),
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
        let engine = turn.engine.clone();
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
                    engine.record_step(tx, &scope, &step, Some(&body)).await?;
                    steps::start_calls(tx, step.id, &calls).await
                })
            })
            .await?;
        self.is_open = true;
        failpoints::hit("calls.started");
        let mut groups = dispatch::groups(self.calls.iter().zip(actions))
            .into_iter()
            .peekable();
        while let Some(group) = groups.next() {
            let calls: Vec<ToolCall> = group.iter().map(|(call, _)| (*call).clone()).collect();
            let running = group
                .into_iter()
                .map(|(call, action)| planned(turn, call, action));
            let done = try_join_all(running).await?;
            failpoints::hit("call.returned");
            // Nothing comes between the last returns and the close, so they are one commit.
            let known = match groups.peek() {
                None => done,
                Some(_) => {
                    let done = calls.into_iter().zip(done).collect();
                    let returned = self.commit_returns(turn, done).await?;
                    returned.into_iter().map(Planned::Returned).collect()
                }
            };
            self.planned.extend(known);
        }
        Ok(())
    }

    /// Commits the returns of calls that ran together, with their effects in our database.
    async fn commit_returns(
        &self,
        turn: &Turn,
        done: Vec<(ToolCall, Planned)>,
    ) -> Result<Vec<ToolReturn>, EngineError> {
        let (lease, live) = (turn.lease.clone(), Arc::clone(&turn.live));
        let (step_id, max) = (self.answer.step.id, self.max_return_chars);
        let now = turn.engine.now();
        let written = turn.engine.inner.store.write(move |tx| {
            Box::pin(async move {
                leases::renew(tx, &lease).await?;
                let mut returns = Vec::with_capacity(done.len());
                for (call, planned) in &done {
                    let returned =
                        clipping::clipped(resolve(tx, &live, call, planned, now).await?, max);
                    steps::return_call(tx, step_id, &returned).await?;
                    returns.push(returned);
                }
                Ok::<_, EngineError>(returns)
            })
        });
        written.await
    }
}

/// Characters of a return that a model with such a window sees: a fifth of it, at about four characters a token.
pub(crate) fn max_return_chars(context_window: i64) -> usize {
    let chars = (context_window / 5 * 4).max(MIN_RETURN_CHARS);
    usize::try_from(chars).unwrap_or(usize::MAX)
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
        conversation_id: Some(live.conversation_id),
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
