//! The model of a turn.

use std::sync::Arc;

use mnemic_core::agents::Agent;
use mnemic_llm::ResolvedModel;

use crate::{Engine, EngineError, SendRequest, session::Session};

/// A model, and how the agent uses it.
pub(crate) struct TurnModel {
    pub resolved: ResolvedModel,
    /// Tokens that request and answer may take together.
    pub context_window: i64,
    /// Tokens that the answer may take, where that is limited.
    pub max_tokens: Option<i64>,
}

impl Engine {
    /// The model that a request, its thread or its agent names, in this order.
    pub(crate) async fn turn_model(
        &self,
        session: &Session,
        request: &SendRequest,
    ) -> Result<TurnModel, EngineError> {
        let own = handle_of(&session.frame.agent);
        let handle = request
            .override_model
            .as_deref()
            .or(session.frame.model_override.as_deref())
            .unwrap_or(&own);
        let resolved = self.inner.catalogue.resolve(handle).await?;
        let agent = &session.frame.agent.llm_config;
        let is_own = handle == own;
        let context_window = match agent.context_window {
            window if is_own && window > 0 => window,
            _ => resolved
                .context_window
                .min(self.inner.settings.max_context_window),
        };
        Ok(TurnModel {
            resolved,
            context_window,
            max_tokens: agent.max_tokens,
        })
    }
}

/// The handle of an agent's model.
fn handle_of(agent: &Arc<Agent>) -> String {
    let config = &agent.llm_config;
    config.handle.clone().unwrap_or_else(|| {
        let provider = config.provider_name.as_deref().unwrap_or("openai");
        format!("{provider}/{}", config.model)
    })
}
