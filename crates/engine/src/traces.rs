//! Traces: what a step's model was asked, as the provider got it, and what came back. Nothing is kept unless the
//! administrator wants it, as these are people's words; and it is kept for a while only.

use std::time::Duration;

use mnemic_core::{ids::StepId, scope::Scope};
use mnemic_llm::{Completion, LlmError, request_body, response_body};
use mnemic_store::{
    StoreError, steps,
    traces::{self, Trace},
};
use serde_json::{Value, json};

use crate::{Engine, EngineError, Granularity, model::TurnModel, turn::Turn};

/// Bytes of a request, or of an answer, that are kept.
const MAX_BYTES: usize = 256 * 1024;

/// Characters of a text that are kept in what is too large, in one try after the other.
const SHORTER: [usize; 3] = [16_000, 1_000, 100];

/// How often old traces are looked for.
const INTERVAL: Duration = Duration::from_secs(60);

/// Traces that one commit deletes.
const AT_ONCE: i64 = 500;

impl Turn {
    /// What the model is about to be asked, if that is kept.
    pub(crate) fn traced_request(&self, model: &TurnModel) -> Option<Value> {
        self.engine.inner.settings.trace_age?;
        let is_streamed = self.request.granularity == Granularity::Tokens;
        Some(request_body(&self.call(model), is_streamed))
    }
}

/// What is kept of a request that was answered.
pub(crate) fn of_answer(engine: &Engine, request: Value, answer: &Completion) -> Trace {
    kept(engine, request, response_body(answer))
}

/// What is kept of a request that failed.
pub(crate) fn of_failure(engine: &Engine, request: Value, error: &LlmError) -> Trace {
    let error = json!({ "type": error.error_type(), "message": error.to_string() });
    kept(engine, request, json!({ "error": error }))
}

fn kept(engine: &Engine, request: Value, response: Value) -> Trace {
    Trace {
        request: fitted(request),
        response: fitted(response),
        created_at: engine.now(),
    }
}

/// A value with shorter texts, where it is too large: images and files above all.
fn fitted(mut value: Value) -> Value {
    for most in SHORTER {
        if value.to_string().len() <= MAX_BYTES {
            return value;
        }
        shorten(&mut value, most);
    }
    match value.to_string().len() {
        length if length <= MAX_BYTES => value,
        length => json!({ "cut": format!("{length} bytes are too many to be kept") }),
    }
}

fn shorten(value: &mut Value, most: usize) {
    match value {
        Value::String(text) => {
            let length = text.chars().count();
            if length > most {
                let head: String = text.chars().take(most).collect();
                *text = format!("{head}[cut: {most} of {length} characters]");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, most)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shorten(field, most)),
        _ => {}
    }
}

impl Engine {
    /// What was asked and answered in a step, where it was kept.
    ///
    /// # Errors
    /// There is no such step, or the database's.
    pub async fn trace(
        &self,
        scope: &Scope,
        id: StepId,
    ) -> Result<Option<(mnemic_core::runs::Step, Trace)>, EngineError> {
        let scope = scope.clone();
        let read = self.store().read(move |tx| {
            Box::pin(async move {
                let step = steps::get(tx, &scope, id).await?;
                let trace = traces::get(tx, &scope, id).await?;
                Ok::<_, StoreError>(trace.map(|trace| (step, trace)))
            })
        });
        Ok(read.await?)
    }

    /// Deletes traces that are too old, until the engine stops; all, where none are kept any more.
    pub(crate) async fn forget_traces(self) {
        loop {
            let age = self.inner.settings.trace_age;
            let pause = match self.forget_old_traces(age.unwrap_or_default()).await {
                Ok(0) if age.is_none() => return,
                Ok(0) => INTERVAL,
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(%error, "old traces wait for the database");
                    INTERVAL
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.inner.supervisor.abort.cancelled() => return,
            }
        }
    }

    async fn forget_old_traces(&self, age: Duration) -> Result<u64, StoreError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = self.now().plus_micros(age.saturating_neg());
        // Mostly there is nothing, which costs no commit.
        let read = self
            .store()
            .read(move |tx| Box::pin(async move { traces::any_before(tx, before).await }));
        if !read.await? {
            return Ok(0);
        }
        let deleted = self.store().write(move |tx| {
            Box::pin(async move { traces::forget_before(tx, before, AT_ONCE).await })
        });
        deleted.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_kept_as_it_is_and_long_texts_are_cut_where_it_is_not() {
        let small = json!({"a": "x".repeat(20_000)});
        assert_eq!(fitted(small.clone()), small);
        let large = json!({"image": "x".repeat(MAX_BYTES), "said": "hello"});
        let cut = fitted(large);
        assert!(
            cut.to_string().len() < 20_000 && cut["said"] == "hello",
            "{cut}"
        );
        let wide: Value = (0..200).map(|_| "é".repeat(2_000)).collect();
        assert!(fitted(wide).to_string().len() <= MAX_BYTES);
        let endless: Value = (0..MAX_BYTES).collect();
        assert!(fitted(endless)["cut"].is_string());
    }
}
