use super::*;

fn typescript(source: &str) -> Result<Derived, SchemaError> {
    super::super::typescript(source, Given::default())
}

/// The schema of a parameter `x` of a type, and whether it must be given.
fn typed(above: &str, of: &str) -> (Value, bool) {
    let source = format!(
        "{above}\n/** Does.\n * @param x - it */\nexport function tool(x: {of}): string {{ return ''; }}\n"
    );
    let derived = typescript(&source).unwrap_or_else(|error| panic!("{error}\n{source}"));
    let mut schema = derived.parameters["properties"]["x"].clone();
    let said = schema.as_object_mut().unwrap().shift_remove("description");
    assert_eq!(said, Some(json!("it")), "{of}");
    (schema, derived.parameters["required"] == json!(["x"]))
}

#[test]
fn a_tool_has_the_name_comment_and_types_of_its_exported_function() {
    let source = "import fs from 'fs';\nconst helper = (a: number) => a / 2; // }\n\n/**\n * Forecasts the weather.\n *\n * For a city.\n * @param city - where, by name\n * @param {number} days how many days\n * @param [unit=celsius] - which degrees\n * @returns the text\n * @example forecast('Ulm')\n */\nexport async function forecast<T>(city: string, days: number = 3, unit?: 'celsius' | 'kelvin'): Promise<{ text: string }> {\n  return { text: `${city} ${/[}]/.test(city) ? '{' : \"}\"}` };\n}\n\nfunction later() {}\n";
    let derived = typescript(source).unwrap();
    assert_eq!(
        derived.json_schema(),
        json!({
            "name": "forecast",
            "description": "Forecasts the weather.\n\nFor a city.\n\nExamples:\nforecast('Ulm')",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "where, by name"},
                    "days": {"type": "number", "description": "how many days", "default": 3},
                    "unit": {"type": "string", "description": "which degrees", "enum": ["celsius", "kelvin"]},
                },
                "required": ["city"],
            },
        })
    );
}

