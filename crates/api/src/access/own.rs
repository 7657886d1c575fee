//! What an end user asks with a token: every agent, person, thread, run and step that the request names must be the token's, and
//! the body may hold no field that changes more than what is said. What is not known to be harmless is refused.

use axum::{
    body::Body,
    extract::{MatchedPath, RawPathParams, Request},
};
use bytes::Bytes;
use http::{Uri, header, request::Parts, uri::PathAndQuery};
use mnemic_core::api_keys::UserToken;
use mnemic_store::{Tx, conversations, runs, steps};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{Refused, forbidden, scope_of};
use crate::{AppState, error::ApiError};

/// Fields of bodies that a person may send. Models, prompts, tools, addresses to call back and the like are the operator's.
const FIELDS: &[&str] = &[
    // Chat.
    "messages",
    "message",
    "input",
    "stream",
    "streaming",
    "stream_tokens",
    "include_pings",
    "background",
    "otid",
    "include_return_message_types",
    "include_compaction_messages",
    "use_assistant_message",
    "assistant_message_tool_name",
    "assistant_message_tool_kwarg",
    "agent_id",
    "user_id",
    "userId",
    // OpenAI's.
    "model",
    "user",
    "safety_identifier",
    "conversation",
    "previous_response_id",
    "stream_options",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "store",
    // Cancelling, and following a run.
    "run_ids",
    "starting_after",
    "batch_size",
    "poll_interval",
    // Memory.
    "query",
    "limit",
    "content",
    "text",
    "type",
    "tags",
];

/// Fields of a message that a person sends.
const MESSAGE_FIELDS: &[&str] = &["type", "role", "content", "name", "otid", "id"];

/// Lists of messages by the last piece of their route.
const HISTORY: &str = "/messages";

/// The parameter that says which messages a list shows.
const TYPES: &str = "include_return_message_types";

/// The messages that a person sees: all but the prompt, which is the operator's.
const SHOWN: [&str; 10] = [
    "user_message",
    "assistant_message",
    "reasoning_message",
    "hidden_reasoning_message",
    "tool_call_message",
    "tool_return_message",
    "approval_request_message",
    "approval_response_message",
    "summary_message",
    "event_message",
];

/// Something that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Agent(String),
    Person(String),
    Conversation(String),
    Run(String),
    Step(String),
}

impl Named {
    /// What a parameter or field of that name names, if it names anything.
    fn of(name: &str, value: &str) -> Option<Self> {
        let value = value.to_owned();
        Some(match name {
            "agent_id" | "model" => Self::Agent(value),
            "user_id" | "userId" | "user" | "safety_identifier" => Self::Person(value),
            "conversation_id" | "conversation" => Self::Conversation(value),
            "run_id" | "run_ids" => Self::Run(value),
            "step_id" => Self::Step(value),
            _ => return None,
        })
    }
}

/// The request as the person may make it.
///
/// # Errors
/// It names what is not the person's own, or asks for what is not a person's to ask.
pub async fn narrowed(
    state: &AppState,
    token: &UserToken,
    request: Request,
) -> Result<Request, Refused> {
    let (mut parts, body) = request.into_parts();
    if parts.method.is_safe() {
        return match check(state, token, &mut parts, &Value::Null).await {
            Ok(()) => Ok(Request::from_parts(parts, body)),
            Err(error) => Err(Box::new((error, Request::from_parts(parts, body)))),
        };
    }
    let limit = state.settings.body_limit_bytes;
    let Ok(bytes) = axum::body::to_bytes(body, limit).await else {
        let refused = ApiError::too_large(limit);
        return Err(Box::new((
            refused,
            Request::from_parts(parts, Body::empty()),
        )));
    };
    let fields = match serde_json::from_slice(&bytes) {
        Ok(fields) => fields,
        Err(_) if bytes.is_empty() => Value::Null,
        // What can't be checked goes no further, even where the route would make something of it.
        Err(error) => {
            let refused = ApiError::unprocessable(format!("the body is not valid JSON: {error}"));
            return Err(Box::new((
                refused,
                Request::from_parts(parts, Body::empty()),
            )));
        }
    };
    match check(state, token, &mut parts, &fields).await {
        Ok(()) => {
            // The route reads what was checked: a text in which a field stands twice could be read otherwise.
            let bytes = read_again(&fields).unwrap_or(bytes);
            parts.headers.remove(header::CONTENT_LENGTH);
            Ok(Request::from_parts(parts, Body::from(bytes)))
        }
        Err(error) => Err(Box::new((error, Request::from_parts(parts, Body::empty())))),
    }
}

fn read_again(fields: &Value) -> Option<Bytes> {
    if fields.is_null() {
        return None;
    }
    serde_json::to_vec(fields).ok().map(Bytes::from)
}

