//! Organizations and users, for the server's administrator. Tools of agents have no access.

use axum::extract::{FromRequestParts, State};
use http::{StatusCode, request::Parts};
use mnemic_core::{
    ids::{OrganizationId, UserId},
    organizations::{Organization, User},
    time::Timestamp,
};
use mnemic_store::{
    JobFuture, Tx, organizations,
    page::{Order, Page},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Visitor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Query, body_id, query_id},
    validation::Issue,
};

/// Characters of a name.
const MAX_NAME: usize = 500;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list_orgs, create_org, update_org, delete_org))
        .merge(routes!(list_users, create_user, update_user, delete_user))
}

/// Somebody who may see all organizations: whoever has the server's password or a key of scope admin, but no tool of an agent.
pub struct Administrator;

impl<S: Send + Sync> FromRequestParts<S> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if Visitor::of(&parts.extensions).is_tool() {
            let reason = "tools of agents cannot administer the server";
            return Err(ApiError::new(StatusCode::FORBIDDEN, reason));
        }
        Ok(Self)
    }
}

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct OrganizationView {
    #[schema(value_type = String)]
    id: OrganizationId,
    name: String,
    #[schema(value_type = String)]
    created_at: Timestamp,
    privileged_tools: bool,
}

impl From<Organization> for OrganizationView {
    fn from(row: Organization) -> Self {
        Self {
            id: row.id,
            name: row.name,
            created_at: row.created_at,
            privileged_tools: row.privileged_tools,
        }
    }
}

/// A user of the API.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct UserView {
    #[schema(value_type = String)]
    id: UserId,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    name: String,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
    is_deleted: bool,
}

impl UserView {
    fn of(row: User, is_deleted: bool) -> Self {
        Self {
            id: row.id,
            organization_id: row.organization_id,
            name: row.name,
            created_at: row.created_at,
            updated_at: row.updated_at,
            is_deleted,
        }
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct AdminPage {
    /// The id after which the page begins.
    after: Option<String>,
    /// How many items at the most.
    #[param(minimum = 0, maximum = 10_000)]
    limit: Option<i64>,
}

impl AdminPage {
    fn page(self) -> Result<Page, ApiError> {
        let limit = self.limit.unwrap_or(50);
        if !(0..=10_000).contains(&limit) {
            let msg = "Input should be between 0 and 10000";
            return Err(ApiError::invalid(&[Issue::query(
                "limit",
                msg,
                json!(limit),
            )]));
        }
        Ok(Page {
            after: self.after,
            ..Page::first(limit, Order::Asc)
        })
    }
}

fn check_name(name: Option<&str>) -> Result<(), ApiError> {
    let wrong = name.filter(|name| name.is_empty() || name.chars().count() > MAX_NAME);
    wrong.map_or(Ok(()), |name| {
        let msg = format!("String should have between 1 and {MAX_NAME} characters");
        Err(ApiError::invalid(&[Issue::body(
            &["name"],
            msg,
            json!(name),
        )]))
    })
}

async fn write<T, F>(state: &AppState, job: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx<'_>) -> JobFuture<'t, T, ApiError> + Send + 'static,
{
    state.engine.store().write(job).await
}

/// All organizations, oldest first.
#[utoipa::path(get, path = "/v1/admin/orgs", tag = "admin", operation_id = "list_orgs",
    params(AdminPage), responses((status = 200, body = Vec<OrganizationView>)))]
async fn list_orgs(
    State(state): State<AppState>,
    _: Administrator,
    Query(query): Query<AdminPage>,
) -> Result<Json<Vec<OrganizationView>>, ApiError> {
    let page = query.page()?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok::<_, ApiError>(organizations::list(tx, &page).await?) })
    });
    Ok(Json(found.await?.into_iter().map(Into::into).collect()))
}

/// What an organization is, or what changes of it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganizationBody {
    /// Its name.
    #[schema(min_length = 1, max_length = 500)]
    name: Option<String>,
    /// Kept for clients.
    privileged_tools: Option<bool>,
}

/// Make an organization. Nothing of another is visible in it.
#[utoipa::path(post, path = "/v1/admin/orgs", tag = "admin", operation_id = "create_organization",
    request_body = OrganizationBody, responses((status = 200, body = OrganizationView)))]
async fn create_org(
    State(state): State<AppState>,
    _: Administrator,
    Json(body): Json<OrganizationBody>,
) -> Result<Json<OrganizationView>, ApiError> {
    check_name(body.name.as_deref())?;
    let now = state.engine.now();
    let name = body.name.unwrap_or_else(|| "Organization".to_owned());
    let privileged = body.privileged_tools.unwrap_or(false);
    let made = write(&state, move |tx| {
        Box::pin(async move { Ok(organizations::create(tx, (&name, privileged), now).await?) })
    });
    Ok(Json(made.await?.into()))
}

/// Which organization.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OrgQuery {
    /// The organization.
    org_id: String,
}

