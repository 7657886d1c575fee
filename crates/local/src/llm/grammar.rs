//! Answers that have a JSON schema: of each next token it is known whether it can still lead to one.

use std::sync::Arc;

use llguidance::{
    Matcher, ParserFactory,
    api::TopLevelGrammar,
    earley::SlicedBiasComputer,
    toktrie::{
        InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv,
    },
};
use serde_json::{Value, json};

use super::bpe::Tokenizer;

/// What makes grammars for a tokenizer.
pub(super) struct Grammars(ParserFactory);

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grammars")
    }
}

/// The tokenizer as the grammar's crate wants it.
struct Vocabulary {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        match std::str::from_utf8(bytes) {
            Ok(text) => self.tokenizer.plain(text, &mut tokens),
            Err(_) => tokens = self.trie.greedy_tokenize(bytes),
        }
        tokens
    }
}

impl Grammars {
    /// For a tokenizer and a model that has so many tokens. Takes some tenths of a second.
    pub fn new(tokenizer: &Arc<Tokenizer>, vocabulary: usize) -> Result<Self, String> {
        let size = u32::try_from(vocabulary).map_err(|error| error.to_string())?;
        let words: Vec<Vec<u8>> = (0..size)
            .map(|token| {
                if tokenizer.is_control(token) {
                    let mut marked = vec![TokTrie::SPECIAL_TOKEN_MARKER];
                    marked.extend(format!("<[{token}]>").into_bytes());
                    marked
                } else {
                    tokenizer.bytes(token).to_vec()
                }
            })
            .collect();
        let info = TokRxInfo::new(size, tokenizer.end());
        let env: TokEnv = Arc::new(Vocabulary {
            trie: TokTrie::from(&info, &words),
            tokenizer: Arc::clone(tokenizer),
        });
        let able = InferenceCapabilities {
            ff_tokens: true,
            ..InferenceCapabilities::default()
        };
        let slices = SlicedBiasComputer::general_slices();
        let mut factory =
            ParserFactory::new(&env, able, &slices).map_err(|error| error.to_string())?;
        factory.quiet();
        Ok(Self(factory))
    }

    /// A grammar of a schema. The JSON has no spaces, so that what is told again of an answer has the same
    /// tokens as the answer had.
    pub fn of(&self, schema: &Value) -> Result<Grammar, String> {
        let mut schema = schema.clone();
        if let Some(fields) = schema.as_object_mut() {
            let compact = json!({
                "whitespace_flexible": false,
                // Each character in one form only: `\u000D` would be told again as `\r`.
                "json_allowed_escapes": "nrbtf\\\"",
                "item_separator": ",",
                "key_separator": ":",
                "lenient": true,
            });
            fields.insert("x-guidance".to_owned(), compact);
        }
        let grammar = TopLevelGrammar::from_json_schema(schema);
        let matcher = Matcher::new(self.0.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => Err(error),
            None => Ok(Grammar(matcher)),
        }
    }
}

/// Where an answer is in its schema.
pub(super) struct Grammar(Matcher);

impl Grammar {
    /// The tokens that may follow.
    pub fn allowed(&mut self) -> Result<SimpleVob, String> {
        self.0
            .compute_mask_or_eos()
            .map_err(|error| error.to_string())
    }

    /// Takes a token.
    pub fn take(&mut self, token: u32) -> Result<(), String> {
        self.0
            .consume_token(token)
            .map_err(|error| error.to_string())
    }

    /// The tokens that have to follow, which are taken.
    pub fn forced(&mut self) -> Vec<u32> {
        self.0.consume_ff_tokens()
    }

    /// Whether the answer is whole and nothing can follow.
    pub fn is_over(&self) -> bool {
        self.0.is_stopped()
    }
}
