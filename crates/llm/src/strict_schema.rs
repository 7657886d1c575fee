//! Schemas as providers want them that hold models to them: strict ones, in which an object names all of its
//! properties, requires each, and allows no others. What may be left out becomes something that may be null.
//!
//! The rules are those of OpenAI's structured outputs.

use serde_json::{Map, Value, json};

/// How deep schemas may lie in each other.
const MAX_DEPTH: usize = 10;
/// Properties and values of enums, all together.
const MAX_PROPERTIES: usize = 5_000;
const MAX_VALUES: usize = 1_000;

/// Keywords that mean the same in a strict schema, and hold no schemas.
const KEPT: [&str; 13] = [
    "type",
    "description",
    "enum",
    "const",
    "$ref",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
];

/// Forms of texts that are kept; others are dropped.
const FORMATS: [&str; 9] = [
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
];

/// Keywords that change what a schema means and have no strict form.
const IMPOSSIBLE: [&str; 12] = [
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "propertyNames",
    "prefixItems",
    "contains",
    "unevaluatedProperties",
    "definitions",
];

/// The strict form of a tool's parameters; none where they have no such form: objects with any keys,
/// values of any type, tuples.
pub(crate) fn strict(parameters: &Value) -> Option<Value> {
    let root = parameters.as_object()?;
    if root.contains_key("anyOf") || root.get("type").is_some_and(|kind| kind != "object") {
        return None;
    }
    let mut maker = Maker::default();
    let mut made = match root.get("properties").and_then(Value::as_object) {
        Some(properties) if !properties.is_empty() => maker.schema(parameters, 0)?,
        // A tool without arguments.
        _ if root
            .get("additionalProperties")
            .is_none_or(|more| more == false) =>
        {
            json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false})
        }
        _ => return None,
    };
    if let (Some(definitions), Some(made)) = (root.get("$defs"), made.as_object_mut()) {
        let definitions = definitions.as_object()?.iter();
        let strict: Option<Map<String, Value>> = definitions
            .map(|(name, schema)| Some((name.clone(), maker.schema(schema, 1)?)))
            .collect();
        made.insert("$defs".to_owned(), strict?.into());
    }
    (maker.properties <= MAX_PROPERTIES && maker.values <= MAX_VALUES).then_some(made)
}

/// Makes a schema strict and counts what is in it.
#[derive(Default)]
struct Maker {
    properties: usize,
    values: usize,
}

impl Maker {
    fn schema(&mut self, schema: &Value, depth: usize) -> Option<Value> {
        let given = schema.as_object()?;
        if depth > MAX_DEPTH
            || IMPOSSIBLE
                .iter()
                .any(|keyword| given.contains_key(*keyword))
        {
            return None;
        }
        let mut made: Map<String, Value> = Map::new();
        for (keyword, value) in given {
            if KEPT.contains(&keyword.as_str()) {
                made.insert(keyword.clone(), value.clone());
            }
        }
        self.values += given
            .get("enum")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        if let Some(format) = given
            .get("format")
            .filter(|format| FORMATS.iter().any(|known| *format == known))
        {
            made.insert("format".to_owned(), format.clone());
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            let Some(alternatives) = given.get(keyword) else {
                continue;
            };
            let alternatives = alternatives.as_array()?;
            // All of one is that one; all of several has no strict form, nor have two lists of alternatives.
            if made.contains_key("anyOf") || keyword == "allOf" && alternatives.len() != 1 {
                return None;
            }
            let strict: Option<Vec<Value>> = alternatives
                .iter()
                .map(|alternative| self.schema(alternative, depth + 1))
                .collect();
            made.insert("anyOf".to_owned(), strict?.into());
        }
        if says(given, "object") {
            self.object(given, &mut made, depth)?;
        }
        if says(given, "array") {
            let items = self.schema(given.get("items")?, depth + 1)?;
            made.insert("items".to_owned(), items);
        }
        let is_something = ["type", "enum", "const", "anyOf", "$ref"];
        is_something
            .iter()
            .any(|keyword| made.contains_key(*keyword))
            .then(|| made.into())
    }

