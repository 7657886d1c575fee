//! Messages in agent files: the V1 API's stored form, and the way from and to our own.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::or_default;
use crate::{
    inner_thoughts,
    messages::{
        self, ContentPart, Message, MessageBody, ReasoningOrigin, Role, ToolCall, ToolReturn,
        ToolStatus,
    },
    time::Timestamp,
};

/// What stands in the place of an image that is not in the file: nothing is fetched for it.
pub const IMAGE_IS_ELSEWHERE: &str = "[an image that is not in the agent file]";

/// The role of a message that asks whether a call may run, or answers that.
const APPROVAL: &str = "approval";

/// What a return says whose call was denied without a reason.
const DENIED: &str = "The call was denied.";

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct MessageEntry {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub id: String,
    /// system, user, assistant, tool, approval, or an older name.
    pub role: String,
    pub content: Content,
    pub name: Option<String>,
    pub otid: Option<String>,
    pub sender_id: Option<String>,
    pub group_id: Option<String>,
    pub batch_item_id: Option<String>,
    pub model: Option<String>,
    pub agent_id: Option<String>,
    pub tool_calls: Option<Vec<CallEntry>>,
    pub tool_call_id: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub tool_returns: Vec<ReturnEntry>,
    pub created_at: Option<Timestamp>,
    pub approve: Option<bool>,
    pub approval_request_id: Option<String>,
    pub denial_reason: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub approvals: Vec<ApprovalEntry>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum Content {
    Parts(Vec<Part>),
    Text(String),
    Nothing(()),
}

impl Default for Content {
    fn default() -> Self {
        Self::Parts(Vec::new())
    }
}

/// A piece of what a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Part {
    Text {
        text: String,
        #[serde(default)]
        signature: Option<String>,
    },
    Image {
        source: Image,
    },
    Reasoning {
        #[serde(default)]
        is_native: bool,
        reasoning: String,
        #[serde(default)]
        signature: Option<String>,
    },
    RedactedReasoning {
        data: String,
    },
    SummarizedReasoning {
        #[serde(default)]
        summary: Vec<SummaryPart>,
    },
    ToolCall {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    ToolReturn {
        tool_call_id: String,
        #[serde(default)]
        content: String,
        #[serde(default)]
        is_error: bool,
    },
    /// Reasoning that was left out, and whatever else there may be.
    #[serde(other)]
    Other,
}

/// A part of a summary of reasoning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SummaryPart {
    #[serde(default)]
    pub text: String,
}

/// Where an image is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Image {
    #[serde(rename = "type")]
    pub kind: String,
    pub media_type: Option<String>,
    pub data: Option<String>,
    pub detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Image {
    fn here(media_type: &str, data: &str) -> Self {
        Self {
            kind: "base64".to_owned(),
            media_type: Some(media_type.to_owned()),
            data: Some(data.to_owned()),
            ..Self::default()
        }
    }

    /// Its type and its bytes, where they are in the file.
    fn bytes(&self) -> Option<(&String, &String)> {
        let data = self.data.as_ref().filter(|data| !data.is_empty());
        self.media_type.as_ref().zip(data)
    }
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CallEntry {
    pub id: String,
    pub function: Function,
    #[serde(rename = "type", default = "function")]
    pub kind: String,
}

fn function() -> String {
    "function".to_owned()
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Function {
    pub arguments: String,
    pub name: String,
}

/// What a call returned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ReturnEntry {
    pub tool_call_id: Option<String>,
    pub status: Status,
    pub stdout: Option<Vec<String>>,
    pub stderr: Option<Vec<String>>,
    pub func_response: Option<Content>,
}

/// Whether a tool did what it was asked to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Status {
    #[default]
    Success,
    Error,
}

/// A person's word on a call, or what a client's own tool returned for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ApprovalEntry {
    pub tool_call_id: Option<String>,
    pub approve: Option<bool>,
    pub reason: Option<String>,
    pub status: Option<Status>,
    pub stdout: Option<Vec<String>>,
    pub stderr: Option<Vec<String>>,
    pub func_response: Option<Content>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The message as files hold it; `ids` are its own and its agent's within the file.
