//! What a TypeScript source appears to need, by its tokens.

use std::collections::BTreeSet;

use super::{COMPUTED, Needs, known};
use crate::schema::typescript_tokens::{Kind, Token, tokens};

/// Functions of the module `fs`.
const READS: &str = "readFile readFileSync readdir readdirSync stat statSync lstat existsSync access accessSync \
    createReadStream open openSync opendir realpath readlink watch";
const WRITES: &str = "writeFile writeFileSync appendFile appendFileSync createWriteStream mkdir mkdirSync rm rmSync rmdir \
    rmdirSync unlink unlinkSync rename renameSync copyFile copyFileSync cp cpSync chmod chmodSync symlink truncate";
/// Functions of the module `child_process`.
const PROGRAMS: &str = "exec execSync execFile execFileSync spawn spawnSync fork";
/// Globals that reach the network.
const NETWORK: &str = "fetch WebSocket EventSource XMLHttpRequest";
/// Globals that run code that is not there to be read.
const UNSEEN: &str = "eval Function";

pub(super) fn audit(source: &str, requirements: &[&str]) -> Needs {
    let tokens = tokens(source);
    let tokens = tokens
        .into_iter()
        .filter(|token| token.kind != Kind::Doc)
        .collect();
    let mut reader = Reader {
        tokens,
        needs: Needs::default(),
        files: BTreeSet::new(),
        processes: BTreeSet::new(),
    };
    for at in 0..reader.tokens.len() {
        reader.import(at, requirements);
    }
    for at in 0..reader.tokens.len() {
        reader.token(at);
    }
    reader.needs
}

struct Reader<'s> {
    tokens: Vec<Token<'s>>,
    needs: Needs,
    /// Names that were imported from `fs`, and from `child_process`.
    files: BTreeSet<&'s str>,
    processes: BTreeSet<&'s str>,
}

fn is_one(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}

impl<'s> Reader<'s> {
    /// The text of a token; empty beyond both ends.
    fn text(&self, at: Option<usize>) -> &'s str {
        at.and_then(|at| self.tokens.get(at))
            .map_or("", |token| token.text)
    }

    fn before(&self, at: usize, by: usize) -> &'s str {
        self.text(at.checked_sub(by))
    }

    fn after(&self, at: usize, by: usize) -> &'s str {
        self.text(at.checked_add(by))
    }

    fn import(&mut self, at: usize, requirements: &[&str]) {
        let Some(token) = self.tokens.get(at).filter(|token| token.kind == Kind::Text) else {
            return;
        };
        let is_called =
            self.before(at, 1) == "(" && matches!(self.before(at, 2), "require" | "import");
        if !is_called && !matches!(self.before(at, 1), "from" | "import") {
            return;
        }
        let path = unquoted(token.text);
        let path = path.strip_prefix("node:").unwrap_or(path);
        if path.starts_with(['.', '/']) {
            return;
        }
        let parts = if path.starts_with('@') { 2 } else { 1 };
        let name = path.split('/').take(parts).collect::<Vec<_>>().join("/");
        if known::is_node_network(&name) {
            self.needs.network.insert(name.clone());
        }
        match name.as_str() {
            "fs" => self.files.extend(self.bound(at)),
            "child_process" => self.processes.extend(self.bound(at)),
            "vm" => _ = self.needs.unseen.insert(name),
            _ if known::is_node_module(&name) || requirements.contains(&name.as_str()) => {}
            _ => _ = self.needs.packages.insert(name),
        }
    }

    /// The names to which an import binds what it brings: the words back to its beginning.
    fn bound(&self, at: usize) -> Vec<&'s str> {
        let begins =
            |token: &&Token<'_>| matches!(token.text, "import" | "const" | "let" | "var" | ";");
        let before = self.tokens.iter().take(at).rev();
        // `import(...)` and `require(...)` stand before their own beginning.
        let skipped = before.skip_while(|token| {
            matches!(
                token.text,
                "(" | "require" | "import" | "await" | "=" | "from"
            )
        });
        let words = skipped.take_while(|token| !begins(token));
        words
            .filter(|token| token.kind == Kind::Word)
            .map(|token| token.text)
            .collect()
    }

    fn token(&mut self, at: usize) {
        let Some(token) = self.tokens.get(at).copied() else {
            return;
        };
        match token.kind {
            Kind::Text => self.needs.addresses(unquoted(token.text)),
            Kind::Template => {
                // What follows a template's piece is computed.
                let text = token.text.replace("${", "{");
                self.needs
                    .addresses(text.trim_start_matches(['`', '}']).trim_end_matches('`'));
            }
            Kind::Word
                if token.text == "process"
                    && self.after(at, 1) == "."
                    && self.after(at, 2) == "env" =>
            {
                self.environment(at);
            }
            Kind::Word if matches!(self.after(at, 1), "(") => self.call(at, token.text),
            _ => {}
        }
    }

    /// `process.env` at a place: which variables are meant.
    fn environment(&mut self, at: usize) {
        let name = match (self.after(at, 3), self.after(at, 4)) {
            (".", name) => name,
            ("[", name) if name.starts_with(['"', '\'']) => unquoted(name),
            _ if self.before(at, 1) == "=" && self.before(at, 2) == "}" => {
                return self.taken_apart(at);
            }
            _ => COMPUTED,
        };
        self.needs.variables.insert(name.to_owned());
    }

    /// `const { A, B: b = 1 } = process.env`.
    fn taken_apart(&mut self, at: usize) {
        let mut inner = at.saturating_sub(3);
        loop {
            let is_name = self
                .tokens
                .get(inner)
                .is_some_and(|token| token.kind == Kind::Word);
            if is_name && matches!(self.before(inner, 1), "{" | ",") {
                self.needs
                    .variables
                    .insert(self.text(Some(inner)).to_owned());
            }
            if inner == 0 || self.before(inner, 1) == "{" {
                return;
            }
            inner -= 1;
        }
    }

    fn call(&mut self, at: usize, name: &str) {
        let is_member = self.before(at, 1) == ".";
        let object = if is_member { self.before(at, 2) } else { name };
        // `fs.promises.readFile` belongs to fs.
        let owner = if object == "promises" && self.before(at, 3) == "." {
            self.before(at, 4)
        } else {
            object
        };
        if self.files.contains(owner) && is_one(READS, name) {
            let file = self.argument(at);
            self.needs.reads.insert(file);
        } else if self.files.contains(owner) && is_one(WRITES, name) {
            let file = self.argument(at);
            self.needs.writes.insert(file);
        } else if self.processes.contains(owner) && is_one(PROGRAMS, name) {
            let line = self.argument(at);
            let program = if line == COMPUTED {
                &line
            } else {
                line.split_whitespace().next().unwrap_or(COMPUTED)
            };
            self.needs.programs.insert(program.to_owned());
        } else if !is_member && is_one(NETWORK, name) {
            self.needs.network.insert(name.to_owned());
        } else if !is_member && is_one(UNSEEN, name) && self.before(at, 1) != "function" {
            self.needs.unseen.insert(name.to_owned());
        }
    }

    /// The first argument of a call, where it is a plain text.
    fn argument(&self, at: usize) -> String {
        let place = at + 2;
        match self.tokens.get(place) {
            Some(token) if token.kind == Kind::Text => unquoted(token.text).to_owned(),
            Some(token)
                if token.kind == Kind::Template
                    && token.text.ends_with('`')
                    && token.text.len() > 2 =>
            {
                token.text.trim_matches('`').to_owned()
            }
            _ => COMPUTED.to_owned(),
        }
    }
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}
