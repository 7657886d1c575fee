//! What models read about the tools that edit core memory.

use super::{
    BuiltinTool, Parameter,
    ParameterKind::{OneOf, Text, WholeNumber},
    memory_call::COMMANDS,
    specs::{optional, required},
};
use crate::tools::ToolType;

const LABEL: Parameter = required(
    "label",
    Text,
    "The label of the memory block to change, for example \"human\" or \"persona\".",
);

pub(super) const CORE_MEMORY_APPEND: BuiltinTool = BuiltinTool {
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

pub(super) const CORE_MEMORY_REPLACE: BuiltinTool = BuiltinTool {
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

pub(super) const MEMORY_INSERT: BuiltinTool = BuiltinTool {
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

pub(super) const MEMORY_REPLACE: BuiltinTool = BuiltinTool {
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

pub(super) const MEMORY_RETHINK: BuiltinTool = BuiltinTool {
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

pub(super) const MEMORY_FINISH_EDITS: BuiltinTool = BuiltinTool {
    name: "memory_finish_edits",
    tool_type: ToolType::LettaSleeptimeCore,
    description: "Say that you are done with the memory. Call it last, once everything worth noting is \
                  noted and in order, also when nothing was to be changed. It takes no arguments and \
                  ends your turn.",
    enable_parallel_execution: false,
    parameters: &[],
};

pub(super) const MEMORY: BuiltinTool = BuiltinTool {
    name: "memory",
    tool_type: ToolType::LettaMemoryCore,
    description: "Change your memory blocks. Each block has a path: /memories/ and its label, such as \
/memories/human. You see all blocks with their texts in your prompt, so there is nothing to open or list.

Commands, each with what it takes:
- create: make a new block.
  {\"command\": \"create\", \"path\": \"/memories/garden\", \"description\": \"What grows in her garden.\", \
\"file_text\": \"Tomatoes since May 2026.\"}
- str_replace: replace a piece of text that stands in the block exactly once; an empty new_string removes it.
  {\"command\": \"str_replace\", \"path\": \"/memories/garden\", \"old_string\": \"Tomatoes\", \"new_string\": \
\"Tomatoes and beans\"}
- insert: put new lines after line insert_line: 0 is before the first, -1 (used if left out) the end.
  {\"command\": \"insert\", \"path\": \"/memories/garden\", \"insert_text\": \"The hedge was cut in June 2026.\"}
- delete: take a block out of your memory, with all that it says.
  {\"command\": \"delete\", \"path\": \"/memories/garden\"}
- rename: give a block another label, or, with path and description instead, another description.
  {\"command\": \"rename\", \"old_path\": \"/memories/garden\", \"new_path\": \"/memories/plants\"}

Returns the block's new text, or what was done.",
    enable_parallel_execution: false,
    parameters: &[
        required("command", OneOf(COMMANDS), "What to do."),
        optional(
            "path",
            Text,
            "The block, for example \"/memories/human\". For all commands but a rename with old_path.",
        ),
        optional("file_text", Text, "create: the text of the new block."),
        optional(
            "description",
            Text,
            "create: what the block is for, in a sentence. rename with path: its new description.",
        ),
        optional(
            "old_string",
            Text,
            "str_replace: the text to replace, copied exactly from the block, without line numbers.",
        ),
        optional(
            "new_string",
            Text,
            "str_replace: the text to put in its place; \"\" removes the old text.",
        ),
        optional(
            "insert_line",
            WholeNumber,
            "insert: the line after which the text goes; -1 or left out is the end.",
        ),
        optional("insert_text", Text, "insert: the text, as one or more full lines."),
        optional("old_path", Text, "rename: the block as it is called now."),
        optional("new_path", Text, "rename: the block as it is to be called."),
    ],
};

pub(super) const MEMORY_APPLY_PATCH: BuiltinTool = BuiltinTool {
    name: "memory_apply_patch",
    tool_type: ToolType::LettaMemoryCore,
    description: "Change several places of your memory at once, with a patch. Either all of it is applied, or nothing.

For one block, give its label and the changed lines with their neighbours: put a space before a line that \
stays, - before one that goes, + before one that comes. Lines that stay or go are copied exactly from the \
block, and must fit in one place only. @@ begins another place; line numbers are not needed.
  label: \"human\"
  patch: \"@@\\n Has a sister.\\n-Lives in Bergen.\\n+Lives in Oslo since May 2026.\"

For several blocks, write a header above the lines of each:
  *** Add Block: <label>       (all lines below begin with +)
  *** Update Block: <label>    (lines as above)
  *** Move to: <new label>     (right after Update Block: renames it)
  *** Delete Block: <label>    (takes the block out of your memory)

Returns the block's new text, or what was done to each block.",
    enable_parallel_execution: false,
    parameters: &[
        required(
            "label",
            Text,
            "The label of the memory block to change; of no matter when the patch has headers.",
        ),
        required("patch", Text, "The patch."),
    ],
};
