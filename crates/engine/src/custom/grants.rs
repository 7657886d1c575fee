//! What is opened for a tool beside its scratch folder: what its author wants, as far as the administrator lets it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use mnemic_core::tools::Tool;
use mnemic_tools::sandbox::{self, Access, HostGrant};
use serde::{Deserialize, Serialize};

/// Where grants stand among a tool's further fields.
pub(crate) const FIELD: &str = "grants";

/// What the administrator lets tools have at the most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Hosts: a name, `*.` and what stands below a name, each perhaps with a port; `*` for all.
    pub hosts: Vec<String>,
    /// Folders; a tool may be granted one of them, or a folder in it.
    pub folders: Vec<PathBuf>,
    /// Folders that are never opened, nor what they are in: the server's own.
    pub closed: Vec<PathBuf>,
    /// Names of the server's own environment variables.
    pub variables: Vec<String>,
}

/// What a tool's author wants for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolGrants {
    /// Hosts, as `api.example.com`, `*.example.com` or `api.example.com:8443`; the ports are 443 and 80 where none is named.
    pub hosts: Vec<String>,
    /// Folders of the server's machine.
    pub folders: Vec<FolderGrant>,
    /// Names of the server's environment variables.
    pub variables: Vec<String>,
}

/// A folder that a tool may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderGrant {
    /// Its absolute path.
    pub path: PathBuf,
    /// Whether the tool may change what is there.
    #[serde(default)]
    pub access: FolderAccess,
}

/// What a tool may do in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FolderAccess {
    /// Read its files.
    #[default]
    Read,
    /// Also write, make and delete files.
    Write,
}

impl ToolGrants {
    /// The grants of a stored tool; none if it has none.
    #[must_use]
    pub fn of(tool: &Tool) -> Self {
        let stored = tool.extra.get(FIELD).cloned().unwrap_or_default();
        serde_json::from_value(stored).unwrap_or_default()
    }

    /// Refuses what the administrator does not let tools have, as far as that can be said before a call: a folder may be
    /// made later.
    pub(crate) fn check(&self, ceiling: &Ceiling) -> Result<(), String> {
        self.variables(ceiling)?;
        self.hosts(ceiling)?;
        for folder in &self.folders {
            if folder.path.exists() {
                folder.let_by(ceiling)?;
            } else if !ceiling
                .folders
                .iter()
                .any(|most| folder.path.starts_with(most))
            {
                return Err(folder.beyond());
            }
        }
        Ok(())
    }

    /// Grants as they are stored, or as a file has them.
    pub(crate) fn parse(value: &serde_json::Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(value)
    }

    /// Whether anything is granted to a stored tool.
    pub(crate) fn has_some(tool: &Tool) -> bool {
        Self::of(tool) != Self::default()
    }

    /// The server's variables that are granted. The error names what the administrator does not let.
    pub(super) fn variables(&self, ceiling: &Ceiling) -> Result<BTreeMap<String, String>, String> {
        let mut variables = BTreeMap::new();
        for name in &self.variables {
            if !ceiling.variables.contains(name) {
                return Err(format!(
                    "the variable {name} was granted to this tool, but the administrator does not let tools have it \
                     (setting tool_variables)"
                ));
            }
            if let Ok(value) = std::env::var(name) {
                variables.insert(name.clone(), value);
            }
        }
        Ok(variables)
    }

    fn hosts(&self, ceiling: &Ceiling) -> Result<Vec<HostGrant>, String> {
        let granted = self.hosts.iter().map(|text| {
            let host = host(text).ok_or_else(|| {
                format!(
                    "'{text}' was granted to this tool, and is no host: write api.example.com, *.example.com or \
                     api.example.com:8443"
                )
            })?;
            if !ceiling.hosts.iter().any(|most| covers(most, &host)) {
                return Err(format!(
                    "the host {text} was granted to this tool, but the administrator does not let tools have it \
                     (setting tool_hosts)"
                ));
            }
            Ok(host)
        });
        granted.collect()
    }

