//! What is wrong with a request's path, query or body, and how the V1 API writes that down: a list in
//! Python's notation, inside of a JSON text (V1 contract, section 1.4 and the recorded errors).

use std::fmt::Write as _;

use serde_json::Value;

/// Characters of an offending input that an error shows.
const SHOWN_INPUT: usize = 300;

/// Where in the request something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loc {
    /// A name: `body`, a field.
    Name(String),
    /// A place in a list, or a byte of the body.
    Index(usize),
}

impl From<&str> for Loc {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Issue {
    /// A word for the kind of error, such as `missing` or `string_type`.
    pub kind: &'static str,
    /// Where it stands.
    pub loc: Vec<Loc>,
    /// What is wrong, for people.
    pub msg: String,
    /// What was given.
    pub input: Value,
}

impl Issue {
    /// An error of a value in the body; `path` are the fields that lead to it.
    pub fn body(path: &[&str], msg: impl Into<String>, input: Value) -> Self {
        Self::at("body", path, msg, input)
    }

    /// An error of a query parameter.
    pub fn query(name: &str, msg: impl Into<String>, input: Value) -> Self {
        Self::at("query", &[name], msg, input)
    }

    fn at(place: &str, path: &[&str], msg: impl Into<String>, input: Value) -> Self {
        let mut loc = vec![Loc::from(place)];
        loc.extend(path.iter().map(|name| Loc::from(*name)));
        Self {
            kind: "value_error",
            loc,
            msg: msg.into(),
            input,
        }
    }
}

/// The issues as the contract writes them.
#[must_use]
pub fn detail(issues: &[Issue]) -> String {
    let mut out = String::from("[");
    for (n, issue) in issues.iter().enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{{'type': '{}', 'loc': (", issue.kind);
        for (n, loc) in issue.loc.iter().enumerate() {
            if n > 0 {
                out.push_str(", ");
            }
            match loc {
                Loc::Name(name) => quote(&mut out, name),
                Loc::Index(index) => _ = write!(out, "{index}"),
            }
        }
        out.push_str(if issue.loc.len() == 1 {
            ",), 'msg': "
        } else {
            "), 'msg': "
        });
        quote(&mut out, &issue.msg);
        out.push_str(", 'input': ");
        let mut input = String::new();
        python(&mut input, &issue.input);
        if input.chars().count() > SHOWN_INPUT {
            out.extend(input.chars().take(SHOWN_INPUT));
            out.push_str("...");
        } else {
            out.push_str(&input);
        }
        out.push('}');
    }
    out.push(']');
    out
}

/// A value in Python's notation.
fn python(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => _ = write!(out, "{number}"),
        Value::String(text) => quote(out, text),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                python(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (n, (name, field)) in fields.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                quote(out, name);
                out.push_str(": ");
                python(out, field);
            }
            out.push('}');
        }
    }
}

/// A text in Python's notation: in single quotes, or in double ones where that saves escapes.
fn quote(out: &mut String, text: &str) {
    let mark = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == mark => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push(mark);
}

/// What serde says about a JSON body, as an issue: the path comes from `serde_path_to_error`, the
/// offending input is looked up in the body.
#[must_use]
pub fn of_json(body: &[u8], error: &serde_path_to_error::Error<serde_json::Error>) -> Issue {
    let inner = error.inner();
    if inner.is_syntax() || inner.is_eof() {
        let at = byte_of(body, inner.line(), inner.column());
        return Issue {
            kind: "json_invalid",
            loc: vec![Loc::from("body"), Loc::Index(at)],
            msg: format!("JSON decode error: {inner}"),
            input: Value::Object(serde_json::Map::new()),
        };
    }
    let mut loc = vec![Loc::from("body")];
    let whole: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let mut input = Some(&whole);
    for segment in error.path() {
        match segment {
            serde_path_to_error::Segment::Seq { index } => {
                loc.push(Loc::Index(*index));
                input = input.and_then(|value| value.get(*index));
            }
            serde_path_to_error::Segment::Map { key } => {
                loc.push(Loc::Name(key.clone()));
                input = input.and_then(|value| value.get(key));
            }
            serde_path_to_error::Segment::Enum { variant } => loc.push(Loc::Name(variant.clone())),
            serde_path_to_error::Segment::Unknown => {}
        }
    }
    let msg = without_position(&inner.to_string());
    if let Some(field) = between_ticks(&msg, "missing field ") {
        loc.push(Loc::Name(field));
        return Issue {
            kind: "missing",
            loc,
            msg: "Field required".to_owned(),
            input: input.cloned().unwrap_or(Value::Null),
        };
    }
    Issue {
        kind: kind_of(&msg),
        loc,
        msg,
        input: input.cloned().unwrap_or(Value::Null),
    }
}

/// A word for what serde's message says.
pub(crate) fn kind_of(msg: &str) -> &'static str {
    let kinds = [
        ("unknown variant", "enum"),
        ("unknown field", "extra_forbidden"),
        ("expected a string", "string_type"),
        ("expected a boolean", "bool_type"),
        ("expected a sequence", "list_type"),
        ("expected a map", "dict_type"),
        ("expected i64", "int_type"),
        ("expected u64", "int_type"),
        ("expected f64", "float_type"),
        ("expected struct", "model_type"),
        ("invalid digit", "int_parsing"),
    ];
    kinds
        .iter()
        .find(|(words, _)| msg.contains(words))
        .map_or("value_error", |(_, kind)| kind)
}

