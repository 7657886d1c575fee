//! Plans and limits: who may use how much, and how much of it is left.

use axum::extract::State;
use http::StatusCode;
use mnemic_core::{
    ids::{AgentId, ApiKeyId},
    plans::{Holder, HolderKind, Limit, Measure},
    scope::Scope,
    time::Timestamp,
};
use mnemic_engine::{LimitReached, Standing};
use mnemic_store::{agents, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    admin::Administrator,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Query, query_id},
    people,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(plans))
        .merge(routes!(show, assign))
}

/// A limit of a plan.
#[derive(Debug, Serialize, ToSchema)]
struct PlanLimitView {
    /// Its name, as in `mnemic.toml`.
    name: &'static str,
    /// How much may be used; money in the price file's currency.
    most: f64,
}

/// A named set of limits.
#[derive(Debug, Serialize, ToSchema)]
struct PlanView {
    name: String,
    limits: Vec<PlanLimitView>,
}

/// The plans of those who were given none.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct UsualPlans {
    agent: Option<String>,
    api_key: Option<String>,
    user: Option<String>,
}

/// All plans of `mnemic.toml`.
#[derive(Debug, Serialize, ToSchema)]
struct PlansView {
    plans: Vec<PlanView>,
    usual: UsualPlans,
}

/// How it stands with a limit.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct StandingView {
    name: &'static str,
    most: f64,
    used: f64,
    remaining: f64,
    /// When it begins anew; null for what is stored, which is measured at the most once a minute.
    #[schema(value_type = Option<String>)]
    resets_at: Option<Timestamp>,
}

/// Money in its currency, all else as it is.
#[allow(clippy::cast_precision_loss)]
fn shown(limit: &Limit, amount: i64) -> f64 {
    match limit.measure {
        Measure::Cost => amount as f64 / 1_000_000.0,
        _ => amount as f64,
    }
}

impl From<&Standing> for StandingView {
    fn from(standing: &Standing) -> Self {
        let limit = &standing.limit;
        Self {
            name: limit.name,
            most: shown(limit, limit.most),
            used: shown(limit, standing.used),
            remaining: shown(limit, standing.remaining()),
            resets_at: standing.resets_at,
        }
    }
}

/// The plan of an agent, a user or a key, and how much of it is left.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct LimitsView {
    #[schema(value_type = String)]
    kind: HolderKind,
    id: String,
    plan: Option<String>,
    /// Whether the plan was given to it; else it is the usual one of its kind.
    own_plan: bool,
    limits: Vec<StandingView>,
}

/// Whose limits.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct LimitsQuery {
    /// Those of an agent.
    #[serde(alias = "agentId")]
    agent_id: Option<String>,
    /// Those of an end user.
    #[serde(alias = "userId")]
    user_id: Option<String>,
    /// Those of a key.
    api_key_id: Option<String>,
}

/// A plan for an agent, a user or a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AssignBody {
    /// The agent.
    #[serde(default, alias = "agentId")]
    agent_id: Option<String>,
    /// Or the end user.
    #[serde(default, alias = "userId")]
    user_id: Option<String>,
    /// Or the key.
    #[serde(default)]
    api_key_id: Option<String>,
    /// One of the plans of `mnemic.toml`; null for the usual one.
    #[serde(deserialize_with = "Option::deserialize")]
    plan: Option<String>,
}

/// The one of the three that is named.
fn holder(scope: &Scope, query: LimitsQuery) -> Result<Holder, ApiError> {
    let LimitsQuery {
        agent_id,
        user_id,
        api_key_id,
    } = query;
    if scope.subject.is_some() && (agent_id.is_some() || api_key_id.is_some()) {
        // What others used would be told with it.
        let reason = "a user sees the limits of that user alone";
        return Err(ApiError::new(StatusCode::FORBIDDEN, reason));
    }
    match (agent_id, user_id, api_key_id) {
        (Some(id), None, None) => Ok(Holder {
            kind: HolderKind::Agent,
            id: query_id::<AgentId>("agent_id", &id)?.to_string(),
        }),
        (None, user_id, None) if user_id.is_some() || scope.subject.is_some() => {
            let scope = people::scope_of(scope, user_id)?;
            Ok(Holder {
                kind: HolderKind::User,
                id: scope.subject.unwrap_or_default(),
            })
        }
        (None, None, Some(id)) => Ok(Holder {
            kind: HolderKind::ApiKey,
            id: query_id::<ApiKeyId>("api_key_id", &id)?.to_string(),
        }),
        _ => Err(ApiError::unprocessable(
            "say whose limits: one of agent_id, user_id and api_key_id",
        )),
    }
}

