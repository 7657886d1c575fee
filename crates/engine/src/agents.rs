//! Making and changing agents: defaults, relations, and the first compiled prompt, in one commit.

use mnemic_core::{
    agents::{Agent, AgentLabels, AgentType, LlmConfig},
    blocks::{Author, Block, BlockLabels, DEFAULT_LIMIT},
    builtin,
    ids::{AgentId, BlockId, ConversationId, IdentityId, MessageId, ToolId},
    memory,
    messages::{Message, NewMessage, Role},
    names,
    scope::Scope,
    system_prompts::{default_block_description, default_system_prompt},
    time::Timestamp,
    tokens, validation,
};
use mnemic_llm::ResolvedModel;
use mnemic_store::{
    StoreError, Tx, agent_secrets, agents, blocks, context,
    conversations::{self, NewConversation},
    messages, tools,
};
use serde_json::{Map, Value, json};

use crate::{Engine, EngineError, prompting};

/// Where a summary is clipped when compaction settings do not say (V1 contract, section 2.1).
const CLIP_CHARS: i64 = 50_000;

/// A block as the creator of an agent describes it.
#[derive(Debug, Clone, Default)]
pub struct NewBlock {
    /// Its label.
    pub label: String,
    /// Its value.
    pub value: String,
    /// Characters it may hold.
    pub limit: Option<i64>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether agents may only read it.
    pub read_only: bool,
    /// Free data.
    pub metadata: Map<String, Value>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Left out of lists.
    pub hidden: Option<bool>,
    /// Whether it is a template.
    pub is_template: bool,
    /// Stored for the client.
    pub labels: BlockLabels,
}

impl NewBlock {
    /// The block as it is stored.
    ///
    /// # Errors
    /// Its label is not valid, or its value is longer than its limit.
    pub fn into_block(self, now: Timestamp) -> Result<Block, EngineError> {
        validation::block_label(&self.label).map_err(|error| invalid(&error))?;
        let description = self
            .description
            .or_else(|| default_block_description(&self.label).map(str::to_owned));
        let empty = Block {
            id: BlockId::new(),
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            label: self.label,
            value: String::new(),
            description,
            read_only: self.read_only,
            metadata: self.metadata,
            tags: self.tags,
            hidden: self.hidden,
            subject: None,
            is_template: self.is_template,
            labels: self.labels,
            revision: 1,
            created_by: None,
            updated_by: None,
            created_at: now,
            updated_at: now,
        };
        memory::check_limit(&empty, &self.value).map_err(|error| invalid(&error))?;
        Ok(Block { value: self.value, ..empty })
    }
}

/// What the creator of an agent says; everything else is a default.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct CreateAgent {
    pub name: Option<String>,
    pub agent_type: AgentType,
    pub system: Option<String>,
    pub description: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub model: Option<String>,
    pub llm_config: Option<LlmConfig>,
    pub embedding: Option<String>,
    pub embedding_config: Option<Value>,
    pub model_settings: Option<Value>,
    pub compaction_settings: Option<Value>,
    pub response_format: Option<Value>,
    pub context_window_limit: Option<i64>,
    pub max_tokens: Option<i64>,
    pub parallel_tool_calls: Option<bool>,
    pub memory_blocks: Vec<NewBlock>,
    pub block_ids: Vec<BlockId>,
    pub tools: Vec<String>,
    pub tool_ids: Vec<ToolId>,
    pub include_base_tools: bool,
    pub include_base_tool_rules: Option<bool>,
    pub tool_rules: Option<Vec<Value>>,
    pub tags: Vec<String>,
    pub secrets: Vec<(String, String)>,
    pub identity_ids: Vec<IdentityId>,
    pub timezone: Option<String>,
    pub message_buffer_autoclear: bool,
    pub enable_sleeptime: Option<bool>,
    pub hidden: Option<bool>,
    pub max_files_open: Option<i64>,
    pub per_file_view_window_char_limit: Option<i64>,
    pub initial_messages: Option<Vec<NewMessage>>,
    pub labels: AgentLabels,
}

