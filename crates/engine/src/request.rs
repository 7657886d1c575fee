//! What a client asks of an agent, parsed and validated by the API.

use mnemic_core::messages::NewMessage;
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
    /// SHA-256 (hex) of method, path and body: by it a client's retry is known.
    pub body_hash: String,
    /// Whether the client says that this is a retry (`x-stainless-retry-count` above 0).
    pub is_retry: bool,
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
