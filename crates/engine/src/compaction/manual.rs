//! Compaction at a client's request. The conversation is held for as long as it takes: messages that
//! come meanwhile wait in line.

use mnemic_core::{
    compaction::{self, Budget, CompactionStats, Sized, Staying, Trigger},
    conversations::Thread,
    ids::{AgentId, MessageId, RunId},
    messages::{Message, Role},
    scope::Scope,
};
use mnemic_store::{
    StoreError, Tx, context,
    leases::{self, Lease},
    turns::{self, Head},
};
use serde_json::{Map, Value};

use super::{
    counted,
    own::Prefix,
    save,
    settings::{By, Settings, Way, with_overrides},
    summarizer::{Material, Waiting},
    summary_message,
};
use tokio::time::Instant;

use crate::{Engine, EngineError, SendRequest, answers::Waiting as Waits, session::Frame, threads};

/// What a compaction came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactionResult {
    /// The summary.
    pub summary: String,
    /// Messages of the context before, with the prompt.
    pub messages_before: usize,
    /// Messages of the context after.
    pub messages_after: usize,
}

/// A conversation that is held to be compacted.
struct Held {
    lease: Lease,
    head: Head,
    frame: Frame,
    /// Its messages without the prompt.
    messages: Vec<Message>,
}

impl Engine {
    /// Compacts a thread's context now. Settings of the request go before those of the agent, field by
    /// field. It goes on if the caller goes away.
    ///
    /// # Errors
    /// There is no such agent or conversation, it is busy, a setting is wrong, the context would not
    /// get shorter, or the database's.
    pub async fn compact(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
        overrides: Option<Map<String, Value>>,
    ) -> Result<CompactionResult, EngineError> {
        if self.inner.supervisor.is_closing() {
            return Err(EngineError::ShuttingDown);
        }
        let scope = self.whose(scope, agent_id, thread).await?;
        let engine = self.clone();
        let work = async move {
            let held = engine.hold(&scope, agent_id, thread).await?;
            let (lease, id) = (held.lease.clone(), held.head.conversation_id);
            engine.inner.supervisor.hold(id);
            let done = engine.compact_held(&scope, held, overrides).await;
            if done.is_err() {
                engine.let_go(lease).await;
            }
            engine.inner.supervisor.let_go(id);
            done
        };
        let task = self.inner.supervisor.tasks.spawn(work);
        task.await.map_err(|_| EngineError::ShuttingDown)?
    }

    async fn hold(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
    ) -> Result<Held, EngineError> {
        let (scope, owner, now) = (scope.clone(), self.inner.boot_id.clone(), self.now());
        let engine = self.clone();
        let hold = self.inner.store.write(move |tx| {
            Box::pin(async move {
                let head = turns::head(tx, &scope, agent_id, thread).await?;
                engine.admit(tx, &scope, agent_id, false).await?;
                let lease = match head.open_runs {
                    0 => leases::acquire(tx, head.conversation_id, &owner, RunId::new()).await?,
                    _ => None,
                };
                let Some(lease) = lease else {
                    return Err(threads::busy(tx, &head).await?);
                };
                let frame = Frame::load(tx, &scope, &head, agent_id, now).await?;
                // Compiling a first prompt appends a row.
                let head = turns::head(tx, &scope, agent_id, thread).await?;
                let mut messages = context::messages(tx, head.conversation_id).await?;
                messages.retain(|message| Some(message.id) != head.prompt_message_id);
                Ok(Held {
                    lease,
                    head,
                    frame,
                    messages,
                })
            })
        });
        hold.await
    }

    async fn compact_held(
        &self,
        scope: &Scope,
        held: Held,
        overrides: Option<Map<String, Value>>,
    ) -> Result<CompactionResult, EngineError> {
        let agent = with_overrides((*held.frame.agent).clone(), overrides)?;
        let settings = Settings::of(&agent);
        let own = held.frame.model_handle();
        // A provider that is away is no reason not to compact.
        let resolved = self.resolve_model(scope, &own).await.ok();
        let window = self.window(&agent, &own, resolved.as_ref());
        let fixed = held.frame.fixed_tokens();
        let budget = Budget::new(window, fixed, agent.llm_config.max_tokens, 0);
        let sized: Vec<Sized> = held.messages.iter().map(as_sized).collect();
        let before = held.messages.len() + 1;
        let deadline = Instant::now() + self.inner.settings.compaction_timeout;
        for way in &settings.ways {
            let gone = gone((&sized, before_waiting(&held.messages)), way, &budget);
            // What remains has to be less than there was, with the summary.
            if gone < 2 {
                return Err(EngineError::Invalid(too_few(before)));
            }
            let leaving = held.messages.get(..gone).unwrap_or_default();
            let prefix = match way.by {
                By::Itself => self.prefix_held(scope, &held, leaving).await,
                By::Summarizer => None,
            };
            let material = Material {
                agent: &agent,
                settings: &settings,
                own_model: &own,
                leaving,
                tokens: budget.summary,
                waiting: Waiting::Client,
            };
            let by = (way, prefix.as_ref());
            let Some(text) = self.summary_in((scope, &material), by, deadline).await else {
                continue;
            };
            let after = before - gone + 1;
            let stats = CompactionStats {
                trigger: Trigger::Manual,
                context_tokens_before: Some(fixed + total(&sized)),
                context_tokens_after: Some(fixed + total(sized.get(gone..).unwrap_or_default())),
                context_window: window,
                messages_count_before: counted(before),
                messages_count_after: counted(after),
            };
            let place = (&agent, held.head.conversation_id);
            let summary = summary_message(place, &text, stats, self.now());
            self.store_held(scope, held, (gone, summary)).await?;
            return Ok(CompactionResult {
                summary: text,
                messages_before: before,
                messages_after: after,
            });
        }
        Err(EngineError::Invalid(too_few(before)))
    }

