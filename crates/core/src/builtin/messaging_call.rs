//! Calls of the tools that reach other agents.

use super::arguments::{ArgumentError, Arguments};
use crate::ids::AgentId;

/// A message to other agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentMessage {
    /// What is said.
    pub text: String,
    /// To whom.
    pub to: Addressee,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// One agent, whose answer is waited for.
    Asked(AgentId),
    /// One agent, without an answer.
    Told(AgentId),
    /// All with these tags, whose answers are waited for.
    Tagged {
        /// Tags of which an agent has all.
        all: Vec<String>,
        /// Tags of which it has at least one, if there are any.
        some: Vec<String>,
    },
    /// All members of the group that the agent supervises.
    Members,
    /// One member of the group that the agent manages.
    Next(AgentId),
}

/// The names of the tools for messages to any agent.
pub const MULTI_AGENT_TOOLS: [&str; 3] = [
    "send_message_to_agent_and_wait_for_reply",
    "send_message_to_agents_matching_tags",
    "send_message_to_agent_async",
];

/// Reads a call; nothing for tools that reach no other agent.
pub(super) fn read(
    given: &Arguments<'_>,
    name: &str,
) -> Result<Option<AgentMessage>, ArgumentError> {
    let id = |parameter: &'static str| -> Result<AgentId, ArgumentError> {
        let id = given.required(parameter)?;
        id.trim().parse().map_err(|_| {
            given.wrong(
                parameter,
                "an agent's id, such as \"agent-123e4567-e89b-42d3-8456-426614174000\"",
            )
        })
    };
    let to = match name {
        "send_message_to_agent_and_wait_for_reply" => Addressee::Asked(id("other_agent_id")?),
        "send_message_to_agent_async" => Addressee::Told(id("other_agent_id")?),
        "send_message_to_agents_matching_tags" => {
            let (all, some) = (given.texts("match_all")?, given.texts("match_some")?);
            if all.is_empty() && some.is_empty() {
                return Err(
                    given.wrong("match_all", "a list with a tag, unless match_some has one")
                );
            }
            Addressee::Tagged { all, some }
        }
        "send_message_to_all_agents_in_group" => Addressee::Members,
        "choose_next_participant" => Addressee::Next(id("next_speaker_agent_id")?),
        _ => return Ok(None),
    };
    let text = match to {
        Addressee::Next(_) => given.text("message")?.unwrap_or_default(),
        _ => given.required("message")?,
    };
    if text.trim().is_empty() && !matches!(to, Addressee::Next(_)) {
        return Err(given.wrong("message", "what you want to say"));
    }
    Ok(Some(AgentMessage { text, to }))
}

#[cfg(test)]
#[path = "messaging_tests.rs"]
mod tests;
