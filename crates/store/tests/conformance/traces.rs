//! What models were asked and answered: it is its owner's alone, and goes by its age or with what it belongs to.

use mnemic_core::{ids::StepId, runs::StopReason, time::Timestamp};
use mnemic_store::{
    forgetting::{self, By},
    runs,
    traces::{self, Trace},
};
use serde_json::json;

use crate::{
    house::{House, on_each_engine},
    read,
    thread::{
        accepted, default_thread, end_user, finished, step, stored_run, stored_step, stranger,
    },
    write,
};

fn trace(micros: i64) -> Trace {
    Trace {
        request: json!({"messages": [{"role": "user", "content": "hello \0"}]}),
        response: json!({"content": "hi"}),
        created_at: Timestamp(micros),
    }
}

async fn get(house: &House, id: StepId) -> Option<Trace> {
    read!(house, |tx, scope| traces::get(tx, scope, id).await).unwrap()
}

async fn kept(house: &House, micros: i64) -> StepId {
    let place = default_thread(house, "a").await;
    let run = stored_run(house, accepted(place)).await;
    let id = stored_step(house, step(run, place.0, 0), None).await;
    let trace = trace(micros);
    write!(house, |tx, scope| traces::insert(tx, scope, id, &trace)
        .await)
    .unwrap();
    id
}

#[tokio::test]
async fn a_trace_is_shown_to_those_who_see_its_step() {
    on_each_engine(async |house| {
        let anna = house.seen_by(end_user("anna"));
        let id = kept(&anna, 7).await;
        assert_eq!(get(&anna, id).await, Some(trace(7)), "{}", house.engine);
        assert_eq!(get(house, id).await, Some(trace(7)));
        for other in [stranger(), end_user("bert")] {
            assert_eq!(get(&house.seen_by(other), id).await, None);
        }
    })
    .await;
}

#[tokio::test]
async fn the_oldest_traces_go_first_and_so_many_at_once() {
    on_each_engine(async |house| {
        let ids = [
            kept(house, 10).await,
            kept(house, 20).await,
            kept(house, 30).await,
        ];
        let forget = async |before: i64, most: i64| {
            write!(house, |tx, scope| {
                traces::forget_before(tx, Timestamp(before), most).await
            })
            .unwrap()
        };
        let any = async |before: i64| {
            read!(house, |tx, scope| traces::any_before(tx, Timestamp(before))
                .await)
            .unwrap()
        };
        assert!(!any(10).await && any(11).await);
        assert_eq!(forget(30, 1).await, 1);
        assert_eq!(get(house, ids[0]).await, None);
        assert_eq!((forget(30, 5).await, forget(30, 5).await), (1, 0));
        assert!(get(house, ids[2]).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_trace_goes_with_its_run_and_with_its_person() {
    on_each_engine(async |house| {
        let anna = house.seen_by(end_user("anna"));
        let (hers, of_nobody) = (kept(&anna, 1).await, kept(house, 2).await);
        write!(anna, |tx, scope| forgetting::forget(
            tx,
            scope,
            By::Everybody,
            Timestamp(0)
        )
        .await
        .map(drop))
        .unwrap();
        let left = async |micros: i64| {
            read!(house, |tx, scope| traces::any_before(tx, Timestamp(micros))
                .await)
        };
        assert!(!left(2).await.unwrap(), "hers is gone: {hers}");
        let run = read!(house, |tx, scope| mnemic_store::steps::get(
            tx, scope, of_nobody
        )
        .await);
        let run = run.unwrap().run_id;
        assert!(finished(house, run, StopReason::EndTurn).await);
        write!(house, |tx, scope| runs::delete(tx, scope, run).await).unwrap();
        assert!(!left(3).await.unwrap());
    })
    .await;
}
