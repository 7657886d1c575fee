//! Acceptance: the commit with which a request becomes a run, and what is to be done with it.

use std::{sync::Arc, time::Duration};

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, ConversationId, RunId},
    messages::NewMessage,
    runs::{RunError, RunStatus, StopReason},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    Commit, Dialect, StoreError, Tx, failpoints, leases,
    leases::Lease,
    otids::{self, Offered},
    runs::{self, Ending, NewRun, Progress},
    turns::{self, Head},
};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::{
    Engine, EngineError, RunHandle, SendRequest, WhenBusy, answers,
    live::{LiveRun, RunIdentity},
    session::{Frame, Session},
};

/// How long a client's retry finds the run of its first try, in microseconds (DESIGN section 4).
const RETRY_WINDOW_MICROS: i64 = 10 * 60 * 1_000_000;

/// How often an acceptance is tried whose rows others were changing.
const CONTENDED_TRIES: usize = 3;

/// How often it is tried to take back an acceptance whose commit may have been lost.
const TAKE_BACK_INTERVAL: Duration = Duration::from_secs(1);

/// Seconds after which a client may try again when the queue is full.
const QUEUE_RETRY_SECONDS: u64 = 2;

/// A request on its way into the store. What is large is made ready here: the store's writer is one
/// for all.
struct Offer {
    scope: Scope,
    agent_id: AgentId,
    thread: Thread,
    request: Arc<SendRequest>,
    /// The request as the run keeps it.
    input: String,
    /// The [`content_hash`] of each message that has an otid.
    hashes: Vec<Option<String>>,
    when_busy: WhenBusy,
    run_id: RunId,
    owner: String,
    queue_depth: i64,
    now: Timestamp,
}

/// What became of it.
enum Accepted {
    /// It has the conversation.
    Started {
        head: Head,
        lease: Lease,
        session: Box<Session>,
    },
    /// It waits for the conversation.
    Queued {
        conversation_id: ConversationId,
        is_default: bool,
    },
    /// It is the same request as an earlier run.
    Known(RunId),
}

/// Where `send` waits for the answer.
type Reply = oneshot::Sender<Result<RunHandle, EngineError>>;

impl Engine {
    /// Accepts a request as a run and lets it begin. The run goes on if the caller goes away.
    ///
    /// # Errors
    /// There is no such agent or conversation; the conversation is busy or too many wait for it; an
    /// otid is known with other content; the database is not available.
    pub async fn send(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
        request: SendRequest,
        when_busy: WhenBusy,
    ) -> Result<RunHandle, EngineError> {
        let place = (agent_id, thread);
        self.send_as(RunId::new(), scope, place, request, when_busy)
            .await
    }

    /// The same as a run whose id was chosen before. If there is one of that id, it is followed, and none begins.
    ///
    /// # Errors
    /// As for [`Engine::send`].
    pub(crate) async fn send_as(
        &self,
        run_id: RunId,
        scope: &Scope,
        (agent_id, thread): (AgentId, Thread),
        request: SendRequest,
        when_busy: WhenBusy,
    ) -> Result<RunHandle, EngineError> {
        if self.inner.supervisor.is_closing() {
            return Err(EngineError::ShuttingDown);
        }
        let thread = match thread {
            // A person never speaks in the thread that is nobody's.
            Thread::Default if scope.subject.is_some() => {
                Thread::Id(self.own_thread(scope, agent_id).await?)
            }
            thread => thread,
        };
        if request.above.agents.contains(&agent_id) {
            return Err(EngineError::Conflict(
                "the agent is in the turn that called this tool: it can't be sent a message from there".to_owned(),
            ));
        }
        let input = serde_json::to_string(&request)
            .map_err(|error| EngineError::Invalid(error.to_string()))?;
        let hashes = request.messages.iter().map(|message| {
            let hash = message.otid.as_ref().map(|_| content_hash(message));
            hash.transpose()
        });
        let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
        let offer = Arc::new(Offer {
            scope: scope.clone(),
            agent_id,
            thread,
            request: Arc::new(request),
            input,
            hashes,
            when_busy,
            run_id,
            owner: self.inner.boot_id.clone(),
            queue_depth: self.inner.settings.queue_depth,
            now: self.now(),
        });
        let (reply, answer) = oneshot::channel();
        let engine = self.clone();
        self.inner
            .supervisor
            .tasks
            .spawn(async move { engine.take_on(offer, reply).await });
        answer.await.map_err(|_| EngineError::ShuttingDown)?
    }

