//! Changes of an agent's memory as a whole: blocks made, edited, renamed and taken away, all or none.

use super::{
    BlockEdit, EditError, apply, check_limit,
    refusal::reads_now,
    text::{expand_tabs, has_line_numbers},
};
use crate::{
    blocks::Block, ids::BlockId, system_prompts::default_block_description, time::Timestamp,
    validation,
};

/// Where models may think that memory blocks lie.
const FOLDER: &str = "memories/";

/// Endings of file names that models give to blocks; they are not part of a label.
const SUFFIXES: [&str; 3] = [".md", ".txt", ".markdown"];

/// Characters of a label that is not there in an error.
const MAX_QUOTED: usize = 100;

/// Labels that an error lists.
const MAX_LABELS: usize = 40;

/// One change. Labels may be written as paths: `/memories/human` or `human.md` mean `human`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryChange {
    /// Makes a block and gives it to the agent.
    Create {
        /// Its label.
        label: String,
        /// What it is for.
        description: Option<String>,
        /// Its text.
        value: String,
    },
    /// Edits a block.
    Edit {
        /// The block.
        label: String,
        /// The edit.
        edit: BlockEdit,
    },
    /// Gives a block another label.
    Rename {
        /// The block.
        label: String,
        /// Its new label.
        to: String,
    },
    /// Changes what a block is said to be for.
    Describe {
        /// The block.
        label: String,
        /// The new description.
        description: String,
    },
    /// Takes a block away from the agent; the block itself is kept.
    Detach {
        /// The block.
        label: String,
    },
}

impl MemoryChange {
    /// The block that must be there for it, as the model wrote it.
    #[must_use]
    pub fn existing(&self) -> Option<&str> {
        match self {
            Self::Create { .. } => None,
            Self::Edit { label, .. }
            | Self::Rename { label, .. }
            | Self::Describe { label, .. }
            | Self::Detach { label } => Some(label),
        }
    }

    /// Whether it gives a label to a block.
    #[must_use]
    pub const fn names(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Rename { .. })
    }
}

/// What is to be written for changes that can all be made.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangePlan {
    /// The writes, in order.
    pub writes: Vec<BlockWrite>,
    /// What the model reads of them.
    pub report: String,
}

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub enum BlockWrite {
    /// A new block, to be attached to the agent.
    Insert(Box<Block>),
    /// A block's new label, value and description.
    Update(Box<Block>),
    /// A block to be taken off the agent.
    Detach(BlockId),
}

/// Why changes were refused; nothing is changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// An edit was refused.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// There is no such block.
    #[error(
        "this agent has no memory block with the label '{label}', so nothing was changed; its blocks are: \
         {}",
        listed(.labels)
    )]
    NoSuchBlock {
        /// The label as given.
        label: String,
        /// Those that there are.
        labels: Vec<String>,
    },
    /// There is such a block already.
    #[error(
        "there is a memory block with the label '{label}' already, so nothing was changed. To change \
         it, replace or insert text in it (memory with the command str_replace or insert, or \
         memory_replace, memory_insert or a patch that updates it); to make another, choose another \
         label.{}",
        reads_now(.value)
    )]
    Exists {
        /// Its label.
        label: String,
        /// Its value.
        value: String,
    },
    /// A label cannot be a label.
    #[error("{0}. Nothing was changed")]
    Label(#[from] validation::Invalid),
}

fn listed(labels: &[String]) -> String {
    if labels.is_empty() {
        return "none (make one first)".to_owned();
    }
    let shown: Vec<&str> = labels.iter().take(MAX_LABELS).map(String::as_str).collect();
    let more = if labels.len() > MAX_LABELS {
        " and more"
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}

/// The labels that a path may mean, the likeliest first.
fn meant(path: &str) -> [&str; 3] {
    let given = path.trim();
    let bare = given.trim_start_matches("./").trim_start_matches('/');
    let bare = bare.strip_prefix(FOLDER).unwrap_or(bare);
    let bare = bare.trim_end_matches('/');
    let stem = SUFFIXES
        .iter()
        .find_map(|suffix| bare.strip_suffix(suffix))
        .filter(|stem| !stem.is_empty());
    [given, bare, stem.unwrap_or(bare)]
}

/// The block that a path means.
fn find<'a>(blocks: &'a [Block], path: &str) -> Option<&'a Block> {
    meant(path)
        .iter()
        .find_map(|label| blocks.iter().find(|block| block.label == *label))
}

/// The ids of the blocks that changes are about, as far as they are there.
#[must_use]
pub fn named(changes: &[MemoryChange], blocks: &[Block]) -> Vec<BlockId> {
    let paths = changes.iter().filter_map(MemoryChange::existing);
    let mut ids: Vec<BlockId> = paths
        .filter_map(|path| find(blocks, path))
        .map(|block| block.id)
        .collect();
    ids.sort_by_key(ToString::to_string);
    ids.dedup();
    ids
}

