//! TypeScript's types as JSON schemas.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    cursor::Cursor,
    lexer::{Kind, Token, unquoted},
    tsdoc,
};
use crate::schema::{MAX_NODES, SchemaError, any_of, object, one_of, tuple, weight};

/// How deep types may stand in each other.
const MAX_DEPTH: usize = 32;

/// Where a name for a type is declared.
#[derive(Clone, Copy)]
pub enum Declared<'a, 's> {
    /// `interface Name extends A { ... }`, from behind the name.
    Interface(Cursor<'a, 's>),
    /// `type Name = ...`, from behind the `=`.
    Alias(Cursor<'a, 's>),
    /// `enum Name { ... }`, from the brace.
    Enum(Cursor<'a, 's>),
}

/// What a type takes.
#[derive(Debug, Clone)]
pub struct Type {
    /// Its schema.
    pub schema: Value,
    /// Whether it may be `null` or left out.
    pub optional: bool,
}

impl Type {
    fn new(schema: Value) -> Self {
        Self {
            schema,
            optional: false,
        }
    }

    fn none() -> Self {
        Self {
            schema: json!({"type": "null"}),
            optional: true,
        }
    }

    fn is_none(&self) -> bool {
        self.optional && self.schema == json!({"type": "null"})
    }

    /// The schema as a part of another, where null is a value.
    fn part(self) -> Value {
        if self.optional && !self.is_none() {
            return any_of(vec![self.schema, json!({"type": "null"})]);
        }
        self.schema
    }
}

/// The members of an object.
#[derive(Default)]
pub struct Members {
    /// Their schemas.
    pub properties: Map<String, Value>,
    /// Those that must be given.
    pub required: Vec<String>,
    rest: Option<Value>,
}

impl Members {
    fn into_schema(self) -> Value {
        if self.properties.is_empty() {
            return match self.rest {
                Some(rest) if rest != json!({}) => {
                    json!({"type": "object", "additionalProperties": rest})
                }
                _ => json!({"type": "object"}),
            };
        }
        let mut schema = object(self.properties, self.required);
        if let (Some(fields), Some(rest)) = (schema.as_object_mut(), self.rest) {
            fields.insert("additionalProperties".to_owned(), rest);
        }
        schema
    }

    fn extend(&mut self, other: Self) {
        self.required
            .retain(|name| !other.properties.contains_key(name));
        self.properties.extend(other.properties);
        self.required.extend(other.required);
        self.rest = other.rest.or_else(|| self.rest.take());
    }

    /// Adds a member.
    pub fn put(&mut self, name: String, schema: Value, required: bool) {
        self.required.retain(|known| *known != name);
        if required {
            self.required.push(name.clone());
        }
        self.properties.insert(name, schema);
    }
}

/// Reads the types of one function.
pub struct Types<'a, 's> {
    declared: &'a HashMap<&'s str, Declared<'a, 's>>,
    open: Vec<&'s str>,
    nodes: usize,
    depth: usize,
}

impl<'a, 's> Types<'a, 's> {
    /// Reads types of a source with these declarations.
    pub const fn new(declared: &'a HashMap<&'s str, Declared<'a, 's>>) -> Self {
        Self {
            declared,
            open: Vec::new(),
            nodes: 0,
            depth: 0,
        }
    }

