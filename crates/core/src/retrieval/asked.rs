//! What a query asks for: the terms that count, whose words, when, how many.

use super::{
    Index, Query,
    dates::{self, Span},
    documents::Speaker,
    words,
};

/// The share of the turns from which on a speaker's name says nothing about what was said.
const FREQUENT_SPEAKER: f32 = 0.1;

/// Terms of a query that are looked at, so that a pasted page costs no more than a question.
const MAX_TERMS: usize = 64;

/// A query, understood.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The terms that texts are scored by, each once.
    pub terms: Vec<String>,
    /// The person whose words or deeds are asked for.
    pub person: Option<Person>,
    /// It asks when.
    pub when: bool,
    /// It asks how many, how much or how long.
    pub how_many: bool,
    /// The times that it names.
    pub spans: Vec<Span>,
    /// What it says of old and new.
    pub tense: Tense,
    /// All of its terms, also those that do not count.
    pub length: u32,
}

/// Somebody who is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Person {
    /// By a term of the name.
    Named(String),
    /// The one who asks, as `user`, or whom they ask, as `assistant`.
    Role(&'static str),
}

/// Whether what is, or what was, is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tense {
    /// It does not say.
    #[default]
    Open,
    /// What is: "does she", "are they".
    Present,
    /// What is now, in so many words.
    Now,
    /// What was.
    Past,
}

impl Asked {
    /// Understands a query that is put to these indexes.
    pub fn new(query: &Query<'_>, indexes: &[&Index]) -> Self {
        let all = words::terms(query.text);
        let mut asked = Self {
            when: is_when(&all),
            how_many: all
                .windows(2)
                .any(|pair| matches!(pair, [how, what] if how == "how" && QUANTITIES.contains(&what.as_str()))),
            spans: dates::spans(query.text, query.now, query.zone),
            tense: tense(&all),
            length: u32::try_from(all.len()).unwrap_or(u32::MAX),
            ..Self::default()
        };
        let mut terms: Vec<String> = Vec::new();
        for term in &all {
            if !words::is_function_word(term) && !terms.contains(term) && terms.len() < MAX_TERMS {
                terms.push(term.clone());
            }
        }
        let speakers = speakers(indexes);
        let named: Vec<(String, bool)> = terms
            .iter()
            .filter_map(|term| speaks(&speakers, term).map(|often| (term.clone(), often)))
            .collect();
        asked.person = match named.as_slice() {
            [(name, _)] => Some(Person::Named(name.clone())),
            [] => role(&all).map(Person::Role),
            _ => None,
        };
        let without: Vec<String> = terms
            .iter()
            .filter(|term| !named.iter().any(|(name, often)| *often && name == *term))
            .cloned()
            .collect();
        asked.terms = if without.is_empty() { terms } else { without };
        if asked.terms.is_empty() {
            let mut all = all;
            all.dedup();
            all.truncate(MAX_TERMS);
            asked.terms = all;
        }
        asked
    }

    /// For each speaker of an index, whether it is the person who is asked about.
    pub fn is_person(&self, index: &Index) -> Vec<bool> {
        let speakers = index.documents.speakers.iter();
        speakers
            .map(|speaker| match &self.person {
                Some(Person::Named(term)) => speaker.name.contains(term),
                Some(Person::Role(role)) => {
                    matches!(speaker.name.as_slice(), [name] if name == role)
                }
                None => false,
            })
            .collect()
    }
}

/// What follows `how` when a number is asked for.
const QUANTITIES: [&str; 5] = ["mani", "much", "long", "old", "often"];

fn is_when(terms: &[String]) -> bool {
    let has = |wanted: &str| terms.iter().take(4).any(|term| term == wanted);
    has("when")
        || (has("what") || has("which"))
            && ["date", "day", "month", "year", "time"]
                .iter()
                .any(|unit| has(unit))
}

fn tense(terms: &[String]) -> Tense {
    const NOW: [&str; 7] = [
        "now", "current", "nowaday", "latest", "still", "anymor", "today",
    ];
    const FORMERLY: [&str; 8] = [
        "formerli", "former", "previous", "origin", "initi", "first", "earlier", "befor",
    ];
    // In the form of stems, as `words` makes them.
    const PRESENT: [&str; 8] = ["doe", "do", "is", "are", "am", "has", "have", "can"];
    const PAST: [&str; 4] = ["did", "was", "were", "had"];
    let has = |words: &[&str]| terms.iter().any(|term| words.contains(&term.as_str()));
    if has(&NOW) {
        return Tense::Now;
    }
    if has(&FORMERLY) {
        return Tense::Past;
    }
    // The first auxiliary is the question's own.
    let mut found = terms.iter().filter_map(|term| match term.as_str() {
        term if PRESENT.contains(&term) => Some(Tense::Present),
        term if PAST.contains(&term) => Some(Tense::Past),
        _ => None,
    });
    found.next().unwrap_or_default()
}

/// Whose words are asked for where nobody is named.
fn role(terms: &[String]) -> Option<&'static str> {
    let has = |words: &[&str]| terms.iter().any(|term| words.contains(&term.as_str()));
    if has(&["you", "your", "assist"]) {
        Some("assist")
    } else if has(&["i", "me", "my", "we", "our", "user", "mine"]) {
        Some("user")
    } else {
        None
    }
}

/// Whether a term is the name of one of these speakers; and whether they speak often.
fn speaks(speakers: &[&Speaker], term: &str) -> Option<bool> {
    let all: u32 = speakers.iter().map(|speaker| speaker.turns).sum();
    let named = |speaker: &&&Speaker| speaker.name.iter().any(|name| name == term);
    let theirs = speakers.iter().filter(named);
    let theirs: u32 = theirs.map(|speaker| speaker.turns).sum();
    (theirs > 0).then_some(theirs as f32 >= FREQUENT_SPEAKER * all as f32)
}

/// Who speaks in these indexes.
fn speakers<'a>(indexes: &[&'a Index]) -> Vec<&'a Speaker> {
    let talking = indexes.iter().flat_map(|index| {
        let speakers = index.documents.speakers.iter().zip(index.talkers());
        speakers.filter_map(|(speaker, talks)| talks.then_some(speaker))
    });
    talking.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tense_of(text: &str) -> Tense {
        tense(&words::terms(text))
    }

    #[test]
    fn the_tense_of_a_question_is_that_of_its_auxiliary() {
        for text in [
            "Where does Mia live?",
            "What is Tom's job?",
            "Do they have a dog?",
        ] {
            assert_eq!(tense_of(text), Tense::Present, "{text}");
        }
        for text in [
            "Where did Mia go?",
            "Who was there?",
            "What was the first boat?",
        ] {
            assert_eq!(tense_of(text), Tense::Past, "{text}");
        }
        for text in [
            "Where does Mia live now?",
            "Tom's current job",
            "Is he still ill?",
        ] {
            assert_eq!(tense_of(text), Tense::Now, "{text}");
        }
        assert_eq!(tense_of("Mia's garden"), Tense::Open);
    }

    #[test]
    fn questions_for_times_and_numbers_are_told() {
        let when = |text: &str| is_when(&words::terms(text));
        assert!(when("When did she leave?") && when("In which year did she leave?"));
        assert!(!when("What did she say when she left?") && !when("What did she say?"));
    }
}
