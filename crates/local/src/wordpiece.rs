//! BERT's tokenizer: normalisation, words, and pieces of words.
//!
//! It follows the reference (github.com/google-research/bert, `tokenization.py`) as the models'
//! `tokenizer.json` configures it: lower case without accents. One thing differs on purpose: `[CLS]` and
//! the like in a text are plain text, so that no text can pass for a mark.

use std::{collections::HashMap, io, ops::Range, path::Path};

use serde::Deserialize;
use unicode_normalization::char::decompose_canonical;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// Characters from which on a word counts as one unknown piece.
const LONG_WORD: usize = 100;
/// What pieces within a word begin with.
const WITHIN: &str = "##";

/// The part of `tokenizer.json` that we use.
#[derive(Deserialize)]
struct Stored {
    model: StoredModel,
}

#[derive(Deserialize)]
struct StoredModel {
    vocab: HashMap<Box<str>, u32>,
}

/// A word, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its bytes in the text.
    pub place: Range<usize>,
    /// In lower case, without accents.
    pub normal: String,
}

/// The tokenizer.
#[derive(Debug)]
pub struct WordPiece {
    /// Pieces that begin a word.
    first: HashMap<Box<str>, u32>,
    /// Pieces within one, without the mark.
    within: HashMap<Box<str>, u32>,
    unknown: u32,
    begin: u32,
    end: u32,
}

impl WordPiece {
    /// Reads the vocabulary of a `tokenizer.json`.
    ///
    /// # Errors
    /// The file cannot be read, or holds no such vocabulary.
    pub fn load(path: &Path) -> io::Result<Self> {
        let stored: Stored = serde_json::from_slice(&std::fs::read(path)?)?;
        Self::new(stored.model.vocab).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the vocabulary has no marks")
        })
    }

    fn new(vocabulary: HashMap<Box<str>, u32>) -> Option<Self> {
        let mark = |name: &str| vocabulary.get(name).copied();
        let (unknown, begin, end) = (mark("[UNK]")?, mark("[CLS]")?, mark("[SEP]")?);
        let (mut first, mut within) = (HashMap::new(), HashMap::new());
        for (piece, id) in vocabulary {
            match piece.strip_prefix(WITHIN) {
                Some(rest) if !rest.is_empty() => within.insert(rest.into(), id),
                _ => first.insert(piece, id),
            };
        }
        first.shrink_to_fit();
        within.shrink_to_fit();
        Some(Self {
            first,
            within,
            unknown,
            begin,
            end,
        })
    }

    /// The pieces of a text between its two marks, cut at `limit`.
    #[must_use]
    pub fn encode(&self, text: &str, limit: usize) -> Vec<u32> {
        let mut ids = vec![self.begin];
        words(text, &mut |word| {
            self.pieces(&word.normal, &mut ids);
            ids.len() < limit
        });
        ids.truncate(limit.saturating_sub(1));
        ids.push(self.end);
        ids
    }

    /// The words of a text with the number of their pieces.
    #[must_use]
    pub fn spans(&self, text: &str) -> Vec<mnemic_core::chunks::Span> {
        let (mut spans, mut ids) = (Vec::new(), Vec::new());
        words(text, &mut |word| {
            ids.clear();
            self.pieces(&word.normal, &mut ids);
            spans.push(mnemic_core::chunks::Span {
                place: word.place,
                tokens: ids.len(),
            });
            true
        });
        spans
    }

    /// Cuts a word into the longest pieces from its beginning on.
    fn pieces(&self, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        if word.chars().count() > LONG_WORD {
            ids.push(self.unknown);
            return;
        }
        let mut rest = word;
        let mut vocabulary = &self.first;
        while !rest.is_empty() {
            let found = ends(rest).find_map(|end| {
                let piece = rest.get(..end)?;
                vocabulary.get(piece).map(|id| (*id, end))
            });
            let Some((id, end)) = found else {
                ids.truncate(before);
                ids.push(self.unknown);
                return;
            };
            ids.push(id);
            rest = rest.get(end..).unwrap_or_default();
            vocabulary = &self.within;
        }
    }
}

/// The places after each character of a text, the last one first.
fn ends(text: &str) -> impl Iterator<Item = usize> + '_ {
    let starts = text.char_indices().map(|(at, _)| at).rev();
    std::iter::once(text.len()).chain(starts.filter(|at| *at > 0))
}

