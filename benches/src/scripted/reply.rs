//! What the scripted model answers.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    directives::{DirectedCall, Directives},
    request::{self, Asked},
};

/// Words of an answer when nothing else is asked for.
const WORDS: usize = 20;

/// The tool by which agents of the older loop speak.
const SPEAK: &str = "send_message";

/// Words by which a call is asked for again.
pub(super) const NOT_MADE: &str = " was not made: ";

/// What an answer consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub reasoning: Option<String>,
    pub text: Option<String>,
    pub calls: Vec<Value>,
    pub finish: &'static str,
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    /// Tokens that are said to come from the prompt cache.
    pub cached_tokens: usize,
    /// Whether reasoning is sealed rather than told.
    pub redacted: bool,
}

/// The answer to a request.
pub(super) fn of(asked: &Asked, directives: &Directives, body: &[u8]) -> Reply {
    let mut calls = calls(asked, directives, body);
    let mut text = if calls.is_empty() {
        Some(text(asked, directives, body))
    } else {
        None
    };
    if let (Some(said), true) = (&text, request::has_to_call(body, SPEAK)) {
        calls.push(spoken(asked, said, body));
        text = None;
    }
    if asked.by_choice {
        text = Some(chosen(&calls, text));
        calls.clear();
    } else if let (Some(form), false) = (&directives.plain, calls.is_empty()) {
        text = Some(written(&calls, form));
        calls.clear();
    }
    let finish = match (directives.length, calls.is_empty()) {
        (true, _) => "length",
        (false, false) => "tool_calls",
        (false, true) => "stop",
    };
    let completion_tokens = text
        .as_deref()
        .map_or(12, |text| text.split(' ').count().max(1));
    Reply {
        reasoning: directives.reasoning.clone(),
        text,
        calls,
        finish,
        prompt_tokens: directives.read.unwrap_or(asked.bytes / 4),
        completion_tokens,
        cached_tokens: directives.cached.unwrap_or(0).min(asked.bytes / 4),
        redacted: directives.redacted,
    }
}

fn calls(asked: &Asked, directives: &Directives, body: &[u8]) -> Vec<Value> {
    let mut wanted = directives.calls.clone();
    if asked.text.contains(NOT_MADE) {
        wanted.clear();
        wanted.extend(directives.mend.clone());
    }
    if wanted.is_empty() && asked.text.contains("remember") {
        wanted.extend(memory_call(&asked.text, body));
    }
    if asked.steps >= directives.steps {
        return Vec::new();
    }
    let call = |(index, call): (usize, &DirectedCall)| {
        let function = json!({"name": call.name, "arguments": call.arguments});
        if directives.no_id {
            return json!({"index": index, "type": "function", "function": function});
        }
        let id = format!(
            "call_{}{index}",
            hash(&[asked.text.as_str(), &asked.steps.to_string()])
        );
        json!({"index": index, "id": id, "type": "function", "function": function})
    };
    wanted.iter().enumerate().map(call).collect()
}

/// What is said, by the tool by which agents of the older loop speak.
fn spoken(asked: &Asked, said: &str, body: &[u8]) -> Value {
    let mut arguments = serde_json::Map::new();
    if thinks(body) {
        arguments.insert("thinking".to_owned(), json!("I answer."));
    }
    arguments.insert("message".to_owned(), json!(said));
    let arguments = Value::Object(arguments).to_string();
    let id = format!(
        "call_{}s",
        hash(&[asked.text.as_str(), &asked.steps.to_string()])
    );
    json!({"index": 0, "id": id, "type": "function", "function": {"name": SPEAK, "arguments": arguments}})
}

/// Name and arguments of a call, the arguments as they are told.
fn parts(call: &Value) -> (&str, &str) {
    let text = |path: &str| call.pointer(path).and_then(Value::as_str);
    (
        text("/function/name").unwrap_or_default(),
        text("/function/arguments").unwrap_or_default(),
    )
}

/// The first call, or else words, as the JSON that the schema asks for.
fn chosen(calls: &[Value], text: Option<String>) -> String {
    match calls.first().map(parts) {
        Some((name, arguments)) => format!("{{\"name\": \"{name}\", \"arguments\": {arguments}}}"),
        None => json!({"answer": text.unwrap_or_default()}).to_string(),
    }
}

/// Calls as models write them that know no better.
fn written(calls: &[Value], form: &str) -> String {
    let written = calls.iter().map(|call| {
        let (name, arguments) = parts(call);
        let object = format!("{{\"name\": \"{name}\", \"arguments\": {arguments}}}");
        match form {
            "mistral" => format!("[TOOL_CALLS]{name}[ARGS]{arguments}"),
            "python" => format!("<|python_tag|>{object}"),
            "fence" => format!("```json\n{object}\n```"),
            "bare" => object,
            _ => format!("I note it.\n<tool_call>\n{object}\n</tool_call>"),
        }
    });
    written.collect::<Vec<_>>().join("\n")
}

