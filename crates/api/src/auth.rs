//! `POST /v1/auth`: whether a password is the server's.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    AppState, access,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::Json,
};

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(authenticate)
}

/// A password.
#[derive(Debug, Deserialize, ToSchema)]
struct AuthBody {
    /// The server's, where it has one.
    password: Option<String>,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
struct AuthView {
    /// The acting user's UUID.
    uuid: String,
    /// Always true: who has the password may do everything.
    is_admin: bool,
}

/// Tell whether a password is the server's: 401 where it is not. A server without a password takes any.
#[utoipa::path(post, path = "/v1/auth", tag = "auth", operation_id = "authenticate_user",
    request_body = AuthBody, responses((status = 200, body = AuthView),
        (status = 401, description = "It is not the server's password")))]
async fn authenticate(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Json(body): Json<AuthBody>,
) -> Result<Json<AuthView>, ApiError> {
    let given = body.password.unwrap_or_default();
    let wanted = state.settings.password.as_deref();
    if wanted.is_some_and(|wanted| !access::same(given.as_bytes(), wanted.as_bytes())) {
        return Err(access::unauthorized());
    }
    Ok(Json(AuthView {
        uuid: scope.actor.uuid().to_string(),
        is_admin: true,
    }))
}
