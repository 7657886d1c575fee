//! Numbers for Prometheus, in its text format (version 0.0.4).

use std::fmt::Write as _;

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use mnemic_store::commits;

use crate::{
    AppState,
    described::{Routes, routes},
    error::ApiError,
};

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(metrics)
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let gauges = state.engine.gauges().await?;
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: String| {
        let _ = write!(
            text,
            "# HELP mnemic_{name} {help}\n# TYPE mnemic_{name} gauge\nmnemic_{name} {value}\n"
        );
    };
    gauge(
        "live_runs",
        "Runs of this process that wait or work.",
        gauges.live_runs.to_string(),
    );
    gauge(
        "embedding_backlog",
        "Agents and archives with texts that wait for their vectors.",
        gauges.embedding_backlog.to_string(),
    );
    gauge(
        "search_indexes",
        "Search indexes in memory.",
        gauges.search_indexes.to_string(),
    );
    gauge(
        "search_index_bytes",
        "Bytes that the search indexes in memory take.",
        gauges.search_index_bytes.to_string(),
    );
    let _ = write!(
        text,
        "# HELP mnemic_commits_total Commits to the database that this process made.\n\
         # TYPE mnemic_commits_total counter\nmnemic_commits_total {}\n",
        commits::count()
    );
    let version = &state.settings.version;
    let _ = write!(
        text,
        "# HELP mnemic_build_info The version of the server.\n# TYPE mnemic_build_info gauge\n\
         mnemic_build_info{{version=\"{version}\"}} 1\n"
    );
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text).into_response())
}
