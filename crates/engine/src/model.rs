//! The model of a turn.

use mnemic_core::{
    agents::{Agent, LlmConfig},
    conversations::Conversation,
    scope::Scope,
};
use mnemic_llm::{ResolvedModel, Thinking};
use serde_json::{Map, Value};

use crate::{Engine, EngineError, SendRequest, agents::defaults::apply_settings, session::Session};

/// Tokens of thinking where its setting names none (V1 contract, section 2.1).
const LEAST_BUDGET: i64 = 1_024;

/// A model, and how the agent uses it.
pub(crate) struct TurnModel {
    pub resolved: ResolvedModel,
    /// Tokens that request and answer may take together.
    pub context_window: i64,
    /// Tokens that the answer may take, where that is limited.
    pub max_tokens: Option<i64>,
    /// How much it thinks.
    pub reasoning_effort: Option<String>,
    /// Whether and for how long it thinks.
    pub thinking: Thinking,
    /// How much it says.
    pub verbosity: Option<String>,
}

impl Engine {
    /// The model that a request, its thread or its agent names, in this order.
    pub(crate) async fn turn_model(
        &self,
        scope: &Scope,
        session: &Session,
        request: &SendRequest,
    ) -> Result<TurnModel, EngineError> {
        let own = handle_of(&session.frame.agent);
        let handle = request
            .override_model
            .as_deref()
            .or(session.frame.model_override.as_deref())
            .unwrap_or(&own);
        let mut model = self
            .agents_model(scope, &session.frame.agent, handle)
            .await?;
        if let Some(limit) = session.frame.window_limit {
            let most = model.resolved.context_limit.unwrap_or(i64::MAX);
            model.context_window = limit.min(most);
        }
        Ok(model)
    }

    /// A model as an agent uses it.
    pub(crate) async fn agents_model(
        &self,
        scope: &Scope,
        agent: &Agent,
        handle: &str,
    ) -> Result<TurnModel, EngineError> {
        let resolved = self.resolve_model(scope, handle).await?;
        let config = &agent.llm_config;
        let context_window = self.window(agent, handle, Some(&resolved));
        Ok(TurnModel {
            resolved,
            context_window,
            max_tokens: config.max_tokens,
            reasoning_effort: reasoning_effort(config),
            verbosity: config
                .extra
                .get("verbosity")
                .and_then(Value::as_str)
                .map(str::to_owned),
            thinking: thinking(agent.model_settings.as_ref(), config),
        })
    }

    /// Tokens that request and answer may take together: what the agent says of its own model, and what
    /// is known of any other.
    pub(crate) fn window(
        &self,
        agent: &Agent,
        handle: &str,
        resolved: Option<&ResolvedModel>,
    ) -> i64 {
        let most = self.inner.settings.max_context_window;
        let own = agent.llm_config.context_window;
        let window = match resolved {
            Some(resolved) if own <= 0 || handle != handle_of(agent) => {
                resolved.context_window.min(most)
            }
            _ if own > 0 => own,
            _ => most,
        };
        // A server that is told the size of the context gets no more than its model takes.
        let limit = resolved.and_then(|resolved| resolved.context_limit);
        window.min(limit.unwrap_or(i64::MAX))
    }
}

/// Lays a thread's own settings over its agent's.
pub(crate) fn apply_thread(agent: &mut Agent, thread: &Conversation) {
    if let Some(Value::Object(settings)) = &thread.model_settings {
        apply_settings(&mut agent.llm_config, settings);
        let mut merged = match agent.model_settings.take() {
            Some(Value::Object(own)) => own,
            _ => Map::new(),
        };
        merged.extend(settings.clone());
        agent.model_settings = Some(Value::Object(merged));
    }
    if let Some(limit) = thread.context_window_limit {
        agent.llm_config.context_window = limit;
    }
}

/// How much the agent's model thinks: `reasoning.reasoning_effort` of OpenAI's settings, `effort` of
/// Anthropic's.
fn reasoning_effort(config: &LlmConfig) -> Option<String> {
    let effort = config.extra.get("effort").and_then(Value::as_str);
    effort
        .map(str::to_owned)
        .or_else(|| config.reasoning_effort.clone())
}

/// Whether and for how long it thinks: `thinking` of Anthropic's and Z.ai's settings, `thinking_config` of
/// Google's, or the fields of the older `llm_config`.
fn thinking(settings: Option<&Value>, config: &LlmConfig) -> Thinking {
    if let Some(thinking) = settings
        .and_then(|settings| settings.get("thinking"))
        .filter(|thinking| thinking.is_object())
    {
        let budget = |thinking: &Value| {
            let given = thinking.get("budget_tokens").and_then(Value::as_i64);
            given.unwrap_or(LEAST_BUDGET)
        };
        return match thinking.get("type").and_then(Value::as_str) {
            Some("disabled") => Thinking::Disabled,
            Some("adaptive") => Thinking::Adaptive,
            _ => Thinking::Budget(budget(thinking)),
        };
    }
    let of_google = settings.and_then(|settings| settings.get("thinking_config"));
    let budget = of_google.and_then(|config| config.get("thinking_budget"));
    match budget.and_then(Value::as_i64) {
        Some(0) => return Thinking::Disabled,
        // As much as it finds right, by the provider's own word for it.
        Some(..0) => return Thinking::Adaptive,
        Some(tokens) => return Thinking::Budget(tokens),
        None => {}
    }
    let extra = &config.extra;
    let reasons = extra.get("enable_reasoner").and_then(Value::as_bool);
    let budget = extra.get("max_reasoning_tokens").and_then(Value::as_i64);
    match (reasons, budget) {
        (Some(true), Some(budget)) if budget > 0 => Thinking::Budget(budget),
        _ => Thinking::Unset,
    }
}

/// The handle of an agent's model.
pub(crate) fn handle_of(agent: &Agent) -> String {
    let config = &agent.llm_config;
    config.handle.clone().unwrap_or_else(|| {
        let provider = config.provider_name.as_deref().unwrap_or("openai");
        format!("{provider}/{}", config.model)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thinking_comes_from_the_settings_then_from_the_older_fields() {
        let read = |settings: &Value, config: Value| {
            thinking(Some(settings), &serde_json::from_value(config).unwrap())
        };
        let older = json!({"enable_reasoner": true, "max_reasoning_tokens": 3000});
        for (settings, config, expected) in [
            (json!({}), json!({}), Thinking::Unset),
            (json!({"thinking": null}), json!({}), Thinking::Unset),
            (
                json!({"thinking": {"type": "disabled"}}),
                older.clone(),
                Thinking::Disabled,
            ),
            (
                json!({"thinking": {"type": "adaptive"}}),
                json!({}),
                Thinking::Adaptive,
            ),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 5000}}),
                json!({}),
                Thinking::Budget(5000),
            ),
            (
                json!({"thinking": {"type": "enabled"}}),
                json!({}),
                Thinking::Budget(1024),
            ),
            (
                json!({"thinking_config": {"include_thoughts": true, "thinking_budget": 2000}}),
                json!({}),
                Thinking::Budget(2000),
            ),
            (
                json!({"thinking_config": {"thinking_budget": 0}}),
                older.clone(),
                Thinking::Disabled,
            ),
            (
                json!({"thinking_config": {"thinking_budget": -1}}),
                json!({}),
                Thinking::Adaptive,
            ),
            (json!({}), older, Thinking::Budget(3000)),
            (json!({}), json!({"enable_reasoner": true}), Thinking::Unset),
        ] {
            assert_eq!(read(&settings, config), expected, "{settings}");
        }
    }
}
