//! Calls of tools that no model made: by clients who try a source, or call an agent's tool themselves.

use std::collections::BTreeMap;

use mnemic_core::{
    blocks::Author, ids::AgentId, messages::ToolStatus, scope::Scope, tools::ToolType,
};
use mnemic_store::{StoreError, blocks};
use serde_json::{Map, Value};

use super::{Above, CustomCall, ToolRun};
use crate::{
    Engine, EngineError, agents::Relations, dispatch::MemoryChanges, tools::ToolDefinition,
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
    /// There is no such agent, it has no such tool, the tool is one of the server's own, or the database's.
    pub async fn run_agent_tool(
        &self,
        scope: &Scope,
        run: AgentToolRun,
    ) -> Result<ToolRun, EngineError> {
        let relations = Relations {
            tools: true,
            ..Relations::NONE
        };
        let agent = self.agent(scope, run.agent_id, relations).await?;
        let found = agent.tools.into_iter().find(|tool| tool.name == run.tool);
        let Some(tool) = found else {
            let name = run.tool;
            return Err(EngineError::NotFound(format!(
                "the agent has no tool '{name}': attach it first"
            )));
        };
        if tool.tool_type != ToolType::Custom {
            return Err(EngineError::Invalid(format!(
                "'{}' comes with the server and runs only in a conversation; the API has routes of their own for what \
                 such tools do",
                tool.name
            )));
        }
        let call = CustomCall {
            tool,
            arguments: run.arguments,
            variables: BTreeMap::new(),
            above: run.above,
        };
        let mut done = self.run_custom(scope, Some(run.agent_id), call).await?;
        if let Some(changes) = done.changes.take()
            && let Err(reason) = self.keep(scope, run.agent_id, changes).await?
        {
            done.status = ToolStatus::Error;
            done.text = not_kept(&reason);
        }
        Ok(done)
    }

    /// Keeps what a tool changed in an agent's memory. The inner error says why it was refused.
    async fn keep(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        changes: MemoryChanges,
    ) -> Result<Result<(), String>, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let author = Author {
            user_id: Some(scope.actor),
            agent_id: None,
            run_id: None,
            tool_call_id: None,
        };
        let kept = self.store().write(move |tx| {
            Box::pin(async move {
                let changes = blocks::Changes {
                    changes: &changes.changes,
                    seen: &changes.seen,
                    author: &author,
                    now,
                };
                blocks::change(tx, &scope, agent_id, &changes).await
            })
        });
        match kept.await {
            Ok(_) => Ok(Ok(())),
            Err(
                error @ (StoreError::Invalid(_)
                | StoreError::NotFound { .. }
                | StoreError::Conflict(_)),
            ) => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is said when a tool ran and its change of memory was refused.
pub(crate) fn not_kept(reason: &str) -> String {
    format!("the tool ran, but what it changed in memory was not kept: {reason}")
}
