//! Whom one talks to: found by id or name, chosen from a list, or made.

use reqwest::Method;
use serde_json::{Value, json};

use super::{client::Client, error::ChatError, recent::Recent};

/// The name of an agent that is made on first use.
const FIRST_NAME: &str = "Companion";

/// Agents that a list shows.
const MAX_LISTED: &str = "100";

/// Agents that are named where another is not found.
const MAX_NAMED: usize = 5;

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The handle of its model.
    pub model: String,
}

/// Whether a person can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Questions are put.
    Allowed,
    /// Every question is answered by what is usual, as was agreed to beforehand.
    Never,
    /// There is nobody to ask. What is usual is done, but no agent is made for a name that may be mistyped.
    Nobody,
}

impl Agent {
    /// The agent in an answer of the API.
    #[must_use]
    pub fn from_json(body: &Value) -> Option<Self> {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let model = text(body.get("model")).or_else(|| text(body.pointer("/llm_config/handle")));
        Some(Self {
            id: text(body.get("id"))?,
            name: text(body.get("name"))?,
            model: model.unwrap_or_default(),
        })
    }

    /// The path of something that belongs to it.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/agents/{}{rest}", self.id)
    }
}

/// The newest agents.
///
/// # Errors
/// The server's.
pub async fn list(client: &Client) -> Result<Vec<Agent>, ChatError> {
    let query = [("limit", MAX_LISTED), ("order", "desc")];
    Ok(agents_of(&client.find("/v1/agents/", &query).await?))
}

fn agents_of(list: &Value) -> Vec<Agent> {
    let rows = list.as_array().into_iter().flatten();
    rows.filter_map(Agent::from_json).collect()
}

/// The agent of an id or name, if there is one.
///
/// # Errors
/// Several have that name, or the server's.
pub async fn find(client: &Client, wanted: &str) -> Result<Option<Agent>, ChatError> {
    if wanted.starts_with("agent-") {
        let path = format!("/v1/agents/{}", encoded(wanted));
        match client.get(&path).await {
            Ok(body) => return Ok(Agent::from_json(&body)),
            Err(ChatError::Refused {
                status: 404 | 422, ..
            }) => {}
            Err(error) => return Err(error),
        }
    }
    let found = client.find("/v1/agents/", &[("name", wanted)]).await?;
    let mut found = agents_of(&found);
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().map(|agent| agent.id.as_str()).collect();
        return Err(ChatError::Usage(format!(
            "several agents are called '{wanted}'; name one by its id: {}",
            ids.join(", ")
        )));
    }
    Ok(found.pop())
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The agent to talk to when the chat begins.
///
/// # Errors
/// There is none of that name, none can be made, or the server's.
pub async fn choose(
    client: &Client,
    wanted: Option<&str>,
    recent: &Recent,
    asking: Asking,
) -> Result<Agent, ChatError> {
    if let Some(wanted) = wanted {
        if let Some(agent) = find(client, wanted).await? {
            return Ok(agent);
        }
        if !wanted.starts_with("agent-") && may_make(client, wanted, asking).await? {
            return create(client, Some(wanted), asking).await;
        }
        return Err(ChatError::Usage(format!("there is no agent '{wanted}'")));
    }
    if let Some(id) = recent.agent(&client.url)
        && let Some(agent) = find(client, &id).await?
    {
        return Ok(agent);
    }
    let mut known = list(client).await?;
    match known.len() {
        0 => {
            // Before anything is asked that would be for nothing.
            if models(client).await?.is_empty() {
                see_that_all_answer(client).await?;
                return Err(ChatError::NoModel);
            }
            let name = match asking {
                Asking::Allowed => {
                    ask_name("There is no agent yet. What is the first one to be called?")?
                }
                Asking::Never | Asking::Nobody => FIRST_NAME.to_owned(),
            };
            create(client, Some(&name), asking).await
        }
        1 => known.pop().ok_or(ChatError::NoModel),
        _ if asking != Asking::Allowed => Err(ChatError::Usage(format!(
            "there are several agents: name one ({})",
            names(&known)
        ))),
        _ => pick("Whom do you want to talk to?", known, |agent| {
            format!("{}  ({})", agent.name, agent.model)
        }),
    }
}

/// Whether an agent of that name is to be made.
async fn may_make(client: &Client, name: &str, asking: Asking) -> Result<bool, ChatError> {
    match asking {
        Asking::Allowed => confirm(&format!("There is no agent '{name}'. Make it?")),
        Asking::Never => Ok(true),
        Asking::Nobody => {
            let known = list(client).await?;
            if known.is_empty() {
                return Ok(true);
            }
            Err(ChatError::Usage(format!(
                "there is no agent '{name}'{}; --yes makes one of that name",
                nearest(name, &known)
            )))
        }
    }
}

/// The agents that may have been meant.
fn nearest(name: &str, known: &[Agent]) -> String {
    let wanted = name.to_lowercase();
    let is_near = |known: &str| {
        let known = known.to_lowercase();
        let distance = strsim::damerau_levenshtein(&known, &wanted);
        distance * 3 <= wanted.chars().count() || known.contains(&wanted) || wanted.contains(&known)
    };
    let mut near: Vec<&str> = known.iter().map(|agent| agent.name.as_str()).collect();
    near.retain(|known| is_near(known));
    near.dedup();
    near.truncate(MAX_NAMED);
    if near.is_empty() {
        return String::new();
    }
    format!(" (did you mean {}?)", near.join(" or "))
}

fn names(agents: &[Agent]) -> String {
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    names.join(", ")
}

