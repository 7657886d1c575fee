//! The rules on an agent's tools in a turn, and with them the two loops of the V1 API (V1 contract, sections 3.6 to 3.8).
//!
//! In the one an answer without a call ends the turn. In the older one, of agents that speak by a tool, every answer is a
//! call, and each says whether another follows.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use mnemic_core::{
    groups::ManagerType,
    heartbeat,
    ids::MessageId,
    inner_thoughts::{self, HEARTBEAT},
    messages::{Message, Role, ToolCall, ToolReturn, ToolStatus},
    runs::StopReason,
    time::Timestamp,
    tokens,
    tool_rules::{History, NextTools},
};
use mnemic_llm::{FinishReason, ToolChoice, ToolSet};
use serde_json::{Map, Value};

use crate::{
    EngineError, dispatch, request,
    settle::{Planned, StepCommit},
    step::{Answer, Place, Reading},
    turn::Turn,
};

/// How the returns of calls begin that a rule forbids; they count as calls that were not made.
const REFUSED: &str = "Error: the rules on your tools do not allow";

/// What the rules say at one moment of a turn.
#[derive(Debug, Default)]
pub(crate) struct TurnRules {
    history: History,
    next: NextTools,
    /// How often members of a group that the agent manages have spoken.
    spoken: AtomicI64,
}

/// How a turn goes on after a step.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Course {
    /// Why it ends.
    pub stop: Option<StopReason>,
    /// What the model is told of why it goes on, where it is told.
    pub heartbeat: Option<String>,
}

impl Course {
    const fn stop(reason: StopReason) -> Self {
        Self {
            stop: Some(reason),
            heartbeat: None,
        }
    }

    fn go_on(reason: impl Into<String>) -> Self {
        Self {
            stop: None,
            heartbeat: Some(reason.into()),
        }
    }
}

impl TurnRules {
    /// What they say of the step that is taken.
    pub(crate) const fn next(&self) -> &NextTools {
        &self.next
    }

    /// Notes the calls of a message with returns, but for those that were refused.
    pub(crate) fn note(&mut self, message: &Message) {
        for returned in &message.body.tool_returns {
            if !returned.text.starts_with(REFUSED) {
                self.history.note(&returned.name, &returned.text);
            }
        }
    }

    /// The same of a message that a run wrote before this process took it over.
    fn recall(&mut self, message: &Message) {
        self.note(message);
        for returned in &message.body.tool_returns {
            let chooses = ManagerType::Dynamic.tool() == Some(returned.name.as_str());
            if chooses && returned.status == ToolStatus::Success {
                self.note_speaker();
            }
        }
    }

    /// How often members of a dynamic group have spoken in this turn.
    pub(crate) fn spoken(&self) -> i64 {
        self.spoken.load(Ordering::Relaxed)
    }

