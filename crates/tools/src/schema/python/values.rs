//! Expressions whose value can be read off the source.

use ruff_python_ast::{Expr, Number, UnaryOp};
use serde_json::{Map, Value};

use super::{classes, module::Module};

/// The value of an expression as JSON, if it is a literal, a member of an enum, or made of such.
pub fn of(module: &Module<'_>, expression: &Expr) -> Option<Value> {
    read(Some(module), expression)
}

/// The value of a literal, without looking up any name.
pub fn literal(expression: &Expr) -> Option<Value> {
    read(None, expression)
}

fn read(module: Option<&Module<'_>>, expression: &Expr) -> Option<Value> {
    match expression {
        Expr::StringLiteral(literal) => Some(literal.value.to_str().into()),
        Expr::BooleanLiteral(literal) => Some(literal.value.into()),
        Expr::NoneLiteral(_) => Some(Value::Null),
        Expr::NumberLiteral(literal) => number(&literal.value),
        Expr::UnaryOp(operation) if operation.op == UnaryOp::USub => {
            negative(&read(module, &operation.operand)?)
        }
        Expr::List(list) => elements(module, &list.elts),
        Expr::Tuple(tuple) => elements(module, &tuple.elts),
        Expr::Set(set) => elements(module, &set.elts),
        Expr::Dict(dict) => {
            let mut fields = Map::new();
            for item in &dict.items {
                let key = read(module, item.key.as_ref()?)?;
                fields.insert(key.as_str()?.to_owned(), read(module, &item.value)?);
            }
            Some(fields.into())
        }
        Expr::Attribute(attribute) => match &*attribute.value {
            Expr::Name(class) => {
                classes::member(module?, class.id.as_str(), attribute.attr.as_str())
            }
            // `Color.RED.value`
            Expr::Attribute(_) if attribute.attr.as_str() == "value" => {
                read(module, &attribute.value)
            }
            _ => None,
        },
        _ => None,
    }
}

fn elements(module: Option<&Module<'_>>, elements: &[Expr]) -> Option<Value> {
    let values: Option<Vec<Value>> = elements.iter().map(|one| read(module, one)).collect();
    values.map(Value::Array)
}

fn number(number: &Number) -> Option<Value> {
    match number {
        Number::Int(whole) => whole.as_i64().map(Value::from),
        Number::Float(float) => serde_json::Number::from_f64(*float).map(Value::Number),
        Number::Complex { .. } => None,
    }
}

fn negative(value: &Value) -> Option<Value> {
    if let Some(whole) = value.as_i64() {
        return whole.checked_neg().map(Value::from);
    }
    let float = value.as_f64()?;
    serde_json::Number::from_f64(-float).map(Value::Number)
}
