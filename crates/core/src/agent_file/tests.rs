use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    ids::{AgentId, ConversationId, MessageId},
    messages::{
        CallAnswer, ContentPart, Message, ReasoningOrigin, Role, ToolCall, ToolReturn, ToolStatus,
    },
};

fn file() -> Value {
    json!({
        "agents": [{
            "id": "agent-0", "name": "Ada", "block_ids": ["block-0"], "tool_ids": ["tool-0"],
            "in_context_message_ids": ["message-0"],
            "messages": [
                {"id": "message-0", "role": "system", "content": [{"type": "text", "text": "You sail."}]},
                {"id": "message-1", "role": "user", "content": "Hi", "created_at": "2026-01-02T03:04:05+00:00"},
            ],
        }],
        "blocks": [{"id": "block-0", "label": "human", "value": "Ada sails."}],
        "tools": [{"id": "tool-0", "name": "row", "source_code": "def row(): ..."}],
        "groups": [], "files": [], "sources": [], "mcp_servers": [],
        "mnemic": {"archives": [{"id": "archive-0", "name": "A", "passages": [{"text": "T"}]}]},
    })
}

fn refusal(file: &Value) -> String {
    read(file.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_file_that_makes_more_rows_than_one_transaction_should_is_refused() {
    let mut large = file();
    let passages = vec![json!({"text": "T"}); MAX_ROWS];
    large["mnemic"]["archives"][0]["passages"] = passages.into();
    assert!(refusal(&large).contains("at the most"), "too many passages");
    let mut wide = file();
    wide["agents"][0]["block_ids"] = json!(["block-0", "block-0"]);
    assert!(refusal(&wide).contains("twice"));
}

#[test]
fn an_error_says_where_it_is() {
    let mut wrong = file();
    wrong["agents"][0]["messages"][1]["created_at"] = json!("soon");
    let error = refusal(&wrong);
    assert!(
        error.contains("agents[0].messages[1].created_at"),
        "{error}"
    );
    let damaged = file().to_string();
    let error = read(&damaged.as_bytes()[..damaged.len() - 9])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("damaged") && error.contains("column"),
        "{error}"
    );
}

/// What the V1 API writes of a call that somebody approved or denied, and of a client's own tool.
#[test]
fn approvals_become_calls_and_returns() {
    let entries: Vec<MessageEntry> = serde_json::from_value(json!([
        {"id": "m-0", "role": "approval", "content": [], "tool_calls": [
            {"id": "c-1", "type": "function", "function": {"name": "row", "arguments": "{}"}},
            {"id": "c-2", "type": "function", "function": {"name": "sail", "arguments": "{}"}}]},
        {"id": "m-1", "role": "approval", "content": [], "approvals": [
            {"type": "approval", "tool_call_id": "c-1", "approve": true},
            {"type": "approval", "tool_call_id": "c-2", "approve": false, "reason": "Too windy."}]},
        {"id": "m-2", "role": "tool", "content": [], "tool_returns": [
            {"tool_call_id": "c-1", "status": "success", "func_response": "Rowed."}]},
        {"id": "m-3", "role": "approval", "content": [], "approvals": [
            {"type": "approval", "tool_call_id": "c-1", "approve": true}]},
    ]))
    .unwrap();
    let mut translator = Translator::default();
    let said: Vec<_> = entries
        .iter()
        .map(|entry| translator.said(entry, None))
        .collect();
    assert_eq!(said[3], None, "it says nothing that the return does not");
    let [Some(call), Some(denial), Some(returned), _] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(
        (call.role, call.body.tool_calls.len()),
        (Role::Assistant, 2)
    );
    let denied = &denial.body.tool_returns[0];
    assert_eq!(
        (denied.name.as_str(), denied.text.as_str()),
        ("sail", "Too windy.")
    );
    assert_eq!(denied.status, ToolStatus::Error);
    assert_eq!(returned.body.tool_returns[0].name, "row");
}

fn part() -> impl Strategy<Value = ContentPart> {
    let origin = proptest::option::of(Just(ReasoningOrigin {
        protocol: "anthropic".to_owned(),
        provider: "a".to_owned(),
        id: None,
    }));
    let reasoning = (any::<String>(), any::<Option<String>>(), origin.clone());
    prop_oneof![
        any::<String>().prop_map(ContentPart::text),
        any::<String>().prop_map(|data| ContentPart::Image {
            media_type: "image/png".to_owned(),
            data,
        }),
        reasoning.prop_map(|(text, signature, origin)| ContentPart::Reasoning {
            text,
            signature,
            origin,
        }),
        (any::<String>(), origin)
            .prop_map(|(data, origin)| ContentPart::RedactedReasoning { data, origin }),
    ]
}

fn call() -> impl Strategy<Value = ToolCall> {
    ("[a-c]", any::<String>(), any::<String>()).prop_map(|(id, name, arguments)| ToolCall {
        id,
        name,
        arguments,
    })
}

fn returned() -> impl Strategy<Value = ToolReturn> {
    let lines = || proptest::collection::vec(any::<String>(), 0..2);
    let status = prop_oneof![Just(ToolStatus::Success), Just(ToolStatus::Error)];
    let image = any::<(String, String)>().prop_filter("with bytes", |(_, data)| !data.is_empty());
    let image = image.prop_map(|(media_type, data)| crate::messages::Image { media_type, data });
    let images = proptest::collection::vec(image, 0..2);
    (
        "[a-c]",
        any::<String>(),
        status,
        any::<String>(),
        lines(),
        lines(),
        images,
    )
        .prop_map(
            |(tool_call_id, name, status, text, stdout, stderr, images)| ToolReturn {
                tool_call_id,
                name,
                status,
                text,
                stdout,
                stderr,
                images,
            },
        )
}

fn answer() -> impl Strategy<Value = CallAnswer> {
    (any::<String>(), any::<bool>(), any::<Option<String>>()).prop_map(
        |(tool_call_id, approve, reason)| CallAnswer::Approval {
            tool_call_id,
            approve,
            reason,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let roles = vec![Role::System, Role::User, Role::Assistant, Role::Tool];
    let body = (
        proptest::collection::vec(part(), 0..3),
        proptest::collection::vec(call(), 0..3),
        proptest::collection::vec(returned(), 0..3),
        proptest::collection::vec(any::<String>(), 0..2),
        proptest::collection::vec(answer(), 0..2),
    );
    (
        proptest::sample::select(roles),
        body,
        any::<Option<String>>(),
    )
        .prop_map(
            |(role, (content, tool_calls, tool_returns, awaiting, answers), name)| Message {
                id: MessageId::new(),
                agent_id: AgentId::new(),
                conversation_id: ConversationId::new(),
                role,
                body: MessageBody {
                    content,
                    tool_calls,
                    tool_returns,
                    awaiting,
                    answers,
                    compaction: None,
                },
                name,
                otid: None,
                sender_id: None,
                step_id: None,
                run_id: None,
                tokens: 0,
                created_at: Timestamp(0),
            },
        )
}

proptest! {
    #[test]
    fn conversations_come_back_as_they_were(
        conversation in proptest::collection::vec(message(), 0..6),
    ) {
        let (mut writer, mut reader) = (Translator::default(), Translator::default());
        for message in conversation {
            let ids = ("message-0".to_owned(), "agent-0".to_owned());
            let written = entry(&message, ids, Some("model"));
            let whole = (!writer.holds(&message, &written)).then(|| message.body.clone());
            let text = serde_json::to_string(&(written, whole)).unwrap();
            let (read, whole): (MessageEntry, Option<MessageBody>) =
                serde_json::from_str(&text).unwrap();
            let said = reader.said(&read, whole.as_ref());
            prop_assert_eq!(said, Some(Said { role: message.role, body: message.body }));
        }
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut: bool) {
        let mut bytes = file().to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(read) = read(&bytes) {
            let text = serde_json::to_vec(&read).unwrap();
            prop_assert_eq!(super::read(&text).unwrap(), read);
        }
    }

    #[test]
    fn any_value_in_any_place_is_read_or_refused(place in 0_usize..60, value in value()) {
        let mut file = file();
        let mut places = Vec::new();
        pointers(&file, String::new(), &mut places);
        let pointer = &places[place % places.len()];
        *file.pointer_mut(pointer).unwrap() = value;
        let _ = read(file.to_string().as_bytes());
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("message-0")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("id|role|type|content|text", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, one)| (key.clone(), one)).collect(),
        Value::Array(list) => (0..).map(|n: usize| n.to_string()).zip(list).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let at = format!("{at}/{key}");
        found.push(at.clone());
        pointers(child, at, found);
    }
}
