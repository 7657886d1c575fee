//! Patches: the text that a model sends, read into changes, and hunks applied to a block's value.
//!
//! A patch is the hunks of a unified diff, for one block, or sections for several blocks, each under a
//! header such as `*** Update Block: human` (V1 contract, section 5). Line numbers between `@@` are not
//! looked at: models count badly, and a hunk must fit in exactly one place anyway.

use super::{
    BlockEdit, EditError, MemoryChange,
    text::{expand_tabs, has_line_numbers, nearest_line},
};
use crate::blocks::Block;

/// Lines that a patch may have: matching takes time with the lines of the patch times those of the block.
const MAX_LINES: usize = 2_000;

/// Places that are looked for: enough to say that there are too many, and where.
const MAX_PLACES: usize = 21;

/// Characters of a line that an error quotes.
const MAX_QUOTED: usize = 60;

/// A piece of a diff: neighbouring lines, some of which go or come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hunk {
    /// Its lines, in order.
    pub lines: Vec<HunkLine>,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HunkLine {
    /// Is there and stays.
    Context(String),
    /// Is there and goes.
    Removed(String),
    /// Comes.
    Added(String),
}

/// Why a patch cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// There is nothing in it.
    #[error(
        "the patch changes nothing: it has no line beginning with '-' or '+'. Put ' ' before a line that stays, '-' \
         before a line that goes and '+' before a line that comes"
    )]
    Empty,
    /// A hunk has neither removed nor added lines.
    #[error(
        "hunk {hunk} of the patch changes nothing: it has no line beginning with '-' or '+'. Put ' ' \
         before a line that stays, '-' before a line that goes and '+' before a line that comes"
    )]
    NoChange {
        /// Its number within its block, from 1.
        hunk: usize,
    },
    /// A line has no sign.
    #[error(
        "line {line} of the patch, '{text}', begins with none of ' ' (stays), '-' (goes), '+' (comes) \
         and '@@' (begins a hunk). Put one of them before it; a line that stays needs a space"
    )]
    NoSign {
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A line with three asterisks is no header.
    #[error(
        "line {line} of the patch, '{text}', is not a header that can stand there. The headers are \
         '*** Add Block: <label>', '*** Delete Block: <label>', '*** Update Block: <label>' and, right \
         after the last, '*** Move to: <new label>'"
    )]
    WrongHeader {
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A line stands where no block is being added or updated.
    #[error(
        "line {line} of the patch, '{text}', belongs to no block: lines stand under '*** Add Block: \
         <label>' or '*** Update Block: <label>'"
    )]
    NoBlock {
        /// The line's number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A block is to be updated without a change.
    #[error(
        "'*** Update Block: {label}' has nothing under it: add the lines of a diff, or '*** Move to: <new \
         label>' to rename the block"
    )]
    EmptyUpdate {
        /// The block.
        label: String,
    },
    /// It names no block and has no headers.
    #[error(
        "the patch does not say which block it changes: give the argument 'label', or put '*** Update \
         Block: <label>' above the lines"
    )]
    NoLabel,
    /// It has too many lines.
    #[error("the patch has {lines} lines, and may have {MAX_LINES}: send it in several calls")]
    TooLong {
        /// How many it has.
        lines: usize,
    },
}

/// Reads a patch. `label` names the block of a patch without headers.
///
/// # Errors
/// It cannot be read; the text is for the model that wrote it.
pub fn parse_patch(label: Option<&str>, patch: &str) -> Result<Vec<MemoryChange>, PatchError> {
    let lines = patch.lines().count();
    if lines > MAX_LINES {
        return Err(PatchError::TooLong { lines });
    }
    let lines: Vec<(usize, &str)> = patch
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !is_wrapping(line))
        .collect();
    let changes = if lines.iter().any(|(_, line)| header(line).is_some()) {
        sections(&lines)?
    } else {
        let label = label.map(str::trim).filter(|label| !label.is_empty());
        let label = label.ok_or(PatchError::NoLabel)?.to_owned();
        let hunks = hunks(&lines)?;
        vec![MemoryChange::Edit {
            label,
            edit: BlockEdit::Patch { hunks },
        }]
    };
    Ok(changes)
}

