//! Classes as types: Pydantic models, dataclasses, typed dicts, enums.

use std::collections::HashSet;

use ruff_python_ast::{Expr, ExprCall, ExprDict, Stmt, StmtAnnAssign, StmtClassDef};
use serde_json::{Map, Value};

use super::{
    fields::Presence,
    hints::{Hint, Hints},
    module::{self, Module},
    text, values,
};
use crate::schema::{SchemaError, docstring, object, one_of};

/// What a class is to a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A Pydantic model, whose fields say what they mean (V1 contract, section 12).
    Model,
    Dataclass,
    TypedDict,
    Enum,
}

/// How many classes a class may stand below.
const MAX_BASES: usize = 32;

/// Reads a class as a type.
pub fn read(hints: &mut Hints<'_>, class: &StmtClassDef) -> Result<Hint, SchemaError> {
    let name = class.name.as_str();
    match kind(hints.module, class, &mut HashSet::new()) {
        Some(Kind::Enum) => {
            let values: Vec<Value> = members(hints.module, class)
                .into_iter()
                .map(|(_, value)| value)
                .collect();
            if values.is_empty() {
                return Err(hints.error(
                    class,
                    format!("the enum {name} has no members that are texts or numbers"),
                ));
            }
            Ok(Hint::new(one_of(values)))
        }
        Some(kind) => {
            let mut fields = Fields::new(kind);
            fields.take(hints, class, 0)?;
            Ok(Hint::new(fields.into_schema()))
        }
        None => Err(hints.error(
            &class.name,
            format!(
                "the class {name} is no type that models can fill: make it a Pydantic model, a dataclass, a \
                 TypedDict or an Enum"
            ),
        )),
    }
}

/// What a class is, by its decorators and the classes that it stands below, which are looked at once each.
fn kind<'a>(
    module: &Module<'a>,
    class: &'a StmtClassDef,
    seen: &mut HashSet<&'a str>,
) -> Option<Kind> {
    if seen.len() > MAX_BASES || !seen.insert(class.name.as_str()) {
        return None;
    }
    let decorated = class.decorator_list.iter().any(|decorator| {
        let expression = match &decorator.expression {
            Expr::Call(call) => &*call.func,
            other => other,
        };
        module.type_name(expression) == Some("dataclass")
    });
    if decorated {
        return Some(Kind::Dataclass);
    }
    bases(class).find_map(|base| match module.type_name(base)? {
        "BaseModel" => Some(Kind::Model),
        "TypedDict" => Some(Kind::TypedDict),
        "Enum" | "StrEnum" | "IntEnum" => Some(Kind::Enum),
        name => kind(module, module.class(name)?, seen),
    })
}

fn bases(class: &StmtClassDef) -> impl Iterator<Item = &Expr> {
    class
        .arguments
        .iter()
        .flat_map(|arguments| arguments.args.iter())
}

/// The members of an enum and their values, in order.
fn members<'c>(module: &Module<'_>, class: &'c StmtClassDef) -> Vec<(&'c str, Value)> {
    let texts = bases(class).any(|base| matches!(module.type_name(base), Some("StrEnum" | "str")));
    let mut found: Vec<(&str, Value)> = Vec::new();
    let mut last = 0;
    for statement in &class.body {
        let Stmt::Assign(assign) = statement else {
            continue;
        };
        let [Expr::Name(name)] = assign.targets.as_slice() else {
            continue;
        };
        let name = name.id.as_str();
        if name.starts_with('_') {
            continue;
        }
        let automatic = matches!(&*assign.value, Expr::Call(call) if module.type_name(&call.func) == Some("auto"));
        let value = match values::literal(&assign.value) {
            Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => value,
            None if automatic && texts => name.to_lowercase().into(),
            None if automatic => (last + 1).into(),
            _ => continue,
        };
        last = value.as_i64().unwrap_or(last);
        found.push((name, value));
    }
    found
}

