//! From a request of OpenAI's API to a run.

use mnemic_core::{
    agents::Agent,
    conversations::{Conversation, Thread},
    ids::{AgentId, ConversationId, RunId},
    scope::Scope,
};
use mnemic_engine::{EngineError, OpenCall, RunHandle, WhenBusy};
use mnemic_store::conversations;

use super::{
    input::{Heard, invalid},
    models,
    tools::ClientSide,
};
use crate::{
    AppState,
    error::ApiError,
    send_request::{AnswerBody, AnswerForm, InputMessage, SendBody, Sent},
    turns,
};

/// Why a call of a client's tool has no result.
const GIVEN_UP: &str = "the client went on without running it";

/// What a client asks of an agent.
#[derive(Debug)]
pub struct Ask {
    /// The agent's id or name.
    pub model: String,
    /// The end user whose own thread is meant; without, it is the agent's default one.
    pub user: Option<String>,
    /// The thread, where the client names one.
    pub thread: Option<Earlier>,
    /// What the user says, and what the client's tools returned.
    pub heard: Heard,
    /// The client's tools.
    pub client: ClientSide,
    /// One answer, or a stream.
    pub form: AnswerForm,
    /// The field of what was heard.
    pub param: &'static str,
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
    mut ask: Ask,
    sent: Sent<T>,
) -> Result<RunHandle, ApiError> {
    ask.user = own_user(scope, ask.user)?;
    let agent = models::find(state, scope, &ask.model).await?;
    let (scope, thread) = match ask.thread {
        Some(earlier) => {
            let conversation = named(state, scope, &agent, earlier).await?;
            if ask.user.is_some() && ask.user != conversation.subject {
                return Err(invalid(
                    "user",
                    "the conversation is another user's: leave out one of the two",
                ));
            }
            let scope = scope.narrowed_to(conversation.subject);
            (scope, Thread::Id(conversation.id))
        }
        None if ask.user.is_some() => {
            let scope = scope.narrowed_to(ask.user);
            let id = state.engine.own_thread(&scope, agent.id).await?;
            (scope, Thread::Id(id))
        }
        None => (scope.clone(), Thread::Default),
    };
    let open = state.engine.open_calls(&scope, &agent, thread).await?;
    let news = news(ask.heard, &open);
    let asked = Asked {
        state,
        scope,
        place: (agent.id, thread),
        client: ask.client,
        form: ask.form,
        param: ask.param,
        sent,
    };
    let mut messages: Vec<InputMessage> = news.answers.into_iter().collect();
    if news.waits_for_person && news.message.is_some() && !messages.is_empty() {
        // What the user says has to wait for the person who approves; what the client's tools returned need not.
        let answers = std::mem::take(&mut messages);
        let mut run = asked.begin(answers, "-answers").await?;
        while run.next().await.is_some() {}
    }
    messages.extend(news.message);
    asked.begin(messages, "").await
}

/// A request on its way to an agent.
struct Asked<'s, T> {
    state: &'s AppState,
    scope: Scope,
    place: (AgentId, Thread),
    client: ClientSide,
    form: AnswerForm,
    param: &'static str,
    sent: Sent<T>,
}

impl<T> Asked<'_, T> {
    /// Begins the run of some messages. The mark keeps it apart from another run of the same request, when that comes again.
    async fn begin(&self, messages: Vec<InputMessage>, mark: &str) -> Result<RunHandle, ApiError> {
        let mut known_by = self.sent.fingerprint.clone();
        known_by.body_hash.push_str(mark);
        let body = SendBody::of(messages, self.form);
        let checked = body.check(self.form, known_by)?;
        let above = self.sent.above.clone();
        let mut request = checked.into_request(self.state, &self.scope, above).await?;
        request.client_tools.clone_from(&self.client.tools);
        request.tool_choice.clone_from(&self.client.choice);
        request.answers_in_part = true;
        let (agent, thread) = self.place;
        let engine = &self.state.engine;
        let run = engine.send(&self.scope, agent, thread, request, WhenBusy::Queue);
        run.await.map_err(|error| match error {
            EngineError::Invalid(_) => ApiError::from(error).about(self.param, None),
            error => error.into(),
        })
    }
}

/// What is new of what a client says.
struct News {
    answers: Option<InputMessage>,
    message: Option<InputMessage>,
    /// Whether calls are left that a person has to approve.
    waits_for_person: bool,
}

/// What is new. Results answer the calls that wait, wherever they stand in what the client sends; a client that says
/// something else in their place has given them up, and the agent is told so. What needs a person's approval is not given up
/// by a client that does not know of it.
fn news(heard: Heard, open: &[OpenCall]) -> News {
    let Heard { message, results } = heard;
    let (mut answers, mut waits_for_person) = (Vec::new(), false);
    for call in open {
        let result = results.iter().rfind(|result| result.call_id == call.id);
        if let Some(result) = result {
            answers.push(AnswerBody::result(call.id.clone(), result.value.clone()));
        } else if call.needs_approval {
            waits_for_person = true;
        } else if message.is_some() {
            answers.push(AnswerBody::denial(call.id.clone(), GIVEN_UP));
        }
    }
    // The engine says what about others is wrong, or that it has heard them before. Where the user goes on and nothing
    // waits, they are the past.
    let is_past = message.is_some() && open.is_empty();
    let others = results.into_iter().filter(|result| {
        result.is_new && !is_past && !open.iter().any(|call| call.id == result.call_id)
    });
    answers.extend(others.map(|result| AnswerBody::result(result.call_id, result.value)));
    News {
        answers: (!answers.is_empty()).then(|| InputMessage::of_answers(answers)),
        message: message.map(|(content, name)| InputMessage::of_user(content, name)),
        waits_for_person,
    }
}

/// The user of a request. In one person's turn it is that person: others are not there.
fn own_user(scope: &Scope, asked: Option<String>) -> Result<Option<String>, ApiError> {
    match (&scope.subject, asked) {
        (Some(own), Some(other)) if *own != other => {
            let error = ApiError::not_found(format!("User '{other}' not found"));
            Err(error.about("user", None))
        }
        (Some(own), _) => Ok(Some(own.clone())),
        (None, asked) => Ok(asked),
    }
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
