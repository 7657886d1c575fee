//! TypeScript tools: the exported function, its TSDoc comment and its types. A small reader of signatures, as a
//! full parser of TypeScript would more than double what this crate costs to build.

mod cursor;
pub(crate) mod lexer;
mod tsdoc;
mod types;

use std::collections::HashMap;

use serde_json::Value;

use super::{Derived, Given, SchemaError, arguments, docstring::Docstring, object};
use cursor::Cursor;
use types::{Declared, Members, Types, described, literal};

/// Parameters that the server fills in; models never see them.
const INJECTED: [&str; 4] = ["agent_state", "agentState", "agent_id", "agentId"];

/// A parameter that the server fills in when its type is none of JSON.
const CLIENT: &str = "client";

/// A function at the top level.
#[derive(Clone, Copy)]
struct Function<'a, 's> {
    name: Option<&'s str>,
    exported: bool,
    doc: Option<&'s str>,
    /// Where it begins.
    from: Cursor<'a, 's>,
    /// The bracket that opens its parameters.
    parameters: Cursor<'a, 's>,
}

/// The name of the function that is the tool.
pub fn function_name(source: &str, name: Option<&str>) -> Result<String, SchemaError> {
    let tokens = lexer::tokens(source);
    let start = Cursor::new(source, &tokens);
    let function = Module::read(start).tool(start, name)?;
    function
        .name
        .map(str::to_owned)
        .ok_or_else(|| function.from.error("the function has no name"))
}

/// What stands at the top level.
#[derive(Default)]
struct Module<'a, 's> {
    functions: Vec<Function<'a, 's>>,
    types: HashMap<&'s str, Declared<'a, 's>>,
}

/// Reads the schema of the function that is the tool.
pub fn derive(source: &str, given: Given<'_>) -> Result<Derived, SchemaError> {
    let tokens = lexer::tokens(source);
    let start = Cursor::new(source, &tokens);
    let module = Module::read(start);
    let function = module.tool(start, given.name)?;
    let Some(name) = function.name.or(given.name) else {
        return Err(function
            .from
            .error("the function has no name; write export function name(...)"));
    };
    let docs = function.doc.map(tsdoc::parse).unwrap_or_default();
    let description = given
        .description
        .map(str::to_owned)
        .or_else(|| Some(docs.description.clone()).filter(|text| !text.is_empty()))
        .or_else(|| given.arguments.and_then(arguments::description))
        .filter(|text| !text.trim().is_empty());
    let Some(description) = description else {
        return Err(function.from.error(format!(
            "the function {name} has no comment /** ... */ that says what it does; models choose tools by it"
        )));
    };
    let parameters = match given.arguments {
        Some(schema) => arguments::parameters(schema, &docs)?,
        None => parameters(&module, function, &docs)?,
    };
    Ok(Derived {
        name: name.to_owned(),
        description,
        parameters,
    })
}

impl<'a, 's> Module<'a, 's> {
    fn read(mut at: Cursor<'a, 's>) -> Self {
        let mut module = Self::default();
        loop {
            let doc = at.doc();
            if at.peek().is_none() {
                return module;
            }
            module.statement(&mut at, doc);
        }
    }

    /// Takes a declaration, or passes over one token or one pair of brackets.
    fn statement(&mut self, at: &mut Cursor<'a, 's>, doc: Option<&'s str>) {
        let from = *at;
        let exported = at.eat("export");
        let mut ahead = *at;
        while ["default", "declare", "async", "const"]
            .iter()
            .any(|word| ahead.eat(word))
        {}
        if ahead.eat("function") {
            ahead.eat("*");
            let name = ahead.name().ok();
            *at = ahead;
            self.function(
                at,
                Function {
                    name,
                    exported,
                    doc,
                    from,
                    parameters: ahead,
                },
            );
        } else if ahead.eat("enum") {
            self.declare(&mut ahead, at, Declared::Enum);
        } else if ahead.eat("interface") {
            self.declare(&mut ahead, at, Declared::Interface);
        } else if ahead.eat("type") {
            self.alias(&mut ahead, at);
        } else if at.sees("const") || at.sees("let") || at.sees("var") {
            at.next();
            self.arrow(
                at,
                Function {
                    name: None,
                    exported,
                    doc,
                    from,
                    parameters: *at,
                },
            );
        } else if !exported {
            if ["(", "[", "{"].iter().any(|open| at.sees(open)) {
                at.skip_brackets();
            } else {
                at.next();
            }
        }
    }

    /// Takes a function whose parameters come next.
    fn function(&mut self, at: &mut Cursor<'a, 's>, mut function: Function<'a, 's>) {
        at.skip_generics();
        if at.sees("(") {
            function.parameters = *at;
            self.functions.push(function);
            at.skip_brackets();
        }
    }

    /// Takes `name = async (...) =>` and `name = function (...)`.
    fn arrow(&mut self, at: &mut Cursor<'a, 's>, mut function: Function<'a, 's>) {
        let mut ahead = *at;
        let Ok(name) = ahead.name() else {
            return;
        };
        function.name = Some(name);
        if !ahead.eat("=") {
            return;
        }
        ahead.eat("async");
        let written = ahead.eat("function");
        if written {
            ahead.eat("*");
            // The function's own name is of no use outside of it.
            if !ahead.sees("(") && !ahead.sees("<") {
                ahead.next();
            }
        }
        ahead.skip_generics();
        let parameters = ahead;
        if !ahead.sees("(") {
            return;
        }
        ahead.skip_brackets();
        *at = ahead;
        if written || at.sees("=>") || at.sees(":") {
            self.functions.push(Function {
                parameters,
                ..function
            });
        }
    }