    /// Reads the type that stands here.
    pub fn read(&mut self, at: &mut Cursor<'a, 's>) -> Result<Type, SchemaError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || self.depth == MAX_DEPTH {
            return Err(at.error(format!(
                "the types of this function have more than {MAX_NODES} parts, or parts more than {MAX_DEPTH} \
                 deep in each other"
            )));
        }
        self.depth += 1;
        let read = self.union(at);
        self.depth -= 1;
        read
    }

    fn union(&mut self, at: &mut Cursor<'a, 's>) -> Result<Type, SchemaError> {
        at.eat("|");
        let mut members = vec![self.intersection(at)?];
        while at.eat("|") {
            members.push(self.intersection(at)?);
        }
        let optional = members.iter().any(|member| member.optional);
        members.retain(|member| !member.is_none());
        let mut literals = Vec::new();
        let mut others = Vec::new();
        for member in members {
            match member.schema.get("enum").and_then(Value::as_array) {
                Some(values) => literals.extend(values.iter().cloned()),
                None => others.push(member.schema),
            }
        }
        if !literals.is_empty() {
            others.insert(0, one_of(literals));
        }
        if others.is_empty() {
            return Ok(Type::none());
        }
        Ok(Type {
            schema: any_of(others),
            optional,
        })
    }

    fn intersection(&mut self, at: &mut Cursor<'a, 's>) -> Result<Type, SchemaError> {
        at.eat("&");
        let first = self.postfix(at)?;
        if !at.sees("&") {
            return Ok(first);
        }
        let mut members = members_of(first.schema);
        while at.eat("&") {
            let next = self.postfix(at)?;
            members.extend(members_of(next.schema));
        }
        Ok(Type::new(members.into_schema()))
    }

    fn postfix(&mut self, at: &mut Cursor<'a, 's>) -> Result<Type, SchemaError> {
        at.eat("readonly");
        let mut of = self.primary(at)?;
        let mut lists = 0;
        while at.sees("[") {
            at.next();
            at.expect("]").map_err(|error| {
                error_of(error, "a type that is looked up in another is not followed")
            })?;
            lists += 1;
            if lists > MAX_DEPTH {
                return Err(at.error("lists stand too deep in each other"));
            }
            of = Type::new(json!({"type": "array", "items": of.part()}));
        }
        Ok(of)
    }

    fn primary(&mut self, at: &mut Cursor<'a, 's>) -> Result<Type, SchemaError> {
        let Some(token) = at.peek() else {
            return Err(at.error("a type is missing here"));
        };
        match (token.kind, token.text) {
            (Kind::Mark, "{") => Ok(Type::new(self.members(at)?.into_schema())),
            (Kind::Mark, "[") => self.tuple(at),
            (Kind::Mark, "(") => {
                at.next();
                let inner = self.read(at)?;
                at.expect(")")?;
                if at.sees("=>") {
                    return Err(at.error("a function is nothing that a model can give"));
                }
                Ok(inner)
            }
            (Kind::Mark, "-") | (Kind::Text | Kind::Number, _) => {
                literal(at).map(|value| Type::new(one_of(vec![value])))
            }
            (Kind::Template, _) => {
                // What stands in `${...}` lies between pieces of the template.
                while let Some(token) = at.next() {
                    if token.kind == Kind::Template && token.text.ends_with('`') {
                        break;
                    }
                }
                Ok(Type::new(json!({"type": "string"})))
            }
            (Kind::Word, _) => self.named(at, token),
            (_, text) => Err(at.error(format!("'{text}' is no type"))),
        }
    }

    fn named(&mut self, at: &mut Cursor<'a, 's>, token: Token<'s>) -> Result<Type, SchemaError> {
        let here = *at;
        at.next();
        if let Some(schema) = basic(token.text) {
            return Ok(Type::new(schema));
        }
        if matches!(token.text, "null" | "undefined" | "void") {
            return Ok(Type::none());
        }
        if let Some(declared) = self.declared.get(token.text).copied() {
            return self.declared(at, here, token.text, declared);
        }
        let known = [
            "Array",
            "ReadonlyArray",
            "Set",
            "ReadonlySet",
            "Record",
            "Map",
            "Partial",
            "Required",
            "Readonly",
        ];
        if !known.contains(&token.text) || !at.eat("<") {
            return Err(here.error(format!(
                "the type '{}' is neither one that JSON has nor declared in this source",
                token.text
            )));
        }
        let inner = self.read(at)?;
        let of = match token.text {
            "Array" | "ReadonlyArray" => json!({"type": "array", "items": inner.part()}),
            "Set" | "ReadonlySet" => {
                json!({"type": "array", "items": inner.part(), "uniqueItems": true})
            }
            "Record" | "Map" => {
                at.expect(",")?;
                let rest = Some(self.read(at)?.part());
                Members {
                    rest,
                    ..Members::default()
                }
                .into_schema()
            }
            "Partial" => {
                let mut schema = inner.schema;
                if let Some(required) = schema.get_mut("required") {
                    *required = json!([]);
                }
                schema
            }
            "Required" => {
                let mut members = members_of(inner.schema);
                members.required = members.properties.keys().cloned().collect();
                members.into_schema()
            }
            _ => inner.schema,
        };
        at.expect(">")?;
        Ok(Type::new(of))
    }

    fn declared(
        &mut self,
        at: &mut Cursor<'a, 's>,
        here: Cursor<'a, 's>,
        name: &'s str,
        declared: Declared<'a, 's>,
    ) -> Result<Type, SchemaError> {
        if self.open.contains(&name) {
            return Err(here.error(format!(
                "the type '{name}' contains itself; a tool's arguments have a fixed depth"
            )));
        }
        if at.sees("<") {
            return Err(here.error(format!(
                "the type '{name}' is generic; write what it takes here"
            )));
        }
        self.open.push(name);
        let read = match declared {
            Declared::Alias(mut from) => self.read(&mut from),
            Declared::Interface(mut from) => self
                .interface(&mut from)
                .map(|members| Type::new(members.into_schema())),
            Declared::Enum(mut from) => self.enumeration(at, &mut from),
        };
        self.open.pop();
        let read = read?;
        self.nodes += weight(&read.schema);
        Ok(read)
    }

    fn interface(&mut self, at: &mut Cursor<'a, 's>) -> Result<Members, SchemaError> {
        let mut members = Members::default();
        if at.sees("<") {
            return Err(at.error("generic interfaces are not followed"));
        }
        if at.eat("extends") {
            loop {
                let base = self.postfix(at)?;
                members.extend(members_of(base.schema));
                if !at.eat(",") {
                    break;
                }
            }
        }
        members.extend(self.members(at)?);
        Ok(members)
    }

    /// `Color` or `Color.Red`.
    fn enumeration(
        &self,
        at: &mut Cursor<'a, 's>,
        from: &mut Cursor<'a, 's>,
    ) -> Result<Type, SchemaError> {
        let only = if at.eat(".") { Some(at.name()?) } else { None };
        from.expect("{")?;
        let mut values = Vec::new();
        let mut next = 0_i64;
        while !from.eat("}") {
            let (name, _) = key(from)?;
            let value = if from.eat("=") {
                literal(from)?
            } else {
                next.into()
            };
            next = value.as_i64().map_or(next, |value| value.saturating_add(1));
            if only.is_none_or(|only| only == name) {
                values.push(value);
            }
            if !from.eat(",") {
                from.expect("}")?;
                break;
            }
        }
        if values.is_empty() {
            return Err(from.error("this enum has no such members"));
        }
        Ok(Type::new(one_of(values)))
    }

    fn tuple(&mut self, at: &mut Cursor<'a, 's>) -> Result<Type, SchemaError> {
        at.expect("[")?;
        let mut parts = Vec::new();
        while !at.eat("]") {
            // `[name: string]`
            let mut ahead = *at;
            if ahead.name().is_ok() && ahead.eat(":") {
                *at = ahead;
            }
            parts.push(self.read(at)?.part());
            if !at.eat(",") {
                at.expect("]")?;
                break;
            }
        }
        Ok(Type::new(tuple(parts)))
    }

    /// Reads `{ name: type; ... }`.
    pub fn members(&mut self, at: &mut Cursor<'a, 's>) -> Result<Members, SchemaError> {
        at.expect("{")?;
        let mut members = Members::default();
        loop {
            let doc = at.doc().map(tsdoc::parse);
            if at.eat("}") {
                return Ok(members);
            }
            self.member(at, &mut members, doc.map(|doc| doc.description))?;
            if !at.eat(";") {
                at.eat(",");
            }
        }
    }

    fn member(
        &mut self,
        at: &mut Cursor<'a, 's>,
        members: &mut Members,
        doc: Option<String>,
    ) -> Result<(), SchemaError> {
        let mut ahead = *at;
        if ahead.eat("readonly") && !ahead.sees(":") && !ahead.sees("?") {
            *at = ahead;
        }
        if at.eat("[") {
            at.name()?;
            at.expect(":")?;
            self.read(at)?;
            at.expect("]")?;
            at.expect(":")?;
            members.rest = Some(self.read(at)?.part());
            return Ok(());
        }
        let (name, from) = key(at)?;
        let optional = at.eat("?");
        if at.sees("(") || at.sees("<") {
            return Err(from.error(format!("'{name}' is a method; models give data only")));
        }
        at.expect(":")?;
        let of = self.read(at)?;
        let required = !optional && !of.optional;
        members.put(name, described(of.schema, doc, None), required);
        Ok(())
    }
}

