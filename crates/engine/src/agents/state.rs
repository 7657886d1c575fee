//! Agents with what is related to them, read in a fixed number of statements however many they are.

use std::collections::HashMap;

use mnemic_core::{
    agents::Agent,
    blocks::Block,
    groups::Group,
    identities::Identity,
    ids::{AgentId, MessageId},
    messages::Message,
    scope::Scope,
    tools::Tool,
};
use mnemic_store::{
    Secrets, StoreError, Tx, agent_secrets,
    agent_secrets::AgentSecret,
    agents::{self, AgentFilter},
    blocks, context, groups, identities, messages,
    page::Page,
    tools,
};

use crate::{Engine, EngineError, answers::Waiting};

/// Which relations of agents are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Relations {
    pub blocks: bool,
    pub tools: bool,
    pub tags: bool,
    pub identities: bool,
    pub secrets: bool,
    pub pending: bool,
    pub managed: bool,
}

impl Relations {
    /// All of them.
    pub const ALL: Self = Self {
        blocks: true,
        tools: true,
        tags: true,
        identities: true,
        secrets: true,
        pending: true,
        managed: true,
    };
    /// None of them.
    pub const NONE: Self = Self {
        blocks: false,
        tools: false,
        tags: false,
        identities: false,
        secrets: false,
        pending: false,
        managed: false,
    };
}

/// An agent with its relations; those that were not asked for are empty.
#[derive(Debug, Clone)]
pub struct AgentState {
    /// The agent.
    pub agent: Agent,
    /// The messages of its default thread that its model sees; the compiled prompt is the first.
    pub message_ids: Vec<MessageId>,
    /// Its core memory, in the order of its prompt.
    pub blocks: Vec<Block>,
    /// Its tools, in the order in which they were attached.
    pub tools: Vec<Tool>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The identities that it is linked to.
    pub identities: Vec<Identity>,
    /// Its secrets, decrypted.
    pub secrets: Vec<AgentSecret>,
    /// The message at the end of its default thread whose calls somebody outside has to answer.
    pub pending: Option<Message>,
    /// The group that it manages, the oldest if there are several.
    pub managed: Option<Group>,
}

/// Reads what is related to agents.
///
/// # Errors
/// A secret does not decrypt, or the database's.
pub async fn load(
    tx: &mut Tx<'_>,
    scope: &Scope,
    secrets: &Secrets,
    found: Vec<Agent>,
    wanted: Relations,
) -> Result<Vec<AgentState>, StoreError> {
    let ids: Vec<AgentId> = found.iter().map(|agent| agent.id).collect();
    let mut contexts = context::default_message_ids(tx, scope, &ids).await?;
    let mut blocks = match wanted.blocks {
        true => blocks::of_agents(tx, scope, &ids).await?,
        false => Default::default(),
    };
    let mut tools = match wanted.tools {
        true => tools::of_agents(tx, scope, &ids).await?,
        false => Default::default(),
    };
    let mut tags = match wanted.tags {
        true => agents::tags_of(tx, &ids).await?,
        false => Default::default(),
    };
    let mut related = match wanted.identities {
        true => identities::of_agents(tx, scope, &ids).await?,
        false => Default::default(),
    };
    let mut kept = match wanted.secrets {
        true => agent_secrets::of_agents(tx, secrets, &ids).await?,
        false => Default::default(),
    };
    let mut pending = match wanted.pending {
        true => pending_of(tx, scope, &contexts).await?,
        false => Default::default(),
    };
    let mut managed = match wanted.managed {
        true => groups::managed_by_each(tx, scope, &ids).await?,
        false => Default::default(),
    };
    let mut first_managed = |id| {
        managed
            .remove(&id)
            .and_then(|managed| managed.into_iter().next())
    };
    let state = |agent: Agent| AgentState {
        managed: first_managed(agent.id),
        pending: pending.remove(&agent.id),
        message_ids: contexts.remove(&agent.id).unwrap_or_default(),
        blocks: blocks.remove(&agent.id).unwrap_or_default(),
        tools: tools.remove(&agent.id).unwrap_or_default(),
        tags: tags.remove(&agent.id).unwrap_or_default(),
        identities: related.remove(&agent.id).unwrap_or_default(),
        secrets: kept.remove(&agent.id).unwrap_or_default(),
        agent,
    };
    Ok(found.into_iter().map(state).collect())
}

/// The messages at the end of contexts whose calls wait for answers.
async fn pending_of(
    tx: &mut Tx<'_>,
    scope: &Scope,
    contexts: &HashMap<AgentId, Vec<MessageId>>,
) -> Result<HashMap<AgentId, Message>, StoreError> {
    let mut pending = HashMap::new();
    if scope.subject.is_some() {
        // What waits in the default thread is not this person's.
        return Ok(pending);
    }
    for (agent_id, ids) in contexts {
        let Some(last) = ids.last() else { continue };
        let mut last = messages::get(tx, scope, *last).await?;
        if let Some(waiting) = Waiting::of(&last) {
            last.body.awaiting = waiting.awaiting;
            pending.insert(*agent_id, last);
        }
    }
    Ok(pending)
}

/// Reads one agent with its relations, inside a transaction.
///
/// # Errors
/// There is none, or the database's.
pub async fn load_one(
    tx: &mut Tx<'_>,
    scope: &Scope,
    secrets: &Secrets,
    id: AgentId,
    wanted: Relations,
) -> Result<AgentState, StoreError> {
    let agent = agents::get(tx, scope, id).await?;
    let states = load(tx, scope, secrets, vec![agent], wanted).await?;
    states
        .into_iter()
        .next()
        .ok_or_else(|| StoreError::not_found("Agent", id))
}

impl Engine {
    /// An agent with the wanted relations.
    ///
    /// # Errors
    /// There is none, or the database's.
    pub async fn agent(
        &self,
        scope: &Scope,
        id: AgentId,
        wanted: Relations,
    ) -> Result<AgentState, EngineError> {
        let (scope, secrets) = (scope.clone(), self.store().secrets().clone());
        let read = self.store().read(move |tx| {
            Box::pin(async move { load_one(tx, &scope, &secrets, id, wanted).await })
        });
        Ok(read.await?)
    }

    /// A page of agents with the wanted relations.
    ///
    /// # Errors
    /// The database's.
    pub async fn agents(
        &self,
        scope: &Scope,
        filter: AgentFilter,
        page: Page,
        wanted: Relations,
    ) -> Result<Vec<AgentState>, EngineError> {
        let (scope, secrets) = (scope.clone(), self.store().secrets().clone());
        let read = self.store().read(move |tx| {
            Box::pin(async move {
                let found = agents::list(tx, &scope, &filter, &page).await?;
                load(tx, &scope, &secrets, found, wanted).await
            })
        });
        Ok(read.await?)
    }
}
