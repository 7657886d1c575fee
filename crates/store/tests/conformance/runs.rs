//! Runs: acceptance, the queue, the one terminal state.

use mnemic_core::{
    ids::RunId,
    runs::{RunError, RunStatus, StopReason},
    time::Timestamp,
};
use mnemic_store::{
    StoreError, agents, events, messages, params,
    runs::{self, Ending, NewRun, RunFilter},
    steps,
};
use serde_json::json;

use crate::{
    events::row,
    house::{House, on_each_engine},
    read,
    thread::{
        Place, accepted, default_thread, end_user, ending, finished, run, said, step,
        stored_messages, stored_run, stored_step, stranger, taken, thread,
    },
    write,
};

mod listing;

use listing::list;

async fn cancelled(house: &House, id: RunId) -> bool {
    write!(house, |tx, scope| runs::cancel(tx, id, Timestamp(2_000))
        .await)
    .unwrap()
}

async fn open_ids(house: &House, place: Option<Place>) -> Vec<RunId> {
    let conversation = place.map(|(_, conversation)| conversation);
    let open = read!(house, |tx, scope| runs::open(tx, conversation).await).unwrap();
    open.into_iter().map(|run| run.id).collect()
}

#[tokio::test]
async fn a_run_reads_back_as_it_was_accepted() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let user = house.seen_by(end_user("anna"));
        let new = NewRun {
            background: true,
            input: json!({"messages": ["\0 \u{F8FE} 🦀"]}).to_string(),
            request_config: json!({"max_steps": 3}),
            callback_url: Some("http://127.0.0.1/end".to_owned()),
            ..accepted(place)
        };
        let id = stored_run(&user, new.clone()).await;
        let read = run(house, id).await;
        assert_eq!(read.input.to_string(), new.input, "{}", house.engine);
        assert_eq!(
            (read.agent_id, read.conversation_id, read.subject.as_deref()),
            (place.0, place.1, Some("anna"))
        );
        assert!(read.in_default_conversation && read.background);
        assert_eq!(
            (read.status, read.created_at),
            (RunStatus::Created, Timestamp(1_000))
        );
        assert_eq!(
            (read.metadata, read.request_config, read.callback_url),
            (new.metadata, new.request_config, new.callback_url)
        );
        assert_eq!((read.stop_reason, read.completed_at), (None, None));
        let other = stored_run(house, accepted(thread(house, place.0).await)).await;
        assert!(!run(house, other).await.in_default_conversation);
    })
    .await;
}

#[tokio::test]
async fn runs_of_others_are_not_there() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let anna = house.seen_by(end_user("anna"));
        let id = stored_run(&anna, accepted(place)).await;
        finished(house, id, StopReason::EndTurn).await;
        for other in [stranger(), end_user("bert")] {
            let theirs = house.seen_by(other);
            let read = read!(theirs, |tx, scope| runs::get(tx, scope, id).await);
            assert!(matches!(read, Err(StoreError::NotFound { .. })));
            let gone = write!(theirs, |tx, scope| runs::delete(tx, scope, id).await);
            assert!(matches!(gone, Err(StoreError::NotFound { .. })));
            assert_eq!(list(&theirs, RunFilter::default()).await, []);
        }
        assert_eq!(list(&anna, RunFilter::default()).await, [id]);
    })
    .await;
}

#[tokio::test]
async fn why_a_run_stops_says_how_it_ended() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        for (reason, status) in [
            (StopReason::EndTurn, RunStatus::Completed),
            (StopReason::MaxSteps, RunStatus::Completed),
            (StopReason::Cancelled, RunStatus::Cancelled),
            (StopReason::LlmApiError, RunStatus::Failed),
        ] {
            let id = stored_run(house, accepted(place)).await;
            let end = Ending {
                error: Some(RunError {
                    error_type: "llm_timeout".to_owned(),
                    message: "too late \0".to_owned(),
                    detail: None,
                }),
                ..ending(reason)
            };
            let error = end.error.clone();
            let won = write!(house, |tx, scope| runs::finish(tx, id, &end).await).unwrap();
            assert!(won, "{reason:?}");
            let read = run(house, id).await;
            assert_eq!((read.status, read.stop_reason), (status, Some(reason)));
            assert_eq!((read.error, read.usage), (error, taken()));
            assert_eq!((read.step_count, read.ttft_ns), (2, Some(7)));
            assert_eq!(read.completed_at, Some(Timestamp(3_000)));
            assert_eq!(
                read.total_duration_ns,
                Some(2_000_000),
                "2,000 microseconds after acceptance"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn of_cancel_and_finish_the_first_wins_and_what_was_taken_is_noted() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let id = stored_run(house, accepted(place)).await;
        assert!(cancelled(house, id).await);
        assert!(!cancelled(house, id).await);
        assert!(!finished(house, id, StopReason::EndTurn).await);
        let read = run(house, id).await;
        assert_eq!(
            (read.status, read.stop_reason, read.completed_at),
            (
                RunStatus::Cancelled,
                Some(StopReason::Cancelled),
                Some(Timestamp(2_000))
            )
        );
        assert_eq!((read.usage, read.step_count), (taken(), 2));

        let id = stored_run(house, accepted(place)).await;
        assert!(finished(house, id, StopReason::EndTurn).await);
        assert!(!cancelled(house, id).await);
        assert!(!finished(house, id, StopReason::Error).await);
        let read = run(house, id).await;
        assert_eq!(
            (read.status, read.stop_reason),
            (RunStatus::Completed, Some(StopReason::EndTurn))
        );
    })
    .await;
}

