//! Reading requests: path ids, query and JSON bodies become types, or a 422 that says what is wrong.

use std::str::FromStr;

use axum::{
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use mnemic_core::ids::InvalidId;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    AppState,
    error::ApiError,
    validation::{self, Issue, Loc},
};

/// One parameter of a route's path.
pub trait PathParam: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// It is malformed.
    fn parse(name: &str, value: &str) -> Result<Self, ApiError>;
}

/// The UUID of the examples in errors.
const EXAMPLE_UUID: &str = "123e4567-e89b-42d3-8456-426614174000";

/// The error for an id that is malformed.
#[must_use]
pub fn malformed_id(place: &str, name: &str, invalid: &InvalidId) -> ApiError {
    let prefix = invalid.prefix;
    let issue = Issue {
        kind: "string_pattern_mismatch",
        loc: vec![Loc::from(place), Loc::from(name)],
        msg: format!("String should match pattern '{prefix}-{{uuid4}}'"),
        input: Value::String(invalid.input.clone()),
    };
    ApiError::invalid_id(&issue, &format!("{prefix}-{EXAMPLE_UUID}"))
}

/// Reads an id that stands in a query parameter.
///
/// # Errors
/// It is malformed.
pub fn query_id<T: FromStr<Err = InvalidId>>(name: &str, value: &str) -> Result<T, ApiError> {
    value
        .parse()
        .map_err(|invalid| malformed_id("query", name, &invalid))
}

/// Reads an id that stands in the body.
///
/// # Errors
/// It is malformed.
pub fn body_id<T: FromStr<Err = InvalidId>>(name: &str, value: &str) -> Result<T, ApiError> {
    value
        .parse()
        .map_err(|invalid| malformed_id("body", name, &invalid))
}

macro_rules! id_params {
    ($($id:ident),* $(,)?) => {$(
        impl PathParam for mnemic_core::ids::$id {
            fn parse(name: &str, value: &str) -> Result<Self, ApiError> {
                value.parse().map_err(|invalid| malformed_id("path", name, &invalid))
            }
        }
    )*};
}

id_params!(
    AgentId,
    ApiKeyId,
    ArchiveId,
    BlockId,
    ConversationId,
    FileId,
    FolderId,
    GroupId,
    IdentityId,
    JobId,
    McpServerId,
    MessageId,
    PassageId,
    ProviderId,
    RunId,
    SandboxConfigId,
    SandboxVariableId,
    StepId,
    ToolId,
);

/// A path parameter that is any text, such as a block's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl PathParam for Text {
    fn parse(_: &str, value: &str) -> Result<Self, ApiError> {
        Ok(Self(value.to_owned()))
    }
}

/// The parameters of a route's path, in their order: `Path<AgentId>`, `Path<(AgentId, BlockId)>`.
#[derive(Debug, Clone)]
pub struct Path<T>(pub T);

/// Types that a path's parameters can be read as.
pub trait PathParams: Sized {
    /// Reads them.
    ///
    /// # Errors
    /// One is malformed.
    fn parse(params: &[(&str, &str)]) -> Result<Self, ApiError>;
}

impl<A: PathParam> PathParams for A {
    fn parse(params: &[(&str, &str)]) -> Result<Self, ApiError> {
        match params {
            [(name, value), ..] => A::parse(name, value),
            [] => Err(ApiError::internal("a route has no parameter")),
        }
    }
}

impl<A: PathParam, B: PathParam> PathParams for (A, B) {
    fn parse(params: &[(&str, &str)]) -> Result<Self, ApiError> {
        match params {
            [(a, first), (b, second), ..] => Ok((A::parse(a, first)?, B::parse(b, second)?)),
            _ => Err(ApiError::internal("a route has less than two parameters")),
        }
    }
}

impl<T: PathParams> FromRequestParts<AppState> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let raw = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                ApiError::unprocessable("the path's percent-encoding is not valid UTF-8")
            })?;
        let params: Vec<(&str, &str)> = raw.iter().collect();
        T::parse(&params).map(Self)
    }
}

/// The query, with repeated keys as lists; parameters that `T` does not know are ignored.
#[derive(Debug, Clone, Default)]
pub struct Query<T>(pub T);

/// Reads a query string.
///
/// # Errors
/// A value is malformed.
pub fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let deserializer = serde_html_form::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let name = error.path().to_string();
        let msg = error.inner().to_string();
        if let Some(field) = validation::between_ticks(&msg, "missing field ") {
            let issue = Issue {
                kind: "missing",
                loc: vec![Loc::from("query"), Loc::Name(field)],
                msg: "Field required".to_owned(),
                input: Value::Null,
            };
            return ApiError::invalid(&[issue]);
        }
        let name = name.split('[').next().unwrap_or_default();
        let given = url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map_or(Value::Null, |(_, value)| Value::String(value.into_owned()));
        let mut issue = Issue::query(name, msg, given);
        issue.kind = validation::kind_of(&issue.msg);
        ApiError::invalid(&[issue])
    })
}

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// A request's whole body, up to the server's limit.
#[derive(Debug, Clone)]
pub struct Body(pub Bytes);

