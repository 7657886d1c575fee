//! Background work as rows.

use std::collections::BTreeSet;

use mnemic_core::{
    ids::{JobId, OrganizationId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    StoreError, agents,
    jobs::{self, Job, NewJob, Outcome},
    params,
};
use serde_json::json;

use crate::{
    build::{agent, stored_agent},
    house::{House, on_each_engine},
    read, write,
};

/// A lease that does not run out while a test runs, in microseconds.
const LONG: i64 = 3_600_000_000;

/// A lease that has run out already.
const GONE: i64 = -1_000_000;

fn job(kind: &str, run_at: i64) -> NewJob {
    NewJob {
        agent_id: None,
        kind: kind.to_owned(),
        payload: json!({"of": kind}),
        max_attempts: 3,
        run_at: Timestamp(run_at),
    }
}

async fn enqueue(house: &House, job: NewJob) -> JobId {
    write!(house, |tx, scope| jobs::enqueue(
        tx,
        scope,
        &job,
        Timestamp(1)
    )
    .await)
    .unwrap()
}

async fn claim(house: &House, owner: &str, kinds: &'static [&str], lease: i64) -> Option<Job> {
    let owner = owner.to_owned();
    write!(house, |tx, scope| jobs::claim(tx, &owner, kinds, lease)
        .await)
    .unwrap()
}

async fn settle(
    house: &House,
    owner: &str,
    attempt: (JobId, i64),
    outcome: Outcome,
) -> Result<(), StoreError> {
    let (owner, now) = (owner.to_owned(), Timestamp(5));
    write!(house, |tx, scope| jobs::settle(
        tx, &owner, attempt, &outcome, now
    )
    .await)
}

fn failed(retry_at: i64) -> Outcome {
    Outcome::Failed {
        error: "no \0 luck".to_owned(),
        retry_at: Timestamp(retry_at),
    }
}

fn done() -> Outcome {
    Outcome::Completed(json!({"made": "\0"}))
}

/// Status, result, error and the time of the end.
async fn ended(house: &House, id: JobId) -> (String, Option<String>, Option<String>, Option<i64>) {
    let sql = "SELECT status, result, error, completed_at FROM jobs WHERE id = $1";
    read!(house, |tx, scope| {
        let mut row = tx.query_one(sql, params![id]).await?;
        Ok((
            row.text()?,
            row.opt_text()?,
            row.opt_text()?,
            row.opt_int()?,
        ))
    })
    .unwrap()
}

fn far_future() -> i64 {
    Timestamp::now().0 + LONG
}

#[tokio::test]
async fn a_worker_gets_a_job_as_it_was_enqueued() {
    on_each_engine(async |house| {
        let scope = Scope {
            subject: Some("anna".to_owned()),
            ..Scope::default()
        };
        let agent_id = stored_agent(house, agent("a")).await;
        let new = NewJob {
            agent_id: Some(agent_id),
            payload: json!({"text": "\0 \u{F8FE}", "n": [1, null]}),
            ..job("embed", 1)
        };
        let id = enqueue(&house.seen_by(scope.clone()), new.clone()).await;
        let wanted = Job {
            id,
            scope,
            agent_id: Some(agent_id),
            kind: new.kind,
            payload: new.payload,
            attempts: 1,
        };
        let claimed = claim(house, "w", &["embed"], LONG).await;
        assert_eq!(claimed, Some(wanted), "{}", house.engine);
        write!(house, |tx, scope| agents::delete(tx, scope, agent_id).await).unwrap();
        let left = read!(house, |tx, scope| {
            tx.query_one("SELECT COUNT(*) FROM jobs", &[]).await?.int()
        });
        assert_eq!(left.unwrap(), 0, "an agent's work goes with it");
    })
    .await;
}

#[tokio::test]
async fn the_job_that_is_due_longest_comes_first_and_none_before_its_time() {
    on_each_engine(async |house| {
        enqueue(house, job("embed", far_future())).await;
        let second = enqueue(house, job("embed", 20)).await;
        let first = enqueue(house, job("ingest", 10)).await;
        enqueue(house, job("webhook", 1)).await;
        // Workers take the jobs of every organization.
        let theirs = Scope {
            organization: OrganizationId::new(),
            ..Scope::default()
        };
        let third = enqueue(&house.seen_by(theirs), job("embed", 30)).await;
        let mut got = Vec::new();
        while let Some(job) = claim(house, "w", &["embed", "ingest"], LONG).await {
            got.push(job.id);
        }
        assert_eq!(got, [first, second, third], "{}", house.engine);
        assert_eq!(claim(house, "w", &[], LONG).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_finished_job_is_not_run_again() {
    on_each_engine(async |house| {
        let id = enqueue(house, job("embed", 1)).await;
        claim(house, "w", &["embed"], LONG).await.unwrap();
        settle(house, "w", (id, 1), done()).await.unwrap();
        assert_eq!(claim(house, "w", &["embed"], LONG).await, None);
        let (status, result, error, at) = ended(house, id).await;
        let result: serde_json::Value = serde_json::from_str(&result.unwrap()).unwrap();
        assert_eq!(
            (status.as_str(), result),
            ("completed", json!({"made": "\0"}))
        );
        assert_eq!((error, at), (None, Some(5)));
        for outcome in [done(), failed(1)] {
            let again = settle(house, "w", (id, 1), outcome).await;
            assert!(matches!(again, Err(StoreError::LeaseLost)));
        }
        assert_eq!(ended(house, id).await.0, "completed", "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_later_as_often_as_it_may() {
    on_each_engine(async |house| {
        let id = enqueue(house, job("embed", 1)).await;
        for attempt in 1..=3 {
            let claimed = claim(house, "w", &["embed"], LONG).await.unwrap();
            assert_eq!((claimed.id, claimed.attempts), (id, attempt));
            let retry_at = if attempt == 1 { far_future() } else { 1 };
            settle(house, "w", (id, attempt), failed(retry_at))
                .await
                .unwrap();
            let (status, _, error, at) = ended(house, id).await;
            assert_eq!(error.as_deref(), Some("no \0 luck"));
            if attempt < 3 {
                assert_eq!((status.as_str(), at), ("created", None));
            }
            if attempt == 1 {
                assert_eq!(claim(house, "w", &["embed"], LONG).await, None);
                let sql = "UPDATE jobs SET run_at = 1 WHERE id = $1";
                write!(house, |tx, scope| tx.execute(sql, params![id]).await).unwrap();
            }
        }
        assert_eq!(claim(house, "w", &["embed"], LONG).await, None);
        let (status, _, _, at) = ended(house, id).await;
        assert_eq!(
            (status.as_str(), at),
            ("failed", Some(5)),
            "{}",
            house.engine
        );
    })
    .await;
}

#[tokio::test]
async fn the_job_of_a_worker_that_died_goes_to_another() {
    on_each_engine(async |house| {
        let id = enqueue(house, job("embed", 1)).await;
        claim(house, "dead", &["embed"], GONE).await.unwrap();
        let taken = claim(house, "alive", &["embed"], LONG).await.unwrap();
        assert_eq!((taken.id, taken.attempts), (id, 2));
        assert_eq!(claim(house, "third", &["embed"], LONG).await, None);
        // The first was only slow: what it did in its last transaction is undone.
        let late = write!(house, |tx, scope| {
            jobs::enqueue(tx, scope, &job("follow-up", 1), Timestamp(1)).await?;
            jobs::settle(tx, "dead", (id, 1), &done(), Timestamp(5)).await
        });
        assert!(matches!(late, Err(StoreError::LeaseLost)));
        assert_eq!(claim(house, "w", &["follow-up"], LONG).await, None);
        settle(house, "alive", (id, 2), done()).await.unwrap();
        assert_eq!(ended(house, id).await.0, "completed", "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_workers_all_died_is_not_begun_more_often_than_it_may() {
    on_each_engine(async |house| {
        enqueue(house, job("embed", 1)).await;
        for attempt in 1..=3 {
            let claimed = claim(house, "dead", &["embed"], GONE).await.unwrap();
            assert_eq!(claimed.attempts, attempt, "{}", house.engine);
        }
        assert_eq!(claim(house, "alive", &["embed"], LONG).await, None);
    })
    .await;
}

#[tokio::test]
async fn workers_at_once_never_get_the_same_job() {
    on_each_engine(async |house| {
        let mut wanted = BTreeSet::new();
        for n in 0..24 {
            wanted.insert(enqueue(house, job("embed", n / 4)).await);
        }
        let work = async |owner: String| {
            let mut done = Vec::new();
            while let Some(job) = claim(house, &owner, &["embed"], LONG).await {
                done.push(job.id);
            }
            done
        };
        let workers = (0..4).map(|n| work(format!("worker {n}")));
        let done = futures_util::future::join_all(workers).await.concat();
        assert_eq!(done.len(), 24, "{}", house.engine);
        assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), wanted);
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_last_worker_died_has_failed() {
    on_each_engine(async |house| {
        let id = enqueue(house, job("embed", 1)).await;
        for _ in 1..=3 {
            claim(house, "dead", &["embed"], GONE).await.unwrap();
        }
        assert_eq!(claim(house, "alive", &["embed"], LONG).await, None);
        let (status, _, error, _) = ended(house, id).await;
        assert_eq!(status, "failed", "{}", house.engine);
        assert!(error.unwrap().contains("worker died"));
    })
    .await;
}

#[tokio::test]
async fn a_slow_attempt_cannot_settle_the_next_of_the_same_worker() {
    on_each_engine(async |house| {
        let id = enqueue(house, job("embed", 1)).await;
        claim(house, "w", &["embed"], GONE).await.unwrap();
        claim(house, "w", &["embed"], LONG).await.unwrap();
        let late = settle(house, "w", (id, 1), done()).await;
        assert!(matches!(late, Err(StoreError::LeaseLost)));
        settle(house, "w", (id, 2), done()).await.unwrap();
    })
    .await;
}
