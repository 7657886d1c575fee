//! Keys of the API, for the server's administrator. The secret is shown once, in the answer that makes the key.

use axum::extract::State;
use http::StatusCode;
use mnemic_core::{
    api_keys::{ApiKey, KeyScope},
    ids::{ApiKeyId, OrganizationId, UserId},
    time::Timestamp,
};
use mnemic_store::{
    api_keys::{self, NewApiKey, OtherAdmins},
    page::Order,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    AppState,
    access::secret::{Kind, Secret},
    actor::Actor,
    admin::Administrator,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path},
    page::PageQuery,
    validation::Issue,
};

/// Characters of a name.
const MAX_NAME: usize = 200;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(revoke))
}

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct ApiKeyView {
    #[schema(value_type = String)]
    id: ApiKeyId,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    /// As whom it acts.
    #[schema(value_type = String)]
    user_id: UserId,
    name: String,
    #[schema(value_type = String)]
    scope: KeyScope,
    /// The last letters of the secret.
    hint: String,
    #[schema(value_type = String)]
    created_at: Timestamp,
    /// To the minute.
    #[schema(value_type = Option<String>)]
    last_used_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    revoked_at: Option<Timestamp>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            organization_id: key.organization_id,
            user_id: key.user_id,
            name: key.name,
            scope: key.scope,
            hint: key.hint,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// A key as it is made.
#[derive(Debug, Serialize, ToSchema)]
struct NewApiKeyView {
    #[serde(flatten)]
    view: ApiKeyView,
    /// The secret. It is shown this once.
    key: String,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyBody {
    /// Its name, for people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it opens: `admin` is all, `agent` all but keys, administration, providers and sandbox settings, `read` reading and
    /// searching.
    #[schema(value_type = String)]
    scope: KeyScope,
}

fn others(state: &AppState) -> OtherAdmins {
    match state.settings.password {
        Some(_) => OtherAdmins::Password,
        None => OtherAdmins::None,
    }
}

/// The keys of the organization, newest first.
#[utoipa::path(get, path = "/v1/api-keys", tag = "keys", operation_id = "list_api_keys", params(PageQuery),
    responses((status = 200, body = Vec<ApiKeyView>)))]
async fn list(
    State(state): State<AppState>,
    _: Administrator,
    Actor(scope): Actor,
    query: PageQuery,
) -> Result<Json<Vec<ApiKeyView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok::<_, ApiError>(api_keys::list(tx, &scope, &page).await?) })
    });
    Ok(Json(found.await?.into_iter().map(Into::into).collect()))
}

/// Make a key. With a server's first key, which must have the scope `admin`, it asks everybody for a key or its password.
#[utoipa::path(post, path = "/v1/api-keys", tag = "keys", operation_id = "create_api_key", request_body = ApiKeyBody,
    responses((status = 201, body = NewApiKeyView), (status = 409, description = "The first key has another scope than admin")))]
async fn create(
    State(state): State<AppState>,
    _: Administrator,
    Actor(scope): Actor,
    Json(body): Json<ApiKeyBody>,
) -> Result<(StatusCode, Json<NewApiKeyView>), ApiError> {
    if body.name.is_empty() || body.name.chars().count() > MAX_NAME {
        let msg = format!("String should have between 1 and {MAX_NAME} characters");
        return Err(ApiError::invalid(&[Issue::body(
            &["name"],
            msg,
            json!(body.name),
        )]));
    }
    let secret = Secret::new(Kind::Key);
    let new = NewApiKey {
        name: body.name,
        scope: body.scope,
        hash: secret.hash(),
        hint: secret.hint(),
    };
    let (others, now) = (others(&state), state.engine.now());
    let made = state.engine.store().write(move |tx| {
        Box::pin(async move {
            let made = api_keys::insert(tx, &scope, &new, others, now).await;
            made.map_err(ApiError::from)
        })
    });
    let made = made.await?;
    state.door.close();
    let view = NewApiKeyView {
        view: made.into(),
        key: secret.text,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Revoke a key. It opens nothing from then on, on no server of the database, nor do the user tokens that were made with it.
#[utoipa::path(delete, path = "/v1/api-keys/{key_id}", tag = "keys", operation_id = "revoke_api_key",
    params(("key_id" = String, Path)),
    responses((status = 200, body = ApiKeyView), (status = 409, description = "Nobody could administer the server afterwards")))]
async fn revoke(
    State(state): State<AppState>,
    _: Administrator,
    Actor(scope): Actor,
    Path(id): Path<ApiKeyId>,
) -> Result<Json<ApiKeyView>, ApiError> {
    let (others, now) = (others(&state), state.engine.now());
    let revoked = state.engine.store().write(move |tx| {
        Box::pin(async move {
            let revoked = api_keys::revoke(tx, &scope, id, others, now).await;
            revoked.map_err(ApiError::from)
        })
    });
    Ok(Json(revoked.await?.into()))
}
