//! The provider `local`: language models that run in this process.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use mnemic_core::runs::Usage;
use mnemic_llm::{
    EndpointConfig, FinishReason, InProcess, LocalAnswer, LocalError, LocalModel, LocalModels,
    LocalPiece, LocalRequest,
};
use mnemic_local::{
    ChatModel, ModelCache, chat_models,
    llm::{AnswerError, Busy, Ending, Host, HostSettings, Message, Piece, Request, Sampling},
};

use crate::{
    free_memory,
    settings::{Settings, SettingsError},
};

/// Bytes of a megabyte.
const MEGABYTE: usize = 1024 * 1024;

/// Megabytes of conversations that are kept at most, unless more is set.
const MAX_CACHE_MB: u64 = 1_024;
/// They take at most one part in so many of the free memory.
const CACHE_SHARE: u64 = 4;

/// The models whose files are in the folder of models.
#[derive(Debug)]
struct Local {
    cache: ModelCache,
    host: Host,
    window: usize,
}

/// The provider. Nothing is loaded before a model of it is asked.
///
/// # Errors
/// A setting does not fit.
pub fn provider(settings: &Settings) -> Result<EndpointConfig, SettingsError> {
    let host = host_settings(settings)?;
    let local = Local {
        cache: ModelCache::new(crate::models::folder(settings)),
        host: Host::new(host),
        window: host.window,
    };
    Ok(EndpointConfig::in_process(InProcess(Arc::new(local))))
}

/// Megabytes of what was read of conversations that are kept: a share of what is free, unless set.
///
/// # Errors
/// The setting does not fit.
pub fn cache_mb(settings: &Settings) -> Result<u64, SettingsError> {
    match settings.optional("local_cache_mb") {
        Some(_) => settings.number("local_cache_mb"),
        None => Ok(usual_cache_mb(free_memory::megabytes())),
    }
}

/// Of the memory that is free, where that is known.
fn usual_cache_mb(free: Option<u64>) -> u64 {
    free.map_or(MAX_CACHE_MB, |free| (free / CACHE_SHARE).min(MAX_CACHE_MB))
}

/// How models run.
///
/// # Errors
/// A setting does not fit.
pub fn host_settings(settings: &Settings) -> Result<HostSettings, SettingsError> {
    Ok(HostSettings {
        threads: NonZeroUsize::new(settings.number("local_threads")?),
        window: settings.number("local_context_window")?,
        cache_bytes: usize::try_from(cache_mb(settings)?)
            .unwrap_or(usize::MAX)
            .saturating_mul(MEGABYTE),
        queue: settings.number("local_queue_depth")?,
        idle: Duration::from_secs(settings.number("local_idle_seconds")?),
    })
}

impl LocalModels for Local {
    fn list(&self) -> Vec<LocalModel> {
        // The best first: it is taken where none is named.
        let models = chat_models::all().iter().rev();
        let there = models.filter(|model| self.cache.has(*model));
        there
            .map(|model| LocalModel {
                id: model.id.clone(),
                context_window: number(self.window.min(model.context)),
                max_output_tokens: number(model.max_answer),
            })
            .collect()
    }

    fn ask(&self, request: LocalRequest) -> Result<LocalAnswer, LocalError> {
        let model = chat_models::find(&request.model).filter(|model| self.cache.has(*model));
        let model = model.ok_or(LocalError::Missing)?;
        let pieces = self
            .host
            .ask_model(&self.cache, model, asked(model, request));
        let mut pieces = pieces.map_err(|busy: Busy| LocalError::Busy(busy.to_string()))?;
        Ok(Box::pin(futures_util::stream::poll_fn(move |context| {
            pieces.poll_recv(context).map(|piece| piece.map(told))
        })))
    }
}

/// A request in the terms of the model's host.
fn asked(model: &ChatModel, request: LocalRequest) -> Request {
    let messages = request.messages.into_iter().map(|message| Message {
        role: message.role,
        content: message.content.unwrap_or_default(),
    });
    let temperature = request.temperature.map(|temperature| temperature as f32);
    let count = |tokens: Option<i64>| tokens.and_then(|tokens| usize::try_from(tokens).ok());
    Request {
        messages: messages.collect(),
        schema: request.schema,
        sampling: sampling(model, temperature),
        max_tokens: count(request.max_tokens),
        max_tokens_to_end: count(request.max_tokens_to_end),
        stop: Vec::new(),
    }
}

/// How a model's tokens are chosen.
#[must_use]
pub fn sampling(model: &ChatModel, temperature: Option<f32>) -> Sampling {
    let choice = model.choice;
    Sampling {
        temperature: temperature.unwrap_or(choice.temperature),
        top_k: choice.top_k,
        top_p: choice.top_p,
        min_p: 0.0,
        repetition_penalty: choice.repetition_penalty,
    }
}

/// A piece of an answer in the terms of providers.
fn told(piece: Piece) -> LocalPiece {
    match piece {
        Piece::Text(text) => LocalPiece::Text(text),
        Piece::End(ending, usage) => {
            let finish = match ending {
                Ending::Stop => FinishReason::Stop,
                Ending::Length => FinishReason::Length,
            };
            let usage = Usage {
                prompt_tokens: number(usage.prompt),
                completion_tokens: number(usage.answer),
                cached_input_tokens: number(usage.cached),
                ..Usage::default()
            };
            LocalPiece::End(finish, usage)
        }
        Piece::Failed(error) => LocalPiece::Failed(match error {
            AnswerError::TooLong { prompt, window } => LocalError::TooLong {
                prompt: number(prompt),
                window: number(window),
            },
            AnswerError::Refused(message) => LocalError::Refused(message),
            AnswerError::Failed(message) => LocalError::Failed(message),
            AnswerError::Cancelled => LocalError::Failed("the call was cancelled".into()),
        }),
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_take_a_share_of_the_free_memory_and_never_more_than_a_gigabyte() {
        assert_eq!(usual_cache_mb(Some(600)), 150);
        assert_eq!(usual_cache_mb(Some(64_000)), 1_024);
        assert_eq!(usual_cache_mb(None), 1_024);
    }
}
