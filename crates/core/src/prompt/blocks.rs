//! `<memory_blocks>`: core memory as the model sees it.

use std::{borrow::Cow, fmt::Write as _};

use super::{BlockView, PromptInputs};
use crate::{agents::AgentType, compaction};

const INTRODUCTION: &str = "These blocks are your core memory. They are always in view, and what you \
write into them you will still know later.\n";

const NUMBERS: &str = "Lines are shown with their numbers (`1→ `) so that you can name them. The numbers \
are not part of the memory: never write them in an edit.\n";

/// What stands for the middle of a value that is too long.
const NOT_SHOWN: &str = "characters of this block are not shown: it is too long for your context window; \
make it shorter";

pub(super) fn render(inputs: &PromptInputs<'_>) -> Option<String> {
    if !inputs.agent_type.has_core_memory() || inputs.blocks.is_empty() {
        return None;
    }
    let numbered = inputs.line_numbers && knows_line_numbers(inputs.agent_type);
    let mut text = format!("<memory_blocks>\n{INTRODUCTION}");
    if numbered {
        text.push_str(NUMBERS);
    }
    for block in &inputs.blocks {
        push_block(&mut text, block, (numbered, inputs.value_bytes));
    }
    text.push_str("\n</memory_blocks>");
    Some(text)
}

/// The types whose memory tools go by lines (V1 contract, section 4).
const fn knows_line_numbers(agent_type: AgentType) -> bool {
    matches!(
        agent_type,
        AgentType::LettaV1Agent | AgentType::MemgptV2Agent | AgentType::SleeptimeAgent
    )
}

fn push_block(text: &mut String, block: &BlockView<'_>, (numbered, bytes): (bool, usize)) {
    let label = block.label;
    let _ = write!(text, "\n<{label}>\n");
    if let Some(description) = block.description {
        let _ = write!(text, "<description>\n{description}\n</description>\n");
    }
    text.push_str("<metadata>\n");
    if block.read_only {
        text.push_str("- read_only=true\n");
    }
    let current = block.value.chars().count();
    let _ = write!(
        text,
        "- chars_current={current}\n- chars_limit={}\n</metadata>\n",
        block.limit
    );
    let value = if numbered {
        with_numbers(block.value)
    } else {
        Cow::Borrowed(block.value)
    };
    // Cut after they are numbered, so that the lines at the end keep their numbers.
    let value = compaction::shorten(&value, bytes, NOT_SHOWN);
    let _ = write!(text, "<value>\n{value}\n</value>\n</{label}>\n");
}

/// An empty block has no line to number.
fn with_numbers(value: &str) -> Cow<'_, str> {
    if value.is_empty() {
        return Cow::Borrowed(value);
    }
    let lines = value.split('\n').enumerate();
    let lines: Vec<String> = lines
        .map(|(index, line)| format!("{}→ {line}", index + 1))
        .collect();
    Cow::Owned(lines.join("\n"))
}
