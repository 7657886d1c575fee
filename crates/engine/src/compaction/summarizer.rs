//! The call that makes a summary. Whatever goes wrong with it, there is a text in the end: a digest of
//! the messages themselves.

use std::sync::Arc;

use mnemic_core::{
    agents::Agent,
    compaction::{self, clip_text},
    messages::{Message, MessageBody, Role},
    scope::Scope,
    tokens,
};
use mnemic_llm::{Call, LlmError, MessageView, ResolvedModel, SystemPrompt, Transcript};

use tokio::time::Instant;

use super::{
    own::Prefix,
    settings::{By, Settings, Way},
};
use crate::{Engine, EngineError, model, rests::Trouble};

/// What stands before and after the agreement that some models need, to answer with a summary and
/// nothing else.
const REQUEST: &str = "The conversation follows. Answer with its summary alone.";
const AGREEMENT: &str = "Understood. I will answer with the summary alone.";

/// Tokens that a summarizer may answer, at the least and the most: models that reason think in them too.
pub(super) const ANSWER_TOKENS: (i64, i64) = (1_024, 8_192);

/// Percent of what there is that a summarizer is given to read, in one try after the other while it says
/// that it is too much.
const READING: [i64; 3] = [100, 50, 15];

/// What a summary is made of.
pub(crate) struct Material<'a> {
    pub agent: &'a Agent,
    pub settings: &'a Settings,
    /// The model that talks, for when the settings' model does not do it.
    pub own_model: &'a str,
    /// The messages that leave the context, with earlier summaries among them.
    pub leaving: &'a [Message],
    /// Tokens that the summary may take.
    pub tokens: i64,
    /// Who waits for it.
    pub waiting: Waiting,
}

/// Who waits for a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// A turn, which goes on with a digest where no model is known to work.
    Turn,
    /// A client that asked for the summary itself.
    Client,
}

/// Why there is no summary.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSummary {
    #[error(transparent)]
    Model(#[from] EngineError),
    #[error(transparent)]
    Call(#[from] LlmError),
    #[error("the model answered nothing")]
    Empty,
    #[error("the model's window is far smaller than it is known to be")]
    Overflow,
}

impl NoSummary {
    /// Whether the model was waited for, and may be there again later.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::Call(error) => error.is_retryable(),
            _ => false,
        }
    }
}

impl Material<'_> {
    /// The models that may make it, the best first.
    fn models(&self) -> impl Iterator<Item = &str> {
        let named = self.settings.model.as_deref();
        let own = Some(self.own_model).filter(|own| named != Some(own));
        named.into_iter().chain(own)
    }

    /// The digest that stands in for a summary.
    pub(crate) fn digest(&self) -> String {
        let earlier = compaction::earlier_summaries(self.leaving);
        let zone = &self.agent.timezone;
        self.clipped(&compaction::digest(
            &earlier,
            self.leaving,
            zone,
            self.tokens,
        ))
    }

    pub(super) fn clipped(&self, text: &str) -> String {
        let text: String = text.trim().chars().take(self.settings.clip_chars).collect();
        clip_text(&text, self.tokens)
    }

    /// What the summarizer reads, in at most so many tokens.
    fn text(&self, cap: i64) -> String {
        let mut text = String::new();
        let earlier = compaction::earlier_summaries(self.leaving);
        if !earlier.is_empty() {
            let earlier = clip_text(&earlier, cap / 2);
            text = format!("<earlier_summary>\n{earlier}\n</earlier_summary>\n\n");
        }
        let left = cap - i64::try_from(tokens::count(&text)).unwrap_or(0);
        let said = compaction::transcript(self.leaving, &self.agent.timezone, left);
        format!("{text}<conversation>\n{said}\n</conversation>")
    }

    fn call(&self, resolved: &ResolvedModel, prompt: &str, percent: i64) -> Call {
        let settings = self.settings;
        // One size of the context for all calls of a model: a server that is told it loads the model
        // anew for another.
        let own = self.agent.llm_config.context_window;
        let window = match resolved.context_limit {
            Some(limit) if own > 0 && resolved.handle == model::handle_of(self.agent) => {
                own.min(limit)
            }
            _ => resolved.context_window,
        };
        let (least, most) = ANSWER_TOKENS;
        let wanted = (self.tokens * 2).clamp(least, most).min(window / 4);
        let answer = settings.max_tokens.unwrap_or(wanted).min(window / 2);
        let answer = resolved
            .max_output_tokens
            .map_or(answer, |max| max.min(answer));
        let told = i64::try_from(tokens::count(prompt)).unwrap_or(0);
        // A tenth of the window is for what its provider counts more than we do.
        let cap = (window - window / 10 - answer - told).max(compaction::MIN_SHOWN);
        let mut transcript = Transcript::for_endpoint(&resolved.endpoint);
        let mut push = |role, text: String| {
            let body = &MessageBody::text(text);
            let name = None;
            transcript.push(&MessageView { role, body, name });
        };
        if settings.acknowledges {
            push(Role::User, REQUEST.to_owned());
            push(Role::Assistant, AGREEMENT.to_owned());
        }
        let mut text = self.text(cap);
        if percent < 100 {
            let whole = i64::try_from(tokens::count(&text)).unwrap_or(cap);
            text = self.text(whole * percent / 100);
        }
        push(Role::User, text);
        let mut call = Call::new(
            Arc::clone(&resolved.endpoint),
            resolved.model.clone(),
            SystemPrompt::new(prompt),
            transcript,
        );
        call.max_tokens = Some(answer.max(1));
        call.context_window = Some(window);
        call.temperature = settings.temperature;
        call.reasoning_effort.clone_from(&settings.reasoning_effort);
        call
    }
}

