//! Changes of a conversation's context that are no turns: capture, reset, a context of the client's
//! choice, recompiling. Each holds the conversation for its one commit.

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, ConversationId, MessageId, RunId},
    messages::{Message, MessageBody, NewMessage, Role},
    scope::Scope,
    time::Timestamp,
    tokens,
};
use mnemic_store::{
    StoreError, Tx, agents, blocks, context, conversations, leases, messages,
    otids::{self, Offered},
    own_threads, runs,
    turns::{self, Head},
};

use crate::{Engine, EngineError, accept::content_hash, answers::Waiting, prompting};

/// Turns that one capture may carry.
pub const MAX_CAPTURE: usize = 10_000;

/// Part of the context window that captured turns enter; older ones are in recall memory only.
const CAPTURED_SHARE: i64 = 2;

impl Engine {
    /// Takes turns of the past into an agent's memory, without a model call; known otids are
    /// skipped. Returns the ids of the messages in order. All are found by search; the newest that
    /// fit in half of the window enter the context as well.
    ///
    /// # Errors
    /// There is no such agent or conversation, it is busy, there are too many turns, an otid is known
    /// with other content, or the database's.
    pub async fn capture(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
        turns: Vec<NewMessage>,
    ) -> Result<Vec<MessageId>, EngineError> {
        if turns.len() > MAX_CAPTURE {
            return Err(EngineError::Invalid(format!(
                "{} turns are more than the {MAX_CAPTURE} that one request may carry: send them in parts",
                turns.len()
            )));
        }
        let (engine, now) = (self.clone(), self.now());
        let mut counted = Vec::with_capacity(turns.len());
        for turn in turns {
            let tokens = tokens::count_message(turn.role, &turn.body, turn.name.as_deref());
            counted.push((turn, tokens));
        }
        self.change(scope, agent_id, thread, move |tx, scope, head| {
            Box::pin(async move {
                engine.check_room(tx, scope, Some(agent_id)).await?;
                capture(tx, scope, (agent_id, head), counted, now).await
            })
        })
        .await
    }

    /// Empties the context of an agent's default thread and compiles its prompt anew. What was said
    /// stays in recall memory.
    ///
    /// # Errors
    /// There is no such agent, it is busy, or the database's.
    pub async fn reset_messages(
        &self,
        scope: &Scope,
        agent_id: AgentId,
    ) -> Result<(), EngineError> {
        let now = self.now();
        self.change(scope, agent_id, Thread::Default, move |tx, scope, head| {
            Box::pin(async move {
                context::replace(tx, head.conversation_id, &[], now).await?;
                recompile(tx, scope, (agent_id, head), now, true)
                    .await
                    .map(drop)
            })
        })
        .await
    }

    /// Makes the context of an agent's default thread hold these messages of its own, in this order;
    /// the compiled prompt stays the first.
    ///
    /// # Errors
    /// There is no such agent or message, it is busy, or the database's.
    pub async fn set_context(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        message_ids: Vec<MessageId>,
    ) -> Result<(), EngineError> {
        let now = self.now();
        self.change(scope, agent_id, Thread::Default, move |tx, scope, head| {
            Box::pin(async move {
                let mut kept = Vec::with_capacity(message_ids.len());
                for id in message_ids
                    .into_iter()
                    .filter(|id| Some(*id) != head.prompt_message_id)
                {
                    if messages::get(tx, scope, id).await?.agent_id != agent_id {
                        return Err(StoreError::not_found("Message", id).into());
                    }
                    kept.push(id);
                }
                Ok(context::replace(tx, head.conversation_id, &kept, now).await?)
            })
        })
        .await
    }

