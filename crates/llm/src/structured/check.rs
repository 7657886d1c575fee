//! Whether a JSON value is what a schema asks for: the keywords of JSON Schema (2020-12) that say something of a value by
//! themselves, and references within the schema.
//!
//! The crate that does all of it costs more to build than everything else here, for references over the network and
//! dialects that no model is given. A keyword that is not known says nothing; neither does a pattern: there is no engine for
//! expressions in this crate.

use std::{cell::Cell, cmp::Ordering, rc::Rc};

use serde_json::{Map, Value};

/// References that are followed, one inside the other, at the most: a schema may refer to itself.
const MAX_DEPTH: usize = 64;

/// Checks of a value against a part of a schema at the most: one that refers to itself several times over would have no end.
const MAX_CHECKS: u32 = 20_000;

/// Characters of why a value is none of what it may be.
const MAX_REASON: usize = 500;

/// What is wrong with a value, and where; nothing where it is what the schema asks for.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let place = Place {
        root: schema,
        path: String::new(),
        depth: 0,
        left: Rc::new(Cell::new(MAX_CHECKS)),
    };
    place.check(schema, value)
}

/// Where a check is in a value.
#[derive(Clone)]
struct Place<'s> {
    root: &'s Value,
    path: String,
    depth: usize,
    /// Checks that are left.
    left: Rc<Cell<u32>>,
}

