//! A step: one model call and its tool runs.

mod shown;

use std::sync::Arc;

use futures_util::StreamExt as _;
use mnemic_core::{
    compaction,
    ids::{AgentId, ConversationId, MessageId, RunId, StepId},
    messages::{Message, MessageBody, Role, ToolCall, ToolReturn},
    parts::{MessagePart, Part},
    runs::{Step, StepStatus, StopReason, Usage},
    time::Timestamp,
};
use mnemic_llm::{Assembler, Call, Completion, Delta, LlmError, MessageView, SystemPrompt};
use mnemic_store::{StoreError, failpoints, traces::Trace};

pub(crate) use self::shown::{Reading, Shown};
use crate::{
    EngineError, Granularity,
    dispatch::{self, Action},
    events::Event,
    model::TurnModel,
    settle::{Closing, StepCommit},
    traces,
    turn::{Turn, llm_failure},
    web,
};

/// How a step ends.
pub(crate) enum StepEnd {
    /// Committed; another follows.
    Continue,
    /// Committed together with the end of the run.
    Settled,
    /// A cancel came while the model answered; what there was of the answer is committed.
    Cancelled,
}

/// The model's answer and what is known of its making.
pub(crate) struct Answer {
    pub step: Step,
    pub message_id: MessageId,
    pub completion: Completion,
    /// Whether its fragments were shown already.
    pub streamed: bool,
    pub cancelled: bool,
    pub started_at: Timestamp,
    /// Tokens of the request and the answer, without what was asked besides.
    pub context_tokens: i64,
    /// What was shown of it.
    pub shown: Shown,
    /// What was asked for it and came back, if that is kept.
    pub trace: Option<Trace>,
}

impl Turn {
    /// Takes one step.
    pub(crate) async fn step(&mut self) -> Result<StepEnd, EngineError> {
        let request = Arc::clone(&self.request);
        let model = self
            .engine
            .turn_model(&self.live.scope, &self.session, &request)
            .await?;
        self.decide_tools()?;
        self.make_room(&model).await?;
        if self.live.cancelled.is_cancelled() {
            // Noticed before the next step.
            return Ok(StepEnd::Continue);
        }
        let traced = self.traced_request(&model);
        let mut answer = match self.ask(&model).await {
            Ok(answer) => answer,
            Err(error) => {
                if let EngineError::Llm(LlmError::ContextWindowExceeded { limit, .. }) = &error
                    && self.shrink(&model, *limit).await?
                {
                    return Ok(StepEnd::Continue);
                }
                if let EngineError::Llm(error) = &error {
                    let trace = traced.map(|asked| traces::of_failure(&self.engine, asked, error));
                    self.failed_step = Some((self.failed(&model, error), trace));
                }
                return Err(error);
            }
        };
        answer.trace =
            traced.map(|asked| traces::of_answer(&self.engine, asked, &answer.completion));
        self.learn(&model, answer.step.usage.prompt_tokens);
        self.mend(&model, &mut answer).await?;
        self.shape(&mut answer)?;
        failpoints::hit("answered");
        self.conclude(&model, answer).await
    }

    /// Sees to it that the transcript has the wire form of the model's endpoint, which is another one
    /// when the agent changed its model, or when the endpoint turned out to want another form; and that
    /// it shows at most `cap` tokens of a message.
    pub(crate) async fn write_for(
        &mut self,
        model: &TurnModel,
        cap: i64,
    ) -> Result<(), EngineError> {
        let endpoint = &model.resolved.endpoint;
        let is_written = self.session.is_written_for(endpoint, cap);
        self.session.cap = cap;
        if !is_written {
            let messages = self.context_messages().await?;
            self.session.rewrite(endpoint, messages.iter());
        }
        Ok(())
    }

    /// Calls the model. Text that was streamed before a cancel is kept.
    async fn ask(&mut self, model: &TurnModel) -> Result<Answer, EngineError> {
        let step = self.new_step(model);
        self.outlet.begin_step(step.id);
        let started_at = self.engine.now();
        let call = self.call(model);
        let mut answer = Answer {
            message_id: MessageId::new(),
            completion: Completion::default(),
            streamed: self.request.granularity == Granularity::Tokens,
            cancelled: false,
            started_at,
            step,
            context_tokens: 0,
            shown: Shown::new(self.reading()),
            trace: None,
        };
        if answer.streamed {
            self.ask_streaming(&call, &mut answer).await?;
        } else {
            let client = self.engine.inner.client.clone();
            match self.while_wanted(client.call(&call)).await? {
                Some(completion) => answer.completion = completion?,
                None => answer.cancelled = true,
            }
            self.note_first_token();
        }
        let took = self.engine.now().0 - started_at.0;
        answer.step.llm_request_ns = Some(took.saturating_mul(1_000));
        answer.step.usage = answer.completion.usage.unwrap_or_default();
        answer.context_tokens = answer.step.usage.total_tokens();
        Ok(answer)
    }

