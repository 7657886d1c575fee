//! Model servers of `mnemic.toml`.

use std::collections::BTreeMap;

use mnemic_llm::{Protocol, ToolForm};
use serde::{Deserialize, Deserializer, de::Error as _};

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
