//! Python tools: the function, its docstring and its type hints.

mod classes;
mod fields;
mod hints;
mod module;
mod nesting;
mod values;

use ruff_python_ast::{Expr, ParameterWithDefault, Stmt, StmtFunctionDef};
use ruff_python_parser::parse_module;
use ruff_text_size::Ranged;
use serde_json::{Map, Value};

use super::{Derived, Given, SchemaError, arguments, docstring, docstring::Docstring, object};
use fields::Presence;
use hints::Hints;
use module::Module;

/// Bytes of stack for each byte of source. What nests deepest has a level for each byte, and is walked and
/// dropped by functions that call themselves.
const STACK_PER_BYTE: usize = 640;

/// Parameters that the server fills in; models never see them.
const INJECTED: [&str; 3] = ["self", "agent_state", "agent_id"];

/// A parameter that the server fills in when its hint is no type of JSON.
const CLIENT: &str = "client";

/// Reads the schema of the function that is the tool.
pub fn derive(source: &str, given: Given<'_>) -> Result<Derived, SchemaError> {
    with_tool(source, given.name, |module, function| {
        of_function(module, function, given)
    })
}

/// The name of the function that is the tool.
pub fn function_name(source: &str, name: Option<&str>) -> Result<String, SchemaError> {
    with_tool(source, name, |_, function| Ok(function.name.to_string()))
}

fn with_tool<T>(
    source: &str,
    name: Option<&str>,
    read: impl FnOnce(&Module<'_>, &StmtFunctionDef) -> Result<T, SchemaError>,
) -> Result<T, SchemaError> {
    with_suite(source, |suite| {
        let module = Module::new(source, suite);
        let function = tool(&module, suite, name)?;
        read(&module, function)
    })?
}

/// Parses a source and hands out its statements, on a stack that is large enough to walk them.
pub(crate) fn with_suite<T>(
    source: &str,
    read: impl FnOnce(&[Stmt]) -> T,
) -> Result<T, SchemaError> {
    let stack = source.len() * STACK_PER_BYTE + (1 << 20);
    stacker::maybe_grow(stack, stack, || {
        nesting::check(source)?;
        let parsed = parse_module(source).map_err(|error| {
            let line = module::line_of(source, error.location.start());
            SchemaError::at(line, format!("this is no Python: {}", error.error))
        })?;
        Ok(read(parsed.suite()))
    })
}

/// The function that is the tool: the one that is named, or the last one of the source (V1 contract,
/// section 12); what it needs stands above it.
fn tool<'a>(
    module: &Module<'_>,
    suite: &'a [Stmt],
    name: Option<&str>,
) -> Result<&'a StmtFunctionDef, SchemaError> {
    let functions = suite.iter().filter_map(|statement| match statement {
        Stmt::FunctionDef(function) => Some(function),
        _ => None,
    });
    if let Some(name) = name {
        return functions
            .filter(|function| function.name.as_str() == name)
            .last()
            .ok_or_else(|| {
                SchemaError::whole(format!("the source has no top-level function '{name}'"))
            });
    }
    functions.last().ok_or_else(|| {
        let inner = suite
            .iter()
            .any(|statement| matches!(statement, Stmt::ClassDef(_)));
        let reason = if inner {
            "the source has no top-level function: a tool is a function, not a class or a method"
        } else {
            "the source has no top-level function; the last one is the tool"
        };
        SchemaError::at(module.last_line(), reason)
    })
}

fn of_function(
    module: &Module<'_>,
    function: &StmtFunctionDef,
    given: Given<'_>,
) -> Result<Derived, SchemaError> {
    let name = function.name.as_str().to_owned();
    let line = module.line(function.name.start());
    let docs = module::docstring(&function.body).map(|text| docstring::parse(&text));
    let described_by_arguments = given.arguments.and_then(arguments::description);
    let description = given
        .description
        .map(str::to_owned)
        .or_else(|| docs.as_ref().map(|docs| docs.description.clone()))
        .or(described_by_arguments)
        .filter(|text| !text.trim().is_empty());
    let Some(description) = description else {
        return Err(SchemaError::at(
            line,
            format!(
                "the function {name} has no docstring that says what it does; models choose tools by it"
            ),
        ));
    };
    let docs = docs.unwrap_or_default();
    let parameters = match given.arguments {
        Some(schema) => arguments::parameters(schema, &docs)?,
        None => parameters(module, function, &docs)?,
    };
    Ok(Derived {
        name,
        description,
        parameters,
    })
}

fn parameters(
    module: &Module<'_>,
    function: &StmtFunctionDef,
    docs: &Docstring,
) -> Result<Value, SchemaError> {
    let mut hints = Hints::new(module);
    let mut properties = Map::new();
    let mut required = Vec::new();
    let all = &function.parameters;
    for parameter in &all.posonlyargs {
        if !is_injected(&mut hints, parameter) {
            let name = parameter.parameter.name.as_str();
            return Err(SchemaError::at(
                module.line(parameter.range.start()),
                format!(
                    "the parameter '{name}' can be given by position only, but tools are called with \
                     names: take the '/' away"
                ),
            ));
        }
    }
    // `*args` and `**kwargs` are left out: models have no names for what they take.
    for parameter in all.args.iter().chain(&all.kwonlyargs) {
        if is_injected(&mut hints, parameter) {
            continue;
        }
        let name = parameter.parameter.name.as_str();
        let (schema, needed) = one(&mut hints, function, parameter, docs)?;
        if needed {
            required.push(name.to_owned());
        }
        properties.insert(name.to_owned(), schema);
    }
    Ok(object(properties, required))
}

/// Whether the server fills a parameter in.
fn is_injected(hints: &mut Hints<'_>, parameter: &ParameterWithDefault) -> bool {
    let name = parameter.parameter.name.as_str();
    if name != CLIENT {
        return INJECTED.contains(&name);
    }
    parameter
        .parameter
        .annotation
        .as_deref()
        .is_none_or(|hint| hints.read(hint).is_err())
}

/// The schema of one parameter, and whether a call must give it.
fn one(
    hints: &mut Hints<'_>,
    function: &StmtFunctionDef,
    parameter: &ParameterWithDefault,
    docs: &Docstring,
) -> Result<(Value, bool), SchemaError> {
    let name = parameter.parameter.name.as_str();
    let line = || hints.module.line(parameter.range.start());
    let Some(annotation) = parameter.parameter.annotation.as_deref() else {
        return Err(SchemaError::at(
            line(),
            format!(
                "the parameter '{name}' has no type hint; write '{name}: str', or what it takes"
            ),
        ));
    };
    let mut hint = hints
        .read(annotation)
        .map_err(|error| error.about(&format!("the parameter '{name}'")))?;
    if let Some(default) = parameter.default() {
        hint.take_default(hints.module, default);
    }
    let description = hint.description.take();
    let Some(description) = description.or_else(|| docs.entries.get(name).cloned()) else {
        let function = function.name.as_str();
        return Err(SchemaError::at(
            hints.module.line(parameter.range.start()),
            format!(
                "nothing says what the parameter '{name}' of {function} means; add it to the Args section \
                 of the docstring"
            ),
        ));
    };
    let needed = matches!(hint.presence, Presence::Required) && !hint.optional;
    Ok((hint.described(Some(description)), needed))
}

impl SchemaError {
    /// Says what an error is about, in front of it.
    fn about(mut self, what: &str) -> Self {
        self.reason = format!("{what}: {}", self.reason);
        self
    }
}

/// The words of an expression that is a plain text.
fn text(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::StringLiteral(literal) => Some(literal.value.to_str()),
        _ => None,
    }
}
