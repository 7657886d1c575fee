//! Searching messages, of one agent or of all.

use axum::extract::State;
use mnemic_core::{
    messages::{Message, Role},
    time::{Bound, parse_bound},
};
use mnemic_engine::search::{Finding, MessageSearch, Mode, Recalled, Where, said};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    AppState,
    actor::Actor,
    archival_memory::{parts, zone_of},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, body_id},
    validation::Issue,
};

/// Results when the client names no number (V1 contract).
const DEFAULT_LIMIT: i64 = 50;

/// Results at the most (V1 contract).
const MAX_LIMIT: i64 = 100;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(search))
        .merge(routes!(search_of_agents))
}

/// By what messages are found.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SearchMode {
    /// By meaning.
    Vector,
    /// By words.
    Fts,
    /// By both.
    #[default]
    Hybrid,
}

/// What messages are searched for.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MessageSearchBody)]
struct SearchBody {
    /// A question or words; without any, the newest messages come back.
    query: Option<String>,
    /// By what messages are found.
    #[serde(default)]
    #[schema(inline)]
    search_mode: SearchMode,
    /// Only messages of these speakers: `user`, `assistant`, `tool`.
    roles: Option<Vec<String>>,
    /// Only messages of this agent; without one, of the 200 agents that changed last.
    agent_id: Option<String>,
    /// Only messages of this thread.
    conversation_id: Option<String>,
    /// Only messages since this day or time; without an offset it is meant in the agent's time zone, or UTC.
    start_date: Option<String>,
    /// Only messages up to this day, which is included, or time.
    end_date: Option<String>,
    /// Results at the most; 50 when left out.
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<i64>,
}

impl SearchBody {
    fn search(self, roles: Vec<Role>, zone: String) -> Result<MessageSearch, ApiError> {
        let bound = |name: &str, text: &Option<String>, bound| {
            let Some(text) = text else { return Ok(None) };
            parse_bound(text, &zone, bound).map(Some).ok_or_else(|| {
                let msg = "Input should be a day (2026-03-31) or an ISO 8601 time";
                ApiError::invalid(&[Issue::body(&[name], msg, json!(text))])
            })
        };
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            let msg = format!("Input should be between 1 and {MAX_LIMIT}");
            return Err(ApiError::invalid(&[Issue::body(
                &["limit"],
                msg,
                json!(limit),
            )]));
        }
        let within = match &self.agent_id {
            Some(id) => Where::Agent(body_id("agent_id", id)?),
            None => Where::Everywhere,
        };
        let conversation_id = match &self.conversation_id {
            Some(id) => Some(body_id("conversation_id", id)?),
            None => None,
        };
        Ok(MessageSearch {
            start: bound("start_date", &self.start_date, Bound::Start)?,
            end: bound("end_date", &self.end_date, Bound::End)?,
            text: self.query.unwrap_or_default(),
            within,
            conversation_id,
            roles,
            limit: usize::try_from(limit).unwrap_or_default(),
            mode: match self.search_mode {
                SearchMode::Vector => Mode::Vector,
                SearchMode::Fts => Mode::Text,
                SearchMode::Hybrid => Mode::Hybrid,
            },
            zone,
        })
    }

    /// The speakers that are asked for.
    fn roles(&self, default: &[Role]) -> Result<Vec<Role>, ApiError> {
        let Some(names) = self.roles.as_ref().filter(|names| !names.is_empty()) else {
            return Ok(default.to_vec());
        };
        let parsed = names.iter().map(|name| {
            Role::parse(name).ok_or_else(|| {
                let msg = "Input should be 'assistant', 'user' or 'tool'";
                ApiError::invalid(&[Issue::body(&["roles"], msg, json!(name))])
            })
        });
        parsed.collect()
    }
}

/// A found message.
#[derive(Debug, Serialize, ToSchema)]
struct FoundMessage {
    /// `user_message` or `assistant_message`.
    message_type: &'static str,
    /// The message's id.
    message_id: String,
    /// What was said.
    content: String,
    /// The agent in whose memory it is.
    agent_id: String,
    /// The thread in which it was said.
    conversation_id: String,
    /// When.
    created_at: String,
    /// How likely it is about what was asked, from 0 to 1.
    score: f32,
    /// What the score is made of.
    scores: Value,
    /// Whether the model still sees it, or it was compacted away.
    in_context: bool,
    /// Whether none of the results seems to be about what was asked.
    nothing_relevant: bool,
    /// The part of the searched messages that can be found by meaning.
    embedded_share: f32,
}

/// Search what people and agents said, by words and by meaning.
#[utoipa::path(post, path = "/v1/messages/search", tag = "messages",
    operation_id = "search_all_messages", request_body = SearchBody,
    responses((status = 200, body = Vec<FoundMessage>)))]