#[must_use]
pub fn entry(message: &Message, ids: (String, String), model: Option<&str>) -> MessageEntry {
    let body = &message.body;
    let by_model = matches!(message.role, Role::Assistant | Role::Tool);
    MessageEntry {
        kind: Some("message".to_owned()),
        id: ids.0,
        role: role_name(message).to_owned(),
        content: Content::Parts(body.content.iter().map(part).collect()),
        name: message.name.clone().or_else(|| tool_name(body)),
        otid: message.otid.clone(),
        sender_id: message.sender_id.clone(),
        model: model.filter(|_| by_model).map(str::to_owned),
        agent_id: Some(ids.1),
        tool_calls: calls(body),
        tool_call_id: body
            .tool_returns
            .first()
            .map(|one| one.tool_call_id.clone()),
        tool_returns: body.tool_returns.iter().map(return_entry).collect(),
        created_at: Some(message.created_at),
        ..MessageEntry::default()
    }
}

/// Files have a role of its own for what was answered to calls; what was is in our own part of the file.
fn role_name(message: &Message) -> &'static str {
    let body = &message.body;
    let answers =
        message.role == Role::Tool && body.tool_calls.is_empty() && !body.answers.is_empty();
    if answers {
        APPROVAL
    } else {
        message.role.as_str()
    }
}

/// The tool of a message that returns from one.
fn tool_name(body: &MessageBody) -> Option<String> {
    match body.tool_returns.as_slice() {
        [one] => Some(one.name.clone()),
        _ => None,
    }
}

fn calls(body: &MessageBody) -> Option<Vec<CallEntry>> {
    let calls = body.tool_calls.iter().map(|call| CallEntry {
        id: call.id.clone(),
        function: Function {
            arguments: call.arguments.clone(),
            name: call.name.clone(),
        },
        kind: function(),
    });
    (!body.tool_calls.is_empty()).then(|| calls.collect())
}

fn return_entry(one: &ToolReturn) -> ReturnEntry {
    let lines = |lines: &Vec<String>| (!lines.is_empty()).then(|| lines.clone());
    ReturnEntry {
        tool_call_id: Some(one.tool_call_id.clone()),
        status: match one.status {
            ToolStatus::Success => Status::Success,
            ToolStatus::Error => Status::Error,
        },
        stdout: lines(&one.stdout),
        stderr: lines(&one.stderr),
        func_response: Some(response(one)),
    }
}

/// A text, or a list where images came with it.
fn response(one: &ToolReturn) -> Content {
    if one.images.is_empty() {
        return Content::Text(one.text.clone());
    }
    let text = Part::Text {
        text: one.text.clone(),
        signature: None,
    };
    let images = one.images.iter().map(|image| Part::Image {
        source: Image::here(&image.media_type, &image.data),
    });
    Content::Parts(std::iter::once(text).chain(images).collect())
}

fn part(part: &ContentPart) -> Part {
    match part {
        ContentPart::Text { text } => Part::Text {
            text: text.clone(),
            signature: None,
        },
        ContentPart::Image { media_type, data } => Part::Image {
            source: Image::here(media_type, data),
        },
        ContentPart::Reasoning {
            text,
            signature,
            origin,
        } => Part::Reasoning {
            is_native: !origin
                .as_ref()
                .is_some_and(ReasoningOrigin::is_inner_thoughts),
            reasoning: text.clone(),
            signature: signature.clone(),
        },
        ContentPart::RedactedReasoning { data, .. } => {
            Part::RedactedReasoning { data: data.clone() }
        }
    }
}

/// A message of a file in our own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who spoke.
    pub role: Role,
    /// What was said.
    pub body: MessageBody,
}

/// Reads the messages of one conversation, oldest first: returns name no tool, so that it must be known what was called.
#[derive(Debug, Default)]
pub struct Translator {
    called: HashMap<String, String>,
}

