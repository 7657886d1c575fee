//! What an index holds of each text besides its words, column by column.

use std::collections::HashMap;

use super::{
    Document, Filter, Kind, Tags,
    form::{Form, split_speaker},
};
use crate::time::Timestamp;

/// No text.
pub(super) const NONE: u32 = u32::MAX;

/// A pause that parts two sittings of one thread, in microseconds: six hours.
const PAUSE: i64 = 6 * 3_600 * 1_000_000;

/// Terms from which on a text's length is no further sign that it says something.
pub(super) const LONG: u32 = 40;

/// Turns of a sitting at the most; a longer one goes on as another, since it has moved on to other things.
const LONGEST_SITTING: u32 = 60;

/// The texts of an index. All columns have the same length.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub keys: Vec<i64>,
    pub times: Vec<i64>,
    pub sessions: Vec<u64>,
    pub roles: Vec<u8>,
    pub lengths: Vec<u32>,
    pub forms: Vec<Form>,
    /// Who speaks: a number of [`Documents::speakers`].
    pub speaker: Vec<u16>,
    /// The turns before and after in the same sitting.
    pub previous: Vec<u32>,
    pub next: Vec<u32>,
    /// The sitting it belongs to.
    pub sitting: Vec<u32>,
    /// Rows of vectors: the first, and how many.
    pub rows: Vec<(u32, u16)>,
    pub superseded: Vec<bool>,
    pub gone: Vec<bool>,
    pub sittings: Vec<Sitting>,
    pub speakers: Vec<Speaker>,
    tags: Vec<Box<[u32]>>,
    tag_numbers: HashMap<Box<str>, u32>,
    speaker_numbers: HashMap<Box<str>, u16>,
    places: HashMap<i64, u32>,
    open: HashMap<u64, u32>,
    tag_bytes: usize,
}

/// Turns that were said in one go.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sitting {
    pub turns: u32,
    pub length: u32,
    last: u32,
}

/// Somebody who speaks in an index.
#[derive(Debug, Clone)]
pub(super) struct Speaker {
    /// The terms of the name.
    pub name: Vec<String>,
    /// Turns.
    pub turns: u32,
    /// The name looks like one of a person or a role, and not like a label of notes.
    is_name: bool,
}

/// Turns of a speaker from which on texts that stand alone may be a transcript.
const FEW_TURNS: u32 = 3;

/// The number of texts that nobody speaks.
pub(super) const NOBODY: u16 = u16::MAX;

/// Whether a label is a name: one word, or words that all begin with a capital.
fn is_name(label: &str) -> bool {
    let is_capital = |word: &str| word.chars().next().is_some_and(char::is_uppercase);
    !label.contains(' ') || label.split(' ').all(is_capital)
}

impl Documents {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn place(&self, key: i64) -> Option<u32> {
        self.places.get(&key).copied()
    }

    /// Adds a text of `length` terms, whose words show a form. Returns its number; `None` when there is no
    /// room for more.
    pub fn push(
        &mut self,
        kind: Kind,
        document: &Document<'_>,
        (length, form): (u32, Form),
    ) -> Option<u32> {
        let number = u32::try_from(self.len()).ok().filter(|n| *n < NONE)?;
        let (written, _) = split_speaker(document.text);
        let form = form.with(Form::of_end(document.text));
        let speaker = written.or(document.speaker);
        let is_turn = kind == Kind::Turns || written.is_some();
        self.keys.push(document.key);
        self.times.push(document.time.0);
        self.sessions.push(document.session);
        self.roles.push(document.role);
        self.lengths.push(length);
        self.forms.push(form);
        let speaker = self.speaker_number(speaker);
        self.speaker.push(speaker);
        self.previous.push(NONE);
        self.next.push(NONE);
        self.rows.push((NONE, 0));
        self.superseded.push(document.superseded);
        self.gone.push(false);
        let tags = document.tags.iter().map(|tag| self.tag_number(tag));
        let tags: Box<[u32]> = tags.collect();
        self.tag_bytes += 4 * tags.len();
        self.tags.push(tags);
        self.sitting.push(NONE);
        if is_turn {
            self.seat(number, document.session, length);
        }
        self.places.insert(document.key, number);
        Some(number)
    }

    /// Puts a turn behind the one before it, in its sitting or a new one.
    fn seat(&mut self, number: u32, session: u64, length: u32) {
        let at = number as usize;
        let time = self.times.get(at).copied().unwrap_or_default();
        let current = self.open.get(&session).copied().filter(|sitting| {
            let Some(found) = self.sittings.get(*sitting as usize) else {
                return false;
            };
            let before = self.times.get(found.last as usize);
            found.turns < LONGEST_SITTING
                && before.is_some_and(|before| time.abs_diff(*before) <= PAUSE.unsigned_abs())
        });
        let sitting = current.unwrap_or_else(|| {
            self.sittings.push(Sitting {
                last: NONE,
                ..Sitting::default()
            });
            u32::try_from(self.sittings.len() - 1).unwrap_or(NONE)
        });
        self.open.insert(session, sitting);
        let Some(found) = self.sittings.get_mut(sitting as usize) else {
            return;
        };
        found.turns += 1;
        found.length = found.length.saturating_add(length);
        let before = std::mem::replace(&mut found.last, number);
        if let Some(own) = self.sitting.get_mut(at) {
            *own = sitting;
        }
        if before == NONE {
            return;
        }
        if let Some(own) = self.previous.get_mut(at) {
            *own = before;
        }
        if let Some(next) = self.next.get_mut(before as usize) {
            *next = number;
        }
    }

