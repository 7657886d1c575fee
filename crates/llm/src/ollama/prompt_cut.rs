//! Whether Ollama cut a prompt. It drops the oldest messages of one that is longer than its context, and
//! says nothing; what it says is how many tokens it read.

use mnemic_core::runs::Usage;

use crate::{body::WireBody, calls::Call, endpoints::Protocol, ollama::request::context_window};

/// Contexts that Ollama has where it is not told, or is kept from hearing it.
const USUAL: [i64; 4] = [2_048, 4_096, 8_192, 16_384];

/// What a request held, kept until the server says how much of it it read.
#[derive(Debug, Clone)]
pub(crate) struct PromptCheck {
    provider: String,
    model: String,
    window: i64,
    bytes: i64,
}

impl PromptCheck {
    /// For a call and its request. Nothing for one with images, whose bytes say nothing of their tokens.
    pub fn of(call: &Call, body: &WireBody) -> Option<Self> {
        let is_told = call.endpoint.protocol() == Protocol::Ollama && !call.transcript.has_images();
        is_told.then(|| Self {
            provider: call.endpoint.name().to_owned(),
            model: call.model.clone(),
            window: context_window(call),
            bytes: i64::try_from(body.len()).unwrap_or(i64::MAX),
        })
    }

    /// Says in the log that the prompt was cut, if it was, and what to do.
    pub fn look_at(&self, usage: &Usage) {
        if self.is_cut(usage.prompt_tokens) {
            tracing::warn!(
                provider = self.provider,
                model = self.model,
                num_ctx = self.window,
                read = usage.prompt_tokens,
                "Ollama seems to have read only the end of the prompt, so the model may lack the beginning: \
                 give it more context (`context_window` of the provider in mnemic.toml, or the agent's \
                 context_window_limit) and see in Ollama's log that it gets it"
            );
        }
    }

    /// A small count alone says nothing: older servers leave out what their prefix cache had. So what
    /// they read must also lie just below a context: ours, or one of the usual ones.
    fn is_cut(&self, read: i64) -> bool {
        // Text has three to five bytes to a token, hardly ever more than six.
        let least = self.bytes / 6;
        if read <= 0 || read >= least {
            return false;
        }
        let is_full = |window: i64| read <= window && read >= window - window / 8;
        least > self.window || is_full(self.window) || USUAL.into_iter().any(is_full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_fills_a_context_and_is_too_small_for_the_prompt_is_a_cut() {
        let check = |window, bytes| PromptCheck {
            provider: "ollama".into(),
            model: "m".into(),
            window,
            bytes,
        };
        for (window, bytes, read, cut) in [
            // All of it was read.
            (16_384, 40_000, 10_000, false),
            (16_384, 64_000, 16_000, false),
            // Longer than the context, whatever was read.
            (4_096, 40_000, 3_000, true),
            // Our context was not taken.
            (32_768, 90_000, 4_090, true),
            (32_768, 90_000, 2_040, true),
            // The prefix cache had the rest.
            (16_384, 60_000, 30, false),
            (16_384, 60_000, 0, false),
            // Texts of few bytes to a token.
            (16_384, 40_000, 14_000, false),
        ] {
            assert_eq!(
                check(window, bytes).is_cut(read),
                cut,
                "{window} {bytes} {read}"
            );
        }
    }
}
