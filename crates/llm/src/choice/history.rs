//! Requests of chat completions and of Ollama, rewritten for models that lack tools or eyes.

use serde_json::{Map, Value, json};

use super::instruction;
use crate::calls::Call;

/// What stands behind the last result. Small models that are not told go on to make the call that they
/// see before it: of ten questions SmolLM2-135M answered none without these words, and all with them.
const AND_NOW: &str = "\n\nNow answer with {\"answer\": ...}, or use a tool again if you need to.";

/// What stands in the place of an image.
const UNSEEN: &str = "[an image, which this model cannot see]";

/// A request body whose history has calls, returns and answers in the form that is asked for, and whose
/// prompt says what that is. Messages of the same role that come to follow each other become one, because
/// many templates without tools want the roles to alternate.
pub(crate) fn rewritten(call: &Call, body: &mut Value) {
    let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) else {
        return;
    };
    let mut rewritten: Vec<Value> = Vec::with_capacity(messages.len() + 1);
    let has_system = messages
        .first()
        .is_some_and(|first| role(first) == "system");
    if !has_system {
        rewritten.push(json!({"role": "system", "content": instruction(call)}));
    }
    let mut names = Map::new();
    let may_talk = !call.needs_tool_call();
    let ends_with_result = messages.last().is_some_and(|last| role(last) == "tool");
    for (at, mut message) in std::mem::take(messages).into_iter().enumerate() {
        match role(&message) {
            "system" if at == 0 => append(&mut message, &format!("\n\n{}", instruction(call))),
            "assistant" => message = assistant(&message, &mut names),
            "tool" => message = returned(&message, &names),
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
    if let Some(last) = rewritten
        .last_mut()
        .filter(|_| ends_with_result && may_talk)
    {
        append(last, AND_NOW);
    }
    *messages = rewritten;
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
fn assistant(message: &Value, names: &mut Map<String, Value>) -> Value {
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
    }
    json!({"role": "assistant", "content": lines.join("\n")})
}

/// A return as the user's message.
fn returned(message: &Value, names: &Map<String, Value>) -> Value {
    let id = message.get("tool_call_id").and_then(Value::as_str);
    let name = id
        .and_then(|id| names.get(id)?.as_str())
        .unwrap_or("the tool");
    json!({"role": "user", "content": format!("Result of {name}: {}", text(message))})
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