/// What a PATCH changes; `None` leaves a field as it is, lists replace.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct AgentPatch {
    pub name: Option<String>,
    pub system: Option<String>,
    pub description: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub model: Option<String>,
    pub llm_config: Option<LlmConfig>,
    pub embedding_config: Option<Value>,
    pub model_settings: Option<Value>,
    pub compaction_settings: Option<Value>,
    pub response_format: Option<Value>,
    pub context_window_limit: Option<i64>,
    /// `Some(None)` takes the limit away.
    pub max_tokens: Option<Option<i64>>,
    pub parallel_tool_calls: Option<bool>,
    pub block_ids: Option<Vec<BlockId>>,
    pub tool_ids: Option<Vec<ToolId>>,
    pub tool_rules: Option<Vec<Value>>,
    pub tags: Option<Vec<String>>,
    pub secrets: Option<Vec<(String, String)>>,
    pub identity_ids: Option<Vec<IdentityId>>,
    pub timezone: Option<String>,
    pub message_buffer_autoclear: Option<bool>,
    pub enable_sleeptime: Option<bool>,
    pub hidden: Option<bool>,
    pub max_files_open: Option<i64>,
    pub per_file_view_window_char_limit: Option<i64>,
    pub last_stop_reason: Option<String>,
    pub project_id: Option<String>,
    pub template_id: Option<String>,
    pub base_template_id: Option<String>,
}

fn invalid(error: &impl ToString) -> EngineError {
    EngineError::Invalid(error.to_string())
}

impl Engine {
    /// Makes an agent with its blocks, tools, default conversation and compiled prompt.
    ///
    /// # Errors
    /// No model is named or known, a name or value is not valid, something that is linked does not
    /// exist, or the database's.
    pub async fn create_agent(
        &self,
        scope: &Scope,
        request: CreateAgent,
    ) -> Result<AgentId, EngineError> {
        let now = self.now();
        let agent = self.new_agent(&request, now).await?;
        let id = agent.id;
        let mut new_blocks = Vec::with_capacity(request.memory_blocks.len());
        for block in request.memory_blocks.clone() {
            new_blocks.push(block.into_block(now)?);
        }
        for tag in &request.tags {
            validation::tag(tag).map_err(|error| invalid(&error))?;
        }
        let (scope, secrets) = (scope.clone(), self.inner.store.secrets().clone());
        self.inner
            .store
            .write(move |tx| {
                Box::pin(async move {
                    let creation = Creation { scope: &scope, agent, request: &request, now };
                    creation.store(tx, new_blocks, &secrets).await
                })
            })
            .await?;
        Ok(id)
    }

    async fn new_agent(&self, request: &CreateAgent, now: Timestamp) -> Result<Agent, EngineError> {
        let name = request.name.clone().unwrap_or_else(names::random_agent_name);
        validation::agent_name(&name).map_err(|error| invalid(&error))?;
        let timezone = checked_zone(request.timezone.as_deref())?;
        let llm_config = self.llm_config(request).await?;
        let kind = request.agent_type;
        let (files, chars) = file_windows(llm_config.context_window);
        Ok(Agent {
            id: AgentId::new(),
            name,
            agent_type: kind,
            system: request.system.clone().unwrap_or_else(|| default_system_prompt(kind).to_owned()),
            description: request.description.clone(),
            metadata: request.metadata.clone(),
            embedding_config: request.embedding_config.clone(),
            model_settings: Some(model_settings(&llm_config, request.model_settings.as_ref())),
            compaction_settings: Some(compaction(&llm_config, request.compaction_settings.as_ref())),
            llm_config,
            response_format: request.response_format.clone(),
            tool_rules: tool_rules(request),
            timezone,
            message_buffer_autoclear: request.message_buffer_autoclear
                || kind == AgentType::WorkflowAgent,
            enable_sleeptime: request.enable_sleeptime,
            hidden: hidden(request),
            max_files_open: request.max_files_open.or(Some(files)),
            per_file_view_window_char_limit: request
                .per_file_view_window_char_limit
                .or(Some(chars)),
            labels: request.labels.clone(),
            revision: 1,
            last_run_completion: None,
            last_run_duration_ms: None,
            last_stop_reason: None,
            created_by: None,
            updated_by: None,
            created_at: now,
            updated_at: now,
        })
    }