    fn declare(
        &mut self,
        ahead: &mut Cursor<'a, 's>,
        at: &mut Cursor<'a, 's>,
        declared: impl Fn(Cursor<'a, 's>) -> Declared<'a, 's>,
    ) {
        if let Ok(name) = ahead.name() {
            self.types.insert(name, declared(*ahead));
        }
        *at = *ahead;
    }

    fn alias(&mut self, ahead: &mut Cursor<'a, 's>, at: &mut Cursor<'a, 's>) {
        let Ok(name) = ahead.name() else {
            at.next();
            return;
        };
        *at = *ahead;
        if ahead.eat("=") {
            self.types.insert(name, Declared::Alias(*ahead));
            *at = *ahead;
        }
    }

    /// The function that is the tool: the one that is named, or the last that is exported, or the last.
    fn tool(
        &self,
        start: Cursor<'a, 's>,
        name: Option<&str>,
    ) -> Result<Function<'a, 's>, SchemaError> {
        if let Some(wanted) = name {
            let named =
                |function: &&Function<'_, '_>| function.name.is_none_or(|name| name == wanted);
            return self
                .functions
                .iter()
                .rev()
                .find(named)
                .copied()
                .ok_or_else(|| {
                    SchemaError::whole(format!("the source has no top-level function '{wanted}'"))
                });
        }
        let exported = self
            .functions
            .iter()
            .rev()
            .find(|function| function.exported);
        exported
            .or_else(|| self.functions.last())
            .copied()
            .ok_or_else(|| start.error("the source has no top-level function; export one"))
    }
}

fn parameters<'a, 's>(
    module: &'a Module<'a, 's>,
    function: Function<'a, 's>,
    docs: &Docstring,
) -> Result<Value, SchemaError> {
    let mut types = Types::new(&module.types);
    let mut at = function.parameters;
    let mut taken = Members::default();
    let mut whole = None;
    at.expect("(")?;
    while !at.eat(")") {
        if at.sees("{") {
            whole = Some(destructured(&mut types, &mut at, docs)?);
        } else {
            one(&mut types, &mut at, docs, &mut taken)?;
        }
        if !at.eat(",") {
            at.expect(")")?;
            break;
        }
    }
    let members = match whole {
        Some(members) if taken.properties.is_empty() => members,
        Some(_) => {
            return Err(function.parameters.error(
                "a parameter that is taken apart ({ a, b }: ...) must be the only one; name the others in it",
            ));
        }
        None => taken,
    };
    Ok(object(members.properties, members.required))
}

/// `{ city, days = 3 }: { city: string; days?: number }`: the members are the tool's arguments.
fn destructured<'a, 's>(
    types: &mut Types<'a, 's>,
    at: &mut Cursor<'a, 's>,
    docs: &Docstring,
) -> Result<Members, SchemaError> {
    let here = *at;
    at.skip_brackets();
    at.expect(":")?;
    let of = types.read(at)?;
    let properties = of.schema.get("properties").and_then(Value::as_object);
    let Some(properties) = properties else {
        return Err(here.error("the type of a parameter that is taken apart must have members"));
    };
    let required = of.schema.get("required").and_then(Value::as_array);
    let mut members = Members::default();
    for (name, schema) in properties {
        let said = docs.entries.get(name).or_else(|| {
            docs.entries
                .iter()
                .find(|(key, _)| key.ends_with(&format!(".{name}")))
                .map(|(_, text)| text)
        });
        let schema = match said {
            Some(text) if schema.get("description").is_none() => {
                described(schema.clone(), Some(text.clone()), None)
            }
            _ => schema.clone(),
        };
        if schema.get("description").is_none() {
            return Err(undocumented(&here, name));
        }
        let needed = required.is_some_and(|names| names.iter().any(|known| known == name));
        members.put(name.clone(), schema, needed);
    }
    Ok(members)
}

fn one<'a, 's>(
    types: &mut Types<'a, 's>,
    at: &mut Cursor<'a, 's>,
    docs: &Docstring,
    taken: &mut Members,
) -> Result<(), SchemaError> {
    let here = *at;
    if at.eat("...") {
        return Err(here.error("models have no names for what '...' takes; take a list"));
    }
    let name = at.name()?;
    let optional = at.eat("?");
    let of = if at.eat(":") {
        types.read(at)
    } else {
        Err(here.error(format!(
            "the parameter '{name}' has no type; write {name}: string, or what it takes"
        )))
    };
    if INJECTED.contains(&name) || (name == CLIENT && of.is_err()) {
        skip_parameter(at);
        return Ok(());
    }
    let of = of?;
    let mut default = None;
    let has_default = at.eat("=");
    if has_default {
        default = literal(&mut at.clone()).ok();
        skip_parameter(at);
    }
    let Some(said) = docs.entries.get(name) else {
        return Err(undocumented(&here, name));
    };
    let required = !optional && !has_default && !of.optional;
    let schema = described(of.schema, Some(said.clone()), default);
    taken.put(name.to_owned(), schema, required);
    Ok(())
}

fn undocumented(here: &Cursor<'_, '_>, name: &str) -> SchemaError {
    here.error(format!(
        "nothing says what the parameter '{name}' means; add '@param {name} - ...' to the comment above the \
         function"
    ))
}

/// Goes to the end of a parameter: its comma, or the bracket that closes all.
fn skip_parameter(at: &mut Cursor<'_, '_>) {
    while let Some(token) = at.peek() {
        match token.text {
            "," | ")" => return,
            "(" | "[" | "{" => at.skip_brackets(),
            "<" => at.skip_generics(),
            _ => {
                at.next();
            }
        }
    }
}
