//! Agent files: agents out of the server, and into it.

mod form;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header};
use mnemic_core::ids::{AgentId, ConversationId};
use mnemic_engine::agent_files::ExportOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use self::form::{ImportBody, ImportForm};
use crate::{
    AppState,
    actor::{Actor, ProjectId, Visitor},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Query, body_id, query_id},
    people::{self, UserQuery},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(export, export_with_skills))
        .merge(routes!(import))
}

/// What an exported file holds.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// Export this conversation in the place of the default one, and no other.
    conversation_id: Option<String>,
    /// Leave out what was said.
    #[param(default = false)]
    scrub_messages: Option<bool>,
    /// The older form, which is read but no longer written.
    #[param(default = false)]
    use_legacy_format: Option<bool>,
}

/// What an exported file holds.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
struct ExportBody {
    /// Export this conversation in the place of the default one, and no other.
    conversation_id: Option<String>,
    /// Leave out what was said.
    #[schema(default = false)]
    scrub_messages: Option<bool>,
    /// What the client gives along for the client that imports the file.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    skills: Option<Vec<Value>>,
}

/// What an import made.
#[derive(Debug, Serialize, ToSchema)]
struct ImportedView {
    /// The agents, in the order of the file.
    #[schema(value_type = Vec<String>)]
    agent_ids: Vec<AgentId>,
    /// What of the file was not taken over.
    left_out: Vec<String>,
}

/// An agent as a file.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/export", tag = "agents",
    operation_id = "export_agent", params(("agent_id" = String, Path), ExportQuery, UserQuery),
    responses((status = 200, body = serde_json::Value)))]
async fn export(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<AgentId>,
    Query(query): Query<ExportQuery>,
    Query(user): Query<UserQuery>,
) -> Result<Response, ApiError> {
    // Of all people, or what is common and one person's own.
    let scope = people::scope_of(&scope, user.user_id)?;
    if query.use_legacy_format == Some(true) {
        return Err(ApiError::bad_request(
            "the legacy format can be imported, but is no longer written: leave use_legacy_format out",
        ));
    }
    let conversation = query.conversation_id.as_deref();
    let conversation = conversation.map(|id| query_id("conversation_id", id));
    let options = ExportOptions {
        conversation: conversation.transpose()?,
        without_messages: query.scrub_messages.unwrap_or(false),
        skills: Vec::new(),
    };
    exported(&state, &scope, id, options).await
}

/// An agent as a file that also has what the client gives along.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/export", tag = "agents",
    operation_id = "export_agent_with_skills", params(("agent_id" = String, Path)),
    request_body = Option<ExportBody>, responses((status = 200, body = serde_json::Value)))]
async fn export_with_skills(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<AgentId>,
    OptionalJson(body): OptionalJson<ExportBody>,
) -> Result<Response, ApiError> {
    let conversation: Option<Result<ConversationId, _>> = body
        .conversation_id
        .as_deref()
        .map(|id| body_id("conversation_id", id));
    let options = ExportOptions {
        conversation: conversation.transpose()?,
        without_messages: body.scrub_messages.unwrap_or(false),
        skills: body.skills.unwrap_or_default(),
    };
    exported(&state, &scope, id, options).await
}

async fn exported(
    state: &AppState,
    scope: &mnemic_core::scope::Scope,
    id: AgentId,
    options: ExportOptions,
) -> Result<Response, ApiError> {
    let file = state.engine.export_agent(scope, id, options).await?;
    // Indented: people read these files, and keep them in repositories.
    let text = serde_json::to_vec_pretty(&file)
        .map_err(|error| ApiError::internal(format!("an agent file can't be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Make the agents of a file, with everything that is theirs: all of it, or nothing.
#[utoipa::path(post, path = "/v1/agents/import", tag = "agents", operation_id = "import_agent",
    request_body(content = ImportBody, content_type = "multipart/form-data"),
    responses((status = 200, body = ImportedView)))]
async fn import(
    State(state): State<AppState>,
    Actor(scope): Actor,
    ProjectId(project): ProjectId,
    visitor: Visitor,
    headers: HeaderMap,
    form: ImportForm,
) -> Result<Json<ImportedView>, ApiError> {
    let (file, mut options) = form.options(&headers)?;
    options.project_id = options.project_id.or(project);
    options.is_from_tool = visitor.is_tool();
    let made = state.engine.import_agents(&scope, file, options).await?;
    Ok(Json(ImportedView {
        agent_ids: made.agent_ids,
        left_out: made.left_out,
    }))
}
