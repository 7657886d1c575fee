//! Messages between agents: sent in the process, as runs of the agents that get them.
//!
//! Whoever waits for an answer must not be waited for by the one who answers. Agents above in the same chain are known
//! ([`Above`]); two chains that meet crosswise are found when the second begins to wait.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use mnemic_core::{
    builtin::{Addressee, AgentMessage},
    conversations::Thread,
    groups::{Group, ManagerType, transcript},
    ids::{AgentId, ConversationId},
    messages::{MessageBody, NewMessage, Role},
    parts::Part,
    runs::{RunError, StopReason},
    scope::Scope,
};
use mnemic_store::{
    StoreError,
    agents::{self, AgentFilter},
    groups,
    page::{Order, Page},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    Engine, EngineError, Event, RunHandle, SendRequest, WhenBusy,
    custom::{Above, MAX_DEPTH},
    follow_ups,
    groups::rounds,
};

/// Agents that one message reaches at the most.
const MAX_REACHED: usize = 32;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Who sends a message to other agents.
#[derive(Debug, Clone)]
pub(crate) struct Sender<'a> {
    pub scope: &'a Scope,
    pub agent_id: AgentId,
    /// What stands above the sender.
    pub above: &'a Above,
    /// The thread whose turn waits, and what cancels that; none: a client calls the tool itself.
    pub turn: Option<(ConversationId, &'a CancellationToken)>,
    /// How often members of a dynamic group have spoken in that turn.
    pub spoken: i64,
}

/// Which threads wait for an answer in which others, in this process.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<HashMap<ConversationId, Vec<ConversationId>>>);

impl Waits {
    /// Notes that a thread waits for another one, unless that one waits for it.
    fn begin(self: &Arc<Self>, waiting: ConversationId, other: ConversationId) -> Option<Waiting> {
        let mut waits = self.0.lock();
        let mut seen = HashSet::new();
        let mut next = vec![other];
        while let Some(id) = next.pop() {
            if id == waiting {
                return None;
            }
            if seen.insert(id) {
                next.extend(waits.get(&id).into_iter().flatten().copied());
            }
        }
        waits.entry(waiting).or_default().push(other);
        drop(waits);
        Some(Waiting {
            waits: Arc::clone(self),
            edge: (waiting, other),
        })
    }
}

/// One wait; it ends when this is dropped.
struct Waiting {
    waits: Arc<Waits>,
    edge: (ConversationId, ConversationId),
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let (waiting, other) = self.edge;
        let mut waits = self.waits.0.lock();
        if let Some(others) = waits.get_mut(&waiting) {
            if let Some(place) = others.iter().position(|id| *id == other) {
                others.swap_remove(place);
            }
            if others.is_empty() {
                waits.remove(&waiting);
            }
        }
    }
}

/// What an agent answered, or why it did not.
type Answer = Result<Vec<String>, String>;

/// What a group's message adds to what is sent.
#[derive(Debug, Clone, Default)]
struct InGroup {
    thread: Option<ConversationId>,
    unheard: Option<NewMessage>,
}

