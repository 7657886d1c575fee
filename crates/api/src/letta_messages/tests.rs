//! The shapes are those of the recorded answers of the contract.

use mnemic_core::{
    messages::{ContentPart, ToolCall, ToolReturn, ToolStatus},
    parts::MessagePart,
};
use serde_json::{Value, json};

use super::*;

fn part(part: Part, index: usize) -> MessagePart {
    MessagePart {
        message_id: "message-a69061da-beaa-422a-9d36-626bdc8b1a9e"
            .parse()
            .unwrap(),
        index,
        otid: Some("client-otid".to_owned()),
        date: Timestamp::parse("2026-11-22T09:19:47.5Z").unwrap(),
        name: None,
        sender_id: None,
        step_id: Some("step-01d2181f-d0a6-4016-9716-f075463da265".parse().unwrap()),
        run_id: Some("run-fe0591de-313a-4267-8b29-66b8a07acfc0".parse().unwrap()),
        part,
    }
}

fn shown(of: Part, index: usize, how: Shown) -> Value {
    serde_json::to_value(letta_message(&part(of, index), how, None)).unwrap()
}

/// The recorded common fields, with `special` added.
fn recorded(message_type: &str, otid: &str, special: Value) -> Value {
    let mut message = json!({
        "id": "message-a69061da-beaa-422a-9d36-626bdc8b1a9e",
        "date": "2026-11-22T09:19:47+00:00",
        "name": null,
        "message_type": message_type,
        "otid": otid,
        "sender_id": null,
        "step_id": "step-01d2181f-d0a6-4016-9716-f075463da265",
        "is_err": null,
        "seq_id": null,
        "run_id": "run-fe0591de-313a-4267-8b29-66b8a07acfc0",
    });
    message
        .as_object_mut()
        .unwrap()
        .extend(special.as_object().unwrap().clone());
    message
}

const PART_0: &str = "a69061da-beaa-422a-9d36-626bdc8b1a80";
const PART_1: &str = "a69061da-beaa-422a-9d36-626bdc8b1a81";

fn call(name: &str, arguments: &str) -> Part {
    Part::ToolCalls {
        calls: vec![ToolCall {
            id: "call_1".to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }],
    }
}

#[test]
fn an_assistant_message_has_the_recorded_shape() {
    let message = shown(
        Part::Assistant {
            text: "Hello".to_owned(),
        },
        0,
        Shown::Whole,
    );
    assert_eq!(
        message,
        recorded("assistant_message", PART_0, json!({"content": "Hello"}))
    );
}

#[test]
fn a_user_message_keeps_its_clients_otid() {
    let content = vec![ContentPart::text("Hi")];
    let message = shown(Part::User { content }, 0, Shown::Whole);
    assert_eq!(
        message,
        recorded("user_message", "client-otid", json!({"content": "Hi"}))
    );
}

#[test]
fn reasoning_and_text_of_one_message_share_its_id_but_not_their_otids() {
    let reasoning = Part::Reasoning {
        text: "Hm".to_owned(),
        signature: None,
        is_argument: false,
    };
    let first = shown(reasoning, 0, Shown::Whole);
    let second = shown(
        Part::Assistant {
            text: "Yes".to_owned(),
        },
        1,
        Shown::Whole,
    );
    let special = json!({"source": "reasoner_model", "reasoning": "Hm", "signature": null});
    assert_eq!(first, recorded("reasoning_message", PART_0, special));
    assert_eq!(
        second,
        recorded("assistant_message", PART_1, json!({"content": "Yes"}))
    );
}

#[test]
fn a_tool_call_is_shown_alone_and_in_a_list() {
    let view = json!({"name": "memory_insert", "arguments": "{}", "tool_call_id": "call_1"});
    let message = shown(call("memory_insert", "{}"), 0, Shown::Whole);
    let special = json!({"tool_call": view, "tool_calls": [view]});
    assert_eq!(message, recorded("tool_call_message", PART_0, special));
}

