//! `<directories>`: the folders of an agent and its open files.

use std::fmt::Write as _;

/// The folders that an agent sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories<'a> {
    /// How many files may be open at once.
    pub max_files_open: i64,
    /// The folders, in order.
    pub folders: Vec<DirectoryView<'a>>,
}

/// A folder as the prompt shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryView<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it holds.
    pub description: Option<&'a str>,
    /// How the agent is to use it.
    pub instructions: Option<&'a str>,
    /// Its files, in order.
    pub files: Vec<FileView<'a>>,
}

/// A file as the prompt shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Characters of it that the prompt shows at the most.
    pub char_limit: i64,
    /// What is seen of it; `None` when it is closed.
    pub open: Option<FileWindow<'a>>,
}

/// The part of an open file that is in view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileWindow<'a> {
    /// Its lines, as one text.
    pub text: &'a str,
    /// The number, from 1, of the first of them in the file.
    pub first_line: usize,
    /// How many lines the file has.
    pub total_lines: usize,
}

impl Directories<'_> {
    /// The section of the prompt; `None` without folders.
    #[must_use]
    pub fn render(&self) -> Option<String> {
        if self.folders.is_empty() {
            return None;
        }
        let open = self.folders.iter().flat_map(|folder| &folder.files);
        let open = open.filter(|file| file.open.is_some()).count();
        let mut text = format!(
            "<directories>\n<file_limits>\n- current_files_open={open}\n- max_files_open={}\n\
             </file_limits>\n",
            self.max_files_open
        );
        for folder in &self.folders {
            push_folder(&mut text, folder);
        }
        text.push_str("</directories>");
        Some(text)
    }
}

fn push_folder(text: &mut String, folder: &DirectoryView<'_>) {
    let _ = writeln!(text, "<directory name=\"{}\">", attribute(folder.name));
    for (tag, said) in [
        ("description", folder.description),
        ("instructions", folder.instructions),
    ] {
        if let Some(said) = said {
            let _ = writeln!(text, "<{tag}>{said}</{tag}>");
        }
    }
    for file in &folder.files {
        push_file(text, file);
    }
    text.push_str("</directory>\n");
}

fn push_file(text: &mut String, file: &FileView<'_>) {
    let status = if file.open.is_some() {
        "open"
    } else {
        "closed"
    };
    let value = file
        .open
        .map(|window| numbered(&window, file.char_limit))
        .unwrap_or_default();
    let _ = write!(
        text,
        "<file status=\"{status}\" name=\"{}\">\n<metadata>\n- read_only=true\n- chars_current={}\n\
         - chars_limit={}\n</metadata>\n",
        attribute(file.name),
        value.chars().count(),
        file.char_limit
    );
    if file.open.is_some() {
        let _ = write!(text, "<value>\n{value}\n</value>\n");
    }
    text.push_str("</file>\n");
}

/// The window's lines as `N: line` under a header that says which they are, cut at the limit.
fn numbered(window: &FileWindow<'_>, char_limit: i64) -> String {
    let lines = window.text.split('\n').zip(window.first_line..);
    let lines: Vec<String> = lines
        .map(|(line, number)| format!("{number}: {line}"))
        .collect();
    let last = window.first_line + lines.len().saturating_sub(1);
    let header = format!(
        "[Lines {} to {last} of {} are in view]",
        window.first_line, window.total_lines
    );
    let text = format!("{header}\n{}", lines.join("\n"));
    let limit = usize::try_from(char_limit).unwrap_or_default();
    match text.char_indices().nth(limit) {
        None => text,
        Some((cut, _)) => {
            let shown = text.get(..cut).unwrap_or_default();
            format!("{shown}\n[Cut after {limit} characters: open a smaller part to see the rest]")
        }
    }
}

/// A name inside quotation marks; one that holds such a mark itself must not end them.
fn attribute(name: &str) -> String {
    name.replace('"', "'")
}
