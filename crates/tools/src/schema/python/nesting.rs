//! A bound on how deep a source may nest, checked before it is parsed: a tree as deep as its source is long
//! would need as much stack.

use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, lexer};

use crate::schema::SchemaError;

/// Brackets, blocks and operators within each other; CPython gives up at 200 brackets or 100 blocks.
const MAX_DEPTH: usize = 400;

/// What has been opened and not closed yet, and the operators since the last comma on each level: each may put
/// the rest of its expression one level deeper.
#[derive(Default)]
struct Depth {
    open: Vec<(TokenKind, usize)>,
    /// Operators on the level outside of all brackets.
    outside: usize,
    /// The sum of all operators that count.
    operators: usize,
    blocks: usize,
    /// Whether a token was no Python: the parser may then see other tokens than we do, so nothing is forgotten.
    broken: bool,
}

/// Refuses what nests too deep.
pub fn check(source: &str) -> Result<(), SchemaError> {
    let mut lexer = lexer::lex(source, Mode::Module);
    let mut depth = Depth::default();
    loop {
        let token = lexer.next_token();
        if token == TokenKind::EndOfFile {
            return Ok(());
        }
        depth.take(token);
        if depth.open.len() + depth.operators + depth.blocks > MAX_DEPTH {
            return Err(SchemaError::whole(format!(
                "the source nests more than {MAX_DEPTH} brackets, blocks and operators within each other; \
                 split its longest expression"
            )));
        }
    }
}

impl Depth {
    fn take(&mut self, token: TokenKind) {
        match token {
            TokenKind::Lpar
            | TokenKind::Lsqb
            | TokenKind::Lbrace
            | TokenKind::FStringStart
            | TokenKind::TStringStart => {
                // Calls of calls nest to the left.
                self.count();
                self.open.push((token, 0));
            }
            TokenKind::Rpar
            | TokenKind::Rsqb
            | TokenKind::Rbrace
            | TokenKind::FStringEnd
            | TokenKind::TStringEnd => self.close(token),
            TokenKind::Indent => self.blocks += 1,
            TokenKind::Dedent => self.blocks = self.blocks.saturating_sub(1),
            TokenKind::Comma | TokenKind::Newline | TokenKind::Semi => self.forget(),
            TokenKind::Unknown => self.broken = true,
            TokenKind::Lambda => {
                // Its parameters have commas too, so it counts until the bracket closes.
                self.operators += 1;
                self.open.push((token, 0));
            }
            token if nests(token) => self.count(),
            _ => {}
        }
    }

    fn count(&mut self) {
        self.operators += 1;
        match self.open.last_mut() {
            Some((_, operators)) => *operators += 1,
            None => self.outside += 1,
        }
    }

    fn forget(&mut self) {
        if self.broken {
            return;
        }
        let level = match self.open.last_mut() {
            Some((_, operators)) => operators,
            None => &mut self.outside,
        };
        self.operators = self.operators.saturating_sub(std::mem::take(level));
    }

    fn close(&mut self, token: TokenKind) {
        // Lambdas end with the bracket that holds them.
        while let Some((TokenKind::Lambda, _)) = self.open.last() {
            self.pop();
        }
        let opener = match token {
            TokenKind::Rpar => TokenKind::Lpar,
            TokenKind::Rsqb => TokenKind::Lsqb,
            TokenKind::Rbrace => TokenKind::Lbrace,
            TokenKind::FStringEnd => TokenKind::FStringStart,
            _ => TokenKind::TStringStart,
        };
        if !self.broken && self.open.last().is_some_and(|(open, _)| *open == opener) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((token, operators)) = self.open.pop() {
            let own = usize::from(token == TokenKind::Lambda);
            self.operators = self.operators.saturating_sub(operators + own);
        }
    }
}

/// Whether a token may put what comes before or behind it one level deeper.
const fn nests(token: TokenKind) -> bool {
    matches!(
        token,
        TokenKind::Plus
            | TokenKind::Minus
            | TokenKind::Star
            | TokenKind::DoubleStar
            | TokenKind::Slash
            | TokenKind::DoubleSlash
            | TokenKind::Percent
            | TokenKind::At
            | TokenKind::Vbar
            | TokenKind::Amper
            | TokenKind::CircumFlex
            | TokenKind::LeftShift
            | TokenKind::RightShift
            | TokenKind::Tilde
            | TokenKind::Dot
            | TokenKind::ColonEqual
            | TokenKind::Not
            | TokenKind::And
            | TokenKind::Or
            | TokenKind::If
            | TokenKind::Else
            | TokenKind::Await
            | TokenKind::Yield
            | TokenKind::Colon
    )
}
