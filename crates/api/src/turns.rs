//! Running an agent on a request, and answering in the form that the client wants.

use axum::response::{IntoResponse, Response};
use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, RunId},
    runs::Run,
    scope::Scope,
};
use mnemic_engine::{RunHandle, WhenBusy, custom::Above};

use crate::{
    AppState, answer,
    error::ApiError,
    extract::Json,
    runs::RunView,
    send_request::{AnswerForm, Sent},
    sse::{self, StreamOptions},
};

/// Whom a request is for.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The agent.
    pub agent: AgentId,
    /// Its thread.
    pub thread: Thread,
    /// What to do when another run is at work there.
    pub when_busy: WhenBusy,
}

/// Runs the agent. Everything is checked, and every image fetched, before the run is accepted; once it
/// is accepted, nothing that happens to the client ends it.
///
/// # Errors
/// The request is wrong or cannot be accepted, or, for a JSON answer, the run failed.
pub async fn run(
    state: &AppState,
    scope: &Scope,
    target: Target,
    sent: Sent,
    form: AnswerForm,
) -> Result<Response, ApiError> {
    let (run, stream) = begin(state, scope, target, sent, form).await?;
    Ok(match form {
        AnswerForm::Json => {
            Json(answer::wait(run, stream.wanted.as_deref()).await?).into_response()
        }
        AnswerForm::Stream => sse::response(run, stream),
        AnswerForm::Run | AnswerForm::Batch => {
            let run = stored(state, scope, run.run_id).await?;
            Json(RunView::from(&run)).into_response()
        }
    })
}

/// Begins the run, and says what a stream of it is to show.
///
/// # Errors
/// The request is wrong or cannot be accepted.
pub async fn begin(
    state: &AppState,
    scope: &Scope,
    target: Target,
    sent: Sent,
    form: AnswerForm,
) -> Result<(RunHandle, StreamOptions), ApiError> {
    let checked = sent.body.check(form, sent.fingerprint)?;
    let stream = checked.stream.clone();
    let above = Above {
        // Nobody waits for a run in the background.
        is_awaited: sent.above.is_awaited && form != AnswerForm::Run,
        ..sent.above
    };
    let request = checked.into_request(state, scope, above).await?;
    let run = state
        .engine
        .send(
            scope,
            target.agent,
            target.thread,
            request,
            target.when_busy,
        )
        .await?;
    Ok((run, stream))
}

/// A run as it is stored.
///
/// # Errors
/// There is none, or the database's.
pub async fn stored(state: &AppState, scope: &Scope, id: RunId) -> Result<Run, ApiError> {
    let scope = scope.clone();
    state
        .engine
        .store()
        .read(move |tx| Box::pin(async move { Ok(mnemic_store::runs::get(tx, &scope, id).await?) }))
        .await
}
