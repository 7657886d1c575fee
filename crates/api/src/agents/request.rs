//! What clients say when they make or change an agent. Null means the same as leaving a field out,
//! except where a PATCH says otherwise; unknown fields are ignored.

use std::collections::BTreeMap;

use mnemic_core::{
    agents::{AgentLabels, AgentType, LlmConfig, People},
    ids::{BlockId, FolderId, IdentityId, MessageId, ToolId},
    messages::{ContentPart, NewMessage, Role},
    time::Timestamp,
};
use mnemic_engine::agents::{AgentPatch, CreateAgent};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    blocks::CreateBlockBody,
    content::{self, Content, Piece},
    error::ApiError,
    patch::given,
    send_request::{InputRole, check_otid},
    validation::Issue,
};

/// A message with which an agent begins.
#[derive(Debug, Deserialize, ToSchema)]
struct FirstMessage {
    /// Who speaks.
    role: InputRole,
    /// What is said.
    content: Content,
    /// The speaker's name.
    name: Option<String>,
    /// The client's own id of the message.
    otid: Option<String>,
    /// Which agent or identity sends it.
    sender_id: Option<String>,
}

impl FirstMessage {
    fn into_message(self) -> Result<NewMessage, ApiError> {
        check_otid(self.otid.as_deref()).map_err(ApiError::unprocessable)?;
        let role = Role::from(self.role);
        let pieces = content::pieces(self.content, role)?;
        let ready = |piece| match piece {
            Piece::Ready(part) => Ok(part),
            Piece::Fetch(_) => Err(ApiError::unprocessable(
                "images in initial_message_sequence must be given as base64",
            )),
        };
        let parts: Result<Vec<ContentPart>, ApiError> = pieces.into_iter().map(ready).collect();
        Ok(NewMessage {
            role,
            body: content::body(parts?),
            name: self.name,
            otid: self.otid,
            sender_id: self.sender_id,
            created_at: None,
        })
    }
}

/// A new agent. Only a model must be known: here, or as the server's default.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct CreateAgentBody {
    /// Its name; two random words when left out.
    name: Option<String>,
    /// Its kind; `letta_v1_agent` when left out.
    #[schema(value_type = Option<String>)]
    agent_type: Option<AgentType>,
    /// Its system prompt; that of its kind when left out.
    system: Option<String>,
    /// What it is for, for people.
    description: Option<String>,
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Map<String, Value>>,
    /// The handle of its model: `provider/model`.
    model: Option<String>,
    /// The older way to name its model.
    #[schema(value_type = Option<serde_json::Value>)]
    llm_config: Option<LlmConfig>,
    /// The handle of its embedding model.
    embedding: Option<String>,
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(alias = "embeddingConfig")]
    embedding_config: Option<Map<String, Value>>,
    embedding_chunk_size: Option<i64>,
    #[schema(value_type = Option<serde_json::Value>)]
    model_settings: Option<Map<String, Value>>,
    #[schema(value_type = Option<serde_json::Value>)]
    compaction_settings: Option<Map<String, Value>>,
    #[schema(value_type = Option<serde_json::Value>)]
    response_format: Option<Map<String, Value>>,
    /// Tokens that a request and its answer may take together.
    #[schema(minimum = 1)]
    context_window_limit: Option<i64>,
    /// Tokens that an answer may take.
    #[schema(minimum = 1)]
    max_tokens: Option<i64>,
    parallel_tool_calls: Option<bool>,
    /// Whether a reasoning model thinks before it answers.
    reasoning: Option<bool>,
    /// The older name of `reasoning`.
    enable_reasoner: Option<bool>,
    /// New blocks of core memory.
    memory_blocks: Option<Vec<CreateBlockBody>>,
    /// Blocks that exist already, to be shared.
    #[schema(value_type = Option<Vec<String>>)]
    block_ids: Option<Vec<BlockId>>,
    /// Tools by name.
    tools: Option<Vec<String>>,
    /// Tools by id.
    #[schema(value_type = Option<Vec<String>>)]
    tool_ids: Option<Vec<ToolId>>,
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    tool_rules: Option<Vec<Value>>,
    /// Whether it gets the tools of its kind.
    #[schema(default = true)]
    include_base_tools: Option<bool>,
    /// Whether it gets the tools that reach other agents.
    #[schema(default = false)]
    include_multi_agent_tools: Option<bool>,
    /// Whether it gets the rules that go with those.
    include_base_tool_rules: Option<bool>,
    tags: Option<Vec<String>>,
    /// Environment variables of its tools.
    secrets: Option<BTreeMap<String, String>>,
    /// The older name of `secrets`.
    tool_exec_environment_variables: Option<BTreeMap<String, String>>,
    #[schema(value_type = Option<Vec<String>>)]
    identity_ids: Option<Vec<IdentityId>>,
    #[schema(value_type = Option<Vec<String>>)]
    folder_ids: Option<Vec<FolderId>>,
    /// The older name of `folder_ids`.
    #[schema(value_type = Option<Vec<String>>)]
    source_ids: Option<Vec<FolderId>>,
    /// The messages with which it begins, in place of those of its kind.
    initial_message_sequence: Option<Vec<FirstMessage>>,
    /// A name of the IANA time-zone database; UTC when left out.
    timezone: Option<String>,
    /// Whether its context is emptied before every turn.
    message_buffer_autoclear: Option<bool>,
    enable_sleeptime: Option<bool>,
    /// Left out of lists.
    hidden: Option<bool>,
    #[schema(minimum = 1, maximum = 1000)]
    max_files_open: Option<i64>,
    #[schema(minimum = 1)]
    per_file_view_window_char_limit: Option<i64>,
    /// The value of its block `persona`, where `memory_blocks` has none.
    persona: Option<String>,
    /// The value of its block `human`, where `memory_blocks` has none. Each end user gets a copy of it.
    human: Option<String>,
    /// Whether an agent of this name, where there is one, is answered in place of a new one.
    #[serde(alias = "ifNotExists")]
    if_not_exists: Option<bool>,
    /// Whether every request must say for which user it is.
    #[serde(alias = "requireUser")]
    require_user: Option<bool>,
    /// Labels of common blocks, and names of common archives, that the turns of users may change.
    #[serde(alias = "openToUsers")]
    open_to_users: Option<Vec<String>>,
    project_id: Option<String>,
    template_id: Option<String>,
    base_template_id: Option<String>,
}

