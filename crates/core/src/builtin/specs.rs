//! What models read about each tool. Written for small models too: what it is for, when to use it, an
//! example, what comes back.

use super::{
    BuiltinTool, Parameter,
    ParameterKind::{self, Roles, Text, WholeNumber},
};
use crate::tools::ToolType;

const fn required(name: &'static str, kind: ParameterKind, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind,
        required: true,
        description,
    }
}

const fn optional(name: &'static str, kind: ParameterKind, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind,
        required: false,
        description,
    }
}

const LABEL: Parameter = required(
    "label",
    Text,
    "The label of the memory block to change, for example \"human\" or \"persona\".",
);

pub(super) static TOOLS: &[BuiltinTool] = &[
    SEND_MESSAGE,
    CONVERSATION_SEARCH,
    CORE_MEMORY_APPEND,
    CORE_MEMORY_REPLACE,
    MEMORY_INSERT,
    MEMORY_REPLACE,
    MEMORY_RETHINK,
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

const CORE_MEMORY_APPEND: BuiltinTool = BuiltinTool {
    name: "core_memory_append",
    tool_type: ToolType::LettaMemoryCore,
    description: "Add a new line at the end of a memory block. Use it to note something new. Returns \
                  the block's new text.",
    enable_parallel_execution: false,
    parameters: &[
        LABEL,
        required(
            "content",
            Text,
            "The line to add: one fact in a full sentence, for example \"Her sister Mia lives in Oslo.\"",
        ),
    ],
};

const CORE_MEMORY_REPLACE: BuiltinTool = BuiltinTool {
    name: "core_memory_replace",
    tool_type: ToolType::LettaMemoryCore,
    description: "Replace a text in a memory block by another, everywhere it stands. Use it to correct \
                  or update what you noted; with an empty new text it removes it. Returns the block's \
                  new text.",
    enable_parallel_execution: false,
    parameters: &[
        LABEL,
        required(
            "old_content",
            Text,
            "The text to replace, copied exactly from the block.",
        ),
        required(
            "new_content",
            Text,
            "The text to put in its place; \"\" removes the old text.",
        ),
    ],
};

const MEMORY_INSERT: BuiltinTool = BuiltinTool {
    name: "memory_insert",
    tool_type: ToolType::LettaSleeptimeCore,
    description: "Insert new lines into a memory block. Use it to note something new; to change what \
is already there, use memory_replace. Without insert_line the text goes to the end, which is mostly right.

Example: {\"label\": \"human\", \"new_string\": \"Her sister Mia lives in Oslo.\"}

Returns the block's new text.",
    enable_parallel_execution: false,
    parameters: &[
        LABEL,
        required("new_string", Text, "The text to insert, as one or more full lines."),
        optional(
            "insert_line",
            WholeNumber,
            "The line after which the text goes: 0 puts it before the first line, -1 (used if left out) \
             at the end.",
        ),
    ],
};

const MEMORY_REPLACE: BuiltinTool = BuiltinTool {
    name: "memory_replace",
    tool_type: ToolType::LettaSleeptimeCore,
    description: "Replace one piece of text in a memory block by another. Use it to correct, update or \
remove what you noted.

old_string must be copied exactly from the block, with its spaces, line breaks and capital letters, and \
must stand there only once: if the same words stand in several places, take more of the text around \
them. To remove a text, give an empty new_string.

Example: {\"label\": \"human\", \"old_string\": \"Lives in Bergen.\", \"new_string\": \"Moved from Bergen to Oslo \
in May 2026.\"}

Line numbers in front of lines (such as \"3→ \") belong to the display; leave them out. Returns the \
block's new text.",
    enable_parallel_execution: false,
    parameters: &[
        LABEL,
        required("old_string", Text, "The text to replace, copied exactly from the block."),
        required("new_string", Text, "The text to put in its place; \"\" removes the old text."),
    ],
};

const MEMORY_RETHINK: BuiltinTool = BuiltinTool {
    name: "memory_rethink",
    tool_type: ToolType::LettaSleeptimeCore,
    description: "Rewrite a whole memory block: to bring it into order, to join what belongs together, \
                  or to shorten it. The new text takes the place of all the old, so whatever it leaves \
                  out is forgotten. For a small change use memory_insert or memory_replace. Returns \
                  the block's new text.",
    enable_parallel_execution: false,
    parameters: &[
        LABEL,
        required(
            "new_memory",
            Text,
            "The complete new text of the block: everything that is still true and useful, old and new.",
        ),
    ],
};
