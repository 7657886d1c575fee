//! Archival memory: the passages of an agent, and searching passages.

use axum::extract::State;
use mnemic_core::{
    archives::Archive,
    ids::{AgentId, ArchiveId, OrganizationId, PassageId, UserId},
    passages::{NewPassage, Passage},
    scope::Scope,
    time::{Bound, Timestamp, parse_bound},
};
use mnemic_engine::search::{Finding, Findings, Parts, PassageSearch, Where};
use mnemic_store::{
    StoreError, agents, archives,
    page::Order,
    passages::{self, PassageFilter},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Query, body_id},
    page::PageQuery,
    people::{self, UserQuery},
    validation::Issue,
};

/// Results of an agent's search when the client names no number (V1 contract, section 5).
const DEFAULT_TOP_K: usize = 5;

/// Results at the most.
const MAX_RESULTS: i64 = 1_000;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list, create))
        .merge(routes!(search_of_agent))
        .merge(routes!(delete))
        .merge(routes!(search))
}

/// A passage.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct PassageView {
    #[schema(value_type = String)]
    id: PassageId,
    text: String,
    tags: Option<Vec<String>>,
    #[schema(value_type = Value)]
    metadata: Map<String, Value>,
    #[schema(value_type = String)]
    archive_id: ArchiveId,
    /// Always null: vectors are made in the background and stay in the server.
    embedding: Option<Vec<f32>>,
    embedding_config: Option<Value>,
    source_id: Option<String>,
    file_id: Option<String>,
    file_name: Option<String>,
    is_deleted: bool,
    #[schema(value_type = String)]
    organization_id: OrganizationId,
    #[schema(value_type = Option<String>)]
    created_by_id: Option<UserId>,
    #[schema(value_type = Option<String>)]
    last_updated_by_id: Option<UserId>,
    /// When what it says was so.
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

impl PassageView {
    /// A passage as the API shows it.
    #[must_use]
    pub fn new(scope: &Scope, archive: &Archive, passage: Passage) -> Self {
        Self {
            id: passage.id,
            text: passage.text,
            tags: (!passage.tags.is_empty()).then_some(passage.tags),
            metadata: passage.metadata,
            archive_id: passage.archive_id,
            embedding: None,
            embedding_config: archive.embedding_config.clone(),
            source_id: None,
            file_id: None,
            file_name: None,
            is_deleted: false,
            organization_id: scope.organization,
            created_by_id: passage.created_by,
            last_updated_by_id: passage.created_by,
            created_at: passage.created_at,
            updated_at: passage.updated_at,
        }
    }
}

/// A new passage.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PassageBody {
    /// The text.
    #[schema(max_length = 200_000)]
    text: String,
    /// Words to find it by.
    tags: Option<Vec<String>>,
    /// Free data.
    #[schema(value_type = Option<Value>)]
    metadata: Option<Map<String, Value>>,
    /// When what it says was so; now when left out.
    created_at: Option<String>,
    /// The end user whose own it is; common to all users when left out.
    #[serde(alias = "userId")]
    pub user_id: Option<String>,
}

impl PassageBody {
    /// The passage.
    ///
    /// # Errors
    /// Its time is none.
    pub fn passage(self) -> Result<NewPassage, ApiError> {
        let created_at = match &self.created_at {
            Some(text) => Some(Timestamp::parse_moment(text).map_err(|error| {
                ApiError::invalid(&[Issue::body(&["created_at"], error.to_string(), json!(text))])
            })?),
            None => None,
        };
        Ok(NewPassage {
            text: self.text,
            tags: self.tags.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            created_at,
        })
    }
}

/// Which passages a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct PassagesQuery {
    /// Only those that contain this text.
    search: Option<String>,
    /// False lists the newest first.
    ascending: Option<bool>,
}

