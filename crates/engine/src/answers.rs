//! Calls that somebody outside has to answer before a run can go on: a person who approves them, or the client that runs
//! them itself (V1 contract, section 3.9).
//!
//! A step with such a call ends its run, and none of its calls runs. The answers come as a request of their own: its run
//! begins with the calls' returns. Nothing that a client does or leaves undone can stop a conversation for good: what is
//! not answered expires, and can be cancelled.

mod checks;
mod open;
mod partly;
mod returns;

use std::sync::Arc;

use mnemic_core::{
    ids::{MessageId, StepId},
    messages::{CallAnswer, Message, Role, ToolCall, ToolReturn, ToolStatus},
    runs::{RunError, RunStatus, StopReason},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{StoreError, Tx, messages, runs};

pub(crate) use self::checks::{Terms, check, check_repeated};
pub use self::open::OpenCall;
use crate::{
    Engine, EngineError,
    dispatch::{self, Action},
    settle,
    turn::{Turn, TurnEnd},
    web,
};

/// What a denied call returns, before the reason.
const DENIED: &str = "request to call tool denied";

/// Calls at the end of a context that nobody answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub message_id: MessageId,
    pub step_id: Option<StepId>,
    /// All calls of the message; those that wait for nobody run when the others are answered.
    pub calls: Vec<ToolCall>,
    /// The ids of those that wait.
    pub awaiting: Vec<String>,
    /// What was answered already, while the others go on waiting.
    pub taken: Vec<CallAnswer>,
    pub since: Timestamp,
}

impl Waiting {
    /// The calls of a message that wait.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let waits = message.role == Role::Assistant && !message.body.awaiting.is_empty();
        waits.then(|| {
            Self {
                message_id: message.id,
                step_id: message.step_id,
                calls: message.body.tool_calls.clone(),
                awaiting: message.body.awaiting.clone(),
                taken: Vec::new(),
                since: message.created_at,
            }
            .with(message.body.answers.clone())
        })
    }

    /// The same after some of the calls were answered.
    fn with(mut self, answers: Vec<CallAnswer>) -> Self {
        self.taken.extend(answers);
        self.awaiting
            .retain(|id| !self.taken.iter().any(|answer| answer.tool_call_id() == id));
        self
    }

    /// The answer to a call: the one that was taken in before, or one of those that are given.
    fn answer(&self, given: &[&CallAnswer], call: &ToolCall) -> Option<CallAnswer> {
        let taken = self
            .taken
            .iter()
            .find(|answer| answer.tool_call_id() == call.id);
        taken.cloned().or_else(|| answer_to(given, call))
    }

    /// Whether a call was answered by somebody outside, or is to be.
    fn is_asked(&self, call: &ToolCall) -> bool {
        let mut taken = self.taken.iter();
        self.awaiting.contains(&call.id) || taken.any(|answer| answer.tool_call_id() == call.id)
    }

    /// What waits after a message, if this waited before it.
    pub(crate) fn after(before: Option<Self>, message: &Message) -> Option<Self> {
        match message.role {
            // The answers themselves; the returns come after them.
            Role::Tool if message.body.tool_returns.is_empty() => before,
            Role::Tool | Role::User | Role::System => None,
            Role::Assistant => Self::of(message),
        }
    }

    /// Returns that deny every call that was not answered.
    pub(crate) fn denied(&self, reason: &str) -> Vec<ToolReturn> {
        let denied = |call| match self.answer(&[], call) {
            Some(answer) => returned(call, &answer),
            None => denial(call, Some(reason)),
        };
        self.calls.iter().map(denied).collect()
    }
}

/// The answers of a request's messages.
pub(crate) fn answers(messages: &[Message]) -> Vec<&CallAnswer> {
    messages
        .iter()
        .flat_map(|message| &message.body.answers)
        .collect()
}

