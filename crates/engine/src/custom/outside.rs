//! Calls of tools that no model made: by clients who try a source, or call an agent's tool themselves.

use std::collections::{BTreeMap, HashMap};

use mnemic_core::{
    builtin::BuiltinCall,
    ids::AgentId,
    messages::{ToolCall, ToolReturn, ToolStatus},
    scope::Scope,
    tools::ToolType,
};
use serde_json::{Map, Value};

use super::{Above, CustomCall, ToolRun};
use crate::{
    Engine, EngineError,
    agents::{AgentState, Relations},
    dispatch::{self, Action, Editor, External, MemoryChanges},
    messaging::Sender,
    tools::{ToolDefinition, needs_approval},
};

/// A source that is to be run once.
#[derive(Debug, Clone)]
pub struct SourceRun {
    /// The tool as it would be stored.
    pub definition: ToolDefinition,
    /// Its name, where the source has several functions.
    pub name: Option<String>,
    /// Arguments by name.
    pub arguments: Map<String, Value>,
    /// The variables that it sees.
    pub variables: BTreeMap<String, String>,
    /// What stands above it; nothing above a client's own call.
    pub above: Above,
}

/// A call of an agent's tool by a client.
#[derive(Debug, Clone)]
pub struct AgentToolRun {
    /// The agent.
    pub agent_id: AgentId,
    /// The tool's name.
    pub tool: String,
    /// Arguments by name.
    pub arguments: Map<String, Value>,
    /// What stands above it; nothing above a client's own call.
    pub above: Above,
}

impl Engine {
    /// Runs a source once. Nothing is stored.
    ///
    /// # Errors
    /// The database's. What is wrong with the source is told in what comes back.
    pub async fn run_source(&self, scope: &Scope, run: SourceRun) -> Result<ToolRun, EngineError> {
        let tool = run.definition.unsaved(run.name.as_deref(), self.now());
        let call = CustomCall {
            tool,
            arguments: run.arguments,
            variables: run.variables,
            above: run.above,
        };
        self.run_custom(scope, None, call).await
    }

    /// Runs a tool of an agent. What it changes in the agent's memory is kept.
    ///
    /// # Errors
    /// There is no such agent, it has no such tool, or the database's.
    pub async fn run_agent_tool(
        &self,
        scope: &Scope,
        run: AgentToolRun,
    ) -> Result<ToolRun, EngineError> {
        let relations = Relations {
            tools: true,
            blocks: true,
            ..Relations::NONE
        };
        let agent = self.agent(scope, run.agent_id, relations).await?;
        let found = agent.tools.iter().find(|tool| tool.name == run.tool);
        let Some(tool) = found else {
            let name = run.tool;
            return Err(EngineError::NotFound(format!(
                "the agent has no tool '{name}': attach it first"
            )));
        };
        if !run.above.is_empty() && needs_approval(&agent.agent, &tool.name) {
            let reason = "a person has to approve it, so the agent itself has to call it";
            return Ok(ToolRun::failed(&tool.name, reason));
        }
        if tool.tool_type != ToolType::Custom {
            return self.run_own(scope, &agent, run).await;
        }
        let call = CustomCall {
            tool: tool.clone(),
            arguments: run.arguments,
            variables: BTreeMap::new(),
            above: run.above,
        };
        let mut done = self
            .run_custom(scope, Some(run.agent_id.into()), call)
            .await?;
        if let Some(changes) = done.changes.take()
            && let Err(reason) = self.keep(scope, run.agent_id, changes).await?
        {
            done.status = ToolStatus::Error;
            done.text = not_kept(&reason);
        }
        Ok(done)
    }

    /// Does what one of the server's own tools does, as a client asks for it.
    async fn run_own(
        &self,
        scope: &Scope,
        agent: &AgentState,
        run: AgentToolRun,
    ) -> Result<ToolRun, EngineError> {
        let arguments = Value::Object(run.arguments);
        let call = ToolCall {
            id: String::new(),
            name: run.tool,
            arguments: arguments.to_string(),
        };
        let zone = &agent.agent.timezone;
        let action = match BuiltinCall::parse_in(zone, &call.name, &arguments) {
            Ok(own) => dispatch::plan_builtin(&revisions(agent), &call, own),
            Err(wrong) => Action::Known(dispatch::failed(&call, wrong.to_string())),
        };
        let returned = match action {
            Action::Known(returned) => returned,
            Action::Search(look) => {
                dispatch::search(self, scope, &agent.agent, (&call, look)).await?
            }
            Action::Web(look) => match self.look_into_web(run.agent_id, look).await? {
                Ok(text) => dispatch::succeeded(&call, text),
                Err(reason) => dispatch::failed(&call, reason),
            },
            Action::External(External::Code(code)) => {
                return self.run_code(scope, run.agent_id, code, &run.above).await;
            }
            Action::External(External::Message(message)) => {
                let sender = Sender {
                    scope,
                    agent_id: run.agent_id,
                    above: &run.above,
                    turn: None,
                    spoken: 0,
                };
                match self.message_agents(&sender, message).await? {
                    Ok(text) => dispatch::succeeded(&call, text),
                    Err(reason) => dispatch::failed(&call, reason),
                }
            }
            action => self.apply(scope, run.agent_id, (call, action)).await?,
        };
        Ok(ToolRun {
            status: returned.status,
            value: Value::String(returned.text.clone()),
            text: returned.text,
            ..ToolRun::failed(&returned.name, "")
        })
    }

    /// Makes a change of an agent's memory that a client asks for.
    async fn apply(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        (call, action): (ToolCall, Action),
    ) -> Result<ToolReturn, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let applied = self.store().write(move |tx| {
            Box::pin(async move {
                let editor = Editor {
                    scope: &scope,
                    agent_id,
                    conversation_id: None,
                    run_id: None,
                    now,
                };
                match &action {
                    Action::Edit {
                        label,
                        edit,
                        based_on,
                    } => dispatch::edit(tx, &editor, &call, (label, edit, *based_on)).await,
                    Action::Change(changes) => dispatch::change(tx, &editor, &call, changes).await,
                    Action::Remember(passage) => {
                        dispatch::remember(tx, &editor, &call, passage).await
                    }
                    _ => Ok(dispatch::failed(
                        &call,
                        "this runs only in a conversation".to_owned(),
                    )),
                }
            })
        });
        applied.await
    }

    /// Keeps what a tool changed in an agent's memory. The inner error says why it was refused.
    async fn keep(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        changes: MemoryChanges,
    ) -> Result<Result<(), String>, EngineError> {
        let call = ToolCall {
            id: String::new(),
            name: String::new(),
            arguments: String::new(),
        };
        let change = Action::Change(changes);
        let told = self.apply(scope, agent_id, (call, change)).await?;
        Ok(match told.status {
            ToolStatus::Success => Ok(()),
            ToolStatus::Error => Err(told.text.trim_start_matches("Error: ").to_owned()),
        })
    }
}

/// The state of each block, as somebody knows them who has just read the agent.
pub(super) fn revisions(agent: &AgentState) -> HashMap<String, i64> {
    let blocks = agent.blocks.iter();
    blocks
        .map(|block| (block.label.clone(), block.revision))
        .collect()
}

/// What is said when a tool ran and its change of memory was refused.
pub(crate) fn not_kept(reason: &str) -> String {
    format!("the tool ran, but what it changed in memory was not kept: {reason}")
}