    /// What the sandbox opens. The error names what the administrator does not let.
    pub(super) fn opened(&self, ceiling: &Ceiling) -> Result<sandbox::Grants, String> {
        let folders = self.folders.iter().map(|grant| {
            Ok(sandbox::FolderGrant {
                // What is checked is what is opened: the sandbox refuses a path that leads elsewhere by then.
                path: grant.let_by(ceiling)?,
                access: match grant.access {
                    FolderAccess::Read => Access::Read,
                    FolderAccess::Write => Access::Write,
                },
            })
        });
        Ok(sandbox::Grants {
            hosts: self.hosts(ceiling)?,
            folders: folders.collect::<Result<_, String>>()?,
        })
    }
}

impl FolderGrant {
    /// The folder itself, without links, if the administrator lets tools have it.
    fn let_by(&self, ceiling: &Ceiling) -> Result<PathBuf, String> {
        let named = self.path.display();
        let path = self.path.canonicalize().map_err(|error| {
            format!("the folder {named} was granted to this tool, but it can't be opened: {error}")
        })?;
        if !ceiling.folders.iter().any(|most| is_within(&path, most)) {
            return Err(self.beyond());
        }
        let meets = |closed: &PathBuf| path.starts_with(closed) || closed.starts_with(&path);
        if ceiling.closed.iter().any(meets) {
            return Err(format!(
                "the folder {named} was granted to this tool, but the server's own data is there"
            ));
        }
        Ok(path)
    }

    fn beyond(&self) -> String {
        format!(
            "the folder {} was granted to this tool, but the administrator does not let tools have it \
             (setting tool_folders)",
            self.path.display()
        )
    }
}

/// A host as it is written in grants and settings.
fn host(text: &str) -> Option<HostGrant> {
    let text = text.trim();
    let (name, port) = match text.rsplit_once(':') {
        // Addresses of version 6 have colons of their own.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port = port.map(str::parse).transpose().ok()?;
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let rest = name.strip_prefix("*.").unwrap_or(name);
    (!rest.is_empty() && rest.chars().all(is_plain)).then(|| HostGrant {
        host: name.to_ascii_lowercase(),
        port,
    })
}

/// Whether what the administrator wrote lets a tool have a host.
fn covers(most: &str, wanted: &HostGrant) -> bool {
    if most.trim() == "*" {
        return true;
    }
    let Some(most) = host(most) else { return false };
    let same_port = most.port == wanted.port;
    let name = wanted.host.strip_prefix("*.").unwrap_or(&wanted.host);
    let below = most.host.strip_prefix('*').is_some_and(|below| {
        name.ends_with(below)
            || (wanted.host.starts_with('*') && below.strip_prefix('.') == Some(name))
    });
    same_port && (most.host == wanted.host || below)
}

/// Whether a path without links is a folder, or below it.
fn is_within(path: &Path, folder: &Path) -> bool {
    folder
        .canonicalize()
        .is_ok_and(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_let_as_far_as_the_administrator_says() {
        let table = [
            ("*", "api.example.com:8443", true),
            ("api.example.com", "api.example.com", true),
            ("api.example.com", "API.example.com", true),
            ("api.example.com", "api.example.com:8443", false),
            ("api.example.com:8443", "api.example.com:8443", true),
            ("api.example.com", "example.com", false),
            ("api.example.com", "*.example.com", false),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "*.api.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*.api.example.com", "*.example.com", false),
            ("[2001:db8::1]:80", "[2001:db8::1]:80", true),
            ("", "example.com", false),
        ];
        for (most, wanted, lets) in table {
            let host = host(wanted).unwrap();
            assert_eq!(covers(most, &host), lets, "{most} {wanted}");
        }
        for wrong in [
            "",
            "*",
            "*.",
            "http://example.com",
            "example.com:port",
            "a b",
        ] {
            assert!(host(wrong).is_none(), "{wrong}");
        }
    }
}
