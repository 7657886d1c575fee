//! Server-sent events, read from bytes that arrive in pieces of any size.
//!
//! After the WHATWG HTML standard, "Parsing an event stream": lines end in LF, CR or CRLF, a line
//! that begins with a colon is a comment, several `data` lines make one text, an empty line ends the
//! event, one byte-order mark at the start is skipped. More lenient in three things that servers do:
//! an event that the end of the stream cuts off before its empty line still counts, a field named
//! `error` is an event of that name (old llama-servers), and a line without a colon that is a JSON
//! object is data.

/// An event, borrowed from the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The `event` field; empty when there was none.
    pub name: &'a str,
    /// The `data` lines, joined by line breaks.
    pub data: &'a [u8],
}

/// A line or an event is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit.
    pub limit: usize,
}

/// An incremental parser.
#[derive(Debug)]
pub struct SseParser {
    limit: usize,
    /// A line whose end has not come.
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    name: String,
    at_start: bool,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl SseParser {
    /// A parser that refuses lines and events longer than `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            name: String::new(),
            at_start: true,
            after_cr: false,
        }
    }

    /// Takes in the next bytes and hands every event that they complete to `sink`.
    ///
    /// # Errors
    /// When a line or an event is longer than the limit; the parser is of no use afterwards.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(SseEvent<'_>),
    ) -> Result<(), TooLong> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + line.len() > self.limit {
                return Err(TooLong { limit: self.limit });
            }
            let Some((terminator, rest)) = rest.split_first() else {
                self.line.extend_from_slice(line);
                return Ok(());
            };
            self.after_cr = *terminator == b'\r';
            if self.line.is_empty() {
                self.end_line(line, sink)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.end_line(&whole, sink)?;
                whole.clear();
                self.line = whole;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The bytes are over: hands out what they left unfinished.
    ///
    /// # Errors
    /// As [`SseParser::feed`].
    pub fn finish(&mut self, sink: &mut impl FnMut(SseEvent<'_>)) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line, sink)?;
        }
        self.dispatch(sink);
        Ok(())
    }

    fn end_line(
        &mut self,
        line: &[u8],
        sink: &mut impl FnMut(SseEvent<'_>),
    ) -> Result<(), TooLong> {
        let line = match line.strip_prefix(BOM) {
            Some(rest) if self.at_start => rest,
            _ => line,
        };
        self.at_start = false;
        if line.is_empty() {
            self.dispatch(sink);
            return Ok(());
        }
        if line.first() == Some(&b'{') {
            return self.add_data(line);
        }
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.add_data(value),
            b"event" => {
                self.name = String::from_utf8_lossy(value).into_owned();
                Ok(())
            }
            b"error" => {
                "error".clone_into(&mut self.name);
                self.add_data(value)
            }
            _ => Ok(()),
        }
    }

    fn add_data(&mut self, value: &[u8]) -> Result<(), TooLong> {
        if self.data.len() + value.len() + 1 > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        Ok(())
    }

    fn dispatch(&mut self, sink: &mut impl FnMut(SseEvent<'_>)) {
        if std::mem::take(&mut self.has_data) {
            sink(SseEvent {
                name: &self.name,
                data: &self.data,
            });
            self.data.clear();
        }
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Result<Vec<(String, String)>, TooLong> {
        let mut events = Vec::new();
        let mut sink = |event: SseEvent<'_>| {
            let data = String::from_utf8_lossy(event.data).into_owned();
            events.push((event.name.to_owned(), data));
        };
        let mut parser = SseParser::new(1024);
        for piece in pieces {
            parser.feed(piece, &mut sink)?;
        }
        parser.finish(&mut sink)?;
        Ok(events)
    }

    fn data_of(stream: &str) -> Vec<String> {
        parse(&[stream.as_bytes()])
            .unwrap()
            .into_iter()
            .map(|(_, data)| data)
            .collect()
    }

    #[test]
    fn events_are_found_in_every_form_of_stream() {
        let table: [(&str, &[&str]); 16] = [
            ("data: a\n\ndata: b\n\n", &["a", "b"]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            ("data: a\r\rdata: b\r\r", &["a", "b"]),
            ("data:a\n\n", &["a"]),
            ("data:  a\n\n", &[" a"]),
            ("data: a\ndata: b\n\n", &["a\nb"]),
            ("data\n\n", &[""]),
            ("data:\ndata:\n\n", &["\n"]),
            (": keep-alive\n\ndata: a\n\n", &["a"]),
            ("id: 7\nretry: 10\ndata: a\nfoo: bar\n\n", &["a"]),
            ("\n\n\ndata: a\n\n\n\n", &["a"]),
            ("data: a\n", &["a"]),
            ("data: a", &["a"]),
            ("\u{feff}data: a\n\ndata: b\n\n", &["a", "b"]),
            (
                "{\"error\":{\"code\":500}}\n",
                &["{\"error\":{\"code\":500}}"],
            ),
            ("event: ping\n\ndata: a\n\n", &["a"]),
        ];
        for (stream, expected) in table {
            assert_eq!(data_of(stream), expected, "{stream:?}");
        }
    }

    #[test]
    fn an_event_has_its_name_and_the_next_one_does_not_inherit_it() {
        let events = parse(&[b"event: error\ndata: a\n\ndata: b\n\nerror: {}\n\n"]).unwrap();
        let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["error", "", "error"]);
    }

    #[test]
    fn a_character_may_be_torn_between_two_pieces() {
        let stream = "data: 記憶\n\n".as_bytes();
        for cut in 0..=stream.len() {
            let (a, b) = stream.split_at(cut);
            assert_eq!(
                parse(&[a, b]).unwrap(),
                [(String::new(), "記憶".to_owned())],
                "cut {cut}"
            );
        }
    }

    #[test]
    fn lines_and_events_beyond_the_limit_are_refused_and_those_at_it_are_not() {
        let line = |len: usize| format!("data: {}\n\n", "x".repeat(len));
        assert_eq!(parse(&[line(1018).as_bytes()]).unwrap().len(), 1);
        assert_eq!(
            parse(&[line(1019).as_bytes()]),
            Err(TooLong { limit: 1024 })
        );
        let endless = [b'x'; 600];
        assert_eq!(parse(&[&endless, &endless]), Err(TooLong { limit: 1024 }));
        let many = format!("data: {}\n", "x".repeat(500)).repeat(3);
        assert_eq!(parse(&[many.as_bytes()]), Err(TooLong { limit: 1024 }));
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("data: {\"a\":1}".to_owned()),
            Just("data:".to_owned()),
            Just("event: error".to_owned()),
            Just(": comment".to_owned()),
            Just("\u{feff}".to_owned()),
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n\n".to_owned()),
            "[ -~é語:{}]{0,12}",
            Just("data: ".to_owned() + &"y".repeat(700)),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            bytes in stream(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse(&pieces), parse(&[&bytes]));
        }

        #[test]
        fn no_bytes_make_it_fail_otherwise(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
            prop_assert!(parse(&[&bytes]).is_ok());
        }
    }
}
