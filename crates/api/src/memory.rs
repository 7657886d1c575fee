//! Memory as programs use it: what is searched, what they add, and what a turn wrote.

use axum::extract::State;
use http::StatusCode;
use mnemic_core::{
    archives::Archive,
    ids::{AgentId, BlockId, PassageId, RunId},
    passages::{NewPassage, Passage},
    scope::Scope,
    time::Timestamp,
};
use mnemic_engine::search::{Finding, PassageSearch, Where};
use mnemic_store::{
    runs,
    written::{self, Written},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path},
    people,
    validation::Issue,
};

/// Results of a search, when nothing else is said.
const DEFAULT_LIMIT: usize = 10;

/// Results of a search at the most.
const MAX_LIMIT: usize = 100;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(add))
        .merge(routes!(search))
        .merge(routes!(of_run))
}

/// What a turn wrote.
#[derive(Debug, Serialize, ToSchema)]
pub struct WrittenMemory {
    /// The blocks that it changed.
    blocks: Vec<WrittenBlockView>,
    /// The passages that it stored.
    passages: Vec<WrittenPassageView>,
}

/// What a turn wrote, as the frame of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemoryFrame {
    /// Always `memory`.
    message_type: &'static str,
    #[serde(flatten)]
    memory: WrittenMemory,
}

impl From<WrittenMemory> for MemoryFrame {
    fn from(memory: WrittenMemory) -> Self {
        Self {
            message_type: "memory",
            memory,
        }
    }
}

/// A block that a turn changed.
#[derive(Debug, Serialize, ToSchema)]
struct WrittenBlockView {
    #[schema(value_type = String)]
    id: BlockId,
    label: String,
    /// Its value before the turn's first change; null where the turn made it.
    before: Option<String>,
    /// Its value after the turn's last change.
    after: String,
}

/// A passage that a turn stored.
#[derive(Debug, Serialize, ToSchema)]
struct WrittenPassageView {
    #[schema(value_type = String)]
    id: PassageId,
    content: String,
}

impl From<Written> for WrittenMemory {
    fn from(written: Written) -> Self {
        let blocks = written.blocks.into_iter().map(|block| WrittenBlockView {
            id: block.id,
            label: block.label,
            before: block.before,
            after: block.after,
        });
        let passages = written.passages.into_iter();
        Self {
            blocks: blocks.collect(),
            passages: passages
                .map(|passage| WrittenPassageView {
                    id: passage.id,
                    content: passage.text,
                })
                .collect(),
        }
    }
}

/// What a run wrote so far.
///
/// # Errors
/// There is no such run, or the database's.
pub async fn written(
    state: &AppState,
    scope: &Scope,
    run_id: RunId,
) -> Result<WrittenMemory, ApiError> {
    let scope = scope.clone();
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move {
            runs::get(tx, &scope, run_id).await?;
            Ok::<_, ApiError>(written::by_run(tx, &scope, run_id).await?)
        })
    });
    Ok(read.await?.into())
}

/// What a run wrote into memory: blocks before and after, and passages.
#[utoipa::path(get, path = "/v1/runs/{run_id}/memory", tag = "memory", operation_id = "retrieve_run_memory",
    params(("run_id" = String, Path)), responses((status = 200, body = WrittenMemory)))]
async fn of_run(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(run_id): Path<RunId>,
) -> Result<Json<WrittenMemory>, ApiError> {
    Ok(Json(written(&state, &scope, run_id).await?))
}

/// What is looked for.
#[derive(Debug, Deserialize, ToSchema)]
struct MemorySearchBody {
    /// What to look for, as a question or as words.
    query: String,
    /// Results at the most; 10 when left out.
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// The end user whose own memory is searched as well as what is common.
    #[serde(alias = "userId")]
    user_id: Option<String>,
}

