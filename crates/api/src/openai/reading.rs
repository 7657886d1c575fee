//! What of a run's events a client of OpenAI's API sees: the agent's words and the end. Its thoughts, and
//! the calls and returns of its own tools, are its own.

use mnemic_core::{
    ids::MessageId,
    parts::Part,
    runs::{RunError, StopReason, Usage},
};
use mnemic_engine::{Event, RunHandle};

use crate::error::ApiError;

/// Something that the client sees.
#[derive(Debug, PartialEq)]
pub enum Seen<'e> {
    /// Words of the agent.
    Words {
        /// Whether a new message begins with them.
        begins: bool,
        /// The words.
        text: &'e str,
    },
    /// The run ended.
    Ended {
        /// Why.
        reason: StopReason,
        /// What it took.
        usage: Usage,
    },
    /// The run failed.
    Failed(&'e RunError),
}

/// Reads a run's events one by one.
#[derive(Debug, Default)]
pub struct Reader {
    message: Option<(MessageId, usize)>,
    reason: Option<StopReason>,
    usage: Usage,
    failed: bool,
}

impl Reader {
    /// What the client sees of an event.
    pub fn read<'e>(&mut self, event: &'e Event) -> Option<Seen<'e>> {
        match event {
            Event::Message(part) | Event::Delta(part) => {
                let Part::Assistant { text } = &part.part else {
                    return None;
                };
                if text.is_empty() {
                    return None;
                }
                let message = Some((part.message_id, part.index));
                let begins = self.message != message;
                self.message = message;
                Some(Seen::Words { begins, text })
            }
            Event::Stopped { reason } => {
                self.reason = Some(*reason);
                None
            }
            Event::Usage { usage, .. } => {
                self.usage = *usage;
                None
            }
            Event::Failed { error } => {
                self.failed = true;
                Some(Seen::Failed(error))
            }
            Event::Done if self.failed => None,
            Event::Done => Some(Seen::Ended {
                reason: self.reason.unwrap_or(StopReason::EndTurn),
                usage: self.usage,
            }),
        }
    }
}

/// A whole answer.
#[derive(Debug, PartialEq)]
pub struct Whole {
    /// The agent's messages.
    pub messages: Vec<String>,
    /// Why the run ended.
    pub reason: StopReason,
    /// What it took.
    pub usage: Usage,
}

/// Follows a run to its end.
///
/// # Errors
/// The run failed, or the server is stopping.
pub async fn wait(mut run: RunHandle) -> Result<Whole, ApiError> {
    let mut reader = Reader::default();
    let mut messages: Vec<String> = Vec::new();
    while let Some((_, event)) = run.next().await {
        match reader.read(&event) {
            Some(Seen::Words { begins, text }) => match messages.last_mut() {
                Some(last) if !begins => last.push_str(text),
                _ => messages.push(text.to_owned()),
            },
            Some(Seen::Failed(error)) => return Err(ApiError::of_run(error)),
            Some(Seen::Ended { reason, usage }) => {
                return Ok(Whole {
                    messages,
                    reason,
                    usage,
                });
            }
            None => {}
        }
    }
    Err(ApiError::unavailable(
        "the server is stopping; the run goes on when it is back: send the same request again to get \
         its answer",
    ))
}

#[cfg(test)]
mod tests {
    use mnemic_core::{messages::ToolCall, parts::MessagePart, time::Timestamp};

    use super::*;

    fn part(message_id: MessageId, part: Part) -> Box<MessagePart> {
        Box::new(MessagePart {
            message_id,
            index: 0,
            otid: None,
            date: Timestamp::default(),
            name: None,
            sender_id: None,
            step_id: None,
            run_id: None,
            part,
        })
    }

    fn said(id: MessageId, text: &str) -> Event {
        Event::Delta(part(
            id,
            Part::Assistant {
                text: text.to_owned(),
            },
        ))
    }

    #[test]
    fn words_and_the_end_are_seen_and_tools_are_not() {
        let (first, second) = (MessageId::new(), MessageId::new());
        let call = Part::ToolCalls {
            calls: vec![ToolCall {
                id: "c".to_owned(),
                name: "search".to_owned(),
                arguments: "{}".to_owned(),
            }],
        };
        let reason = StopReason::EndTurn;
        let events = [
            said(first, "Hel"),
            said(first, "lo"),
            Event::Message(part(first, call)),
            said(second, ""),
            said(second, "there"),
            Event::Stopped { reason },
            Event::Done,
        ];
        let mut reader = Reader::default();
        let seen: Vec<Seen<'_>> = events
            .iter()
            .filter_map(|event| reader.read(event))
            .collect();
        let words = |begins, text| Seen::Words { begins, text };
        assert_eq!(
            seen,
            [
                words(true, "Hel"),
                words(false, "lo"),
                words(true, "there"),
                Seen::Ended {
                    reason,
                    usage: Usage::default()
                }
            ]
        );
    }

    #[test]
    fn a_failed_run_has_one_end() {
        let error = RunError {
            error_type: "llm_timeout".to_owned(),
            message: "too slow".to_owned(),
            detail: None,
        };
        let events = [
            Event::Stopped {
                reason: StopReason::LlmApiError,
            },
            Event::Failed {
                error: error.clone(),
            },
            Event::Done,
        ];
        let mut reader = Reader::default();
        let seen: Vec<Seen<'_>> = events
            .iter()
            .filter_map(|event| reader.read(event))
            .collect();
        assert_eq!(seen, [Seen::Failed(&error)]);
    }
}