    async fn llm_config(&self, request: &CreateAgent) -> Result<LlmConfig, EngineError> {
        let default = self.inner.settings.default_llm_handle.clone();
        let mut config = match (&request.model, &request.llm_config, default) {
            (Some(handle), _, _) => self.config_of(handle).await?,
            (None, Some(config), _) => config.clone(),
            (None, None, Some(handle)) => self.config_of(&handle).await?,
            (None, None, None) => {
                return Err(EngineError::Invalid(
                    "INVALID_ARGUMENT: Must specify either model or llm_config in request: there is \
                     no default model (set default_llm_handle)"
                        .to_owned(),
                ));
            }
        };
        apply_settings(&mut config, request.model_settings.as_ref());
        if let Some(window) = request.context_window_limit {
            config.context_window = positive("context_window_limit", window)?;
        }
        config.max_tokens = request.max_tokens.or(config.max_tokens);
        config.parallel_tool_calls = request.parallel_tool_calls.or(config.parallel_tool_calls);
        Ok(config)
    }

    /// The configuration of a model that a provider has.
    async fn config_of(&self, handle: &str) -> Result<LlmConfig, EngineError> {
        validation::model_handle(handle).map_err(|error| invalid(&error))?;
        let resolved = self.inner.catalogue.resolve(handle).await?;
        Ok(config_from(&resolved, self.inner.settings.max_context_window))
    }

    /// Changes an agent.
    ///
    /// # Errors
    /// There is none, a value is not valid, something that is linked does not exist, or the
    /// database's.
    pub async fn update_agent(
        &self,
        scope: &Scope,
        id: AgentId,
        patch: AgentPatch,
    ) -> Result<(), EngineError> {
        if let Some(name) = &patch.name {
            validation::agent_name(name).map_err(|error| invalid(&error))?;
        }
        checked_zone(patch.timezone.as_deref())?;
        let config = match &patch.model {
            Some(handle) => Some(self.config_of(handle).await?),
            None => patch.llm_config.clone(),
        };
        let (scope, now) = (scope.clone(), self.now());
        let secrets = self.inner.store.secrets().clone();
        self.inner
            .store
            .write(move |tx| {
                Box::pin(async move {
                    let before = agents::get_for_update(tx, &scope, id).await?;
                    let mut agent = before.clone();
                    relate(tx, &scope, id, &patch).await?;
                    if let Some(wanted) = &patch.secrets {
                        agent_secrets::replace(tx, &secrets, id, wanted, now).await?;
                    }
                    change(&mut agent, patch, config)?;
                    agent.updated_at = now;
                    Ok(agents::update(tx, &scope, &before, &agent).await?)
                })
            })
            .await
    }

