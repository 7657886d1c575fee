//! Tools of files: those that come with servers are found by their names, those that somebody wrote are made.
//!
//! A file grants nothing. What it says was granted counts only when whoever imports it says so, and what was granted
//! here to a tool neither serves another source nor, without that word, an agent of a file.

use std::collections::BTreeMap;

use mnemic_core::{
    agent_file::{AgentFile, ToolEntry},
    ids::ToolId,
    scope::Scope,
    time::Timestamp,
    tools::{
        Language, Tool, ToolType,
        requirements::{MAX_REQUIREMENTS, Registry, Requirement},
    },
    validation,
};
use mnemic_store::{StoreError, Tx, tools};
use serde_json::Value;

use super::import::ImportOptions;
use crate::{
    Engine, EngineError,
    custom::ToolGrants,
    tools::{Existing, ReadyTool, ToolDefinition},
};

/// Characters of a return that models may see (V1 contract, section 5).
const RETURN_CHARS: std::ops::RangeInclusive<i64> = 1..=1_000_000;

/// What a tool of a file becomes.
enum Becoming {
    /// A tool of this server.
    Named { name: String, kind: ToolType },
    /// A tool that somebody wrote.
    Written(Box<ReadyTool>),
}

/// The tools of a file, by their ids in it.
#[derive(Default)]
pub(super) struct ReadyTools {
    all: Vec<(String, Becoming)>,
    existing: Option<Existing>,
    allow_grants: bool,
}

impl ReadyTools {
    /// Reads the tools of a file; what can't be taken over is added to `left_out`.
    pub(super) async fn new(
        engine: &Engine,
        (file, options): (&AgentFile, &ImportOptions),
        left_out: &mut Vec<String>,
    ) -> Result<Self, EngineError> {
        let mut ready = Self {
            all: Vec::with_capacity(file.tools.len()),
            existing: Some(match options.keep_existing_tools {
                true => Existing::Keep,
                false => Existing::ChangeUngranted,
            }),
            allow_grants: options.allow_grants,
        };
        for entry in &file.tools {
            let Some(name) = entry.called().map(str::to_owned) else {
                return Err(wrong(&entry.id, "it has no name"));
            };
            let kind = entry.tool_type.as_deref().unwrap_or("custom");
            let becoming = match ToolType::parse(kind) {
                Some(ToolType::Custom) => {
                    let mut definition =
                        definition(entry).map_err(|error| wrong(&name, &error.to_string()))?;
                    definition.is_from_tool = options.is_from_tool;
                    let granted = file.mnemic.grants.get(&entry.id);
                    match (granted, options.allow_grants) {
                        (Some(granted), true) => definition.grants = Some(Some(grants(granted)?)),
                        (Some(_), false) => left_out.push(format!(
                            "what was granted to the tool '{name}' (allow_grants=true takes it over)"
                        )),
                        (None, _) => {}
                    }
                    engine.check_grants(&definition)?;
                    Becoming::Written(Box::new(definition.ready().await?))
                }
                Some(kind) => Becoming::Named { name, kind },
                None => {
                    left_out.push(format!(
                        "the tool '{name}', whose type '{kind}' is not known"
                    ));
                    continue;
                }
            };
            ready.all.push((entry.id.clone(), becoming));
        }
        Ok(ready)
    }

    /// Makes or finds the tools. The answer has the ids here of those in the file.
    pub(super) async fn store(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        now: Timestamp,
        left_out: &mut Vec<String>,
    ) -> Result<BTreeMap<String, ToolId>, EngineError> {
        let existing = self.existing.unwrap_or(Existing::Keep);
        let mut ids = BTreeMap::new();
        for (id, becoming) in &self.all {
            let tool = match becoming {
                Becoming::Written(ready) => ready.put(tx, scope, existing, now).await?,
                Becoming::Named { name, kind } => {
                    let known = tools::by_name_for_update(tx, scope, name).await?;
                    let Some(tool) = known.filter(|tool| is_same_kind(tool.tool_type, *kind))
                    else {
                        left_out.push(format!(
                            "the tool '{name}' of the type {}, which this server does not have",
                            kind.as_str()
                        ));
                        continue;
                    };
                    tool
                }
            };
            self.check_granted(&tool)?;
            ids.insert(id.clone(), tool.id);
        }
        Ok(ids)
    }