impl Translator {
    /// What a message says; `None` where it says nothing that another message does not. `whole` is what our own part of
    /// the file has of it: it counts only as long as nobody changed the message itself.
    pub fn said(&mut self, entry: &MessageEntry, whole: Option<&MessageBody>) -> Option<Said> {
        let role = role(entry);
        let read = self.body(entry, role);
        let body = match whole {
            Some(whole) if is_form_of(entry, whole) => whole.clone(),
            _ => read,
        };
        for call in &body.tool_calls {
            self.called.insert(call.id.clone(), call.name.clone());
        }
        // An approval is the call's message once more, or comes before the return that says how it ended.
        let is_empty = body == MessageBody::default();
        (!is_empty || entry.role != APPROVAL).then_some(Said { role, body })
    }

    /// Whether the form of files holds a message whole.
    pub fn holds(&mut self, message: &Message, entry: &MessageEntry) -> bool {
        self.said(entry, None)
            .is_some_and(|said| said.role == message.role && said.body == message.body)
    }

    fn body(&self, entry: &MessageEntry, role: Role) -> MessageBody {
        let mut body = MessageBody::default();
        match &entry.content {
            Content::Nothing(()) => {}
            Content::Text(text) => body.content.push(ContentPart::text(text)),
            Content::Parts(parts) => {
                for part in parts {
                    self.add(&mut body, part);
                }
            }
        }
        for call in entry.tool_calls.iter().flatten() {
            body.tool_calls.push(ToolCall {
                id: call.id.clone(),
                name: call.function.name.clone(),
                arguments: call.function.arguments.clone(),
            });
        }
        let fallback = entry.tool_call_id.as_deref();
        for one in &entry.tool_returns {
            let id = one.tool_call_id.as_deref().or(fallback);
            body.tool_returns.push(self.returned(id, entry, one));
        }
        body.tool_returns
            .extend(entry.approvals.iter().filter_map(|one| self.decided(one)));
        if role == Role::Tool && entry.role != APPROVAL {
            self.settle(entry, &mut body);
        }
        body
    }

    /// A message of the older loops says its return once more as its text, or only so.
    fn settle(&self, entry: &MessageEntry, body: &mut MessageBody) {
        let text = body.plain_text();
        if body.tool_returns.is_empty() {
            body.content.clear();
            let one = ReturnEntry {
                func_response: Some(Content::Text(text)),
                ..ReturnEntry::default()
            };
            let id = entry.tool_call_id.as_deref();
            body.tool_returns.push(self.returned(id, entry, &one));
        } else if body.tool_returns.iter().any(|one| one.text == text) {
            body.content.clear();
        }
    }

    fn add(&self, body: &mut MessageBody, part: &Part) {
        match part {
            Part::Text { text, .. } => body.content.push(ContentPart::text(text)),
            Part::Image { source } => body.content.push(image(source)),
            Part::Reasoning {
                is_native: false,
                reasoning,
                signature: None,
            } => body.content.push(inner_thoughts::part(reasoning.clone())),
            Part::Reasoning {
                reasoning,
                signature,
                ..
            } => body.content.push(ContentPart::Reasoning {
                text: reasoning.clone(),
                signature: signature.clone(),
                origin: None,
            }),
            Part::RedactedReasoning { data } => body.content.push(ContentPart::RedactedReasoning {
                data: data.clone(),
                origin: None,
            }),
            Part::SummarizedReasoning { summary } => {
                let texts: Vec<&str> = summary.iter().map(|part| part.text.as_str()).collect();
                body.content.push(ContentPart::reasoning(texts.join("\n")));
            }
            Part::ToolCall { id, name, input } => body.tool_calls.push(ToolCall {
                id: id.clone(),
                name: name.clone(),
                arguments: input.to_string(),
            }),
            Part::ToolReturn {
                tool_call_id,
                content,
                is_error,
            } => body.tool_returns.push(ToolReturn {
                tool_call_id: tool_call_id.clone(),
                name: self.name_of(tool_call_id, None),
                status: match is_error {
                    true => ToolStatus::Error,
                    false => ToolStatus::Success,
                },
                text: content.clone(),
                stdout: Vec::new(),
                stderr: Vec::new(),
                images: Vec::new(),
            }),
            Part::Other => {}
        }
    }