async fn search(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Json(body): Json<SearchBody>,
) -> Result<Json<Vec<FoundMessage>>, ApiError> {
    // Clients know no form of this answer for tools' returns.
    let roles = body.roles(&[Role::User, Role::Assistant])?;
    let zone = zone_of(&state, &scope, body.agent_id.as_ref()).await?;
    let search = body.search(roles, zone)?;
    let found = state.engine.search_messages(&scope, search).await?;
    let (nothing_relevant, embedded_share) = (found.nothing_relevant, found.embedded_share);
    let shown = found.found.into_iter().filter_map(|finding| {
        let (message, in_context) = said_in(&finding)?;
        Some(FoundMessage {
            message_type: match message.role {
                Role::User => "user_message",
                Role::Assistant => "assistant_message",
                Role::System | Role::Tool => "system_message",
            },
            message_id: message.id.to_string(),
            content: said(message.role, &message.body).unwrap_or_default(),
            agent_id: message.agent_id.to_string(),
            conversation_id: message.conversation_id.to_string(),
            created_at: message.created_at.to_iso(),
            score: finding.score,
            scores: parts(&finding.parts),
            in_context,
            nothing_relevant,
            embedded_share,
        })
    });
    Ok(Json(shown.collect()))
}

/// A found message as it is stored.
#[derive(Debug, Serialize, ToSchema)]
struct FoundStored {
    /// The text by which it was found.
    embedded_text: String,
    /// The message.
    message: Value,
    /// How likely it is about what was asked, from 0 to 1.
    rrf_score: f32,
    /// Its rank by words among the results.
    fts_rank: Option<usize>,
    /// Its rank by meaning among the results.
    vector_rank: Option<usize>,
    /// What the score is made of.
    scores: Value,
    /// Whether the model still sees it, or it was compacted away.
    in_context: bool,
    /// Whether none of the results seems to be about what was asked.
    nothing_relevant: bool,
    /// The part of the searched messages that can be found by meaning.
    embedded_share: f32,
}

/// Search stored messages, with their ranks by words and by meaning.
#[utoipa::path(post, path = "/v1/agents/messages/search", tag = "messages",
    operation_id = "search_messages", request_body = SearchBody,
    responses((status = 200, body = Vec<FoundStored>)))]
async fn search_of_agents(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Json(body): Json<SearchBody>,
) -> Result<Json<Vec<FoundStored>>, ApiError> {
    let roles = body.roles(&[])?;
    let zone = zone_of(&state, &scope, body.agent_id.as_ref()).await?;
    let search = body.search(roles, zone)?;
    let all = state.engine.search_messages(&scope, search).await?;
    let (nothing_relevant, embedded_share) = (all.nothing_relevant, all.embedded_share);
    let found = all.found;
    let by_words = ranks(&found, |finding| finding.parts.text);
    let by_meaning = ranks(&found, |finding| finding.parts.dense);
    let shown = found.iter().zip(by_words).zip(by_meaning);
    let shown = shown.filter_map(|((finding, fts_rank), vector_rank)| {
        let (message, in_context) = said_in(finding)?;
        Some(FoundStored {
            embedded_text: said(message.role, &message.body).unwrap_or_default(),
            message: stored(message),
            rrf_score: finding.score,
            fts_rank,
            vector_rank,
            scores: parts(&finding.parts),
            in_context,
            nothing_relevant,
            embedded_share,
        })
    });
    Ok(Json(shown.collect()))
}

fn said_in(finding: &Finding<Recalled>) -> Option<(&Message, bool)> {
    match &finding.item {
        Recalled::Message {
            message,
            in_context,
        } => Some((message, *in_context)),
        Recalled::PastLine { .. } => None,
    }
}

/// The place of each result by one part of its score, from 1; none where that part is 0.
fn ranks(
    found: &[Finding<Recalled>],
    part: impl Fn(&Finding<Recalled>) -> f32,
) -> Vec<Option<usize>> {
    let values: Vec<f32> = found.iter().map(part).collect();
    let rank = |value: &f32| {
        let better = values.iter().filter(|other| *other > value).count();
        (*value > 0.0).then_some(better + 1)
    };
    values.iter().map(rank).collect()
}

fn stored(message: &Message) -> Value {
    json!({
        "id": message.id,
        "role": message.role.as_str(),
        "content": [{"type": "text", "text": said(message.role, &message.body)}],
        "agent_id": message.agent_id,
        "conversation_id": message.conversation_id,
        "name": message.name,
        "otid": message.otid,
        "sender_id": message.sender_id,
        "run_id": message.run_id,
        "step_id": message.step_id,
        "tool_calls": message.body.tool_calls.iter().map(|call| json!({
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        })).collect::<Vec<_>>(),
        "created_at": message.created_at,
    })
}
