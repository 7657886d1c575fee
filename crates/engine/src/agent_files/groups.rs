//! Groups of files: which agents work with one, and how their groups are made again.

use std::collections::{BTreeMap, HashMap};

use mnemic_core::{
    agent_file::{AgentFile, GroupEntry, GroupExtras, GroupTurnsEntry, MAX_AGENTS},
    groups::{Group, ManagerType},
    ids::{AgentId, BlockId, MessageId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    Tx, blocks,
    groups::{self, GroupFilter, Turns},
    page::{Order, Page},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::export::Export;
use crate::{
    EngineError,
    groups::{GroupFields, Manager, apply, empty, found, tidies},
};

/// Groups without a manager that one agent is in, at the most.
const MAX_ROUNDS: i64 = 1_000;

/// The agents of a file, and their groups.
#[derive(Debug, Default)]
pub(super) struct Team {
    pub(super) agents: Vec<AgentId>,
    pub(super) groups: Vec<Group>,
}

impl Team {
    /// An agent with those that it manages, and those with whom it speaks in turn; and with those that these manage.
    pub(super) async fn of(
        tx: &mut Tx<'_>,
        scope: &Scope,
        id: AgentId,
    ) -> Result<Self, EngineError> {
        let mut team = Self {
            agents: vec![id],
            groups: Vec::new(),
        };
        let in_turn = GroupFilter {
            manager_type: Some(ManagerType::RoundRobin.as_str().to_owned()),
            agent_id: Some(id),
            ..GroupFilter::default()
        };
        let page = Page::first(MAX_ROUNDS, Order::Asc);
        for group in groups::list(tx, scope, &in_turn, &page).await? {
            team.join(group)?;
        }
        let mut next = 0;
        while let Some(manager) = team.agents.get(next).copied() {
            next += 1;
            for group in groups::managed_by(tx, scope, manager).await? {
                team.join(group)?;
            }
        }
        Ok(team)
    }

    fn join(&mut self, group: Group) -> Result<(), EngineError> {
        if self.groups.iter().any(|known| known.id == group.id) {
            return Ok(());
        }
        for agent in &group.agent_ids {
            if !self.agents.contains(agent) {
                self.agents.push(*agent);
            }
        }
        if self.agents.len() > MAX_AGENTS {
            return Err(EngineError::Invalid(format!(
                "more than {MAX_AGENTS} agents work with this one, and an agent file holds no more: export those that it \
                 manages one by one"
            )));
        }
        self.groups.push(group);
        Ok(())
    }
}

impl Export {
    /// A group, with how far its members are where what was said is in the file.
    pub(super) async fn group(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        group: &Group,
        with_turns: bool,
    ) -> Result<(), EngineError> {
        let id = self.groups.get(&group.id).cloned().unwrap_or_default();
        let named = |agent: &AgentId| self.agents.get(agent).cloned();
        let agent_ids: Vec<String> = group.agent_ids.iter().filter_map(named).collect();
        let manager = group.manager_agent_id.as_ref().and_then(named);
        let mut extras = GroupExtras {
            companion: group.companion.as_ref().and_then(named),
            turns: Vec::new(),
        };
        let taking_part = manager.iter().chain(&agent_ids);
        for agent in taking_part {
            let mut all = self.file.agents.iter_mut();
            if let Some(entry) = all.find(|entry| entry.id == *agent) {
                entry.group_ids.push(id.clone());
            }
        }
        let mut shared = Vec::with_capacity(group.shared_block_ids.len());
        for block in &group.shared_block_ids {
            shared.push(blocks::get(tx, scope, *block).await?);
        }
        let entry = GroupEntry {
            id: id.clone(),
            agent_ids,
            description: group.description.clone(),
            manager_config: manager_config(group, manager),
            project_id: group.project_id.clone(),
            shared_block_ids: self.blocks(tx, scope, &shared).await?,
            hidden: group.hidden,
        };
        self.file.groups.push(json!(entry));
        if with_turns {
            for (subject, turns) in groups::all_turns(tx, scope, group.id).await? {
                let last = turns.after.and_then(|id| self.messages.get(&id).cloned());
                extras.turns.push(GroupTurnsEntry {
                    subject: Some(subject).filter(|subject| !subject.is_empty()),
                    turns_counter: turns.counter,
                    last_processed_message_id: last,
                });
            }
        }
        if extras != GroupExtras::default() {
            self.file.mnemic.groups.insert(id, extras);
        }
        Ok(())
    }
}

/// The manager as the V1 API's form has it: with the fields of its kind, and no others.
fn manager_config(group: &Group, manager: Option<String>) -> Map<String, Value> {
    let settings = &group.settings;
    let mut config = Map::new();
    let mut say = |key: &str, value: Value| _ = config.insert(key.to_owned(), value);
    say("manager_type", json!(group.manager_type));
    if group.manager_type != ManagerType::RoundRobin {
        say("manager_agent_id", json!(manager));
    }
    match group.manager_type {
        ManagerType::RoundRobin => say("max_turns", json!(settings.max_turns)),
        ManagerType::Supervisor => {}
        ManagerType::Dynamic => {
            say("termination_token", json!(settings.termination_token));
            say("max_turns", json!(settings.max_turns));
        }
        ManagerType::Sleeptime => say(
            "sleeptime_agent_frequency",
            json!(settings.sleeptime_agent_frequency),
        ),
        ManagerType::VoiceSleeptime => {
            let (max, min) = (
                settings.max_message_buffer_length,
                settings.min_message_buffer_length,
            );
            say("max_message_buffer_length", json!(max));
            say("min_message_buffer_length", json!(min));
        }
    }
    config
}

/// A group of a file, ready to be stored.
#[derive(Debug)]
pub(super) struct ReadyGroup {
    pub(super) group: Group,
    pub(super) entry: GroupEntry,
    turns: Vec<GroupTurnsEntry>,
}

/// The groups of a file. One that can't be made is left out, and said to be: files of other servers may name what is not in
/// them.
pub(super) fn ready(
    file: &AgentFile,
    agents: &BTreeMap<String, AgentId>,
    now: Timestamp,
    left_out: &mut Vec<String>,
) -> Vec<ReadyGroup> {
    let mut ready: Vec<ReadyGroup> = Vec::with_capacity(file.groups.len());
    for (place, value) in (0_i64..).zip(&file.groups) {
        let name = value.get("id").and_then(Value::as_str).unwrap_or("?");
        // A microsecond apart, so that lists by age keep their order.
        let made = one(file, value, agents, now.plus_micros(place));
        match made {
            Ok(one) if ready.iter().any(|known| known.entry.id == one.entry.id) => {
                left_out.push(format!("the group '{name}', which is in the file twice"));
            }
            Ok(one) => ready.push(one),
            Err(why) => left_out.push(format!("the group '{name}': {why}")),
        }
    }
    ready
}

fn one(
    file: &AgentFile,
    value: &Value,
    agents: &BTreeMap<String, AgentId>,
    now: Timestamp,
) -> Result<ReadyGroup, String> {
    let entry = GroupEntry::deserialize(value).map_err(|error| error.to_string())?;
    let blocks = &entry.shared_block_ids;
    if let Some(missing) = blocks
        .iter()
        .find(|id| !file.blocks.iter().any(|block| block.id == **id))
    {
        return Err(format!("it shares '{missing}', which is not in the file"));
    }
    let here = |id: &String| {
        let known = agents.get(id).copied();
        known.ok_or_else(|| format!("it names '{id}', which is not in the file"))
    };
    let fields = GroupFields {
        agent_ids: Some(entry.agent_ids.iter().map(here).collect::<Result<_, _>>()?),
        description: Some(entry.description.clone()),
        manager: Some(manager(&entry.manager_config, here)?),
        project_id: entry.project_id.clone(),
        shared_block_ids: None,
        hidden: entry.hidden,
    };
    let mut group = empty(now);
    apply(&mut group, fields, true).map_err(|error| error.to_string())?;
    let extras = file.mnemic.groups.get(&entry.id).cloned();
    let extras = extras.unwrap_or_default();
    let companion = extras.companion.as_ref().and_then(|id| agents.get(id));
    // Only a member can be what goes with the group.
    group.companion = companion.copied().filter(|id| group.agent_ids.contains(id));
    Ok(ReadyGroup {
        group,
        entry,
        turns: extras.turns,
    })
}

fn manager(
    config: &Map<String, Value>,
    here: impl Fn(&String) -> Result<AgentId, String>,
) -> Result<Manager, String> {
    let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| config.get(key).map(Value::as_i64);
    let kind = text("manager_type");
    let kind = kind.map(|kind| {
        ManagerType::parse(&kind).ok_or_else(|| format!("'{kind}' is no kind of manager"))
    });
    Ok(Manager {
        manager_type: kind.transpose()?,
        manager_agent_id: text("manager_agent_id").as_ref().map(here).transpose()?,
        max_turns: number("max_turns"),
        termination_token: config
            .get("termination_token")
            .map(|token| token.as_str().map(str::to_owned)),
        sleeptime_agent_frequency: number("sleeptime_agent_frequency"),
        max_message_buffer_length: number("max_message_buffer_length"),
        min_message_buffer_length: number("min_message_buffer_length"),
    })
}

impl ReadyGroup {
    /// Whether the group keeps this agent's memory in order, so that the agent needs no other companion.
    pub(super) fn keeps(&self, agent: AgentId) -> bool {
        tidies(&self.group) && self.group.manager_agent_id == Some(agent)
    }

    pub(super) async fn store(
        &mut self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        blocks: &BTreeMap<String, BlockId>,
    ) -> Result<(), EngineError> {
        let shared = self.entry.shared_block_ids.iter();
        self.group.shared_block_ids = shared.filter_map(|id| blocks.get(id).copied()).collect();
        found(tx, scope, &self.group).await
    }

    /// Notes how far its members are, when what was said is there.
    pub(super) async fn note_turns(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        said: &HashMap<String, MessageId>,
    ) -> Result<(), EngineError> {
        for one in &self.turns {
            let of_subject = scope.narrowed_to(one.subject.clone());
            let last = one.last_processed_message_id.as_ref();
            let turns = Turns {
                counter: one.turns_counter.max(0),
                after: last.and_then(|id| said.get(id).copied()),
            };
            groups::place_turns(tx, &of_subject, self.group.id, &turns).await?;
        }
        Ok(())
    }
}
