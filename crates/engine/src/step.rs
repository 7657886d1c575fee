//! A step: one model call and its tool runs.

use std::sync::Arc;

use futures_util::StreamExt as _;
use mnemic_core::{
    compaction,
    ids::{AgentId, ConversationId, MessageId, RunId, StepId},
    messages::{Message, MessageBody, Role, ToolCall, ToolReturn},
    parts::{HiddenReasoning, MessagePart, Part},
    runs::{Step, StepStatus, StopReason, Usage},
    time::Timestamp,
};
use mnemic_llm::{
    Assembler, Call, Completion, Delta, FinishReason, LlmError, MessageView, SystemPrompt,
    ToolChoice,
};
use mnemic_store::{StoreError, failpoints};
use serde_json::Value;

use crate::{
    EngineError, Granularity,
    dispatch::{self, Action},
    events::Event,
    model::TurnModel,
    settle::{Closing, StepCommit},
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
}

impl Turn {
    /// Takes one step.
    pub(crate) async fn step(&mut self) -> Result<StepEnd, EngineError> {
        let request = Arc::clone(&self.request);
        let model = self
            .engine
            .turn_model(&self.live.scope, &self.session, &request)
            .await?;
        self.make_room(&model).await?;
        if self.live.cancelled.is_cancelled() {
            // Noticed before the next step.
            return Ok(StepEnd::Continue);
        }
        let mut answer = match self.ask(&model).await {
            Ok(answer) => answer,
            Err(error) => {
                if let EngineError::Llm(LlmError::ContextWindowExceeded { limit, .. }) = &error
                    && self.shrink(&model, *limit).await?
                {
                    return Ok(StepEnd::Continue);
                }
                if let EngineError::Llm(error) = &error {
                    self.failed_step = Some(self.failed(&model, error));
                }
                return Err(error);
            }
        };
        self.learn(&model, answer.step.usage.prompt_tokens);
        self.mend(&model, &mut answer).await?;
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
        call.tools = if self.request.client_tools.is_empty() {
            Arc::clone(&self.session.frame.tool_set)
        } else {
            Arc::new(self.session.frame.tools_with(&self.request.client_tools))
        };
        call.tool_choice = self.tool_choice();
        call.temperature = config.temperature;
        // Half of the window is for the request, whatever the agent's settings say.
        let half = (model.context_window / 2).max(1);
        call.max_tokens = config.max_tokens.map(|tokens| tokens.min(half));
        call.parallel_tool_calls = config.parallel_tool_calls;
        call.reasoning_effort.clone_from(&model.reasoning_effort);
        call.thinking = model.thinking;
        call.response_format = self.session.frame.agent.form_of_answers().cloned();
        call.context_window = Some(model.context_window);
        call
    }