/// Lines that some models put around or into patches, and that mean nothing.
fn is_wrapping(line: &str) -> bool {
    let line = line.trim_end();
    line.starts_with("```")
        || line.starts_with("\\ No newline")
        || matches!(
            line,
            "*** Begin Patch" | "*** End Patch" | "*** End of File"
        )
}

/// What a header says.
#[derive(Clone, Copy)]
enum Header<'a> {
    Add(&'a str),
    Delete(&'a str),
    Update(&'a str),
    MoveTo(&'a str),
    Unknown,
}

/// The header that a line is. Models that know patches of files write `File` for `Block`.
fn header(line: &str) -> Option<Header<'_>> {
    let rest = line.strip_prefix("***")?.trim();
    let Some((name, label)) = rest.split_once(':') else {
        return Some(Header::Unknown);
    };
    let label = label.trim();
    let name = name.trim().to_ascii_lowercase();
    Some(match name.as_str() {
        _ if label.is_empty() => Header::Unknown,
        "add block" | "add file" => Header::Add(label),
        "delete block" | "delete file" => Header::Delete(label),
        "update block" | "update file" => Header::Update(label),
        "move to" => Header::MoveTo(label),
        _ => Header::Unknown,
    })
}

/// The changes of a patch with headers.
fn sections(lines: &[(usize, &str)]) -> Result<Vec<MemoryChange>, PatchError> {
    let mut changes = Vec::new();
    let mut rest = lines;
    while let Some(((number, line), after)) = rest.split_first() {
        let length = after.iter().take_while(|(_, line)| header(line).is_none());
        let (body, next) = after.split_at(length.count());
        rest = next;
        match header(line) {
            Some(Header::Add(label)) => changes.push(MemoryChange::Create {
                label: label.to_owned(),
                description: None,
                value: added_text(body)?,
            }),
            Some(Header::Delete(label)) => {
                no_lines(body)?;
                let label = label.to_owned();
                changes.push(MemoryChange::Detach { label });
            }
            Some(Header::Update(label)) => rest = update(label, body, next, &mut changes)?,
            None if line.trim().is_empty() => {}
            None => return Err(no_block(*number, line)),
            Some(Header::MoveTo(_) | Header::Unknown) => {
                let (line, text) = (*number, quoted(line));
                return Err(PatchError::WrongHeader { line, text });
            }
        }
    }
    Ok(changes)
}

/// The changes under an Update header: hunks, and a new label where a `Move to` stands before or after
/// them. Gives the lines after it.
fn update<'a, 'b>(
    label: &str,
    before: &[(usize, &str)],
    next: &'b [(usize, &'a str)],
    changes: &mut Vec<MemoryChange>,
) -> Result<&'b [(usize, &'a str)], PatchError> {
    let mut body = before.to_vec();
    let mut rest = next;
    let mut move_to = None;
    if let Some(((_, line), after)) = next.split_first()
        && let Some(Header::MoveTo(to)) = header(line)
    {
        let length = after.iter().take_while(|(_, line)| header(line).is_none());
        let (more, next) = after.split_at(length.count());
        body.extend_from_slice(more);
        (rest, move_to) = (next, Some(to));
    }
    let label = label.to_owned();
    let blank = body.iter().all(|(_, line)| line.trim().is_empty());
    if blank && move_to.is_none() {
        let label = quoted(&label);
        return Err(PatchError::EmptyUpdate { label });
    }
    if !blank {
        let hunks = hunks(&body)?;
        changes.push(MemoryChange::Edit {
            label: label.clone(),
            edit: BlockEdit::Patch { hunks },
        });
    }
    if let Some(to) = move_to {
        let to = to.to_owned();
        changes.push(MemoryChange::Rename { label, to });
    }
    Ok(rest)
}

/// The text of an added block: its lines begin with `+`, all or none of them.
fn added_text(body: &[(usize, &str)]) -> Result<String, PatchError> {
    let end = body
        .iter()
        .rposition(|(_, line)| !line.trim().is_empty())
        .map_or(0, |last| last + 1);
    let body = body.get(..end).unwrap_or_default();
    let signed = body.iter().any(|(_, line)| line.starts_with('+'));
    let mut lines = Vec::with_capacity(body.len());
    for (number, line) in body {
        lines.push(match line.strip_prefix('+') {
            Some(text) => text,
            None if !signed || line.trim().is_empty() => line,
            None if line.starts_with("@@") => continue,
            None => {
                let (line, text) = (*number, quoted(line));
                return Err(PatchError::NoSign { line, text });
            }
        });
    }
    Ok(lines.join("\n"))
}