    /// Accepts the request and runs it to its end.
    async fn take_on(&self, offer: Arc<Offer>, reply: Reply) {
        let (scope, request, run_id) = (offer.scope.clone(), offer.request.clone(), offer.run_id);
        let identity = RunIdentity {
            id: run_id,
            scope: scope.clone(),
            agent_id: offer.agent_id,
            // Known after the commit.
            conversation_id: ConversationId::new(),
            in_default_conversation: true,
            background: request.background,
            has_callback: request.callback_url.is_some(),
        };
        let accepted_at = offer.now;
        let (accepted, commit) = match self.commit_offer(Arc::clone(&offer)).await {
            Ok(accepted) => accepted,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        match accepted {
            Accepted::Known(earlier) => {
                // Its acceptance may be in the same commit.
                if let Err(error) = commit.wait().await {
                    _ = reply.send(Err(error.into()));
                    return;
                }
                let handle = self.attach(&scope, earlier, 0).await;
                _ = reply.send(handle.map(RunHandle::attached));
            }
            Accepted::Started {
                head,
                lease,
                session,
            } => {
                let live = self.announce(identity, head.conversation_id, head.is_default);
                let doubtful = commit.is_doubtful();
                self.confirm(&live, offer, commit, reply);
                if doubtful && !live.is_accepted().await {
                    return self.leave(&live);
                }
                let run = Arc::clone(&live);
                let turn = Box::pin(self.run_turn(run, request, lease, session, accepted_at));
                self.guard(&live, turn).await;
            }
            Accepted::Queued {
                conversation_id,
                is_default,
            } => {
                let live = self.announce(identity, conversation_id, is_default);
                self.confirm(&live, offer, commit, reply);
                if !live.is_accepted().await {
                    return self.leave(&live);
                }
                let wait = Box::pin(self.wait_and_run(Arc::clone(&live), request, accepted_at));
                self.guard(&live, wait).await;
            }
        }
    }

    fn announce(
        &self,
        identity: RunIdentity,
        conversation_id: ConversationId,
        is_default: bool,
    ) -> Arc<LiveRun> {
        let identity = RunIdentity {
            conversation_id,
            in_default_conversation: is_default,
            ..identity
        };
        let live = Arc::new(LiveRun::new(identity, 1));
        self.inner.supervisor.add(Arc::clone(&live));
        live
    }

    /// A subscription to a live run from its first event.
    pub(crate) fn subscribe(&self, live: &Arc<LiveRun>) -> RunHandle {
        RunHandle::live(Arc::clone(live), 1, self.inner.store.clone())
    }

    /// Tells the caller, and the run itself, what becomes of the commit, while the run's first model
    /// call is made already.
    fn confirm(&self, live: &Arc<LiveRun>, offer: Arc<Offer>, commit: Commit, reply: Reply) {
        let (engine, live) = (self.clone(), Arc::clone(live));
        self.inner.supervisor.tasks.spawn(async move {
            let handle = engine.subscribe(&live);
            let decided = commit.wait().await;
            let failed = decided.is_err();
            tell(&live, decided.map(|()| handle), reply);
            if failed && engine.inner.store.dialect() == Dialect::Postgres {
                engine.take_back(&offer).await;
            }
        });
    }

    /// Takes back what a commit stored whose answer was lost with its connection: the client was told
    /// that nothing was accepted, and nobody works on it.
    async fn take_back(&self, offer: &Arc<Offer>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TAKE_BACK_INTERVAL) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
            let offer = Arc::clone(offer);
            let written = self
                .inner
                .store
                .write(move |tx| Box::pin(async move { take_back(tx, &offer).await }));
            match written.await {
                Ok(id) => return self.inner.supervisor.conversation_freed(id),
                Err(StoreError::NotFound { .. }) => return,
                Err(error) => tracing::debug!(%error, "a lost acceptance waits for the database"),
            }
        }
    }

    async fn commit_offer(&self, offer: Arc<Offer>) -> Result<(Accepted, Commit), EngineError> {
        for _ in 0..CONTENDED_TRIES {
            let (engine, offer) = (self.clone(), Arc::clone(&offer));
            let store = &self.inner.store;
            let accepted = store
                .write_ahead(move |tx| Box::pin(async move { accept(tx, &engine, &offer).await }))
                .await;
            if !matches!(accepted, Err(EngineError::Store(StoreError::Contended))) {
                return accepted;
            }
        }
        Err(StoreError::Contended.into())
    }
}

