//! Tools that people wrote: what a call of one sees, and what becomes of its answer.

mod code;
mod doors;
pub(crate) mod grants;
mod images;
pub(crate) mod outside;
mod state;

use std::collections::BTreeMap;

use mnemic_core::{
    memory::{BlockEdit, MemoryChange},
    messages::{Image, ToolCall, ToolReturn, ToolStatus},
    sandbox_configs::{self, Layer, layered},
    scope::Scope,
    tools::{
        Language, Tool,
        requirements::{Registry, Requirement},
    },
};
use mnemic_store::{
    StoreError,
    blocks::{self, Place},
};
use mnemic_tools::{
    sandbox::{self, Outcome, Sandbox, Status},
    schema,
};
use serde_json::{Map, Value, json};

pub use mnemic_tools::sandbox::{Ask, Door, Reply};

pub(crate) use self::doors::MAX_DEPTH;
pub use self::{
    doors::{Above, Doors, Reach, Visit},
    grants::{Ceiling, FolderAccess, FolderGrant, ToolGrants},
    outside::{AgentToolRun, SourceRun},
};
use crate::{
    Engine, EngineError,
    agents::{AgentState, Relations},
    clipping,
    dispatch::MemoryChanges,
    sandbox_configs::Common,
};

/// Characters of an error that a model sees (V1 contract, section 5).
const MAX_ERROR_CHARS: usize = 1_000;

/// What of an agent its tools see.
const SEEN: Relations = Relations {
    identities: false,
    pending: false,
    managed: false,
    ..Relations::ALL
};

/// How tools run that people wrote.
#[derive(Debug, Clone, Default)]
pub struct ToolSettings {
    /// Where they are kept in; none: they do not run.
    pub sandbox: Option<sandbox::Settings>,
    /// What one call may use.
    pub limits: sandbox::Limits,
    /// What may be granted to tools at the most.
    pub ceiling: Ceiling,
}

impl ToolSettings {
    /// Whether tools also run where they can't be kept in.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        let settings = self.sandbox.as_ref();
        settings.is_some_and(|settings| settings.unsafe_tools == sandbox::UnsafeTools::Run)
    }
}

/// A call of a tool that somebody wrote.
#[derive(Debug, Clone)]
pub(crate) struct CustomCall {
    pub tool: Tool,
    pub arguments: Map<String, Value>,
    /// Variables of this call alone.
    pub variables: BTreeMap<String, String>,
    /// What stands above it.
    pub above: Above,
}

impl CustomCall {
    /// Whether it gets its agent's memory, and may change it.
    pub fn sees_memory(&self) -> bool {
        sees_memory(self.tool.source_code.as_deref().unwrap_or_default())
    }
}

/// Whether a source may have a parameter for the agent. Most never look at it.
fn sees_memory(source: &str) -> bool {
    source.contains("agent_state")
}

/// What became of a call.
#[derive(Debug)]
pub struct ToolRun {
    /// The tool's name.
    pub name: String,
    /// Whether it returned.
    pub status: ToolStatus,
    /// What it returned; null if it did not.
    pub value: Value,
    /// What a model reads: the value, or what went wrong.
    pub text: String,
    /// Lines that it printed.
    pub stdout: Vec<String>,
    /// Lines that it wrote to stderr, a traceback among them.
    pub stderr: Vec<String>,
    /// Images that it returned.
    pub images: Vec<Image>,
    /// What it changed in its agent's memory; not kept yet.
    pub(crate) changes: Option<MemoryChanges>,
}

