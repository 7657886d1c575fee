//! A schema of arguments that a client gives in place of type hints, such as the one that Pydantic makes of a
//! model: brought into the form that models of all providers read.

use serde_json::{Map, Value, json};

use super::{MAX_NODES, SchemaError, docstring::Docstring, object, weight};

/// How deep schemas may stand in each other.
const MAX_DEPTH: usize = 64;

/// What a schema of arguments says about the tool.
pub fn description(schema: &Value) -> Option<String> {
    schema.get("description")?.as_str().map(str::to_owned)
}

/// The parameters of a tool: references are put in where they stand, titles are left out, and what may be null
/// may be left out.
pub fn parameters(schema: &Value, docs: &Docstring) -> Result<Value, SchemaError> {
    let fields = schema
        .as_object()
        .filter(|fields| fields.get("properties").is_some_and(Value::is_object));
    let Some(fields) = fields else {
        return Err(SchemaError::whole(
            "args_json_schema must be the JSON schema of an object, with \"properties\"",
        ));
    };
    let mut flattener = Flattener {
        root: schema,
        open: Vec::new(),
        nodes: 0,
    };
    let mut properties = Map::new();
    let mut required: Vec<String> = Vec::new();
    let needed: Vec<&str> = fields
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let given = fields.get("properties").and_then(Value::as_object);
    for (name, schema) in given.into_iter().flatten() {
        let (mut schema, nullable) = flattener.property(schema)?;
        if let Some(fields) = schema.as_object_mut()
            && !fields.contains_key("description")
            && let Some(text) = docs.entries.get(name)
        {
            fields.insert("description".to_owned(), text.clone().into());
        }
        if needed.contains(&name.as_str()) && !nullable {
            required.push(name.clone());
        }
        properties.insert(name.clone(), schema);
    }
    Ok(object(properties, required))
}

struct Flattener<'a> {
    root: &'a Value,
    /// The references that are being put in.
    open: Vec<&'a str>,
    nodes: usize,
}

impl<'a> Flattener<'a> {
    /// A property's schema without null, and whether null was one of its values.
    fn property(&mut self, schema: &'a Value) -> Result<(Value, bool), SchemaError> {
        let mut flat = self.flatten(schema, 0)?;
        let Some(fields) = flat.as_object_mut() else {
            return Ok((flat, false));
        };
        let null = json!({"type": "null"});
        let Some(Value::Array(any)) = fields.get_mut("anyOf") else {
            return Ok((flat, false));
        };
        let before = any.len();
        any.retain(|one| *one != null);
        let nullable = any.len() < before;
        if any.len() == 1 {
            let only = any.remove(0);
            fields.shift_remove("anyOf");
            merge(fields, only);
        }
        if fields.get("default").is_some_and(Value::is_null) {
            fields.shift_remove("default");
        }
        Ok((flat, nullable))
    }

    fn flatten(&mut self, schema: &'a Value, depth: usize) -> Result<Value, SchemaError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(SchemaError::whole(format!(
                "args_json_schema has more than {MAX_NODES} parts, or parts more than {MAX_DEPTH} deep in each \
                 other"
            )));
        }
        match schema {
            Value::Object(fields) => self.fields(fields, depth),
            Value::Array(values) => {
                let flat: Result<Vec<Value>, SchemaError> = values
                    .iter()
                    .map(|value| self.flatten(value, depth + 1))
                    .collect();
                Ok(Value::Array(flat?))
            }
            other => {
                self.nodes += weight(other);
                Ok(other.clone())
            }
        }
    }

    fn fields(
        &mut self,
        fields: &'a Map<String, Value>,
        depth: usize,
    ) -> Result<Value, SchemaError> {
        let mut flat = Map::new();
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("$defs" | "definitions" | "$schema", _) => {}
                // A property may be called "title", a title is a text.
                ("title", Value::String(_)) => {}
                ("$ref", Value::String(reference)) => {
                    let target = self.resolve(reference, depth)?;
                    merge(&mut flat, target);
                }
                ("allOf", Value::Array(one)) if one.len() == 1 => {
                    for only in one {
                        let only = self.flatten(only, depth + 1)?;
                        merge(&mut flat, only);
                    }
                }
                ("default" | "enum" | "const" | "examples" | "required", value) => {
                    self.nodes += weight(value);
                    flat.insert(key.clone(), value.clone());
                }
                (_, value) => {
                    let value = self.flatten(value, depth + 1)?;
                    flat.insert(key.clone(), value);
                }
            }
        }
        Ok(flat.into())
    }

    fn resolve(&mut self, reference: &'a str, depth: usize) -> Result<Value, SchemaError> {
        if self.open.contains(&reference) {
            return Err(SchemaError::whole(format!(
                "args_json_schema: '{reference}' contains itself; a tool's arguments have a fixed depth"
            )));
        }
        let path = reference.strip_prefix('#').unwrap_or("/?");
        let Some(target) = self.root.pointer(path) else {
            return Err(SchemaError::whole(format!(
                "args_json_schema: there is nothing at '{reference}'"
            )));
        };
        self.open.push(reference);
        let flat = self.flatten(target, depth + 1);
        self.open.pop();
        flat
    }
}

/// Adds what a schema says, where nothing nearer says it.
fn merge(fields: &mut Map<String, Value>, other: Value) {
    if let Value::Object(other) = other {
        for (key, value) in other {
            fields.entry(key).or_insert(value);
        }
    }
}
