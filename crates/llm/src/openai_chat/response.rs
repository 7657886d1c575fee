//! Answers that come whole.

use std::collections::HashSet;

use mnemic_core::messages::{ContentPart, MessageBody, ToolCall};
use serde_json::Value;

use super::{
    errors,
    wire::{self, Answer, FunctionPart, Said},
};
use crate::{completion::Completion, endpoints::Endpoint, errors::LlmError};

/// Reads an answer.
pub(crate) fn parse(endpoint: &Endpoint, bytes: &[u8]) -> Result<Completion, LlmError> {
    let provider = || endpoint.name().to_owned();
    let text = lossy_without_bom(bytes);
    let answer: Answer<'_> =
        serde_json::from_str(&text).map_err(|error| LlmError::InvalidResponse {
            provider: provider(),
            message: unreadable(&text, &error),
        })?;
    if let Some(error) = error_of(&answer) {
        return Err(errors::from_object(endpoint, &error));
    }
    let choices = answer.choices.unwrap_or_default();
    let Some(choice) = choices.into_iter().next() else {
        return Err(LlmError::EmptyResponse {
            provider: provider(),
        });
    };
    let finish = wire::finish_reason(choice.finish_reason).unwrap_or_default();
    let Some(said) = choice.message.or(choice.delta) else {
        return Err(LlmError::EmptyResponse {
            provider: provider(),
        });
    };
    Ok(Completion {
        body: body_of(&said),
        usage: wire::usage(answer.usage),
        finish,
        raw_model: wire::non_empty(answer.model).map(std::borrow::Cow::into_owned),
    })
}

/// Why a text is no JSON, with its beginning when it is not even meant to be.
pub(crate) fn unreadable(text: &str, error: &serde_json::Error) -> String {
    let start: String = text.trim_start().chars().take(80).collect();
    if start.starts_with('{') {
        format!("{error}")
    } else if start.is_empty() {
        "it is empty".to_owned()
    } else {
        format!("it is no JSON but begins {start:?}")
    }
}

/// The error object of an answer, when it has one that says something.
pub(crate) fn error_of(answer: &Answer<'_>) -> Option<Value> {
    let error = serde_json::from_str::<Value>(answer.error?.get()).ok()?;
    match &error {
        Value::Null | Value::Bool(false) => None,
        Value::Object(fields) if fields.is_empty() => None,
        Value::String(text) if text.is_empty() => None,
        _ => Some(error),
    }
}

/// The bytes as text, whatever they are.
pub(crate) fn lossy_without_bom(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

fn body_of(said: &Said<'_>) -> MessageBody {
    let (mut text, mut thoughts) = wire::content(said.content);
    if text.is_empty() {
        text = wire::string(said.refusal).unwrap_or_default().into_owned();
    }
    let told = wire::non_empty(said.reasoning_content).or_else(|| wire::non_empty(said.reasoning));
    if let Some(told) = told {
        thoughts = told.into_owned();
    }
    let mut content = Vec::with_capacity(2);
    if !thoughts.is_empty() {
        content.push(ContentPart::Reasoning {
            text: thoughts,
            signature: None,
        });
    }
    if !text.is_empty() {
        content.push(ContentPart::Text { text });
    }
    MessageBody {
        content,
        tool_calls: calls_of(said),
        tool_returns: Vec::new(),
    }
}

fn calls_of(said: &Said<'_>) -> Vec<ToolCall> {
    let mut ids = HashSet::new();
    let mut calls = Vec::new();
    let mut add = |id: Option<String>, function: &FunctionPart<'_>| {
        let arguments = wire::arguments(function.arguments);
        let name = wire::non_empty(function.name);
        if name.is_none() && arguments.trim().is_empty() {
            return;
        }
        let id = unique_id(id, |id| ids.contains(id));
        ids.insert(id.clone());
        calls.push(ToolCall {
            id,
            name: name.unwrap_or_default().into_owned(),
            arguments: if arguments.trim().is_empty() {
                "{}".into()
            } else {
                arguments.into_owned()
            },
        });
    };
    for call in said.tool_calls.iter().flatten().flatten() {
        if let Some(function) = &call.function {
            add(
                wire::non_empty(call.id).map(std::borrow::Cow::into_owned),
                function,
            );
        }
    }
    if let Some(function) = said
        .function_call
        .as_ref()
        .filter(|_| said.tool_calls.is_none())
    {
        add(None, function);
    }
    calls
}

/// The provider's id of a call, or a new one when there is none or it is taken.
pub(crate) fn unique_id(given: Option<String>, taken: impl Fn(&str) -> bool) -> String {
    match given {
        Some(id) if !id.is_empty() && !taken(&id) => id,
        _ => format!("call_{}", uuid::Uuid::new_v4().simple()),
    }
}
