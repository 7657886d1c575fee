//! The protocol's answers.

use std::borrow::Cow;

use mnemic_core::runs::Usage;
use serde::Deserialize;
use serde_json::{Number, Value, value::RawValue};

use crate::{
    completion::FinishReason,
    lenient::{Raw, count, non_empty, string},
};

/// An answer, or one event of a stream.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Answer<'a> {
    #[serde(borrow, default)]
    pub choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    pub usage: Raw<'a>,
    #[serde(borrow, default)]
    pub error: Raw<'a>,
    #[serde(borrow, default)]
    pub model: Raw<'a>,
}

/// One alternative of an answer; we ask for one.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(default)]
    pub index: Option<Number>,
    #[serde(borrow, default)]
    pub delta: Option<Said<'a>>,
    #[serde(borrow, default)]
    pub message: Option<Said<'a>>,
    #[serde(borrow, default)]
    pub finish_reason: Raw<'a>,
}

/// A message or a part of one.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Said<'a> {
    #[serde(borrow, default)]
    pub content: Raw<'a>,
    #[serde(borrow, default)]
    pub refusal: Raw<'a>,
    /// DeepSeek's, llama-server's and vLLM's name for thoughts.
    #[serde(borrow, default)]
    pub reasoning_content: Raw<'a>,
    /// OpenRouter's, Ollama's and newer vLLMs'.
    #[serde(borrow, default)]
    pub reasoning: Raw<'a>,
    #[serde(borrow, default)]
    pub tool_calls: Option<Vec<Option<CallPart<'a>>>>,
    /// The form of tool calls before there were several.
    #[serde(borrow, default)]
    pub function_call: Option<FunctionPart<'a>>,
}

/// A tool call or a part of one.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct CallPart<'a> {
    #[serde(default)]
    pub index: Option<Number>,
    #[serde(borrow, default)]
    pub id: Raw<'a>,
    #[serde(borrow, default)]
    pub function: Option<FunctionPart<'a>>,
}

/// Name and arguments.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct FunctionPart<'a> {
    #[serde(borrow, default)]
    pub name: Raw<'a>,
    #[serde(borrow, default)]
    pub arguments: Raw<'a>,
}

/// Text and thoughts of a content: a string, or a list of parts such as `{"type":"text"}` and
/// Mistral's `{"type":"thinking"}`.
pub(crate) fn content(raw: Raw<'_>) -> (String, String) {
    let (mut text, mut thoughts) = (String::new(), String::new());
    let Some(json) = raw else {
        return (text, thoughts);
    };
    if json.get().starts_with('"') {
        return (string(raw).unwrap_or_default().into_owned(), thoughts);
    }
    let parts = serde_json::from_str::<Vec<Value>>(json.get()).unwrap_or_default();
    for part in &parts {
        match part.get("type").and_then(Value::as_str) {
            Some("thinking" | "reasoning") => gather(part, &mut thoughts),
            _ => gather(part, &mut text),
        }
    }
    (text, thoughts)
}

/// Collects the texts of a content part, however deep they lie.
fn gather(part: &Value, out: &mut String) {
    match part {
        Value::String(text) => out.push_str(text),
        Value::Array(parts) => parts.iter().for_each(|part| gather(part, out)),
        Value::Object(fields) => {
            for key in ["text", "thinking", "reasoning"] {
                if let Some(inner) = fields.get(key) {
                    gather(inner, out);
                }
            }
        }
        _ => {}
    }
}

/// Arguments as text: they come as JSON in a string or, against the protocol, as the object itself.
pub(crate) fn arguments<'a>(raw: Raw<'a>) -> Cow<'a, str> {
    match raw.map(RawValue::get) {
        None | Some("null") => Cow::Borrowed(""),
        Some(json) if json.starts_with('"') => string(raw).unwrap_or_default(),
        Some(json) => Cow::Borrowed(json),
    }
}

/// Why the model stopped; nothing while it goes on.
pub(crate) fn finish_reason(raw: Raw<'_>) -> Option<FinishReason> {
    let word = non_empty(raw)?;
    Some(match word.to_ascii_lowercase().as_str() {
        "stop" | "end_turn" | "eos" | "stop_sequence" | "eos_token" => FinishReason::Stop,
        "length" | "max_tokens" | "model_length" => FinishReason::Length,
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
        "content_filter" | "safety" => FinishReason::ContentFilter,
        _ => FinishReason::Unknown,
    })
}

#[derive(Debug, Default, Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: Option<Number>,
    #[serde(default)]
    completion_tokens: Option<Number>,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
    #[serde(default)]
    completion_tokens_details: Option<Details>,
    /// DeepSeek's name for cached tokens.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<Number>,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<Number>,
    #[serde(default)]
    cache_write_tokens: Option<Number>,
    #[serde(default)]
    reasoning_tokens: Option<Number>,
}

/// Counts of tokens; nothing when none are there.
pub(crate) fn usage(raw: Raw<'_>) -> Option<Usage> {
    let usage = serde_json::from_str::<Option<WireUsage>>(raw?.get()).ok()??;
    usage
        .prompt_tokens
        .as_ref()
        .or(usage.completion_tokens.as_ref())?;
    let prompt = usage.prompt_tokens_details.unwrap_or_default();
    let completion = usage.completion_tokens_details.unwrap_or_default();
    Some(Usage {
        prompt_tokens: count(usage.prompt_tokens),
        completion_tokens: count(usage.completion_tokens),
        cached_input_tokens: count(prompt.cached_tokens.or(usage.prompt_cache_hit_tokens)),
        cache_write_tokens: count(prompt.cache_write_tokens),
        reasoning_tokens: count(completion.reasoning_tokens),
    })
}