/// The edit of memory with which the model notes a fact.
fn memory_call(text: &str, body: &[u8]) -> Option<DirectedCall> {
    let fact = format!("Fact: {text}");
    let (name, arguments) = if request::offers(body, "memory_insert") {
        (
            "memory_insert",
            json!({"label": "human", "new_string": fact}),
        )
    } else if request::offers(body, "core_memory_append") {
        (
            "core_memory_append",
            json!({"label": "human", "content": fact}),
        )
    } else {
        return None;
    };
    // Thoughts come first, as their schema says.
    let arguments = match arguments.to_string().strip_prefix('{') {
        Some(own) if thinks(body) => format!("{{\"thinking\":\"I note it.\",{own}"),
        _ => arguments.to_string(),
    };
    Some(DirectedCall {
        name: name.to_owned(),
        arguments,
    })
}

/// Whether thoughts are an argument of calls, as in the older loop.
fn thinks(body: &[u8]) -> bool {
    request::holds(body, b"\"thinking\":{")
}

fn text(asked: &Asked, directives: &Directives, body: &[u8]) -> String {
    if directives.empty {
        return String::new();
    }
    if let Some(start) = &directives.keep {
        return kept(&asked.text, start);
    }
    if let Some(start) = &directives.keep_all {
        let all = String::from_utf8_lossy(body).replace("\\n", " ");
        return kept(&all, start);
    }
    if directives.echo_system {
        return request::system(body);
    }
    if directives.echo {
        return asked.text.clone();
    }
    if let Some(last) = asked.returns.last() {
        let head: String = last.chars().take(200).collect();
        return format!("Done: {head}");
    }
    const FILLER: [&str; 8] = [
        "noted", "the", "point", "and", "keeping", "it", "in", "mind",
    ];
    let mut words = vec![format!("Reply {}:", hash(&[&asked.text]))];
    let more = directives.words.unwrap_or(WORDS).saturating_sub(1);
    words.extend(
        FILLER
            .iter()
            .cycle()
            .take(more)
            .map(|word| (*word).to_owned()),
    );
    words.join(" ")
}

/// The words that begin so, each once.
fn kept(text: &str, start: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '-') {
        if word.starts_with(start) && !words.contains(&word) {
            words.push(word);
        }
    }
    format!("Known: {}.", words.join(", "))
}

/// Eight hexadecimal digits that depend on the texts only.
pub(super) fn hash(texts: &[&str]) -> String {
    let digest = Sha256::digest(texts.join("\u{0}").as_bytes());
    digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn envelope(object: &str, choice: &Value) -> Value {
    json!({
        "id": "chatcmpl-scripted",
        "object": object,
        "created": 1_790_000_000,
        "model": "scripted",
        "choices": [choice],
    })
}

fn usage(reply: &Reply) -> Value {
    json!({
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
    })
}

/// The answer as one JSON object.
pub(super) fn whole(reply: &Reply) -> Vec<u8> {
    let mut message = json!({"role": "assistant", "content": reply.text});
    if let (Some(reasoning), Some(message)) = (&reply.reasoning, message.as_object_mut()) {
        message.insert("reasoning_content".to_owned(), json!(reasoning));
    }
    if let (false, Some(message)) = (reply.calls.is_empty(), message.as_object_mut()) {
        message.insert("tool_calls".to_owned(), json!(reply.calls));
    }
    let choice = json!({"index": 0, "message": message, "finish_reason": reply.finish});
    let mut answer = envelope("chat.completion", &choice);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("usage".to_owned(), usage(reply));
    }
    answer.to_string().into_bytes()
}

/// The answer as the frames of a stream.
pub(super) fn frames(reply: &Reply, whole_call: bool, include_usage: bool) -> Vec<String> {
    let delta = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        format!("data: {}\n\n", envelope("chat.completion.chunk", &choice))
    };
    let mut frames = vec![delta(
        json!({"role": "assistant", "content": null}),
        Value::Null,
    )];
    if let Some(reasoning) = &reply.reasoning {
        frames.push(delta(json!({"reasoning_content": reasoning}), Value::Null));
    }
    for word in reply.text.iter().flat_map(|text| text.split_inclusive(' ')) {
        frames.push(delta(json!({"content": word}), Value::Null));
    }
    for call in &reply.calls {
        for piece in call_pieces(call, whole_call) {
            frames.push(delta(json!({"tool_calls": [piece]}), Value::Null));
        }
    }
    frames.push(delta(json!({}), json!(reply.finish)));
    if include_usage {
        let mut last = envelope("chat.completion.chunk", &Value::Null);
        if let Some(last) = last.as_object_mut() {
            last.insert("choices".to_owned(), json!([]));
            last.insert("usage".to_owned(), usage(reply));
        }
        frames.push(format!("data: {last}\n\n"));
    }
    frames.push("data: [DONE]\n\n".to_owned());
    frames
}

/// A call as a stream brings it: name first, then its arguments in pieces of ten characters.
fn call_pieces(call: &Value, whole: bool) -> Vec<Value> {
    if whole {
        return vec![call.clone()];
    }
    let index = call.get("index").cloned().unwrap_or_default();
    let arguments = call
        .pointer("/function/arguments")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut first = call.clone();
    if let Some(slot) = first.pointer_mut("/function/arguments") {
        *slot = json!("");
    }
    let mut pieces = vec![first];
    let characters: Vec<char> = arguments.chars().collect();
    for piece in characters.chunks(10) {
        let text: String = piece.iter().collect();
        pieces.push(json!({"index": index, "function": {"arguments": text}}));
    }
    pieces
}
