//! Batches of messages: many requests to agents, sent at once and run in the background.

use axum::extract::State;
use mnemic_core::{
    agent_file::entry,
    batches::{Batch, BatchItem},
    ids::{AgentId, JobId, UserId},
    messages::Message,
    runs::RunStatus,
    scope::Scope,
    time::Timestamp,
};
use mnemic_engine::custom::Above;
use mnemic_store::{batches, page::Order};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query, body_id, query_id},
    page::PageQuery,
    send_request::{AnswerForm, Fingerprint, SendBody, Sent},
    validation::Issue,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(retrieve))
        .merge(routes!(cancel))
        .merge(routes!(messages))
}

/// A batch or a run, as a job.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct JobView {
    #[schema(value_type = Option<String>)]
    pub(crate) created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    pub(crate) last_updated_by_id: Option<UserId>,
    #[schema(value_type = String)]
    pub(crate) created_at: Timestamp,
    #[schema(value_type = Option<String>)]
    pub(crate) updated_at: Option<Timestamp>,
    pub(crate) id: String,
    #[schema(value_type = String)]
    pub(crate) status: RunStatus,
    #[schema(value_type = Option<String>)]
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) stop_reason: Option<String>,
    /// Of a batch: how many of its requests stand where, and, where one batch is read, each with its run.
    pub(crate) metadata: Value,
    /// `batch` or `run`.
    pub(crate) job_type: &'static str,
    pub(crate) background: Option<bool>,
    #[schema(value_type = Option<String>)]
    pub(crate) agent_id: Option<AgentId>,
    pub(crate) callback_url: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) callback_sent_at: Option<Timestamp>,
    pub(crate) callback_status_code: Option<i64>,
    pub(crate) callback_error: Option<String>,
    pub(crate) ttft_ns: Option<i64>,
    pub(crate) total_duration_ns: Option<i64>,
    #[schema(value_type = Option<String>)]
    pub(crate) user_id: Option<UserId>,
}

/// How many requests of a batch stand where, and which.
pub(crate) fn metadata(batch: &Batch, items: &[BatchItem]) -> Value {
    let counts = &batch.counts;
    let mut metadata = json!({
        "job_type": "batch_messages",
        "requests": {
            "total": counts.total,
            "completed": counts.completed,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
        },
    });
    if let (Value::Object(fields), false) = (&mut metadata, items.is_empty()) {
        let items = items.iter().map(|item| {
            json!({
                "agent_id": item.agent_id,
                "run_id": item.run_id,
                "status": item.status,
                "error": item.error,
            })
        });
        fields.insert("results".to_owned(), items.collect());
    }
    metadata
}

impl JobView {
    /// A batch as a job.
    pub(crate) fn of(batch: Batch, items: &[BatchItem]) -> Self {
        let took = |end: Timestamp| {
            end.0
                .saturating_sub(batch.created_at.0)
                .saturating_mul(1000)
        };
        Self {
            created_by_id: batch.created_by,
            last_updated_by_id: batch.created_by,
            created_at: batch.created_at,
            updated_at: batch.completed_at.or(Some(batch.created_at)),
            id: batch.id.to_string(),
            status: batch.status,
            completed_at: batch.completed_at,
            stop_reason: None,
            metadata: metadata(&batch, items),
            job_type: "batch",
            background: Some(true),
            agent_id: None,
            total_duration_ns: batch.completed_at.map(took),
            callback_url: batch.callback_url,
            callback_sent_at: batch.callback.sent_at,
            callback_status_code: batch.callback.status_code,
            callback_error: batch.callback.error,
            ttft_ns: None,
            user_id: batch.created_by,
        }
    }
}

/// Batches, newest first.
#[utoipa::path(get, path = "/v1/messages/batches", tag = "batches", operation_id = "list_batches",
    params(PageQuery), responses((status = 200, body = Vec<JobView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
) -> Result<Json<Vec<JobView>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { Ok::<_, ApiError>(batches::list(tx, &scope, &page).await?) })
    });
    let found = found.await?.into_iter();
    Ok(Json(found.map(|one| JobView::of(one, &[])).collect()))
}

/// Requests to agents that are to run in the background.
#[derive(Debug, Deserialize, ToSchema)]
struct CreateBatch {
    /// The requests: each as to an agent alone, with its `agent_id`.
    #[schema(min_items = 1, max_items = 1000)]
    requests: Vec<SendBody>,
    /// Where to post the batch's end: its id, status, time of completion and metadata.
    callback_url: Option<String>,
}

