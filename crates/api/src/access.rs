//! Who comes in: with the server's password, a key, a user token, or, while the server has neither password nor key, anybody.

mod own;
mod routes;
pub mod secret;

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use axum::extract::{MatchedPath, Request};
use http::{HeaderMap, HeaderName, StatusCode, header};
use mnemic_core::{
    api_keys::{ApiKey, KeyScope, UserToken},
    ids::{ApiKeyId, RunId},
    runs::RunStatus,
    scope::Scope,
    time::Timestamp,
};
use mnemic_engine::custom::Visit;
use mnemic_store::{api_keys, runs, user_tokens};
use sha2::{Digest as _, Sha256};

use self::secret::Kind;
use crate::{AppState, error::ApiError};

/// How often a server that is open looks whether another one on its database has made a key, in microseconds.
const LOOK_MICROS: i64 = 1_000_000;

/// What a request has shown.
#[derive(Debug, Clone)]
pub enum Access {
    /// The server's password; or nothing, where nothing is asked for.
    Server,
    /// A key.
    Key(ApiKey),
    /// The token of an end user.
    Person(UserToken),
}

impl Access {
    /// The key that stands behind it.
    #[must_use]
    pub fn key(&self) -> Option<ApiKeyId> {
        match self {
            Self::Server => None,
            Self::Key(key) => Some(key.id),
            Self::Person(token) => token.api_key_id,
        }
    }
}

/// What an end user sees: nothing but what is the person's own.
#[must_use]
pub fn scope_of(token: &UserToken) -> Scope {
    let scope = Scope {
        organization: token.organization_id,
        actor: token.user_id,
        key: token.api_key_id,
        ..Scope::default()
    };
    scope.narrowed_to(Some(token.subject.clone()))
}

/// What the server remembers of who came.
#[derive(Debug, Default)]
pub struct Door {
    /// Whether a key was ever made.
    closed: AtomicBool,
    looked_at: AtomicI64,
    /// When the use of keys was noted last.
    noted: Mutex<HashMap<ApiKeyId, Timestamp>>,
}

impl Door {
    /// Closes the server to those who show nothing.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether those who show nothing stay outside. An open server asks its database about that once a second and not with every
    /// request: only another server on the same database can have made a key.
    async fn is_closed(&self, state: &AppState) -> Result<bool, ApiError> {
        let now = state.engine.now();
        let last = self.looked_at.load(Ordering::Acquire);
        if self.closed.load(Ordering::Acquire) {
            return Ok(true);
        }
        if last != 0 && now.0 < last.saturating_add(LOOK_MICROS) {
            return Ok(false);
        }
        let store = state.engine.store();
        let any = store.read(|tx| {
            Box::pin(async move { Ok::<_, ApiError>(api_keys::was_any_made(tx).await?) })
        });
        if any.await? {
            self.close();
            return Ok(true);
        }
        self.looked_at.store(now.0, Ordering::Release);
        Ok(false)
    }

    /// Whether the use of a key is to be written down: not more often than once a minute.
    fn is_to_note(&self, key: &ApiKey, now: Timestamp) -> bool {
        let before = now.plus_micros(-api_keys::USE_MICROS);
        if key.last_used_at.is_some_and(|used| used > before) {
            return false;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = noted.get(&key.id).is_none_or(|used| *used <= before);
        if is_new {
            noted.insert(key.id, now);
        }
        is_new
    }
}

/// A refusal, and the request that is refused.
pub type Refused = Box<(ApiError, Request)>;

/// Lets a request in, with what it has shown among its extensions.
///
/// # Errors
/// It may not come in.
pub async fn admit(state: &AppState, mut request: Request) -> Result<Request, Refused> {
    let path = request.uri().path();
    // A running tool has no credential; it came by its call's own channel.
    let visit = request.extensions().get::<Visit>();
    if let Some(run_id) = visit.and_then(persons_run) {
        let may = is_a_persons(&request);
        if let Err(error) = admit_persons(state, run_id, may).await {
            return Err(Box::new((error, request)));
        }
        return Ok(request);
    }
    let is_visitor = visit.is_some();
    if is_visitor || path == "/v1/health" || path == "/v1/ready" {
        return Ok(request);
    }
    let access = match authenticate(state, request.headers()).await {
        Ok(access) => access,
        Err(error) => return Err(Box::new((error, request))),
    };
    let template = request.extensions().get::<MatchedPath>();
    let rule = routes::rule_of(request.method(), template.map(MatchedPath::as_str));
    request = match &access {
        Access::Server => request,
        Access::Key(key) if key.scope >= rule.least => request,
        Access::Key(key) => return Err(Box::new((short(key.scope, rule.least), request))),
        Access::Person(token) if rule.own => own::narrowed(state, token, request).await?,
        Access::Person(_) => {
            let error = forbidden(
                "a user token opens only the person's own chat, history, memory and data",
            );
            return Err(Box::new((error, request)));
        }
    };
    request.extensions_mut().insert(access);
    Ok(request)
}

/// The run of one person's turn out of which a tool asks.
fn persons_run(visit: &Visit) -> Option<(Scope, Option<RunId>)> {
    visit.scope.subject.as_ref()?;
    let caller = visit.scope.caller.as_ref();
    Some((visit.scope.clone(), caller.map(|caller| caller.run_id)))
}

/// Whether a request reads, or changes what can be one person's.
fn is_a_persons(request: &Request) -> bool {
    let template = request.extensions().get::<MatchedPath>();
    let Some(template) = template.map(MatchedPath::as_str) else {
        // Whatever is not there is not there for anybody.
        return true;
    };
    let rule = routes::rule_of(request.method(), Some(template));
    rule.own || rule.least == KeyScope::Read || routes::says_whose_it_is(template)
}

/// Lets a request in that comes out of one person's turn. The run must still be there: of somebody who was forgotten
/// meanwhile, nothing is written anew.
async fn admit_persons(
    state: &AppState,
    (scope, run_id): (Scope, Option<RunId>),
    may: bool,
) -> Result<(), ApiError> {
    if !may {
        return Err(forbidden(
            "the request comes out of one user's turn: what is common to all users can't be changed there",
        ));
    }
    let Some(run_id) = run_id else {
        return Ok(());
    };
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move { runs::get(tx, &scope, run_id).await.map_err(ApiError::from) })
    });
    match read.await {
        Ok(run) if run.status != RunStatus::Cancelled => Ok(()),
        Ok(_) => Err(forbidden(
            "the run out of which the request comes was cancelled",
        )),
        Err(error) => Err(error),
    }
}