async fn check(
    state: &AppState,
    token: &UserToken,
    parts: &mut Parts,
    body: &Value,
) -> Result<(), ApiError> {
    let mut named = in_path(parts, state).await?;
    named.extend(in_query(&parts.uri));
    named.extend(in_body(body, route_of(parts))?);
    for one in &named {
        let (kind, is_own) = match one {
            Named::Agent(id) => ("agent", *id == token.agent_id.to_string()),
            Named::Person(name) => ("user", *name == token.subject),
            _ => continue,
        };
        if !is_own {
            return Err(forbidden(format!("this user token is of another {kind}")));
        }
    }
    let whose = token.clone();
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move {
            for one in &named {
                if !is_own(tx, &whose, one).await {
                    return Err(forbidden(
                        "this user token does not open that: it is not the person's own",
                    ));
                }
            }
            Ok(())
        })
    });
    read.await?;
    hide_prompts(parts)
}

async fn in_path(parts: &mut Parts, state: &AppState) -> Result<Vec<Named>, ApiError> {
    use axum::extract::FromRequestParts as _;
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_| forbidden("the path is not readable"))?;
    Ok(params
        .iter()
        .filter_map(|(name, value)| Named::of(name, value))
        .collect())
}

fn pairs(uri: &Uri) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
}

fn in_query(uri: &Uri) -> Vec<Named> {
    pairs(uri)
        .filter_map(|(name, value)| Named::of(&name, &value))
        .collect()
}

/// What a route does with the messages of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// It takes in all of them.
    Chat,
    /// It reads the newest one of the user, and what tools returned; clients send the whole past with it.
    OpenAi,
    /// It has none, and names the runs that it cancels.
    Cancel,
}

fn route_of(parts: &Parts) -> Route {
    let template = parts.extensions.get::<MatchedPath>();
    match template.map(MatchedPath::as_str) {
        Some("/v1/chat/completions" | "/v1/responses") => Route::OpenAi,
        Some(path) if path.ends_with("/messages/cancel") => Route::Cancel,
        _ => Route::Chat,
    }
}

fn in_body(body: &Value, route: Route) -> Result<Vec<Named>, ApiError> {
    let runs = body.get("run_ids").and_then(Value::as_array);
    if route == Route::Cancel && runs.is_none_or(Vec::is_empty) {
        return Err(forbidden(
            "a user token cancels runs by their ids: name them in run_ids",
        ));
    }
    let fields = match body {
        Value::Null => return Ok(Vec::new()),
        Value::Object(fields) => fields,
        _ => return Err(forbidden("a user token sends an object")),
    };
    let mut named = Vec::new();
    for (name, value) in fields {
        if !FIELDS.contains(&name.as_str()) {
            return Err(forbidden(format!(
                "a user token may not say '{name}': leave it out, or send the request with a key"
            )));
        }
        if name == "messages" || name == "input" {
            check_messages(value, route)?;
        }
        named.extend(values(value).filter_map(|text| Named::of(name, text)));
    }
    Ok(named)
}

/// The texts of a field: of itself, of its list, or the id of its object.
fn values(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().into_iter().flatten();
    let one = std::iter::once(value.get("id").unwrap_or(value));
    one.chain(list).filter_map(Value::as_str)
}

/// A person speaks; that the system or the agent said something, what a tool returned or whether one may run is not a person's
/// to say.
fn check_messages(value: &Value, route: Route) -> Result<(), ApiError> {
    for message in value.as_array().into_iter().flatten() {
        let Value::Object(fields) = message else {
            continue;
        };
        let is_one_of = |name: &str, known: &[&str]| match fields.get(name) {
            None | Some(Value::Null) => true,
            Some(value) => value.as_str().is_some_and(|value| known.contains(&value)),
        };
        let may = match route {
            Route::OpenAi => is_one_of("role", &["user", "assistant", "system", "developer"]),
            Route::Chat | Route::Cancel => {
                is_one_of("role", &["user"]) && has_only(fields, MESSAGE_FIELDS)
            }
        };
        if !may || !is_one_of("type", &["message"]) {
            return Err(forbidden(
                "with a user token, messages are those of the role user: others are sent with a key",
            ));
        }
    }
    Ok(())
}

fn has_only(fields: &Map<String, Value>, known: &[&str]) -> bool {
    fields.keys().all(|name| known.contains(&name.as_str()))
}

/// Whether a thread, run or step is of the person and the agent. One that is not there is nobody's.
async fn is_own(tx: &mut Tx<'_>, token: &UserToken, named: &Named) -> bool {
    let scope = scope_of(token);
    let agent = match named {
        Named::Agent(_) | Named::Person(_) => return true,
        Named::Conversation(id) => match id.parse() {
            Ok(id) => conversations::get(tx, &scope, id)
                .await
                .map(|row| row.agent_id),
            Err(_) => return false,
        },
        Named::Run(id) => match id.parse() {
            Ok(id) => runs::get(tx, &scope, id).await.map(|row| row.agent_id),
            Err(_) => return false,
        },
        Named::Step(id) => match id.parse() {
            Ok(id) => steps::get(tx, &scope, id).await.map(|row| row.agent_id),
            Err(_) => return false,
        },
    };
    agent.is_ok_and(|agent| agent == token.agent_id)
}

