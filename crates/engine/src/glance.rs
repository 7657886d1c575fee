//! Looks at what a turn would send, without one: nothing is stored, no model is asked, and who is at work in
//! the conversation goes on undisturbed.

use std::{convert::Infallible, sync::Arc};

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, RunId},
    scope::Scope,
};
use mnemic_llm::request_body;
use mnemic_store::{JobFuture, StoreError, Tx, leases::Lease, turns};
use serde_json::Value;

use crate::{
    Engine, EngineError, Granularity, SendRequest,
    live::{LiveRun, RunIdentity},
    session::Session,
    turn::Turn,
};

/// How a transaction ends that only looked: always as a failure, which takes back what the look wrote, such
/// as a prompt that was compiled for it.
enum Seen<T> {
    Found(T),
    Failed(EngineError),
}

impl<T> From<StoreError> for Seen<T> {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Engine {
    /// The request that a message would make to its model's provider now. What would leave the context first,
    /// when the message does not fit, is still in it.
    ///
    /// # Errors
    /// There is no such agent, conversation or model, the conversation waits for answers to calls, or the
    /// database's.
    pub async fn preview(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
        request: SendRequest,
    ) -> Result<Value, EngineError> {
        let session = self.look(scope, agent_id, thread).await?;
        if let Some(waiting) = &session.waiting {
            return Err(EngineError::PendingApproval {
                request_id: waiting.message_id,
            });
        }
        if request.has_answers() {
            return Err(EngineError::Invalid(
                "nothing waits for answers to calls in this conversation: preview a message"
                    .to_owned(),
            ));
        }
        let is_streamed = request.granularity == Granularity::Tokens;
        let mut turn = self.imagined(scope, (agent_id, session), request);
        let model = self.turn_model(scope, &turn.session, &turn.request).await?;
        turn.decide_tools()?;
        turn.lay_out(&model).await?;
        Ok(request_body(&turn.call(&model), is_streamed))
    }

    /// A conversation as its next turn would find it.
    pub(crate) async fn look(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        thread: Thread,
    ) -> Result<Box<Session>, EngineError> {
        let scope = self.whose(scope, agent_id, thread).await?;
        let engine = self.clone();
        self.glimpse(move |tx| {
            Box::pin(async move {
                let head = turns::head(tx, &scope, agent_id, thread).await?;
                let now = (engine.now(), &*engine.inner.catalogue);
                let session = Session::load(tx, &scope, &head, agent_id, now).await?;
                Ok(Box::new(session))
            })
        })
        .await
    }

    /// Does a job in a transaction that is rolled back.
    pub(crate) async fn glimpse<T, F>(&self, job: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx<'_>) -> JobFuture<'t, T, EngineError> + Send + 'static,
    {
        let seen: Result<Infallible, Seen<T>> = self
            .inner
            .store
            .write(move |tx| {
                Box::pin(async move {
                    Err(match job(tx).await {
                        Ok(found) => Seen::Found(found),
                        Err(error) => Seen::Failed(error),
                    })
                })
            })
            .await;
        match seen {
            Ok(never) => match never {},
            Err(Seen::Found(found)) => Ok(found),
            Err(Seen::Failed(error)) => Err(error),
        }
    }

    /// A turn that nobody knows of and that never takes a step.
    pub(crate) fn imagined(
        &self,
        scope: &Scope,
        (agent_id, session): (AgentId, Box<Session>),
        request: SendRequest,
    ) -> Turn {
        let identity = RunIdentity {
            id: RunId::new(),
            scope: scope.clone(),
            agent_id,
            conversation_id: session.conversation_id,
            in_default_conversation: true,
            background: false,
            has_callback: false,
        };
        let lease = Lease {
            conversation_id: session.conversation_id,
            owner: self.inner.boot_id.clone(),
            epoch: 0,
            run_id: identity.id,
        };
        let live = Arc::new(LiveRun::new(identity, 1));
        // Its reads wait for no commit.
        live.note_acceptance(true);
        Turn::new(
            self,
            (live, Arc::new(request)),
            (lease, session),
            self.now(),
        )
    }
}
