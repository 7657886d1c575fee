//! Tool calls whose arguments are of no use: mended where that is possible, else asked for once more
//! within the same step. What is asked is not stored; what it took is counted.

use std::collections::BTreeMap;

use mnemic_core::{
    inner_thoughts::{HEARTBEAT, THINKING},
    messages::{MessageBody, Role, ToolCall},
};
use mnemic_llm::{Completion, MessageView, ToolChoice, repair};
use serde_json::{Map, Value};

use crate::{EngineError, model::TurnModel, session::Frame, step::Answer, turn::Turn};

/// Characters of useless arguments that the model is shown again.
const MAX_SHOWN: usize = 2_000;

/// Arguments that rules give, by tool.
type Prefilled = BTreeMap<String, Map<String, Value>>;

/// A call that can't be made.
struct Useless {
    /// Which of the answer's.
    index: usize,
    name: String,
    /// What is wrong with its arguments.
    reason: String,
    /// The schema that they should have.
    schema: Value,
}

impl Turn {
    /// Sees to it that the answer's calls have arguments that can be used, as far as the model gives them.
    pub(crate) async fn mend(
        &mut self,
        model: &TurnModel,
        answer: &mut Answer,
    ) -> Result<(), EngineError> {
        if answer.cancelled {
            return Ok(());
        }
        let makes_one_call = self.makes_one_call();
        let prefilled = &self.rules.next().prefilled;
        let frame = &self.session.frame;
        let calls = &mut answer.completion.body.tool_calls;
        if makes_one_call {
            calls.truncate(1);
        }
        let useless = mend_all((frame, prefilled), calls);
        if useless.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = useless.iter().map(|call| call.name.as_str()).collect();
        tracing::info!(run = %self.live.id, tools = ?names, "calls with useless arguments are asked for again");
        let mut call = self.call(model);
        call.transcript.push(&MessageView {
            role: Role::User,
            body: &MessageBody::text(request(calls, &useless)),
            name: None,
        });
        call.response_format = None;
        call.tool_choice = match useless.as_slice() {
            [only] => ToolChoice::Tool(only.name.clone()),
            _ => ToolChoice::Required,
        };
        let client = self.engine.inner.client.clone();
        let Some(again) = self.while_wanted(client.call(&call)).await? else {
            answer.cancelled = true;
            return Ok(());
        };
        match again {
            Ok(again) => self.take_over(answer, &useless, again),
            Err(error) => {
                tracing::warn!(run = %self.live.id, %error, "a call was not made again");
            }
        }
        Ok(())
    }

    /// Puts what the second answer has in the place of what was of no use. Where it has nothing better, the
    /// call stays, and its error is its return.
    fn take_over(&self, answer: &mut Answer, useless: &[Useless], mut again: Completion) {
        if let Some(usage) = &again.usage {
            answer.step.usage.add(usage);
        }
        let better = &mut again.body.tool_calls;
        let prefilled = &self.rules.next().prefilled;
        let still_useless = mend_all((&self.session.frame, prefilled), better);
        let mut index = 0;
        better.retain(|_| {
            index += 1;
            !still_useless.iter().any(|call| call.index == index - 1)
        });
        for wanted in useless {
            let Some(at) = better.iter().position(|call| call.name == wanted.name) else {
                continue;
            };
            let found = better.remove(at);
            if let Some(call) = answer.completion.body.tool_calls.get_mut(wanted.index) {
                call.arguments = found.arguments;
            }
        }
    }
}

/// Mends the arguments of calls; returns those that can't be mended. A tool that does not exist is told
/// to the model by the call's return.
fn mend_all((frame, prefilled): (&Frame, &Prefilled), calls: &mut [ToolCall]) -> Vec<Useless> {
    let specs = frame.tool_set.specs();
    // A call is good without what belongs to the loop, and without what a rule gives.
    let of_loop = |name: &str| frame.heartbeats && [THINKING, HEARTBEAT].contains(&name);
    let mut useless = Vec::new();
    for (index, call) in calls.iter_mut().enumerate() {
        let Some(spec) = specs.iter().find(|spec| spec.name == call.name) else {
            continue;
        };
        let reason = match repair::arguments(&call.arguments) {
            Ok(arguments) => {
                let arguments = arguments.into_owned();
                let mut missing = missing(&spec.parameters, &arguments);
                let given = prefilled.get(&call.name);
                let is_given = |name: &str| given.is_some_and(|given| given.contains_key(name));
                missing.retain(|name| !of_loop(name) && !is_given(name));
                call.arguments = arguments;
                if missing.is_empty() {
                    continue;
                }
                format!("required arguments are missing: {}", missing.join(", "))
            }
            Err(error) => error.to_string(),
        };
        useless.push(Useless {
            index,
            name: call.name.clone(),
            reason,
            schema: spec.parameters.clone(),
        });
    }
    useless
}

/// The required parameters of a schema that arguments lack.
fn missing(schema: &Value, arguments: &str) -> Vec<String> {
    let given: Value = serde_json::from_str(arguments).unwrap_or_default();
    let required = schema.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    names
        .filter(|name| given.get(*name).is_none_or(Value::is_null))
        .map(str::to_owned)
        .collect()
}

/// What the model is told.
fn request(calls: &[ToolCall], useless: &[Useless]) -> String {
    let mut text = String::new();
    for call in useless {
        let arguments = calls.get(call.index).map_or("", |call| &call.arguments);
        let shown: String = arguments.chars().take(MAX_SHOWN).collect();
        text.push_str(&format!(
            "The call of {} was not made: {}. Its arguments were:\n{shown}\nThey must be a JSON object of \
             this schema:\n{}\n\n",
            call.name, call.reason, call.schema
        ));
    }
    let what = if useless.len() == 1 {
        "Make this call again"
    } else {
        "Make these calls again"
    };
    text.push_str(&format!("{what}, with what you meant and nothing else."));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_required_and_null_or_not_there_is_missing() {
        let schema = json!({"required": ["label", "text"]});
        assert_eq!(missing(&schema, r#"{"label":"a","text":""}"#), [""; 0]);
        assert_eq!(missing(&schema, r#"{"label":null}"#), ["label", "text"]);
        assert_eq!(missing(&json!({}), "{}"), [""; 0]);
    }

    #[test]
    fn the_request_says_what_was_wrong_and_what_is_wanted() {
        let call = ToolCall {
            id: "1".into(),
            name: "insert".into(),
            arguments: "{broken".into(),
        };
        let useless = Useless {
            index: 0,
            name: "insert".into(),
            reason: "the arguments end in the middle".into(),
            schema: json!({"required": ["label"]}),
        };
        let text = request(&[call], &[useless]);
        for words in ["insert", "end in the middle", "{broken", r#"["label"]"#] {
            assert!(text.contains(words), "{text}");
        }
    }
}
