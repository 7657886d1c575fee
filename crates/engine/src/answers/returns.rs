//! The returns of answered calls: running what was approved, and the commit with which all of them enter the context.

use std::sync::Arc;

use futures_util::future::try_join_all;
use mnemic_core::{
    conversations::Thread,
    ids::MessageId,
    messages::{Message, MessageBody, Role, ToolCall, ToolReturn},
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
    Engine, EngineError,
    dispatch::Action,
    events::Event,
    live::LiveRun,
    outlet::Parcel,
    recovery,
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

impl Turn {
    /// The returns of calls that began before the process died: none of them is run again. None if none began.
    pub(super) async fn begun(
        &self,
        waiting: &Waiting,
    ) -> Result<Option<Vec<ToolReturn>>, EngineError> {
        let Some(step_id) = waiting.step_id else {
            return Ok(None);
        };
        let store = &self.engine.inner.store;
        let begun = store.read(move |tx| Box::pin(async move { steps::calls(tx, step_id).await }));
        let begun: Vec<(ToolCall, Option<ToolReturn>)> = begun.await?;
        if begun.is_empty() {
            return Ok(None);
        }
        let known = |call: &ToolCall| {
            let found = begun.iter().find(|(begun, _)| begun.id == call.id);
            found
                .and_then(|(_, returned)| returned.clone())
                .unwrap_or_else(|| recovery::unknown_effect(call))
        };
        Ok(Some(waiting.calls.iter().map(known).collect()))
    }

    /// Runs the calls. With effects outside of the database they are noted as begun before, and each return is committed
    /// on its own, as in a step.
    pub(super) async fn run_answered(
        &mut self,
        waiting: &Waiting,
        actions: Vec<Action>,
        max_chars: usize,
    ) -> Result<Vec<ToolReturn>, EngineError> {
        let reaches_out = |action: &Action| matches!(action, Action::External(_));
        let noted = waiting.step_id.filter(|_| actions.iter().any(reaches_out));
        if let Some(step_id) = noted {
            let (lease, calls) = (self.lease.clone(), waiting.calls.clone());
            let store = &self.engine.inner.store;
            let started = store.write(move |tx| {
                Box::pin(async move {
                    leases::renew(tx, &lease).await?;
                    steps::start_calls(tx, step_id, &calls).await
                })
            });
            started.await?;
            failpoints::hit("calls.started");
        }
        let mut returns = Vec::with_capacity(waiting.calls.len());
        for group in settle::groups(waiting.calls.iter().zip(actions)) {
            let calls: Vec<&ToolCall> = group.iter().map(|(call, _)| *call).collect();
            let turn = &*self;
            let running = group
                .into_iter()
                .map(|(call, action)| settle::planned(turn, call, action));
            for (call, planned) in calls.into_iter().zip(try_join_all(running).await?) {
                returns.push(self.return_of(call, planned, (noted, max_chars)).await?);
                failpoints::hit("call.returned");
            }
        }
        Ok(returns)
    }

    /// Commits what one call changes, and notes its return where the call was noted.
    async fn return_of(
        &self,
        call: &ToolCall,
        planned: Planned,
        (noted, max_chars): (Option<mnemic_core::ids::StepId>, usize),
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
                let returned = settle::clipped(returned, max_chars);
                if let Some(step_id) = noted {
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
        taken.push(self.returned_message(waiting, returns));
        let shown: Vec<Event> = taken
            .last()
            .into_iter()
            .flat_map(parts::of_message)
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