impl CreateAgentBody {
    /// What the engine is asked for.
    ///
    /// # Errors
    /// A first message is not valid, or fields do not go together.
    pub fn into_request(self, project: Option<String>) -> Result<CreateAgent, ApiError> {
        let agent_type = self.agent_type.unwrap_or_default();
        check_type(agent_type, self.enable_sleeptime)?;
        check_model(self.llm_config.as_ref())?;
        let first = self.initial_message_sequence.map(|given| {
            given
                .into_iter()
                .map(FirstMessage::into_message)
                .collect::<Result<Vec<_>, _>>()
        });
        let named = [("persona", self.persona), ("human", self.human)];
        let blocks = with_named(self.memory_blocks.unwrap_or_default(), named);
        Ok(CreateAgent {
            name: self.name,
            agent_type,
            system: self.system,
            description: self.description,
            metadata: self.metadata,
            model: self.model,
            llm_config: self.llm_config,
            embedding: self.embedding,
            embedding_config: self.embedding_config.map(Value::Object),
            embedding_chunk_size: self.embedding_chunk_size,
            model_settings: self.model_settings,
            compaction_settings: self.compaction_settings.map(Value::Object),
            response_format: self.response_format.map(Value::Object),
            context_window_limit: self.context_window_limit,
            max_tokens: self.max_tokens,
            parallel_tool_calls: self.parallel_tool_calls,
            reasoning: self.reasoning.or(self.enable_reasoner),
            memory_blocks: blocks.into_iter().map(Into::into).collect(),
            block_ids: self.block_ids.unwrap_or_default(),
            tools: self.tools.unwrap_or_default(),
            tool_ids: self.tool_ids.unwrap_or_default(),
            include_base_tools: self.include_base_tools.unwrap_or(true),
            include_multi_agent_tools: self.include_multi_agent_tools.unwrap_or(false),
            include_base_tool_rules: self.include_base_tool_rules,
            tool_rules: self.tool_rules,
            tags: self.tags.unwrap_or_default(),
            secrets: secrets(self.tool_exec_environment_variables, self.secrets)
                .unwrap_or_default(),
            identity_ids: self.identity_ids.unwrap_or_default(),
            folder_ids: self.folder_ids.or(self.source_ids).unwrap_or_default(),
            timezone: self.timezone,
            message_buffer_autoclear: self.message_buffer_autoclear.unwrap_or(false),
            enable_sleeptime: self.enable_sleeptime,
            hidden: self.hidden,
            max_files_open: self.max_files_open,
            per_file_view_window_char_limit: self.per_file_view_window_char_limit,
            people: people(self.require_user, self.open_to_users),
            if_not_exists: self.if_not_exists.unwrap_or(false),
            initial_messages: first.transpose()?,
            labels: AgentLabels {
                project_id: self.project_id.or(project),
                template_id: self.template_id,
                base_template_id: self.base_template_id,
                ..AgentLabels::default()
            },
        })
    }
}