    fn speaker_number(&mut self, name: Option<&str>) -> u16 {
        let Some(name) = name else { return NOBODY };
        let number = match self.speaker_numbers.get(name) {
            Some(number) => *number,
            None => {
                let Some(number) = u16::try_from(self.speakers.len())
                    .ok()
                    .filter(|number| *number < NOBODY)
                else {
                    return NOBODY;
                };
                self.speaker_numbers.insert(name.into(), number);
                self.speakers.push(Speaker {
                    name: super::words::terms(name),
                    turns: 0,
                    is_name: is_name(name),
                });
                number
            }
        };
        if let Some(speaker) = self.speakers.get_mut(usize::from(number)) {
            speaker.turns += 1;
        }
        number
    }

    /// By speaker of passages: whether they speak. Notes have labels too ("Shopping list: eggs"); a transcript has
    /// at least two speakers who come back, and is most of what is there.
    pub fn talkers(&self) -> Vec<bool> {
        let talks = |speaker: &Speaker| speaker.is_name && speaker.turns >= FEW_TURNS;
        let talkers = || self.speakers.iter().filter(|speaker| talks(speaker));
        let turns: usize = talkers().map(|speaker| speaker.turns as usize).sum();
        let is_transcript = talkers().count() >= 2 && 2 * turns >= self.len();
        self.speakers
            .iter()
            .map(|speaker| is_transcript && talks(speaker))
            .collect()
    }

    fn tag_number(&mut self, tag: &str) -> u32 {
        if let Some(number) = self.tag_numbers.get(tag) {
            return *number;
        }
        let number = u32::try_from(self.tag_numbers.len()).unwrap_or(NONE);
        self.tag_numbers.insert(tag.into(), number);
        number
    }

    /// Marks a text as gone; the caller's counts must follow. Returns its number.
    pub fn remove(&mut self, key: i64) -> Option<u32> {
        let number = self.places.remove(&key)?;
        let at = number as usize;
        *self.gone.get_mut(at)? = true;
        let length = self.lengths.get(at).copied().unwrap_or_default();
        let (before, after) = (
            self.previous.get(at).copied().unwrap_or(NONE),
            self.next.get(at).copied().unwrap_or(NONE),
        );
        if let Some(next) = self.next.get_mut(before as usize) {
            *next = after;
        }
        if let Some(previous) = self.previous.get_mut(after as usize) {
            *previous = before;
        }
        let sitting = self.sitting.get(at).copied().unwrap_or(NONE);
        if let Some(sitting) = self.sittings.get_mut(sitting as usize) {
            sitting.turns = sitting.turns.saturating_sub(1);
            sitting.length = sitting.length.saturating_sub(length);
            if sitting.last == number {
                sitting.last = before;
            }
        }
        Some(number)
    }

    /// Which texts a filter lets through.
    pub fn passing(&self, filter: &Filter) -> Passing<'_> {
        let number = |tag: &String| self.tag_numbers.get(tag.as_str()).copied();
        let tags = match &filter.tags {
            Tags::Every => Wanted::Every,
            Tags::Any(tags) => Wanted::Any(tags.iter().filter_map(number).collect()),
            // One that no text has is one that none can have with the others.
            Tags::All(tags) => tags
                .iter()
                .map(number)
                .collect::<Option<Vec<u32>>>()
                .map_or(Wanted::Nothing, Wanted::All),
        };
        Passing {
            documents: self,
            start: filter.start.map_or(i64::MIN, |Timestamp(start)| start),
            end: filter.end.map_or(i64::MAX, |Timestamp(end)| end),
            roles: filter.roles.clone(),
            sessions: filter.sessions.clone(),
            tags,
        }
    }

    pub fn bytes(&self) -> usize {
        // Columns, the two maps and the tags' boxes, as allocated on 64 bits.
        const OF_TEXT: usize = 8 + 8 + 8 + 1 + 4 + 1 + 2 + 4 + 4 + 4 + 8 + 1 + 1 + 16 + 24;
        self.keys.capacity() * OF_TEXT
            + self.tag_bytes
            + self.sittings.capacity() * size_of::<Sitting>()
            + (self.tag_numbers.len() + self.speakers.len()) * 96
            + self.open.len() * 24
    }
}

enum Wanted {
    Every,
    Any(Vec<u32>),
    All(Vec<u32>),
    Nothing,
}

/// A filter, prepared for one index.
pub(super) struct Passing<'a> {
    documents: &'a Documents,
    start: i64,
    end: i64,
    roles: Vec<u8>,
    sessions: Vec<(u64, i64)>,
    tags: Wanted,
}

impl Passing<'_> {
    /// Whether a text passes.
    pub fn has(&self, at: usize) -> bool {
        let documents = self.documents;
        let fits = || {
            let time = *documents.times.get(at)?;
            let role = documents.roles.get(at)?;
            let session = documents.sessions.get(at)?;
            let key = documents.keys.get(at)?;
            let is_of = |(wanted, last): &(u64, i64)| wanted == session && key <= last;
            let tags = documents.tags.get(at)?;
            Some(
                !*documents.gone.get(at)?
                    && (self.start..=self.end).contains(&time)
                    && (self.roles.is_empty() || self.roles.contains(role))
                    && (self.sessions.is_empty() || self.sessions.iter().any(is_of))
                    && match &self.tags {
                        Wanted::Every => true,
                        Wanted::Nothing => false,
                        Wanted::Any(wanted) => wanted.iter().any(|tag| tags.contains(tag)),
                        Wanted::All(wanted) => wanted.iter().all(|tag| tags.contains(tag)),
                    },
            )
        };
        fits().unwrap_or(false)
    }
}