/// The name of a member, and where it stands.
fn key<'a, 's>(at: &mut Cursor<'a, 's>) -> Result<(String, Cursor<'a, 's>), SchemaError> {
    let here = *at;
    match at.peek() {
        Some(token) if token.kind == Kind::Text => {
            at.next();
            Ok((unquoted(token.text), here))
        }
        _ => at.name().map(|name| (name.to_owned(), here)),
    }
}

/// A literal that stands here.
pub fn literal(at: &mut Cursor<'_, '_>) -> Result<Value, SchemaError> {
    let negative = at.eat("-");
    let here = *at;
    let value = match at.next() {
        Some(token) if token.kind == Kind::Text && !negative => Some(unquoted(token.text).into()),
        Some(token) if token.kind == Kind::Number => number(token.text, negative),
        Some(token) if !negative => match token.text {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            "null" | "undefined" => Some(Value::Null),
            _ => None,
        },
        _ => None,
    };
    value.ok_or_else(|| here.error("this is no text, number, true or false"))
}

fn number(text: &str, negative: bool) -> Option<Value> {
    let text = text.replace('_', "");
    let text = if negative { format!("-{text}") } else { text };
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let float = text.parse::<f64>().ok()?;
    serde_json::Number::from_f64(float).map(Value::Number)
}

