//! What an endpoint turned out not to accept, learned from its refusals.
//!
//! Servers that call themselves compatible refuse one parameter or another, and which ones changes
//! with their versions. So a refusal that names a parameter is answered by the same request without
//! it, once, and remembered for that model for as long as the process lives.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::RwLock;

/// Parameters that a request can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Parameter {
    /// `stream_options`, which asks for usage in streams.
    StreamOptions,
    /// `max_tokens`; its successor `max_completion_tokens` takes its place.
    MaxTokens,
    /// `temperature`, which reasoning models refuse.
    Temperature,
    /// `parallel_tool_calls`.
    ParallelToolCalls,
    /// `reasoning_effort`.
    ReasoningEffort,
    /// A choice of tools that leaves the model none, which some models refuse while they think.
    ForcedToolChoice,
    /// Anthropic's `thinking` altogether.
    Thinking,
    /// Anthropic's `thinking` with a budget; newer models decide themselves.
    ThinkingBudget,
    /// Anthropic's `thinking` without a budget; older models need one.
    AdaptiveThinking,
    /// Anthropic's way to switch thinking off.
    ThinkingDisabled,
    /// Anthropic's `output_config.effort`.
    Effort,
    /// Anthropic's `output_config.format`.
    OutputFormat,
    /// Anthropic's marks of what to keep in the prompt cache.
    CacheControl,
    /// The summary of a model's reasoning in OpenAI's responses.
    ReasoningSummary,
    /// The sealed reasoning in OpenAI's responses.
    SealedReasoning,
    /// `reasoning` in OpenAI's responses altogether.
    Reasoning,
    /// System messages after the first one; they are sent as the user's.
    LaterSystemMessages,
    /// Tools in the protocol's form; they are offered by a schema of the answer.
    Tools,
    /// Images; a note is sent in their place.
    Images,
    /// A schema that the answer must have.
    ResponseFormat,
    /// Ollama's `think` as a level rather than a switch.
    ThinkLevel,
    /// OpenAI's `verbosity`.
    Verbosity,
}

impl Parameter {
    /// The first that a refusal names counts, so what is more exact stands first.
    const NAMED: [(Self, &'static str); 28] = [
        (Self::StreamOptions, "stream_options"),
        (Self::MaxTokens, "max_tokens"),
        (Self::Temperature, "temperature"),
        (Self::ParallelToolCalls, "parallel_tool_calls"),
        (Self::ReasoningEffort, "reasoning_effort"),
        (Self::ThinkLevel, "think value"),
        (Self::Verbosity, "verbosity"),
        (Self::ResponseFormat, "response_format"),
        (Self::ResponseFormat, "json_schema"),
        (Self::ThinkingBudget, "thinking.type.enabled"),
        (Self::ThinkingBudget, "budget_tokens"),
        (Self::ThinkingDisabled, "thinking.type.disabled"),
        (Self::ThinkingDisabled, "disabled"),
        (Self::AdaptiveThinking, "adaptive"),
        (Self::OutputFormat, "output_config.format"),
        (Self::OutputFormat, "output format"),
        (Self::Effort, "output_config"),
        (Self::Effort, "effort parameter"),
        (Self::CacheControl, "cache_control"),
        (Self::ReasoningSummary, "reasoning.summary"),
        (Self::ReasoningSummary, "reasoning summaries"),
        (Self::ReasoningSummary, "reasoning summary"),
        (Self::SealedReasoning, "encrypted content"),
        (Self::SealedReasoning, "encrypted_content"),
        (Self::Reasoning, "reasoning.effort"),
        (Self::Reasoning, "'reasoning'"),
        (Self::Thinking, "thinking"),
        (Self::ParallelToolCalls, "parallel_tool_use"),
    ];

    /// Words by which chat templates refuse later system messages (Qwen, Mistral and others).
    const SYSTEM_FIRST: [&'static str; 3] = [
        "system message must be at the beginning",
        "system message must be the first",
        "only the first message can be a system",
    ];

    /// Words by which servers refuse tools: Ollama, vLLM without a parser for them, llama-server without
    /// `--jinja`, OpenRouter, and those that name the parameter.
    const NO_TOOLS: [&'static str; 8] = [
        "does not support tools",
        "does not support tool",
        "tools are not supported",
        "tool calling is not supported",
        "tool use is not supported",
        "requires --enable-auto-tool-choice",
        "tools param requires --jinja",
        "support tool use",
    ];

    /// Words by which they refuse images: llama-server, vLLM, Ollama, LM Studio.
    const NO_IMAGES: [&'static str; 6] = [
        "image input is not supported",
        "not a multimodal model",
        "data required for image input",
        "does not support image",
        "at most 0 image",
        "images are not supported",
    ];

    /// Words that say that a parameter itself is refused rather than its value being out of range.
    const REFUSAL: [&'static str; 14] = [
        "unsupported",
        "not supported",
        "does not support",
        "unrecognized",
        "unrecognised",
        "unknown",
        "unexpected",
        "not permitted",
        "not allowed",
        "extra inputs",
        "extra fields",
        "only allowed when",
        "deprecated",
        "must be verified",
    ];

    /// The parameter that a refusal is about.
    pub fn refused_by(message: &str) -> Option<Self> {
        let message = message.to_ascii_lowercase();
        if Self::SYSTEM_FIRST
            .iter()
            .any(|words| message.contains(words))
        {
            return Some(Self::LaterSystemMessages);
        }
        if Self::NO_TOOLS.iter().any(|words| message.contains(words)) {
            return Some(Self::Tools);
        }
        if Self::NO_IMAGES.iter().any(|words| message.contains(words)) {
            return Some(Self::Images);
        }
        if message.contains("forces tool use") || message.contains("tool_choice: forced") {
            return Some(Self::ForcedToolChoice);
        }
        if !Self::REFUSAL.iter().any(|words| message.contains(words)) {
            return None;
        }
        Self::NAMED
            .iter()
            .find(|(_, name)| message.contains(name))
            .map(|(parameter, _)| *parameter)
    }
}

/// What was learned about the models of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Adaptations {
    any: AtomicBool,
    refused: RwLock<HashSet<(String, Parameter)>>,
}

