//! `mnemic.toml`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use mnemic_core::plans::{HolderKind, Plan, Plans};

use super::{KEYS, Provider, SettingsError};

/// `mnemic.toml` in the working folder, else in the user's configuration folder.
pub fn usual_file() -> Option<PathBuf> {
    let beside = PathBuf::from("mnemic.toml");
    let config = directories::ProjectDirs::from("", "", "mnemic")
        .map(|dirs| dirs.config_dir().join("mnemic.toml"));
    [Some(beside), config]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
}

/// What the file says.
#[derive(Debug, Default)]
pub struct FromFile {
    /// Values by key.
    pub values: BTreeMap<String, String>,
    /// Who serves models.
    pub providers: Vec<Provider>,
    /// Named sets of limits, and who has which.
    pub plans: Plans,
}

/// Reads the file.
pub(super) fn read_file(path: &Path) -> Result<FromFile, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| SettingsError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    parse(path, &text)
}

/// Parses the text of `mnemic.toml`.
///
/// # Errors
/// It is no TOML, or holds an unknown key or an incomplete provider.
pub fn parse(path: &Path, text: &str) -> Result<FromFile, SettingsError> {
    let malformed = |message: String| SettingsError::Malformed {
        path: path.to_owned(),
        message,
    };
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| malformed(error.to_string()))?;
    let mut read = FromFile::default();
    let (mut plans, mut usual) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in table {
        match value {
            toml::Value::Array(rows) if name == "providers" => {
                for row in rows {
                    add_provider(&mut read.providers, row).map_err(malformed)?;
                }
            }
            toml::Value::Table(table) if name == "plans" => {
                for (plan, limits) in table {
                    if plan.trim().is_empty() {
                        return Err(malformed("plans: a plan needs a name".to_owned()));
                    }
                    let limits = limits
                        .try_into::<Plan>()
                        .map_err(|error| malformed(format!("plans.{plan}: {}", error.message())))?;
                    plans.insert(plan, limits);
                }
            }
            toml::Value::Table(table) if name == "limits" => {
                usual = toml::Value::Table(table)
                    .try_into::<BTreeMap<HolderKind, String>>()
                    .map_err(|error| malformed(format!("limits: {}", error.message())))?;
            }
            _ if !KEYS.iter().any(|key| key.name == name) => {
                let nearest = nearest(&name);
                return Err(SettingsError::Unknown {
                    path: path.to_owned(),
                    key: name,
                    nearest,
                });
            }
            toml::Value::String(text) => _ = read.values.insert(name, text),
            other => _ = read.values.insert(name, other.to_string()),
        }
    }
    read.plans = Plans::new(plans, usual)
        .map_err(|unknown| malformed(format!("limits: there is no plan '{unknown}'")))?;
    Ok(read)
}

fn add_provider(providers: &mut Vec<Provider>, row: toml::Value) -> Result<(), String> {
    let provider: Provider = row
        .try_into()
        .map_err(|error: toml::de::Error| format!("providers: {}", error.message()))?;
    if provider.context_window.is_some_and(|window| window < 1) {
        return Err("providers: context_window must be above 0".to_owned());
    }
    if providers.iter().any(|other| other.name == provider.name) {
        let name = provider.name;
        return Err(format!("there are two providers named '{name}'"));
    }
    providers.push(provider);
    Ok(())
}

/// The setting whose name takes the fewest changes of letters.
fn nearest(name: &str) -> &'static str {
    KEYS.iter()
        .map(|key| key.name)
        .chain(["limits", "plans", "providers"])
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .unwrap_or("host")
}