fn no_lines(body: &[(usize, &str)]) -> Result<(), PatchError> {
    match body.iter().find(|(_, line)| !line.trim().is_empty()) {
        Some((number, line)) => Err(no_block(*number, line)),
        None => Ok(()),
    }
}

fn no_block(number: usize, line: &str) -> PatchError {
    let (line, text) = (number, quoted(line));
    PatchError::NoBlock { line, text }
}

fn quoted(line: &str) -> String {
    line.chars().take(MAX_QUOTED).collect()
}

/// The hunks of one block.
fn hunks(lines: &[(usize, &str)]) -> Result<Vec<Hunk>, PatchError> {
    let mut found: Vec<Hunk> = Vec::new();
    let mut open = Hunk::default();
    // Blank lines without a sign: context when others follow in the hunk, and else nothing.
    let mut blank = 0;
    let mut rest = lines;
    while let Some(((number, line), after)) = rest.split_first() {
        rest = after;
        if found.is_empty()
            && open.lines.is_empty()
            && let Some(after) = file_header(line, after)
        {
            rest = after;
            continue;
        }
        if line.is_empty() {
            blank += usize::from(!open.lines.is_empty());
            continue;
        }
        if line.starts_with("@@") {
            blank = 0;
            close(&mut open, &mut found)?;
            continue;
        }
        let context = std::iter::repeat_n(HunkLine::Context(String::new()), blank);
        open.lines.extend(context);
        blank = 0;
        let mut signs = line.chars();
        open.lines.push(match signs.next() {
            Some(' ') => HunkLine::Context(signs.as_str().to_owned()),
            Some('-') => HunkLine::Removed(signs.as_str().to_owned()),
            Some('+') => HunkLine::Added(signs.as_str().to_owned()),
            _ => {
                let (line, text) = (*number, quoted(line));
                return Err(PatchError::NoSign { line, text });
            }
        });
    }
    close(&mut open, &mut found)?;
    if found.is_empty() {
        return Err(PatchError::Empty);
    }
    Ok(found)
}

/// What follows the two lines that name the files of a diff, if a line is the first of them; a removed
/// line `-- x` looks the same, but is not followed by `+++`.
fn file_header<'a, 'b>(
    line: &str,
    after: &'b [(usize, &'a str)],
) -> Option<&'b [(usize, &'a str)]> {
    if line.starts_with("diff --git ") || line.starts_with("index ") {
        return Some(after);
    }
    let ((_, next), rest) = after.split_first()?;
    (line.starts_with("--- ") && next.starts_with("+++ ")).then_some(rest)
}

/// Ends a hunk.
fn close(open: &mut Hunk, found: &mut Vec<Hunk>) -> Result<(), PatchError> {
    let hunk = std::mem::take(open);
    if hunk.lines.is_empty() {
        return Ok(());
    }
    let changes = |line: &HunkLine| !matches!(line, HunkLine::Context(_));
    if !hunk.lines.iter().any(changes) {
        let hunk = found.len() + 1;
        return Err(PatchError::NoChange { hunk });
    }
    found.push(hunk);
    Ok(())
}

/// The block's value after its hunks, each of which must fit in exactly one place of the value as it is
/// before all of them.
pub(super) fn apply(hunks: &[Hunk], block: &Block, changed: bool) -> Result<String, EditError> {
    let value = block.value.as_str();
    let lines: Vec<&str> = if value.is_empty() {
        Vec::new()
    } else {
        value.split('\n').collect()
    };
    let mut removed = vec![false; lines.len()];
    let mut added: Vec<Vec<String>> = vec![Vec::new(); lines.len() + 1];
    for (index, hunk) in hunks.iter().enumerate() {
        let number = index + 1;
        let mut at = place(hunk, number, (block, &lines, changed))?;
        for line in &hunk.lines {
            match line {
                HunkLine::Context(_) => at += 1,
                HunkLine::Removed(_) => {
                    match removed.get_mut(at) {
                        Some(gone) if !*gone => *gone = true,
                        _ => {
                            return Err(EditError::HunksOverlap {
                                label: block.label.clone(),
                                hunk: number,
                                line: at + 1,
                            });
                        }
                    }
                    at += 1;
                }
                HunkLine::Added(text) => {
                    if let Some(gap) = added.get_mut(at) {
                        gap.push(expand_tabs(text));
                    }
                }
            }
        }
    }
    Ok(joined(&lines, &removed, added))
}

