//! Requests and answers in Gemini's protocol.

use http::Method;
use serde_json::{Value, json};

use super::{
    reply::{Reply, hash},
    request::Message,
};

/// What a request wants, which its path says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// The list of models.
    Models,
    /// Vectors of texts.
    Vectors,
    /// An answer.
    Answer {
        /// Whether as a stream.
        streamed: bool,
    },
}

/// What a request wants, if it is one of this protocol.
pub(super) fn wanted(method: &Method, path: &str) -> Option<Wanted> {
    let called = path.strip_prefix("/v1beta/models")?;
    if *method == Method::GET {
        return called.is_empty().then_some(Wanted::Models);
    }
    match called.rsplit_once(':')?.1 {
        "generateContent" => Some(Wanted::Answer { streamed: false }),
        "streamGenerateContent" => Some(Wanted::Answer { streamed: true }),
        "batchEmbedContents" => Some(Wanted::Vectors),
        _ => None,
    }
}

/// The contents of a request, brought into the form of chat completions.
pub(super) fn from_contents(contents: &Value) -> Vec<Message> {
    let mut found = Vec::new();
    for content in contents.as_array().into_iter().flatten() {
        let parts = content.get("parts").cloned().unwrap_or_default();
        let list = parts.as_array().cloned().unwrap_or_default();
        let results: Vec<Message> = list
            .iter()
            .filter_map(|part| part.pointer("/functionResponse/response/result"))
            .map(|result| Message {
                role: "tool".to_owned(),
                content: result.clone(),
                tool_calls: Value::Null,
            })
            .collect();
        if !results.is_empty() {
            found.extend(results);
            continue;
        }
        let calls = list.iter().any(|part| part.get("functionCall").is_some());
        let is_user = content.get("role").and_then(Value::as_str) == Some("user");
        let role = if is_user { "user" } else { "assistant" };
        found.push(Message {
            role: role.to_owned(),
            content: parts,
            tool_calls: if calls { json!([]) } else { Value::Null },
        });
    }
    found
}

/// The parts of an answer. A signature comes with the first call, or else with the last text.
fn parts(reply: &Reply) -> Vec<Value> {
    let mut parts = Vec::new();
    if let Some(reasoning) = reply.reasoning.as_ref().filter(|_| !reply.redacted) {
        parts.push(json!({"text": reasoning, "thought": true}));
    }
    let texts = reply.text.iter().flat_map(|text| text.split_inclusive(' '));
    parts.extend(texts.map(|text| json!({ "text": text })));
    for call in &reply.calls {
        let field = |path: &str| call.pointer(path).cloned().unwrap_or_default();
        let arguments = field("/function/arguments");
        let arguments = arguments.as_str().unwrap_or_default();
        // Arguments are an object here: what is none can't be told.
        let args: Value =
            serde_json::from_str(arguments).unwrap_or_else(|_| json!({"broken": arguments}));
        let mut told = json!({"name": field("/function/name"), "args": args});
        if let (Some(id), Some(told)) = (call.get("id"), told.as_object_mut()) {
            told.insert("id".to_owned(), id.clone());
        }
        parts.push(json!({ "functionCall": told }));
    }
    if let Some(reasoning) = &reply.reasoning {
        let first_call = parts
            .iter()
            .position(|part| part.get("functionCall").is_some());
        let at = first_call.unwrap_or(parts.len().saturating_sub(1));
        if let Some(part) = parts.get_mut(at).and_then(Value::as_object_mut) {
            let signature = format!("signed-{}", hash(&[reasoning]));
            part.insert("thoughtSignature".to_owned(), json!(signature));
        }
    }
    parts
}

fn piece(parts: &[Value]) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}],
           "modelVersion": "scripted"})
}

/// A piece with what stands at the end of an answer.
fn last(reply: &Reply, parts: &[Value]) -> Value {
    let mut last = piece(parts);
    let thoughts = reply
        .reasoning
        .as_ref()
        .map_or(0, |text| text.split(' ').count());
    let finish = if reply.finish == "length" {
        "MAX_TOKENS"
    } else {
        "STOP"
    };
    if let Some(candidate) = last
        .pointer_mut("/candidates/0")
        .and_then(Value::as_object_mut)
    {
        candidate.insert("finishReason".to_owned(), json!(finish));
    }
    let usage = json!({
        "promptTokenCount": reply.prompt_tokens,
        "candidatesTokenCount": reply.completion_tokens,
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": reply.cached_tokens,
        "totalTokenCount": reply.prompt_tokens + reply.completion_tokens + thoughts,
    });
    if let Some(fields) = last.as_object_mut() {
        fields.insert("usageMetadata".to_owned(), usage);
    }
    last
}

/// The answer as one JSON object.
pub(super) fn whole(reply: &Reply) -> Vec<u8> {
    last(reply, &parts(reply)).to_string().into_bytes()
}

/// The answer as the frames of a stream.
pub(super) fn frames(reply: &Reply) -> Vec<String> {
    let mut parts = parts(reply);
    let end = parts.pop();
    let frame = |value: &Value| format!("data: {value}\r\n\r\n");
    let mut frames: Vec<String> = parts
        .iter()
        .map(|part| frame(&piece(std::slice::from_ref(part))))
        .collect();
    frames.push(frame(&last(reply, end.as_slice())));
    frames
}

/// `GET /v1beta/models`.
pub(super) fn models() -> Value {
    let model = |name: &str, window: i64, method: &str| {
        json!({"name": format!("models/{name}"), "inputTokenLimit": window, "outputTokenLimit": 8_192,
               "supportedGenerationMethods": [method]})
    };
    json!({"models": [
        model("scripted", 128_000, "generateContent"),
        model("scripted-small", 8_192, "generateContent"),
        model("scripted-embed", 2_048, "embedContent"),
        model("scripted-painter", 480, "predict"),
    ]})
}

/// A request for vectors, in the form of OpenAI's.
pub(super) fn embedding_request(body: &[u8]) -> Vec<u8> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let requests = request.get("requests").and_then(Value::as_array);
    let requests = requests.cloned().unwrap_or_default();
    let texts: Vec<Value> = requests
        .iter()
        .filter_map(|one| one.pointer("/content/parts/0/text").cloned())
        .collect();
    let model = requests.first().and_then(|one| one.get("model")?.as_str());
    let model = model.unwrap_or_default().trim_start_matches("models/");
    json!({"model": model, "input": texts})
        .to_string()
        .into_bytes()
}

/// An answer of OpenAI's with vectors, in the form of Gemini's.
pub(super) fn embedding_answer(answer: &Value) -> Value {
    let Some(rows) = answer.get("data").and_then(Value::as_array) else {
        return answer.clone();
    };
    let vector = |row: &Value| json!({ "values": row.get("embedding") });
    json!({ "embeddings": rows.iter().map(vector).collect::<Vec<_>>() })
}
