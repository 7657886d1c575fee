//! The events of a streamed response.

use bytes::BytesMut;
use mnemic_core::runs::RunError;
use mnemic_engine::Event;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    errors::OpenAiError,
    reading::{Reader, Seen},
    responses_view::{ResponseView, item_id, message, part},
};
use crate::sse::{self, Renderer};

/// An event of a streamed response. What else it holds depends on its type, as OpenAI's description of its API says.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResponseEvent {
    /// What happened, such as `response.output_text.delta`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its number, from 0.
    sequence_number: u64,
    /// The fields of its type, an object.
    #[serde(flatten)]
    fields: Value,
}

/// Writes the events of a response, each with its name and number.
pub struct Steps {
    response: ResponseView,
    /// The message that is being written: its id and its text so far.
    open: Option<(String, String)>,
    reader: Reader,
    number: u64,
    out: BytesMut,
}

impl Steps {
    /// The events of a response that was begun.
    #[must_use]
    pub fn new(response: ResponseView) -> Self {
        let mut steps = Self {
            response,
            open: None,
            reader: Reader::default(),
            number: 0,
            out: BytesMut::new(),
        };
        steps.of_response("response.created");
        steps.of_response("response.in_progress");
        steps
    }

    fn write(&mut self, kind: &'static str, fields: Value) {
        let event = ResponseEvent {
            kind,
            sequence_number: self.number,
            fields,
        };
        self.number += 1;
        self.out.extend_from_slice(b"event: ");
        self.out.extend_from_slice(kind.as_bytes());
        self.out.extend_from_slice(b"\n");
        sse::write_frame(&mut self.out, &event);
    }

    fn of_response(&mut self, kind: &'static str) {
        let event = json!({ "response": self.response });
        self.write(kind, event);
    }

    /// The place of the message that is being written.
    fn index(&self) -> usize {
        self.response.output.len()
    }

    fn begin_message(&mut self) {
        let (id, index) = (item_id(), self.index());
        let item = message(&id, "in_progress", None);
        self.write(
            "response.output_item.added",
            json!({ "output_index": index, "item": item }),
        );
        self.write(
            "response.content_part.added",
            json!({ "item_id": id, "output_index": index, "content_index": 0, "part": part("") }),
        );
        self.open = Some((id, String::new()));
    }

    fn words(&mut self, words: &str) {
        let index = self.index();
        let Some((id, text)) = &mut self.open else {
            return;
        };
        text.push_str(words);
        let event = json!({
            "item_id": id, "output_index": index, "content_index": 0, "delta": words, "logprobs": [],
        });
        self.write("response.output_text.delta", event);
    }

    fn end_message(&mut self) {
        let Some((id, text)) = self.open.take() else {
            return;
        };
        let index = self.index();
        self.write(
            "response.output_text.done",
            json!({
                "item_id": id, "output_index": index, "content_index": 0, "text": text, "logprobs": [],
            }),
        );
        self.write(
            "response.content_part.done",
            json!({
                "item_id": id, "output_index": index, "content_index": 0, "part": part(&text),
            }),
        );
        let item = message(&id, "completed", Some(&text));
        self.write(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
        );
        self.response.output.push(item);
    }

    fn failed(&mut self, error: &RunError) {
        self.end_message();
        self.response.fail(&OpenAiError::of_run(error));
        self.of_response("response.failed");
    }
}

impl Renderer for Steps {
    fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    fn ping(&mut self) {
        // A comment, which clients skip.
        self.out.extend_from_slice(b": ping\n\n");
    }

    fn event(&mut self, _: u64, event: &Event) {
        match self.reader.read(event) {
            Some(Seen::Words { begins, text }) => {
                if begins {
                    self.end_message();
                    self.begin_message();
                }
                self.words(text);
            }
            Some(Seen::Failed(error)) => self.failed(error),
            Some(Seen::Ended { reason, usage }) => {
                self.end_message();
                self.response.end(reason, usage);
                let kind = match self.response.status {
                    "completed" => "response.completed",
                    _ => "response.incomplete",
                };
                self.of_response(kind);
            }
            None => {}
        }
    }

    fn incomplete(&mut self, message: &str) {
        self.failed(&RunError {
            error_type: "stream_incomplete".to_owned(),
            message: message.to_owned(),
            detail: None,
        });
    }
}
