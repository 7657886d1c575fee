//! What stands at the top level of a source: its classes, its names for types, its imports.

use std::collections::HashMap;

use ruff_python_ast::{Expr, Stmt, StmtClassDef};
use ruff_text_size::TextSize;

/// The names of a source.
pub struct Module<'a> {
    source: &'a str,
    classes: HashMap<&'a str, &'a StmtClassDef>,
    /// `Color = Literal["red", "blue"]`, `type Color = ...`.
    aliases: HashMap<&'a str, &'a Expr>,
    /// What imported names are called where they come from: `from typing import List as L`.
    imports: HashMap<&'a str, &'a str>,
}

impl<'a> Module<'a> {
    /// Reads the top level of a source.
    pub fn new(source: &'a str, suite: &'a [Stmt]) -> Self {
        let mut module = Self {
            source,
            classes: HashMap::new(),
            aliases: HashMap::new(),
            imports: HashMap::new(),
        };
        for statement in suite {
            module.take(statement);
        }
        module
    }

    fn take(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::ClassDef(class) => {
                self.classes.insert(class.name.as_str(), class);
            }
            Stmt::Assign(assign) => {
                if let [Expr::Name(name)] = assign.targets.as_slice() {
                    self.aliases.insert(name.id.as_str(), &assign.value);
                }
            }
            Stmt::AnnAssign(assign) => {
                if let (Expr::Name(name), Some(value)) = (&*assign.target, &assign.value) {
                    self.aliases.insert(name.id.as_str(), value);
                }
            }
            Stmt::TypeAlias(alias) => {
                if let Expr::Name(name) = &*alias.name {
                    self.aliases.insert(name.id.as_str(), &alias.value);
                }
            }
            Stmt::ImportFrom(import) => {
                for alias in &import.names {
                    if let Some(short) = &alias.asname {
                        self.imports.insert(short.as_str(), alias.name.as_str());
                    }
                }
            }
            // `try: from typing import Literal`, `if TYPE_CHECKING: ...`
            Stmt::Try(block) => block.body.iter().for_each(|inner| self.take(inner)),
            Stmt::If(block) => block.body.iter().for_each(|inner| self.take(inner)),
            _ => {}
        }
    }

    /// The class of a name.
    pub fn class(&self, name: &str) -> Option<&'a StmtClassDef> {
        self.classes.get(name).copied()
    }

    /// What a name stands for.
    pub fn alias(&self, name: &str) -> Option<&'a Expr> {
        self.aliases.get(name).copied()
    }

    /// The last part of a type's name, as its module calls it: `List` for `typing.List`, `t.List`, or `L`.
    pub fn type_name<'e>(&self, expression: &'e Expr) -> Option<&'e str>
    where
        'a: 'e,
    {
        match expression {
            Expr::Name(name) => {
                let name = name.id.as_str();
                Some(self.imports.get(name).map_or(name, |original| *original))
            }
            Expr::Attribute(attribute) => Some(attribute.attr.as_str()),
            _ => None,
        }
    }

    /// The line of a place, counted from one.
    pub fn line(&self, at: TextSize) -> usize {
        line_of(self.source, at)
    }

    /// The last line that says something.
    pub fn last_line(&self) -> usize {
        self.source.trim_end().lines().count().max(1)
    }
}

/// The line of a place in a source, counted from one.
pub fn line_of(source: &str, at: TextSize) -> usize {
    let before = source.get(..usize::from(at)).unwrap_or(source);
    1 + before.matches('\n').count()
}

/// The docstring of a function or class.
pub fn docstring(body: &[Stmt]) -> Option<String> {
    body.first().and_then(documentation)
}

/// The text of a statement that is nothing but a text.
pub fn documentation(statement: &Stmt) -> Option<String> {
    let Stmt::Expr(expression) = statement else {
        return None;
    };
    super::text(&expression.value).map(str::to_owned)
}
