//! How many tokens of `o200k_base` a piece of text is: byte pairs merged in the order of their ranks (Sennrich et al., 2016,
//! with ranks for merges as in OpenAI's `tiktoken`).

use std::{cmp::Reverse, collections::BinaryHeap, hash::BuildHasher as _};

use hashbrown::{DefaultHashBuilder, HashTable};

/// The tokens in the order of their ranks: the length of each, and its bytes.
static TOKENS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/o200k_base.tokens"));

/// The tokens, found by their bytes.
pub(super) struct Vocabulary {
    /// Where in [`TOKENS`] each token is. As they stand there in order, that says as much as the rank.
    places: HashTable<u32>,
    /// No one else chooses what is in the table, so a fast hash is enough.
    hasher: DefaultHashBuilder,
    longest: usize,
}

impl Vocabulary {
    /// Reads the tokens: some 10 ms.
    pub(super) fn read() -> Self {
        let hasher = DefaultHashBuilder::default();
        let hash = |place: &u32| hasher.hash_one(at_place(*place));
        let mut places = HashTable::with_capacity(all_places().count());
        for place in all_places() {
            places.insert_unique(hash(&place), place, hash);
        }
        let longest = all_places().map(|place| at_place(place).len()).max();
        Self {
            places,
            longest: longest.unwrap_or_default(),
            hasher,
        }
    }

    /// The place of a token, which is in the order of ranks.
    fn rank(&self, token: &[u8]) -> Option<u32> {
        if token.len() > self.longest {
            return None;
        }
        let is_it = |place: &u32| at_place(*place) == token;
        let hash = self.hasher.hash_one(token);
        self.places.find(hash, is_it).copied()
    }

    /// How many tokens a piece is. Time grows a little faster than its length.
    pub(super) fn count(&self, piece: &[u8]) -> usize {
        if piece.len() < 2 || self.rank(piece).is_some() {
            return piece.len().min(1);
        }
        let mut parts = piece.len();
        // Where the part ends that begins at a byte, or zero where none does; and where the one before it begins.
        let mut ends: Vec<usize> = (1..=piece.len()).collect();
        let mut before: Vec<usize> = (0..piece.len()).map(|at| at.saturating_sub(1)).collect();
        let mut pairs = BinaryHeap::new();
        let offer = |pairs: &mut BinaryHeap<_>, begin: usize, end: usize| {
            let rank = piece.get(begin..end).and_then(|pair| self.rank(pair));
            pairs.extend(rank.map(|rank| Reverse((rank, begin, end))));
        };
        for begin in 0..piece.len() {
            offer(&mut pairs, begin, begin + 2);
        }
        while let Some(Reverse((_, begin, end))) = pairs.pop() {
            let middle = ends.get(begin).copied().unwrap_or_default();
            // One of the two was merged with something else meanwhile.
            if middle == 0 || ends.get(middle) != Some(&end) {
                continue;
            }
            set(&mut ends, begin, end);
            set(&mut ends, middle, 0);
            set(&mut before, end, begin);
            parts -= 1;
            if let Some(after) = ends.get(end) {
                offer(&mut pairs, begin, *after);
            }
            if let Some(before) = before.get(begin).filter(|_| begin > 0) {
                offer(&mut pairs, *before, end);
            }
        }
        parts
    }
}

fn at_place(place: u32) -> &'static [u8] {
    let at = place as usize;
    let length = TOKENS.get(at).copied().map_or(0, usize::from);
    TOKENS.get(at + 1..at + 1 + length).unwrap_or_default()
}

/// Where the tokens begin, with the length of each.
fn all_places() -> impl Iterator<Item = u32> {
    let next = |place: &u32| {
        let after = *place as usize + 1 + at_place(*place).len();
        u32::try_from(after).ok().filter(|_| after < TOKENS.len())
    };
    std::iter::successors(Some(0), next)
}

/// Sets what is at a place, if there is one.
fn set(all: &mut [usize], at: usize, value: usize) {
    if let Some(one) = all.get_mut(at) {
        *one = value;
    }
}
