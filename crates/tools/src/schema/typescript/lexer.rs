//! TypeScript as tokens: enough to find functions and types, and to skip everything else.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name or keyword.
    Word,
    /// A number.
    Number,
    /// A text in quotes, which are a part of the token.
    Text,
    /// A template, or a piece of one.
    Template,
    /// A regular expression.
    Regex,
    /// A comment that documents what follows.
    Doc,
    /// `=>`, `...`, or one other character.
    Mark,
}

/// A token and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'s> {
    /// What it is.
    pub kind: Kind,
    /// Its characters.
    pub text: &'s str,
    /// Its first byte.
    pub start: usize,
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    tokens: Vec<Token<'s>>,
    /// Braces open now.
    braces: usize,
    /// For each template around us, how many braces were open before its `${`.
    templates: Vec<usize>,
}

/// Reads a source as tokens. What makes no sense becomes marks.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        source,
        at: 0,
        tokens: Vec::new(),
        braces: 0,
        templates: Vec::new(),
    };
    while lexer.step() {}
    lexer.tokens
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Takes so many bytes as one token.
    fn push(&mut self, kind: Kind, bytes: usize) {
        let start = self.at;
        self.at = (start + bytes).min(self.source.len());
        if let Some(text) = self.source.get(start..self.at) {
            self.tokens.push(Token { kind, text, start });
        }
    }

    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return false;
        };
        if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(inner) = rest.strip_prefix("/*") {
            let bytes = inner.find("*/").map_or(rest.len(), |end| end + 4);
            if inner.starts_with('*') && !inner.starts_with("*/") {
                self.push(Kind::Doc, bytes);
            } else {
                self.at += bytes;
            }
        } else if is_word(first) {
            let bytes = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let kind = if first.is_ascii_digit() {
                Kind::Number
            } else {
                Kind::Word
            };
            let bytes = match rest.get(bytes..).and_then(|more| more.strip_prefix('.')) {
                Some(more) if kind == Kind::Number => {
                    bytes + 1 + more.find(|c| !is_word(c)).unwrap_or(more.len())
                }
                _ => bytes,
            };
            self.push(kind, bytes);
        } else {
            self.mark(first, rest);
        }
        true
    }

    fn mark(&mut self, first: char, rest: &'s str) {
        match first {
            '"' | '\'' => match quoted(rest, first) {
                Some(bytes) => self.push(Kind::Text, bytes),
                None => self.push(Kind::Mark, 1),
            },
            '`' => self.template(1),
            '}' if self.templates.last() == Some(&self.braces) => {
                self.templates.pop();
                self.template(1);
            }
            '/' if self.regex_may_stand() => match regex(rest) {
                Some(bytes) => self.push(Kind::Regex, bytes),
                None => self.push(Kind::Mark, 1),
            },
            '{' => {
                self.braces += 1;
                self.push(Kind::Mark, 1);
            }
            '}' => {
                self.braces = self.braces.saturating_sub(1);
                self.push(Kind::Mark, 1);
            }
            '=' if rest.starts_with("=>") => self.push(Kind::Mark, 2),
            '.' if rest.starts_with("...") => self.push(Kind::Mark, 3),
            other => self.push(Kind::Mark, other.len_utf8()),
        }
    }

    /// Takes a piece of a template: to its end, or to the next `${`.
    fn template(&mut self, skip: usize) {
        let rest = self.rest();
        let mut escaped = false;
        let mut before = ' ';
        for (at, c) in rest.char_indices().filter(|(at, _)| *at >= skip) {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == '`' {
                return self.push(Kind::Template, at + 1);
            } else if c == '{' && before == '$' {
                self.templates.push(self.braces);
                return self.push(Kind::Template, at + 1);
            }
            before = if escaped { ' ' } else { c };
        }
        self.push(Kind::Template, rest.len());
    }

    /// Whether a `/` begins a regular expression here, rather than divides.
    fn regex_may_stand(&self) -> bool {
        const BEFORE: [&str; 12] = [
            "return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "await",
            "yield", "else",
        ];
        let last = self
            .tokens
            .iter()
            .rev()
            .find(|token| token.kind != Kind::Doc);
        last.is_none_or(|token| match token.kind {
            Kind::Word => BEFORE.contains(&token.text),
            Kind::Mark => !matches!(token.text, ")" | "]" | "}"),
            _ => false,
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The bytes of a text in quotes, if it ends on its line.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(at + 1);
        } else if c == '\n' {
            return None;
        }
    }
    None
}

/// The bytes of a regular expression, if it ends on its line.
fn regex(rest: &str) -> Option<usize> {
    let mut escaped = false;
    let mut class = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => class = true,
            ']' => class = false,
            '/' if !class => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// What a text in quotes says.
pub fn unquoted(text: &str) -> String {
    let mut inner = text.chars();
    inner.next();
    inner.next_back();
    let mut out = String::new();
    while let Some(c) = inner.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match inner.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_texts_templates_and_comments_is_no_code() {
        let source = "const a = `x ${f({b: `}`})} {`; // {\n/* { */ const r = /[/}]\\//g; 'it\\'s {' ; x / y";
        let marks: String = tokens(source)
            .iter()
            .filter(|token| token.kind == Kind::Mark)
            .map(|token| token.text)
            .collect();
        assert_eq!(marks, "=({:});=;;/");
    }
}