    /// Notes that a member has spoken, as soon as it has: the next call of the same step is to know.
    pub(crate) fn note_speaker(&self) {
        self.spoken.fetch_add(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Decides which tools the next step may call.
    pub(crate) fn decide_tools(&mut self) -> Result<(), EngineError> {
        let names = self.tool_names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let rules = &self.session.frame.rules;
        let next = rules.next(&names, &self.rules.history);
        self.rules.next = next.map_err(|error| EngineError::Rule(error.to_string()))?;
        Ok(())
    }

    /// The agent's tools and the client's.
    fn tool_names(&self) -> Vec<String> {
        let own = self.session.frame.tools.iter().map(|tool| &tool.name);
        let clients = self.request.client_tools.iter().map(|tool| &tool.name);
        let mut names: Vec<String> = own.cloned().collect();
        names.extend(
            clients
                .filter(|name| !names.contains(name))
                .cloned()
                .collect::<Vec<_>>(),
        );
        names
    }

    /// The tools that the model sees.
    pub(crate) fn shown_tools(&self) -> Arc<ToolSet> {
        let frame = &self.session.frame;
        let (clients, next) = (&self.request.client_tools, &self.rules.next);
        if clients.is_empty() && next.allowed.is_none() {
            return Arc::clone(&frame.tool_set);
        }
        Arc::new(frame.tools_with(clients, &|name| next.allows(name)))
    }

    /// Whether the model has to call a tool, and which.
    pub(crate) fn tool_choice(&self) -> ToolChoice {
        let names = self.tool_names();
        let next = &self.rules.next;
        let mut allowed = names.iter().filter(|name| next.allows(name));
        match (allowed.next(), allowed.next()) {
            (None, _) => ToolChoice::Auto,
            (Some(only), None) if next.is_forced => ToolChoice::Tool(only.clone()),
            _ if next.is_forced || self.session.frame.heartbeats => ToolChoice::Required,
            _ => ToolChoice::Auto,
        }
    }

    /// Whether an answer's first call alone counts: calls that are made together can't follow an order.
    pub(crate) fn makes_one_call(&self) -> bool {
        let frame = &self.session.frame;
        frame.heartbeats
            || frame.rules.need_one_call_at_a_time()
            || frame.agent.llm_config.parallel_tool_calls == Some(false)
    }

    /// How clients see the answer while it is made.
    pub(crate) fn reading(&self) -> Reading {
        let names = self.tool_names();
        let for_others = names.into_iter().filter(|name| self.waits_for_others(name));
        Reading {
            thinks_in_arguments: self.session.frame.heartbeats,
            speech: request::speech(&self.request.request_config),
            one_call: self.makes_one_call(),
            for_others: for_others.collect(),
            prefilled: self.rules.next.prefilled.keys().cloned().collect(),
        }
    }

    /// Whether a call waits for somebody outside: such tools need that, and the rules allow it now.
    pub(crate) fn waits_for_others(&self, name: &str) -> bool {
        self.rules.next.allows(name) && self.is_for_others(name)
    }

    /// Brings an answer into the form in which it is kept: one call where only one counts, thoughts out of the arguments,
    /// arguments that a rule gives in.
    pub(crate) fn shape(&mut self, answer: &mut Answer) -> Result<(), EngineError> {
        let body = &mut answer.completion.body;
        if self.makes_one_call() {
            body.tool_calls.truncate(1);
        }
        if self.session.frame.heartbeats && !answer.cancelled {
            let thoughts = body.tool_calls.iter_mut().filter_map(inner_thoughts::take);
            let thoughts: Vec<String> = thoughts.collect();
            inner_thoughts::text_is_thought(body);
            let parts = thoughts.into_iter().map(inner_thoughts::part);
            body.content.extend(parts);
        }
        for call in &mut body.tool_calls {
            if let Some(given) = self.rules.next.prefilled.get(&call.name) {
                self.prefill(call, given)?;
            }
        }
        if answer.streamed {
            self.show_rest(answer);
        }
        Ok(())
    }

    /// Puts a rule's arguments in the place of the model's.
    fn prefill(&self, call: &mut ToolCall, given: &Map<String, Value>) -> Result<(), EngineError> {
        if let Some(wrong) = self.misfit(&call.name, given) {
            return Err(EngineError::Rule(format!(
                "a rule gives arguments to '{}' that it can't take: {wrong}",
                call.name
            )));
        }
        let own: Option<Value> = serde_json::from_str(&call.arguments).ok();
        let mut arguments = own
            .and_then(|own| own.as_object().cloned())
            .unwrap_or_default();
        arguments.extend(given.clone());
        call.arguments = Value::Object(arguments).to_string();
        Ok(())
    }

    /// What is wrong with arguments that a rule gives to a tool.
    fn misfit(&self, tool: &str, given: &Map<String, Value>) -> Option<String> {
        let set = self.shown_tools();
        let spec = set.specs().iter().find(|spec| spec.name == tool)?;
        let properties = spec.parameters.get("properties")?.as_object()?;
        given
            .iter()
            .find_map(|(name, value)| match properties.get(name) {
                None => Some(format!("it has no argument '{name}'")),
                Some(schema) if !is_of_type(schema, value) => {
                    Some(format!("'{name}' can't be {value}"))
                }
                Some(_) => None,
            })
    }

    /// The returns of the calls that the rules forbid, by the calls' ids.
    pub(crate) fn refused(&self, calls: &[ToolCall]) -> HashMap<String, ToolReturn> {
        let next = &self.rules.next;
        let names = self.tool_names();
        let forbidden = |call: &&ToolCall| names.contains(&call.name) && !next.allows(&call.name);
        let allowed: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| next.allows(name))
            .collect();
        let instead = if allowed.is_empty() {
            "no tool is left in this turn: answer in words".to_owned()
        } else {
            format!("you can call: {}", allowed.join(", "))
        };
        let refusal = |call: &ToolCall| {
            let text = format!(
                "the rules on your tools do not allow '{}' now; {instead}",
                call.name
            );
            (call.id.clone(), dispatch::failed(call, text))
        };
        calls.iter().filter(forbidden).map(refusal).collect()
    }

    /// Whether a rule ends the turn after a tool, as far as all that has to run before its end did.
    pub(crate) fn ends_turn(&self, calls: &[&ToolCall]) -> bool {
        let rules = &self.session.frame.rules;
        let ends = calls.iter().any(|call| rules.end_after(&call.name));
        ends && self.missing(calls).is_empty()
    }

    /// What has to be called before the turn ends, when these are.
    fn missing(&self, calls: &[&ToolCall]) -> Vec<&str> {
        let names = self.tool_names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let rules = &self.session.frame.rules;
        let mut missing = rules.missing_before_exit(&names, &self.rules.history);
        missing.retain(|tool| !calls.iter().any(|call| call.name == *tool));
        missing
    }

    /// How the turn goes on after an answer, and what its calls came to.
    pub(crate) fn course(
        &self,
        answer: &Answer,
        calls: &[ToolCall],
        planned: &[Planned],
    ) -> Course {
        if answer.cancelled {
            return Course::default();
        }
        let is_last = self.progress.step_count + 1 >= self.request.max_steps;
        let refused = self.refused(calls);
        let pairs = calls.iter().zip(planned);
        let ran: Vec<&ToolCall> = pairs
            .filter(|(call, planned)| !refused.contains_key(&call.id) && planned.is_done())
            .map(|(call, _)| call)
            .collect();
        let required = self.missing(&ran);
        let before_exit = || format!("call {} before you end your turn.", required.join(" and "));
        if calls.is_empty() {
            let end = self.without_calls(answer);
            if required.is_empty() || end == StopReason::MaxTokensExceeded {
                return Course::stop(end);
            }
            return if is_last {
                Course::stop(StopReason::MaxSteps)
            } else {
                Course::go_on(before_exit())
            };
        }
        let older = self.session.frame.heartbeats;
        let rules = &self.session.frame.rules;
        let ends = ran.iter().any(|call| rules.end_after(&call.name));
        if ends && required.is_empty() {
            return Course::stop(self.reason_of_exit());
        }
        let wish = if older {
            self.wish(calls, &ran)
        } else {
            Some("")
        };
        match wish {
            None if required.is_empty() => Course::stop(StopReason::EndTurn),
            _ if is_last => Course::stop(StopReason::MaxSteps),
            _ if ends => Course::go_on(before_exit()),
            None => Course::go_on(before_exit()),
            Some("") => Course::default(),
            Some(reason) => Course::go_on(reason),
        }
    }

    /// Why a turn ends with a tool after which a rule ends it.
    pub(crate) fn reason_of_exit(&self) -> StopReason {
        if self.session.frame.heartbeats {
            StopReason::EndTurn
        } else {
            StopReason::ToolRule
        }
    }

    /// Why a turn ends with an answer that calls nothing.
    fn without_calls(&self, answer: &Answer) -> StopReason {
        if answer.completion.finish == FinishReason::Length {
            StopReason::MaxTokensExceeded
        } else if self.session.frame.heartbeats && self.tool_choice() != ToolChoice::Auto {
            StopReason::NoToolCall
        } else {
            StopReason::EndTurn
        }
    }

    /// Why a turn of the older loop goes on; nothing where it ends.
    fn wish(&self, calls: &[ToolCall], ran: &[&ToolCall]) -> Option<&'static str> {
        let rules = &self.session.frame.rules;
        let asks = |call: &ToolCall| inner_thoughts::asks_to_go_on(call) == Some(true);
        if ran.len() < calls.len() {
            Some("a call did not do what it should; its return says why.")
        } else if ran.iter().any(|call| rules.go_on_after(&call.name)) {
            Some("a rule on the tool says that the turn goes on after it.")
        } else if calls.iter().any(asks) {
            Some("you asked to go on.")
        } else {
            None
        }
    }

