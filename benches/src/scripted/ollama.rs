//! Answers in Ollama's own protocol, and what it tells of its models.

use serde_json::{Value, json};

use super::reply::Reply;

/// The last line of an answer.
fn last(reply: &Reply, message: Value) -> Value {
    let reason = if reply.finish == "length" {
        "length"
    } else {
        "stop"
    };
    json!({"model": "scripted", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": true,
        "done_reason": reason, "total_duration": 1, "prompt_eval_count": reply.prompt_tokens,
        "eval_count": reply.completion_tokens})
}

/// Calls with their arguments as objects; arguments that are none can't be told here.
fn calls(reply: &Reply) -> Vec<Value> {
    let call = |call: &Value| {
        let field = |path: &str| call.pointer(path).cloned().unwrap_or_default();
        let text = field("/function/arguments");
        let text = text.as_str().unwrap_or_default();
        let arguments: Value =
            serde_json::from_str(text).unwrap_or_else(|_| json!({"broken": text}));
        json!({"function": {"name": field("/function/name"), "arguments": arguments}})
    };
    reply.calls.iter().map(call).collect()
}

/// The answer as one JSON object.
pub(super) fn whole(reply: &Reply) -> Vec<u8> {
    let mut message =
        json!({"role": "assistant", "content": reply.text.clone().unwrap_or_default()});
    if let Some(fields) = message.as_object_mut() {
        if let Some(reasoning) = &reply.reasoning {
            fields.insert("thinking".to_owned(), json!(reasoning));
        }
        if !reply.calls.is_empty() {
            fields.insert("tool_calls".to_owned(), json!(calls(reply)));
        }
    }
    last(reply, message).to_string().into_bytes()
}

/// The answer as the lines of a stream.
pub(super) fn lines(reply: &Reply) -> Vec<String> {
    let line = |message: Value| {
        let line = json!({"model": "scripted", "message": message, "done": false});
        format!("{line}\n")
    };
    let words = |text: &Option<String>| {
        let words = text.iter().flat_map(|text| text.split_inclusive(' '));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for word in words(&reply.reasoning) {
        lines.push(line(
            json!({"role": "assistant", "content": "", "thinking": word}),
        ));
    }
    for word in words(&reply.text) {
        lines.push(line(json!({"role": "assistant", "content": word})));
    }
    if !reply.calls.is_empty() {
        lines.push(line(
            json!({"role": "assistant", "content": "", "tool_calls": calls(reply)}),
        ));
    }
    lines.push(format!(
        "{}\n",
        last(reply, json!({"role": "assistant", "content": ""}))
    ));
    lines
}

/// `GET /api/tags`.
pub(super) fn tags() -> Value {
    let model = |name: &str| json!({"name": name, "model": name, "digest": format!("digest-of-{name}"), "details": {"family": "scripted"}});
    let names = [
        "scripted",
        "scripted-small",
        "scripted-embed",
        "scripted-toolless",
    ];
    json!({"models": names.map(model)})
}

/// `POST /api/show`.
pub(super) fn show(body: &[u8]) -> Value {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = asked.get("model").and_then(Value::as_str);
    let (window, capabilities) = match name.unwrap_or_default() {
        "scripted-small" => (4_096, vec!["completion", "tools"]),
        "scripted-embed" => (2_048, vec!["embedding"]),
        "scripted-toolless" => (32_768, vec!["completion"]),
        _ => (131_072, vec!["completion", "tools", "thinking", "vision"]),
    };
    json!({"model_info": {"general.architecture": "scripted", "scripted.context_length": window},
        "capabilities": capabilities, "details": {"family": "scripted"}})
}
