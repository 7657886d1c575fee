//! Who asks, and with which client.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{Extensions, HeaderMap, StatusCode, header, request::Parts};
use mnemic_core::{
    api_keys::{ApiKey, KeyScope},
    ids::UserId,
    organizations::User,
    scope::Scope,
};
use mnemic_engine::custom::{Above, Visit};
use mnemic_store::organizations;

use crate::{
    AppState,
    access::{self, Access},
    error::ApiError,
    paths::PlainPath,
};

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
        let access = parts.extensions.get::<Access>();
        let key = match access {
            Some(Access::Person(token)) => return Ok(Self(access::scope_of(token))),
            Some(Access::Key(key)) => Some(key.clone()),
            Some(Access::Server) | None => None,
        };
        if let Some(key) = key {
            return of_key(state, key, named(&parts.headers)?).await.map(Self);
        }
        let no_default = state.settings.no_default_actor;
        let Some(named) = named(&parts.headers)? else {
            return match no_default {
                false => Ok(Self(Scope::default())),
                true => Err(nobody()),
            };
        };
        if named == UserId::DEFAULT {
            return Ok(Self(Scope::default()));
        }
        scope(named, find(state, named).await?, no_default).map(Self)
    }
}

async fn find(state: &AppState, named: UserId) -> Result<Option<User>, ApiError> {
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok::<_, ApiError>(organizations::find_user(tx, named).await?) })
    });
    read.await
}

/// Whom a key acts as: its maker, or another user whom the request names. Only administrators reach another organization's.
async fn of_key(state: &AppState, key: ApiKey, named: Option<UserId>) -> Result<Scope, ApiError> {
    let own = Scope {
        organization: key.organization_id,
        actor: key.user_id,
        key: Some(key.id),
        ..Scope::default()
    };
    let Some(named) = named.filter(|named| *named != key.user_id) else {
        return Ok(own);
    };
    match find(state, named).await? {
        Some(user)
            if user.organization_id == key.organization_id || key.scope == KeyScope::Admin =>
        {
            Ok(Scope {
                organization: user.organization_id,
                actor: user.id,
                ..own
            })
        }
        Some(_) => Err(access::forbidden(format!(
            "this key is of another organization than the user in the header {USER_HEADER}"
        ))),
        None if state.settings.no_default_actor => Err(ApiError::not_found(format!(
            "User with id '{named}' not found"
        ))),
        None => Ok(own),
    }
}

/// The user that the header names.
fn named(headers: &HeaderMap) -> Result<Option<UserId>, ApiError> {
    let Some(value) = headers.get(USER_HEADER) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let user: UserId = text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "INVALID_ARGUMENT: Invalid user ID format: {}. Expected format: 'user-<uuid4>'",
            text.chars().take(100).collect::<String>()
        ))
    })?;
    Ok(Some(user))
}

fn nobody() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        format!("this server has no default user: name yours in the header {USER_HEADER}"),
    )
}

/// The scope of a user that was named. One that never was acts as the default user, as clients expect, unless that is
/// switched off; one that was deleted is an error before this.
fn scope(named: UserId, found: Option<User>, no_default_actor: bool) -> Result<Scope, ApiError> {
    match found {
        Some(user) => Ok(Scope {
            organization: user.organization_id,
            actor: user.id,
            ..Scope::default()
        }),
        None if no_default_actor => Err(ApiError::not_found(format!(
            "User with id '{named}' not found"
        ))),
        None => Ok(Scope::default()),
    }
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

/// Whether the plain form of requests is understood, as the path tells.
#[derive(Debug, Clone, Copy)]
pub struct IsPlain(pub bool);

impl<S: Send + Sync> FromRequestParts<S> for IsPlain {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<PlainPath>().is_some()))
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
    use mnemic_core::time::Timestamp;

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

    fn user(organization: &str) -> User {
        User {
            id: "user-00000000-0000-4000-8000-0000000000ff".parse().unwrap(),
            organization_id: organization.parse().unwrap(),
            name: "Ada".to_owned(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn a_malformed_user_is_400_and_an_unknown_one_acts_as_the_default_user() {
        let error = named(&headers(&[("user_id", "bob")])).unwrap_err();
        assert_eq!(error.status().as_u16(), 400);
        let unknown = headers(&[("user_id", "user-00000000-0000-4000-8000-0000000000ff")]);
        let id = named(&unknown).unwrap().unwrap();
        assert_eq!(scope(id, None, false).unwrap(), Scope::default());
        let refused = scope(id, None, true).unwrap_err();
        assert_eq!(refused.status().as_u16(), 404);
    }

    #[test]
    fn a_known_user_acts_in_its_own_organization() {
        let ada = user("org-00000000-0000-4000-8000-0000000000aa");
        let scope = scope(ada.id, Some(ada.clone()), true).unwrap();
        assert_eq!(scope.organization, ada.organization_id);
        assert_eq!(scope.actor, ada.id);
    }
}