    /// Removes an agent with everything that is its own; a run of it is cancelled first.
    ///
    /// # Errors
    /// There is none, or the database's.
    pub async fn delete_agent(&self, scope: &Scope, id: AgentId) -> Result<(), EngineError> {
        match self.cancel_agent(scope, id, None).await {
            // Nothing ran, which is the usual case.
            Ok(_) | Err(EngineError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
        let scope = scope.clone();
        self.inner
            .store
            .write(move |tx| Box::pin(async move { agents::delete(tx, &scope, id).await }))
            .await
            .map_err(EngineError::from)
    }
}

fn positive(name: &str, value: i64) -> Result<i64, EngineError> {
    if value > 0 {
        return Ok(value);
    }
    Err(EngineError::Invalid(format!("{name} must be greater than 0, not {value}")))
}

fn checked_zone(zone: Option<&str>) -> Result<String, EngineError> {
    let zone = zone.unwrap_or("UTC");
    if mnemic_core::time::is_time_zone(zone) {
        return Ok(zone.to_owned());
    }
    Err(EngineError::Invalid(format!(
        "'{zone}' is no time zone; use a name of the IANA database such as Europe/Zurich"
    )))
}

/// Subagents of a coding agent stay out of lists (V1 contract, section 2.1).
fn hidden(request: &CreateAgent) -> Option<bool> {
    let subagent = request.tags.iter().any(|tag| tag == "role:subagent");
    if subagent { Some(true) } else { request.hidden }
}

/// Files and characters that an agent may have open, by its context window (V1 contract, section 2.1).
const fn file_windows(context_window: i64) -> (i64, i64) {
    match context_window {
        ..=8_000 => (3, 5_000),
        8_001..=32_000 => (5, 15_000),
        32_001..=128_000 => (10, 25_000),
        128_001..=200_000 => (10, 40_000),
        _ => (15, 40_000),
    }
}

/// The configuration that a resolved model gives an agent.
fn config_from(resolved: &ResolvedModel, max_context_window: i64) -> LlmConfig {
    LlmConfig {
        model: resolved.model.clone(),
        handle: Some(resolved.handle.clone()),
        model_endpoint_type: "openai".to_owned(),
        model_endpoint: Some(resolved.endpoint.base_url().to_owned()),
        provider_name: Some(resolved.endpoint.name().to_owned()),
        context_window: resolved.context_window.min(max_context_window),
        ..LlmConfig::default()
    }
}

/// Takes over what `model_settings` says about the calls.
fn apply_settings(config: &mut LlmConfig, settings: Option<&Value>) {
    let Some(settings) = settings else { return };
    let number = |key: &str| settings.get(key).and_then(Value::as_f64);
    config.temperature = number("temperature").or(config.temperature);
    config.max_tokens =
        settings.get("max_output_tokens").and_then(Value::as_i64).or(config.max_tokens);
    config.parallel_tool_calls = settings
        .get("parallel_tool_calls")
        .and_then(Value::as_bool)
        .or(config.parallel_tool_calls);
    let effort = settings.pointer("/reasoning/reasoning_effort").and_then(Value::as_str);
    config.reasoning_effort = effort.map(str::to_owned).or(config.reasoning_effort.take());
}

/// The settings of the model as the API shows them: what the client gave, over what is in force.
fn model_settings(config: &LlmConfig, given: Option<&Value>) -> Value {
    let mut shown = json!({
        "provider_type": "openai",
        "max_output_tokens": config.max_tokens.unwrap_or(4_096),
        "parallel_tool_calls": config.parallel_tool_calls.unwrap_or(true),
        "temperature": config.temperature,
        "response_format": null,
    });
    if let (Value::Object(shown), Some(Value::Object(given))) = (&mut shown, given) {
        shown.extend(given.clone());
    }
    shown
}

fn compaction(config: &LlmConfig, given: Option<&Value>) -> Value {
    let mut settings = json!({
        "model": config.handle,
        "model_settings": null,
        "prompt": null,
        "prompt_acknowledgement": false,
        "clip_chars": CLIP_CHARS,
        "mode": "sliding_window",
        "sliding_window_percentage": 0.3,
    });
    if let (Value::Object(settings), Some(Value::Object(given))) = (&mut settings, given) {
        settings.extend(given.clone());
    }
    settings
}

/// The rules of a new agent: its creator's, and for the types with the older loop those of its base
/// tools (V1 contract, section 2.2).
fn tool_rules(request: &CreateAgent) -> Vec<Value> {
    let mut rules = request.tool_rules.clone().unwrap_or_default();
    let by_type = matches!(
        request.agent_type,
        AgentType::MemgptAgent | AgentType::MemgptV2Agent | AgentType::SleeptimeAgent
    );
    if !request.include_base_tool_rules.unwrap_or(by_type) || !request.include_base_tools {
        return rules;
    }
    for name in builtin::default_tools(request.agent_type) {
        let kind = if *name == "send_message" { "exit_loop" } else { "continue_loop" };
        let known = |rule: &Value| rule.get("tool_name").and_then(Value::as_str) == Some(name);
        if !rules.iter().any(known) {
            rules.push(json!({"tool_name": name, "type": kind, "prompt_template": null}));
        }
    }
    rules
}

/// An agent on its way into the store.
struct Creation<'a> {
    scope: &'a Scope,
    agent: Agent,
    request: &'a CreateAgent,
    now: Timestamp,
}

impl Creation<'_> {
    async fn store(
        &self,
        tx: &mut Tx<'_>,
        new_blocks: Vec<Block>,
        secrets: &mnemic_store::Secrets,
    ) -> Result<(), EngineError> {
        let (scope, id, request) = (self.scope, self.agent.id, self.request);
        agents::insert(tx, scope, &self.agent).await?;
        let author = Author { user_id: Some(scope.actor), ..Author::default() };
        for block in new_blocks {
            blocks::insert(tx, scope, &block, &author).await?;
            blocks::attach(tx, scope, id, block.id).await?;
        }
        for block_id in &request.block_ids {
            blocks::attach(tx, scope, id, *block_id).await?;
        }
        self.attach_tools(tx).await?;
        agents::set_tags(tx, scope, id, &request.tags).await?;
        agent_secrets::replace(tx, secrets, id, &request.secrets, self.now).await?;
        agents::set_identities(tx, scope, id, &request.identity_ids).await?;
        let new = NewConversation { is_default: true, ..NewConversation::default() };
        let conversation = conversations::insert(tx, scope, id, &new, self.now).await?;
        prompting::refresh(tx, scope, id, conversation, self.now).await?;
        self.first_messages(tx, conversation).await
    }

