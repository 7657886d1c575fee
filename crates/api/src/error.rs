//! The one place where errors become HTTP answers (V1 contract, section 1.7).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use mnemic_core::{
    ids::{MessageId, RunId},
    runs::RunError,
};
use mnemic_engine::{EmbeddingError, EngineError};
use mnemic_llm::{LlmError, ResolveError};
use mnemic_store::StoreError;
use serde_json::{Value, json};

use crate::{
    limits,
    validation::{self, Issue},
};

/// Seconds after which a client may try again when the database is not available.
const UNAVAILABLE_RETRY_SECONDS: u64 = 2;

/// An answer that says why a request was refused or failed.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Value,
    retry_after: Option<u64>,
    never_retry: bool,
    /// Whether the connection ends with the answer, because the rest of the request is not read.
    closes: bool,
    /// What the log gets and the client does not.
    cause: Option<Box<str>>,
    about: Option<Box<About>>,
}

/// Which part of a request an error is about, for the routes whose errors say that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    /// The field.
    pub param: Option<&'static str>,
    /// A word for the error.
    pub code: Option<&'static str>,
}

/// What an answer refuses, kept with it so that it can be told in another form.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The body of [`ApiError`].
    pub body: Value,
    /// What it is about.
    pub about: About,
}

impl ApiError {
    /// An answer `{"detail": ...}`.
    pub fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        let body = json!({ "detail": detail.into() });
        Self {
            status,
            body,
            retry_after: None,
            never_retry: false,
            closes: false,
            cause: None,
            about: None,
        }
    }

    /// The same as the fault of a provider, where it would be the server's own.
    #[must_use]
    pub fn of_gateway(self) -> Self {
        match self.status {
            StatusCode::INTERNAL_SERVER_ERROR => Self {
                status: StatusCode::BAD_GATEWAY,
                ..self
            },
            _ => self,
        }
    }

    /// The same, with the field that it is about and a word for it.
    #[must_use]
    pub fn about(self, param: &'static str, code: Option<&'static str>) -> Self {
        let about = About {
            param: Some(param),
            code,
        };
        Self {
            about: Some(Box::new(about)),
            ..self
        }
    }

    /// 400: the request asks for something that cannot be.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail.into())
    }

    /// 404: what was named does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail.into())
    }

    /// 409: the state forbids it.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail.into())
    }

    /// 422 with one sentence.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail.into())
    }

    /// 422 with the list of what is wrong.
    #[must_use]
    pub fn invalid(issues: &[Issue]) -> Self {
        Self {
            body: json!({ "trace_id": "", "detail": validation::detail(issues) }),
            ..Self::unprocessable("")
        }
    }

    /// 422 for a malformed id, with an example of a good one.
    #[must_use]
    pub fn invalid_id(issue: &Issue, example: &str) -> Self {
        let detail = validation::detail(std::slice::from_ref(issue));
        Self {
            body: json!({ "trace_id": "", "detail": detail, "examples": [example] }),
            ..Self::unprocessable("")
        }
    }

    /// 413: the body is over the server's limit.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let detail =
            format!("the request's body is larger than the server's limit of {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail).closing()
    }

    /// The same, said before the whole request was read: the client is told that the connection ends.
    #[must_use]
    pub fn closing(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    /// 429: more was used than is allowed, until so many seconds have passed, if time changes anything. A client that waits longer
    /// than a minute by itself only seems to hang.
    #[must_use]
    pub fn too_many(detail: impl Into<String>, more: Value, seconds: Option<u64>) -> Self {
        let mut body = json!({ "detail": detail.into() });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        Self {
            body,
            retry_after: seconds,
            never_retry: seconds.is_none_or(|seconds| seconds > 60),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "")
        }
    }

    /// 503: try again.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(UNAVAILABLE_RETRY_SECONDS),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail.into())
        }
    }

    /// 500: a defect of ours. The client learns nothing; the log has the cause under the request's id.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into().into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "An unknown error occurred",
            )
        }
    }

    /// 409: the conversation is busy with another run. Clients match on its words and read `run_id`.
    #[must_use]
    pub fn busy(run_id: RunId) -> Self {
        let detail = format!(
            "CONFLICT: Cannot send a new message: the conversation is currently being processed \
             by another request (run_id={run_id}). Wait for it to end, or cancel it."
        );
        Self {
            body: json!({ "detail": detail, "run_id": run_id }),
            never_retry: true,
            ..Self::conflict("")
        }
    }

    /// 409: the agent's calls wait for answers. Clients match on its words and read the request's id; a retry is useless.
    #[must_use]
    pub fn pending(request_id: MessageId) -> Self {
        let message = "Cannot send a new message: the agent is waiting for approval of tool calls. Answer them first, or \
                       cancel them.";
        let detail = json!({
            "code": "PENDING_APPROVAL",
            "message": message,
            "pending_request_id": request_id,
        });
        Self {
            body: json!({ "detail": detail }),
            never_retry: true,
            ..Self::conflict("")
        }
    }

    /// 409: somebody else answered the call before, and otherwise; a retry is useless.
    fn decided(text: &str) -> Self {
        Self {
            never_retry: true,
            ..Self::conflict(format!("CONFLICT: {text}"))
        }
    }

    /// What a failed run's error is in HTTP.
    #[must_use]
    pub fn of_run(error: &RunError) -> Self {
        let asked = error.detail.as_deref().and_then(|id| id.parse().ok());
        if let ("pending_approval", Some(request_id)) = (error.error_type.as_str(), asked) {
            return Self::pending(request_id);
        }
        if error.error_type == "already_decided" {
            return Self::decided(&error.message);
        }
        let status = provider_status(&error.error_type);
        let body = json!({
            "error": {
                "type": error.error_type,
                "message": error.message,
                "detail": error.detail,
            }
        });
        let is_busy = error.error_type == "llm_overloaded";
        Self {
            body,
            retry_after: is_busy.then_some(UNAVAILABLE_RETRY_SECONDS),
            ..Self::new(status, "")
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The status, for tests and logs.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, for tests.
    #[must_use]
    pub const fn body(&self) -> &Value {
        &self.body
    }
}

/// The status of a model provider's error by its type.
pub fn provider_status(error_type: &str) -> StatusCode {
    match error_type {
        "llm_timeout" => StatusCode::GATEWAY_TIMEOUT,
        "llm_rate_limit" => StatusCode::TOO_MANY_REQUESTS,
        "llm_authentication" => StatusCode::UNAUTHORIZED,
        "llm_insufficient_credits" => StatusCode::PAYMENT_REQUIRED,
        "llm_bad_request"
        | "context_window_exceeded"
        | "context_window_overflow_in_system_prompt" => StatusCode::BAD_REQUEST,
        "llm_overloaded" | "stream_incomplete" | "service_unavailable" => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        "invalid_request" | "invalid_tool_rule" => StatusCode::BAD_REQUEST,
        "not_found" => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(status = self.status.as_u16(), cause, "a request failed");
        }
        let mut response = (self.status, axum::Json(&self.body)).into_response();
        response.extensions_mut().insert(Refusal {
            body: self.body,
            about: self.about.as_deref().copied().unwrap_or_default(),
        });
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.never_retry {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::NotFound { .. } => Self::not_found(text),
            // What it asks for stays refused, however often it is asked.
            StoreError::Conflict(_) => Self {
                never_retry: true,
                ..Self::conflict(text)
            },
            StoreError::Invalid(_) => Self::bad_request(text),
            StoreError::LeaseLost | StoreError::Contended => Self {
                retry_after: Some(1),
                ..Self::conflict(text)
            },
            StoreError::Unavailable(_) => Self {
                cause: Some(text.into()),
                ..Self::unavailable(
                    "the database is not available just now; nothing was changed, try again",
                )
            },
            StoreError::Database(_) | StoreError::Corrupt(_) => Self::internal(text),
        }
    }
}

