//! The index: which texts hold which terms, in memory.

use std::collections::HashMap;

use super::{
    Document, Kind,
    documents::{Documents, NONE},
    form::Form,
    vectors::{Coded, Vectors},
    words,
};

/// Bits of a posting that tell how often the term occurs; the others tell the text.
const COUNT_BITS: u32 = 5;
const MAX_COUNT: u32 = (1 << COUNT_BITS) - 1;

/// Texts that one index holds at the most.
const MAX_TEXTS: usize = 1 << (32 - COUNT_BITS);

/// The texts of one scope in memory: their terms, their vectors, and what else a search looks at.
#[derive(Debug)]
pub struct Index {
    kind: Kind,
    numbers: HashMap<Box<str>, u32>,
    /// By term: the texts that hold it, in order, and what it shows of them.
    postings: Vec<Vec<u32>>,
    forms: Vec<Form>,
    pub(super) documents: Documents,
    pub(super) vectors: Vectors,
    /// Vectors whose texts have not come yet.
    early: HashMap<i64, Vec<(u32, Coded)>>,
    /// Texts that are there, and the terms they have together.
    pub(super) live: usize,
    pub(super) total_length: u64,
    pub(super) embedded: usize,
    posting_bytes: usize,
    scratch: HashMap<u32, u32>,
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            numbers: HashMap::new(),
            postings: Vec::new(),
            forms: Vec::new(),
            documents: Documents::default(),
            vectors: Vectors::default(),
            early: HashMap::new(),
            live: 0,
            total_length: 0,
            embedded: 0,
            posting_bytes: 0,
            scratch: HashMap::new(),
        }
    }

    /// By speaker: whether what bears their name is a turn.
    pub(super) fn talkers(&self) -> Vec<bool> {
        match self.kind {
            Kind::Turns => vec![true; self.documents.speakers.len()],
            Kind::Passages => self.documents.talkers(),
        }
    }

    /// Whether all its texts are turns.
    pub(super) fn is_talk(&self) -> bool {
        self.kind == Kind::Turns
    }

    /// Texts that are there.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Whether no text is there.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Adds a text. One whose key is there already is left as it is; texts come in the order in which
    /// they were said.
    pub fn push(&mut self, document: &Document<'_>) {
        if self.documents.place(document.key).is_some() || self.documents.len() >= MAX_TEXTS {
            return;
        }
        let mut counts = std::mem::take(&mut self.scratch);
        counts.clear();
        let (mut length, mut form) = (0_u32, Form::default());
        let mut singles: Vec<u32> = Vec::new();
        // Two closures of the scan need the numbers.
        let terms = std::cell::RefCell::new(&mut *self);
        words::scan(
            document.text,
            |term| {
                let mut terms = terms.borrow_mut();
                let number = terms.number(term);
                *counts.entry(number).or_insert(0) += 1;
                let shown = terms.forms.get(number as usize).copied();
                form = form.with(shown.unwrap_or_default());
                length = length.saturating_add(1);
            },
            |term| singles.push(terms.borrow_mut().number(term)),
        );
        for number in singles {
            *counts.entry(number).or_insert(0) += 1;
        }
        if let Some(text) = self.documents.push(self.kind, document, (length, form)) {
            for (term, count) in &counts {
                if let Some(postings) = self.postings.get_mut(*term as usize) {
                    self.posting_bytes -= 4 * postings.capacity();
                    postings.push(text << COUNT_BITS | (*count).min(MAX_COUNT));
                    self.posting_bytes += 4 * postings.capacity();
                }
            }
            self.live += 1;
            self.total_length += u64::from(length);
        }
        self.scratch = counts;
        for (chunk, vector) in self.early.remove(&document.key).unwrap_or_default() {
            self.put(document.key, chunk, &vector);
        }
    }

    /// The number of a term, which is given to it when it first occurs.
    fn number(&mut self, term: &str) -> u32 {
        if let Some(number) = self.numbers.get(term) {
            return *number;
        }
        let number = u32::try_from(self.postings.len()).unwrap_or(NONE);
        self.numbers.insert(term.into(), number);
        self.postings.push(Vec::new());
        self.forms.push(Form::of_term(term));
        self.posting_bytes += term.len() + 64;
        number
    }

    /// Sets the vector of a chunk of a text. It may come before its text; chunks come in order.
    pub fn set_vector(&mut self, key: i64, chunk: u32, vector: &[f32]) {
        let vector = Coded::new(vector);
        if self.documents.place(key).is_some() {
            self.put(key, chunk, &vector);
        } else {
            self.early.entry(key).or_default().push((chunk, vector));
        }
    }

    fn put(&mut self, key: i64, chunk: u32, vector: &Coded) {
        let Some(text) = self.documents.place(key) else {
            return;
        };
        let Some((first, count)) = self.documents.rows.get_mut(text as usize) else {
            return;
        };
        let row = (chunk < u32::from(*count)).then(|| *first + chunk);
        let Some(placed) = self.vectors.put(text, row, vector) else {
            return;
        };
        if *count == 0 {
            *first = placed;
            self.embedded += 1;
        }
        if row.is_none() {
            *count = count.saturating_add(1);
        }
    }

    /// Takes all vectors out.
    pub fn clear_vectors(&mut self) {
        self.vectors = Vectors::default();
        self.early.clear();
        self.documents.rows.fill((NONE, 0));
        self.embedded = 0;
    }

    /// Takes a text out.
    pub fn remove(&mut self, key: i64) {
        self.early.remove(&key);
        let Some(text) = self.documents.remove(key) else {
            return;
        };
        let at = text as usize;
        self.live -= 1;
        let length = self.documents.lengths.get(at).copied().unwrap_or_default();
        self.total_length -= u64::from(length);
        if self
            .documents
            .rows
            .get(at)
            .is_some_and(|(_, count)| *count > 0)
        {
            self.embedded -= 1;
        }
    }

    /// Bytes of memory it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let early: usize = self
            .early
            .values()
            .flatten()
            .map(|(_, vector)| vector.codes.len() + 64)
            .sum();
        size_of::<Self>()
            + self.posting_bytes
            + self.documents.bytes()
            + self.vectors.bytes()
            + early
    }

    /// The texts that hold a term, in order, with how often.
    pub(super) fn holding(&self, term: &str) -> impl Iterator<Item = (usize, u32)> + '_ {
        let postings = self
            .numbers
            .get(term)
            .and_then(|number| self.postings.get(*number as usize))
            .map_or(&[][..], Vec::as_slice);
        let nothing_gone = self.live == self.documents.len();
        postings
            .iter()
            .map(|posting| ((posting >> COUNT_BITS) as usize, posting & MAX_COUNT))
            .filter(move |(text, _)| {
                nothing_gone || !self.documents.gone.get(*text).copied().unwrap_or(true)
            })
    }

    /// How many texts hold a term.
    pub(super) fn frequency(&self, term: &str) -> usize {
        if self.live == self.documents.len() {
            let number = self.numbers.get(term);
            return number
                .and_then(|number| self.postings.get(*number as usize))
                .map_or(0, Vec::len);
        }
        self.holding(term).count()
    }
}