fn joined(lines: &[&str], removed: &[bool], added: Vec<Vec<String>>) -> String {
    let kept = lines
        .iter()
        .zip(removed)
        .map(|(line, gone)| (!gone).then(|| (*line).to_owned()))
        .chain(std::iter::once(None));
    let all: Vec<String> = added
        .into_iter()
        .zip(kept)
        .flat_map(|(new, old)| new.into_iter().chain(old))
        .collect();
    all.join("\n")
}

/// The line, from 0, at which a hunk fits. One that only adds, with nothing said of where, goes to the end.
fn place(
    hunk: &Hunk,
    number: usize,
    (block, lines, changed): (&Block, &[&str], bool),
) -> Result<usize, EditError> {
    let (mut old, mut new): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in &hunk.lines {
        match line {
            HunkLine::Context(text) | HunkLine::Removed(text) => old.push(text),
            HunkLine::Added(text) => new.push(text),
        }
    }
    if new.iter().any(|line| has_line_numbers(line)) {
        return Err(EditError::LineNumbers);
    }
    if old.is_empty() {
        let ends_in_break = lines.len() > 1 && lines.last() == Some(&"");
        return Ok(lines.len() - usize::from(ends_in_break));
    }
    let mut places = places(lines, &old);
    if places.is_empty() {
        let (lines, old) = (tabless(lines), tabless(&old));
        let (lines, old): (Vec<&str>, Vec<&str>) = (refs(&lines), refs(&old));
        places = self::places(&lines, &old);
    }
    match places.as_slice() {
        [at] => Ok(*at),
        [] if old.iter().any(|line| has_line_numbers(line)) => Err(EditError::LineNumbers),
        [] => Err(not_found(number, &old, (block, lines, changed))),
        several => Err(EditError::HunkNotUnique {
            label: block.label.clone(),
            hunk: number,
            lines: several.iter().map(|at| at + 1).collect(),
        }),
    }
}

fn tabless(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| expand_tabs(line)).collect()
}

fn refs(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

/// Where lines stand one after the other. A carriage return at the end of a line does not count.
fn places(lines: &[&str], wanted: &[&str]) -> Vec<usize> {
    let bare = |line: &&str| line.strip_suffix('\r').unwrap_or(line).to_owned();
    let wanted: Vec<String> = wanted.iter().map(bare).collect();
    lines
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| {
            window
                .iter()
                .zip(&wanted)
                .all(|(line, wanted)| line.strip_suffix('\r').unwrap_or(line) == wanted)
        })
        .map(|(at, _)| at)
        .take(MAX_PLACES)
        .collect()
}

/// Says which line of a hunk is wrong: one that is nowhere in the block, or else the first that does not
/// follow the ones before it.
fn not_found(
    hunk: usize,
    old: &[&str],
    (block, lines, changed): (&Block, &[&str], bool),
) -> EditError {
    let unknown = old.iter().find(|line| !lines.contains(line));
    let (wanted, found) = match unknown {
        Some(line) => (*line, nearest_line(lines, line)),
        None => out_of_order(lines, old),
    };
    EditError::HunkNotFound {
        label: block.label.clone(),
        hunk,
        wanted: wanted.to_owned(),
        found: found.map(|(number, text)| (number, text.to_owned())),
        value: block.value.clone(),
        changed,
    }
}

/// Of lines that are all there: the first that is not where it should be, where most of those before
/// it fit.
fn out_of_order<'a>(lines: &[&'a str], old: &[&'a str]) -> (&'a str, Option<(usize, &'a str)>) {
    let fits = |at: usize| {
        let here = lines.get(at..).unwrap_or_default();
        here.iter().zip(old).take_while(|(a, b)| a == b).count()
    };
    let best = (0..lines.len())
        .map(|at| (fits(at), at))
        .max_by_key(|(count, at)| (*count, std::cmp::Reverse(*at)));
    let (count, at) = best.unwrap_or_default();
    let wanted = old.get(count).or(old.last()).copied().unwrap_or_default();
    let found = lines.get(at + count).map(|text| (at + count + 1, *text));
    (wanted, found)
}

#[cfg(test)]
mod tests;