#[tokio::test]
async fn cancel_and_finish_at_once_never_both_win() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        for _ in 0..10 {
            let id = stored_run(house, accepted(place)).await;
            let (cancel, finish) = tokio::join!(
                cancelled(house, id),
                finished(house, id, StopReason::EndTurn)
            );
            assert_ne!(cancel, finish, "{}", house.engine);
            let wanted = if cancel {
                RunStatus::Cancelled
            } else {
                RunStatus::Completed
            };
            assert_eq!(run(house, id).await.status, wanted);
        }
    })
    .await;
}

#[tokio::test]
async fn a_waiting_run_starts_unless_it_is_over() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let id = stored_run(house, accepted(place)).await;
        let start = async || write!(house, |tx, scope| runs::start(tx, id).await).unwrap();
        assert!(start().await);
        assert!(start().await, "a run that starts again after a crash");
        assert_eq!(run(house, id).await.status, RunStatus::Running);
        cancelled(house, id).await;
        assert!(!start().await);
        assert_eq!(run(house, id).await.status, RunStatus::Cancelled);
    })
    .await;
}

#[tokio::test]
async fn open_runs_stand_in_the_order_of_their_acceptance() {
    on_each_engine(async |house| {
        let here = default_thread(house, "a").await;
        let there = thread(house, here.0).await;
        let first = stored_run(house, accepted(here)).await;
        let elsewhere = stored_run(&house.seen_by(stranger()), accepted(there)).await;
        let mut late = accepted(here);
        late.created_at = Timestamp(1);
        let second = stored_run(house, late).await;
        let third = stored_run(house, accepted(here)).await;
        assert_eq!(open_ids(house, Some(here)).await, [first, second, third]);
        let all = open_ids(house, None).await;
        assert_eq!(
            all,
            [first, elsewhere, second, third],
            "of all organizations"
        );

        let waits = async |id: RunId| {
            let thread = here.1;
            read!(house, |tx, scope| runs::has_earlier_open(tx, thread, id)
                .await)
            .unwrap()
        };
        assert!(!waits(first).await && waits(second).await && waits(third).await);
        cancelled(house, first).await;
        assert!(!waits(second).await && waits(third).await);
        cancelled(house, second).await;
        assert!(!waits(third).await, "what goes on elsewhere does not count");
        assert_eq!(open_ids(house, Some(here)).await, [third]);
        for (id, open) in [(first, false), (third, true), (RunId::new(), false)] {
            let read = read!(house, |tx, scope| runs::is_open(tx, id).await).unwrap();
            assert_eq!(read, open);
        }
    })
    .await;
}

#[tokio::test]
async fn an_open_run_says_whose_it_is() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let anna = house.seen_by(end_user("anna"));
        let id = stored_run(&anna, accepted(place)).await;
        let open = read!(house, |tx, scope| runs::open(tx, None).await).unwrap();
        let wanted = runs::OpenRun {
            id,
            scope: end_user("anna"),
            agent_id: place.0,
            conversation_id: place.1,
            status: RunStatus::Created,
            owner: "boot-1".to_owned(),
        };
        assert_eq!(open, [wanted]);
    })
    .await;
}

#[tokio::test]
async fn a_dead_owners_run_is_adopted_by_one_only() {
    on_each_engine(async |house| {
        let id = stored_run(house, accepted(default_thread(house, "a").await)).await;
        let adopt = async |from: &'static str, to: &'static str| {
            write!(house, |tx, scope| runs::adopt(tx, id, from, to).await).unwrap()
        };
        assert!(!adopt("boot-0", "boot-2").await, "it is not of that owner");
        let (two, three) = tokio::join!(adopt("boot-1", "boot-2"), adopt("boot-1", "boot-3"));
        assert_ne!(two, three, "{}", house.engine);
        let open = read!(house, |tx, scope| runs::open(tx, None).await).unwrap();
        assert_eq!(open[0].owner, if two { "boot-2" } else { "boot-3" });
    })
    .await;
}