    fn object(
        &mut self,
        given: &Map<String, Value>,
        made: &mut Map<String, Value>,
        depth: usize,
    ) -> Option<()> {
        let properties = given.get("properties")?.as_object()?;
        let is_open = given
            .get("additionalProperties")
            .is_some_and(|more| more != false);
        if is_open || properties.is_empty() {
            return None;
        }
        self.properties += properties.len();
        let required = given.get("required").and_then(Value::as_array);
        let mut strict = Map::new();
        for (name, schema) in properties {
            let schema = self.schema(schema, depth + 1)?;
            let is_required = required.is_some_and(|names| names.iter().any(|known| known == name));
            let schema = if is_required {
                schema
            } else {
                nullable(schema)
            };
            strict.insert(name.clone(), schema);
        }
        let names: Vec<Value> = strict.keys().map(|name| json!(name)).collect();
        made.insert("properties".to_owned(), strict.into());
        made.insert("required".to_owned(), names.into());
        made.insert("additionalProperties".to_owned(), false.into());
        Some(())
    }
}

/// Whether a schema says that a value may be of a type.
fn says(schema: &Map<String, Value>, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name == kind,
        Some(Value::Array(names)) => names.iter().any(|name| name == kind),
        _ => kind == "object" && schema.contains_key("properties"),
    }
}

/// Whether a schema takes null.
fn takes_null(schema: &Map<String, Value>) -> bool {
    let alternatives = ["anyOf", "oneOf"]
        .iter()
        .filter_map(|keyword| schema.get(*keyword)?.as_array());
    let mut alternatives = alternatives.flatten().filter_map(Value::as_object);
    says(schema, "null")
        || schema
            .get("enum")
            .and_then(Value::as_array)
            .is_some_and(|values| values.contains(&Value::Null))
        || alternatives.any(takes_null)
}

/// The schema of a value that may be null as well.
fn nullable(schema: Value) -> Value {
    let Value::Object(mut fields) = schema else {
        return schema;
    };
    let nothing = json!({"type": "null"});
    if takes_null(&fields) {
        return fields.into();
    }
    if let Some(Value::Array(alternatives)) = fields.get_mut("anyOf") {
        alternatives.push(nothing);
        return fields.into();
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.push(Value::Null);
    } else if fields.contains_key("const") || fields.contains_key("$ref") {
        // The description stays outside, where it stands for both.
        let description = fields.remove("description");
        let mut both = json!({"anyOf": [fields, nothing]});
        if let (Some(text), Some(both)) = (description, both.as_object_mut()) {
            both.insert("description".to_owned(), text);
        }
        return both;
    }
    match fields.get_mut("type") {
        Some(Value::Array(names)) => names.push(json!("null")),
        Some(name) => *name = json!([name.take(), "null"]),
        None => {}
    }
    fields.into()
}

/// Arguments without the nulls that stand for what was left out: those of properties that need not be given
/// and are nothing that may be null.
pub(crate) fn without_nulls(schema: &Value, mut value: Value) -> Value {
    strip(schema, &mut value, 0);
    value
}