    async fn attach_tools(&self, tx: &mut Tx<'_>) -> Result<(), EngineError> {
        let (scope, id, request) = (self.scope, self.agent.id, self.request);
        let mut names: Vec<String> = Vec::new();
        if request.include_base_tools {
            let base = builtin::default_tools(request.agent_type);
            names.extend(base.iter().map(|name| (*name).to_owned()));
        }
        names.extend(request.tools.iter().cloned());
        let known = tools::by_names(tx, scope, &names).await?;
        let missing: Vec<String> = names
            .iter()
            .filter(|name| !known.iter().any(|tool| tool.name == **name))
            .map(|name| format!("'{name}'"))
            .collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(EngineError::Invalid(format!("Tools not found by name: {{{missing}}}")));
        }
        for name in &names {
            if let Some(tool) = known.iter().find(|tool| tool.name == *name) {
                tools::attach(tx, scope, id, tool.id).await?;
            }
        }
        for tool_id in &request.tool_ids {
            attach_known(tx, scope, id, *tool_id).await?;
        }
        Ok(())
    }

    /// The messages with which the agent begins, wrapped as the V1 API does (section 2.2).
    async fn first_messages(
        &self,
        tx: &mut Tx<'_>,
        conversation_id: ConversationId,
    ) -> Result<(), EngineError> {
        let Some(given) = self.request.initial_messages.as_ref().filter(|given| !given.is_empty())
        else {
            return Ok(());
        };
        let stored: Vec<Message> =
            given.iter().map(|new| self.first_message(conversation_id, new)).collect();
        let ids: Vec<MessageId> = stored.iter().map(|message| message.id).collect();
        messages::insert(tx, self.scope, &stored).await?;
        let head = mnemic_store::turns::head(
            tx,
            self.scope,
            self.agent.id,
            mnemic_core::conversations::Thread::Id(conversation_id),
        )
        .await?;
        context::append(tx, conversation_id, head.next_position, &ids, self.now).await?;
        Ok(())
    }

    fn first_message(&self, conversation_id: ConversationId, new: &NewMessage) -> Message {
        let mut body = new.body.clone();
        let kind = match new.role {
            Role::User => Some("user_message"),
            Role::System => Some("system_alert"),
            Role::Assistant | Role::Tool => None,
        };
        if let Some(kind) = kind {
            let time = self.now.to_human(&self.agent.timezone);
            let wrapped = json!({"type": kind, "message": body.plain_text(), "time": time});
            body = mnemic_core::messages::MessageBody::text(wrapped.to_string());
        }
        Message {
            id: MessageId::new(),
            agent_id: self.agent.id,
            conversation_id,
            role: new.role,
            tokens: tokens::count_message(new.role, &body, new.name.as_deref()),
            body,
            name: new.name.clone(),
            otid: new.otid.clone(),
            sender_id: new.sender_id.clone(),
            step_id: None,
            run_id: None,
            created_at: new.created_at.unwrap_or(self.now),
        }
    }
}

