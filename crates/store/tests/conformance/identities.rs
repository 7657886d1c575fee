//! Identities and what is linked to them.

use mnemic_core::{
    identities::{Identity, IdentityType, Links, Property, PropertyType, PropertyValue},
    ids::{AgentId, BlockId, IdentityId, OrganizationId},
    time::Timestamp,
};
use mnemic_store::{
    Location, StoreError,
    agents::{self, AgentFilter},
    blocks::{self, BlockFilter},
    identities::{self, Attachment, IdentityFilter, IdentityPatch, NamedLinks},
    page::{Order, Page},
};

use crate::{
    build::{agent, block, stored_agent, stored_block},
    house::{House, on_each_engine, open},
    paging::reads_completely,
    read,
    thread::stranger,
    write,
};

fn identity(key: &str, at: i64) -> Identity {
    Identity {
        id: IdentityId::new(),
        organization_id: OrganizationId::DEFAULT,
        identifier_key: key.to_owned(),
        name: format!("name of {key}"),
        identity_type: IdentityType::User,
        properties: vec![property("tier", "gold")],
        project_id: None,
        created_at: Timestamp(at),
        updated_at: Timestamp(at),
    }
}

fn property(key: &str, value: &str) -> Property {
    Property {
        key: key.to_owned(),
        value: PropertyValue::Text(value.to_owned()),
        kind: PropertyType::String,
    }
}

async fn insert(house: &House, new: &Identity, links: NamedLinks) -> Result<(), StoreError> {
    let new = new.clone();
    write!(house, |tx, scope| identities::insert(
        tx, scope, &new, &links
    )
    .await)
}

async fn stored(house: &House, new: Identity) -> IdentityId {
    insert(house, &new, NamedLinks::default()).await.unwrap();
    new.id
}

async fn get(house: &House, id: IdentityId) -> Result<Identity, StoreError> {
    read!(house, |tx, scope| identities::get(tx, scope, id).await)
}

async fn update(house: &House, id: IdentityId, patch: IdentityPatch) -> Result<(), StoreError> {
    write!(house, |tx, scope| identities::update(
        tx,
        scope,
        id,
        patch,
        Timestamp(9_000)
    )
    .await)
}

async fn keys(house: &House, filter: IdentityFilter, page: Page) -> Vec<String> {
    let found = read!(house, |tx, scope| identities::list(
        tx, scope, &filter, &page
    )
    .await);
    let found = found.unwrap().into_iter();
    found.map(|identity| identity.identifier_key).collect()
}

async fn links(house: &House, id: IdentityId) -> Links {
    let found = read!(house, |tx, scope| identities::links_of(tx, scope, &[id])
        .await);
    found.unwrap().remove(&id).unwrap_or_default()
}