    /// What the agent's own model has in its cache of the messages that leave; none where its provider is
    /// away.
    async fn prefix_held(&self, scope: &Scope, held: &Held, leaving: &[Message]) -> Option<Prefix> {
        let (agent_id, id) = (held.frame.agent.id, held.head.conversation_id);
        let prefix = async {
            let session = self.look(scope, agent_id, Thread::Id(id)).await?;
            let request = SendRequest::default();
            let mut turn = self.imagined(scope, (agent_id, session), request);
            let model = self.turn_model(scope, &turn.session, &turn.request).await?;
            turn.lay_out(&model).await?;
            Ok::<_, EngineError>(turn.prefix(&model, leaving))
        };
        prefix
            .await
            .inspect_err(|error| tracing::warn!(agent = %agent_id, %error, "the agent can't summarize itself"))
            .ok()
    }

    async fn store_held(
        &self,
        scope: &Scope,
        held: Held,
        (gone, summary): (usize, Message),
    ) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let oldest = held.messages.iter().take(gone);
        let leaving: Vec<MessageId> = oldest.map(|message| message.id).collect();
        let stored = self.inner.store.write(move |tx| {
            Box::pin(async move {
                leases::release(tx, &held.lease).await?;
                check_unchanged(tx, &scope, &held, summary.agent_id).await?;
                save(tx, &scope, &leaving, &summary, now).await.map(drop)
            })
        });
        stored.await
    }

    /// Gives a conversation back that was not compacted.
    async fn let_go(&self, lease: Lease) {
        let released = self.inner.store.write(move |tx| {
            Box::pin(async move {
                leases::release_run(tx, lease.conversation_id, &lease.owner, lease.run_id).await
            })
        });
        if let Err::<(), StoreError>(error) = released.await {
            tracing::warn!(%error, "a conversation stays held until its lease runs out");
        }
    }
}

fn total(sized: &[Sized]) -> i64 {
    sized.iter().map(|one| one.tokens).sum()
}

/// How many messages there are before the calls at the end that wait for an answer: these can't leave the context before
/// they have one. All, where none wait.
fn before_waiting(messages: &[Message]) -> usize {
    // What was answered so far stands after them.
    let is_answer =
        |message: &&Message| message.role == Role::Tool && message.body.tool_returns.is_empty();
    let answers = messages.iter().rev().take_while(is_answer).count();
    let (before, _) = messages.split_at(messages.len().saturating_sub(answers));
    match before.split_last() {
        Some((last, before)) if Waits::of(last).is_some() => before.len(),
        _ => messages.len(),
    }
}

/// How many of the oldest messages leave, of those before a place.
fn gone((sized, from): (&[Sized], usize), way: &Way, budget: &Budget) -> usize {
    let staying = Staying {
        from,
        request: None,
    };
    compaction::cut(sized, staying, way.mode, (budget.kept, budget.summary))
}

/// Whether the context is what it was when the summary was begun.
async fn check_unchanged(
    tx: &mut Tx<'_>,
    scope: &Scope,
    held: &Held,
    agent_id: AgentId,
) -> Result<(), StoreError> {
    let thread = Thread::Id(held.head.conversation_id);
    let head = turns::head(tx, scope, agent_id, thread).await?;
    if head.context_revision == held.head.context_revision {
        Ok(())
    } else {
        Err(StoreError::Contended)
    }
}

fn as_sized(message: &Message) -> Sized {
    Sized {
        role: message.role,
        tokens: message.tokens,
        is_summary: message.body.compaction.is_some(),
    }
}

fn too_few(messages: usize) -> String {
    format!(
        "The compaction would not reduce the number of messages, of which the context has {messages}: \
         there are too few to compact, or another mode is needed in compaction_settings (for example \
         `all`)."
    )
}
