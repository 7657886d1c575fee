//! Inner thoughts: what models without reasoning of their own think before a call, as its first argument, and the argument
//! by which they ask to go on after it (V1 contract, section 3.7).
//!
//! On the wire the thoughts are an argument of each call. In the store they are reasoning, before calls without them.

use serde_json::{Map, Value, json};

use crate::{
    member::MemberReader,
    messages::{ContentPart, MessageBody, ReasoningOrigin, ToolCall},
};

/// The argument that holds the thoughts.
pub const THINKING: &str = "thinking";

/// The argument that asks to go on after the call.
pub const HEARTBEAT: &str = "request_heartbeat";

/// The protocol that stands for reasoning which is an argument.
const PROTOCOL: &str = "inner_thoughts";

impl ReasoningOrigin {
    /// The origin of reasoning that came as an argument, or as text beside a call.
    #[must_use]
    pub fn inner_thoughts() -> Self {
        Self {
            protocol: PROTOCOL.to_owned(),
            provider: String::new(),
            id: None,
        }
    }

    /// Whether it is that.
    #[must_use]
    pub fn is_inner_thoughts(&self) -> bool {
        self.protocol == PROTOCOL
    }
}

/// A reasoning part of thoughts that came as an argument.
#[must_use]
pub fn part(text: String) -> ContentPart {
    ContentPart::Reasoning {
        text,
        signature: None,
        origin: Some(ReasoningOrigin::inner_thoughts()),
    }
}

/// Takes text beside calls for what it is where every answer is a call: thoughts.
pub fn text_is_thought(body: &mut MessageBody) {
    if body.tool_calls.is_empty() {
        return;
    }
    for content in &mut body.content {
        if let ContentPart::Text { text } = content {
            *content = part(std::mem::take(text));
        }
    }
}

/// A tool's parameters with the thoughts in front, where the model has none of its own, and the wish to go on at the end,
/// unless the turn ends after the tool. Parameters of these names that a tool has itself stay its own.
#[must_use]
pub fn parameters(own: &Value, thinks: bool, is_terminal: bool) -> Value {
    let own_properties = own.get("properties").and_then(Value::as_object);
    let has = |name: &str| own_properties.is_some_and(|properties| properties.contains_key(name));
    let mut properties = Map::new();
    let mut required = Vec::new();
    if thinks && !has(THINKING) {
        let about = "What you think before you make this call, in a sentence or two. The user does not read it.";
        properties.insert(
            THINKING.to_owned(),
            json!({"type": "string", "description": about}),
        );
        required.push(json!(THINKING));
    }
    properties.extend(own_properties.cloned().unwrap_or_default());
    let own_required = own.get("required").and_then(Value::as_array);
    required.extend(own_required.cloned().unwrap_or_default());
    if !is_terminal && !has(HEARTBEAT) {
        let about =
            "Whether you go on after this call: true to make another one, false when you are done.";
        properties.insert(
            HEARTBEAT.to_owned(),
            json!({"type": "boolean", "description": about}),
        );
        required.push(json!(HEARTBEAT));
    }
    let mut parameters = own.as_object().cloned().unwrap_or_default();
    parameters.insert("type".to_owned(), json!("object"));
    parameters.insert("properties".to_owned(), Value::Object(properties));
    parameters.insert("required".to_owned(), Value::Array(required));
    Value::Object(parameters)
}

/// Takes the thoughts out of a call's arguments.
pub fn take(call: &mut ToolCall) -> Option<String> {
    let taken = MemberReader::new(THINKING).push(&call.arguments);
    if taken.rest == call.arguments {
        return None;
    }
    call.arguments = taken.rest;
    Some(taken.text).filter(|text| !text.trim().is_empty())
}

/// Whether a call asks to go on after it; `None` where it does not say.
#[must_use]
pub fn asks_to_go_on(call: &ToolCall) -> Option<bool> {
    let arguments: Value = serde_json::from_str(&call.arguments).ok()?;
    arguments.get(HEARTBEAT).and_then(Value::as_bool)
}

/// A stored message as it goes to a model that thinks in arguments: its thoughts stand in its calls again, and calls that
/// say nothing of going on, as those of older agents, ask for it.
#[must_use]
pub fn on_the_wire(body: &MessageBody, is_terminal: impl Fn(&str) -> bool) -> Option<MessageBody> {
    if body.tool_calls.is_empty() {
        return None;
    }
    let mut wire = body.clone();
    let mut thoughts = Vec::new();
    wire.content.retain(|part| match part {
        ContentPart::Reasoning {
            text,
            origin: Some(origin),
            ..
        } if origin.is_inner_thoughts() => {
            thoughts.push(text.clone());
            false
        }
        _ => true,
    });
    let thoughts = thoughts.join("\n");
    for (index, call) in wire.tool_calls.iter_mut().enumerate() {
        let Ok(Value::Object(own)) = serde_json::from_str(&call.arguments) else {
            continue;
        };
        let mut arguments = Map::new();
        if index == 0 && !thoughts.is_empty() {
            arguments.insert(THINKING.to_owned(), json!(thoughts));
        }
        arguments.extend(own);
        if !is_terminal(&call.name) {
            arguments.entry(HEARTBEAT).or_insert(json!(true));
        }
        call.arguments = Value::Object(arguments).to_string();
    }
    Some(wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &str) -> ToolCall {
        ToolCall {
            id: "1".to_owned(),
            name: "note".to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    #[test]
    fn parameters_begin_with_the_thoughts_and_end_with_the_wish_to_go_on() {
        let own =
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let names = |thinks, terminal| {
            let made = parameters(&own, thinks, terminal);
            let names = made["properties"].as_object().unwrap().keys();
            let names: Vec<String> = names.cloned().collect();
            assert_eq!(made["required"], json!(names));
            names.join(" ")
        };
        assert_eq!(names(true, false), "thinking a request_heartbeat");
        assert_eq!(names(false, false), "a request_heartbeat");
        assert_eq!(names(true, true), "thinking a");
        let taken = json!({"properties": {"thinking": {"type": "integer"}}});
        let made = parameters(&taken, true, true);
        assert_eq!(made["properties"]["thinking"]["type"], "integer");
    }

    #[test]
    fn thoughts_are_taken_out_and_put_back() {
        let mut made = call(r#"{"thinking":"hm","a":"b","request_heartbeat":false}"#);
        assert_eq!(take(&mut made).as_deref(), Some("hm"));
        assert_eq!(made.arguments, r#"{"a":"b","request_heartbeat":false}"#);
        assert_eq!(asks_to_go_on(&made), Some(false));
        let body = MessageBody {
            content: vec![part("hm".to_owned())],
            tool_calls: vec![made],
            ..MessageBody::default()
        };
        let wire = on_the_wire(&body, |_| false).unwrap();
        assert!(wire.content.is_empty());
        assert_eq!(
            wire.tool_calls[0].arguments,
            r#"{"thinking":"hm","a":"b","request_heartbeat":false}"#
        );
        let mut without = call(r#"{"a":"b"}"#);
        assert_eq!(take(&mut without), None);
        let older = MessageBody {
            tool_calls: vec![without],
            ..MessageBody::default()
        };
        let wire = |terminal| on_the_wire(&older, |_| terminal).unwrap().tool_calls;
        assert_eq!(
            wire(false)[0].arguments,
            r#"{"a":"b","request_heartbeat":true}"#
        );
        assert_eq!(wire(true)[0].arguments, r#"{"a":"b"}"#);
        assert_eq!(on_the_wire(&MessageBody::text("x"), |_| true), None);
    }
}
