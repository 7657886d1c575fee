//! Texts to search: common words as often as people use them, and rare ones that are made of syllables.

/// The commonest words of English and some everyday ones, the commonest first.
const COMMON: [&str; 120] = [
    "the", "of", "and", "to", "a", "in", "is", "that", "it", "was", "for", "on", "with", "as",
    "he", "be", "at", "she", "by", "had", "not", "are", "but", "from", "or", "have", "they",
    "which", "one", "you", "were", "her", "all", "there", "would", "their", "we", "him", "been",
    "has", "when", "who", "will", "more", "no", "if", "out", "so", "said", "what", "up", "its",
    "about", "into", "than", "them", "can", "only", "other", "new", "some", "time", "could",
    "these", "two", "may", "then", "do", "first", "any", "my", "now", "such", "like", "our",
    "over", "man", "me", "even", "most", "made", "after", "also", "did", "many", "before", "must",
    "through", "back", "years", "where", "much", "your", "way", "well", "down", "should",
    "because", "each", "just", "house", "garden", "doctor", "train", "music", "letter", "morning",
    "water", "school", "friend", "kitchen", "summer", "money", "street", "office", "winter",
    "weekend", "holiday", "birthday", "mother",
];

/// Parts of which rare words are made.
const SYLLABLES: [&str; 32] = [
    "ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "qui", "ro", "su",
    "ta", "ve", "wi", "xo", "zu", "bri", "cla", "dro", "fle", "gri", "pla", "sto", "tri", "ska",
    "mer", "ton", "lin",
];

/// How many rare words there are.
const RARE: u64 = 30_000;

/// Numbers that look random and are always the same (Knuth's MMIX generator).
#[derive(Debug, Clone)]
struct Numbers(u64);

impl Numbers {
    const fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// From 0 up to, and without, 1.
    fn share(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 31) as f64
    }
}

/// A word; the n-th commonest is about as often as 1/n (Zipf).
fn word(numbers: &mut Numbers) -> String {
    let words = COMMON.len() as f64 + RARE as f64;
    let rank = (words.powf(numbers.share()) - 1.0) as u64;
    match usize::try_from(rank).ok().and_then(|rank| COMMON.get(rank)) {
        Some(common) => (*common).to_owned(),
        None => rare(rank),
    }
}

/// The rare word of a number.
fn rare(mut number: u64) -> String {
    let mut word = String::new();
    let syllables = SYLLABLES.len() as u64;
    while number > 0 || word.is_empty() {
        let place = usize::try_from(number % syllables).unwrap_or(0);
        word.push_str(SYLLABLES.get(place).copied().unwrap_or_default());
        number /= syllables;
    }
    word
}

/// The word that only this passage has.
#[must_use]
pub fn mark(number: usize) -> String {
    format!("mark{number}q")
}

/// The text of a passage: about so many words, always the same for a number, and its mark.
#[must_use]
pub fn passage(number: usize, words: usize) -> String {
    let mut numbers = Numbers::of(number as u64);
    let length = words / 2 + usize::try_from(numbers.next()).unwrap_or(0) % words.max(1);
    let mut text: Vec<String> = (0..length).map(|_| word(&mut numbers)).collect();
    text.push(mark(number));
    text.join(" ")
}

/// A question for a passage: some of its words among common ones.
#[must_use]
pub fn question(number: usize, words: usize) -> String {
    let text = passage(number, words);
    let asked = text
        .split(' ')
        .filter(|word| !COMMON.contains(word) && !word.starts_with("mark"));
    let asked: Vec<&str> = asked.take(4).collect();
    format!("what was it about the {} of my friend", asked.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_are_always_the_same_and_each_another() {
        assert_eq!(passage(3, 40), passage(3, 40));
        assert_ne!(passage(3, 40), passage(4, 40));
        assert!(passage(3, 40).ends_with(" mark3q"));
    }

    #[test]
    fn common_words_are_common_and_rare_ones_are_many() {
        let texts: Vec<String> = (0..500).map(|number| passage(number, 40)).collect();
        let words: Vec<&str> = texts.iter().flat_map(|text| text.split(' ')).collect();
        let of = words.iter().filter(|word| **word == "of").count() as f64 / words.len() as f64;
        assert!((0.02..0.08).contains(&of), "{of}");
        let average = words.len() as f64 / texts.len() as f64;
        assert!((35.0..46.0).contains(&average), "{average}");
        let distinct: std::collections::HashSet<&str> = words.iter().copied().collect();
        assert!(distinct.len() > 4_000, "{}", distinct.len());
    }

    #[test]
    fn a_question_holds_words_of_its_passage() {
        let text = passage(7, 40);
        let question = question(7, 40);
        let shared = question
            .split(' ')
            .filter(|word| !COMMON.contains(word) && text.contains(word));
        assert!(shared.count() >= 3, "{question} / {text}");
    }
}