impl Engine {
    /// Sends a message to other agents; gives what the sender's model reads, or what went wrong.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn message_agents(
        &self,
        from: &Sender<'_>,
        message: AgentMessage,
    ) -> Result<Result<String, String>, EngineError> {
        if from.above.depth >= MAX_DEPTH {
            let reason = "agents asked agents too many times over: answer with what you know";
            return Ok(Err(reason.to_owned()));
        }
        let text = message.text;
        match message.to {
            Addressee::Asked(other) => {
                let answer = self.ask_agent(from, other, &text, InGroup::default()).await;
                Ok(answer.map(|said| shown(other, said).to_string()))
            }
            Addressee::Told(other) => Ok(self.tell(from, other, &text).await),
            Addressee::Tagged { all, some } => {
                let found = self.tagged(from, all, some).await?;
                self.ask_all(from, &text, found.map(|ids| plain(&ids)))
                    .await
            }
            Addressee::Members => {
                let Some(group) = self.managed(from, ManagerType::Supervisor).await? else {
                    return Ok(Err("you supervise no group".to_owned()));
                };
                let placed = self.placed(from.scope, &group).await?;
                self.ask_all(from, &text, Ok(placed)).await
            }
            Addressee::Next(member) => self.ask_next(from, member, &text).await,
        }
    }

    async fn managed(
        &self,
        from: &Sender<'_>,
        kind: ManagerType,
    ) -> Result<Option<Group>, EngineError> {
        let (scope, manager) = (from.scope.clone(), from.agent_id);
        let managed = self
            .store()
            .read(move |tx| Box::pin(async move { groups::managed_by(tx, &scope, manager).await }));
        let managed = managed.await?;
        Ok(managed.into_iter().find(|group| group.manager_type == kind))
    }

    /// The threads in which the members of a group are asked.
    async fn placed(
        &self,
        scope: &Scope,
        group: &Group,
    ) -> Result<Vec<(AgentId, InGroup)>, EngineError> {
        let (scope, id, members) = (scope.clone(), group.id, group.agent_ids.clone());
        let now = self.now();
        let placed = self.store().write(move |tx| {
            Box::pin(async move {
                let mut placed = Vec::with_capacity(members.len());
                for member in members {
                    let place = InGroup {
                        thread: Some(groups::thread(tx, &scope, (id, member), now).await?),
                        unheard: None,
                    };
                    placed.push((member, place));
                }
                Ok::<_, StoreError>(placed)
            })
        });
        Ok(placed.await?)
    }

    /// Lets a member of a dynamic group speak.
    async fn ask_next(
        &self,
        from: &Sender<'_>,
        member: AgentId,
        text: &str,
    ) -> Result<Result<String, String>, EngineError> {
        let Some(group) = self.managed(from, ManagerType::Dynamic).await? else {
            return Ok(Err(
                "you manage no group whose next speaker is chosen".to_owned()
            ));
        };
        if !group.agent_ids.contains(&member) {
            let members: Vec<String> = group.agent_ids.iter().map(ToString::to_string).collect();
            return Ok(Err(format!(
                "{member} is not in the group; its members are: {}",
                members.join(", ")
            )));
        }
        let most = group.settings.max_turns;
        if let Some(most) = most.filter(|most| from.spoken >= *most) {
            return Ok(Err(format!(
                "members have spoken {most} times, which is the most in one turn of this group (max_turns): choose nobody \
                 else, and conclude"
            )));
        }
        let (scope, id, now) = (from.scope.clone(), group.id, self.now());
        let placed = self.store().write(move |tx| {
            Box::pin(async move {
                let thread = groups::thread(tx, &scope, (id, member), now).await?;
                let unheard = rounds::unheard(tx, &scope, id, member).await?;
                Ok::<_, StoreError>(InGroup {
                    thread: Some(thread),
                    unheard: unheard.map(|text| rounds::from_group(id, text)),
                })
            })
        });
        let placed = placed.await?;
        if text.trim().is_empty() && placed.unheard.is_none() {
            let reason = "nobody has said anything yet: give the first speaker a message";
            return Ok(Err(reason.to_owned()));
        }
        let answer = self.ask_agent(from, member, text, placed).await;
        Ok(answer.map(|said| {
            let token = group.settings.termination_token.as_deref();
            let is_over = token.is_some_and(|token| said.iter().any(|text| text.contains(token)));
            let is_last = most.is_some_and(|most| from.spoken.saturating_add(1) >= most);
            let note = match (is_over, is_last) {
                (true, _) => Some("the word was said that ends the group's work: choose nobody else, and conclude"),
                (_, true) => Some("that was the last turn of the group (max_turns): choose nobody else, and conclude"),
                _ => None,
            };
            let mut shown = shown(member, said);
            if let (Some(note), Some(fields)) = (note, shown.as_object_mut()) {
                fields.insert("note".to_owned(), note.into());
            }
            shown.to_string()
        }))
    }

    /// The agents with these tags, or why none are asked.
    async fn tagged(
        &self,
        from: &Sender<'_>,
        all: Vec<String>,
        some: Vec<String>,
    ) -> Result<Result<Vec<AgentId>, String>, EngineError> {
        let scope = from.scope.clone();
        let is_known = |id: &AgentId| *id == from.agent_id || from.above.agents.contains(id);
        let found = self.store().read(move |tx| {
            Box::pin(async move {
                let filter = |tags: Vec<String>, match_all_tags| AgentFilter {
                    tags,
                    match_all_tags,
                    show_hidden: true,
                    ..AgentFilter::default()
                };
                let page = Page::first(10_000, Order::Asc);
                let (first, other) = match all.is_empty() {
                    true => (filter(some, false), None),
                    false => (
                        filter(all, true),
                        Some(some).filter(|some| !some.is_empty()),
                    ),
                };
                let found = agents::list(tx, &scope, &first, &page).await?;
                let mut ids: Vec<AgentId> = found.into_iter().map(|agent| agent.id).collect();
                if let Some(some) = other {
                    let tags = agents::tags_of(tx, &ids).await?;
                    ids.retain(|id| {
                        let has = tags.get(id).map(Vec::as_slice).unwrap_or_default();
                        some.iter().any(|tag| has.contains(tag))
                    });
                }
                Ok::<_, StoreError>(ids)
            })
        });
        let mut ids = found.await?;
        ids.retain(|id| !is_known(id));
        Ok(match ids.len() {
            0 => Err("no other agent has these tags".to_owned()),
            1..=MAX_REACHED => Ok(ids),
            many => Err(format!(
                "{many} agents have these tags, and one message reaches {MAX_REACHED} at the most: name more tags"
            )),
        })
    }

    async fn ask_all(
        &self,
        from: &Sender<'_>,
        text: &str,
        others: Result<Vec<(AgentId, InGroup)>, String>,
    ) -> Result<Result<String, String>, EngineError> {
        let others = match others {
            Ok(others) if others.len() <= MAX_REACHED => others,
            Ok(others) => {
                return Ok(Err(format!(
                    "{} agents are more than one message reaches: {MAX_REACHED} at the most",
                    others.len()
                )));
            }
            Err(reason) => return Ok(Err(reason)),
        };
        let asking = others.into_iter().map(async |(other, place)| {
            match self.ask_agent(from, other, text, place).await {
                Ok(said) => shown(other, said),
                Err(error) => json!({ "agent_id": other, "error": error }),
            }
        });
        let answers: Vec<Value> = join_all(asking).await;
        Ok(Ok(Value::Array(answers).to_string()))
    }

    /// Sends an agent a message without waiting for what comes of it. Nobody above is waited for, so any agent may be told
    /// something; the depth alone bounds how long agents keep each other busy.
    async fn tell(&self, from: &Sender<'_>, other: AgentId, text: &str) -> Result<String, String> {
        if other == from.agent_id {
            return Err("that is your own id: name another agent".to_owned());
        }
        let above = Above {
            depth: from.above.depth.saturating_add(1),
            agents: Vec::new(),
            is_awaited: false,
            tidied: from.above.tidied.clone(),
        };
        let sent = self.begin(from, other, (text, above), InGroup::default());
        sent.await.map_err(|error| error.to_string())?;
        Ok(format!("The message was delivered to {other}."))
    }

    /// Sends an agent a message and waits for its answer. A cancel of the turn that waits ends the other run as well.
    async fn ask_agent(
        &self,
        from: &Sender<'_>,
        other: AgentId,
        text: &str,
        place: InGroup,
    ) -> Answer {
        if other == from.agent_id {
            return Err("that is your own id: name another agent".to_owned());
        }
        if from.above.agents.contains(&other) {
            return Err(format!(
                "{other} waits for what you answer, so it can't be asked: answer with what you know"
            ));
        }
        let above = from.above.below(Some(from.agent_id));
        let begun = self.begin(from, other, (text, above), place).await;
        let run = begun.map_err(|error| error.to_string())?;
        let run_id = run.run_id;
        let _waiting = match from.turn {
            None => None,
            Some((thread, _)) => match self.inner.waits.begin(thread, run.conversation_id) {
                Some(waiting) => Some(waiting),
                None => {
                    self.call_off(from, other, run_id).await;
                    return Err(format!(
                        "{other} is waiting for an answer of yours itself: try again later"
                    ));
                }
            },
        };
        let cancelled = async {
            match from.turn {
                Some((_, cancelled)) => cancelled.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = cancelled => {
                self.call_off(from, other, run_id).await;
                Err("the run was cancelled".to_owned())
            }
            answer = answer_of(run) => answer,
            () = tokio::time::sleep(PATIENCE) => {
                self.call_off(from, other, run_id).await;
                Err("the agent did not answer in time".to_owned())
            }
        }
    }

    async fn begin(
        &self,
        from: &Sender<'_>,
        other: AgentId,
        (text, above): (&str, Above),
        place: InGroup,
    ) -> Result<RunHandle, EngineError> {
        let thread = match place.thread {
            Some(thread) => Thread::Id(thread),
            None => self.thread_with(from.scope, other).await?,
        };
        let mut messages: Vec<NewMessage> = place.unheard.into_iter().collect();
        if !text.trim().is_empty() {
            messages.push(incoming(from.agent_id, text));
        }
        let metadata = json!({ "run_type": "agent_message", "from_agent_id": from.agent_id });
        let mut request = follow_ups::request(messages, metadata);
        request.above = above;
        let scope = Scope {
            caller: None,
            ..from.scope.clone()
        };
        self.send_boxed(scope, (other, thread), request).await
    }

    /// Sends a request out of a run. Boxed, as the future of a run would else be a part of itself.
    fn send_boxed(
        &self,
        scope: Scope,
        (agent, thread): (AgentId, Thread),
        request: SendRequest,
    ) -> BoxFuture<'_, Result<RunHandle, EngineError>> {
        Box::pin(async move {
            self.send(&scope, agent, thread, request, WhenBusy::Queue)
                .await
        })
    }

    /// Cancels a run whose answer nobody waits for any more.
    async fn call_off(&self, from: &Sender<'_>, other: AgentId, run: mnemic_core::ids::RunId) {
        match self.cancel_agent(from.scope, other, Some(vec![run])).await {
            // It is over already.
            Ok(_) | Err(EngineError::Conflict(_)) => {}
            Err(error) => tracing::warn!(%run, %error, "a run for another agent was not cancelled"),
        }
    }
}