/// Hands over the words of a text, as long as `take` wants more.
fn words(text: &str, take: &mut dyn FnMut(Word) -> bool) {
    let mut open: Option<Word> = None;
    for (at, letter) in text.char_indices() {
        let place = at..at + letter.len_utf8();
        match kind(letter) {
            Kind::Nothing => continue,
            Kind::Space => {
                if !open.take().is_none_or(&mut *take) {
                    return;
                }
                continue;
            }
            Kind::Alone => {
                if !open.take().is_none_or(&mut *take) {
                    return;
                }
                let mut normal = String::new();
                normalise(letter, &mut |letter| normal.push(letter));
                if !take(Word { place, normal }) {
                    return;
                }
                continue;
            }
            Kind::Letter => {}
        }
        let mut more = true;
        normalise(letter, &mut |letter| {
            if is_punctuation(letter) {
                more = more && open.take().is_none_or(&mut *take);
                let normal = letter.to_string();
                let place = place.clone();
                more = more && take(Word { place, normal });
                return;
            }
            let word = open.get_or_insert_with(|| Word {
                place: place.clone(),
                normal: String::new(),
            });
            word.normal.push(letter);
            word.place.end = place.end;
        });
        if !more {
            return;
        }
    }
    if let Some(word) = open {
        take(word);
    }
}

enum Kind {
    /// Not there at all.
    Nothing,
    /// Between words.
    Space,
    /// A word of its own.
    Alone,
    /// Part of a word.
    Letter,
}

fn kind(letter: char) -> Kind {
    if letter.is_ascii_alphanumeric() {
        return Kind::Letter;
    }
    match letter {
        '\t' | '\n' | '\r' | ' ' => return Kind::Space,
        '\0' | '\u{FFFD}' => return Kind::Nothing,
        _ => {}
    }
    let other = letter.general_category_group() == GeneralCategoryGroup::Other
        && letter.general_category() != GeneralCategory::Unassigned;
    if other {
        Kind::Nothing
    } else if letter.is_whitespace() {
        Kind::Space
    } else if is_chinese(letter) || is_punctuation(letter) {
        Kind::Alone
    } else {
        Kind::Letter
    }
}

/// Lower case without accents.
fn normalise(letter: char, take: &mut dyn FnMut(char)) {
    if letter.is_ascii() {
        take(letter.to_ascii_lowercase());
        return;
    }
    decompose_canonical(letter, |part| {
        if part.general_category() != GeneralCategory::NonspacingMark {
            part.to_lowercase().for_each(&mut *take);
        }
    });
}

fn is_punctuation(letter: char) -> bool {
    letter.is_ascii_punctuation()
        || (!letter.is_ascii()
            && letter.general_category_group() == GeneralCategoryGroup::Punctuation)
}

/// Whether a letter is one of the CJK ideographs, each of which is a word; the blocks are those of the
/// reference.
fn is_chinese(letter: char) -> bool {
    matches!(letter,
        '\u{4E00}'..='\u{9FFF}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{20000}'..='\u{2A6DF}'
        | '\u{2A700}'..='\u{2B73F}'
        | '\u{2B740}'..='\u{2B81F}'
        | '\u{2B820}'..='\u{2CEAF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{2F800}'..='\u{2FA1F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> WordPiece {
        let pieces = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##want", "##ed", "runn", "##ing", ",",
            "cafe", "日",
        ];
        let vocabulary = pieces
            .iter()
            .zip(0..)
            .map(|(piece, id)| ((*piece).into(), id));
        WordPiece::new(vocabulary.collect()).unwrap()
    }

    #[test]
    fn words_are_cut_into_the_longest_pieces() {
        let ids = |text| tokenizer().encode(text, 256);
        assert_eq!(ids("UNwantéd,running"), [2, 4, 5, 6, 9, 7, 8, 3]);
        assert_eq!(ids("  cafe\u{301}\u{0}\n日日 "), [2, 10, 11, 11, 3]);
        assert_eq!(
            ids("unwantedx"),
            [2, 1, 3],
            "a word that no pieces make up is unknown"
        );
        assert_eq!(ids("[SEP]")[1..4], [1, 1, 1], "marks in a text are text");
        assert_eq!(ids(""), [2, 3]);
    }

    #[test]
    fn a_text_is_cut_at_the_limit_with_its_end_mark_kept() {
        let ids = tokenizer().encode(&"un ".repeat(1000), 8);
        assert_eq!(ids, [2, 4, 4, 4, 4, 4, 4, 3]);
    }

    #[test]
    fn spans_say_where_words_stand() {
        let spans = tokenizer().spans("  Café, unwanted");
        let places: Vec<_> = spans
            .iter()
            .map(|span| (span.place.clone(), span.tokens))
            .collect();
        assert_eq!(places, [(2..7, 1), (7..8, 1), (9..17, 3)]);
    }
}