/// The answer to a call.
fn answer_to(answers: &[&CallAnswer], call: &ToolCall) -> Option<CallAnswer> {
    answers.iter().find_map(|answer| match answer {
        CallAnswer::All {
            approve, reason, ..
        } => Some(CallAnswer::Approval {
            tool_call_id: call.id.clone(),
            approve: *approve,
            reason: reason.clone(),
        }),
        one => (one.tool_call_id() == call.id).then(|| (*one).clone()),
    })
}

fn denial(call: &ToolCall, reason: Option<&str>) -> ToolReturn {
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    let text = reason.map_or_else(
        || DENIED.to_owned(),
        |reason| format!("{DENIED}. Reason: {reason}"),
    );
    dispatch::failed(call, text)
}

/// What a client says that its tool returned.
fn returned(call: &ToolCall, answer: &CallAnswer) -> ToolReturn {
    match answer.clone() {
        CallAnswer::Approval { reason, .. } | CallAnswer::All { reason, .. } => {
            denial(call, reason.as_deref())
        }
        CallAnswer::Tool {
            status,
            text,
            images,
            stdout,
            stderr,
            ..
        } => ToolReturn {
            tool_call_id: call.id.clone(),
            name: call.name.clone(),
            status,
            text,
            stdout,
            stderr,
            images,
        },
    }
}

/// The end of a run that can't do what it was asked.
fn refused(error: &EngineError) -> TurnEnd {
    let (error_type, detail) = match error {
        EngineError::PendingApproval { request_id } => {
            ("pending_approval", Some(request_id.to_string()))
        }
        EngineError::Decided { .. } => ("already_decided", None),
        _ => ("invalid_request", None),
    };
    let described = RunError {
        error_type: error_type.to_owned(),
        message: error.to_string(),
        detail,
    };
    TurnEnd::Stop(StopReason::Error, Some(described))
}

