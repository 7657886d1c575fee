//! Schemas of tools as people write them.

mod arguments;
mod bounds;
mod python;
mod typescript;

use serde_json::{Value, json};

use super::{Derived, Given, SchemaError};

fn derive(source: &str) -> Result<Derived, SchemaError> {
    super::python(source, Given::default())
}

/// The parameters of a tool.
fn parameters(source: &str) -> Value {
    derive(source)
        .unwrap_or_else(|error| panic!("{error}\n{source}"))
        .parameters
}

/// The schema of a parameter `x` with a hint, and whether it must be given.
fn hinted(above: &str, hint: &str) -> (Value, bool) {
    let source = format!(
        "{above}\n\ndef tool(x: {hint}):\n    \"\"\"Does.\n\n    Args:\n        x: it\n    \"\"\"\n"
    );
    let parameters = parameters(&source);
    let mut schema = parameters["properties"]["x"].clone();
    let fields = schema.as_object_mut().unwrap();
    assert_eq!(
        fields.shift_remove("description"),
        Some(json!("it")),
        "{hint}"
    );
    (schema, parameters["required"] == json!(["x"]))
}

/// The line and the words of an error.
fn refused(source: &str) -> (Option<usize>, String) {
    let error = derive(source).expect_err(source);
    (error.line, error.reason)
}
