//! `mnemic.toml`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

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

/// What the file says: values by key, and providers.
pub(super) type FromFile = (BTreeMap<String, String>, Vec<Provider>);

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
    let mut values = BTreeMap::new();
    let mut providers = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Array(rows) if name == "providers" => {
                for row in rows {
                    let provider: Provider = row.try_into().map_err(|error: toml::de::Error| {
                        malformed(format!("providers: {}", error.message()))
                    })?;
                    if provider.context_window.is_some_and(|window| window < 1) {
                        return Err(malformed(
                            "providers: context_window must be above 0".into(),
                        ));
                    }
                    if providers
                        .iter()
                        .any(|other: &Provider| other.name == provider.name)
                    {
                        let name = provider.name;
                        return Err(malformed(format!("there are two providers named '{name}'")));
                    }
                    providers.push(provider);
                }
            }
            _ if !KEYS.iter().any(|key| key.name == name) => {
                let nearest = nearest(&name);
                return Err(SettingsError::Unknown {
                    path: path.to_owned(),
                    key: name,
                    nearest,
                });
            }
            toml::Value::String(text) => _ = values.insert(name, text),
            other => _ = values.insert(name, other.to_string()),
        }
    }
    Ok((values, providers))
}

/// The setting whose name takes the fewest changes of letters.
fn nearest(name: &str) -> &'static str {
    KEYS.iter()
        .map(|key| key.name)
        .chain(["providers"])
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .unwrap_or("host")
}
