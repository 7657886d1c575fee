//! Answers in OpenAI's responses protocol.

use serde_json::{Value, json};

use super::reply::{Reply, hash};

/// The output items of an answer.
fn items(reply: &Reply) -> Vec<Value> {
    let mut items = Vec::new();
    if let Some(reasoning) = &reply.reasoning {
        let digest = hash(&[reasoning]);
        let summary = if reply.redacted {
            json!([])
        } else {
            json!([{"type": "summary_text", "text": reasoning}])
        };
        items.push(
            json!({"type": "reasoning", "id": format!("rs_{digest}"), "summary": summary,
            "encrypted_content": format!("sealed-{digest}")}),
        );
    }
    if let Some(text) = &reply.text {
        items.push(
            json!({"type": "message", "id": "msg_scripted", "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}),
        );
    }
    for (index, call) in reply.calls.iter().enumerate() {
        let field = |path: &str| call.pointer(path).cloned().unwrap_or_default();
        items.push(json!({"type": "function_call", "id": format!("fc_{index}"),
            "call_id": field("/id"), "name": field("/function/name"),
            "arguments": field("/function/arguments"), "status": "completed"}));
    }
    items
}

/// How the answer ends.
fn status(reply: &Reply) -> &'static str {
    if reply.finish == "length" {
        "incomplete"
    } else {
        "completed"
    }
}

fn response(reply: &Reply, status: &str, output: Vec<Value>) -> Value {
    let details = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
    json!({"id": "resp_scripted", "object": "response", "model": "scripted", "status": status,
    "error": null, "incomplete_details": details, "output": output,
    "usage": {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": reply.cached_tokens},
        "output_tokens": reply.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }})
}

/// The answer as one JSON object.
pub(super) fn whole(reply: &Reply) -> Vec<u8> {
    let response = response(reply, status(reply), items(reply));
    response.to_string().into_bytes()
}

/// The answer as the frames of a stream.
pub(super) fn frames(reply: &Reply) -> Vec<String> {
    let frame = |event: Value| {
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        format!("event: {kind}\ndata: {event}\n\n")
    };
    let started = response(reply, "in_progress", Vec::new());
    let mut frames = vec![frame(
        json!({"type": "response.created", "response": started}),
    )];
    for (index, item) in items(reply).into_iter().enumerate() {
        let (kind, empty, pieces) = in_pieces(&item);
        let added =
            json!({"type": "response.output_item.added", "output_index": index, "item": empty});
        frames.push(frame(added));
        for piece in pieces {
            let event = json!({"type": kind, "output_index": index, "delta": piece});
            frames.push(frame(event));
        }
        let done =
            json!({"type": "response.output_item.done", "output_index": index, "item": item});
        frames.push(frame(done));
    }
    let status = status(reply);
    let ended = response(reply, status, items(reply));
    frames.push(frame(
        json!({"type": format!("response.{status}"), "response": ended}),
    ));
    frames
}

/// The kind of an item's pieces, its beginning, and the pieces.
fn in_pieces(item: &Value) -> (&'static str, Value, Vec<String>) {
    let text = |path: &str| {
        item.pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let words = |text: &str| text.split_inclusive(' ').map(str::to_owned).collect();
    let mut empty = item.clone();
    let mut clear = |key: &str, value: Value| {
        if let Some(slot) = empty.get_mut(key) {
            *slot = value;
        }
    };
    match text("/type") {
        "reasoning" => {
            clear("summary", json!([]));
            let pieces = words(text("/summary/0/text"));
            ("response.reasoning_summary_text.delta", empty, pieces)
        }
        "function_call" => {
            clear("arguments", "".into());
            let characters: Vec<char> = text("/arguments").chars().collect();
            let pieces = characters.chunks(10).map(|piece| piece.iter().collect());
            (
                "response.function_call_arguments.delta",
                empty,
                pieces.collect(),
            )
        }
        _ => {
            clear("content", json!([]));
            let pieces = words(text("/content/0/text"));
            ("response.output_text.delta", empty, pieces)
        }
    }
}
