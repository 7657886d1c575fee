//! What models read about each tool. Written for small models too: what it is for, when to use it, an
//! example, what comes back.

use super::{
    BuiltinTool, Parameter,
    ParameterKind::{self, Roles, Text, WholeNumber},
    archival_specs, code_specs,
    memory_specs::{
        CORE_MEMORY_APPEND, CORE_MEMORY_REPLACE, MEMORY, MEMORY_APPLY_PATCH, MEMORY_FINISH_EDITS,
        MEMORY_INSERT, MEMORY_REPLACE, MEMORY_RETHINK,
    },
    messaging_specs, web_specs,
};
use crate::tools::ToolType;

pub(super) const fn required(
    name: &'static str,
    kind: ParameterKind,
    description: &'static str,
) -> Parameter {
    Parameter {
        name,
        kind,
        required: true,
        description,
    }
}

pub(super) const fn optional(
    name: &'static str,
    kind: ParameterKind,
    description: &'static str,
) -> Parameter {
    Parameter {
        name,
        kind,
        required: false,
        description,
    }
}

pub(super) static TOOLS: &[BuiltinTool] = &[
    SEND_MESSAGE,
    CONVERSATION_SEARCH,
    archival_specs::INSERT,
    archival_specs::SEARCH,
    CORE_MEMORY_APPEND,
    CORE_MEMORY_REPLACE,
    MEMORY_INSERT,
    MEMORY_REPLACE,
    MEMORY_RETHINK,
    MEMORY_FINISH_EDITS,
    MEMORY,
    MEMORY_APPLY_PATCH,
    code_specs::RUN_CODE,
    code_specs::RUN_CODE_WITH_TOOLS,
    web_specs::SEARCH,
    web_specs::FETCH,
    messaging_specs::ASK,
    messaging_specs::TELL,
    messaging_specs::ASK_BY_TAGS,
    messaging_specs::ASK_GROUP,
    messaging_specs::CHOOSE_NEXT,
];

const SEND_MESSAGE: BuiltinTool = BuiltinTool {
    name: "send_message",
    tool_type: ToolType::LettaCore,
    description: "Say something to the person you are talking to. This is the only way to reach them: \
                  text outside of this tool is not shown to anybody.",
    enable_parallel_execution: false,
    parameters: &[required(
        "message",
        Text,
        "What to say, complete and ready to be read.",
    )],
};

const CONVERSATION_SEARCH: BuiltinTool = BuiltinTool {
    name: "conversation_search",
    tool_type: ToolType::LettaCore,
    description: "Search everything that was said before, including messages that you no longer see. \
Use it whenever a question may refer to an earlier conversation, and before you say that you do not know \
or do not remember.

Put words into the query that were probably used at the time, and leave out the rest of the question:
  \"What was the name of the restaurant I liked?\" -> query \"restaurant\"
  \"Which car did I want to buy last spring?\" -> query \"car buy\", start_date \"2026-03-01\", end_date \
\"2026-05-31\"
If nothing is found, try other words for the same thing. Without a query, the newest messages of the \
given roles and dates come back.

Returns the matching messages, best first, each with its time, speaker and text.",
    enable_parallel_execution: true,
    parameters: &[
        optional(
            "query",
            Text,
            "Words to look for. A message matches when it holds any of them; more of them rank higher.",
        ),
        optional("roles", Roles, "Only messages of these speakers. Leave out for all."),
        optional("limit", WholeNumber, "How many messages to return at the most. 5 if left out."),
        optional(
            "start_date",
            Text,
            "Only messages since this day or time: \"2026-03-01\" or \"2026-03-01T14:30\".",
        ),
        optional(
            "end_date",
            Text,
            "Only messages up to this day or time, a day being included as a whole: \"2026-03-31\" or \
             \"2026-03-31T18:00\".",
        ),
    ],
};
