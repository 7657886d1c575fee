//! What the outer form of a text tells: who speaks, whether it only asks, whether it names times or numbers.

use super::words;

/// Characters of a speaker's name that a text begins with, at the most.
const LONGEST_NAME: usize = 40;
/// Words of such a name at the most.
const NAME_WORDS: usize = 3;

/// Words that tell a time, in the form that they are indexed in.
const TIME_WORDS: &str = "today tonight yesterday tomorrow morning afternoon evening night noon midnight \
    monday tuesday wednesday thursday friday saturday sunday weekend weekday week month year decade \
    january february march april may june july august september october november december \
    spring summer autumn fall winter ago last next recently lately soon earlier later since birthday \
    anniversary christmas easter thanksgiving halloween";

/// Words that tell how many, besides digits.
const NUMBER_WORDS: &str = "two three four five six seven eight nine ten eleven twelve dozen hundred thousand \
    million twice thrice couple several few half double pair";

/// The outer form of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Form(u8);

impl Form {
    const ASKS: u8 = 1;
    const TIME: u8 = 2;
    const NUMBER: u8 = 4;

    /// The form of a text as its end shows it; what its words show is added term by term.
    pub fn of_end(text: &str) -> Self {
        let asks = text.trim_end().ends_with(['?', '？']);
        Self(if asks { Self::ASKS } else { 0 })
    }

    /// What a term shows of the text that holds it.
    pub fn of_term(term: &str) -> Self {
        let mut bits = 0;
        if is_time_word(term) {
            bits |= Self::TIME;
        }
        if is_number_word(term) {
            bits |= Self::NUMBER;
        }
        Self(bits)
    }

    /// Both together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// It ends with a question.
    pub const fn asks(self) -> bool {
        self.0 & Self::ASKS != 0
    }

    /// It names a time.
    pub const fn tells_time(self) -> bool {
        self.0 & Self::TIME != 0
    }

    /// It names a number.
    pub const fn tells_number(self) -> bool {
        self.0 & Self::NUMBER != 0
    }
}

fn is_time_word(term: &str) -> bool {
    static WORDS: std::sync::LazyLock<std::collections::HashSet<String>> =
        std::sync::LazyLock::new(|| words::terms(TIME_WORDS).into_iter().collect());
    // Years are times, whatever stands around them.
    let is_year = term.len() == 4
        && (term.starts_with("19") || term.starts_with("20"))
        && term.bytes().all(|byte| byte.is_ascii_digit());
    is_year || WORDS.contains(term)
}

fn is_number_word(term: &str) -> bool {
    static WORDS: std::sync::LazyLock<std::collections::HashSet<String>> =
        std::sync::LazyLock::new(|| words::terms(NUMBER_WORDS).into_iter().collect());
    term.bytes().any(|byte| byte.is_ascii_digit()) || WORDS.contains(term)
}

/// The name that a text begins with, as transcripts do ("Mia: ...", "[8 May 2023] Mia Berg: ..."), and the
/// rest.
pub(super) fn split_speaker(text: &str) -> (Option<&str>, &str) {
    let text = text.trim_start();
    let after_stamp = match text.strip_prefix('[').or_else(|| text.strip_prefix('(')) {
        Some(rest) => match rest.find([']', ')']) {
            Some(end) if end <= LONGEST_NAME => {
                rest.get(end + 1..).unwrap_or_default().trim_start()
            }
            _ => return (None, text),
        },
        None => text,
    };
    let head_end = after_stamp.floor_char_boundary(LONGEST_NAME + 1);
    let head = after_stamp.get(..head_end).unwrap_or_default();
    let Some(colon) = head.find(':') else {
        return (None, text);
    };
    let name = head.get(..colon).unwrap_or_default();
    let said = after_stamp.get(colon + 1..).unwrap_or_default();
    let is_word = |word: &str| {
        let mut letters = word.chars();
        letters.next().is_some_and(|c| c.is_alphabetic())
            && letters
                .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '\'' | '\u{2019}' | '_'))
    };
    let words: Vec<&str> = name.split(' ').collect();
    let is_name = words.len() <= NAME_WORDS && words.iter().all(|word| is_word(word));
    // A clock time or an address has no space behind its colon.
    if is_name && said.starts_with([' ', '\n']) && said.trim().len() > 1 {
        (Some(name), said)
    } else {
        (None, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcripts_speaker_is_found() {
        for (text, name) in [
            ("Mia: I am home.", Some("Mia")),
            ("[8 May 2023, 1:56 pm] Mia Berg: Hello", Some("Mia Berg")),
            ("user: hello", Some("user")),
            ("http://example.com is down", None),
            ("Meeting at 10: bring cake", None),
            ("The plan for the coming week was this: eat", None),
            ("12: twelve", None),
            ("[x] y", None),
            ("", None),
        ] {
            assert_eq!(split_speaker(text).0, name, "{text}");
        }
    }

    #[test]
    fn questions_times_and_numbers_show_in_the_form() {
        let form = |text: &str| {
            let terms = words::terms(text);
            terms.iter().fold(Form::of_end(text), |form, term| {
                form.with(Form::of_term(term))
            })
        };
        assert!(form("It is gone. Where is it?").asks());
        assert!(!form("Where is it? It is gone.").asks());
        assert!(form("We met last Friday").tells_time() && form("back in 1999").tells_time());
        assert!(form("She has three cats").tells_number() && form("it cost 40").tells_number());
        assert_eq!(form("It is gone."), Form::default());
    }
}
