//! Request bodies put together from bytes that exist already.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Pieces from this size on are sent as they are; smaller ones are copied together, because a copy
/// of a few kilobytes costs less than one more buffer on its way through the connection.
pub(crate) const SHARED_FROM: usize = 16 * 1024;

/// Collects a body.
#[derive(Debug, Default)]
pub(crate) struct BodyWriter {
    pieces: Vec<Bytes>,
    open: Vec<u8>,
}

impl BodyWriter {
    /// One with room for `capacity` bytes of its own.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            pieces: Vec::new(),
            open: Vec::with_capacity(capacity),
        }
    }

    /// Where small things are written.
    pub const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.open
    }

    /// Appends bytes that somebody else keeps too.
    pub fn shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_FROM {
            self.open.extend_from_slice(bytes);
            return;
        }
        if !self.open.is_empty() {
            self.pieces
                .push(Bytes::from(std::mem::take(&mut self.open)));
        }
        self.pieces.push(bytes.clone());
    }

    /// Appends what another writer holds but for its first byte.
    pub fn append_without_first_byte(&mut self, other: Self) {
        let mut skipped = false;
        let pieces = other.finish().pieces;
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            let from = usize::from(!std::mem::replace(&mut skipped, true));
            self.shared(&piece.slice(from..));
        }
    }

    /// The body.
    pub fn finish(mut self) -> WireBody {
        if !self.open.is_empty() {
            self.pieces.push(Bytes::from(self.open));
        }
        let len = self.pieces.iter().map(Bytes::len).sum();
        WireBody {
            pieces: self.pieces,
            len,
        }
    }
}

/// A finished body; cloning it shares the bytes, so that a retry costs nothing.
#[derive(Debug, Clone)]
pub(crate) struct WireBody {
    pieces: Vec<Bytes>,
    len: usize,
}

impl WireBody {
    /// As the HTTP client takes it, with a known length.
    pub fn to_request(&self) -> reqwest::Body {
        match self.pieces.as_slice() {
            [only] => reqwest::Body::from(only.clone()),
            _ => reqwest::Body::wrap(Pieces {
                rest: self.pieces.clone().into_iter(),
                left: self.len,
            }),
        }
    }

    /// How many bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// All bytes in one piece, for tests and replacements.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// A body of one piece.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        Self {
            pieces: vec![Bytes::from(bytes)],
            len,
        }
    }
}

/// Yields the pieces in turn.
struct Pieces {
    rest: std::vec::IntoIter<Bytes>,
    left: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.rest.next();
        if let Some(piece) = &piece {
            self.left -= piece.len();
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_joined_and_big_ones_are_shared() {
        let big = Bytes::from(vec![b'b'; SHARED_FROM]);
        let mut writer = BodyWriter::default();
        writer.bytes().extend_from_slice(b"head");
        writer.shared(&Bytes::from_static(b"small"));
        writer.shared(&big);
        writer.bytes().extend_from_slice(b"tail");
        let body = writer.finish();
        assert_eq!(body.pieces.len(), 3);
        assert_eq!(
            body.pieces[1].as_ptr(),
            big.as_ptr(),
            "the big piece was copied"
        );
        assert_eq!(body.len, 9 + SHARED_FROM + 4);
        assert_eq!(
            body.to_vec(),
            [b"headsmall", big.as_ref(), b"tail"].concat()
        );
    }
}