impl ToolRun {
    pub(crate) fn failed(name: &str, reason: impl std::fmt::Display) -> Self {
        let text = format!("Error executing function {name}: {reason}");
        Self {
            name: name.to_owned(),
            status: ToolStatus::Error,
            value: Value::Null,
            text: text.chars().take(MAX_ERROR_CHARS).collect(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            images: Vec::new(),
            changes: None,
        }
    }

    fn of(name: &str, outcome: Outcome) -> Self {
        let mut run = match outcome.status {
            Status::Returned => {
                let (rest, images) = images::taken(&outcome.value);
                Self {
                    status: ToolStatus::Success,
                    text: text_of(&rest),
                    value: outcome.value,
                    images,
                    ..Self::failed(name, "")
                }
            }
            Status::Raised(raised) => {
                Self::failed(name, format!("{}: {}", raised.kind, raised.message))
            }
            Status::Stopped(stop) => Self::failed(name, stop),
        };
        run.stdout = outcome.stdout;
        run.stderr = outcome.stderr;
        run
    }

    /// The return that a model reads, of at most so many characters.
    pub(crate) fn returned(&self, call: &ToolCall, max_chars: i64) -> ToolReturn {
        let max_chars = usize::try_from(max_chars).unwrap_or(usize::MAX);
        let returned = ToolReturn {
            tool_call_id: call.id.clone(),
            name: call.name.clone(),
            status: self.status,
            text: self.text.clone(),
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
            images: self.images.clone(),
        };
        clipping::clipped(returned, max_chars)
    }
}

/// A value as models read it: texts as they are, nothing as Python says it.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Engine {
    /// The place where tools run; none where the settings have none.
    pub async fn sandbox(&self) -> Option<&Sandbox> {
        let settings = self.inner.settings.tools.sandbox.as_ref()?;
        let made = self
            .inner
            .sandbox
            .get_or_init(|| Sandbox::new(settings.clone()));
        Some(made.await)
    }

    /// An agent as its tools see it in a thread.
    async fn seen_agent(&self, scope: &Scope, place: Place) -> Result<AgentState, EngineError> {
        let mut state = self.agent(scope, place.agent_id, SEEN).await?;
        if place.conversation_id.is_some() {
            let common = scope.common();
            let shown = self.store().read(move |tx| {
                Box::pin(async move { blocks::of_place(tx, &common, place).await })
            });
            state.blocks = shown.await.map_err(|error: StoreError| error)?;
        }
        Ok(state)
    }

    /// Runs a tool that somebody wrote, for an agent or for nobody. Whatever is wrong with the call or the tool is told in
    /// what comes back.
    ///
    /// # Errors
    /// There is no such agent, or the database's.
    pub(crate) async fn run_custom(
        &self,
        scope: &Scope,
        place: Option<Place>,
        call: CustomCall,
    ) -> Result<ToolRun, EngineError> {
        let name = call.tool.name.clone();
        let Some(sandbox) = self.sandbox().await else {
            return Ok(ToolRun::failed(
                &name,
                "this server runs no tools that people wrote",
            ));
        };
        if call.above.depth >= doors::MAX_DEPTH {
            let reason = "tools called tools too many times over";
            return Ok(ToolRun::failed(&name, reason));
        }
        let agent = place.map(|place| place.agent_id);
        let visit = Visit {
            scope: scope.clone(),
            agent_id: agent,
            above: call.above.below(agent),
            reach: Reach::Api,
        };
        let agent = match place {
            Some(place) => Some(self.seen_agent(scope, place).await?),
            None => None,
        };
        let common = self.common_of_tools(scope).await?;
        let settings = &self.inner.settings.tools;
        let mut prepared = match prepare(settings, call, agent.as_ref(), common) {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(ToolRun::failed(&name, reason)),
        };
        // Most tools never look for it.
        if prepared.source.contains("client") {
            prepared.door = self.open_door(visit);
        }
        let mut outcome = match sandbox.run(prepared).await {
            Ok(outcome) => outcome,
            Err(error) => return Ok(ToolRun::failed(&name, error)),
        };
        mnemic_store::failpoints::hit("tool.effect");
        let changed = std::mem::take(&mut outcome.memory);
        let mut run = ToolRun::of(&name, outcome);
        run.changes = agent.and_then(|agent| changes(&agent, changed));
        Ok(run)
    }
}

