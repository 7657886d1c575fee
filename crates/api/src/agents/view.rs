//! Agents as the V1 API shows them (V1 contract, section 2.3).

use mnemic_core::{
    agents::{Agent, AgentType, LlmConfig, People},
    identities::Identity,
    ids::{AgentId, AgentSecretId, IdentityId, MessageId, OrganizationId, UserId},
    messages::Message,
    time::Timestamp,
};
use mnemic_engine::agents::{AgentState, compaction_settings};
use mnemic_store::agent_secrets::AgentSecret;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    blocks::BlockView,
    groups::GroupView,
    identities::IdentityView,
    letta_messages::{LettaMessage, MessageType, Shows, letta_messages},
    tools::ToolView,
};

/// An agent. Relations (blocks, tools, sources, tags, identities, secrets) are empty unless the request
/// asks for them.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct AgentView {
    #[schema(value_type = Option<String>)]
    created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    last_updated_by_id: Option<UserId>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
    #[schema(value_type = String)]
    id: AgentId,
    name: String,
    #[schema(value_type = Vec<serde_json::Value>)]
    tool_rules: Vec<Value>,
    /// The messages that the model sees; the compiled prompt is the first.
    #[schema(value_type = Vec<String>)]
    message_ids: Vec<MessageId>,
    system: String,
    #[schema(value_type = String)]
    agent_type: AgentType,
    llm_config: Value,
    embedding_config: Option<Value>,
    /// The model's handle.
    model: Option<String>,
    /// The embedding model's handle.
    embedding: Option<String>,
    model_settings: Value,
    compaction_settings: Value,
    response_format: Option<Value>,
    description: Option<String>,
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Map<String, Value>>,
    memory: MemoryView,
    blocks: Vec<BlockView>,
    tools: Vec<ToolView>,
    #[schema(value_type = Vec<serde_json::Value>)]
    sources: Vec<Value>,
    tags: Vec<String>,
    tool_exec_environment_variables: Vec<SecretView>,
    secrets: Vec<SecretView>,
    project_id: Option<String>,
    template_id: Option<String>,
    base_template_id: Option<String>,
    deployment_id: Option<String>,
    entity_id: Option<String>,
    #[schema(value_type = Vec<String>)]
    identity_ids: Vec<IdentityId>,
    identities: Vec<IdentityView>,
    /// The request whose calls wait for an answer; only with `include=agent.pending_approval`.
    pending_approval: Option<LettaMessage>,
    message_buffer_autoclear: bool,
    enable_sleeptime: Option<bool>,
    /// The older name of `managed_group`.
    multi_agent_group: Option<GroupView>,
    /// The group that the agent manages.
    managed_group: Option<GroupView>,
    #[schema(value_type = Option<String>)]
    last_run_completion: Option<Timestamp>,
    last_run_duration_ms: Option<i64>,
    last_stop_reason: Option<String>,
    timezone: String,
    max_files_open: Option<i64>,
    per_file_view_window_char_limit: Option<i64>,
    hidden: Option<bool>,
    #[serde(flatten)]
    people: PeopleView,
}

/// How an agent deals with its end users.
#[derive(Debug, Serialize, ToSchema)]
struct PeopleView {
    /// Whether requests must say for which user they are. Left out where it is false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    require_user: bool,
    /// Common blocks (labels) and archives (names) that the turns of users may change. Left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    open_to_users: Vec<String>,
}

impl From<People> for PeopleView {
    fn from(people: People) -> Self {
        Self {
            require_user: people.require_user,
            open_to_users: people.open_to_users,
        }
    }
}

/// The request in a message whose calls wait.
fn request_of(message: &Message) -> Option<LettaMessage> {
    let shows = Shows {
        wanted: Some(vec![MessageType::ApprovalRequestMessage]),
        ..Shows::default()
    };
    letta_messages(message, &shows).into_iter().next()
}