#[tokio::test]
async fn an_identity_is_read_as_it_was_stored() {
    on_each_engine(async |house| {
        let mut new = identity("ключ \0 🦀", 1_000);
        new.project_id = Some("project-1".to_owned());
        new.properties.push(Property {
            key: "n".to_owned(),
            value: PropertyValue::Number(5.into()),
            kind: PropertyType::Number,
        });
        let id = stored(house, new.clone()).await;
        assert_eq!(get(house, id).await.unwrap(), new, "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn a_key_is_taken_once_in_each_project_of_each_organization() {
    on_each_engine(async |house| {
        stored(house, identity("ada", 1)).await;
        let again = insert(house, &identity("ada", 2), NamedLinks::default()).await;
        let text = again.unwrap_err().to_string();
        assert!(
            text.contains("'ada'") && text.contains("exists already"),
            "{text}"
        );
        let mut elsewhere = identity("ada", 3);
        elsewhere.project_id = Some("project-1".to_owned());
        stored(house, elsewhere).await;
        let others = house.seen_by(stranger());
        let mut theirs = identity("ada", 4);
        theirs.organization_id = others.scope.organization;
        stored(&others, theirs).await;
        let ben = stored(house, identity("ben", 5)).await;
        let patch = IdentityPatch {
            identifier_key: Some("ada".to_owned()),
            ..IdentityPatch::default()
        };
        let taken = update(house, ben, patch).await;
        assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
        let all = keys(house, IdentityFilter::default(), Page::first(9, Order::Asc)).await;
        assert_eq!(all, ["ada", "ada", "ben"], "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn an_upsert_makes_an_identity_or_changes_what_it_names() {
    on_each_engine(async |house| {
        let agent = stored_agent(house, agent("a")).await;
        let upsert = async |new: Identity, patch: IdentityPatch| {
            let done = write!(house, |tx, scope| identities::upsert(tx, scope, new, patch)
                .await);
            done.unwrap()
        };
        let linked = IdentityPatch {
            links: NamedLinks {
                agents: Some(vec![agent, agent]),
                blocks: None,
            },
            ..IdentityPatch::default()
        };
        let id = upsert(identity("ada", 1), linked).await;
        let renamed = IdentityPatch {
            name: Some("Ada L".to_owned()),
            identity_type: Some(IdentityType::Other),
            ..IdentityPatch::default()
        };
        assert_eq!(upsert(identity("ada", 2), renamed).await, id);
        let now = get(house, id).await.unwrap();
        assert_eq!(
            (now.name.as_str(), now.identity_type),
            ("Ada L", IdentityType::Other)
        );
        assert_eq!(
            now.properties,
            [property("tier", "gold")],
            "not named, so kept"
        );
        assert_eq!(
            (now.created_at, now.updated_at),
            (Timestamp(1), Timestamp(2))
        );
        assert_eq!(links(house, id).await.agents, [agent], "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn two_upserts_of_one_key_at_once_make_one_identity() {
    on_each_engine(async |house| {
        let upsert = async || {
            let patch = IdentityPatch {
                properties: Some(vec![property("tier", "blue")]),
                ..IdentityPatch::default()
            };
            write!(house, |tx, scope| identities::upsert(
                tx,
                scope,
                identity("ada", 1),
                patch
            )
            .await)
        };
        let (one, two) = tokio::join!(upsert(), upsert());
        assert_eq!(one.unwrap(), two.unwrap(), "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn links_replace_and_name_only_what_exists() {
    on_each_engine(async |house| {
        let (one, two) = (
            stored_agent(house, agent("one")).await,
            stored_agent(house, agent("two")).await,
        );
        let notes = stored_block(house, block("notes", "")).await;
        let named = |agents: Vec<AgentId>, blocks: Vec<BlockId>| NamedLinks {
            agents: Some(agents),
            blocks: Some(blocks),
        };
        let new = identity("ada", 1);
        let id = new.id;
        insert(house, &new, named(vec![one], vec![notes]))
            .await
            .unwrap();
        let patch = |links| IdentityPatch {
            links,
            ..IdentityPatch::default()
        };
        update(house, id, patch(named(vec![two], vec![])))
            .await
            .unwrap();
        let wanted = Links {
            agents: vec![two],
            blocks: vec![],
        };
        assert_eq!(links(house, id).await, wanted, "{}", house.engine);
        let unknown = AgentId::new();
        let refused = update(house, id, patch(named(vec![one, unknown], vec![]))).await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(&unknown.to_string()), "{text}");
        assert_eq!(links(house, id).await, wanted, "all or nothing");
        let others = house.seen_by(stranger());
        let strange = insert(&others, &identity("eve", 2), named(vec![two], vec![])).await;
        assert!(strange.is_err(), "another organization's agent");
    })
    .await;
}

/// The names of the agents and the labels of the blocks that are found by identities.
async fn linked(house: &House, id: Option<IdentityId>, keys: &[&str]) -> Vec<String> {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let agents = AgentFilter {
        identity_id: id,
        identifier_keys: keys.clone(),
        ..AgentFilter::default()
    };
    let blocks = BlockFilter {
        identity_id: id,
        identifier_keys: keys,
        ..BlockFilter::default()
    };
    let page = Page::first(9, Order::Asc);
    let found = read!(house, |tx, scope| {
        let found = agents::list(tx, scope, &agents, &page).await?;
        let held = blocks::list(tx, scope, &blocks, &page).await?;
        let counts = (
            agents::count(tx, scope, &agents).await?,
            blocks::count(tx, scope, &blocks).await?,
        );
        Ok((found, held, counts))
    });
    let (found, held, counts) = found.unwrap();
    assert_eq!(counts, (found.len() as i64, held.len() as i64));
    let names = found.into_iter().map(|agent| agent.name);
    names
        .chain(held.into_iter().map(|block| block.label))
        .collect()
}

#[tokio::test]
async fn agents_and_blocks_are_found_by_their_identities() {
    on_each_engine(async |house| {
        let mine = stored_agent(house, agent("mine")).await;
        stored_agent(house, agent("other")).await;
        let notes = stored_block(house, block("notes", "")).await;
        stored_block(house, block("other", "")).await;
        let ada = stored(house, identity("ada", 1)).await;
        let ben = stored(house, identity("ben", 2)).await;
        write!(house, |tx, scope| {
            for _ in 0..2 {
                identities::attach(tx, scope, ada, Attachment::Agent(mine)).await?;
                identities::attach(tx, scope, ada, Attachment::Block(notes)).await?;
            }
            identities::set_of_agent(tx, scope, mine, &[ben, ada, ben]).await
        })
        .unwrap();
        let by = async |id, keys: &[&str]| linked(house, id, keys).await;
        assert_eq!(
            by(Some(ada), &[]).await,
            ["mine", "notes"],
            "{}",
            house.engine
        );
        assert_eq!(by(Some(ben), &[]).await, ["mine"]);
        assert_eq!(by(None, &["nobody", "ada"]).await, ["mine", "notes"]);
        assert_eq!(by(Some(ada), &["ben"]).await, ["mine"], "both hold");
        let of = read!(house, |tx, scope| identities::of_agents(tx, scope, &[mine])
            .await);
        let of: Vec<IdentityId> = of.unwrap()[&mine].iter().map(|one| one.id).collect();
        assert_eq!(of, [ada, ben], "oldest first");
        write!(house, |tx, scope| {
            identities::detach(tx, scope, ada, Attachment::Agent(mine)).await?;
            identities::delete(tx, scope, ben).await
        })
        .unwrap();
        assert_eq!(by(Some(ada), &[]).await, ["notes"]);
        assert!(by(None, &["ben"]).await.is_empty());
        assert!(matches!(
            get(house, ben).await,
            Err(StoreError::NotFound { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn lists_are_complete_and_filters_find() {
    on_each_engine(async |house| {
        let mut wanted = Vec::new();
        for n in 0..7 {
            let mut new = identity(&format!("k{n}"), n / 3);
            new.id = format!("identity-00000000-0000-4000-8000-00000000000{n}")
                .parse()
                .unwrap();
            if n == 2 {
                new.identity_type = IdentityType::Org;
                new.project_id = Some("p".to_owned());
            }
            wanted.push(stored(house, new).await.to_string());
        }
        let list = async |page: Page| {
            let filter = IdentityFilter::default();
            let found = read!(house, |tx, scope| identities::list(
                tx, scope, &filter, &page
            )
            .await);
            let found = found.unwrap().into_iter();
            found.map(|one| one.id.to_string()).collect::<Vec<_>>()
        };
        reads_completely(list, &wanted).await;
        let all = Page::first(9, Order::Asc);
        let with = |change: fn(&mut IdentityFilter)| {
            let mut filter = IdentityFilter::default();
            change(&mut filter);
            filter
        };
        for (filter, key) in [
            (with(|f| f.name = Some("name of k1".into())), "k1"),
            (with(|f| f.identifier_key = Some("k4".into())), "k4"),
            (with(|f| f.identity_type = Some(IdentityType::Org)), "k2"),
            (with(|f| f.project_id = Some("p".into())), "k2"),
        ] {
            assert_eq!(keys(house, filter.clone(), all.clone()).await, [key]);
            let counted = read!(house, |tx, scope| identities::count(tx, scope, &filter)
                .await);
            assert_eq!(counted.unwrap(), 1, "{}", house.engine);
        }
        let unknown = Page {
            after: Some(IdentityId::new().to_string()),
            ..all
        };
        let refused = read!(house, |tx, scope| {
            identities::list(tx, scope, &IdentityFilter::default(), &unknown).await
        });
        assert!(
            matches!(refused, Err(StoreError::NotFound { .. })),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn another_organization_sees_and_changes_nothing() {
    on_each_engine(async |house| {
        let id = stored(house, identity("ada", 1)).await;
        let mine = stored_agent(house, agent("mine")).await;
        let others = house.seen_by(stranger());
        let not_found = |done: Result<(), StoreError>| {
            assert!(matches!(done, Err(StoreError::NotFound { .. })), "{done:?}");
        };
        not_found(get(&others, id).await.map(drop));
        not_found(update(&others, id, IdentityPatch::default()).await);
        not_found(write!(others, |tx, scope| identities::delete(
            tx, scope, id
        )
        .await));
        let attach = Attachment::Agent(mine);
        not_found(write!(others, |tx, scope| {
            identities::attach(tx, scope, id, attach).await
        }));
        assert!(get(house, id).await.is_ok(), "{}", house.engine);
    })
    .await;
}

/// One agent for each person is how programs keep people apart: their look-up must not read all agents.
#[tokio::test]
async fn on_sqlite_the_agents_of_an_identity_are_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("mnemic.db"));
    let house = open(location, "SQLite").await;
    let plan = write!(house, |tx, scope| {
        let mut plan = Vec::new();
        for condition in [
            "a.id IN (SELECT ai.agent_id FROM agents_identities ai WHERE ai.identity_id = $2)",
            "a.id IN (SELECT ai.agent_id FROM identities i \
             JOIN agents_identities ai ON ai.identity_id = i.id \
             WHERE i.organization_id = $1 AND i.identifier_key IN (SELECT value FROM json_each($2)))",
        ] {
            let sql = format!(
                "EXPLAIN QUERY PLAN SELECT a.name FROM agents a WHERE +a.organization_id = $1 \
                 AND {condition} ORDER BY a.created_at DESC, a.id DESC LIMIT 5"
            );
            let params = mnemic_store::params![scope.organization, "x"];
            for mut row in tx.query(&sql, params).await? {
                for _ in 0..3 {
                    row.int()?;
                }
                plan.push(row.text()?);
            }
        }
        Ok(plan)
    });
    let plan = plan.unwrap().join("\n");
    assert!(
        !plan.contains("SCAN a") && !plan.contains("SCAN i"),
        "{plan}"
    );
    assert_eq!(plan.matches("SEARCH a USING").count(), 2, "{plan}");
}
