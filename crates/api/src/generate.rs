//! Calls to an agent's model that no conversation hears of: one answer to a prompt, and the request that a
//! message would make.

use axum::extract::State;
use mnemic_core::{conversations::Thread, ids::AgentId, scope::Scope};
use mnemic_engine::{EngineError, GenerateRequest, custom::Above};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    AppState,
    actor::Actor,
    conversation_messages::{Named, thread},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path},
    letta_messages::UsageView,
    people,
    send_request::{AnswerForm, SendBody, Sent},
    validation::Issue,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(generate))
        .merge(routes!(preview))
        .merge(routes!(preview_conversation))
}

/// What a model is asked.
#[derive(Debug, Deserialize, ToSchema)]
struct GenerateBody {
    /// What is said to it.
    #[schema(min_length = 1)]
    prompt: String,
    /// What it is told before that; nothing of the agent's own when left out.
    system_prompt: Option<String>,
    /// A model in place of the agent's.
    override_model: Option<String>,
    /// The JSON schema that the answer must have.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    response_schema: Option<Map<String, Value>>,
}

/// What it answers.
#[derive(Debug, Serialize, ToSchema)]
struct GenerateView {
    /// The answer's text; JSON where a schema was given.
    content: String,
    /// The model as its provider calls it.
    model: String,
    /// What it took.
    usage: UsageView,
}

/// Ask the agent's model for one answer. Nothing of it is stored, and the agent does not know of it.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/generate", tag = "agents",
    operation_id = "generate_completion", params(("agent_id" = String, Path)), request_body = GenerateBody,
    responses((status = 200, body = GenerateView),
        (status = 404, description = "There is no such agent or model"),
        (status = 502, description = "The model's provider failed, or the answer has not the form asked for")))]
async fn generate(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    Json(body): Json<GenerateBody>,
) -> Result<Json<GenerateView>, ApiError> {
    if body.prompt.is_empty() {
        let input = Value::String(body.prompt);
        return Err(ApiError::invalid(&[Issue::body(
            &["prompt"],
            "String should have at least 1 character",
            input,
        )]));
    }
    let request = GenerateRequest {
        prompt: body.prompt,
        system_prompt: body.system_prompt,
        override_model: body.override_model,
        response_schema: body.response_schema.map(Value::Object),
    };
    let generated = state.engine.generate(&scope, agent, request).await;
    let generated = generated.map_err(|error| match error {
        EngineError::Llm(error) => ApiError::from(error).of_gateway(),
        error => error.into(),
    })?;
    Ok(Json(GenerateView {
        content: generated.content,
        model: generated.model,
        usage: UsageView::of(&generated.usage, 0, None),
    }))
}

/// The request that a message to the agent would make to its model's provider. Nothing is sent, and nothing stored.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/preview-raw-payload", tag = "messages",
    operation_id = "preview_model_request", params(("agent_id" = String, Path)), request_body = SendBody,
    responses((status = 200, body = std::collections::BTreeMap<String, Value>,
            description = "The request in the form of the provider's protocol"),
        (status = 409, description = "The conversation waits for answers to calls")))]
async fn preview(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    sent: Sent,
) -> Result<Json<Value>, ApiError> {
    let form = AnswerForm::of(sent.body.streaming);
    previewed(&state, &scope, (agent, Thread::Default), (sent, form)).await
}

/// The request that a message to a conversation would make to its model's provider. Nothing is sent, and nothing stored.
#[utoipa::path(post, path = "/v1/conversations/{conversation_id}/messages/preview-raw-payload", tag = "conversations",
    operation_id = "preview_conversation_model_request", params(("conversation_id" = String, Path)),
    request_body = SendBody,
    responses((status = 200, body = std::collections::BTreeMap<String, Value>,
            description = "The request in the form of the provider's protocol"),
        (status = 409, description = "The conversation waits for answers to calls")))]
async fn preview_conversation(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(named): Path<Named>,
    mut sent: Sent,
) -> Result<Json<Value>, ApiError> {
    let agent = sent.body.agent()?;
    let scope = people::scope_of(&scope, sent.body.user_id.take())?;
    let form = AnswerForm::of_thread(sent.body.streaming);
    let conversation = named.read(&state, &scope, agent).await?;
    let place = (conversation.agent_id, thread(&conversation));
    let scope = scope.narrowed_to(conversation.subject);
    previewed(&state, &scope, place, (sent, form)).await
}

async fn previewed(
    state: &AppState,
    scope: &Scope,
    (agent, thread): (AgentId, Thread),
    (sent, form): (Sent, AnswerForm),
) -> Result<Json<Value>, ApiError> {
    let checked = sent.body.check(form, sent.fingerprint)?;
    let request = checked.into_request(state, scope, Above::default()).await?;
    Ok(Json(
        state.engine.preview(scope, agent, thread, request).await?,
    ))
}
