//! What a client asks of an agent, parsed and validated by the API.

use mnemic_core::{ids::GroupId, messages::NewMessage, parts::Speech};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::custom::Above;

/// Steps a run may take when its request does not say (V1 contract, section 3.1).
pub const DEFAULT_MAX_STEPS: i64 = 50;

/// How a run's events are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// One event per finished message.
    #[default]
    Steps,
    /// Fragments as the model generates them.
    Tokens,
}

/// A request to run an agent. It is stored with the run before it is acknowledged, so that a crash
/// loses nothing of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendRequest {
    /// The input messages, at least one.
    pub messages: Vec<NewMessage>,
    /// Steps it may take, at least 1.
    pub max_steps: i64,
    /// How its events are made.
    pub granularity: Granularity,
    /// Whether its events are kept for replay as they happen.
    pub background: bool,
    /// A model handle to use in place of the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_model: Option<String>,
    /// A system prompt to use in place of the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_system: Option<String>,
    /// Tools that the client runs, in place of the agent's own of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_tools: Vec<ClientTool>,
    /// What the model has to call in the run's first step, where the client says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<AskedChoice>,
    /// What the client can do beside its tools, told to the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_skills: Vec<ClientSkill>,
    /// Whether compactions are among its events.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_compaction: bool,
    /// What the API shows as the run's `request_config`.
    pub request_config: Value,
    /// What the API shows as the run's `metadata`, with `run_type`.
    pub metadata: Value,
    /// Where to post the run's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// The running tools that sent it, directly or by other agents; none for a client's own request.
    #[serde(default, skip_serializing_if = "Above::is_empty")]
    pub above: Above,
    /// The round of a group that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<Round>,
    /// Whether its answers may leave out the calls that a person has to approve, which then go on waiting.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers_in_part: bool,
    /// SHA-256 (hex) of method, path and body: by it a client's retry is known.
    pub body_hash: String,
    /// Whether the client says that this is a retry (`x-stainless-retry-count` above 0).
    pub is_retry: bool,
}

/// The tool by which an agent speaks, as a request's configuration names it; `None` where its calls are to be shown as such.
pub(crate) fn speech(request_config: &Value) -> Option<Speech> {
    let field = |key: &str| request_config.get(key);
    if field("use_assistant_message").and_then(Value::as_bool) == Some(false) {
        return None;
    }
    let usual = Speech::default();
    let text = |key: &str| field(key).and_then(Value::as_str).map(str::to_owned);
    Some(Speech {
        tool: text("assistant_message_tool_name").unwrap_or(usual.tool),
        argument: text("assistant_message_tool_kwarg").unwrap_or(usual.argument),
    })
}

/// A member's turn in a group whose members speak one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// The group.
    pub group_id: GroupId,
    /// How many spoke before in this round.
    pub turn: i64,
}

impl SendRequest {
    /// Whether it answers calls that wait.
    pub(crate) fn has_answers(&self) -> bool {
        let mut messages = self.messages.iter();
        messages.any(|message| !message.body.answers.is_empty())
    }
}

impl Default for SendRequest {
    /// One that says nothing, for what is only to be looked at.
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            max_steps: DEFAULT_MAX_STEPS,
            granularity: Granularity::Steps,
            background: false,
            override_model: None,
            override_system: None,
            client_tools: Vec::new(),
            tool_choice: None,
            client_skills: Vec::new(),
            include_compaction: false,
            request_config: Value::Null,
            metadata: Value::Null,
            callback_url: None,
            above: Above::default(),
            round: None,
            answers_in_part: false,
            body_hash: String::new(),
            is_retry: false,
        }
    }
}

/// A tool that a client runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientTool {
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
}

/// A call that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedChoice {
    /// Of any tool.
    Any,
    /// Of this one.
    Tool(String),
}

/// Instructions that a client keeps for the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSkill {
    /// Its name.
    pub name: String,
    /// When it is of use.
    pub description: String,
    /// Where the client has it.
    pub location: String,
}

/// What to do when the conversation is busy with another run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenBusy {
    /// Wait in line (agent routes).
    Queue,
    /// Refuse with the running run's id (conversation routes).
    Refuse,
}
