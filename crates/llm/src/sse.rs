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
