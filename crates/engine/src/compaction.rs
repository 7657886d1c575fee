//! Compaction of a conversation that a turn is at work in: before a call that would not fit, and after
//! the provider said that one did not.
//!
//! The summary is made outside of any transaction; what it changes is one commit. Where the conversation
//! itself has grown too long, that commit comes before the call. Where only this request makes it too
//! long, or the provider refused it, it is part of the step's commit, so that a request that fails
//! changes nothing.

pub(crate) mod manual;
mod own;
pub(crate) mod settings;
pub(crate) mod summarizer;

use std::collections::HashSet;

use mnemic_core::{
    agents::Agent,
    compaction::{self, Budget, CompactionStats, Mode, Sized, Staying, Trigger},
    conversations::Thread,
    ids::{ConversationId, MessageId},
    messages::{Message, Role},
    parts::{self, MessagePart, Part},
    scope::Scope,
    time::Timestamp,
    tokens,
};
use mnemic_store::{StoreError, Tx, agents, blocks, context, failpoints, leases, messages, turns};

use self::{
    settings::{By, Settings, Way},
    summarizer::{Material, Waiting},
};
use tokio::time::Instant;

use crate::{EngineError, events::Event, model::TurnModel, prompting, session::Frame, turn::Turn};

/// Percent of a refused request's tokens that the next try may take, after each refusal in a row. There
/// are no further tries.
const SHRINKING: [i64; 3] = [70, 45, 25];

/// Tokens beside prompt and tools that a shrunken request may take in any case.
const LEAST_ROOM: i64 = 1_024;

/// What an attempt to make room comes to.
enum Attempt {
    Done(Box<Compacted>),
    /// Nobody made a summary in this way.
    Vain,
    /// The run was cancelled meanwhile.
    Cancelled,
}

/// What messages that leave a context give way to.
struct Compacted {
    leaving: Vec<MessageId>,
    /// The messages that stay.
    staying: Vec<Message>,
    summary: Message,
}

impl Turn {
    /// Sees to it that the next call fits its model's window.
    pub(crate) async fn make_room(&mut self, model: &TurnModel) -> Result<(), EngineError> {
        let (fixed, budget, mut incoming) = self.lay_out(model).await?;
        if self.session.context_tokens + incoming > budget.messages {
            self.compact(model, &budget, incoming).await?;
            incoming = self.squeeze(model, &budget, incoming).await?;
        }
        self.reckoned = fixed + self.session.context_tokens + incoming;
        Ok(())
    }

    /// Writes the transcript for a model, with as much of each message as it has room for; returns the
    /// tokens of prompt and tools, the budget of messages, and the tokens of the inputs.
    pub(crate) async fn lay_out(
        &mut self,
        model: &TurnModel,
    ) -> Result<(i64, Budget, i64), EngineError> {
        let fixed = self.fixed_tokens();
        if fixed >= model.context_window {
            return Err(EngineError::Overflow {
                prompt_tokens: fixed,
                context_window: model.context_window,
            });
        }
        let budget = self.budget(model, fixed);
        self.write_for(model, budget.message).await?;
        let incoming = self.cap_inputs(&budget);
        Ok((fixed, budget, incoming))
    }

    /// Makes a request shorter that the provider refused for its length, telling its limit or not;
    /// `false` when it cannot be.
    pub(crate) async fn shrink(
        &mut self,
        model: &TurnModel,
        limit: Option<i64>,
    ) -> Result<bool, EngineError> {
        let refused = self.reckoned;
        let percent = usize::try_from(self.overflows)
            .ok()
            .and_then(|count| SHRINKING.get(count));
        let Some(percent) = percent else {
            return Ok(false);
        };
        self.overflows += 1;
        // The provider counts otherwise than we do, so that its limit is no more than a hint.
        let most = limit.map_or(refused, |limit| limit.min(refused));
        let window = (most * percent / 100).max(self.fixed_tokens() + LEAST_ROOM);
        self.ceiling = Some(window);
        self.make_room(model).await?;
        Ok(self.reckoned < refused)
    }

