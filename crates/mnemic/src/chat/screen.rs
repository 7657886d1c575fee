//! What the chat writes. On a terminal everything goes to one place, with colours; otherwise the agent's
//! words and the answers of commands go to standard output, plain, and all else to standard error.

use std::io::{IsTerminal as _, Write as _};

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Dim,
    Bold,
    Red,
    Green,
}

/// What is being written piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The agent's words.
    Answer,
    /// Its reasoning.
    Reasoning,
    /// A call of a tool.
    Call,
}

/// Where the chat writes.
#[derive(Debug)]
pub struct Screen {
    /// Whether a person sits there.
    pub is_terminal: bool,
    colours: bool,
    /// What the present line belongs to, when it is not ended.
    open: Option<Flow>,
}

impl Screen {
    /// The screen of this process.
    #[must_use]
    pub fn new() -> Self {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            is_terminal,
            colours: is_terminal && !set("NO_COLOR") && !dumb,
            open: None,
        }
    }

    /// Whether colours are written.
    #[must_use]
    pub const fn has_colours(&self) -> bool {
        self.colours
    }

    /// Writes a piece of something that grows; another kind begins on a line of its own.
    pub fn flow(&mut self, flow: Flow, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.open.is_some_and(|open| open != flow) {
            self.end_line();
        }
        let style = match flow {
            Flow::Answer => Style::Plain,
            Flow::Reasoning | Flow::Call => Style::Dim,
        };
        let text = self.painted(style, text);
        self.write(flow == Flow::Answer, &text);
        self.open = Some(flow);
    }

    /// Ends the present line, if one is begun.
    pub fn end_line(&mut self) {
        if let Some(open) = self.open.take() {
            self.write(open == Flow::Answer, "\n");
        }
    }

    /// A line that answers what was asked.
    pub fn say(&mut self, style: Style, line: &str) {
        self.end_line();
        let line = self.painted(style, line);
        self.write(true, &format!("{line}\n"));
    }

    /// A line about what happens, beside the conversation.
    pub fn note(&mut self, style: Style, line: &str) {
        self.end_line();
        let line = self.painted(style, line);
        self.write(false, &format!("{line}\n"));
    }

    /// A line of trouble.
    pub fn complain(&mut self, line: &str) {
        self.end_line();
        let line = self.painted(Style::Red, line);
        writeln!(std::io::stderr(), "{line}").ok();
    }

    /// The text as it may be written: without control characters, by which what a model says could move
    /// the cursor or worse, also on a terminal at the end of a pipe.
    fn painted(&self, style: Style, text: &str) -> String {
        let text = harmless(text);
        let code = match style {
            _ if !self.colours => return text,
            Style::Plain => return text,
            Style::Dim => "2",
            Style::Bold => "1",
            Style::Red => "31",
            Style::Green => "32",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A closed output is nobody's loss.
    fn write(&self, main: bool, text: &str) {
        if main || self.is_terminal {
            let mut out = std::io::stdout();
            out.write_all(text.as_bytes()).ok();
            out.flush().ok();
        } else {
            std::io::stderr().write_all(text.as_bytes()).ok();
        }
    }
}

/// The text with a sign in place of each control character but line breaks and tabs.
fn harmless(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\r')
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// At most that many characters of a text on one line.
#[must_use]
pub fn clipped(text: &str, characters: usize) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= characters {
        return line;
    }
    let head: String = line.chars().take(characters.saturating_sub(1)).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_says_cannot_steer_the_terminal() {
        assert_eq!(
            harmless("a\u{1b}[2Jb\r\n\tc\u{9b}"),
            "a\u{fffd}[2Jb\n\tc\u{fffd}"
        );
    }

    #[test]
    fn long_texts_are_clipped_to_one_line() {
        assert_eq!(clipped("a\n b  c", 10), "a b c");
        assert_eq!(clipped("abcdef", 4), "abc…");
    }
}