fn strip(schema: &Value, value: &mut Value, depth: usize) {
    let Some(schema) = schema.as_object().filter(|_| depth <= MAX_DEPTH) else {
        return;
    };
    let alternatives = ["anyOf", "oneOf", "allOf"]
        .iter()
        .filter_map(|keyword| schema.get(*keyword)?.as_array());
    let not_null = |one: &&Value| one.as_object().is_none_or(|fields| !says(fields, "null"));
    let mut alternatives = alternatives.flatten().filter(not_null);
    if let (Some(only), None) = (alternatives.next(), alternatives.next()) {
        strip(only, value, depth + 1);
    }
    match value {
        Value::Object(fields) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                return;
            };
            let required = schema.get("required").and_then(Value::as_array);
            fields.retain(|name, value| {
                let known = properties.get(name).and_then(Value::as_object);
                let is_required =
                    required.is_some_and(|names| names.iter().any(|known| known == name));
                !value.is_null() || is_required || known.is_none_or(takes_null)
            });
            for (name, value) in fields {
                if let Some(schema) = properties.get(name) {
                    strip(schema, value, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else {
                return;
            };
            for item in items {
                strip(schema, item, depth + 1);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(properties: Value, required: Value) -> Value {
        json!({"type": "object", "properties": properties, "required": required})
    }

    /// The strict form of a property that is required, or not.
    fn property(schema: &Value, required: Value) -> Option<Value> {
        let made = strict(&properties(json!({"a": schema}), required))?;
        assert_eq!(made["required"], json!(["a"]));
        assert_eq!(made["additionalProperties"], json!(false));
        Some(made["properties"]["a"].clone())
    }

    #[test]
    fn every_property_is_required_and_the_optional_ones_may_be_null() {
        for (given, as_required, as_optional) in [
            (
                json!({"type": "string"}),
                json!({"type": "string"}),
                json!({"type": ["string", "null"]}),
            ),
            (
                json!({"type": ["string", "integer"]}),
                json!({"type": ["string", "integer"]}),
                json!({"type": ["string", "integer", "null"]}),
            ),
            (
                json!({"type": "string", "enum": ["x"]}),
                json!({"type": "string", "enum": ["x"]}),
                json!({"type": ["string", "null"], "enum": ["x", null]}),
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            ),
            (
                json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
                json!({"anyOf": [{"type": "string"}, {"type": "number"}]}),
                json!({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]}),
            ),
            (
                json!({"const": 3, "description": "d"}),
                json!({"const": 3, "description": "d"}),
                json!({"anyOf": [{"const": 3}, {"type": "null"}], "description": "d"}),
            ),
            (
                json!({"type": "array", "items": {"type": "string", "minLength": 2, "pattern": "x"}, "uniqueItems": true}),
                json!({"type": "array", "items": {"type": "string", "pattern": "x"}}),
                json!({"type": ["array", "null"], "items": {"type": "string", "pattern": "x"}}),
            ),
            (
                json!({"type": "string", "format": "uri", "default": "x", "title": "A"}),
                json!({"type": "string"}),
                json!({"type": ["string", "null"]}),
            ),
            (
                json!({"type": "object", "properties": {"b": {"type": "integer"}}}),
                json!({"type": "object", "properties": {"b": {"type": ["integer", "null"]}}, "required": ["b"],
                    "additionalProperties": false}),
                json!({"type": ["object", "null"], "properties": {"b": {"type": ["integer", "null"]}}, "required": ["b"],
                    "additionalProperties": false}),
            ),
        ] {
            assert_eq!(property(&given, json!(["a"])), Some(as_required), "{given}");
            assert_eq!(property(&given, json!([])), Some(as_optional), "{given}");
        }
    }

    #[test]
    fn definitions_are_made_strict_too() {
        let given = json!({
            "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"],
            "$defs": {"A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/A"}}}},
        });
        let made = strict(&given).unwrap();
        assert_eq!(
            made["$defs"]["A"]["properties"]["b"],
            json!({"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]})
        );
    }

    #[test]
    fn what_has_no_strict_form_is_left_as_it_is() {
        for given in [
            json!({"type": "object"}),
            json!({"type": "object", "properties": {}}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": true}),
            json!({}),
            json!({"description": "anything"}),
            json!({"type": "array"}),
            json!({"type": "array", "prefixItems": [{"type": "string"}]}),
            json!({"allOf": [{"type": "string"}, {"type": "string"}]}),
            json!({"not": {"type": "string"}}),
            json!(true),
        ] {
            assert_eq!(property(&given, json!(["a"])), None, "{given}");
        }
        let mut deep = json!({"type": "string"});
        for _ in 0..200 {
            deep = json!({"type": "array", "items": deep});
        }
        assert_eq!(property(&deep, json!([])), None);
        for root in [
            json!(null),
            json!({"anyOf": []}),
            json!({"type": "string"}),
            json!({"additionalProperties": true}),
        ] {
            assert_eq!(strict(&root), None, "{root}");
        }
    }

    #[test]
    fn a_tool_without_arguments_is_strict() {
        let empty = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
        assert_eq!(
            strict(&json!({"type": "object", "properties": {}})),
            Some(empty.clone())
        );
        assert_eq!(strict(&json!({})), Some(empty));
    }

    #[test]
    fn a_null_for_what_may_be_left_out_is_as_if_it_was() {
        let schema = properties(
            json!({
                "needed": {"type": "string"},
                "optional": {"type": "string"},
                "nullable": {"type": ["string", "null"]},
                "inner": {"type": "object", "properties": {"x": {"type": "string"}}},
                "list": {"type": "array", "items": {"anyOf": [
                    {"type": "object", "properties": {"y": {"type": "string"}}}, {"type": "null"}]}},
                "free": {"type": "object"},
            }),
            json!(["needed"]),
        );
        let given = json!({
            "needed": null, "optional": null, "nullable": null, "inner": {"x": null}, "list": [{"y": null}, null],
            "free": {"z": null}, "unknown": null,
        });
        let expected = json!({
            "needed": null, "nullable": null, "inner": {}, "list": [{}, null], "free": {"z": null}, "unknown": null,
        });
        assert_eq!(without_nulls(&schema, given), expected);
    }
}
