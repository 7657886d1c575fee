//! Providers' errors, in the forms in which the protocols and their many servers write them.

use std::time::Duration;

use serde_json::Value;

use crate::{endpoints::Endpoint, errors::LlmError};

/// Characters of a provider's words that are passed on.
const MAX_MESSAGE: usize = 600;

/// What an error body says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Its sentence.
    pub message: String,
    /// Its code or type, or both, in lower case.
    code: String,
    /// The HTTP status that it names itself.
    status: Option<u16>,
}

/// Phrases by which providers say that a request is too long, in lower case. Sources: the error
/// texts of the OpenAI, Anthropic, Mistral, Groq, Together, xAI, Gemini, DeepSeek and OpenRouter
/// APIs, llama-server, vLLM, SGLang, TGI, LM Studio and Ollama as of November 2026.
const OVERFLOW: [&str; 29] = [
    "context_length_exceeded",
    "exceed_context_size",
    "model_max_prompt_tokens_exceeded",
    "maximum context length",
    "max context length",
    "context length exceeded",
    "exceeds the context length",
    "exceeds context length",
    "greater than the context length",
    "longer than the model's context length",
    "longer than the context length",
    "exceeds the available context",
    "exceed the available context",
    "context window",
    "context size",
    "context the overflows",
    "context overflow",
    "maximum model length",
    "max_model_len",
    "prompt is too long",
    "exceed context limit",
    "exceeds the maximum allowed context",
    "request_too_large",
    "input is too long",
    "maximum prompt length",
    "reduce the length of the messages",
    "exceeds the maximum number of tokens",
    "exceeds the model's maximum",
    "`inputs` tokens + `max_new_tokens` must be",
];

/// What stands right before the tokens that they take. Same sources.
const LIMITS: [&str; 7] = [
    "maximum context length is ",
    "maximum prompt length is ",
    "maximum model length of ",
    "context length of only ",
    "available context size (",
    " tokens > ",
    "number of tokens allowed (",
];

/// A smaller number is no window.
const LEAST_LIMIT: i64 = 256;

/// Codes and phrases by which they say that the money is gone.
const NO_CREDIT: [&str; 7] = [
    "insufficient_quota",
    "insufficient_credits",
    "insufficient balance",
    "billing_hard_limit_reached",
    "billing_not_active",
    "credit balance is too low",
    "exceeded your current quota",
];

/// The error of an HTTP answer that is no success.
pub(crate) fn from_answer(
    endpoint: &Endpoint,
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
) -> LlmError {
    let said = read(body);
    classify(endpoint, status, &said, retry_after)
}

/// The error of an `error` object inside an answer whose status was a success.
pub(crate) fn from_object(endpoint: &Endpoint, error: &Value) -> LlmError {
    let said = read_value(error);
    let status = said.status.unwrap_or_else(|| status_of_code(&said.code));
    classify(endpoint, status, &said, None)
}

fn classify(
    endpoint: &Endpoint,
    status: u16,
    said: &Said,
    retry_after: Option<Duration>,
) -> LlmError {
    let provider = endpoint.name().to_owned();
    let message = shorten(&endpoint.redact(&said.message), status);
    let lower = format!("{} {}", said.code, said.message.to_ascii_lowercase());
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    if status == 402 || says(&NO_CREDIT) {
        return LlmError::InsufficientCredits { provider, message };
    }
    // 429 is never an overflow, though "request too large" for a rate limit reads like one.
    if status == 413 || (matches!(status, 400 | 422 | 500) && says(&OVERFLOW)) {
        let limit = told_limit(&lower);
        return LlmError::ContextWindowExceeded {
            provider,
            message,
            limit,
        };
    }
    // Gemini says so with 400.
    let status = match status {
        400 if says(&["api key not valid", "api_key_invalid"]) => 401,
        other => other,
    };
    match status {
        401 | 403 => LlmError::Authentication { provider, message },
        404 | 405 => LlmError::NotFound { provider, message },
        429 => LlmError::RateLimit {
            provider,
            message,
            retry_after,
        },
        503 | 529 => LlmError::Overloaded {
            provider,
            message,
            retry_after,
        },
        408 | 409 | 425 | 500.. => LlmError::Server {
            provider,
            status,
            message,
            retry_after,
        },
        _ => LlmError::BadRequest {
            provider,
            status,
            message,
        },
    }
}