    /// Denies the calls that wait for an answer at the end of a thread, so that it goes on with the next message. Returns
    /// the run that made them; none if none wait.
    ///
    /// # Errors
    /// There is no such agent or conversation, it is busy, or the database's.
    pub(crate) async fn deny_waiting(
        &self,
        scope: &Scope,
        (agent_id, thread): (AgentId, Thread),
        asked_by: Option<RunId>,
    ) -> Result<Option<RunId>, EngineError> {
        let now = self.now();
        self.change(scope, agent_id, thread, move |tx, scope, head| {
            Box::pin(async move {
                let last = context::last_message(tx, head.conversation_id).await?;
                let waiting = last.as_ref().and_then(Waiting::of);
                let (Some(last), Some(waiting)) = (last, waiting) else {
                    return Ok(None);
                };
                if asked_by.is_some() && last.run_id != asked_by {
                    return Ok(None);
                }
                let body = MessageBody {
                    tool_returns: waiting.denied("the request was cancelled"),
                    ..MessageBody::default()
                };
                let denial = Message {
                    id: MessageId::new(),
                    // In a fork, the calls may be its origin's.
                    conversation_id: head.conversation_id,
                    role: Role::Tool,
                    tokens: tokens::count_message(Role::Tool, &body, None),
                    body,
                    created_at: now,
                    otid: None,
                    ..last.clone()
                };
                messages::insert(tx, scope, std::slice::from_ref(&denial)).await?;
                let (id, next) = (head.conversation_id, head.next_position);
                context::append(tx, id, next, &[denial.id], now).await?;
                if let Some(run) = last.run_id.filter(|_| last.conversation_id == id) {
                    runs::cancel_waiting(tx, run).await?;
                }
                Ok(last.run_id)
            })
        })
        .await
    }

    /// Compiles the prompt of a thread as things stand now and returns it; a dry run stores nothing.
    ///
    /// # Errors
    /// There is no such agent or conversation, or the database's.
    pub async fn recompile(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
        dry_run: bool,
    ) -> Result<String, EngineError> {
        let now = self.now();
        let scope = self.whose(scope, agent_id, thread).await?;
        self.inner
            .store
            .write(move |tx| {
                Box::pin(async move {
                    let head = turns::head(tx, &scope, agent_id, thread).await?;
                    recompile(tx, &scope, (agent_id, &head), now, !dry_run).await
                })
            })
            .await
    }

    /// The thread that an agent keeps for the end user of the scope; the first message makes it.
    ///
    /// # Errors
    /// There is no such agent, the scope names no end user, or the database's.
    pub async fn own_thread(
        &self,
        scope: &Scope,
        agent_id: AgentId,
    ) -> Result<ConversationId, EngineError> {
        let whose = scope.clone();
        let found = self
            .inner
            .store
            .read(move |tx| {
                Box::pin(async move {
                    let found = own_threads::find(tx, &whose, agent_id).await?;
                    Ok::<_, StoreError>(match found {
                        Some(id) if own_threads::has_human(tx, id).await? => Some(id),
                        _ => None,
                    })
                })
            })
            .await?;
        if let Some(id) = found {
            return Ok(id);
        }
        let (whose, now) = (scope.clone(), self.now());
        let made = self.inner.store.write(move |tx| {
            Box::pin(async move { own_threads::find_or_make(tx, &whose, agent_id, now).await })
        });
        Ok(made.await?)
    }

    /// The scope of work on a thread: that of the person whose own thread it is, whoever asks for it.
    ///
    /// # Errors
    /// There is no such conversation of the agent, or the database's.
    pub(crate) async fn whose(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
    ) -> Result<Scope, EngineError> {
        let Thread::Id(_) = thread else {
            return Ok(scope.clone());
        };
        let for_job = scope.clone();
        let read = self.inner.store.read(move |tx| {
            Box::pin(async move { conversations::resolve(tx, &for_job, agent_id, thread).await })
        });
        Ok(scope.narrowed_to(read.await?.subject))
    }