    /// Fills the history of a turn that another process began.
    pub(crate) async fn recall_history(&mut self) -> Result<(), EngineError> {
        let run = Some(self.live.id);
        let messages = self.context_messages().await?;
        let own = messages.iter().filter(|message| message.run_id == run);
        own.for_each(|message| self.rules.recall(message));
        Ok(())
    }
}

impl Planned {
    /// Whether the call did what it should, as far as that is known before the commit.
    const fn is_done(&self) -> bool {
        let status = match self {
            Self::Returned(returned) => returned.status,
            Self::Outside(outside) => outside.returned.status,
            _ => ToolStatus::Success,
        };
        matches!(status, ToolStatus::Success)
    }
}

impl StepCommit {
    /// The message by which a loop says why it goes on.
    pub(crate) fn heartbeat(
        &self,
        (agent_id, conversation_id, run_id): Place,
        (now, zone): (Timestamp, &str),
    ) -> Option<Message> {
        let body = heartbeat::body(self.course.heartbeat.as_ref()?, &now.to_human(zone));
        Some(Message {
            id: MessageId::new(),
            agent_id,
            conversation_id,
            role: Role::User,
            tokens: tokens::count_message(Role::User, &body, None),
            body,
            name: None,
            otid: None,
            sender_id: None,
            step_id: Some(self.answer.step.id),
            run_id: Some(run_id),
            created_at: now,
        })
    }
}

