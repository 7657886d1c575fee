//! Lists of runs.

use mnemic_core::{
    ids::RunId,
    runs::{RunStatus, StopReason},
};
use mnemic_store::{
    StoreError,
    page::{Order, Page},
    runs::{self, RunFilter},
};

use crate::{
    house::{House, on_each_engine},
    paging::reads_completely,
    read,
    thread::{accepted, default_thread, finished, stored_run},
};

pub async fn list(house: &House, filter: RunFilter) -> Vec<RunId> {
    page(house, filter, Page::first(100, Order::Asc))
        .await
        .unwrap()
}

async fn page(house: &House, filter: RunFilter, page: Page) -> Result<Vec<RunId>, StoreError> {
    let found = read!(house, |tx, scope| runs::list(tx, scope, &filter, &page)
        .await)?;
    Ok(found.into_iter().map(|run| run.id).collect())
}

fn with(change: impl FnOnce(&mut RunFilter)) -> RunFilter {
    let mut filter = RunFilter::default();
    change(&mut filter);
    filter
}

#[tokio::test]
async fn filters_find_runs() {
    on_each_engine(async |house| {
        let here = default_thread(house, "a").await;
        let there = default_thread(house, "b").await;
        let done = stored_run(house, accepted(here)).await;
        finished(house, done, StopReason::MaxSteps).await;
        let waits = stored_run(house, accepted(here)).await;
        let mut background = accepted(there);
        background.background = true;
        let background = stored_run(house, background).await;
        let (a, b) = (here.0, there.0);
        let table = [
            (with(|_| ()), vec![done, waits, background]),
            (with(|f| f.agent_ids = vec![a]), vec![done, waits]),
            (
                with(|f| f.agent_ids = vec![b, a]),
                vec![done, waits, background],
            ),
            (
                with(|f| f.conversation_id = Some(there.1)),
                vec![background],
            ),
            (
                with(|f| f.statuses = vec![RunStatus::Completed]),
                vec![done],
            ),
            (
                with(|f| f.statuses = vec![RunStatus::Created, RunStatus::Failed]),
                vec![waits, background],
            ),
            (
                with(|f| f.stop_reason = Some(StopReason::MaxSteps)),
                vec![done],
            ),
            (with(|f| f.background = Some(true)), vec![background]),
            (with(|f| f.background = Some(false)), vec![done, waits]),
        ];
        for (filter, wanted) in table {
            let asked = format!("{} {filter:?}", house.engine);
            assert_eq!(list(house, filter).await, wanted, "{asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn runs_are_listed_completely_in_the_order_of_acceptance() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let other = default_thread(house, "b").await;
        let (mut all, mut of_one) = (Vec::new(), Vec::new());
        for n in 0..8 {
            let place = if n % 3 == 0 { other } else { place };
            let id = stored_run(house, accepted(place)).await;
            all.push(id.to_string());
            if n % 3 != 0 {
                of_one.push(id.to_string());
            }
        }
        let agents = [vec![], vec![place.0, other.0], vec![place.0]];
        for (agents, wanted) in agents.into_iter().zip([&all, &all, &of_one]) {
            let list = async |asked: Page| {
                let filter = with(|f| f.agent_ids = agents.clone());
                let ids = page(house, filter, asked).await.unwrap();
                ids.iter().map(ToString::to_string).collect()
            };
            reads_completely(list, wanted).await;
        }
        let unknown = Page {
            after: Some(RunId::new().to_string()),
            ..Page::first(9, Order::Asc)
        };
        let refused = page(house, RunFilter::default(), unknown).await;
        assert!(matches!(
            refused,
            Err(StoreError::NotFound { noun: "Run", .. })
        ));
    })
    .await;
}
