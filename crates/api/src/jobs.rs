//! Jobs: batches, and runs in the background, as one list.

use axum::extract::State;
use mnemic_core::{
    ids::{JobId, RunId},
    scope::Scope,
};
use mnemic_store::{
    batches,
    listed_jobs::{self, ListedJob, Shown},
    page::Order,
    runs,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use crate::{
    AppState,
    actor::Actor,
    batches::{JobView, metadata},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, PathParam, Query},
    page::PageQuery,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list))
        .merge(routes!(list_active))
        .merge(routes!(retrieve, delete))
        .merge(routes!(cancel))
}

/// How a path names a job.
#[derive(Debug, Clone, Copy)]
enum Named {
    Batch(JobId),
    Run(RunId),
}

impl PathParam for Named {
    fn parse(name: &str, value: &str) -> Result<Self, ApiError> {
        if let Ok(run) = value.parse() {
            return Ok(Self::Run(run));
        }
        PathParam::parse(name, value).map(Self::Batch)
    }
}

impl From<ListedJob> for JobView {
    fn from(job: ListedJob) -> Self {
        let mut metadata = job.metadata;
        if let (Some(error), Value::Object(fields)) = (job.error, &mut metadata) {
            fields.insert("error".to_owned(), error);
        }
        Self {
            created_by_id: job.created_by,
            last_updated_by_id: job.created_by,
            created_at: job.created_at,
            updated_at: job.completed_at.or(Some(job.created_at)),
            id: job.id,
            status: job.status,
            completed_at: job.completed_at,
            stop_reason: job.stop_reason.map(|reason| reason.as_str().to_owned()),
            metadata,
            job_type: if job.is_batch { "batch" } else { "run" },
            background: Some(true),
            agent_id: job.agent_id,
            callback_url: job.callback_url,
            callback_sent_at: job.callback.sent_at,
            callback_status_code: job.callback.status_code,
            callback_error: job.callback.error,
            ttft_ns: job.ttft_ns,
            total_duration_ns: job.total_duration_ns,
            user_id: job.created_by,
        }
    }
}

/// Which jobs a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// Only those that are not over.
    active: Option<bool>,
}

/// Batches and background runs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", operation_id = "list_jobs",
    params(PageQuery, JobsQuery), responses((status = 200, body = Vec<JobView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<JobsQuery>,
) -> Result<Json<Vec<JobView>>, ApiError> {
    let shown = match filter.active {
        Some(true) => Shown::Active,
        _ => Shown::All,
    };
    page_of(&state, scope, shown, query).await
}

/// Batches and background runs that are not over.
#[utoipa::path(get, path = "/v1/jobs/active", tag = "jobs", operation_id = "list_active_jobs",
    params(PageQuery), responses((status = 200, body = Vec<JobView>)))]
async fn list_active(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
) -> Result<Json<Vec<JobView>>, ApiError> {
    page_of(&state, scope, Shown::Active, query).await
}

async fn page_of(
    state: &AppState,
    scope: Scope,
    shown: Shown,
    query: PageQuery,
) -> Result<Json<Vec<JobView>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let mut views = Vec::new();
            for job in listed_jobs::list(tx, &scope, shown, &page).await? {
                let batch = match job.is_batch {
                    true => job.id.parse::<JobId>().ok(),
                    false => None,
                };
                let mut view = JobView::from(job);
                if let Some(id) = batch {
                    view.metadata = metadata(&batches::get(tx, &scope, id).await?, &[]);
                }
                views.push(view);
            }
            Ok::<_, ApiError>(views)
        })
    });
    Ok(Json(found.await?))
}

async fn stored(state: &AppState, scope: &Scope, named: Named) -> Result<JobView, ApiError> {
    match named {
        Named::Batch(id) => crate::batches::stored(state, scope, id).await,
        Named::Run(id) => {
            let scope = scope.clone();
            let found = state.engine.store().read(move |tx| {
                Box::pin(async move {
                    let id = id.to_string();
                    Ok::<_, ApiError>(listed_jobs::get(tx, &scope, &id).await?)
                })
            });
            Ok(found.await?.into())
        }
    }
}

/// One job. The id of a run is taken as well.
#[utoipa::path(get, path = "/v1/jobs/{job_id}", tag = "jobs", operation_id = "retrieve_job",
    params(("job_id" = String, Path)), responses((status = 200, body = JobView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
) -> Result<Json<JobView>, ApiError> {
    Ok(Json(stored(&state, &scope, named).await?))
}

/// Forget a job that is over; messages stay, and so do the runs of a batch.
#[utoipa::path(delete, path = "/v1/jobs/{job_id}", tag = "jobs", operation_id = "delete_job",
    params(("job_id" = String, Path)), responses((status = 200, body = JobView)))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
) -> Result<Json<JobView>, ApiError> {
    let view = stored(&state, &scope, named).await?;
    let deleted = state.engine.store().write(move |tx| {
        Box::pin(async move {
            match named {
                Named::Batch(id) => batches::delete(tx, &scope, id).await?,
                Named::Run(id) => runs::delete(tx, &scope, id).await?,
            }
            Ok::<_, ApiError>(())
        })
    });
    deleted.await?;
    Ok(Json(view))
}

/// Cancel a job: of a batch, what has not begun.
#[utoipa::path(patch, path = "/v1/jobs/{job_id}/cancel", tag = "jobs", operation_id = "cancel_job",
    params(("job_id" = String, Path)),
    responses((status = 200, body = JobView), (status = 409, description = "It is over")))]
async fn cancel(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
) -> Result<Json<JobView>, ApiError> {
    let view = stored(&state, &scope, named).await?;
    match (named, view.agent_id) {
        (Named::Batch(id), _) => state.engine.cancel_batch(&scope, id).await?,
        (Named::Run(id), Some(agent)) => {
            let cancelled = state.engine.cancel_agent(&scope, agent, Some(vec![id]));
            cancelled.await?;
        }
        (Named::Run(_), None) => {}
    }
    Ok(Json(stored(&state, &scope, named).await?))
}
