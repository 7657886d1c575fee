use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Value, Unusable> {
    arguments(text).map(|text| serde_json::from_str(&text).unwrap())
}

#[test]
fn what_weak_models_write_is_read_as_it_is_meant() {
    let meant = json!({"label": "human", "text": "Ada"});
    for text in [
        // Fences and what stands around them.
        "```json\n{\"label\": \"human\", \"text\": \"Ada\"}\n```",
        "```\n{\"label\": \"human\", \"text\": \"Ada\"}```",
        "Here you are:\n```json\n{\"label\": \"human\", \"text\": \"Ada\"}\n```\nDone.",
        "```{\"label\": \"human\", \"text\": \"Ada\"}```",
        // Quotes, keys, commas.
        "{'label': 'human', 'text': 'Ada'}",
        "{label: \"human\", text: \"Ada\"}",
        "{label: 'human', text: 'Ada',}",
        "{\"label\": \"human\", \"text\": \"Ada\",}",
        "{\"label\": \"human\",, \"text\": \"Ada\"}",
        "{\"label\": \"human\"\n \"text\": \"Ada\"}",
        "{\u{201c}label\u{201d}: \u{201c}human\u{201d}, \u{201c}text\u{201d}: \u{201c}Ada\u{201d}}",
        "{`label`: `human`, `text`: `Ada`}",
        "{label = \"human\", text => \"Ada\"}",
        "{label: human, text: Ada}",
        // Comments.
        "{\"label\": \"human\", // whom\n \"text\": /* what */ \"Ada\"}",
        // Closers lacking, or too many.
        "{\"label\": \"human\", \"text\": \"Ada\"",
        "{\"label\": \"human\", \"text\": \"Ada\"}}",
        "{\"label\": \"human\", \"text\": \"Ada\"}</tool_call>",
        // Encoded twice and thrice.
        "\"{\\\"label\\\": \\\"human\\\", \\\"text\\\": \\\"Ada\\\"}\"",
        "'{\"label\": \"human\", \"text\": \"Ada\"}'",
    ] {
        assert_eq!(read(text), Ok(meant.clone()), "{text}");
    }
}

#[test]
fn values_of_other_languages_are_those_of_json() {
    let text = "{'a': True, 'b': False, 'c': None, 'd': undefined, 'e': 1_000, 'f': +2, 'g': .5, 'h': -1.5e3,}";
    let meant = json!({"a": true, "b": false, "c": null, "d": null, "e": 1000, "f": 2, "g": 0.5, "h": -1.5e3});
    assert_eq!(read(text), Ok(meant));
}

#[test]
fn texts_keep_their_line_breaks_quotes_and_escapes() {
    for (text, meant) in [
        ("{\"t\": \"one\ntwo\ttabbed\"}", "one\ntwo\ttabbed"),
        (
            "{\"t\": \"she said \"hi\" and left\"}",
            "she said \"hi\" and left",
        ),
        ("{'t': 'it's hers'}", "it's hers"),
        ("{'t': 'it\\'s hers'}", "it's hers"),
        ("{\"t\": \"C:\\path \\d\",}", "C:\\path \\d"),
        ("{t: \"\"\"a \"quoted\"\ntext\"\"\"}", "a \"quoted\"\ntext"),
        ("{t: '\\u00e9\\ud83d\\ude00\\ud83d'}", "é😀\u{fffd}"),
        ("{t: 'a, b: c}'}", "a, b: c}"),
    ] {
        assert_eq!(read(text), Ok(json!({ "t": meant })), "{text}");
    }
}

#[test]
fn lists_and_objects_lie_in_each_other() {
    let meant = json!({"roles": ["user", "tool"], "deep": {"list": [1, {"x": []}]}});
    let text = "{roles: ['user', 'tool',], deep: {list: [1, {x: []},],},}";
    assert_eq!(read(text), Ok(meant.clone()));
    // Nothing but closers is lost.
    let text = "{roles: ['user', 'tool'], deep: {list: [1, {x: []";
    assert_eq!(read(text), Ok(meant));
}

#[test]
fn half_a_value_is_no_value() {
    for text in [
        "{\"label\": \"human\", \"text\": \"Ada sai",
        "{\"label\": \"human\", \"text\": ",
        "{\"label\": \"human\", \"te",
        "{\"label\": \"human\", \"text\"",
        "{\"count\": 12",
        "{\"text\": \"a\\",
        "{\"flag\": tr",
        "{",
        "{\"list\": [",
        "{\"a\": 1,",
        "```json\n{\"text\": \"Ada",
    ] {
        assert_eq!(read(text), Err(Unusable::Cut), "{text}");
    }
}