async fn take_back(tx: &mut Tx<'_>, offer: &Offer) -> Result<ConversationId, StoreError> {
    // Locks the conversation's row, and so waits for a transaction that is still being committed.
    let head = turns::head(tx, &offer.scope, offer.agent_id, offer.thread).await?;
    let ending = Ending {
        stop_reason: StopReason::Error,
        error: Some(RunError {
            error_type: "service_unavailable".to_owned(),
            message: "the database went away while the message was accepted: send it again"
                .to_owned(),
            detail: None,
        }),
        progress: Progress::default(),
        completed_at: offer.now,
    };
    if runs::finish(tx, offer.run_id, &ending).await? {
        tracing::info!(run = %offer.run_id, "a run is ended whose acceptance was told as failed");
        leases::release_run(tx, head.conversation_id, &offer.owner, offer.run_id).await?;
        otids::free(tx, head.conversation_id, offer.run_id).await?;
    }
    Ok(head.conversation_id)
}

/// Passes on what became of an acceptance.
fn tell(live: &LiveRun, decided: Result<RunHandle, StoreError>, reply: Reply) {
    if decided.is_ok() {
        failpoints::hit("accepted");
    }
    live.note_acceptance(decided.is_ok());
    // A caller that went away can find the run by its id.
    _ = reply.send(decided.map_err(EngineError::from));
}

async fn accept(tx: &mut Tx<'_>, engine: &Engine, offer: &Offer) -> Result<Accepted, EngineError> {
    let scope = &offer.scope;
    let head = turns::head(tx, scope, offer.agent_id, offer.thread).await?;
    if head.require_user && scope.subject.is_none() {
        return Err(EngineError::UserRequired);
    }
    if let Some(earlier) = known_run(tx, offer, &head).await? {
        return Ok(Accepted::Known(earlier));
    }
    // A cancelled run holds its conversation until it is settled; that is not being busy.
    if offer.when_busy == WhenBusy::Refuse && head.open_runs > 0 {
        let busy = runs::open(tx, Some(head.conversation_id)).await?;
        if let Some(run) = busy.first() {
            return Err(EngineError::Busy { run_id: run.id });
        }
    }
    let lease = if head.open_runs == 0 {
        leases::acquire(tx, head.conversation_id, &offer.owner, offer.run_id).await?
    } else {
        None
    };
    if lease.is_none() && head.open_runs >= offer.queue_depth {
        return Err(EngineError::QueueFull {
            waiting: head.open_runs,
            retry_after_seconds: QUEUE_RETRY_SECONDS,
        });
    }
    let status = if lease.is_some() {
        RunStatus::Running
    } else {
        RunStatus::Created
    };
    // What answers calls belongs to the message that led to them, or a thread would wait for its next message until tomorrow.
    let counts = offer.request.above.agents.is_empty() && !only_answers(&offer.request);
    engine.check_room(tx, scope, Some(offer.agent_id)).await?;
    engine.admit(tx, scope, offer.agent_id, counts).await?;
    runs::insert(tx, scope, &new_run(offer, &head, status)).await?;
    let Some(lease) = lease else {
        return Ok(Accepted::Queued {
            conversation_id: head.conversation_id,
            is_default: head.is_default,
        });
    };
    let session = open_session(tx, engine, scope, offer.agent_id, &head).await?;
    check_answers(tx, engine, offer, &session).await?;
    Ok(Accepted::Started {
        head,
        lease,
        session,
    })
}