/// Change an organization.
#[utoipa::path(patch, path = "/v1/admin/orgs", tag = "admin", operation_id = "update_organization",
    params(OrgQuery), request_body = OrganizationBody,
    responses((status = 200, body = OrganizationView)))]
async fn update_org(
    State(state): State<AppState>,
    _: Administrator,
    Query(query): Query<OrgQuery>,
    Json(body): Json<OrganizationBody>,
) -> Result<Json<OrganizationView>, ApiError> {
    let id = query_id("org_id", &query.org_id)?;
    check_name(body.name.as_deref())?;
    let changed = write(&state, move |tx| {
        Box::pin(async move {
            Ok(organizations::update(tx, id, body.name, body.privileged_tools).await?)
        })
    });
    Ok(Json(changed.await?.into()))
}

/// Delete an organization with its users, blocks, tools and all else that is its; one that has agents is refused.
#[utoipa::path(delete, path = "/v1/admin/orgs", tag = "admin",
    operation_id = "delete_organization_by_id", params(OrgQuery),
    responses((status = 200, body = OrganizationView), (status = 409, description = "It has agents")))]
async fn delete_org(
    State(state): State<AppState>,
    _: Administrator,
    Query(query): Query<OrgQuery>,
) -> Result<Json<OrganizationView>, ApiError> {
    let id = query_id("org_id", &query.org_id)?;
    let gone = write(&state, move |tx| {
        Box::pin(async move { Ok(organizations::delete(tx, id).await?) })
    });
    Ok(Json(gone.await?.into()))
}

/// All users, oldest first.
#[utoipa::path(get, path = "/v1/admin/users", tag = "admin", operation_id = "list_users",
    params(AdminPage), responses((status = 200, body = Vec<UserView>)))]
async fn list_users(
    State(state): State<AppState>,
    _: Administrator,
    Query(query): Query<AdminPage>,
) -> Result<Json<Vec<UserView>>, ApiError> {
    let page = query.page()?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok::<_, ApiError>(organizations::list_users(tx, &page).await?) })
    });
    let views = found.await?.into_iter().map(|row| UserView::of(row, false));
    Ok(Json(views.collect()))
}

/// A new user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserBody {
    /// The name.
    #[schema(min_length = 1, max_length = 500)]
    name: String,
    /// The organization.
    organization_id: String,
}

/// Make a user; requests that name it in the header `user_id` act in its organization.
#[utoipa::path(post, path = "/v1/admin/users", tag = "admin", operation_id = "create_user",
    request_body = UserBody, responses((status = 200, body = UserView)))]
async fn create_user(
    State(state): State<AppState>,
    _: Administrator,
    Json(body): Json<UserBody>,
) -> Result<Json<UserView>, ApiError> {
    check_name(Some(&body.name))?;
    let organization = body_id("organization_id", &body.organization_id)?;
    let now = state.engine.now();
    let made = write(&state, move |tx| {
        Box::pin(
            async move { Ok(organizations::create_user(tx, organization, &body.name, now).await?) },
        )
    });
    Ok(Json(UserView::of(made.await?, false)))
}

/// What changes of a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    /// Which user.
    id: String,
    /// The name.
    #[schema(min_length = 1, max_length = 500)]
    name: Option<String>,
    /// The organization.
    organization_id: Option<String>,
}

/// Change a user.
#[utoipa::path(put, path = "/v1/admin/users", tag = "admin", operation_id = "update_user",
    request_body = UserChange, responses((status = 200, body = UserView)))]
async fn update_user(
    State(state): State<AppState>,
    _: Administrator,
    Json(body): Json<UserChange>,
) -> Result<Json<UserView>, ApiError> {
    let id = body_id("id", &body.id)?;
    check_name(body.name.as_deref())?;
    let organization = body
        .organization_id
        .map(|id| body_id("organization_id", &id))
        .transpose()?;
    let now = state.engine.now();
    let changed = write(&state, move |tx| {
        Box::pin(async move {
            let change = (body.name, organization);
            Ok(organizations::update_user(tx, id, change, now).await?)
        })
    });
    Ok(Json(UserView::of(changed.await?, false)))
}

/// Which user.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UserQuery {
    /// The user.
    user_id: String,
}

/// Delete a user, who can act no more; what the user made stays.
#[utoipa::path(delete, path = "/v1/admin/users", tag = "admin", operation_id = "delete_user",
    params(UserQuery), responses((status = 200, body = UserView)))]
async fn delete_user(
    State(state): State<AppState>,
    _: Administrator,
    Query(query): Query<UserQuery>,
) -> Result<Json<UserView>, ApiError> {
    let id = query_id("user_id", &query.user_id)?;
    let gone = write(&state, move |tx| {
        Box::pin(async move { Ok(organizations::delete_user(tx, id).await?) })
    });
    Ok(Json(UserView::of(gone.await?, true)))
}
