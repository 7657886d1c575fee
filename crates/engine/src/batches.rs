//! Batches of messages: accepted at once, run a few at a time. A request's run has its id from the acceptance of
//! the batch on, so whoever takes the request up after a crash finds the run that was begun, and begins no second.

use std::time::Duration;

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, JobId, RunId},
    runs::RunStatus,
    scope::Scope,
};
use mnemic_store::{
    StoreError, agents,
    batches::{self, Claimed, NewBatch},
    runs,
};
use tokio::task::JoinSet;

use crate::{Engine, EngineError, SendRequest, WhenBusy};

/// How often requests are looked for that nobody of this process announces.
const POLL: Duration = Duration::from_secs(2);

/// The pause after which a request is tried again that could not begin for the time being.
const PAUSE: Duration = Duration::from_secs(1);

/// Requests that one batch may have.
pub const MAX_REQUESTS: usize = 1_000;

impl Engine {
    /// Accepts a batch. Its requests run in the background, each agent's in their order.
    ///
    /// # Errors
    /// One of the agents is not there, there are none or too many requests, or the database's.
    pub async fn create_batch(
        &self,
        scope: &Scope,
        requests: Vec<(AgentId, SendRequest)>,
        callback_url: Option<String>,
    ) -> Result<JobId, EngineError> {
        if requests.is_empty() || requests.len() > MAX_REQUESTS {
            return Err(EngineError::Invalid(format!(
                "a batch has 1 to {MAX_REQUESTS} requests, this one has {}",
                requests.len()
            )));
        }
        let id = JobId::new();
        let mut named = Vec::with_capacity(requests.len());
        for (agent_id, request) in requests {
            let request = serde_json::to_string(&request)
                .map_err(|error| EngineError::Invalid(error.to_string()))?;
            named.push((agent_id, RunId::new(), request));
        }
        let new = NewBatch {
            id,
            callback_url,
            requests: named,
        };
        let (scope, now) = (scope.clone(), self.now());
        let stored = self.store().write(move |tx| {
            Box::pin(async move {
                let mut agents: Vec<AgentId> = new.requests.iter().map(|one| one.0).collect();
                agents.sort();
                agents.dedup();
                for agent in agents {
                    agents::get(tx, &scope, agent).await?;
                }
                batches::insert(tx, &scope, &new, now).await
            })
        });
        stored.await.map_err(|error: StoreError| error)?;
        self.inner.batch_due.notify_one();
        Ok(id)
    }

    /// Cancels a batch: what has not begun never does.
    ///
    /// # Errors
    /// There is none, it is over, or the database's.
    pub async fn cancel_batch(&self, scope: &Scope, id: JobId) -> Result<(), EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let cancelled = self
            .store()
            .write(move |tx| Box::pin(async move { batches::cancel(tx, &scope, id, now).await }));
        if cancelled.await.map_err(|error: StoreError| error)? {
            self.inner.callback_due.notify_one();
        }
        Ok(())
    }

    /// Runs the requests of batches, a few at a time, until the engine stops.
    pub(crate) async fn run_batches(self) {
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.inner.settings.batch_concurrency {
                match self.claim_request().await {
                    Ok(Some(claimed)) => {
                        let engine = self.clone();
                        _ = running.spawn(async move { engine.run_request(claimed).await });
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "batches wait for the database");
                        break;
                    }
                }
            }
            tokio::select! {
                Some(_) = running.join_next() => {}
                () = self.inner.batch_due.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
        }
    }

    async fn claim_request(&self) -> Result<Option<Claimed>, StoreError> {
        if self.inner.supervisor.is_closing() {
            return Ok(None);
        }
        let me = self.inner.boot_id.clone();
        // Mostly there is nothing, which costs no commit.
        let waits = self
            .store()
            .read(|tx| Box::pin(async move { batches::waits(tx).await }));
        if !waits.await? {
            return Ok(None);
        }
        let claimed = self
            .store()
            .write(move |tx| Box::pin(async move { batches::claim(tx, &me).await }));
        claimed.await
    }

    /// Brings one request to its end. What a stopping process leaves, the next one takes up.
    async fn run_request(&self, claimed: Claimed) {
        mnemic_store::failpoints::hit("batch.claimed");
        let ended = match self.outcome(&claimed).await {
            Ok(Some(ended)) => ended,
            Ok(None) => return,
            Err(error) if is_passing(&error) => {
                tracing::debug!(run = %claimed.run_id, %error, "a request of a batch waits");
                tokio::time::sleep(PAUSE).await;
                let seq = claimed.seq;
                let given = self
                    .store()
                    .write(move |tx| Box::pin(async move { batches::give_back(tx, seq).await }));
                if let Err(error) = given.await {
                    let error: StoreError = error;
                    tracing::warn!(%error, "a request of a batch could not be given back");
                }
                return;
            }
            Err(error) => (RunStatus::Failed, Some(error.to_string())),
        };
        mnemic_store::failpoints::hit("batch.ended");
        self.settle_request(claimed, ended).await;
    }

    /// How a request's run ended; none when this process stops before that.
    async fn outcome(
        &self,
        claimed: &Claimed,
    ) -> Result<Option<(RunStatus, Option<String>)>, EngineError> {
        let (scope, run_id) = (&claimed.scope, claimed.run_id);
        let begun = self
            .store()
            .read(move |tx| Box::pin(async move { runs::exists(tx, run_id).await }));
        let begun: bool = begun.await.map_err(|error: StoreError| error)?;
        let mut run = if begun {
            self.attach(scope, run_id, 0).await?
        } else if claimed.is_cancelled {
            return Ok(Some((RunStatus::Cancelled, None)));
        } else {
            let request: SendRequest = serde_json::from_value(claimed.request.clone())
                .map_err(|error| EngineError::Invalid(error.to_string()))?;
            let place = (claimed.agent_id, Thread::Default);
            self.send_as(run_id, scope, place, request, WhenBusy::Queue)
                .await?
        };
        while run.next().await.is_some() {}
        let ended = match self.run(scope, run_id).await {
            Err(EngineError::Store(StoreError::NotFound { .. })) => {
                let gone = "its agent, or what was said in its run, was deleted meanwhile";
                return Ok(Some((RunStatus::Cancelled, Some(gone.to_owned()))));
            }
            run => run?,
        };
        if !ended.status.is_terminal() {
            return Ok(None);
        }
        Ok(Some((ended.status, ended.error.map(|error| error.message))))
    }

    async fn settle_request(&self, claimed: Claimed, (status, error): (RunStatus, Option<String>)) {
        loop {
            let (claimed, error, now) = (claimed.clone(), error.clone(), self.now());
            let settled = self.store().write(move |tx| {
                Box::pin(async move {
                    batches::settle(tx, &claimed, (status, error.as_deref()), now).await
                })
            });
            match settled.await {
                Ok(has_callback) => {
                    if has_callback {
                        self.inner.callback_due.notify_one();
                    }
                    return;
                }
                Err(failed) => {
                    let failed: StoreError = failed;
                    tracing::warn!(%failed, "the end of a batch's request waits for the database");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
        }
    }
}

/// Whether a request may begin later that cannot begin now.
fn is_passing(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::QueueFull { .. }
            | EngineError::Busy { .. }
            | EngineError::ShuttingDown
            | EngineError::Store(StoreError::Unavailable(_) | StoreError::Contended)
    )
}
