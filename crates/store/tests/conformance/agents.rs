//! Agents, their tags and secrets.

use mnemic_core::{
    agents::Agent,
    ids::{AgentId, BlockId, FolderId, IdentityId, OrganizationId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    Secrets, StoreError, agent_secrets,
    agents::{self, AgentFilter, AgentOrder},
    identities,
    page::{Order, Page},
    params,
};

use crate::{
    build::{agent, attached, block, stored_agent, stored_block},
    house::{House, on_each_engine},
    read, write,
};

async fn list(house: &House, filter: AgentFilter, page: Page) -> Vec<String> {
    let found = read!(house, |tx, scope| agents::list(tx, scope, &filter, &page)
        .await)
    .unwrap();
    found.into_iter().map(|agent| agent.name).collect()
}

async fn found(house: &House, filter: AgentFilter) -> Vec<String> {
    let counted = filter.clone();
    let names = list(house, filter, Page::first(100, Order::Asc)).await;
    let count = read!(house, |tx, scope| agents::count(tx, scope, &counted).await).unwrap();
    assert_eq!(
        count,
        i64::try_from(names.len()).unwrap(),
        "a count is of what a list shows"
    );
    names
}

async fn revision(house: &House, id: AgentId) -> i64 {
    read!(house, |tx, scope| agents::get(tx, scope, id).await)
        .unwrap()
        .revision
}

#[tokio::test]
async fn an_agent_reads_back_as_it_was_stored() {
    on_each_engine(async |house| {
        let stored = agent("Zoë \0 \u{F8FE} 🦀");
        let id = stored_agent(house, stored.clone()).await;
        let read = read!(house, |tx, scope| agents::get(tx, scope, id).await).unwrap();
        assert_eq!(read, stored, "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn agents_of_another_organization_are_not_there() {
    on_each_engine(async |house| {
        let id = stored_agent(house, agent("ours")).await;
        let theirs = House {
            store: house.store.clone(),
            scope: Scope {
                organization: OrganizationId::new(),
                ..Scope::default()
            },
            engine: house.engine,
        };
        let read = read!(theirs, |tx, scope| agents::get(tx, scope, id).await);
        assert!(matches!(read, Err(StoreError::NotFound { .. })));
        let gone = write!(theirs, |tx, scope| agents::delete(tx, scope, id).await);
        assert!(matches!(gone, Err(StoreError::NotFound { .. })));
        assert!(found(&theirs, AgentFilter::default()).await.is_empty());
    })
    .await;
}

fn with(change: impl FnOnce(&mut AgentFilter)) -> AgentFilter {
    let mut filter = AgentFilter::default();
    change(&mut filter);
    filter
}

fn tagged(tags: &[&str], match_all_tags: bool) -> AgentFilter {
    let tags = tags.iter().map(ToString::to_string).collect();
    AgentFilter {
        tags,
        match_all_tags,
        ..AgentFilter::default()
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Three agents, one of them hidden, and a block of the second.
async fn harbour(house: &House) -> BlockId {
    let mut one = agent("Harbour one");
    one.labels.project_id = text("p");
    one.last_stop_reason = text("end_turn");
    let one = stored_agent(house, one).await;
    let mut two = agent("two");
    two.created_at = Timestamp(2_000);
    let two = stored_agent(house, two).await;
    let mut hidden = agent("hidden");
    hidden.hidden = Some(true);
    stored_agent(house, hidden).await;
    write!(house, |tx, scope| {
        agents::set_tags(tx, scope, one, &["a".into(), "b".into(), "a".into()]).await?;
        agents::set_tags(tx, scope, two, &["b".into()]).await
    })
    .unwrap();
    let notes = stored_block(house, block("notes", "")).await;
    attached(house, two, notes).await;
    notes
}

#[tokio::test]
async fn filters_find_agents() {
    on_each_engine(async |house| {
        let notes = harbour(house).await;
        let both = vec!["Harbour one", "two"];
        let table = [
            (with(|_| ()), both.clone()),
            (
                with(|f| f.show_hidden = true),
                vec!["Harbour one", "hidden", "two"],
            ),
            (with(|f| f.name = text("two")), vec!["two"]),
            (with(|f| f.name = text("tw")), vec![]),
            (with(|f| f.query_text = text("HARB")), vec!["Harbour one"]),
            (with(|f| f.query_text = text("%")), vec![]),
            (with(|f| f.project_id = text("p")), vec!["Harbour one"]),
            (with(|f| f.template_id = text("template")), both.clone()),
            (
                with(|f| f.last_stop_reason = text("end_turn")),
                vec!["Harbour one"],
            ),
            (with(|f| f.created_by_id = text("user-nobody")), vec![]),
            (with(|f| f.block_id = Some(notes)), vec!["two"]),
            (with(|f| f.identity_id = Some(IdentityId::new())), vec![]),
            (with(|f| f.identifier_keys = vec!["k".into()]), vec![]),
            (tagged(&["a", "b"], false), both),
            (tagged(&["a", "b", "b"], true), vec!["Harbour one"]),
            (tagged(&["c"], false), vec![]),
        ];
        for (filter, names) in table {
            let mut shown = found(house, filter.clone()).await;
            shown.sort();
            assert_eq!(shown, names, "{} {filter:?}", house.engine);
        }
    })
    .await;
}

#[tokio::test]
async fn every_order_is_read_completely_page_by_page() {
    on_each_engine(async |house| {
        for n in 0..7 {
            let mut one = agent(&format!("agent {n}"));
            // Equal times, so that the id decides; and some that never ran.
            one.created_at = Timestamp(n / 3);
            one.updated_at = Timestamp(-n / 2);
            one.last_run_completion = (n % 2 == 0).then_some(Timestamp(n / 4));
            stored_agent(house, one).await;
        }
        for order_by in [
            AgentOrder::CreatedAt,
            AgentOrder::UpdatedAt,
            AgentOrder::LastRunCompletion,
        ] {
            for order in [Order::Asc, Order::Desc] {
                let filter = AgentFilter {
                    order_by,
                    ..AgentFilter::default()
                };
                complete(house, filter, order).await;
            }
        }
    })
    .await;
}

/// Reads a list in parts, forwards and backwards, and compares with the whole.
async fn complete(house: &House, filter: AgentFilter, order: Order) {
    let whole = ids(house, &filter, Page::first(100, order)).await;
    assert_eq!(whole.len(), 7);
    let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
    let mut page = Page::first(3, order);
    loop {
        let part = ids(house, &filter, page.clone()).await;
        let Some(last) = part.last() else { break };
        page.after = Some(last.to_string());
        forwards.extend(part);
    }
    assert_eq!(forwards, whole, "{} {filter:?} {order:?}", house.engine);
    let mut page = Page {
        before: whole.last().map(ToString::to_string),
        ..Page::first(3, order)
    };
    loop {
        let part = ids(house, &filter, page.clone()).await;
        let Some(first) = part.first() else { break };
        page.before = Some(first.to_string());
        backwards.splice(0..0, part);
    }
    assert_eq!(
        backwards,
        whole[..6],
        "{} {filter:?} {order:?}",
        house.engine
    );
    let unknown = Page {
        after: Some(AgentId::new().to_string()),
        ..Page::first(100, order)
    };
    assert_eq!(
        ids(house, &filter, unknown).await,
        whole,
        "an unknown cursor is ignored"
    );
    let between = Page {
        after: Some(whole[1].to_string()),
        before: Some(whole[4].to_string()),
        ..page
    };
    assert_eq!(ids(house, &filter, between).await, whole[2..4]);
}

async fn ids(house: &House, filter: &AgentFilter, page: Page) -> Vec<AgentId> {
    let filter = filter.clone();
    let found = read!(house, |tx, scope| agents::list(tx, scope, &filter, &page)
        .await)
    .unwrap();
    found.into_iter().map(|agent| agent.id).collect()
}

#[tokio::test]
async fn agents_that_never_ran_come_last_in_either_order() {
    on_each_engine(async |house| {
        stored_agent(house, agent("idle")).await;
        let ran = Agent {
            last_run_completion: Some(Timestamp(5)),
            ..agent("ran")
        };
        stored_agent(house, ran).await;
        for order in [Order::Asc, Order::Desc] {
            let filter = AgentFilter {
                order_by: AgentOrder::LastRunCompletion,
                ..AgentFilter::default()
            };
            assert_eq!(
                list(house, filter, Page::first(9, order)).await,
                ["ran", "idle"]
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_revision_moves_with_what_requests_show_and_only_then() {
    on_each_engine(async |house| {
        let before = agent("a");
        let id = stored_agent(house, before.clone()).await;
        let hidden = Agent {
            description: None,
            hidden: Some(true),
            metadata: None,
            ..before.clone()
        };
        let (old, new) = (before.clone(), hidden.clone());
        write!(house, |tx, scope| agents::update(tx, scope, &old, &new)
            .await)
        .unwrap();
        assert_eq!(revision(house, id).await, 1);
        let louder = Agent {
            system: "Be loud.".to_owned(),
            ..hidden.clone()
        };
        write!(house, |tx, scope| agents::update(
            tx, scope, &hidden, &louder
        )
        .await)
        .unwrap();
        assert_eq!(revision(house, id).await, 2);
        write!(house, |tx, scope| agents::touch(
            tx,
            scope,
            id,
            Timestamp(9)
        )
        .await)
        .unwrap();
        assert_eq!(revision(house, id).await, 3);
        let read = read!(house, |tx, scope| agents::get(tx, scope, id).await).unwrap();
        assert_eq!(
            (read.system.as_str(), read.updated_at),
            ("Be loud.", Timestamp(9))
        );
    })
    .await;
}

#[tokio::test]
async fn several_agents_are_read_in_the_wanted_order() {
    on_each_engine(async |house| {
        let first = stored_agent(house, agent("first")).await;
        let second = stored_agent(house, agent("second")).await;
        let wanted = [second, AgentId::new(), first];
        let found = read!(house, |tx, scope| agents::get_many(tx, scope, &wanted)
            .await)
        .unwrap();
        let names: Vec<&str> = found.iter().map(|agent| agent.name.as_str()).collect();
        assert_eq!(names, ["second", "first"]);
    })
    .await;
}

#[tokio::test]
async fn tags_keep_their_order_and_are_listed_once() {
    on_each_engine(async |house| {
        let one = stored_agent(house, agent("one")).await;
        let two = stored_agent(house, agent("two")).await;
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (first, second) = (words(&["z", "a", "z"]), words(&["m", "a", "Z%"]));
        write!(house, |tx, scope| {
            agents::set_tags(tx, scope, one, &first).await?;
            agents::set_tags(tx, scope, two, &second).await
        })
        .unwrap();
        let of = read!(house, |tx, scope| agents::tags_of(tx, &[one, two]).await).unwrap();
        assert_eq!(
            (&of[&one], &of[&two]),
            (&words(&["z", "a"]), &words(&["m", "a", "Z%"]))
        );
        let page = |after: Option<&str>, before: Option<&str>, limit, order| Page {
            after: after.map(str::to_owned),
            before: before.map(str::to_owned),
            limit,
            order,
        };
        let table = [
            (
                None,
                page(None, None, 9, Order::Asc),
                words(&["Z%", "a", "m", "z"]),
            ),
            (None, page(Some("a"), None, 1, Order::Asc), words(&["m"])),
            (
                None,
                page(None, Some("z"), 2, Order::Asc),
                words(&["a", "m"]),
            ),
            (None, page(None, None, 2, Order::Desc), words(&["z", "m"])),
            (
                None,
                page(Some("m"), None, 2, Order::Desc),
                words(&["a", "Z%"]),
            ),
            (
                Some("z"),
                page(None, None, 9, Order::Asc),
                words(&["Z%", "z"]),
            ),
            (Some("%"), page(None, None, 9, Order::Asc), words(&["Z%"])),
        ];
        for (text, page, wanted) in table {
            let asked = page.clone();
            let found = read!(house, |tx, scope| agents::tags(tx, scope, text, &page)
                .await)
            .unwrap();
            assert_eq!(found, wanted, "{} {text:?} {asked:?}", house.engine);
        }
    })
    .await;
}

#[tokio::test]
async fn links_to_what_does_not_exist_are_refused() {
    on_each_engine(async |house| {
        let id = stored_agent(house, agent("a")).await;
        let unknown = IdentityId::new();
        let linked = write!(house, |tx, scope| identities::set_of_agent(
            tx,
            scope,
            id,
            &[unknown]
        )
        .await);
        assert!(matches!(linked, Err(StoreError::Invalid(text)) if text.contains("identity-")));
        let unknown = FolderId::new();
        let linked = write!(house, |tx, scope| agents::set_folders(
            tx,
            scope,
            id,
            &[unknown]
        )
        .await);
        assert!(matches!(
            linked,
            Err(StoreError::NotFound { noun: "Folder", .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn secrets_are_replaced_as_a_whole_and_are_not_readable_in_the_database() {
    on_each_engine(async |house| {
        let id = stored_agent(house, agent("a")).await;
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        for wanted in [
            vec![pair("B", "two"), pair("A", "one")],
            vec![pair("B", "s3cret-value"), pair("C", "")],
        ] {
            let (secrets, given) = (house.store.secrets().clone(), wanted.clone());
            write!(house, |tx, scope| {
                agent_secrets::replace(tx, &secrets, id, &given, Timestamp(1)).await
            })
            .unwrap();
            let secrets = house.store.secrets().clone();
            let mut found = read!(house, |tx, scope| agent_secrets::of_agents(
                tx,
                &secrets,
                &[id]
            )
            .await)
            .unwrap();
            let pairs: Vec<(String, String)> = found
                .remove(&id)
                .unwrap()
                .into_iter()
                .map(|secret| (secret.key, secret.value))
                .collect();
            let mut sorted = wanted;
            sorted.sort();
            assert_eq!(pairs, sorted);
        }
        let raw = read!(house, |tx, scope| {
            let rows = tx
                .query("SELECT value FROM agent_secrets", params![])
                .await?;
            rows.into_iter()
                .map(|mut row| row.opt_bytes())
                .collect::<Result<Vec<_>, _>>()
        })
        .unwrap();
        assert_eq!(raw.len(), 2);
        for bytes in raw.into_iter().flatten() {
            assert!(!bytes.windows(6).any(|window| window == b"s3cret"));
        }
        let other = Secrets::new(b"another key");
        let read = read!(house, |tx, scope| agent_secrets::of_agents(
            tx,
            &other,
            &[id]
        )
        .await);
        assert!(read.is_err(), "another key opens nothing");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_agent_leaves_its_blocks() {
    on_each_engine(async |house| {
        let id = stored_agent(house, agent("a")).await;
        let notes = stored_block(house, block("notes", "x")).await;
        attached(house, id, notes).await;
        write!(house, |tx, scope| agents::delete(tx, scope, id).await).unwrap();
        let gone = write!(house, |tx, scope| agents::delete(tx, scope, id).await);
        assert!(matches!(
            gone,
            Err(StoreError::NotFound { noun: "Agent", .. })
        ));
        let kept = read!(house, |tx, scope| mnemic_store::blocks::get(
            tx, scope, notes
        )
        .await);
        assert_eq!(kept.unwrap().value, "x");
    })
    .await;
}