impl From<LlmError> for ApiError {
    fn from(error: LlmError) -> Self {
        Self::of_run(&RunError {
            error_type: error.error_type().to_owned(),
            message: error.to_string(),
            detail: None,
        })
    }
}

impl From<EmbeddingError> for ApiError {
    fn from(error: EmbeddingError) -> Self {
        let text = error.to_string();
        match error {
            EmbeddingError::Disabled => Self::bad_request(text),
            EmbeddingError::NotReady { .. } | EmbeddingError::Resting { .. } => {
                Self::unavailable(text)
            }
            EmbeddingError::Failed { .. } => Self::internal(text),
            EmbeddingError::Unknown(error) => EngineError::Model(error).into(),
            EmbeddingError::Provider(error) => error.into(),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let text = error.to_string();
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Llm(error) => error.into(),
            EngineError::Model(ResolveError::Malformed { .. }) => {
                Self::bad_request(format!("INVALID_ARGUMENT: {text}"))
            }
            EngineError::Model(_) => Self::not_found(format!("NOT_FOUND: {text}")),
            EngineError::Invalid(_) | EngineError::Rule(_) | EngineError::Overflow { .. } => {
                Self::bad_request(text)
            }
            EngineError::UserRequired => Self::unprocessable(text),
            EngineError::NotFound(_) => Self::not_found(text),
            EngineError::Conflict(_) => Self {
                never_retry: true,
                ..Self::conflict(text)
            },
            EngineError::Busy { run_id } => Self::busy(run_id),
            EngineError::PendingApproval { request_id } => Self::pending(request_id),
            EngineError::Decided { .. } => Self::decided(&text),
            EngineError::QueueFull {
                retry_after_seconds,
                ..
            } => Self {
                retry_after: Some(retry_after_seconds),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, text)
            },
            EngineError::LimitReached(reached) => limits::refusal(&reached),
            EngineError::ShuttingDown => Self::unavailable(text),
            EngineError::Embedding(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(error: impl Into<ApiError>) -> (u16, Value, Option<String>) {
        let error = error.into();
        let body = error.body().clone();
        let response = error.into_response();
        let retry = response.headers().get(header::RETRY_AFTER);
        let retry = retry.map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), body, retry)
    }

