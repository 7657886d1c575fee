//! Retrieval: texts are ranked by their words and by their meaning. Pure: an [`Index`] is made in memory
//! from texts that the caller reads.

use std::collections::HashMap;

use crate::time::Timestamp;

/// What an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Turns of conversations: neighbours and sessions give each other context.
    Turns,
    /// Texts that stand alone.
    Passages,
}

/// A text to index.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// The row's number.
    pub key: i64,
    /// What it says.
    pub text: &'a str,
    /// Who says it.
    pub speaker: Option<&'a str>,
    /// When.
    pub time: Timestamp,
    /// The thread; 0 is none.
    pub session: u64,
    /// The caller's number of the speaker's role.
    pub role: u8,
    /// Words to find it by.
    pub tags: &'a [&'a str],
    /// Whether it is no longer true.
    pub superseded: bool,
}

/// Tags that a text must have.
#[derive(Debug, Clone, Default)]
pub enum Tags {
    /// Any or none.
    #[default]
    Every,
    /// One of these.
    Any(Vec<String>),
    /// All of these.
    All(Vec<String>),
}

/// Which texts a search may find.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Not before this time.
    pub start: Option<Timestamp>,
    /// Not after this time.
    pub end: Option<Timestamp>,
    /// Only these roles; empty is all.
    pub roles: Vec<u8>,
    /// Only these threads; empty is all.
    pub sessions: Vec<u64>,
    /// Only with these tags.
    pub tags: Tags,
}

/// Which parts of the retriever are on.
#[derive(Debug, Clone)]
pub struct Settings {
    text: bool,
    vector: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            text: true,
            vector: true,
        }
    }
}

impl Settings {
    /// By words only.
    #[must_use]
    pub fn text_only() -> Self {
        Self {
            text: true,
            vector: false,
        }
    }

    /// By meaning only.
    #[must_use]
    pub fn vector_only() -> Self {
        Self {
            text: false,
            vector: true,
        }
    }
}

/// A question.
#[derive(Debug)]
pub struct Query<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its vector.
    pub vector: Option<&'a [f32]>,
    /// The present.
    pub now: Timestamp,
    /// The time zone of its time words.
    pub zone: &'a str,
    /// Which texts it may find.
    pub filter: Filter,
    /// Hits at the most.
    pub limit: usize,
    /// Which parts are on.
    pub settings: &'a Settings,
}

/// What a score is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parts {
    /// By words.
    pub text: f32,
    /// By meaning.
    pub dense: f32,
}

impl Parts {
    /// The parts with their names.
    #[must_use]
    pub fn named(&self) -> Vec<(&'static str, f32)> {
        vec![("text", self.text), ("dense", self.dense)]
    }
}

/// A text that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// In which of the indexes.
    pub index: usize,
    /// The row's number.
    pub key: i64,
    /// How likely it is relevant.
    pub score: f32,
    /// What the score is made of.
    pub parts: Parts,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Whether none seems relevant.
    pub nothing_relevant: bool,
    /// The part of the texts that have vectors.
    pub embedded_share: f32,
}

#[derive(Debug)]
struct Entry {
    key: i64,
    time: Timestamp,
    session: u64,
    role: u8,
    tags: Vec<String>,
    terms: HashMap<String, u32>,
    length: u32,
    vectors: Vec<Vec<f32>>,
}

/// The texts of one scope in memory.
#[derive(Debug)]
pub struct Index {
    entries: Vec<Entry>,
    places: HashMap<i64, usize>,
    bytes: usize,
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new(_kind: Kind) -> Self {
        Self {
            entries: Vec::new(),
            places: HashMap::new(),
            bytes: 0,
        }
    }

    /// Adds a text.
    pub fn push(&mut self, document: &Document<'_>) {
        let mut terms = HashMap::new();
        let mut length = 0;
        for word in words(document.text) {
            *terms.entry(word).or_insert(0) += 1;
            length += 1;
        }
        self.bytes += document.text.len() + 200;
        self.places.insert(document.key, self.entries.len());
        self.entries.push(Entry {
            key: document.key,
            time: document.time,
            session: document.session,
            role: document.role,
            tags: document.tags.iter().map(ToString::to_string).collect(),
            terms,
            length,
            vectors: Vec::new(),
        });
    }