/// The passages of an agent, oldest first.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/archival-memory", tag = "archival memory",
    operation_id = "list_passages",
    params(("agent_id" = String, Path), PageQuery, ("search" = Option<String>, Query,
        description = "Only those that contain this text."), UserQuery),
    responses((status = 200, body = Vec<PassageView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    query: PageQuery,
    Query(wanted): Query<PassagesQuery>,
    Query(user): Query<UserQuery>,
) -> Result<Json<Vec<PassageView>>, ApiError> {
    let scope = people::scope_of(&scope, user.user_id)?;
    let default = if wanted.ascending == Some(false) {
        Order::Desc
    } else {
        Order::Asc
    };
    let page = query.page(100, default)?;
    let filter = PassageFilter {
        agent_id: Some(agent),
        search: wanted.search.filter(|text| !text.is_empty()),
        ..PassageFilter::default()
    };
    let for_job = scope.clone();
    let found = state.engine.store().read(move |tx| {
        Box::pin(async move {
            agents::get(tx, &for_job, agent).await?;
            let archives = archives::of_agent(tx, &for_job, agent).await?;
            let passages = passages::list(tx, &for_job, &filter, &page).await?;
            Ok::<_, ApiError>((archives, passages))
        })
    });
    let (archives, passages) = found.await?;
    let shown = passages.into_iter().filter_map(|passage| {
        let archive = archives.iter().find(|it| it.id == passage.archive_id)?;
        Some(PassageView::new(&scope, archive, passage))
    });
    Ok(Json(shown.collect()))
}

/// Write a passage into an agent's archival memory. It is found by its words at once, and by its
/// meaning as soon as it is embedded.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/archival-memory", tag = "archival memory",
    operation_id = "create_passage", params(("agent_id" = String, Path)),
    request_body = PassageBody, responses((status = 200, body = Vec<PassageView>)))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    Json(mut body): Json<PassageBody>,
) -> Result<Json<Vec<PassageView>>, ApiError> {
    let scope = people::scope_with(&state, &scope, (agent, body.user_id.take())).await?;
    let new = vec![body.passage()?];
    let (archive, made) = state.engine.insert_memories(&scope, agent, new).await?;
    let made = made.into_iter();
    Ok(Json(
        made.map(|passage| PassageView::new(&scope, &archive, passage))
            .collect(),
    ))
}

/// Delete a passage of an agent.
#[utoipa::path(delete, path = "/v1/agents/{agent_id}/archival-memory/{memory_id}",
    tag = "archival memory", operation_id = "delete_passage",
    params(("agent_id" = String, Path), ("memory_id" = String, Path)),
    responses((status = 200, body = Value)))]
async fn delete(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, passage)): Path<(AgentId, PassageId)>,
) -> Result<Json<Value>, ApiError> {
    let gone = state.engine.store().write(move |tx| {
        Box::pin(async move {
            agents::get(tx, &scope, agent).await?;
            let of_agent = archives::of_agent(tx, &scope, agent).await?;
            let found = passages::get(tx, &scope, passage).await?;
            if !of_agent
                .iter()
                .any(|archive| archive.id == found.archive_id)
            {
                return Err(StoreError::not_found("Passage", passage).into());
            }
            passages::delete(tx, &scope, passage).await?;
            Ok::<_, ApiError>(())
        })
    });
    gone.await?;
    let message = format!("Memory id={passage} successfully deleted");
    Ok(Json(json!({ "message": message })))
}

/// What an agent's passages are searched for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// What to look for, as a question or as words.
    query: String,
    /// Only passages with these tags.
    #[serde(default)]
    tags: Vec<String>,
    /// Whether a passage needs `any` of the tags or `all`.
    #[param(inline)]
    tag_match_mode: Option<TagMatch>,
    /// Results at the most; 5 when left out.
    #[param(minimum = 1, maximum = 1_000)]
    top_k: Option<i64>,
    /// Only passages since this day or time; without an offset it is meant in the agent's time zone.
    start_datetime: Option<String>,
    /// Only passages up to this day, which is included, or time.
    end_datetime: Option<String>,
}

/// How several tags are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TagMatch {
    /// One is enough.
    #[default]
    Any,
    /// All are needed.
    All,
}

