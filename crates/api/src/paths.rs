//! One route per resource, however its path is written: `/v1/agents/`, `/v1/agents`,
//! `/latest/agents` and `/api/agents` mean the same. `/openai/v1/...` is the same as well, for a client that says by it
//! that it speaks OpenAI's API: where the two APIs share a path, it gets OpenAI's answer.

use std::task::{Context, Poll};

use axum::{Router, extract::Request, response::Response, routing::RouterIntoService};
use http::{Uri, uri::PathAndQuery};
use tower::Service;

/// What marks a request whose path began with `/openai`.
#[derive(Debug, Clone, Copy)]
pub struct OpenAiPath;

/// What marks a request whose path began with `/api`: there the plain form of requests is understood.
#[derive(Debug, Clone, Copy)]
pub struct PlainPath;

/// Sends requests to a router under the one form of their path that it knows.
#[derive(Clone)]
pub struct OneForm {
    inner: RouterIntoService<axum::body::Body>,
}

impl OneForm {
    /// Wraps a router whose routes begin with `/v1` and have no slash at their end.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            inner: router.into_service(),
        }
    }
}

impl Service<Request> for OneForm {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = <RouterIntoService<axum::body::Body> as Service<Request>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request>::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if request.uri().path().starts_with(OPENAI) {
            request.extensions_mut().insert(OpenAiPath);
        }
        if request.uri().path().starts_with(PLAIN) {
            request.extensions_mut().insert(PlainPath);
        }
        if let Some(uri) = one_form(request.uri()) {
            *request.uri_mut() = uri;
        }
        self.inner.call(request)
    }
}

/// How the paths of OpenAI's API may begin.
const OPENAI: &str = "/openai/v1/";

/// How the paths of the plain form begin.
const PLAIN: &str = "/api/";

/// The form of a path that the router knows, where it is another one.
fn one_form(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    // The pages of the documentation refer to one another relative to their slash.
    if path.starts_with("/docs") {
        return None;
    }
    let latest = path
        .strip_prefix("/latest/")
        .or_else(|| path.strip_prefix(PLAIN))
        .or_else(|| path.strip_prefix(OPENAI));
    let trimmed = path.len() > 1 && path.ends_with('/');
    if latest.is_none() && !trimmed {
        return None;
    }
    let path = latest.map_or_else(|| path.to_owned(), |rest| format!("/v1/{rest}"));
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { "/" } else { path };
    let text = uri
        .query()
        .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_path_becomes_the_one_that_the_router_knows() {
        let table = [
            ("/v1/agents/", Some("/v1/agents")),
            ("/v1/agents", None),
            (
                "/v1/agents/?limit=2&tags=a%2Fb",
                Some("/v1/agents?limit=2&tags=a%2Fb"),
            ),
            ("/latest/agents/", Some("/v1/agents")),
            ("/latest/agents?x=1", Some("/v1/agents?x=1")),
            ("/api/agents/", Some("/v1/agents")),
            ("/api/v1/agents", Some("/v1/v1/agents")),
            ("/apis/agents", None),
            ("/openai/v1/models", Some("/v1/models")),
            ("/openai/v1/", Some("/v1")),
            ("/openai/v2/models", None),
            ("/", None),
            ("//", Some("/")),
            ("/docs/", None),
        ];
        for (given, wanted) in table {
            let uri = one_form(&given.parse().unwrap());
            assert_eq!(uri.map(|uri| uri.to_string()).as_deref(), wanted, "{given}");
        }
    }
}
