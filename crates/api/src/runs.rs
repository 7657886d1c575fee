//! Runs: what became of requests.

use axum::{extract::State, response::Response};
use mnemic_core::{
    ids::{AgentId, ConversationId, RunId},
    prices::Cost,
    runs::{Run, RunStatus, StopReason},
    time::Timestamp,
};
use mnemic_engine::inputs;
use mnemic_store::{
    messages::MessageFilter,
    page::{Order, Page},
    runs::{self, RunFilter},
    steps::{self, StepFilter},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Query, query_id},
    history,
    letta_messages::{LettaMessage, Shows, StreamFrame},
    page::PageQuery,
    sse::{self, StreamOptions},
    steps::{Shown, StepView, cost_of},
    turns,
    validation::Issue,
};

/// Steps of a run at the most.
const MAX_STEPS: i64 = 10_000;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list))
        .merge(routes!(list_internal))
        .merge(routes!(list_active))
        .merge(routes!(retrieve, delete))
        .merge(routes!(list_messages))
        .merge(routes!(list_steps))
        .merge(routes!(usage))
        .merge(routes!(metrics))
        .merge(routes!(trace))
        .merge(routes!(stream))
}

/// A run.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct RunView {
    #[schema(value_type = String)]
    id: RunId,
    #[schema(value_type = String)]
    status: RunStatus,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>)]
    completed_at: Option<Timestamp>,
    #[schema(value_type = String)]
    agent_id: AgentId,
    /// Null for the agent's default conversation.
    #[schema(value_type = Option<String>)]
    conversation_id: Option<ConversationId>,
    base_template_id: Option<String>,
    background: bool,
    metadata: Value,
    request_config: Value,
    #[schema(value_type = Option<String>)]
    stop_reason: Option<StopReason>,
    callback_url: Option<String>,
    #[schema(value_type = Option<String>)]
    callback_sent_at: Option<Timestamp>,
    callback_status_code: Option<i64>,
    callback_error: Option<String>,
    ttft_ns: Option<i64>,
    total_duration_ns: Option<i64>,
}

/// What the API shows as a run's metadata: also the error that it ended with.
pub(crate) fn metadata(run: &Run) -> Value {
    let mut metadata = run.metadata.clone();
    if let (Some(error), Value::Object(fields)) = (&run.error, &mut metadata) {
        let error = serde_json::to_value(error).unwrap_or_default();
        fields.insert("error".to_owned(), error);
    }
    metadata
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id,
            status: run.status,
            created_at: run.created_at,
            completed_at: run.completed_at,
            agent_id: run.agent_id,
            conversation_id: (!run.in_default_conversation).then_some(run.conversation_id),
            base_template_id: None,
            background: run.background,
            metadata: metadata(run),
            request_config: run.request_config.clone(),
            stop_reason: run.stop_reason,
            callback_url: run.callback_url.clone(),
            callback_sent_at: run.callback.sent_at,
            callback_status_code: run.callback.status_code,
            callback_error: run.callback.error.clone(),
            ttft_ns: run.ttft_ns,
            total_duration_ns: run.total_duration_ns,
        }
    }
}

/// Which runs a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct RunsQuery {
    /// Only this run.
    run_id: Option<String>,
    /// Only this agent's.
    agent_id: Option<String>,
    /// Only these agents'.
    agent_ids: Vec<String>,
    /// Only those that stand at one of these.
    statuses: Vec<String>,
    /// Only background runs, or only others.
    background: Option<bool>,
    /// Only those that ended for this reason.
    stop_reason: Option<String>,
    /// Only this conversation's.
    conversation_id: Option<String>,
    /// Only those that are not over.
    active: Option<bool>,
}

impl RunsQuery {
    fn filter(self) -> Result<RunFilter, ApiError> {
        let agents = self.agent_id.into_iter().chain(self.agent_ids);
        let statuses = self.statuses.iter().map(|name| {
            RunStatus::parse(name).ok_or_else(|| unknown("statuses", name, "a run's status"))
        });
        let mut statuses = statuses.collect::<Result<Vec<RunStatus>, ApiError>>()?;
        if self.active == Some(true) {
            statuses = vec![RunStatus::Created, RunStatus::Running];
        }
        let stop_reason = self.stop_reason.map(|name| {
            StopReason::parse(&name).ok_or_else(|| unknown("stop_reason", &name, "a stop reason"))
        });
        let run_id = self.run_id.map(|id| query_id("run_id", &id));
        Ok(RunFilter {
            run_id: run_id.transpose()?,
            agent_ids: agents
                .map(|id| query_id("agent_ids", &id))
                .collect::<Result<Vec<AgentId>, ApiError>>()?,
            conversation_id: self
                .conversation_id
                .filter(|id| id != "default")
                .map(|id| query_id("conversation_id", &id))
                .transpose()?,
            statuses,
            stop_reason: stop_reason.transpose()?,
            background: self.background,
        })
    }
}

/// The error for a name that is none of a list's.
pub(crate) fn unknown(parameter: &str, name: &str, what: &str) -> ApiError {
    let mut issue = Issue::query(
        parameter,
        format!("Input should be {what}"),
        Value::String(name.to_owned()),
    );
    issue.kind = "enum";
    ApiError::invalid(&[issue])
}

