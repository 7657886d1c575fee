//! The JSON schema of a tool, read from its source: what models are told about it, and which arguments they
//! may give. Nothing of the source is run, and no interpreter is needed.

mod arguments;
mod docstring;
mod python;
mod typescript;

pub(crate) use self::{python::with_suite as with_python, typescript::lexer as typescript_tokens};
use serde_json::{Map, Value, json};

/// Bytes of source that are read.
pub const MAX_SOURCE: usize = 200_000;

/// Characters that a tool's name may have (V1 contract, section 12).
pub const MAX_NAME: usize = 48;

/// JSON values that one schema may have, about; models in models could otherwise make it as large as they like.
const MAX_NODES: usize = 20_000;

/// What a source's author said beside it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// Which function is the tool; without it, the last one.
    pub name: Option<&'a str>,
    /// What the tool does, in place of its docstring.
    pub description: Option<&'a str>,
    /// The JSON schema of its arguments, in place of its type hints.
    pub arguments: Option<&'a Value>,
}

/// What models are told about a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// The name of the function.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Value,
}

impl Derived {
    /// Name, description and parameters, as the V1 API shows a tool's schema.
    #[must_use]
    pub fn json_schema(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        })
    }
}

/// Why no schema could be read from a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SchemaError {
    /// The line of the source where the reason stands, counted from one.
    pub line: Option<usize>,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl SchemaError {
    fn at(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            reason: reason.into(),
        }
    }

    fn whole(reason: impl Into<String>) -> Self {
        Self {
            line: None,
            reason: reason.into(),
        }
    }
}

/// Reads the schema of a Python tool.
///
/// # Errors
/// The source is no Python, has no function, or says too little about its arguments.
pub fn python(source: &str, given: Given<'_>) -> Result<Derived, SchemaError> {
    check_size(source)?;
    let derived = python::derive(source, given)?;
    check(derived)
}

/// Reads the schema of a TypeScript tool.
///
/// # Errors
/// The source has no function whose signature can be read, or says too little about its arguments.
pub fn typescript(source: &str, given: Given<'_>) -> Result<Derived, SchemaError> {
    check_size(source)?;
    let derived = typescript::derive(source, given)?;
    check(derived)
}

/// The function of a source that is a tool: the one of that name, or else the last one, exported ones first.
///
/// # Errors
/// The source is no Python, or has no function.
pub fn function_name(
    language: mnemic_core::tools::Language,
    source: &str,
    name: &str,
) -> Result<String, SchemaError> {
    use mnemic_core::tools::Language;
    check_size(source)?;
    let find: fn(&str, Option<&str>) -> Result<String, SchemaError> = match language {
        Language::Python => python::function_name,
        Language::TypeScript => typescript::function_name,
    };
    find(source, Some(name)).or_else(|_| find(source, None))
}

fn check_size(source: &str) -> Result<(), SchemaError> {
    if source.len() <= MAX_SOURCE {
        return Ok(());
    }
    Err(SchemaError::whole(format!(
        "the source has {} bytes; at most {MAX_SOURCE} are read: put data into files or arguments",
        source.len()
    )))
}

fn check(derived: Derived) -> Result<Derived, SchemaError> {
    check_name(&derived.name)?;
    Ok(derived)
}

/// Refuses a name that no tool can have: model providers take ASCII letters, digits, `_` and `-`.
///
/// # Errors
/// It is empty, too long, or has another character.
pub fn check_name(name: &str) -> Result<(), SchemaError> {
    let length = name.chars().count();
    if length == 0 || length > MAX_NAME {
        let name: String = name.chars().take(MAX_NAME).collect();
        return Err(SchemaError::whole(format!(
            "the name '{name}' has {length} characters; a tool's name has 1 to {MAX_NAME}"
        )));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if let Some(wrong) = name.chars().find(|c| !allowed(*c)) {
        return Err(SchemaError::whole(format!(
            "the name '{name}' has {wrong:?} in it; models take names of ASCII letters, digits, '_' and '-'"
        )));
    }
    Ok(())
}

/// An object's schema from its properties.
fn object(properties: Map<String, Value>, required: Vec<String>) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// A schema that takes any of several, without those that say the same.
fn any_of(mut schemas: Vec<Value>) -> Value {
    let mut kept: Vec<Value> = Vec::with_capacity(schemas.len());
    for schema in schemas.drain(..) {
        if !kept.contains(&schema) {
            kept.push(schema);
        }
    }
    if kept.len() == 1 {
        return kept.remove(0);
    }
    json!({ "anyOf": kept })
}

/// A list of fixed length. Providers ask for `items` in every list, also where each place has its own schema.
fn tuple(parts: Vec<Value>) -> Value {
    let length = parts.len();
    let alike = parts.windows(2).all(|pair| pair.first() == pair.last());
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "array".into());
    if let (true, Some(one)) = (alike, parts.first()) {
        schema.insert("items".to_owned(), one.clone());
    } else {
        schema.insert("prefixItems".to_owned(), parts.into());
        schema.insert("items".to_owned(), json!({}));
    }
    schema.insert("minItems".to_owned(), length.into());
    schema.insert("maxItems".to_owned(), length.into());
    schema.into()
}

/// How much of the bound on a schema a value takes: one for each value in it, more for long texts.
fn weight(value: &Value) -> usize {
    1 + match value {
        Value::Object(fields) => fields.values().map(weight).sum(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::String(text) => text.len() / 64,
        _ => 0,
    }
}

/// The schema of a list of literal values.
fn one_of(values: Vec<Value>) -> Value {
    let name = |value: &Value| match value {
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        _ => "",
    };
    let kind = values.first().map_or("", name);
    if kind.is_empty() || values.iter().any(|value| name(value) != kind) {
        return json!({ "enum": values });
    }
    json!({"type": kind, "enum": values})
}

#[cfg(test)]
mod tests;
