//! The tokenizer of a model's own file: byte pairs, merged in the order in which they were learned
//! (Sennrich et al., 2016), over bytes that are written as printable characters (GPT-2's `encoder.py`).

use std::collections::HashMap;

use super::{
    gguf::{Gguf, GgufError, Value},
    pretokens::PreTokens,
};

/// Stands inside of what looks like a mark of the model but is somebody's text. It is no character, and
/// left out when texts become tokens.
const GUARD: char = '\u{fdd0}';
/// Bytes of a piece that are merged together: the time grows with their square.
const MAX_PIECE: usize = 256;

/// Bytes of a token: those of real vocabularies have fewer by far, and the crate of grammars takes no more.
const MAX_TOKEN: usize = 1_000;
/// Bytes of all tokens together, likewise.
const MAX_TOKENS_BYTES: usize = 4_000_000;

/// Kinds of tokens in files.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// A tokenizer.
#[derive(Debug)]
pub(super) struct Tokenizer {
    pretokens: PreTokens,
    /// The bytes of each token.
    tokens: Vec<Vec<u8>>,
    /// Rank and result of each pair.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// Some models have no token for control characters: these are left out.
    bytes: [Option<u32>; 256],
    /// Marks that are tokens as a whole, longest first.
    marks: Vec<(String, u32)>,
    is_control: Vec<bool>,
    ends: Vec<u32>,
    begin: Option<u32>,
    /// Whether texts begin with a mark.
    has_begin: bool,
}

impl Tokenizer {
    /// Reads the metadata.
    pub fn read(gguf: &Gguf) -> Result<Self, GgufError> {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let model = gguf.text(&key("model")).unwrap_or_default();
        let pre = gguf.text(&key("pre")).unwrap_or("default");
        let pretokens = PreTokens::named(pre).filter(|_| model == "gpt2");
        let pretokens = pretokens.ok_or_else(|| {
            GgufError::Unsupported(format!("the tokenizer '{model}' of the kind '{pre}'"))
        })?;
        let (Some(Value::Texts(names)), Some(Value::Texts(merges))) =
            (gguf.value(&key("tokens")), gguf.value(&key("merges")))
        else {
            return Err(GgufError::Damaged("it has no tokens or merges".into()));
        };
        let all: usize = names.iter().map(String::len).sum();
        if all > MAX_TOKENS_BYTES || names.iter().any(|name| name.len() > MAX_TOKEN) {
            return Err(GgufError::Damaged(
                "tokens of its vocabulary are longer than can be".into(),
            ));
        }
        let kinds = match gguf.value(&key("token_type")) {
            Some(Value::Ints(kinds)) => kinds.as_slice(),
            _ => &[],
        };
        let id = |name: &str| {
            let id = gguf.number(&key(name)).filter(|id| *id < names.len())?;
            u32::try_from(id).ok()
        };
        let mut ends: Vec<u32> = ["eos_token_id", "eot_token_id", "eom_token_id"]
            .into_iter()
            .filter_map(id)
            .collect();
        let by_name: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        for mark in ["<|im_end|>", "<|eot_id|>", "<|endoftext|>"] {
            ends.extend(by_name.get(mark));
        }
        ends.sort_unstable();
        ends.dedup();
        let mut tokenizer = Self {
            pretokens,
            tokens: Vec::with_capacity(names.len()),
            merges: merges_of(merges, &by_name),
            bytes: bytes_of(&by_name),
            marks: Vec::new(),
            is_control: Vec::with_capacity(names.len()),
            ends,
            begin: id("bos_token_id"),
            has_begin: matches!(gguf.value(&key("add_bos_token")), Some(Value::Bool(true))),
        };
        tokenizer.take(names, kinds);
        Ok(tokenizer)
    }

    fn take(&mut self, names: &[String], kinds: &[i64]) {
        let byte_of: HashMap<char, u8> = (0..=255).map(|byte| (shown(byte), byte)).collect();
        for (id, name) in (0_u32..).zip(names) {
            let kind = kinds.get(id as usize).copied().unwrap_or_default();
            let is_mark = kind == CONTROL || kind == USER_DEFINED;
            if is_mark && !name.is_empty() {
                self.marks.push((name.clone(), id));
            }
            let bytes: Option<Vec<u8>> = name.chars().map(|c| byte_of.get(&c).copied()).collect();
            let plain = bytes.filter(|_| !is_mark);
            self.tokens
                .push(plain.unwrap_or_else(|| name.clone().into_bytes()));
            self.is_control
                .push(kind == CONTROL || self.ends.contains(&id));
        }
        self.marks
            .sort_by_key(|(mark, _)| std::cmp::Reverse(mark.len()));
    }

