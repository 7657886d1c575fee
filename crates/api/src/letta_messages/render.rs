//! From parts of messages to what the API shows of them.

use mnemic_core::{
    ids::MessageId,
    messages::{CallAnswer, ContentPart, Image, ToolCall, ToolReturn, ToolStatus},
    parts::{HiddenReasoning, MessagePart, Speech},
};

use super::*;

impl LettaMessage {
    /// The id and the text of what an agent says.
    #[must_use]
    pub fn spoken(&self) -> Option<(&str, &str)> {
        match self {
            Self::AssistantMessage(said) => Some((&said.head.id, &said.content)),
            _ => None,
        }
    }
}

/// Whether a part is shown whole or as a fragment of a token stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Whole.
    Whole,
    /// What is new of it.
    Fragment,
}

/// A part as the API shows it.
#[must_use]
pub fn letta_message(part: &MessagePart, shown: Shown, seq_id: Option<u64>) -> LettaMessage {
    let head = head(part, seq_id);
    match &part.part {
        Part::System { text } => LettaMessage::SystemMessage(SystemMessage {
            head,
            content: text.clone(),
        }),
        Part::User { content } => {
            let content = user_content(part.message_id, content);
            LettaMessage::UserMessage(UserMessage { head, content })
        }
        Part::Reasoning {
            text,
            signature,
            is_argument,
        } => LettaMessage::ReasoningMessage(ReasoningMessage {
            head,
            source: reasoning_source(*is_argument),
            reasoning: text.clone(),
            signature: signature.clone(),
        }),
        Part::HiddenReasoning { state, data } => hidden_reasoning(head, *state, data.as_ref()),
        Part::Assistant { text } => LettaMessage::AssistantMessage(AssistantMessage {
            head,
            content: text.clone(),
        }),
        Part::ToolCalls { calls } => LettaMessage::ToolCallMessage(tool_calls(head, calls, shown)),
        Part::ApprovalRequest { calls } => {
            LettaMessage::ApprovalRequestMessage(approval_request(tool_calls(head, calls, shown)))
        }
        Part::ApprovalResponse { answers } => {
            LettaMessage::ApprovalResponseMessage(approval_response(head, part.message_id, answers))
        }
        Part::ToolReturn { result } => {
            LettaMessage::ToolReturnMessage(tool_return(head, part.message_id, result))
        }
        Part::Summary { summary, stats, .. } => LettaMessage::SummaryMessage(SummaryMessage {
            head,
            summary: summary.clone(),
            compaction_stats: (&**stats).into(),
        }),
        Part::Compacting {
            trigger,
            context_tokens,
            context_window,
        } => LettaMessage::EventMessage(EventMessage {
            head,
            event_type: "compaction",
            event_data: CompactionBegun {
                trigger: *trigger,
                context_token_estimate: *context_tokens,
                context_window: *context_window,
            },
        }),
    }
}

fn hidden_reasoning(head: Head, state: HiddenReasoning, data: Option<&String>) -> LettaMessage {
    LettaMessage::HiddenReasoningMessage(HiddenReasoningMessage {
        head,
        state: match state {
            HiddenReasoning::Redacted => "redacted",
            HiddenReasoning::Omitted => "omitted",
        },
        hidden_reasoning: data.cloned(),
    })
}

const fn reasoning_source(is_argument: bool) -> &'static str {
    if is_argument {
        "non_reasoner_model"
    } else {
        "reasoner_model"
    }
}

/// A summary as clients see it in a history that do not ask for summaries: as the notice that a user's
/// message carries to the model.
fn as_in_history(mut part: MessagePart, wanted: Option<&[MessageType]>) -> MessagePart {
    let asked_for = wanted.is_some_and(|wanted| wanted.contains(&MessageType::SummaryMessage));
    if let (Part::Summary { message, stats, .. }, false) = (&part.part, asked_for) {
        let notice = serde_json::json!({
            "type": "system_alert",
            "message": message,
            "time": part.date.to_human("UTC"),
            "compaction_stats": StatsView::from(&**stats),
        });
        let content = vec![ContentPart::text(notice.to_string())];
        part.part = Part::User { content };
    }
    part
}

/// Which messages of a history are shown, and how.
#[derive(Debug, Clone)]
pub struct Shows {
    /// The wanted kinds; `None` is all.
    pub wanted: Option<Vec<MessageType>>,
    /// The tool by which agents speak; `None` shows its calls as such.
    pub speech: Option<Speech>,
}

impl Default for Shows {
    fn default() -> Self {
        Self {
            wanted: None,
            speech: Some(Speech::default()),
        }
    }
}

/// All parts of a stored message that are wanted.
pub fn letta_messages(
    message: &mnemic_core::messages::Message,
    shows: &Shows,
) -> Vec<LettaMessage> {
    let wanted = shows.wanted.as_deref();
    mnemic_core::parts::of_message(message, shows.speech.as_ref())
        .into_iter()
        .map(|part| as_in_history(part, wanted))
        .filter(|part| MessageType::wants(wanted, &part.part))
        .map(|part| letta_message(&part, Shown::Whole, None))
        .collect()
}

fn head(part: &MessagePart, seq_id: Option<u64>) -> Head {
    // Messages that came from outside have their sender's otid or none; what the agent makes has
    // the otid of its part.
    let otid = match &part.part {
        Part::System { .. } | Part::User { .. } | Part::ApprovalResponse { .. } => {
            part.otid.clone()
        }
        // Clients know a request by the message's own id (V1 contract, section 1.4).
        Part::ApprovalRequest { .. } => Some(part.message_id.to_string()),
        _ => Some(part.message_id.part_otid(part.index).to_string()),
    };
    Head {
        id: part.message_id.to_string(),
        date: part.date,
        name: part.name.clone(),
        otid,
        sender_id: part.sender_id.clone(),
        step_id: part.step_id,
        is_err: None,
        seq_id,
        run_id: part.run_id,
    }
}

