//! Posts the ends of runs to the URLs that their clients named (V1 contract, section 3.5).

use std::time::Duration;

use mnemic_core::{
    ids::{JobId, RunId},
    runs::{Callback, Run, RunStatus},
};
use mnemic_engine::{Engine, EngineError};
use mnemic_llm::{UrlError, UrlGuard};
use mnemic_store::{
    StoreError, batches, callbacks,
    jobs::{self, Job, Outcome},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{answer, runs};

/// How long a receiver may take (V1 contract, section 3.5).
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long posts may go on after the engine has stopped.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Posts that are on their way at once.
const AT_ONCE: usize = 16;

/// How long a claimed job is a worker's own; well beyond [`TIMEOUT`], so that no post is made twice
/// while its worker lives.
const LEASE_MICROS: i64 = 60_000_000;

/// The pause after the first failed post, in microseconds; each further one is three times as long.
const FIRST_PAUSE_MICROS: i64 = 5_000_000;

/// Posts the ends of runs until the engine stops. What is not posted then, the next start posts. A
/// receiver may get the same end twice when a server ended right after it posted it.
pub async fn deliver(engine: Engine, allow_private_urls: bool) {
    let guard = UrlGuard::new(allow_private_urls);
    let mut posts = JoinSet::new();
    loop {
        while posts.len() < AT_ONCE {
            match claim(&engine).await {
                Ok(Some(job)) => {
                    _ = posts.spawn(work(engine.clone(), guard.clone(), job));
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "callbacks wait for the database");
                    break;
                }
            }
        }
        tokio::select! {
            Some(_) = posts.join_next() => {}
            goes_on = engine.callback_due() => if !goes_on { break; },
        }
    }
    let last = async { while posts.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_CALL, last).await.is_err() {
        tracing::info!("some callbacks were on their way; the next start posts them again");
    }
}

async fn claim(engine: &Engine) -> Result<Option<Job>, StoreError> {
    let me = engine.boot_id().to_owned();
    let claimed = engine.store().write(move |tx| {
        Box::pin(async move {
            jobs::claim(
                tx,
                &me,
                &[callbacks::KIND, callbacks::BATCH_KIND],
                LEASE_MICROS,
            )
            .await
        })
    });
    claimed.await
}

/// Posts one run's end and notes what became of it.
async fn work(engine: Engine, guard: UrlGuard, job: Job) {
    if job.kind == callbacks::BATCH_KIND {
        return work_for_batch(engine, guard, job).await;
    }
    let id = job.payload.get("run_id").and_then(Value::as_str);
    let Some(id) = id.and_then(|id| id.parse::<RunId>().ok()) else {
        tracing::error!(job = %job.id, "a callback's job names no run");
        return;
    };
    let (callback, outcome) = match post(&engine, &guard, &job, id).await {
        Ok(made) => made,
        // The run was deleted, so nobody is told of it.
        Err(EngineError::Store(StoreError::NotFound { .. })) => {
            (Callback::default(), Outcome::Completed(Value::Null))
        }
        Err(error) => {
            tracing::warn!(run = %id, %error, "a callback could not be made; it is tried again");
            return;
        }
    };
    let (me, now) = (engine.boot_id().to_owned(), engine.now());
    let noted = engine.store().write(move |tx| {
        Box::pin(async move {
            callbacks::record(tx, &job.scope, id, &callback).await?;
            jobs::settle(tx, &me, (job.id, job.attempts), &outcome, now).await?;
            // The run has the result.
            jobs::forget(tx, job.id).await
        })
    });
    if let Err(error) = noted.await {
        tracing::warn!(run = %id, %error, "what became of a callback could not be noted");
    }
}

