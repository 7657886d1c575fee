//! What all tools of an organization have in common: packages and variables. The V1 API calls it a sandbox config.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{SandboxConfigId, SandboxVariableId, UserId},
    time::Timestamp,
    tools::requirements::Requirement,
    validation::Invalid,
};

/// Variables that one organization may have.
pub const MAX_VARIABLES: usize = 1_000;

/// Bytes of a variable's value: no program could be started with a longer one.
pub const MAX_VALUE_BYTES: usize = 128 * 1024 - 1_024;

/// Characters of a variable's name.
const MAX_KEY_CHARS: usize = 255;

/// Characters of a variable's description.
const MAX_DESCRIPTION_CHARS: usize = 10_000;

/// Characters of the name of a virtual environment.
const MAX_VENV_NAME_CHARS: usize = 255;

/// Variables by which the server tells a tool who calls it (V1 contract, section 12).
pub const SERVER_VARIABLES: [&str; 3] = ["LETTA_AGENT_ID", "LETTA_TOOL_ID", "LETTA_PROJECT_ID"];

/// What all tools of an organization have in common. There is one of an organization at the most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Its id.
    pub id: SandboxConfigId,
    /// What it says.
    pub config: LocalConfig,
    /// Sets of packages that were installed before this time are not used any more.
    pub packages_since: Option<Timestamp>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// Who changed it last.
    pub updated_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What a client says about the sandbox of its tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// Kept for clients that read it: packages are apart from the interpreter's own in any case.
    pub use_venv: bool,
    /// Kept for clients that read it.
    pub venv_name: String,
    /// Packages that all tools in Python need.
    pub pip_requirements: Vec<Requirement>,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            use_venv: false,
            venv_name: "venv".to_owned(),
            pip_requirements: Vec::new(),
        }
    }
}

impl LocalConfig {
    /// Checks what its types do not.
    ///
    /// # Errors
    /// The name of the virtual environment is too long.
    pub fn check(&self) -> Result<(), Invalid> {
        within("venv_name", &self.venv_name, MAX_VENV_NAME_CHARS)
    }
}

/// A variable that all tools of an organization see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxVariable {
    /// Its id.
    pub id: SandboxVariableId,
    /// The config that it belongs to.
    pub config_id: SandboxConfigId,
    /// Its name; no other variable of the config has it.
    pub key: String,
    /// Its value, decrypted.
    pub value: String,
    /// What it is for.
    pub description: Option<String>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// Who changed it last.
    pub updated_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl SandboxVariable {
    /// Checks that an environment can hold it.
    ///
    /// # Errors
    /// Its name or value is not one of an environment variable, is too long, or the name is one of the server's own.
    pub fn check(&self) -> Result<(), Invalid> {
        environment(&self.key, &self.value)?;
        within("the variable's name", &self.key, MAX_KEY_CHARS)?;
        if SERVER_VARIABLES.contains(&self.key.as_str()) {
            return Err(Invalid(format!(
                "the server itself sets {}, so that tools can rely on it: choose another name",
                self.key
            )));
        }
        if self.value.len() > MAX_VALUE_BYTES {
            return Err(Invalid(format!(
                "the value of {} has {} bytes, more than the {MAX_VALUE_BYTES} that an environment variable may have",
                self.key,
                self.value.len()
            )));
        }
        let description = self.description.as_deref().unwrap_or_default();
        within(
            "the variable's description",
            description,
            MAX_DESCRIPTION_CHARS,
        )
    }
}

/// Checks that an environment can hold a variable.
///
/// # Errors
/// Its name is empty or holds `=`, or one of both holds U+0000.
pub fn environment(key: &str, value: &str) -> Result<(), Invalid> {
    let shown = || key.chars().take(100).collect::<String>();
    if !is_name(key) {
        return Err(Invalid(format!(
            "'{}' is no name of an environment variable: it must not be empty nor hold '=' or U+0000",
            shown()
        )));
    }
    if !is_value(value) {
        return Err(Invalid(format!(
            "the value of {} must not hold U+0000: no environment variable can",
            shown()
        )));
    }
    Ok(())
}