/// The value of a member of an enum.
pub fn member(module: &Module<'_>, class: &str, name: &str) -> Option<Value> {
    let class = module.class(class)?;
    if kind(module, class, &mut HashSet::new()) != Some(Kind::Enum) {
        return None;
    }
    let mut members = members(module, class).into_iter();
    members
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// The fields of a class and of those that it stands below.
struct Fields {
    kind: Kind,
    properties: Map<String, Value>,
    required: Vec<String>,
    seen: HashSet<String>,
}

impl Fields {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            properties: Map::new(),
            required: Vec::new(),
            seen: HashSet::new(),
        }
    }

    fn into_schema(self) -> Value {
        object(self.properties, self.required)
    }

    fn take(
        &mut self,
        hints: &mut Hints<'_>,
        class: &StmtClassDef,
        depth: usize,
    ) -> Result<(), SchemaError> {
        // A class that stands above itself, or by two ways, is taken once.
        if depth > MAX_BASES || !self.seen.insert(class.name.as_str().to_owned()) {
            return Ok(());
        }
        for base in bases(class) {
            if let Expr::Name(name) = base
                && let Some(base) = hints.module.class(name.id.as_str())
            {
                self.take(hints, base, depth + 1)?;
            }
        }
        let total = !keyword_is_false(class, "total");
        let docs = module::docstring(&class.body)
            .map(|text| docstring::parse(&text))
            .unwrap_or_default();
        for (at, statement) in class.body.iter().enumerate() {
            let Stmt::AnnAssign(field) = statement else {
                continue;
            };
            let said = class.body.get(at + 1).and_then(module::documentation);
            let Some((name, mut hint)) = self.field(hints, field)? else {
                continue;
            };
            if !total && hint.presence == Presence::Required && !is_required(hints.module, field) {
                hint.presence = Presence::Default(None);
            }
            let said = said.or_else(|| docs.entries.get(name).cloned());
            self.put(hints, class, (field, name), (hint, said))?;
        }
        Ok(())
    }

    /// A field of a class, unless it is none that a caller gives.
    fn field<'f>(
        &self,
        hints: &mut Hints<'_>,
        field: &'f StmtAnnAssign,
    ) -> Result<Option<(&'f str, Hint)>, SchemaError> {
        let Expr::Name(name) = &*field.target else {
            return Ok(None);
        };
        let name = name.id.as_str();
        let annotation = match &*field.annotation {
            Expr::Subscript(subscript) => &*subscript.value,
            other => other,
        };
        let outside = matches!(
            hints.module.type_name(annotation),
            Some("ClassVar" | "InitVar" | "PrivateAttr")
        );
        if outside || name == "model_config" || (name.starts_with('_') && self.kind == Kind::Model)
        {
            return Ok(None);
        }
        let mut hint = hints
            .read(&field.annotation)
            .map_err(|error| error.about(&format!("the field '{name}'")))?;
        if let Some(default) = &field.value {
            hint.take_default(hints.module, default);
        }
        Ok(Some((name, hint)))
    }

    fn put(
        &mut self,
        hints: &Hints<'_>,
        class: &StmtClassDef,
        (field, name): (&StmtAnnAssign, &str),
        (mut hint, said): (Hint, Option<String>),
    ) -> Result<(), SchemaError> {
        let description = hint.description.take().or(said);
        if description.is_none() && self.kind == Kind::Model {
            return Err(hints.error(
                field,
                format!(
                    "nothing says what the field '{name}' of {} means; write Field(description=\"...\")",
                    class.name.as_str()
                ),
            ));
        }
        let given = hint.alias.take().unwrap_or_else(|| name.to_owned());
        self.required.retain(|known| *known != given);
        if hint.presence == Presence::Required && !hint.optional {
            self.required.push(given.clone());
        }
        self.properties.insert(given, hint.described(description));
        Ok(())
    }
}

fn keyword_is_false(class: &StmtClassDef, name: &str) -> bool {
    class.arguments.iter().any(|arguments| {
        arguments.keywords.iter().any(|keyword| {
            keyword.arg.as_ref().is_some_and(|arg| arg.as_str() == name)
                && matches!(&keyword.value, Expr::BooleanLiteral(literal) if !literal.value)
        })
    })
}

/// Whether a field of a typed dict says that it must be there.
fn is_required(module: &Module<'_>, field: &StmtAnnAssign) -> bool {
    matches!(&*field.annotation, Expr::Subscript(subscript)
        if module.type_name(&subscript.value) == Some("Required"))
}

/// A typed dict that is made by a call: `TypedDict("Point", {"x": int})`.
pub fn typed_dict(
    hints: &mut Hints<'_>,
    call: &ExprCall,
    fields: &ExprDict,
) -> Result<Hint, SchemaError> {
    let partial = call.arguments.keywords.iter().any(|keyword| {
        keyword
            .arg
            .as_ref()
            .is_some_and(|arg| arg.as_str() == "total")
            && matches!(&keyword.value, Expr::BooleanLiteral(literal) if !literal.value)
    });
    let mut properties = Map::new();
    let mut required = Vec::new();
    for item in &fields.items {
        let Some(name) = item.key.as_ref().and_then(text) else {
            return Err(hints.error(&item.value, "the keys of a TypedDict are texts"));
        };
        let hint = hints.read(&item.value)?;
        if hint.presence == Presence::Required && !hint.optional && !partial {
            required.push(name.to_owned());
        }
        properties.insert(name.to_owned(), hint.described(None));
    }
    Ok(Hint::new(object(properties, required)))
}
