//! The wire form of a list of messages: appended to, never rendered again.

use std::sync::Arc;

use bytes::Bytes;
use mnemic_core::messages::{ContentPart, Image, MessageBody, ReasoningOrigin, Role};

use crate::{
    anthropic::{
        self,
        render::{Marks, Turns},
    },
    body::{BodyWriter, SHARED_FROM},
    endpoints::{Endpoint, Protocol},
    gemini, ollama, openai_chat, openai_responses,
    wire_form::wire_id,
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
    /// Calls of the last assistant message that have no return yet.
    pub(crate) open_calls: Vec<OpenCall>,
    /// Images of returns, for protocols whose returns hold none: a user's message shows them after the last return.
    pub(crate) returned_images: Vec<Image>,
    /// What only the forms with two speakers need: Anthropic's and Gemini's.
    pub(crate) turns: Turns,
    sealed_bytes: usize,
    len_bytes: usize,
    len_messages: usize,
    has_images: bool,
}

/// A call without a return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenCall {
    /// The stored id in a form that servers take; the return is found by it.
    pub id: String,
    /// The id that is sent.
    pub sent: String,
}

/// What of a message's form depends on the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Style {
    pub protocol: Protocol,
    pub echo_reasoning: bool,
    /// The provider whose signed reasoning is sent back.
    pub signer: Option<Arc<str>>,
}

impl Style {
    /// Whether reasoning of this origin may go back where the transcript goes.
    pub fn signed_by(&self, origin: Option<&ReasoningOrigin>) -> bool {
        let (Some(signer), Some(origin)) = (&self.signer, origin) else {
            return false;
        };
        **signer == *origin.provider && origin.protocol == self.protocol.as_str()
    }
}

impl Transcript {
    /// An empty one in a protocol's plain form.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self::styled(Style {
            protocol,
            echo_reasoning: false,
            signer: None,
        })
    }

    /// An empty one in the form that an endpoint wants.
    #[must_use]
    pub fn for_endpoint(endpoint: &Endpoint) -> Self {
        Self::styled(endpoint.style())
    }

    fn styled(style: Style) -> Self {
        Self {
            style,
            sealed: Vec::new(),
            tail: Vec::new(),
            open_calls: Vec::new(),
            returned_images: Vec::new(),
            turns: Turns::default(),
            sealed_bytes: 0,
            len_bytes: 0,
            len_messages: 0,
            has_images: false,
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
            Protocol::OpenAiResponses => openai_responses::render::message(self, message),
            Protocol::Anthropic => anthropic::render::message(self, message),
            Protocol::Ollama => ollama::render::message(self, message),
            Protocol::Gemini => gemini::render::message(self, message),
        }
        self.len_bytes += self.tail.len() - before;
        self.len_messages += 1;
        let said = &message.body.content;
        let returned = &message.body.tool_returns;
        self.has_images |= said
            .iter()
            .any(|part| matches!(part, ContentPart::Image { .. }))
            || returned.iter().any(|result| !result.images.is_empty());
        if self.tail.len() >= SHARED_FROM {
            self.sealed_bytes += self.tail.len();
            self.sealed
                .push(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }

    /// Bytes of all messages.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Whether any message holds an image.
    pub(crate) const fn has_images(&self) -> bool {
        self.has_images
    }

    /// How many messages were pushed, also those of which nothing is sent.
    #[must_use]
    pub const fn len_messages(&self) -> usize {
        self.len_messages
    }

    /// Takes the open call that a return answers.
    pub(crate) fn answered(&mut self, tool_call_id: &str) -> Option<OpenCall> {
        let id = wire_id(tool_call_id);
        let Some(at) = self.open_calls.iter().position(|open| *open.id == *id) else {
            tracing::debug!(tool_call_id, "a return without a call is left out");
            return None;
        };
        Some(self.open_calls.remove(at))
    }

    /// Bytes of what is rendered so far; a place in it stays what it is.
    pub(crate) fn place(&self) -> usize {
        self.sealed_bytes + self.tail.len()
    }

    /// Appends the messages to a request, each with a comma before it.
    pub(crate) fn write_to(&self, body: &mut BodyWriter) {
        let missing = match self.style.protocol {
            Protocol::OpenAiChat => openai_chat::render::missing_return,
            Protocol::OpenAiResponses => openai_responses::render::missing_return,
            Protocol::Ollama => ollama::render::missing_return,
            Protocol::Anthropic => return anthropic::render::write(self, body, Marks::Without),
            Protocol::Gemini => return gemini::render::write(self, body),
        };
        self.write_marked(body, &[], b"");
        for call in &self.open_calls {
            missing(body.bytes(), &call.sent);
        }
    }

    /// Appends what is rendered, with `mark` put in at these places, which ascend.
    pub(crate) fn write_marked(&self, body: &mut BodyWriter, places: &[usize], mark: &[u8]) {
        let mut places = places.iter().copied().peekable();
        let mut start = 0;
        for segment in &self.sealed {
            let mut rest = segment.clone();
            while let Some(place) = places.next_if(|place| *place < start + rest.len()) {
                body.shared(&rest.split_to(place.saturating_sub(start)));
                body.bytes().extend_from_slice(mark);
                start = place;
            }
            start += rest.len();
            body.shared(&rest);
        }
        let mut rest = self.tail.as_slice();
        for place in places {
            let Some((before, after)) = rest.split_at_checked(place.saturating_sub(start)) else {
                break;
            };
            body.bytes().extend_from_slice(before);
            body.bytes().extend_from_slice(mark);
            (start, rest) = (place, after);
        }
        body.bytes().extend_from_slice(rest);
    }
}
