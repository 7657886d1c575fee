//! Answers, streamed and whole: both are made of the same objects.

use std::collections::VecDeque;

use mnemic_core::{messages::ReasoningOrigin, runs::Usage};
use serde::Deserialize;
use serde_json::Number;

use crate::{
    completion::{Assembler, Completion, Delta, FinishReason},
    endpoints::{Endpoint, Protocol},
    errors::LlmError,
    lenient::{Raw, count, lossy_without_bom, non_empty, unique_id, unreadable},
    refusals,
};

/// A whole answer, or a piece of one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Piece<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    prompt_feedback: Option<Feedback<'a>>,
    usage_metadata: Option<WireUsage>,
    #[serde(borrow)]
    model_version: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Part<'a> {
    #[serde(borrow)]
    text: Raw<'a>,
    thought: Option<bool>,
    #[serde(borrow)]
    thought_signature: Raw<'a>,
    #[serde(borrow)]
    function_call: Option<FunctionCall<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FunctionCall<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    name: Raw<'a>,
    #[serde(borrow)]
    args: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Raw<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireUsage {
    prompt_token_count: Option<Number>,
    tool_use_prompt_token_count: Option<Number>,
    cached_content_token_count: Option<Number>,
    candidates_token_count: Option<Number>,
    thoughts_token_count: Option<Number>,
}

/// Turns the pieces of one answer into deltas.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    ids: Vec<String>,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    model: Option<String>,
    said_anything: bool,
}

impl Decoder {
    /// Whether the provider said that nothing follows. (It never does but by ending the stream.)
    pub const fn is_done(&self) -> bool {
        false
    }

    /// Whether the answer itself has ended.
    pub const fn has_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Takes in a piece.
    pub fn event(
        &mut self,
        endpoint: &Endpoint,
        data: &[u8],
        out: &mut VecDeque<Delta>,
    ) -> Result<(), LlmError> {
        let text = lossy_without_bom(data);
        let text = text.trim();
        if text.is_empty() || text == "[DONE]" {
            return Ok(());
        }
        let piece: Piece<'_> =
            serde_json::from_str(text).map_err(|error| LlmError::InvalidResponse {
                provider: endpoint.name().to_owned(),
                message: unreadable(text, &error),
            })?;
        if piece.error.is_some_and(|error| error.get() != "null") {
            let said = serde_json::from_str(text).unwrap_or_default();
            return Err(refusals::from_object(endpoint, &said));
        }
        if let Some(model) = non_empty(piece.model_version) {
            self.model.get_or_insert_with(|| model.into_owned());
        }
        if let Some(usage) = piece.usage_metadata {
            self.usage = Some(usage_of(usage));
        }
        let blocked = piece
            .prompt_feedback
            .and_then(|said| non_empty(said.block_reason));
        if blocked.is_some() {
            self.finish = Some(FinishReason::ContentFilter);
        }
        // More than one is only made for those who ask for more.
        if let Some(candidate) = piece.candidates.unwrap_or_default().into_iter().next() {
            for part in candidate
                .content
                .and_then(|said| said.parts)
                .unwrap_or_default()
            {
                self.part(endpoint, &part, out);
            }
            if let Some(reason) = non_empty(candidate.finish_reason) {
                self.finish = Some(finish_reason(&reason));
            }
        }
        Ok(())
    }

    fn part(&mut self, endpoint: &Endpoint, part: &Part<'_>, out: &mut VecDeque<Delta>) {
        if let Some(text) = non_empty(part.text) {
            if part.thought == Some(true) {
                out.push_back(Delta::Reasoning(text.into_owned()));
            } else {
                self.said_anything = true;
                out.push_back(Delta::Text(text.into_owned()));
            }
        }
        // Given with the call or the text that came of the thoughts; it is kept with them.
        if let Some(signature) = non_empty(part.thought_signature) {
            out.push_back(Delta::ReasoningEnd {
                signature: Some(signature.into_owned()),
                origin: origin(endpoint),
            });
        }
        if let Some(call) = &part.function_call {
            self.call(call, out);
        }
    }

    /// A call, which always comes whole.
    fn call(&mut self, call: &FunctionCall<'_>, out: &mut VecDeque<Delta>) {
        let Some(name) = non_empty(call.name) else {
            return;
        };
        let given = non_empty(call.id).map(std::borrow::Cow::into_owned);
        let id = unique_id(given, |id| self.ids.iter().any(|known| known == id));
        let index = self.ids.len();
        self.ids.push(id.clone());
        out.push_back(Delta::ToolCallStart {
            index,
            id,
            name: name.into_owned(),
        });
        let args = call
            .args
            .map(|args| args.get())
            .filter(|args| *args != "null");
        if let Some(args) = args {
            let fragment = args.to_owned();
            out.push_back(Delta::ToolCallArguments { index, fragment });
        }
    }

    /// The pieces are over: yields what closes the answer, [`Delta::Finish`] last.
    pub fn end(&mut self, endpoint: &Endpoint, out: &mut VecDeque<Delta>) -> Result<(), LlmError> {
        let provider = || endpoint.name().to_owned();
        let Some(finish) = self.finish else {
            return Err(LlmError::StreamIncomplete {
                provider: provider(),
                message: "it closed without a reason for its end".to_owned(),
            });
        };
        let is_silent = !self.said_anything && self.ids.is_empty();
        // A call that the model wrote badly, or nothing at all, is worth another try.
        if is_silent && matches!(finish, FinishReason::Unknown | FinishReason::Stop) {
            return Err(LlmError::EmptyResponse {
                provider: provider(),
            });
        }
        let finish = match finish {
            FinishReason::Stop if !self.ids.is_empty() => FinishReason::ToolCalls,
            other => other,
        };
        out.extend(self.model.take().map(Delta::Model));
        out.extend(self.usage.map(Delta::Usage));
        out.push_back(Delta::Finish(finish));
        Ok(())
    }
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
        | "IMAGE_SAFETY" => FinishReason::ContentFilter,
        _ => FinishReason::Unknown,
    }
}

fn origin(endpoint: &Endpoint) -> ReasoningOrigin {
    ReasoningOrigin {
        protocol: Protocol::Gemini.as_str().to_owned(),
        provider: endpoint.name().to_owned(),
        id: None,
    }
}

/// Counts of tokens. The provider counts thoughts apart from the answer, and what it has from its cache
/// as part of the prompt.
fn usage_of(wire: WireUsage) -> Usage {
    let thoughts = count(wire.thoughts_token_count);
    Usage {
        prompt_tokens: count(wire.prompt_token_count) + count(wire.tool_use_prompt_token_count),
        completion_tokens: count(wire.candidates_token_count) + thoughts,
        cached_input_tokens: count(wire.cached_content_token_count),
        cache_write_tokens: 0,
        reasoning_tokens: thoughts,
    }
}

/// Reads an answer that came whole.
pub(crate) fn parse(endpoint: &Endpoint, bytes: &[u8]) -> Result<Completion, LlmError> {
    let mut decoder = Decoder::default();
    let mut deltas = VecDeque::new();
    decoder.event(endpoint, bytes, &mut deltas)?;
    if decoder.finish.is_none() && !decoder.said_anything && decoder.ids.is_empty() {
        return Err(LlmError::EmptyResponse {
            provider: endpoint.name().to_owned(),
        });
    }
    decoder.finish.get_or_insert(FinishReason::Stop);
    decoder.end(endpoint, &mut deltas)?;
    let mut assembler = Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    Ok(assembler.finish())
}