/// Whether a request only answers calls of the agent.
fn only_answers(request: &SendRequest) -> bool {
    let mut bodies = request.messages.iter().map(|message| &message.body);
    !request.messages.is_empty()
        && bodies.all(|body| !body.answers.is_empty() && body.content.is_empty())
}

/// Whether a request says what the conversation waits for, and nothing that it does not wait for.
async fn check_answers(
    tx: &mut Tx<'_>,
    engine: &Engine,
    offer: &Offer,
    session: &Session,
) -> Result<(), EngineError> {
    let messages = offer.request.messages.iter();
    let given: Vec<_> = messages.flat_map(|message| &message.body.answers).collect();
    if let Some(waiting) = &session.waiting {
        let is_expired = engine.is_expired(waiting);
        let terms = answers::Terms::of(&offer.request, &session.frame.agent, is_expired);
        return answers::check(waiting, &given, &terms);
    }
    if given.is_empty() {
        return Ok(());
    }
    answers::check_repeated(tx, &offer.scope, session.conversation_id, &given).await
}

/// The session of a conversation that the caller holds: the one in memory if it is still true, else
/// one made from the store.
pub(crate) async fn open_session(
    tx: &mut Tx<'_>,
    engine: &Engine,
    scope: &Scope,
    agent_id: AgentId,
    head: &Head,
) -> Result<Box<Session>, EngineError> {
    let kept = engine.inner.sessions.take(head.conversation_id);
    let Some(mut session) = kept.filter(|session| session.has_context_of(head)) else {
        return Ok(Box::new(
            Session::load(
                tx,
                scope,
                head,
                agent_id,
                (engine.now(), &engine.inner.catalogue),
            )
            .await?,
        ));
    };
    if !session.frame.is_true(head) {
        session.frame = Frame::load(tx, scope, head, agent_id, engine.now()).await?;
    }
    Ok(session)
}

fn new_run(offer: &Offer, head: &Head, status: RunStatus) -> NewRun {
    let request = &offer.request;
    NewRun {
        id: offer.run_id,
        agent_id: offer.agent_id,
        conversation_id: head.conversation_id,
        status,
        owner: offer.owner.clone(),
        background: request.background,
        input: offer.input.clone(),
        body_hash: request.body_hash.clone(),
        metadata: request.metadata.clone(),
        request_config: request.request_config.clone(),
        callback_url: request.callback_url.clone(),
        created_at: offer.now,
    }
}

/// The run that took in the same request before: known by its otids, or as a client's retry.
async fn known_run(
    tx: &mut Tx<'_>,
    offer: &Offer,
    head: &Head,
) -> Result<Option<RunId>, EngineError> {
    let mut earlier = None;
    let mut fresh = 0usize;
    for (message, hash) in offer.request.messages.iter().zip(&offer.hashes) {
        let (Some(otid), Some(hash)) = (&message.otid, hash) else {
            continue;
        };
        let taker = (Some(offer.run_id), None);
        match otids::offer(tx, head.conversation_id, otid, hash, taker).await? {
            Offered::New => fresh += 1,
            Offered::Known {
                run_id: Some(run_id),
                ..
            } if run_id != offer.run_id => {
                earlier = Some(run_id);
            }
            Offered::Known { .. } => {
                return Err(EngineError::Conflict(format!(
                    "the message with otid '{otid}' is in this conversation already"
                )));
            }
        }
    }
    if earlier.is_some() && fresh > 0 {
        return Err(EngineError::Conflict(
            "some of these messages were sent before and others were not: send the new ones in a \
             request of their own"
                .to_owned(),
        ));
    }
    if earlier.is_none() && offer.request.is_retry {
        let since = offer.now.plus_micros(-RETRY_WINDOW_MICROS);
        let hash = &offer.request.body_hash;
        return Ok(runs::same_request(tx, &offer.scope, head.conversation_id, hash, since).await?);
    }
    Ok(earlier)
}

/// SHA-256 of who speaks and what is said.
pub(crate) fn content_hash(message: &NewMessage) -> Result<String, EngineError> {
    let content = serde_json::to_string(&(message.role, &message.body))
        .map_err(|error| EngineError::Invalid(error.to_string()))?;
    let digest = Sha256::digest(content.as_bytes());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
