//! Type hints as JSON schemas.

use ruff_python_ast::{Expr, ExprBinOp, ExprCall, ExprSubscript, Operator};
use ruff_python_parser::parse_expression;
use ruff_text_size::Ranged;
use serde_json::{Map, Value, json};

use super::{classes, fields::Presence, module::Module, nesting, values};
use crate::schema::{MAX_NODES, SchemaError, any_of, one_of, tuple, weight};

/// How deep types may stand in each other, through aliases, texts and classes.
const MAX_DEPTH: usize = 32;

/// What a type hint says.
#[derive(Debug)]
pub struct Hint {
    /// What values it takes, without a description.
    pub schema: Map<String, Value>,
    /// Whether `None` is one of them.
    pub optional: bool,
    /// What `Annotated` or `Field` say about it.
    pub description: Option<String>,
    /// The name by which a field is given.
    pub alias: Option<String>,
    /// Whether it must be given.
    pub presence: Presence,
}

impl Hint {
    /// A hint that takes what a schema says, which is an object.
    pub fn new(schema: Value) -> Self {
        Self {
            schema: match schema {
                Value::Object(fields) => fields,
                _ => Map::new(),
            },
            optional: false,
            description: None,
            alias: None,
            presence: Presence::Required,
        }
    }

    fn null() -> Self {
        Self {
            optional: true,
            ..Self::new(json!({"type": "null"}))
        }
    }

    fn is_null(&self) -> bool {
        self.schema.get("type").is_some_and(|kind| kind == "null")
    }

    /// The schema as a part of another, where nothing can be left out: `None` is a value there.
    pub fn part(mut self) -> Value {
        self.presence = Presence::Required;
        let (optional, null) = (self.optional, self.is_null());
        let schema = self.described(None);
        if optional && !null {
            return any_of(vec![schema, json!({"type": "null"})]);
        }
        schema
    }
}

/// Reads the hints of one function.
pub struct Hints<'a> {
    /// The source's names.
    pub module: &'a Module<'a>,
    /// The classes and aliases that are being read.
    open: Vec<String>,
    nodes: usize,
    depth: usize,
    /// The line of the text whose hint is being read, as places in it are not those of the source.
    line: Option<usize>,
}

impl<'a> Hints<'a> {
    /// Reads hints of a source.
    pub fn new(module: &'a Module<'a>) -> Self {
        Self {
            module,
            open: Vec::new(),
            nodes: 0,
            depth: 0,
            line: None,
        }
    }

    /// An error that stands at an expression.
    pub fn error(&self, at: &impl Ranged, reason: impl Into<String>) -> SchemaError {
        let line = self.line.unwrap_or_else(|| self.module.line(at.start()));
        SchemaError::at(line, reason)
    }

