//! Agents of files as requests to make agents: models of this server, secrets of whoever imports them.

use std::collections::BTreeMap;

use mnemic_core::{
    agent_file::{AgentEntry, BlockEntry},
    agents::{AgentLabels, LlmConfig},
    blocks::DEFAULT_LIMIT,
    scope::Scope,
};
use serde_json::Value;

use super::import::ImportOptions;
use crate::{Engine, EngineError, agents::CreateAgent, blocks::NewBlock};

/// What is added to the name of an agent that is imported without another name.
const COPY: &str = "_copy";

impl Engine {
    /// What it takes to make an agent of a file, without what it is linked to.
    pub(super) async fn request_of(
        &self,
        scope: &Scope,
        entry: &AgentEntry,
        options: &ImportOptions,
        left_out: &mut Vec<String>,
    ) -> Result<CreateAgent, EngineError> {
        let (model, llm_config) = self.model_of_file(scope, entry, options).await?;
        let (embedding, embedding_config) =
            self.embedding_of(scope, entry, options, left_out).await;
        let said = |key: &str| entry.rest.get(key).and_then(Value::as_bool);
        Ok(CreateAgent {
            name: name_of(entry, options),
            agent_type: entry.agent_type,
            system: entry.system.clone(),
            description: entry.description.clone(),
            metadata: entry.metadata.clone(),
            model,
            llm_config,
            embedding,
            embedding_config,
            model_settings: entry.model_settings.clone(),
            compaction_settings: entry.compaction_settings.clone(),
            response_format: entry.response_format.clone(),
            context_window_limit: entry.context_window_limit,
            max_tokens: entry.max_tokens,
            parallel_tool_calls: entry.parallel_tool_calls,
            reasoning: said("reasoning").or_else(|| said("enable_reasoner")),
            memory_blocks: entry.memory_blocks.iter().map(new_block).collect(),
            tools: entry.tools.clone(),
            include_base_tools: said("include_base_tools") == Some(true),
            include_multi_agent_tools: said("include_multi_agent_tools") == Some(true),
            include_base_tool_rules: Some(said("include_base_tool_rules") == Some(true)),
            tool_rules: Some(entry.tool_rules.clone()),
            tags: entry.tags.clone(),
            secrets: secrets(entry, &options.secrets),
            timezone: entry.timezone.clone(),
            message_buffer_autoclear: entry.message_buffer_autoclear,
            enable_sleeptime: entry.enable_sleeptime,
            hidden: entry.hidden,
            max_files_open: entry.max_files_open,
            per_file_view_window_char_limit: entry.per_file_view_window_char_limit,
            // What it has said before is in the file.
            initial_messages: Some(Vec::new()),
            labels: AgentLabels {
                project_id: options
                    .project_id
                    .clone()
                    .or_else(|| entry.project_id.clone()),
                template_id: entry.template_id.clone(),
                base_template_id: entry.base_template_id.clone(),
                ..AgentLabels::default()
            },
            ..CreateAgent::default()
        })
    }

    /// The importer's model, else that of the file by its name: where and how it is reached is this server's to say.
    async fn model_of_file(
        &self,
        scope: &Scope,
        entry: &AgentEntry,
        options: &ImportOptions,
    ) -> Result<(Option<String>, Option<LlmConfig>), EngineError> {
        if options.model.is_some() {
            return Ok((options.model.clone(), None));
        }
        let own = entry
            .llm_config
            .clone()
            .filter(|config| !config.model.is_empty());
        let Some(handle) = own.as_ref().map(handle_of).or_else(|| entry.model.clone()) else {
            return Ok((None, None));
        };
        let known = self.config_of(scope, &handle).await.map_err(|error| {
            EngineError::Invalid(format!(
                "the agent '{}' of the file uses the model {handle}, which this server can't use ({error}): name \
                 another with the form field `model`",
                entry.name
            ))
        })?;
        let mut own = own.unwrap_or_else(|| known.clone());
        // Whose provider it was there says nothing here.
        own.extra.remove("provider_category");
        own.extra.extend(known.extra);
        Ok((
            None,
            Some(LlmConfig {
                model: known.model,
                handle: known.handle,
                model_endpoint_type: known.model_endpoint_type,
                model_endpoint: known.model_endpoint,
                provider_name: known.provider_name,
                context_window: match own.context_window {
                    1.. => own.context_window,
                    _ => known.context_window,
                },
                ..own
            }),
        ))
    }

    /// The importer's embedding model, else that of the file, else this server's: vectors are made anew in any case.
    async fn embedding_of(
        &self,
        scope: &Scope,
        entry: &AgentEntry,
        options: &ImportOptions,
        left_out: &mut Vec<String>,
    ) -> (Option<String>, Option<Value>) {
        if options.embedding.is_some() {
            return (options.embedding.clone(), None);
        }
        let own = entry.embedding_config.as_ref();
        let handle = own.and_then(|config| config.get("handle")?.as_str());
        let Some(handle) = entry.embedding.as_deref().or(handle) else {
            return (None, None);
        };
        let chunk_size = own.and_then(|config| config.get("embedding_chunk_size")?.as_i64());
        match self.embedding_config_of(scope, handle, chunk_size).await {
            Ok(config) => (None, Some(config)),
            Err(_) => {
                left_out.push(format!(
                    "the embedding model {handle} of the agent '{}', which this server does not have",
                    entry.name
                ));
                (None, None)
            }
        }
    }
}

/// The handle by which a model is asked for: `provider/model`, which files of the oldest servers name apart.
pub(super) fn handle_of(config: &LlmConfig) -> String {
    config.handle.clone().unwrap_or_else(|| {
        let provider = config.provider_name.as_deref();
        format!(
            "{}/{}",
            provider.unwrap_or(&config.model_endpoint_type),
            config.model
        )
    })
}

/// The importer's name is that of the first agent; the others keep theirs.
fn name_of(entry: &AgentEntry, options: &ImportOptions) -> Option<String> {
    let own = Some(&entry.name).filter(|name| !name.is_empty());
    options
        .name
        .clone()
        .or_else(|| match options.append_copy_suffix {
            true => own.map(|name| format!("{name}{COPY}")),
            false => own.cloned(),
        })
}

/// Values that the importer gives, over those of the file. A name without a value is kept, so that it can be seen what
/// is missing.
fn secrets(entry: &AgentEntry, given: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let older = &entry.tool_exec_environment_variables;
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in older.iter().chain(entry.secrets.iter().flatten()) {
        let kept = all.entry(key.clone()).or_default();
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            kept.clone_from(value);
        }
    }
    all.extend(given.clone());
    all.into_iter().collect()
}

pub(super) fn new_block(entry: &BlockEntry) -> NewBlock {
    // Older servers did not hold every value to its limit: what is there is taken.
    let chars = i64::try_from(entry.value.chars().count()).unwrap_or(i64::MAX);
    NewBlock {
        label: entry.label.clone(),
        value: entry.value.clone(),
        limit: Some(match entry.limit {
            Some(limit @ ..=0) => limit,
            limit => limit.unwrap_or(DEFAULT_LIMIT).max(chars),
        }),
        description: entry.description.clone(),
        read_only: entry.read_only,
        metadata: entry.metadata.clone(),
        tags: entry.tags.clone(),
        hidden: entry.hidden,
        is_template: entry.is_template,
        labels: entry.labels.clone(),
    }
}
