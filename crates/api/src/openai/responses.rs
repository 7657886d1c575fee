//! `POST /v1/responses`.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    ask::{self, Ask, Earlier},
    input::{self, Heard, NO_FORMAT, Said},
    reading::{self, Reader},
    responses_stream::{ResponseEvent, Steps},
    responses_view::{CallItem, Frame, ResponseView, item_id, message, run_of},
    tools::ClientSide,
};
use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::Json,
    send_request::{AnswerForm, Sent},
    sse,
};

const MICROS: i64 = 1_000_000;

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(create)
}

/// A request; fields that are not here are ignored, as the agent has its own settings.
#[derive(Debug, Deserialize, ToSchema)]
struct ResponsesRequest {
    /// The agent's id, or its name where no other agent has it.
    model: String,
    /// What the user says: a text, or a list of which the newest message of the user is taken, and results of tools
    /// after it.
    #[schema(value_type = serde_json::Value)]
    input: Value,
    /// Whether the answer is a stream of events.
    stream: Option<bool>,
    /// The end user: everyone has a thread of their own with the agent.
    user: Option<String>,
    /// The newer name of `user`.
    safety_identifier: Option<String>,
    /// Goes on in the thread of this response.
    previous_response_id: Option<String>,
    /// The thread to speak in, or an object with its id.
    #[schema(value_type = Option<serde_json::Value>)]
    conversation: Option<Value>,
    /// Functions that the client runs, beside the agent's own tools.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    tools: Option<Vec<Value>>,
    /// `none`, `auto`, `required`, or a function of the tools.
    #[schema(value_type = Option<serde_json::Value>)]
    tool_choice: Option<Value>,
    /// Text only.
    #[schema(value_type = Option<serde_json::Value>)]
    text: Option<Value>,
    /// Not here: the V1 API has runs in the background.
    background: Option<bool>,
}

impl ResponsesRequest {
    fn check(&self) -> Result<(), ApiError> {
        let format = self.text.as_ref().and_then(|text| text.get("format"));
        let kind = format.and_then(|format| format.get("type"));
        input::refuse(&[
            (kind.is_some_and(|kind| kind != "text"), "text", NO_FORMAT),
            (
                self.background == Some(true),
                "background",
                "a response is not made in the background here: use POST \
                 /v1/agents/{agent_id}/messages/async",
            ),
        ])
    }

    /// The thread that the client names.
    fn thread(&self) -> Result<Option<Earlier>, ApiError> {
        if let Some(conversation) = self.conversation.as_ref().filter(|value| !value.is_null()) {
            let id = conversation.get("id").unwrap_or(conversation).as_str();
            let id = id.and_then(|id| id.parse().ok()).ok_or_else(|| {
                input::invalid(
                    "conversation",
                    "a conversation is named by its id, which begins with 'conv-'",
                )
            })?;
            return Ok(Some(Earlier::Conversation(id)));
        }
        let Some(id) = &self.previous_response_id else {
            return Ok(None);
        };
        let run = run_of(id).ok_or_else(|| {
            input::invalid(
                "previous_response_id",
                "this is no id of a response of this server",
            )
        })?;
        Ok(Some(Earlier::Run(run)))
    }
}

/// What is new in an input.
fn heard(input: Value) -> Result<Heard, ApiError> {
    match input {
        Value::String(text) => Ok(Heard::text(text)),
        list => {
            let items: Vec<Said> = serde_json::from_value(list).map_err(|_| {
                input::invalid("input", "the input is a text or a list of messages")
            })?;
            input::heard(items, "input")
        }
    }
}

/// Say something to an agent, as OpenAI's responses API has it. The agent remembers: only the newest
/// message of the user and the results of the client's tools are read. Its own tools are not shown.
#[utoipa::path(post, path = "/v1/responses", tag = "openai", operation_id = "create_response",
    request_body = ResponsesRequest,
    responses((status = 200, description = "The response; with stream=true a stream of its events",
        content((ResponseView = "application/json"), (ResponseEvent = "text/event-stream")))))]
async fn create(
    State(state): State<AppState>,
    Actor(scope): Actor,
    sent: Sent<ResponsesRequest>,
) -> Result<Response, ApiError> {
    let (body, sent) = sent.parted();
    body.check()?;
    let thread = body.thread()?;
    let client = ClientSide::read(body.tools.clone(), body.tool_choice.as_ref())?;
    let tools = client.names();
    let user = input::user([body.user, body.safety_identifier])?;
    let form = AnswerForm::of(body.stream);
    let ask = Ask {
        model: body.model.clone(),
        user: user.clone(),
        thread,
        heard: heard(body.input)?,
        client,
        form,
        param: "input",
    };
    let run = ask::begin(&state, &scope, ask, sent).await?;
    let mut response = ResponseView::begun(Frame {
        run_id: run.run_id,
        conversation_id: run.conversation_id,
        created_at: state.engine.now().0 / MICROS,
        model: body.model,
        previous: body.previous_response_id,
        user,
        tools: body.tools.unwrap_or_default(),
        tool_choice: body.tool_choice,
    });
    if form == AnswerForm::Stream {
        return Ok(sse::rendered(run, Steps::new(response, Reader::new(tools))));
    }
    let whole = reading::wait(run, tools).await?;
    let messages = whole.messages.iter();
    response.output = messages
        .map(|text| message(&item_id(), "completed", Some(text)))
        .chain(
            whole
                .calls
                .iter()
                .map(|call| CallItem::whole(call).view("completed")),
        )
        .collect();
    response.end(whole.reason, whole.usage);
    Ok(Json(response).into_response())
}
