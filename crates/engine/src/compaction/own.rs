//! Summaries by the agent's own model, asked at the end of the conversation as it sees it: the same system
//! prompt, tools and messages as in its last call, so that the provider has all of them in its cache.

use std::collections::HashSet;

use mnemic_core::{
    ids::MessageId,
    messages::{Message, MessageBody, Role},
    scope::Scope,
    tokens,
};
use mnemic_llm::{Call, MessageView, ToolChoice, Transcript};
use mnemic_store::failpoints;
use tokio::time::Instant;

use super::{
    settings::Way,
    summarizer::{ANSWER_TOKENS, Material, NoSummary, Waiting},
};
use crate::{Engine, model::TurnModel, rests::Trouble, turn::Turn};

/// Tokens of an answer below which it is not worth asking.
const LEAST_ANSWER: i64 = 256;

/// The agent's next call, with the conversation up to the last message that leaves.
pub(crate) struct Prefix {
    call: Call,
    /// Tokens that it takes.
    tokens: i64,
    /// Tokens that it may take with the answer.
    window: i64,
}

impl Turn {
    /// The call that its model has in the cache, up to the last message that leaves.
    pub(super) fn prefix_of(
        &self,
        model: &TurnModel,
        messages: &[Message],
        leaving: &HashSet<MessageId>,
    ) -> Prefix {
        let leaves = |message: &Message| leaving.contains(&message.id);
        let count = messages.iter().rposition(leaves).map_or(0, |last| last + 1);
        self.prefix(model, messages.get(..count).unwrap_or_default())
    }

    /// The call that its model has in the cache, with these messages of the conversation.
    pub(crate) fn prefix(&self, model: &TurnModel, messages: &[Message]) -> Prefix {
        let mut call = self.call(model);
        call.transcript = Transcript::for_endpoint(&model.resolved.endpoint);
        let mut tokens = self.fixed_tokens();
        for message in messages {
            tokens += self.session.show(&mut call.transcript, message);
        }
        Prefix {
            call,
            tokens,
            window: self.usable_window(model),
        }
    }
}

impl Prefix {
    /// The call that asks for the summary; none where there is no room for an answer.
    fn asking(&self, (prompt, wanted): (&str, i64), material: &Material<'_>) -> Option<Call> {
        let settings = material.settings;
        let asked = i64::try_from(tokens::count(prompt)).unwrap_or(i64::MAX);
        // A twentieth is for what its provider counts more than we do.
        let room = self.window - self.window / 20 - self.tokens - asked;
        let answer = settings.max_tokens.unwrap_or(wanted).min(room);
        if answer < LEAST_ANSWER.min(wanted) {
            return None;
        }
        let mut call = self.call.clone();
        call.transcript.push(&MessageView {
            role: Role::User,
            body: &MessageBody::text(prompt),
            name: None,
        });
        call.max_tokens = Some(answer);
        call.response_format = None;
        // As in turns: providers keep what comes before another choice no longer.
        call.tool_choice = ToolChoice::Auto;
        call.temperature = settings.temperature.or(call.temperature);
        Some(call)
    }
}

impl Engine {
    /// The summary that the agent's own model makes; none when it makes none in time.
    pub(crate) async fn summary_by_itself(
        &self,
        (scope, material): (&Scope, &Material<'_>),
        (way, prefix): (&Way, &Prefix),
        deadline: Instant,
    ) -> Option<String> {
        let (agent, model) = (material.agent.id, material.own_model);
        let rests = &self.inner.summarizers;
        if material.waiting == Waiting::Turn && rests.is_resting(model) {
            return None;
        }
        let (least, most) = ANSWER_TOKENS;
        let wanted = (material.tokens * 2).clamp(least, most);
        let Some(call) = prefix.asking((&way.prompt, wanted), material) else {
            tracing::info!(%agent, model, "the window has no room for a summary by the agent itself");
            return None;
        };
        match tokio::time::timeout_at(deadline, self.said((scope, material), call)).await {
            Ok(Ok(text)) => {
                rests.end(model);
                Some(text)
            }
            Ok(Err(error)) => {
                let rest = error
                    .may_pass()
                    .then(|| rests.begin(model, Trouble::Failed));
                tracing::warn!(%agent, model, ?rest, "the agent makes no summary itself");
                tracing::debug!(%error, "why the agent makes no summary itself");
                None
            }
            Err(_) => {
                let rest = rests.begin(model, Trouble::Hung);
                tracing::warn!(%agent, model, ?rest, "the agent's own summary took too long");
                None
            }
        }
    }

    /// What the model says. One that calls a tool instead is asked once more, and must not.
    async fn said(
        &self,
        (scope, material): (&Scope, &Material<'_>),
        mut call: Call,
    ) -> Result<String, NoSummary> {
        for choice in [ToolChoice::Auto, ToolChoice::None] {
            call.tool_choice = choice;
            failpoints::hit("compaction.asked");
            let completion = self.inner.client.call(&call).await?;
            let (agent, usage) = (material.agent.id, completion.usage.as_ref());
            self.record_call(scope, agent, &call, usage).await;
            let text = material.clipped(&completion.body.plain_text());
            if completion.body.tool_calls.is_empty() && !text.is_empty() {
                return Ok(text);
            }
        }
        Err(NoSummary::Empty)
    }
}
