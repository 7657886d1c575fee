//! Forgetting parts: a fact, a thread, a time.

use axum::extract::State;
use mnemic_core::{
    ids::{AgentId, BlockId, ConversationId, MessageId, PassageId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::forgetting::parts::{Found, FoundBlock, FoundMessage, FoundPassage, Parts};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, Text},
    people,
    receipts::ReceiptView,
    validation::Issue,
};

/// Ids that one request names at the most.
const MAX_IDS: usize = 1_000;

/// Found things of a kind that are shown; all are counted.
const MAX_SHOWN: usize = 100;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(forget_of_user))
        .merge(routes!(forget_of_agent))
}

/// What is to be forgotten. `message_ids` and `passage_ids` name single things; of the rest, what is given has to hold all together.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"text": "allergic to nuts", "dry_run": true}))]
struct ForgetBody {
    /// These messages. The calls or returns that belong to them go along.
    #[schema(value_type = Vec<String>)]
    #[serde(alias = "messageIds")]
    message_ids: Vec<MessageId>,
    /// These passages.
    #[schema(value_type = Vec<String>)]
    #[serde(alias = "passageIds")]
    passage_ids: Vec<PassageId>,
    /// Everything that contains this text, in any case of ASCII letters: messages, passages, former versions of blocks.
    #[schema(min_length = 1)]
    text: Option<String>,
    /// Everything of this time or later.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Everything of an earlier time.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// What was said in this thread; alone, the thread goes as well.
    #[schema(value_type = Option<String>)]
    #[serde(alias = "conversationId")]
    conversation_id: Option<ConversationId>,
    /// Whether the text, or what was written in that time, is taken out of what blocks say now.
    #[serde(alias = "changeBlocks")]
    change_blocks: bool,
    /// Only tell what would be forgotten.
    #[serde(alias = "dryRun")]
    dry_run: bool,
}

impl ForgetBody {
    fn check(&self) -> Result<(), ApiError> {
        let issue = |field: &str, message: &str, input| {
            Err(ApiError::invalid(&[Issue::body(
                &[field],
                message.to_owned(),
                input,
            )]))
        };
        if self
            .text
            .as_ref()
            .is_some_and(|text| text.trim().is_empty())
        {
            return issue(
                "text",
                "is empty: say which text is to be forgotten",
                json!(self.text),
            );
        }
        if self.message_ids.len() + self.passage_ids.len() > MAX_IDS {
            return issue(
                "message_ids",
                "name at most 1,000 messages and passages in one request",
                json!(null),
            );
        }
        let of_time = self.from.is_some() || self.to.is_some();
        if self.change_blocks && self.text.is_none() && !of_time {
            return issue(
                "change_blocks",
                "blocks lose a text, or what they got in some time: say which in `text`, or in `from` and `to`",
                json!(true),
            );
        }
        let describes = self.text.is_some()
            || self.from.is_some()
            || self.to.is_some()
            || self.conversation_id.is_some();
        if !describes && self.message_ids.is_empty() && self.passage_ids.is_empty() {
            return issue(
                "text",
                "say what is to be forgotten: message_ids, passage_ids, text, from, to or conversation_id",
                json!(null),
            );
        }
        Ok(())
    }
}

impl From<ForgetBody> for Parts {
    fn from(body: ForgetBody) -> Self {
        Self {
            message_ids: body.message_ids,
            passage_ids: body.passage_ids,
            text: body.text,
            from: body.from,
            to: body.to,
            conversation_id: body.conversation_id,
            change_blocks: body.change_blocks,
        }
    }
}

/// What was forgotten, or would be.
#[derive(Debug, Serialize, ToSchema)]
struct PartsReceipt {
    #[serde(flatten)]
    receipt: ReceiptView,
    /// Whether this only tells what would be forgotten.
    dry_run: bool,
    found: PartsView,
}

