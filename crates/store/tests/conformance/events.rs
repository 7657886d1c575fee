//! The event log of background runs.

use mnemic_core::{
    ids::{RunId, StepId},
    time::Timestamp,
};
use mnemic_store::{
    StoreError,
    events::{self, EventRow},
};

use crate::{
    house::{House, on_each_engine},
    read,
    thread::{Place, accepted, default_thread, stored_run},
    write,
};

/// Events from that number on; each is its own number.
pub fn row(seq: i64, count: i64) -> EventRow {
    let numbers: Vec<i64> = (seq..seq + count).collect();
    EventRow {
        seq,
        events: serde_json::to_string(&numbers).unwrap(),
        count,
        step_id: None,
        attempt: 0,
    }
}

async fn append(house: &House, run: RunId, row: EventRow) -> Result<(), StoreError> {
    write!(house, |tx, scope| events::append(
        tx,
        scope,
        run,
        &row,
        Timestamp(1)
    )
    .await)
}

async fn after(house: &House, run: RunId, seq: i64, limit: i64) -> Vec<EventRow> {
    read!(house, |tx, scope| events::after(tx, run, seq, limit).await).unwrap()
}

async fn background(house: &House, place: Place) -> RunId {
    let mut run = accepted(place);
    run.background = true;
    stored_run(house, run).await
}

/// A log of rows of several lengths; gives the number of its last event.
async fn log(house: &House, run: RunId) -> i64 {
    let mut seq = 1;
    for count in [1, 3, 64, 1, 2, 5] {
        append(house, run, row(seq, count)).await.unwrap();
        seq += count;
    }
    seq - 1
}

/// All events after a number, as a client that comes back reads them.
async fn replayed(house: &House, run: RunId, from: i64, limit: i64) -> Vec<i64> {
    let (mut read, mut last) = (Vec::new(), from);
    loop {
        let mut new = Vec::new();
        for row in after(house, run, last, limit).await {
            let numbers: Vec<i64> = serde_json::from_str(&row.events).unwrap();
            new.extend(numbers.into_iter().filter(|number| *number > last));
        }
        let Some(newest) = new.last() else {
            return read;
        };
        last = *newest;
        read.extend(new);
    }
}

#[tokio::test]
async fn a_log_is_replayed_from_any_position() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let (run, other) = (
            background(house, place).await,
            background(house, place).await,
        );
        let last = log(house, run).await;
        append(house, other, row(1, 7)).await.unwrap();
        for from in 0..=last + 1 {
            let wanted: Vec<i64> = (from + 1..=last).collect();
            for limit in [1, 2, 100] {
                let read = replayed(house, run, from, limit).await;
                assert_eq!(read, wanted, "{} from {from} by {limit}", house.engine);
            }
            if let Some(first) = after(house, run, from, 1).await.first()
                && from < last
            {
                let held = first.seq..first.seq + first.count;
                assert!(held.contains(&(from + 1)), "no row is read for nothing");
            }
        }
        assert_eq!(replayed(house, other, 0, 100).await.len(), 7);
        assert_eq!(replayed(house, RunId::new(), 0, 100).await, [0; 0]);
    })
    .await;
}

#[tokio::test]
async fn the_number_of_the_last_event_is_known() {
    on_each_engine(async |house| {
        let run = background(house, default_thread(house, "a").await).await;
        let last = async |run| {
            let last = read!(house, |tx, scope| events::last_seq(tx, run).await);
            last.unwrap()
        };
        assert_eq!(last(run).await, 0);
        assert_eq!(log(house, run).await, last(run).await);
        assert_eq!(last(RunId::new()).await, 0);
    })
    .await;
}

#[tokio::test]
async fn events_neither_leave_a_gap_nor_come_twice() {
    on_each_engine(async |house| {
        let run = background(house, default_thread(house, "a").await).await;
        for wrong in [row(0, 1), row(2, 1)] {
            let refused = append(house, run, wrong).await;
            assert!(matches!(refused, Err(StoreError::Conflict(_))));
        }
        append(house, run, row(1, 4)).await.unwrap();
        for wrong in [row(1, 4), row(2, 1), row(4, 2), row(6, 1), row(-1, 1)] {
            let refused = append(house, run, wrong.clone()).await;
            let is_conflict = matches!(refused, Err(StoreError::Conflict(_)));
            assert!(is_conflict, "{} {wrong:?}", house.engine);
        }
        assert_eq!(after(house, run, 0, 100).await, [row(1, 4)]);
        append(house, run, row(5, 1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn of_two_that_append_the_same_number_at_once_one_is_kept() {
    on_each_engine(async |house| {
        let run = background(house, default_thread(house, "a").await).await;
        for seq in [1, 2, 3] {
            let attempt = |attempt| EventRow {
                attempt,
                ..row(seq, 1)
            };
            let (one, two) = tokio::join!(
                append(house, run, attempt(1)),
                append(house, run, attempt(2))
            );
            assert_ne!(one.is_ok(), two.is_ok(), "{}", house.engine);
            let lost = if one.is_ok() { &two } else { &one };
            assert!(matches!(lost, Err(StoreError::Conflict(_))), "{lost:?}");
            let kept = attempt(if one.is_ok() { 1 } else { 2 });
            assert_eq!(after(house, run, seq - 1, 9).await, [kept]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_attempt_extends_the_log_and_leaves_what_clients_saw() {
    on_each_engine(async |house| {
        let run = background(house, default_thread(house, "a").await).await;
        let first = EventRow {
            events: r#"["a","\u0000"]"#.to_owned(),
            step_id: Some(StepId::new()),
            ..row(1, 2)
        };
        let second = EventRow {
            events: "[\"raw \0 and \u{F8FE}\"]".to_owned(),
            step_id: Some(StepId::new()),
            attempt: 1,
            ..row(3, 1)
        };
        append(house, run, first.clone()).await.unwrap();
        append(house, run, second.clone()).await.unwrap();
        let read = after(house, run, 0, 100).await;
        assert_eq!(read, [first, second], "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn a_log_belongs_to_a_run() {
    on_each_engine(async |house| {
        let nobody = RunId::new();
        let refused = append(house, nobody, row(1, 1)).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
        assert_eq!(after(house, nobody, 0, 9).await, []);
    })
    .await;
}