/// Runs, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", operation_id = "list_runs",
    params(PageQuery, RunsQuery), responses((status = 200, body = Vec<RunView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<RunsQuery>,
) -> Result<Json<Vec<RunView>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let filter = filter.filter()?;
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                runs::list(tx, &scope, &filter, &page)
                    .await
                    .map_err(ApiError::from)
            })
        })
        .await?;
    Ok(Json(found.iter().map(RunView::from).collect()))
}

/// The same under the name that the former server's own pages used.
#[utoipa::path(get, path = "/v1/_internal_runs", tag = "runs", operation_id = "list_internal_runs",
    params(PageQuery, RunsQuery), responses((status = 200, body = Vec<RunView>)))]
async fn list_internal(
    state: State<AppState>,
    actor: Actor,
    query: PageQuery,
    filter: Query<RunsQuery>,
) -> Result<Json<Vec<RunView>>, ApiError> {
    list(state, actor, query, filter).await
}

/// Runs that are not over.
#[utoipa::path(get, path = "/v1/runs/active", tag = "runs", operation_id = "list_active_runs",
    params(PageQuery, RunsQuery), responses((status = 200, body = Vec<RunView>)))]
async fn list_active(
    state: State<AppState>,
    actor: Actor,
    query: PageQuery,
    Query(mut filter): Query<RunsQuery>,
) -> Result<Json<Vec<RunView>>, ApiError> {
    filter.active = Some(true);
    list(state, actor, query, Query(filter)).await
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{run_id}", tag = "runs", operation_id = "retrieve_run",
    params(("run_id" = String, Path)), responses((status = 200, body = RunView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<RunId>,
) -> Result<Json<RunView>, ApiError> {
    Ok(Json(RunView::from(
        &turns::stored(&state, &scope, id).await?,
    )))
}

/// Forget a run that is over; its messages stay.
#[utoipa::path(delete, path = "/v1/runs/{run_id}", tag = "runs", operation_id = "delete_run",
    params(("run_id" = String, Path)), responses((status = 200, body = RunView)))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<RunId>,
) -> Result<Json<RunView>, ApiError> {
    let run = turns::stored(&state, &scope, id).await?;
    state
        .engine
        .store()
        .write(move |tx| {
            Box::pin(async move { runs::delete(tx, &scope, id).await.map_err(ApiError::from) })
        })
        .await?;
    Ok(Json(RunView::from(&run)))
}

/// What was said in a run, oldest first. Of a run that never came to an answer, what it was asked.
#[utoipa::path(get, path = "/v1/runs/{run_id}/messages", tag = "runs",
    operation_id = "list_messages_for_run", params(("run_id" = String, Path), PageQuery),
    responses((status = 200, body = Vec<LettaMessage>)))]
async fn list_messages(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<RunId>,
    query: PageQuery,
) -> Result<Json<Vec<LettaMessage>>, ApiError> {
    let page = query.page(100, Order::Asc)?;
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                let run = runs::get(tx, &scope, id).await?;
                let filter = MessageFilter {
                    run_id: Some(id),
                    ..MessageFilter::default()
                };
                let is_first = page.before.is_none() && page.after.is_none();
                let found =
                    history::page(tx, &scope, &filter, page.clone(), &Shows::default()).await?;
                if found.is_empty() && is_first {
                    return Ok(history::shown(&inputs::of_run(&run)?, &page));
                }
                Ok::<_, ApiError>(found)
            })
        })
        .await?;
    Ok(Json(found))
}

/// The steps of a run.
#[utoipa::path(get, path = "/v1/runs/{run_id}/steps", tag = "runs",
    operation_id = "list_steps_for_run", params(("run_id" = String, Path), PageQuery),
    responses((status = 200, body = Vec<StepView>)))]
async fn list_steps(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<RunId>,
    query: PageQuery,
) -> Result<Json<Vec<StepView>>, ApiError> {
    let page = query.page(100, Order::Desc)?;
    let shown = Shown::of(&state, &scope).await?;
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                runs::get(tx, &scope, id).await?;
                let filter = StepFilter {
                    run_id: Some(id),
                    ..StepFilter::default()
                };
                steps::list(tx, &scope, &filter, &page)
                    .await
                    .map_err(ApiError::from)
            })
        })
        .await?;
    Ok(Json(found.iter().map(|step| shown.step(step)).collect()))
}

/// The tokens that a run took.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct RunUsage {
    completion_tokens: i64,
    prompt_tokens: i64,
    total_tokens: i64,
    prompt_tokens_details: Option<Value>,
    completion_tokens_details: Option<Value>,
    /// What it cost by the prices of today; not there where those of one of its models are not known. (Mnemic's own.)
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    cost: Option<Cost>,
}

/// What a run took.
#[utoipa::path(get, path = "/v1/runs/{run_id}/usage", tag = "runs",
    operation_id = "retrieve_usage_for_run", params(("run_id" = String, Path)),
    responses((status = 200, body = RunUsage)))]