async fn post(
    engine: &Engine,
    guard: &UrlGuard,
    job: &Job,
    id: RunId,
) -> Result<(Callback, Outcome), EngineError> {
    let scope = job.scope.clone();
    let read = engine
        .store()
        .read(move |tx| Box::pin(async move { mnemic_store::runs::get(tx, &scope, id).await }));
    let run: Run = read.await?;
    let url = run.callback_url.clone().unwrap_or_default();
    let mut metadata = runs::metadata(&run);
    if run.status == RunStatus::Completed
        && let Value::Object(metadata) = &mut metadata
    {
        let handle = engine.attach(&job.scope, id, 0).await?;
        if let Ok(answer) = answer::wait(handle, None).await {
            metadata.insert("result".to_owned(), json!(answer));
        }
    }
    let body = json!({
        "run_id": id,
        "status": run.status,
        "completed_at": run.completed_at,
        "metadata": metadata,
    });
    Ok(send(engine, guard, (&url, &body), job.attempts).await)
}

/// Posts a batch's end and notes what became of it.
async fn work_for_batch(engine: Engine, guard: UrlGuard, job: Job) {
    let id = job.payload.get("batch_id").and_then(Value::as_str);
    let Some(id) = id.and_then(|id| id.parse::<JobId>().ok()) else {
        tracing::error!(job = %job.id, "a callback's job names no batch");
        return;
    };
    let scope = job.scope.clone();
    let read = engine.store().read(move |tx| {
        Box::pin(async move {
            let batch = batches::get(tx, &scope, id).await?;
            Ok::<_, StoreError>((batch, batches::items(tx, id).await?))
        })
    });
    let (callback, outcome) = match read.await {
        Ok((batch, items)) => {
            let body = json!({
                "job_id": id,
                "status": batch.status,
                "completed_at": batch.completed_at,
                "metadata": crate::batches::metadata(&batch, &items),
            });
            let url = batch.callback_url.clone().unwrap_or_default();
            send(&engine, &guard, (&url, &body), job.attempts).await
        }
        Err(StoreError::NotFound { .. }) => (Callback::default(), Outcome::Completed(Value::Null)),
        Err(error) => {
            tracing::warn!(batch = %id, %error, "a callback could not be made; it is tried again");
            return;
        }
    };
    let (me, now) = (engine.boot_id().to_owned(), engine.now());
    let noted = engine.store().write(move |tx| {
        Box::pin(async move {
            batches::record(tx, &job.scope, id, &callback).await?;
            jobs::settle(tx, &me, (job.id, job.attempts), &outcome, now).await?;
            jobs::forget(tx, job.id).await
        })
    });
    if let Err(error) = noted.await {
        let error: StoreError = error;
        tracing::warn!(batch = %id, %error, "what became of a callback could not be noted");
    }
}

/// Posts a body, and says what became of it.
async fn send(
    engine: &Engine,
    guard: &UrlGuard,
    (url, body): (&str, &Value),
    attempts: i64,
) -> (Callback, Outcome) {
    let posted = guard.post_json(url, body.to_string().into_bytes(), TIMEOUT);
    let posted = posted.await;
    let now = engine.now();
    let (status_code, error, again) = match posted {
        Ok(status) if status < 400 => (Some(status), None, false),
        Ok(status) => (
            Some(status),
            Some(format!("the receiver answered with status {status}")),
            status >= 500 || status == 429,
        ),
        Err(error) => {
            let again = matches!(
                error,
                UrlError::Unreachable { .. } | UrlError::Timeout { .. }
            );
            (None, Some(error.to_string()), again)
        }
    };
    let callback = Callback {
        sent_at: Some(now),
        status_code: status_code.map(i64::from),
        error: error.clone(),
    };
    let outcome = match error {
        Some(error) if again => {
            let exponent = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0);
            let pause = FIRST_PAUSE_MICROS.saturating_mul(3_i64.saturating_pow(exponent));
            Outcome::Failed {
                error,
                retry_at: now.plus_micros(pause),
            }
        }
        _ => Outcome::Completed(Value::Null),
    };
    (callback, outcome)
}