fn members_of(schema: Value) -> Members {
    let Value::Object(mut fields) = schema else {
        return Members::default();
    };
    let properties = match fields.remove("properties") {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    };
    let required = match fields.remove("required") {
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    };
    Members {
        properties,
        required,
        rest: fields.remove("additionalProperties"),
    }
}

fn error_of(mut error: SchemaError, reason: &str) -> SchemaError {
    reason.clone_into(&mut error.reason);
    error
}

/// A schema with what is said about it, and its default.
pub fn described(schema: Value, description: Option<String>, default: Option<Value>) -> Value {
    let Value::Object(mut rest) = schema else {
        return schema;
    };
    let mut fields = Map::new();
    if let Some(kind) = rest.shift_remove("type") {
        fields.insert("type".to_owned(), kind);
    }
    if let Some(text) = description.filter(|text| !text.is_empty()) {
        fields.insert("description".to_owned(), text.into());
    }
    fields.extend(rest);
    if let Some(default) = default.filter(|value| !value.is_null()) {
        fields.insert("default".to_owned(), default);
    }
    fields.into()
}

fn basic(name: &str) -> Option<Value> {
    Some(match name {
        "string" => json!({"type": "string"}),
        "number" => json!({"type": "number"}),
        "bigint" => json!({"type": "integer"}),
        "boolean" => json!({"type": "boolean"}),
        "any" | "unknown" => json!({}),
        "object" => json!({"type": "object"}),
        "true" => json!({"type": "boolean", "enum": [true]}),
        "false" => json!({"type": "boolean", "enum": [false]}),
        _ => return None,
    })
}
