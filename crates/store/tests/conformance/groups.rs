//! Groups of agents, and how far their members are with what the manager heard.

use mnemic_core::{
    groups::{Group, ManagerSettings, ManagerType},
    ids::{AgentId, GroupId, MessageId, RunId},
    runs::StopReason,
    time::Timestamp,
};
use mnemic_store::{
    StoreError,
    groups::{self, GroupFilter, Turns},
    page::{Order, Page},
};

use crate::{
    house::{House, on_each_engine},
    read,
    thread::{Place, accepted, default_thread, end_user, finished, stored_run, stranger},
    write,
};

fn group(manager: AgentId, members: &[AgentId]) -> Group {
    Group {
        id: GroupId::new(),
        manager_type: ManagerType::Sleeptime,
        manager_agent_id: Some(manager),
        settings: ManagerSettings {
            sleeptime_agent_frequency: Some(5),
            ..ManagerSettings::default()
        },
        agent_ids: members.to_vec(),
        shared_block_ids: Vec::new(),
        description: "keepers".to_owned(),
        project_id: None,
        hidden: None,
        companion: members.first().copied(),
        turns_counter: Some(-1),
        last_processed_message_id: None,
        created_at: Timestamp(5),
        updated_at: Timestamp(5),
    }
}

async fn stored(house: &House) -> (Group, Place) {
    let (manager, _) = default_thread(house, "manager").await;
    let member = default_thread(house, "member").await;
    let group = group(manager, &[member.0]);
    let kept = group.clone();
    write!(house, |tx, scope| groups::insert(tx, scope, &kept).await).unwrap();
    (group, member)
}

async fn found(house: &House, id: GroupId) -> Result<Group, StoreError> {
    read!(house, |tx, scope| groups::get(tx, scope, id).await)
}

async fn counted(house: &House, id: GroupId) -> Turns {
    write!(house, |tx, scope| groups::count_turn(tx, scope, id).await).unwrap()
}

async fn noted(house: &House, id: GroupId, between: (Option<MessageId>, MessageId), run: RunId) {
    write!(house, |tx, scope| groups::note_run(
        tx, scope, id, between, run
    )
    .await)
    .unwrap();
}

#[tokio::test]
async fn a_group_is_its_organizations_and_found_by_each_of_its_agents() {
    on_each_engine(async |house| {
        let (group, member) = stored(house).await;
        assert_eq!(found(house, group.id).await.unwrap(), group);
        let foreign = found(&house.seen_by(stranger()), group.id).await;
        assert!(matches!(foreign, Err(StoreError::NotFound { .. })));
        for agent in [group.manager_agent_id.unwrap(), member.0] {
            let filter = GroupFilter {
                agent_id: Some(agent),
                ..GroupFilter::default()
            };
            let page = Page::first(10, Order::Asc);
            let listed = read!(house, |tx, scope| groups::list(tx, scope, &filter, &page)
                .await)
            .unwrap();
            assert_eq!(listed, std::slice::from_ref(&group));
        }
        let id = group.id;
        write!(house, |tx, scope| groups::delete(tx, scope, id).await).unwrap();
        assert!(found(house, id).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn turns_are_counted_for_each_person_and_what_a_failed_run_was_given_is_given_again() {
    on_each_engine(async |house| {
        let (group, member) = stored(house).await;
        let anna = house.seen_by(end_user("anna"));
        let [first, second] = [MessageId::new(), MessageId::new()];
        assert_eq!(counted(house, group.id).await.counter, 0);
        assert_eq!(counted(&anna, group.id).await.counter, 0);
        let run = stored_run(house, accepted(member)).await;
        noted(house, group.id, (None, first), run).await;
        let turns = counted(house, group.id).await;
        assert_eq!((turns.counter, turns.after), (1, Some(first)));
        noted(house, group.id, (Some(first), second), run).await;
        assert!(finished(house, run, StopReason::LlmApiError).await);
        let turns = counted(house, group.id).await;
        assert_eq!((turns.counter, turns.after), (2, Some(first)));
        let shown = found(house, group.id).await.unwrap();
        assert_eq!(
            (shown.turns_counter, shown.last_processed_message_id),
            (Some(2), Some(second))
        );
        assert_eq!(counted(&anna, group.id).await.after, None);
    })
    .await;
}
