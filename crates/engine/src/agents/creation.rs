//! A new agent: its draft, made before the transaction, and the one commit that stores it.

use mnemic_core::{
    agents::{Agent, AgentType, LlmConfig},
    blocks::{Author, Block},
    builtin,
    conversations::Thread,
    ids::{AgentId, BlockId, ConversationId, IdentityId, MessageId, ToolId},
    names,
    scope::Scope,
    system_prompts::default_system_prompt,
    time::Timestamp,
    tools::Tool,
    validation,
};
use mnemic_store::{
    Secrets, StoreError, Tx, agent_secrets, agents, blocks, context,
    conversations::{self, NewConversation},
    identities, messages, organizations, tools, turns,
};
use serde_json::Value;

use super::{
    CreateAgent, checks,
    defaults::{self, apply_settings, file_windows},
    invalid, opening,
};
use crate::{Engine, EngineError, groups::companion, prompting, tools::approval_rules};

/// The tag that keeps a coding agent's helpers out of lists (V1 contract, section 2.1).
const SUBAGENT_TAG: &str = "role:subagent";

/// A new agent, checked, with its model resolved.
pub(crate) struct Draft {
    agent: Agent,
    blocks: Vec<Block>,
    request: CreateAgent,
}

impl Engine {
    /// Checks a request and resolves what it names outside of the database.
    pub(crate) async fn draft(
        &self,
        scope: &Scope,
        request: CreateAgent,
    ) -> Result<Draft, EngineError> {
        let now = self.now();
        check(&request)?;
        let mut blocks = Vec::with_capacity(request.memory_blocks.len());
        for (place, block) in (0_i64..).zip(request.memory_blocks.iter().cloned()) {
            // A microsecond apart, so that lists by age keep their order.
            blocks.push(block.into_block(now.plus_micros(place))?);
        }
        let llm_config = self.requested_model(scope, &request).await?;
        let rules = request.tool_rules.as_deref().unwrap_or_default();
        checks::first_rules(rules, &llm_config.model)?;
        let embedding_config = self.requested_embedding(scope, &request).await?;
        let agent = new_agent(&request, (llm_config, embedding_config), now);
        Ok(Draft {
            agent,
            blocks,
            request,
        })
    }

    async fn requested_model(
        &self,
        scope: &Scope,
        request: &CreateAgent,
    ) -> Result<LlmConfig, EngineError> {
        let mut config = match (&request.model, &request.llm_config) {
            (Some(handle), _) => self.config_of(scope, handle).await?,
            (None, Some(config)) => config.clone(),
            (None, None) => self.default_model(scope).await?,
        };
        if let Some(settings) = &request.model_settings {
            apply_settings(&mut config, settings);
        }
        if let Some(window) = request.context_window_limit {
            config.context_window = checks::positive("context_window_limit", window)?;
        }
        config.max_tokens = request.max_tokens.or(config.max_tokens);
        config.parallel_tool_calls = request.parallel_tool_calls.or(config.parallel_tool_calls);
        if let Some(reasoning) = request.reasoning {
            config
                .extra
                .insert("enable_reasoner".to_owned(), Value::Bool(reasoning));
        }
        Ok(config)
    }

    /// The model that is configured as the default, else one of a server that was found running.
    async fn default_model(&self, scope: &Scope) -> Result<LlmConfig, EngineError> {
        let default = match &self.settings().default_llm_handle {
            Some(handle) => Some(handle.clone()),
            None => self.catalogue().found_model().await,
        };
        let Some(handle) = default else {
            return Err(EngineError::Invalid(
                "INVALID_ARGUMENT: Must specify either model or llm_config in request; this \
                 server has no default model (default_llm_handle)"
                    .to_owned(),
            ));
        };
        self.config_of(scope, &handle).await
    }

    async fn requested_embedding(
        &self,
        scope: &Scope,
        request: &CreateAgent,
    ) -> Result<Option<Value>, EngineError> {
        let default = self.embeddings().default_handle();
        match (
            request.embedding.as_deref(),
            &request.embedding_config,
            default,
        ) {
            (None, Some(config), _) => Ok(Some(config.clone())),
            (Some(handle), _, _) | (None, None, Some(handle)) => self
                .embedding_config_of(scope, handle, request.embedding_chunk_size)
                .await
                .map(Some),
            (None, None, None) => Ok(None),
        }
    }
}

