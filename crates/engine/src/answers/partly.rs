//! Answers to some of the calls that wait, from clients that know of their own tools only: they are kept on the message of the
//! calls until a person has decided on the others, so that neither of the two has to wait for the other.

use mnemic_core::messages::{CallAnswer, Message};
use mnemic_store::{context, failpoints, leases, messages};

use super::Waiting;
use crate::{EngineError, clipping, settle, turn::Turn};

impl Waiting {
    /// Whether calls go on waiting after these answers.
    pub(super) fn lacks(&self, given: &[&CallAnswer]) -> bool {
        let is_for = |answer: &&CallAnswer, id: &String| match answer {
            CallAnswer::All { .. } => true,
            one => one.tool_call_id() == id,
        };
        let is_open = |id: &String| !given.iter().any(|answer| is_for(answer, id));
        !given.is_empty() && self.awaiting.iter().any(is_open)
    }
}

impl Turn {
    /// Keeps the answers that are new, and nothing else: the run ends, and the calls go on waiting.
    pub(super) async fn take_in_part(&mut self, waiting: Waiting) -> Result<(), EngineError> {
        let given = self.inputs.drain(..).flat_map(|input| input.body.answers);
        let is_new = |answer: &CallAnswer| {
            let mut awaiting = waiting.awaiting.iter();
            awaiting.any(|id| id == answer.tool_call_id())
        };
        let mut fresh: Vec<CallAnswer> = given.filter(is_new).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        // The model may be away: it is not asked for anything yet.
        let window = self.session.frame.agent.llm_config.context_window;
        let max_chars = settle::max_return_chars(window);
        for answer in &mut fresh {
            if let CallAnswer::Tool { text, .. } = answer {
                *text = clipping::clipped_text(std::mem::take(text), max_chars);
            }
        }
        let (lease, scope, id) = (
            self.lease.clone(),
            self.live.scope.clone(),
            waiting.message_id,
        );
        let (thread, answers) = (self.live.conversation_id, fresh.clone());
        let store = &self.engine.inner.store;
        let written = store.write(move |tx| {
            Box::pin(async move {
                leases::renew(tx, &lease).await?;
                let mut message: Message = messages::get(tx, &scope, id).await?;
                message.body.answers.extend(answers);
                messages::set_body(tx, id, &message.body).await?;
                Ok::<_, EngineError>(context::touch(tx, thread).await?)
            })
        });
        self.session.context_revision = written.await?;
        self.session.waiting = Some(waiting.with(fresh));
        failpoints::hit("answers.kept");
        Ok(())
    }
}
