//! Integers that no JSON reader of ours holds.

use std::borrow::Cow;

/// A text of JSON, in which integers of more than 64 bits are texts: read as numbers, they would lose their last digits
/// without a word. Whoever needs the number makes one of the text; a text that is no JSON stays as it is wherever it is none.
#[must_use]
pub fn long_integers_as_text(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = if from.starts_with('"') {
            text(from)
        } else {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
            from.find(|c| !is_part(c)).unwrap_or(from.len())
        };
        let (token, after) = from.split_at(length);
        if is_long(token) {
            out.extend(["\"", token, "\""]);
        } else {
            out.push_str(token);
        }
        rest = after;
    }
    if out.len() + rest.len() == json.len() {
        return Cow::Borrowed(json);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Bytes of the text in quotes that `from` begins with.
fn text(from: &str) -> usize {
    let mut is_escaped = false;
    let mut all = from.char_indices().skip(1);
    let end = all.find(|(_, c)| {
        let ends = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        ends
    });
    end.map_or(from.len(), |(at, _)| at + 1)
}

fn is_long(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    digits.len() > 18
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && token.parse::<i64>().is_err()
        && token.parse::<u64>().is_err()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_integers_that_are_too_long_become_texts() {
        let table = [
            ("{}", "{}"),
            (r#"{"a":12,"b":-3.5e10}"#, r#"{"a":12,"b":-3.5e10}"#),
            (
                "[18446744073709551615,-9223372036854775808]",
                "[18446744073709551615,-9223372036854775808]",
            ),
            (
                "[18446744073709551616, -9223372036854775809]",
                r#"["18446744073709551616", "-9223372036854775809"]"#,
            ),
            (
                r#"{"n":123456789012345678901234567890}"#,
                r#"{"n":"123456789012345678901234567890"}"#,
            ),
            (
                "[123456789012345678901234567890.5]",
                "[123456789012345678901234567890.5]",
            ),
            (
                r#"["123456789012345678901234567890"]"#,
                r#"["123456789012345678901234567890"]"#,
            ),
            (
                r#"["\" 123456789012345678901234567890"]"#,
                r#"["\" 123456789012345678901234567890"]"#,
            ),
            (
                r#"["\\", 123456789012345678901234567890]"#,
                r#"["\\", "123456789012345678901234567890"]"#,
            ),
            ("\"no end", "\"no end"),
        ];
        for (json, expected) in table {
            assert_eq!(long_integers_as_text(json), expected);
        }
    }

    proptest! {
        #[test]
        fn what_can_be_read_stays(numbers: Vec<i64>, texts: Vec<String>, any: String) {
            let json = serde_json::json!([numbers, texts]).to_string();
            prop_assert_eq!(long_integers_as_text(&json), json.as_str());
            let _ = long_integers_as_text(&any);
        }

        #[test]
        fn whatever_is_json_stays_json(number in "-?[1-9][0-9]{0,40}", text: String) {
            let json = format!("[{number}, {}, {number}]", Value::from(text));
            let read: Value = serde_json::from_str(&long_integers_as_text(&json)).unwrap();
            let first = &read[0];
            prop_assert_eq!(first.as_str().map_or(first.to_string(), str::to_owned), number);
        }
    }
}