/// A single text is shown as a string, anything else as a list.
fn user_content(message_id: MessageId, content: &[ContentPart]) -> ContentView {
    match content {
        [] => ContentView::Text(String::new()),
        [ContentPart::Text { text }] => ContentView::Text(text.clone()),
        parts => {
            let parts = parts.iter().enumerate().map(|(index, part)| match part {
                ContentPart::Text { text } | ContentPart::Reasoning { text, .. } => {
                    PartView::Text { text: text.clone() }
                }
                ContentPart::RedactedReasoning { .. } => PartView::Text {
                    text: String::new(),
                },
                ContentPart::Image { media_type, data } => {
                    image_part((message_id, index), media_type, data)
                }
            });
            ContentView::Parts(parts.collect())
        }
    }
}

fn tool_calls(head: Head, calls: &[ToolCall], shown: Shown) -> ToolCallMessage {
    // A fragment leaves out what it adds nothing to.
    let text = |text: &String| match shown {
        Shown::Fragment if text.is_empty() => None,
        _ => Some(text.clone()),
    };
    let views: Vec<ToolCallView> = calls
        .iter()
        .map(|call| ToolCallView {
            name: text(&call.name),
            arguments: text(&call.arguments),
            tool_call_id: call.id.clone(),
        })
        .collect();
    let first = views.first().cloned().unwrap_or_else(|| ToolCallView {
        name: None,
        arguments: None,
        tool_call_id: String::new(),
    });
    let list = match shown {
        Shown::Whole => ToolCallList::Whole(views),
        Shown::Fragment => ToolCallList::Fragment(first.clone()),
    };
    ToolCallMessage {
        head,
        tool_call: first,
        tool_calls: list,
    }
}

/// Calls as a request to answer them.
fn approval_request(calls: ToolCallMessage) -> ApprovalRequestMessage {
    ApprovalRequestMessage {
        head: calls.head,
        tool_call: calls.tool_call.into(),
        tool_calls: match calls.tool_calls {
            ToolCallList::Whole(calls) => {
                RequestedCallList::Whole(calls.into_iter().map(Into::into).collect())
            }
            ToolCallList::Fragment(call) => RequestedCallList::Fragment(call.into()),
        },
    }
}

fn approval_response(
    head: Head,
    message_id: MessageId,
    answers: &[CallAnswer],
) -> ApprovalResponseMessage {
    let first = answers.first().map(|answer| match answer {
        CallAnswer::Approval {
            approve, reason, ..
        }
        | CallAnswer::All {
            approve, reason, ..
        } => (*approve, reason.clone()),
        CallAnswer::Tool { .. } => (true, None),
    });
    let (approve, reason) = first.unzip();
    let views = answers.iter().map(|answer| match answer.clone() {
        CallAnswer::Approval {
            tool_call_id,
            approve,
            reason,
        } => AnswerView::Approval {
            tool_call_id,
            approve,
            reason,
        },
        CallAnswer::All {
            approve, reason, ..
        } => AnswerView::Approval {
            tool_call_id: String::new(),
            approve,
            reason,
        },
        CallAnswer::Tool {
            tool_call_id,
            status,
            text,
            images,
            stdout,
            stderr,
        } => {
            let (stdout, stderr) = printed(&stdout, &stderr);
            AnswerView::Tool {
                tool_call_id,
                tool_return: shown(message_id, &text, &images),
                status: status_name(status),
                stdout,
                stderr,
            }
        }
    });
    ApprovalResponseMessage {
        head,
        approvals: views.collect(),
        approve,
        approval_request_id: None,
        reason: reason.flatten(),
    }
}

const fn status_name(status: ToolStatus) -> &'static str {
    match status {
        ToolStatus::Success => "success",
        ToolStatus::Error => "error",
    }
}

/// What a tool printed: both lists where there is anything, none where there is nothing.
fn printed(stdout: &[String], stderr: &[String]) -> (Option<Vec<String>>, Option<Vec<String>>) {
    if stdout.is_empty() && stderr.is_empty() {
        return (None, None);
    }
    (Some(stdout.to_vec()), Some(stderr.to_vec()))
}

/// A return's text, with its images after it.
fn shown(message_id: MessageId, text: &str, images: &[Image]) -> ContentView {
    let text = text.to_owned();
    if images.is_empty() {
        return ContentView::Text(text);
    }
    let images = images.iter().enumerate();
    let images = images
        .map(|(index, image)| image_part((message_id, index), &image.media_type, &image.data));
    ContentView::Parts(
        std::iter::once(PartView::Text { text })
            .chain(images)
            .collect(),
    )
}

fn image_part(place: (MessageId, usize), media_type: &str, data: &str) -> PartView {
    PartView::Image {
        source: ImageSource {
            kind: "letta",
            file_id: FileId::from_uuid(place.0.part_otid(place.1)),
            media_type: media_type.to_owned(),
            data: data.to_owned(),
            detail: None,
        },
    }
}

fn tool_return(head: Head, message_id: MessageId, result: &ToolReturn) -> ToolReturnMessage {
    let status = status_name(result.status);
    let (stdout, stderr) = printed(&result.stdout, &result.stderr);
    ToolReturnMessage {
        head,
        tool_return: result.text.clone(),
        status,
        tool_call_id: result.tool_call_id.clone(),
        stdout: stdout.clone(),
        stderr: stderr.clone(),
        tool_returns: vec![ToolReturnView {
            kind: "tool",
            tool_return: shown(message_id, &result.text, &result.images),
            status,
            tool_call_id: result.tool_call_id.clone(),
            stdout,
            stderr,
        }],
    }
}