/// Run many requests in the background, some at a time. Each becomes one run; each agent's keep their order.
#[utoipa::path(post, path = "/v1/messages/batches", tag = "batches", operation_id = "create_batch",
    request_body = CreateBatch, responses((status = 200, body = JobView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    sent: Sent<CreateBatch>,
) -> Result<Json<JobView>, ApiError> {
    let (body, rest) = sent.parted();
    if let Some(url) = &body.callback_url
        && let Err(error) = state.outside.check(url)
    {
        let issue = Issue::body(&["callback_url"], error.to_string(), json!(url));
        return Err(ApiError::invalid(&[issue]));
    }
    let above = Above {
        is_awaited: false,
        ..rest.above
    };
    let mut requests = Vec::with_capacity(body.requests.len());
    for (n, request) in body.requests.into_iter().enumerate() {
        let Some(agent) = request.agent_id.clone() else {
            let issue = Issue::body(&["requests", "agent_id"], "Field required", Value::Null);
            return Err(ApiError::invalid(&[issue]));
        };
        let agent: AgentId = body_id("agent_id", &agent)?;
        let known_by = Fingerprint {
            body_hash: format!("{}-{n}", rest.fingerprint.body_hash),
            is_retry: false,
        };
        let checked = request.check(AnswerForm::Batch, known_by)?;
        let ready = checked.into_request(&state, &scope, above.clone());
        requests.push((agent, ready.await?));
    }
    let made = state
        .engine
        .create_batch(&scope, requests, body.callback_url);
    let id = made.await?;
    Ok(Json(stored(&state, &scope, id).await?))
}

/// A batch as it is stored, with its requests.
pub(crate) async fn stored(
    state: &AppState,
    scope: &Scope,
    id: JobId,
) -> Result<JobView, ApiError> {
    let scope = scope.clone();
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let batch = batches::get(tx, &scope, id).await?;
            Ok::<_, ApiError>((batch, batches::items(tx, id).await?))
        })
    });
    let (batch, items) = found.await?;
    Ok(JobView::of(batch, &items))
}

/// One batch.
#[utoipa::path(get, path = "/v1/messages/batches/{batch_id}", tag = "batches",
    operation_id = "retrieve_batch", params(("batch_id" = String, Path)),
    responses((status = 200, body = JobView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<JobId>,
) -> Result<Json<JobView>, ApiError> {
    Ok(Json(stored(&state, &scope, id).await?))
}

/// Cancel a batch: requests that have not begun never do, runs go on to their end.
#[utoipa::path(patch, path = "/v1/messages/batches/{batch_id}/cancel", tag = "batches",
    operation_id = "cancel_batch", params(("batch_id" = String, Path)),
    responses((status = 200, description = "null"), (status = 409, description = "It is over")))]
async fn cancel(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<JobId>,
) -> Result<Json<()>, ApiError> {
    state.engine.cancel_batch(&scope, id).await?;
    Ok(Json(()))
}

/// Whose messages are shown.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct MessagesQuery {
    /// Only this agent's.
    agent_id: Option<String>,
}

/// What the runs of a batch said and heard.
#[derive(Debug, Serialize, ToSchema)]
struct BatchMessages {
    /// The messages, as they are stored.
    messages: Vec<Value>,
}

/// What the runs of a batch said and heard, newest first.
#[utoipa::path(get, path = "/v1/messages/batches/{batch_id}/messages", tag = "batches",
    operation_id = "list_messages_for_batch",
    params(("batch_id" = String, Path), PageQuery, MessagesQuery),
    responses((status = 200, body = BatchMessages)))]
async fn messages(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<JobId>,
    query: PageQuery,
    Query(filter): Query<MessagesQuery>,
) -> Result<Json<BatchMessages>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let agent: Option<AgentId> = filter
        .agent_id
        .map(|id| query_id("agent_id", &id))
        .transpose()?;
    let said = state.engine.store().read(move |tx| {
        Box::pin(async move {
            batches::get(tx, &scope, id).await?;
            Ok::<_, ApiError>(batches::said(tx, &scope, (id, agent), &page).await?)
        })
    });
    let messages = said.await?.iter().map(whole).collect();
    Ok(Json(BatchMessages { messages }))
}

/// A message as it is stored, in the API's words.
fn whole(message: &Message) -> Value {
    let ids = (message.id.to_string(), message.agent_id.to_string());
    let mut whole = serde_json::to_value(entry(message, ids, None)).unwrap_or_default();
    if let Value::Object(fields) = &mut whole {
        fields.remove("type");
        fields.insert("run_id".to_owned(), json!(message.run_id));
        fields.insert("step_id".to_owned(), json!(message.step_id));
        let thread = json!(message.conversation_id);
        fields.insert("conversation_id".to_owned(), thread);
    }
    whole
}
