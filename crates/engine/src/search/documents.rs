//! What of a message is searched.

use mnemic_core::{
    builtin, heartbeat,
    ids::ConversationId,
    messages::{MessageBody, Role},
};
use serde_json::Value;

/// What a message says, for whoever looks for it: its text, what an agent says by `send_message`, the
/// returns of a client's tools. `None` when there is nothing to find.
#[must_use]
pub fn said(role: Role, body: &MessageBody) -> Option<String> {
    // A summary repeats messages that stay findable themselves.
    if body.compaction.is_some() {
        return None;
    }
    let text = match role {
        Role::System => return None,
        Role::User if heartbeat::is_body(body) => return None,
        Role::User => body.plain_text(),
        Role::Assistant => spoken(body),
        Role::Tool => returned(body),
    };
    let blank = text.chars().all(char::is_whitespace);
    (!blank).then_some(text)
}

/// Whether a message is one that a search can find.
#[must_use]
pub(crate) fn is_searched(role: Role, body: &MessageBody) -> bool {
    said(role, body).is_some()
}

/// A number for a thread: turns are neighbours only within one.
pub(super) fn session(id: ConversationId) -> u64 {
    let bits = id.uuid().as_u128();
    // The halves of a random UUID are as good as random; 0 stands for texts without a thread.
    ((bits >> 64) as u64 ^ bits as u64).max(1)
}

/// A role as indexes know it.
pub(super) const fn role_number(role: Role) -> u8 {
    match role {
        Role::System => 0,
        Role::User => 1,
        Role::Assistant => 2,
        Role::Tool => 3,
    }
}

fn spoken(body: &MessageBody) -> String {
    let mut text = body.plain_text();
    let sent = body
        .tool_calls
        .iter()
        .filter(|call| call.name == "send_message");
    for call in sent {
        let arguments = serde_json::from_str::<Value>(&call.arguments).unwrap_or_default();
        if let Some(message) = arguments.get("message").and_then(Value::as_str) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(message);
        }
    }
    text
}

/// Built-in tools return what is in memory anyway: blocks, passages, earlier messages.
fn returned(body: &MessageBody) -> String {
    let texts = body
        .tool_returns
        .iter()
        .filter(|result| builtin::find(&result.name).is_none());
    let texts: Vec<&str> = texts.map(|result| result.text.as_str()).collect();
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use mnemic_core::messages::{ToolCall, ToolReturn, ToolStatus};

    use super::*;

    fn returning(name: &str) -> MessageBody {
        MessageBody {
            tool_returns: vec![ToolReturn {
                tool_call_id: "1".into(),
                name: name.into(),
                status: ToolStatus::Success,
                text: "42 degrees".into(),
                stdout: Vec::new(),
                stderr: Vec::new(),
                images: Vec::new(),
            }],
            ..MessageBody::default()
        }
    }

    #[test]
    fn what_was_said_is_found_in_every_way_of_saying_it() {
        let call = ToolCall {
            id: "1".into(),
            name: "send_message".into(),
            arguments: r#"{"message": "Good morning"}"#.into(),
        };
        let by_tool = MessageBody {
            tool_calls: vec![call],
            ..MessageBody::text("I greet her.")
        };
        let hello = MessageBody::text("hello");
        assert_eq!(said(Role::User, &hello).as_deref(), Some("hello"));
        let sent = said(Role::Assistant, &by_tool);
        assert_eq!(sent.as_deref(), Some("I greet her.\nGood morning"));
        let weather = said(Role::Tool, &returning("weather"));
        assert_eq!(weather.as_deref(), Some("42 degrees"));
    }

    #[test]
    fn what_only_repeats_memory_is_not_found_twice() {
        assert!(!is_searched(Role::Tool, &returning("conversation_search")));
        assert!(!is_searched(Role::System, &MessageBody::text("prompt")));
        assert!(!is_searched(Role::User, &MessageBody::text(" \n")));
    }
}