    /// The step of a call that brought no answer.
    fn failed(&self, model: &TurnModel, error: &LlmError) -> Step {
        let (reason, described) = llm_failure(error);
        Step {
            status: StepStatus::Failed,
            stop_reason: Some(reason),
            error: Some(described),
            completed_at: Some(self.engine.now()),
            ..self.new_step(model)
        }
    }

    fn new_step(&self, model: &TurnModel) -> Step {
        let endpoint = &model.resolved.endpoint;
        Step {
            id: StepId::new(),
            run_id: self.live.id,
            agent_id: self.live.agent_id,
            position: self.progress.step_count,
            status: StepStatus::Pending,
            stop_reason: None,
            provider_name: endpoint.name().to_owned(),
            model: model.resolved.model.clone(),
            model_handle: model.resolved.handle.clone(),
            model_endpoint: Some(endpoint.base_url().to_owned()),
            context_window_limit: model.context_window,
            usage: Usage::default(),
            error: None,
            feedback: None,
            transaction_id: None,
            llm_request_ns: None,
            created_at: self.engine.now(),
            completed_at: None,
        }
    }

    /// The call of this step.
    pub(crate) fn call(&self, model: &TurnModel) -> Call {
        let config = &self.session.frame.agent.llm_config;
        let mut transcript = self.session.transcript.clone();
        for input in &self.inputs {
            let clipped = compaction::clip(input.role, &input.body, input.tokens, self.input_cap);
            transcript.push(&MessageView {
                role: input.role,
                body: clipped.as_ref().unwrap_or(&input.body),
                name: input.name.as_deref(),
            });
        }
        let system = match (&self.request.override_system, self.skills()) {
            (Some(text), skills) => SystemPrompt::new(&format!("{text}{skills}")),
            (None, skills) if skills.is_empty() => self.session.frame.system.clone(),
            (None, skills) => self.session.frame.system.with(&skills),
        };
        let mut call = Call::new(
            Arc::clone(&model.resolved.endpoint),
            model.resolved.model.clone(),
            system,
            transcript,
        );
        call.tools = self.shown_tools();
        call.tool_choice = self.ruled_or_asked_choice();
        call.temperature = config.temperature;
        // Half of the window is for the request, whatever the agent's settings say.
        let half = (model.context_window / 2).max(1);
        call.max_tokens = config.max_tokens.map(|tokens| tokens.min(half));
        call.parallel_tool_calls = if self.makes_one_call() {
            Some(false)
        } else {
            config.parallel_tool_calls
        };
        call.reasoning_effort.clone_from(&model.reasoning_effort);
        call.thinking = model.thinking;
        call.verbosity.clone_from(&model.verbosity);
        call.response_format = self.session.frame.agent.form_of_answers().cloned();
        call.context_window = Some(model.context_window);
        call
    }

    /// Makes a call unless the run was cancelled (`None`). The call goes out while the run's acceptance
    /// is on its way to the disk; what it brings is not looked at before that is there.
    pub(crate) async fn while_wanted<T>(
        &self,
        call: impl Future<Output = T>,
    ) -> Result<Option<T>, EngineError> {
        let live = &self.live;
        let mut call = std::pin::pin!(call);
        let early = tokio::select! {
            biased;
            accepted = live.is_accepted() => {
                if !accepted { return Err(StoreError::LeaseLost.into()); }
                None
            }
            early = &mut call => Some(early),
        };
        if early.is_some() {
            return if live.is_accepted().await {
                Ok(early)
            } else {
                Err(StoreError::LeaseLost.into())
            };
        }
        Ok(tokio::select! {
            biased;
            () = live.cancelled.cancelled() => None,
            answer = call => Some(answer),
        })
    }

