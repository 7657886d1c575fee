//! The returns of answered calls: running what was approved, and the commit with which all of them enter the context.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::try_join_all;
use mnemic_core::{
    conversations::Thread,
    ids::{MessageId, StepId},
    messages::{CallAnswer, Message, MessageBody, Role, ToolCall, ToolReturn},
    parts, tokens,
};
use mnemic_store::{
    Tx, context, failpoints,
    leases::{self, Lease},
    messages,
    runs::{self, Progress},
    steps, turns,
};

use super::Waiting;
use crate::{
    Engine, EngineError, clipping,
    dispatch::{self, Action},
    events::Event,
    live::LiveRun,
    outlet::Parcel,
    recovery, request,
    session::Frame,
    settle::{self, Planned},
    turn::Turn,
};

/// What the commit of answers and returns writes.
struct Taking {
    lease: Lease,
    live: Arc<LiveRun>,
    engine: Engine,
    next_position: i64,
    signature: String,
    progress: Progress,
    messages: Vec<Message>,
    step_id: Option<StepId>,
    parcel: Parcel,
}

impl Taking {
    /// The context's revision after it, the frame where something that the prompt shows has moved, and the events.
    async fn write(self, tx: &mut Tx<'_>) -> Result<(i64, Option<Frame>, Parcel), EngineError> {
        let (live, now) = (&self.live, self.engine.now());
        leases::renew(tx, &self.lease).await?;
        let ids: Vec<MessageId> = self.messages.iter().map(|message| message.id).collect();
        messages::insert(tx, &live.scope, &self.messages).await?;
        let (id, next) = (live.conversation_id, self.next_position);
        let revision = context::append(tx, id, next, &ids, now).await?;
        runs::progress(tx, live.id, &self.progress).await?;
        if let Some(step_id) = self.step_id {
            steps::forget_calls(tx, step_id).await?;
        }
        let head = turns::head(tx, &live.scope, live.agent_id, Thread::Id(id)).await?;
        let frame = if head.signature == self.signature {
            None
        } else {
            Some(Frame::load(tx, &live.scope, &head, live.agent_id, now).await?)
        };
        let parcel = self.parcel;
        parcel.log(tx, now).await?;
        Ok((revision, frame, parcel))
    }
}

/// When a call is noted, so that it never runs twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noting {
    /// Before it runs: nobody can tell afterwards what became of it.
    Before,
    /// In the commit with its effect.
    With,
    /// Never: it has no effect, or ran already.
    Never,
}

impl Noting {
    const fn of(action: &Action) -> Self {
        match action {
            Action::External(_) => Self::Before,
            Action::Edit { .. } | Action::Change(_) | Action::Remember(_) => Self::With,
            Action::Search(_) | Action::Web(_) | Action::Known(_) => Self::Never,
        }
    }
}

/// Answers as they are kept: each names its call, and what a client's tool returned is in its return.
fn kept(waiting: &Waiting, given: &[CallAnswer], returns: &[ToolReturn]) -> Vec<CallAnswer> {
    let given: Vec<&CallAnswer> = given.iter().collect();
    let pairs = waiting.calls.iter().zip(returns);
    let answered = pairs.filter(|(call, _)| waiting.is_asked(call));
    let kept = answered.filter_map(|(call, returned)| {
        let mut answer = waiting.answer(&given, call)?;
        if let CallAnswer::Tool {
            text,
            images,
            stdout,
            stderr,
            ..
        } = &mut answer
        {
            text.clone_from(&returned.text);
            images.clear();
            stdout.clone_from(&returned.stdout);
            stderr.clone_from(&returned.stderr);
        }
        Some(answer)
    });
    kept.collect()
}

impl Turn {
    /// The returns of calls that began before the process died, by their ids: none of them is run again.
    pub(super) async fn begun(
        &self,
        waiting: &Waiting,
    ) -> Result<HashMap<String, ToolReturn>, EngineError> {
        let Some(step_id) = waiting.step_id else {
            return Ok(HashMap::new());
        };
        let store = &self.engine.inner.store;
        let begun = store.read(move |tx| Box::pin(async move { steps::calls(tx, step_id).await }));
        let begun: Vec<(ToolCall, Option<ToolReturn>)> = begun.await?;
        let known = |(call, returned): (ToolCall, Option<ToolReturn>)| {
            let returned = returned.unwrap_or_else(|| recovery::unknown_effect(&call));
            (call.id, returned)
        };
        Ok(begun.into_iter().map(known).collect())
    }

