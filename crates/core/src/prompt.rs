//! The compiled prompt: system text and memory as the model sees them. A pure function, byte for byte
//! the same for the same input, so that providers' prefix caches hit.
//!
//! The structure follows the V1 contract (section 4); the sentences are ours. Values stand verbatim,
//! also when they hold tags of their own: an agent edits its memory by the text it sees, and escapes
//! would make it look for a text that is not there. Nothing but the model reads the structure again, and
//! a block can claim nothing that the same words in a message could not.

mod blocks;
mod directories;
mod room;
mod rules;
mod signature;

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    agents::AgentType,
    blocks::Block,
    ids::{AgentId, ConversationId},
    time::Timestamp,
};

pub use directories::{Directories, DirectoryView, FileView, FileWindow};
pub use room::render_within;
pub use signature::{InvalidSignature, PromptSignature};

/// What a system prompt holds where its memory is to stand.
pub const MEMORY_PLACEHOLDER: &str = "{CORE_MEMORY}";

/// A block as the prompt shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockView<'a> {
    /// Its label.
    pub label: &'a str,
    /// Its value.
    pub value: &'a str,
    /// Characters it may hold.
    pub limit: i64,
    /// What it is for.
    pub description: Option<&'a str>,
    /// Whether the agent may only read it.
    pub read_only: bool,
}

impl<'a> From<&'a Block> for BlockView<'a> {
    fn from(block: &'a Block) -> Self {
        Self {
            label: &block.label,
            value: &block.value,
            limit: block.limit,
            description: block.description.as_deref(),
            read_only: block.read_only,
        }
    }
}

/// Everything that a prompt is compiled from.
#[derive(Debug, Clone)]
pub struct PromptInputs<'a> {
    /// The agent's kind.
    pub agent_type: AgentType,
    /// The agent's system prompt.
    pub system: &'a str,
    /// Its blocks, in order.
    pub blocks: Vec<BlockView<'a>>,
    /// Its tool rules.
    pub tool_rules: &'a [Value],
    /// The agent.
    pub agent_id: AgentId,
    /// The thread; `None` is the default one.
    pub conversation_id: Option<ConversationId>,
    /// The time zone in which it sees times.
    pub timezone: &'a str,
    /// When this is compiled.
    pub rendered_at: Timestamp,
    /// Messages of the thread that are not in the context.
    pub recall_count: i64,
    /// Passages in archival memory.
    pub archival_count: i64,
    /// Tags of its archives.
    pub archive_tags: &'a [String],
    /// Whether values are shown with line numbers, to the types of agents that know them.
    pub line_numbers: bool,
    /// Bytes of a block's value that are shown at the most; of a longer one its beginning and its end.
    pub value_bytes: usize,
}

/// The parts of a prompt's memory, each with the tags around it. Their order is that of the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sections {
    /// `<memory_blocks>`; none for agents without blocks or without core memory.
    pub core_memory: Option<String>,
    /// `<tool_usage_rules>`; none when no rule has anything to say to the model.
    pub tool_usage_rules: Option<String>,
    /// `<directories>`; none without folders. [`sections`] leaves it empty; who has folders sets it to
    /// what [`Directories::render`] gives.
    pub directories: Option<String>,
    /// `<memory_metadata>`.
    pub memory_metadata: String,
}

impl Sections {
    /// The whole prompt: the memory in place of [`MEMORY_PLACEHOLDER`] or, without one, after the
    /// system prompt and a blank line.
    #[must_use]
    pub fn compile(&self, system: &str) -> String {
        let memory = self.memory();
        if system.contains(MEMORY_PLACEHOLDER) {
            return system.replace(MEMORY_PLACEHOLDER, &memory);
        }
        if system.is_empty() {
            memory
        } else {
            format!("{system}\n\n{memory}")
        }
    }

    fn memory(&self) -> String {
        let optional = [&self.core_memory, &self.tool_usage_rules, &self.directories];
        let mut parts: Vec<&str> = optional.into_iter().flatten().map(String::as_str).collect();
        parts.push(&self.memory_metadata);
        parts.join("\n\n")
    }
}

/// The parts of the memory that a prompt shows.
#[must_use]
pub fn sections(inputs: &PromptInputs<'_>) -> Sections {
    Sections {
        core_memory: blocks::render(inputs),
        tool_usage_rules: rules::render(inputs.tool_rules),
        directories: None,
        memory_metadata: metadata(inputs),
    }
}

/// Compiles the prompt.
#[must_use]
pub fn render(inputs: &PromptInputs<'_>) -> String {
    sections(inputs).compile(inputs.system)
}

/// Writing to a String cannot fail, so the results are not looked at.
fn metadata(inputs: &PromptInputs<'_>) -> String {
    let thread = inputs
        .conversation_id
        .map_or_else(|| "default".to_owned(), |id| id.to_string());
    let mut text = format!(
        "<memory_metadata>\n- AGENT_ID: {}\n- CONVERSATION_ID: {thread}\n- This prompt was last \
         compiled at: {}\n- {} you no longer see {} kept in recall memory; search tools find them\n",
        inputs.agent_id,
        inputs.rendered_at.to_human(inputs.timezone),
        counted(inputs.recall_count, "earlier message"),
        if inputs.recall_count == 1 {
            "is"
        } else {
            "are"
        },
    );
    if inputs.archival_count > 0 {
        let passages = counted(inputs.archival_count, "passage");
        let _ = writeln!(
            text,
            "- {passages} in archival memory; search tools find them"
        );
    }
    if !inputs.archive_tags.is_empty() {
        let _ = writeln!(
            text,
            "- Tags used in archival memory: {}",
            inputs.archive_tags.join(", ")
        );
    }
    text.push_str("</memory_metadata>");
    text
}

fn counted(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