fn plain(ids: &[AgentId]) -> Vec<(AgentId, InGroup)> {
    ids.iter().map(|id| (*id, InGroup::default())).collect()
}

/// A message as the agent reads it that gets it.
fn incoming(from: AgentId, text: &str) -> NewMessage {
    let text = format!("[Message from the agent with the id {from}]\n{text}");
    NewMessage {
        // Not as a notice, as the V1 server did: many models answer only where a user speaks last.
        role: Role::User,
        body: MessageBody::text(text),
        name: None,
        otid: None,
        sender_id: Some(from.to_string()),
        created_at: None,
    }
}

fn shown(agent: AgentId, said: Vec<String>) -> Value {
    json!({ "agent_id": agent, "response": said })
}

/// What a run said, when it is over.
async fn answer_of(mut run: RunHandle) -> Answer {
    let mut said = Vec::new();
    let mut stopped = None;
    let mut failed: Option<RunError> = None;
    while let Some((_, event)) = run.next().await {
        match event.as_ref() {
            Event::Message(part) => match &part.part {
                Part::Assistant { text } => said.push(text.clone()),
                Part::ToolCalls { calls } => {
                    said.extend(calls.iter().filter_map(transcript::sent));
                }
                _ => {}
            },
            Event::Stopped { reason } => stopped = Some(*reason),
            Event::Failed { error } => failed = Some(error.clone()),
            Event::Delta(_) | Event::Usage { .. } | Event::Done => {}
        }
    }
    if let Some(error) = failed {
        return Err(format!("the agent could not answer: {}", error.message));
    }
    match stopped {
        Some(StopReason::RequiresApproval) => {
            let reason = "the agent waits for a person who approves what it wants to do";
            Err(reason.to_owned())
        }
        Some(StopReason::Cancelled) => Err("the agent's run was cancelled".to_owned()),
        Some(_) => Ok(said),
        None => Err("the server is stopping: whether the agent answered is unknown".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_would_wait_for_each_other_are_found_and_waits_end() {
        let waits = Arc::new(Waits::default());
        let [a, b, c] = [(); 3].map(|()| ConversationId::new());
        let first = waits.begin(a, b);
        let second = waits.begin(b, c);
        assert!(first.is_some() && second.is_some());
        assert!(waits.begin(c, a).is_none());
        drop(first);
        assert!(waits.begin(c, a).is_some());
        drop(second);
        assert!(waits.0.lock().is_empty());
    }
}
