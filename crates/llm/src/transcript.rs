//! The wire form of a list of messages: appended to, never rendered again.

use bytes::Bytes;
use mnemic_core::messages::{MessageBody, Role};

use crate::{
    body::{BodyWriter, SHARED_FROM},
    endpoints::{Endpoint, Protocol},
    openai_chat,
};

/// A message as far as the model sees it.
#[derive(Debug, Clone, Copy)]
pub struct MessageView<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub body: &'a MessageBody,
    /// The speaker's name.
    pub name: Option<&'a str>,
}

/// Messages after the system prompt, as the bytes that go to the provider.
///
/// Appending costs what the new message costs. A clone is a snapshot: sealed segments are shared
/// and at most 16 KB are copied, however long the history is.
///
/// A provider refuses a history in which a tool call has no return or a return no call, and would
/// refuse it for ever after. Histories can come to that by edits and imports, so the transcript
/// closes unanswered calls itself and leaves orphaned returns out.
#[derive(Debug, Clone)]
pub struct Transcript {
    pub(crate) style: Style,
    pub(crate) sealed: Vec<Bytes>,
    pub(crate) tail: Vec<u8>,
    /// Calls of the last assistant message that have no return yet, by their wire ids.
    pub(crate) open_calls: Vec<String>,
    len_bytes: usize,
    len_messages: usize,
}

/// What of a message's form depends on the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub protocol: Protocol,
    pub echo_reasoning: bool,
}

impl Transcript {
    /// An empty one in a protocol's plain form.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Self::styled(Style {
            protocol,
            echo_reasoning: false,
        })
    }

    /// An empty one in the form that an endpoint wants.
    #[must_use]
    pub fn for_endpoint(endpoint: &Endpoint) -> Self {
        Self::styled(endpoint.style())
    }

    const fn styled(style: Style) -> Self {
        Self {
            style,
            sealed: Vec::new(),
            tail: Vec::new(),
            open_calls: Vec::new(),
            len_bytes: 0,
            len_messages: 0,
        }
    }

    /// Whether its bytes can go to an endpoint as they are; when not, it must be made anew.
    #[must_use]
    pub fn fits(&self, endpoint: &Endpoint) -> bool {
        self.style == endpoint.style()
    }

    /// Appends a message.
    pub fn push(&mut self, message: &MessageView<'_>) {
        let before = self.tail.len();
        match self.style.protocol {
            Protocol::OpenAiChat => openai_chat::render::message(self, message),
        }
        self.len_bytes += self.tail.len() - before;
        self.len_messages += 1;
        if self.tail.len() >= SHARED_FROM {
            self.sealed
                .push(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }

    /// Bytes of all messages.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// How many messages were pushed, also those of which nothing is sent.
    #[must_use]
    pub const fn len_messages(&self) -> usize {
        self.len_messages
    }

    /// Appends the messages to a request, each with a comma before it.
    pub(crate) fn write_to(&self, body: &mut BodyWriter) {
        for segment in &self.sealed {
            body.shared(segment);
        }
        body.bytes().extend_from_slice(&self.tail);
        match self.style.protocol {
            Protocol::OpenAiChat => {
                for id in &self.open_calls {
                    openai_chat::render::missing_return(body.bytes(), id);
                }
            }
        }
    }
}
