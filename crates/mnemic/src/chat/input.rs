//! Where lines come from: a person at a terminal, or a pipe.

use std::{borrow::Cow, path::Path};

use reedline::{
    EditCommand, Emacs, FileBackedHistory, HistoryItem, KeyCode, KeyModifiers, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, Signal, ValidationResult,
    Validator, default_emacs_keybindings,
};
use tokio::io::{AsyncBufReadExt as _, BufReader, Stdin};

use super::{error::ChatError, screen::Screen};

/// Lines that the history keeps.
const HISTORY_LINES: usize = 5_000;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// A message or a command.
    Line(String),
    /// The same, typed before it was asked for: it is not shown at the prompt yet.
    Ahead(String),
    /// The input was broken off (Ctrl-C).
    Interrupted,
    /// There is no more.
    End,
}

/// A source of lines.
pub enum Input {
    /// A person; the editor is away while it reads.
    Terminal(Option<Box<Reedline>>),
    /// A pipe or file.
    Pipe(BufReader<Stdin>),
}

impl Input {
    /// The source of this process's lines. `history` is the file of what was typed before.
    pub fn open(screen: &Screen, history: Option<&Path>) -> Self {
        if !screen.is_terminal {
            return Self::Pipe(BufReader::new(tokio::io::stdin()));
        }
        let mut keys = default_emacs_keybindings();
        let line_break = ReedlineEvent::Edit(vec![EditCommand::InsertNewline]);
        for modifier in [KeyModifiers::ALT, KeyModifiers::SHIFT] {
            keys.add_binding(modifier, KeyCode::Enter, line_break.clone());
        }
        let mut editor = Reedline::create()
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_validator(Box::new(EndOfEntry))
            .with_ansi_colors(screen.has_colours())
            .use_bracketed_paste(true);
        // Without the file, what is typed is remembered until the end.
        if let Some(file) = history
            && let Ok(history) = FileBackedHistory::with_file(HISTORY_LINES, file.to_owned())
        {
            editor = editor.with_history(Box::new(history));
        }
        Self::Terminal(Some(Box::new(editor)))
    }

    /// The next entry.
    ///
    /// # Errors
    /// The terminal or pipe cannot be read.
    pub async fn next(&mut self, name: &str) -> Result<Entry, ChatError> {
        match self {
            Self::Terminal(editor) => {
                let Some(mut reading) = editor.take() else {
                    return Ok(Entry::End);
                };
                if let Some(entry) = typed_ahead() {
                    if let Entry::Ahead(line) = &entry {
                        let item = HistoryItem::from_command_line(line.as_str());
                        // What cannot be remembered can still be said.
                        reading.history_mut().save(item).ok();
                    }
                    *editor = Some(reading);
                    return Ok(entry);
                }
                let prompt = Name(name.to_owned());
                let read = tokio::task::spawn_blocking(move || {
                    let signal = reading.read_line(&prompt);
                    (reading, signal)
                });
                let Ok((back, signal)) = read.await else {
                    return Ok(Entry::End);
                };
                *editor = Some(back);
                Ok(match signal? {
                    Signal::Success(text) => Entry::Line(text.replace("\\\n", "\n")),
                    Signal::CtrlC => Entry::Interrupted,
                    _ => Entry::End,
                })
            }
            Self::Pipe(pipe) => tokio::select! {
                entry = piped(pipe) => entry,
                _ = tokio::signal::ctrl_c() => Ok(Entry::End),
            },
        }
    }
}

/// What was typed while nobody read. The editor would take the first line of it and lose the others.
#[cfg(unix)]
fn typed_ahead() -> Option<Entry> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let input = std::io::stdin();
    let mut text = String::new();
    loop {
        let mut readable = [PollFd::new(&input, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if poll(&mut readable, Some(&at_once)).is_ok_and(|count| count == 0) {
            // The beginning of a line stays for the editor.
            return (!text.is_empty()).then_some(Entry::Ahead(text));
        }
        // While no editor is at work the terminal gives whole lines, one at a time.
        if input.read_line(&mut text).ok()? == 0 {
            return Some(Entry::End);
        }
        match text.trim_end_matches(['\r', '\n']) {
            line if line.ends_with('\\') => {
                text = line.trim_end_matches('\\').to_owned();
                text.push('\n');
            }
            line => return Some(Entry::Ahead(line.to_owned())),
        }
    }
}

#[cfg(not(unix))]
fn typed_ahead() -> Option<Entry> {
    None
}

/// A line of a pipe, with those that follow a backslash at its end.
async fn piped(pipe: &mut BufReader<Stdin>) -> Result<Entry, ChatError> {
    let mut text = String::new();
    while let Some(line) = line_of(pipe).await? {
        match line.strip_suffix('\\') {
            Some(more) => {
                text.push_str(more);
                text.push('\n');
            }
            None => {
                text.push_str(&line);
                return Ok(Entry::Line(text));
            }
        }
    }
    Ok(if text.is_empty() {
        Entry::End
    } else {
        Entry::Line(text)
    })
}

/// The next line; what of it is no UTF-8 is shown as such, and neither it nor the lines behind it are lost.
async fn line_of(pipe: &mut BufReader<Stdin>) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if pipe.read_until(b'\n', &mut bytes).await? == 0 {
        return Ok(None);
    }
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

/// An entry ends with its line, unless that ends with a backslash.
struct EndOfEntry;

impl Validator for EndOfEntry {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.ends_with('\\') {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Complete
        }
    }
}

/// The prompt: whom one talks to.
struct Name(String);

impl Prompt for Name {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("… ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}