fn within(what: &str, text: &str, limit: usize) -> Result<(), Invalid> {
    let length = text.chars().count();
    if length > limit {
        return Err(Invalid(format!(
            "{what} may have at most {limit} characters; this one has {length}: shorten it"
        )));
    }
    Ok(())
}

fn is_name(key: &str) -> bool {
    !key.is_empty() && !key.contains(['=', '\0'])
}

fn is_value(value: &str) -> bool {
    !value.contains('\0')
}

/// One layer of a call's variables.
pub type Layer = BTreeMap<String, String>;

/// The variables of a call from its layers, of which later ones win. What no environment can hold is left out: a
/// secret of such a name is no reason not to run.
pub fn layered(layers: impl IntoIterator<Item = Layer>) -> Layer {
    let pairs = layers.into_iter().flatten();
    pairs
        .filter(|(key, value)| is_name(key) && is_value(value))
        .collect()
}

/// The packages that a call needs: those of its tool, and those of the organization that its tool does not name itself.
#[must_use]
pub fn packages(own: Vec<Requirement>, common: &[Requirement]) -> Vec<Requirement> {
    let named: BTreeSet<String> = own.iter().map(Requirement::project).collect();
    let others = common
        .iter()
        .filter(|other| !named.contains(&other.project()));
    let others: Vec<Requirement> = others.cloned().collect();
    own.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::requirements::Registry;

    fn variable(key: &str, value: &str) -> SandboxVariable {
        SandboxVariable {
            id: SandboxVariableId::new(),
            config_id: SandboxConfigId::new(),
            key: key.to_owned(),
            value: value.to_owned(),
            description: None,
            created_by: None,
            updated_by: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn a_variable_is_what_an_environment_can_hold_and_not_one_of_the_servers_own() {
        let long = "x".repeat(MAX_KEY_CHARS + 1);
        let large = "x".repeat(MAX_VALUE_BYTES + 1);
        let table = [
            ("CITY", "Bath", true),
            ("city.of-birth", "", true),
            ("ORT", "Zürich\n", true),
            ("LETTA_PROJECT_IDS", "x", true),
            ("", "x", false),
            ("A=B", "x", false),
            ("A\0B", "x", false),
            ("A", "x\0", false),
            ("LETTA_AGENT_ID", "x", false),
            ("LETTA_TOOL_ID", "x", false),
            ("LETTA_PROJECT_ID", "x", false),
            (&long, "x", false),
            ("A", &large, false),
            ("A", &large[1..], true),
        ];
        for (key, value, good) in table {
            let found = variable(key, value).check();
            assert_eq!(found.is_ok(), good, "{key:.20} {value:.20} {found:?}");
        }
    }

    fn layer(pairs: &[(&str, &str)]) -> Layer {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn of_the_layers_of_variables_the_last_one_wins() {
        let found = layered([
            layer(&[("A", "first"), ("B", "first"), ("C", "first")]),
            layer(&[("B", "second"), ("C", "second"), ("X=Y", "no"), ("", "no")]),
            layer(&[("C", "third"), ("D", "third"), ("E", "\0")]),
        ]);
        let wanted = layer(&[
            ("A", "first"),
            ("B", "second"),
            ("C", "third"),
            ("D", "third"),
        ]);
        assert_eq!(found, wanted);
    }

    #[test]
    fn packages_of_the_organization_join_those_of_a_tool_which_count_where_both_name_one() {
        let needed = |name: &str, version| Requirement::new(Registry::Pip, name, version).unwrap();
        let own = vec![needed("PyYAML", Some("6.0")), needed("uvicorn", None)];
        let common = [
            needed("pyyaml", Some("5.0")),
            needed("Uvicorn[standard]", None),
            needed("zope.interface", None),
            needed("six", Some("1.16")),
        ];
        let found = packages(own.clone(), &common);
        let wanted = [own.as_slice(), &common[2..]].concat();
        assert_eq!(found, wanted);
        assert_eq!(packages(Vec::new(), &common), common);
    }
}
