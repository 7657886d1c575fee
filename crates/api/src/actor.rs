//! Who asks, and with which client.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{Extensions, HeaderMap, StatusCode, header, request::Parts};
use mnemic_core::{ids::UserId, scope::Scope};
use mnemic_engine::custom::{Above, Visit};

use crate::{AppState, error::ApiError};

/// The header that names the acting user.
const USER_HEADER: &str = "user_id";

/// Whose data the request may see.
#[derive(Debug, Clone)]
pub struct Actor(pub Scope);

impl FromRequestParts<AppState> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if let Some(visit) = parts.extensions.get::<Visit>() {
            return Ok(Self(visit.scope.clone()));
        }
        scope(&parts.headers, state.settings.no_default_actor).map(Self)
    }
}

/// The scope of the user that the header names. There is one user so far: an unknown one acts as the
/// default user, unless that is switched off.
fn scope(headers: &HeaderMap, no_default_actor: bool) -> Result<Scope, ApiError> {
    let user = match headers.get(USER_HEADER) {
        None => None,
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            let user: UserId = text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "INVALID_ARGUMENT: Invalid user ID format: {}. Expected format: 'user-<uuid4>'",
                    text.chars().take(100).collect::<String>()
                ))
            })?;
            Some(user)
        }
    };
    if no_default_actor && user != Some(UserId::DEFAULT) {
        return Err(user.map_or_else(
            || {
                ApiError::new(
                    StatusCode::UNAUTHORIZED,
                    format!(
                        "this server has no default user: name yours in the header {USER_HEADER}"
                    ),
                )
            },
            |user| ApiError::not_found(format!("User with id '{user}' not found")),
        ));
    }
    Ok(Scope::default())
}

/// The running tools that a request comes from: none when it came over the network.
#[derive(Debug, Clone)]
pub struct Visitor(pub Above);

impl Visitor {
    /// The tools of a request with these extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        let visit = extensions.get::<Visit>();
        Self(visit.map(|visit| visit.above.clone()).unwrap_or_default())
    }

    /// Whether a tool asks.
    #[must_use]
    pub fn is_tool(&self) -> bool {
        !self.0.is_empty()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// Which generation of clients asks (V1 contract, section 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientVersion {
    /// An SDK of version 1, or a program that does not say what it is.
    V1,
    /// Everything else: curl, browsers, older SDKs.
    Legacy,
}

impl ClientVersion {
    /// The generation that these headers tell of.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key("x-stainless-package-version") {
            return Self::V1;
        }
        let Some(agent) = headers.get(header::USER_AGENT) else {
            return Self::V1;
        };
        let agent = agent.to_str().unwrap_or_default();
        let version = agent
            .strip_prefix("@letta-ai/letta-client/")
            .or_else(|| agent.strip_prefix("letta-client/"));
        if version.is_some_and(|version| version.starts_with("1.")) {
            Self::V1
        } else {
            Self::Legacy
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientVersion {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// What the header `X-Project-Id` says; it is stored with what the request makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectId(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for ProjectId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let given = parts
            .headers
            .get("x-project-id")
            .and_then(|value| value.to_str().ok());
        Ok(Self(
            given.filter(|text| !text.is_empty()).map(str::to_owned),
        ))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn clients_are_told_apart_as_the_contract_says() {
        let table = [
            (headers(&[]), ClientVersion::V1),
            (
                headers(&[("user-agent", "curl/8.5")]),
                ClientVersion::Legacy,
            ),
            (
                headers(&[("user-agent", "letta-client/1.12.1")]),
                ClientVersion::V1,
            ),
            (
                headers(&[("user-agent", "@letta-ai/letta-client/1.3.0")]),
                ClientVersion::V1,
            ),
            (
                headers(&[("user-agent", "@letta-ai/letta-client/0.0.68")]),
                ClientVersion::Legacy,
            ),
            (
                headers(&[
                    ("user-agent", "Letta/Python"),
                    ("x-stainless-package-version", "1.12.1"),
                ]),
                ClientVersion::V1,
            ),
        ];
        for (headers, version) in table {
            assert_eq!(ClientVersion::of(&headers), version, "{headers:?}");
        }
    }

    #[test]
    fn a_malformed_user_is_400_and_an_unknown_one_acts_as_the_default_user() {
        let error = scope(&headers(&[("user_id", "bob")]), false).unwrap_err();
        assert_eq!(error.status().as_u16(), 400);
        let unknown = headers(&[("user_id", "user-00000000-0000-4000-8000-0000000000ff")]);
        assert_eq!(scope(&unknown, false).unwrap(), Scope::default());
    }

    #[test]
    fn without_a_default_user_a_request_must_name_one() {
        assert_eq!(
            scope(&headers(&[]), true).unwrap_err().status().as_u16(),
            401
        );
        let unknown = headers(&[("user_id", "user-00000000-0000-4000-8000-0000000000ff")]);
        assert_eq!(scope(&unknown, true).unwrap_err().status().as_u16(), 404);
        let known = headers(&[("user_id", "user-00000000-0000-4000-8000-000000000000")]);
        assert!(scope(&known, true).is_ok());
    }
}
