//! From text to terms: the one analysis that all texts and all queries go through.
//!
//! Letters are folded (case, width, accents), English words are reduced to their stems (Porter2, see
//! snowballstem.org) after irregular forms were led back to their base, and scripts that are written
//! without spaces are cut into pairs of characters.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::irregular::{BASE_FORMS, FUNCTION_WORDS};

/// Bytes of a term at the most: longer ones are data, not words, and are found by their beginning.
const MAX_TERM: usize = 48;

static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

static BASES: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    BASE_FORMS
        .lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(base, forms)| forms.split_whitespace().map(move |form| (form, base)))
        .collect()
});

static STEMMED_FUNCTION_WORDS: LazyLock<std::collections::HashSet<String>> = LazyLock::new(|| {
    FUNCTION_WORDS
        .split_whitespace()
        .map(|word| stem(word).into_owned())
        .collect()
});

/// Calls `each` with every term of a text, in order.
fn for_each_term(text: &str, each: impl FnMut(&str)) {
    scan(text, each, |_| {});
}

/// Calls `each` with every term of a text, in order, and `single` with every character that is only part of
/// pairs, so that a text is found by it too.
pub(super) fn scan(text: &str, mut each: impl FnMut(&str), mut single: impl FnMut(&str)) {
    let folded = fold(text);
    let mut word = String::new();
    let mut unspaced: Option<char> = None;
    let mut chars = folded.chars().peekable();
    while let Some(c) = chars.next() {
        if is_unspaced(c) {
            flush(&mut word, &mut each);
            let after = chars.peek().copied();
            if unspaced.is_some() || after.is_some_and(is_unspaced) {
                single(c.encode_utf8(&mut [0; 4]));
            }
            pair(unspaced, c, after, &mut each);
            unspaced = Some(c);
            continue;
        }
        unspaced = None;
        if c.is_alphanumeric() || is_mark(c) {
            word.push(c);
        } else if matches!(c, '\'' | '\u{2019}')
            && !word.is_empty()
            && chars.peek().is_some_and(|next| next.is_alphabetic())
        {
            word.push('\'');
        } else {
            flush(&mut word, &mut each);
        }
    }
    flush(&mut word, &mut each);
}

/// The terms of a text, in order.
#[must_use]
pub fn terms(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for_each_term(text, |term| found.push(term.to_owned()));
    found
}

/// Whether a term carries no meaning of its own, such as the articles and question words.
#[must_use]
pub fn is_function_word(term: &str) -> bool {
    STEMMED_FUNCTION_WORDS.contains(term)
}

fn flush(word: &mut String, each: &mut impl FnMut(&str)) {
    if word.is_empty() {
        return;
    }
    // "Mia's" is about Mia, and "don't" is a word of its own.
    let bare = word.strip_suffix("'s").unwrap_or(word);
    let plain: Cow<'_, str> = if bare.contains('\'') {
        bare.replace('\'', "").into()
    } else {
        bare.into()
    };
    let cut = plain.floor_char_boundary(MAX_TERM);
    each(&stem(plain.get(..cut).unwrap_or_default()));
    word.clear();
}

/// A character of a script without spaces goes with the one before it, or alone where it stands alone.
fn pair(before: Option<char>, c: char, after: Option<char>, each: &mut impl FnMut(&str)) {
    match before {
        Some(before) => each(&String::from_iter([before, c])),
        None if !after.is_some_and(is_unspaced) => each(&c.to_string()),
        None => {}
    }
}

fn stem(word: &str) -> Cow<'_, str> {
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Cow::Borrowed(word);
    }
    let word = BASES.get(word).copied().unwrap_or(word);
    STEMMER.stem(word)
}

/// The text in lower case, in its compatibility form, and without accents.
fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    let plain = is_nfkc_quick(text.chars()) == IsNormalized::Yes && !text.chars().any(has_accent);
    if plain {
        return Cow::Owned(text.to_lowercase());
    }
    let folded = text
        .nfkd()
        .filter(|c| !is_accent(*c))
        .nfc()
        .flat_map(char::to_lowercase);
    Cow::Owned(folded.collect())
}

/// Combining marks of the European scripts; those of other scripts make other letters.
const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Letters that are written with one.
const fn has_accent(c: char) -> bool {
    matches!(c, '\u{c0}'..='\u{24f}' | '\u{300}'..='\u{3ff}' | '\u{400}'..='\u{45f}' | '\u{1e00}'..='\u{1fff}')
}

/// Vowel signs and other marks that are parts of words in scripts such as Devanagari.
fn is_mark(c: char) -> bool {
    use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};
    !c.is_ascii() && c.general_category_group() == GeneralCategoryGroup::Mark
}

/// Scripts that are written without spaces: Chinese, Japanese, Thai, Lao, Burmese, Khmer.
const fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_found_in_all_their_forms() {
        for (one, other) in [
            ("painting", "painted"),
            ("He went home", "he goes home"),
            ("bought", "buying"),
            ("children", "child"),
            ("Café Zürich", "cafe zurich"),
            ("Mia's boat", "mia boat"),
            ("Ｆｕｌｌ width", "full width"),
            ("don\u{2019}t", "don't"),
        ] {
            assert_eq!(terms(one), terms(other), "{one} / {other}");
        }
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_pairs() {
        assert_eq!(terms("東京都"), ["東京", "京都"]);
        assert_eq!(terms("猫 and 犬"), ["猫", "and", "犬"]);
        assert!(terms("เชียงใหม่").len() > 4);
    }

    #[test]
    fn identifiers_and_numbers_are_words() {
        assert_eq!(terms("user_id=42, v3.5"), ["user", "id", "42", "v3", "5"]);
        assert_eq!(terms("हिन्दी"), ["हिन्दी"]);
    }

    #[test]
    fn function_words_are_known_in_the_form_that_they_are_indexed_in() {
        for word in [
            "what", "did", "the", "their", "was", "does", "having", "there's",
        ] {
            let term = terms(word).remove(0);
            assert!(is_function_word(&term), "{word} -> {term}");
        }
        assert!(!is_function_word(&terms("violin")[0]));
    }

    #[test]
    fn no_form_stands_for_two_words_and_every_base_is_its_own() {
        let forms: Vec<&str> = BASE_FORMS
            .lines()
            .filter_map(|line| line.split_once(':'))
            .flat_map(|(_, forms)| forms.split_whitespace())
            .collect();
        let different: std::collections::HashSet<&&str> = forms.iter().collect();
        assert_eq!(forms.len(), different.len());
    }

    proptest! {
        #[test]
        fn any_text_has_terms_that_are_short_and_hold_no_space(text in "\\PC{0,80}") {
            for term in terms(&text) {
                prop_assert!(!term.is_empty() && term.len() <= MAX_TERM + 4);
                prop_assert!(!term.contains(char::is_whitespace));
            }
        }

        #[test]
        fn case_and_what_stands_between_words_change_nothing(words in "[a-z]{1,8}( [a-z]{1,8}){0,6}") {
            let other = words.to_uppercase().replace(' ', " -- ");
            prop_assert_eq!(terms(&words), terms(&other));
        }
    }
}
