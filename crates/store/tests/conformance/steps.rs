//! Steps, and the calls of tools with effects outside of the database.

use mnemic_core::{
    ids::{RunId, StepId},
    messages::{MessageBody, ToolCall, ToolReturn, ToolStatus},
    runs::{RunError, Step, StepStatus, StopReason},
    time::Timestamp,
};
use mnemic_store::{
    StoreError,
    page::{Order, Page},
    runs,
    steps::{self, PendingStep, StepFilter},
};

use crate::{
    house::{House, on_each_engine},
    paging::reads_completely,
    read,
    thread::{
        accepted, default_thread, end_user, finished, pending_step, step, stored_run, stored_step,
        stranger,
    },
    write,
};

async fn get(house: &House, id: StepId) -> Result<Step, StoreError> {
    read!(house, |tx, scope| steps::get(tx, scope, id).await)
}

fn call(id: &str) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        name: "send_mail".to_owned(),
        arguments: "{\"to\": \"\\u0000\0\u{F8FE}\"}".to_owned(),
    }
}

fn returned(id: &str) -> ToolReturn {
    ToolReturn {
        tool_call_id: id.to_owned(),
        name: "send_mail".to_owned(),
        status: ToolStatus::Success,
        text: "sent \0".to_owned(),
        stdout: vec!["a line".to_owned()],
        stderr: Vec::new(),
        images: Vec::new(),
    }
}

/// A run with a pending step.
async fn under_way(house: &House) -> (RunId, Step) {
    let place = default_thread(house, "a").await;
    let run = stored_run(house, accepted(place)).await;
    let step = pending_step(run, place.0, 0);
    stored_step(house, step.clone(), Some(MessageBody::text("I send it \0"))).await;
    (run, step)
}

async fn start(house: &House, step: StepId, calls: Vec<ToolCall>) -> Result<(), StoreError> {
    write!(house, |tx, scope| steps::start_calls(tx, step, &calls)
        .await)
}

async fn give(house: &House, step: StepId, result: ToolReturn) -> Result<(), StoreError> {
    write!(house, |tx, scope| steps::return_call(tx, step, &result)
        .await)
}

async fn pending(house: &House, run: RunId) -> Option<PendingStep> {
    read!(house, |tx, scope| steps::pending(tx, scope, run).await).unwrap()
}