    /// Sets the vector of a chunk of a text.
    pub fn set_vector(&mut self, key: i64, _chunk: u32, vector: &[f32]) {
        if let Some(entry) = self
            .places
            .get(&key)
            .and_then(|at| self.entries.get_mut(*at))
        {
            self.bytes += vector.len() * 4;
            entry.vectors.push(vector.to_vec());
        }
    }

    /// Takes a text out.
    pub fn remove(&mut self, key: i64) {
        self.entries.retain(|entry| entry.key != key);
        self.places = self
            .entries
            .iter()
            .enumerate()
            .map(|(at, entry)| (entry.key, at))
            .collect();
    }

    /// Bytes of memory it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

fn passes(entry: &Entry, filter: &Filter) -> bool {
    let has = |tag: &String| entry.tags.contains(tag);
    filter.start.is_none_or(|start| entry.time >= start)
        && filter.end.is_none_or(|end| entry.time <= end)
        && (filter.roles.is_empty() || filter.roles.contains(&entry.role))
        && (filter.sessions.is_empty() || filter.sessions.contains(&entry.session))
        && match &filter.tags {
            Tags::Every => true,
            Tags::Any(tags) => tags.iter().any(has),
            Tags::All(tags) => tags.iter().all(has),
        }
}

/// What of a text is embedded.
#[must_use]
pub fn embedding_text(text: &str, _speaker: Option<&str>) -> String {
    text.to_owned()
}

/// Ranks the texts of several indexes.
#[allow(clippy::too_many_lines)]
#[must_use]
pub fn search(indexes: &[&Index], query: &Query<'_>) -> Outcome {
    let asked: Vec<String> = words(query.text).collect();
    let all: Vec<(usize, &Entry)> = indexes
        .iter()
        .enumerate()
        .flat_map(|(at, index)| index.entries.iter().map(move |entry| (at, entry)))
        .collect();
    let count = all.len() as f32;
    let average = all
        .iter()
        .map(|(_, entry)| entry.length as f32)
        .sum::<f32>()
        / count.max(1.0);
    let idf: Vec<f32> = asked
        .iter()
        .map(|word| {
            let with = all
                .iter()
                .filter(|(_, entry)| entry.terms.contains_key(word))
                .count() as f32;
            ((count - with + 0.5) / (with + 0.5) + 1.0).ln()
        })
        .collect();
    let mut hits: Vec<Hit> = all
        .iter()
        .filter(|(_, entry)| passes(entry, &query.filter))
        .map(|(index, entry)| {
            let text: f32 = asked
                .iter()
                .zip(&idf)
                .map(|(word, idf)| {
                    let tf = entry.terms.get(word).copied().unwrap_or_default() as f32;
                    idf * tf * 2.2
                        / (tf + 1.2 * (0.25 + 0.75 * entry.length as f32 / average.max(1.0)))
                })
                .sum();
            let dense = query.vector.map_or(0.0, |vector| {
                entry
                    .vectors
                    .iter()
                    .map(|own| own.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>())
                    .fold(0.0, f32::max)
            });
            let text = if query.settings.text {
                text / (text + 3.0)
            } else {
                0.0
            };
            let dense = if query.settings.vector { dense } else { 0.0 };
            Hit {
                index: *index,
                key: entry.key,
                score: (text + dense) / 2.0,
                parts: Parts { text, dense },
            }
        })
        .filter(|hit| hit.score > 0.0)
        .collect();
    hits.sort_by(|a, b| b.score.total_cmp(&a.score));
    hits.truncate(query.limit);
    let embedded = all
        .iter()
        .filter(|(_, entry)| !entry.vectors.is_empty())
        .count() as f32;
    Outcome {
        nothing_relevant: hits.first().is_none_or(|hit| hit.score < 0.2),
        hits,
        embedded_share: if count > 0.0 { embedded / count } else { 1.0 },
    }
}