fn people(require_user: Option<bool>, open_to_users: Option<Vec<String>>) -> People {
    People {
        require_user: require_user.unwrap_or(false),
        open_to_users: open_to_users.unwrap_or_default(),
    }
}

/// Blocks with those of which only the value is given, where they have none of that label.
fn with_named(
    mut blocks: Vec<CreateBlockBody>,
    named: [(&str, Option<String>); 2],
) -> Vec<CreateBlockBody> {
    for (label, value) in named {
        let is_given = blocks.iter().any(|block| block.label() == label);
        let value = value.filter(|_| !is_given);
        blocks.extend(value.map(|value| CreateBlockBody::plain(label, value)));
    }
    blocks
}

/// A voice agent has no tools for its memory: only a second agent that tidies it makes it one that
/// remembers (V1 contract, section 2.1).
fn check_type(agent_type: AgentType, enable_sleeptime: Option<bool>) -> Result<(), ApiError> {
    if agent_type != AgentType::VoiceConvoAgent || enable_sleeptime == Some(true) {
        return Ok(());
    }
    let msg = "agents of the type voice_convo_agent need enable_sleeptime to be true";
    Err(ApiError::invalid(&[Issue::body(
        &["enable_sleeptime"],
        msg,
        Value::Null,
    )]))
}

/// An `llm_config` must say at least which model it is and how much fits into it.
fn check_model(config: Option<&LlmConfig>) -> Result<(), ApiError> {
    let Some(config) = config else { return Ok(()) };
    let missing = match config {
        LlmConfig { model, .. } if model.is_empty() => "model",
        LlmConfig {
            context_window: ..=0,
            ..
        } => "context_window",
        _ => return Ok(()),
    };
    let msg = "Field required";
    Err(ApiError::invalid(&[Issue::body(
        &["llm_config", missing],
        msg,
        Value::Null,
    )]))
}

/// The secrets of either name; those of the newer name win.
fn secrets(
    older: Option<BTreeMap<String, String>>,
    newer: Option<BTreeMap<String, String>>,
) -> Option<Vec<(String, String)>> {
    if older.is_none() && newer.is_none() {
        return None;
    }
    let mut all = older.unwrap_or_default();
    all.extend(newer.unwrap_or_default());
    Some(all.into_iter().collect())
}

/// What changes of an agent: what is left out stays, lists replace. Null clears a field that can be
/// without a value, and leaves the others as they are.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[allow(missing_docs)]
pub struct UpdateAgentBody {
    name: Option<String>,
    system: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<Option<Map<String, Value>>>,
    /// The handle of its model: `provider/model`.
    model: Option<String>,
    #[schema(value_type = Option<serde_json::Value>)]
    llm_config: Option<LlmConfig>,
    embedding: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    embedding_config: Option<Option<Map<String, Value>>>,
    #[schema(value_type = Option<serde_json::Value>)]
    model_settings: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    compaction_settings: Option<Option<Map<String, Value>>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<serde_json::Value>)]
    response_format: Option<Option<Map<String, Value>>>,
    #[schema(minimum = 1)]
    context_window_limit: Option<i64>,
    /// Tokens that an answer may take; null takes the limit away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 1)]
    max_tokens: Option<Option<i64>>,
    parallel_tool_calls: Option<bool>,
    reasoning: Option<bool>,
    #[schema(value_type = Option<Vec<String>>)]
    block_ids: Option<Vec<BlockId>>,
    #[schema(value_type = Option<Vec<String>>)]
    tool_ids: Option<Vec<ToolId>>,
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    tool_rules: Option<Vec<Value>>,
    tags: Option<Vec<String>>,
    secrets: Option<BTreeMap<String, String>>,
    tool_exec_environment_variables: Option<BTreeMap<String, String>>,
    #[schema(value_type = Option<Vec<String>>)]
    identity_ids: Option<Vec<IdentityId>>,
    #[schema(value_type = Option<Vec<String>>)]
    folder_ids: Option<Vec<FolderId>>,
    #[schema(value_type = Option<Vec<String>>)]
    source_ids: Option<Vec<FolderId>>,
    /// The messages of its context; the compiled prompt stays the first.
    #[schema(value_type = Option<Vec<String>>)]
    message_ids: Option<Vec<MessageId>>,
    timezone: Option<String>,
    message_buffer_autoclear: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>)]
    enable_sleeptime: Option<Option<bool>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<bool>)]
    hidden: Option<Option<bool>>,
    #[schema(minimum = 1, maximum = 1000)]
    max_files_open: Option<i64>,
    #[schema(minimum = 1)]
    per_file_view_window_char_limit: Option<i64>,
    #[serde(alias = "requireUser")]
    require_user: Option<bool>,
    #[serde(alias = "openToUsers")]
    open_to_users: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    last_run_completion: Option<Option<Timestamp>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>)]
    last_run_duration_ms: Option<Option<i64>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    last_stop_reason: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    project_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    template_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    base_template_id: Option<Option<String>>,
}