/// What was found: the first 100 of each kind.
#[derive(Debug, Serialize, ToSchema)]
struct PartsView {
    messages: Vec<MessageView>,
    passages: Vec<PassageView>,
    blocks: Vec<BlockView>,
}

/// A message that goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ForgottenMessage)]
struct MessageView {
    #[schema(value_type = String)]
    id: MessageId,
    #[schema(value_type = String)]
    conversation_id: ConversationId,
    role: &'static str,
    /// What it says, while it can still be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[schema(value_type = String)]
    created_at: Timestamp,
}

/// A passage that goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ForgottenPassage)]
struct PassageView {
    #[schema(value_type = String)]
    id: PassageId,
    /// What it says, while it can still be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[schema(value_type = String)]
    created_at: Timestamp,
}

/// A block that says it, or said it once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ForgottenVersions)]
struct BlockView {
    #[schema(value_type = String)]
    id: BlockId,
    label: String,
    /// The versions that go.
    versions: Vec<i64>,
    /// Whether the block still says the text, or what it got in that time; with `change_blocks` it does not.
    still_says: bool,
}

impl PartsView {
    fn of(found: Found, body: (bool, bool)) -> Self {
        let (dry_run, change_blocks) = body;
        let told = |text: String| dry_run.then_some(text);
        let message = |found: FoundMessage| MessageView {
            id: found.id,
            conversation_id: found.conversation_id,
            role: found.role.as_str(),
            text: told(found.text),
            created_at: found.created_at,
        };
        let passage = |found: FoundPassage| PassageView {
            id: found.id,
            text: told(found.text),
            created_at: found.created_at,
        };
        let block = |found: FoundBlock| BlockView {
            id: found.id,
            label: found.label,
            versions: found.versions,
            still_says: found.says_now && !change_blocks,
        };
        Self {
            messages: found
                .messages
                .into_iter()
                .take(MAX_SHOWN)
                .map(message)
                .collect(),
            passages: found
                .passages
                .into_iter()
                .take(MAX_SHOWN)
                .map(passage)
                .collect(),
            blocks: found
                .blocks
                .into_iter()
                .take(MAX_SHOWN)
                .map(block)
                .collect(),
        }
    }
}

async fn forget(
    state: &AppState,
    scope: &Scope,
    agent: AgentId,
    body: ForgetBody,
) -> Result<Json<PartsReceipt>, ApiError> {
    body.check()?;
    let how = (body.dry_run, body.change_blocks);
    let user = scope.subject.clone();
    let (found, receipt) = if body.dry_run {
        let found = state.engine.find_parts(scope, agent, body.into()).await?;
        let receipt = ReceiptView::would(user, &found);
        (found, receipt)
    } else {
        let (found, receipt) = state.engine.forget_parts(scope, agent, body.into()).await?;
        (found, ReceiptView::of(user, receipt))
    };
    Ok(Json(PartsReceipt {
        receipt,
        dry_run: how.0,
        found: PartsView::of(found, how),
    }))
}

/// Forget something of a person: single messages and passages, a text, a time or a thread.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/users/{user_id}/forget", tag = "people", operation_id = "forget_of_agent_user",
    params(("agent_id" = String, Path), ("user_id" = String, Path)), request_body = ForgetBody,
    responses((status = 200, body = PartsReceipt)))]
async fn forget_of_user(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path((agent, Text(user))): Path<(AgentId, Text)>,
    Json(body): Json<ForgetBody>,
) -> Result<Json<PartsReceipt>, ApiError> {
    let scope = people::narrowed(&scope, user)?;
    forget(&state, &scope, agent, body).await
}

/// Forget something of what is nobody's in particular: the agent's default thread and what is common to all users.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/forget", tag = "people", operation_id = "forget_of_agent",
    params(("agent_id" = String, Path)), request_body = ForgetBody, responses((status = 200, body = PartsReceipt)))]
async fn forget_of_agent(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    Json(body): Json<ForgetBody>,
) -> Result<Json<PartsReceipt>, ApiError> {
    forget(&state, &scope, agent, body).await
}
