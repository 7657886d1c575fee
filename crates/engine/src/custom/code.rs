//! Programs that models write, for one run.

use std::collections::BTreeMap;

use mnemic_core::{
    builtin::CodeRun,
    ids::AgentId,
    messages::ToolStatus,
    scope::Scope,
    tools::{Tool, ToolType},
};
use mnemic_tools::sandbox::{self, Language, Outcome, Status, ToolStub};
use serde_json::{Map, Value, json};

use super::{Above, Reach, ToolRun, Visit, images};
use crate::{Engine, EngineError, agents::Relations, tools::needs_approval};

impl Engine {
    /// Runs a program that an agent's model wrote. Whatever is wrong with it is told in what comes back.
    ///
    /// # Errors
    /// There is no such agent, or the database's.
    pub(crate) async fn run_code(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        code: CodeRun,
        above: &Above,
    ) -> Result<ToolRun, EngineError> {
        let name = if code.with_tools {
            "run_code_with_tools"
        } else {
            "run_code"
        };
        let Some(sandbox) = self.sandbox().await else {
            return Ok(ToolRun::failed(name, "this server runs no code"));
        };
        let (tools, door) = if code.with_tools {
            let relations = Relations {
                tools: true,
                ..Relations::NONE
            };
            let agent = self.agent(scope, agent_id, relations).await?;
            let visit = Visit {
                scope: scope.clone(),
                agent_id: Some(agent_id),
                above: above.below(Some(agent_id)),
                reach: Reach::Tools,
            };
            let tools = agent.tools.iter();
            let callable = tools.filter(|tool| {
                tool.tool_type == ToolType::Custom && !needs_approval(&agent.agent, &tool.name)
            });
            let stubs = callable.map(|tool| stub(agent_id, tool)).collect();
            (stubs, self.open_door(visit))
        } else {
            (Vec::new(), None)
        };
        let call = sandbox::Call {
            language: language(code.language),
            source: code.code,
            function: None,
            arguments: Map::new(),
            injected: Map::new(),
            door,
            tools,
            variables: BTreeMap::new(),
            packages: Vec::new(),
            edition: None,
            limits: self.settings().tools.limits,
            grants: sandbox::Grants::default(),
            is_nested: above.is_awaited,
        };
        Ok(match sandbox.run(call).await {
            Ok(outcome) => told(name, outcome),
            Err(error) => ToolRun::failed(name, error),
        })
    }
}

fn language(name: &str) -> Language {
    match name {
        "js" => Language::JavaScript,
        "ts" => Language::TypeScript,
        _ => Language::Python,
    }
}

fn stub(agent_id: AgentId, tool: &Tool) -> ToolStub {
    let properties = tool.json_schema.pointer("/parameters/properties");
    let names = properties.and_then(Value::as_object);
    ToolStub {
        name: tool.name.clone(),
        path: format!("/v1/agents/{agent_id}/tools/{}/run", tool.name),
        parameters: names.into_iter().flat_map(Map::keys).cloned().collect(),
    }
}

/// What a program brought, in the shape of the V1 contract (section 5). A program that failed is a result as well: the
/// model wrote it, and can mend it.
fn told(name: &str, outcome: Outcome) -> ToolRun {
    let error = match &outcome.status {
        Status::Returned => Value::Null,
        Status::Raised(raised) => json!({
            "name": raised.kind, "value": raised.message, "line": raised.line,
            "traceback": outcome.stderr.join("\n"),
        }),
        Status::Stopped(stop) => json!({"name": "Stopped", "value": stop.to_string()}),
    };
    let status = match outcome.status {
        Status::Returned => ToolStatus::Success,
        _ => ToolStatus::Error,
    };
    let (value, images) = images::taken(&outcome.value);
    let results = match value {
        Value::Null => Vec::new(),
        value => vec![value],
    };
    let value = json!({
        "results": results,
        "logs": {"stdout": outcome.stdout, "stderr": outcome.stderr},
        "error": error,
    });
    ToolRun {
        status,
        text: value.to_string(),
        value,
        stdout: outcome.stdout,
        stderr: outcome.stderr,
        images,
        ..ToolRun::failed(name, "")
    }
}
