//! Tools, and the tools of an agent.

mod request;
mod run;
mod search;

use axum::extract::State;
use mnemic_core::{
    ids::{AgentId, ToolId, UserId},
    scope::Scope,
    tools::{Tool, ToolType},
};
use mnemic_engine::{agents::Relations, tools::Approval};
use mnemic_store::{
    agents,
    page::{Order, Page},
    tools::{self, ToolFilter},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use self::request::{CodeBody, CreateToolBody, UpdateToolBody};
pub(crate) use self::request::{RequirementBody, requirements};
use crate::{
    AppState,
    actor::{Actor, ClientVersion, ProjectId, Visitor},
    agents::AgentView,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, OptionalJson, Path, Query, Text, query_id},
    page::PageQuery,
    validation::Issue,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create, upsert))
        .merge(routes!(count))
        .merge(routes!(add_base))
        .merge(routes!(generate_schema))
        .merge(search::routes())
        .merge(run::routes())
        .merge(routes!(retrieve, update, delete))
        .merge(routes!(list_of_agent))
        .merge(routes!(attach))
        .merge(routes!(detach))
        .merge(routes!(approval))
}

/// A tool.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct ToolView {
    #[schema(value_type = String)]
    id: ToolId,
    tool_type: &'static str,
    description: Option<String>,
    source_type: String,
    name: String,
    tags: Vec<String>,
    source_code: Option<String>,
    json_schema: Value,
    args_json_schema: Value,
    /// Characters of its return that models see.
    return_char_limit: i64,
    pip_requirements: Value,
    npm_requirements: Value,
    /// What is opened for it beside its scratch folder.
    #[serde(skip_serializing_if = "Value::is_null")]
    grants: Value,
    default_requires_approval: Option<bool>,
    enable_parallel_execution: bool,
    #[schema(value_type = Option<String>)]
    created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    last_updated_by_id: Option<UserId>,
    metadata_: Value,
    project_id: Option<String>,
}

impl From<Tool> for ToolView {
    fn from(tool: Tool) -> Self {
        let extra = |key: &str| tool.extra.get(key).cloned();
        Self {
            args_json_schema: extra("args_json_schema").unwrap_or_default(),
            pip_requirements: extra("pip_requirements").unwrap_or_default(),
            npm_requirements: extra("npm_requirements").unwrap_or_default(),
            grants: extra("grants").unwrap_or_default(),
            metadata_: extra("metadata_").unwrap_or_else(|| json!({})),
            project_id: extra("project_id").and_then(|id| id.as_str().map(str::to_owned)),
            id: tool.id,
            tool_type: tool.tool_type.as_str(),
            description: tool.description,
            source_type: tool.source_type,
            name: tool.name,
            tags: tool.tags,
            source_code: tool.source_code,
            json_schema: tool.json_schema,
            return_char_limit: tool.return_char_limit,
            default_requires_approval: tool.default_requires_approval,
            enable_parallel_execution: tool.enable_parallel_execution,
            created_by_id: tool.created_by,
            last_updated_by_id: tool.updated_by,
        }
    }
}

/// Which tools a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ToolsQuery {
    /// Only the one of this name.
    name: Option<String>,
    /// Only those of one of these names.
    names: Vec<String>,
    /// Only those of one of these ids.
    tool_ids: Vec<String>,
    /// Only those whose name contains this.
    search: Option<String>,
    /// Only these types, such as `custom` or `letta_core`.
    tool_types: Vec<String>,
    /// None of these types.
    exclude_tool_types: Vec<String>,
    /// Only the built-in tools.
    return_only_letta_tools: Option<bool>,
    /// None of the built-in tools.
    exclude_letta_tools: Option<bool>,
}

/// The types of the tools that come with the server.
const BUILTIN_TYPES: [ToolType; 7] = [
    ToolType::LettaCore,
    ToolType::LettaMemoryCore,
    ToolType::LettaMultiAgentCore,
    ToolType::LettaSleeptimeCore,
    ToolType::LettaVoiceSleeptimeCore,
    ToolType::LettaBuiltin,
    ToolType::LettaFilesCore,
];

fn types(parameter: &str, names: &[String]) -> Result<Vec<ToolType>, ApiError> {
    let parse = |name: &String| {
        ToolType::parse(name).ok_or_else(|| {
            let issue = Issue::query(parameter, "this is no type of tools", name.clone().into());
            ApiError::invalid(&[issue])
        })
    };
    names.iter().map(parse).collect()
}

impl ToolsQuery {
    fn filter(self) -> Result<ToolFilter, ApiError> {
        let mut names = self.names;
        names.extend(self.name);
        let mut only = types("tool_types", &self.tool_types)?;
        if self.return_only_letta_tools == Some(true) {
            if only.is_empty() {
                only.extend(BUILTIN_TYPES);
            } else {
                only.retain(|kind| BUILTIN_TYPES.contains(kind));
            }
        }
        let mut without = types("exclude_tool_types", &self.exclude_tool_types)?;
        if self.exclude_letta_tools == Some(true) {
            without.extend(BUILTIN_TYPES);
        }
        let ids: Result<Vec<ToolId>, ApiError> = self
            .tool_ids
            .iter()
            .map(|id| query_id("tool_ids", id))
            .collect();
        Ok(ToolFilter {
            agent_id: None,
            names,
            ids: ids?,
            search: self.search.filter(|text| !text.is_empty()),
            types: only,
            without_types: without,
        })
    }
}

