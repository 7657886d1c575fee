use super::*;

const SOURCE: &str = "def order(data: Order, count: int):\n    \"\"\"Orders.\n\n    Args:\n        count: how many\n    \"\"\"\n";

fn given(schema: &Value) -> Result<Derived, SchemaError> {
    super::super::python(
        SOURCE,
        Given {
            arguments: Some(schema),
            ..Given::default()
        },
    )
}

#[test]
fn a_schema_of_arguments_takes_the_place_of_hints() {
    // As Pydantic makes it of a model.
    let schema = json!({
        "$defs": {
            "Item": {"title": "Item", "type": "object", "required": ["sku"],
                     "properties": {"sku": {"title": "Sku", "type": "string"},
                                    "title": {"title": "Title", "type": "string"}}},
            "Color": {"title": "Color", "enum": ["red"], "type": "string"},
        },
        "title": "Arguments", "type": "object",
        "properties": {
            "data": {"$ref": "#/$defs/Item", "description": "what"},
            "count": {"title": "Count", "type": "integer"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null, "title": "Note"},
            "color": {"allOf": [{"$ref": "#/$defs/Color"}], "default": "red"},
        },
        "required": ["data", "count"],
    });
    assert_eq!(
        given(&schema).unwrap().parameters,
        json!({
            "type": "object",
            "properties": {
                "data": {"type": "object", "required": ["sku"], "description": "what",
                         "properties": {"sku": {"type": "string"}, "title": {"type": "string"}}},
                "count": {"type": "integer", "description": "how many"},
                "note": {"type": "string"},
                "color": {"enum": ["red"], "type": "string", "default": "red"},
            },
            "required": ["data", "count"],
        })
    );
}

#[test]
fn a_function_without_docstring_takes_the_description_of_its_arguments() {
    let schema = json!({"description": "Orders things.", "properties": {}});
    let given = Given {
        arguments: Some(&schema),
        ..Given::default()
    };
    let derived = super::super::python("def order(x): pass\n", given).unwrap();
    assert_eq!(derived.description, "Orders things.");
}

#[test]
fn schemas_that_cannot_be_used_say_why() {
    let node = json!({"properties": {"next": {"$ref": "#/$defs/Node"}}});
    let mut wide = json!({"properties": {"a": {"$ref": "#/$defs/0"}}, "$defs": {}});
    for n in 0..30 {
        let next = json!({"$ref": format!("#/$defs/{}", n + 1)});
        wide["$defs"][n.to_string()] = json!({"properties": {"a": next, "b": next}});
    }
    wide["$defs"]["30"] = json!({"type": "string"});
    let table = [
        (json!({"type": "object"}), "with \"properties\""),
        (json!([]), "with \"properties\""),
        (
            json!({"properties": {"a": {"$ref": "#/nowhere"}}}),
            "nothing at '#/nowhere'",
        ),
        (
            json!({"properties": {"a": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}),
            "contains itself",
        ),
        (wide, "parts"),
    ];
    for (schema, reason) in table {
        let error = given(&schema).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}
