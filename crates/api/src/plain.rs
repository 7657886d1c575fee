//! The plain form of a turn: one text in; the answer's text, what was written into memory, and what it took, out.

use axum::response::{IntoResponse, Response};
use mnemic_core::{conversations::Thread, ids::RunId, scope::Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    AppState, answer,
    error::ApiError,
    extract::Json,
    letta_messages::{StopReasonView, UsageView},
    memory::{self, MemoryFrame, WrittenMemory},
    send_request::{AnswerForm, Sent},
    sse,
    turns::{self, Target},
};

/// What an agent answers in the plain form.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlainAnswer {
    /// One message: what the agent said, all of it in order.
    pub messages: Vec<PlainMessage>,
    /// What this turn wrote.
    pub memory: WrittenMemory,
    /// What it took.
    pub usage: UsageView,
    /// Why it ended.
    pub stop_reason: StopReasonView,
    /// The run.
    #[schema(value_type = String)]
    pub run_id: RunId,
    /// The thread in which it ran: its id, or `default`.
    pub conversation_id: String,
    /// The end user for whom it ran.
    pub user_id: Option<String>,
}

/// What an agent said.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlainMessage {
    /// The last message of which it is made.
    pub id: Option<String>,
    /// Always `assistant`.
    pub role: &'static str,
    /// The text; empty when the agent said nothing.
    pub content: String,
}

/// Runs the agent, and answers in the plain form.
///
/// # Errors
/// As for [`turns::run`].
pub async fn run(
    state: &AppState,
    scope: &Scope,
    target: Target,
    sent: Sent,
    form: AnswerForm,
) -> Result<Response, ApiError> {
    let (run, stream) = turns::begin(state, scope, target, sent, form).await?;
    let run_id = run.run_id;
    if form == AnswerForm::Stream {
        let (state, scope) = (state.clone(), scope.clone());
        let written = async move {
            let written = memory::written(&state, &scope, run_id).await;
            written.ok().map(MemoryFrame::from)
        };
        return Ok(sse::response_with(run, stream, written));
    }
    let answer = answer::wait(run, None).await?;
    let spoken = answer.spoken();
    let message = PlainMessage {
        id: spoken.last().map(|(id, _)| (*id).to_owned()),
        role: "assistant",
        content: spoken
            .into_iter()
            .map(|(_, text)| text)
            .collect::<Vec<_>>()
            .join("\n\n"),
    };
    Ok(Json(PlainAnswer {
        messages: vec![message],
        memory: memory::written(state, scope, run_id).await?,
        usage: answer.usage,
        stop_reason: answer.stop_reason,
        run_id,
        conversation_id: match target.thread {
            Thread::Default => "default".to_owned(),
            Thread::Id(id) => id.to_string(),
        },
        user_id: scope.subject.clone(),
    })
    .into_response())
}
