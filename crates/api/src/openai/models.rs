//! The agents as OpenAI's list of models.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use mnemic_core::{agents::Agent, ids::AgentId, scope::Scope};
use mnemic_store::{
    agents::{self, AgentFilter},
    page::{Order, Page},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Text},
};

/// Agents that a list has: OpenAI's has no pages.
const MAX_LISTED: i64 = 1_000;

const MICROS: i64 = 1_000_000;

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(retrieve)
}

/// An agent as a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct Model {
    /// The agent's id.
    #[schema(value_type = String)]
    id: AgentId,
    /// Always `model`.
    object: &'static str,
    /// When it was made, in seconds since 1970.
    created: i64,
    /// Always `mnemic`.
    owned_by: &'static str,
    /// The agent's name; it can be given in place of the id where no other agent has it.
    name: String,
}

impl From<Agent> for Model {
    fn from(agent: Agent) -> Self {
        Self {
            id: agent.id,
            object: "model",
            created: agent.created_at.0 / MICROS,
            owned_by: "mnemic",
            name: agent.name,
        }
    }
}

#[derive(Debug, Serialize)]
struct Models {
    object: &'static str,
    data: Vec<Model>,
}

/// The newest agents.
///
/// # Errors
/// The database's.
pub async fn list(state: &AppState, scope: Scope) -> Result<Response, ApiError> {
    let page = Page::first(MAX_LISTED, Order::Desc);
    let found = read(state, scope, AgentFilter::default(), page).await?;
    let models = Models {
        object: "list",
        data: found.into_iter().map(Model::from).collect(),
    };
    Ok(Json(models).into_response())
}

async fn read(
    state: &AppState,
    scope: Scope,
    filter: AgentFilter,
    page: Page,
) -> Result<Vec<Agent>, ApiError> {
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok(agents::list(tx, &scope, &filter, &page).await?) })
    });
    read.await
}

/// The agent that a client names as its model: by its id, or by a name that only one agent has.
///
/// # Errors
/// There is none, there are several, or the database's.
pub async fn find(state: &AppState, scope: &Scope, model: &str) -> Result<Agent, ApiError> {
    let missing = || {
        let shown: String = model.chars().take(200).collect();
        ApiError::not_found(format!(
            "there is no agent '{shown}': give an agent's id or name as the model"
        ))
        .about("model", Some("model_not_found"))
    };
    if let Ok(id) = model.parse::<AgentId>() {
        let scope = scope.clone();
        let read = state.engine.store().read(move |tx| {
            Box::pin(
                async move { Ok::<_, ApiError>(agents::get_many(tx, &scope, &[id]).await?.pop()) },
            )
        });
        return read.await?.ok_or_else(missing);
    }
    let filter = AgentFilter {
        name: Some(model.to_owned()),
        show_hidden: true,
        ..AgentFilter::default()
    };
    let mut found = read(state, scope.clone(), filter, Page::first(2, Order::Asc)).await?;
    match (found.pop(), found.is_empty()) {
        (Some(agent), true) => Ok(agent),
        (Some(agent), false) => Err(ApiError::bad_request(format!(
            "several agents have the name '{}': give the id of the one that you mean as the model",
            agent.name
        ))
        .about("model", Some("model_ambiguous"))),
        (None, _) => Err(missing()),
    }
}

/// An agent as a model of OpenAI's API.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "openai", operation_id = "retrieve_model",
    params(("model" = String, Path, description = "An agent's id or name")),
    responses((status = 200, body = Model)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(Text(model)): Path<Text>,
) -> Result<Json<Model>, ApiError> {
    Ok(Json(find(&state, &scope, &model).await?.into()))
}
