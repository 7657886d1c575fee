//! Errors in the form that OpenAI's clients read: `{"error": {message, type, param, code}}`.

use axum::{
    Json,
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use mnemic_core::runs::RunError;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Language;
use crate::error::{About, Refusal};

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OpenAiError {
    /// What is wrong, and what to do.
    pub message: String,
    /// A word for the kind of error.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field that it is about.
    pub param: Option<&'static str>,
    /// A word for the error.
    pub code: Option<String>,
}

/// An answer or a frame that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: OpenAiError,
}

impl OpenAiError {
    /// The error of a run.
    #[must_use]
    pub fn of_run(error: &RunError) -> Self {
        let status = crate::error::provider_status(&error.error_type);
        Self {
            message: error.message.clone(),
            kind: kind_of(status),
            param: None,
            code: Some(error.error_type.clone()),
        }
    }

    /// What a refusal of the API says.
    fn of_refusal(status: StatusCode, refusal: &Refusal) -> Self {
        let About { param, code } = refusal.about;
        let error = refusal.body.get("error");
        let message = error
            .and_then(|error| error.get("message"))
            .or_else(|| refusal.body.get("detail"));
        let message = match message {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "the request failed".to_owned(),
        };
        let kind_of_run = error.and_then(|error| error.get("type"));
        let code =
            code.or_else(|| (status == StatusCode::UNAUTHORIZED).then_some("invalid_api_key"));
        Self {
            message,
            kind: kind_of(status),
            param,
            code: match kind_of_run.and_then(Value::as_str) {
                Some(kind) => Some(kind.to_owned()),
                None => code.map(str::to_owned),
            },
        }
    }
}

/// OpenAI's words for kinds of errors.
fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

/// Whether a request is one of OpenAI's API.
fn is_openais(request: &Request) -> bool {
    let path = request.uri().path();
    let is_own = ["/v1/chat/completions", "/v1/responses"].contains(&path.trim_end_matches('/'));
    is_own || Language::of(request.extensions(), request.headers()) == Language::OpenAi
}

/// Tells what is refused in OpenAI's form where the request was one of OpenAI's API.
pub async fn reshape(request: Request, next: Next) -> Response {
    let is_openais = is_openais(&request);
    let response = next.run(request).await;
    let Some(refusal) = response
        .extensions()
        .get::<Refusal>()
        .filter(|_| is_openais)
    else {
        return response;
    };
    // A body of the wrong form is 422 in the V1 API and 400 in OpenAI's.
    let status = match response.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    let error = OpenAiError::of_refusal(status, refusal);
    let mut reshaped = (status, Json(ErrorBody { error })).into_response();
    let headers = response.headers().iter();
    for (name, value) in headers.filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        reshaped.headers_mut().insert(name, value.clone());
    }
    reshaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(status: u16, body: Value, about: About) -> Value {
        let status = StatusCode::from_u16(status).unwrap();
        let error = OpenAiError::of_refusal(status, &Refusal { body, about });
        serde_json::to_value(error).unwrap()
    }

    #[test]
    fn refusals_have_openais_words() {
        let about = About {
            param: Some("model"),
            code: Some("model_not_found"),
        };
        assert_eq!(
            told(404, json!({"detail": "no agent"}), about),
            json!({"message": "no agent", "type": "invalid_request_error", "param": "model",
                   "code": "model_not_found"})
        );
        let failed =
            json!({"error": {"type": "llm_rate_limit", "message": "slow down", "detail": null}});
        assert_eq!(
            told(429, failed, About::default()),
            json!({"message": "slow down", "type": "rate_limit_error", "param": null,
                   "code": "llm_rate_limit"})
        );
        assert_eq!(
            told(401, json!({"detail": "Unauthorized"}), About::default())["code"],
            "invalid_api_key"
        );
        assert_eq!(
            told(
                500,
                json!({"detail": "An unknown error occurred"}),
                About::default()
            )["type"],
            "server_error"
        );
    }
}
