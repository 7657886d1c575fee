//! Which rows of a scope are still to be looked through: work on a large scope is done in slices, and
//! the next one goes on where the last one stopped.

/// Rows between two numbers, without these.
type Gap = (i64, i64);

/// What is left of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gaps {
    /// The newest rows last.
    left: Vec<Gap>,
    /// The greatest number that was seen.
    pub top: i64,
}

impl Gaps {
    /// All rows above a number.
    pub(super) fn above(done_to: i64) -> Self {
        Self {
            left: vec![(done_to, i64::MAX)],
            top: done_to,
        }
    }

    /// Adds the rows that may have come since the work stopped.
    pub(super) fn reopen(&mut self) {
        if self.left.last().is_none_or(|(_, below)| *below != i64::MAX) {
            self.left.push((self.top, i64::MAX));
        }
    }

    /// The rows that come next.
    pub(super) fn next(&self) -> Option<Gap> {
        self.left.last().copied()
    }

    /// Says that the rows from `first` down to `last` were looked through.
    pub(super) fn cover(&mut self, first: i64, last: i64) {
        self.top = self.top.max(first);
        if let Some((_, below)) = self.left.last_mut() {
            *below = last;
        }
    }

    /// Says that nothing is left of the rows that came next.
    pub(super) fn close(&mut self) {
        self.left.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_where_it_stopped_after_the_rows_that_came_since() {
        let mut gaps = Gaps::above(10);
        assert_eq!(gaps.next(), Some((10, i64::MAX)));
        gaps.cover(90, 60);
        gaps.reopen();
        assert_eq!(gaps.next(), Some((90, i64::MAX)), "new rows come first");
        gaps.cover(95, 91);
        gaps.close();
        assert_eq!(gaps.next(), Some((10, 60)));
        gaps.close();
        assert_eq!((gaps.next(), gaps.top), (None, 95));
    }

    #[test]
    fn a_scope_without_new_rows_keeps_its_top() {
        let mut gaps = Gaps::above(10);
        gaps.reopen();
        gaps.close();
        assert_eq!((gaps.next(), gaps.top), (None, 10));
    }
}
