//! Agents: who remembers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    ids::{AgentId, UserId},
    time::Timestamp,
};

/// Kinds of agents of the V1 API: they differ in default tools, rules, prompt and loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AgentType {
    MemgptAgent,
    MemgptV2Agent,
    #[default]
    LettaV1Agent,
    ReactAgent,
    WorkflowAgent,
    SplitThreadAgent,
    SleeptimeAgent,
    VoiceConvoAgent,
    VoiceSleeptimeAgent,
}

impl AgentType {
    /// All types, in the order in which the contract lists them.
    pub const ALL: [Self; 9] = [
        Self::MemgptAgent,
        Self::MemgptV2Agent,
        Self::LettaV1Agent,
        Self::ReactAgent,
        Self::WorkflowAgent,
        Self::SplitThreadAgent,
        Self::SleeptimeAgent,
        Self::VoiceConvoAgent,
        Self::VoiceSleeptimeAgent,
    ];

    /// The name in the store and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MemgptAgent => "memgpt_agent",
            Self::MemgptV2Agent => "memgpt_v2_agent",
            Self::LettaV1Agent => "letta_v1_agent",
            Self::ReactAgent => "react_agent",
            Self::WorkflowAgent => "workflow_agent",
            Self::SplitThreadAgent => "split_thread_agent",
            Self::SleeptimeAgent => "sleeptime_agent",
            Self::VoiceConvoAgent => "voice_convo_agent",
            Self::VoiceSleeptimeAgent => "voice_sleeptime_agent",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether its loop is the older one: every answer is a call that says whether another follows (V1 contract, section
    /// 2.2).
    #[must_use]
    pub const fn needs_heartbeats(self) -> bool {
        matches!(
            self,
            Self::MemgptAgent
                | Self::MemgptV2Agent
                | Self::ReactAgent
                | Self::WorkflowAgent
                | Self::VoiceConvoAgent
                | Self::VoiceSleeptimeAgent
        )
    }

    /// Whether its prompt shows core memory (V1 contract, section 4).
    #[must_use]
    pub const fn has_core_memory(self) -> bool {
        !matches!(self, Self::ReactAgent | Self::WorkflowAgent)
    }
}

/// The model an agent uses and how, in the words of the V1 API's `llm_config`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LlmConfig {
    /// The model as its provider calls it.
    pub model: String,
    /// `provider/model`.
    pub handle: Option<String>,
    /// The wire protocol's name, such as `openai`.
    pub model_endpoint_type: String,
    /// The base URL.
    pub model_endpoint: Option<String>,
    /// The provider's name.
    pub provider_name: Option<String>,
    /// Tokens that request and answer may take together.
    pub context_window: i64,
    /// Sampling temperature; not written where there is none, for the V1 API's schema has no null there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Tokens an answer may take.
    pub max_tokens: Option<i64>,
    /// Whether the model may call several tools at once.
    pub parallel_tool_calls: Option<bool>,
    /// How much a reasoning model thinks.
    pub reasoning_effort: Option<String>,
    /// All other fields, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl LlmConfig {
    /// Whether a model without reasoning of its own thinks in the arguments of its calls, in the loop where it does:
    /// unless `put_inner_thoughts_in_kwargs` says no, or the model is set to reason.
    #[must_use]
    pub fn thinks_in_arguments(&self) -> bool {
        let flag = |name: &str| self.extra.get(name).and_then(Value::as_bool);
        let effort = self.reasoning_effort.as_deref();
        let reasons = flag("enable_reasoner") == Some(true)
            || effort.is_some_and(|effort| !matches!(effort, "none" | "minimal"));
        flag("put_inner_thoughts_in_kwargs").unwrap_or(!reasons)
    }
}

/// An agent as the store keeps it. Relations (blocks, tools, tags ...) are rows of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its name; need not be unique.
    pub name: String,
    /// Its kind.
    pub agent_type: AgentType,
    /// The system prompt that the client or the kind gave, before memory is compiled into it.
    pub system: String,
    /// What it is for, for people.
    pub description: Option<String>,
    /// Free data of the client's.
    pub metadata: Option<Map<String, Value>>,
    /// Its model.
    pub llm_config: LlmConfig,
    /// Its embedding model in the V1 API's words, or none.
    pub embedding_config: Option<Value>,
    /// Settings of the model as the client gave them.
    pub model_settings: Option<Value>,
    /// Settings of compaction.
    pub compaction_settings: Option<Value>,
    /// The form that answers must have.
    pub response_format: Option<Value>,
    /// Rules on its tools.
    pub tool_rules: Vec<Value>,
    /// The time zone in which it sees times.
    pub timezone: String,
    /// Whether its context is emptied before every turn.
    pub message_buffer_autoclear: bool,
    /// Whether a second agent tidies its memory in the background.
    pub enable_sleeptime: Option<bool>,
    /// Left out of lists.
    pub hidden: Option<bool>,
    /// How many files it may hold open.
    pub max_files_open: Option<i64>,
    /// Characters of an open file that its prompt shows.
    pub per_file_view_window_char_limit: Option<i64>,
    /// Who it talks with, and what they may change.
    pub people: People,
    /// Fields that the server stores for its clients without giving them a meaning.
    pub labels: AgentLabels,
    /// Grows with each change of anything a prompt shows.
    pub revision: i64,
    /// When its last run ended.
    pub last_run_completion: Option<Timestamp>,
    /// Milliseconds that run took.
    pub last_run_duration_ms: Option<i64>,
    /// Why that run ended.
    pub last_stop_reason: Option<String>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// Who changed it last.
    pub updated_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Agent {
    /// The handle of its embedding model, where it has one of its own.
    #[must_use]
    pub fn embedding_handle(&self) -> Option<&str> {
        self.embedding_config.as_ref()?.get("handle")?.as_str()
    }

    /// The form that its answers must have: its own one, else that of its model's settings. Text is no form.
    #[must_use]
    pub fn form_of_answers(&self) -> Option<&Value> {
        let given = |form: &&Value| !form.is_null();
        // Google's settings call it by another name.
        let of_settings = || {
            let settings = self.model_settings.as_ref()?;
            let named = |key| settings.get(key).filter(given);
            named("response_format").or_else(|| named("response_schema"))
        };
        let own = self.response_format.as_ref().filter(given);
        own.or_else(of_settings)
            .filter(|form| form.get("type").is_none_or(|kind| kind != "text"))
    }
}

/// How an agent deals with its end users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct People {
    /// Whether every request must say for which user it is.
    pub require_user: bool,
    /// Labels of common blocks, and names of common archives, that the turns of users may change; all others they only read.
    pub open_to_users: Vec<String>,
}

/// Fields of the V1 API that are stored and returned, and mean nothing to the server itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct AgentLabels {
    pub project_id: Option<String>,
    pub template_id: Option<String>,
    pub base_template_id: Option<String>,
    pub deployment_id: Option<String>,
    pub entity_id: Option<String>,
}