impl From<AgentState> for AgentView {
    fn from(state: AgentState) -> Self {
        let agent = state.agent;
        let managed = state.managed.map(GroupView::from);
        let (compaction_settings, model_settings) =
            (compaction_settings(&agent), model_settings(&agent));
        let (identity_ids, identities) = linked(state.identities);
        let blocks: Vec<BlockView> = state.blocks.into_iter().map(BlockView::from).collect();
        let of_agent = |secret| SecretView::of(agent.id, secret);
        let secrets: Vec<SecretView> = state.secrets.into_iter().map(of_agent).collect();
        let embedding = agent.embedding_handle().map(str::to_owned);
        Self {
            created_by_id: agent.created_by,
            last_updated_by_id: agent.updated_by,
            created_at: agent.created_at,
            updated_at: agent.updated_at,
            id: agent.id,
            name: agent.name,
            tool_rules: agent.tool_rules,
            message_ids: state.message_ids,
            system: agent.system,
            agent_type: agent.agent_type,
            model: handle(&agent.llm_config),
            llm_config: llm_config(agent.agent_type, agent.llm_config),
            embedding,
            embedding_config: agent.embedding_config,
            model_settings,
            compaction_settings,
            response_format: agent.response_format,
            description: agent.description,
            metadata: agent.metadata,
            memory: MemoryView::new(agent.agent_type, blocks.clone()),
            blocks,
            tools: state.tools.into_iter().map(ToolView::from).collect(),
            sources: Vec::new(),
            tags: state.tags,
            tool_exec_environment_variables: secrets.clone(),
            secrets,
            project_id: agent.labels.project_id,
            template_id: agent.labels.template_id,
            base_template_id: agent.labels.base_template_id,
            deployment_id: agent.labels.deployment_id,
            entity_id: agent.labels.entity_id,
            identity_ids,
            identities,
            pending_approval: state.pending.as_ref().and_then(request_of),
            message_buffer_autoclear: agent.message_buffer_autoclear,
            enable_sleeptime: agent.enable_sleeptime,
            multi_agent_group: managed.clone(),
            managed_group: managed,
            last_run_completion: agent.last_run_completion,
            last_run_duration_ms: agent.last_run_duration_ms,
            last_stop_reason: agent.last_stop_reason,
            timezone: agent.timezone,
            max_files_open: agent.max_files_open,
            per_file_view_window_char_limit: agent.per_file_view_window_char_limit,
            hidden: agent.hidden,
            people: agent.people.into(),
        }
    }
}

fn linked(identities: Vec<Identity>) -> (Vec<IdentityId>, Vec<IdentityView>) {
    let linked = identities.into_iter();
    linked.map(|one| (one.id, IdentityView::from(one))).unzip()
}

/// An agent's core memory, in the older form of the API.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct MemoryView {
    #[schema(value_type = String)]
    agent_type: AgentType,
    git_enabled: bool,
    blocks: Vec<BlockView>,
    #[schema(value_type = Vec<serde_json::Value>)]
    file_blocks: Vec<Value>,
    prompt_template: &'static str,
}

impl MemoryView {
    /// The memory of an agent of this type with these blocks.
    #[must_use]
    pub const fn new(agent_type: AgentType, blocks: Vec<BlockView>) -> Self {
        Self {
            agent_type,
            git_enabled: false,
            blocks,
            file_blocks: Vec::new(),
            prompt_template: "",
        }
    }
}

/// A secret of an agent: an environment variable of its tools.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct SecretView {
    created_by_id: Option<String>,
    last_updated_by_id: Option<String>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
    #[schema(value_type = String)]
    id: AgentSecretId,
    key: String,
    value: String,
    description: Option<String>,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    /// Always null: how a secret is stored concerns nobody.
    value_enc: Option<String>,
    #[schema(value_type = String)]
    agent_id: AgentId,
}

impl SecretView {
    fn of(agent_id: AgentId, secret: AgentSecret) -> Self {
        Self {
            created_by_id: None,
            last_updated_by_id: None,
            created_at: secret.created_at,
            updated_at: secret.updated_at,
            id: secret.id,
            key: secret.key,
            value: secret.value,
            description: secret.description,
            organization_id: OrganizationId::DEFAULT,
            value_enc: None,
            agent_id,
        }
    }
}

/// The handle of an agent's model.
fn handle(config: &LlmConfig) -> Option<String> {
    config.handle.clone().or_else(|| {
        let provider = config.provider_name.as_ref()?;
        Some(format!("{provider}/{}", config.model))
    })
}

/// Whether agents of a type tell their thoughts in an argument of each call.
const fn thinks_in_arguments(agent_type: AgentType) -> bool {
    !matches!(
        agent_type,
        AgentType::LettaV1Agent | AgentType::SplitThreadAgent | AgentType::SleeptimeAgent
    )
}

/// The configuration with all fields of the contract; what the agent has of its own comes last and
/// wins.
fn llm_config(agent_type: AgentType, config: LlmConfig) -> Value {
    let older = thinks_in_arguments(agent_type);
    let protocol = Some(config.model_endpoint_type).filter(|kind| !kind.is_empty());
    let mut shown = json!({
        "model": config.model,
        "display_name": null,
        "model_endpoint_type": protocol.as_deref().unwrap_or("openai"),
        "model_endpoint": config.model_endpoint,
        "provider_name": config.provider_name,
        "provider_category": "base",
        "model_wrapper": null,
        "context_window": config.context_window,
        "put_inner_thoughts_in_kwargs": older,
        "handle": config.handle,
        "temperature": config.temperature.unwrap_or(1.0),
        "max_tokens": config.max_tokens,
        "enable_reasoner": older,
        "reasoning_effort": config.reasoning_effort,
        "max_reasoning_tokens": 0,
        "effort": null,
        "frequency_penalty": null,
        "compatibility_type": null,
        "verbosity": null,
        "tier": null,
        "parallel_tool_calls": config.parallel_tool_calls.unwrap_or(true),
        "response_format": null,
        "strict": false,
        "return_logprobs": false,
        "top_logprobs": null,
        "return_token_ids": false,
        "tool_call_parser": null,
    });
    if let Value::Object(shown) = &mut shown {
        shown.extend(config.extra);
    }
    shown
}

