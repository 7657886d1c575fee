//! Lines, read from bytes that arrive in pieces of any size: the streams of one JSON object to a line.

use crate::sse::TooLong;

/// An incremental parser of lines, which end in LF or CRLF. Empty ones are left out.
#[derive(Debug)]
pub struct LineParser {
    limit: usize,
    /// A line whose end has not come.
    open: Vec<u8>,
}

impl LineParser {
    /// A parser that refuses lines longer than `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            open: Vec::new(),
        }
    }

    /// Takes in the next bytes and hands every line that they complete to `sink`.
    ///
    /// # Errors
    /// When a line is longer than the limit; the parser is of no use afterwards.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            self.check(line.len())?;
            if self.open.is_empty() {
                hand_out(line, sink);
            } else {
                self.open.extend_from_slice(line);
                hand_out(&self.open, sink);
                self.open.clear();
            }
        }
        self.check(bytes.len())?;
        self.open.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes are over: hands out a last line that nothing ended.
    ///
    /// # Errors
    /// As [`LineParser::feed`].
    pub fn finish(&mut self, sink: &mut impl FnMut(&[u8])) -> Result<(), TooLong> {
        hand_out(&std::mem::take(&mut self.open), sink);
        Ok(())
    }

    const fn check(&self, more: usize) -> Result<(), TooLong> {
        if self.open.len().saturating_add(more) > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        Ok(())
    }
}

fn hand_out(line: &[u8], sink: &mut impl FnMut(&[u8])) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.is_empty() {
        sink(line);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]], limit: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut found = Vec::new();
        let mut sink = |line: &[u8]| found.push(line.to_vec());
        let mut parser = LineParser::new(limit);
        for piece in pieces {
            parser.feed(piece, &mut sink)?;
        }
        parser.finish(&mut sink)?;
        Ok(found)
    }

    #[test]
    fn lines_are_found_however_they_end() {
        for (text, expected) in [
            ("a\nb\n", vec!["a", "b"]),
            ("a\r\nb", vec!["a", "b"]),
            ("\n\na\n\n", vec!["a"]),
            ("", vec![]),
        ] {
            let expected: Vec<Vec<u8>> = expected.into_iter().map(Into::into).collect();
            assert_eq!(lines(&[text.as_bytes()], 9), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_and_one_at_it_is_not() {
        assert!(lines(&[b"123456789\n1"], 9).is_ok());
        let too_long = Err(TooLong { limit: 9 });
        assert_eq!(lines(&[b"1234567890\n"], 9), too_long);
        assert_eq!(lines(&[b"12345", b"67890"], 9), too_long);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            text in "[a\r\n語]{0,40}",
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&pieces, 99), lines(&[bytes], 99));
        }
    }
}
