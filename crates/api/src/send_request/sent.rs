//! A request as it came in: its body, and what it is known by.

use axum::extract::{FromRequest, Request};
use http::{HeaderMap, Method, Uri};
use mnemic_engine::custom::Above;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::SendBody;
use crate::{
    AppState,
    actor::Visitor,
    error::ApiError,
    extract::{Body, parse_json},
};

/// What identifies a request, for a retry to be known by.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    /// SHA-256 of method, path and body.
    pub body_hash: String,
    /// Whether the client says that this is a retry.
    pub is_retry: bool,
}

impl Fingerprint {
    /// The fingerprint of a request.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for piece in [method.as_str().as_bytes(), uri.path().as_bytes(), body] {
            hash.update(piece);
            hash.update(b"\n");
        }
        let body_hash = hash
            .finalize()
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                use std::fmt::Write as _;
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            });
        let retries = headers
            .get("x-stainless-retry-count")
            .and_then(|value| value.to_str().ok());
        let is_retry = retries
            .and_then(|text| text.parse::<u32>().ok())
            .is_some_and(|n| n > 0);
        Self {
            body_hash,
            is_retry,
        }
    }
}

/// A request to run an agent as it came in.
#[derive(Debug)]
pub struct Sent<T = SendBody> {
    /// Its body.
    pub body: T,
    /// What it is known by.
    pub fingerprint: Fingerprint,
    /// The running tools that sent it.
    pub above: Above,
}

impl<T> Sent<T> {
    /// The body, and what came with it.
    pub fn parted(self) -> (T, Sent<()>) {
        let rest = Sent {
            body: (),
            fingerprint: self.fingerprint,
            above: self.above,
        };
        (self.body, rest)
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for Sent<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let (method, uri, headers) = (
            parts.method.clone(),
            parts.uri.clone(),
            parts.headers.clone(),
        );
        let above = Visitor::of(&parts.extensions).0;
        let request = Request::from_parts(parts, body);
        let Body(bytes) = Body::from_request(request, state).await?;
        let fingerprint = Fingerprint::of(&method, &uri, &headers, &bytes);
        Ok(Self {
            body: parse_json(&bytes)?,
            fingerprint,
            above,
        })
    }
}
