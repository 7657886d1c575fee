//! Groups of agents: made, changed, removed and set to work.

pub(crate) mod companion;
pub(crate) mod rounds;
pub(crate) mod tidying;

use mnemic_core::{
    agents::Agent,
    groups::{DEFAULT_FREQUENCY, DEFAULT_TERMINATION_TOKEN, Group, ManagerSettings, ManagerType},
    ids::{AgentId, BlockId, GroupId, RunId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{StoreError, Tx, agents, blocks, groups, runs::RunFilter, tools};

use crate::{Engine, EngineError, follow};

pub(crate) use companion::tidies;
pub use rounds::RUN_TYPE as GROUP_TURN;

/// Members that a group has at the most.
const MAX_MEMBERS: usize = 100;

/// Characters of a termination token at the most.
const MAX_TOKEN: usize = 200;

/// How a group is managed, as a client says it; what is left out is a default, or stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    /// The kind.
    pub manager_type: Option<ManagerType>,
    /// The agent that manages it.
    pub manager_agent_id: Option<AgentId>,
    /// How often members speak at the most.
    pub max_turns: Option<Option<i64>>,
    /// The word that says that the work is done.
    pub termination_token: Option<Option<String>>,
    /// Turns of the manager between two that make the members work.
    pub sleeptime_agent_frequency: Option<Option<i64>>,
    /// Messages of a voice agent that may wait for its members.
    pub max_message_buffer_length: Option<Option<i64>>,
    /// The newest of them, which go on waiting.
    pub min_message_buffer_length: Option<Option<i64>>,
}

/// A new group, or what changes of one; `None` is a default, or stays as it is.
#[derive(Debug, Clone, Default)]
pub struct GroupFields {
    /// Its members.
    pub agent_ids: Option<Vec<AgentId>>,
    /// What it is for.
    pub description: Option<String>,
    /// How it is managed.
    pub manager: Option<Manager>,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Blocks that all members have.
    pub shared_block_ids: Option<Vec<BlockId>>,
    /// Kept for the client.
    pub hidden: Option<bool>,
}

/// What becomes of a block among the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// All of them have it.
    Begins,
    /// They have it no longer.
    Ends,
}

impl Engine {
    /// Makes a group. Its members get the blocks that it shares, and its manager the tool to manage it with.
    ///
    /// # Errors
    /// Something that it names does not exist, a value is not valid, or the database's.
    pub async fn create_group(
        &self,
        scope: &Scope,
        fields: GroupFields,
    ) -> Result<Group, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let mut group = empty(now);
        apply(&mut group, fields, true)?;
        let made = self.store().write(move |tx| {
            Box::pin(async move {
                found(tx, &scope, &group).await?;
                Ok::<_, EngineError>(groups::get(tx, &scope, group.id).await?)
            })
        });
        made.await
    }

    /// Changes a group.
    ///
    /// # Errors
    /// There is none, something that it names does not exist, a value is not valid, or the database's.
    pub async fn update_group(
        &self,
        scope: &Scope,
        id: GroupId,
        fields: GroupFields,
    ) -> Result<Group, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let changed = self.store().write(move |tx| {
            Box::pin(async move {
                let before = groups::get_for_update(tx, &scope, id).await?;
                let mut group = Group {
                    updated_at: now,
                    ..before.clone()
                };
                apply(&mut group, fields, false)?;
                check_agents(tx, &scope, &group).await?;
                groups::update(tx, &scope, &group).await?;
                settle_in(tx, &scope, Some(&before), &group).await?;
                Ok::<_, EngineError>(groups::get(tx, &scope, id).await?)
            })
        });
        changed.await
    }

    /// Removes a group. Its members stay, but for the companion that was made with it.
    ///
    /// # Errors
    /// There is none, or the database's.
    pub async fn delete_group(&self, scope: &Scope, id: GroupId) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let removed = self.store().write(move |tx| {
            Box::pin(async move {
                let group = groups::get_for_update(tx, &scope, id).await?;
                let cancelled = companion::remove_one(tx, &scope, &group, now).await?;
                take_tool(tx, &scope, &group, now).await?;
                note_sleeptime(tx, &scope, &group, now).await?;
                Ok::<_, EngineError>(cancelled)
            })
        });
        self.tell_cancelled(&removed.await?);
        Ok(())
    }

    /// Forgets what was said in a group: its members begin anew.
    ///
    /// # Errors
    /// There is no such group, or the database's.
    pub async fn reset_group(&self, scope: &Scope, id: GroupId) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let reset = self.store().write(move |tx| {
            Box::pin(async move {
                groups::get_for_update(tx, &scope, id).await?;
                let mut cancelled: Vec<RunId> = Vec::new();
                for thread in groups::threads(tx, &scope, id).await? {
                    let of_it = RunFilter {
                        conversation_id: Some(thread),
                        ..RunFilter::default()
                    };
                    cancelled.extend(follow::cancel_in(tx, &scope, &of_it, None, now).await?);
                    mnemic_store::conversations::soft_delete(tx, &scope, thread, now).await?;
                }
                Ok::<_, StoreError>(cancelled)
            })
        });
        self.tell_cancelled(&reset.await?);
        Ok(())
    }

    /// Shares a block among the members of a group, or not any more.
    ///
    /// # Errors
    /// There is no such group or block, a member has another block of the same label, or the database's.
    pub async fn share_block(
        &self,
        scope: &Scope,
        (id, block): (GroupId, BlockId),
        sharing: Sharing,
    ) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let changed = self.store().write(move |tx| {
            Box::pin(async move {
                let before = groups::get_for_update(tx, &scope, id).await?;
                blocks::get(tx, &scope, block).await?;
                let mut group = Group {
                    updated_at: now,
                    ..before.clone()
                };
                group.shared_block_ids.retain(|known| *known != block);
                match sharing {
                    Sharing::Begins => group.shared_block_ids.push(block),
                    Sharing::Ends => {}
                }
                groups::update(tx, &scope, &group).await?;
                settle_in(tx, &scope, Some(&before), &group).await
            })
        });
        changed.await
    }
}

