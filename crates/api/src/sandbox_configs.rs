//! What all tools of an organization have in common: packages and variables. There is one kind of sandbox, the server's own,
//! which the V1 API calls local.

mod request;
mod view;

use axum::extract::State;
use http::StatusCode;
use mnemic_core::ids::{SandboxConfigId, SandboxVariableId};
use mnemic_store::{
    page::{Order, Page},
    sandbox_configs,
};
use serde::Deserialize;
use utoipa::IntoParams;

use self::{
    request::{
        LocalConfigBody, SandboxConfigBody, SandboxVariableBody, UpdateSandboxConfigBody,
        UpdateSandboxVariableBody, of_e2b,
    },
    view::{SandboxConfigView, SandboxType, SandboxVariableView},
};
use crate::{
    AppState,
    actor::{Actor, Visitor},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query},
    page::PageQuery,
};

/// Items of a page unless the client says another number (V1 contract).
const PAGE: i64 = 1_000;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(create_local))
        .merge(routes!(create_default_local))
        .merge(routes!(create_default_e2b))
        .merge(routes!(recreate_venv))
        .merge(routes!(update, delete))
        .merge(routes!(list_variables, create_variable))
        .merge(routes!(update_variable, delete_variable))
}

/// Refuses a tool that runs: what is changed here reaches all other tools, also those that something was granted to.
fn refuse_tools(visitor: &Visitor) -> Result<(), ApiError> {
    if visitor.is_tool() {
        let reason = "a running tool can't change what all tools of the organization have in common: call this from \
                      outside of tools";
        return Err(ApiError::new(StatusCode::FORBIDDEN, reason));
    }
    Ok(())
}

/// Which configs a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct SandboxConfigsQuery {
    /// Only those of this type; there are local ones only.
    #[param(inline)]
    sandbox_type: Option<SandboxType>,
}

/// The organization's sandbox configs: one at the most.
#[utoipa::path(get, path = "/v1/sandbox-config", tag = "sandbox-config",
    operation_id = "list_sandbox_configs", params(PageQuery, SandboxConfigsQuery),
    responses((status = 200, body = Vec<SandboxConfigView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<SandboxConfigsQuery>,
) -> Result<Json<Vec<SandboxConfigView>>, ApiError> {
    let page = query.page(PAGE, Order::Asc)?;
    if filter
        .sandbox_type
        .is_some_and(|kind| kind != SandboxType::Local)
    {
        return Ok(Json(Vec::new()));
    }
    let organization = scope.organization;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let found = sandbox_configs::list(tx, &scope, &page).await;
            found.map_err(ApiError::from)
        })
    });
    let found = found.await?.into_iter();
    let views = found.map(|config| SandboxConfigView::new(organization, config));
    Ok(Json(views.collect()))
}

/// Make the organization's config, or change the one that it has. Configs of other sandboxes are refused.
#[utoipa::path(post, path = "/v1/sandbox-config", tag = "sandbox-config",
    operation_id = "create_sandbox_config", request_body = SandboxConfigBody,
    responses((status = 200, body = SandboxConfigView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    visitor: Visitor,
    Json(body): Json<SandboxConfigBody>,
) -> Result<Json<SandboxConfigView>, ApiError> {
    refuse_tools(&visitor)?;
    let given = body.config.local()?;
    let made = state.engine.put_sandbox_config(&scope, given).await?;
    Ok(Json(SandboxConfigView::new(scope.organization, made)))
}

/// Make the organization's config, or change the one that it has.
#[utoipa::path(post, path = "/v1/sandbox-config/local", tag = "sandbox-config",
    operation_id = "create_custom_local_sandbox_config", request_body = LocalConfigBody,
    responses((status = 200, body = SandboxConfigView)))]
async fn create_local(
    state: State<AppState>,
    actor: Actor,
    visitor: Visitor,
    Json(config): Json<LocalConfigBody>,
) -> Result<Json<SandboxConfigView>, ApiError> {
    create(state, actor, visitor, Json(SandboxConfigBody { config })).await
}

/// The organization's config as it is; a new one where there is none.
#[utoipa::path(post, path = "/v1/sandbox-config/local/default", tag = "sandbox-config",
    operation_id = "create_default_local_sandbox_config",
    responses((status = 200, body = SandboxConfigView)))]
async fn create_default_local(
    State(state): State<AppState>,
    Actor(scope): Actor,
    visitor: Visitor,
) -> Result<Json<SandboxConfigView>, ApiError> {
    refuse_tools(&visitor)?;
    let own = state.engine.default_sandbox_config(&scope).await?;
    Ok(Json(SandboxConfigView::new(scope.organization, own)))
}

/// Always refused: tools run in the server's own sandbox.
#[utoipa::path(post, path = "/v1/sandbox-config/e2b/default", tag = "sandbox-config",
    operation_id = "create_default_e2b_sandbox_config",
    responses((status = 200, body = SandboxConfigView)))]
async fn create_default_e2b(_: Actor) -> Result<Json<SandboxConfigView>, ApiError> {
    Err(of_e2b())
}

/// Have the packages of all tools installed anew, in the newest versions that their requirements let, when they are needed
/// next.
#[utoipa::path(post, path = "/v1/sandbox-config/local/recreate-venv", tag = "sandbox-config",
    operation_id = "force_recreate_local_sandbox_venv",
    responses((status = 200, body = SandboxConfigView)))]