async fn read(
    state: &AppState,
    scope: Scope,
    filter: ToolFilter,
    page: Page,
) -> Result<Json<Vec<ToolView>>, ApiError> {
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            if let Some(agent) = filter.agent_id {
                agents::get(tx, &scope, agent).await?;
            }
            tools::list(tx, &scope, &filter, &page)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(found.await?.into_iter().map(ToolView::from).collect()))
}

/// Tools, newest first.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", operation_id = "list_tools",
    params(PageQuery, ToolsQuery), responses((status = 200, body = Vec<ToolView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    query: PageQuery,
    Query(filter): Query<ToolsQuery>,
) -> Result<Json<Vec<ToolView>>, ApiError> {
    read(
        &state,
        scope,
        filter.filter()?,
        query.page(50, Order::Desc)?,
    )
    .await
}

/// How many tools there are.
#[utoipa::path(get, path = "/v1/tools/count", tag = "tools", operation_id = "count_tools",
    params(ToolsQuery), responses((status = 200, body = i64, content_type = "application/json")))]
async fn count(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Query(filter): Query<ToolsQuery>,
) -> Result<Json<i64>, ApiError> {
    let filter = filter.filter()?;
    let counted = state.engine.store().read(move |tx| {
        Box::pin(async move {
            tools::count(tx, &scope, &filter)
                .await
                .map_err(ApiError::from)
        })
    });
    Ok(Json(counted.await?))
}

/// Bring the built-in tools up to date, and list them.
#[utoipa::path(post, path = "/v1/tools/add-base-tools", tag = "tools",
    operation_id = "add_base_tools", responses((status = 200, body = Vec<ToolView>)))]
async fn add_base(
    State(state): State<AppState>,
    Actor(scope): Actor,
) -> Result<Json<Vec<ToolView>>, ApiError> {
    state.engine.ensure_builtin_tools(&scope).await?;
    let filter = ToolFilter {
        types: BUILTIN_TYPES.to_vec(),
        ..ToolFilter::default()
    };
    read(&state, scope, filter, Page::first(1_000, Order::Asc)).await
}

/// One tool.
#[utoipa::path(get, path = "/v1/tools/{tool_id}", tag = "tools", operation_id = "retrieve_tool",
    params(("tool_id" = String, Path)), responses((status = 200, body = ToolView)))]
async fn retrieve(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ToolId>,
) -> Result<Json<ToolView>, ApiError> {
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move { tools::get(tx, &scope, id).await.map_err(ApiError::from) })
    });
    Ok(Json(found.await?.into()))
}

/// Make a tool, or change the one that has its name. Its schema is read from its source, unless one is given.
#[utoipa::path(post, path = "/v1/tools", tag = "tools", operation_id = "create_tool",
    request_body = CreateToolBody, responses((status = 200, body = ToolView)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    ProjectId(project): ProjectId,
    visitor: Visitor,
    Json(body): Json<CreateToolBody>,
) -> Result<Json<ToolView>, ApiError> {
    let mut definition = body.definition(project)?;
    definition.is_from_tool = visitor.is_tool();
    Ok(Json(
        state.engine.put_tool(&scope, definition).await?.into(),
    ))
}

/// Make a tool, or change the one that has its name.
#[utoipa::path(put, path = "/v1/tools", tag = "tools", operation_id = "upsert_tool",
    request_body = CreateToolBody, responses((status = 200, body = ToolView)))]
async fn upsert(
    state: State<AppState>,
    actor: Actor,
    project: ProjectId,
    visitor: Visitor,
    body: Json<CreateToolBody>,
) -> Result<Json<ToolView>, ApiError> {
    create(state, actor, project, visitor, body).await
}

/// Change a tool. The agents that have it see the change in their next step.
#[utoipa::path(patch, path = "/v1/tools/{tool_id}", tag = "tools", operation_id = "modify_tool",
    params(("tool_id" = String, Path)), request_body = UpdateToolBody,
    responses((status = 200, body = ToolView)))]
async fn update(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ToolId>,
    visitor: Visitor,
    Json(body): Json<UpdateToolBody>,
) -> Result<Json<ToolView>, ApiError> {
    let mut definition = body.definition()?;
    definition.is_from_tool = visitor.is_tool();
    let changed = state.engine.update_tool(&scope, id, definition).await?;
    Ok(Json(changed.into()))
}

/// Remove a tool, also from the agents that have it.
#[utoipa::path(delete, path = "/v1/tools/{tool_id}", tag = "tools", operation_id = "delete_tool",
    params(("tool_id" = String, Path)), responses((status = 200, description = "null")))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(id): Path<ToolId>,
) -> Result<Json<()>, ApiError> {
    state.engine.delete_tool(&scope, id).await?;
    Ok(Json(()))
}