/// Stores a new group, and gives its agents what belongs to their places in it.
pub(crate) async fn found(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group: &Group,
) -> Result<(), EngineError> {
    check_agents(tx, scope, group).await?;
    groups::insert(tx, scope, group).await?;
    settle_in(tx, scope, None, group).await
}

/// A group that nobody is in yet.
pub(crate) fn empty(now: Timestamp) -> Group {
    Group {
        id: GroupId::new(),
        manager_type: ManagerType::RoundRobin,
        manager_agent_id: None,
        settings: ManagerSettings::default(),
        agent_ids: Vec::new(),
        shared_block_ids: Vec::new(),
        description: String::new(),
        project_id: None,
        hidden: None,
        companion: None,
        turns_counter: None,
        last_processed_message_id: None,
        created_at: now,
        updated_at: now,
    }
}

/// Applies what a client says. Of a new group, or one that is managed in another way, what is left out is a default.
pub(crate) fn apply(group: &mut Group, fields: GroupFields, new: bool) -> Result<(), EngineError> {
    if let Some(mut members) = fields.agent_ids {
        let mut seen = std::collections::HashSet::new();
        members.retain(|id| seen.insert(*id));
        if members.len() > MAX_MEMBERS {
            return Err(EngineError::Invalid(format!(
                "a group has at most {MAX_MEMBERS} members; this one has {}",
                members.len()
            )));
        }
        group.agent_ids = members;
    }
    if let Some(description) = fields.description {
        group.description = description;
    }
    if let Some(blocks) = fields.shared_block_ids {
        group.shared_block_ids = blocks;
    }
    group.project_id = fields.project_id.or(group.project_id.take());
    group.hidden = fields.hidden.or(group.hidden);
    let manager = fields.manager.unwrap_or_default();
    let wanted = manager.manager_type.unwrap_or(group.manager_type);
    if new || wanted != group.manager_type {
        group.manager_type = wanted;
        group.settings = defaults(wanted);
        group.manager_agent_id = None;
    }
    group.manager_agent_id = manager.manager_agent_id.or(group.manager_agent_id);
    manage(group, manager)
}

fn defaults(kind: ManagerType) -> ManagerSettings {
    let is_dynamic = kind == ManagerType::Dynamic;
    let tidies = kind == ManagerType::Sleeptime;
    ManagerSettings {
        termination_token: is_dynamic.then(|| DEFAULT_TERMINATION_TOKEN.to_owned()),
        sleeptime_agent_frequency: tidies.then_some(DEFAULT_FREQUENCY),
        ..ManagerSettings::default()
    }
}

/// Refuses that more messages stay than there may be.
fn check_buffer(settings: &ManagerSettings) -> Result<(), EngineError> {
    let (most, least) = (
        settings.max_message_buffer_length,
        settings.min_message_buffer_length,
    );
    match (most, least) {
        (Some(most), Some(least)) if least > most => Err(EngineError::Invalid(format!(
            "min_message_buffer_length ({least}) is what stays of max_message_buffer_length ({most}), so it can't be more"
        ))),
        _ => Ok(()),
    }
}

