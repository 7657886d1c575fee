//! Packages that a tool needs: names and versions of a registry, and nothing else. A path, a URL or an option
//! would let a tool bring in what the registry does not vouch for.

use serde_json::{Value, json};

use crate::validation::Invalid;

/// Packages that one tool may need.
pub const MAX_REQUIREMENTS: usize = 100;

/// Characters of a name or version.
const MAX_LENGTH: usize = 214;

/// Where packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    /// Python's.
    Pip,
    /// JavaScript's.
    Npm,
}

/// A package that a tool needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    name: String,
    version: Option<String>,
}

impl Requirement {
    /// Checks a name and a version as a client gives them.
    ///
    /// # Errors
    /// They name no package of that registry.
    pub fn new(registry: Registry, name: &str, version: Option<&str>) -> Result<Self, Invalid> {
        let name = name.trim();
        let version = version.map(str::trim).filter(|version| !version.is_empty());
        let known = name.len() <= MAX_LENGTH
            && match registry {
                Registry::Pip => is_pip(name),
                Registry::Npm => is_npm(name),
            };
        if !known {
            return Err(Invalid(format!(
                "'{}' is no name of a package: give names as the registry has them, such as {}, without paths, \
                 URLs or options",
                shortened(name),
                match registry {
                    Registry::Pip => "requests or uvicorn[standard]",
                    Registry::Npm => "zod or @types/node",
                }
            )));
        }
        if let Some(version) = version.filter(|version| !is_version(version)) {
            return Err(Invalid(format!(
                "'{}' is no version of {name}: write 1.2.3, or a range such as >=1.2,<2",
                shortened(version)
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }

    /// Its name in the registry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version or range that is wanted; any when there is none.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// What it is a requirement of, however its name is written and whatever extras are asked for (PEP 503).
    #[must_use]
    pub fn project(&self) -> String {
        let name = self.name.split('[').next().unwrap_or_default();
        let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// It names no package of that registry.
    pub fn from_json(registry: Registry, stored: &Value) -> Result<Self, Invalid> {
        let text = |key: &str| stored.get(key).and_then(Value::as_str);
        Self::new(registry, text("name").unwrap_or_default(), text("version"))
    }

    /// As the store and the API have it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"name": self.name, "version": self.version})
    }
}

/// Letters, digits, `-`, `_` and `.`, and extras in brackets.
fn is_pip(name: &str) -> bool {
    let plain = |name: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(name.chars().next())
            && edge(name.chars().last())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match name.split_once('[') {
        None => plain(name),
        Some((name, extras)) => {
            plain(name)
                && extras
                    .strip_suffix(']')
                    .is_some_and(|extras| extras.split(',').all(|extra| plain(extra.trim())))
        }
    }
}

/// `name` or `@scope/name`.
fn is_npm(name: &str) -> bool {
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~'))
    };
    match name.strip_prefix('@') {
        None => plain(name),
        Some(rest) => rest
            .split_once('/')
            .is_some_and(|(scope, name)| plain(scope) && plain(name)),
    }
}

/// A version or a range of versions: no character with which a path, a URL or an option could be written.
fn is_version(version: &str) -> bool {
    // A lone hyphen is npm's range, `1.2 - 1.4`; with letters behind it, it would be an option.
    let option = |word: &str| word.starts_with('-') && word.len() > 1;
    version.len() <= MAX_LENGTH
        && !version.split(' ').any(option)
        && version.chars().all(|c| {
            c.is_ascii_alphanumeric()
                || matches!(
                    c,
                    '.' | '*'
                        | '+'
                        | '-'
                        | '_'
                        | '!'
                        | '='
                        | '<'
                        | '>'
                        | '~'
                        | '^'
                        | '|'
                        | ','
                        | ' '
                )
        })
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_a_registry_are_taken_and_nothing_else() {
        let table = [
            (Registry::Pip, "requests", Some("2.31.0"), true),
            (
                Registry::Pip,
                "uvicorn[standard, http2]",
                Some(">=0.20,<1"),
                true,
            ),
            (Registry::Pip, "ruamel.yaml", None, true),
            (Registry::Pip, "requests", Some(""), true),
            (Registry::Npm, "@types/node", Some("^20.1"), true),
            (Registry::Npm, "zod", Some(">=3 <4 || 5.x"), true),
            (Registry::Pip, "", None, false),
            (Registry::Pip, "--index-url", None, false),
            (Registry::Pip, "./local", None, false),
            (Registry::Pip, "a @ git+https://host/x", None, false),
            (Registry::Pip, "a; python_version > '3'", None, false),
            (Registry::Pip, "a[b", None, false),
            (Registry::Npm, "zod", Some("1.2 - 1.4"), true),
            (Registry::Pip, "requests", Some("--pre"), false),
            (Registry::Pip, "requests", Some("1 --pre"), false),
            (Registry::Pip, "requests", Some("1.0\n--pre"), false),
            (Registry::Npm, "../x", None, false),
            (Registry::Npm, "@/x", None, false),
            (Registry::Npm, "zod", Some("file:../x"), false),
            (Registry::Npm, "zod", Some("git+ssh://host/x"), false),
        ];
        for (registry, name, version, good) in table {
            let found = Requirement::new(registry, name, version);
            assert_eq!(found.is_ok(), good, "{name} {version:?}");
        }
    }
}
