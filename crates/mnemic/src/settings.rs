//! Settings: one table says every key with its names, default and meaning; flags win over the
//! environment, that over `mnemic.toml`, that over defaults.

mod file;
mod keys;

use std::{collections::BTreeMap, path::PathBuf};

use mnemic_llm::{Protocol, ToolForm};
use serde::{Deserialize, Deserializer, de::Error as _};

use self::file::read_file;
use self::keys::{BOUNDS, SWITCHES};
pub use self::{
    file::usual_file,
    keys::{KEYS, Key},
};

/// A model server as `mnemic.toml` names it.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// What handles begin with.
    pub name: String,
    /// The base URL, up to and with `/v1`.
    pub base_url: String,
    /// The wire protocol it speaks; chat completions unless set.
    #[serde(default, deserialize_with = "protocol")]
    pub protocol: Option<Protocol>,
    /// The key itself.
    pub api_key: Option<String>,
    /// Or the environment variable that holds it.
    pub api_key_env: Option<String>,
    /// Tokens of its models' context windows, where the server does not tell.
    pub context_window: Option<i64>,
    /// Its models, where the server has no list.
    #[serde(default)]
    pub models: Vec<String>,
    /// Further headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether its models want their reasoning back with their messages.
    #[serde(default)]
    pub echo_reasoning: bool,
    /// How its models are given tools; as the server says unless set.
    #[serde(default, deserialize_with = "tool_form")]
    pub tools: Option<ToolForm>,
}

/// Variables that only `mnemic chat` reads.
const CHAT: [&str; 2] = ["MNEMIC_TOKEN", "MNEMIC_URL"];

fn protocol<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Protocol>, D::Error> {
    let name = String::deserialize(reader)?;
    let known = Protocol::parse(&name);
    known.map(Some).ok_or_else(|| {
        let names = Protocol::ALL.map(Protocol::as_str).join("', '");
        D::Error::custom(format!("protocol = '{name}': must be one of '{names}'"))
    })
}

fn tool_form<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<ToolForm>, D::Error> {
    let name = String::deserialize(reader)?;
    let mut forms = ToolForm::ALL.into_iter();
    let known = forms.find(|form| form.as_str() == name);
    known.map(Some).ok_or_else(|| {
        let names = ToolForm::ALL.map(ToolForm::as_str).join("', '");
        D::Error::custom(format!("tools = '{name}': must be one of '{names}'"))
    })
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no TOML, or a provider in it is not complete.
    #[error("{path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A key that does not exist.
    #[error(
        "{path}: there is no setting '{key}'; did you mean '{nearest}'? `mnemic config` lists all"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The nearest that exists.
        nearest: &'static str,
    },
    /// A value that does not fit.
    #[error("{name} = '{value}' ({origin}): {wanted}")]
    Wrong {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// Where it comes from.
        origin: String,
        /// What it must be.
        wanted: String,
    },
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The value as text.
    pub text: String,
    /// `flag`, an environment variable, a file, or `default`.
    pub origin: String,
}

/// All settings with their values.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// The file that was named, if it was; else the usual places are looked at.
    pub given_file: Option<PathBuf>,
    /// The providers of the file.
    pub providers: Vec<Provider>,
}

/// Reads a variable of the environment.
pub type ReadEnv<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Where settings come from.
#[derive(Default)]
pub struct Sources<'a> {
    /// Flags that were given, by key.
    pub flags: BTreeMap<&'static str, String>,
    /// The file given by a flag or `MNEMIC_CONFIG`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Option<&'a ReadEnv<'a>>,
}

impl Settings {
    /// Reads everything.
    ///
    /// # Errors
    /// The file cannot be read or holds something unknown.
    pub fn load(sources: &Sources<'_>) -> Result<Self, SettingsError> {
        let env = |name: &str| {
            sources
                .env
                .and_then(|read| read(name))
                .filter(|text| !text.is_empty())
        };
        let given_file = sources
            .file
            .clone()
            .or_else(|| env("MNEMIC_CONFIG").map(PathBuf::from));
        let file = given_file.clone().or_else(usual_file);
        let (in_file, providers) = match &file {
            Some(path) => read_file(path)?,
            None => (BTreeMap::new(), Vec::new()),
        };
        let mut values = BTreeMap::new();
        for key in &KEYS {
            let from_env = || {
                let name = key.env.iter().find(|name| env(name).is_some())?;
                Some(Value {
                    text: env(name)?,
                    origin: (*name).to_owned(),
                })
            };
            let from_flag = sources.flags.get(key.name).map(|text| Value {
                text: text.clone(),
                origin: "flag".to_owned(),
            });
            let from_file = || {
                let origin = file
                    .as_ref()
                    .map(|path| path.display().to_string())
                    .unwrap_or_default();
                in_file.get(key.name).map(|text| Value {
                    text: text.clone(),
                    origin,
                })
            };
            let default = || Value {
                text: key.default.to_owned(),
                origin: "default".to_owned(),
            };
            let value = from_flag
                .or_else(from_env)
                .or_else(from_file)
                .unwrap_or_else(default);
            values.insert(key.name, value);
        }
        let settings = Self {
            values,
            file,
            given_file,
            providers,
        };
        settings.check()?;
        Ok(settings)
    }

    /// Checks that numbers and switches are such, within their bounds.
    fn check(&self) -> Result<(), SettingsError> {
        for (name, least, greatest) in BOUNDS {
            let is_optional = |key: &&Key| key.name == name && key.default.is_empty();
            if self.text(name).trim().is_empty() && KEYS.iter().any(|key| is_optional(&key)) {
                continue;
            }
            let value = self.text(name).trim().parse::<i64>();
            if !value.is_ok_and(|value| (least..=greatest).contains(&value)) {
                let wanted = format!("must be a number from {least} to {greatest}");
                return Err(self.wrong(name, wanted));
            }
        }
        for name in SWITCHES {
            self.switch(name)?;
        }
        Ok(())
    }

    /// A value and its origin.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A value as text; empty when there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.value(name).map_or("", |value| value.text.as_str())
    }

    /// A value as text, or `None` when there is none.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    /// A number.
    ///
    /// # Errors
    /// The value is none.
    pub fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, SettingsError> {
        self.text(name)
            .trim()
            .parse()
            .map_err(|_| self.wrong(name, "must be a number in its bounds"))
    }

    /// A switch.
    ///
    /// # Errors
    /// The value is none.
    pub fn switch(&self, name: &'static str) -> Result<bool, SettingsError> {
        match self.text(name).trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" | "" => Ok(false),
            _ => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// The error that a value does not fit.
    #[must_use]
    pub fn wrong(&self, name: &'static str, wanted: impl Into<String>) -> SettingsError {
        let value = self.value(name).cloned();
        let (value, origin) =
            value.map_or_else(Default::default, |value| (value.text, value.origin));
        SettingsError::Wrong {
            name,
            value,
            origin,
            wanted: wanted.into(),
        }
    }
}

/// The variables of an environment that look like ours and mean nothing, as a mistyped name does.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let means_something = |name: &str| {
        let mut known = KEYS.iter().flat_map(|key| key.env);
        // Builds for tests read more of them.
        CHAT.contains(&name)
            || name == "MNEMIC_CONFIG"
            || cfg!(feature = "failpoints")
            || known.any(|env| *env == name)
    };
    let ours = names.filter(|name| name.starts_with("MNEMIC_"));
    let mut unknown: Vec<String> = ours.filter(|name| !means_something(name)).collect();
    unknown.sort();
    unknown
}

#[cfg(test)]
mod tests;