impl<'s> Place<'s> {
    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        let path = if self.path.is_empty() {
            "the answer"
        } else {
            self.path.trim_start_matches('.')
        };
        Err(format!("{path} {what}"))
    }

    fn inside(&self, key: &str) -> Self {
        Self {
            path: format!("{}.{key}", self.path),
            ..self.clone()
        }
    }

    fn check(&self, schema: &'s Value, value: &Value) -> Result<(), String> {
        let fields = match schema {
            Value::Bool(false) => return self.wrong("must not be there"),
            Value::Object(fields) => fields,
            _ => return Ok(()),
        };
        let left = self.left.get();
        if self.depth >= MAX_DEPTH || left == 0 {
            return self.wrong("is nested too deep for its schema");
        }
        self.left.set(left - 1);
        self.refer(fields, value)?;
        self.kind(fields, value)?;
        self.combined(fields, value)?;
        match value {
            Value::Object(members) => self.object(fields, members),
            Value::Array(items) => self.array(fields, items),
            Value::String(text) => {
                let length = text.chars().count();
                self.bounds(fields, ("minLength", "maxLength", "characters"), length)
            }
            Value::Number(number) => self.number(fields, number.as_f64().unwrap_or_default()),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn refer(&self, fields: &'s Map<String, Value>, value: &Value) -> Result<(), String> {
        let Some(pointer) = fields.get("$ref").and_then(Value::as_str) else {
            return Ok(());
        };
        let Some(meant) = pointer.strip_prefix('#') else {
            return Ok(());
        };
        let Some(meant) = self.root.pointer(meant) else {
            return Ok(());
        };
        let deeper = Self {
            depth: self.depth + 1,
            ..self.clone()
        };
        deeper.check(meant, value)
    }

    fn kind(&self, fields: &'s Map<String, Value>, value: &Value) -> Result<(), String> {
        let allowed: Vec<&str> = match fields.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !allowed.is_empty() && !allowed.iter().any(|kind| is_of(kind, value)) {
            return self.wrong(&format!("must be of the type {}", allowed.join(" or ")));
        }
        if let Some(Value::Array(listed)) = fields.get("enum")
            && !listed.contains(value)
        {
            let listed = Value::Array(listed.clone());
            return self.wrong(&format!("must be one of {listed}"));
        }
        match fields.get("const") {
            Some(wanted) if wanted != value => self.wrong(&format!("must be {wanted}")),
            _ => Ok(()),
        }
    }

    fn combined(&self, fields: &'s Map<String, Value>, value: &Value) -> Result<(), String> {
        let list = |key: &str| fields.get(key).and_then(Value::as_array);
        for schema in list("allOf").into_iter().flatten() {
            self.deeper().check(schema, value)?;
        }
        if let Some(schemas) = list("anyOf") {
            let tried: Vec<_> = schemas
                .iter()
                .map(|one| self.deeper().check(one, value))
                .collect();
            if !tried.iter().any(Result::is_ok) {
                let why: Vec<String> = tried.into_iter().filter_map(Result::err).collect();
                let why: String = why.join("; ").chars().take(MAX_REASON).collect();
                return self.wrong(&format!("is none of what it may be: {why}"));
            }
        }
        if let Some(schemas) = list("oneOf") {
            let fits = |one: &&Value| self.deeper().check(one, value).is_ok();
            let number = schemas.iter().filter(fits).count();
            if number != 1 {
                return self.wrong(&format!(
                    "must fit exactly one of its forms, and fits {number}"
                ));
            }
        }
        match fields.get("not") {
            Some(schema) if self.deeper().check(schema, value).is_ok() => {
                self.wrong("is what it must not be")
            }
            _ => Ok(()),
        }
    }

    fn deeper(&self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self.clone()
        }
    }

    fn object(
        &self,
        fields: &'s Map<String, Value>,
        members: &Map<String, Value>,
    ) -> Result<(), String> {
        let required = fields.get("required").and_then(Value::as_array);
        let names = required.into_iter().flatten().filter_map(Value::as_str);
        let missing: Vec<&str> = names.filter(|name| !members.contains_key(*name)).collect();
        if !missing.is_empty() {
            return self.wrong(&format!("lacks {}", missing.join(", ")));
        }
        let known = fields.get("properties").and_then(Value::as_object);
        let has_patterns = fields.contains_key("patternProperties");
        for (key, member) in members {
            let schema = match known.and_then(|known| known.get(key)) {
                Some(schema) => Some(schema),
                None if has_patterns => None,
                None => fields.get("additionalProperties"),
            };
            if let Some(schema) = schema {
                self.inside(key).check(schema, member)?;
            }
        }
        let names = ("minProperties", "maxProperties", "members");
        self.bounds(fields, names, members.len())
    }

    fn array(&self, fields: &'s Map<String, Value>, items: &[Value]) -> Result<(), String> {
        let first = fields.get("prefixItems").and_then(Value::as_array);
        for (place, item) in items.iter().enumerate() {
            let own = first.and_then(|first| first.get(place));
            if let Some(schema) = own.or_else(|| fields.get("items")) {
                self.inside(&place.to_string()).check(schema, item)?;
            }
        }
        let is_twice =
            |(place, item): (usize, &Value)| items.iter().take(place).any(|one| one == item);
        let unique = fields.get("uniqueItems") == Some(&Value::Bool(true));
        if unique && items.iter().enumerate().any(is_twice) {
            return self.wrong("has an item twice");
        }
        self.bounds(fields, ("minItems", "maxItems", "items"), items.len())
    }

    fn bounds(
        &self,
        fields: &Map<String, Value>,
        (least, most, what): (&str, &str, &str),
        number: usize,
    ) -> Result<(), String> {
        let bound = |key: &str| fields.get(key).and_then(Value::as_u64);
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        match (bound(least), bound(most)) {
            (Some(least), _) if number < least => {
                self.wrong(&format!("must have at least {least} {what}"))
            }
            (_, Some(most)) if number > most => {
                self.wrong(&format!("must have at most {most} {what}"))
            }
            _ => Ok(()),
        }
    }

    fn number(&self, fields: &Map<String, Value>, number: f64) -> Result<(), String> {
        let bound = |key: &str| fields.get(key).and_then(Value::as_f64);
        let bounds = [
            ("minimum", "at least", Some(Ordering::Less), None),
            ("maximum", "at most", Some(Ordering::Greater), None),
            (
                "exclusiveMinimum",
                "more than",
                Some(Ordering::Less),
                Some(Ordering::Equal),
            ),
            (
                "exclusiveMaximum",
                "less than",
                Some(Ordering::Greater),
                Some(Ordering::Equal),
            ),
        ];
        for (key, words, wrong, also) in bounds {
            let Some(bound) = bound(key) else { continue };
            let found = number.partial_cmp(&bound);
            if found == wrong || (also.is_some() && found == also) {
                return self.wrong(&format!("must be {words} {bound}"));
            }
        }
        let Some(step) = bound("multipleOf").filter(|step| *step > 0.0) else {
            return Ok(());
        };
        let times = number / step;
        if (times - times.round()).abs() > 1e-9 {
            return self.wrong(&format!("must be a multiple of {step}"));
        }
        Ok(())
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        // 1.0 is a whole number, too.
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table of all keywords")]
    fn every_keyword_tells_right_from_wrong_and_where() {
        let cases = [
            (json!({"type": "integer"}), json!(1.0), json!("1"), "type"),
            (
                json!({"type": ["string", "null"]}),
                json!(null),
                json!(1),
                "string or null",
            ),
            (
                json!({"enum": ["a", "b"]}),
                json!("a"),
                json!("c"),
                "one of",
            ),
            (json!({"const": 1}), json!(1), json!(2), "must be 1"),
            (
                json!({"required": ["a"]}),
                json!({"a": 1}),
                json!({}),
                "lacks a",
            ),
            (
                json!({"properties": {"a": {"type": "string"}}}),
                json!({"a": ""}),
                json!({"a": 1}),
                "a must",
            ),
            (
                json!({"properties": {"a": true}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"b": 1}),
                "b must not",
            ),
            (
                json!({"items": {"minimum": 2}}),
                json!([2]),
                json!([2, 1]),
                "1 must be at least 2",
            ),
            (
                json!({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}),
                json!(["", null]),
                json!(["", 1]),
                "1 must",
            ),
            (
                json!({"minItems": 1, "maxItems": 2}),
                json!([1]),
                json!([]),
                "at least 1",
            ),
            (
                json!({"uniqueItems": true}),
                json!([1, 2]),
                json!([1, 1]),
                "twice",
            ),
            (
                json!({"minLength": 2, "maxLength": 2}),
                json!("åß"),
                json!("abc"),
                "at most 2",
            ),
            (
                json!({"exclusiveMaximum": 3}),
                json!(2),
                json!(3),
                "less than 3",
            ),
            (
                json!({"multipleOf": 0.1}),
                json!(0.3),
                json!(0.35),
                "multiple",
            ),
            (
                json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}),
                json!(1),
                json!(3),
                "at most",
            ),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
                json!("a"),
                json!(1),
                "none",
            ),
            (
                json!({"oneOf": [{"minimum": 1}, {"minimum": 3}]}),
                json!(2),
                json!(4),
                "fits 2",
            ),
            (
                json!({"not": {"type": "null"}}),
                json!(1),
                json!(null),
                "must not",
            ),
            (
                json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}),
                json!(1),
                json!("a"),
                "integer",
            ),
        ];
        for (schema, right, wrong, words) in cases {
            assert_eq!(check(&schema, &right), Ok(()), "{schema}");
            let why = check(&schema, &wrong).unwrap_err();
            assert!(why.contains(words), "{schema}: {why}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        let tree = json!({"properties": {"next": {"$ref": "#"}}, "required": ["n"]});
        assert_eq!(check(&tree, &json!({"n": 1, "next": {"n": 2}})), Ok(()));
        let why = check(&tree, &json!({"n": 1, "next": {}})).unwrap_err();
        assert_eq!(why, "next lacks n");
        let circle = json!({"$ref": "#"});
        assert!(check(&circle, &json!(1)).unwrap_err().contains("too deep"));
        let fan = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}]});
        assert!(check(&fan, &json!(1)).is_err());
    }
}