/// Types, and the schemas that they have.
const TYPES: &[(&str, &str)] = &[
    ("string", r#"{"type":"string"}"#),
    ("number", r#"{"type":"number"}"#),
    ("boolean", r#"{"type":"boolean"}"#),
    ("any", r#"{}"#),
    ("object", r#"{"type":"object"}"#),
    (
        "string[][]",
        r#"{"type":"array","items":{"type":"array","items":{"type":"string"}}}"#,
    ),
    (
        "(string | number)[]",
        r#"{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"number"}]}}"#,
    ),
    (
        "readonly string[]",
        r#"{"type":"array","items":{"type":"string"}}"#,
    ),
    (
        "Array<number | null>",
        r#"{"type":"array","items":{"anyOf":[{"type":"number"},{"type":"null"}]}}"#,
    ),
    (
        "[number, number]",
        r#"{"type":"array","items":{"type":"number"},"minItems":2,"maxItems":2}"#,
    ),
    (
        "[x: number, y: string]",
        r#"{"type":"array","prefixItems":[{"type":"number"},{"type":"string"}],"items":{},"minItems":2,"maxItems":2}"#,
    ),
    (
        "Record<string, number>",
        r#"{"type":"object","additionalProperties":{"type":"number"}}"#,
    ),
    (
        "{ [key: string]: number }",
        r#"{"type":"object","additionalProperties":{"type":"number"}}"#,
    ),
    ("Record<string, any>", r#"{"type":"object"}"#),
    ("1 | -2", r#"{"type":"integer","enum":[1,-2]}"#),
    ("| 'a' | \"b\"", r#"{"type":"string","enum":["a","b"]}"#),
    ("`${string}!`", r#"{"type":"string"}"#),
    ("Mode", r#"{"type":"string","enum":["r","w"]}"#),
    ("Color", r#"{"type":"string","enum":["red","blue"]}"#),
    ("Color.Blue", r#"{"type":"string","enum":["blue"]}"#),
    ("Level", r#"{"type":"integer","enum":[0,5,6]}"#),
    (
        "Item",
        r#"{"type":"object","properties":{"id":{"type":"number","description":"its number"},"name":{"type":"string"},"note":{"type":"string"},"a-b":{"type":"string","enum":["r","w"]}},"required":["id","name","a-b"]}"#,
    ),
    (
        "Item[]",
        r#"{"type":"array","items":{"type":"object","properties":{"id":{"type":"number","description":"its number"},"name":{"type":"string"},"note":{"type":"string"},"a-b":{"type":"string","enum":["r","w"]}},"required":["id","name","a-b"]}}"#,
    ),
    (
        "Both",
        r#"{"type":"object","properties":{"id":{"type":"number","description":"its number"},"name":{"type":"string"},"note":{"type":"string"},"a-b":{"type":"string","enum":["r","w"]},"extra":{"type":"boolean"}},"required":["id","name","a-b","extra"]}"#,
    ),
    (
        "Partial<Item>",
        r#"{"type":"object","properties":{"id":{"type":"number","description":"its number"},"name":{"type":"string"},"note":{"type":"string"},"a-b":{"type":"string","enum":["r","w"]}},"required":[]}"#,
    ),
];

const NAMES: &str = "export enum Color { Red = 'red', Blue = \"blue\" }\nenum Level { Low, High = 5, Top }\ntype Mode = 'r' | 'w';\ninterface Base { /** its number */ id: number }\ninterface Item extends Base { readonly name: string; note?: string | null, 'a-b': Mode }\ntype Both = Item & { extra: boolean };\n";

#[test]
fn every_form_of_type_has_its_schema() {
    for (of, wanted) in TYPES {
        let wanted: Value = serde_json::from_str(wanted).unwrap();
        assert_eq!(typed(NAMES, of), (wanted, true), "{of}");
    }
    for of in ["string | null", "undefined | string"] {
        assert_eq!(typed("", of), (json!({"type": "string"}), false), "{of}");
    }
}

#[test]
fn a_parameter_that_is_taken_apart_has_the_tools_arguments() {
    let source = "/** Adds.\n * @param args.b - second */\nexport const add = async ({ a, b = 2 }: {\n  /** first */\n  a: number;\n  b?: number;\n}): Promise<number> => a + b;\n";
    let derived = typescript(source).unwrap();
    assert_eq!(derived.name, "add");
    assert_eq!(
        derived.parameters,
        json!({
            "type": "object",
            "properties": {
                "a": {"type": "number", "description": "first"},
                "b": {"type": "number", "description": "second"},
            },
            "required": ["a"],
        })
    );
}

#[test]
fn errors_name_the_line_and_the_reason() {
    let table = [
        ("const x = 1;", 1, "no top-level function"),
        ("\nexport function f() {}", 2, "has no comment"),
        (
            "/** Does. */\nexport function f(a) {}",
            2,
            "the parameter 'a' has no type",
        ),
        (
            "/** Does. */\nexport function f(a: string) {}",
            2,
            "what the parameter 'a' means",
        ),
        (
            "/** Does. */\nexport function f(\n  a: Foo\n) {}",
            3,
            "the type 'Foo' is neither",
        ),
        (
            "/** Does. */\nexport function f(a: () => void) {}",
            2,
            "is no type",
        ),
        (
            "/** Does. */\nexport function f(...a: string[]) {}",
            2,
            "take a list",
        ),
        (
            "type A = { a: A };\n/** Does. */\nexport function f(a: A) {}",
            1,
            "contains itself",
        ),
    ];
    for (source, line, reason) in table {
        let error = typescript(source).expect_err(source);
        assert_eq!(error.line, Some(line), "{source}: {error}");
        assert!(error.reason.contains(reason), "{source}: {error}");
    }
}

#[test]
fn sources_without_end_are_refused_soon() {
    let n = 15_000;
    let table = [
        format!("/** a */ export function f(x: {}", "[".repeat(n)),
        format!("/** a */ export function f(x: {}", "{a:".repeat(n)),
        format!("/** a */ export function f(x: {}", "Array<".repeat(n)),
        format!("/** a */ export function f(x: string{}", "[]".repeat(n)),
        "const a = (".repeat(n),
        "const a = <".repeat(n),
        "`${".repeat(n),
        "/***/".repeat(n),
        "export const a = async ".repeat(n / 2),
    ];
    for source in table {
        assert!(typescript(&source).is_err());
    }
}