async fn attach_known(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    tool_id: ToolId,
) -> Result<(), EngineError> {
    match tools::attach(tx, scope, agent_id, tool_id).await {
        Err(StoreError::NotFound { .. }) => {
            Err(EngineError::Invalid(format!("Tools not found by id: {{'{tool_id}'}}")))
        }
        other => Ok(other.map(drop)?),
    }
}

/// Replaces the relations that a PATCH names.
async fn relate(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
    patch: &AgentPatch,
) -> Result<(), EngineError> {
    if let Some(wanted) = &patch.block_ids {
        for block in blocks::of_agent(tx, scope, id).await? {
            blocks::detach(tx, id, block.id).await?;
        }
        for block_id in wanted {
            blocks::attach(tx, scope, id, *block_id).await?;
        }
    }
    if let Some(wanted) = &patch.tool_ids {
        for tool in tools::of_agent(tx, scope, id).await? {
            tools::detach(tx, id, tool.id).await?;
        }
        for tool_id in wanted {
            attach_known(tx, scope, id, *tool_id).await?;
        }
    }
    if let Some(tags) = &patch.tags {
        for tag in tags {
            validation::tag(tag).map_err(|error| invalid(&error))?;
        }
        agents::set_tags(tx, scope, id, tags).await?;
    }
    if let Some(identities) = &patch.identity_ids {
        agents::set_identities(tx, scope, id, identities).await?;
    }
    Ok(())
}

/// Applies the fields of a PATCH.
fn change(
    agent: &mut Agent,
    patch: AgentPatch,
    config: Option<LlmConfig>,
) -> Result<(), EngineError> {
    if let Some(config) = config {
        agent.llm_config = config;
    }
    if let Some(settings) = &patch.model_settings {
        apply_settings(&mut agent.llm_config, Some(settings));
        agent.model_settings = Some(model_settings(&agent.llm_config, Some(settings)));
    }
    if let Some(window) = patch.context_window_limit {
        agent.llm_config.context_window = positive("context_window_limit", window)?;
    }
    if let Some(max_tokens) = patch.max_tokens {
        agent.llm_config.max_tokens = max_tokens;
    }
    if patch.parallel_tool_calls.is_some() {
        agent.llm_config.parallel_tool_calls = patch.parallel_tool_calls;
    }
    set(&mut agent.name, patch.name);
    set(&mut agent.system, patch.system);
    set(&mut agent.timezone, patch.timezone);
    set(&mut agent.tool_rules, patch.tool_rules);
    set(&mut agent.message_buffer_autoclear, patch.message_buffer_autoclear);
    replace(&mut agent.description, patch.description);
    replace(&mut agent.metadata, patch.metadata);
    replace(&mut agent.embedding_config, patch.embedding_config);
    replace(&mut agent.response_format, patch.response_format);
    replace(&mut agent.enable_sleeptime, patch.enable_sleeptime);
    replace(&mut agent.hidden, patch.hidden);
    replace(&mut agent.max_files_open, patch.max_files_open);
    replace(&mut agent.per_file_view_window_char_limit, patch.per_file_view_window_char_limit);
    replace(&mut agent.last_stop_reason, patch.last_stop_reason);
    replace(&mut agent.labels.project_id, patch.project_id);
    replace(&mut agent.labels.template_id, patch.template_id);
    replace(&mut agent.labels.base_template_id, patch.base_template_id);
    if let Some(settings) = patch.compaction_settings {
        agent.compaction_settings = Some(compaction(&agent.llm_config, Some(&settings)));
    }
    Ok(())
}

fn set<T>(field: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *field = new;
    }
}

fn replace<T>(field: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *field = new;
    }
}