#[test]
fn fragments_of_a_call_leave_out_what_they_add_nothing_to() {
    let first = shown(call("memory_insert", ""), 0, Shown::Fragment);
    let view = json!({"name": "memory_insert", "tool_call_id": "call_1"});
    let special = json!({"tool_call": view, "tool_calls": view});
    assert_eq!(first, recorded("tool_call_message", PART_0, special));
    let next = shown(call("", "{\"la"), 0, Shown::Fragment);
    let view = json!({"arguments": "{\"la", "tool_call_id": "call_1"});
    let special = json!({"tool_call": view, "tool_calls": view});
    assert_eq!(next, recorded("tool_call_message", PART_0, special));
}

#[test]
fn a_tool_return_has_the_recorded_shape() {
    let result = ToolReturn {
        tool_call_id: "call_1".to_owned(),
        name: "memory_insert".to_owned(),
        status: ToolStatus::Error,
        text: "no".to_owned(),
        stdout: Vec::new(),
        stderr: vec!["oops".to_owned()],
        images: Vec::new(),
    };
    let message = shown(Part::ToolReturn { result }, 0, Shown::Whole);
    let special = json!({
        "tool_return": "no", "status": "error", "tool_call_id": "call_1",
        "stdout": [], "stderr": ["oops"],
        "tool_returns": [{
            "type": "tool", "tool_return": "no", "status": "error", "tool_call_id": "call_1",
            "stdout": [], "stderr": ["oops"],
        }],
    });
    assert_eq!(message, recorded("tool_return_message", PART_0, special));
}

#[test]
fn images_in_the_history_are_the_servers_own() {
    let image = ContentPart::Image {
        media_type: "image/png".into(),
        data: "AAAA".into(),
    };
    let content = vec![ContentPart::text("see"), image];
    let message = shown(Part::User { content }, 0, Shown::Whole);
    assert_eq!(
        message["content"],
        json!([
            {"type": "text", "text": "see"},
            {"type": "image", "source": {
                "type": "letta", "file_id": format!("file-{PART_1}"),
                "media_type": "image/png", "data": "AAAA", "detail": null,
            }},
        ])
    );
}

#[test]
fn a_ping_names_its_run() {
    let run_id = RunId::new();
    let now = Timestamp::parse("2026-11-22T09:20:16Z").unwrap();
    let ping = serde_json::to_value(Ping::of(run_id, now)).unwrap();
    assert!(ping["id"].as_str().unwrap().starts_with("ping-"));
    assert_eq!(ping["message_type"], "ping");
    assert_eq!(ping["run_id"], run_id.to_string());
    assert_eq!(ping.as_object().unwrap().len(), 10);
}

#[test]
fn the_end_of_a_run_has_the_recorded_shape() {
    let usage = Usage {
        prompt_tokens: 4861,
        completion_tokens: 51,
        ..Usage::default()
    };
    assert_eq!(
        serde_json::to_value(UsageView::of(&usage, 2, Some(2518))).unwrap(),
        json!({
            "message_type": "usage_statistics", "completion_tokens": 51, "prompt_tokens": 4861,
            "total_tokens": 4912, "step_count": 2, "run_ids": null, "cached_input_tokens": 0,
            "cache_write_tokens": 0, "reasoning_tokens": 0, "context_tokens": 2518,
        })
    );
    assert_eq!(
        serde_json::to_value(StopReasonView::from(StopReason::EndTurn)).unwrap(),
        json!({"message_type": "stop_reason", "stop_reason": "end_turn"})
    );
}

#[test]
fn a_list_of_wanted_kinds_leaves_out_the_others() {
    let assistant = Part::Assistant {
        text: String::new(),
    };
    assert!(MessageType::wants(None, &assistant));
    assert!(MessageType::wants(
        Some(&[MessageType::AssistantMessage]),
        &assistant
    ));
    assert!(!MessageType::wants(
        Some(&[MessageType::ToolCallMessage]),
        &assistant
    ));
    assert!(!MessageType::wants(Some(&[]), &assistant));
}
