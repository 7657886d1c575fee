//! Changing an agent: the fields and relations that a PATCH names, in one commit.

use mnemic_core::{
    agents::{Agent, LlmConfig},
    ids::{AgentId, RunId},
    scope::Scope,
    time::Timestamp,
    validation,
};
use mnemic_store::{Secrets, Tx, agent_secrets, agents, blocks, identities, tools};
use serde_json::Value;

use super::{
    AgentPatch, checks, creation,
    defaults::{self, apply_settings},
    invalid,
};
use crate::{Engine, EngineError, groups::companion, tools::approval_rules};

/// The models that a PATCH names, resolved before the transaction.
#[derive(Debug, Default)]
pub(super) struct Models {
    llm: Option<LlmConfig>,
    embedding: Option<Value>,
}

impl Engine {
    /// Resolves the models that a PATCH names.
    pub(super) async fn patched_models(
        &self,
        scope: &Scope,
        patch: &AgentPatch,
    ) -> Result<Models, EngineError> {
        let llm = match &patch.model {
            Some(handle) => Some(self.config_of(scope, handle).await?),
            None => patch.llm_config.clone(),
        };
        let embedding = match &patch.embedding {
            Some(handle) => Some(self.embedding_config_of(scope, handle, None).await?),
            None => None,
        };
        Ok(Models { llm, embedding })
    }
}

/// Refuses values that no agent can have.
pub(super) fn check(patch: &AgentPatch) -> Result<(), EngineError> {
    if let Some(name) = &patch.name {
        validation::agent_name(name).map_err(invalid)?;
    }
    for tag in patch.tags.iter().flatten() {
        validation::tag(tag).map_err(invalid)?;
    }
    checks::of_patch(patch)
}

/// A PATCH on its way into the store.
pub(super) struct Patching<'a> {
    pub scope: &'a Scope,
    pub id: AgentId,
    pub patch: AgentPatch,
    pub models: Models,
    pub now: Timestamp,
}

impl Patching<'_> {
    pub(super) async fn store(
        self,
        tx: &mut Tx<'_>,
        secrets: &Secrets,
    ) -> Result<Vec<RunId>, EngineError> {
        let before = agents::get_for_update(tx, self.scope, self.id).await?;
        let mut agent = Agent {
            updated_at: self.now,
            ..before.clone()
        };
        if let Some(wanted) = &self.patch.secrets {
            agent_secrets::replace(tx, secrets, self.id, wanted, self.now).await?;
        }
        let (scope, id, now) = (self.scope, self.id, self.now);
        let related = self.relate(tx).await?;
        let tool_ids = self.patch.tool_ids.clone();
        change_model(&mut agent, &self.patch, self.models);
        let new_rules = self.patch.tool_rules.is_some();
        change(&mut agent, self.patch);
        if new_rules {
            checks::first_rules(&agent.tool_rules, &agent.llm_config.model)?;
        }
        for tool_id in tool_ids.into_iter().flatten() {
            let tool = creation::by_id(tx, scope, tool_id).await?;
            if let Some(rules) = approval_rules(&agent, &tool) {
                agent.tool_rules = rules;
            }
        }
        agents::update(tx, scope, &before, &agent).await?;
        if related {
            agents::touch(tx, scope, id, now).await?;
        }
        match (companion::is_wanted(&before), companion::is_wanted(&agent)) {
            (_, true) => {
                companion::make(tx, scope, secrets, &agent, now).await?;
                Ok(Vec::new())
            }
            (true, false) => companion::remove(tx, scope, id, now).await,
            (false, false) => Ok(Vec::new()),
        }
    }

    /// Replaces the relations that the PATCH names; whether its requests may show that.
    async fn relate(&self, tx: &mut Tx<'_>) -> Result<bool, EngineError> {
        let (scope, id, patch) = (self.scope, self.id, &self.patch);
        if let Some(wanted) = &patch.block_ids {
            for block in blocks::of_agent(tx, scope, id).await? {
                blocks::detach(tx, id, block.id).await?;
            }
            for block_id in wanted {
                blocks::attach(tx, scope, id, *block_id).await?;
            }
        }
        if let Some(wanted) = &patch.tool_ids {
            for tool in tools::of_agent(tx, scope, id).await? {
                tools::detach(tx, id, tool.id).await?;
            }
            for tool_id in wanted {
                creation::by_id(tx, scope, *tool_id).await?;
                tools::attach(tx, scope, id, *tool_id).await?;
            }
        }
        if let Some(tags) = &patch.tags {
            agents::set_tags(tx, scope, id, tags).await?;
        }
        if let Some(wanted) = &patch.identity_ids {
            identities::set_of_agent(tx, scope, id, wanted).await?;
        }
        if let Some(folders) = &patch.folder_ids {
            agents::set_folders(tx, scope, id, folders).await?;
        }
        Ok(patch.block_ids.is_some() || patch.tool_ids.is_some() || patch.folder_ids.is_some())
    }
}

/// Applies what the PATCH says about the models.
fn change_model(agent: &mut Agent, patch: &AgentPatch, models: Models) {
    if let Some(config) = models.llm {
        agent.llm_config = config;
        // Settings were made for the model before.
        agent.model_settings = None;
    }
    let config = &mut agent.llm_config;
    if let Some(settings) = &patch.model_settings {
        apply_settings(config, settings);
        agent.model_settings = Some(Value::Object(settings.clone()));
    }
    config.context_window = patch.context_window_limit.unwrap_or(config.context_window);
    config.max_tokens = patch.max_tokens.unwrap_or(config.max_tokens);
    config.parallel_tool_calls = patch.parallel_tool_calls.or(config.parallel_tool_calls);
    if let Some(reasoning) = patch.reasoning {
        config
            .extra
            .insert("enable_reasoner".to_owned(), Value::Bool(reasoning));
    }
    if models.embedding.is_some() {
        agent.embedding_config = models.embedding;
    } else if let Some(given) = &patch.embedding_config {
        agent.embedding_config.clone_from(given);
    }
}

/// Applies the other fields of the PATCH.
fn change(agent: &mut Agent, patch: AgentPatch) {
    set(&mut agent.name, patch.name);
    set(&mut agent.system, patch.system);
    set(&mut agent.timezone, patch.timezone);
    if let Some(rules) = patch.tool_rules {
        agent.tool_rules = rules.iter().map(defaults::complete).collect();
    }
    set(
        &mut agent.message_buffer_autoclear,
        patch.message_buffer_autoclear,
    );
    set(&mut agent.description, patch.description);
    set(&mut agent.metadata, patch.metadata);
    set(&mut agent.response_format, patch.response_format);
    set(&mut agent.compaction_settings, patch.compaction_settings);
    set(&mut agent.enable_sleeptime, patch.enable_sleeptime);
    set(&mut agent.hidden, patch.hidden);
    set(&mut agent.max_files_open, patch.max_files_open.map(Some));
    let chars = patch.per_file_view_window_char_limit.map(Some);
    set(&mut agent.per_file_view_window_char_limit, chars);
    set(&mut agent.people.require_user, patch.require_user);
    set(&mut agent.people.open_to_users, patch.open_to_users);
    set(&mut agent.last_run_completion, patch.last_run_completion);
    set(&mut agent.last_run_duration_ms, patch.last_run_duration_ms);
    set(&mut agent.last_stop_reason, patch.last_stop_reason);
    set(&mut agent.labels.project_id, patch.project_id);
    set(&mut agent.labels.template_id, patch.template_id);
    set(&mut agent.labels.base_template_id, patch.base_template_id);
}

fn set<T>(field: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *field = new;
    }
}