/// A found passage.
#[derive(Debug, Serialize, ToSchema)]
struct FoundView {
    /// The passage's id.
    #[schema(value_type = String)]
    id: PassageId,
    /// When what it says was so.
    timestamp: String,
    /// Its text.
    content: String,
    /// Its tags.
    tags: Vec<String>,
    /// How likely it is about what was asked, from 0 to 1.
    score: f32,
    /// What the score is made of.
    scores: Value,
}

/// What a search found.
#[derive(Debug, Serialize, ToSchema)]
struct FoundPassages {
    /// The passages, best first.
    results: Vec<FoundView>,
    /// How many they are.
    count: usize,
    /// Whether none of them seems to be about what was asked.
    nothing_relevant: bool,
    /// The part of the searched passages that can be found by meaning already; all are found by words.
    embedded_share: f32,
}

/// Search an agent's archival memory by words and by meaning.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/archival-memory/search", tag = "archival memory",
    operation_id = "search_archival_memory", params(("agent_id" = String, Path), SearchQuery, UserQuery),
    responses((status = 200, body = FoundPassages)))]
async fn search_of_agent(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    Query(query): Query<SearchQuery>,
    Query(user): Query<UserQuery>,
) -> Result<Json<FoundPassages>, ApiError> {
    let about = people::scope_and_agent(&state, &scope, (agent, user.user_id));
    let (scope, about) = about.await?;
    let zone = about.timezone;
    let bound = |name: &str, text: &Option<String>, bound| {
        let Some(text) = text else { return Ok(None) };
        parse_bound(text, &zone, bound).map(Some).ok_or_else(|| {
            let msg = "Input should be a day (2026-03-31) or an ISO 8601 time";
            ApiError::invalid(&[Issue::query(name, msg, json!(text))])
        })
    };
    let search = PassageSearch {
        start: bound("start_datetime", &query.start_datetime, Bound::Start)?,
        end: bound("end_datetime", &query.end_datetime, Bound::End)?,
        limit: limited("top_k", query.top_k, DEFAULT_TOP_K)?,
        text: query.query,
        tags: query.tags,
        match_all_tags: query.tag_match_mode == Some(TagMatch::All),
        within: Where::Agent(agent),
        zone,
    };
    let found = state.engine.search_passages(&scope, search).await?;
    Ok(Json(found.into()))
}

/// How many results are wanted.
///
/// # Errors
/// The number is out of its bounds.
fn limited(name: &str, wanted: Option<i64>, default: usize) -> Result<usize, ApiError> {
    let Some(wanted) = wanted else {
        return Ok(default);
    };
    let within = (1..=MAX_RESULTS).contains(&wanted);
    usize::try_from(wanted)
        .ok()
        .filter(|_| within)
        .ok_or_else(|| {
            let msg = format!("Input should be between 1 and {MAX_RESULTS}");
            ApiError::invalid(&[Issue::query(name, msg, json!(wanted))])
        })
}

impl From<Findings<(Archive, Passage)>> for FoundPassages {
    fn from(found: Findings<(Archive, Passage)>) -> Self {
        let results: Vec<FoundView> = found.found.into_iter().map(FoundView::from).collect();
        Self {
            count: results.len(),
            results,
            nothing_relevant: found.nothing_relevant,
            embedded_share: found.embedded_share,
        }
    }
}

impl From<Finding<(Archive, Passage)>> for FoundView {
    fn from(finding: Finding<(Archive, Passage)>) -> Self {
        let (_, passage) = finding.item;
        Self {
            id: passage.id,
            timestamp: passage.created_at.to_offset_iso(),
            content: passage.text,
            tags: passage.tags,
            score: finding.score,
            scores: parts(&finding.parts),
        }
    }
}

/// What a score is made of, as JSON.
#[must_use]
pub fn parts(parts: &Parts) -> Value {
    let named = parts.named();
    Value::Object(
        named
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect(),
    )
}

