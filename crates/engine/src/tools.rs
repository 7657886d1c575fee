//! Tools: written by clients, attached to agents, detached, and put under approval.

mod definition;
mod search;

use mnemic_core::{
    agents::Agent,
    ids::{AgentId, ToolId},
    scope::Scope,
    tools::Tool,
};
use mnemic_store::{StoreError, Tx, agents, tools};
use serde_json::Value;

pub(crate) use self::definition::{Existing, ReadyTool};
pub use self::{
    definition::ToolDefinition,
    search::{FoundTool, ToolSearch},
};
use crate::{Engine, EngineError, agents::rule};

/// The rule that makes an agent ask before it runs a tool.
const NEEDS_APPROVAL: &str = "requires_approval";

impl Engine {
    /// Makes the built-in tools be there, up to date.
    ///
    /// # Errors
    /// The database's.
    pub async fn ensure_builtin_tools(&self, scope: &Scope) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let ensured = self.store().write(move |tx| {
            Box::pin(async move { tools::ensure_builtins(tx, &scope, now).await })
        });
        Ok(ensured.await.map(drop)?)
    }

    /// Attaches a tool to an agent. A tool that asks for approval by default gets a rule for it.
    ///
    /// # Errors
    /// There is no such agent or tool, or the database's.
    pub async fn attach_tool(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        tool_id: ToolId,
    ) -> Result<(), EngineError> {
        self.change_tools(scope, agent_id, move |tx, scope, agent| {
            Box::pin(async move {
                let tool = tools::get(tx, scope, tool_id).await?;
                let added = tools::attach(tx, scope, agent.id, tool_id).await?;
                Ok(Changed {
                    related: added,
                    rules: approval_rules(agent, &tool),
                })
            })
        })
        .await
    }

    /// Takes a tool off an agent; its rules stay, as they may be meant for the next tool of its name.
    ///
    /// # Errors
    /// There is no such agent or tool, or the database's.
    pub async fn detach_tool(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        tool_id: ToolId,
    ) -> Result<(), EngineError> {
        self.change_tools(scope, agent_id, move |tx, scope, agent| {
            Box::pin(async move {
                tools::get(tx, scope, tool_id).await?;
                let gone = tools::detach(tx, agent.id, tool_id).await?;
                Ok(Changed {
                    related: gone,
                    rules: None,
                })
            })
        })
        .await
    }

    /// Adds the rule that makes an agent ask before it runs a tool, or takes it away.
    ///
    /// # Errors
    /// There is no such agent, it has no tool of that name, or the database's.
    pub async fn set_tool_approval(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        name: String,
        required: Approval,
    ) -> Result<(), EngineError> {
        self.change_tools(scope, agent_id, move |tx, scope, agent| {
            Box::pin(async move {
                let attached = tools::of_agent(tx, scope, agent.id).await?;
                if !attached.iter().any(|tool| tool.name == name) {
                    return Err(StoreError::NotFound {
                        noun: "Tool",
                        id: name,
                    });
                }
                let mut rules = agent.tool_rules.clone();
                rules.retain(|rule| !is_approval(rule, &name));
                if required == Approval::Required {
                    rules.push(rule(NEEDS_APPROVAL, &name));
                }
                Ok(Changed {
                    related: false,
                    rules: Some(rules),
                })
            })
        })
        .await
    }

    async fn change_tools<F>(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        change: F,
    ) -> Result<(), EngineError>
    where
        F: for<'t> FnOnce(
                &'t mut Tx<'_>,
                &'t Scope,
                &'t Agent,
            ) -> mnemic_store::JobFuture<'t, Changed, StoreError>
            + Send
            + 'static,
    {
        let (scope, now) = (scope.clone(), self.now());
        let job = self.store().write(move |tx| {
            Box::pin(async move {
                let before = agents::get_for_update(tx, &scope, agent_id).await?;
                let changed = change(tx, &scope, &before).await?;
                if let Some(tool_rules) = changed.rules {
                    let after = Agent {
                        tool_rules,
                        updated_at: now,
                        ..before.clone()
                    };
                    agents::update(tx, &scope, &before, &after).await?;
                }
                if changed.related {
                    agents::touch(tx, &scope, agent_id, now).await?;
                }
                Ok::<_, StoreError>(())
            })
        });
        Ok(job.await?)
    }
}

/// Whether a tool runs only after somebody approved the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// It asks first.
    Required,
    /// It runs at once.
    NotRequired,
}

/// What a change of an agent's tools did.
struct Changed {
    /// Whether a tool came or went.
    related: bool,
    /// The agent's rules, where they are others now.
    rules: Option<Vec<Value>>,
}

/// Whether an agent has to ask a person before it runs a tool.
pub(crate) fn needs_approval(agent: &Agent, tool: &str) -> bool {
    agent.tool_rules.iter().any(|rule| is_approval(rule, tool))
}

fn is_approval(rule: &Value, tool: &str) -> bool {
    let field = |key: &str| rule.get(key).and_then(Value::as_str);
    field("type") == Some(NEEDS_APPROVAL) && field("tool_name") == Some(tool)
}

/// The agent's rules with one for a tool that asks for approval by default, if it has none.
pub(crate) fn approval_rules(agent: &Agent, tool: &Tool) -> Option<Vec<Value>> {
    let asks = tool.default_requires_approval == Some(true);
    if !asks || needs_approval(agent, &tool.name) {
        return None;
    }
    let mut rules = agent.tool_rules.clone();
    rules.push(rule(NEEDS_APPROVAL, &tool.name));
    Some(rules)
}
