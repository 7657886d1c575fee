//! What happens around every request: its id, its line in the log, and whether it comes in.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{AppState, access, error::ApiError};

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of a refused request that are read, and how long that may take.
const MAX_UNREAD: usize = 64 * 1024;
const UNREAD_WAIT: Duration = Duration::from_secs(1);

/// Characters of a client's own request id.
const MAX_REQUEST_ID: usize = 128;

/// Gives the request its id, logs it when it is answered, and lets it in only with what its route asks for.
pub async fn around(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = without_people(request.uri().path());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let answer = async {
        let response = match access::admit(&state, request).await {
            Ok(request) => read_rest(request, next).await,
            Err(refused) => {
                let (refused, request) = *refused;
                unread(refused, request).await.into_response()
            }
        };
        let ms = begun.elapsed().as_secs_f64() * 1000.0;
        tracing::info!(%method, path, status = response.status().as_u16(), ms, "answered");
        response
    };
    let mut response = answer.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A path as logs show it: people are not named in them, as nobody could forget them there.
fn without_people(path: &str) -> String {
    let mut names_person = false;
    let shown = path.split('/').map(|part| {
        let is_person = std::mem::replace(&mut names_person, matches!(part, "users" | "end-users"));
        if is_person && !part.is_empty() {
            "*"
        } else {
            part
        }
    });
    shown.collect::<Vec<_>>().join("/")
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

/// The refusal of a request whose body nobody has read. It is read to its end, within bounds: what is left of it would end the
/// connection under a client that sends its next request there. Where it is too much, the client is told that the connection ends.
pub async fn unread(refused: ApiError, request: Request) -> ApiError {
    let rest = axum::body::to_bytes(request.into_body(), MAX_UNREAD);
    match tokio::time::timeout(UNREAD_WAIT, rest).await {
        Ok(Ok(_)) => refused,
        _ => refused.closing(),
    }
}

/// Reads what a request's handler has not read of its body, as [`unread`] does: a path or a query is looked at first, and
/// some routes take no body.
async fn read_rest(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let given_back = Arc::new(Mutex::new(None));
    let lent = Lent {
        body,
        given_back: Arc::clone(&given_back),
    };
    let mut response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    let rest = given_back.lock().take();
    if let Some(rest) = rest.filter(|rest| !rest.is_end_stream()) {
        let read = tokio::time::timeout(UNREAD_WAIT, axum::body::to_bytes(rest, MAX_UNREAD));
        if !matches!(read.await, Ok(Ok(_))) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
    response
}

/// A request's body that comes back when whoever reads it is done with it.
struct Lent {
    body: Body,
    given_back: Arc<Mutex<Option<Body>>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.given_back.lock() = Some(std::mem::take(&mut self.body));
    }
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
    fn a_clients_request_id_is_kept_when_it_is_a_plain_word() {
        assert_eq!(request_id(&with("x-request-id", "trace-1.a")), "trace-1.a");
        for bad in ["", "a b", "<script>", "\u{fc}"] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            assert_eq!(request_id(&headers).len(), 36, "{bad:?}");
        }
    }
}