    /// The tool that a rule (`run_first`) wants in the run's first step.
    fn tool_choice(&self) -> ToolChoice {
        if self.progress.step_count > 0 {
            return ToolChoice::Auto;
        }
        let frame = &self.session.frame;
        let field = |rule: &Value, key| rule.get(key).and_then(Value::as_str).map(str::to_owned);
        let is_first = |rule: &&Value| field(rule, "type").as_deref() == Some("run_first");
        let named = frame.agent.tool_rules.iter().filter(is_first);
        let named: Vec<String> = named.filter_map(|rule| field(rule, "tool_name")).collect();
        match named.as_slice() {
            [only] if frame.tool_set.specs().iter().any(|spec| spec.name == *only) => {
                ToolChoice::Tool(only.clone())
            }
            _ => ToolChoice::Auto,
        }
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
        let mut shown = Shown::default();
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
                        self.show(&delta, &mut shown, answer);
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
    fn show(&mut self, delta: &Delta, shown: &mut Shown, answer: &Answer) {
        let Some((index, part)) = shown.part(delta, &|name| self.is_for_others(name)) else {
            return;
        };
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
        if self.session.frame.agent.llm_config.parallel_tool_calls == Some(false) {
            calls.truncate(1);
        }
        if cancelled {
            calls.clear();
        }
        let awaiting = self.awaiting(&calls);
        if !awaiting.is_empty() {
            answer.completion.body.awaiting = awaiting;
            let reason = Some(StopReason::RequiresApproval);
            return self
                .close(StepCommit::new(model, answer, calls, reason), false)
                .await;
        }
        let reason = self.stop_reason(&calls, &answer);
        let mut actions: Vec<Action> = calls
            .iter()
            .map(|call| dispatch::plan(&self.session, call, &self.request.above))
            .collect();
        web::look_up(self, &calls, &mut actions).await?;
        let external = actions
            .iter()
            .any(|action| matches!(action, Action::External(_)));
        let mut commit = StepCommit::new(model, answer, calls, reason);
        if external {
            commit.run_in_phases(self, actions).await?;
        } else {
            commit.prepare(self, actions).await?;
        }
        self.close(commit, cancelled).await
    }

    /// The ids of the calls that somebody outside has to answer.
    fn awaiting(&self, calls: &[ToolCall]) -> Vec<String> {
        let others = calls.iter().filter(|call| self.is_for_others(&call.name));
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

    /// Why the run ends with this step, if it does.
    fn stop_reason(&self, calls: &[ToolCall], answer: &Answer) -> Option<StopReason> {
        if answer.cancelled {
            return None;
        }
        if calls.is_empty() {
            return Some(if answer.completion.finish == FinishReason::Length {
                StopReason::MaxTokensExceeded
            } else {
                StopReason::EndTurn
            });
        }
        if calls.iter().any(|call| self.ends_loop(call)) {
            return Some(StopReason::ToolRule);
        }
        (self.progress.step_count + 1 >= self.request.max_steps).then_some(StopReason::MaxSteps)
    }

    /// Whether a rule ends the loop after a call.
    pub(crate) fn ends_loop(&self, call: &ToolCall) -> bool {
        self.session.frame.agent.tool_rules.iter().any(|rule| {
            let field = |key| rule.get(key).and_then(Value::as_str);
            field("type") == Some("exit_loop") && field("tool_name") == Some(&call.name)
        })
    }
}

/// Which parts of a message were shown, so that each keeps its index.
#[derive(Default)]
struct Shown {
    order: Vec<Kind>,
    /// Parts that are complete: those up to the last reasoning that ended.
    ended: usize,
    /// The calls, by the provider's index.
    calls: Vec<(usize, ShownCall)>,
}

/// The index of calls that wait: apart from the others, which have the same one in a history whether some wait or not.
const REQUESTS: usize = 127;

#[derive(Clone)]
struct ShownCall {
    id: String,
    /// Whether somebody outside has to answer it.
    waits: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Hidden,
    Text,
    Calls,
}

impl Shown {
    fn index(&mut self, kind: Kind) -> usize {
        let ended = if kind == Kind::Calls { 0 } else { self.ended };
        let open = self.order.iter().skip(ended);
        if let Some(index) = open.into_iter().position(|known| *known == kind) {
            return ended + index;
        }
        self.order.push(kind);
        self.order.len() - 1
    }

    /// Reasoning ends: what is shown of it is its signature, or that there was some.
    fn end_reasoning(&mut self, signature: Option<&String>) -> Option<(usize, Part)> {
        let mut open = self.order.iter().skip(self.ended);
        if let Some(index) = open.position(|known| *known == Kind::Reasoning) {
            self.ended += index + 1;
            let signature = Some(signature?.clone());
            let text = String::new();
            return Some((self.ended - 1, Part::Reasoning { text, signature }));
        }
        signature?;
        Some(self.hidden(HiddenReasoning::Omitted, None))
    }

    fn hidden(&mut self, state: HiddenReasoning, data: Option<String>) -> (usize, Part) {
        self.order.push(Kind::Hidden);
        self.ended = self.order.len();
        (self.ended - 1, Part::HiddenReasoning { state, data })
    }

    fn part(&mut self, delta: &Delta, waits: &dyn Fn(&str) -> bool) -> Option<(usize, Part)> {
        match delta {
            Delta::Text(text) if !text.is_empty() => Some((
                self.index(Kind::Text),
                Part::Assistant { text: text.clone() },
            )),
            Delta::Reasoning(text) if !text.is_empty() => Some((
                self.index(Kind::Reasoning),
                Part::Reasoning {
                    text: text.clone(),
                    signature: None,
                },
            )),
            Delta::ReasoningEnd { signature, .. } => self.end_reasoning(signature.as_ref()),
            Delta::RedactedReasoning { data, .. } => {
                Some(self.hidden(HiddenReasoning::Redacted, Some(data.clone())))
            }
            Delta::ToolCallStart { index, id, name } => {
                let call = ShownCall {
                    id: id.clone(),
                    waits: waits(name),
                };
                self.calls.push((*index, call.clone()));
                Some(self.call(call, name.clone(), String::new()))
            }
            Delta::ToolCallArguments { index, fragment } if !fragment.is_empty() => {
                let mut known = self.calls.iter().rev();
                let call = known.find(|(known, _)| known == index)?.1.clone();
                Some(self.call(call, String::new(), fragment.clone()))
            }
            _ => None,
        }
    }

    fn call(&mut self, call: ShownCall, name: String, arguments: String) -> (usize, Part) {
        let calls = vec![ToolCall {
            id: call.id,
            name,
            arguments,
        }];
        if call.waits {
            (REQUESTS, Part::ApprovalRequest { calls })
        } else {
            (self.index(Kind::Calls), Part::ToolCalls { calls })
        }
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