/// Makes an agent.
///
/// # Errors
/// There is no model, the name cannot be one, or the server's.
pub async fn create(
    client: &Client,
    name: Option<&str>,
    asking: Asking,
) -> Result<Agent, ChatError> {
    let name = match name {
        Some(name) => name.to_owned(),
        None if asking == Asking::Allowed => ask_name("What is the new agent to be called?")?,
        None => FIRST_NAME.to_owned(),
    };
    let mut body = json!({
        "name": name,
        "agent_type": "letta_v1_agent",
        "memory_blocks": [
            {"label": "human", "value": ""},
            {"label": "persona", "value": format!(
                "My name is {name}. I remember what I am told, say so when I do not know something, \
                 and speak plainly and kindly."
            )},
        ],
    });
    if let Some(zone) = jiff::tz::TimeZone::system().iana_name() {
        set(&mut body, "timezone", zone);
    }
    #[cfg(feature = "local-llm")]
    if super::offer::has_only_weak_models(&models(client).await?)
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("include_base_tools".to_owned(), false.into());
        fields.insert("tools".to_owned(), super::offer::FEW_TOOLS.into());
    }
    // The server's own default is the best choice, where it has one.
    let made = match client.send(Method::POST, "/v1/agents/", &body).await {
        Err(ChatError::Refused {
            status: 400 | 422,
            detail,
        }) => {
            let Some(handle) = choose_model(client, asking).await? else {
                return Err(ChatError::Refused {
                    status: 400,
                    detail,
                });
            };
            set(&mut body, "model", &handle);
            client.send(Method::POST, "/v1/agents/", &body).await?
        }
        made => made?,
    };
    Agent::from_json(&made).ok_or_else(|| ChatError::NotOurs {
        url: client.url.clone(),
    })
}

fn set(body: &mut Value, key: &str, text: &str) {
    if let Some(fields) = body.as_object_mut() {
        fields.insert(key.to_owned(), text.into());
    }
}

/// The handles of the models that agents can use, with their context windows.
///
/// # Errors
/// The server's.
pub async fn models(client: &Client) -> Result<Vec<(String, i64)>, ChatError> {
    let list = client.get("/v1/models/").await?;
    let rows = list.as_array().into_iter().flatten();
    Ok(rows
        .filter_map(|row| {
            let handle = row.get("handle")?.as_str()?.to_owned();
            let window = row.get("max_context_window").and_then(Value::as_i64);
            Some((handle, window.unwrap_or_default()))
        })
        .collect())
}

/// Whether a configured provider does not answer: then nothing else is chosen for a person in its place, as
/// an agent keeps its model.
///
/// # Errors
/// One does not, or the server's.
pub async fn see_that_all_answer(client: &Client) -> Result<(), ChatError> {
    let silent = match client.get("/v1/models/unreachable").await {
        // A server without that route says nothing of it.
        Err(error) if error.is_missing() => return Ok(()),
        silent => silent?,
    };
    let text = |row: &Value, key| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut rows = silent.as_array().into_iter().flatten();
    match rows.find_map(|row| Some((text(row, "provider_name")?, text(row, "error")?))) {
        Some((provider, why)) => Err(ChatError::Silent { provider, why }),
        None => Ok(()),
    }
}

/// Whether a model runs in the server's process.
fn is_in_process(handle: &str) -> bool {
    let provider = handle.split_once('/').map(|(provider, _)| provider);
    provider == Some(mnemic_llm::IN_PROCESS_PROVIDER)
}

async fn choose_model(client: &Client, asking: Asking) -> Result<Option<String>, ChatError> {
    let mut handles: Vec<String> = models(client)
        .await?
        .into_iter()
        .map(|(handle, _)| handle)
        .collect();
    if handles.is_empty() {
        return Err(ChatError::NoModel);
    }
    if handles.len() == 1 || asking != Asking::Allowed {
        if handles.first().is_some_and(|handle| is_in_process(handle)) {
            see_that_all_answer(client).await?;
        }
        return Ok(Some(handles.swap_remove(0)));
    }
    pick("Which model is it to think with?", handles, Clone::clone).map(Some)
}

fn pick<T>(question: &str, items: Vec<T>, shown: impl Fn(&T) -> String) -> Result<T, ChatError> {
    let lines: Vec<String> = items.iter().map(shown).collect();
    let chosen = blocking(|| inquire::Select::new(question, lines).raw_prompt())?;
    items
        .into_iter()
        .nth(chosen.index)
        .ok_or_else(|| ChatError::Usage("nothing was chosen".to_owned()))
}

fn ask_name(question: &str) -> Result<String, ChatError> {
    blocking(|| {
        inquire::Text::new(question)
            .with_default(FIRST_NAME)
            .prompt()
    })
}

/// Puts a question whose usual answer is yes.
///
/// # Errors
/// It was not answered.
pub fn confirm(question: &str) -> Result<bool, ChatError> {
    blocking(|| inquire::Confirm::new(question).with_default(true).prompt())
}

/// Puts a question; the rest of the program goes on meanwhile.
fn blocking<T>(
    question: impl FnOnce() -> Result<T, inquire::InquireError>,
) -> Result<T, ChatError> {
    tokio::task::block_in_place(question).map_err(|error| ChatError::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_may_have_been_meant_are_named() {
        let agent = |name: &str| Agent {
            id: String::new(),
            name: name.to_owned(),
            model: String::new(),
        };
        let known = ["Zed", "Ada", "Companion"].map(agent);
        for (name, said) in [
            ("Zde", " (did you mean Zed?)"),
            ("ada", " (did you mean Ada?)"),
            ("comp", " (did you mean Companion?)"),
            ("Somebody", ""),
        ] {
            assert_eq!(nearest(name, &known), said, "{name}");
        }
    }
}
