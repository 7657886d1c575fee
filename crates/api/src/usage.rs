//! What was used in a month: messages, tokens, money and stored bytes.

use std::collections::BTreeMap;

use axum::extract::State;
use mnemic_core::{
    ids::{AgentId, ApiKeyId},
    prices::Cost,
    runs::Usage,
    time::Timestamp,
};
use mnemic_engine::Engine;
use mnemic_store::usage::{self, ModelUse, UsageFilter};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Query, query_id},
    people::{self, as_given},
    validation::Issue,
};

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(show)
}

/// Whose use, and of which month.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct UsageQuery {
    /// Only this agent's.
    #[serde(alias = "agentId", alias = "agent")]
    agent_id: Option<String>,
    /// Only this end user's.
    #[serde(alias = "userId", alias = "user", deserialize_with = "as_given")]
    user_id: Option<String>,
    /// Only what was asked for with this key.
    api_key_id: Option<String>,
    /// The month, as 2026-11; the present one unless given. Months begin at midnight UTC.
    month: Option<String>,
}

/// Tokens.
#[derive(Debug, Default, Serialize, ToSchema)]
#[allow(missing_docs)]
struct TokensView {
    prompt: i64,
    completion: i64,
    /// Of the prompt, those that were in the provider's cache.
    cached: i64,
    /// Of the prompt, those that were written to it.
    cache_write: i64,
    /// Of the completion, those of reasoning.
    reasoning: i64,
    total: i64,
}

impl From<Usage> for TokensView {
    fn from(usage: Usage) -> Self {
        Self {
            prompt: usage.prompt_tokens,
            completion: usage.completion_tokens,
            cached: usage.cached_input_tokens,
            cache_write: usage.cache_write_tokens,
            reasoning: usage.reasoning_tokens,
            total: usage.prompt_tokens.saturating_add(usage.completion_tokens),
        }
    }
}

/// What calls of one model took.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct ModelUsageView {
    model: String,
    /// Where it was asked.
    endpoint: Option<String>,
    steps: i64,
    tokens: TokensView,
    /// By the prices of today; null where they are not known.
    #[schema(value_type = Option<serde_json::Value>)]
    cost: Option<Cost>,
}

/// What was used in a month.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct MonthUsage {
    month: String,
    #[schema(value_type = Option<String>)]
    agent_id: Option<AgentId>,
    user_id: Option<String>,
    #[schema(value_type = Option<String>)]
    api_key_id: Option<ApiKeyId>,
    /// Requests of clients that were accepted.
    messages: i64,
    /// Calls of models, also those of agents by themselves.
    steps: i64,
    tokens: TokensView,
    /// Bytes of messages, passages and blocks that are stored now; null for a key, whose they are not.
    stored_bytes: Option<i64>,
    /// By the prices of today; null where one of them is not known, where their currencies differ, or where there is no step.
    #[schema(value_type = Option<serde_json::Value>)]
    cost: Option<Cost>,
    /// Steps whose price is not known.
    steps_without_price: i64,
    by_model: Vec<ModelUsageView>,
}

/// A month, from its first instant to that of the next.
fn month(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (year, month) = text.split_once('-')?;
    if year.len() != 4 || month.len() != 2 {
        return None;
    }
    let (year, month): (i32, u32) = (year.parse().ok()?, month.parse().ok()?);
    let next = match month {
        12 => (year.checked_add(1)?, 1),
        month => (year, month.checked_add(1)?),
    };
    let begin = |(year, month): (i32, u32)| {
        Timestamp::parse(&format!("{year:04}-{month:02}-01T00:00:00Z")).ok()
    };
    Some((begin((year, month))?, begin(next)?))
}

/// Tokens added up.
fn sum(mut all: Usage, one: &Usage) -> Usage {
    let parts = [
        (&mut all.prompt_tokens, one.prompt_tokens),
        (&mut all.completion_tokens, one.completion_tokens),
        (&mut all.cached_input_tokens, one.cached_input_tokens),
        (&mut all.cache_write_tokens, one.cache_write_tokens),
        (&mut all.reasoning_tokens, one.reasoning_tokens),
    ];
    for (sum, more) in parts {
        *sum = sum.saturating_add(more);
    }
    all
}

