//! Agents out of a file: everything in one commit, or nothing.

use std::collections::BTreeMap;

use mnemic_core::{
    agent_file::{self, AgentEntry, AgentFile, ConversationEntry},
    ids::AgentId,
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    Secrets, Tx, archives,
    conversations::{self, NewConversation},
    tools,
};

use super::{
    memory::{Placed, ReadyMemory},
    threads::ReadyThread,
    tools::ReadyTools,
};
use crate::{Engine, EngineError, agents::Draft, prompting};

/// What whoever imports a file says about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The name of its first agent, in place of its own.
    pub name: Option<String>,
    /// Whether agents that keep their names get `_copy` added.
    pub append_copy_suffix: bool,
    /// The model of its agents, in place of their own.
    pub model: Option<String>,
    /// The embedding model of its agents, in place of their own.
    pub embedding: Option<String>,
    /// Values of secrets.
    pub secrets: BTreeMap<String, String>,
    /// Whether what was said is left out.
    pub strip_messages: bool,
    /// Whether tools that are here already stay as they are.
    pub keep_existing_tools: bool,
    /// Whether tools get what the file says was granted to them, and its agents tools that something was granted to.
    pub allow_grants: bool,
    /// The project of its agents, in place of their own.
    pub project_id: Option<String>,
    /// Whether a running tool imports it.
    pub is_from_tool: bool,
}

/// What an import made.
#[derive(Debug, Clone, Default)]
pub struct Imported {
    /// The agents, in the order of the file.
    pub agent_ids: Vec<AgentId>,
    /// What of the file was not taken over, in a person's words.
    pub left_out: Vec<String>,
}

/// An agent with what was said.
struct ReadyAgent {
    draft: Draft,
    entry: AgentEntry,
    archive_ids: Vec<String>,
    identity_ids: Vec<String>,
    said: ReadyThread,
    further: Vec<(NewConversation, ReadyThread)>,
}

/// A file that is about to be stored.
struct Import {
    tools: ReadyTools,
    memory: ReadyMemory,
    agents: Vec<ReadyAgent>,
    left_out: Vec<String>,
    now: Timestamp,
}

/// The conversations of an agent: the default one, then the others.
type Said = (ReadyThread, Vec<(ConversationEntry, ReadyThread)>);