impl Engine {
    /// The summary of messages that leave a context, in one way to make it; none where another is to be
    /// tried.
    pub(crate) async fn summary_in(
        &self,
        (scope, material): (&Scope, &Material<'_>),
        (way, prefix): (&Way, Option<&Prefix>),
        deadline: Instant,
    ) -> Option<String> {
        match (way.by, prefix) {
            (By::Itself, Some(prefix)) => {
                self.summary_by_itself((scope, material), (way, prefix), deadline)
                    .await
            }
            (By::Itself, None) => None,
            (By::Summarizer, _) => {
                Some(self.summary(scope, (material, &way.prompt), deadline).await)
            }
        }
    }

    /// A model's summary if there is one in time, else a digest. A model that failed or hung is left alone for
    /// a while, so that not each turn waits for it.
    async fn summary(
        &self,
        scope: &Scope,
        (material, prompt): (&Material<'_>, &str),
        deadline: Instant,
    ) -> String {
        let rests = &self.inner.summarizers;
        let agent = material.agent.id;
        for model in material.models() {
            if Instant::now() >= deadline {
                break;
            }
            if material.waiting == Waiting::Turn && rests.is_resting(model) {
                tracing::debug!(%agent, model, "the model made no summary lately and is not asked");
                continue;
            }
            let asked = self.summary_by(scope, (material, prompt), model);
            match tokio::time::timeout_at(deadline, asked).await {
                Ok(Ok(text)) => {
                    rests.end(model);
                    return text;
                }
                Ok(Err(error)) => {
                    let rest = error
                        .may_pass()
                        .then(|| rests.begin(model, Trouble::Failed));
                    tracing::warn!(%agent, model, ?rest, "the model makes no summary");
                    tracing::debug!(%error, "why the model makes no summary");
                }
                Err(_) => {
                    let rest = rests.begin(model, Trouble::Hung);
                    tracing::warn!(%agent, model, ?rest, "the summary took too long");
                    break;
                }
            }
        }
        material.digest()
    }

    async fn summary_by(
        &self,
        scope: &Scope,
        (material, prompt): (&Material<'_>, &str),
        model: &str,
    ) -> Result<String, NoSummary> {
        let resolved = self.resolve_model(scope, model).await?;
        let mut tries = READING.into_iter();
        let completion = loop {
            let Some(percent) = tries.next() else {
                return Err(NoSummary::Overflow);
            };
            let call = material.call(&resolved, prompt, percent);
            match self.inner.client.call(&call).await {
                Err(LlmError::ContextWindowExceeded { .. }) => {}
                other => {
                    let completion = other?;
                    let (agent, usage) = (material.agent.id, completion.usage.as_ref());
                    self.record_call(scope, agent, &call, usage).await;
                    break completion;
                }
            }
        };
        let text = material.clipped(&completion.body.plain_text());
        if text.is_empty() {
            return Err(NoSummary::Empty);
        }
        Ok(text)
    }
}
