//! What is opened for a tool beside its scratch folder: what its author wants, as far as the administrator lets it.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use mnemic_core::tools::Tool;
use mnemic_tools::sandbox::{self, Access};
use serde::{Deserialize, Serialize};

/// Where grants stand among a tool's further fields.
pub(crate) const FIELD: &str = "grants";

/// What the administrator lets tools have at the most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Folders; a tool may be granted one of them, or a folder in it.
    pub folders: Vec<PathBuf>,
    /// Names of the server's own environment variables.
    pub variables: Vec<String>,
}

/// What a tool's author wants for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolGrants {
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

    /// What the sandbox opens. The error names what the administrator does not let.
    pub(super) fn opened(&self, ceiling: &Ceiling) -> Result<sandbox::Grants, String> {
        let folders = self.folders.iter().map(|grant| {
            if !ceiling.folders.iter().any(|folder| is_within(&grant.path, folder)) {
                return Err(format!(
                    "the folder {} was granted to this tool, but the administrator does not let tools have it \
                     (setting tool_folders)",
                    grant.path.display()
                ));
            }
            Ok(sandbox::FolderGrant {
                path: grant.path.clone(),
                access: match grant.access {
                    FolderAccess::Read => Access::Read,
                    FolderAccess::Write => Access::Write,
                },
            })
        });
        Ok(sandbox::Grants {
            folders: folders.collect::<Result<_, String>>()?,
        })
    }
}

/// Whether a path is a folder or below it, also when links are followed.
fn is_within(path: &Path, folder: &Path) -> bool {
    let is_plain = path
        .components()
        .all(|part| !matches!(part, Component::ParentDir));
    let (Ok(path), Ok(folder)) = (path.canonicalize(), folder.canonicalize()) else {
        // What is not there is told by the sandbox.
        return is_plain && path.starts_with(folder);
    };
    path.starts_with(folder)
}