    /// The tokens of a prompt, in which the model's marks count as such.
    pub fn prompt(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        if let Some(begin) = self.begin.filter(|_| self.has_begin) {
            out.push(begin);
        }
        let mut rest = text;
        while let Some((at, mark, id)) = self.next_mark(rest) {
            self.plain(rest.get(..at).unwrap_or_default(), &mut out);
            if out.last() != Some(&id) || Some(id) != self.begin {
                out.push(id);
            }
            rest = rest.get(at + mark..).unwrap_or_default();
        }
        self.plain(rest, &mut out);
        out
    }

    fn next_mark(&self, text: &str) -> Option<(usize, usize, u32)> {
        let found = self.marks.iter().filter_map(|(mark, id)| {
            let at = text.find(mark.as_str())?;
            Some((at, mark.len(), *id))
        });
        // The first, and of those at one place the longest.
        found.min_by_key(|(at, length, _)| (*at, std::cmp::Reverse(*length)))
    }

    /// Somebody's text for a prompt: what looks like a mark in it is none.
    pub fn guarded(&self, text: &str) -> String {
        let mut guarded = text.replace(GUARD, "");
        for (mark, _) in &self.marks {
            if guarded.contains(mark.as_str()) {
                let mut letters = mark.chars();
                let broken: String = letters
                    .next()
                    .into_iter()
                    .chain([GUARD])
                    .chain(letters)
                    .collect();
                guarded = guarded.replace(mark.as_str(), &broken);
            }
        }
        guarded
    }

    /// The tokens of a text without marks.
    pub fn plain(&self, text: &str, out: &mut Vec<u32>) {
        let clean;
        let text = if text.contains(GUARD) {
            clean = text.replace(GUARD, "");
            &clean
        } else {
            text
        };
        for piece in self.pretokens.cut(text) {
            for part in piece.as_bytes().chunks(MAX_PIECE) {
                self.merge(part, out);
            }
        }
    }

    fn merge(&self, bytes: &[u8], out: &mut Vec<u32>) {
        let id = |byte: &u8| self.bytes.get(usize::from(*byte)).copied().flatten();
        let mut ids: Vec<u32> = bytes.iter().filter_map(id).collect();
        loop {
            let pairs = ids.iter().zip(ids.iter().skip(1)).enumerate();
            let ranked = pairs.filter_map(|(at, (a, b))| {
                let (rank, merged) = self.merges.get(&(*a, *b))?;
                Some((*rank, at, *merged))
            });
            let Some((_, at, merged)) = ranked.min() else {
                break;
            };
            ids.remove(at);
            if let Some(first) = ids.get_mut(at) {
                *first = merged;
            }
        }
        out.extend(ids);
    }

    /// The bytes of a token; none for marks that say nothing.
    pub fn bytes(&self, token: u32) -> &[u8] {
        if self.is_control(token) {
            return &[];
        }
        self.tokens.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether a token is a mark that says nothing.
    pub fn is_control(&self, token: u32) -> bool {
        self.is_control.get(token as usize).copied().unwrap_or(true)
    }

    /// Whether an answer ends with a token.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The token that ends answers.
    pub fn end(&self) -> u32 {
        self.ends.first().copied().unwrap_or_default()
    }

    /// A mark's text.
    pub fn name(&self, token: Option<u32>) -> String {
        let name = token.and_then(|token| self.tokens.get(token as usize));
        name.map_or_else(String::new, |name| {
            String::from_utf8_lossy(name).into_owned()
        })
    }

    /// The mark with which texts begin.
    pub const fn begin(&self) -> Option<u32> {
        self.begin
    }
}

/// The character that stands for a byte: itself where it can be seen, else one from 256 on.
fn shown(byte: u8) -> char {
    let is_seen = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_seen(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !is_seen(*byte)).count();
    u32::try_from(256 + before)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn merges_of(merges: &[String], ids: &HashMap<&str, u32>) -> HashMap<(u32, u32), (u32, u32)> {
    let ranked = (0_u32..).zip(merges).filter_map(|(rank, merge)| {
        let (a, b) = merge.split_once(' ')?;
        let merged = ids.get(format!("{a}{b}").as_str())?;
        Some(((*ids.get(a)?, *ids.get(b)?), (rank, *merged)))
    });
    ranked.collect()
}

fn bytes_of(ids: &HashMap<&str, u32>) -> [Option<u32>; 256] {
    let mut bytes = [None; 256];
    for (byte, id) in (0..=255_u8).zip(&mut bytes) {
        *id = ids.get(shown(byte).to_string().as_str()).copied();
    }
    bytes
}
