//! The agent that tidies another one's memory: made with the group, removed with it.

use mnemic_core::{
    agents::{Agent, AgentLabels, AgentType},
    groups::{DEFAULT_BUFFER, DEFAULT_FREQUENCY, Group, ManagerSettings, ManagerType},
    ids::{AgentId, GroupId, RunId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{Secrets, Tx, agents, blocks, groups, runs::RunFilter};

use crate::{
    EngineError,
    agents::{CreateAgent, Draft},
    blocks::NewBlock,
    follow,
};

/// What is added to the agent's name (V1 contract, section 8).
const SUFFIX: &str = "-sleeptime";

/// Characters of a name at the most.
const MAX_NAME: usize = 255;

/// The block of a companion that is its own.
const PERSONA: &str = "memory_persona";

const PERSONA_TEXT: &str = "I keep the memory of another agent in order while it is not talking to anybody. I am thorough \
and sparing: I note what will matter later, put right what has changed, and leave alone what is still true.";

const PERSONA_DESCRIPTION: &str =
    "Who I am and how I keep the memory. The agent whose memory I keep does not see this block.";

/// Whether an agent has a companion when its creator asks for one: those that tidy others' memory have none themselves.
pub(crate) fn is_wanted(agent: &Agent) -> bool {
    agent.enable_sleeptime == Some(true)
        && !matches!(
            agent.agent_type,
            AgentType::SleeptimeAgent | AgentType::VoiceSleeptimeAgent
        )
}

/// Makes the companion of an agent, and their group, unless there is a group that tidies its memory.
pub(crate) async fn make(
    tx: &mut Tx<'_>,
    scope: &Scope,
    secrets: &Secrets,
    agent: &Agent,
    now: Timestamp,
) -> Result<(), EngineError> {
    let managed = groups::managed_by(tx, scope, agent.id).await?;
    if managed.iter().any(tidies) {
        return Ok(());
    }
    let shared = blocks::of_agent(tx, scope, agent.id).await?;
    let request = request(agent, shared.iter().map(|block| block.id).collect());
    let persona = NewBlock {
        label: PERSONA.to_owned(),
        value: PERSONA_TEXT.to_owned(),
        description: Some(PERSONA_DESCRIPTION.to_owned()),
        ..NewBlock::default()
    };
    let own = match shared.iter().any(|block| block.label == PERSONA) {
        true => Vec::new(),
        false => vec![persona.into_block(now)?],
    };
    let models = (agent.llm_config.clone(), agent.embedding_config.clone());
    let draft = Draft::known(request, models, own, now);
    let companion = draft.store_alone(tx, scope, secrets).await?;
    let (manager_type, settings) = manager_of(agent.agent_type);
    let group = Group {
        id: GroupId::new(),
        manager_type,
        manager_agent_id: Some(agent.id),
        settings,
        agent_ids: vec![companion],
        shared_block_ids: Vec::new(),
        description: String::new(),
        project_id: agent.labels.project_id.clone(),
        hidden: None,
        companion: Some(companion),
        turns_counter: None,
        last_processed_message_id: None,
        created_at: now,
        updated_at: now,
    };
    Ok(groups::insert(tx, scope, &group).await?)
}

pub(crate) fn tidies(group: &Group) -> bool {
    group.manager_type.tidies()
}

/// What makes the companion of an agent work: turns, or, of one that speaks, how much was said.
fn manager_of(agent_type: AgentType) -> (ManagerType, ManagerSettings) {
    if agent_type == AgentType::VoiceConvoAgent {
        let settings = ManagerSettings {
            max_message_buffer_length: Some(DEFAULT_BUFFER.0),
            min_message_buffer_length: Some(DEFAULT_BUFFER.1),
            ..ManagerSettings::default()
        };
        return (ManagerType::VoiceSleeptime, settings);
    }
    let settings = ManagerSettings {
        sleeptime_agent_frequency: Some(DEFAULT_FREQUENCY),
        ..ManagerSettings::default()
    };
    (ManagerType::Sleeptime, settings)
}

fn request(agent: &Agent, block_ids: Vec<mnemic_core::ids::BlockId>) -> CreateAgent {
    let name: String = agent.name.chars().take(MAX_NAME - SUFFIX.len()).collect();
    CreateAgent {
        name: Some(format!("{name}{SUFFIX}")),
        agent_type: AgentType::SleeptimeAgent,
        description: Some(format!("Keeps the memory of {} in order.", agent.name)),
        model_settings: match &agent.model_settings {
            Some(serde_json::Value::Object(settings)) => Some(settings.clone()),
            _ => None,
        },
        block_ids,
        include_base_tools: true,
        include_base_tool_rules: Some(true),
        timezone: Some(agent.timezone.clone()),
        hidden: agent.hidden,
        labels: AgentLabels {
            project_id: agent.labels.project_id.clone(),
            ..AgentLabels::default()
        },
        ..CreateAgent::default()
    }
}

/// Removes the groups that tidy an agent's memory, with the companions that were made for it; returns the runs that this
/// cancels.
pub(crate) async fn remove(
    tx: &mut Tx<'_>,
    scope: &Scope,
    agent_id: AgentId,
    now: Timestamp,
) -> Result<Vec<RunId>, EngineError> {
    let mut cancelled = Vec::new();
    let managed = groups::managed_by(tx, scope, agent_id).await?;
    for group in managed.into_iter().filter(tidies) {
        cancelled.extend(remove_one(tx, scope, &group, now).await?);
    }
    Ok(cancelled)
}

/// Removes the group that a companion was made with, when somebody removes the companion itself.
pub(crate) async fn leave(
    tx: &mut Tx<'_>,
    scope: &Scope,
    companion: AgentId,
    now: Timestamp,
) -> Result<(), EngineError> {
    if let Some(group) = groups::made_with(tx, scope, companion).await? {
        groups::delete(tx, scope, group.id).await?;
        super::note_sleeptime(tx, scope, &group, now).await?;
    }
    Ok(())
}

/// Removes a group with the companion that was made for it.
pub(super) async fn remove_one(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group: &Group,
    now: Timestamp,
) -> Result<Vec<RunId>, EngineError> {
    groups::delete(tx, scope, group.id).await?;
    let Some(companion) = group.companion else {
        return Ok(Vec::new());
    };
    // In one person's turn all its runs are another's as well.
    let all = scope.common();
    let of_companion = RunFilter {
        agent_ids: vec![companion],
        ..RunFilter::default()
    };
    let cancelled = follow::cancel_in(tx, &all, &of_companion, None, now).await?;
    let own = blocks::by_label(tx, scope, companion, PERSONA).await?;
    match agents::delete(tx, scope, companion).await {
        // Somebody removed it already.
        Ok(()) | Err(mnemic_store::StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(block) = own
        && !blocks::is_attached(tx, block.id).await?
    {
        blocks::delete(tx, scope, block.id).await?;
    }
    Ok(cancelled)
}
