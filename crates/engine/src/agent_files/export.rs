//! An agent as a file: everything that is its own, with ids that mean something only there.

use std::collections::BTreeMap;

use mnemic_core::{
    agent_file::{
        AgentEntry, AgentExtras, AgentFile, ArchiveEntry, BlockEntry, ConversationEntry, Extras,
        IdentityEntry, MessageEntry, PassageEntry, ToolEntry, Translator, entry,
    },
    agents::Agent,
    blocks::Block,
    conversations::{Conversation, Thread},
    identities::Identity,
    ids::{AgentId, BlockId, ConversationId, IdentityId, MessageId},
    messages::Message,
    scope::Scope,
    tools::Tool,
};
use mnemic_store::{
    Secrets, Tx, archives, context,
    conversations::{self, ConversationFilter},
    identities,
    messages::{self, MessageFilter},
    page::{Order, Page},
    passages::{self, PassageFilter},
};
use serde_json::{Map, Value, json};

use crate::{
    Engine, EngineError,
    agents::{AgentState, Relations, load_one},
    custom::grants,
};

/// Rows that are read at a time.
const PAGE: i64 = 1_000;

/// The version of what stands in a file under our own key.
const VERSION: u32 = 1;

/// The agent's id within its file.
const AGENT: &str = "agent-0";

/// What an exported file holds.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// The one conversation that the file holds, in the place of the default one; else it holds all.
    pub conversation: Option<ConversationId>,
    /// Whether what was said is left out.
    pub without_messages: bool,
    /// What the client gives along for whoever imports the file.
    pub skills: Vec<Value>,
}

impl Engine {
    /// An agent as a file. Of its secrets only the names are in it.
    ///
    /// # Errors
    /// There is no such agent or conversation, or the database's.
    pub async fn export_agent(
        &self,
        scope: &Scope,
        id: AgentId,
        options: ExportOptions,
    ) -> Result<AgentFile, EngineError> {
        let (scope, secrets, now) = (scope.clone(), self.store().secrets().clone(), self.now());
        let read = self.store().read(move |tx| {
            Box::pin(async move {
                let mut export = Export::new(options);
                export.agent(tx, &scope, &secrets, id).await?;
                export.file.created_at = Some(now);
                Ok::<_, EngineError>(export.file)
            })
        });
        read.await
    }
}

/// A file that is being made.
struct Export {
    options: ExportOptions,
    file: AgentFile,
    messages: usize,
    identities: BTreeMap<IdentityId, String>,
}

