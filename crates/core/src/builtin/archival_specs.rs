//! What models read about the tools of archival memory.

use super::{
    BuiltinTool,
    ParameterKind::{OneOf, Text, Texts, WholeNumber},
    specs::{optional, required},
};
use crate::tools::ToolType;

/// How several tags are meant.
const TAG_MODES: &[&str] = &["any", "all"];

pub(super) const INSERT: BuiltinTool = BuiltinTool {
    name: "archival_memory_insert",
    tool_type: ToolType::LettaCore,
    description: "Store a text in archival memory, which has no limit and is searched, not shown to you. \
Use it for what may matter later but need not be before your eyes all the time: facts, plans, reports, \
summaries of long talks. What you need in every answer belongs in a memory block instead.

Write it so that it is understood on its own, with names and dates in place of \"she\" and \"tomorrow\":
  {\"content\": \"On 3 May 2026 Ada booked a berth in Bergen for the whole summer.\", \"tags\": [\"sailing\"]}

It can be found at once.",
    enable_parallel_execution: false,
    parameters: &[
        required("content", Text, "The text to store: one matter, complete in itself."),
        optional(
            "tags",
            Texts,
            "Words to group it under, for example [\"sailing\", \"bookings\"]. Use the same tags again.",
        ),
    ],
};

pub(super) const SEARCH: BuiltinTool = BuiltinTool {
    name: "archival_memory_search",
    tool_type: ToolType::LettaCore,
    description: "Search archival memory by words and by meaning. Use it when you need a stored fact, and \
before you say that you do not know something.

Ask as you would ask a person, with the words that matter:
  {\"query\": \"Where does Ada keep her boat in summer?\"}
  {\"query\": \"bookings in May\", \"tags\": [\"sailing\"], \"top_k\": 10}
Times in the query (\"last week\", \"in May 2024\") bring texts of that time up. If nothing fits, try other \
words for the same thing.

Returns the texts, best first, each with its id, time, tags and a relevance from 0 to 1, and says so when \
none of them seems to be about what was asked.",
    enable_parallel_execution: true,
    parameters: &[
        required("query", Text, "What to look for: a question or words."),
        optional("tags", Texts, "Only texts with these tags."),
        optional(
            "tag_match_mode",
            OneOf(TAG_MODES),
            "Whether a text needs any of the tags (used if left out) or all of them.",
        ),
        optional("top_k", WholeNumber, "How many texts to return at the most. 5 if left out."),
        optional(
            "start_datetime",
            Text,
            "Only texts since this day or time: \"2026-03-01\" or \"2026-03-01T14:30\".",
        ),
        optional(
            "end_datetime",
            Text,
            "Only texts up to this day or time, a day being included as a whole: \"2026-03-31\".",
        ),
    ],
};
