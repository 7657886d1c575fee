//! What happens around every request: its id, its line in the log, the password.

use std::time::Instant;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mnemic_engine::custom::Visit;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{AppState, error::ApiError};

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a client's own request id.
const MAX_REQUEST_ID: usize = 128;

/// Gives the request its id, logs it when it is answered, and lets it in only with the password.
pub async fn around(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let answer = async {
        // A running tool has no password; it came by its call's own channel.
        let is_visitor = request.extensions().get::<Visit>().is_some();
        let response = match refuse(&state, &path, request.headers()) {
            Some(refused) if !is_visitor => refused.into_response(),
            _ => next.run(request).await,
        };
        let ms = begun.elapsed().as_secs_f64() * 1000.0;
        tracing::info!(%method, path, status = response.status().as_u16(), ms, "answered");
        response
    };
    let mut response = answer.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The client's own id where it is a plain word, or else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(&REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(plain)
    });
    given.cloned().unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// The refusal of a request without the server's password, where it has one.
fn refuse(state: &AppState, path: &str, headers: &HeaderMap) -> Option<ApiError> {
    let password = state.settings.password.as_deref()?;
    if path == "/v1/health" || path == "/v1/ready" || has_password(headers, password) {
        return None;
    }
    Some(ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized"))
}

/// Whether the headers carry the password in one of the two forms of the contract (section 1.2).
fn has_password(headers: &HeaderMap, password: &str) -> bool {
    let forms = [
        (header::AUTHORIZATION, b"Bearer ".as_slice()),
        (
            HeaderName::from_static("x-bare-password"),
            b"password ".as_slice(),
        ),
    ];
    forms.iter().any(|(name, prefix)| {
        let given = headers
            .get(name)
            .and_then(|value| value.as_bytes().strip_prefix(*prefix));
        given.is_some_and(|given| same(given, password.as_bytes()))
    })
}

/// Compares by digest, so that the time it takes tells nothing about the password.
fn same(given: &[u8], expected: &[u8]) -> bool {
    Sha256::digest(given) == Sha256::digest(expected)
}

/// The answer when a handler panicked; the log has the panic.
pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    ApiError::internal(format!("panic: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn the_password_has_two_forms_and_no_other() {
        let table = [
            ("authorization", "Bearer tour-password", true),
            ("authorization", "bearer tour-password", false),
            ("authorization", "tour-password", false),
            ("authorization", "Bearer nope", false),
            ("authorization", "Bearer tour-password ", false),
            ("authorization", "Basic eDp5", false),
            ("x-bare-password", "password tour-password", true),
            ("x-bare-password", "tour-password", false),
        ];
        for (name, value, let_in) in table {
            assert_eq!(
                has_password(&with(name, value), "tour-password"),
                let_in,
                "{name}: {value}"
            );
        }
        assert!(!has_password(&HeaderMap::new(), ""));
    }

    #[test]
    fn a_clients_request_id_is_kept_when_it_is_a_plain_word() {
        assert_eq!(request_id(&with("x-request-id", "trace-1.a")), "trace-1.a");
        for bad in ["", "a b", "<script>", "\u{fc}"] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            assert_eq!(request_id(&headers).len(), 36, "{bad:?}");
        }
    }
}