/// Everything that a call gets.
fn prepare(
    settings: &ToolSettings,
    call: CustomCall,
    agent: Option<&AgentState>,
    common: Common,
) -> Result<sandbox::Call, String> {
    let tool = &call.tool;
    let Some(source) = &tool.source_code else {
        return Err("the tool has no source".to_owned());
    };
    let language = Language::parse(&tool.source_type).unwrap_or_default();
    let function =
        schema::function_name(language, source, &tool.name).map_err(|error| error.to_string())?;
    let granted = ToolGrants::of(tool);
    let variables = layered([
        granted.variables(&settings.ceiling)?,
        common.variables,
        secrets(agent),
        call.variables,
        identity(tool, agent),
    ]);
    let mut injected = Map::new();
    if let Some(agent) = agent {
        injected.insert("agent_id".to_owned(), json!(agent.agent.id));
        if sees_memory(source) {
            injected.insert("agent_state".to_owned(), state::of(agent));
        }
    }
    Ok(sandbox::Call {
        language: match language {
            Language::Python => sandbox::Language::Python,
            Language::TypeScript => sandbox::Language::TypeScript,
        },
        source: source.clone(),
        function: Some(function),
        arguments: own_arguments(call.arguments, tool),
        injected,
        door: None,
        tools: Vec::new(),
        variables,
        packages: packages(tool, language, &common.packages)?,
        edition: common.edition,
        is_nested: call.above.is_awaited,
        limits: settings.limits,
        grants: granted.opened(&settings.ceiling)?,
    })
}

/// Arguments without those that only the server gives: what a model or a client says there is no proof of anything.
fn own_arguments(mut arguments: Map<String, Value>, tool: &Tool) -> Map<String, Value> {
    let declared = tool.json_schema.pointer("/parameters/properties/client");
    for name in ["self", "agent_id", "agent_state"] {
        arguments.remove(name);
    }
    if declared.is_none() {
        arguments.remove("client");
    }
    arguments
}

/// The packages that a call of a tool needs. They were checked when they were stored.
fn packages(
    tool: &Tool,
    language: Language,
    common: &[Requirement],
) -> Result<Vec<Requirement>, String> {
    let (registry, field, common) = match language {
        Language::Python => (Registry::Pip, "pip_requirements", common),
        Language::TypeScript => (Registry::Npm, "npm_requirements", [].as_slice()),
    };
    let stored = tool.extra.get(field).and_then(Value::as_array);
    let stored = stored.into_iter().flatten();
    let own: Result<Vec<_>, _> = stored
        .map(|package| Requirement::from_json(registry, package))
        .collect();
    let own = own.map_err(|error| error.to_string())?;
    Ok(sandbox_configs::packages(own, common))
}

/// The secrets of the agent that calls.
fn secrets(agent: Option<&AgentState>) -> Layer {
    let secrets = agent.into_iter().flat_map(|agent| &agent.secrets);
    secrets
        .map(|secret| (secret.key.clone(), secret.value.clone()))
        .collect()
}

/// The last layer of the variables (V1 contract, section 12): by whom the tool is called.
fn identity(tool: &Tool, agent: Option<&AgentState>) -> Layer {
    let mut variables = Layer::from([("LETTA_TOOL_ID".to_owned(), tool.id.to_string())]);
    if let Some(AgentState { agent, .. }) = agent {
        variables.insert("LETTA_AGENT_ID".to_owned(), agent.id.to_string());
        let project = agent.labels.project_id.clone().unwrap_or_default();
        variables.insert("LETTA_PROJECT_ID".to_owned(), project);
    }
    variables
}

/// What a tool changed, as operations on the blocks that it saw.
fn changes(agent: &AgentState, changed: BTreeMap<String, String>) -> Option<MemoryChanges> {
    if changed.is_empty() {
        return None;
    }
    let change = |(label, value)| MemoryChange::Edit {
        label,
        edit: BlockEdit::Rethink { value },
    };
    Some(MemoryChanges {
        changes: changed.into_iter().map(change).collect(),
        seen: outside::revisions(agent),
    })
}