    /// Learns from a call that went through: by how much the provider counts more than we do, and that
    /// its window is smaller than what it refused before.
    pub(crate) fn learn(&mut self, model: &TurnModel, prompt_tokens: i64) {
        self.overflows = 0;
        if self.request.override_model.is_some() {
            return;
        }
        let ceiling = self.ceiling.take();
        let measured = &mut self.session.measured;
        if measured.handle != model.resolved.handle {
            *measured = Measured {
                handle: model.resolved.handle.clone(),
                ..Measured::default()
            };
        }
        measured.limit = ceiling.or(measured.limit);
        if prompt_tokens > 0 {
            let most = model.context_window / 2;
            measured.drift = (prompt_tokens - self.reckoned).clamp(0, most);
        }
    }

    /// Tokens of the system prompt and the tools.
    fn fixed_tokens(&self) -> i64 {
        let frame = &self.session.frame;
        let system = match &self.request.override_system {
            Some(text) => i64::try_from(tokens::count(text)).unwrap_or(i64::MAX),
            None => frame.system_tokens,
        };
        system
            .saturating_add(frame.tools_tokens)
            .saturating_add(self.client_tokens())
    }

    fn budget(&self, model: &TurnModel, fixed: i64) -> Budget {
        let (window, drift) = self.measured_window(model);
        match self.ceiling {
            Some(ceiling) => Budget::new(ceiling.min(window), fixed, None, 0),
            None => Budget::new(window, fixed, model.max_tokens, drift),
        }
    }

    /// A model's window, and by how many tokens its provider counts more than we do, as far as is known.
    fn measured_window(&self, model: &TurnModel) -> (i64, i64) {
        let (window, measured) = (model.context_window, &self.session.measured);
        if measured.handle != model.resolved.handle {
            return (window, 0);
        }
        let limit = measured.limit.unwrap_or(window);
        (limit.min(window), measured.drift)
    }

    /// Tokens by our count that a request with its answer may take.
    fn usable_window(&self, model: &TurnModel) -> i64 {
        let (window, drift) = self.measured_window(model);
        self.ceiling
            .map_or(window - drift, |ceiling| ceiling.min(window - drift))
    }

    /// Decides how much of each input is shown; returns the tokens that they take together.
    fn cap_inputs(&mut self, budget: &Budget) -> i64 {
        let total: i64 = self.inputs.iter().map(|message| message.tokens).sum();
        if total <= budget.message {
            self.input_cap = i64::MAX;
            return total;
        }
        let sizes: Vec<i64> = self.inputs.iter().map(|message| message.tokens).collect();
        self.input_cap = budget.incoming(&sizes, self.session.context_tokens);
        sizes.iter().map(|size| *size.min(&self.input_cap)).sum()
    }

    /// Shows less of the largest messages where what cannot leave is too much; returns the tokens of
    /// the inputs.
    async fn squeeze(
        &mut self,
        model: &TurnModel,
        budget: &Budget,
        incoming: i64,
    ) -> Result<i64, EngineError> {
        let entries = &self.session.entries;
        let mut sizes: Vec<i64> = entries.iter().map(|(_, sized)| sized.tokens).collect();
        if self.session.context_tokens + incoming <= budget.messages {
            return Ok(incoming);
        }
        let inputs = self.inputs.iter().map(|message| message.tokens);
        sizes.extend(inputs.map(|tokens| tokens.min(self.input_cap)));
        let cap = compaction::level(&sizes, budget.messages).max(compaction::MIN_SHOWN);
        self.input_cap = self.input_cap.min(cap);
        self.write_for(model, cap).await?;
        let inputs = self.inputs.iter().map(|message| message.tokens);
        Ok(inputs.map(|tokens| tokens.min(self.input_cap)).sum())
    }

