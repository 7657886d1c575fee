//! Model providers that clients add with keys of their own. Keys are never shown.

use axum::extract::State;
use http::StatusCode;
use mnemic_core::{
    ids::{OrganizationId, ProviderId},
    time::Timestamp,
};
use mnemic_engine::{
    EngineError,
    providers::{NewProvider, ProviderKey, ProviderPatch},
};
use mnemic_store::{
    page::Order,
    providers::{self, Provider, ProviderFilter},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query},
    page::PageQuery,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(check))
        .merge(routes!(retrieve, modify, delete))
        .merge(routes!(check_existing))
        .merge(routes!(refresh))
}

/// A provider.
#[derive(Debug, Serialize, ToSchema)]
struct ProviderView {
    #[schema(value_type = String)]
    id: ProviderId,
    /// With it the handles of its models begin.
    name: String,
    provider_type: String,
    /// Always `byok`: the server's own providers are not listed.
    provider_category: &'static str,
    /// Always null: keys are not shown.
    #[schema(value_type = Option<String>)]
    api_key: Option<()>,
    base_url: Option<String>,
    /// Always null.
    #[schema(value_type = Option<String>)]
    access_key: Option<()>,
    region: Option<String>,
    api_version: Option<String>,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    #[schema(value_type = String)]
    updated_at: Timestamp,
    /// When its list of models was last read by `refresh`.
    #[schema(value_type = Option<String>)]
    last_synced: Option<Timestamp>,
    /// Always null.
    #[schema(value_type = Option<String>)]
    api_key_enc: Option<()>,
    /// Always null.
    #[schema(value_type = Option<String>)]
    access_key_enc: Option<()>,
}

impl ProviderView {
    fn of(row: Provider, organization_id: OrganizationId) -> Self {
        Self {
            id: row.id,
            name: row.name,
            provider_type: row.provider_type,
            provider_category: "byok",
            api_key: None,
            base_url: row.base_url,
            access_key: None,
            region: row.region,
            api_version: row.api_version,
            organization_id,
            updated_at: row.updated_at,
            last_synced: row.last_synced,
            api_key_enc: None,
            access_key_enc: None,
        }
    }
}

/// Which providers a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ProvidersQuery {
    /// Only the one of this name.
    name: Option<String>,
    /// Only those of this type.
    provider_type: Option<String>,
}

/// Providers that were added by the API; those of the server's configuration are not listed.
#[utoipa::path(get, path = "/v1/providers", tag = "providers", operation_id = "list_providers",
    params(PageQuery, ProvidersQuery), responses((status = 200, body = Vec<ProviderView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<ProvidersQuery>,
) -> Result<Json<Vec<ProviderView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let organization = scope.organization;
    let filter = ProviderFilter {
        name: filter.name,
        provider_type: filter.provider_type,
    };
    let read = state.engine.store().read(move |tx| {
        Box::pin(
            async move { Ok::<_, ApiError>(providers::list(tx, &scope, &filter, &page).await?) },
        )
    });
    let rows = read.await?.into_iter();
    Ok(Json(
        rows.map(|row| ProviderView::of(row, organization))
            .collect(),
    ))
}

/// A new provider.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateProviderBody {
    /// Letters, digits, `-`, `_` and `.`; the handles of its models are `name/model`.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it is, such as `openai`, `anthropic`, `google_ai`, `openrouter` or `ollama`.
    provider_type: String,
    /// Its key.
    #[serde(deserialize_with = "key")]
    #[schema(value_type = String)]
    api_key: ProviderKey,
    /// Not taken.
    #[serde(default, deserialize_with = "opt_key")]
    #[schema(value_type = Option<String>)]
    access_key: Option<ProviderKey>,
    /// Its region, for `bedrock`.
    region: Option<String>,
    /// Its address, where that is not the usual one of its type.
    base_url: Option<String>,
    /// Kept and not used.
    api_version: Option<String>,
}

fn key<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<ProviderKey, D::Error> {
    String::deserialize(reader).map(ProviderKey)
}

fn opt_key<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<ProviderKey>, D::Error> {
    let text: Option<String> = Option::deserialize(reader)?;
    Ok(text.map(ProviderKey))
}