impl FromRequest<AppState> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let limit = state.settings.body_limit_bytes;
        // A body that says it is too large is refused before it is read.
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(ApiError::too_large(limit));
        }
        let kind = request.headers().get(header::CONTENT_TYPE).cloned();
        let read = Bytes::from_request(request, state).await;
        let body = read.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::too_large(limit)
            } else {
                ApiError::bad_request("the request's body could not be read to its end")
            }
        })?;
        if body.is_empty() || kind.is_none_or(|kind| is_json(kind.as_bytes())) {
            return Ok(Self(body));
        }
        Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the body as JSON, with Content-Type: application/json",
        ))
    }
}

/// Whether a media type is JSON's. Others are refused: with them, a web page of any origin could send a
/// request without being asked first whether it may.
fn is_json(kind: &[u8]) -> bool {
    let plain = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    let plain = plain.trim_ascii().to_ascii_lowercase();
    plain == b"application/json"
        || (plain.starts_with(b"application/") && plain.ends_with(b"+json"))
}

/// Reads JSON; what is wrong is named with its place.
///
/// # Errors
/// The text is no JSON, or not of the form of `T`.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if body.is_empty() {
        return Err(ApiError::invalid(&[Issue {
            kind: "missing",
            loc: vec![Loc::from("body")],
            msg: "Field required".to_owned(),
            input: Value::Null,
        }]));
    }
    // Keeping track of the path costs time, so that is done only for requests that are wrong.
    let error = match serde_json::from_slice(body) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let issue = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) => validation::of_json(body, &error),
        Ok(_) => Issue {
            kind: "json_invalid",
            loc: vec![Loc::from("body")],
            msg: format!("JSON decode error: {error}"),
            input: Value::Null,
        },
    };
    Err(ApiError::invalid(&[issue]))
}

/// A JSON body, as a request or as an answer.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let Body(body) = Body::from_request(request, state).await?;
        parse_json(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A JSON body that may be left out, or be `null`: then it is `T`'s default.
#[derive(Debug, Clone)]
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<AppState> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let Body(body) = Body::from_request(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        parse_json::<Option<T>>(&body).map(|parsed| Self(parsed.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use mnemic_core::ids::{AgentId, BlockId};
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_json_is_json() {
        let table = [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("text/plain; application/json", false),
            ("", false),
        ];
        for (kind, expected) in table {
            assert_eq!(is_json(kind.as_bytes()), expected, "{kind}");
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Filter {
        #[serde(default)]
        tags: Vec<String>,
        limit: Option<i64>,
        active: Option<bool>,
    }

    #[test]
    fn repeated_keys_are_lists_and_unknown_keys_are_ignored() {
        let read: Filter = parse_query("tags=a&tags=b%20c&limit=&other=1&active=true").unwrap();
        assert_eq!(read.tags, ["a", "b c"]);
        assert_eq!((read.limit, read.active), (None, Some(true)));
    }

    #[test]
    fn a_wrong_query_value_is_named() {
        let error = parse_query::<Filter>("limit=many").unwrap_err();
        assert_eq!(error.status().as_u16(), 422);
        let detail = error.body()["detail"].as_str().unwrap();
        assert!(
            detail.contains("'type': 'int_parsing', 'loc': ('query', 'limit')"),
            "{detail}"
        );
        assert!(detail.contains("'input': 'many'"), "{detail}");
    }

    #[test]
    fn a_malformed_path_id_has_the_shape_of_the_contract() {
        let error = <AgentId as PathParams>::parse(&[("agent_id", "not-an-id")]).unwrap_err();
        assert_eq!(error.status().as_u16(), 422);
        assert_eq!(error.body()["trace_id"], "");
        assert_eq!(
            error.body()["examples"],
            json!(["agent-123e4567-e89b-42d3-8456-426614174000"])
        );
        let detail = error.body()["detail"].as_str().unwrap();
        assert!(detail.contains("'loc': ('path', 'agent_id')"), "{detail}");
        assert!(detail.contains("'input': 'not-an-id'"), "{detail}");
    }

    #[test]
    fn path_parameters_are_read_in_their_order() {
        let (agent, block) = (AgentId::new(), BlockId::new());
        let (a, b) = (agent.to_string(), block.to_string());
        let params = [("agent_id", a.as_str()), ("block_id", b.as_str())];
        assert_eq!(
            <(AgentId, BlockId)>::parse(&params).unwrap(),
            (agent, block)
        );
    }

    #[test]
    fn what_follows_the_json_is_refused() {
        assert!(parse_json::<Value>(b"{} {}").is_err());
    }
}