impl Export {
    fn new(options: ExportOptions) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            file: AgentFile {
                skills: options.skills.clone(),
                // The V1 API's readers expect a text under this name.
                metadata: [("revision_id".to_owned(), json!(format!("mnemic-{version}")))].into(),
                mnemic: Extras {
                    version: VERSION,
                    ..Extras::default()
                },
                ..AgentFile::default()
            },
            options,
            messages: 0,
            identities: BTreeMap::new(),
        }
    }

    async fn agent(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        secrets: &Secrets,
        id: AgentId,
    ) -> Result<(), EngineError> {
        let state = load_one(tx, scope, secrets, id, Relations::ALL).await?;
        let mut agent = described(&state);
        agent.block_ids = self.blocks(tx, scope, &state.blocks).await?;
        agent.tool_ids = self.tools(&state.tools);
        let mut extras = AgentExtras {
            identity_ids: state
                .identities
                .iter()
                .map(|one| self.identity(one))
                .collect(),
            archive_ids: self.archives(tx, scope, id).await?,
            ..AgentExtras::default()
        };
        let thread = self
            .options
            .conversation
            .map_or(Thread::Default, Thread::Id);
        let main = conversations::resolve(tx, scope, id, thread).await?;
        if !self.options.without_messages {
            let model = &state.agent.llm_config.model;
            let said = self.conversation(tx, scope, &main, model).await?;
            agent.in_context_message_ids = said.in_context_message_ids;
            agent.messages = said.messages;
            if self.options.conversation.is_none() {
                for other in others(tx, scope, id).await? {
                    let said = self.conversation(tx, scope, &other, model).await?;
                    extras.conversations.push(said);
                }
            }
        }
        self.file.agents.push(agent);
        if extras != AgentExtras::default() {
            self.file.mnemic.agents.insert(AGENT.to_owned(), extras);
        }
        Ok(())
    }

    async fn blocks(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        blocks: &[Block],
    ) -> Result<Vec<String>, EngineError> {
        let ids: Vec<BlockId> = blocks.iter().map(|block| block.id).collect();
        let mut linked = identities::of_blocks(tx, scope, &ids).await?;
        let mut named = Vec::with_capacity(blocks.len());
        for (n, block) in blocks.iter().enumerate() {
            let id = format!("block-{n}");
            let of_block = linked.remove(&block.id).unwrap_or_default();
            if !of_block.is_empty() {
                let of_block = of_block.iter().map(|one| self.identity(one)).collect();
                let all = &mut self.file.mnemic.block_identities;
                all.insert(id.clone(), of_block);
            }
            self.file.blocks.push(block_entry(id.clone(), block));
            named.push(id);
        }
        Ok(named)
    }

    fn tools(&mut self, tools: &[Tool]) -> Vec<String> {
        let mut named = Vec::with_capacity(tools.len());
        for (n, tool) in tools.iter().enumerate() {
            let id = format!("tool-{n}");
            if let Some(granted) = tool.extra.get(grants::FIELD).filter(|one| !one.is_null()) {
                let all = &mut self.file.mnemic.grants;
                all.insert(id.clone(), granted.clone());
            }
            self.file.tools.push(tool_entry(id.clone(), tool));
            named.push(id);
        }
        named
    }

    /// The id of an identity within the file.
    fn identity(&mut self, identity: &Identity) -> String {
        if let Some(known) = self.identities.get(&identity.id) {
            return known.clone();
        }
        let id = format!("identity-{}", self.identities.len());
        self.identities.insert(identity.id, id.clone());
        self.file.mnemic.identities.push(IdentityEntry {
            id: id.clone(),
            identifier_key: identity.identifier_key.clone(),
            name: identity.name.clone(),
            identity_type: identity.identity_type.as_str().to_owned(),
            properties: identity.properties.clone(),
            project_id: identity.project_id.clone(),
        });
        id
    }

    async fn archives(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        id: AgentId,
    ) -> Result<Vec<String>, EngineError> {
        let mut named = Vec::new();
        for (n, archive) in archives::of_agent(tx, scope, id)
            .await?
            .into_iter()
            .enumerate()
        {
            let filter = PassageFilter {
                archive_id: Some(archive.id),
                ..PassageFilter::default()
            };
            let mut entry = ArchiveEntry {
                id: format!("archive-{n}"),
                embedding: archive.embedding_handle().map(str::to_owned),
                name: archive.name,
                description: archive.description,
                metadata: archive.metadata,
                passages: Vec::new(),
            };
            let mut page = Page::first(PAGE, Order::Asc);
            loop {
                let found = passages::list(tx, scope, &filter, &page).await?;
                let Some(last) = found.last() else { break };
                page.after = Some(last.id.to_string());
                entry
                    .passages
                    .extend(found.into_iter().map(|passage| PassageEntry {
                        text: passage.text,
                        tags: passage.tags,
                        metadata: passage.metadata,
                        created_at: Some(passage.created_at),
                    }));
            }
            named.push(entry.id.clone());
            self.file.mnemic.archives.push(entry);
        }
        Ok(named)
    }

    /// A conversation. Its context is read before its messages: they only grow, so that none is missing.
    async fn conversation(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        conversation: &Conversation,
        model: &str,
    ) -> Result<ConversationEntry, EngineError> {
        let shown = context::message_ids(tx, conversation.id).await?;
        let mut said = ConversationEntry {
            summary: conversation.summary.clone(),
            model: conversation.model.clone(),
            model_settings: conversation.model_settings.clone(),
            ..ConversationEntry::default()
        };
        let filter = MessageFilter {
            conversation_id: Some(conversation.id),
            ..MessageFilter::default()
        };
        let mut page = Page::first(PAGE, Order::Asc);
        let (mut translator, mut named) = (Translator::default(), BTreeMap::new());
        loop {
            let found = messages::list(tx, scope, &filter, &page).await?;
            let Some(last) = found.last() else { break };
            page.after = Some(last.id.to_string());
            for message in found {
                let entry = self.message(&message, &mut translator, model);
                named.insert(message.id, entry.id.clone());
                said.messages.push(entry);
            }
        }
        let known = |id: &MessageId| named.get(id).cloned();
        said.in_context_message_ids = shown.iter().filter_map(known).collect();
        Ok(said)
    }

    fn message(
        &mut self,
        message: &Message,
        translator: &mut Translator,
        model: &str,
    ) -> MessageEntry {
        let id = format!("message-{}", self.messages);
        self.messages += 1;
        let entry = entry(message, (id.clone(), AGENT.to_owned()), Some(model));
        if !translator.holds(message, &entry) {
            let all = &mut self.file.mnemic.bodies;
            all.insert(id, message.body.clone());
        }
        entry
    }
}