    /// Reads a hint.
    pub fn read(&mut self, hint: &Expr) -> Result<Hint, SchemaError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.error(
                hint,
                format!("the types of this function have more than {MAX_NODES} parts"),
            ));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.error(
                hint,
                format!("types stand more than {MAX_DEPTH} deep in each other"),
            ));
        }
        self.depth += 1;
        let read = self.read_one(hint);
        self.depth -= 1;
        read
    }

    fn read_one(&mut self, hint: &Expr) -> Result<Hint, SchemaError> {
        match hint {
            Expr::NoneLiteral(_) => Ok(Hint::null()),
            Expr::StringLiteral(literal) => self.quoted(hint, literal.value.to_str()),
            Expr::Name(_) | Expr::Attribute(_) => self.named(hint),
            Expr::Subscript(subscript) => self.generic(subscript),
            Expr::BinOp(operation) if operation.op == Operator::BitOr => {
                let mut members = Vec::new();
                flatten(operation, &mut members);
                self.union(&members)
            }
            Expr::Call(call) => self.called(call),
            _ => Err(self.error(hint, "this is no type hint")),
        }
    }

    /// A hint in quotes: `"Order"`.
    fn quoted(&mut self, at: &Expr, source: &str) -> Result<Hint, SchemaError> {
        nesting::check(source)?;
        let parsed = parse_expression(source.trim())
            .map_err(|error| self.error(at, format!("the type '{source}': {}", error.error)))?;
        let outer = self.line;
        self.line = Some(outer.unwrap_or_else(|| self.module.line(at.start())));
        let read = self.read(parsed.expr());
        self.line = outer;
        read
    }

    fn named(&mut self, hint: &Expr) -> Result<Hint, SchemaError> {
        if let Expr::Name(name) = hint {
            let name = name.id.as_str();
            if let Some(class) = self.module.class(name) {
                return self.within(hint, name, |hints| classes::read(hints, class));
            }
            if let Some(alias) = self.module.alias(name) {
                return self.within(hint, name, |hints| hints.read(alias));
            }
        }
        let name = self.module.type_name(hint).unwrap_or_default();
        if name == "bytes" || name == "bytearray" {
            return Err(self.error(hint, "JSON has no bytes; take a str, such as base64"));
        }
        if matches!(name, "None" | "NoneType") {
            return Ok(Hint::null());
        }
        basic(name).map(Hint::new).ok_or_else(|| {
            self.error(
                hint,
                format!(
                    "the type '{name}' is neither one that JSON has nor a class of this source; define it \
                     above the function, or give args_json_schema"
                ),
            )
        })
    }

    /// Reads what a name stands for, unless it stands for itself.
    fn within(
        &mut self,
        at: &Expr,
        name: &str,
        read: impl FnOnce(&mut Self) -> Result<Hint, SchemaError>,
    ) -> Result<Hint, SchemaError> {
        if self.open.iter().any(|open| open == name) {
            return Err(self.error(
                at,
                format!("the type '{name}' contains itself; a tool's arguments have a fixed depth"),
            ));
        }
        self.open.push(name.to_owned());
        // What is read now stands at places of the source again.
        let line = self.line.take();
        let out = read(self);
        self.line = line;
        self.open.pop();
        let out = out?;
        // What a name stands for is copied to each place that names it.
        self.nodes += out.schema.values().map(weight).sum::<usize>();
        Ok(out)
    }

    fn union(&mut self, members: &[&Expr]) -> Result<Hint, SchemaError> {
        let mut optional = false;
        let mut taken = Vec::new();
        for member in members {
            let hint = self.read(member)?;
            optional |= hint.optional;
            if !hint.is_null() {
                taken.push(hint);
            }
        }
        let mut hint = if taken.len() == 1 {
            taken.remove(0)
        } else if taken.is_empty() {
            Hint::null()
        } else {
            let parts = taken.into_iter().map(|hint| hint.described(None));
            Hint::new(any_of(parts.collect()))
        };
        hint.optional = optional;
        Ok(hint)
    }

    fn generic(&mut self, subscript: &ExprSubscript) -> Result<Hint, SchemaError> {
        let name = self.module.type_name(&subscript.value).unwrap_or_default();
        let parts: Vec<&Expr> = match &*subscript.slice {
            Expr::Tuple(tuple) => tuple.elts.iter().collect(),
            one => vec![one],
        };
        let first = parts.first().copied();
        match (name, first) {
            ("Optional", Some(inner)) => {
                let mut hint = self.read(inner)?;
                hint.optional = true;
                Ok(hint)
            }
            ("Union", Some(_)) => self.union(&parts),
            ("Literal", Some(_)) => self.literal(&parts),
            ("Annotated", Some(inner)) => {
                let mut hint = self.read(inner)?;
                for annotation in parts.iter().skip(1) {
                    hint.take_annotation(self.module, annotation);
                }
                Ok(hint)
            }
            ("Required" | "Final" | "ReadOnly" | "Type", Some(inner)) => self.read(inner),
            ("NotRequired", Some(inner)) => {
                let mut hint = self.read(inner)?;
                hint.presence = Presence::Default(None);
                Ok(hint)
            }
            ("tuple" | "Tuple", Some(_)) => self.tuple(&parts),
            (name, Some(inner)) if SEQUENCES.contains(&name) => Ok(Hint::new(
                json!({"type": "array", "items": self.read(inner)?.part()}),
            )),
            (name, Some(inner)) if SETS.contains(&name) => Ok(Hint::new(json!({
                "type": "array", "items": self.read(inner)?.part(), "uniqueItems": true,
            }))),
            (name, Some(_)) if MAPPINGS.contains(&name) => self.mapping(subscript, &parts),
            _ => Err(self.error(
                subscript,
                format!("the type '{name}[...]' is none that JSON has"),
            )),
        }
    }

    fn literal(&mut self, parts: &[&Expr]) -> Result<Hint, SchemaError> {
        let mut optional = false;
        let mut taken = Vec::new();
        for part in parts {
            match values::of(self.module, part) {
                Some(Value::Null) => optional = true,
                Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                    taken.push(value);
                }
                _ => {
                    return Err(self.error(
                        part,
                        "Literal takes texts, numbers, True, False, None and members of enums",
                    ));
                }
            }
        }
        let mut hint = if taken.is_empty() {
            Hint::null()
        } else {
            Hint::new(one_of(taken))
        };
        hint.optional |= optional;
        Ok(hint)
    }

    fn tuple(&mut self, parts: &[&Expr]) -> Result<Hint, SchemaError> {
        if let [inner, Expr::EllipsisLiteral(_)] = parts {
            return Ok(Hint::new(
                json!({"type": "array", "items": self.read(inner)?.part()}),
            ));
        }
        let mut schemas = Vec::with_capacity(parts.len());
        for part in parts {
            schemas.push(self.read(part)?.part());
        }
        Ok(Hint::new(tuple(schemas)))
    }

    fn mapping(&mut self, at: &ExprSubscript, parts: &[&Expr]) -> Result<Hint, SchemaError> {
        let [key, value] = parts else {
            return Err(self.error(at, "a dict has a type for its keys and one for its values"));
        };
        let key = self.read(key)?;
        let texts =
            key.schema.is_empty() || key.schema.get("type").is_some_and(|kind| kind == "string");
        if !texts {
            return Err(self.error(
                at,
                "the keys of JSON objects are texts: write dict[str, ...]",
            ));
        }
        let value = self.read(value)?.part();
        if value.as_object().is_some_and(Map::is_empty) {
            return Ok(Hint::new(json!({"type": "object"})));
        }
        Ok(Hint::new(
            json!({"type": "object", "additionalProperties": value}),
        ))
    }

    /// A type that is made by a call: `conint(ge=1)`, `NewType("Id", int)`.
    fn called(&mut self, call: &ExprCall) -> Result<Hint, SchemaError> {
        let name = self.module.type_name(&call.func).unwrap_or_default();
        let arguments = &call.arguments.args;
        let of = match (name, arguments.first(), arguments.get(1)) {
            ("NewType", _, Some(inner)) => return self.read(inner),
            ("TypedDict", _, Some(Expr::Dict(fields))) => {
                return classes::typed_dict(self, call, fields);
            }
            ("TypeVar", _, _) => return Ok(Hint::new(json!({}))),
            ("conlist" | "conset", Some(inner), _) => {
                json!({"type": "array", "items": self.read(inner)?.part()})
            }
            ("constr", _, _) => json!({"type": "string"}),
            ("conint", _, _) => json!({"type": "integer"}),
            ("confloat" | "condecimal", _, _) => json!({"type": "number"}),
            _ => return Err(self.error(call, format!("'{name}(...)' is no type hint"))),
        };
        let mut hint = Hint::new(of);
        hint.take_keywords(self.module, call);
        Ok(hint)
    }
}

