//! Steps: single model calls with their tool runs.

use std::collections::BTreeMap;

use axum::extract::State;
use mnemic_core::{
    ids::{AgentId, OrganizationId, ProviderId, RunId, StepId},
    prices::Cost,
    runs::{Step, StepStatus, StopReason},
    scope::Scope,
    time::Timestamp,
};
use mnemic_engine::Engine;
use mnemic_store::{
    messages::MessageFilter,
    page::Order,
    steps::{self, StepFilter},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query, Text, query_id},
    history,
    letta_messages::{LettaMessage, Shows},
    page::PageQuery,
    validation::Issue,
};

/// Characters of a client's own name for a step.
const MAX_TRANSACTION_ID_CHARS: usize = 1_000;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list))
        .merge(routes!(retrieve))
        .merge(routes!(list_messages))
        .merge(routes!(metrics))
        .merge(routes!(trace))
        .merge(routes!(trace_by_old_name))
        .merge(routes!(set_transaction_id))
        .merge(routes!(feedback))
}

/// A step.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct StepView {
    #[schema(value_type = String)]
    id: StepId,
    origin: Option<String>,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    provider_id: Option<String>,
    #[schema(value_type = String)]
    run_id: RunId,
    #[schema(value_type = String)]
    agent_id: AgentId,
    provider_name: String,
    provider_category: &'static str,
    model: String,
    model_handle: String,
    model_endpoint: Option<String>,
    context_window_limit: i64,
    completion_tokens: i64,
    prompt_tokens: i64,
    total_tokens: i64,
    cached_input_tokens: i64,
    cache_write_tokens: i64,
    reasoning_tokens: i64,
    completion_tokens_details: Value,
    prompt_tokens_details: Value,
    #[schema(value_type = Option<String>)]
    stop_reason: Option<StopReason>,
    tags: Vec<String>,
    /// A client's own name for it.
    tid: Option<String>,
    trace_id: Option<String>,
    request_id: Option<String>,
    messages: Vec<Value>,
    feedback: Option<String>,
    project_id: Option<String>,
    error_type: Option<String>,
    error_data: Option<Value>,
    #[schema(value_type = String)]
    status: StepStatus,
    /// What it cost by the prices of today; not there where they are not known. (Mnemic's own.)
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    cost: Option<Cost>,
}

/// What a step cost, if that is known.
pub fn cost_of(step: &Step, engine: &Engine) -> Option<Cost> {
    let url = step.model_endpoint.as_deref()?;
    let prices = &engine.settings().prices;
    Some(
        prices
            .price(url, &step.model, engine.now())?
            .of(&step.usage),
    )
}

/// What of an organization its steps are shown with.
pub struct Shown<'a> {
    organization_id: OrganizationId,
    engine: &'a Engine,
    /// The providers that it added itself.
    added: BTreeMap<String, ProviderId>,
}

impl<'a> Shown<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// The database's.
    pub async fn of(state: &'a AppState, scope: &Scope) -> Result<Self, ApiError> {
        Ok(Self {
            organization_id: scope.organization,
            engine: &state.engine,
            added: state.engine.added_providers(scope).await?,
        })
    }

    fn provider_of(&self, step: &Step) -> Option<String> {
        let id = self.added.get(&step.provider_name)?;
        Some(id.to_string())
    }

    /// A step as the API shows it.
    #[must_use]
    pub fn step(&self, step: &Step) -> StepView {
        let (organization_id, engine) = (self.organization_id, self.engine);
        let provider_id = self.provider_of(step);
        let is_added = provider_id.is_some();
        let usage = &step.usage;
        StepView {
            id: step.id,
            origin: None,
            organization_id,
            provider_id,
            run_id: step.run_id,
            agent_id: step.agent_id,
            provider_name: step.provider_name.clone(),
            provider_category: if is_added { "byok" } else { "base" },
            model: step.model.clone(),
            model_handle: step.model_handle.clone(),
            model_endpoint: step.model_endpoint.clone(),
            context_window_limit: step.context_window_limit,
            completion_tokens: usage.completion_tokens,
            prompt_tokens: usage.prompt_tokens,
            total_tokens: usage.total_tokens(),
            cached_input_tokens: usage.cached_input_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            completion_tokens_details: json!({ "reasoning_tokens": usage.reasoning_tokens }),
            prompt_tokens_details: json!({
                "cached_tokens": usage.cached_input_tokens,
                "cache_read_tokens": usage.cached_input_tokens,
                "cache_creation_tokens": usage.cache_write_tokens,
            }),
            stop_reason: step.stop_reason,
            tags: Vec::new(),
            tid: step.transaction_id.clone(),
            trace_id: None,
            request_id: None,
            messages: Vec::new(),
            feedback: step.feedback.clone(),
            project_id: None,
            error_type: step.error.as_ref().map(|error| error.error_type.clone()),
            error_data: step
                .error
                .as_ref()
                .map(|error| json!({ "message": error.message, "detail": error.detail })),
            status: step.status,
            cost: cost_of(step, engine),
        }
    }
}