    /// Lets the older messages give way to a summary, as the agent's settings say.
    async fn compact(
        &mut self,
        model: &TurnModel,
        budget: &Budget,
        incoming: i64,
    ) -> Result<(), EngineError> {
        let entries = &self.session.entries;
        let sized: Vec<Sized> = entries.iter().map(|(_, sized)| *sized).collect();
        let staying = self.staying(&sized, budget);
        let settings = Settings::of(&self.session.frame.agent);
        let kept = (budget.kept - incoming).max((budget.messages - incoming) / 2);
        let trigger = match self.overflows {
            0 => Trigger::PostStepContextCheck,
            _ => Trigger::ContextWindowExceeded,
        };
        let deadline = Instant::now() + self.engine.inner.settings.compaction_timeout;
        let mut is_announced = self.is_for_itself_only();
        for way in self.ways(&settings) {
            let gone = compaction::cut(&sized, staying, way.mode, (kept, budget.summary));
            if gone == 0 {
                return Ok(());
            }
            if !std::mem::replace(&mut is_announced, true) {
                self.announce(trigger, model).await;
            }
            let leaving = entries_before(&self.session.entries, gone, staying.request);
            let attempt = self
                .summarized(
                    (model, &settings, &way),
                    (leaving, trigger, budget),
                    deadline,
                )
                .await?;
            match attempt {
                Attempt::Done(compacted) => {
                    tracing::info!(run = %self.live.id, messages = gone, ?trigger, "the context is compacted");
                    return self.put_in(model, &compacted, budget).await;
                }
                Attempt::Vain => {}
                Attempt::Cancelled => return Ok(()),
            }
        }
        Ok(())
    }

    /// How room may be made for this call. What the provider refused twice is much too long to be shown to it
    /// once more.
    fn ways(&self, settings: &Settings) -> Vec<Way> {
        let mut ways = settings.ways.clone();
        if self.overflows > 1 {
            ways.retain(|way| way.by == By::Summarizer);
            ways.iter_mut().for_each(|way| way.mode = Mode::All);
        }
        if self.is_for_itself_only() {
            // A digest needs no model, so the first way of all comes to something.
            ways.truncate(1);
            ways.iter_mut().for_each(|way| way.by = By::Summarizer);
        }
        ways
    }

    /// Puts a summary into the context.
    async fn put_in(
        &mut self,
        model: &TurnModel,
        compacted: &Compacted,
        budget: &Budget,
    ) -> Result<(), EngineError> {
        let grown = self.session.context_tokens > budget.kept;
        failpoints::hit("compaction.summarized");
        if self.is_for_itself_only() {
            self.is_partial = true;
            self.summary = Some(compacted.summary.clone());
        } else if self.overflows == 0 && self.summary.is_none() && grown {
            self.store(compacted).await?;
            failpoints::hit("compaction.stored");
        } else {
            self.keep_for_step(compacted);
        }
        let shown = std::iter::once(&compacted.summary).chain(&compacted.staying);
        self.session.rewrite(&model.resolved.endpoint, shown);
        Ok(())
    }

    /// What must stay: in the middle of a turn the exchange that the model is to go on from, and what
    /// the user asked for, unless that is large.
    fn staying(&self, sized: &[Sized], budget: &Budget) -> Staying {
        if !self.inputs.is_empty() {
            return Staying {
                from: sized.len(),
                request: None,
            };
        }
        let is_small = |index: &usize| {
            let message = sized.get(*index);
            message.is_some_and(|message| message.tokens <= budget.kept / 4)
        };
        Staying {
            from: compaction::open_exchange(sized),
            request: compaction::open_request(sized).filter(is_small),
        }
    }

    /// Whether the context is shortened for this request and nothing is stored: it has another model
    /// than the agent, or the agent forgets its context anyway.
    fn is_for_itself_only(&self) -> bool {
        self.request.override_model.is_some() || self.session.frame.agent.message_buffer_autoclear
    }