#[tokio::test]
async fn a_step_reads_back_as_it_was_stored() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let run = stored_run(house, accepted(place)).await;
        let mut stored = step(run, place.0, 0);
        stored.error = Some(RunError {
            error_type: "llm_error".to_owned(),
            message: "no \0 answer".to_owned(),
            detail: Some("503".to_owned()),
        });
        let anna = house.seen_by(end_user("anna"));
        let id = stored_step(&anna, stored.clone(), None).await;
        assert_eq!(get(house, id).await.unwrap(), stored, "{}", house.engine);
        assert_eq!(get(&anna, id).await.unwrap(), stored);
        for other in [stranger(), end_user("bert")] {
            let theirs = house.seen_by(other);
            assert!(matches!(
                get(&theirs, id).await,
                Err(StoreError::NotFound { .. })
            ));
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_has_one_step_at_each_position() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let run = stored_run(house, accepted(place)).await;
        stored_step(house, step(run, place.0, 0), None).await;
        let again = step(run, place.0, 0);
        let id = again.id;
        let refused = write!(house, |tx, scope| steps::insert(tx, scope, &again, None)
            .await);
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
        assert!(get(house, id).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_pending_step_shows_its_answer_and_each_call_with_its_return() {
    on_each_engine(async |house| {
        let (run, step) = under_way(house).await;
        start(house, step.id, vec![call("b"), call("a"), call("c")])
            .await
            .unwrap();
        give(house, step.id, returned("a")).await.unwrap();
        let found = pending(house, run).await.unwrap();
        assert_eq!(found.step, step, "{}", house.engine);
        assert_eq!(found.answer, MessageBody::text("I send it \0"));
        assert_eq!(
            found.calls,
            [
                (call("b"), None),
                (call("a"), Some(returned("a"))),
                (call("c"), None)
            ],
            "in the order in which the model made them"
        );
        assert!(pending(&house.seen_by(stranger()), run).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_call_starts_once_and_returns_once() {
    on_each_engine(async |house| {
        let (run, step) = under_way(house).await;
        start(house, step.id, vec![call("a")]).await.unwrap();
        let again = start(house, step.id, vec![call("b"), call("a")]).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))));
        give(house, step.id, returned("a")).await.unwrap();
        let other = ToolReturn {
            text: "sent again".to_owned(),
            ..returned("a")
        };
        for (step, result) in [
            (step.id, other),
            (step.id, returned("b")),
            (StepId::new(), returned("a")),
        ] {
            let refused = give(house, step, result).await;
            assert!(matches!(refused, Err(StoreError::Conflict(_))));
        }
        let found = pending(house, run).await.unwrap();
        assert_eq!(found.calls, [(call("a"), Some(returned("a")))]);
    })
    .await;
}

#[tokio::test]
async fn of_two_returns_of_one_call_at_once_one_is_kept() {
    on_each_engine(async |house| {
        let (run, step) = under_way(house).await;
        start(house, step.id, vec![call("a")]).await.unwrap();
        let other = ToolReturn {
            text: "other".to_owned(),
            ..returned("a")
        };
        let (one, two) = tokio::join!(
            give(house, step.id, returned("a")),
            give(house, step.id, other.clone())
        );
        assert_ne!(one.is_ok(), two.is_ok(), "{}", house.engine);
        let kept = if one.is_ok() { returned("a") } else { other };
        let found = pending(house, run).await.unwrap();
        assert_eq!(found.calls[0].1, Some(kept));
    })
    .await;
}

#[tokio::test]
async fn a_step_is_closed_once() {
    on_each_engine(async |house| {
        let (run, mut step) = under_way(house).await;
        step.status = StepStatus::Cancelled;
        step.stop_reason = Some(StopReason::Cancelled);
        step.completed_at = Some(Timestamp(9));
        let close = async |step: Step| write!(house, |tx, scope| steps::close(tx, &step).await);
        close(step.clone()).await.unwrap();
        assert_eq!(get(house, step.id).await.unwrap(), step);
        assert!(pending(house, run).await.is_none());
        let late = Step {
            status: StepStatus::Success,
            ..step.clone()
        };
        assert!(matches!(close(late).await, Err(StoreError::Conflict(_))));
        assert_eq!(get(house, step.id).await.unwrap(), step);
    })
    .await;
}

#[tokio::test]
async fn runs_that_are_over_with_a_pending_step_are_found() {
    on_each_engine(async |house| {
        let orphans = async || {
            let found = write!(house, |tx, scope| steps::runs_with_orphans(tx).await);
            let ids: Vec<RunId> = found.unwrap().into_iter().map(|run| run.id).collect();
            ids
        };
        let (run, mut step) = under_way(house).await;
        assert_eq!(orphans().await, [], "its run goes on");
        assert!(
            write!(house, |tx, scope| runs::cancel(tx, run, Timestamp(2)).await).unwrap(),
            "it was open"
        );
        assert_eq!(orphans().await, [run]);
        step.status = StepStatus::Cancelled;
        write!(house, |tx, scope| steps::close(tx, &step).await).unwrap();
        assert_eq!(orphans().await, []);
    })
    .await;
}

#[tokio::test]
async fn a_clients_name_for_a_step_is_kept_and_another_one_takes_its_place() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let run = stored_run(house, accepted(place)).await;
        let id = stored_step(house, step(run, place.0, 0), None).await;
        for name in ["first", "second"] {
            let set = write!(house, |tx, scope| {
                steps::set_transaction_id(tx, scope, id, name).await
            });
            assert_eq!(set.unwrap(), get(house, id).await.unwrap());
            let read = get(house, id).await.unwrap();
            assert_eq!(read.transaction_id.as_deref(), Some(name));
        }
        let theirs = house.seen_by(stranger());
        let refused = write!(theirs, |tx, scope| {
            steps::set_transaction_id(tx, scope, id, "theirs").await
        });
        assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_judgement_is_noted_and_taken_back() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let run = stored_run(house, accepted(place)).await;
        let id = stored_step(house, step(run, place.0, 0), None).await;
        for feedback in [Some("negative"), Some("positive"), None] {
            let set = write!(house, |tx, scope| steps::set_feedback(
                tx, scope, id, feedback
            )
            .await);
            assert_eq!(set.unwrap().feedback.as_deref(), feedback);
            let read = get(house, id).await.unwrap();
            assert_eq!(read.feedback.as_deref(), feedback);
        }
        let theirs = house.seen_by(stranger());
        let refused = write!(theirs, |tx, scope| steps::set_feedback(
            tx,
            scope,
            id,
            Some("negative")
        )
        .await);
        assert!(matches!(refused, Err(StoreError::NotFound { .. })));
        assert_eq!(get(house, id).await.unwrap().feedback, None);
    })
    .await;
}