/// Which steps a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct StepsQuery {
    /// Only this agent's.
    agent_id: Option<String>,
    /// Only those of this model.
    model: Option<String>,
    /// Only those judged so.
    #[param(inline)]
    feedback: Option<Feedback>,
    /// Only those that were judged, or only others.
    has_feedback: Option<bool>,
    /// Not before this time (ISO 8601).
    start_date: Option<String>,
    /// Not after this time (ISO 8601).
    end_date: Option<String>,
}

impl StepsQuery {
    fn filter(self) -> Result<StepFilter, ApiError> {
        let time = |name: &str, text: Option<String>| {
            let parsed = text.map(|text| {
                Timestamp::parse(&text).map_err(|error| {
                    let input = Value::String(text.clone());
                    ApiError::invalid(&[Issue::query(name, error.to_string(), input)])
                })
            });
            parsed.transpose()
        };
        Ok(StepFilter {
            run_id: None,
            agent_id: self
                .agent_id
                .map(|id| query_id("agent_id", &id))
                .transpose()?,
            model: self.model,
            feedback: self.feedback.map(|feedback| feedback.as_str().to_owned()),
            has_feedback: self.has_feedback,
            start: time("start_date", self.start_date)?,
            end: time("end_date", self.end_date)?,
        })
    }
}

/// Steps, newest first.
#[utoipa::path(get, path = "/v1/steps", tag = "steps", operation_id = "list_steps",
    params(PageQuery, StepsQuery), responses((status = 200, body = Vec<StepView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<StepsQuery>,
) -> Result<Json<Vec<StepView>>, ApiError> {
    let page = query.page(50, Order::Desc)?;
    let filter = filter.filter()?;
    let shown = Shown::of(&state, &scope).await?;
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                steps::list(tx, &scope, &filter, &page)
                    .await
                    .map_err(ApiError::from)
            })
        })
        .await?;
    Ok(Json(found.iter().map(|step| shown.step(step)).collect()))
}

async fn stored(state: &AppState, scope: &Scope, id: StepId) -> Result<Step, ApiError> {
    let scope = scope.clone();
    state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move { steps::get(tx, &scope, id).await.map_err(ApiError::from) })
        })
        .await
}

/// One step.
#[utoipa::path(get, path = "/v1/steps/{step_id}", tag = "steps", operation_id = "retrieve_step",
    params(("step_id" = String, Path)), responses((status = 200, body = StepView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<StepId>,
) -> Result<Json<StepView>, ApiError> {
    let step = stored(&state, &scope, id).await?;
    let shown = Shown::of(&state, &scope).await?;
    Ok(Json(shown.step(&step)))
}

/// What was said in a step, oldest first.
#[utoipa::path(get, path = "/v1/steps/{step_id}/messages", tag = "steps",
    operation_id = "list_messages_for_step", params(("step_id" = String, Path), PageQuery),
    responses((status = 200, body = Vec<LettaMessage>)))]
async fn list_messages(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<StepId>,
    query: PageQuery,
) -> Result<Json<Vec<LettaMessage>>, ApiError> {
    let page = query.page(100, Order::Asc)?;
    let found = state
        .engine
        .store()
        .read(move |tx| {
            Box::pin(async move {
                let step = steps::get(tx, &scope, id).await?;
                let filter = MessageFilter {
                    // It narrows nothing down, but messages are found by it.
                    run_id: Some(step.run_id),
                    step_id: Some(id),
                    ..MessageFilter::default()
                };
                history::page(tx, &scope, &filter, page, &Shows::default()).await
            })
        })
        .await?;
    Ok(Json(found))
}

/// The times of a step.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct StepMetrics {
    #[schema(value_type = String)]
    id: StepId,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    provider_id: Option<String>,
    #[schema(value_type = String)]
    run_id: RunId,
    #[schema(value_type = String)]
    agent_id: AgentId,
    step_start_ns: i64,
    llm_request_start_ns: Option<i64>,
    llm_request_ns: Option<i64>,
    tool_execution_ns: Option<i64>,
    step_ns: Option<i64>,
    project_id: Option<String>,
    template_id: Option<String>,
    base_template_id: Option<String>,
}

/// How long a step took.
#[utoipa::path(get, path = "/v1/steps/{step_id}/metrics", tag = "steps",
    operation_id = "retrieve_metrics_for_step", params(("step_id" = String, Path)),
    responses((status = 200, body = StepMetrics)))]
async fn metrics(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<StepId>,
) -> Result<Json<StepMetrics>, ApiError> {
    let step = stored(&state, &scope, id).await?;
    let shown = Shown::of(&state, &scope).await?;
    let nanos = |time: Timestamp| time.0.saturating_mul(1000);
    let begun = nanos(step.created_at);
    Ok(Json(StepMetrics {
        id,
        organization_id: scope.organization,
        provider_id: shown.provider_of(&step),
        run_id: step.run_id,
        agent_id: step.agent_id,
        step_start_ns: begun,
        llm_request_start_ns: step.llm_request_ns.map(|_| begun),
        llm_request_ns: step.llm_request_ns,
        tool_execution_ns: None,
        step_ns: step
            .completed_at
            .map(|ended| nanos(ended).saturating_sub(begun)),
        project_id: None,
        template_id: None,
        base_template_id: None,
    }))
}

