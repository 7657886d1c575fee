//! What has been read of conversations, kept for their next turns: most of a prompt is what the one before
//! had as well.

use super::attention::KeyValues;

/// Tokens that a conversation may lose to one that begins in the same way: reading so few anew costs less than
/// keeping both.
const FEW: usize = 64;

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
    /// on otherwise is copied rather than cut, unless it would lose next to nothing or there is no room for
    /// both: agents of one kind have most of their prompts in common. At least the last token
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
                let lost = self
                    .slots
                    .get(at)
                    .map_or(0, |slot| slot.tokens.len() - length);
                if lost < FEW || self.bytes() + needed > self.budget {
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
        let Some(Ok(past)) = slot.map(|slot| slot.past.prefix(length)) else {
            // Where there is no memory for a copy, it is read anew.
            return Slot {
                tokens: Vec::new(),
                past: empty,
                used: 0,
            };
        };
        let tokens = slot.and_then(|slot| slot.tokens.get(..length));
        Slot {
            tokens: tokens.unwrap_or_default().to_vec(),
            past,
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

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::llm::{attention::Heads, cancel::Cancel};

    const HEADS: Heads = Heads {
        queries: 1,
        keys: 1,
        width: 32,
    };
    /// Of keys and values, in two bytes a number.
    const BYTES: usize = 32 * 2 * 2;

    fn take(slots: &mut Slots, tokens: &[u32]) -> Slot {
        slots.take(tokens, (BYTES, KeyValues::new(1, HEADS)))
    }

    /// Reads what a slot lacks of some tokens; how many it had.
    fn talk(slots: &mut Slots, tokens: &[u32]) -> usize {
        let mut slot = take(slots, tokens);
        let had = slot.tokens.len();
        let rest = &tokens[had..];
        let rows = Array2::zeros((rest.len(), 32));
        let mut output = rows.clone();
        let never = Cancel::when(|| false);
        slot.past.reserve(tokens.len()).unwrap();
        slot.past
            .attend(0, (&rows, &rows, &rows), &mut output, &never)
            .unwrap();
        slot.past.advance(rest.len());
        slot.tokens.extend_from_slice(rest);
        slots.put(slot);
        had
    }

    #[test]
    fn a_conversation_goes_on_where_it_was_and_others_stay() {
        let mut slots = Slots::new(1_000 * BYTES);
        let first: Vec<u32> = (0..100).collect();
        let other: Vec<u32> = (0..10).chain(200..290).collect();
        assert_eq!(talk(&mut slots, &first), 0);
        assert_eq!(talk(&mut slots, &other), 10, "the beginning is copied");
        let longer: Vec<u32> = (0..160).collect();
        assert_eq!(talk(&mut slots, &longer), 100);
        assert_eq!(talk(&mut slots, &other), 99, "all but the last");
        assert_eq!(slots.slots.len(), 2);
        let another_end: Vec<u32> = (0..150).chain(900..910).collect();
        assert_eq!(talk(&mut slots, &another_end), 150);
        assert_eq!(slots.slots.len(), 2, "a few tokens are worth no copy");
    }

    #[test]
    fn two_that_have_most_in_common_take_turns_and_neither_is_read_anew() {
        let mut slots = Slots::new(10_000 * BYTES);
        let turn = |who: u32, turns: u32| -> Vec<u32> {
            (0..800)
                .chain(who * 10_000..who * 10_000 + 100 * turns)
                .collect()
        };
        assert_eq!(talk(&mut slots, &turn(1, 2)), 0);
        assert_eq!(talk(&mut slots, &turn(2, 2)), 800);
        for turns in 3..6 {
            let before = 800 + 100 * (turns as usize - 1);
            assert_eq!(talk(&mut slots, &turn(1, turns)), before);
            assert_eq!(talk(&mut slots, &turn(2, turns)), before);
        }
    }

    #[test]
    fn the_least_lately_used_goes_when_there_is_no_room() {
        let mut slots = Slots::new(100 * BYTES);
        let conversation = |at: u32| -> Vec<u32> { (at * 100..at * 100 + 40).collect() };
        for at in 0..4 {
            talk(&mut slots, &conversation(at));
            assert!(slots.bytes() <= 100 * BYTES);
        }
        assert_eq!(talk(&mut slots, &conversation(0)), 0, "it is forgotten");
        assert_eq!(talk(&mut slots, &conversation(3)), 39);
        let mut none = Slots::new(0);
        talk(&mut none, &conversation(0));
        assert_eq!(talk(&mut none, &conversation(1)), 0);
        assert_eq!(none.slots.len(), 1);
    }

    #[test]
    fn what_a_broken_read_left_is_forgotten() {
        let mut slots = Slots::new(1_000 * BYTES);
        let mut slot = take(&mut slots, &[1, 2, 3]);
        let rows = Array2::zeros((3, 32));
        let over = Cancel::when(|| true);
        let mut output = rows.clone();
        slot.past.reserve(3).unwrap();
        slot.past
            .attend(0, (&rows, &rows, &rows), &mut output, &over)
            .unwrap_err();
        slots.put(slot);
        assert_eq!(talk(&mut slots, &[1, 2, 3]), 0);
    }
}
