//! From a request of OpenAI's API to a run.

use mnemic_core::{
    agents::Agent,
    conversations::{Conversation, Thread},
    ids::{ConversationId, RunId},
    scope::Scope,
};
use mnemic_engine::{RunHandle, WhenBusy};
use mnemic_store::conversations;

use super::{input::invalid, models};
use crate::{
    AppState,
    content::Content,
    error::ApiError,
    send_request::{AnswerForm, SendBody, Sent},
    turns,
};

/// What a client asks of an agent.
#[derive(Debug)]
pub struct Ask {
    /// The agent's id or name.
    pub model: String,
    /// The end user whose own thread is meant; without, it is the agent's default one.
    pub user: Option<String>,
    /// The thread, where the client names one.
    pub thread: Option<Earlier>,
    /// What the user says.
    pub content: Content,
    /// The speaker's name.
    pub name: Option<String>,
    /// One answer, or a stream.
    pub form: AnswerForm,
}

/// How a client names a thread.
#[derive(Debug, Clone, Copy)]
pub enum Earlier {
    /// By its id.
    Conversation(ConversationId),
    /// By a run in it.
    Run(RunId),
}

/// Runs the agent. A conversation that is busy is waited for, as chat clients know no other way.
///
/// # Errors
/// There is no such agent or thread, or the request cannot be accepted.
pub async fn begin<T>(
    state: &AppState,
    scope: &Scope,
    ask: Ask,
    sent: Sent<T>,
) -> Result<RunHandle, ApiError> {
    let agent = models::find(state, scope, &ask.model).await?;
    let body = SendBody::said(ask.content, ask.name, ask.form);
    let checked = body.check(ask.form, sent.fingerprint)?;
    let (scope, thread) = match ask.thread {
        Some(earlier) => {
            let conversation = named(state, scope, &agent, earlier).await?;
            if ask.user.is_some() && ask.user != conversation.subject {
                return Err(invalid(
                    "user",
                    "the conversation is another user's: leave out one of the two",
                ));
            }
            let scope = scope.of_subject(conversation.subject);
            (scope, Thread::Id(conversation.id))
        }
        None if ask.user.is_some() => {
            let scope = scope.of_subject(ask.user);
            let id = state.engine.own_thread(&scope, agent.id).await?;
            (scope, Thread::Id(id))
        }
        None => (scope.clone(), Thread::Default),
    };
    let request = checked.into_request(state, &scope, sent.above).await?;
    let run = state
        .engine
        .send(&scope, agent.id, thread, request, WhenBusy::Queue);
    Ok(run.await?)
}

/// The conversation that a client names.
async fn named(
    state: &AppState,
    scope: &Scope,
    agent: &Agent,
    earlier: Earlier,
) -> Result<Conversation, ApiError> {
    let id = match earlier {
        Earlier::Conversation(id) => id,
        Earlier::Run(id) => {
            let run = turns::stored(state, scope, id).await;
            run.map_err(|error| {
                error.about("previous_response_id", Some("previous_response_not_found"))
            })?
            .conversation_id
        }
    };
    let (scope, agent_id) = (scope.clone(), agent.id);
    let read = state.engine.store().read(move |tx| {
        Box::pin(async move {
            let thread = Thread::Id(id);
            Ok(conversations::resolve(tx, &scope, agent_id, thread).await?)
        })
    });
    read.await
        .map_err(|error: ApiError| error.about("conversation", None))
}