/// What passages are searched for, and where: in an archive, in those of an agent, or in all.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PassageSearchBody)]
struct SearchBody {
    /// What to look for; without one the newest passages come back.
    query: Option<String>,
    /// Only in the archives of this agent.
    agent_id: Option<String>,
    /// Only in this archive.
    archive_id: Option<String>,
    /// Only passages with these tags.
    tags: Option<Vec<String>>,
    /// Whether a passage needs `any` of the tags or `all`.
    #[serde(default)]
    #[schema(inline)]
    tag_match_mode: TagMatch,
    /// Only passages since this day or time; without an offset it is meant in the agent's time zone, or UTC.
    start_date: Option<String>,
    /// Only passages up to this day, which is included, or time.
    end_date: Option<String>,
    /// Results at the most; 50 when left out.
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<i64>,
}

/// A found passage with its score.
#[derive(Debug, Serialize, ToSchema)]
struct ScoredPassage {
    /// The passage.
    passage: PassageView,
    /// How likely it is about what was asked, from 0 to 1.
    score: f32,
    /// What the score is made of.
    metadata: Value,
}

/// The time zone in which the times of a request are meant: that of the agent it names, else UTC.
///
/// # Errors
/// There is no such agent.
pub async fn zone_of(
    state: &AppState,
    scope: &Scope,
    agent_id: Option<&String>,
) -> Result<String, ApiError> {
    match agent_id {
        Some(id) => {
            let id = body_id("agent_id", id)?;
            Ok(state.engine.timezone_of(scope, id).await?)
        }
        None => Ok("UTC".to_owned()),
    }
}

impl SearchBody {
    fn search(self, zone: String) -> Result<PassageSearch, ApiError> {
        let bound = |name: &str, text: &Option<String>, bound| {
            let Some(text) = text else { return Ok(None) };
            parse_bound(text, &zone, bound).map(Some).ok_or_else(|| {
                let msg = "Input should be a day (2026-03-31) or an ISO 8601 time";
                ApiError::invalid(&[Issue::body(&[name], msg, json!(text))])
            })
        };
        let limit = self.limit.unwrap_or(50);
        if !(1..=100).contains(&limit) {
            let msg = "Input should be between 1 and 100";
            return Err(ApiError::invalid(&[Issue::body(
                &["limit"],
                msg,
                json!(limit),
            )]));
        }
        let within = match (&self.archive_id, &self.agent_id) {
            (Some(id), _) => Where::Archive(body_id("archive_id", id)?),
            (None, Some(id)) => Where::Agent(body_id("agent_id", id)?),
            (None, None) => Where::Everywhere,
        };
        Ok(PassageSearch {
            start: bound("start_date", &self.start_date, Bound::Start)?,
            end: bound("end_date", &self.end_date, Bound::End)?,
            limit: usize::try_from(limit).unwrap_or(50),
            text: self.query.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
            match_all_tags: self.tag_match_mode == TagMatch::All,
            within,
            zone,
        })
    }
}

/// Search passages by words and by meaning, in one archive, in those of an agent, or in all.
#[utoipa::path(post, path = "/v1/passages/search", tag = "archival memory",
    operation_id = "search_passages", request_body = SearchBody,
    responses((status = 200, body = Vec<ScoredPassage>)))]
async fn search(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Json(body): Json<SearchBody>,
) -> Result<Json<Vec<ScoredPassage>>, ApiError> {
    let zone = zone_of(&state, &scope, body.agent_id.as_ref()).await?;
    let search = body.search(zone)?;
    let found = state.engine.search_passages(&scope, search).await?;
    let (nothing_relevant, embedded_share) = (found.nothing_relevant, found.embedded_share);
    let shown = found.found.into_iter().map(|finding| {
        let mut metadata = parts(&finding.parts);
        if let Value::Object(fields) = &mut metadata {
            fields.insert("nothing_relevant".to_owned(), json!(nothing_relevant));
            fields.insert("embedded_share".to_owned(), json!(embedded_share));
        }
        let (archive, passage) = finding.item;
        ScoredPassage {
            passage: PassageView::new(&scope, &archive, passage),
            score: finding.score,
            metadata,
        }
    });
    Ok(Json(shown.collect()))
}