/// What is to be written for changes of an agent's blocks. `seen` gives the revision that the model's
/// prompt showed of a label.
///
/// # Errors
/// One of the changes is refused; nothing is to be changed then.
pub fn plan(
    changes: &[MemoryChange],
    blocks: &[Block],
    seen: &dyn Fn(&str) -> Option<i64>,
    now: Timestamp,
) -> Result<ChangePlan, ChangeError> {
    let mut planner = Planner {
        blocks: blocks.to_vec(),
        writes: Vec::new(),
        reports: Vec::new(),
        seen,
        now,
    };
    for change in changes {
        planner.add(change)?;
    }
    let report = match (changes, planner.writes.as_slice()) {
        ([MemoryChange::Edit { .. }], [BlockWrite::Update(block)]) => block.value.clone(),
        _ => planner.reports.join("\n"),
    };
    Ok(ChangePlan {
        writes: planner.writes,
        report,
    })
}

struct Planner<'a> {
    /// The agent's blocks as they are after the changes so far.
    blocks: Vec<Block>,
    writes: Vec<BlockWrite>,
    reports: Vec<String>,
    seen: &'a dyn Fn(&str) -> Option<i64>,
    now: Timestamp,
}

impl Planner<'_> {
    fn add(&mut self, change: &MemoryChange) -> Result<(), ChangeError> {
        match change {
            MemoryChange::Create {
                label,
                description,
                value,
            } => self.create(label, description.clone(), value),
            MemoryChange::Edit { label, edit } => {
                let block = self.block(label)?;
                let value = apply(edit, &block, (self.seen)(&block.label))?;
                let report = format!("Memory block '{}' now reads:\n{value}", block.label);
                self.update(Block { value, ..block }, report);
                Ok(())
            }
            MemoryChange::Rename { label, to } => self.rename(label, to),
            MemoryChange::Describe { label, description } => {
                let block = self.own(label)?;
                let report = format!(
                    "The description of memory block '{}' is now: {description}",
                    block.label
                );
                let description = Some(description.clone());
                self.update(
                    Block {
                        description,
                        ..block
                    },
                    report,
                );
                Ok(())
            }
            MemoryChange::Detach { label } => {
                let block = self.own(label)?;
                self.blocks.retain(|other| other.id != block.id);
                self.writes.push(BlockWrite::Detach(block.id));
                self.reports.push(format!(
                    "Memory block '{}' was taken out of your memory.",
                    block.label
                ));
                Ok(())
            }
        }
    }

    fn block(&self, path: &str) -> Result<Block, ChangeError> {
        find(&self.blocks, path)
            .cloned()
            .ok_or_else(|| ChangeError::NoSuchBlock {
                label: path.trim().chars().take(MAX_QUOTED).collect(),
                labels: self
                    .blocks
                    .iter()
                    .map(|block| block.label.clone())
                    .collect(),
            })
    }

    /// A block that the agent may change.
    fn own(&self, path: &str) -> Result<Block, ChangeError> {
        let block = self.block(path)?;
        if block.read_only {
            let label = block.label;
            return Err(EditError::ReadOnly { label }.into());
        }
        Ok(block)
    }

    /// The label for a block that gets one, unless another block has it.
    fn free_label(&self, path: &str) -> Result<String, ChangeError> {
        let [_, _, label] = meant(path);
        validation::block_label(label)?;
        match find(&self.blocks, path) {
            None => Ok(label.to_owned()),
            Some(block) => Err(ChangeError::Exists {
                label: block.label.clone(),
                value: block.value.clone(),
            }),
        }
    }

    fn create(
        &mut self,
        path: &str,
        description: Option<String>,
        value: &str,
    ) -> Result<(), ChangeError> {
        let label = self.free_label(path)?;
        if has_line_numbers(value) {
            return Err(EditError::LineNumbers.into());
        }
        let description =
            description.or_else(|| default_block_description(&label).map(str::to_owned));
        let empty = Block::empty(label, description, self.now);
        let value = expand_tabs(value);
        check_limit(&empty, &value)?;
        let block = Block { value, ..empty };
        self.reports.push(format!(
            "Memory block '{}' was made with {} of {} characters. You see it in your memory from now on.",
            block.label,
            block.value.chars().count(),
            block.limit
        ));
        self.blocks.push(block.clone());
        self.writes.push(BlockWrite::Insert(Box::new(block)));
        Ok(())
    }

    fn rename(&mut self, path: &str, to: &str) -> Result<(), ChangeError> {
        let block = self.own(path)?;
        let label = self.free_label(to)?;
        let report = format!("Memory block '{}' is now called '{label}'.", block.label);
        self.update(Block { label, ..block }, report);
        Ok(())
    }

    fn update(&mut self, block: Block, report: String) {
        self.reports.push(report);
        for known in &mut self.blocks {
            if known.id == block.id {
                *known = block.clone();
            }
        }
        self.writes.push(BlockWrite::Update(Box::new(block)));
    }
}

#[cfg(test)]
mod tests;