fn cost(used: &ModelUse, engine: &Engine) -> Option<Cost> {
    let prices = &engine.settings().prices;
    let price = prices.price(used.endpoint.as_deref()?, &used.model, engine.now())?;
    Some(price.of_calls(&used.priced, used.largest_prompt))
}

/// The tokens of all, and how many calls these were.
fn total<'a>(all: impl IntoIterator<Item = &'a ModelUse>) -> (Usage, i64) {
    let nothing = (Usage::default(), 0_i64);
    all.into_iter().fold(nothing, |(tokens, calls), used| {
        (sum(tokens, &used.usage), calls.saturating_add(used.calls))
    })
}

/// The calls of each model together.
fn by_model(all: &[ModelUse], engine: &Engine) -> Vec<ModelUsageView> {
    let mut groups: BTreeMap<(&str, Option<&str>), Vec<&ModelUse>> = BTreeMap::new();
    for used in all {
        let group = (used.model.as_str(), used.endpoint.as_deref());
        groups.entry(group).or_default().push(used);
    }
    let views = groups.into_iter().map(|((model, endpoint), used)| {
        let (tokens, steps) = total(used.iter().copied());
        ModelUsageView {
            model: model.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            steps,
            tokens: tokens.into(),
            cost: Cost::sum(used.iter().map(|used| cost(used, engine))),
        }
    });
    views.collect()
}

/// What was used in a month, by everybody, an agent, an end user or a key.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", operation_id = "retrieve_usage", params(UsageQuery),
    responses((status = 200, body = MonthUsage)))]
async fn show(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Query(query): Query<UsageQuery>,
) -> Result<Json<MonthUsage>, ApiError> {
    let agent_id: Option<&str> = query.agent_id.as_deref();
    let agent_id = agent_id.map(|id| query_id("agent_id", id)).transpose()?;
    let api_key_id: Option<&str> = query.api_key_id.as_deref();
    let api_key_id = api_key_id
        .map(|id| query_id("api_key_id", id))
        .transpose()?;
    let asked = query
        .month
        .unwrap_or_else(|| state.engine.now().to_iso().chars().take(7).collect());
    let Some((from, to)) = month(&asked) else {
        let msg = "a month is written as 2026-11";
        return Err(ApiError::invalid(&[Issue::query(
            "month",
            msg,
            json!(asked),
        )]));
    };
    let filter = UsageFilter {
        agent_id,
        api_key_id,
        from,
        to,
    };
    let scope = people::scope_of(&scope, query.user_id)?;
    let user_id = scope.subject.clone();
    let sizes = state.engine.settings().prices.long_sizes();
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let messages = usage::messages(tx, &scope, &filter).await?;
            let used = usage::by_model(tx, &scope, &filter, &sizes).await?;
            let bytes = match filter.api_key_id {
                Some(_) => None,
                None => Some(usage::stored_bytes(tx, &scope, filter.agent_id).await?),
            };
            Ok::<_, ApiError>((messages, used, bytes))
        })
    });
    let (messages, used, stored_bytes) = read.await?;
    let engine = &state.engine;
    let (tokens, steps) = total(&used);
    let unknown = used.iter().filter(|used| cost(used, engine).is_none());
    Ok(Json(MonthUsage {
        month: asked,
        agent_id,
        user_id,
        api_key_id,
        messages,
        steps,
        tokens: tokens.into(),
        stored_bytes,
        cost: Cost::sum(used.iter().map(|used| cost(used, engine))),
        steps_without_price: unknown.map(|used| used.calls).sum(),
        by_model: by_model(&used, engine),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let december = month("2026-12").unwrap();
        assert_eq!(
            december,
            (at("2026-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z"))
        );
        assert_eq!(month("2026-11").unwrap().1, december.0);
        for wrong in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "26-11",
            "2026-1",
            "2026-11-01",
            "2026-xx",
        ] {
            assert_eq!(month(wrong), None, "{wrong}");
        }
    }
}