/// serde_json's message without its ` at line 1 column 10`.
fn without_position(msg: &str) -> String {
    msg.rsplit_once(" at line ")
        .map_or(msg, |(before, _)| before)
        .to_owned()
}

/// The text in backticks after `prefix`, if the message begins so.
pub(crate) fn between_ticks(msg: &str, prefix: &str) -> Option<String> {
    let rest = msg.strip_prefix(prefix)?.strip_prefix('`')?;
    rest.split('`').next().map(str::to_owned)
}

/// The byte at which a line and column (both from 1) stand.
fn byte_of(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body
        .split(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(|l| l.len() + 1)
        .sum();
    before + column.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        name: String,
        count: Option<i64>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        items: Vec<Inner>,
    }

    fn issue(body: &str) -> Issue {
        let mut json = serde_json::Deserializer::from_str(body);
        let error = serde_path_to_error::deserialize::<_, Outer>(&mut json).unwrap_err();
        of_json(body.as_bytes(), &error)
    }

    #[test]
    fn an_issue_is_written_as_the_contract_writes_it() {
        let issue = Issue {
            kind: "string_type",
            loc: vec![Loc::from("body"), Loc::from("name")],
            msg: "Input should be a valid string".to_owned(),
            input: json!(5),
        };
        assert_eq!(
            detail(&[issue]),
            "[{'type': 'string_type', 'loc': ('body', 'name'), \
             'msg': 'Input should be a valid string', 'input': 5}]"
        );
    }

    #[test]
    fn values_are_written_in_pythons_notation() {
        let mut out = String::new();
        python(
            &mut out,
            &json!({"a": [null, true, 1.5, "it's"], "b": "a'b\"c\n"}),
        );
        assert_eq!(out, r#"{'a': [None, True, 1.5, "it's"], 'b': 'a\'b"c\n'}"#);
    }

    #[test]
    fn a_wrong_type_names_its_place_and_its_input() {
        let found = issue(r#"{"items":[{"name":"a"},{"name":7}]}"#);
        assert_eq!(found.kind, "string_type");
        assert_eq!(
            found.loc,
            [
                Loc::from("body"),
                Loc::from("items"),
                Loc::Index(1),
                Loc::from("name")
            ]
        );
        assert_eq!(found.input, json!(7));
    }

    #[test]
    fn a_missing_field_is_named() {
        let found = issue(r#"{"items":[{"count":1}]}"#);
        assert_eq!(found.kind, "missing");
        assert_eq!(found.loc.last(), Some(&Loc::from("name")));
    }

    #[test]
    fn broken_json_names_the_byte() {
        let found = issue("{\n \"items\": oops}");
        assert_eq!(found.kind, "json_invalid");
        assert_eq!(found.loc, [Loc::from("body"), Loc::Index(12)]);
    }

    #[test]
    fn a_huge_input_is_shown_in_part() {
        let issue = Issue::body(&["x"], "too long", json!("y".repeat(10_000)));
        assert!(detail(&[issue]).len() < 500);
    }
}
