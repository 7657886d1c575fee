//! Round robin: the members of a group speak one after the other.

use mnemic_core::{
    conversations::Thread,
    groups::{Group, ManagerType, transcript},
    ids::{AgentId, ConversationId, GroupId},
    messages::{MessageBody, NewMessage, Role},
    scope::Scope,
};
use mnemic_store::{
    StoreError, Tx, agents, groups,
    page::{Order, Page},
    runs, steps,
};
use serde_json::json;

use crate::{
    Engine, EngineError, RunHandle, SendRequest, WhenBusy,
    custom::Above,
    follow_ups::{self, FollowUp},
    live::LiveRun,
    request::Round,
};

/// The `run_type` of the runs of members.
pub const RUN_TYPE: &str = "group_turn";

/// Times that members speak in one round at the most.
const MAX_TURNS: i64 = 100;

/// Messages of others that a member is told at the most.
const MAX_UNHEARD: i64 = 200;

impl Engine {
    /// Sends a message to a group: to its manager, or, where it has none, to the first who speaks. Each run's usage names
    /// the next one.
    ///
    /// # Errors
    /// There is no such group, nobody is in it, or as for [`Engine::send`].
    pub async fn send_to_group(
        &self,
        scope: &Scope,
        id: GroupId,
        mut request: SendRequest,
    ) -> Result<RunHandle, EngineError> {
        let (for_job, now) = (scope.clone(), self.now());
        let placed = self.store().write(move |tx| {
            Box::pin(async move {
                let group = groups::get(tx, &for_job, id).await?;
                let first = group.agent_ids.first().copied();
                let (true, Some(first)) = (group.manager_type == ManagerType::RoundRobin, first)
                else {
                    return Ok((group, None));
                };
                let thread = groups::thread(tx, &for_job, (id, first), now).await?;
                let unheard = unheard(tx, &for_job, id, first).await?;
                Ok::<_, StoreError>((group, Some((first, thread, unheard))))
            })
        });
        let (group, first) = placed.await?;
        let Some((agent, thread, unheard)) = first else {
            let manager = group.manager_agent_id.ok_or_else(|| {
                EngineError::Conflict("nobody is in this group: give it agent_ids first".to_owned())
            })?;
            let thread = self.thread_with(scope, manager).await?;
            return self
                .send(scope, manager, thread, request, WhenBusy::Queue)
                .await;
        };
        request
            .messages
            .splice(0..0, unheard.map(|text| from_group(id, text)));
        request.metadata = metadata(&group, 0);
        request.round = Some(Round {
            group_id: id,
            turn: 0,
        });
        let thread = Thread::Id(thread);
        self.send(scope, agent, thread, request, WhenBusy::Queue)
            .await
    }

    /// The thread in which an agent is spoken to on behalf of a scope: the person's own, or the default one.
    pub(crate) async fn thread_with(
        &self,
        scope: &Scope,
        agent_id: AgentId,
    ) -> Result<Thread, EngineError> {
        match scope.subject {
            None => Ok(Thread::Default),
            Some(_) => Ok(Thread::Id(self.own_thread(scope, agent_id).await?)),
        }
    }
}

/// Stores the run of who speaks next in a round, if somebody does.
pub(crate) async fn next(
    tx: &mut Tx<'_>,
    engine: &Engine,
    live: &LiveRun,
    (round, above): (&Round, &Above),
) -> Result<Option<FollowUp>, EngineError> {
    let scope = &live.scope;
    let group = match groups::get(tx, scope, round.group_id).await {
        Ok(group) => group,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let members = i64::try_from(group.agent_ids.len()).unwrap_or(i64::MAX);
    let turns = group.settings.max_turns.unwrap_or(members).min(MAX_TURNS);
    let turn = round.turn + 1;
    if turn >= turns || members == 0 {
        return Ok(None);
    }
    let place = usize::try_from(turn % members).unwrap_or(0);
    let Some(speaker) = group.agent_ids.get(place).copied() else {
        return Ok(None);
    };
    if above.agents.contains(&speaker) {
        return Ok(None);
    }
    let thread = groups::thread(tx, scope, (group.id, speaker), engine.now()).await?;
    let Some(text) = unheard(tx, scope, group.id, speaker).await? else {
        return Ok(None);
    };
    let messages = vec![from_group(group.id, text)];
    let mut request = follow_ups::request(messages, metadata(&group, turn));
    request.round = Some(Round {
        group_id: group.id,
        turn,
    });
    request.above = above.clone();
    let place: (AgentId, ConversationId, bool) = (speaker, thread, false);
    let next = follow_ups::queue(tx, engine, scope, place, request).await?;
    Ok(Some(next))
}

/// The round that stopped at calls which had to be answered first, of which a run took the answers: it goes on with that run's
/// end.
pub(crate) async fn interrupted(
    tx: &mut Tx<'_>,
    live: &LiveRun,
) -> Result<Option<Round>, EngineError> {
    let mut run_id = live.id;
    for _ in 0..MAX_TURNS {
        let Some(asked_in) = steps::answered_by(tx, run_id).await? else {
            return Ok(None);
        };
        let asked = runs::get(tx, &live.scope, asked_in).await?;
        let round = asked.input.get("round").cloned();
        if let Some(round) = round.and_then(|round| serde_json::from_value(round).ok()) {
            return Ok(Some(round));
        }
        run_id = asked_in;
    }
    Ok(None)
}

fn metadata(group: &Group, turn: i64) -> serde_json::Value {
    json!({ "run_type": RUN_TYPE, "group_id": group.id, "turn": turn })
}

/// What the others in a group said since a member spoke last.
pub(crate) async fn unheard(
    tx: &mut Tx<'_>,
    scope: &Scope,
    group_id: GroupId,
    member: AgentId,
) -> Result<Option<String>, StoreError> {
    let page = Page::first(MAX_UNHEARD, Order::Desc);
    let mut said = groups::messages(tx, scope, group_id, &page, Some(member)).await?;
    said.reverse();
    let speakers: Vec<AgentId> = said.iter().map(|message| message.agent_id).collect();
    let speakers = agents::get_many(tx, scope, &speakers).await?;
    let name_of = |id: AgentId| {
        let known = speakers.iter().find(|agent| agent.id == id);
        known.map_or("somebody", |agent| agent.name.as_str())
    };
    let mut lines = Vec::new();
    for message in &said {
        let text = transcript::said(message);
        let speaker = match message.role {
            Role::User => message.name.as_deref().unwrap_or("user"),
            Role::Assistant => name_of(message.agent_id),
            Role::Tool | Role::System => continue,
        };
        if !text.is_empty() {
            lines.push(format!("{speaker}: {text}"));
        }
    }
    Ok((!lines.is_empty()).then(|| lines.join("\n")))
}

/// A message that tells a member what others said.
pub(crate) fn from_group(id: GroupId, text: String) -> NewMessage {
    NewMessage {
        role: Role::User,
        body: MessageBody::text(text),
        name: None,
        otid: None,
        sender_id: Some(groups::speaks_for(id)),
        created_at: None,
    }
}