async fn recreate_venv(
    State(state): State<AppState>,
    Actor(scope): Actor,
    visitor: Visitor,
) -> Result<Json<SandboxConfigView>, ApiError> {
    refuse_tools(&visitor)?;
    let own = state.engine.renew_packages(&scope).await?;
    Ok(Json(SandboxConfigView::new(scope.organization, own)))
}

/// Change a config: what is left out of it stays.
#[utoipa::path(patch, path = "/v1/sandbox-config/{sandbox_config_id}", tag = "sandbox-config",
    operation_id = "update_sandbox_config", params(("sandbox_config_id" = String, Path)),
    request_body = UpdateSandboxConfigBody, responses((status = 200, body = SandboxConfigView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    visitor: Visitor,
    Path(id): Path<SandboxConfigId>,
    Json(body): Json<UpdateSandboxConfigBody>,
) -> Result<Json<SandboxConfigView>, ApiError> {
    refuse_tools(&visitor)?;
    let patch = body.config.map(LocalConfigBody::local).transpose()?;
    let patch = patch.unwrap_or_default();
    let changed = state
        .engine
        .update_sandbox_config(&scope, id, patch)
        .await?;
    Ok(Json(SandboxConfigView::new(scope.organization, changed)))
}

/// Delete a config with its variables.
#[utoipa::path(delete, path = "/v1/sandbox-config/{sandbox_config_id}", tag = "sandbox-config",
    operation_id = "delete_sandbox_config", params(("sandbox_config_id" = String, Path)),
    responses((status = 204)))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    visitor: Visitor,
    Path(id): Path<SandboxConfigId>,
) -> Result<StatusCode, ApiError> {
    refuse_tools(&visitor)?;
    let gone = state.engine.store().write(move |tx| {
        Box::pin(async move {
            let gone = sandbox_configs::delete(tx, &scope, id).await;
            gone.map_err(ApiError::from)
        })
    });
    gone.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The variables that all tools see, oldest first, with their values.
#[utoipa::path(get, path = "/v1/sandbox-config/{sandbox_config_id}/environment-variable",
    tag = "sandbox-config", operation_id = "list_sandbox_env_vars",
    params(("sandbox_config_id" = String, Path), PageQuery),
    responses((status = 200, body = Vec<SandboxVariableView>)))]
async fn list_variables(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<SandboxConfigId>,
    query: PageQuery,
) -> Result<Json<Vec<SandboxVariableView>>, ApiError> {
    let page: Page = query.page(PAGE, Order::Asc)?;
    let organization = scope.organization;
    let secrets = state.engine.store().secrets().clone();
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            sandbox_configs::get(tx, &scope, id).await?;
            let found = sandbox_configs::list_variables(tx, &scope, &secrets, id, &page).await;
            found.map_err(ApiError::from)
        })
    });
    let found = found.await?.into_iter();
    let views = found.map(|variable| SandboxVariableView::new(organization, variable));
    Ok(Json(views.collect()))
}

/// Add a variable that all tools see. Its value is kept encrypted.
#[utoipa::path(post, path = "/v1/sandbox-config/{sandbox_config_id}/environment-variable",
    tag = "sandbox-config", operation_id = "create_sandbox_env_var",
    params(("sandbox_config_id" = String, Path)), request_body = SandboxVariableBody,
    responses((status = 200, body = SandboxVariableView)))]
async fn create_variable(
    State(state): State<AppState>,
    Actor(scope): Actor,
    visitor: Visitor,
    Path(id): Path<SandboxConfigId>,
    Json(body): Json<SandboxVariableBody>,
) -> Result<Json<SandboxVariableView>, ApiError> {
    refuse_tools(&visitor)?;
    let made = state
        .engine
        .add_sandbox_variable(&scope, id, body.into())
        .await?;
    Ok(Json(SandboxVariableView::new(scope.organization, made)))
}

/// Change a variable. The next call of a tool sees it.
#[utoipa::path(patch, path = "/v1/sandbox-config/environment-variable/{env_var_id}",
    tag = "sandbox-config", operation_id = "update_sandbox_env_var",
    params(("env_var_id" = String, Path)), request_body = UpdateSandboxVariableBody,
    responses((status = 200, body = SandboxVariableView)))]
async fn update_variable(
    State(state): State<AppState>,
    Actor(scope): Actor,
    visitor: Visitor,
    Path(id): Path<SandboxVariableId>,
    Json(body): Json<UpdateSandboxVariableBody>,
) -> Result<Json<SandboxVariableView>, ApiError> {
    refuse_tools(&visitor)?;
    let changed = state
        .engine
        .update_sandbox_variable(&scope, id, body.into())
        .await?;
    Ok(Json(SandboxVariableView::new(scope.organization, changed)))
}

/// Delete a variable.
#[utoipa::path(delete, path = "/v1/sandbox-config/environment-variable/{env_var_id}",
    tag = "sandbox-config", operation_id = "delete_sandbox_env_var",
    params(("env_var_id" = String, Path)), responses((status = 204)))]
async fn delete_variable(
    State(state): State<AppState>,
    Actor(scope): Actor,
    visitor: Visitor,
    Path(id): Path<SandboxVariableId>,
) -> Result<StatusCode, ApiError> {
    refuse_tools(&visitor)?;
    let gone = state.engine.store().write(move |tx| {
        Box::pin(async move {
            let gone = sandbox_configs::delete_variable(tx, &scope, id).await;
            gone.map_err(ApiError::from)
        })
    });
    gone.await?;
    Ok(StatusCode::NO_CONTENT)
}
