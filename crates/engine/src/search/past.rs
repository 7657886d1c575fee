//! What a block said once and no longer says: its lines, found again and marked as superseded.

use std::collections::HashSet;

use mnemic_core::time::Timestamp;
use mnemic_store::blocks::PastValue;

use super::shelf::Text;

/// Lines of fewer characters say nothing on their own.
const MIN_CHARS: usize = 3;

/// A line that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PastLine {
    /// The line.
    pub text: String,
    /// Since when it was there.
    pub since: Timestamp,
    /// When it went.
    pub until: Timestamp,
}

/// The lines that a block has and had.
#[derive(Debug, Default)]
pub(super) struct Lines {
    present: Vec<(String, Timestamp)>,
    gone: Vec<PastLine>,
}

impl Lines {
    /// Goes on to the next value of the block. Returns the lines that went with it, numbered in the
    /// order in which lines went, and the numbers of those that are back.
    pub(super) fn follow(&mut self, value: &PastValue) -> (Vec<Text>, Vec<i64>) {
        let now: HashSet<&str> = lines(&value.value).collect();
        let mut texts = Vec::new();
        let mut kept = Vec::with_capacity(now.len());
        for (line, since) in std::mem::take(&mut self.present) {
            if now.contains(line.as_str()) {
                kept.push((line, since));
                continue;
            }
            texts.push(Text {
                key: i64::try_from(self.gone.len()).unwrap_or(i64::MAX),
                text: line.clone(),
                speaker: None,
                time: since,
                session: 0,
                role: 0,
                tags: Vec::new(),
                superseded: true,
            });
            self.gone.push(PastLine {
                text: line,
                since,
                until: value.created_at,
            });
        }
        let back = (0..)
            .zip(&self.gone)
            .filter(|(_, line)| now.contains(line.text.as_str()))
            .map(|(number, _)| number);
        let back = back.collect();
        let mut known: HashSet<String> = kept.iter().map(|(line, _)| line.clone()).collect();
        for line in lines(&value.value) {
            if known.insert(line.to_owned()) {
                kept.push((line.to_owned(), value.created_at));
            }
        }
        self.present = kept;
        (texts, back)
    }

    /// A line that went, unless it is back.
    pub(super) fn gone(&self, key: i64) -> Option<&PastLine> {
        let line = self.gone.get(usize::try_from(key).ok()?)?;
        let is_back = self.present.iter().any(|(text, _)| *text == line.text);
        (!is_back).then_some(line)
    }

    pub(super) fn bytes(&self) -> usize {
        let present: usize = self.present.iter().map(|(line, _)| line.len() + 40).sum();
        let gone: usize = self.gone.iter().map(|line| line.text.len() + 48).sum();
        present + gone
    }
}

fn lines(value: &str) -> impl Iterator<Item = &str> {
    value
        .lines()
        .map(str::trim)
        .filter(|line| line.chars().nth(MIN_CHARS - 1).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(version: i64, value: &str) -> PastValue {
        PastValue {
            version,
            value: value.to_owned(),
            created_at: Timestamp(version),
        }
    }

    #[test]
    fn a_line_that_was_rewritten_is_kept_with_its_times() {
        let mut lines = Lines::default();
        let (gone, _) = lines.follow(&value(1, "Lives in Oslo.\nHas a cat."));
        assert!(gone.is_empty());
        let (gone, back) = lines.follow(&value(2, "Lives in Rome.\nHas a cat."));
        assert!(back.is_empty());
        assert_eq!(gone.len(), 1);
        assert_eq!(
            (gone[0].text.as_str(), gone[0].superseded),
            ("Lives in Oslo.", true)
        );
        let line = lines.gone(gone[0].key).unwrap();
        assert_eq!((line.since, line.until), (Timestamp(1), Timestamp(2)));
    }

    #[test]
    fn a_line_that_came_back_is_not_superseded() {
        let mut lines = Lines::default();
        lines.follow(&value(1, "Lives in Oslo."));
        lines.follow(&value(2, "Lives in Rome."));
        let (_, back) = lines.follow(&value(3, "Lives in Oslo."));
        assert_eq!(back, [0]);
        assert_eq!(lines.gone(0), None);
        assert_eq!(lines.gone(1).unwrap().text, "Lives in Rome.");
    }
}