/// The members of `A | B | C`, which nest to the left.
fn flatten<'e>(operation: &'e ExprBinOp, members: &mut Vec<&'e Expr>) {
    let mut right = vec![&*operation.right];
    let mut left = &*operation.left;
    while let Expr::BinOp(inner) = left {
        if inner.op != Operator::BitOr {
            break;
        }
        right.push(&inner.right);
        left = &inner.left;
    }
    members.push(left);
    members.extend(right.into_iter().rev());
}

const SEQUENCES: [&str; 9] = [
    "list",
    "List",
    "Sequence",
    "MutableSequence",
    "Iterable",
    "Collection",
    "Iterator",
    "deque",
    "Deque",
];

const SETS: [&str; 7] = [
    "set",
    "Set",
    "frozenset",
    "FrozenSet",
    "AbstractSet",
    "MutableSet",
    "KeysView",
];

const MAPPINGS: [&str; 8] = [
    "dict",
    "Dict",
    "Mapping",
    "MutableMapping",
    "OrderedDict",
    "defaultdict",
    "DefaultDict",
    "Counter",
];

/// The schema of a type that is known by its name. An untyped list is one of texts (V1 contract, section 12).
fn basic(name: &str) -> Option<Value> {
    if SEQUENCES.contains(&name) || matches!(name, "tuple" | "Tuple") {
        return Some(json!({"type": "array", "items": {"type": "string"}}));
    }
    if SETS.contains(&name) {
        return Some(json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}));
    }
    if MAPPINGS.contains(&name) {
        return Some(json!({"type": "object"}));
    }
    Some(match name {
        "str" | "StrictStr" | "LiteralString" | "AnyStr" | "Path" | "PurePath" | "SecretStr" => {
            json!({"type": "string"})
        }
        "int" | "StrictInt" => json!({"type": "integer"}),
        "float" | "StrictFloat" | "Decimal" | "Number" | "FiniteFloat" => json!({"type": "number"}),
        "bool" | "StrictBool" => json!({"type": "boolean"}),
        "Any" | "object" => json!({}),
        "datetime" | "AwareDatetime" | "NaiveDatetime" => {
            json!({"type": "string", "format": "date-time"})
        }
        "date" => json!({"type": "string", "format": "date"}),
        "time" => json!({"type": "string", "format": "time"}),
        "UUID" | "UUID4" => json!({"type": "string", "format": "uuid"}),
        "EmailStr" => json!({"type": "string", "format": "email"}),
        "HttpUrl" | "AnyUrl" | "AnyHttpUrl" => json!({"type": "string", "format": "uri"}),
        "PositiveInt" => json!({"type": "integer", "exclusiveMinimum": 0}),
        "NonNegativeInt" => json!({"type": "integer", "minimum": 0}),
        "NegativeInt" => json!({"type": "integer", "exclusiveMaximum": 0}),
        "PositiveFloat" => json!({"type": "number", "exclusiveMinimum": 0}),
        "NonNegativeFloat" => json!({"type": "number", "minimum": 0}),
        _ => return None,
    })
}
