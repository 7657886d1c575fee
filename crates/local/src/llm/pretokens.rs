//! Cuts texts into the pieces within which byte pairs are merged. Each kind of tokenizer has a pattern of
//! its own (the `tokenizer.json` of GPT-2, SmolLM2, Qwen2 and Llama 3).

use regex::Regex;

/// How texts are cut.
#[derive(Debug, Clone)]
pub(super) struct PreTokens {
    pattern: Regex,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gpt2,
    /// As GPT-2 after every digit was taken out.
    Smol,
    /// Line breaks end what stands before them; digits stand in groups of up to so many.
    Lines,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const SMOL: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

impl PreTokens {
    /// Those of a name that files use; nothing for one that is not known.
    pub fn named(name: &str) -> Option<Self> {
        let (pattern, kind) = match name {
            "gpt-2" | "default" => (GPT2, Kind::Gpt2),
            "smollm" => (SMOL, Kind::Smol),
            "qwen2" => (QWEN2, Kind::Lines),
            "llama-bpe" | "llama3" | "llama-v3" => (LLAMA3, Kind::Lines),
            _ => return None,
        };
        // The patterns are tested.
        Regex::new(pattern)
            .ok()
            .map(|pattern| Self { pattern, kind })
    }

    /// The pieces of a text.
    pub fn cut<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(found) = self
            .pattern
            .find_at(text, at)
            .filter(|found| !found.is_empty())
        {
            let end = found.end() - self.given_back(found.as_str(), text.get(found.end()..));
            pieces.extend(text.get(at..end));
            at = end;
        }
        pieces.extend(text.get(at..).filter(|rest| !rest.is_empty()));
        pieces
    }

    /// Bytes of a run of spaces that belong to what follows: its last character, unless that is all or
    /// nothing follows. The patterns say so by looking ahead (`\s+(?!\S)|\s+`).
    fn given_back(&self, found: &str, rest: Option<&str>) -> usize {
        let Some(next) = rest.and_then(|rest| rest.chars().next()) else {
            return 0;
        };
        let mut spaces = found.chars().rev();
        let Some(last) = spaces.next().filter(|last| last.is_whitespace()) else {
            return 0;
        };
        let is_run = spaces.next().is_some() && found.chars().all(char::is_whitespace);
        let is_whole = match self.kind {
            Kind::Gpt2 => false,
            Kind::Smol => next.is_numeric(),
            Kind::Lines => matches!(last, '\r' | '\n'),
        };
        if is_run && !is_whole {
            last.len_utf8()
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 4] = ["gpt-2", "smollm", "qwen2", "llama-bpe"];

    fn cut(name: &str, text: &str) -> Vec<String> {
        let pieces = PreTokens::named(name).unwrap();
        pieces.cut(text).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn each_kind_cuts_as_its_pattern_says() {
        for (name, text, pieces) in [
            ("gpt-2", "I'm  42 now", vec!["I", "'m", " ", " 42", " now"]),
            (
                "smollm",
                "a  42\n\nb",
                vec!["a", "  ", "4", "2", "\n", "\n", "b"],
            ),
            (
                "qwen2",
                "a  42\n\nb c",
                vec!["a", " ", " ", "4", "2", "\n\n", "b", " c"],
            ),
            ("qwen2", "x; \n  y", vec!["x", ";", " \n", " ", " y"]),
            ("llama-bpe", "1234 I'M", vec!["123", "4", " I", "'M"]),
        ] {
            assert_eq!(cut(name, text), pieces, "{name}: {text:?}");
        }
        assert!(PreTokens::named("tekken").is_none());
    }

    proptest! {
        #[test]
        fn nothing_of_a_text_is_lost(text in "\\PC{0,40}|[ \\na1'é\u{3000}]{0,40}") {
            for name in NAMES {
                prop_assert_eq!(cut(name, &text).concat(), text.clone());
            }
        }
    }
}