/// A call's arguments without what belongs to the loop.
pub(crate) fn own_arguments(arguments: Value, own_schema: &Value) -> Value {
    let has_own = own_schema
        .get("parameters")
        .and_then(|parameters| parameters.get("properties"))
        .is_some_and(|properties| properties.get(HEARTBEAT).is_some());
    match arguments {
        Value::Object(mut arguments) if !has_own => {
            arguments.shift_remove(HEARTBEAT);
            Value::Object(arguments)
        }
        other => other,
    }
}

/// Whether a value is of the type that a schema names, as far as it names one.
fn is_of_type(schema: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    };
    let of_type = match schema.get("type") {
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    };
    let choices = schema.get("enum").and_then(Value::as_array);
    of_type && choices.is_none_or(|choices| choices.contains(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn given_arguments_have_the_type_that_the_tool_names() {
        for (schema, value, fits) in [
            (json!({"type": "string"}), json!("a"), true),
            (json!({"type": "string"}), json!(1), false),
            (json!({"type": "integer"}), json!(1.5), false),
            (json!({"type": "number"}), json!(1.5), true),
            (json!({"type": ["string", "null"]}), json!(null), true),
            (json!({"type": "string", "enum": ["a"]}), json!("b"), false),
            (json!({}), json!([1]), true),
        ] {
            assert_eq!(is_of_type(&schema, &value), fits, "{schema} {value}");
        }
    }

    #[test]
    fn what_belongs_to_the_loop_is_no_argument_unless_the_tool_has_it() {
        let arguments = json!({"a": 1, "request_heartbeat": true});
        let none = json!({"parameters": {"properties": {"a": {}}}});
        assert_eq!(own_arguments(arguments.clone(), &none), json!({"a": 1}));
        let own = json!({"parameters": {"properties": {"request_heartbeat": {}}}});
        assert_eq!(own_arguments(arguments.clone(), &own), arguments);
    }
}
