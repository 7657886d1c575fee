//! Archives and the agents that have them.

use mnemic_core::{
    archives::Archive,
    ids::{AgentId, ArchiveId},
    time::Timestamp,
};
use mnemic_store::{
    StoreError,
    archives::{self, ArchiveFilter},
    page::{Order, Page},
};
use serde_json::json;

use crate::{
    build::{agent, stored_agent},
    house::{House, on_each_engine},
    read,
    thread::stranger,
    write,
};

pub fn archive(name: &str, at: i64) -> Archive {
    Archive {
        id: ArchiveId::new(),
        subject: None,
        name: name.to_owned(),
        description: Some("what it holds".to_owned()),
        embedding_config: Some(json!({"handle": "p/embed"})),
        metadata: None,
        created_by: None,
        updated_by: None,
        created_at: Timestamp(at),
        updated_at: Timestamp(at),
    }
}

pub async fn stored(house: &House, archive: Archive) -> ArchiveId {
    let id = archive.id;
    write!(house, |tx, scope| archives::insert(tx, scope, &archive)
        .await)
    .unwrap();
    id
}

async fn names_of(house: &House, agent: AgentId) -> Vec<String> {
    let found = read!(house, |tx, scope| archives::of_agent(tx, scope, agent)
        .await)
    .unwrap();
    found.into_iter().map(|archive| archive.name).collect()
}

async fn attach(house: &House, agent: AgentId, id: ArchiveId, at: i64) -> bool {
    write!(house, |tx, scope| archives::attach(
        tx,
        scope,
        (agent, id),
        Timestamp(at)
    )
    .await)
    .unwrap()
}

#[tokio::test]
async fn an_archive_comes_back_as_it_was_and_only_in_its_organization() {
    on_each_engine(async |house| {
        let kept = archive("notes", 1);
        let id = stored(house, kept.clone()).await;
        let found = read!(house, |tx, scope| archives::get(tx, scope, id).await).unwrap();
        assert_eq!(found, kept);
        assert_eq!(found.embedding_handle(), Some("p/embed"));
        let theirs = house.seen_by(stranger());
        let found = read!(theirs, |tx, scope| archives::get(tx, scope, id).await);
        assert!(matches!(found, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn an_agent_writes_to_the_first_of_its_archives() {
    on_each_engine(async |house| {
        let ada = stored_agent(house, agent("ada")).await;
        let first = stored(house, archive("first", 1)).await;
        let second = stored(house, archive("second", 2)).await;
        assert!(attach(house, ada, second, 10).await);
        assert!(attach(house, ada, first, 11).await);
        assert!(!attach(house, ada, first, 12).await);
        assert_eq!(names_of(house, ada).await, ["second", "first"]);
        let gone = write!(house, |tx, _s| archives::detach(tx, ada, second).await);
        assert!(gone.unwrap());
        assert!(attach(house, ada, second, 13).await);
        assert_eq!(names_of(house, ada).await, ["first", "second"]);
        write!(house, |tx, scope| archives::delete(tx, scope, first).await).unwrap();
        assert_eq!(names_of(house, ada).await, ["second"]);
    })
    .await;
}

#[tokio::test]
async fn archives_are_listed_by_name_by_agent_and_in_pages() {
    on_each_engine(async |house| {
        let ada = stored_agent(house, agent("ada")).await;
        let mut ids = Vec::new();
        for (at, name) in [(1, "a"), (2, "b"), (3, "a")] {
            ids.push(stored(house, archive(name, at)).await);
        }
        attach(house, ada, ids[1], 5).await;
        let listed = async |filter: ArchiveFilter, page: Page| {
            let found = read!(house, |tx, scope| archives::list(tx, scope, &filter, &page)
                .await);
            let found = found.unwrap();
            found
                .into_iter()
                .map(|it| it.created_at.0)
                .collect::<Vec<_>>()
        };
        let all = Page::first(10, Order::Desc);
        assert_eq!(
            listed(ArchiveFilter::default(), all.clone()).await,
            [3, 2, 1]
        );
        let named = ArchiveFilter {
            name: Some("a".into()),
            ..ArchiveFilter::default()
        };
        assert_eq!(listed(named, all.clone()).await, [3, 1]);
        let of_ada = ArchiveFilter {
            agent_id: Some(ada),
            ..ArchiveFilter::default()
        };
        assert_eq!(listed(of_ada, all.clone()).await, [2]);
        let next = Page {
            after: Some(ids[2].to_string()),
            ..all
        };
        assert_eq!(listed(ArchiveFilter::default(), next).await, [2, 1]);
    })
    .await;
}