    /// Refuses to hand a tool that may reach something to an agent that somebody else wrote.
    pub(super) fn check_granted(&self, tool: &Tool) -> Result<(), StoreError> {
        if self.allow_grants || !ToolGrants::has_some(tool) {
            return Ok(());
        }
        Err(StoreError::Conflict(format!(
            "the tool '{}' is here already and something was granted to it, which agents of the file could use: \
             import with allow_grants=true if they may",
            tool.name
        )))
    }
}

/// Built-in tools moved between types from one version of the V1 API to another.
fn is_same_kind(here: ToolType, there: ToolType) -> bool {
    here == there || (here.is_builtin() && there.is_builtin())
}

fn wrong(tool: &str, error: &str) -> EngineError {
    EngineError::Invalid(format!(
        "the agent file is wrong at its tool '{tool}': {error}"
    ))
}

fn grants(granted: &Value) -> Result<ToolGrants, EngineError> {
    ToolGrants::parse(granted).map_err(|error| {
        EngineError::Invalid(format!("the agent file is wrong at mnemic.grants: {error}"))
    })
}

fn definition(entry: &ToolEntry) -> Result<ToolDefinition, EngineError> {
    let language = match entry.source_type.as_deref() {
        None => Language::Python,
        Some(name) => Language::parse(name).ok_or_else(|| {
            EngineError::Invalid(format!("'{name}' is neither python nor typescript"))
        })?,
    };
    for tag in &entry.tags {
        validation::tag(tag).map_err(|error| EngineError::Invalid(error.to_string()))?;
    }
    let limit = entry.return_char_limit;
    if let Some(limit) = limit.filter(|limit| !RETURN_CHARS.contains(limit)) {
        return Err(EngineError::Invalid(format!(
            "return_char_limit must be between 1 and 1000000, not {limit}"
        )));
    }
    Ok(ToolDefinition {
        source_code: entry.source_code.clone(),
        language: Some(language),
        json_schema: entry.json_schema.clone().filter(Value::is_object),
        args_json_schema: entry
            .args_json_schema
            .clone()
            .map(|schema| Some(Value::Object(schema))),
        description: entry.description.clone().map(Some),
        tags: Some(entry.tags.clone()),
        return_char_limit: limit,
        pip_requirements: requirements(Registry::Pip, entry.pip_requirements.as_ref())?,
        npm_requirements: requirements(Registry::Npm, entry.npm_requirements.as_ref())?,
        default_requires_approval: Some(entry.default_requires_approval),
        enable_parallel_execution: Some(entry.enable_parallel_execution),
        grants: None,
        metadata: entry.metadata_.clone(),
        project_id: entry.project_id.clone(),
        is_from_tool: false,
    })
}

fn requirements(
    registry: Registry,
    given: Option<&Value>,
) -> Result<Option<Option<Vec<Requirement>>>, EngineError> {
    let Some(given) = given.filter(|given| !given.is_null()) else {
        return Ok(None);
    };
    let list = given
        .as_array()
        .filter(|list| list.len() <= MAX_REQUIREMENTS);
    let list = list.ok_or_else(|| {
        EngineError::Invalid(format!(
            "requirements are a list of at most {MAX_REQUIREMENTS}"
        ))
    })?;
    let one = |value: &Value| {
        let field = |key: &str| value.get(key).and_then(Value::as_str);
        Requirement::new(
            registry,
            field("name").unwrap_or_default(),
            field("version"),
        )
        .map_err(|error| EngineError::Invalid(error.to_string()))
    };
    let read: Result<Vec<_>, _> = list.iter().map(one).collect();
    Ok(Some(Some(read?)))
}
