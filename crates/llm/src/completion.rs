//! What a model answers: in pieces, and whole.

use mnemic_core::{
    messages::{ContentPart, MessageBody, ReasoningOrigin, ToolCall},
    runs::Usage,
};

use serde_json::Value;

use crate::json;

/// The arguments of a call that was cut off before they came: no JSON, so that they are asked for again
/// and the call is not made without them.
pub(crate) const CUT_BEFORE_ARGUMENTS: &str = "{";

/// Why a model stopped. Whether it called tools is told by the calls, never by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FinishReason {
    /// It had finished.
    Stop,
    /// The answer reached its limit of tokens.
    Length,
    /// It waits for tools.
    ToolCalls,
    /// The provider withheld the rest.
    ContentFilter,
    /// The provider did not say, or used a word of its own.
    #[default]
    Unknown,
}

/// An answer as it was read, in one form for all protocols: for people who look at what a model said.
#[must_use]
pub fn response_body(answer: &Completion) -> Value {
    let usage = answer.usage.map(|usage| {
        serde_json::json!({
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens(),
            "cached_input_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        })
    });
    serde_json::json!({
        "model": answer.raw_model,
        "content": answer.body.content,
        "tool_calls": answer.body.tool_calls,
        "finish_reason": match answer.finish {
            FinishReason::Stop => Some("stop"),
            FinishReason::Length => Some("length"),
            FinishReason::ToolCalls => Some("tool_calls"),
            FinishReason::ContentFilter => Some("content_filter"),
            FinishReason::Unknown => None,
        },
        "usage": usage,
    })
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// More of what a reasoning model thinks.
    Reasoning(String),
    /// What it thought so far is over, and more would be thoughts of their own. Providers that want
    /// their thoughts back sign them.
    ReasoningEnd {
        /// The proof to be sent back with the thoughts.
        signature: Option<String>,
        /// Who wants them back.
        origin: ReasoningOrigin,
    },
    /// Thoughts that the provider shows nobody.
    RedactedReasoning {
        /// What to send back.
        data: String,
        /// Who wants it back.
        origin: ReasoningOrigin,
    },
    /// A tool call begins.
    ToolCallStart {
        /// Which call of the answer, from 0.
        index: usize,
        /// Its id, unique within the answer.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// More of a call's arguments.
    ToolCallArguments {
        /// Which call.
        index: usize,
        /// A piece of JSON text.
        fragment: String,
    },
    /// The model as the provider names it.
    Model(String),
    /// The tokens it took.
    Usage(Usage),
    /// It has ended: the last item of every stream that did not fail.
    Finish(FinishReason),
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// What it says and calls.
    pub body: MessageBody,
    /// The tokens it took, when the provider said.
    pub usage: Option<Usage>,
    /// Why it ended.
    pub finish: FinishReason,
    /// The model as the provider names it.
    pub raw_model: Option<String>,
}

impl Completion {
    /// Whether it neither says nor calls anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.tool_calls.is_empty()
            && !self.body.content.iter().any(|part| match part {
                ContentPart::Text { text } => !text.is_empty(),
                _ => false,
            })
    }

    /// The same answer as a stream would have brought it.
    pub(crate) fn into_deltas(self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        deltas.extend(self.raw_model.map(Delta::Model));
        for part in self.body.content {
            match part {
                ContentPart::Text { text } => deltas.push(Delta::Text(text)),
                ContentPart::Reasoning {
                    text,
                    signature,
                    origin,
                } => {
                    deltas.push(Delta::Reasoning(text));
                    deltas.extend(origin.map(|origin| Delta::ReasoningEnd { signature, origin }));
                }
                ContentPart::RedactedReasoning {
                    data,
                    origin: Some(origin),
                } => deltas.push(Delta::RedactedReasoning { data, origin }),
                ContentPart::Image { .. } | ContentPart::RedactedReasoning { .. } => {}
            }
        }
        for (index, call) in self.body.tool_calls.into_iter().enumerate() {
            deltas.push(Delta::ToolCallStart {
                index,
                id: call.id,
                name: call.name,
            });
            deltas.push(Delta::ToolCallArguments {
                index,
                fragment: call.arguments,
            });
        }
        deltas.extend(self.usage.map(Delta::Usage));
        deltas.push(Delta::Finish(self.finish));
        deltas
    }
}

/// Folds the deltas of one answer into a [`Completion`].
#[derive(Debug, Clone, Default)]
pub struct Assembler {
    content: Vec<ContentPart>,
    /// Parts that are complete: those up to the last reasoning that ended.
    ended: usize,
    calls: Vec<ToolCall>,
    usage: Option<Usage>,
    finish: FinishReason,
    raw_model: Option<String>,
}

impl Assembler {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a delta.
    pub fn push(&mut self, delta: &Delta) {
        match delta {
            Delta::Text(text) => self.say(text),
            Delta::Reasoning(text) => self.think(text),
            Delta::ReasoningEnd { signature, origin } => {
                self.end_reasoning(signature.as_ref(), origin)
            }
            Delta::RedactedReasoning { data, origin } => {
                self.content.push(ContentPart::RedactedReasoning {
                    data: data.clone(),
                    origin: Some(origin.clone()),
                });
                self.ended = self.content.len();
            }
            Delta::ToolCallStart { id, name, .. } => self.calls.push(ToolCall {
                id: id.clone(),
                name: name.clone(),
                arguments: String::new(),
            }),
            Delta::ToolCallArguments { index, fragment } => {
                if let Some(call) = self.calls.get_mut(*index) {
                    call.arguments.push_str(fragment);
                }
            }
            Delta::Model(name) => self.raw_model = Some(name.clone()),
            Delta::Usage(usage) => self.usage = Some(*usage),
            Delta::Finish(reason) => self.finish = *reason,
        }
    }

    fn say(&mut self, more: &str) {
        let mut open = self.content.iter_mut().skip(self.ended);
        if let Some(text) = open.find_map(|part| match part {
            ContentPart::Text { text } => Some(text),
            _ => None,
        }) {
            text.push_str(more);
            return;
        }
        self.content.push(ContentPart::text(more));
    }

    fn think(&mut self, more: &str) {
        let mut open = self.content.iter_mut().skip(self.ended);
        if let Some(text) = open.find_map(|part| match part {
            ContentPart::Reasoning { text, .. } => Some(text),
            _ => None,
        }) {
            text.push_str(more);
            return;
        }
        self.content.push(ContentPart::reasoning(more));
    }

    /// Closes the thoughts that go on. Some providers tell nothing of them but the signature.
    fn end_reasoning(&mut self, proof: Option<&String>, from: &ReasoningOrigin) {
        let is_open = |part: &ContentPart| matches!(part, ContentPart::Reasoning { .. });
        let at = match self.content.iter().skip(self.ended).position(is_open) {
            Some(at) => self.ended + at,
            None if proof.is_none() => return,
            None => {
                self.content.push(ContentPart::reasoning(""));
                self.content.len() - 1
            }
        };
        self.ended = at + 1;
        if let Some(ContentPart::Reasoning {
            signature, origin, ..
        }) = self.content.get_mut(at)
        {
            *signature = proof.cloned();
            *origin = Some(from.clone());
        }
    }

    /// The calls so far; the last one's arguments may be incomplete.
    #[must_use]
    pub fn calls(&self) -> &[ToolCall] {
        &self.calls
    }

    /// The whole answer.
    #[must_use]
    pub fn finish(self) -> Completion {
        let mut content = self.content;
        content.retain(|part| match part {
            ContentPart::Text { text } => !text.is_empty(),
            ContentPart::Reasoning {
                text, signature, ..
            } => !text.is_empty() || signature.is_some(),
            _ => true,
        });
        let mut tool_calls = self.calls;
        // The last call of an answer that reached its limit was only begun.
        let begun = (self.finish == FinishReason::Length).then_some(tool_calls.len());
        for (count, call) in (1..).zip(&mut tool_calls) {
            if call.arguments.trim().is_empty() {
                let is_begun = begun == Some(count);
                let none = if is_begun { CUT_BEFORE_ARGUMENTS } else { "{}" };
                none.clone_into(&mut call.arguments);
            }
        }
        Completion {
            body: MessageBody {
                content,
                tool_calls,
                ..MessageBody::default()
            },
            usage: self.usage,
            finish: self.finish,
            raw_model: self.raw_model,
        }
    }

    /// What stands of an answer that was cut short: its text, and the calls whose arguments are
    /// whole.
    #[must_use]
    pub fn interrupted(mut self) -> Completion {
        self.calls.retain(|call| json::is_object(&call.arguments));
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(index: usize, id: &str) -> Delta {
        Delta::ToolCallStart {
            index,
            id: id.into(),
            name: "tool".into(),
        }
    }

    fn arguments(index: usize, fragment: &str) -> Delta {
        Delta::ToolCallArguments {
            index,
            fragment: fragment.into(),
        }
    }

    fn fold(deltas: &[Delta]) -> Assembler {
        let mut assembler = Assembler::new();
        deltas.iter().for_each(|delta| assembler.push(delta));
        assembler
    }

    #[test]
    fn deltas_become_one_answer_and_the_answer_becomes_deltas_again() {
        let usage = Usage {
            prompt_tokens: 3,
            completion_tokens: 2,
            ..Usage::default()
        };
        let completion = fold(&[
            Delta::Reasoning("hm".into()),
            Delta::Text("he".into()),
            Delta::Text("llo".into()),
            start(0, "a"),
            arguments(0, "{\"x\""),
            arguments(0, ":1}"),
            start(1, "b"),
            Delta::Usage(usage),
            Delta::Finish(FinishReason::ToolCalls),
        ])
        .finish();
        assert_eq!(
            completion.body.content,
            [ContentPart::reasoning("hm"), ContentPart::text("hello"),]
        );
        let calls: Vec<_> = completion
            .body
            .tool_calls
            .iter()
            .map(|c| (c.id.as_str(), c.arguments.as_str()))
            .collect();
        assert_eq!(calls, [("a", "{\"x\":1}"), ("b", "{}")]);
        assert_eq!(completion.usage, Some(usage));
        assert_eq!(fold(&completion.clone().into_deltas()).finish(), completion);
    }

    #[test]
    fn signed_thoughts_stay_where_they_were_thought() {
        let origin = |id: &str| ReasoningOrigin {
            protocol: "anthropic".into(),
            provider: "anthropic".into(),
            id: Some(id.into()),
        };
        let end = |id: &str| Delta::ReasoningEnd {
            signature: Some(format!("proof of {id}")),
            origin: origin(id),
        };
        let completion = fold(&[
            Delta::Reasoning("one".into()),
            end("1"),
            Delta::Text("a".into()),
            Delta::Text("b".into()),
            Delta::RedactedReasoning {
                data: "sealed".into(),
                origin: origin("2"),
            },
            end("3"),
            Delta::Text("c".into()),
            start(0, "x"),
        ])
        .finish();
        let signed = |text: &str, id: &str| ContentPart::Reasoning {
            text: text.into(),
            signature: Some(format!("proof of {id}")),
            origin: Some(origin(id)),
        };
        assert_eq!(
            completion.body.content,
            [
                signed("one", "1"),
                ContentPart::text("ab"),
                ContentPart::RedactedReasoning {
                    data: "sealed".into(),
                    origin: Some(origin("2")),
                },
                signed("", "3"),
                ContentPart::text("c"),
            ]
        );
        assert_eq!(fold(&completion.clone().into_deltas()).finish(), completion);
    }

    #[test]
    fn a_call_that_the_limit_cut_off_before_its_arguments_is_none_without_any() {
        for (finish, arguments) in [
            (FinishReason::Length, ["{}", "{"]),
            (FinishReason::ToolCalls, ["{}", "{}"]),
        ] {
            let completion = fold(&[start(0, "a"), start(1, "b"), Delta::Finish(finish)]).finish();
            let calls = completion.body.tool_calls.iter();
            let shown: Vec<_> = calls.map(|call| call.arguments.as_str()).collect();
            assert_eq!(shown, arguments, "{finish:?}");
        }
    }

    #[test]
    fn an_interrupted_answer_keeps_its_text_and_its_whole_calls() {
        let completion = fold(&[
            Delta::Text("so far".into()),
            start(0, "whole"),
            arguments(0, "{}"),
            start(1, "torn"),
            arguments(1, "{\"x\": \"ha"),
        ])
        .interrupted();
        assert_eq!(completion.body.plain_text(), "so far");
        assert_eq!(completion.body.tool_calls.len(), 1);
        assert_eq!(completion.body.tool_calls[0].id, "whole");
    }
}
