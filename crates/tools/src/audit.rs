//! What a tool's source appears to need of the machine: for people who decide what it is granted. Nothing of it
//! is run. What a source computes can't be seen, so that the sandbox decides and not this.

mod known;
mod python;
#[cfg(test)]
mod tests;
mod typescript;

use std::collections::BTreeSet;

use mnemic_core::tools::Language;
use serde::Serialize;

/// What stands for something that a source computes.
pub const COMPUTED: &str = "(computed)";

/// What a source appears to need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// Hosts that it names.
    pub hosts: BTreeSet<String>,
    /// Libraries and functions by which it reaches the network.
    pub network: BTreeSet<String>,
    /// Files and folders that it reads or asks about.
    pub reads: BTreeSet<String>,
    /// Files and folders that it changes.
    pub writes: BTreeSet<String>,
    /// Environment variables.
    pub variables: BTreeSet<String>,
    /// Programs that it starts.
    pub programs: BTreeSet<String>,
    /// Packages that it imports, that are no part of the language and not among its requirements.
    pub packages: BTreeSet<String>,
    /// Ways by which it runs code that can't be seen here.
    pub unseen: BTreeSet<String>,
    /// Why the source could not be read.
    pub unreadable: Option<String>,
}

impl Needs {
    /// Whether it needs nothing of the machine.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Notes the hosts of addresses in a text, in which `{}` stands for what is computed.
    fn addresses(&mut self, text: &str) {
        const SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "ftp"];
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("://") {
            rest = after;
            let scheme = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next();
            if !scheme.is_some_and(|scheme| SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()))
            {
                continue;
            }
            let ends = |c: char| {
                c.is_whitespace()
                    || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | ')' | '\\')
            };
            let host = after.split(ends).next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            self.host(host);
        }
    }

    /// Notes a host, perhaps with its port.
    fn host(&mut self, host: &str) {
        let name = if host.starts_with('[') {
            host.split_inclusive(']').next().unwrap_or_default()
        } else {
            host.split(':').next().unwrap_or_default()
        };
        if name.is_empty() || name.contains('{') {
            self.hosts.insert(COMPUTED.to_owned());
        } else {
            self.hosts.insert(name.to_ascii_lowercase());
        }
    }
}

/// What a source appears to need; `requirements` are the names of the packages that are installed for it.
#[must_use]
pub fn audit(language: Language, source: &str, requirements: &[&str]) -> Needs {
    match language {
        Language::Python => python::audit(source, requirements),
        Language::TypeScript => typescript::audit(source, requirements),
    }
}
