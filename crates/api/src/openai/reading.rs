//! What of a run's events a client of OpenAI's API sees: the agent's words, calls of the client's own tools, and the
//! end. The agent's thoughts, and the calls and returns of its own tools, are its own.

use mnemic_core::{
    ids::MessageId,
    messages::ToolCall,
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
    /// Calls of the client's tools, or fragments of them.
    Calls(Vec<CallPiece<'e>>),
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

/// A call of a client's tool, or a fragment of one.
#[derive(Debug, PartialEq, Eq)]
pub struct CallPiece<'e> {
    /// Which call of the answer it is.
    pub index: usize,
    /// Its id and the tool's name, with the first piece.
    pub begins: Option<(&'e str, &'e str)>,
    /// The arguments, or a fragment of them.
    pub arguments: &'e str,
}

/// Reads a run's events one by one.
#[derive(Debug, Default)]
pub struct Reader {
    /// The names of the client's tools.
    tools: Vec<String>,
    /// The ids of their calls.
    calls: Vec<String>,
    message: Option<(MessageId, usize)>,
    reason: Option<StopReason>,
    usage: Usage,
    failed: bool,
}

impl Reader {
    /// A reader for a client with these tools.
    #[must_use]
    pub fn new(tools: Vec<String>) -> Self {
        Self {
            tools,
            ..Self::default()
        }
    }

    /// The pieces of the client's calls among those that wait for answers; others wait for a person's approval, of which
    /// OpenAI's API knows nothing.
    fn pieces<'e>(&mut self, calls: &'e [ToolCall]) -> Vec<CallPiece<'e>> {
        let mut pieces = Vec::new();
        for call in calls {
            let known = self.calls.iter().position(|id| *id == call.id);
            let begins = known.is_none() && self.tools.contains(&call.name);
            if begins {
                self.calls.push(call.id.clone());
            } else if known.is_none() {
                continue;
            }
            pieces.push(CallPiece {
                index: known.unwrap_or(self.calls.len().saturating_sub(1)),
                begins: begins.then_some((&*call.id, &*call.name)),
                arguments: &call.arguments,
            });
        }
        pieces
    }

    /// Whether the client has to run tools before the agent goes on.
    #[must_use]
    pub const fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// What the client sees of an event.
    pub fn read<'e>(&mut self, event: &'e Event) -> Option<Seen<'e>> {
        match event {
            Event::Message(part) | Event::Delta(part)
                if matches!(part.part, Part::ApprovalRequest { .. }) =>
            {
                let Part::ApprovalRequest { calls } = &part.part else {
                    return None;
                };
                let pieces = self.pieces(calls);
                (!pieces.is_empty()).then_some(Seen::Calls(pieces))
            }
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
    /// Calls of the client's tools.
    pub calls: Vec<ToolCall>,
    /// Why the run ended.
    pub reason: StopReason,
    /// What it took.
    pub usage: Usage,
}

/// Follows a run to its end.
///
/// # Errors
/// The run failed, or the server is stopping.
pub async fn wait(mut run: RunHandle, tools: Vec<String>) -> Result<Whole, ApiError> {
    let mut reader = Reader::new(tools);
    let mut messages: Vec<String> = Vec::new();
    let mut calls: Vec<ToolCall> = Vec::new();
    while let Some((_, event)) = run.next().await {
        match reader.read(&event) {
            Some(Seen::Words { begins, text }) => match messages.last_mut() {
                Some(last) if !begins => last.push_str(text),
                _ => messages.push(text.to_owned()),
            },
            Some(Seen::Calls(pieces)) => {
                pieces.into_iter().for_each(|piece| add(&mut calls, &piece))
            }
            Some(Seen::Failed(error)) => return Err(ApiError::of_run(error)),
            Some(Seen::Ended { reason, usage }) => {
                return Ok(Whole {
                    messages,
                    calls,
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

fn add(calls: &mut Vec<ToolCall>, piece: &CallPiece<'_>) {
    if let Some((id, name)) = piece.begins {
        calls.push(ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: piece.arguments.to_owned(),
        });
    } else if let Some(call) = calls.get_mut(piece.index) {
        call.arguments.push_str(piece.arguments);
    }
}

#[cfg(test)]
mod tests {
    use mnemic_core::{parts::MessagePart, time::Timestamp};

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
    fn calls_of_the_clients_tools_are_seen_and_approvals_are_not() {
        let id = MessageId::new();
        let fragment = |id: &str, name: &str, arguments: &str| ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        };
        let asks = |calls| Event::Delta(part(id, Part::ApprovalRequest { calls }));
        let events = [
            asks(vec![fragment("1", "asked", "")]),
            asks(vec![fragment("1", "", "{}")]),
            asks(vec![fragment("2", "pick", "")]),
            asks(vec![fragment("2", "", "{}")]),
            asks(vec![fragment("3", "pick", "{\"a\": 1}")]),
        ];
        let mut reader = Reader::new(vec!["pick".to_owned()]);
        let seen = events.iter().filter_map(|event| reader.read(event));
        let mut calls = Vec::new();
        for one in seen {
            let Seen::Calls(pieces) = one else {
                panic!("{one:?}");
            };
            pieces.iter().for_each(|piece| add(&mut calls, piece));
        }
        let wanted = [
            fragment("2", "pick", "{}"),
            fragment("3", "pick", "{\"a\": 1}"),
        ];
        assert_eq!(calls, wanted);
        assert!(reader.has_calls());
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