    /// Makes the summary of the messages that leave.
    async fn summarized(
        &self,
        (model, settings, way): (&TurnModel, &Settings, &Way),
        (leaving, trigger, budget): (HashSet<MessageId>, Trigger, &Budget),
        deadline: Instant,
    ) -> Result<Attempt, EngineError> {
        let messages = self.context_messages().await?;
        let prefix = (way.by == By::Itself).then(|| self.prefix_of(model, &messages, &leaving));
        let (out, staying): (Vec<Message>, Vec<Message>) = messages
            .into_iter()
            .partition(|message| leaving.contains(&message.id));
        let agent = &self.session.frame.agent;
        let material = Material {
            agent,
            settings,
            own_model: &model.resolved.handle,
            leaving: &out,
            tokens: budget.summary,
            waiting: Waiting::Turn,
        };
        let text = if self.is_for_itself_only() {
            Some(material.digest())
        } else {
            tokio::select! {
                biased;
                () = self.live.cancelled.cancelled() => return Ok(Attempt::Cancelled),
                text = self.engine.summary_in((&self.live.scope, &material), (way, prefix.as_ref()), deadline) => text,
            }
        };
        let Some(text) = text else {
            return Ok(Attempt::Vain);
        };
        let fixed = self.fixed_tokens();
        let entries = &self.session.entries;
        let left: i64 = entries
            .iter()
            .filter(|(id, _)| !leaving.contains(id))
            .map(|(_, sized)| sized.tokens)
            .sum();
        let stats = CompactionStats {
            trigger,
            context_tokens_before: Some(fixed + self.session.context_tokens),
            context_tokens_after: Some(fixed + left),
            context_window: model.context_window,
            messages_count_before: counted(entries.len() + 1),
            messages_count_after: counted(entries.len() - leaving.len() + 2),
        };
        let place = (agent.as_ref(), self.session.conversation_id);
        let summary = summary_message(place, &text, stats, self.engine.now());
        Ok(Attempt::Done(Box::new(Compacted {
            leaving: out.iter().map(|message| message.id).collect(),
            staying,
            summary,
        })))
    }

    /// The messages of the session, in order.
    pub(crate) async fn context_messages(&self) -> Result<Vec<Message>, EngineError> {
        // Before that, the commit that this session was read in is not there for other readers.
        if !self.live.is_accepted().await {
            return Err(StoreError::LeaseLost.into());
        }
        let id = self.session.conversation_id;
        let store = &self.engine.inner.store;
        let stored = store.read(move |tx| Box::pin(context::messages(tx, id)));
        let stored: Vec<Message> = stored.await?;
        let known: HashSet<MessageId> = self.session.entries.iter().map(|(id, _)| *id).collect();
        let own = self.summary.iter().cloned();
        Ok(own
            .chain(stored)
            .filter(|message| known.contains(&message.id))
            .collect())
    }

    /// Commits a compaction before the call that needs it.
    async fn store(&mut self, compacted: &Compacted) -> Result<(), EngineError> {
        let (lease, scope, now) = (
            self.lease.clone(),
            self.live.scope.clone(),
            self.engine.now(),
        );
        let (leaving, summary) = (compacted.leaving.clone(), compacted.summary.clone());
        let mut parcel = self.outlet.parcel();
        let waiting = parcel.events.clone();
        parcel.events.extend(self.summary_event(&summary));
        let written = self.engine.inner.store.write(move |tx| {
            Box::pin(async move {
                leases::renew(tx, &lease).await?;
                let saved = save(tx, &scope, &leaving, &summary, now).await?;
                parcel.log(tx, now).await?;
                Ok::<_, EngineError>((saved, parcel))
            })
        });
        match written.await {
            Ok((saved, parcel)) => {
                parcel.publish();
                self.session.context_revision = saved.context_revision;
                self.session.frame = saved.frame;
                Ok(())
            }
            Err(error) => {
                self.outlet.put_back(waiting);
                Err(error)
            }
        }
    }

