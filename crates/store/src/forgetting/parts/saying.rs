//! What contains a text that is to be forgotten.

use mnemic_core::messages::Message;
use serde_json::Value;

use crate::{StoreError, Tx, page::Select};

/// Fields whose values are no part of what somebody said.
const NOT_SAID: &[&str] = &[
    "awaiting",
    "compaction",
    "data",
    "id",
    "media_type",
    "name",
    "role",
    "run_type",
    "signature",
    "status",
    "tool_call_id",
    "type",
];

/// How a text stands in JSON, and in JSON that stands in JSON, such as arguments of calls.
pub(super) fn spellings(text: &str) -> Result<Vec<String>, StoreError> {
    let inside = |text: &str| -> Result<String, StoreError> {
        let quoted = serde_json::to_string(text)?;
        Ok(quoted
            .trim_start_matches('"')
            .strip_suffix('"')
            .unwrap_or_default()
            .to_owned())
    };
    let once = inside(text)?;
    let mut all = vec![once.clone(), inside(&once)?];
    // Models write arguments, and programs bodies, in which all but ASCII is escaped.
    let escaped = ascii(&once);
    all.extend([inside(&escaped)?, escaped]);
    all.sort();
    all.dedup();
    Ok(all)
}

/// A text in JSON with each character beyond ASCII escaped.
fn ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() {
            escaped.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    escaped
}

/// The condition that one of the columns may contain the text in JSON; [`says`] tells whether it does.
pub(super) fn may_say(
    tx: &Tx<'_>,
    select: &mut Select<'_>,
    (columns, text): (&[&str], &str),
) -> Result<(), StoreError> {
    let mut conditions = Vec::new();
    for spelling in spellings(text)? {
        let n = select.bind(spelling);
        conditions.extend(columns.iter().map(|column| tx.contains(column, n)));
    }
    select.and(format!("({})", conditions.join(" OR ")));
    Ok(())
}

/// Whether a text contains another one, in any case of ASCII letters.
pub(super) fn contains(text: &str, sought: &str) -> bool {
    text.to_ascii_lowercase()
        .contains(&sought.to_ascii_lowercase())
}

/// Whether something that was said is in a value, and not only in the names by which it is ordered.
pub(super) fn says(value: &Value, sought: &str) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => contains(&number.to_string(), sought),
        Value::String(text) => contains(text, sought),
        Value::Array(values) => values.iter().any(|value| says(value, sought)),
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let is_said = !NOT_SAID.contains(&name.as_str());
            is_said && (is_in_arguments(name, value, sought).unwrap_or_else(|| says(value, sought)))
        }),
    }
}

/// Whether arguments of a call contain it; none where these are no arguments, or no JSON.
fn is_in_arguments(name: &str, value: &Value, sought: &str) -> Option<bool> {
    let text = value.as_str().filter(|_| name == "arguments")?;
    let arguments: Value = serde_json::from_str(text).ok()?;
    Some(is_in(&arguments, sought))
}

/// Whether a value contains it under any name.
fn is_in(value: &Value, sought: &str) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| is_in(value, sought)),
        Value::Object(fields) => fields.values().any(|value| is_in(value, sought)),
        other => says(other, sought),
    }
}

/// Whether a message says it, or is of somebody whose name does.
pub(super) fn is_in_message(message: &Message, sought: &str) -> Result<bool, StoreError> {
    let of_whom = [&message.name, &message.sender_id];
    let is_of = of_whom
        .into_iter()
        .flatten()
        .any(|name| contains(name, sought));
    Ok(is_of || says(&serde_json::to_value(&message.body)?, sought))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_found_however_json_spells_it() {
        assert_eq!(spellings("plain").unwrap(), ["plain"]);
        let spelled = spellings("caf\u{e9} \"\u{1f600}\"").unwrap();
        for way in [
            "caf\u{e9} \\\"\u{1f600}\\\"",
            "caf\\u00e9 \\\"\\ud83d\\ude00\\\"",
            "caf\\\\u00e9 \\\\\\\"\\\\ud83d\\\\ude00\\\\\\\"",
        ] {
            assert!(spelled.iter().any(|one| one == way), "{way} in {spelled:?}");
        }
    }

    #[test]
    fn what_was_said_is_found_and_not_how_it_is_stored() {
        let body = json!({
            "content": [{"type": "text", "text": "I have Asthma."}],
            "tool_calls": [{"id": "call-1", "name": "note", "arguments": "{\"content\":\"caf\\u00e9 at 9\",\"age\":42}"}],
            "tool_returns": [{"tool_call_id": "call-1", "name": "note", "status": "success", "text": "{\"Rosa\": 1}"}],
        });
        for said in ["asthma", "caf\u{e9} at", "42", "Rosa"] {
            assert!(says(&body, said), "{said}");
        }
        for stored in [
            "text",
            "content",
            "{",
            "\":",
            "type",
            "arguments",
            "success",
            "note",
            "call-1",
            "age",
        ] {
            let found = says(&body, stored);
            // What a tool returned is taken as it is.
            assert_eq!(found, ["{", "\":"].contains(&stored), "{stored}");
        }
        assert!(says(&json!({"arguments": "not {json"}), "not {"));
    }
}