impl Adaptations {
    /// Whether a model is known to refuse a parameter.
    pub fn refuses(&self, model: &str, parameter: Parameter) -> bool {
        self.any.load(Ordering::Relaxed)
            && self
                .refused
                .read()
                .iter()
                .any(|(known, what)| known == model && *what == parameter)
    }

    /// Remembers a refusal; false when it was known, so that asking again can't help.
    pub fn learn(&self, model: &str, parameter: Parameter) -> bool {
        let new = self.refused.write().insert((model.to_owned(), parameter));
        self.any.store(true, Ordering::Relaxed);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_parameter() {
        let table = [
            (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                 'max_completion_tokens' instead.",
                Some(Parameter::MaxTokens),
            ),
            (
                "Unsupported value: 'temperature' does not support 0.2 with this model.",
                Some(Parameter::Temperature),
            ),
            (
                "Unrecognized request argument supplied: stream_options",
                Some(Parameter::StreamOptions),
            ),
            (
                "[{'type': 'extra_forbidden', 'loc': ('body', 'parallel_tool_calls'), 'msg': 'Extra \
                 inputs are not permitted'}]",
                Some(Parameter::ParallelToolCalls),
            ),
            (
                "Jinja Exception: System message must be at the beginning.",
                Some(Parameter::LaterSystemMessages),
            ),
            (
                "\"thinking.type.enabled\" is not supported for this model. Use \
                 \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior.",
                Some(Parameter::ThinkingBudget),
            ),
            (
                "adaptive thinking is not supported on this model",
                Some(Parameter::AdaptiveThinking),
            ),
            (
                "This model does not support the effort parameter.",
                Some(Parameter::Effort),
            ),
            (
                "`temperature` is deprecated for this model.",
                Some(Parameter::Temperature),
            ),
            (
                "Encrypted content is not supported with this model.",
                Some(Parameter::SealedReasoning),
            ),
            (
                "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
                Some(Parameter::Reasoning),
            ),
            (
                "Your organization must be verified to generate reasoning summaries.",
                Some(Parameter::ReasoningSummary),
            ),
            ("temperature must be between 0 and 2", None),
            ("unknown model", None),
        ];
        for (message, parameter) in table {
            assert_eq!(Parameter::refused_by(message), parameter, "{message}");
        }
    }

    #[test]
    fn a_refusal_of_tools_images_and_thoughts_is_known_by_its_words() {
        for (message, parameter) in [
            (
                "registry.ollama.ai/library/gemma3:latest does not support tools",
                Some(Parameter::Tools),
            ),
            (
                "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
                Some(Parameter::Tools),
            ),
            ("tools param requires --jinja flag", Some(Parameter::Tools)),
            (
                "No endpoints found that support tool use.",
                Some(Parameter::Tools),
            ),
            (
                "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
                Some(Parameter::Images),
            ),
            (
                "\"llama3.2\" does not support thinking",
                Some(Parameter::Thinking),
            ),
            (
                "think value \"high\" is not supported for this model",
                Some(Parameter::ThinkLevel),
            ),
            (
                "response_format 'json_schema' is not supported by this model",
                Some(Parameter::ResponseFormat),
            ),
        ] {
            assert_eq!(Parameter::refused_by(message), parameter, "{message}");
        }
    }

    #[test]
    fn a_refusal_is_remembered_for_its_model_only_and_learned_once() {
        let known = Adaptations::default();
        assert!(known.learn("o3", Parameter::Temperature));
        assert!(!known.learn("o3", Parameter::Temperature));
        assert!(known.refuses("o3", Parameter::Temperature));
        assert!(!known.refuses("o3", Parameter::MaxTokens));
        assert!(!known.refuses("gpt-4o", Parameter::Temperature));
    }
}
