//! A run's events folded into one JSON answer (V1 contract, section 3.2).

use mnemic_core::{
    ids::RunId,
    messages::ToolCall,
    parts::{MessagePart, Part},
    runs::{RunError, StopReason, Usage},
};
use mnemic_engine::{Event, RunHandle};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    letta_messages::{LettaMessage, MessageType, Shown, StopReasonView, UsageView, letta_message},
};

/// What an agent answers to a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct LettaResponse {
    /// What it said, called and got back.
    pub messages: Vec<LettaMessage>,
    /// Why it ended.
    pub stop_reason: StopReasonView,
    /// What it took.
    pub usage: UsageView,
    /// Always null.
    #[schema(value_type = Option<serde_json::Value>)]
    pub logprobs: Option<()>,
    /// Always null.
    #[schema(value_type = Option<serde_json::Value>)]
    pub turns: Option<()>,
}

impl LettaResponse {
    /// What the agent said, message by message.
    #[must_use]
    pub fn spoken(&self) -> Vec<(&str, &str)> {
        self.messages
            .iter()
            .filter_map(LettaMessage::spoken)
            .collect()
    }

    /// This answer and one that came after it, as one.
    #[must_use]
    pub fn followed_by(mut self, next: Self) -> Self {
        self.messages.extend(next.messages);
        Self {
            messages: self.messages,
            usage: self.usage.followed_by(next.usage),
            ..next
        }
    }
}

/// What the events of a run come to.
#[derive(Debug, Default)]
struct Fold {
    parts: Vec<MessagePart>,
    stop_reason: Option<StopReason>,
    usage: (Usage, i64, Option<i64>),
    run_ids: Vec<RunId>,
    failed: Option<RunError>,
    done: bool,
}

/// Follows a run to its end.
///
/// # Errors
/// The run failed, or the server is stopping.
pub async fn wait(
    mut run: RunHandle,
    wanted: Option<&[MessageType]>,
) -> Result<LettaResponse, ApiError> {
    let mut fold = Fold::default();
    while let Some((_, event)) = run.next().await {
        fold.add(&event);
    }
    fold.into_response(wanted)
}

impl Fold {
    fn add(&mut self, event: &Event) {
        match event {
            Event::Message(part) => self.parts.push((**part).clone()),
            Event::Delta(part) => self.add_fragment(part),
            Event::Stopped { reason } => self.stop_reason = Some(*reason),
            Event::Usage {
                usage,
                step_count,
                context_tokens,
                run_ids,
            } => {
                self.run_ids.clone_from(run_ids);
                self.usage = (*usage, *step_count, Some(*context_tokens));
            }
            Event::Failed { error } => self.failed = Some(error.clone()),
            Event::Done => self.done = true,
        }
    }

    /// A retry may wait for a run that was begun as a token stream: its fragments are put together.
    fn add_fragment(&mut self, fragment: &MessagePart) {
        let known =
            self.parts.iter_mut().rev().find(|part| {
                part.message_id == fragment.message_id && part.index == fragment.index
            });
        match known {
            Some(part) => extend(&mut part.part, &fragment.part),
            None => self.parts.push(fragment.clone()),
        }
    }

    fn into_response(self, wanted: Option<&[MessageType]>) -> Result<LettaResponse, ApiError> {
        if let Some(error) = &self.failed {
            return Err(ApiError::of_run(error));
        }
        let Some(stop_reason) = self.stop_reason.filter(|_| self.done) else {
            return Err(ApiError::unavailable(
                "the server is stopping; the run goes on when it is back: send the same request \
                 again to get its answer",
            ));
        };
        let (usage, step_count, context_tokens) = self.usage;
        Ok(LettaResponse {
            messages: self
                .parts
                .iter()
                .filter(|part| MessageType::wants(wanted, &part.part))
                .map(|part| letta_message(part, Shown::Whole, None))
                .collect(),
            stop_reason: stop_reason.into(),
            usage: UsageView::of(&usage, step_count, context_tokens).with_runs(&self.run_ids),
            logprobs: None,
            turns: None,
        })
    }
}

/// Adds a fragment to what came before it.
fn extend(whole: &mut Part, fragment: &Part) {
    match (whole, fragment) {
        (Part::Assistant { text }, Part::Assistant { text: more }) => text.push_str(more),
        (
            Part::Reasoning {
                text, signature, ..
            },
            Part::Reasoning {
                text: more,
                signature: proof,
                ..
            },
        ) => {
            text.push_str(more);
            if proof.is_some() {
                signature.clone_from(proof);
            }
        }
        (Part::ToolCalls { calls }, Part::ToolCalls { calls: more })
        | (Part::ApprovalRequest { calls }, Part::ApprovalRequest { calls: more }) => {
            for call in more {
                extend_calls(calls, call);
            }
        }
        _ => {}
    }
}

