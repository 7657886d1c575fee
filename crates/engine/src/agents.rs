//! Making, changing and removing agents: each with all that belongs to it in one commit.

mod checks;
mod creation;
pub(crate) mod defaults;
mod opening;
mod patching;
mod state;

use mnemic_core::{
    agents::{AgentLabels, AgentType, LlmConfig, People},
    ids::{AgentId, BlockId, FolderId, IdentityId, MessageId, ToolId},
    messages::NewMessage,
    scope::Scope,
    time::Timestamp,
    validation,
};
use mnemic_llm::ModelKind;
use mnemic_store::{agents, runs::RunFilter};
use serde_json::{Map, Value};

pub(crate) use self::checks::compaction as check_compaction;
pub(crate) use self::creation::Draft;
pub(crate) use self::defaults::{rule, summary_prompt};
pub use self::{
    defaults::compaction_settings,
    state::{AgentState, Relations, load, load_one},
};
pub use crate::blocks::NewBlock;
use crate::{Engine, EngineError, follow, groups::companion};

/// What the creator of an agent says; everything else is a default.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct CreateAgent {
    pub name: Option<String>,
    pub agent_type: AgentType,
    pub system: Option<String>,
    pub description: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub model: Option<String>,
    pub llm_config: Option<LlmConfig>,
    pub embedding: Option<String>,
    pub embedding_config: Option<Value>,
    pub embedding_chunk_size: Option<i64>,
    pub model_settings: Option<Map<String, Value>>,
    pub compaction_settings: Option<Value>,
    pub response_format: Option<Value>,
    pub context_window_limit: Option<i64>,
    pub max_tokens: Option<i64>,
    pub parallel_tool_calls: Option<bool>,
    pub reasoning: Option<bool>,
    pub memory_blocks: Vec<NewBlock>,
    pub block_ids: Vec<BlockId>,
    pub tools: Vec<String>,
    pub tool_ids: Vec<ToolId>,
    pub include_base_tools: bool,
    pub include_multi_agent_tools: bool,
    pub include_base_tool_rules: Option<bool>,
    pub tool_rules: Option<Vec<Value>>,
    pub tags: Vec<String>,
    pub secrets: Vec<(String, String)>,
    pub identity_ids: Vec<IdentityId>,
    pub folder_ids: Vec<FolderId>,
    pub timezone: Option<String>,
    pub message_buffer_autoclear: bool,
    pub enable_sleeptime: Option<bool>,
    pub hidden: Option<bool>,
    pub max_files_open: Option<i64>,
    pub per_file_view_window_char_limit: Option<i64>,
    pub people: People,
    /// Whether an agent of that name, where there is one, is taken in place of a new one.
    pub if_not_exists: bool,
    pub initial_messages: Option<Vec<NewMessage>>,
    pub labels: AgentLabels,
}

/// What a PATCH changes: `None` leaves a field as it is, `Some(None)` clears it, lists replace.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct AgentPatch {
    pub name: Option<String>,
    pub system: Option<String>,
    pub description: Option<Option<String>>,
    pub metadata: Option<Option<Map<String, Value>>>,
    pub model: Option<String>,
    pub llm_config: Option<LlmConfig>,
    pub embedding: Option<String>,
    pub embedding_config: Option<Option<Value>>,
    pub model_settings: Option<Map<String, Value>>,
    pub compaction_settings: Option<Option<Value>>,
    pub response_format: Option<Option<Value>>,
    pub context_window_limit: Option<i64>,
    pub max_tokens: Option<Option<i64>>,
    pub parallel_tool_calls: Option<bool>,
    pub reasoning: Option<bool>,
    pub block_ids: Option<Vec<BlockId>>,
    pub tool_ids: Option<Vec<ToolId>>,
    pub tool_rules: Option<Vec<Value>>,
    pub tags: Option<Vec<String>>,
    pub secrets: Option<Vec<(String, String)>>,
    pub identity_ids: Option<Vec<IdentityId>>,
    pub folder_ids: Option<Vec<FolderId>>,
    pub message_ids: Option<Vec<MessageId>>,
    pub timezone: Option<String>,
    pub message_buffer_autoclear: Option<bool>,
    pub enable_sleeptime: Option<Option<bool>>,
    pub hidden: Option<Option<bool>>,
    pub max_files_open: Option<i64>,
    pub per_file_view_window_char_limit: Option<i64>,
    pub require_user: Option<bool>,
    pub open_to_users: Option<Vec<String>>,
    pub last_run_completion: Option<Option<Timestamp>>,
    pub last_run_duration_ms: Option<Option<i64>>,
    pub last_stop_reason: Option<Option<String>>,
    pub project_id: Option<Option<String>>,
    pub template_id: Option<Option<String>>,
    pub base_template_id: Option<Option<String>>,
}

impl Engine {
    /// Makes an agent with its blocks, tools, default conversation and compiled prompt.
    ///
    /// # Errors
    /// No model is named or known, a name or value is not valid, something that is linked does not
    /// exist, or the database's.
    pub async fn create_agent(
        &self,
        scope: &Scope,
        request: CreateAgent,
    ) -> Result<AgentId, EngineError> {
        if request.if_not_exists {
            let known = self.named_agent(scope, request.name.as_deref()).await?;
            if let Some(id) = known {
                return Ok(id);
            }
        }
        let draft = self.draft(scope, request).await?;
        let (scope, secrets) = (scope.clone(), self.store().secrets().clone());
        self.store()
            .write(move |tx| {
                // Boxed by itself, or else the job's future would be that large wherever it is moved.
                Box::pin(async move { Box::pin(draft.store(tx, &scope, &secrets)).await })
            })
            .await
    }

