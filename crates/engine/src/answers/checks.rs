//! Whether answers fit the calls that wait.

use std::collections::HashMap;

use mnemic_core::{
    agents::Agent,
    ids::ConversationId,
    messages::{CallAnswer, ToolCall},
    scope::Scope,
};
use mnemic_store::{StoreError, Tx, context, messages};

use super::Waiting;
use crate::{EngineError, SendRequest, tools};

/// Messages at the end of a context in which answers are looked for that are sent again.
const RECENT: usize = 10;
/// Messages at the end of a conversation in which they are looked for besides: those that a compaction took out of the
/// context, and what came since.
const RECENT_STORED: i64 = 20;

/// What a request may leave open.
pub(crate) struct Terms<'a> {
    /// Whether the calls wait for so long that nobody has to answer them any more.
    is_expired: bool,
    /// The agent, where calls that a person has to approve need no answer yet: the client knows of its own tools only.
    partly_for: Option<&'a Agent>,
}

impl<'a> Terms<'a> {
    pub(crate) fn of(request: &SendRequest, agent: &'a Agent, is_expired: bool) -> Self {
        Self {
            is_expired,
            partly_for: request.answers_in_part.then_some(agent),
        }
    }

    fn may_wait(&self, call: &ToolCall) -> bool {
        self.partly_for
            .is_some_and(|agent| tools::needs_approval(agent, &call.name))
    }
}

/// Whether a request may go on where calls wait.
///
/// # Errors
/// It does not answer them, or answers others.
pub(crate) fn check(
    waiting: &Waiting,
    answers: &[&CallAnswer],
    terms: &Terms<'_>,
) -> Result<(), EngineError> {
    let is_new = |id: &&str| {
        !waiting
            .taken
            .iter()
            .any(|taken| taken.tool_call_id() == *id)
    };
    let given = answers.iter().map(|answer| answer.tool_call_id());
    let mut given: Vec<&str> = given.filter(is_new).collect();
    match answers {
        [] if terms.is_expired => return Ok(()),
        // What was taken in before, sent again.
        [_, ..] if given.is_empty() && terms.partly_for.is_some() => return Ok(()),
        _ if given.is_empty() => {
            return Err(EngineError::PendingApproval {
                request_id: waiting.message_id,
            });
        }
        [CallAnswer::All { request_id, .. }] => {
            let waits = waiting.message_id.to_string();
            let fits = request_id.as_ref().is_none_or(|id| *id == waits);
            return if fits { Ok(()) } else { Err(nothing_waits()) };
        }
        _ => {}
    }
    let open = waiting.calls.iter();
    let open = open.filter(|call| waiting.awaiting.contains(&call.id));
    let needed = open.filter(|call| given.contains(&call.id.as_str()) || !terms.may_wait(call));
    let mut expected: Vec<&str> = needed.map(|call| call.id.as_str()).collect();
    given.sort_unstable();
    expected.sort_unstable();
    if given == expected {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "INVALID_ARGUMENT: Invalid tool call IDs. Expected {expected:?}, but received {given:?}: answer each call that \
         waits, once"
    )))
}

fn nothing_waits() -> EngineError {
    EngineError::Invalid(
        "INVALID_ARGUMENT: Cannot process approval response: No tool call is currently awaiting approval.".to_owned(),
    )
}

/// What an answer decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    Approved,
    Denied,
    Returned,
}

impl Decision {
    const fn of(answer: &CallAnswer) -> Self {
        match answer {
            CallAnswer::Approval { approve: true, .. } | CallAnswer::All { approve: true, .. } => {
                Self::Approved
            }
            CallAnswer::Approval { .. } | CallAnswer::All { .. } => Self::Denied,
            CallAnswer::Tool { .. } => Self::Returned,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Returned => "answered with a result",
        }
    }
}

/// Whether answers were taken in before, and decided the same. They may have left the context since, by a compaction.
///
/// # Errors
/// They were not, so that nothing waits for them, or somebody else's answer came first and was another; the database's.
pub(crate) async fn check_repeated(
    tx: &mut Tx<'_>,
    scope: &Scope,
    conversation_id: ConversationId,
    answers: &[&CallAnswer],
) -> Result<(), EngineError> {
    let context = context::messages(tx, conversation_id).await?;
    let stored = messages::preceding(tx, conversation_id, i64::MAX, RECENT_STORED).await?;
    let in_context = context.iter().rev().take(RECENT);
    let mut taken: HashMap<&str, Decision> = HashMap::new();
    let bodies = stored.iter().map(|message| &message.body);
    for answer in bodies
        .chain(in_context.map(|message| &message.body))
        .flat_map(|body| &body.answers)
    {
        taken.insert(answer.tool_call_id(), Decision::of(answer));
    }
    for answer in answers {
        for id in named(tx, scope, conversation_id, answer).await? {
            match taken.get(id.as_str()) {
                None => return Err(nothing_waits()),
                Some(decided) if *decided != Decision::of(answer) => {
                    return Err(EngineError::Decided {
                        tool_call_id: id,
                        decision: decided.word(),
                    });
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// The calls that an answer is for.
async fn named(
    tx: &mut Tx<'_>,
    scope: &Scope,
    conversation_id: ConversationId,
    answer: &CallAnswer,
) -> Result<Vec<String>, EngineError> {
    let CallAnswer::All { request_id, .. } = answer else {
        return Ok(vec![answer.tool_call_id().to_owned()]);
    };
    let request_id = request_id.as_deref().and_then(|id| id.parse().ok());
    let asked = match request_id {
        Some(id) => messages::get(tx, scope, id).await,
        None => return Err(nothing_waits()),
    };
    match asked {
        Ok(asked)
            if asked.conversation_id == conversation_id && !asked.body.awaiting.is_empty() =>
        {
            Ok(asked.body.awaiting)
        }
        Ok(_) | Err(StoreError::NotFound { .. }) => Err(nothing_waits()),
        Err(error) => Err(error.into()),
    }
}