/// The conversations of an agent beside the default one, oldest first.
async fn others(
    tx: &mut Tx<'_>,
    scope: &Scope,
    id: AgentId,
) -> Result<Vec<Conversation>, EngineError> {
    let filter = ConversationFilter {
        agent_id: Some(id),
        ..ConversationFilter::default()
    };
    let (mut all, mut page) = (Vec::new(), Page::first(PAGE, Order::Asc));
    loop {
        let found = conversations::list(tx, scope, &filter, &page).await?;
        let Some(last) = found.last() else {
            return Ok(all);
        };
        page.after = Some(last.id.to_string());
        all.extend(found);
    }
}

/// What an agent is, without what belongs to it.
fn described(state: &AgentState) -> AgentEntry {
    let Agent {
        name,
        agent_type,
        system,
        description,
        metadata,
        llm_config,
        embedding_config,
        model_settings,
        compaction_settings,
        response_format,
        tool_rules,
        timezone,
        labels,
        ..
    } = state.agent.clone();
    let agent = &state.agent;
    let names = state.secrets.iter();
    AgentEntry {
        id: AGENT.to_owned(),
        name,
        agent_type,
        system: Some(system),
        description,
        metadata,
        tool_rules,
        tags: state.tags.clone(),
        llm_config: Some(llm_config),
        embedding_config,
        model_settings: match model_settings {
            Some(Value::Object(settings)) => Some(settings),
            _ => None,
        },
        compaction_settings,
        response_format,
        // The names alone: values are secret.
        tool_exec_environment_variables: names
            .map(|secret| (secret.key.clone(), Some(String::new())))
            .collect(),
        timezone: Some(timezone),
        message_buffer_autoclear: agent.message_buffer_autoclear,
        enable_sleeptime: agent.enable_sleeptime,
        hidden: agent.hidden,
        max_files_open: agent.max_files_open,
        per_file_view_window_char_limit: agent.per_file_view_window_char_limit,
        project_id: labels.project_id,
        template_id: labels.template_id,
        base_template_id: labels.base_template_id,
        rest: v1_fields(),
        ..AgentEntry::default()
    }
}

/// Fields of the V1 API that say nothing of an agent of this server, as its readers expect them.
fn v1_fields() -> Map<String, Value> {
    let fields = json!({
        "source_ids": [],
        "folder_ids": null,
        "initial_message_sequence": null,
        "include_base_tools": false,
        "include_multi_agent_tools": false,
        "include_base_tool_rules": false,
        "include_default_source": false,
        "embedding_chunk_size": null,
        "max_reasoning_tokens": null,
        "enable_reasoner": null,
        "reasoning": null,
        "from_template": null,
        "template": false,
        "project": null,
        "memory_variables": null,
        "identity_ids": null,
        "files_agents": [],
        "group_ids": [],
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn block_entry(id: String, block: &Block) -> BlockEntry {
    BlockEntry {
        id,
        label: block.label.clone(),
        value: block.value.clone(),
        limit: Some(block.limit),
        description: block.description.clone(),
        read_only: block.read_only,
        metadata: block.metadata.clone(),
        tags: block.tags.clone(),
        hidden: block.hidden,
        is_template: block.is_template,
        labels: block.labels.clone(),
    }
}

fn tool_entry(id: String, tool: &Tool) -> ToolEntry {
    let extra = |key: &str| {
        tool.extra
            .get(key)
            .filter(|value| !value.is_null())
            .cloned()
    };
    let object = |key: &str| match extra(key) {
        Some(Value::Object(fields)) => Some(fields),
        _ => None,
    };
    ToolEntry {
        id,
        tool_type: Some(tool.tool_type.as_str().to_owned()),
        description: tool.description.clone(),
        source_type: Some(tool.source_type.clone()),
        name: Some(tool.name.clone()),
        tags: tool.tags.clone(),
        source_code: tool.source_code.clone(),
        json_schema: Some(tool.json_schema.clone()),
        args_json_schema: object("args_json_schema"),
        return_char_limit: Some(tool.return_char_limit),
        pip_requirements: extra("pip_requirements"),
        npm_requirements: extra("npm_requirements"),
        default_requires_approval: tool.default_requires_approval,
        enable_parallel_execution: tool.enable_parallel_execution,
        created_by_id: None,
        last_updated_by_id: None,
        metadata_: object("metadata_"),
        project_id: extra("project_id").and_then(|id| id.as_str().map(str::to_owned)),
    }
}
