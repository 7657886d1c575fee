//! Tags: words by which agents are found.

use axum::extract::State;
use mnemic_store::{agents, page::Order};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Query},
    page::PageQuery,
};

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(list)
}

/// Which tags a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct TagsQuery {
    /// Only those that contain this.
    name: Option<String>,
    /// The old name of `name`.
    query_text: Option<String>,
}

/// The tags of all agents, each once, in alphabetical order. Cursors are the tags themselves.
#[utoipa::path(get, path = "/v1/tags", tag = "tags", operation_id = "list_tags",
    params(PageQuery, TagsQuery), responses((status = 200, body = Vec<String>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<TagsQuery>,
) -> Result<Json<Vec<String>>, ApiError> {
    let page = query.page(50, Order::Asc)?;
    let text = filter
        .name
        .or(filter.query_text)
        .filter(|text| !text.is_empty());
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            agents::tags(tx, &scope, text.as_deref(), &page)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(found.await?))
}
