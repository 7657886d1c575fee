//! What stands beside a type: defaults, `Field(...)`, `Annotated`.

use ruff_python_ast::{Expr, ExprCall};
use serde_json::{Map, Value};

use super::{hints::Hint, module::Module, text, values};

/// Whether something must be given.
#[derive(Debug, Clone, PartialEq)]
pub enum Presence {
    /// It has no default.
    Required,
    /// It has one; the value, where it can be read off the source.
    Default(Option<Value>),
}

/// The constraints of `Field` and of annotated-types, and their names in JSON schemas.
const CONSTRAINTS: [(&str, &str); 12] = [
    ("ge", "minimum"),
    ("gt", "exclusiveMinimum"),
    ("le", "maximum"),
    ("lt", "exclusiveMaximum"),
    ("multiple_of", "multipleOf"),
    ("min_length", "minLength"),
    ("max_length", "maxLength"),
    ("min_items", "minItems"),
    ("max_items", "maxItems"),
    ("pattern", "pattern"),
    ("regex", "pattern"),
    ("examples", "examples"),
];

/// Those of annotated-types that take one value by position.
const ANNOTATED: [(&str, &str); 7] = [
    ("Ge", "ge"),
    ("Gt", "gt"),
    ("Le", "le"),
    ("Lt", "lt"),
    ("MinLen", "min_length"),
    ("MaxLen", "max_length"),
    ("MultipleOf", "multiple_of"),
];

impl Hint {
    /// Takes what stands behind the `=` of a parameter or field: a value, or `Field(...)`.
    pub fn take_default(&mut self, module: &Module<'_>, default: &Expr) {
        if let Expr::Call(call) = default
            && let Some("Field" | "field" | "Body" | "Query") = module.type_name(&call.func)
        {
            self.take_field(module, call);
            return;
        }
        self.take_value(module, default);
    }

    fn take_value(&mut self, module: &Module<'_>, default: &Expr) {
        if matches!(default, Expr::EllipsisLiteral(_)) {
            self.presence = Presence::Required;
            return;
        }
        let value = values::of(module, default).filter(|value| !value.is_null());
        self.presence = Presence::Default(value);
    }

    /// Takes what is annotated: a description, `Field(...)`, constraints.
    pub fn take_annotation(&mut self, module: &Module<'_>, annotation: &Expr) {
        if let Some(words) = text(annotation) {
            self.description = Some(words.to_owned());
            return;
        }
        let Expr::Call(call) = annotation else {
            return;
        };
        let Some(name) = module.type_name(&call.func) else {
            return;
        };
        let first = call.arguments.args.first();
        if let Some((_, keyword)) = ANNOTATED.iter().find(|(known, _)| *known == name) {
            if let Some(value) = first.and_then(|value| values::of(module, value)) {
                self.constrain(keyword, value);
            }
            return;
        }
        match name {
            "Field" | "field" => self.take_field(module, call),
            "Doc" => self.description = first.and_then(text).map(str::to_owned),
            "Interval" | "StringConstraints" | "Len" => self.take_keywords(module, call),
            _ => {}
        }
    }

    fn take_field(&mut self, module: &Module<'_>, call: &ExprCall) {
        if let Some(default) = call.arguments.args.first() {
            self.take_value(module, default);
        }
        self.take_keywords(module, call);
    }

    /// Takes the keywords of `Field`, or of a type such as `conint`.
    pub fn take_keywords(&mut self, module: &Module<'_>, call: &ExprCall) {
        for keyword in &call.arguments.keywords {
            let Some(name) = &keyword.arg else {
                continue;
            };
            match name.as_str() {
                "default" => self.take_value(module, &keyword.value),
                "default_factory" => self.presence = Presence::Default(None),
                "description" => {
                    if let Some(words) = text(&keyword.value) {
                        self.description = Some(words.to_owned());
                    }
                }
                "alias" | "validation_alias" => {
                    self.alias = text(&keyword.value).map(str::to_owned);
                }
                name => {
                    if let Some(value) = values::of(module, &keyword.value) {
                        self.constrain(name, value);
                    }
                }
            }
        }
    }

    fn constrain(&mut self, keyword: &str, value: Value) {
        let Some((_, constraint)) = CONSTRAINTS.iter().find(|(known, _)| *known == keyword) else {
            return;
        };
        let kind = self.schema.get("type").and_then(Value::as_str);
        let constraint = match (*constraint, kind) {
            ("minLength", Some("array")) => "minItems",
            ("maxLength", Some("array")) => "maxItems",
            ("minLength", Some("object")) => "minProperties",
            ("maxLength", Some("object")) => "maxProperties",
            (constraint, _) => constraint,
        };
        self.schema.insert(constraint.to_owned(), value);
    }

    /// The schema with its description and default.
    pub fn described(self, description: Option<String>) -> Value {
        let mut schema = Map::new();
        // The type first, then what it means: so models and people read it.
        let mut rest = self.schema;
        if let Some(kind) = rest.shift_remove("type") {
            schema.insert("type".to_owned(), kind);
        }
        if let Some(description) = description.or(self.description) {
            schema.insert("description".to_owned(), description.into());
        }
        schema.extend(rest);
        if let Presence::Default(Some(value)) = self.presence {
            schema.insert("default".to_owned(), value);
        }
        schema.into()
    }
}
