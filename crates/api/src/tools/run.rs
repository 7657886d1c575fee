//! Calls of tools by clients.

use std::collections::BTreeMap;

use axum::extract::State;
use mnemic_core::{
    ids::AgentId, messages::ToolStatus, sandbox_configs, time::Timestamp,
    tools::requirements::Registry,
};
use mnemic_engine::{
    custom::{Above, AgentToolRun, SourceRun, ToolRun},
    tools::ToolDefinition,
};
use mnemic_llm::repair;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json, value::RawValue};
use utoipa::ToSchema;

use super::request::{RequirementBody, language, requirements};
use crate::{
    AppState,
    actor::{Actor, Visitor},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Text},
};

/// The routes of this file.
pub(super) fn routes() -> Routes {
    Routes::new()
        .merge(routes!(run_source))
        .merge(routes!(run_of_agent))
}

/// A source that is to be run once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunSourceBody {
    /// The source.
    source_code: String,
    /// Arguments by name.
    #[schema(value_type = serde_json::Value)]
    #[serde(deserialize_with = "exact")]
    args: Map<String, Value>,
    /// Variables that the tool sees.
    #[serde(default)]
    env_vars: BTreeMap<String, String>,
    /// The function, where the source has several.
    name: Option<String>,
    /// `python` or `typescript`.
    #[schema(default = "python")]
    source_type: Option<String>,
    /// Not used: nothing is told to a model.
    #[schema(value_type = Option<serde_json::Value>)]
    #[allow(dead_code)]
    json_schema: Option<Map<String, Value>>,
    /// Not used: nothing is told to a model.
    #[schema(value_type = Option<serde_json::Value>)]
    #[allow(dead_code)]
    args_json_schema: Option<Map<String, Value>>,
    /// Packages of Python that it needs.
    pip_requirements: Option<Vec<RequirementBody>>,
    /// Packages of JavaScript that it needs.
    npm_requirements: Option<Vec<RequirementBody>>,
}

/// What a call of a source brought.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceRunView {
    /// Nothing is stored: always `null`, as a text.
    id: &'static str,
    #[schema(value_type = String)]
    date: Timestamp,
    message_type: &'static str,
    /// Always null, as the fields after it: no conversation has it.
    otid: Option<String>,
    sender_id: Option<String>,
    step_id: Option<String>,
    run_id: Option<String>,
    seq_id: Option<u64>,
    is_err: Option<bool>,
    /// The function.
    name: String,
    /// What it returned, or what went wrong.
    tool_return: String,
    /// `success` or `error`.
    status: &'static str,
    tool_call_id: &'static str,
    /// Lines that it printed.
    stdout: Vec<String>,
    /// Lines that it wrote to stderr.
    stderr: Vec<String>,
    #[schema(value_type = Vec<serde_json::Value>)]
    tool_returns: Vec<Value>,
}

/// Arguments as they are written: of long integers no digit is lost.
fn exact<'a, D: Deserializer<'a>>(from: D) -> Result<Map<String, Value>, D::Error> {
    let written = Box::<RawValue>::deserialize(from)?;
    serde_json::from_str(&repair::long_integers_as_text(written.get())).map_err(D::Error::custom)
}

/// Arguments of an agent's tool.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunToolBody {
    /// Arguments by name.
    #[serde(default, deserialize_with = "exact")]
    #[schema(value_type = serde_json::Value)]
    args: Map<String, Value>,
}

/// What a call of an agent's tool brought.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ToolRunView {
    /// `success` or `error`.
    status: &'static str,
    /// What it returned, or a text that says what went wrong.
    func_return: Value,
    /// Always null: `GET /v1/agents/{agent_id}` has the agent.
    #[schema(value_type = Option<serde_json::Value>)]
    agent_state: Value,
    /// Lines that it printed.
    stdout: Vec<String>,
    /// Lines that it wrote to stderr.
    stderr: Vec<String>,
    /// Always null.
    sandbox_config_fingerprint: Option<String>,
}

impl RunSourceBody {
    fn run(self, above: Above) -> Result<SourceRun, ApiError> {
        for (key, value) in &self.env_vars {
            let checked = sandbox_configs::environment(key, value);
            checked.map_err(|error| ApiError::bad_request(format!("env_vars: {error}")))?;
        }
        Ok(SourceRun {
            definition: ToolDefinition {
                source_code: Some(self.source_code),
                language: language(self.source_type.as_deref())?,
                pip_requirements: requirements(Registry::Pip, self.pip_requirements.map(Some))?,
                npm_requirements: requirements(Registry::Npm, self.npm_requirements.map(Some))?,
                ..ToolDefinition::default()
            },
            name: self.name,
            arguments: self.args,
            variables: self.env_vars,
            above,
        })
    }
}

const fn status(run: &ToolRun) -> &'static str {
    match run.status {
        ToolStatus::Success => "success",
        ToolStatus::Error => "error",
    }
}

/// Run a source once. Nothing is stored.
#[utoipa::path(post, path = "/v1/tools/run", tag = "tools", operation_id = "run_tool_from_source",
    request_body = RunSourceBody, responses((status = 200, body = SourceRunView)))]
async fn run_source(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Visitor(above): Visitor,
    Json(body): Json<RunSourceBody>,
) -> Result<Json<SourceRunView>, ApiError> {
    let run = state.engine.run_source(&scope, body.run(above)?);
    let run = Box::pin(run).await?;
    let status = status(&run);
    let returned = json!({
        "type": "tool", "tool_return": run.text, "status": status, "tool_call_id": "null",
        "stdout": run.stdout, "stderr": run.stderr,
    });
    Ok(Json(SourceRunView {
        id: "null",
        date: state.engine.now(),
        message_type: "tool_return_message",
        otid: None,
        sender_id: None,
        step_id: None,
        run_id: None,
        seq_id: None,
        is_err: None,
        name: run.name,
        tool_return: run.text,
        status,
        tool_call_id: "null",
        stdout: run.stdout,
        stderr: run.stderr,
        tool_returns: vec![returned],
    }))
}

/// Run a tool of an agent outside of a conversation. What it changes in the agent's memory is kept.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/tools/{tool_name}/run", tag = "agents",
    operation_id = "run_tool_for_agent",
    params(("agent_id" = String, Path), ("tool_name" = String, Path)),
    request_body = Option<RunToolBody>, responses((status = 200, body = ToolRunView)))]
async fn run_of_agent(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Visitor(above): Visitor,
    Path((agent_id, Text(tool))): Path<(AgentId, Text)>,
    OptionalJson(body): OptionalJson<RunToolBody>,
) -> Result<Json<ToolRunView>, ApiError> {
    let run = AgentToolRun {
        agent_id,
        tool,
        arguments: body.args,
        above,
    };
    let run = Box::pin(state.engine.run_agent_tool(&scope, run)).await?;
    Ok(Json(ToolRunView {
        status: status(&run),
        func_return: match run.status {
            ToolStatus::Success => run.value,
            ToolStatus::Error => Value::String(run.text),
        },
        agent_state: Value::Null,
        stdout: run.stdout,
        stderr: run.stderr,
        sandbox_config_fingerprint: None,
    }))
}