async fn listed(house: &House, filter: StepFilter, page: Page) -> Vec<StepId> {
    let found = read!(house, |tx, scope| steps::list(tx, scope, &filter, &page)
        .await)
    .unwrap();
    found.into_iter().map(|step| step.id).collect()
}

fn with(change: impl FnOnce(&mut StepFilter)) -> StepFilter {
    let mut filter = StepFilter::default();
    change(&mut filter);
    filter
}

#[tokio::test]
async fn filters_find_steps() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let other = default_thread(house, "b").await;
        let run = stored_run(house, accepted(place)).await;
        let second = stored_run(house, accepted(other)).await;
        let one = stored_step(house, step(run, place.0, 0), None).await;
        let mut two = step(run, place.0, 1);
        two.model = "n".to_owned();
        two.created_at = Timestamp(5_000);
        let two = stored_step(house, two, None).await;
        let three = stored_step(house, step(second, other.0, 0), None).await;
        write!(house, |tx, scope| {
            steps::set_feedback(tx, scope, two, Some("positive")).await
        })
        .unwrap();
        let table = [
            (with(|_| ()), vec![one, two, three]),
            (with(|f| f.run_id = Some(run)), vec![one, two]),
            (with(|f| f.agent_id = Some(other.0)), vec![three]),
            (with(|f| f.model = Some("n".to_owned())), vec![two]),
            (
                with(|f| f.feedback = Some("positive".to_owned())),
                vec![two],
            ),
            (with(|f| f.feedback = Some("negative".to_owned())), vec![]),
            (with(|f| f.has_feedback = Some(true)), vec![two]),
            (with(|f| f.has_feedback = Some(false)), vec![one, three]),
            (with(|f| f.start = Some(Timestamp(5_000))), vec![two]),
            (with(|f| f.end = Some(Timestamp(4_999))), vec![one, three]),
        ];
        for (filter, wanted) in table {
            let asked = format!("{} {filter:?}", house.engine);
            let found = listed(house, filter, Page::first(9, Order::Asc)).await;
            assert_eq!(found, wanted, "{asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn steps_are_listed_completely() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let run = stored_run(house, accepted(place)).await;
        let mut ids = Vec::new();
        for position in 0..6 {
            ids.push(stored_step(house, step(run, place.0, position), None).await);
        }
        finished(house, run, StopReason::EndTurn).await;
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        for filter in [
            with(|f| f.run_id = Some(run)),
            with(|f| f.agent_id = Some(place.0)),
        ] {
            let list = async |page: Page| {
                let found = listed(house, filter.clone(), page).await;
                found.iter().map(ToString::to_string).collect()
            };
            reads_completely(list, &ids).await;
        }
    })
    .await;
}
