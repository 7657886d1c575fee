//! Runs that the end of another one begins: of agents that tidy its memory, and of the next who speaks in a group.
//!
//! Such a run is stored in the same commit as the end from which it follows, waiting for its conversation. So it is its own
//! job: no crash loses it or makes it twice, and whoever looks for it by its id finds it at once.

use std::{collections::HashSet, sync::Arc};

use mnemic_core::{
    ids::{AgentId, ConversationId, RunId},
    messages::NewMessage,
    runs::{RunStatus, StopReason},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    StoreError, Tx,
    runs::{self, NewRun, OpenRun},
};
use serde_json::{Value, json};

use crate::{
    Engine, EngineError, SendRequest,
    custom::Above,
    groups::{rounds, tidying},
    live::{LiveRun, RunIdentity},
    request::Round,
    turn::Turn,
};

/// A stored run whose task is to begin when the commit is durable.
#[derive(Debug, Clone)]
pub(crate) struct FollowUp {
    pub identity: RunIdentity,
    request: Arc<SendRequest>,
    accepted_at: Timestamp,
}

/// What may follow from a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Following {
    /// Whether other agents tidy the memory of its agent.
    tidied: bool,
    /// The round of a group that it is part of.
    round: Option<Round>,
    /// Whether it began with answers to calls of an earlier run, which may be part of one.
    answers: bool,
    /// What stands above it: runs that follow are as deep, or agents could keep each other busy for ever.
    above: Above,
}

impl Following {
    pub(crate) fn of(turn: &Turn) -> Self {
        Self {
            tidied: turn.session.frame.agent.enable_sleeptime == Some(true),
            round: turn.request.round.clone(),
            answers: turn.request.has_answers(),
            above: turn.request.above.clone(),
        }
    }

    /// Stores what follows from the end of a run.
    pub(crate) async fn store(
        &self,
        tx: &mut Tx<'_>,
        engine: &Engine,
        live: &LiveRun,
        reason: StopReason,
    ) -> Result<Vec<FollowUp>, EngineError> {
        // A turn that waits for an answer goes on with that; of one that failed nothing may be there.
        if reason.run_status() != RunStatus::Completed || reason == StopReason::RequiresApproval {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        let round = match &self.round {
            None if self.answers => rounds::interrupted(tx, live).await?,
            round => round.clone(),
        };
        if let Some(round) = &round {
            all.extend(rounds::next(tx, engine, live, (round, &self.above)).await?);
        }
        if self.tidied {
            all.extend(tidying::due(tx, engine, live, &self.above).await?);
        }
        if !all.is_empty() {
            runs::note_follow_ups(tx, live.id, &ids(&all)).await?;
        }
        Ok(all)
    }
}

/// The ids of runs that follow.
pub(crate) fn ids(follow_ups: &[FollowUp]) -> Vec<RunId> {
    follow_ups.iter().map(|next| next.identity.id).collect()
}

/// A request that no client makes.
pub(crate) fn request(messages: Vec<NewMessage>, metadata: Value) -> SendRequest {
    SendRequest {
        messages,
        background: true,
        request_config: json!({
            "use_assistant_message": true,
            "assistant_message_tool_name": "send_message",
            "assistant_message_tool_kwarg": "message",
            "include_return_message_types": null,
        }),
        metadata,
        ..SendRequest::default()
    }
}

/// Stores a run that waits for its conversation.
pub(crate) async fn queue(
    tx: &mut Tx<'_>,
    engine: &Engine,
    scope: &Scope,
    (agent_id, conversation_id, is_default): (AgentId, ConversationId, bool),
    request: SendRequest,
) -> Result<FollowUp, EngineError> {
    let input =
        serde_json::to_string(&request).map_err(|error| EngineError::Invalid(error.to_string()))?;
    let run = NewRun {
        id: RunId::new(),
        agent_id,
        conversation_id,
        status: RunStatus::Created,
        owner: engine.inner.boot_id.clone(),
        background: request.background,
        input,
        body_hash: request.body_hash.clone(),
        metadata: request.metadata.clone(),
        request_config: request.request_config.clone(),
        callback_url: None,
        created_at: engine.now(),
    };
    runs::insert(tx, scope, &run).await?;
    let scope = Scope {
        caller: None,
        ..scope.clone()
    };
    Ok(FollowUp {
        identity: RunIdentity {
            id: run.id,
            scope,
            agent_id,
            conversation_id,
            in_default_conversation: is_default,
            background: run.background,
            has_callback: false,
        },
        request: Arc::new(request),
        accepted_at: run.created_at,
    })
}

impl Engine {
    /// Begins runs of this process that wait and have no task: their commit was made, and its answer was lost with the
    /// connection. One that has been seen so once may just have been stored; returns those.
    pub(crate) async fn begin_stranded(&self, seen: HashSet<RunId>) -> HashSet<RunId> {
        let read = self
            .inner
            .store
            .read(|tx| Box::pin(async move { runs::open(tx, None).await }));
        let open = match read.await {
            Ok(open) => open,
            Err(error) => {
                let error: StoreError = error;
                tracing::debug!(%error, "runs without a task are looked for again");
                return seen;
            }
        };
        let is_stranded = |run: &OpenRun| {
            run.owner == self.inner.boot_id
                && run.status == RunStatus::Created
                && self.inner.supervisor.get(run.id).is_none()
        };
        let mut found = HashSet::new();
        for run in open.into_iter().filter(is_stranded) {
            let id = run.id;
            if !seen.contains(&id) {
                found.insert(id);
            } else if let Err(error) = self.adopt(run).await {
                tracing::warn!(run = %id, %error, "a run without a task could not be begun");
            }
        }
        found
    }

    /// Begins runs whose commit is durable. A process that stops leaves them to the next one.
    pub(crate) fn begin_follow_ups(&self, follow_ups: Vec<FollowUp>) {
        for next in follow_ups {
            if self.inner.supervisor.is_closing() {
                return;
            }
            let live = Arc::new(LiveRun::new(next.identity, 1));
            live.note_acceptance(true);
            self.inner.supervisor.add(Arc::clone(&live));
            let engine = self.clone();
            self.inner.supervisor.tasks.spawn(async move {
                let work = engine.wait_and_run(Arc::clone(&live), next.request, next.accepted_at);
                engine.guard(&live, Box::pin(work)).await;
            });
        }
    }
}
