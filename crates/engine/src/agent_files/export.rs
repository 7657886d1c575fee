//! An agent as a file, with those that work with it: everything that is their own, with ids that mean something only there.

use std::collections::BTreeMap;

use mnemic_core::{
    agent_file::{
        AgentExtras, AgentFile, ArchiveEntry, ConversationEntry, Extras, IdentityEntry,
        MessageEntry, PassageEntry, Translator, entry,
    },
    blocks::Block,
    conversations::{Conversation, Thread},
    identities::Identity,
    ids::{AgentId, ArchiveId, BlockId, ConversationId, GroupId, IdentityId, MessageId, ToolId},
    messages::Message,
    scope::Scope,
    tools::Tool,
};
use mnemic_store::{
    Secrets, Tx, archives, blocks, context,
    conversations::{self, Archived, ConversationFilter},
    groups, identities,
    messages::{self, MessageFilter},
    own_threads,
    page::{Order, Page},
    passages::{self, PassageFilter},
};
use serde_json::{Value, json};

use super::{
    entries::{block_entry, conversation_entry, described, tool_entry},
    groups::Team,
};
use crate::{
    Engine, EngineError,
    agents::{Relations, load_one},
    custom::grants,
};

/// Rows that are read at a time.
const PAGE: i64 = 1_000;

/// The version of what stands in a file under our own key.
const VERSION: u32 = 1;

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
    /// An agent as a file, with the agents of its groups. Of secrets only the names are in it.
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
                export.team(tx, &scope, &secrets, id).await?;
                export.file.created_at = Some(now);
                Ok::<_, EngineError>(export.file)
            })
        });
        read.await
    }
}

/// A file that is being made, with the ids in it of what is in it.
pub(super) struct Export {
    options: ExportOptions,
    pub(super) file: AgentFile,
    pub(super) agents: BTreeMap<AgentId, String>,
    pub(super) groups: BTreeMap<GroupId, String>,
    pub(super) messages: BTreeMap<MessageId, String>,
    blocks: BTreeMap<BlockId, String>,
    /// Those that threads have for their own: a person's are the same in several.
    own_blocks: BTreeMap<BlockId, String>,
    tools: BTreeMap<ToolId, String>,
    archives: BTreeMap<ArchiveId, String>,
    identities: BTreeMap<IdentityId, String>,
    /// Those of forks are written once for each.
    written: usize,
}