fn check(request: &CreateAgent) -> Result<(), EngineError> {
    if let Some(name) = &request.name {
        validation::agent_name(name).map_err(invalid)?;
    }
    for tag in &request.tags {
        validation::tag(tag).map_err(invalid)?;
    }
    checks::of_new(request)
}

fn new_agent(
    request: &CreateAgent,
    (llm_config, embedding_config): (LlmConfig, Option<Value>),
    now: Timestamp,
) -> Agent {
    let request = request.clone();
    let kind = request.agent_type;
    let (files, chars) = file_windows(llm_config.context_window);
    let subagent = request.tags.iter().any(|tag| tag == SUBAGENT_TAG);
    Agent {
        id: AgentId::new(),
        name: request.name.unwrap_or_else(names::random_agent_name),
        agent_type: kind,
        system: request
            .system
            .unwrap_or_else(|| default_system_prompt(kind).to_owned()),
        description: request.description,
        metadata: request.metadata,
        llm_config,
        embedding_config,
        model_settings: request.model_settings.map(Value::Object),
        compaction_settings: request.compaction_settings,
        response_format: request.response_format,
        // Known when its tools are.
        tool_rules: Vec::new(),
        timezone: request.timezone.unwrap_or_else(|| "UTC".to_owned()),
        message_buffer_autoclear: request.message_buffer_autoclear
            || kind == AgentType::WorkflowAgent,
        enable_sleeptime: request.enable_sleeptime,
        hidden: if subagent { Some(true) } else { request.hidden },
        max_files_open: request.max_files_open.or(Some(files)),
        per_file_view_window_char_limit: request.per_file_view_window_char_limit.or(Some(chars)),
        people: request.people,
        labels: request.labels,
        revision: 1,
        last_run_completion: None,
        last_run_duration_ms: None,
        last_stop_reason: None,
        created_by: None,
        updated_by: None,
        created_at: now,
        updated_at: now,
    }
}

impl Draft {
    /// Links what became known only inside the transaction.
    pub(crate) fn link(
        &mut self,
        tools: Vec<ToolId>,
        blocks: Vec<BlockId>,
        identities: Vec<IdentityId>,
    ) {
        self.request.tool_ids.extend(tools);
        self.request.block_ids.extend(blocks);
        self.request.identity_ids.extend(identities);
    }

    /// Its id, which it has before it is stored.
    pub(crate) const fn id(&self) -> AgentId {
        self.agent.id
    }

    /// An agent whose models are known, with blocks of its own.
    pub(crate) fn known(
        request: CreateAgent,
        models: (LlmConfig, Option<Value>),
        blocks: Vec<Block>,
        now: Timestamp,
    ) -> Self {
        let agent = new_agent(&request, models, now);
        Self {
            agent,
            blocks,
            request,
        }
    }

    /// Stores the agent with everything that belongs to it, its companion included.
    pub(crate) async fn store(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        secrets: &Secrets,
    ) -> Result<AgentId, EngineError> {
        let agent = self.agent.clone();
        if self.request.if_not_exists {
            // Whoever makes an agent of the same name at the same time waits here.
            organizations::lock(tx, scope).await?;
            if let Some(id) = agents::oldest_named(tx, scope, &agent.name).await? {
                return Ok(id);
            }
        }
        let id = self.store_alone(tx, scope, secrets).await?;
        if companion::is_wanted(&agent) {
            companion::make(tx, scope, secrets, &agent, agent.created_at).await?;
        }
        Ok(id)
    }

