//! Whether answers fit the calls that wait.

use std::collections::BTreeSet;

use mnemic_core::messages::{CallAnswer, Message};

use super::Waiting;
use crate::EngineError;

/// Messages at the end of a context in which the returns of answers are looked for that are sent again.
const RECENT: usize = 10;

/// Whether a request may go on where calls wait.
///
/// # Errors
/// It does not answer them, or answers others.
pub(crate) fn check(
    waiting: &Waiting,
    answers: &[&CallAnswer],
    is_expired: bool,
) -> Result<(), EngineError> {
    match answers {
        [] if is_expired => return Ok(()),
        [] => {
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
    let mut given: Vec<&str> = answers.iter().map(|answer| answer.tool_call_id()).collect();
    let mut expected: Vec<&str> = waiting.awaiting.iter().map(String::as_str).collect();
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

/// Whether answers were taken in before: their calls have returns at the end of the context.
///
/// # Errors
/// They were not, so that nothing waits for them.
pub(crate) fn check_repeated(
    context: &[Message],
    answers: &[&CallAnswer],
) -> Result<(), EngineError> {
    let recent = context.iter().rev().take(RECENT);
    let returned: BTreeSet<&str> = recent
        .flat_map(|message| &message.body.tool_returns)
        .map(|result| result.tool_call_id.as_str())
        .collect();
    let is_answered = |answer: &&CallAnswer| match answer {
        CallAnswer::All { request_id, .. } => {
            let named = request_id.as_deref().unwrap_or_default();
            let mut asked = context
                .iter()
                .filter(|message| message.id.to_string() == named);
            asked.any(|message| {
                let mut ids = message.body.awaiting.iter();
                ids.all(|id| returned.contains(id.as_str()))
            })
        }
        one => returned.contains(one.tool_call_id()),
    };
    if answers.iter().all(is_answered) {
        return Ok(());
    }
    Err(nothing_waits())
}