impl UpdateAgentBody {
    /// What the engine is asked for.
    ///
    /// # Errors
    /// The model's configuration does not name a model.
    pub fn into_patch(self) -> Result<AgentPatch, ApiError> {
        check_model(self.llm_config.as_ref())?;
        let object =
            |field: Option<Option<Map<String, Value>>>| field.map(|v| v.map(Value::Object));
        Ok(AgentPatch {
            name: self.name,
            system: self.system,
            description: self.description,
            metadata: self.metadata,
            model: self.model,
            llm_config: self.llm_config,
            embedding: self.embedding,
            embedding_config: object(self.embedding_config),
            model_settings: self.model_settings,
            compaction_settings: object(self.compaction_settings),
            response_format: object(self.response_format),
            context_window_limit: self.context_window_limit,
            max_tokens: self.max_tokens,
            parallel_tool_calls: self.parallel_tool_calls,
            reasoning: self.reasoning,
            block_ids: self.block_ids,
            tool_ids: self.tool_ids,
            tool_rules: self.tool_rules,
            tags: self.tags,
            secrets: secrets(self.tool_exec_environment_variables, self.secrets),
            identity_ids: self.identity_ids,
            folder_ids: self.folder_ids.or(self.source_ids),
            message_ids: self.message_ids,
            timezone: self.timezone,
            message_buffer_autoclear: self.message_buffer_autoclear,
            enable_sleeptime: self.enable_sleeptime,
            hidden: self.hidden,
            max_files_open: self.max_files_open,
            per_file_view_window_char_limit: self.per_file_view_window_char_limit,
            require_user: self.require_user,
            open_to_users: self.open_to_users,
            last_run_completion: self.last_run_completion,
            last_run_duration_ms: self.last_run_duration_ms,
            last_stop_reason: self.last_stop_reason,
            project_id: self.project_id,
            template_id: self.template_id,
            base_template_id: self.base_template_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::parse_json;

    fn create(body: &str) -> Result<CreateAgent, ApiError> {
        parse_json::<CreateAgentBody>(body.as_bytes())?.into_request(None)
    }

    fn patch(body: &str) -> AgentPatch {
        parse_json::<UpdateAgentBody>(body.as_bytes())
            .unwrap()
            .into_patch()
            .unwrap()
    }

    #[test]
    fn null_and_unknown_fields_are_as_if_left_out() {
        let request =
            create(r#"{"name":null,"tags":null,"nonsense":1,"include_base_tools":null}"#).unwrap();
        assert!(request.name.is_none() && request.tags.is_empty() && request.include_base_tools);
        assert_eq!(request.agent_type, AgentType::LettaV1Agent);
    }

    #[test]
    fn wrong_fields_are_named() {
        for (body, place) in [
            (r#"{"name":5}"#, "('body', 'name')"),
            (r#"{"agent_type":"nope"}"#, "('body', 'agent_type')"),
            (
                r#"{"memory_blocks":[{"value":"x"}]}"#,
                "('body', 'memory_blocks', 0, 'label')",
            ),
            (r#"{"block_ids":["block-1"]}"#, "('body', 'block_ids', 0)"),
            (
                r#"{"llm_config":{"model":"m"}}"#,
                "('body', 'llm_config', 'context_window')",
            ),
            (
                r#"{"agent_type":"voice_convo_agent"}"#,
                "('body', 'enable_sleeptime')",
            ),
        ] {
            let error = create(body).unwrap_err();
            assert_eq!(error.status().as_u16(), 422, "{body}");
            let detail = error.body()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(place), "{body}: {detail}");
        }
    }

    #[test]
    fn secrets_of_both_names_are_one_list() {
        let body = r#"{"tool_exec_environment_variables":{"A":"1","B":"2"},"secrets":{"B":"3"}}"#;
        let pairs = [
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "3".to_owned()),
        ];
        assert_eq!(create(body).unwrap().secrets, pairs);
    }

    #[test]
    fn a_patch_tells_null_from_left_out() {
        let patched = patch(r#"{"max_tokens":null,"description":null,"tags":null}"#);
        assert_eq!(patched.max_tokens, Some(None));
        assert_eq!(patched.description, Some(None));
        assert!(patched.tags.is_none(), "tags cannot be null, only empty");
        let patched = patch(r#"{"max_tokens":7,"tags":[]}"#);
        assert_eq!(
            (patched.max_tokens, patched.tags),
            (Some(Some(7)), Some(Vec::new()))
        );
        assert!(patched.description.is_none());
    }
}
