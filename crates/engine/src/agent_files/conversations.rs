//! Conversations of files, with what they have of their own: a model, blocks, an end user, a place in a group.

use std::collections::{BTreeMap, HashMap};

use mnemic_core::{
    agent_file::ConversationEntry,
    blocks::Block,
    ids::{AgentId, ConversationId, MessageId},
    scope::Scope,
    time::Timestamp,
    validation,
};
use mnemic_store::{
    Tx, blocks,
    conversations::{self, ConversationPatch, NewConversation},
    groups, own_threads,
};

use super::{agents::new_block, groups::ReadyGroup, threads::ReadyThread};
use crate::{Engine, EngineError, prompting};

/// Bytes that the id of an end user may have in a file.
const MAX_USER_BYTES: usize = 2_048;

/// A conversation of a file, ready to be stored.
#[derive(Debug, Default)]
pub(super) struct ReadyConversation {
    new: NewConversation,
    /// With their ids in the file.
    own_blocks: Vec<(String, Block)>,
    subject: Option<String>,
    is_own: bool,
    group_id: Option<String>,
}

/// The blocks that threads of an agent have for their own, by whose they are, their ids in the file and their labels.
type Shown = HashMap<(Option<String>, String, String), Block>;

/// The conversations of an agent.
#[derive(Debug, Default)]
pub(super) struct Threads {
    pub(super) main: (ReadyConversation, ReadyThread),
    pub(super) further: Vec<(ReadyConversation, ReadyThread)>,
}

impl Engine {
    pub(super) async fn conversation_of(
        &self,
        scope: &Scope,
        entry: ConversationEntry,
        left_out: &mut Vec<String>,
    ) -> Result<ReadyConversation, EngineError> {
        let mut model = entry.model;
        if let Some(handle) = &model
            && self.config_of(scope, handle).await.is_err()
        {
            left_out.push(format!(
                "the model {handle} of a conversation, which this server does not have"
            ));
            model = None;
        }
        if let Some(limit @ ..=0) = entry.context_window_limit {
            return Err(EngineError::Invalid(format!(
                "the agent file is wrong: context_window_limit of a conversation is {limit}, and must be at least 1"
            )));
        }
        let (mut own_blocks, now) = (Vec::new(), self.now());
        for (place, block) in (0_i64..).zip(&entry.isolated_blocks) {
            let id = block.id.clone();
            let block = new_block(block).into_block(now.plus_micros(place))?;
            if own_blocks
                .iter()
                .any(|(_, one): &(String, Block)| one.label == block.label)
            {
                return Err(EngineError::Invalid(format!(
                    "the agent file is wrong: a conversation has two blocks of its own labelled '{}'",
                    block.label
                )));
            }
            own_blocks.push((id, block));
        }
        Ok(ReadyConversation {
            new: NewConversation {
                is_default: false,
                summary: entry.summary,
                model,
                model_settings: entry.model_settings,
                context_window_limit: entry.context_window_limit,
                description: entry.description,
                hidden: entry.hidden,
                archived_at: entry.archived_at,
            },
            own_blocks,
            subject: entry.subject.map(checked_user).transpose()?,
            is_own: entry.is_own,
            group_id: entry.group_id,
        })
    }
}

/// The end user whose a thing of a file is.
///
/// # Errors
/// It can't be the id of one.
pub(super) fn checked_user(id: String) -> Result<String, EngineError> {
    // The OpenAI-style routes let longer ones in than others.
    let checked = validation::user_id(&id, MAX_USER_BYTES);
    checked.map_err(|error| EngineError::Invalid(format!("the agent file is wrong: {error}")))?;
    Ok(id)
}

impl ReadyConversation {
    async fn give_blocks(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        id: ConversationId,
        shown: &mut Shown,
    ) -> Result<(), EngineError> {
        for (position, (named, block)) in (0_i64..).zip(&self.own_blocks) {
            let key = (scope.subject.clone(), named.clone(), block.label.clone());
            // Those of a person are the same in several threads; what has no id is by itself.
            let there = shown
                .get(&key)
                .filter(|_| scope.subject.is_some() && !named.is_empty());
            if let Some(there) = there {
                blocks::show_own(tx, id, (position, there)).await?;
            } else {
                blocks::give_own(tx, scope, id, (position, block)).await?;
                shown.insert(key, block.clone());
            }
        }
        Ok(())
    }

    /// Gives the default conversation of an agent what it has of its own.
    async fn apply_to_default(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        (agent, id): (AgentId, ConversationId),
        now: Timestamp,
    ) -> Result<(), EngineError> {
        self.give_blocks(tx, scope, id, &mut Shown::new()).await?;
        let new = self.new;
        let patch = ConversationPatch {
            summary: Some(new.summary),
            model: Some(new.model),
            model_settings: Some(new.model_settings),
            context_window_limit: Some(new.context_window_limit),
            description: Some(new.description),
            archived: None,
        };
        conversations::update(tx, scope, id, patch, now).await?;
        prompting::refresh(tx, scope, agent, id, now).await?;
        Ok(())
    }

    /// Stores a further conversation, in the scope that it belongs to.
    async fn store(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        (agent, in_groups): (AgentId, &[ReadyGroup]),
        shown: &mut Shown,
        now: Timestamp,
    ) -> Result<ConversationId, EngineError> {
        let id = conversations::insert(tx, scope, agent, &self.new, now).await?;
        self.give_blocks(tx, scope, id, shown).await?;
        if let (true, Some(subject)) = (self.is_own, &scope.subject) {
            own_threads::place(tx, subject, agent, id).await?;
        }
        let group = in_groups
            .iter()
            .find(|one| self.group_id.as_ref() == Some(&one.entry.id));
        if let Some(one) = group {
            groups::place_thread(tx, scope, (one.group.id, agent), id).await?;
        }
        prompting::refresh(tx, scope, agent, id, now).await?;
        Ok(id)
    }
}

impl Threads {
    /// Agents and groups of the file that sent something go by their ids here.
    pub(super) fn name_senders(&mut self, here: &BTreeMap<String, String>) {
        self.main.1.name_senders(here);
        for (_, said) in &mut self.further {
            said.name_senders(here);
        }
    }

    /// Stores the conversations of an agent; returns the ids of messages here by those in the file.
    pub(super) async fn store(
        self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        (agent, in_groups): (AgentId, &[ReadyGroup]),
        now: Timestamp,
    ) -> Result<HashMap<String, MessageId>, EngineError> {
        let main = conversations::default_of(tx, scope, agent).await?;
        let (about, said) = self.main;
        about
            .apply_to_default(tx, scope, (agent, main.id), now)
            .await?;
        let mut named = said.store(tx, scope, (agent, main.id), now).await?;
        let mut shown = Shown::new();
        for (place, (about, said)) in (1_i64..).zip(self.further) {
            // A microsecond apart, so that lists by age keep their order.
            let now = now.plus_micros(place);
            let of_subject = scope.narrowed_to(about.subject.clone());
            let place = (agent, in_groups);
            let id = about.store(tx, &of_subject, place, &mut shown, now).await?;
            named.extend(said.store(tx, &of_subject, (agent, id), now).await?);
        }
        Ok(named)
    }
}