    fn returned(&self, id: Option<&str>, entry: &MessageEntry, one: &ReturnEntry) -> ToolReturn {
        let id = id.unwrap_or_default();
        ToolReturn {
            tool_call_id: id.to_owned(),
            name: self.name_of(id, entry.name.as_deref()),
            status: match one.status {
                Status::Success => ToolStatus::Success,
                Status::Error => ToolStatus::Error,
            },
            text: one.func_response.as_ref().map(text_of).unwrap_or_default(),
            stdout: one.stdout.clone().unwrap_or_default(),
            stderr: one.stderr.clone().unwrap_or_default(),
            images: one
                .func_response
                .as_ref()
                .map(images_of)
                .unwrap_or_default(),
        }
    }

    /// A denial, which no return follows. Returns of a client's own tools come once more in the next message.
    fn decided(&self, one: &ApprovalEntry) -> Option<ToolReturn> {
        let denied = one.approve == Some(false);
        let id = one.tool_call_id.as_deref().filter(|_| denied)?;
        Some(ToolReturn {
            tool_call_id: id.to_owned(),
            name: self.name_of(id, None),
            status: ToolStatus::Error,
            text: one.reason.clone().unwrap_or_else(|| DENIED.to_owned()),
            stdout: Vec::new(),
            stderr: Vec::new(),
            images: Vec::new(),
        })
    }

    fn name_of(&self, id: &str, fallback: Option<&str>) -> String {
        let known = self.called.get(id).map(String::as_str);
        known.or(fallback).unwrap_or("unknown").to_owned()
    }
}

/// Who spoke. An approval asks for a call, as the model did, or answers it.
fn role(entry: &MessageEntry) -> Role {
    match entry.role.as_str() {
        "system" => Role::System,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        APPROVAL
            if entry
                .tool_calls
                .as_ref()
                .is_some_and(|calls| !calls.is_empty()) =>
        {
            Role::Assistant
        }
        APPROVAL => Role::Tool,
        _ => Role::User,
    }
}

fn text_of(content: &Content) -> String {
    match content {
        Content::Nothing(()) => String::new(),
        Content::Text(text) => text.clone(),
        Content::Parts(parts) => {
            let texts = parts.iter().filter_map(|part| match part {
                Part::Text { text, .. } => Some(text.as_str()),
                Part::Image { source } if source.bytes().is_none() => Some(IMAGE_IS_ELSEWHERE),
                _ => None,
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}

fn image(source: &Image) -> ContentPart {
    match source.bytes() {
        Some((media_type, data)) => ContentPart::Image {
            media_type: media_type.clone(),
            data: data.clone(),
        },
        None => ContentPart::text(IMAGE_IS_ELSEWHERE),
    }
}

fn images_of(content: &Content) -> Vec<messages::Image> {
    let Content::Parts(parts) = content else {
        return Vec::new();
    };
    let images = parts.iter().filter_map(|part| match part {
        Part::Image { source } => source.bytes(),
        _ => None,
    });
    let image = |(media_type, data): (&String, &String)| messages::Image {
        media_type: media_type.clone(),
        data: data.clone(),
    };
    images.map(image).collect()
}

/// Whether a message of a file is what this body is written as.
fn is_form_of(entry: &MessageEntry, body: &MessageBody) -> bool {
    let parts: Vec<Part> = body.content.iter().map(part).collect();
    let returns: Vec<ReturnEntry> = body.tool_returns.iter().map(return_entry).collect();
    entry.content == Content::Parts(parts)
        && entry.tool_calls == calls(body)
        && entry.tool_returns == returns
}
