//! What has been read of conversations, kept for their next turns: most of a prompt is what the one before
//! had as well.

use super::attention::KeyValues;

/// The tokens of a conversation with their keys and values.
#[derive(Debug)]
pub(super) struct Slot {
    pub tokens: Vec<u32>,
    pub past: KeyValues,
    used: u64,
}

/// Conversations, within a budget of bytes.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    budget: usize,
    clock: u64,
}

fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Slots {
    /// None yet.
    pub const fn new(budget: usize) -> Self {
        Self {
            slots: Vec::new(),
            budget,
            clock: 0,
        }
    }

    /// Takes out what begins with as much of `tokens` as any: the rest of it is forgotten. One that goes
    /// on otherwise is copied rather than cut, unless there is no room for both. At least the last token
    /// has to be read anew, since what it makes likely is not kept.
    pub fn take(&mut self, tokens: &[u32], (bytes_per_token, empty): (usize, KeyValues)) -> Slot {
        let most = tokens.len().saturating_sub(1);
        let nearest = self.slots.iter().enumerate().map(|(at, slot)| {
            let length = shared(&slot.tokens, tokens)
                .min(most)
                .min(slot.past.tokens());
            (length, slot.used, at)
        });
        let nearest = nearest.max().filter(|(length, ..)| *length > 0);
        let needed = tokens.len() * bytes_per_token;
        let slot = match nearest {
            Some((length, _, at)) => {
                let goes_on = self
                    .slots
                    .get(at)
                    .is_some_and(|slot| length * 2 > slot.tokens.len());
                if goes_on || self.bytes() + needed > self.budget {
                    let mut slot = self.slots.swap_remove(at);
                    slot.tokens.truncate(length);
                    slot.past.truncate(length);
                    slot
                } else {
                    self.copy(at, length, empty)
                }
            }
            None => Slot {
                tokens: Vec::new(),
                past: empty,
                used: 0,
            },
        };
        while !self.slots.is_empty() && self.bytes() + needed > self.budget {
            let oldest = self
                .slots
                .iter()
                .enumerate()
                .min_by_key(|(_, slot)| slot.used);
            let at = oldest.map_or(0, |(at, _)| at);
            self.slots.swap_remove(at);
        }
        slot
    }

    fn copy(&self, at: usize, length: usize, empty: KeyValues) -> Slot {
        let slot = self.slots.get(at);
        let tokens = slot.and_then(|slot| slot.tokens.get(..length));
        Slot {
            tokens: tokens.unwrap_or_default().to_vec(),
            past: slot.map_or(empty, |slot| slot.past.prefix(length)),
            used: 0,
        }
    }

    /// Puts one back.
    pub fn put(&mut self, mut slot: Slot) {
        slot.past.truncate(slot.tokens.len());
        slot.tokens.truncate(slot.past.tokens());
        self.clock += 1;
        slot.used = self.clock;
        self.slots.push(slot);
    }

    fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.past.bytes()).sum()
    }
}
