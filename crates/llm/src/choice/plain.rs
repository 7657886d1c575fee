//! Results of tools in plain words: weak models lose a text among brackets, ids and numbers, or repeat
//! those instead of it.

use serde_json::{Map, Value};

/// Where lists of what was found keep the text itself.
const TEXT: &str = "content";

/// When it was said.
const TIME: &str = "timestamp";

/// How sure it is that this is about what was asked.
const RELEVANCE: &str = "relevance";

/// What such lists say besides, and what a small model would take for the answer.
const NOISE: [&str; 4] = ["id", RELEVANCE, "in_context", "time_ago"];

/// What is this much less relevant than the best is left out: small models answer with any line they see.
const LEAST_SHARE: f64 = 0.25;

/// A result in plain words, or as it is when it is no JSON.
pub(super) fn in_words(result: &str) -> String {
    match serde_json::from_str(result) {
        Ok(Value::Object(fields)) => lines(&fields),
        Ok(Value::Array(items)) => list(&items),
        _ => result.to_owned(),
    }
}

fn lines(fields: &Map<String, Value>) -> String {
    let told = fields.iter().filter(|(_, value)| !is_nothing(value));
    let lines = told.map(|(key, value)| match value {
        Value::Array(items) if items.iter().any(Value::is_object) => list(items),
        Value::String(text) if key == "message" => text.clone(),
        value => format!("{key}: {}", inline(value)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn list(items: &[Value]) -> String {
    let relevance = |item: &Value| item.get(RELEVANCE).and_then(Value::as_f64);
    let best = items.iter().filter_map(relevance).fold(0.0, f64::max);
    let told = items
        .iter()
        .filter(|item| relevance(item).is_none_or(|found| found >= best * LEAST_SHARE));
    let lines: Vec<String> = told.map(|item| format!("- {}", entry(item))).collect();
    lines.join("\n")
}

/// What was found, in a line: the text, then what there is to know of it.
fn entry(item: &Value) -> String {
    let Value::Object(fields) = item else {
        return inline(item);
    };
    let Some(text) = fields.get(TEXT).and_then(Value::as_str) else {
        return inline(item);
    };
    let rest = fields.iter().filter(|(key, value)| {
        *key != TEXT && !NOISE.contains(&key.as_str()) && !is_nothing(value)
    });
    let rest: Vec<String> = rest
        .map(|(key, value)| match value.as_str() {
            Some(time) if key == TIME => day(time).to_owned(),
            _ => inline(value),
        })
        .collect();
    if rest.is_empty() {
        return text.to_owned();
    }
    format!("{text} ({})", rest.join(", "))
}

/// The day of a time that begins with one.
fn day(time: &str) -> &str {
    time.split_once([' ', 'T']).map_or(time, |(day, _)| day)
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(inline).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let told = fields.iter().filter(|(_, value)| !is_nothing(value));
            let told = told.map(|(key, value)| format!("{key}: {}", inline(value)));
            told.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_found_is_a_list_of_texts_with_their_days() {
        let found = json!({
            "message": "2 found, the most relevant first.",
            "results": [
                {"id": "passage-1", "timestamp": "2026-03-01 10:00:00 AM UTC+0000", "relevance": 0.93,
                 "tags": ["keys", "home"], "content": "The key is under the pot."},
                {"timestamp": "2026-03-02T10:00", "time_ago": "2 days ago", "role": "user", "name": null,
                 "relevance": 0.4, "in_context": false, "content": "I lost the key."},
                {"relevance": 0.1, "content": "It rained."},
            ],
        });
        assert_eq!(
            in_words(&found.to_string()),
            "2 found, the most relevant first.\n\
             - The key is under the pot. (2026-03-01, keys, home)\n\
             - I lost the key. (2026-03-02, user)"
        );
    }

    #[test]
    fn other_json_loses_its_brackets_and_nothing_else() {
        for (json, words) in [
            (
                json!({"city": "Bergen", "degrees": 7, "wind": null}),
                "city: Bergen\ndegrees: 7",
            ),
            (json!([{"a": 1, "b": [2, 3]}, "x"]), "- a: 1, b: 2, 3\n- x"),
            (
                json!({"days": [{"on": "Monday", "rain": true}]}),
                "- on: Monday, rain: true",
            ),
            (json!("text"), "\"text\""),
        ] {
            assert_eq!(in_words(&json.to_string()), words);
        }
        assert_eq!(in_words("It rains."), "It rains.");
        assert_eq!(in_words("{torn"), "{torn");
    }
}
