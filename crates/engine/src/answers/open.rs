//! What waits for answers in a thread, for languages whose clients are not told of it by a request's refusal.

use mnemic_core::{agents::Agent, conversations::Thread, scope::Scope};
use mnemic_store::{context, conversations};

use super::Waiting;
use crate::{Engine, EngineError, tools};

/// A call that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// Its id.
    pub id: String,
    /// Whether a person has to approve it; else the client runs its tool.
    pub needs_approval: bool,
}

impl Engine {
    /// The calls of a thread that wait for answers.
    ///
    /// # Errors
    /// There is no such thread, or the database's.
    pub async fn open_calls(
        &self,
        scope: &Scope,
        agent: &Agent,
        thread: Thread,
    ) -> Result<Vec<OpenCall>, EngineError> {
        let (scope, id) = (scope.clone(), agent.id);
        let store = &self.inner.store;
        let last = store.read(move |tx| {
            Box::pin(async move {
                let conversation = conversations::resolve(tx, &scope, id, thread).await?;
                Ok::<_, EngineError>(context::last_message(tx, conversation.id).await?)
            })
        });
        let Some(waiting) = last.await?.as_ref().and_then(Waiting::of) else {
            return Ok(Vec::new());
        };
        let awaiting = waiting.calls.iter();
        let awaiting = awaiting.filter(|call| waiting.awaiting.contains(&call.id));
        let open = awaiting.map(|call| OpenCall {
            id: call.id.clone(),
            needs_approval: tools::needs_approval(agent, &call.name),
        });
        Ok(open.collect())
    }
}