    /// The oldest agent of a name.
    async fn named_agent(
        &self,
        scope: &Scope,
        name: Option<&str>,
    ) -> Result<Option<AgentId>, EngineError> {
        let Some(name) = name.map(str::to_owned) else {
            return Err(EngineError::Invalid(
                "INVALID_ARGUMENT: if_not_exists needs a name: it says which agent is meant"
                    .to_owned(),
            ));
        };
        let scope = scope.clone();
        let found = self
            .store()
            .read(move |tx| Box::pin(async move { agents::oldest_named(tx, &scope, &name).await }));
        Ok(found.await?)
    }

    /// Changes an agent. What its prompt shows is in its next request.
    ///
    /// # Errors
    /// There is none, a value is not valid, something that is linked does not exist, its context is
    /// to change while a run holds it, or the database's.
    pub async fn update_agent(
        &self,
        scope: &Scope,
        id: AgentId,
        mut patch: AgentPatch,
    ) -> Result<(), EngineError> {
        let models = self.patched_models(scope, &patch).await?;
        let message_ids = patch.message_ids.take();
        patching::check(&patch)?;
        let (for_job, now) = (scope.clone(), self.now());
        let secrets = self.store().secrets().clone();
        if let Some(message_ids) = message_ids {
            self.set_context(scope, id, message_ids).await?;
        }
        let patched = self.store().write(move |tx| {
            Box::pin(async move {
                let patching = patching::Patching {
                    scope: &for_job,
                    id,
                    patch,
                    models,
                    now,
                };
                patching.store(tx, &secrets).await
            })
        });
        self.tell_cancelled(&patched.await?);
        Ok(())
    }

    /// Removes an agent with everything that is its own; a run of it is cancelled first.
    ///
    /// # Errors
    /// There is none, or the database's.
    pub async fn delete_agent(&self, scope: &Scope, id: AgentId) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        // In one transaction: no run may begin in between.
        let cancelled = self.store().write(move |tx| {
            Box::pin(async move {
                let of_agent = RunFilter {
                    agent_ids: vec![id],
                    ..RunFilter::default()
                };
                let mut cancelled = follow::cancel_in(tx, &scope, &of_agent, None, now).await?;
                cancelled.extend(companion::remove(tx, &scope, id, now).await?);
                companion::leave(tx, &scope, id, now).await?;
                agents::delete(tx, &scope, id).await?;
                Ok::<_, EngineError>(cancelled)
            })
        });
        self.tell_cancelled(&cancelled.await?);
        Ok(())
    }

    /// The configuration of a model that a provider has.
    pub(crate) async fn config_of(
        &self,
        scope: &Scope,
        handle: &str,
    ) -> Result<LlmConfig, EngineError> {
        validation::model_handle(handle).map_err(invalid)?;
        if self.embeddings().in_process_named(handle).is_some() {
            return Err(cannot_talk(handle));
        }
        let resolved = self.resolve_model(scope, handle).await?;
        if resolved.known_kind == Some(ModelKind::Embedding) {
            return Err(cannot_talk(handle));
        }
        Ok(defaults::config_of(
            &resolved,
            self.settings().max_context_window,
        ))
    }

    /// Whether a model can be talked with.
    ///
    /// # Errors
    /// No provider has it, or it is one for embeddings.
    pub async fn know_model(&self, scope: &Scope, handle: &str) -> Result<(), EngineError> {
        self.config_of(scope, handle).await.map(drop)
    }

    /// The handle of a model that may be named without its provider, as `gpt-4o`: the first provider that has it is meant.
    ///
    /// # Errors
    /// No provider has it, or the database's.
    pub async fn full_handle(&self, scope: &Scope, name: &str) -> Result<String, EngineError> {
        if !name.is_empty() && !name.contains('/') {
            let listing = self.models(scope).await?;
            let mut models = listing.models.iter();
            if let Some(model) = models.find(|model| model.model == name) {
                return Ok(model.handle.clone());
            }
        }
        validation::model_handle(name).map_err(invalid)?;
        Ok(name.to_owned())
    }

    /// The description of an embedding model that a provider has.
    pub(crate) async fn embedding_config_of(
        &self,
        scope: &Scope,
        handle: &str,
        chunk_size: Option<i64>,
    ) -> Result<Value, EngineError> {
        if let Some(info) = self.embeddings().in_process_named(handle) {
            return Ok(defaults::local_embedding_config(&info, chunk_size));
        }
        match self.resolve_model(scope, handle).await {
            Ok(resolved) if resolved.known_kind == Some(ModelKind::Llm) => {
                Err(EngineError::Invalid(format!(
                    "INVALID_ARGUMENT: {handle} is a model to talk with and makes no embeddings: name an embedding \
                     model, or leave `embedding` out for this server's own"
                )))
            }
            Ok(resolved) => Ok(defaults::embedding_config_of(&resolved, chunk_size)),
            Err(error) => Err(EngineError::Invalid(format!(
                "INVALID_ARGUMENT: Embedding model {handle} not found: {error}"
            ))),
        }
    }
}

fn cannot_talk(handle: &str) -> EngineError {
    EngineError::Invalid(format!(
        "INVALID_ARGUMENT: {handle} makes embeddings and can't be talked with: name another `model`; this one can \
         be the agent's `embedding`"
    ))
}

fn invalid(error: validation::Invalid) -> EngineError {
    EngineError::Invalid(error.to_string())
}