    /// Runs a change in one transaction that holds the conversation.
    async fn change<T, F>(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
        change: F,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(
                &'t mut Tx<'_>,
                &'t Scope,
                &'t Head,
            ) -> mnemic_store::JobFuture<'t, T, EngineError>
            + Send
            + 'static,
    {
        let scope = self.whose(scope, agent_id, thread).await?;
        let owner = self.inner.boot_id.clone();
        self.inner
            .store
            .write(move |tx| {
                Box::pin(async move {
                    let head = turns::head(tx, &scope, agent_id, thread).await?;
                    let holder = RunId::new();
                    let free = head.open_runs == 0;
                    let lease = match free {
                        true => leases::acquire(tx, head.conversation_id, &owner, holder).await?,
                        false => None,
                    };
                    let Some(lease) = lease else {
                        return Err(busy(tx, &head).await?);
                    };
                    let changed = change(tx, &scope, &head).await?;
                    leases::release(tx, &lease).await?;
                    Ok(changed)
                })
            })
            .await
    }
}

/// The error of a conversation that is held.
pub(crate) async fn busy(tx: &mut Tx<'_>, head: &Head) -> Result<EngineError, EngineError> {
    let open = runs::open(tx, Some(head.conversation_id)).await?;
    Ok(match open.first().map(|run| run.id).or(head.running) {
        Some(run_id) => EngineError::Busy { run_id },
        None => EngineError::Store(StoreError::Contended),
    })
}

pub(crate) async fn recompile(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent_id, head): (AgentId, &Head),
    now: Timestamp,
    keep: bool,
) -> Result<String, EngineError> {
    let agent = agents::get(tx, scope, agent_id).await?;
    let place = (agent_id, head.conversation_id).into();
    let shown = blocks::of_place(tx, scope, place).await?;
    let compiled = if keep {
        let compiled = prompting::compile(tx, scope, (&agent, &shown), head, now).await?;
        // Sessions in memory hold the text, so they must not outlive it.
        context::touch(tx, head.conversation_id).await?;
        compiled
    } else {
        prompting::render(tx, scope, (&agent, &shown), head, now).await?
    };
    Ok(compiled.text)
}

async fn capture(
    tx: &mut Tx<'_>,
    scope: &Scope,
    (agent_id, head): (AgentId, &Head),
    turns: Vec<(NewMessage, i64)>,
    now: Timestamp,
) -> Result<Vec<MessageId>, EngineError> {
    let mut ids = Vec::with_capacity(turns.len());
    let mut fresh = Vec::with_capacity(turns.len());
    for (turn, tokens) in turns {
        let id = MessageId::new();
        match known(tx, head.conversation_id, &turn, id).await? {
            Some(earlier) => ids.push(earlier),
            None => {
                ids.push(id);
                fresh.push(captured(
                    (agent_id, head.conversation_id),
                    id,
                    (turn, tokens),
                    now,
                ));
            }
        }
    }
    messages::insert(tx, scope, &fresh).await?;
    let window = agents::get(tx, scope, agent_id)
        .await?
        .llm_config
        .context_window;
    let entering = newest_within(&fresh, window / CAPTURED_SHARE);
    context::append(tx, head.conversation_id, head.next_position, &entering, now).await?;
    Ok(ids)
}

/// The message that was captured or sent under the same otid before.
async fn known(
    tx: &mut Tx<'_>,
    conversation_id: ConversationId,
    turn: &NewMessage,
    id: MessageId,
) -> Result<Option<MessageId>, EngineError> {
    let Some(otid) = &turn.otid else {
        return Ok(None);
    };
    let hash = content_hash(turn)?;
    match otids::offer(tx, conversation_id, otid, &hash, (None, Some(id))).await? {
        Offered::New => Ok(None),
        Offered::Known {
            message_id: Some(earlier),
            ..
        } => Ok(Some(earlier)),
        Offered::Known {
            run_id: Some(run_id),
            ..
        } => Ok(messages::by_otid(tx, run_id, otid).await?),
        Offered::Known { .. } => Ok(None),
    }
}

fn captured(
    (agent_id, conversation_id): (AgentId, ConversationId),
    id: MessageId,
    (turn, tokens): (NewMessage, i64),
    now: Timestamp,
) -> Message {
    Message {
        id,
        agent_id,
        conversation_id,
        role: turn.role,
        body: turn.body,
        name: turn.name,
        otid: turn.otid,
        sender_id: turn.sender_id,
        step_id: None,
        run_id: None,
        tokens,
        created_at: turn.created_at.unwrap_or(now),
    }
}

/// The newest messages that together take at most `budget` tokens, oldest first.
fn newest_within(messages: &[Message], budget: i64) -> Vec<MessageId> {
    let mut left = budget;
    let mut ids: Vec<MessageId> = messages
        .iter()
        .rev()
        .take_while(|message| {
            left -= message.tokens;
            left >= 0
        })
        .filter(|message| message.role != Role::System)
        .map(|message| message.id)
        .collect();
    ids.reverse();
    ids
}
