//! Builders of threads and of what happens in them.

use mnemic_core::{
    ids::{AgentId, ConversationId, MessageId, OrganizationId, RunId, StepId},
    messages::{Message, MessageBody, Role},
    runs::{Run, RunStatus, Step, StepStatus, StopReason, Usage},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    conversations::{self, NewConversation},
    messages,
    runs::{self, Ending, NewRun, Progress},
    steps,
};
use serde_json::json;

use crate::{
    build::{agent, stored_agent},
    house::House,
    read, write,
};

/// An agent and one of its conversations.
pub type Place = (AgentId, ConversationId);

/// Who sees nothing of what the tests store.
pub fn stranger() -> Scope {
    Scope {
        organization: OrganizationId::new(),
        ..Scope::default()
    }
}

/// One end user of the common organization.
pub fn end_user(name: &str) -> Scope {
    Scope {
        subject: Some(name.to_owned()),
        ..Scope::default()
    }
}

/// A new agent and its default conversation.
pub async fn default_thread(house: &House, name: &str) -> Place {
    let agent = stored_agent(house, agent(name)).await;
    let new = NewConversation {
        is_default: true,
        ..NewConversation::default()
    };
    (agent, conversation(house, agent, new).await)
}

/// A further conversation of an agent.
pub async fn thread(house: &House, agent: AgentId) -> Place {
    (
        agent,
        conversation(house, agent, NewConversation::default()).await,
    )
}

/// A conversation of an agent, as wanted.
pub async fn conversation(house: &House, agent: AgentId, new: NewConversation) -> ConversationId {
    write!(house, |tx, scope| conversations::insert(
        tx,
        scope,
        agent,
        &new,
        Timestamp(1_000)
    )
    .await)
    .unwrap()
}

/// What a user says.
pub fn said((agent_id, conversation_id): Place, text: &str) -> Message {
    Message {
        id: MessageId::new(),
        agent_id,
        conversation_id,
        role: Role::User,
        body: MessageBody::text(text),
        name: None,
        otid: None,
        sender_id: None,
        step_id: None,
        run_id: None,
        tokens: 1,
        created_at: Timestamp(1_000),
    }
}

/// Stores messages; gives their ids.
pub async fn stored_messages(house: &House, messages: Vec<Message>) -> Vec<MessageId> {
    let ids = messages.iter().map(|message| message.id).collect();
    write!(house, |tx, scope| messages::insert(tx, scope, &messages)
        .await)
    .unwrap();
    ids
}

/// A run that waits for its turn.
pub fn accepted((agent_id, conversation_id): Place) -> NewRun {
    NewRun {
        id: RunId::new(),
        agent_id,
        conversation_id,
        status: RunStatus::Created,
        owner: "boot-1".to_owned(),
        background: false,
        input: r#"{"messages":[]}"#.to_owned(),
        body_hash: "hash".to_owned(),
        metadata: json!({"run_type": "send_message"}),
        request_config: json!({}),
        callback_url: None,
        created_at: Timestamp(1_000),
    }
}

/// Stores a run.
pub async fn stored_run(house: &House, run: NewRun) -> RunId {
    let id = run.id;
    write!(house, |tx, scope| runs::insert(tx, scope, &run).await).unwrap();
    id
}

/// Reads a run.
pub async fn run(house: &House, id: RunId) -> Run {
    read!(house, |tx, scope| runs::get(tx, scope, id).await).unwrap()
}

/// An end for that reason, with some of everything taken.
pub fn ending(stop_reason: StopReason) -> Ending {
    Ending {
        stop_reason,
        error: None,
        progress: Progress {
            usage: taken(),
            step_count: 2,
            ttft_ns: Some(7),
        },
        completed_at: Timestamp(3_000),
    }
}

/// Tokens, of each kind another number.
pub const fn taken() -> Usage {
    Usage {
        prompt_tokens: 1,
        completion_tokens: 2,
        cached_input_tokens: 3,
        cache_write_tokens: 4,
        reasoning_tokens: 5,
    }
}

/// Ends a run; says whether it was still open.
pub async fn finished(house: &House, id: RunId, stop_reason: StopReason) -> bool {
    let ending = ending(stop_reason);
    write!(house, |tx, scope| runs::finish(tx, id, &ending).await).unwrap()
}

/// A step that went well, with every field set.
pub fn step(run_id: RunId, agent_id: AgentId, position: i64) -> Step {
    Step {
        id: StepId::new(),
        run_id,
        agent_id,
        position,
        status: StepStatus::Success,
        stop_reason: Some(StopReason::EndTurn),
        provider_name: "p".to_owned(),
        model: "m".to_owned(),
        model_handle: "p/m".to_owned(),
        model_endpoint: Some("http://127.0.0.1".to_owned()),
        context_window_limit: 8_192,
        usage: taken(),
        error: None,
        feedback: None,
        transaction_id: None,
        llm_request_ns: Some(6),
        created_at: Timestamp(2_000),
        completed_at: Some(Timestamp(3_000)),
    }
}

/// A step whose tools run.
pub fn pending_step(run_id: RunId, agent_id: AgentId, position: i64) -> Step {
    Step {
        status: StepStatus::Pending,
        stop_reason: None,
        completed_at: None,
        ..step(run_id, agent_id, position)
    }
}

/// Stores a step and the answer that its tools run for.
pub async fn stored_step(house: &House, step: Step, answer: Option<MessageBody>) -> StepId {
    let id = step.id;
    write!(house, |tx, scope| steps::insert(
        tx,
        scope,
        &step,
        answer.as_ref()
    )
    .await)
    .unwrap();
    id
}
