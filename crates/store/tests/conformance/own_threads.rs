//! The threads that agents keep for their end users.

use mnemic_core::{
    ids::{AgentId, ConversationId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{StoreError, conversations, own_threads};

use crate::{
    house::{House, on_each_engine},
    read,
    thread::{default_thread, end_user, stranger},
    write,
};

async fn own(house: &House, agent_id: AgentId) -> Result<ConversationId, StoreError> {
    write!(house, |tx, scope| own_threads::find_or_make(
        tx,
        scope,
        agent_id,
        Timestamp(9)
    )
    .await)
}

async fn found(house: &House, agent_id: AgentId) -> Option<ConversationId> {
    read!(house, |tx, scope| own_threads::find(tx, scope, agent_id)
        .await)
    .unwrap()
}

#[tokio::test]
async fn each_person_has_one_thread_with_each_agent() {
    on_each_engine(async |house| {
        let (agent, default) = default_thread(house, "a").await;
        let (other, _) = default_thread(house, "b").await;
        let (anna, bea) = (
            house.seen_by(end_user("anna")),
            house.seen_by(end_user("bea \0")),
        );
        assert_eq!(found(&anna, agent).await, None);
        // All at once: on PostgreSQL these are different connections.
        let (a, b, c) = tokio::join!(own(&anna, agent), own(&anna, agent), own(&anna, agent));
        let id = a.unwrap();
        assert_eq!((b.unwrap(), c.unwrap()), (id, id));
        assert_eq!(found(&anna, agent).await, Some(id));
        let others = [
            own(&bea, agent).await.unwrap(),
            own(&anna, other).await.unwrap(),
            default,
        ];
        assert!(!others.contains(&id));
        assert_ne!(others[0], others[1]);
        let row = read!(&anna, |tx, scope| conversations::get(tx, scope, id).await).unwrap();
        assert_eq!(row.subject.as_deref(), Some("anna"));
    })
    .await;
}

#[tokio::test]
async fn a_deleted_thread_is_followed_by_a_new_one() {
    on_each_engine(async |house| {
        let (agent, _) = default_thread(house, "a").await;
        let anna = house.seen_by(end_user("anna"));
        let first = own(&anna, agent).await.unwrap();
        write!(&anna, |tx, scope| conversations::soft_delete(
            tx,
            scope,
            first,
            Timestamp(10)
        )
        .await)
        .unwrap();
        assert_eq!(found(&anna, agent).await, None);
        let second = own(&anna, agent).await.unwrap();
        assert_ne!(second, first);
        assert_eq!(found(&anna, agent).await, Some(second));
    })
    .await;
}

#[tokio::test]
async fn threads_are_kept_for_persons_and_within_an_organization() {
    on_each_engine(async |house| {
        let (agent, _) = default_thread(house, "a").await;
        let anna = house.seen_by(end_user("anna"));
        own(&anna, agent).await.unwrap();
        let nobody = own(house, agent).await;
        assert!(matches!(nobody, Err(StoreError::Invalid(_))), "{nobody:?}");
        let foreign = house.seen_by(Scope {
            subject: Some("anna".to_owned()),
            ..stranger()
        });
        assert_eq!(found(&foreign, agent).await, None);
        let made = own(&foreign, agent).await;
        assert!(matches!(made, Err(StoreError::NotFound { .. })), "{made:?}");
    })
    .await;
}
