//! A chat-completions server that does what the last user message says:
//! `remember X` calls memory_insert, `call NAME {json}` another tool, `error N` answers with the status N, `slow` waits until it is let
//! go, anything else is echoed.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};

/// A played model provider; it lives as long as the test's runtime.
#[derive(Clone)]
pub struct Model {
    pub url: String,
    /// Lets a `slow` answer go.
    pub go: Arc<Notify>,
}

impl Model {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let go = Arc::new(Notify::new());
        let models = json!({"data": [{"id": "small"}, {"id": "text-embedding-3-small"}]});
        let router = Router::new()
            .route("/v1/models", get(async move || axum::Json(models)))
            .route("/v1/chat/completions", post(complete))
            .with_state(go.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, go }
    }
}

/// The text of the last message, and whether it is the user's.
fn last(request: &Value) -> (String, bool) {
    let message = request["messages"].as_array().unwrap().last().unwrap();
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    };
    (text, message["role"] == "user")
}

async fn complete(State(go): State<Arc<Notify>>, body: axum::Json<Value>) -> Response {
    let (text, by_user) = last(&body);
    if let Some(status) = text.strip_prefix("error ").filter(|_| by_user) {
        let status = http::StatusCode::from_bytes(status.as_bytes()).unwrap();
        let error = json!({"error": {"message": "scripted error", "type": "mock"}});
        return (status, axum::Json(error)).into_response();
    }
    if by_user && text == "slow" {
        go.notified().await;
    }
    let call = call_in(&text).filter(|_| by_user);
    let said = format!("Echo: {text}");
    if body["stream"] == true {
        stream(call, &said)
    } else {
        whole(call, &said)
    }
}

/// A tool and its arguments.
type Call = (String, String);

fn call_in(text: &str) -> Option<Call> {
    if let Some(fact) = text.strip_prefix("remember ") {
        let arguments = json!({"label": "human", "new_string": fact, "insert_line": -1});
        return Some(("memory_insert".to_owned(), arguments.to_string()));
    }
    let (name, arguments) = text.strip_prefix("call ")?.split_once(' ')?;
    Some((name.to_owned(), arguments.to_owned()))
}

const USAGE: [i64; 3] = [100, 10, 110];

fn usage() -> Value {
    json!({"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": USAGE[2]})
}

fn whole(call: Option<Call>, said: &str) -> Response {
    let (message, finish) = match call {
        Some((name, arguments)) => (
            json!({"role": "assistant", "content": null, "tool_calls": [{
                "id": "call_1", "type": "function",
                "function": {"name": name, "arguments": arguments},
            }]}),
            "tool_calls",
        ),
        None => (json!({"role": "assistant", "content": said}), "stop"),
    };
    let choices = json!([{"index": 0, "message": message, "finish_reason": finish}]);
    axum::Json(json!({"id": "c", "choices": choices, "usage": usage()})).into_response()
}

fn stream(call: Option<Call>, said: &str) -> Response {
    let mut deltas = Vec::new();
    match call {
        Some((name, arguments)) => {
            deltas.push(
                json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                "function": {"name": name, "arguments": ""}}]}),
            );
            let (first, rest) = arguments.split_at(arguments.len() / 2);
            for piece in [first, rest] {
                deltas
                    .push(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}));
            }
        }
        None => deltas.extend(
            said.split_inclusive(' ')
                .map(|word| json!({"content": word})),
        ),
    }
    let frame = |value: &Value| format!("data: {value}\n\n");
    let mut text: String = deltas
        .into_iter()
        .map(|delta| frame(&json!({"choices": [{"index": 0, "delta": delta}]})))
        .collect();
    text += &frame(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    text += &frame(&json!({"choices": [], "usage": usage()}));
    text += "data: [DONE]\n\n";
    ([("content-type", "text/event-stream")], text).into_response()
}
