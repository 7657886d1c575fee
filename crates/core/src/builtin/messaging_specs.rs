//! What models read about the tools that reach other agents.

use super::{
    BuiltinTool, Parameter,
    ParameterKind::{Text, Texts},
    specs::required,
};
use crate::tools::ToolType;

const MESSAGE: Parameter = required(
    "message",
    Text,
    "What to say to the agent, complete in itself.",
);

const OTHER_AGENT: Parameter = required(
    "other_agent_id",
    Text,
    "The id of the agent: \"agent-\" and a UUID.",
);

pub(super) const ASK: BuiltinTool = BuiltinTool {
    name: "send_message_to_agent_and_wait_for_reply",
    tool_type: ToolType::LettaMultiAgentCore,
    description: "Ask another agent something and wait for its answer. It knows only what you write: say who \
                  asks, what is wanted, and everything it needs to know.

Returns the agent's id and what it answered.",
    enable_parallel_execution: false,
    parameters: &[MESSAGE, OTHER_AGENT],
};

pub(super) const TELL: BuiltinTool = BuiltinTool {
    name: "send_message_to_agent_async",
    tool_type: ToolType::LettaMultiAgentCore,
    description: "Tell another agent something and go on without an answer. Use it to pass on news or work; if \
                  the agent has something to say to that, it writes you a message of its own.

Returns that the message was delivered.",
    enable_parallel_execution: false,
    parameters: &[MESSAGE, OTHER_AGENT],
};

pub(super) const ASK_BY_TAGS: BuiltinTool = BuiltinTool {
    name: "send_message_to_agents_matching_tags",
    tool_type: ToolType::LettaMultiAgentCore,
    description: "Ask all agents that have certain tags the same thing, and wait for their answers. An agent is \
                  asked when it has all tags of match_all and, unless match_some is empty, at least one of match_some.

  match_all [\"research\"], match_some [\"biology\", \"chemistry\"]: researchers of either field

Returns a list with each agent's id and what it answered.",
    enable_parallel_execution: false,
    parameters: &[
        required(
            "message",
            Text,
            "What to say to the agents, complete in itself.",
        ),
        required(
            "match_all",
            Texts,
            "Tags of which an agent must have all; [] for no such condition.",
        ),
        required(
            "match_some",
            Texts,
            "Tags of which an agent must have one at least; [] for no such condition.",
        ),
    ],
};

pub(super) const ASK_GROUP: BuiltinTool = BuiltinTool {
    name: "send_message_to_all_agents_in_group",
    tool_type: ToolType::LettaMultiAgentCore,
    description: "Ask all members of the group that you supervise the same thing, and wait for their answers. \
                  They remember what was said in the group before, but do not see what you are told elsewhere.

Returns a list with each member's id and what it answered.",
    enable_parallel_execution: false,
    parameters: &[required(
        "message",
        Text,
        "What to say to the members, complete in itself.",
    )],
};

pub(super) const CHOOSE_NEXT: BuiltinTool = BuiltinTool {
    name: "choose_next_participant",
    tool_type: ToolType::LettaMultiAgentCore,
    description: "Let a member of the group that you manage speak next. It is told what the other members said \
                  since it spoke last, and your message. Go on choosing until the task is done, then answer yourself.

Returns the member's id and what it said.",
    enable_parallel_execution: false,
    parameters: &[
        required(
            "next_speaker_agent_id",
            Text,
            "The id of the member: \"agent-\" and a UUID.",
        ),
        super::specs::optional(
            "message",
            Text,
            "What to say to it: the task when it speaks first, or what you want from it now.",
        ),
    ],
};