/// A found memory.
#[derive(Debug, Serialize, ToSchema)]
struct FoundMemory {
    #[schema(value_type = String)]
    id: PassageId,
    content: String,
    /// How likely it is about what was asked, from 0 to 1.
    score: f32,
    /// When what it says was so.
    #[schema(value_type = String)]
    created_at: Timestamp,
    tags: Vec<String>,
    /// The end user whose own it is; null is common.
    user_id: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
struct FoundMemories {
    /// The memories, best first.
    results: Vec<FoundMemory>,
    /// Whether none of them seems to be about what was asked.
    nothing_relevant: bool,
}

impl From<Finding<(Archive, Passage)>> for FoundMemory {
    fn from(finding: Finding<(Archive, Passage)>) -> Self {
        let (_, passage) = finding.item;
        Self {
            id: passage.id,
            content: passage.text,
            score: finding.score,
            created_at: passage.created_at,
            tags: passage.tags,
            user_id: passage.subject,
        }
    }
}

/// Search an agent's archival memory: what is common, and what is the user's own.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/memory/search", tag = "memory", operation_id = "search_memory",
    params(("agent_id" = String, Path)), request_body = MemorySearchBody, responses((status = 200, body = FoundMemories)))]
async fn search(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    Json(body): Json<MemorySearchBody>,
) -> Result<Json<FoundMemories>, ApiError> {
    let about = people::scope_and_agent(&state, &scope, (agent, body.user_id));
    let (scope, about) = about.await?;
    let search = PassageSearch {
        limit: limited(body.limit)?,
        text: body.query,
        within: Where::Agent(agent),
        zone: about.timezone,
        start: None,
        end: None,
        tags: Vec::new(),
        match_all_tags: false,
    };
    let found = state.engine.search_passages(&scope, search).await?;
    Ok(Json(FoundMemories {
        nothing_relevant: found.nothing_relevant,
        results: found.found.into_iter().map(FoundMemory::from).collect(),
    }))
}

fn limited(wanted: Option<i64>) -> Result<usize, ApiError> {
    let Some(wanted) = wanted else {
        return Ok(DEFAULT_LIMIT);
    };
    let found = usize::try_from(wanted).ok();
    let found = found.filter(|limit| (1..=MAX_LIMIT).contains(limit));
    found.ok_or_else(|| {
        let msg = format!("Input should be between 1 and {MAX_LIMIT}");
        ApiError::invalid(&[Issue::body(&["limit"], msg, json!(wanted))])
    })
}

/// Where something is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum MemoryType {
    /// A line of the user's block `human`, or of the common block `facts`: always in the prompt.
    CoreMemory,
    /// A passage of archival memory: found by searching.
    ArchivalMemory,
}

/// What is added.
#[derive(Debug, Deserialize, ToSchema)]
struct MemoryBody {
    /// The text.
    #[schema(min_length = 1)]
    content: String,
    /// Where it goes.
    #[serde(rename = "type")]
    kind: MemoryType,
    /// The end user whose own it is; common to all users when left out.
    #[serde(alias = "userId")]
    user_id: Option<String>,
}

/// What was added.
#[derive(Debug, Serialize, ToSchema)]
struct AddedMemory {
    /// Where it went.
    #[serde(rename = "type")]
    kind: MemoryType,
    /// The passage, or the block.
    id: String,
    /// The block's label.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The block's text now.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// Add to an agent's memory.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/memory", tag = "memory", operation_id = "add_memory",
    params(("agent_id" = String, Path)), request_body = MemoryBody, responses((status = 201, body = AddedMemory)))]
async fn add(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    Json(body): Json<MemoryBody>,
) -> Result<(StatusCode, Json<AddedMemory>), ApiError> {
    if body.content.trim().is_empty() {
        let msg = "String should have at least 1 character";
        let issue = Issue::body(&["content"], msg, json!(body.content));
        return Err(ApiError::invalid(&[issue]));
    }
    let scope = people::scope_with(&state, &scope, (agent, body.user_id)).await?;
    let added = match body.kind {
        MemoryType::CoreMemory => {
            let block = state.engine.note(&scope, agent, body.content).await?;
            AddedMemory {
                kind: body.kind,
                id: block.id.to_string(),
                label: Some(block.label),
                value: Some(block.value),
            }
        }
        MemoryType::ArchivalMemory => {
            let new = NewPassage {
                text: body.content,
                ..NewPassage::default()
            };
            let (_, made) = state
                .engine
                .insert_memories(&scope, agent, vec![new])
                .await?;
            let made = made.first().map(|passage| passage.id.to_string());
            AddedMemory {
                kind: body.kind,
                id: made.unwrap_or_default(),
                label: None,
                value: None,
            }
        }
    };
    Ok((StatusCode::CREATED, Json(added)))
}