    /// Leaves a compaction to the step's commit, together with one that waits for it already.
    fn keep_for_step(&mut self, compacted: &Compacted) {
        let replaced = self.summary.replace(compacted.summary.clone());
        let replaced = replaced.map(|summary| summary.id);
        let stored = compacted.leaving.iter().copied();
        self.evicted
            .extend(stored.filter(|id| Some(*id) != replaced));
    }

    /// Tells clients that want to know it that a compaction begins.
    async fn announce(&mut self, trigger: Trigger, model: &TurnModel) {
        if !self.request.include_compaction {
            return;
        }
        self.outlet.emit(Event::Message(Box::new(MessagePart {
            message_id: MessageId::new(),
            index: 0,
            otid: None,
            date: self.engine.now(),
            name: None,
            sender_id: None,
            step_id: None,
            run_id: Some(self.live.id),
            part: Part::Compacting {
                trigger,
                context_tokens: self.fixed_tokens() + self.session.context_tokens,
                context_window: model.context_window,
            },
        })));
        self.flush().await;
    }

    /// What clients that want to know it see of a compaction.
    pub(crate) fn summary_event(&self, summary: &Message) -> Option<Event> {
        if !self.request.include_compaction {
            return None;
        }
        let part = parts::of_message(summary, None).into_iter().next()?;
        Some(Event::Message(Box::new(MessagePart {
            run_id: Some(self.live.id),
            ..part
        })))
    }
}

/// The oldest messages but for the request among them.
fn entries_before(
    entries: &[(MessageId, Sized)],
    count: usize,
    request: Option<usize>,
) -> HashSet<MessageId> {
    let oldest = entries.iter().take(count).enumerate();
    oldest
        .filter(|(index, _)| Some(*index) != request)
        .map(|(_, (id, _))| *id)
        .collect()
}

/// What is known of a model from the calls of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// The model.
    pub handle: String,
    /// By how many tokens the provider's count of the last request was above ours.
    pub drift: i64,
    /// Tokens that a request may take, where the provider refused more.
    pub limit: Option<i64>,
}

/// What a stored compaction leaves behind.
pub(crate) struct Saved {
    pub frame: Frame,
    pub context_revision: i64,
}

/// Stores a summary in the place of messages, and compiles the prompt anew: it counts what is in recall
/// memory only.
pub(crate) async fn save(
    tx: &mut Tx<'_>,
    scope: &Scope,
    leaving: &[MessageId],
    summary: &Message,
    now: Timestamp,
) -> Result<Saved, EngineError> {
    let (agent_id, id) = (summary.agent_id, summary.conversation_id);
    messages::insert(tx, scope, std::slice::from_ref(summary)).await?;
    let context_revision = context::compact(tx, id, leaving, summary.id).await?;
    let agent = agents::get(tx, scope, agent_id).await?;
    let shown = blocks::of_place(tx, scope, (agent_id, id).into()).await?;
    let head = turns::head(tx, scope, agent_id, Thread::Id(id)).await?;
    prompting::compile(tx, scope, (&agent, &shown), &head, now).await?;
    let head = turns::head(tx, scope, agent_id, Thread::Id(id)).await?;
    failpoints::hit("compaction.written");
    Ok(Saved {
        frame: Frame::load(tx, scope, &head, agent_id, now).await?,
        context_revision,
    })
}

/// The message that holds a summary; its statistics are completed by its own tokens.
fn summary_message(
    (agent, conversation_id): (&Agent, ConversationId),
    text: &str,
    mut stats: CompactionStats,
    now: Timestamp,
) -> Message {
    let body = compaction::summary_body(text, stats.clone());
    let tokens = tokens::count_message(Role::User, &body, None);
    stats.context_tokens_after = stats.context_tokens_after.map(|after| after + tokens);
    Message {
        id: MessageId::new(),
        agent_id: agent.id,
        conversation_id,
        role: Role::User,
        body: compaction::summary_body(text, stats),
        name: None,
        otid: None,
        sender_id: None,
        step_id: None,
        run_id: None,
        tokens,
        created_at: now,
    }
}

fn counted(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