#[tokio::test]
async fn resumes_are_counted() {
    on_each_engine(async |house| {
        let id = stored_run(house, accepted(default_thread(house, "a").await)).await;
        let count = async |id| write!(house, |tx, scope| runs::count_resume(tx, id).await);
        assert_eq!(count(id).await.unwrap(), 1);
        assert_eq!(count(id).await.unwrap(), 2);
        assert_eq!(run(house, id).await.resumes, 2);
        assert!(matches!(
            count(RunId::new()).await,
            Err(StoreError::NotFound { noun: "Run", .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn the_same_request_finds_its_newest_run_that_did_not_fail() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let other = default_thread(house, "b").await;
        let at = |time, hash: &str| NewRun {
            body_hash: hash.to_owned(),
            created_at: Timestamp(time),
            ..accepted(place)
        };
        let old = stored_run(house, at(100, "x")).await;
        let new = stored_run(house, at(200, "x")).await;
        let failed = stored_run(house, at(300, "x")).await;
        finished(house, failed, StopReason::Error).await;
        finished(house, new, StopReason::EndTurn).await;
        stored_run(house, at(400, "y")).await;
        let table = [
            (place, "x", 0, Some(new)),
            (place, "x", 200, Some(new)),
            (place, "x", 201, None),
            (place, "z", 0, None),
            (other, "x", 0, None),
        ];
        for ((_, conversation), hash, since, wanted) in table {
            let found = read!(house, |tx, scope| runs::same_request(
                tx,
                scope,
                conversation,
                hash,
                Timestamp(since)
            )
            .await)
            .unwrap();
            assert_eq!(found, wanted, "{} {hash} {since}", house.engine);
        }
        write!(house, |tx, scope| runs::delete(tx, scope, new).await).unwrap();
        let found = read!(house, |tx, scope| runs::same_request(
            tx,
            scope,
            place.1,
            "x",
            Timestamp(0)
        )
        .await);
        assert_eq!(found.unwrap(), Some(old));
    })
    .await;
}

#[tokio::test]
async fn only_a_run_that_is_over_is_deleted_and_its_messages_stay() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let id = stored_run(house, accepted(place)).await;
        let step_id = stored_step(house, step(id, place.0, 0), None).await;
        write!(house, |tx, scope| {
            events::append(tx, scope, id, &row(1, 1), Timestamp(1)).await
        })
        .unwrap();
        let mut message = said(place, "hello");
        message.run_id = Some(id);
        let message = stored_messages(house, vec![message]).await[0];
        let delete = async || write!(house, |tx, scope| runs::delete(tx, scope, id).await);
        assert!(matches!(delete().await, Err(StoreError::Conflict(_))));
        finished(house, id, StopReason::EndTurn).await;
        delete().await.unwrap();
        assert!(matches!(delete().await, Err(StoreError::NotFound { .. })));
        let gone = read!(house, |tx, scope| steps::get(tx, scope, step_id).await);
        assert!(matches!(gone, Err(StoreError::NotFound { .. })));
        let last = read!(house, |tx, scope| events::last_seq(tx, id).await);
        assert_eq!(last.unwrap(), 0);
        read!(house, |tx, scope| messages::get(tx, scope, message).await).unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_cancelled_among_runs_are_named() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(stored_run(house, accepted(place)).await);
        }
        cancelled(house, ids[0]).await;
        cancelled(house, ids[1]).await;
        let asked = vec![ids[1].to_string(), ids[2].to_string()];
        let found = read!(house, |tx, scope| runs::cancelled_among(tx, asked).await);
        assert_eq!(found.unwrap(), [ids[1]]);
        let gone = RunId::new();
        let asked = vec![ids[2].to_string(), gone.to_string()];
        let found = read!(house, |tx, scope| runs::cancelled_among(tx, asked).await);
        assert_eq!(
            found.unwrap(),
            [gone],
            "a run of somebody who was forgotten"
        );
        let none = read!(house, |tx, scope| runs::cancelled_among(tx, vec![]).await);
        assert_eq!(none.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn an_agent_and_its_thread_know_how_their_last_run_ended() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        write!(house, |tx, scope| runs::note_end(
            tx,
            place,
            StopReason::MaxSteps,
            Timestamp(9),
            4
        )
        .await)
        .unwrap();
        let agent = read!(house, |tx, scope| agents::get(tx, scope, place.0).await).unwrap();
        assert_eq!(
            (
                agent.last_run_completion,
                agent.last_run_duration_ms,
                agent.last_stop_reason.as_deref()
            ),
            (Some(Timestamp(9)), Some(4), Some("max_steps"))
        );
        assert_eq!(agent.revision, 1, "no prompt shows it");
        let sql = "SELECT last_run_completion FROM conversations WHERE id = $1";
        let noted = read!(house, |tx, scope| {
            tx.query_one(sql, params![place.1]).await?.int()
        });
        assert_eq!(noted.unwrap(), 9);
    })
    .await;
}