/// Add a provider with a key of one's own. Its models can be used at once, as `name/model`.
#[utoipa::path(post, path = "/v1/providers", tag = "providers", operation_id = "create_provider",
    request_body = CreateProviderBody, responses((status = 200, body = ProviderView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Json(body): Json<CreateProviderBody>,
) -> Result<Json<ProviderView>, ApiError> {
    let new = NewProvider {
        name: body.name,
        provider_type: body.provider_type,
        api_key: body.api_key,
        access_key: body.access_key,
        region: body.region,
        base_url: body.base_url,
        api_version: body.api_version,
    };
    let made = state.engine.create_provider(&scope, new).await?;
    Ok(Json(ProviderView::of(made, scope.organization)))
}

/// A provider that is tried out.
#[derive(Debug, Deserialize, ToSchema)]
struct CheckProviderBody {
    /// What it is.
    provider_type: String,
    /// Its key.
    #[serde(deserialize_with = "key")]
    #[schema(value_type = String)]
    api_key: ProviderKey,
    /// Not taken.
    #[serde(default, deserialize_with = "opt_key")]
    #[schema(value_type = Option<String>)]
    access_key: Option<ProviderKey>,
    /// Its region, for `bedrock`.
    region: Option<String>,
    /// Its address, where that is not the usual one of its type.
    base_url: Option<String>,
    /// Not used.
    api_version: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
struct Told {
    /// In words.
    message: String,
}

/// The error of a provider that was tried out. That it fails or does not answer is what was asked, and no
/// failure of this server.
fn untrue(error: EngineError) -> ApiError {
    let is_theirs = matches!(error, EngineError::Llm(_));
    let error = ApiError::from(error);
    if is_theirs && error.status().is_server_error() {
        return error.with_status(StatusCode::BAD_REQUEST);
    }
    error
}

fn valid(provider_type: &str) -> Json<Told> {
    Json(Told {
        message: format!("Valid api key for provider_type={provider_type}"),
    })
}

/// Try a key with a provider; nothing is stored.
#[utoipa::path(post, path = "/v1/providers/check", tag = "providers",
    operation_id = "check_provider", request_body = CheckProviderBody, responses((status = 200, body = Told)))]
async fn check(
    State(state): State<AppState>,
    Actor(_): Actor,
    Json(body): Json<CheckProviderBody>,
) -> Result<Json<Told>, ApiError> {
    let new = NewProvider {
        name: body.provider_type.clone(),
        provider_type: body.provider_type,
        api_key: body.api_key,
        access_key: body.access_key,
        region: body.region,
        base_url: body.base_url,
        api_version: body.api_version,
    };
    let checked = state.engine.check_provider(&new).await;
    checked.map_err(untrue)?;
    Ok(valid(&new.provider_type))
}

/// One provider.
#[utoipa::path(get, path = "/v1/providers/{provider_id}", tag = "providers",
    operation_id = "retrieve_provider", params(("provider_id" = String, Path)),
    responses((status = 200, body = ProviderView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ProviderId>,
) -> Result<Json<ProviderView>, ApiError> {
    let organization = scope.organization;
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok::<_, ApiError>(providers::get(tx, &scope, id).await?) })
    });
    Ok(Json(ProviderView::of(read.await?, organization)))
}

/// What changes of a provider; what is left out, or null, stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateProviderBody {
    /// Its key.
    #[serde(default, deserialize_with = "opt_key")]
    #[schema(value_type = Option<String>)]
    api_key: Option<ProviderKey>,
    /// Not taken.
    #[serde(default, deserialize_with = "opt_key")]
    #[schema(value_type = Option<String>)]
    access_key: Option<ProviderKey>,
    /// Its region.
    region: Option<String>,
    /// Its address; empty for the usual one of its type.
    base_url: Option<String>,
    /// Kept and not used.
    api_version: Option<String>,
}

/// Change a provider.
#[utoipa::path(patch, path = "/v1/providers/{provider_id}", tag = "providers",
    operation_id = "modify_provider", params(("provider_id" = String, Path)),
    request_body = UpdateProviderBody, responses((status = 200, body = ProviderView)))]
async fn modify(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ProviderId>,
    Json(body): Json<UpdateProviderBody>,
) -> Result<Json<ProviderView>, ApiError> {
    let or_none = |text: String| Some(text).filter(|text| !text.trim().is_empty());
    let patch = ProviderPatch {
        api_key: body.api_key,
        access_key: body.access_key,
        region: body.region.map(or_none),
        base_url: body.base_url.map(or_none),
        api_version: body.api_version.map(or_none),
    };
    let changed = state.engine.update_provider(&scope, id, patch).await?;
    Ok(Json(ProviderView::of(changed, scope.organization)))
}

/// Remove a provider. Agents that use its models stay, and say what is missing when they are spoken to.
#[utoipa::path(delete, path = "/v1/providers/{provider_id}", tag = "providers",
    operation_id = "delete_provider", params(("provider_id" = String, Path)),
    responses((status = 200, body = Told)))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ProviderId>,
) -> Result<Json<Told>, ApiError> {
    state.engine.delete_provider(&scope, id).await?;
    Ok(Json(Told {
        message: format!("Provider id={id} successfully deleted"),
    }))
}

/// Try the key of a provider.
#[utoipa::path(post, path = "/v1/providers/{provider_id}/check", tag = "providers",
    operation_id = "check_existing_provider", params(("provider_id" = String, Path)),
    responses((status = 200, body = Told)))]
async fn check_existing(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ProviderId>,
) -> Result<Json<Told>, ApiError> {
    let checked = state.engine.check_stored_provider(&scope, id).await;
    let row = checked.map_err(untrue)?;
    Ok(valid(&row.provider_type))
}

/// Read a provider's list of models anew.
#[utoipa::path(patch, path = "/v1/providers/{provider_id}/refresh", tag = "providers",
    operation_id = "refresh_provider_models", params(("provider_id" = String, Path)),
    responses((status = 200, body = ProviderView)))]
async fn refresh(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ProviderId>,
) -> Result<Json<ProviderView>, ApiError> {
    let refreshed = state.engine.refresh_provider(&scope, id).await;
    let row = refreshed.map_err(untrue)?;
    Ok(Json(ProviderView::of(row, scope.organization)))
}
