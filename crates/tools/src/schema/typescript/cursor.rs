//! A place in the tokens of a source.

use super::lexer::{Kind, Token};
use crate::schema::SchemaError;

/// A place in the tokens of a source.
#[derive(Clone, Copy)]
pub struct Cursor<'a, 's> {
    source: &'s str,
    tokens: &'a [Token<'s>],
    at: usize,
}

impl<'a, 's> Cursor<'a, 's> {
    /// The first token of a source.
    pub const fn new(source: &'s str, tokens: &'a [Token<'s>]) -> Self {
        Self {
            source,
            tokens,
            at: 0,
        }
    }

    /// The token here, comments left out.
    pub fn peek(&self) -> Option<Token<'s>> {
        self.tokens
            .iter()
            .skip(self.at)
            .find(|token| token.kind != Kind::Doc)
            .copied()
    }

    /// The token here, with its comments passed over.
    pub fn next(&mut self) -> Option<Token<'s>> {
        self.doc();
        let token = self.tokens.get(self.at).copied();
        self.at += usize::from(token.is_some());
        token
    }

    /// Passes over comments, and returns the last.
    pub fn doc(&mut self) -> Option<&'s str> {
        let mut last = None;
        while let Some(token) = self.tokens.get(self.at) {
            if token.kind != Kind::Doc {
                break;
            }
            last = Some(token.text);
            self.at += 1;
        }
        last
    }

    /// Whether a mark or word stands here.
    pub fn sees(&self, text: &str) -> bool {
        self.peek().is_some_and(|token| {
            matches!(token.kind, Kind::Mark | Kind::Word) && token.text == text
        })
    }

    /// Passes over a mark or word, if it stands here.
    pub fn eat(&mut self, text: &str) -> bool {
        let found = self.sees(text);
        if found {
            self.next();
        }
        found
    }

    /// Passes over a mark that must stand here.
    pub fn expect(&mut self, text: &str) -> Result<(), SchemaError> {
        if self.eat(text) {
            return Ok(());
        }
        Err(self.error(format!("a '{text}' is missing here")))
    }

    /// A name that must stand here.
    pub fn name(&mut self) -> Result<&'s str, SchemaError> {
        match self.peek() {
            Some(token) if token.kind == Kind::Word => {
                self.next();
                Ok(token.text)
            }
            _ => Err(self.error("a name is missing here")),
        }
    }

    /// Passes over what stands in brackets, from the opening one to the closing one. Nothing happens where no
    /// bracket opens.
    pub fn skip_brackets(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            if token.kind == Kind::Mark {
                match token.text {
                    "(" | "[" | "{" => depth += 1,
                    ")" | "]" | "}" => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            if depth == 0 && !matches!(token.text, ")" | "]" | "}") {
                return;
            }
            self.next();
            if depth == 0 {
                return;
            }
        }
    }

    /// Passes over `<...>`, if it stands here. What is longer than any list of type parameters is none.
    pub fn skip_generics(&mut self) {
        let mut depth = 0_usize;
        for _ in 0..200 {
            let Some(token) = self.peek() else {
                return;
            };
            match token.text {
                "<" => depth += 1,
                ">" => depth = depth.saturating_sub(1),
                _ if depth == 0 => return,
                _ => {}
            }
            self.next();
            if depth == 0 {
                return;
            }
        }
    }

    /// The line here, counted from one.
    pub fn line(&self) -> usize {
        let start = self.peek().map_or(self.source.len(), |token| token.start);
        1 + self
            .source
            .get(..start)
            .unwrap_or_default()
            .matches('\n')
            .count()
    }

    /// An error that stands here.
    pub fn error(&self, reason: impl Into<String>) -> SchemaError {
        SchemaError::at(self.line(), reason)
    }
}
