//! The compiled prompt: system text and memory as the model sees them. A pure function, byte for byte
//! the same for the same input, so that providers' prefix caches hit.
//!
//! The structure follows the V1 contract (section 4); the sentences are ours. Values stand verbatim,
//! also when they hold tags of their own: models cope with that better than with escapes.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    agents::AgentType,
    blocks::Block,
    ids::{AgentId, ConversationId},
    time::Timestamp,
};

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
    /// Whether values are shown with line numbers.
    pub line_numbers: bool,
}

/// Compiles the prompt.
#[must_use]
pub fn render(inputs: &PromptInputs<'_>) -> String {
    let memory = memory(inputs);
    if inputs.system.contains(MEMORY_PLACEHOLDER) {
        return inputs.system.replace(MEMORY_PLACEHOLDER, &memory);
    }
    if inputs.system.is_empty() { memory } else { format!("{}\n\n{memory}", inputs.system) }
}

fn memory(inputs: &PromptInputs<'_>) -> String {
    let mut parts = Vec::with_capacity(3);
    if inputs.agent_type.has_core_memory() && !inputs.blocks.is_empty() {
        parts.push(blocks(inputs));
    }
    parts.extend(tool_rules(inputs.tool_rules));
    parts.push(metadata(inputs));
    parts.join("\n\n")
}

/// Writing to a String cannot fail, so the results are not looked at.
fn blocks(inputs: &PromptInputs<'_>) -> String {
    let mut text = String::from(
        "<memory_blocks>\nThese blocks are your core memory. They are always in view; what you write \
         into them you will still know later.\n",
    );
    if inputs.line_numbers {
        text.push_str(
            "Lines are shown with their numbers (`1→ `). The numbers are not part of the memory: never \
             write them in an edit.\n",
        );
    }
    for block in &inputs.blocks {
        let _ = write!(text, "\n<{}>\n", block.label);
        if let Some(description) = block.description {
            let _ = write!(text, "<description>\n{description}\n</description>\n");
        }
        text.push_str("<metadata>\n");
        if block.read_only {
            text.push_str("- read_only=true\n");
        }
        let current = block.value.chars().count();
        let _ = write!(text, "- chars_current={current}\n- chars_limit={}\n</metadata>\n", block.limit);
        let _ = write!(text, "<value>\n{}\n</value>\n</{}>\n", value(inputs, block), block.label);
    }
    text.push_str("\n</memory_blocks>");
    text
}

fn value(inputs: &PromptInputs<'_>, block: &BlockView<'_>) -> String {
    let numbered = matches!(
        inputs.agent_type,
        AgentType::LettaV1Agent | AgentType::MemgptV2Agent | AgentType::SleeptimeAgent
    );
    if !inputs.line_numbers || !numbered {
        return block.value.to_owned();
    }
    let lines = block.value.split('\n').enumerate();
    let lines: Vec<String> = lines.map(|(index, line)| format!("{}→ {line}", index + 1)).collect();
    lines.join("\n")
}

/// One line per rule that the model can follow; others act without its knowledge.
fn tool_rules(rules: &[Value]) -> Option<String> {
    if rules.is_empty() {
        return None;
    }
    let mut text = String::from(
        "<tool_usage_rules>\nThese rules hold for your tools. A call that breaks one is refused.\n",
    );
    for line in rules.iter().filter_map(rule_line) {
        let _ = write!(text, "<tool_rule>\n{line}\n</tool_rule>\n");
    }
    text.push_str("</tool_usage_rules>");
    Some(text)
}