/// The plans of `mnemic.toml`, and who has which unless it is given another.
#[utoipa::path(get, path = "/v1/plans", tag = "usage", operation_id = "list_plans",
    responses((status = 200, body = PlansView)))]
async fn plans(State(state): State<AppState>, _: Actor) -> Json<PlansView> {
    let plans = &state.engine.settings().plans;
    let views = plans.iter().map(|(name, plan)| PlanView {
        name: name.to_owned(),
        limits: plan
            .limits
            .iter()
            .map(|limit| PlanLimitView {
                name: limit.name,
                most: shown(limit, limit.most),
            })
            .collect(),
    });
    let usual = |kind| plans.usual(kind).map(str::to_owned);
    Json(PlansView {
        plans: views.collect(),
        usual: UsualPlans {
            agent: usual(HolderKind::Agent),
            api_key: usual(HolderKind::ApiKey),
            user: usual(HolderKind::User),
        },
    })
}

/// The plan of an agent, an end user or a key, and how much of it is left.
#[utoipa::path(get, path = "/v1/limits", tag = "usage", operation_id = "retrieve_limits", params(LimitsQuery),
    responses((status = 200, body = LimitsView)))]
async fn show(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Query(query): Query<LimitsQuery>,
) -> Result<Json<LimitsView>, ApiError> {
    let holder = holder(&scope, query)?;
    view(&state, &scope, holder).await
}

async fn view(
    state: &AppState,
    scope: &Scope,
    holder: Holder,
) -> Result<Json<LimitsView>, ApiError> {
    let allowance = state.engine.allowance(scope, holder.clone()).await?;
    Ok(Json(LimitsView {
        kind: holder.kind,
        id: holder.id,
        plan: allowance.plan,
        own_plan: allowance.is_own,
        limits: allowance.standings.iter().map(StandingView::from).collect(),
    }))
}

/// Give an agent, an end user or a key a plan of its own. What it used already counts on.
#[utoipa::path(put, path = "/v1/limits", tag = "usage", operation_id = "assign_plan",
    request_body = AssignBody, responses((status = 200, body = LimitsView)))]
async fn assign(
    State(state): State<AppState>,
    _: Administrator,
    Actor(scope): Actor,
    Json(body): Json<AssignBody>,
) -> Result<Json<LimitsView>, ApiError> {
    let plans = &state.engine.settings().plans;
    if let Some(unknown) = body
        .plan
        .as_deref()
        .filter(|name| plans.get(name).is_none())
    {
        let known: Vec<&str> = plans.iter().map(|(name, _)| name).collect();
        return Err(ApiError::unprocessable(format!(
            "there is no plan '{unknown}': mnemic.toml has {}",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        )));
    }
    let query = LimitsQuery {
        agent_id: body.agent_id,
        user_id: body.user_id,
        api_key_id: body.api_key_id,
    };
    let holder = holder(&scope, query)?;
    let (whose, to, plan) = (scope.clone(), holder.clone(), body.plan);
    let given = state.engine.store().write(move |tx| {
        Box::pin(async move {
            if let (HolderKind::Agent, Ok(id)) = (to.kind, to.id.parse()) {
                agents::get(tx, &whose, id).await?;
            }
            limits::assign(tx, &whose, &to, plan.as_deref()).await?;
            Ok::<_, ApiError>(())
        })
    });
    given.await?;
    view(&state, &scope, holder).await
}

/// 429, with the limit that was reached and, for end users, what is left of the others.
pub fn refusal(reached: &LimitReached) -> ApiError {
    let of: Vec<StandingView> = reached.standings.iter().map(StandingView::from).collect();
    let limit = StandingView::from(&reached.reached);
    let more: Value = json!({
        "limit": limit,
        "of": reached.holder.kind,
        "plan": reached.plan,
        "limits": of,
    });
    let seconds = reached.reached.resets_at.map(|at| {
        let micros = at.0.saturating_sub(reached.now.0).max(0);
        u64::try_from(micros)
            .unwrap_or_default()
            .div_ceil(1_000_000)
    });
    ApiError::too_many(reached.to_string(), more, seconds)
}
