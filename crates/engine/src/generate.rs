//! One call to an agent's model that has nothing to do with the agent's conversations, and is not stored.

use std::sync::Arc;

use mnemic_core::{
    agents::Agent,
    ids::AgentId,
    messages::{MessageBody, Role},
    runs::Usage,
    scope::Scope,
};
use mnemic_llm::{Call, MessageView, SystemPrompt, Transcript};
use mnemic_store::{StoreError, agents};
use serde_json::Value;

use crate::{Engine, EngineError, model};

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// What is said to it.
    pub prompt: String,
    /// What it is told before that.
    pub system_prompt: Option<String>,
    /// A model handle in place of the agent's.
    pub override_model: Option<String>,
    /// The JSON schema that its answer must have.
    pub response_schema: Option<Value>,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Its text, or the JSON that was asked for.
    pub content: String,
    /// The model as its provider calls it.
    pub model: String,
    /// The handle of that model.
    pub handle: String,
    /// What it took.
    pub usage: Usage,
}

impl Engine {
    /// Asks an agent's model, with the agent's settings of it.
    ///
    /// # Errors
    /// There is no such agent or model, the provider's, or the answer has not the form that was asked for.
    pub async fn generate(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        request: GenerateRequest,
    ) -> Result<Generated, EngineError> {
        let agent = self.agent_to_ask(scope, agent_id).await?;
        let handle = request
            .override_model
            .unwrap_or_else(|| model::handle_of(&agent));
        let model = self.agents_model(scope, &agent, &handle).await?;
        let resolved = &model.resolved;
        let mut transcript = Transcript::for_endpoint(&resolved.endpoint);
        transcript.push(&MessageView {
            role: Role::User,
            body: &MessageBody::text(request.prompt),
            name: None,
        });
        let mut call = Call::new(
            Arc::clone(&resolved.endpoint),
            resolved.model.clone(),
            SystemPrompt::new(request.system_prompt.as_deref().unwrap_or_default()),
            transcript,
        );
        call.temperature = agent.llm_config.temperature;
        let half = (model.context_window / 2).max(1);
        call.max_tokens = model.max_tokens.map(|tokens| tokens.min(half));
        call.reasoning_effort.clone_from(&model.reasoning_effort);
        call.thinking = model.thinking;
        call.verbosity.clone_from(&model.verbosity);
        call.context_window = Some(model.context_window);
        // On its own, so that it is counted though who asked for it has gone.
        let (engine, scope) = (self.clone(), scope.clone());
        let asked = self.inner.supervisor.tasks.spawn(async move {
            engine
                .ask_once(&scope, agent_id, &call, request.response_schema.as_ref())
                .await
        });
        let asked = asked.await;
        let (content, usage) = asked.map_err(|error| StoreError::Database(error.to_string()))??;
        Ok(Generated {
            content,
            model: resolved.model.clone(),
            handle: resolved.handle.clone(),
            usage: usage.unwrap_or_default(),
        })
    }

    /// Makes the call, and counts what it took whatever comes of it.
    async fn ask_once(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        call: &Call,
        schema: Option<&Value>,
    ) -> Result<(String, Option<Usage>), EngineError> {
        let client = &self.inner.client;
        let (content, usage) = match schema {
            Some(schema) => {
                let (value, usage) = client.structured(call, schema).await;
                (value.map(|value| value.to_string()), usage)
            }
            None => match client.call(call).await {
                Ok(answer) => (Ok(answer.body.plain_text()), answer.usage),
                Err(error) => (Err(error), None),
            },
        };
        self.record_call(scope, agent_id, call, usage.as_ref())
            .await;
        Ok((content?, usage))
    }

    /// The agent whose model is asked. The question counts as a message where messages are limited.
    async fn agent_to_ask(&self, scope: &Scope, id: AgentId) -> Result<Agent, EngineError> {
        let (engine, scope) = (self.clone(), scope.clone());
        if self.settings().plans.is_empty() {
            let read = self
                .inner
                .store
                .read(move |tx| Box::pin(async move { Ok(agents::get(tx, &scope, id).await?) }));
            return read.await;
        }
        let written = self.inner.store.write(move |tx| {
            Box::pin(async move {
                let agent = agents::get(tx, &scope, id).await?;
                engine.admit(tx, &scope, id, true).await?;
                Ok(agent)
            })
        });
        written.await
    }
}
