//! Models that failed or hung, and are left alone for a while: what can do without one goes on at once, in
//! place of waiting for it each time anew.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It said so.
    Failed,
    /// It did not answer in time.
    Hung,
}

/// The models that rest, by their handles.
#[derive(Debug)]
pub(crate) struct Rests {
    first: Duration,
    longest: Duration,
    known: Mutex<HashMap<String, Rest>>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    length: Duration,
    trouble: Trouble,
}

impl Rests {
    /// The first rest of a model is so long, and each that follows without a success in between twice as long
    /// as the one before, up to the longest.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            known: Mutex::default(),
        }
    }

    /// Whether a model is to be left alone now.
    pub fn is_resting(&self, handle: &str) -> bool {
        self.rests_at(Instant::now(), handle)
    }

    fn rests_at(&self, now: Instant, handle: &str) -> bool {
        let known = self.known.lock();
        known.get(handle).is_some_and(|rest| now < rest.until)
    }

    /// Leaves a model alone; how long.
    pub fn begin(&self, handle: &str, trouble: Trouble) -> Duration {
        self.begin_at(Instant::now(), handle, trouble)
    }

    fn begin_at(&self, now: Instant, handle: &str, trouble: Trouble) -> Duration {
        let mut known = self.known.lock();
        // Who was not asked again for so long begins anew.
        known.retain(|_, rest| now < rest.until + self.longest);
        let before = known.get(handle).copied();
        if let Some(rest) = before.filter(|rest| now < rest.until) {
            // Several asked it at the same time.
            return rest.until - now;
        }
        let length = before.map_or(self.first, |rest| (rest.length * 2).min(self.longest));
        let rest = Rest {
            until: now + length,
            length,
            trouble,
        };
        known.insert(handle.to_owned(), rest);
        length
    }

    /// The model did what was asked.
    pub fn end(&self, handle: &str) {
        self.known.lock().remove(handle);
    }

    /// The model did something else, which it may do however slow it is.
    pub fn end_failure(&self, handle: &str) {
        let mut known = self.known.lock();
        known.retain(|resting, rest| resting != handle || rest.trouble == Trouble::Hung);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_model_rests_longer_each_time_until_it_works() {
        let rests = Rests::new(SECOND, SECOND * 3);
        let mut now = Instant::now();
        assert!(!rests.rests_at(now, "a"));
        for length in [1, 2, 3, 3] {
            assert_eq!(rests.begin_at(now, "a", Trouble::Hung), SECOND * length);
            now += SECOND * length - SECOND / 2;
            assert!(rests.rests_at(now, "a") && !rests.rests_at(now, "b"));
            let left = rests.begin_at(now, "a", Trouble::Hung);
            assert_eq!(left, SECOND / 2, "it rests already");
            now += SECOND / 2;
            assert!(!rests.rests_at(now, "a"));
        }
        rests.end("a");
        assert_eq!(rests.begin_at(now, "a", Trouble::Hung), SECOND);
    }

    #[test]
    fn a_slow_model_rests_although_it_does_other_things() {
        let rests = Rests::new(SECOND, SECOND);
        let now = Instant::now();
        rests.begin_at(now, "failed", Trouble::Failed);
        rests.begin_at(now, "slow", Trouble::Hung);
        for handle in ["failed", "slow"] {
            rests.end_failure(handle);
        }
        assert!(!rests.rests_at(now, "failed") && rests.rests_at(now, "slow"));
    }

    #[test]
    fn old_troubles_are_forgotten() {
        let rests = Rests::new(SECOND, SECOND * 9);
        let now = Instant::now();
        rests.begin_at(now, "a", Trouble::Failed);
        let later = now + SECOND * 10;
        assert_eq!(rests.begin_at(later, "a", Trouble::Failed), SECOND);
    }
}