async fn usage(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<RunId>,
) -> Result<Json<RunUsage>, ApiError> {
    let run = turns::stored(&state, &scope, id).await?;
    let filter = StepFilter {
        run_id: Some(id),
        ..StepFilter::default()
    };
    let steps = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let page = Page::first(MAX_STEPS, Order::Asc);
            steps::list(tx, &scope, &filter, &page)
                .await
                .map_err(ApiError::from)
        })
    });
    let steps = steps.await?;
    let costs = steps.iter().map(|step| cost_of(step, &state.engine));
    Ok(Json(RunUsage {
        cost: Cost::sum(costs),
        completion_tokens: run.usage.completion_tokens,
        prompt_tokens: run.usage.prompt_tokens,
        total_tokens: run.usage.total_tokens(),
        prompt_tokens_details: None,
        completion_tokens_details: None,
    }))
}

/// The times of a run.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct RunMetrics {
    #[schema(value_type = String)]
    id: RunId,
    #[schema(value_type = String)]
    organization_id: mnemic_core::ids::OrganizationId,
    #[schema(value_type = String)]
    agent_id: AgentId,
    project_id: Option<String>,
    run_start_ns: i64,
    run_ns: Option<i64>,
    num_steps: i64,
    tools_used: Option<Vec<String>>,
    template_id: Option<String>,
    base_template_id: Option<String>,
}

/// How long a run took.
#[utoipa::path(get, path = "/v1/runs/{run_id}/metrics", tag = "runs",
    operation_id = "retrieve_metrics_for_run", params(("run_id" = String, Path)),
    responses((status = 200, body = RunMetrics)))]
async fn metrics(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<RunId>,
) -> Result<Json<RunMetrics>, ApiError> {
    let run = turns::stored(&state, &scope, id).await?;
    Ok(Json(RunMetrics {
        id,
        organization_id: scope.organization,
        agent_id: run.agent_id,
        project_id: None,
        run_start_ns: run.created_at.0.saturating_mul(1000),
        run_ns: run.total_duration_ns,
        num_steps: run.step_count,
        tools_used: None,
        template_id: None,
        base_template_id: None,
    }))
}

/// The spans of a run: this server keeps none.
#[utoipa::path(get, path = "/v1/runs/{run_id}/trace", tag = "runs",
    operation_id = "retrieve_trace_for_run", params(("run_id" = String, Path)),
    responses((status = 200, body = Vec<Value>)))]
async fn trace(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<RunId>,
) -> Result<Json<Vec<Value>>, ApiError> {
    turns::stored(&state, &scope, id).await?;
    Ok(Json(Vec::new()))
}

/// From where on a run's stream is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct ResumeBody {
    /// The last number that the client has seen; 0 begins at the beginning.
    #[schema(minimum = 0, default = 0)]
    pub starting_after: Option<i64>,
    /// Whether the stream has pings.
    pub include_pings: Option<bool>,
    /// The run, where the route does not name it.
    pub run_id: Option<String>,
    /// The otid of a message that the run took in, where the route does not name it.
    pub otid: Option<String>,
    /// The agent, for the conversation `default`.
    pub agent_id: Option<String>,
}

impl ResumeBody {
    /// The number after which the stream begins.
    ///
    /// # Errors
    /// It is negative.
    pub fn after(&self) -> Result<u64, ApiError> {
        let after = self.starting_after.unwrap_or(0);
        u64::try_from(after).map_err(|_| {
            let msg = "Input should be greater than or equal to 0";
            ApiError::invalid(&[Issue::body(&["starting_after"], msg, after.into())])
        })
    }

    /// What the stream shows.
    #[must_use]
    pub fn options(&self) -> StreamOptions {
        StreamOptions {
            include_pings: self.include_pings.unwrap_or(true),
            wanted: None,
        }
    }
}

/// Follow a background run from some number on, also when it is over.
#[utoipa::path(post, path = "/v1/runs/{run_id}/stream", tag = "runs",
    operation_id = "retrieve_stream_for_run", params(("run_id" = String, Path)),
    request_body = Option<ResumeBody>,
    responses((status = 200, description = "A stream of messages",
        content((StreamFrame = "text/event-stream")))))]
async fn stream(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<RunId>,
    OptionalJson(body): OptionalJson<ResumeBody>,
) -> Result<Response, ApiError> {
    let run = state.engine.attach(&scope, id, body.after()?).await?;
    Ok(sse::response(run, body.options()))
}

/// The newest run of a conversation that is not over.
///
/// # Errors
/// The database's.
pub(crate) async fn newest_active(
    state: &AppState,
    scope: &mnemic_core::scope::Scope,
    conversation_id: ConversationId,
) -> Result<Option<RunId>, ApiError> {
    let scope = scope.clone();
    let filter = RunFilter {
        conversation_id: Some(conversation_id),
        statuses: vec![RunStatus::Created, RunStatus::Running],
        ..RunFilter::default()
    };
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                let page = Page::first(1, Order::Desc);
                runs::list(tx, &scope, &filter, &page)
                    .await
                    .map_err(ApiError::from)
            })
        })
        .await?;
    Ok(found.first().map(|run| run.id))
}
