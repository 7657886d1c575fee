//! Requests of chat completions and of Ollama, rewritten for models that lack tools or eyes.

use serde_json::{Map, Value, json};

use super::{
    form::{demand, examples, instruction, result, schema},
    turn::TurnSoFar,
};
use crate::{adaptation::Parameter, calls::Call, endpoints::Protocol};

/// What stands in the place of an image.
const UNSEEN: &str = "[an image, which this model cannot see]";

/// How the return of a call begins that failed.
const ERROR: &str = "Error";

/// Characters of a question that are told again after a result.
const MAX_REMINDER_CHARS: usize = 500;

/// A request body whose history has calls, returns and answers in the form that is asked for, whose prompt
/// says what that is, and whose schema leaves open what the turn leaves open. Messages of the same role that
/// come to follow each other become one, because many templates without tools want the roles to alternate.
pub(crate) fn rewritten(call: &Call, body: &mut Value) {
    let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) else {
        return;
    };
    let mut turn = TurnSoFar::default();
    retell(call, messages, &mut turn);
    if call.needs_tool_call()
        && !call.accepts(Parameter::ResponseFormat)
        && let Some(last) = messages.last_mut()
    {
        append(last, &demand(call));
    }
    let place = match call.endpoint.protocol() {
        Protocol::Ollama => "/format",
        _ => "/response_format/json_schema/schema",
    };
    if let Some(form) = body.pointer_mut(place) {
        *form = schema(call, &turn);
    }
}

fn retell(call: &Call, messages: &mut Vec<Value>, turn: &mut TurnSoFar) {
    let has_result =
        !call.needs_tool_call() && messages.last().is_some_and(|last| role(last) == "tool");
    let mut told = std::mem::take(messages).into_iter().peekable();
    let mut rewritten = vec![match told.next_if(|first| role(first) == "system") {
        Some(mut prompt) => {
            append(&mut prompt, &format!("\n\n{}", instruction(call)));
            prompt
        }
        None => json!({"role": "system", "content": instruction(call)}),
    }];
    // Else the first message would be joined to what an example says.
    if told.peek().is_some_and(|first| role(first) == "user") {
        rewritten.extend(examples(call));
    }
    let mut names = Map::new();
    for mut message in told {
        match role(&message) {
            "user" => turn.begin(text(&message)),
            "assistant" => message = assistant(&message, &mut names, turn),
            "tool" => message = returned(&message, &names, turn),
            _ => {}
        }
        match rewritten.last_mut() {
            Some(last) if can_join(last, &message) => {
                let text = text(&message).to_owned();
                append(last, &format!("\n\n{text}"));
            }
            _ => rewritten.push(message),
        }
    }
    if has_result && let Some(last) = rewritten.last_mut() {
        append(last, &reminder(&turn.question));
    }
    *messages = rewritten;
}

/// What stands behind the last result: what was asked, told again. Small models lose it from sight, and
/// make the call again that they see before the result.
fn reminder(question: &str) -> String {
    let question = question.trim();
    if question.is_empty() || question.chars().count() > MAX_REMINDER_CHARS {
        return "\n\nNow answer with {\"answer\": ...}, or use a tool if you need to.".to_owned();
    }
    format!("\n\nNow answer: {question}")
}

fn role(message: &Value) -> &str {
    let role = message.get("role").and_then(Value::as_str);
    role.unwrap_or_default()
}

fn text(message: &Value) -> &str {
    let content = message.get("content").and_then(Value::as_str);
    content.unwrap_or_default()
}

fn append(message: &mut Value, text: &str) {
    if let Some(Value::String(content)) = message.get_mut("content") {
        content.push_str(text);
    }
}

/// Whether two messages have the same role and are text and nothing else.
fn can_join(last: &Value, next: &Value) -> bool {
    let is_text = |message: &Value| {
        let has_more = ["images", "name"]
            .iter()
            .any(|key| message.get(*key).is_some());
        message.get("content").is_some_and(Value::is_string) && !has_more
    };
    role(last) == role(next) && role(next) != "system" && is_text(last) && is_text(next)
}

/// An assistant's message in the form that it is to answer in; remembers the names of its calls by their
/// ids.
fn assistant(message: &Value, names: &mut Map<String, Value>, turn: &mut TurnSoFar) -> Value {
    let mut lines = Vec::new();
    if !text(message).trim().is_empty() {
        lines.push(json!({"answer": text(message)}).to_string());
    }
    let calls = message.get("tool_calls").and_then(Value::as_array);
    for call in calls.into_iter().flatten() {
        let name = call.pointer("/function/name").cloned().unwrap_or_default();
        let arguments = match call.pointer("/function/arguments") {
            // Chat completions have them as text.
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
            Some(other) => other.clone(),
            None => json!({}),
        };
        if let Some(id) = call.get("id").and_then(Value::as_str) {
            names.insert(id.to_owned(), name.clone());
        }
        lines.push(json!({"name": name, "arguments": arguments}).to_string());
        turn.call(name.as_str().unwrap_or_default(), arguments);
    }
    json!({"role": "assistant", "content": lines.join("\n")})
}

/// A return as the user's message.
fn returned(message: &Value, names: &Map<String, Value>, turn: &mut TurnSoFar) -> Value {
    let id = message.get("tool_call_id").and_then(Value::as_str);
    let name = id
        .and_then(|id| names.get(id)?.as_str())
        .unwrap_or("the tool");
    let returned = text(message);
    if returned.starts_with(ERROR) {
        turn.fail(name);
    }
    json!({"role": "user", "content": result(name, returned)})
}

/// Puts a note in the place of each image.
pub(crate) fn without_images(body: &mut Value) {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        // Ollama's form.
        let images = message
            .as_object_mut()
            .and_then(|fields| fields.shift_remove("images"));
        if images.is_some() {
            let before = if text(message).is_empty() { "" } else { "\n" };
            append(message, &format!("{before}{UNSEEN}"));
        }
        // That of chat completions.
        let parts = message.get_mut("content").and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            if part.get("type").and_then(Value::as_str) == Some("image_url") {
                *part = json!({"type": "text", "text": UNSEEN});
            }
        }
    }
}