fn rule_line(rule: &Value) -> Option<String> {
    let field = |key: &str| rule.get(key).and_then(Value::as_str);
    let names = |key: &str| {
        let items = rule.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let tool = field("tool_name")?;
    Some(match field("type")? {
        "exit_loop" => format!("After {tool} your turn ends."),
        "continue_loop" => format!("After {tool} your turn goes on."),
        "constrain_child_tools" => format!("Right after {tool} call one of: {}.", names("children")),
        "parent_last_tool" => format!("Call {} only right after {tool}.", names("children")),
        "conditional" => format!("What {tool} returns decides which tool comes next."),
        "max_count_per_step" => {
            let limit = rule.get("max_count_limit").and_then(Value::as_i64).unwrap_or(1);
            format!("Call {tool} at most {limit} times in a turn.")
        }
        _ => return None,
    })
}

fn metadata(inputs: &PromptInputs<'_>) -> String {
    let thread = inputs.conversation_id.map_or_else(|| "default".to_owned(), |id| id.to_string());
    let mut text = format!(
        "<memory_metadata>\n- AGENT_ID: {}\n- CONVERSATION_ID: {thread}\n- This prompt was last \
         compiled on {}\n- {} earlier messages are out of view, in recall memory (search them with \
         your tools)\n",
        inputs.agent_id,
        inputs.rendered_at.to_human(inputs.timezone),
        inputs.recall_count,
    );
    if inputs.archival_count > 0 {
        let _ = writeln!(text, "- {} passages are in archival memory", inputs.archival_count);
    }
    if !inputs.archive_tags.is_empty() {
        let _ = writeln!(text, "- tags of archival memory: {}", inputs.archive_tags.join(", "));
    }
    text.push_str("</memory_metadata>");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn inputs<'a>(system: &'a str, rules: &'a [Value]) -> PromptInputs<'a> {
        PromptInputs {
            agent_type: AgentType::LettaV1Agent,
            system,
            blocks: vec![BlockView {
                label: "human",
                value: "Ada.\nSails.",
                limit: 100,
                description: Some("About the user."),
                read_only: true,
            }],
            tool_rules: rules,
            agent_id: "agent-089db1c6-f862-43a0-977b-8576d317eb23".parse().unwrap(),
            conversation_id: None,
            timezone: "UTC",
            rendered_at: Timestamp::parse("2026-11-22T09:19:27Z").unwrap(),
            recall_count: 3,
            archival_count: 0,
            archive_tags: &[],
            line_numbers: false,
        }
    }

    #[test]
    fn the_prompt_has_the_structure_of_the_contract() {
        let rules = [json!({"type": "exit_loop", "tool_name": "done"})];
        insta::assert_snapshot!(render(&inputs("Be kind.", &rules)), @r"
        Be kind.

        <memory_blocks>
        These blocks are your core memory. They are always in view; what you write into them you will still know later.

        <human>
        <description>
        About the user.
        </description>
        <metadata>
        - read_only=true
        - chars_current=11
        - chars_limit=100
        </metadata>
        <value>
        Ada.
        Sails.
        </value>
        </human>

        </memory_blocks>

        <tool_usage_rules>
        These rules hold for your tools. A call that breaks one is refused.
        <tool_rule>
        After done your turn ends.
        </tool_rule>
        </tool_usage_rules>

        <memory_metadata>
        - AGENT_ID: agent-089db1c6-f862-43a0-977b-8576d317eb23
        - CONVERSATION_ID: default
        - This prompt was last compiled on 2026-11-22 09:19:27 AM UTC+0000
        - 3 earlier messages are out of view, in recall memory (search them with your tools)
        </memory_metadata>
        ");
    }

    #[test]
    fn memory_stands_where_the_placeholder_is() {
        let prompt = render(&inputs("Before {CORE_MEMORY} after", &[]));
        assert!(prompt.starts_with("Before <memory_blocks>") && prompt.ends_with("> after"));
    }

    #[test]
    fn line_numbers_are_shown_where_asked_for() {
        let numbered = PromptInputs { line_numbers: true, ..inputs("", &[]) };
        assert!(render(&numbered).contains("1→ Ada.\n2→ Sails."));
        let plain = PromptInputs { agent_type: AgentType::MemgptAgent, ..numbered };
        assert!(!render(&plain).contains("1→ Ada."));
    }

    #[test]
    fn agents_without_core_memory_see_no_blocks() {
        let react = PromptInputs { agent_type: AgentType::ReactAgent, ..inputs("", &[]) };
        assert!(!render(&react).contains("memory_blocks"));
    }

    proptest! {
        #[test]
        fn the_same_input_gives_the_same_bytes(system in "\\PC{0,40}") {
            let inputs = inputs(&system, &[]);
            prop_assert_eq!(render(&inputs), render(&inputs.clone()));
        }
    }
}
