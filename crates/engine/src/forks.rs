//! Beginning threads: new ones, and forks that go on from what another one said.

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, ConversationId, MessageId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    Tx, blocks,
    conversations::{self, NewConversation},
    forks, turns,
};

use crate::{Engine, EngineError, prompting, threads};

/// What is to be forked, and how.
#[derive(Debug, Clone, Copy)]
pub struct Fork {
    /// The agent.
    pub agent_id: AgentId,
    /// The thread that the new one goes on from.
    pub thread: Thread,
    /// The last message that is shared; none shares all.
    pub up_to: Option<MessageId>,
    /// Whether lists leave the new thread out.
    pub hidden: bool,
}

impl Engine {
    /// Begins a thread of an agent, with its prompt compiled; it has copies of the blocks of these labels.
    ///
    /// # Errors
    /// There is no such agent, it has no block of one of the labels, or the database's.
    pub async fn begin_conversation(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        new: NewConversation,
        isolated_labels: Vec<String>,
    ) -> Result<ConversationId, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let begun = self.store().write(move |tx| {
            Box::pin(async move {
                conversations::default_of(tx, &scope, agent_id).await?;
                let id = conversations::insert(tx, &scope, agent_id, &new, now).await?;
                let places = (agent_id.into(), id);
                let labels = &isolated_labels;
                let missing = blocks::isolate(tx, &scope, places, labels, now).await?;
                if !missing.is_empty() {
                    return Err(EngineError::Invalid(format!(
                        "isolated_block_labels: the agent has no block with the label {}",
                        missing.join(", ")
                    )));
                }
                prompting::refresh(tx, &scope, agent_id, id, now).await?;
                Ok(id)
            })
        });
        begun.await
    }

    /// Makes a thread that goes on from what another one said. Its messages are shared, not copied; its prompt is
    /// compiled anew. Blocks that were the other's own are copied; those of a person are the same in both.
    ///
    /// # Errors
    /// There is no such agent, conversation or message, or the database's.
    pub async fn fork(&self, scope: &Scope, fork: Fork) -> Result<ConversationId, EngineError> {
        let (scope, now) = (scope.clone(), self.now());
        let made = self
            .store()
            .write(move |tx| Box::pin(async move { make(tx, &scope, fork, now).await }));
        made.await
    }
}

async fn make(
    tx: &mut Tx<'_>,
    scope: &Scope,
    fork: Fork,
    now: Timestamp,
) -> Result<ConversationId, EngineError> {
    let agent_id = fork.agent_id;
    // Its row stays locked, so that nothing enters its context meanwhile.
    let origin = turns::head(tx, scope, agent_id, fork.thread)
        .await?
        .conversation_id;
    let about = conversations::get(tx, scope, origin).await?;
    let new = NewConversation {
        is_default: false,
        summary: about.summary,
        model: about.model,
        model_settings: about.model_settings,
        context_window_limit: about.context_window_limit,
        description: about.description,
        hidden: fork.hidden,
        archived_at: None,
    };
    let whose = scope.narrowed_to(about.subject);
    let cut = forks::cut(tx, scope, origin, fork.up_to).await?;
    let id = conversations::insert(tx, &whose, agent_id, &new, now).await?;
    let places = ((agent_id, origin).into(), id);
    if whose.subject.is_some() {
        // What is known of a person is one thing, in however many threads.
        blocks::show_too(tx, origin, id).await?;
    } else {
        blocks::isolate_as(tx, &whose, places, now).await?;
    }
    prompting::refresh(tx, &whose, agent_id, id, now).await?;
    forks::share(tx, (origin, id), cut).await?;
    // Once more, as it tells how much is in recall memory only.
    let head = turns::head(tx, &whose, agent_id, Thread::Id(id)).await?;
    threads::recompile(tx, &whose, (agent_id, &head), now, true).await?;
    Ok(id)
}
