//! The system prompts of agents whose creator gives none, and the descriptions of usual blocks.

use crate::agents::AgentType;

/// The system prompt of a type of agents (V1 contract, section 2.2; the texts are ours).
#[must_use]
pub const fn default_system_prompt(agent_type: AgentType) -> &'static str {
    match agent_type {
        AgentType::LettaV1Agent | AgentType::SplitThreadAgent => {
            include_str!("system_prompts/letta_v1.md")
        }
        AgentType::MemgptAgent => include_str!("system_prompts/memgpt.md"),
        AgentType::MemgptV2Agent => include_str!("system_prompts/memgpt_v2.md"),
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
            "What you know about the person you talk to: name, circumstances, wishes, habits, plans, \
             people close to them. Add what you learn and correct what has changed.",
        ),
        "persona" => Some(
            "Who you are: your name, character, tasks, and manner of speaking. Stay true to it, and let \
             it grow with experience.",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{builtin, prompt::MEMORY_PLACEHOLDER};

    #[test]
    fn prompts_name_only_tools_that_their_agents_have() {
        for kind in AgentType::ALL {
            let prompt = default_system_prompt(kind);
            let named = |name: &str| prompt.contains(&format!("`{name}`"));
            for tool in builtin::all().iter().filter(|tool| named(tool.name)) {
                let has = builtin::default_tools(kind).contains(&tool.name);
                // The voice agents' own tools do not exist yet; they may read of their siblings'.
                assert!(
                    has || kind == AgentType::VoiceSleeptimeAgent,
                    "{kind:?}: {}",
                    tool.name
                );
            }
        }
    }

    #[test]
    fn prompts_explain_memory_and_stay_short() {
        for kind in AgentType::ALL {
            let prompt = default_system_prompt(kind);
            let length = prompt.chars().count();
            assert!((200..=2_600).contains(&length), "{kind:?}: {length}");
            assert_eq!(
                prompt.trim_end(),
                prompt,
                "{kind:?} ends without a line break"
            );
            assert!(!prompt.contains(MEMORY_PLACEHOLDER));
            assert!(
                !kind.has_core_memory() || prompt.contains("memory"),
                "{kind:?}"
            );
        }
        let usual = default_system_prompt(AgentType::LettaV1Agent)
            .chars()
            .count();
        assert!((1_000..=2_000).contains(&usual), "{usual}");
    }

    #[test]
    fn the_usual_blocks_are_described() {
        assert!(default_block_description("human").is_some());
        assert!(default_block_description("persona").is_some());
        assert_eq!(default_block_description("project"), None);
    }
}