    async fn ask_streaming(&mut self, call: &Call, answer: &mut Answer) -> Result<(), EngineError> {
        let client = self.engine.inner.client.clone();
        let cancelled = self.live.cancelled.clone();
        let Some(opened) = self.while_wanted(client.stream(call)).await? else {
            answer.cancelled = true;
            return Ok(());
        };
        let opened = opened?;
        let mut deltas = std::pin::pin!(opened);
        let mut assembler = Assembler::default();
        loop {
            let deadline = self.outlet.deadline();
            let due = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = cancelled.cancelled() => { answer.cancelled = true; break; }
                delta = deltas.next() => match delta {
                    Some(delta) => {
                        let delta = delta?;
                        self.show(&delta, answer);
                        failpoints::hit("mid-stream");
                        assembler.push(&delta);
                        if self.outlet.is_full() { self.flush().await; }
                    }
                    None => break,
                },
                () = due => self.flush().await,
            }
        }
        answer.completion = if answer.cancelled {
            assembler.interrupted()
        } else {
            assembler.finish()
        };
        Ok(())
    }

    /// Logs waiting events. A log that cannot be written delays what clients see, nothing else: the
    /// step's commit carries the events along.
    pub(crate) async fn flush(&mut self) {
        let (store, now) = (self.engine.inner.store.clone(), self.engine.now());
        if let Err(error) = self.outlet.flush(&store, now).await {
            tracing::warn!(run = %self.live.id, %error, "events wait to be logged");
        }
    }

    fn note_first_token(&mut self) {
        if self.progress.ttft_ns.is_none() {
            let micros = self.engine.now().0 - self.accepted_at.0;
            self.progress.ttft_ns = Some(micros.saturating_mul(1_000));
        }
    }

    /// Shows a fragment to the run's clients.
    fn show(&mut self, delta: &Delta, answer: &mut Answer) {
        for (index, part) in answer.shown.parts(delta) {
            self.show_part(index, part, answer);
        }
    }

    /// Shows what was held back until the answer was complete.
    pub(crate) fn show_rest(&mut self, answer: &mut Answer) {
        let calls = std::mem::take(&mut answer.completion.body.tool_calls);
        for (index, part) in answer.shown.rest(&calls) {
            self.show_part(index, part, answer);
        }
        answer.completion.body.tool_calls = calls;
    }

    fn show_part(&mut self, index: usize, part: Part, answer: &Answer) {
        self.note_first_token();
        self.outlet.emit(Event::Delta(Box::new(MessagePart {
            message_id: answer.message_id,
            index,
            otid: None,
            date: answer.started_at,
            name: None,
            sender_id: None,
            step_id: Some(answer.step.id),
            run_id: Some(self.live.id),
            part,
        })));
    }

    /// Runs the answer's tools and commits the step.
    async fn conclude(
        &mut self,
        model: &TurnModel,
        mut answer: Answer,
    ) -> Result<StepEnd, EngineError> {
        let cancelled = answer.cancelled;
        let mut calls = answer.completion.body.tool_calls.clone();
        if cancelled {
            calls.clear();
        }
        let awaiting = self.awaiting(&calls);
        if !awaiting.is_empty() {
            answer.completion.body.awaiting = awaiting;
            let mut commit = StepCommit::new(model, answer, calls);
            commit.course.stop = Some(StopReason::RequiresApproval);
            return self.close(commit, false).await;
        }
        let refused = self.refused(&calls);
        let mut actions: Vec<Action> = calls
            .iter()
            .map(|call| match refused.get(&call.id) {
                Some(refusal) => Action::Known(refusal.clone()),
                None => dispatch::plan(&self.session, call, &self.request.above),
            })
            .collect();
        web::look_up(self, &calls, &mut actions).await?;
        let external = actions
            .iter()
            .any(|action| matches!(action, Action::External(_)));
        let mut commit = StepCommit::new(model, answer, calls);
        if external {
            commit.run_in_phases(self, actions).await?;
        } else {
            commit.prepare(self, actions).await?;
        }
        commit.course = self.course(&commit.answer, &commit.calls, &commit.planned);
        self.close(commit, cancelled).await
    }

    /// The ids of the calls that somebody outside has to answer.
    fn awaiting(&self, calls: &[ToolCall]) -> Vec<String> {
        let others = calls
            .iter()
            .filter(|call| self.waits_for_others(&call.name));
        others.map(|call| call.id.clone()).collect()
    }

    async fn close(&mut self, commit: StepCommit, cancelled: bool) -> Result<StepEnd, EngineError> {
        let ended = self.commit(commit).await?;
        failpoints::hit("closed");
        Ok(match (cancelled, ended) {
            (true, _) => StepEnd::Cancelled,
            (false, Closing::Ended) => StepEnd::Settled,
            (false, Closing::Goes) => StepEnd::Continue,
        })
    }
}

/// The stored message of a model's answer.
pub(crate) fn assistant_message(
    turn: &Turn,
    answer: &Answer,
    calls: &[ToolCall],
) -> Option<Message> {
    let body = MessageBody {
        content: answer.completion.body.content.clone(),
        tool_calls: calls.to_vec(),
        awaiting: answer.completion.body.awaiting.clone(),
        ..MessageBody::default()
    };
    if body.content.is_empty() && body.tool_calls.is_empty() {
        return None;
    }
    let place = (
        turn.live.agent_id,
        turn.session.conversation_id,
        turn.live.id,
    );
    Some(message(
        place,
        answer,
        (answer.message_id, Role::Assistant),
        body,
    ))
}

/// The agent, conversation and run that a message belongs to.
pub(crate) type Place = (AgentId, ConversationId, RunId);

/// The stored message of a step's tool returns.
pub(crate) fn tool_message(place: Place, answer: &Answer, returns: Vec<ToolReturn>) -> Message {
    let body = MessageBody {
        tool_returns: returns,
        ..MessageBody::default()
    };
    message(place, answer, (MessageId::new(), Role::Tool), body)
}

fn message(
    (agent_id, conversation_id, run_id): Place,
    answer: &Answer,
    (id, role): (MessageId, Role),
    body: MessageBody,
) -> Message {
    Message {
        id,
        agent_id,
        conversation_id,
        role,
        tokens: mnemic_core::tokens::count_message(role, &body, None),
        body,
        name: None,
        otid: None,
        sender_id: None,
        step_id: Some(answer.step.id),
        run_id: Some(run_id),
        created_at: answer.started_at,
    }
}