fn extend_calls(calls: &mut Vec<ToolCall>, fragment: &ToolCall) {
    match calls.iter_mut().find(|call| call.id == fragment.id) {
        Some(call) => {
            call.name.push_str(&fragment.name);
            call.arguments.push_str(&fragment.arguments);
        }
        None => calls.push(fragment.clone()),
    }
}

#[cfg(test)]
mod tests {
    use mnemic_core::{ids::MessageId, time::Timestamp};
    use serde_json::json;

    use super::*;

    fn part(message_id: MessageId, index: usize, part: Part) -> Box<MessagePart> {
        Box::new(MessagePart {
            message_id,
            index,
            otid: None,
            date: Timestamp::default(),
            name: None,
            sender_id: None,
            step_id: None,
            run_id: None,
            part,
        })
    }

    fn text(text: &str) -> Part {
        Part::Assistant {
            text: text.to_owned(),
        }
    }

    fn call(id: &str, name: &str, arguments: &str) -> Part {
        let (id, name, arguments) = (id.to_owned(), name.to_owned(), arguments.to_owned());
        Part::ToolCalls {
            calls: vec![ToolCall {
                id,
                name,
                arguments,
            }],
        }
    }

    fn fold(events: Vec<Event>) -> Fold {
        let mut fold = Fold::default();
        for event in &events {
            fold.add(event);
        }
        fold
    }

    #[test]
    fn events_fold_into_messages_stop_reason_and_usage() {
        let id = MessageId::new();
        let usage = Usage {
            prompt_tokens: 10,
            completion_tokens: 5,
            ..Usage::default()
        };
        let response = fold(vec![
            Event::Message(part(id, 0, text("Hello"))),
            Event::Stopped {
                reason: StopReason::EndTurn,
            },
            Event::Usage {
                usage,
                step_count: 1,
                context_tokens: 15,
                run_ids: Vec::new(),
            },
            Event::Done,
        ])
        .into_response(None)
        .unwrap();
        let json = serde_json::to_value(&response).unwrap();
        assert_eq!(json["messages"][0]["content"], "Hello");
        assert_eq!(json["stop_reason"]["stop_reason"], "end_turn");
        assert_eq!(json["usage"]["total_tokens"], 15);
        assert_eq!(
            (&json["logprobs"], &json["turns"]),
            (&json!(null), &json!(null))
        );
    }

    #[test]
    fn fragments_of_a_token_stream_become_whole_messages() {
        let id = MessageId::new();
        let folded = fold(vec![
            Event::Delta(part(id, 0, text("Hel"))),
            Event::Delta(part(id, 1, call("c1", "search", ""))),
            Event::Delta(part(id, 0, text("lo"))),
            Event::Delta(part(id, 1, call("c1", "", "{\"a\""))),
            Event::Delta(part(id, 1, call("c2", "other", ""))),
            Event::Delta(part(id, 1, call("c1", "", ":1}"))),
        ]);
        let parts: Vec<&Part> = folded.parts.iter().map(|part| &part.part).collect();
        let Part::ToolCalls { calls } = parts[1] else {
            panic!("no calls")
        };
        assert_eq!(parts[0], &text("Hello"));
        assert_eq!(
            (calls[0].name.as_str(), calls[0].arguments.as_str()),
            ("search", "{\"a\":1}")
        );
        assert_eq!(calls[1].name, "other");
    }

    #[test]
    fn a_failed_run_is_an_http_error() {
        let error = RunError {
            error_type: "llm_rate_limit".to_owned(),
            message: "slow down".to_owned(),
            detail: None,
        };
        let failed = fold(vec![
            Event::Stopped {
                reason: StopReason::LlmApiError,
            },
            Event::Failed { error },
            Event::Done,
        ]);
        assert_eq!(
            failed.into_response(None).unwrap_err().status().as_u16(),
            429
        );
    }

    #[test]
    fn a_stream_that_breaks_off_is_no_answer() {
        let broken = fold(vec![Event::Message(part(MessageId::new(), 0, text("Hel")))]);
        assert_eq!(
            broken.into_response(None).unwrap_err().status().as_u16(),
            503
        );
    }

    #[test]
    fn a_cancelled_run_is_an_answer() {
        let cancelled = fold(vec![
            Event::Stopped {
                reason: StopReason::Cancelled,
            },
            Event::Done,
        ]);
        let json = serde_json::to_value(cancelled.into_response(None).unwrap()).unwrap();
        assert_eq!(json["stop_reason"]["stop_reason"], "cancelled");
    }
}