/// The settings of the model: what the client gave, under what is in force. What nobody set is left
/// out, so that a client that sends them back changes nothing.
fn model_settings(agent: &Agent) -> Value {
    let config = &agent.llm_config;
    let mut shown = match &agent.model_settings {
        Some(Value::Object(given)) => given.clone(),
        _ => Map::new(),
    };
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            shown.insert(key.to_owned(), value);
        }
    };
    set("max_output_tokens", config.max_tokens.map(Value::from));
    set(
        "parallel_tool_calls",
        Some(config.parallel_tool_calls.unwrap_or(true).into()),
    );
    set("temperature", config.temperature.map(Value::from));
    let effort = config.reasoning_effort.as_ref();
    set(
        "reasoning",
        effort.map(|effort| json!({ "reasoning_effort": effort })),
    );
    for (key, default) in [
        ("provider_type", "openai".into()),
        ("response_format", Value::Null),
    ] {
        shown.entry(key).or_insert(default);
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use mnemic_core::agents::AgentLabels;

    use super::*;

    fn state() -> AgentState {
        let agent = Agent {
            id: AgentId::new(),
            name: "Ada".to_owned(),
            agent_type: AgentType::LettaV1Agent,
            system: "Be kind.".to_owned(),
            description: None,
            metadata: None,
            llm_config: LlmConfig {
                model: "m".to_owned(),
                handle: Some("p/m".to_owned()),
                context_window: 8_192,
                ..LlmConfig::default()
            },
            embedding_config: Some(json!({"handle": "p/embed"})),
            model_settings: Some(json!({"provider_type": "groq", "strict": true})),
            compaction_settings: Some(json!({"mode": "all", "prompt": null})),
            response_format: None,
            tool_rules: Vec::new(),
            timezone: "UTC".to_owned(),
            message_buffer_autoclear: false,
            enable_sleeptime: None,
            hidden: None,
            max_files_open: Some(10),
            per_file_view_window_char_limit: Some(25_000),
            people: People::default(),
            labels: AgentLabels::default(),
            revision: 1,
            last_run_completion: None,
            last_run_duration_ms: None,
            last_stop_reason: None,
            created_by: Some(UserId::DEFAULT),
            updated_by: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        };
        AgentState {
            pending: None,
            managed: None,
            agent,
            message_ids: Vec::new(),
            blocks: Vec::new(),
            tools: Vec::new(),
            tags: Vec::new(),
            identities: Vec::new(),
            secrets: Vec::new(),
        }
    }

    #[test]
    fn an_agent_has_all_fields_of_the_contract_in_its_order() {
        let shown = serde_json::to_value(AgentView::from(state())).unwrap();
        let keys: Vec<&str> = shown
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys.join(" "),
            "created_by_id last_updated_by_id created_at updated_at id name tool_rules message_ids \
             system agent_type llm_config embedding_config model embedding model_settings \
             compaction_settings response_format description metadata memory blocks tools sources \
             tags tool_exec_environment_variables secrets project_id template_id base_template_id \
             deployment_id entity_id identity_ids identities pending_approval \
             message_buffer_autoclear enable_sleeptime multi_agent_group managed_group \
             last_run_completion last_run_duration_ms last_stop_reason timezone max_files_open \
             per_file_view_window_char_limit hidden"
        );
        assert_eq!(
            (&shown["model"], &shown["embedding"]),
            (&json!("p/m"), &json!("p/embed"))
        );
        assert_eq!(shown["llm_config"].as_object().unwrap().len(), 27);
    }

    #[test]
    fn settings_show_what_is_in_force() {
        let mut state = state();
        state.agent.llm_config.max_tokens = Some(500);
        let shown = serde_json::to_value(AgentView::from(state)).unwrap();
        let settings = &shown["model_settings"];
        assert_eq!(settings["max_output_tokens"], 500);
        assert_eq!(
            (&settings["provider_type"], &settings["strict"]),
            (&json!("groq"), &json!(true))
        );
        assert_eq!(settings.get("temperature"), None, "nobody set one");
        let compaction = &shown["compaction_settings"];
        assert_eq!(
            (&compaction["mode"], &compaction["model"]),
            (&json!("all"), &json!("p/m"))
        );
        assert!(
            compaction["prompt"]
                .as_str()
                .is_some_and(|prompt| !prompt.is_empty())
        );
    }
}