    /// Runs the calls. Those with effects outside of the database are noted before they begin, and each return of a call
    /// with effects is committed on its own, as in a step.
    pub(super) async fn run_answered(
        &mut self,
        waiting: &Waiting,
        actions: Vec<Action>,
        max_chars: usize,
    ) -> Result<Vec<ToolReturn>, EngineError> {
        let mut returns = Vec::with_capacity(waiting.calls.len());
        for group in dispatch::groups(waiting.calls.iter().zip(actions)) {
            let noting: Vec<Noting> = group.iter().map(|(_, action)| Noting::of(action)).collect();
            let calls: Vec<&ToolCall> = group.iter().map(|(call, _)| *call).collect();
            let outside = calls.iter().zip(&noting);
            let outside = outside.filter(|(_, noting)| **noting == Noting::Before);
            let outside: Vec<ToolCall> = outside.map(|(call, _)| (*call).clone()).collect();
            if let (Some(step_id), false) = (waiting.step_id, outside.is_empty()) {
                self.note_begun(step_id, outside).await?;
            }
            let turn = &*self;
            let running = group
                .into_iter()
                .map(|(call, action)| settle::planned(turn, call, action));
            let planned = try_join_all(running).await?;
            for ((call, planned), noting) in calls.into_iter().zip(planned).zip(noting) {
                let place = waiting.step_id.map(|step_id| (step_id, noting));
                returns.push(self.return_of(call, planned, (place, max_chars)).await?);
                failpoints::hit("call.returned");
            }
        }
        Ok(returns)
    }

    async fn note_begun(&self, step_id: StepId, calls: Vec<ToolCall>) -> Result<(), EngineError> {
        let lease = self.lease.clone();
        let store = &self.engine.inner.store;
        let noted = store.write(move |tx| {
            Box::pin(async move {
                leases::renew(tx, &lease).await?;
                steps::start_calls(tx, step_id, &calls).await
            })
        });
        noted.await?;
        failpoints::hit("calls.started");
        Ok(())
    }

    /// The return of a call, with what it changes and its note in one commit.
    async fn return_of(
        &self,
        call: &ToolCall,
        planned: Planned,
        (place, max_chars): (Option<(StepId, Noting)>, usize),
    ) -> Result<ToolReturn, EngineError> {
        let (lease, live, now) = (
            self.lease.clone(),
            Arc::clone(&self.live),
            self.engine.now(),
        );
        let call = call.clone();
        let store = &self.engine.inner.store;
        let returned = store.write(move |tx| {
            Box::pin(async move {
                leases::renew(tx, &lease).await?;
                let returned = settle::resolve(tx, &live, &call, &planned, now).await?;
                let returned = clipping::clipped(returned, max_chars);
                if let Some((step_id, Noting::With)) = place {
                    steps::start_calls(tx, step_id, std::slice::from_ref(&call)).await?;
                }
                if let Some((step_id, Noting::Before | Noting::With)) = place {
                    steps::return_call(tx, step_id, &returned).await?;
                }
                Ok::<_, EngineError>(returned)
            })
        });
        returned.await
    }

    /// Takes answers and returns into the context, and shows the returns to the run's clients.
    pub(super) async fn commit_answers(
        &mut self,
        waiting: &Waiting,
        returns: Vec<ToolReturn>,
    ) -> Result<(), EngineError> {
        let is_answer = |message: &Message| !message.body.answers.is_empty();
        let mut taken: Vec<Message> = self
            .inputs
            .extract_if(.., |input| is_answer(input))
            .collect();
        for message in &mut taken {
            message.body.answers = kept(waiting, &message.body.answers, &returns);
        }
        taken.push(self.returned_message(waiting, returns));
        let speech = request::speech(&self.request.request_config);
        let shown: Vec<Event> = taken
            .last()
            .into_iter()
            .flat_map(|message| parts::of_message(message, speech.as_ref()))
            .map(|part| Event::Message(Box::new(part)))
            .collect();
        let mut parcel = self.outlet.parcel();
        parcel.events.extend(shown);
        let taking = Taking {
            lease: self.lease.clone(),
            live: Arc::clone(&self.live),
            engine: self.engine.clone(),
            next_position: self.session.next_position,
            signature: self.session.frame.signature.clone(),
            progress: self.progress.clone(),
            messages: taken.clone(),
            step_id: waiting.step_id,
            parcel,
        };
        let store = &self.engine.inner.store;
        let written = store.write(move |tx| Box::pin(async move { taking.write(tx).await }));
        let (revision, frame, parcel) = match written.await {
            Ok(written) => written,
            Err(error) => {
                // They stay what this run was asked.
                taken.truncate(taken.len() - 1);
                self.inputs.splice(0..0, taken);
                return Err(error);
            }
        };
        for message in &taken {
            self.session.push(message);
            self.rules.note(message);
        }
        self.session.next_position += i64::try_from(taken.len()).unwrap_or(0);
        self.session.context_revision = revision;
        if let Some(frame) = frame {
            self.session.frame = frame;
        }
        parcel.publish();
        failpoints::hit("answers.taken");
        Ok(())
    }

    fn returned_message(&self, waiting: &Waiting, returns: Vec<ToolReturn>) -> Message {
        let body = MessageBody {
            tool_returns: returns,
            ..MessageBody::default()
        };
        Message {
            id: MessageId::new(),
            agent_id: self.live.agent_id,
            conversation_id: self.live.conversation_id,
            role: Role::Tool,
            tokens: tokens::count_message(Role::Tool, &body, None),
            body,
            name: None,
            otid: None,
            sender_id: None,
            // That of the calls, as clients of the V1 API know it.
            step_id: waiting.step_id,
            run_id: Some(self.live.id),
            created_at: self.engine.now(),
        }
    }
}
