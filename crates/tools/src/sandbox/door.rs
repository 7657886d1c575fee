//! What a running tool may ask of the server: requests to its API, over the call's own channel.

use std::{fmt, future::Future, pin::Pin};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

/// Requests of one call at the most; more is a loop that went wrong.
pub(crate) const MOST: usize = 10_000;

/// A request to the server's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its method, as HTTP names it.
    pub method: String,
    /// Its path with its query.
    pub path: String,
    /// What its body is.
    pub content_type: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status, as HTTP names it.
    pub status: u16,
    /// What its body is.
    pub content_type: Option<String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// Answers what tools ask. It decides what each may see: nothing that a tool says about itself is proof of anything.
pub trait Door: fmt::Debug + Send + Sync {
    /// Answers one request.
    fn answer(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>>;
}

/// A request as it comes over the channel; the body in Base64.
#[derive(Debug, Deserialize)]
pub(crate) struct AskFrame {
    method: String,
    path: String,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    body: String,
}

#[derive(Serialize)]
struct ReplyFrame {
    status: u16,
    content_type: Option<String>,
    body: String,
}

impl AskFrame {
    /// The request; none if its body is no Base64.
    pub(crate) fn ask(self) -> Option<Ask> {
        Some(Ask {
            body: BASE64.decode(&self.body).ok()?,
            method: self.method,
            path: self.path,
            content_type: self.content_type,
        })
    }
}

impl Reply {
    /// A refusal in the API's shape.
    #[must_use]
    pub fn refused(status: u16, detail: &str) -> Self {
        Self {
            status,
            content_type: Some("application/json".to_owned()),
            body: serde_json::json!({ "detail": detail })
                .to_string()
                .into_bytes(),
        }
    }

    /// As it goes over the channel.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let frame = ReplyFrame {
            status: self.status,
            content_type: self.content_type.clone(),
            body: BASE64.encode(&self.body),
        };
        let text = serde_json::to_string(&frame).unwrap_or_default();
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
        [&length, text.as_bytes()].concat()
    }
}
