//! How providers say that a request is too long: the words of each, as the `llm` crate's list of
//! refusals gives them with its sources.

use serde_json::{Value, json};

use super::request::Protocol;

/// Tokens that a refusal names as the limit when nothing tells the real one.
const LIMIT: usize = 8_192;

/// Status and body of a refusal, in the words of the back end that is named, or else of the provider
/// whose protocol it is.
pub(super) fn refusal(
    back_end: Option<&str>,
    protocol: Protocol,
    (asked, most): (usize, Option<usize>),
) -> (u16, Value) {
    let most = most.unwrap_or(LIMIT);
    let usual = match protocol {
        Protocol::Chat => "openai",
        Protocol::Messages => "anthropic",
        Protocol::Responses => "responses",
        Protocol::Ollama => "ollama-native",
        Protocol::Gemini => "gemini",
    };
    let back_end = back_end.unwrap_or(usual);
    let status = if back_end == "anthropic-size" {
        413
    } else {
        400
    };
    let body = match back_end {
        "anthropic" => json!({"type": "error", "error": {"type": "invalid_request_error",
                "message": format!("prompt is too long: {asked} tokens > {most} maximum")}}),
        "anthropic-size" => json!({"type": "error", "error": {"type": "request_too_large",
                "message": "Request exceeds the maximum size"}}),
        "responses" => {
            json!({"error": {"message": "Your input exceeds the context window of this model. \
                Please adjust your input and try again.", "type": "invalid_request_error",
                "param": "input", "code": "context_length_exceeded"}})
        }
        "llama-server" => json!({"error": {"code": 400, "type": "exceed_context_size_error",
                "message": format!("request ({asked} tokens) exceeds the available context size \
                    ({most} tokens), try increasing it"),
                "n_prompt_tokens": asked, "n_ctx": most}}),
        "ollama" => json!({"error": {"message": "the input length exceeds the context length",
                "type": "invalid_request_error", "param": null, "code": null}}),
        "gemini" => json!({"error": {"code": 400, "status": "INVALID_ARGUMENT",
                "message": format!("The input token count ({asked}) exceeds the maximum number of \
                    tokens allowed ({most}).")}}),
        "ollama-native" => json!({"error": "the input length exceeds the context length"}),
        "vllm" => {
            json!({"object": "error", "message": format!("This model's maximum context length is \
                {most} tokens. However, you requested {asked} tokens in the messages, Please \
                reduce the length of the messages."), "type": "BadRequestError", "param": null,
                "code": 400})
        }
        "lm-studio" => {
            json!({"error": format!("Trying to keep the first {asked} tokens when context the \
                overflows. However, the model is loaded with context length of only {most} \
                tokens, which is not enough.")})
        }
        "openrouter" => {
            json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {
                "raw": format!("{{\"message\":\"prompt is too long: {asked} tokens > {most} \
                    maximum\"}}")}}})
        }
        _ => json!({"error": {"message": format!("This model's maximum context length is {most} \
                tokens. However, your messages resulted in {asked} tokens. Please reduce the \
                length of the messages."), "type": "invalid_request_error", "param": "messages",
                "code": "context_length_exceeded"}}),
    };
    (status, body)
}
