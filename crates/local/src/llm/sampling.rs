//! The choice of a token among those that are likely.

use rand::Rng as _;

use crate::arithmetic::exp;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Above 0, how much what is less likely is chosen; at 0 always the likeliest is.
    pub temperature: f32,
    /// So many of the likeliest are looked at; 0 for all.
    pub top_k: usize,
    /// The likeliest are looked at that have this share together.
    pub top_p: f32,
    /// Only those are looked at that are at least this share as likely as the likeliest.
    pub min_p: f32,
    /// Above 1, how much less likely what was said lately becomes.
    pub repetition_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.0,
            repetition_penalty: 1.0,
        }
    }
}

/// Tokens that count as said lately.
const LATELY: usize = 64;

impl Sampling {
    /// The next token, of those that `is_allowed`; nothing when none is.
    pub fn choose(
        &self,
        mut likely: Vec<f32>,
        said: &[u32],
        is_allowed: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        if self.repetition_penalty > 1.0 {
            let mut lately: Vec<u32> = said.iter().rev().take(LATELY).copied().collect();
            lately.sort_unstable();
            lately.dedup();
            for token in lately {
                if let Some(number) = likely.get_mut(token as usize) {
                    *number = if *number > 0.0 {
                        *number / self.repetition_penalty
                    } else {
                        *number * self.repetition_penalty
                    };
                }
            }
        }
        let allowed = (0_u32..)
            .zip(likely)
            .filter(|(token, number)| number.is_finite() && is_allowed(*token));
        if self.temperature <= 0.0 {
            let best = allowed.max_by(|(_, a), (_, b)| a.total_cmp(b));
            return best.map(|(token, _)| token);
        }
        self.draw(allowed.collect())
    }

    fn draw(&self, mut allowed: Vec<(u32, f32)>) -> Option<u32> {
        let by_number = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1);
        if self.top_k > 0 && self.top_k < allowed.len() {
            allowed.select_nth_unstable_by(self.top_k, by_number);
            allowed.truncate(self.top_k);
        }
        allowed.sort_unstable_by(by_number);
        let (_, best) = *allowed.first()?;
        for (_, number) in &mut allowed {
            *number = exp((*number - best) / self.temperature);
        }
        allowed.retain(|(_, share)| *share >= self.min_p);
        let all: f32 = allowed.iter().map(|(_, share)| share).sum();
        let mut kept = 0.0;
        let count = allowed.iter().position(|(_, share)| {
            kept += share;
            kept >= self.top_p * all
        });
        allowed.truncate(count.map_or(usize::MAX, |at| at + 1));
        let kept: f32 = allowed.iter().map(|(_, share)| share).sum();
        let mut left = rand::rng().random_range(0.0..=1.0_f32) * kept;
        let chosen = allowed.iter().find(|(_, share)| {
            left -= share;
            left <= 0.0
        });
        chosen.or(allowed.first()).map(|(token, _)| *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Sampling = Sampling {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
    };

    fn drawn(sampling: Sampling, likely: &[f32]) -> Vec<u32> {
        let draw = |_| sampling.choose(likely.to_vec(), &[], |_| true).unwrap();
        let mut all: Vec<u32> = (0..300).map(draw).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn without_temperature_the_likeliest_that_is_allowed_is_chosen() {
        let greedy = Sampling {
            temperature: 0.0,
            ..NARROW
        };
        let likely = vec![0.0, 3.0, 2.0, f32::NAN];
        assert_eq!(greedy.choose(likely.clone(), &[], |_| true), Some(1));
        assert_eq!(
            greedy.choose(likely.clone(), &[], |token| token != 1),
            Some(2)
        );
        assert_eq!(greedy.choose(likely, &[], |_| false), None);
    }

    #[test]
    fn each_limit_leaves_what_it_says() {
        // Shares of about 0.64, 0.24, 0.09 and 0.03.
        let likely = [4.0, 3.0, 2.0, 1.0];
        assert_eq!(drawn(NARROW, &likely), [0, 1, 2, 3]);
        assert_eq!(drawn(Sampling { top_k: 2, ..NARROW }, &likely), [0, 1]);
        assert_eq!(
            drawn(
                Sampling {
                    top_p: 0.7,
                    ..NARROW
                },
                &likely
            ),
            [0, 1]
        );
        assert_eq!(
            drawn(
                Sampling {
                    min_p: 0.1,
                    ..NARROW
                },
                &likely
            ),
            [0, 1, 2]
        );
        let cold = Sampling {
            temperature: 0.01,
            ..NARROW
        };
        assert_eq!(drawn(cold, &likely), [0]);
    }

    #[test]
    fn what_was_said_becomes_less_likely() {
        let sampling = Sampling {
            temperature: 0.0,
            repetition_penalty: 2.0,
            ..NARROW
        };
        assert_eq!(sampling.choose(vec![3.0, 2.0], &[0], |_| true), Some(1));
        assert_eq!(sampling.choose(vec![-1.0, -1.5], &[0], |_| true), Some(1));
    }
}
