//! Whether the server lives, and whether it can work.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    AppState,
    described::{Routes, routes},
    error::ApiError,
    extract::Json,
};

/// How long the question whether the database answers may take.
const READY_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// The server's own version.
    pub version: String,
    /// Always `ok`.
    pub status: &'static str,
}

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().merge(routes!(health)).merge(routes!(ready))
}

/// Answers at once, whatever the database and the models do.
#[utoipa::path(get, path = "/v1/health", tag = "health", operation_id = "check_health",
    responses((status = 200, body = Health)))]
async fn health(State(state): State<AppState>) -> Json<Health> {
    Json(Health {
        version: state.settings.version.clone(),
        status: "ok",
    })
}

/// Answers once the database does.
#[utoipa::path(get, path = "/v1/ready", tag = "health", operation_id = "check_readiness",
    responses((status = 200, body = Health), (status = 503, description = "The database does not answer")))]
async fn ready(State(state): State<AppState>) -> Result<Json<Health>, ApiError> {
    let asked = state.engine.store().read(|tx| {
        Box::pin(async move { tx.query_one("SELECT 1", &[]).await.map_err(ApiError::from) })
    });
    let answered = tokio::time::timeout(READY_WAIT, asked).await;
    answered.map_err(|_| ApiError::unavailable("the database does not answer"))??;
    Ok(Json(Health {
        version: state.settings.version.clone(),
        status: "ok",
    }))
}
