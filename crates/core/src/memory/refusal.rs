//! Why an edit was refused, in words that a model can act on.

/// Characters of a block's value that an error shows. A tool's error may have 1,000 characters in all
/// (V1 contract, section 5), and what to do must be among them; the model sees the whole value in its
/// next prompt anyway.
const MAX_EXCERPT: usize = 500;

/// Lines that an error lists by number.
const MAX_LINES: usize = 20;

/// Why an edit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The block may only be read.
    #[error(
        "memory block '{label}' is read-only, so nothing was changed. Do not try again; if this must \
         be kept, write it into another block"
    )]
    ReadOnly {
        /// The block.
        label: String,
    },
    /// The value would be too long.
    #[error("{}", over_limit(.label, *.limit, *.current, *.wanted))]
    OverLimit {
        /// The block.
        label: String,
        /// Characters it may hold.
        limit: i64,
        /// Characters it holds.
        current: usize,
        /// Characters it would hold.
        wanted: usize,
    },
    /// The text to be replaced is not there.
    #[error(
        "the text to replace was not found in memory block '{label}', so nothing was changed. {}{}",
        why_not_found(.value, *.changed, *.similar_line),
        reads_now(.value)
    )]
    NotFound {
        /// The block.
        label: String,
        /// Its value.
        value: String,
        /// Whether it was changed since the model saw it.
        changed: bool,
        /// A line, from 1, where a text begins that differs only in white space and letter case.
        similar_line: Option<usize>,
    },
    /// The text to be replaced stands there more than once.
    #[error(
        "the text to replace stands more than once in memory block '{label}' (on {}), so nothing was \
         changed. Give more of the text around the place you mean, so that it fits only there",
        numbered(.lines)
    )]
    NotUnique {
        /// The block.
        label: String,
        /// The lines, from 1, on which occurrences begin.
        lines: Vec<usize>,
    },
    /// The lines that a hunk keeps or removes are not there.
    #[error(
        "hunk {hunk} does not fit memory block '{label}', so nothing was changed: {}. Lines that stay \
         (beginning with a space) and lines that go (beginning with '-') must stand in the block one \
         after the other, exactly so: make the patch anew from the present text.{}{}",
        misfit(.wanted, .found.as_ref()),
        changed_since(*.changed),
        reads_now(.value)
    )]
    HunkNotFound {
        /// The block.
        label: String,
        /// The hunk's number, from 1.
        hunk: usize,
        /// The first line of the hunk that is not where it should be.
        wanted: String,
        /// The line of the block that is nearest to what was wanted there, with its number from 1.
        found: Option<(usize, String)>,
        /// Its value.
        value: String,
        /// Whether it was changed since the model saw it.
        changed: bool,
    },
    /// The lines that a hunk keeps or removes stand there more than once.
    #[error(
        "hunk {hunk} fits memory block '{label}' in more than one place (on {}), so nothing was \
         changed. Give more of the lines around the place you mean, so that it fits only there",
        numbered(.lines)
    )]
    HunkNotUnique {
        /// The block.
        label: String,
        /// The hunk's number, from 1.
        hunk: usize,
        /// The lines, from 1, on which the places begin.
        lines: Vec<usize>,
    },
    /// Two hunks remove the same line.
    #[error(
        "hunk {hunk} removes line {line} of memory block '{label}', which an earlier hunk of the patch \
         removes already, so nothing was changed. Join the two hunks into one"
    )]
    HunksOverlap {
        /// The block.
        label: String,
        /// The second hunk's number, from 1.
        hunk: usize,
        /// The line, from 1.
        line: usize,
    },
    /// There is nothing to look for.
    #[error(
        "the text to replace in memory block '{label}' is empty. Give the exact text that is to be \
         changed; to add something new, insert or append it instead"
    )]
    EmptyOld {
        /// The block.
        label: String,
    },
    /// There is no such line.
    #[error(
        "memory block '{label}' has no line {line}, so nothing was inserted: it has {}. Give a line \
         from 0 (before the first) to {lines} (after the last), or -1 for the end",
        counted(*.lines)
    )]
    NoSuchLine {
        /// The block.
        label: String,
        /// The line as given.
        line: i64,
        /// How many lines there are.
        lines: usize,
    },
    /// Line numbers of the prompt's display were copied into the edit.
    #[error(
        "the text holds line numbers such as '1→ '. They belong to the display of the memory, not to \
         its text. Send the same text without them"
    )]
    LineNumbers,
    /// The block changed since the prompt was made.
    #[error(
        "memory block '{label}' was changed since you saw it, so your edit was not made. Make it again on the basis of the present text.{}",
        reads_now(.value)
    )]
    Stale {
        /// The block.
        label: String,
        /// Its value.
        value: String,
    },
}

fn over_limit(label: &str, limit: i64, current: usize, wanted: usize) -> String {
    let numbers = format!(
        "memory block '{label}' holds at most {limit} characters; it has {current} now and would have \
         {wanted} after this edit, so nothing was changed."
    );
    let excess = i64::try_from(wanted)
        .unwrap_or(i64::MAX)
        .saturating_sub(limit);
    if i64::try_from(current).is_ok_and(|current| current <= limit) {
        format!(
            "{numbers} That is {excess} too many: write less, or first remove or shorten something in \
             the block"
        )
    } else {
        format!("{numbers} As long as a block is over its limit, every edit must make it shorter")
    }
}

fn why_not_found(value: &str, changed: bool, similar_line: Option<usize>) -> String {
    if value.is_empty() {
        return "The block is empty: insert or append your text".to_owned();
    }
    let mut text = String::new();
    if changed {
        text.push_str("The block was changed since you saw it. ");
    }
    match similar_line {
        Some(line) => text.push_str(&format!(
            "A text that differs only in spaces, line breaks or upper and lower case begins on line \
             {line}: copy it exactly as it stands."
        )),
        None => text.push_str(
            "It must match exactly, with all spaces and line breaks: copy it from the present text.",
        ),
    }
    text
}

/// Characters of a single line that an error shows.
const MAX_LINE: usize = 80;

fn misfit(wanted: &str, found: Option<&(usize, String)>) -> String {
    let wanted = line_excerpt(wanted);
    match found {
        Some((line, text)) => format!(
            "it wants '{wanted}' where line {line} of the block reads '{}'",
            line_excerpt(text)
        ),
        None => format!("no line of the block reads '{wanted}'"),
    }
}

fn line_excerpt(line: &str) -> String {
    let mut shown: String = line.chars().take(MAX_LINE).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

const fn changed_since(changed: bool) -> &'static str {
    if changed {
        " The block was changed since you saw it."
    } else {
        ""
    }
}

/// The value or as much of it as an error may hold.
pub(super) fn reads_now(value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    let hidden = value.chars().count().saturating_sub(MAX_EXCERPT);
    if hidden == 0 {
        return format!(" The block now reads:\n{value}");
    }
    let shown: String = value.chars().take(MAX_EXCERPT).collect();
    format!(" The block now begins (and goes on for {hidden} more characters):\n{shown}")
}

fn numbered(lines: &[usize]) -> String {
    let numbers: Vec<String> = lines.iter().take(MAX_LINES).map(usize::to_string).collect();
    let more = if lines.len() > MAX_LINES {
        " and more"
    } else {
        ""
    };
    format!(
        "{} {}{more}",
        if lines.len() == 1 { "line" } else { "lines" },
        numbers.join(", ")
    )
}

fn counted(lines: usize) -> String {
    match lines {
        0 => "no line at all".to_owned(),
        1 => "1 line".to_owned(),
        n => format!("{n} lines"),
    }
}
