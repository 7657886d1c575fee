use super::*;

#[test]
fn a_tool_has_the_name_description_and_parameters_of_its_function() {
    let source = "import json\nfrom typing import List\n\nLIMIT = 3\n\ndef helper(x):\n    return x\n\nasync def add(a: int, b: float = 2.5, tags: List[str] = None) -> int:\n    \"\"\"\n    Add two numbers.\n\n    Both may be negative.\n\n    Args:\n        a (int): first\n        b (float): second\n        tags: words\n\n    Returns:\n        int: the sum\n    \"\"\"\n    return helper(a) + b\n";
    let derived = derive(source).unwrap();
    assert_eq!(
        derived.json_schema(),
        json!({
            "name": "add",
            "description": "Add two numbers.\n\nBoth may be negative.",
            "parameters": {
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "description": "first"},
                    "b": {"type": "number", "description": "second", "default": 2.5},
                    "tags": {"type": "array", "description": "words", "items": {"type": "string"}},
                },
                "required": ["a"],
            },
        })
    );
}

/// Hints, and the schemas that they have.
const HINTS: &[(&str, &str)] = &[
    ("str", r#"{"type":"string"}"#),
    ("'int'", r#"{"type":"integer"}"#),
    (
        "\"List['str']\"",
        r#"{"type":"array","items":{"type":"string"}}"#,
    ),
    ("float", r#"{"type":"number"}"#),
    ("bool", r#"{"type":"boolean"}"#),
    ("Any", r#"{}"#),
    ("list", r#"{"type":"array","items":{"type":"string"}}"#),
    (
        "t.List[str]",
        r#"{"type":"array","items":{"type":"string"}}"#,
    ),
    ("L[str]", r#"{"type":"array","items":{"type":"string"}}"#),
    (
        "Sequence[str]",
        r#"{"type":"array","items":{"type":"string"}}"#,
    ),
    ("Names", r#"{"type":"array","items":{"type":"string"}}"#),
    (
        "list[list[int]]",
        r#"{"type":"array","items":{"type":"array","items":{"type":"integer"}}}"#,
    ),
    (
        "set[int]",
        r#"{"type":"array","items":{"type":"integer"},"uniqueItems":true}"#,
    ),
    (
        "list[Optional[int]]",
        r#"{"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"null"}]}}"#,
    ),
    (
        "tuple[int, ...]",
        r#"{"type":"array","items":{"type":"integer"}}"#,
    ),
    (
        "Tuple[int, int]",
        r#"{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":2}"#,
    ),
    (
        "tuple[int, str]",
        r#"{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":{},"minItems":2,"maxItems":2}"#,
    ),
    ("dict", r#"{"type":"object"}"#),
    ("dict[str, Any]", r#"{"type":"object"}"#),
    (
        "Dict[str, int]",
        r#"{"type":"object","additionalProperties":{"type":"integer"}}"#,
    ),
    ("Literal['a', 'b']", r#"{"type":"string","enum":["a","b"]}"#),
    ("Literal[1, -2]", r#"{"type":"integer","enum":[1,-2]}"#),
    ("Literal['a', 1]", r#"{"enum":["a",1]}"#),
    ("Literal[Color.RED]", r#"{"type":"string","enum":["red"]}"#),
    ("Mode", r#"{"type":"string","enum":["r","w"]}"#),
    ("Color", r#"{"type":"string","enum":["red","blue"]}"#),
    ("Level", r#"{"type":"integer","enum":[1,2]}"#),
    ("Auto", r#"{"type":"string","enum":["a","b"]}"#),
    ("Count", r#"{"type":"integer","enum":[1,2]}"#),
    (
        "int | str",
        r#"{"anyOf":[{"type":"integer"},{"type":"string"}]}"#,
    ),
    (
        "Union[int, str, int]",
        r#"{"anyOf":[{"type":"integer"},{"type":"string"}]}"#,
    ),
    ("Union[int, int]", r#"{"type":"integer"}"#),
    ("UserId", r#"{"type":"integer"}"#),
    ("datetime.date", r#"{"type":"string","format":"date"}"#),
    ("conint(ge=1)", r#"{"type":"integer","minimum":1}"#),
];

const NAMES: &str = "import typing as t\nfrom typing import *\nfrom typing import List as L\nimport datetime\nfrom enum import Enum, IntEnum, StrEnum, auto\nclass Color(str, Enum):\n    RED = 'red'\n    BLUE = 'blue'\nclass Level(IntEnum):\n    LOW = 1\n    HIGH = 2\nclass Auto(StrEnum):\n    A = auto()\n    B = auto()\nclass Count(Enum):\n    A = auto()\n    B = auto()\nMode = Literal['r', 'w']\ntype Names = list[str]\nUserId = NewType('UserId', int)\n";

#[test]
fn every_form_of_hint_has_its_schema() {
    for (hint, wanted) in HINTS {
        let wanted: Value = serde_json::from_str(wanted).unwrap();
        assert_eq!(hinted(NAMES, hint), (wanted, true), "{hint}");
    }
}

#[test]
fn what_may_be_none_need_not_be_given() {
    let whole = json!({"type": "integer"});
    for hint in [
        "Optional[int]",
        "int | None",
        "None | int",
        "Union[int, None]",
        "'int | None'",
    ] {
        assert_eq!(hinted("", hint), (whole.clone(), false), "{hint}");
    }
    let literal = json!({"type": "string", "enum": ["a"]});
    assert_eq!(hinted("", "Literal['a', None]"), (literal, false));
    let union = json!({"anyOf": [{"type": "integer"}, {"type": "string"}]});
    assert_eq!(hinted("", "int | str | None"), (union, false));
}

#[test]
fn annotated_and_field_describe_and_constrain() {
    let source = "def tool(a: Annotated[int, Field(ge=1, le=9, description='from Field')], b: Annotated[str, 'just a text'], c: Annotated[list[str], Field(min_length=1, max_length=3), Doc('a doc')] = ['x'], d: float = Field(default=0.5, gt=0, description='a default'), e: str = Field(..., pattern='^a', min_length=2, description='must be given')):\n    \"\"\"Does.\"\"\"\n";
    assert_eq!(
        parameters(source),
        json!({
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "from Field", "minimum": 1, "maximum": 9},
                "b": {"type": "string", "description": "just a text"},
                "c": {"type": "array", "description": "a doc", "items": {"type": "string"}, "minItems": 1,
                      "maxItems": 3, "default": ["x"]},
                "d": {"type": "number", "description": "a default", "exclusiveMinimum": 0, "default": 0.5},
                "e": {"type": "string", "description": "must be given", "pattern": "^a", "minLength": 2},
            },
            "required": ["a", "b", "e"],
        })
    );
}

const ORDER: &str = "from pydantic import BaseModel, Field, ConfigDict\n\nclass Base(BaseModel):\n    id: int = Field(description='its number')\n\nclass Item(Base):\n    model_config = ConfigDict(frozen=True)\n    kind: ClassVar[str] = 'item'\n    _cache: dict = {}\n    name: str = Field(..., description='what it is', alias='itemName')\n    price: float = Field(description='in euros', ge=0)\n    note: Optional[str] = Field(None, description='for the cook')\n\nclass Order(BaseModel):\n    \"\"\"An order.\n\n    Attributes:\n        items: what is wanted\n    \"\"\"\n    items: List[Item]\n    main: 'Item'\n    \"\"\"what matters most\"\"\"\n    by_name: dict[str, Item] = Field(default_factory=dict, description='all of them')\n";

#[test]
fn pydantic_models_are_put_in_where_they_stand() {
    let (schema, required) = hinted(ORDER, "Order");
    let item = json!({
        "type": "object",
        "properties": {
            "id": {"type": "integer", "description": "its number"},
            "itemName": {"type": "string", "description": "what it is"},
            "price": {"type": "number", "description": "in euros", "minimum": 0},
            "note": {"type": "string", "description": "for the cook"},
        },
        "required": ["id", "itemName", "price"],
    });
    let mut main = item.clone();
    main["description"] = json!("what matters most");
    assert!(required);
    assert_eq!(schema["properties"]["items"]["items"], item);
    assert_eq!(
        schema["properties"]["items"]["description"],
        "what is wanted"
    );
    assert_eq!(schema["properties"]["main"], main);
    assert_eq!(
        schema["properties"]["by_name"]["additionalProperties"],
        item
    );
    assert_eq!(schema["required"], json!(["items", "main"]));
}

#[test]
fn typed_dicts_and_dataclasses_are_objects() {
    let above = "class Point(TypedDict):\n    x: Required[int]\n    y: NotRequired[int]\n\nclass Part(Point, total=False):\n    z: int\n    w: Required[str]\n\n@dataclass(frozen=True)\nclass Box:\n    \"\"\"A box.\n\n    Args:\n        width: in meters\n    \"\"\"\n    width: float\n    height: float = 1.0\n    labels: list[str] = field(default_factory=list)\n\nPair = TypedDict('Pair', {'a': int, 'b-c': NotRequired[str]})\n";
    let whole = json!({"type": "integer"});
    let (part, _) = hinted(above, "Part");
    assert_eq!(
        part,
        json!({"type": "object",
            "properties": {"x": whole, "y": whole, "z": whole, "w": {"type": "string"}},
            "required": ["x", "w"]})
    );
    let (boxed, _) = hinted(above, "Box");
    assert_eq!(
        boxed["properties"]["width"],
        json!({"type": "number", "description": "in meters"})
    );
    assert_eq!(
        boxed["properties"]["height"],
        json!({"type": "number", "default": 1.0})
    );
    assert_eq!(boxed["required"], json!(["width"]));
    let (pair, _) = hinted(above, "Pair");
    assert_eq!(pair["properties"]["b-c"], json!({"type": "string"}));
    assert_eq!(pair["required"], json!(["a"]));
}

#[test]
fn what_the_server_fills_in_is_hidden_from_models() {
    let source = "def tool(self, a: int, agent_state: 'AgentState', agent_id: str, client: Letta, *args, **kwargs):\n    \"\"\"Does.\n\n    Args:\n        a: it\n    \"\"\"\n";
    let properties = parameters(source)["properties"].clone();
    assert_eq!(
        properties,
        json!({"a": {"type": "integer", "description": "it"}})
    );
    // A client may also be a customer.
    let source = "def bill(client: str):\n    \"\"\"Bills.\n\n    Args:\n        client: who pays\n    \"\"\"\n";
    assert_eq!(parameters(source)["required"], json!(["client"]));
}

#[test]
fn the_last_function_is_the_tool_unless_another_is_named() {
    let source = "def one(a: int):\n    \"\"\"One.\n\n    Args:\n        a: it\n    \"\"\"\n\ndef two():\n    \"\"\"Two.\"\"\"\n    def inner(): pass\n\nclass Late:\n    def method(self): pass\n";
    assert_eq!(derive(source).unwrap().name, "two");
    let given = Given {
        name: Some("one"),
        description: Some("said beside it"),
        ..Given::default()
    };
    let named = super::super::python(source, given).unwrap();
    assert_eq!(
        (named.name.as_str(), named.description.as_str()),
        ("one", "said beside it")
    );
    assert_eq!(named.parameters["required"], json!(["a"]));
}

/// Sources, the line that is named, and words of the reason.
const ERRORS: &[(&str, usize, &str)] = &[
    ("def broken(:\n  pass", 1, "this is no Python"),
    ("x = 1\ny = (\n", 3, "this is no Python"),
    ("x = 1\n", 1, "no top-level function"),
    ("class A:\n    def run(self): pass\n", 2, "not a class"),
    (
        "\ndef nodoc(a):\n    return a\n",
        2,
        "the function nodoc has no docstring",
    ),
    (
        "def f(a):\n    'Does.'\n",
        1,
        "the parameter 'a' has no type hint",
    ),
    (
        "def f(a: int,\n      b: str):\n    '''Does.\n\n    Args:\n        a: it\n    '''\n",
        2,
        "what the parameter 'b' of f means",
    ),
    (
        "def f(\n  a: Foo\n):\n    'Does.'\n",
        2,
        "the parameter 'a': the type 'Foo' is neither",
    ),
    (
        "def f(\n  a: 'Foo['\n):\n    'Does.'\n",
        2,
        "the type 'Foo['",
    ),
    (
        "def f(a: int, /):\n    'Does.'\n",
        1,
        "can be given by position only",
    ),
    ("def f(a: bytes):\n    'Does.'\n", 1, "JSON has no bytes"),
    (
        "def f(a: dict[int, str]):\n    'Does.'\n",
        1,
        "the keys of JSON objects are texts",
    ),
    (
        "def f(a: lambda: 1):\n    'Does.'\n",
        1,
        "this is no type hint",
    ),
    ("def f(a: Literal[x]):\n    'Does.'\n", 1, "Literal takes"),
    (
        "class A: pass\ndef f(a: A):\n    'Does.'\n",
        1,
        "the class A is no type that models can fill",
    ),
    (
        "class A(BaseModel):\n  x: int\n  y: 'A'\ndef f(a: A):\n    'Does.'\n",
        2,
        "what the field 'x' of A means",
    ),
    (
        "class A(TypedDict):\n  x: int\n  y: list['A']\ndef f(a: A):\n    'Does.'\n",
        3,
        "the type 'A' contains itself",
    ),
];

#[test]
fn errors_name_the_line_and_the_reason() {
    for (source, line, reason) in ERRORS {
        let (at, said) = refused(source);
        assert_eq!(at, Some(*line), "{source}: {said}");
        assert!(said.contains(reason), "{source}: {said}");
    }
    let long = format!("def {}():\n    'Does.'\n", "n".repeat(49));
    assert!(refused(&long).1.contains("1 to 48"));
    assert!(
        refused("def gr\u{fc}n():\n    'Does.'\n")
            .1
            .contains("ASCII")
    );
}

#[test]
fn lines_of_windows_and_odd_characters_are_read() {
    let source = "\u{feff}# caf\u{e9}\r\ndef greet(name: str = \"\u{1f600}\"):\r\n    \"\"\"Gr\u{fc}\u{df}t.\r\n\r\n    Args:\r\n        name: wer \u{2014} \u{4f60}\u{597d}\r\n    \"\"\"\r\n";
    let derived = derive(source).unwrap();
    assert_eq!(derived.description, "Gr\u{fc}\u{df}t.");
    assert_eq!(
        derived.parameters["properties"]["name"],
        json!({"type": "string", "description": "wer \u{2014} \u{4f60}\u{597d}", "default": "\u{1f600}"})
    );
}