    #[test]
    fn a_busy_conversation_answers_what_clients_match_on() {
        let run_id = RunId::new();
        let response = ApiError::from(EngineError::Busy { run_id }).into_response();
        assert_eq!(response.headers()["x-should-retry"], "false");
        let (status, body, _) = answer(EngineError::Busy { run_id });
        assert_eq!(status, 409);
        assert_eq!(body["run_id"], run_id.to_string());
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains("is currently being processed"));
        assert!(detail.contains(&format!("run_id={run_id}")));
    }

    #[test]
    fn a_defect_reveals_nothing() {
        let (status, body, _) = answer(StoreError::Database("SELECT secret FROM t".to_owned()));
        assert_eq!(status, 500);
        assert_eq!(body, json!({"detail": "An unknown error occurred"}));
    }

    #[test]
    fn an_unavailable_database_is_503_and_worth_another_try() {
        let (status, body, retry) = answer(StoreError::Unavailable("/var/db: disk full".into()));
        assert_eq!((status, retry.as_deref()), (503, Some("2")));
        assert!(!body.to_string().contains("/var/db"));
    }

    #[test]
    fn contention_may_be_tried_again_after_a_second() {
        let (status, _, retry) = answer(StoreError::Contended);
        assert_eq!((status, retry.as_deref()), (409, Some("1")));
    }

    #[test]
    fn a_full_queue_is_429_with_the_time_to_wait() {
        let error = EngineError::QueueFull {
            waiting: 32,
            retry_after_seconds: 7,
        };
        let (status, _, retry) = answer(error);
        assert_eq!((status, retry.as_deref()), (429, Some("7")));
    }

    #[test]
    fn errors_of_providers_have_the_statuses_of_the_contract() {
        let table = [
            ("llm_timeout", 504),
            ("llm_rate_limit", 429),
            ("llm_authentication", 401),
            ("llm_insufficient_credits", 402),
            ("llm_bad_request", 400),
            ("context_window_exceeded", 400),
            ("llm_overloaded", 503),
            ("llm_error", 500),
            ("internal_error", 500),
            ("service_unavailable", 503),
        ];
        for (error_type, status) in table {
            let error = RunError {
                error_type: error_type.to_owned(),
                message: "m".to_owned(),
                detail: Some("d".to_owned()),
            };
            let error = ApiError::of_run(&error);
            assert_eq!(error.status().as_u16(), status, "{error_type}");
            assert_eq!(
                error.body(),
                &json!({"error": {"type": error_type, "message": "m", "detail": "d"}})
            );
            let headers = error.into_response().headers().clone();
            let is_busy = error_type == "llm_overloaded";
            assert_eq!(headers.contains_key("retry-after"), is_busy, "{error_type}");
        }
    }
}