/// Whether what an agent said goes into the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    All,
    /// In this conversation alone, which takes the place of the default one.
    In(ConversationId),
    /// In the threads of the scope's end user, whose they are in the file as well.
    ByPerson,
    Nothing,
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
            agents: BTreeMap::new(),
            groups: BTreeMap::new(),
            messages: BTreeMap::new(),
            blocks: BTreeMap::new(),
            own_blocks: BTreeMap::new(),
            tools: BTreeMap::new(),
            archives: BTreeMap::new(),
            identities: BTreeMap::new(),
            written: 0,
        }
    }

    /// The agent that is asked for, then those that work with it, and their groups.
    async fn team(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        secrets: &Secrets,
        id: AgentId,
    ) -> Result<(), EngineError> {
        let team = Team::of(tx, scope, id).await?;
        let numbered = (0_usize..).zip(&team.agents);
        self.agents = numbered
            .map(|(n, id)| (*id, format!("agent-{n}")))
            .collect();
        let numbered = (0_usize..).zip(&team.groups);
        self.groups = numbered
            .map(|(n, group)| (group.id, format!("group-{n}")))
            .collect();
        let all = !self.options.without_messages && self.options.conversation.is_none();
        let (asked, rest) = match (self.options.conversation, &scope.subject) {
            (Some(thread), _) => (Said::In(thread), Said::Nothing),
            (None, Some(_)) if all => (Said::ByPerson, Said::Nothing),
            (None, None) if all => (Said::All, Said::All),
            (None, _) => (Said::Nothing, Said::Nothing),
        };
        for agent in &team.agents {
            let said = if *agent == id { asked } else { rest };
            self.agent(tx, (scope, secrets), *agent, said).await?;
        }
        for group in &team.groups {
            self.group(tx, scope, group, rest == Said::All).await?;
        }
        Ok(())
    }

    async fn agent(
        &mut self,
        tx: &mut Tx<'_>,
        (scope, secrets): (&Scope, &Secrets),
        id: AgentId,
        said: Said,
    ) -> Result<(), EngineError> {
        let state = load_one(tx, scope, secrets, id, Relations::ALL).await?;
        let place = self.agents.get(&id).cloned().unwrap_or_default();
        let mut agent = described(place.clone(), &state);
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
        let main = match said {
            Said::In(thread) => conversations::resolve(tx, scope, id, Thread::Id(thread)).await?,
            _ => conversations::default_of(tx, scope, id).await?,
        };
        // What is told of the default conversation is nobody's in particular.
        if said != Said::ByPerson {
            let of_default = ConversationEntry {
                // Of the default conversation, none of these is ever said.
                hidden: false,
                archived_at: None,
                subject: None,
                ..self.about(tx, scope, &main).await?
            };
            if of_default != ConversationEntry::default() {
                extras.default_conversation = Some(of_default);
            }
        }
        let by = (place.as_str(), state.agent.llm_config.model.as_str());
        if !self.options.without_messages && matches!(said, Said::All | Said::In(_)) {
            let said = self.conversation(tx, scope, &main, by).await?;
            agent.in_context_message_ids = said.in_context_message_ids;
            agent.messages = said.messages;
        }
        if matches!(said, Said::All | Said::ByPerson) {
            for other in others(tx, scope, id).await? {
                if said == Said::ByPerson && other.subject != scope.subject {
                    continue;
                }
                let mut entry = self.conversation(tx, scope, &other, by).await?;
                let group = groups::of_thread(tx, other.id).await?;
                entry.group_id = group.and_then(|group| self.groups.get(&group).cloned());
                let of_subject = scope.narrowed_to(other.subject.clone());
                entry.is_own = own_threads::find(tx, &of_subject, id).await? == Some(other.id);
                extras.conversations.push(entry);
            }
        }
        self.file.agents.push(agent);
        if extras != AgentExtras::default() {
            self.file.mnemic.agents.insert(place, extras);
        }
        Ok(())
    }

    pub(super) async fn blocks(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        blocks: &[Block],
    ) -> Result<Vec<String>, EngineError> {
        let ids: Vec<BlockId> = blocks.iter().map(|block| block.id).collect();
        let mut linked = identities::of_blocks(tx, scope, &ids).await?;
        let mut named = Vec::with_capacity(blocks.len());
        for block in blocks {
            if let Some(known) = self.blocks.get(&block.id) {
                named.push(known.clone());
                continue;
            }
            let id = format!("block-{}", self.blocks.len());
            self.blocks.insert(block.id, id.clone());
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
        for tool in tools {
            if let Some(known) = self.tools.get(&tool.id) {
                named.push(known.clone());
                continue;
            }
            let id = format!("tool-{}", self.tools.len());
            self.tools.insert(tool.id, id.clone());
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
        for archive in archives::of_agent(tx, scope, id).await? {
            if let Some(known) = self.archives.get(&archive.id) {
                named.push(known.clone());
                continue;
            }
            let place = format!("archive-{}", self.archives.len());
            self.archives.insert(archive.id, place.clone());
            let filter = PassageFilter {
                archive_id: Some(archive.id),
                ..PassageFilter::default()
            };
            let mut entry = ArchiveEntry {
                id: place,
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
                        subject: passage.subject,
                    }));
            }
            named.push(entry.id.clone());
            self.file.mnemic.archives.push(entry);
        }
        Ok(named)
    }

    /// A conversation without what was said in it.
    async fn about(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        conversation: &Conversation,
    ) -> Result<ConversationEntry, EngineError> {
        let place = (conversation.agent_id, conversation.id).into();
        let own = blocks::own_blocks(tx, scope, place).await?;
        let own = own.iter().map(|block| {
            let next = format!("own-block-{}", self.own_blocks.len());
            let id = self.own_blocks.entry(block.id).or_insert(next);
            block_entry(id.clone(), block)
        });
        Ok(conversation_entry(conversation, own.collect()))
    }

    /// A conversation, with its agent's id in the file and its model. Its context is read before its messages: they only grow, so that none is missing.
    async fn conversation(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        conversation: &Conversation,
        by: (&str, &str),
    ) -> Result<ConversationEntry, EngineError> {
        let shown = context::message_ids(tx, conversation.id).await?;
        let mut said = self.about(tx, scope, conversation).await?;
        let filter = MessageFilter {
            conversation_id: Some(conversation.id),
            ..MessageFilter::default()
        };
        let mut page = Page::first(PAGE, Order::Asc);
        let mut all = Vec::new();
        loop {
            // Its prompt is nobody's own, whosever the conversation is.
            let found = messages::list(tx, &scope.common(), &filter, &page).await?;
            let Some(last) = found.last() else { break };
            page.after = Some(last.id.to_string());
            all.extend(found);
        }
        // The prompt of a fork is younger than the messages that it shares.
        let prompt = all.iter().position(|one| shown.first() == Some(&one.id));
        if let Some(before) = prompt.and_then(|place| all.get_mut(..=place)) {
            before.rotate_right(1);
        }
        let (mut translator, mut named) = (Translator::default(), BTreeMap::new());
        for message in all {
            let entry = self.message(&message, &mut translator, by);
            named.insert(message.id, entry.id.clone());
            said.messages.push(entry);
        }
        let known = |id: &MessageId| named.get(id).cloned();
        said.in_context_message_ids = shown.iter().filter_map(known).collect();
        Ok(said)
    }

    fn message(
        &mut self,
        message: &Message,
        translator: &mut Translator,
        (agent, model): (&str, &str),
    ) -> MessageEntry {
        let id = format!("message-{}", self.written);
        self.written += 1;
        self.messages.insert(message.id, id.clone());
        let mut entry = entry(message, (id.clone(), agent.to_owned()), Some(model));
        entry.sender_id = entry.sender_id.map(|sender| self.sender(sender));
        if !translator.holds(message, &entry) {
            let all = &mut self.file.mnemic.bodies;
            all.insert(id, message.body.clone());
        }
        entry
    }

    /// An agent or group of the file goes by its id in the file.
    fn sender(&self, sender: String) -> String {
        let agent = sender.parse().ok().and_then(|id| self.agents.get(&id));
        let group = || sender.parse().ok().and_then(|id| self.groups.get(&id));
        agent.or_else(group).cloned().unwrap_or(sender)
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
        show_hidden: true,
        archived: Archived::With,
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