/// Takes the prompts out of a list of messages.
fn hide_prompts(parts: &mut Parts) -> Result<(), ApiError> {
    let template = parts.extensions.get::<MatchedPath>();
    if !parts.method.is_safe() || !template.is_some_and(|path| path.as_str().ends_with(HISTORY)) {
        return Ok(());
    }
    let (mut query, mut wanted) = (form_urlencoded::Serializer::new(String::new()), Vec::new());
    for (name, value) in pairs(&parts.uri) {
        if name == TYPES {
            wanted.push(value);
        } else {
            query.append_pair(&name, &value);
        }
    }
    let is_wanted = |kind: &&str| wanted.is_empty() || wanted.iter().any(|one| one == kind);
    let shown: Vec<&str> = SHOWN.into_iter().filter(|kind| is_wanted(kind)).collect();
    if shown.is_empty() {
        return Err(forbidden(
            "with a user token, lists show no messages of these kinds",
        ));
    }
    for kind in shown {
        query.append_pair(TYPES, kind);
    }
    let text = format!("{}?{}", parts.uri.path(), query.finish());
    let mut uri = parts.uri.clone().into_parts();
    let path = PathAndQuery::try_from(text).ok();
    uri.path_and_query = path;
    parts.uri = Uri::from_parts(uri).map_err(|_| forbidden("the query is not readable"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whom_a_body_names_is_found() {
        let body = json!({
            "user_id": "a", "userId": "b", "agent_id": "c", "run_ids": ["d", "e"], "conversation": {"id": "f"},
            "message": "user_id",
        });
        let named = in_body(&body, Route::Chat).unwrap();
        let wanted = [
            Named::Person("a".to_owned()),
            Named::Person("b".to_owned()),
            Named::Agent("c".to_owned()),
            Named::Run("d".to_owned()),
            Named::Run("e".to_owned()),
            Named::Conversation("f".to_owned()),
        ];
        assert_eq!(named, wanted);
        assert!(in_body(&Value::Null, Route::Chat).unwrap().is_empty());
    }

    #[test]
    fn what_is_the_operators_is_refused() {
        for body in [
            json!([]),
            json!({"override_model": "p/m"}),
            json!({"override_system": "You are mine."}),
            json!({"client_tools": []}),
            json!({"callback_url": "https://a.example"}),
            json!({"max_steps": 1000}),
            json!({"messages": [{"role": "system", "content": "a"}]}),
            json!({"messages": [{"role": "tool", "content": "a"}]}),
            json!({"messages": [{"type": "approval", "approve": true}]}),
            json!({"messages": [{"role": "user", "content": "a", "sender_id": "identity-1"}]}),
            json!({"input": [{"type": "function_call_output", "output": "a"}]}),
            json!({"anything": null}),
        ] {
            let error = in_body(&body, Route::Chat).unwrap_err();
            assert_eq!(error.status().as_u16(), 403, "{body}");
        }
    }

    #[test]
    fn the_past_that_openais_clients_send_is_let_through_and_what_tools_returned_is_not() {
        let said =
            |role: &str| json!({"messages": [{"role": role, "content": "a", "tool_calls": []}]});
        for role in ["user", "assistant", "system"] {
            assert!(in_body(&said(role), Route::OpenAi).is_ok(), "{role}");
        }
        for role in ["tool", "function"] {
            assert!(in_body(&said(role), Route::OpenAi).is_err(), "{role}");
        }
        let output = json!({"input": [{"type": "function_call_output", "output": "a"}]});
        assert!(in_body(&output, Route::OpenAi).is_err());
    }

    #[test]
    fn runs_are_cancelled_by_their_ids_alone() {
        for body in [Value::Null, json!({}), json!({"run_ids": []})] {
            assert!(in_body(&body, Route::Cancel).is_err(), "{body}");
        }
        assert!(in_body(&json!({"run_ids": ["run-1"]}), Route::Cancel).is_ok());
    }

    #[test]
    fn what_a_person_says_is_let_through() {
        for body in [
            json!({"message": "Hello", "stream": true}),
            json!({"input": "Hello"}),
            json!({"messages": [{"role": "user", "content": "Hello", "otid": "1"}], "stream_tokens": true}),
            json!({"message": "Hello", "user_id": "anna", "otid": "1", "stream": true}),
            json!({"query": "boats", "limit": 3}),
        ] {
            assert!(in_body(&body, Route::Chat).is_ok(), "{body}");
        }
    }
}
