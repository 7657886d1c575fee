//! Groups: agents that work on one thing together, and what decides who of them works when.

pub mod transcript;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentId, BlockId, GroupId, MessageId},
    time::Timestamp,
};

/// Turns of an agent after which its companion tidies the memory, when nobody says (V1 contract, section 8).
pub const DEFAULT_FREQUENCY: i64 = 5;

/// Messages of a voice agent that may wait for its companion, and that go on waiting then, when nobody says (V1 contract,
/// section 9).
pub const DEFAULT_BUFFER: (i64, i64) = (30, 15);

/// The word that ends a dynamic group's work, when nobody says.
pub const DEFAULT_TERMINATION_TOKEN: &str = "DONE!";

/// How the members of a group come to work. The names are those of the V1 API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagerType {
    /// One after the other, each once before the first comes again.
    RoundRobin,
    /// An agent that asks all of them at once.
    Supervisor,
    /// An agent that says who speaks next.
    Dynamic,
    /// They tidy the memory of an agent after its turns.
    Sleeptime,
    /// The same, whenever enough was said: for agents that speak, whose turns are many and short.
    VoiceSleeptime,
}

impl ManagerType {
    const NAMES: [(Self, &'static str); 5] = [
        (Self::RoundRobin, "round_robin"),
        (Self::Supervisor, "supervisor"),
        (Self::Dynamic, "dynamic"),
        (Self::Sleeptime, "sleeptime"),
        (Self::VoiceSleeptime, "voice_sleeptime"),
    ];

    /// The name in the store and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("round_robin", |(_, name)| name)
    }

    /// The type of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }

    /// Whether the members keep the memory of the manager in order.
    #[must_use]
    pub const fn tidies(self) -> bool {
        matches!(self, Self::Sleeptime | Self::VoiceSleeptime)
    }

    /// The built-in tool with which an agent manages such a group.
    #[must_use]
    pub const fn tool(self) -> Option<&'static str> {
        match self {
            Self::Supervisor => Some("send_message_to_all_agents_in_group"),
            Self::Dynamic => Some("choose_next_participant"),
            Self::RoundRobin | Self::Sleeptime | Self::VoiceSleeptime => None,
        }
    }
}

/// What a group's manager goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManagerSettings {
    /// How often members speak at the most, each time that the group works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<i64>,
    /// The word that says that the work is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_token: Option<String>,
    /// Turns of the manager between two that make the members work; none is each turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleeptime_agent_frequency: Option<i64>,
    /// Messages of a voice agent that may wait before its members are given the oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_buffer_length: Option<i64>,
    /// The newest of them, which go on waiting then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_message_buffer_length: Option<i64>,
}

/// A group of agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// How its members come to work.
    pub manager_type: ManagerType,
    /// The agent that manages it.
    pub manager_agent_id: Option<AgentId>,
    /// What the manager goes by.
    pub settings: ManagerSettings,
    /// Its members, in their order.
    pub agent_ids: Vec<AgentId>,
    /// Blocks that all of them have.
    pub shared_block_ids: Vec<BlockId>,
    /// What it is for.
    pub description: String,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Kept for the client.
    pub hidden: Option<bool>,
    /// The member that was made with the group, and is removed with it.
    pub companion: Option<AgentId>,
    /// Turns of the manager so far, beginning with -1; those without an end user.
    pub turns_counter: Option<i64>,
    /// The last of the manager's messages that a member was given; of those without an end user.
    pub last_processed_message_id: Option<MessageId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Group {
    /// Whether the turn of this number, from 0, makes the members work.
    #[must_use]
    pub fn is_due(&self, turn: i64) -> bool {
        match self.settings.sleeptime_agent_frequency {
            None => true,
            Some(frequency) => turn % frequency.max(1) == 0,
        }
    }

    /// How many of the newest messages go on waiting when so many wait; none while all of them do.
    #[must_use]
    pub fn kept_back(&self, waiting: usize) -> Option<usize> {
        let (most, least) = (
            self.settings.max_message_buffer_length,
            self.settings.min_message_buffer_length,
        );
        let most = usize::try_from(most.unwrap_or(DEFAULT_BUFFER.0)).unwrap_or(usize::MAX);
        let least = usize::try_from(least.unwrap_or(DEFAULT_BUFFER.1)).unwrap_or(usize::MAX);
        (waiting > most).then_some(least.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(frequency: Option<i64>) -> Group {
        Group {
            id: GroupId::new(),
            manager_type: ManagerType::Sleeptime,
            manager_agent_id: None,
            settings: ManagerSettings {
                sleeptime_agent_frequency: frequency,
                ..ManagerSettings::default()
            },
            agent_ids: Vec::new(),
            shared_block_ids: Vec::new(),
            description: String::new(),
            project_id: None,
            hidden: None,
            companion: None,
            turns_counter: Some(-1),
            last_processed_message_id: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn the_first_turn_and_each_fifth_after_it_are_due() {
        let due = |frequency| -> Vec<i64> {
            let group = group(frequency);
            (0..11).filter(|turn| group.is_due(*turn)).collect()
        };
        assert_eq!(due(Some(5)), [0, 5, 10]);
        assert_eq!(due(None).len(), 11);
        assert_eq!(due(Some(1)).len(), 11);
    }

    #[test]
    fn a_full_buffer_lets_the_oldest_go() {
        let mut group = group(None);
        assert_eq!((group.kept_back(30), group.kept_back(31)), (None, Some(15)));
        group.settings.max_message_buffer_length = Some(4);
        assert_eq!((group.kept_back(4), group.kept_back(5)), (None, Some(4)));
        group.settings.min_message_buffer_length = Some(2);
        assert_eq!(group.kept_back(9), Some(2));
    }

    #[test]
    fn names_of_managers_are_read_as_they_are_written() {
        for (kind, name) in ManagerType::NAMES {
            assert_eq!(ManagerType::parse(name), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
        assert_eq!(ManagerType::parse("swarm"), None);
    }
}
