//! The messages with which a run begins.

use mnemic_core::{
    ids::{self, AgentId, ConversationId, MessageId, RunId},
    messages::{Message, NewMessage, Role},
    runs::Run,
    time::Timestamp,
    tokens,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{EngineError, SendRequest, live::LiveRun};

/// What a run was asked, as messages, also while (or when never) in the context.
///
/// # Errors
/// The stored request cannot be read.
pub fn of_run(run: &Run) -> Result<Vec<Message>, EngineError> {
    let request: SendRequest = serde_json::from_value(run.input.clone())
        .map_err(|error| EngineError::Invalid(format!("the input of {}: {error}", run.id)))?;
    let identity = (run.id, run.agent_id, run.conversation_id);
    Ok(stored(identity, &request, run.created_at))
}

pub(crate) fn of_live(live: &LiveRun, request: &SendRequest, now: Timestamp) -> Vec<Message> {
    stored((live.id, live.agent_id, live.conversation_id), request, now)
}

type Identity = (RunId, AgentId, ConversationId);

fn stored(identity: Identity, request: &SendRequest, now: Timestamp) -> Vec<Message> {
    let numbered = request.messages.iter().enumerate();
    numbered
        .map(|(index, new)| message(identity, index, new, now))
        .collect()
}

fn message(
    (run_id, agent_id, conversation_id): Identity,
    index: usize,
    new: &NewMessage,
    now: Timestamp,
) -> Message {
    let otid = || {
        let wanted = new.role == Role::User;
        wanted.then(|| derived(run_id, index, "otid").to_string())
    };
    Message {
        id: MessageId::from_uuid(derived(run_id, index, "message")),
        agent_id,
        conversation_id,
        role: new.role,
        tokens: tokens::count_message(new.role, &new.body, new.name.as_deref()),
        body: new.body.clone(),
        name: new.name.clone(),
        otid: new.otid.clone().or_else(otid),
        sender_id: new.sender_id.clone(),
        step_id: None,
        run_id: Some(run_id),
        created_at: new.created_at.unwrap_or(now),
    }
}

/// A UUID that is the same whenever the run is looked at or started again.
fn derived(run_id: RunId, index: usize, purpose: &str) -> Uuid {
    let digest = Sha256::digest(format!("{run_id} {index} {purpose}"));
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(digest)
        .for_each(|(byte, from)| *byte = from);
    ids::beside(run_id.uuid(), bytes)
}
