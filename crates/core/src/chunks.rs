//! Cuts texts that are longer than a model reads into pieces that it reads whole.
//!
//! A cut is made where a paragraph ends, else a line, a sentence, a clause, else between words. Each piece
//! begins with the end of the one before, so that what a cut parts is whole in one of them.

use std::ops::Range;

/// A word, or whatever else is not to be cut, and the tokens that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its bytes in the text.
    pub place: Range<usize>,
    /// Its tokens.
    pub tokens: usize,
}

/// How long pieces are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSize {
    /// Tokens of a piece at the most.
    pub tokens: usize,
    /// Tokens at the most that it shares with the one before.
    pub overlap: usize,
}

/// How good a place is for a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Border {
    Word,
    Clause,
    Sentence,
    Line,
    Paragraph,
}

/// The pieces of a text as ranges of its bytes. Together they cover it; a text that fits is one piece.
///
/// A span with more tokens than a piece may have is a piece of its own.
#[must_use]
pub fn split(text: &str, spans: &[Span], size: ChunkSize) -> Vec<Range<usize>> {
    let total: usize = spans.iter().map(|span| span.tokens).sum();
    if total <= size.tokens || spans.len() < 2 {
        return std::iter::once(0..text.len()).collect();
    }
    let cutter = Cutter { text, spans, size };
    let mut chunks = Vec::new();
    let (mut first, mut end) = (0, 0);
    loop {
        end = cutter.end(first, end);
        chunks.push(cutter.bytes(first, end));
        if end >= spans.len() {
            return chunks;
        }
        first = cutter.next(first, end);
    }
}

struct Cutter<'a> {
    text: &'a str,
    spans: &'a [Span],
    size: ChunkSize,
}

impl Cutter<'_> {
    fn tokens(&self, index: usize) -> usize {
        self.spans.get(index).map_or(0, |span| span.tokens)
    }

    /// The span before which the piece that begins with `first` ends; the one before it ended before
    /// `reached`.
    fn end(&self, first: usize, reached: usize) -> usize {
        let (mut end, mut taken) = (first, 0);
        let (mut best, mut best_border) = (reached + 1, Border::Word);
        while end < self.spans.len() && taken + self.tokens(end) <= self.size.tokens {
            taken += self.tokens(end);
            end += 1;
            let border = self.border(end);
            // Later cuts are as good as earlier ones of their kind; early ones would make small pieces.
            let long = end > reached && taken * 2 >= self.size.tokens;
            if long && border >= best_border {
                (best, best_border) = (end, border);
            }
        }
        if end >= self.spans.len() {
            return end;
        }
        best
    }

    /// The span with which the piece after the one of `first..end` begins.
    fn next(&self, first: usize, end: usize) -> usize {
        let (mut start, mut shared) = (end, 0);
        let mut sentence = None;
        while start > first + 1 && shared + self.tokens(start - 1) <= self.size.overlap {
            start -= 1;
            shared += self.tokens(start);
            if self.border(start) >= Border::Sentence {
                sentence = Some(start);
            }
        }
        let start = sentence.unwrap_or(start);
        let shared: usize = (start..end).map(|index| self.tokens(index)).sum();
        // The piece must reach beyond this one.
        if shared + self.tokens(end) > self.size.tokens {
            return end;
        }
        start
    }

    /// What stands before a span.
    fn border(&self, index: usize) -> Border {
        let before = index
            .checked_sub(1)
            .and_then(|before| self.spans.get(before));
        let (Some(before), Some(after)) = (before, self.spans.get(index)) else {
            return Border::Word;
        };
        let gap = self.text.get(before.place.end..after.place.start);
        let gap = gap.unwrap_or_default();
        match gap.matches('\n').count() {
            0 => {}
            1 => return Border::Line,
            _ => return Border::Paragraph,
        }
        let word = self.text.get(before.place.clone()).unwrap_or_default();
        let spaced = !gap.is_empty();
        match word.chars().next_back() {
            Some('。' | '！' | '？') => Border::Sentence,
            Some('.' | '!' | '?' | '…') if spaced => Border::Sentence,
            Some(',' | ';' | ':') if spaced => Border::Clause,
            Some('、' | '，' | '；' | '：') => Border::Clause,
            _ => Border::Word,
        }
    }

    /// The bytes of a piece, with what stands between it and the next one.
    fn bytes(&self, first: usize, end: usize) -> Range<usize> {
        let begins = |index: usize| self.spans.get(index).map(|span| span.place.start);
        let start = if first == 0 {
            0
        } else {
            begins(first).unwrap_or(0)
        };
        start..begins(end).unwrap_or(self.text.len())
    }
}

