//! Agents out of a file: everything in one commit, or nothing.

use std::collections::{BTreeMap, HashMap};

use mnemic_core::{
    agent_file::{self, AgentEntry, AgentFile, ConversationEntry, MessageEntry},
    ids::{AgentId, ToolId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{Secrets, Tx, archives, tools};

use super::{
    conversations::Threads,
    groups::{self, ReadyGroup},
    memory::{Placed, ReadyMemory},
    threads::ReadyThread,
    tools::ReadyTools,
};
use crate::{Engine, EngineError, agents::Draft};

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
    threads: Threads,
}

/// A file that is about to be stored.
struct Import {
    tools: ReadyTools,
    memory: ReadyMemory,
    agents: Vec<ReadyAgent>,
    groups: Vec<ReadyGroup>,
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
            .write(move |tx| {
                // Boxed by itself, or else the job's future would be that large wherever it is moved.
                Box::pin(async move { Box::pin(import.store(tx, &scope, &secrets)).await })
            })
            .await
    }

    async fn ready(
        &self,
        scope: &Scope,
        mut file: AgentFile,
        said: Vec<Said>,
        mut options: ImportOptions,
    ) -> Result<Import, EngineError> {
        let mut left_out = not_taken(&file);
        let tools = ReadyTools::new(self, (&file, &options), &mut left_out).await?;
        let memory = self.memory_of(scope, &file, &mut left_out).await?;
        let mut agents = Vec::with_capacity(file.agents.len());
        for (entry, (said, further)) in std::mem::take(&mut file.agents).into_iter().zip(said) {
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
            let of_default = extras.default_conversation.unwrap_or_default();
            let mut threads = Threads {
                main: (
                    self.conversation_of(scope, of_default, &mut left_out)
                        .await?,
                    said,
                ),
                further: Vec::with_capacity(further.len()),
            };
            for (thread, said) in further {
                let about = self.conversation_of(scope, thread, &mut left_out).await?;
                threads.further.push((about, said));
            }
            agents.push(ReadyAgent {
                draft: self.draft(scope, request).await?,
                entry,
                archive_ids: extras.archive_ids,
                identity_ids: extras.identity_ids,
                threads,
            });
        }
        let now = self.now();
        let named = |agent: &ReadyAgent| (agent.entry.id.clone(), agent.draft.id());
        let ids = agents.iter().map(named).collect();
        let groups = groups::ready(&file, &ids, now, &mut left_out);
        name_senders(&mut agents, &ids, &groups);
        Ok(Import {
            tools,
            memory,
            agents,
            groups,
            left_out,
            now,
        })
    }
}

fn said(file: &AgentFile, agent: &AgentEntry, strip: bool) -> Said {
    if strip {
        return Said::default();
    }
    let whole = &file.mnemic.bodies;
    let thinks_beside_calls = agent.agent_type.needs_heartbeats();
    let read = |messages: &[MessageEntry], shown: &[String]| {
        ReadyThread::new((messages, thinks_beside_calls), shown, whole)
    };
    let main = read(&agent.messages, &agent.in_context_message_ids);
    let extras = file.mnemic.agents.get(&agent.id);
    let further = extras.into_iter().flat_map(|extras| &extras.conversations);
    let further = further.map(|thread| {
        let said = read(&thread.messages, &thread.in_context_message_ids);
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
        let mut agent_ids = Vec::with_capacity(self.agents.len());
        let mut threads = Vec::with_capacity(self.agents.len());
        for agent in self.agents {
            for tool in tools::by_names(tx, scope, &agent.entry.tools).await? {
                self.tools.check_granted(&tool)?;
            }
            let wanted = agent.entry.tool_ids.iter();
            let wanted = wanted.filter_map(|id| tool_ids.get(id).copied()).collect();
            let is_kept = self.groups.iter().any(|one| one.keeps(agent.draft.id()));
            let companion = match is_kept {
                true => Companion::InFile,
                false => Companion::IfWanted,
            };
            let linked = (wanted, &placed, companion);
            let stored = Box::pin(agent.store(tx, (scope, secrets), linked, self.now));
            let (id, said) = stored.await?;
            agent_ids.push(id);
            threads.push((id, said));
        }
        for group in &mut self.groups {
            group.store(tx, scope, &placed.blocks).await?;
        }
        // In groups, so that these come first.
        let mut said = HashMap::new();
        for (id, threads) in threads {
            said.extend(
                threads
                    .store(tx, scope, (id, &self.groups), self.now)
                    .await?,
            );
        }
        if !said.is_empty() {
            for group in &self.groups {
                group.note_turns(tx, scope, &said).await?;
            }
        }
        Ok(Imported {
            agent_ids,
            left_out,
        })
    }
}

/// Whether an agent that wants its memory kept in order gets a companion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Companion {
    IfWanted,
    /// It comes with the file.
    InFile,
}

/// Agents and groups of the file that sent something go by their ids here.
fn name_senders(agents: &mut [ReadyAgent], ids: &BTreeMap<String, AgentId>, groups: &[ReadyGroup]) {
    let of_agents = ids.iter().map(|(name, id)| (name.clone(), id.to_string()));
    let of_groups = groups
        .iter()
        .map(|one| (one.entry.id.clone(), one.group.id.to_string()));
    let here = of_agents.chain(of_groups).collect();
    for agent in agents {
        agent.threads.name_senders(&here);
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
    /// Stores the agent; what was said comes later.
    async fn store(
        mut self,
        tx: &mut Tx<'_>,
        (scope, secrets): (&Scope, &Secrets),
        (tools, placed, companion): (Vec<ToolId>, &Placed, Companion),
        now: Timestamp,
    ) -> Result<(AgentId, Threads), EngineError> {
        let blocks = here(&self.entry.block_ids, &placed.blocks);
        let identities = here(&self.identity_ids, &placed.identities);
        self.draft.link(tools, blocks, identities);
        let id = match companion {
            Companion::IfWanted => Box::pin(self.draft.store(tx, scope, secrets)).await?,
            Companion::InFile => self.draft.store_alone(tx, scope, secrets).await?,
        };
        for archive in here(&self.archive_ids, &placed.archives) {
            archives::attach(tx, scope, (id, archive), now).await?;
        }
        Ok((id, self.threads))
    }
}