impl Engine {
    /// Makes the agents of a file, with everything that is theirs.
    ///
    /// # Errors
    /// It is no agent file, something in it is not valid, a model is not known, a tool is here already and must not be
    /// changed, or the database's. Then nothing was made.
    pub async fn import_agents(
        &self,
        scope: &Scope,
        file: impl AsRef<[u8]> + Send + 'static,
        options: ImportOptions,
    ) -> Result<Imported, EngineError> {
        if options.allow_grants && options.is_from_tool {
            let text =
                "a running tool can't import a file with allow_grants: it can't grant anything";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        let strip = options.strip_messages;
        // Reading and counting a long history takes a while.
        let read = tokio::task::spawn_blocking(move || {
            let file = agent_file::read(file.as_ref())?;
            let said = file
                .agents
                .iter()
                .map(|agent| said(&file, agent, strip))
                .collect();
            Ok::<(AgentFile, Vec<Said>), agent_file::Unreadable>((file, said))
        });
        let (file, said) = read
            .await
            .map_err(|_| EngineError::ShuttingDown)?
            .map_err(|error| EngineError::Invalid(error.to_string()))?;
        let import = self.ready(scope, file, said, options).await?;
        let (scope, secrets) = (scope.clone(), self.store().secrets().clone());
        self.store()
            .write(move |tx| Box::pin(async move { import.store(tx, &scope, &secrets).await }))
            .await
    }

    async fn ready(
        &self,
        scope: &Scope,
        file: AgentFile,
        said: Vec<Said>,
        mut options: ImportOptions,
    ) -> Result<Import, EngineError> {
        let mut left_out = not_taken(&file);
        let tools = ReadyTools::new(self, (&file, &options), &mut left_out).await?;
        let memory = self.memory_of(scope, &file, &mut left_out).await?;
        let mut agents = Vec::with_capacity(file.agents.len());
        for (entry, (said, further)) in file.agents.into_iter().zip(said) {
            let request = self
                .request_of(scope, &entry, &options, &mut left_out)
                .await?;
            options.name = None;
            let extras = file
                .mnemic
                .agents
                .get(&entry.id)
                .cloned()
                .unwrap_or_default();
            let mut threads = Vec::with_capacity(further.len());
            for (thread, said) in further {
                threads.push((
                    self.conversation_of(scope, thread, &mut left_out).await,
                    said,
                ));
            }
            agents.push(ReadyAgent {
                draft: self.draft(scope, request).await?,
                entry,
                archive_ids: extras.archive_ids,
                identity_ids: extras.identity_ids,
                said,
                further: threads,
            });
        }
        let now = self.now();
        Ok(Import {
            tools,
            memory,
            agents,
            left_out,
            now,
        })
    }

    async fn conversation_of(
        &self,
        scope: &Scope,
        entry: ConversationEntry,
        left_out: &mut Vec<String>,
    ) -> NewConversation {
        let mut model = entry.model;
        if let Some(handle) = &model
            && self.config_of(scope, handle).await.is_err()
        {
            left_out.push(format!(
                "the model {handle} of a conversation, which this server does not have"
            ));
            model = None;
        }
        NewConversation {
            is_default: false,
            summary: entry.summary,
            model,
            model_settings: entry.model_settings,
        }
    }
}

fn said(file: &AgentFile, agent: &AgentEntry, strip: bool) -> Said {
    if strip {
        return Said::default();
    }
    let whole = &file.mnemic.bodies;
    let main = ReadyThread::new(&agent.messages, &agent.in_context_message_ids, whole);
    let extras = file.mnemic.agents.get(&agent.id);
    let further = extras.into_iter().flat_map(|extras| &extras.conversations);
    let further = further.map(|thread| {
        let said = ReadyThread::new(&thread.messages, &thread.in_context_message_ids, whole);
        let about = ConversationEntry {
            messages: Vec::new(),
            in_context_message_ids: Vec::new(),
            ..thread.clone()
        };
        (about, said)
    });
    (main, further.collect())
}

/// What a file may hold that this server makes nothing of.
fn not_taken(file: &AgentFile) -> Vec<String> {
    let lists = [
        (file.groups.len(), "groups: make them anew"),
        (file.files.len(), "files: upload them to the agent"),
        (
            file.sources.len(),
            "folders: make them anew and upload their files",
        ),
        (
            file.mcp_servers.len(),
            "MCP servers: add them with their credentials",
        ),
    ];
    let some = lists.iter().filter(|(number, _)| *number > 0);
    some.map(|(number, what)| format!("{number} {what}"))
        .collect()
}

impl Import {
    async fn store(
        mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        secrets: &Secrets,
    ) -> Result<Imported, EngineError> {
        let mut left_out = std::mem::take(&mut self.left_out);
        let tool_ids = self.tools.store(tx, scope, self.now, &mut left_out).await?;
        let placed = self.memory.store(tx, scope).await?;
        let mut made = Imported {
            agent_ids: Vec::with_capacity(self.agents.len()),
            left_out,
        };
        for agent in self.agents {
            for tool in tools::by_names(tx, scope, &agent.entry.tools).await? {
                self.tools.check_granted(&tool)?;
            }
            let wanted = agent.entry.tool_ids.iter();
            let wanted = wanted.filter_map(|id| tool_ids.get(id).copied()).collect();
            let id = agent
                .store(tx, (scope, secrets), (wanted, &placed), self.now)
                .await?;
            made.agent_ids.push(id);
        }
        Ok(made)
    }
}

/// The ids here of those in the file.
fn here<T: Copy>(named: &[String], placed: &BTreeMap<String, T>) -> Vec<T> {
    named
        .iter()
        .filter_map(|id| placed.get(id).copied())
        .collect()
}

impl ReadyAgent {
    async fn store(
        mut self,
        tx: &mut Tx<'_>,
        (scope, secrets): (&Scope, &Secrets),
        (tools, placed): (Vec<mnemic_core::ids::ToolId>, &Placed),
        now: Timestamp,
    ) -> Result<AgentId, EngineError> {
        let blocks = here(&self.entry.block_ids, &placed.blocks);
        let identities = here(&self.identity_ids, &placed.identities);
        self.draft.link(tools, blocks, identities);
        let id = self.draft.store(tx, scope, secrets).await?;
        for archive in here(&self.archive_ids, &placed.archives) {
            archives::attach(tx, scope, (id, archive), now).await?;
        }
        let main = conversations::default_of(tx, scope, id).await?;
        self.said.store(tx, scope, (id, main.id), now).await?;
        for (place, (new, said)) in (1_i64..).zip(self.further) {
            // A microsecond apart, so that lists by age keep their order.
            let now = now.plus_micros(place);
            let further = conversations::insert(tx, scope, id, &new, now).await?;
            prompting::refresh(tx, scope, id, further, now).await?;
            said.store(tx, scope, (id, further), now).await?;
        }
        Ok(id)
    }
}
