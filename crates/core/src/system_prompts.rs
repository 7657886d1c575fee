//! The system prompts of agents whose creator gives none, and the descriptions of usual blocks.

use crate::agents::AgentType;

/// The system prompt of a type of agents.
#[must_use]
pub fn default_system_prompt(agent_type: AgentType) -> &'static str {
    match agent_type {
        AgentType::LettaV1Agent | AgentType::SplitThreadAgent => {
            include_str!("system_prompts/letta_v1.md")
        }
        AgentType::MemgptAgent | AgentType::MemgptV2Agent => {
            include_str!("system_prompts/memgpt.md")
        }
        AgentType::SleeptimeAgent | AgentType::VoiceSleeptimeAgent => {
            include_str!("system_prompts/sleeptime.md")
        }
        AgentType::ReactAgent => include_str!("system_prompts/react.md"),
        AgentType::WorkflowAgent => include_str!("system_prompts/workflow.md"),
        AgentType::VoiceConvoAgent => include_str!("system_prompts/voice.md"),
    }
}

/// The description of a block whose creator gives none (V1 contract, section 2.1).
#[must_use]
pub fn default_block_description(label: &str) -> Option<&'static str> {
    match label {
        "human" => Some(
            "What you know about the person you talk to: name, circumstances, wishes, habits, plans. \
             Add to it and correct it as you learn more.",
        ),
        "persona" => Some(
            "Who you are: your character, your manner of speaking, your tasks. Stay true to it, and \
             let it grow with experience.",
        ),
        _ => None,
    }
}
