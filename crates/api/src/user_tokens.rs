//! Tokens of end users: short-lived, for browsers, and good for one person's own things with one agent.

use axum::extract::State;
use http::StatusCode;
use mnemic_core::{api_keys::UserToken, ids::AgentId, time::Timestamp};
use mnemic_store::user_tokens;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    access::secret::{Kind, Secret},
    actor::{Actor, Visitor},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Query, body_id, query_id},
    people,
    validation::Issue,
};

/// Seconds for which a token may be good.
const TTL: std::ops::RangeInclusive<i64> = 60..=86_400;

/// Seconds for which one is good unless the request says otherwise.
const USUAL_TTL: i64 = 3_600;

const MICROS: i64 = 1_000_000;

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(create, end)
}

/// Whose token, and for how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserTokenBody {
    /// The agent.
    #[serde(alias = "agentId")]
    agent_id: String,
    /// The end user.
    #[serde(alias = "userId")]
    #[schema(min_length = 1, max_length = 256)]
    user_id: String,
    /// Seconds for which it is good.
    #[schema(minimum = 60, maximum = 86_400, default = 3_600)]
    ttl: Option<i64>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct UserTokenView {
    /// The secret. It is shown this once.
    token: String,
    #[schema(value_type = String)]
    agent_id: AgentId,
    user_id: String,
    #[schema(value_type = String)]
    expires_at: Timestamp,
}

fn refuse_tools(visitor: &Visitor) -> Result<(), ApiError> {
    if visitor.is_tool() {
        let reason = "tools of agents cannot make or end tokens of users";
        return Err(ApiError::new(StatusCode::FORBIDDEN, reason));
    }
    Ok(())
}

/// Make a token with which a browser may talk to one agent as one person, and see that person's own history and memory.
#[utoipa::path(post, path = "/v1/user-tokens", tag = "keys", operation_id = "create_user_token",
    request_body = UserTokenBody, responses((status = 201, body = UserTokenView)))]
async fn create(
    State(state): State<AppState>,
    visitor: Visitor,
    Actor(scope): Actor,
    Json(body): Json<UserTokenBody>,
) -> Result<(StatusCode, Json<UserTokenView>), ApiError> {
    refuse_tools(&visitor)?;
    let agent_id = body_id("agent_id", &body.agent_id)?;
    people::check(&body.user_id)?;
    let ttl = body.ttl.unwrap_or(USUAL_TTL);
    if !TTL.contains(&ttl) {
        let msg = format!("Input should be between {} and {}", TTL.start(), TTL.end());
        return Err(ApiError::invalid(&[Issue::body(&["ttl"], msg, json!(ttl))]));
    }
    let (secret, now) = (Secret::new(Kind::Token), state.engine.now());
    let token = UserToken {
        organization_id: scope.organization,
        user_id: scope.actor,
        agent_id,
        subject: body.user_id,
        api_key_id: scope.key,
        expires_at: now.plus_micros(ttl.saturating_mul(MICROS)),
    };
    let (hash, kept) = (secret.hash(), token.clone());
    let made = state.engine.store().write(move |tx| {
        Box::pin(async move {
            let made = user_tokens::insert(tx, &scope, (&hash, &kept), now).await;
            made.map_err(ApiError::from)
        })
    });
    made.await?;
    let view = UserTokenView {
        token: secret.text,
        agent_id,
        user_id: token.subject,
        expires_at: token.expires_at,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Whose tokens end.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EndQuery {
    /// The end user.
    #[serde(alias = "userId")]
    user_id: String,
    /// Only those for this agent.
    #[serde(alias = "agentId")]
    agent_id: Option<String>,
}

/// How many tokens ended.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct EndedView {
    ended: u64,
}

/// End all tokens of a person at once, as when the person logs out.
#[utoipa::path(delete, path = "/v1/user-tokens", tag = "keys", operation_id = "end_user_tokens", params(EndQuery),
    responses((status = 200, body = EndedView)))]
async fn end(
    State(state): State<AppState>,
    visitor: Visitor,
    Actor(scope): Actor,
    Query(query): Query<EndQuery>,
) -> Result<Json<EndedView>, ApiError> {
    refuse_tools(&visitor)?;
    people::check(&query.user_id)?;
    let agent_id: Option<&str> = query.agent_id.as_deref();
    let agent_id = agent_id.map(|id| query_id("agent_id", id)).transpose()?;
    let scope = scope.of_subject(Some(query.user_id));
    let ended = state.engine.store().write(move |tx| {
        Box::pin(async move {
            let ended = user_tokens::end(tx, &scope, agent_id).await;
            ended.map_err(ApiError::from)
        })
    });
    Ok(Json(EndedView {
        ended: ended.await?,
    }))
}