/// The tokens that a provider says that it takes.
fn told_limit(lower: &str) -> Option<i64> {
    LIMITS.iter().find_map(|phrase| {
        let (_, after) = lower.split_once(phrase)?;
        let digits: String = after
            .chars()
            .filter(|c| *c != ',')
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().ok().filter(|limit| *limit >= LEAST_LIMIT)
    })
}

/// The status that an error's code or type stands for.
fn status_of_code(code: &str) -> u16 {
    const CODES: [(&str, u16); 12] = [
        ("too_large", 413),
        ("billing", 402),
        ("timeout", 408),
        ("rate_limit", 429),
        ("overloaded", 503),
        ("unavailable", 503),
        ("authentication", 401),
        ("permission", 403),
        ("not_found", 404),
        ("invalid", 400),
        ("context", 400),
        ("bad_request", 400),
    ];
    CODES
        .iter()
        .find(|(word, _)| code.contains(word))
        .map_or(500, |(_, status)| *status)
}

/// Reads an error body: JSON in one of its forms, or plain text, or a proxy's HTML.
pub(crate) fn read(body: &[u8]) -> Said {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => read_value(&value),
        Err(_) => Said {
            message: plain(&String::from_utf8_lossy(body)),
            ..Said::default()
        },
    }
}

/// `{"error":{...}}`, `{"error":"..."}`, `{"message":...}`, `{"detail":...}`, a text, or any of these
/// in an array.
fn read_value(value: &Value) -> Said {
    match value {
        Value::String(text) => Said {
            message: plain(text),
            ..Said::default()
        },
        Value::Array(list) => list.first().map(read_value).unwrap_or_default(),
        Value::Object(fields) => {
            if let Some(inner) = fields.get("error").filter(|inner| inner.is_object()) {
                return read_value(inner);
            }
            let text_of = |key: &str| match fields.get(key) {
                Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
                Some(value @ (Value::Object(_) | Value::Array(_))) => Some(value.to_string()),
                _ => None,
            };
            let message = ["message", "error", "detail", "msg"]
                .into_iter()
                .find_map(text_of);
            let mut message = message.unwrap_or_else(|| value.to_string());
            // OpenRouter says only "Provider returned error" and keeps the cause in here.
            if let Some(raw) = value.pointer("/metadata/raw").and_then(Value::as_str) {
                message = format!("{message}: {raw}");
            }
            let code = ["code", "type"]
                .into_iter()
                .filter_map(|key| fields.get(key)?.as_str());
            let status = ["code", "status"].into_iter().find_map(|key| {
                let value = fields.get(key)?;
                let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
                u16::try_from(number)
                    .ok()
                    .filter(|status| (400..600).contains(status))
            });
            Said {
                message: plain(&message),
                code: code.collect::<Vec<_>>().join(" ").to_ascii_lowercase(),
                status,
            }
        }
        _ => Said::default(),
    }
}

