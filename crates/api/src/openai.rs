//! Agents for clients of OpenAI's API: to them, an agent is a model.
//!
//! The server remembers what was said, so the newest message of the user and the results of the client's
//! own tools are all that is taken from a request; what a client repeats of the past is not read. The fields `user` and `safety_identifier`
//! choose a thread of that person's own. Everything else is the engine's: these routes only read
//! requests and write answers in another language.

mod ask;
mod chat;
pub mod errors;
mod input;
pub mod models;
mod reading;
mod responses;
mod responses_stream;
mod responses_view;
mod tools;

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{Extensions, HeaderMap, header, request::Parts};

use crate::{described::Routes, paths::OpenAiPath};

/// The routes of this folder.
pub fn routes() -> Routes {
    Routes::new()
        .merge(chat::routes())
        .merge(responses::routes())
        .merge(models::routes())
}

/// Which of the two APIs a client speaks, where they share a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The V1 API.
    V1,
    /// OpenAI's.
    OpenAi,
}

impl Language {
    /// What the request tells of it: its path, or the name of OpenAI's own clients.
    #[must_use]
    pub fn of(extensions: &Extensions, headers: &HeaderMap) -> Self {
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok());
        // `OpenAI/Python 1.2.3`, `AsyncOpenAI/Python ...`, `OpenAI/JS ...`.
        let by_name = agent.is_some_and(|name| name.contains("OpenAI/"));
        if by_name || extensions.get::<OpenAiPath>().is_some() {
            Self::OpenAi
        } else {
            Self::V1
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Language {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions, &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn openais_clients_are_known_by_name_or_path() {
        let table = [
            ("OpenAI/Python 3.57.0", Language::OpenAi),
            ("AsyncOpenAI/Python 3.57.0", Language::OpenAi),
            ("OpenAI/JS 7.57.0", Language::OpenAi),
            ("Letta/Python 1.12.1", Language::V1),
            ("curl/8", Language::V1),
        ];
        for (name, wanted) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(name));
            assert_eq!(Language::of(&Extensions::new(), &headers), wanted, "{name}");
        }
        let mut extensions = Extensions::new();
        extensions.insert(OpenAiPath);
        assert_eq!(
            Language::of(&extensions, &HeaderMap::new()),
            Language::OpenAi
        );
    }
}