/// The words of a text for models whose tokenizer is not at hand: parts between white space, none longer
/// than `longest` bytes, with the tokens that `count` gives them.
pub fn plain_spans(text: &str, longest: usize, count: impl Fn(&str) -> usize) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = 0;
    for part in text.split_inclusive(char::is_whitespace) {
        let mut rest = part.trim_end();
        let mut start = at;
        at += part.len();
        while !rest.is_empty() {
            let cut = rest.floor_char_boundary(longest.max(4));
            let (word, after) = rest.split_at(cut);
            spans.push(Span {
                place: start..start + word.len(),
                tokens: count(word),
            });
            start += word.len();
            rest = after;
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: ChunkSize = ChunkSize {
        tokens: 10,
        overlap: 3,
    };

    fn pieces(text: &str) -> Vec<&str> {
        let spans = plain_spans(text, 40, |_| 1);
        let chunks = split(text, &spans, SIZE);
        chunks.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_text_that_fits_is_one_piece() {
        assert_eq!(pieces("a b c"), ["a b c"]);
        assert_eq!(pieces(""), [""]);
        assert_eq!(pieces(" \n "), [" \n "]);
    }

    #[test]
    fn cuts_are_made_where_paragraphs_and_sentences_end() {
        let text = "One two three four. Five six seven. Eight nine ten eleven twelve thirteen.";
        assert_eq!(
            pieces(text),
            [
                "One two three four. Five six seven. ",
                "Five six seven. Eight nine ten eleven twelve thirteen."
            ]
        );
        let text = "One two three four five six\n\nseven. Eight. Nine ten eleven twelve.";
        assert_eq!(pieces(text)[0], "One two three four five six\n\n");
    }

    #[test]
    fn words_without_any_border_overlap() {
        let text = "a b c d e f g h i j k l m";
        assert_eq!(pieces(text), ["a b c d e f g h i j ", "h i j k l m"]);
    }

    proptest! {
        #[test]
        fn the_pieces_cover_the_text_in_order_and_each_fits(
            text in "([a-z]{1,6}|[.,!]|日本|é{1,50}| |\n|\n\n){0,120}",
            tokens in 1_usize..20,
            overlap in 0_usize..25,
        ) {
            let spans = plain_spans(&text, 8, |word| word.chars().count().div_ceil(3));
            let count = |range: &Range<usize>| -> usize {
                let inside = |span: &&Span| range.start <= span.place.start && span.place.end <= range.end;
                spans.iter().filter(inside).map(|span| span.tokens).sum()
            };
            let chunks = split(&text, &spans, ChunkSize { tokens, overlap });
            prop_assert_eq!(chunks.first().unwrap().start, 0);
            prop_assert_eq!(chunks.last().unwrap().end, text.len());
            for pair in chunks.windows(2) {
                prop_assert!(pair[1].start <= pair[0].end, "a gap");
                prop_assert!(pair[0].start < pair[1].start, "no progress");
                prop_assert!(pair[0].end < pair[1].end, "no progress");
            }
            let longest = spans.iter().map(|span| span.tokens).max().unwrap_or(0);
            for chunk in &chunks {
                prop_assert!(text.get(chunk.clone()).is_some(), "cuts a character");
                prop_assert!(count(chunk) <= tokens.max(longest));
            }
        }
    }
}