fn manage(group: &mut Group, manager: Manager) -> Result<(), EngineError> {
    let settings = &mut group.settings;
    for (name, field, given) in [
        ("max_turns", &mut settings.max_turns, manager.max_turns),
        (
            "sleeptime_agent_frequency",
            &mut settings.sleeptime_agent_frequency,
            manager.sleeptime_agent_frequency,
        ),
        (
            "max_message_buffer_length",
            &mut settings.max_message_buffer_length,
            manager.max_message_buffer_length,
        ),
        (
            "min_message_buffer_length",
            &mut settings.min_message_buffer_length,
            manager.min_message_buffer_length,
        ),
    ] {
        let Some(given) = given else { continue };
        if given.is_some_and(|number| number < 1) {
            return Err(EngineError::Invalid(format!("{name} must be at least 1")));
        }
        *field = given;
    }
    if let Some(token) = manager.termination_token {
        let length = token.as_deref().map_or(1, |token| token.chars().count());
        if !(1..=MAX_TOKEN).contains(&length) {
            return Err(EngineError::Invalid(format!(
                "a termination_token has 1 to {MAX_TOKEN} characters"
            )));
        }
        settings.termination_token = token;
    }
    check_buffer(settings)?;
    if group.manager_type != ManagerType::RoundRobin && group.manager_agent_id.is_none() {
        return Err(EngineError::Invalid(format!(
            "a group of the type {} needs a manager_agent_id",
            group.manager_type.as_str()
        )));
    }
    if group
        .manager_agent_id
        .is_some_and(|id| group.agent_ids.contains(&id))
    {
        return Err(EngineError::Invalid(
            "the manager of a group can't be a member of it: leave its id out of agent_ids"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Refuses agents that are not there, and a second group that would tidy the same memory.
async fn check_agents(tx: &mut Tx<'_>, scope: &Scope, group: &Group) -> Result<(), EngineError> {
    let mut named = group.agent_ids.clone();
    named.extend(group.manager_agent_id);
    let found = agents::get_many(tx, scope, &named).await?;
    let is_missing = |id: &&AgentId| !found.iter().any(|agent: &Agent| agent.id == **id);
    if let Some(missing) = named.iter().find(is_missing) {
        return Err(StoreError::not_found("Agent", missing).into());
    }
    for block in &group.shared_block_ids {
        blocks::get(tx, scope, *block).await?;
    }
    let Some(manager) = group.manager_agent_id else {
        return Ok(());
    };
    // Of two groups that are made at once, the second sees the first.
    agents::get_for_update(tx, scope, manager).await?;
    let managed = groups::managed_by(tx, scope, manager).await?;
    let same = |other: &Group| other.id != group.id && other.manager_type == group.manager_type;
    if managed.iter().any(same) {
        return Err(EngineError::Conflict(format!(
            "agent {manager} manages a group of the type {} already: change or delete that one",
            group.manager_type.as_str()
        )));
    }
    Ok(())
}

/// Gives agents what belongs to their place in a group, and takes from them what does not any more.
async fn settle_in(
    tx: &mut Tx<'_>,
    scope: &Scope,
    before: Option<&Group>,
    group: &Group,
) -> Result<(), EngineError> {
    let now = group.updated_at;
    if let Some(before) = before {
        for block in &before.shared_block_ids {
            for member in &before.agent_ids {
                let stays =
                    group.shared_block_ids.contains(block) && group.agent_ids.contains(member);
                if !stays && blocks::detach(tx, *member, *block).await? {
                    agents::touch(tx, scope, *member, now).await?;
                }
            }
        }
        let is_same = before.manager_type == group.manager_type
            && before.manager_agent_id == group.manager_agent_id;
        if !is_same {
            take_tool(tx, scope, before, now).await?;
            note_sleeptime(tx, scope, before, now).await?;
        }
    }
    for block in &group.shared_block_ids {
        for member in &group.agent_ids {
            if blocks::attach(tx, scope, *member, *block).await? {
                agents::touch(tx, scope, *member, now).await?;
            }
        }
    }
    if let (Some(tool), Some(manager)) = (group.manager_type.tool(), group.manager_agent_id) {
        for tool in tools::by_names(tx, scope, &[tool.to_owned()]).await? {
            tools::attach(tx, scope, manager, tool.id).await?;
        }
        agents::touch(tx, scope, manager, now).await?;
    }
    if let (true, Some(manager)) = (group.manager_type.tidies(), group.manager_agent_id) {
        for member in &group.agent_ids {
            tidying::share(tx, scope, (manager, *member), now).await?;
        }
    }
    note_sleeptime(tx, scope, group, now).await
}

/// Takes the tool to manage a group with from its manager.
async fn take_tool(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group: &Group,
    now: Timestamp,
) -> Result<(), EngineError> {
    let (Some(tool), Some(manager)) = (group.manager_type.tool(), group.manager_agent_id) else {
        return Ok(());
    };
    for tool in tools::by_names(tx, scope, &[tool.to_owned()]).await? {
        tools::detach(tx, manager, tool.id).await?;
    }
    Ok(agents::touch(tx, scope, manager, now).await?)
}

/// Notes on an agent whether a group tidies its memory.
async fn note_sleeptime(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group: &Group,
    now: Timestamp,
) -> Result<(), EngineError> {
    let (true, Some(manager)) = (group.manager_type.tidies(), group.manager_agent_id) else {
        return Ok(());
    };
    let managed = groups::managed_by(tx, scope, manager).await?;
    let before = agents::get_for_update(tx, scope, manager).await?;
    let after = Agent {
        enable_sleeptime: Some(managed.iter().any(companion::tidies)),
        updated_at: now,
        ..before.clone()
    };
    Ok(agents::update(tx, scope, &before, &after).await?)
}