/// Whether an agent heard everything up to the last message of its context. A return at its end was heard where its run
/// ended as it should: loops may end with one.
async fn was_heard(
    tx: &mut Tx<'_>,
    scope: &Scope,
    last: Option<(MessageId, Role)>,
) -> Result<bool, EngineError> {
    let Some((id, Role::Tool)) = last else {
        return Ok(true);
    };
    let Some(run) = messages::get(tx, scope, id).await?.run_id else {
        return Ok(false);
    };
    match runs::get(tx, scope, run).await {
        Ok(run) => Ok(run.status == RunStatus::Completed),
        // Runs that are over can be deleted, and what they said stays.
        Err(StoreError::NotFound { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

impl Engine {
    /// Whether calls wait for so long that the conversation goes on without them.
    pub(crate) fn is_expired(&self, waiting: &Waiting) -> bool {
        let patience = self.settings().approval_expiry.as_micros();
        let patience = i64::try_from(patience).unwrap_or(i64::MAX);
        waiting.since.plus_micros(patience) <= self.now()
    }
}

impl Turn {
    /// Whether a call has to be answered by somebody outside: the client runs the tool, or a person has to approve it.
    pub(crate) fn is_for_others(&self, name: &str) -> bool {
        self.request
            .client_tools
            .iter()
            .any(|tool| tool.name == name)
            || crate::tools::needs_approval(&self.session.frame.agent, name)
    }

    /// Gives the calls that wait at the end of the context their returns. The run can't go on where nobody answered them.
    pub(crate) async fn answer_waiting(&mut self) -> Result<Option<TurnEnd>, EngineError> {
        let Some(waiting) = self.session.waiting.clone() else {
            return self.hear_repeated().await;
        };
        let is_expired = self.engine.is_expired(&waiting);
        let terms = Terms::of(&self.request, &self.session.frame.agent, is_expired);
        if let Err(error) = check(&waiting, &answers(&self.inputs), &terms) {
            return Ok(Some(refused(&error)));
        }
        // Nothing runs, and nothing is written, before the acceptance is there.
        if !self.live.is_accepted().await {
            return Err(StoreError::LeaseLost.into());
        }
        if !is_expired && waiting.lacks(&answers(&self.inputs)) {
            self.take_in_part(waiting).await?;
            return Ok(Some(TurnEnd::Stop(StopReason::RequiresApproval, None)));
        }
        let returns = self.returns_of(&waiting).await?;
        let ends = self.is_over_with(&waiting, &returns);
        self.commit_answers(&waiting, returns).await?;
        if ends && self.inputs.is_empty() {
            let reason = self.reason_of_exit();
            return Ok(Some(TurnEnd::Stop(reason, None)));
        }
        Ok(None)
    }

    /// Nothing waits: answers can only be such that were taken in before, and are sent again by a client that did not hear
    /// of it. There is nothing left to do with them.
    async fn hear_repeated(&mut self) -> Result<Option<TurnEnd>, EngineError> {
        if answers(&self.inputs).is_empty() {
            return Ok(None);
        }
        let given: Vec<CallAnswer> = answers(&self.inputs).into_iter().cloned().collect();
        let (scope, id) = (self.live.scope.clone(), self.live.conversation_id);
        let last = self.session.entries.last();
        let last = last.map(|(id, sized)| (*id, sized.role));
        let heard = self.engine.inner.store.read(move |tx| {
            Box::pin(async move {
                let given: Vec<&CallAnswer> = given.iter().collect();
                check_repeated(tx, &scope, id, &given).await?;
                was_heard(tx, &scope, last).await
            })
        });
        let was_heard = match heard.await {
            Err(error @ (EngineError::Invalid(_) | EngineError::Decided { .. })) => {
                return Ok(Some(refused(&error)));
            }
            heard => heard?,
        };
        self.inputs
            .retain(|message| message.body.answers.is_empty());
        let is_heard = self.inputs.is_empty() && was_heard;
        Ok(is_heard.then_some(TurnEnd::Stop(StopReason::EndTurn, None)))
    }

    /// Whether a tool that ran ends the loop by a rule.
    fn is_over_with(&self, waiting: &Waiting, returns: &[ToolReturn]) -> bool {
        let pairs = waiting.calls.iter().zip(returns);
        let ran = pairs.filter(|(_, returned)| returned.status == ToolStatus::Success);
        let ran: Vec<&ToolCall> = ran.map(|(call, _)| call).collect();
        self.ends_turn(&ran)
    }

    /// What is to be done for a call, now that the others are answered.
    fn action_for(&self, call: &ToolCall, waiting: &Waiting, answer: Option<CallAnswer>) -> Action {
        let is_waiting = waiting.is_asked(call);
        let mut clients = self.request.client_tools.iter();
        let is_clients = clients.any(|tool| tool.name == call.name);
        match answer {
            Some(CallAnswer::Approval { approve: true, .. }) if is_clients => {
                let reason = "it is the client's tool, and its result was not sent";
                Action::Known(denial(call, Some(reason)))
            }
            Some(CallAnswer::Approval { approve: true, .. }) => {
                dispatch::plan(&self.session, call, &self.request.above)
            }
            Some(answer) if is_waiting => Action::Known(returned(call, &answer)),
            None if is_waiting => Action::Known(denial(call, Some("nobody answered in time"))),
            _ => dispatch::plan(&self.session, call, &self.request.above),
        }
    }

    /// Runs what was approved and what waited for nobody, and takes what clients ran.
    async fn returns_of(&mut self, waiting: &Waiting) -> Result<Vec<ToolReturn>, EngineError> {
        let begun = self.begun(waiting).await?;
        let given = answers(&self.inputs);
        let mut actions: Vec<Action> = waiting
            .calls
            .iter()
            .map(|call| match begun.get(&call.id) {
                Some(returned) => Action::Known(returned.clone()),
                None => self.action_for(call, waiting, waiting.answer(&given, call)),
            })
            .collect();
        let calls = waiting.calls.clone();
        web::look_up(self, &calls, &mut actions).await?;
        let model = self
            .engine
            .turn_model(&self.live.scope, &self.session, &Arc::clone(&self.request))
            .await?;
        let max_chars = settle::max_return_chars(model.context_window);
        self.run_answered(waiting, actions, max_chars).await
    }
}
