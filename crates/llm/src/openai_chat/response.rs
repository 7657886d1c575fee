//! Answers that come whole.

use std::collections::HashSet;

use mnemic_core::messages::{ContentPart, MessageBody, ToolCall};
use serde_json::Value;

use super::wire::{self, Answer, FunctionPart, Said};
use crate::{
    completion::Completion,
    endpoints::Endpoint,
    errors::LlmError,
    lenient::{lossy_without_bom, non_empty, string, unique_id, unreadable},
    refusals,
};

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
        return Err(refusals::from_object(endpoint, &error));
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
        raw_model: non_empty(answer.model).map(std::borrow::Cow::into_owned),
    })
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

fn body_of(said: &Said<'_>) -> MessageBody {
    let (mut text, mut thoughts) = wire::content(said.content);
    if text.is_empty() {
        text = string(said.refusal).unwrap_or_default().into_owned();
    }
    let told = non_empty(said.reasoning_content).or_else(|| non_empty(said.reasoning));
    if let Some(told) = told {
        thoughts = told.into_owned();
    }
    let mut content = Vec::with_capacity(2);
    if !thoughts.is_empty() {
        content.push(ContentPart::reasoning(thoughts));
    }
    if !text.is_empty() {
        content.push(ContentPart::Text { text });
    }
    MessageBody {
        content,
        tool_calls: calls_of(said),
        ..MessageBody::default()
    }
}

fn calls_of(said: &Said<'_>) -> Vec<ToolCall> {
    let mut ids = HashSet::new();
    let mut calls = Vec::new();
    let mut add = |id: Option<String>, function: &FunctionPart<'_>| {
        let arguments = wire::arguments(function.arguments);
        let name = non_empty(function.name);
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
                non_empty(call.id).map(std::borrow::Cow::into_owned),
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
