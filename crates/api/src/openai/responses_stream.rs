//! The events of a streamed response.

use bytes::BytesMut;
use mnemic_core::runs::RunError;
use mnemic_engine::Event;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    errors::OpenAiError,
    reading::{CallPiece, Reader, Seen},
    responses_view::{CallItem, ResponseView, item_id, message, part},
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

/// An item that is being written.
enum Open {
    /// A message: its id and its text so far.
    Message(String, String),
    /// A call of a client's tool.
    Call(CallItem),
}

/// Writes the events of a response, each with its name and number.
pub struct Steps {
    response: ResponseView,
    /// What is being written.
    open: Option<Open>,
    reader: Reader,
    number: u64,
    out: BytesMut,
}

impl Steps {
    /// The events of a response that was begun.
    #[must_use]
    pub fn new(response: ResponseView, reader: Reader) -> Self {
        let mut steps = Self {
            response,
            open: None,
            reader,
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
        self.open = Some(Open::Message(id, String::new()));
    }

    fn words(&mut self, words: &str) {
        let index = self.index();
        let Some(Open::Message(id, text)) = &mut self.open else {
            return;
        };
        text.push_str(words);
        let event = json!({
            "item_id": id, "output_index": index, "content_index": 0, "delta": words, "logprobs": [],
        });
        self.write("response.output_text.delta", event);
    }

    fn call(&mut self, piece: &CallPiece<'_>) {
        if let Some((call_id, name)) = piece.begins {
            self.end_item();
            let index = self.index();
            let call = CallItem::begun(call_id, name);
            self.write(
                "response.output_item.added",
                json!({ "output_index": index, "item": call.view("in_progress") }),
            );
            self.open = Some(Open::Call(call));
        }
        self.arguments(piece.arguments);
    }

    fn arguments(&mut self, fragment: &str) {
        let index = self.index();
        let Some(Open::Call(call)) = &mut self.open else {
            return;
        };
        if fragment.is_empty() {
            return;
        }
        call.arguments.push_str(fragment);
        let event = json!({ "item_id": call.id, "output_index": index, "delta": fragment });
        self.write("response.function_call_arguments.delta", event);
    }

    fn end_item(&mut self) {
        match self.open.take() {
            Some(Open::Message(id, text)) => self.end_message(&id, &text),
            Some(Open::Call(call)) => self.end_call(&call),
            None => {}
        }
    }

    fn end_call(&mut self, call: &CallItem) {
        let index = self.index();
        self.write(
            "response.function_call_arguments.done",
            json!({
                "item_id": call.id, "output_index": index, "name": call.name, "arguments": call.arguments,
            }),
        );
        let item = call.view("completed");
        self.write(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
        );
        self.response.output.push(item);
    }

    fn end_message(&mut self, id: &str, text: &str) {
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
                "item_id": id, "output_index": index, "content_index": 0, "part": part(text),
            }),
        );
        let item = message(id, "completed", Some(text));
        self.write(
            "response.output_item.done",
            json!({ "output_index": index, "item": item }),
        );
        self.response.output.push(item);
    }

    fn failed(&mut self, error: &RunError) {
        self.end_item();
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
                    self.end_item();
                    self.begin_message();
                }
                self.words(text);
            }
            Some(Seen::Failed(error)) => self.failed(error),
            Some(Seen::Calls(pieces)) => pieces.iter().for_each(|piece| self.call(piece)),
            Some(Seen::Ended { reason, usage }) => {
                self.end_item();
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
