//! Searching tools.

use axum::extract::State;
use mnemic_core::tools::ToolType;
use mnemic_engine::tools::ToolSearch;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::ToolView;
use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::Json,
    validation::Issue,
};

/// Results at the most, and when the client names no number (V1 contract).
const LIMITS: (i64, i64) = (100, 50);

/// The routes of this file.
pub(super) fn routes() -> Routes {
    routes!(search)
}

/// By what tools are found. They have no vectors, so all three are by words.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ToolSearchMode {
    /// As `fts`.
    Vector,
    /// By words.
    Fts,
    /// As `fts`.
    #[default]
    Hybrid,
}

/// What tools are searched for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolSearchBody {
    /// What they should do; without it, the newest tools come back.
    query: Option<String>,
    /// By what they are found.
    #[serde(default)]
    #[schema(inline)]
    #[allow(dead_code)]
    search_mode: ToolSearchMode,
    /// Only these types, such as `custom`.
    tool_types: Option<Vec<String>>,
    /// Only tools with one of these tags.
    tags: Option<Vec<String>>,
    /// Results at the most; 50 when left out.
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<i64>,
}

/// A tool that was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundToolView {
    /// The tool.
    tool: ToolView,
    /// The text that was searched.
    embedded_text: String,
    /// Its rank by words.
    fts_rank: Option<usize>,
    /// Its rank by meaning: none.
    vector_rank: Option<usize>,
    /// How likely it is what was asked for, from 0 to 1.
    combined_score: f32,
}

impl ToolSearchBody {
    fn search(self) -> Result<ToolSearch, ApiError> {
        let (most, usual) = LIMITS;
        let limit = self.limit.unwrap_or(usual);
        if !(1..=most).contains(&limit) {
            let msg = format!("Input should be between 1 and {most}");
            return Err(ApiError::invalid(&[Issue::body(
                &["limit"],
                msg,
                json!(limit),
            )]));
        }
        let types = self.tool_types.unwrap_or_default();
        let types: Result<Vec<ToolType>, ApiError> = types
            .iter()
            .map(|name| {
                ToolType::parse(name).ok_or_else(|| {
                    let msg = "this is no type of tools";
                    ApiError::invalid(&[Issue::body(&["tool_types"], msg, json!(name))])
                })
            })
            .collect();
        Ok(ToolSearch {
            text: self.query.unwrap_or_default(),
            types: types?,
            tags: self.tags.unwrap_or_default(),
            limit: usize::try_from(limit).unwrap_or_default(),
        })
    }
}

/// Find tools by what they do.
#[utoipa::path(post, path = "/v1/tools/search", tag = "tools", operation_id = "search_tools",
    request_body = ToolSearchBody, responses((status = 200, body = Vec<FoundToolView>)))]
async fn search(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Json(body): Json<ToolSearchBody>,
) -> Result<Json<Vec<FoundToolView>>, ApiError> {
    let search = body.search()?;
    let asked = !search.text.trim().is_empty();
    let found = state.engine.search_tools(&scope, search).await?;
    let shown = found
        .into_iter()
        .zip(1..)
        .map(|(found, rank)| FoundToolView {
            tool: found.tool.into(),
            embedded_text: found.text,
            fts_rank: asked.then_some(rank),
            vector_rank: None,
            combined_score: found.score,
        });
    Ok(Json(shown.collect()))
}