/// 403: this credential is not enough.
pub fn forbidden(detail: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, detail.into())
}

fn short(has: KeyScope, least: KeyScope) -> ApiError {
    forbidden(format!(
        "this key has the scope {}: the request needs one of scope {}",
        has.as_str(),
        least.as_str()
    ))
}

/// 401: this opens nothing.
pub fn unauthorized() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized")
}

/// What the headers show.
async fn authenticate(state: &AppState, headers: &HeaderMap) -> Result<Access, ApiError> {
    let password = state.settings.password.as_deref();
    if password.is_some_and(|password| has_password(headers, password)) {
        return Ok(Access::Server);
    }
    // Who shows a key or a token gets what that opens, and nothing more where it is not valid any more.
    if let Some((kind, hash)) = bearer(headers).and_then(secret::known) {
        return match kind {
            Kind::Key => with_key(state, hash).await,
            Kind::Token => with_token(state, hash).await,
        };
    }
    if password.is_some() || state.door.is_closed(state).await? {
        return Err(unauthorized());
    }
    Ok(Access::Server)
}

async fn with_key(state: &AppState, hash: String) -> Result<Access, ApiError> {
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok::<_, ApiError>(api_keys::by_hash(tx, &hash).await?) })
    });
    let key = found.await?.ok_or_else(unauthorized)?;
    let now = state.engine.now();
    if state.door.is_to_note(&key, now) {
        let (engine, id) = (state.engine.clone(), key.id);
        state.engine.in_background(async move {
            let noted = engine
                .store()
                .write(move |tx| Box::pin(async move { api_keys::note_use(tx, id, now).await }));
            if let Err(error) = noted.await {
                tracing::debug!(%error, "the use of a key is not noted");
            }
        });
    }
    Ok(Access::Key(key))
}

async fn with_token(state: &AppState, hash: String) -> Result<Access, ApiError> {
    let now = state.engine.now();
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok::<_, ApiError>(user_tokens::by_hash(tx, &hash, now).await?) })
    });
    Ok(Access::Person(found.await?.ok_or_else(unauthorized)?))
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let given = headers.get(header::AUTHORIZATION)?.as_bytes();
    given.strip_prefix(b"Bearer ")
}

/// Whether the headers carry the password in one of the two forms of the contract (section 1.2).
fn has_password(headers: &HeaderMap, password: &str) -> bool {
    let bare = headers.get(HeaderName::from_static("x-bare-password"));
    let bare = bare.and_then(|value| value.as_bytes().strip_prefix(b"password "));
    let mut given = [bearer(headers), bare].into_iter().flatten();
    given.any(|given| same(given, password.as_bytes()))
}

/// Compares by digest, so that the time it takes tells nothing about the password.
pub fn same(given: &[u8], expected: &[u8]) -> bool {
    Sha256::digest(given) == Sha256::digest(expected)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(
                has_password(&headers, "tour-password"),
                let_in,
                "{name}: {value}"
            );
        }
        assert!(!has_password(&HeaderMap::new(), ""));
    }

    #[test]
    fn the_use_of_a_key_is_written_down_once_a_minute() {
        let door = Door::default();
        let key = |last_used_at| ApiKey {
            id: "key-00000000-0000-4000-8000-0000000000ff".parse().unwrap(),
            organization_id: mnemic_core::ids::OrganizationId::DEFAULT,
            user_id: mnemic_core::ids::UserId::DEFAULT,
            name: "k".to_owned(),
            scope: KeyScope::Read,
            hint: "abcd".to_owned(),
            created_at: Timestamp(0),
            last_used_at,
            revoked_at: None,
        };
        let minute = |n: i64| Timestamp(n * api_keys::USE_MICROS);
        assert!(door.is_to_note(&key(None), minute(1)));
        assert!(
            !door.is_to_note(&key(None), minute(1).plus_micros(1)),
            "it is on its way"
        );
        assert!(!door.is_to_note(&key(Some(minute(1))), minute(2).plus_micros(-1)));
        assert!(door.is_to_note(&key(Some(minute(1))), minute(2)));
    }
}