/// The schema that a source has. Nothing is stored.
#[utoipa::path(post, path = "/v1/tools/generate-schema", tag = "tools",
    operation_id = "generate_json_schema", request_body = CodeBody,
    responses((status = 200, body = serde_json::Value)))]
async fn generate_schema(
    State(state): State<AppState>,
    Actor(_): Actor,
    Json(body): Json<CodeBody>,
) -> Result<Json<Value>, ApiError> {
    let language = body.language()?;
    Ok(Json(state.engine.tool_schema(language, body.code).await?))
}

/// The tools of an agent, newest first.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/tools", tag = "tools",
    operation_id = "list_tools_for_agent", params(("agent_id" = String, Path), PageQuery),
    responses((status = 200, body = Vec<ToolView>)))]
async fn list_of_agent(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    query: PageQuery,
) -> Result<Json<Vec<ToolView>>, ApiError> {
    let filter = ToolFilter {
        agent_id: Some(agent),
        ..ToolFilter::default()
    };
    read(&state, scope, filter, query.page(10, Order::Desc)?).await
}

/// What a change of an agent's tools answers: nothing to clients of version 1, the agent to older ones
/// (V1 contract, section 1.3).
async fn answer(
    state: &AppState,
    scope: &Scope,
    agent: AgentId,
    version: ClientVersion,
) -> Result<Json<Option<AgentView>>, ApiError> {
    Ok(Json(match version {
        ClientVersion::V1 => None,
        ClientVersion::Legacy => Some(
            state
                .engine
                .agent(scope, agent, Relations::ALL)
                .await?
                .into(),
        ),
    }))
}

/// Attach a tool to an agent.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/attach/{tool_id}", tag = "tools",
    operation_id = "attach_tool_to_agent",
    params(("agent_id" = String, Path), ("tool_id" = String, Path)),
    responses((status = 200, body = Option<AgentView>)))]
async fn attach(
    State(state): State<AppState>,
    Actor(scope): Actor,
    version: ClientVersion,
    Path((agent, tool)): Path<(AgentId, ToolId)>,
) -> Result<Json<Option<AgentView>>, ApiError> {
    state.engine.attach_tool(&scope, agent, tool).await?;
    answer(&state, &scope, agent, version).await
}

/// Take a tool off an agent.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/detach/{tool_id}", tag = "tools",
    operation_id = "detach_tool_from_agent",
    params(("agent_id" = String, Path), ("tool_id" = String, Path)),
    responses((status = 200, body = Option<AgentView>)))]
async fn detach(
    State(state): State<AppState>,
    Actor(scope): Actor,
    version: ClientVersion,
    Path((agent, tool)): Path<(AgentId, ToolId)>,
) -> Result<Json<Option<AgentView>>, ApiError> {
    state.engine.detach_tool(&scope, agent, tool).await?;
    answer(&state, &scope, agent, version).await
}

/// Whether a tool of an agent needs approval, in the body or (the old way) in the query.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
struct ApprovalBody {
    /// Whether somebody must approve each call.
    requires_approval: Option<bool>,
}

/// Make an agent ask before it runs a tool, or not ask any more.
#[utoipa::path(patch, path = "/v1/agents/{agent_id}/tools/approval/{tool_name}", tag = "tools",
    operation_id = "modify_approval_for_tool",
    params(("agent_id" = String, Path), ("tool_name" = String, Path), ApprovalBody),
    request_body = Option<ApprovalBody>,
    responses((status = 200, body = Option<AgentView>)))]
async fn approval(
    State(state): State<AppState>,
    Actor(scope): Actor,
    version: ClientVersion,
    Path((agent, Text(name))): Path<(AgentId, Text)>,
    Query(query): Query<ApprovalBody>,
    OptionalJson(body): OptionalJson<ApprovalBody>,
) -> Result<Json<Option<AgentView>>, ApiError> {
    let Some(required) = body.requires_approval.or(query.requires_approval) else {
        let issue = Issue::body(&["requires_approval"], "Field required", Value::Null);
        return Err(ApiError::invalid(&[issue]));
    };
    let required = if required {
        Approval::Required
    } else {
        Approval::NotRequired
    };
    state
        .engine
        .set_tool_approval(&scope, agent, name, required)
        .await?;
    answer(&state, &scope, agent, version).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::parse_query;

    fn filter(query: &str) -> Result<ToolFilter, ApiError> {
        parse_query::<ToolsQuery>(query).unwrap().filter()
    }

    #[test]
    fn filters_by_type_know_which_tools_are_built_in() {
        let only = filter("return_only_letta_tools=true&tool_types=letta_core&tool_types=custom");
        assert_eq!(only.unwrap().types, [ToolType::LettaCore]);
        assert_eq!(
            filter("exclude_letta_tools=true").unwrap().without_types,
            BUILTIN_TYPES
        );
        assert_eq!(
            filter("tool_types=nope").unwrap_err().status().as_u16(),
            422
        );
        assert_eq!(filter("name=a&names=b").unwrap().names, ["b", "a"]);
    }
}