/// One line without markup.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut in_tag = false;
    let html = text.trim_start().starts_with('<');
    for c in text.chars() {
        match c {
            '<' if html => in_tag = true,
            '>' if html => {
                in_tag = false;
                out.push(' ');
            }
            _ if in_tag => {}
            c if c.is_whitespace() || c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn shorten(message: &str, status: u16) -> String {
    if message.is_empty() {
        return format!("status {status}, without a reason");
    }
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointConfig;

    fn error(status: u16, body: &str) -> LlmError {
        let config = EndpointConfig::new("local", "http://h/v1").with_key("sk-secret-1234");
        from_answer(
            &Endpoint::new(config).unwrap(),
            status,
            body.as_bytes(),
            None,
        )
    }

    /// Status, body and the limit that it tells.
    const OVERFLOWS: [(u16, &str, Option<i64>); 13] = [
        // OpenAI
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            Some(8_192),
        ),
        (
            400,
            r#"{"error":{"message":"Your input exceeds the context window of this model.","type":"invalid_request_error","code":null}}"#,
            None,
        ),
        // llama-server
        (
            400,
            r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}"#,
            Some(4_096),
        ),
        (
            500,
            r#"{"error":{"code":500,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"server_error"}}"#,
            None,
        ),
        // vLLM, old and new
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"BadRequestError","param":null,"code":400}"#,
            Some(4_096),
        ),
        (
            400,
            r#"{"error":{"message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096.","type":"BadRequestError","code":400}}"#,
            Some(4_096),
        ),
        // LM Studio
        (
            400,
            r#"{"error":"Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}"#,
            Some(4_096),
        ),
        (
            400,
            r#"{"error":"The number of tokens to keep from the initial prompt is greater than the context length."}"#,
            None,
        ),
        // Ollama
        (
            400,
            r#"{"error":{"message":"the input length exceeds the context length","type":"invalid_request_error"}}"#,
            None,
        ),
        // OpenRouter, with the provider's words inside
        (
            400,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"message\":\"prompt is too long: 210000 tokens > 200000 maximum\"}"}}}"#,
            Some(200_000),
        ),
        (413, "Payload Too Large", None),
        // Groq, xAI
        (
            400,
            r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error"}}"#,
            None,
        ),
        (
            400,
            r#"{"code":"invalid-argument","error":"This model's maximum prompt length is 131072 but the request contains 140000 tokens."}"#,
            Some(131_072),
        ),
    ];

    #[test]
    fn every_servers_overflow_is_recognised() {
        for (status, body, told) in OVERFLOWS {
            let error = error(status, body);
            assert!(
                matches!(error, LlmError::ContextWindowExceeded { limit, .. } if limit == told),
                "{body}: {error:?}"
            );
            assert!(!error.is_retryable());
        }
    }

    #[test]
    fn a_rate_limit_that_speaks_of_sizes_is_no_overflow() {
        let body = r#"{"error":{"message":"Request too large for m on tokens per min (TPM): please reduce the length of the messages","code":"rate_limit_exceeded"}}"#;
        assert!(matches!(error(429, body), LlmError::RateLimit { .. }));
    }

    #[test]
    fn statuses_and_codes_become_the_contracts_types() {
        for (status, body, expected, again) in [
            (401, "{}", "llm_authentication", false),
            (403, "{}", "llm_authentication", false),
            (402, "{}", "llm_insufficient_credits", false),
            (
                429,
                r#"{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}"#,
                "llm_insufficient_credits",
                false,
            ),
            (
                400,
                r#"{"error":{"message":"Your credit balance is too low"}}"#,
                "llm_insufficient_credits",
                false,
            ),
            (429, "{}", "llm_rate_limit", true),
            (
                404,
                r#"{"error":{"message":"model 'x' not found"}}"#,
                "llm_bad_request",
                false,
            ),
            (
                400,
                r#"{"detail":[{"msg":"odd"}]}"#,
                "llm_bad_request",
                false,
            ),
            (422, "", "llm_bad_request", false),
            (408, "", "llm_error", true),
            (500, "", "llm_error", true),
            (
                502,
                "<html><body>Bad Gateway</body></html>",
                "llm_error",
                true,
            ),
            (503, "", "llm_overloaded", true),
            (529, "", "llm_overloaded", true),
        ] {
            let error = error(status, body);
            assert_eq!(
                (error.error_type(), error.is_retryable()),
                (expected, again),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn the_providers_words_are_passed_on_in_one_short_line_without_markup_or_key() {
        let text = error(502, "<html>\n<b>Bad</b>\n gateway</html>").to_string();
        assert!(text.contains("(Bad gateway)"), "{text}");
        let text = error(400, &format!("a\nb{}", "x".repeat(5000))).to_string();
        assert!(text.contains("(a bxxx") && text.len() < 1000, "{text}");
        let text = format!(
            "{:?}",
            error(401, r#"{"error":"Incorrect API key: sk-secret-1234"}"#)
        );
        assert!(
            text.contains("***") && !text.contains("sk-secret"),
            "{text}"
        );
        let text = error(
            400,
            r#"{"error":{"message":"Provider returned error","metadata":{"raw":"the cause"}}}"#,
        );
        assert!(text.to_string().contains("the cause"), "{text}");
    }
}