#[test]
fn words_are_no_json_rather_than_the_beginning_of_some() {
    for text in [
        "not json at all",
        "label human",
        "this is not json\n",
        "tru",
    ] {
        let refused = read(text).unwrap_err();
        assert!(matches!(refused, Unusable::NoJson(_)), "{text}: {refused}");
    }
}

#[test]
fn what_is_no_object_stays_an_error_that_says_so() {
    for text in ["[1]", "\"Ada\"", "7", "null", "\"\\\"{\\\"\""] {
        assert!(read(text).is_err(), "{text}");
    }
    assert_eq!(read("[1]"), Err(Unusable::NoObject));
    for text in [
        "{broken",
        "Ada sails.",
        "{\"a\" \"b\" \"c\"}",
        "{\"a\": 1} {\"b\": 2}",
        "}{",
        "{:}",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
    let error = read("{\"a\": 1} and {\"b\": 2}").unwrap_err().to_string();
    assert!(
        error.starts_with("the arguments are not valid JSON ("),
        "{error}"
    );
    assert_eq!(read(""), Ok(json!({})));
    assert_eq!(read(" \n"), Ok(json!({})));
}

#[test]
fn depth_has_an_end() {
    for open in ["[", "{a:", "{'a':["] {
        assert!(value(&open.repeat(200_000)).is_err());
    }
}

#[test]
fn arguments_of_python_calls_are_read_up_to_their_end() {
    let (found, rest) = python_arguments("label='human', n=3, flag=True) and more").unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    assert_eq!(
        found,
        [
            ("label", json!("human")),
            ("n", json!(3)),
            ("flag", json!(true))
        ]
    );
    assert_eq!(rest, " and more");
    let (found, _) = python_arguments("'a', [1, 2])").unwrap();
    assert_eq!(
        found,
        [(String::new(), json!("a")), (String::new(), json!([1, 2]))]
    );
    assert_eq!(python_arguments(")"), Some((vec![], "")));
    for text in ["", "a=", "a=1", "a=1 b=2)", "one thing)"] {
        assert_eq!(python_arguments(text), None, "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        // Such as no parser rounds.
        (-9_999_i32..9_999).prop_map(|number| json!(f64::from(number) / 8.0)),
        ".{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::vec((".{0,6}", inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    proptest::collection::vec(("[a-z_]{1,6}", any_json()), 0..5)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #[test]
    fn what_is_json_is_never_changed(meant in any_object(), pretty in any::<bool>()) {
        let text = if pretty {
            serde_json::to_string_pretty(&meant).unwrap()
        } else {
            meant.to_string()
        };
        prop_assert_eq!(arguments(&text), Ok(Cow::Borrowed(text.as_str())));
        let parsed: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(value(&text), Ok(parsed));
    }

    #[test]
    fn a_fence_changes_nothing(meant in any_object()) {
        let text = meant.to_string();
        let meant: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read(&format!("```json\n{text}\n```")), Ok(meant));
    }

    #[test]
    fn what_is_encoded_twice_is_decoded_twice(meant in any_object()) {
        let text = meant.to_string();
        let meant: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read(&json!(text).to_string()), Ok(meant));
    }

    #[test]
    fn a_beginning_gives_only_fields_that_are_whole(meant in any_object(), cut in any::<proptest::sample::Index>()) {
        let text = meant.to_string();
        let mut end = cut.index(text.len() + 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let parsed: Value = serde_json::from_str(&text).unwrap();
        if let Ok(Value::Object(found)) = read(&text[..end]) {
            for (key, value) in &found {
                prop_assert!(is_beginning(value, &parsed[key]), "{} of {}", value, text);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n{}\\[\\]:,'\"`\\\\é語]{0,80}") {
        if let Ok(found) = arguments(&text) {
            prop_assert!(json::is_object(&found), "{}", found);
        }
        let _ = value(&text);
        let _ = values(&text);
        let _ = python_arguments(&text);
    }
}

/// Whether a value is the other, or a list or object that only lacks what came later.
fn is_beginning(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Array(part), Value::Array(whole)) => {
            part.len() <= whole.len() && part.iter().zip(whole).all(|(a, b)| is_beginning(a, b))
        }
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|all| is_beginning(value, all))),
        _ => part == whole,
    }
}
