//! Answers in Anthropic's messages protocol.

use serde_json::{Value, json};

use super::reply::{Reply, hash};

/// The content blocks of an answer.
fn blocks(reply: &Reply) -> Vec<Value> {
    let mut blocks = Vec::new();
    if let Some(reasoning) = &reply.reasoning {
        blocks.push(if reply.redacted {
            json!({"type": "redacted_thinking", "data": format!("sealed-{}", hash(&[reasoning]))})
        } else {
            let signature = format!("signed-{}", hash(&[reasoning]));
            json!({"type": "thinking", "thinking": reasoning, "signature": signature})
        });
    }
    if let Some(text) = reply.text.as_ref().filter(|text| !text.is_empty()) {
        blocks.push(json!({"type": "text", "text": text}));
    }
    for call in &reply.calls {
        let field = |path: &str| call.pointer(path).cloned().unwrap_or_default();
        let arguments = field("/function/arguments");
        let arguments = arguments.as_str().unwrap_or_default();
        // Arguments that are no JSON can only be told in pieces.
        let input =
            serde_json::from_str(arguments).unwrap_or_else(|_| json!({"broken": arguments}));
        blocks.push(
            json!({"type": "tool_use", "id": field("/id"), "name": field("/function/name"),
            "input": input}),
        );
    }
    blocks
}

fn usage(reply: &Reply) -> Value {
    json!({
        "input_tokens": reply.prompt_tokens - reply.cached_tokens,
        "cache_read_input_tokens": reply.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": reply.completion_tokens,
    })
}

fn stop_reason(reply: &Reply) -> &'static str {
    match reply.finish {
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        _ => "end_turn",
    }
}

fn message(reply: &Reply, content: Vec<Value>) -> Value {
    json!({"id": "msg_scripted", "type": "message", "role": "assistant", "model": "scripted",
        "content": content, "stop_reason": null, "stop_sequence": null, "usage": usage(reply)})
}

/// The answer as one JSON object.
pub(super) fn whole(reply: &Reply) -> Vec<u8> {
    let mut message = message(reply, blocks(reply));
    if let Some(slot) = message.get_mut("stop_reason") {
        *slot = stop_reason(reply).into();
    }
    message.to_string().into_bytes()
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
    let start = json!({"type": "message_start", "message": message(reply, Vec::new())});
    let mut frames = vec![frame(start), frame(json!({"type": "ping"}))];
    let mut calls = reply.calls.iter();
    for (index, block) in blocks(reply).into_iter().enumerate() {
        let (empty, deltas) = in_pieces(&block, &mut calls);
        let start = json!({"type": "content_block_start", "index": index, "content_block": empty});
        frames.push(frame(start));
        for delta in deltas {
            let event = json!({"type": "content_block_delta", "index": index, "delta": delta});
            frames.push(frame(event));
        }
        frames.push(frame(json!({"type": "content_block_stop", "index": index})));
    }
    let delta = json!({"stop_reason": stop_reason(reply), "stop_sequence": null});
    let usage = json!({"output_tokens": reply.completion_tokens});
    frames.push(frame(
        json!({"type": "message_delta", "delta": delta, "usage": usage}),
    ));
    frames.push(frame(json!({"type": "message_stop"})));
    frames
}

/// A block as its beginning and what follows it.
fn in_pieces<'a>(
    block: &Value,
    calls: &mut impl Iterator<Item = &'a Value>,
) -> (Value, Vec<Value>) {
    let text = |key: &str| block.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "thinking" => {
            let signature = json!({"type": "signature_delta", "signature": text("signature")});
            let mut deltas: Vec<Value> = text("thinking")
                .split_inclusive(' ')
                .map(|word| json!({"type": "thinking_delta", "thinking": word}))
                .collect();
            deltas.push(signature);
            (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                deltas,
            )
        }
        "text" => {
            let words = text("text").split_inclusive(' ');
            let deltas = words.map(|word| json!({"type": "text_delta", "text": word}));
            (json!({"type": "text", "text": ""}), deltas.collect())
        }
        "tool_use" => {
            let call = calls.next();
            let arguments = call.and_then(|call| call.pointer("/function/arguments"));
            let characters: Vec<char> = arguments
                .and_then(Value::as_str)
                .unwrap_or_default()
                .chars()
                .collect();
            let pieces = characters.chunks(10).map(|piece| {
                let piece: String = piece.iter().collect();
                json!({"type": "input_json_delta", "partial_json": piece})
            });
            let start = json!({"type": "tool_use", "id": block.get("id"), "name": text("name"), "input": {}});
            (start, pieces.collect())
        }
        _ => (block.clone(), Vec::new()),
    }
}
