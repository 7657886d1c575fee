//! Heartbeats: messages in the user's place by which a loop says why it goes on (V1 contract, sections 3.6 and 3.7).

use serde_json::{Value, json};

use crate::messages::{Message, MessageBody, Role};

/// The type by which the model, and clients, know it.
const KIND: &str = "heartbeat";

/// The body of a heartbeat.
#[must_use]
pub fn body(reason: &str, time: &str) -> MessageBody {
    let reason = format!("(automatic; the user does not see this) {reason}");
    MessageBody::text(json!({"type": KIND, "reason": reason, "time": time}).to_string())
}

/// Whether a message is one: nobody said it.
#[must_use]
pub fn is_heartbeat(message: &Message) -> bool {
    // What somebody said has its sender's otid or one of ours.
    message.role == Role::User && message.otid.is_none() && is_body(&message.body)
}

/// Whether a user's message has such a body.
#[must_use]
pub fn is_body(body: &MessageBody) -> bool {
    let text = body.plain_text();
    let read: Option<Value> = text
        .starts_with('{')
        .then(|| serde_json::from_str(&text).ok())
        .flatten();
    read.is_some_and(|read| read.get("type").and_then(Value::as_str) == Some(KIND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_known_by_its_type() {
        assert!(is_body(&body("a rule", "noon")));
        for text in ["heartbeat", "{\"type\":\"login\"}", "{broken", ""] {
            assert!(!is_body(&MessageBody::text(text)), "{text}");
        }
    }
}