    /// Stores the agent with everything that belongs to it.
    pub(crate) async fn store_alone(
        mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        secrets: &Secrets,
    ) -> Result<AgentId, EngineError> {
        let (id, now) = (self.agent.id, self.agent.created_at);
        let wanted = self.wanted_tools(tx, scope).await?;
        self.agent.tool_rules = self.tool_rules(&wanted);
        agents::insert(tx, scope, &self.agent).await?;
        for tool in &wanted {
            tools::attach(tx, scope, id, tool.id).await?;
        }
        for block in &self.blocks {
            blocks::insert(tx, scope, block, &Author::asking(scope)).await?;
            blocks::attach(tx, scope, id, block.id).await?;
        }
        for block_id in &self.request.block_ids {
            blocks::attach(tx, scope, id, *block_id).await?;
        }
        agents::set_tags(tx, scope, id, &self.request.tags).await?;
        agent_secrets::replace(tx, secrets, id, &self.request.secrets, now).await?;
        identities::set_of_agent(tx, scope, id, &self.request.identity_ids).await?;
        agents::set_folders(tx, scope, id, &self.request.folder_ids).await?;
        let new = NewConversation {
            is_default: true,
            ..NewConversation::default()
        };
        let conversation = conversations::insert(tx, scope, id, &new, now).await?;
        prompting::refresh(tx, scope, id, conversation, now).await?;
        self.open(tx, scope, conversation, &wanted).await?;
        Ok(id)
    }

    /// The tools of the agent: those of its type, then those that the request names, each once.
    async fn wanted_tools(&self, tx: &mut Tx<'_>, scope: &Scope) -> Result<Vec<Tool>, EngineError> {
        let mut names: Vec<String> = Vec::new();
        if self.request.include_base_tools {
            let base = builtin::default_tools(self.agent.agent_type);
            names.extend(base.iter().map(|name| (*name).to_owned()));
        }
        if self.request.include_multi_agent_tools {
            let tools = builtin::MULTI_AGENT_TOOLS;
            names.extend(tools.iter().map(|name| (*name).to_owned()));
        }
        names.extend(self.request.tools.iter().cloned());
        let mut wanted = by_names(tx, scope, &names).await?;
        for id in &self.request.tool_ids {
            let tool = by_id(tx, scope, *id).await?;
            if !wanted.iter().any(|known| known.id == tool.id) {
                wanted.push(tool);
            }
        }
        Ok(wanted)
    }

    fn tool_rules(&self, wanted: &[Tool]) -> Vec<Value> {
        let (request, config) = (&self.request, &self.agent.llm_config);
        let tool_rules = defaults::tool_rules(
            self.agent.agent_type,
            request.tool_rules.as_deref(),
            request.include_base_tool_rules,
            (config, wanted),
        );
        let mut agent = Agent {
            tool_rules,
            ..self.agent.clone()
        };
        for tool in wanted {
            if let Some(rules) = approval_rules(&agent, tool) {
                agent.tool_rules = rules;
            }
        }
        agent.tool_rules
    }

    /// Puts the first messages into the context, after the prompt.
    async fn open(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        conversation: ConversationId,
        wanted: &[Tool],
    ) -> Result<(), EngineError> {
        let (agent, now) = (&self.agent, self.agent.created_at);
        let given = self.request.initial_messages.as_deref();
        let first = opening::messages((agent, wanted), conversation, given, now);
        if first.is_empty() {
            return Ok(());
        }
        let ids: Vec<MessageId> = first.iter().map(|message| message.id).collect();
        messages::insert(tx, scope, &first).await?;
        let head = turns::head(tx, scope, agent.id, Thread::Id(conversation)).await?;
        context::append(tx, conversation, head.next_position, &ids, now).await?;
        Ok(())
    }
}

/// The tools of these names, in their order, each once; an unknown name is refused.
async fn by_names(
    tx: &mut Tx<'_>,
    scope: &Scope,
    names: &[String],
) -> Result<Vec<Tool>, EngineError> {
    let mut known = tools::by_names(tx, scope, names).await?;
    let missing: Vec<String> = names
        .iter()
        .filter(|name| !known.iter().any(|tool| tool.name == **name))
        .map(|name| format!("'{name}'"))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(EngineError::Invalid(format!(
            "Tools not found by name: {{{missing}}}"
        )));
    }
    let place = |tool: &Tool| names.iter().position(|name| *name == tool.name);
    known.sort_by_key(place);
    Ok(known)
}

/// A tool by its id; an unknown one is a mistake in the request.
pub(super) async fn by_id(tx: &mut Tx<'_>, scope: &Scope, id: ToolId) -> Result<Tool, EngineError> {
    match tools::get(tx, scope, id).await {
        Err(StoreError::NotFound { .. }) => Err(EngineError::Invalid(format!(
            "Tools not found by id: {{'{id}'}}"
        ))),
        other => Ok(other?),
    }
}