/// What a step's model was asked and answered.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct ProviderTrace {
    id: String,
    #[schema(value_type = String)]
    created_at: Timestamp,
    updated_at: Option<String>,
    created_by_id: Option<String>,
    last_updated_by_id: Option<String>,
    /// The request as the provider got it, without keys; long texts in large ones are cut.
    #[schema(value_type = Object)]
    request_json: Value,
    /// The answer as it was read: `content`, `tool_calls`, `finish_reason`, `usage`; or `error`.
    #[schema(value_type = Object)]
    response_json: Value,
    #[schema(value_type = String)]
    step_id: StepId,
    #[schema(value_type = String)]
    agent_id: AgentId,
    #[schema(value_type = String)]
    run_id: RunId,
    /// What the model was asked for.
    call_type: &'static str,
    source: &'static str,
    agent_tags: Option<Vec<String>>,
    #[schema(value_type = String)]
    org_id: OrganizationId,
    user_id: Option<String>,
    llm_config: Option<Value>,
    compaction_settings: Option<Value>,
    billing_context: Option<Value>,
}

/// The request to a step's model and its answer, while they are kept (`trace_hours`); else null.
#[utoipa::path(get, path = "/v1/steps/{step_id}/trace", tag = "steps",
    operation_id = "retrieve_trace_for_step", params(("step_id" = String, Path)),
    responses((status = 200, body = Option<ProviderTrace>)))]
async fn trace(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<StepId>,
) -> Result<Json<Option<ProviderTrace>>, ApiError> {
    let kept = state.engine.trace(&scope, id).await?;
    Ok(Json(kept.map(|(step, trace)| ProviderTrace {
        // A step has one.
        id: format!("provider_trace-{}", id.uuid()),
        created_at: trace.created_at,
        updated_at: None,
        created_by_id: None,
        last_updated_by_id: None,
        request_json: trace.request,
        response_json: trace.response,
        step_id: id,
        agent_id: step.agent_id,
        run_id: step.run_id,
        call_type: "agent_step",
        source: "mnemic",
        agent_tags: None,
        org_id: scope.organization,
        user_id: None,
        llm_config: None,
        compaction_settings: None,
        billing_context: None,
    })))
}

/// The old name of `/v1/steps/{step_id}/trace`.
#[utoipa::path(get, path = "/v1/telemetry/{step_id}", tag = "telemetry",
    operation_id = "retrieve_provider_trace", params(("step_id" = String, Path)),
    responses((status = 200, body = Option<ProviderTrace>)))]
async fn trace_by_old_name(
    state: State<AppState>,
    actor: Actor,
    id: Path<StepId>,
) -> Result<Json<Option<ProviderTrace>>, ApiError> {
    trace(state, actor, id).await
}

/// Give a step a name of one's own, which is shown as its `tid`.
#[utoipa::path(patch, path = "/v1/steps/{step_id}/transaction/{transaction_id}", tag = "steps",
    operation_id = "update_step_transaction_id",
    params(("step_id" = String, Path), ("transaction_id" = String, Path)),
    responses((status = 200, body = StepView)))]
async fn set_transaction_id(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((id, Text(name))): Path<(StepId, Text)>,
) -> Result<Json<StepView>, ApiError> {
    let chars = name.chars().count();
    if chars > MAX_TRANSACTION_ID_CHARS {
        return Err(ApiError::bad_request(format!(
            "a transaction_id may have {MAX_TRANSACTION_ID_CHARS} characters, this one has {chars}"
        )));
    }
    let shown = Shown::of(&state, &scope).await?;
    let named = state.engine.store().write(move |tx| {
        Box::pin(async move {
            let named = steps::set_transaction_id(tx, &scope, id, &name).await;
            named.map_err(ApiError::from)
        })
    });
    Ok(Json(shown.step(&named.await?)))
}

/// What somebody thinks of a step.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
enum Feedback {
    Positive,
    Negative,
}

impl Feedback {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}

/// A judgement of a step.
#[derive(Debug, Deserialize, ToSchema)]
struct FeedbackBody {
    /// The judgement; null takes it back.
    feedback: Option<Feedback>,
}

/// Judge a step.
#[utoipa::path(patch, path = "/v1/steps/{step_id}/feedback", tag = "steps",
    operation_id = "modify_feedback_for_step", params(("step_id" = String, Path)),
    request_body = FeedbackBody, responses((status = 200, body = StepView)))]
async fn feedback(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<StepId>,
    Json(body): Json<FeedbackBody>,
) -> Result<Json<StepView>, ApiError> {
    let shown = Shown::of(&state, &scope).await?;
    let judged = body.feedback.map(Feedback::as_str);
    let step = state
        .engine
        .store()
        .write(move |tx| {
            Box::pin(async move {
                steps::set_feedback(tx, &scope, id, judged)
                    .await
                    .map_err(ApiError::from)
            })
        })
        .await?;
    Ok(Json(shown.step(&step)))
}
