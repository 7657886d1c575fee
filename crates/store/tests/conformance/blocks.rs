//! Blocks: values, limits, versions, sharing.

use mnemic_core::{
    blocks::{Author, Block, BlockVersion},
    ids::{AgentId, BlockId, RunId, UserId},
    memory::BlockEdit,
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    StoreError, agents,
    blocks::{self, BlockFilter, BlockPatch, Change},
    page::{Order, Page},
};
use serde_json::json;

use crate::{
    build::{agent, attached, block, stored_agent, stored_block},
    house::{House, on_each_engine},
    read, write,
};

async fn get(house: &House, id: BlockId) -> Block {
    read!(house, |tx, scope| blocks::get(tx, scope, id).await).unwrap()
}

async fn update(house: &House, id: BlockId, patch: BlockPatch) -> Result<Block, StoreError> {
    write!(house, |tx, scope| blocks::update(
        tx,
        scope,
        id,
        patch,
        Timestamp(2_000)
    )
    .await)
}

fn to_value(value: &str) -> BlockPatch {
    BlockPatch {
        value: Some(value.to_owned()),
        ..BlockPatch::default()
    }
}

async fn history(house: &House, id: BlockId) -> Vec<BlockVersion> {
    read!(house, |tx, scope| blocks::history(
        tx,
        scope,
        id,
        (None, 100)
    )
    .await)
    .unwrap()
}

async fn edit(
    house: &House,
    (agent, label): (AgentId, &'static str),
    edit: BlockEdit,
    based_on: Option<i64>,
) -> Result<Block, StoreError> {
    let author = Author {
        agent_id: Some(agent),
        run_id: Some(RunId::new()),
        tool_call_id: Some("call_1".to_owned()),
        ..Author::default()
    };
    write!(house, |tx, scope| {
        let change = Change {
            edit: &edit,
            based_on,
            author: &author,
            now: Timestamp(3_000),
        };
        blocks::edit(tx, scope, (agent.into(), label), &change).await
    })
}

fn append(content: &str) -> BlockEdit {
    BlockEdit::Append {
        content: content.to_owned(),
    }
}

#[tokio::test]
async fn a_block_reads_back_as_it_was_stored() {
    on_each_engine(async |house| {
        let mut stored = block("odd/label", "tab\t nul \0 🦀 \u{F8FE}\r\n");
        stored.tags = vec!["z".to_owned(), "a".to_owned()];
        stored.metadata = json!({"k": "\u{0}"}).as_object().cloned().unwrap();
        stored.description = Some(String::new());
        stored.labels.template_name = Some("t".to_owned());
        stored.hidden = Some(false);
        let id = stored_block(house, stored.clone()).await;
        assert_eq!(get(house, id).await, stored, "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn every_shown_change_is_a_version_with_its_author() {
    on_each_engine(async |house| {
        let agent = stored_agent(house, agent("a")).await;
        let id = stored_block(house, block("notes", "one")).await;
        attached(house, agent, id).await;
        update(house, id, to_value("two")).await.unwrap();
        let tags = BlockPatch {
            tags: Some(vec!["t".to_owned()]),
            ..BlockPatch::default()
        };
        assert_eq!(
            update(house, id, tags).await.unwrap().revision,
            2,
            "no prompt shows tags"
        );
        edit(house, (agent, "notes"), append("three"), None)
            .await
            .unwrap();
        let versions = history(house, id).await;
        let values: Vec<(i64, &str)> = versions
            .iter()
            .map(|version| (version.version, version.value.as_str()))
            .collect();
        assert_eq!(values, [(3, "two\nthree"), (2, "two"), (1, "one")]);
        assert_eq!(versions[0].author.agent_id, Some(agent));
        assert_eq!(versions[0].author.tool_call_id.as_deref(), Some("call_1"));
        assert_eq!(versions[0].created_at, Timestamp(3_000));
        assert_eq!(versions[1].author.user_id, Some(UserId::DEFAULT));
        let part = read!(house, |tx, scope| {
            blocks::history(tx, scope, id, (Some(3), 1)).await
        })
        .unwrap();
        assert_eq!(part[0].version, 2);
    })
    .await;
}

#[tokio::test]
async fn a_restored_version_is_a_new_one() {
    on_each_engine(async |house| {
        let id = stored_block(house, block("notes", "one")).await;
        let patch = BlockPatch {
            limit: Some(500),
            ..to_value("two")
        };
        update(house, id, patch).await.unwrap();
        let restored = write!(house, |tx, scope| {
            blocks::restore(tx, scope, id, 1, Timestamp(4_000)).await
        })
        .unwrap();
        assert_eq!(
            (restored.value.as_str(), restored.limit, restored.revision),
            ("one", 100, 3)
        );
        assert_eq!(history(house, id).await.len(), 3);
        let unknown = write!(house, |tx, scope| {
            blocks::restore(tx, scope, id, 9, Timestamp(4_000)).await
        });
        assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_value_over_its_limit_is_refused_with_the_numbers() {
    on_each_engine(async |house| {
        let id = stored_block(house, block("notes", &"é".repeat(50))).await;
        let longer = update(house, id, to_value(&"x".repeat(101)))
            .await
            .unwrap_err()
            .to_string();
        assert!(longer.contains("101") && longer.contains("100"), "{longer}");
        let lower = BlockPatch {
            limit: Some(10),
            ..BlockPatch::default()
        };
        let lowered = update(house, id, lower).await.unwrap_err().to_string();
        assert!(
            lowered.contains("50") && lowered.contains("10"),
            "{lowered}"
        );
        let both = BlockPatch {
            limit: Some(10),
            ..to_value(&"x".repeat(30))
        };
        assert!(
            update(house, id, both).await.is_err(),
            "shorter than before, but over the limit"
        );
        let both = BlockPatch {
            limit: Some(10),
            ..to_value("short")
        };
        assert_eq!(update(house, id, both).await.unwrap().limit, 10);
        assert_eq!(
            get(house, id).await.revision,
            2,
            "what was refused left no trace"
        );
    })
    .await;
}

#[tokio::test]
async fn a_block_that_came_over_its_limit_stays_readable_and_may_shrink() {
    on_each_engine(async |house| {
        let over = Block {
            limit: 10,
            ..block("notes", &"x".repeat(20))
        };
        let id = stored_block(house, over).await;
        assert_eq!(get(house, id).await.value.len(), 20);
        let described = BlockPatch {
            description: Some(Some("d".into())),
            ..BlockPatch::default()
        };
        assert!(
            update(house, id, described).await.is_ok(),
            "other fields can change"
        );
        assert!(update(house, id, to_value(&"y".repeat(20))).await.is_err());
        assert_eq!(
            update(house, id, to_value(&"y".repeat(15)))
                .await
                .unwrap()
                .value
                .len(),
            15
        );
    })
    .await;
}

#[tokio::test]
async fn labels_are_unique_within_an_agent_and_not_beyond() {
    on_each_engine(async |house| {
        let one = stored_agent(house, agent("one")).await;
        let two = stored_agent(house, agent("two")).await;
        let notes = stored_block(house, block("notes", "a")).await;
        let other = stored_block(house, block("notes", "b")).await;
        let tasks = stored_block(house, block("tasks", "c")).await;
        for (agent, block) in [(one, notes), (one, tasks), (two, other)] {
            attached(house, agent, block).await;
        }
        let twice = write!(house, |tx, scope| blocks::attach(tx, scope, one, other)
            .await);
        assert!(matches!(twice, Err(StoreError::Conflict(text)) if text.contains("notes")));
        let again = write!(house, |tx, scope| blocks::attach(tx, scope, one, notes)
            .await);
        assert!(!again.unwrap(), "it was attached already");
        let label = BlockPatch {
            label: Some("tasks".to_owned()),
            ..BlockPatch::default()
        };
        let renamed = update(house, notes, label.clone()).await;
        assert!(matches!(renamed, Err(StoreError::Conflict(text)) if text.contains("tasks")));
        update(house, other, label).await.unwrap();
        let found = read!(house, |tx, scope| blocks::by_label(tx, scope, two, "tasks")
            .await);
        assert_eq!(found.unwrap().map(|block| block.id), Some(other));
        let unknown = write!(house, |tx, scope| {
            blocks::attach(tx, scope, one, BlockId::new()).await
        });
        assert!(matches!(
            unknown,
            Err(StoreError::NotFound { noun: "Block", .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn blocks_of_agents_stand_in_the_order_of_attachment() {
    on_each_engine(async |house| {
        let one = stored_agent(house, agent("one")).await;
        let two = stored_agent(house, agent("two")).await;
        let mut ids = Vec::new();
        for label in ["c", "a", "b"] {
            ids.push(stored_block(house, block(label, label)).await);
        }
        for id in &ids {
            attached(house, one, *id).await;
        }
        attached(house, two, ids[2]).await;
        let first = ids[0];
        let detached = write!(house, |tx, scope| blocks::detach(tx, one, first).await).unwrap();
        assert!(detached);
        let again = write!(house, |tx, scope| blocks::detach(tx, one, first).await).unwrap();
        assert!(!again);
        attached(house, one, first).await;
        let found = read!(house, |tx, scope| blocks::of_agents(tx, scope, &[one, two])
            .await)
        .unwrap();
        let labels = |agent: AgentId| -> Vec<&str> {
            found[&agent]
                .iter()
                .map(|block| block.label.as_str())
                .collect()
        };
        assert_eq!((labels(one), labels(two)), (vec!["a", "b", "c"], vec!["b"]));
    })
    .await;
}

#[tokio::test]
async fn no_edit_is_lost_when_many_come_at_once() {
    on_each_engine(async |house| {
        let agent = stored_agent(house, agent("a")).await;
        let id = stored_block(
            house,
            Block {
                limit: 10_000,
                ..block("notes", "")
            },
        )
        .await;
        attached(house, agent, id).await;
        let mut edits = tokio::task::JoinSet::new();
        for n in 0..20 {
            let own = House {
                store: house.store.clone(),
                scope: house.scope.clone(),
                engine: house.engine,
            };
            edits.spawn(async move {
                let content = format!("line {n}");
                edit(&own, (agent, "notes"), BlockEdit::Append { content }, None).await
            });
        }
        for edited in edits.join_all().await {
            edited.unwrap();
        }
        let after = get(house, id).await;
        let mut lines: Vec<&str> = after.value.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!((lines.len(), after.revision), (20, 21), "{}", house.engine);
        assert_eq!(history(house, id).await.len(), 21);
    })
    .await;
}

#[tokio::test]
async fn a_refused_edit_says_why_and_changes_nothing() {
    on_each_engine(async |house| {
        let agent = stored_agent(house, agent("a")).await;
        let id = stored_block(house, block("notes", "one")).await;
        let fixed = Block {
            read_only: true,
            ..block("fixed", "")
        };
        let fixed = stored_block(house, fixed).await;
        attached(house, agent, id).await;
        attached(house, agent, fixed).await;
        update(house, id, to_value("two")).await.unwrap();
        let rethink = BlockEdit::Rethink {
            value: "mine".to_owned(),
        };
        let replace = BlockEdit::ReplaceUnique {
            old: "one".to_owned(),
            new: "x".to_owned(),
        };
        let table = [
            ("notes", rethink, Some(1), "two"),
            ("notes", replace, None, "two"),
            ("notes", append(&"x".repeat(100)), None, "104"),
            ("fixed", append("x"), None, "read-only"),
            ("nope", append("x"), None, "notes, fixed"),
        ];
        for (label, wanted, based_on, part) in table {
            let refused = edit(house, (agent, label), wanted, based_on)
                .await
                .unwrap_err();
            assert!(
                matches!(&refused, StoreError::Invalid(text) if text.contains(part)),
                "{refused}"
            );
        }
        assert_eq!(get(house, id).await.revision, 2);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_block_moves_the_revisions_of_its_agents() {
    on_each_engine(async |house| {
        let agent = stored_agent(house, agent("a")).await;
        let id = stored_block(house, block("notes", "one")).await;
        attached(house, agent, id).await;
        write!(house, |tx, scope| blocks::delete(tx, scope, id).await).unwrap();
        let after = read!(house, |tx, scope| agents::get(tx, scope, agent).await).unwrap();
        assert_eq!(after.revision, 2);
        let left = read!(house, |tx, scope| blocks::of_agent(tx, scope, agent).await).unwrap();
        assert!(left.is_empty());
        let gone = write!(house, |tx, scope| blocks::delete(tx, scope, id).await);
        assert!(matches!(gone, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_users_own_block_is_hidden_from_other_users() {
    on_each_engine(async |house| {
        let of = |subject: &str| House {
            store: house.store.clone(),
            scope: Scope {
                subject: Some(subject.to_owned()),
                ..Scope::default()
            },
            engine: house.engine,
        };
        let (ada, ben) = (of("ada"), of("ben"));
        let own = stored_block(&ada, block("own", "hers")).await;
        let common = stored_block(house, block("common", "all")).await;
        assert_eq!(get(&ada, own).await.subject.as_deref(), Some("ada"));
        assert_eq!(get(&ben, common).await.value, "all");
        let hidden = read!(ben, |tx, scope| blocks::get(tx, scope, own).await);
        assert!(matches!(hidden, Err(StoreError::NotFound { .. })));
        let listed = found(&ben, BlockFilter::default()).await;
        assert_eq!(listed, ["common"]);
        assert_eq!(found(house, BlockFilter::default()).await.len(), 2);
    })
    .await;
}

async fn found(house: &House, filter: BlockFilter) -> Vec<String> {
    let counted = filter.clone();
    let page = Page::first(100, Order::Asc);
    let blocks = read!(house, |tx, scope| blocks::list(tx, scope, &filter, &page)
        .await)
    .unwrap();
    let count = read!(house, |tx, scope| blocks::count(tx, scope, &counted).await).unwrap();
    assert_eq!(
        count,
        i64::try_from(blocks.len()).unwrap(),
        "a count is of what a list shows"
    );
    blocks.into_iter().map(|block| block.label).collect()
}

fn with(change: impl FnOnce(&mut BlockFilter)) -> BlockFilter {
    let mut filter = BlockFilter::default();
    change(&mut filter);
    filter
}

fn tagged(tags: &[&str], match_all_tags: bool) -> BlockFilter {
    let tags = tags.iter().map(ToString::to_string).collect();
    BlockFilter {
        tags,
        match_all_tags,
        ..BlockFilter::default()
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Three blocks, one of them hidden, and an agent with the first.
async fn shelf(house: &House) -> AgentId {
    let agent = stored_agent(house, agent("a")).await;
    let mut one = block("one", "a 100% value");
    one.description = text("Of Ships");
    one.tags = vec!["x".to_owned(), "y".to_owned()];
    one.labels.template_name = text("tpl");
    one.labels.project_id = text("p");
    let one = stored_block(house, one).await;
    let mut two = block("two", "100 values");
    two.is_template = true;
    two.tags = vec!["y".to_owned()];
    two.created_at = Timestamp(2_000);
    stored_block(house, two).await;
    let mut hidden = block("hidden", "");
    hidden.hidden = Some(true);
    stored_block(house, hidden).await;
    attached(house, agent, one).await;
    agent
}

#[tokio::test]
async fn filters_find_blocks() {
    on_each_engine(async |house| {
        let agent = shelf(house).await;
        let table = [
            (with(|_| ()), vec!["one", "two"]),
            (with(|f| f.show_hidden = true), vec!["hidden", "one", "two"]),
            (with(|f| f.label = text("one")), vec!["one"]),
            (with(|f| f.label_search = text("TW")), vec!["two"]),
            (with(|f| f.value_search = text("100%")), vec!["one"]),
            (with(|f| f.description_search = text("ships")), vec!["one"]),
            (with(|f| f.name = text("tpl")), vec!["one"]),
            (with(|f| f.name = text("tp")), vec![]),
            (with(|f| f.project_id = text("p")), vec!["one"]),
            (with(|f| f.templates_only = true), vec!["two"]),
            (tagged(&["x", "y"], false), vec!["one", "two"]),
            (tagged(&["x", "y"], true), vec!["one"]),
            (with(|f| f.agent_id = Some(agent)), vec!["one"]),
            (with(|f| f.agents_more_than = Some(0)), vec!["one"]),
            (with(|f| f.agents_fewer_than = Some(1)), vec!["two"]),
            (with(|f| f.agents_exactly = vec![1, 5]), vec!["one"]),
            (with(|f| f.identifier_keys = vec!["k".to_owned()]), vec![]),
        ];
        for (filter, wanted) in table {
            let mut shown = found(house, filter.clone()).await;
            shown.sort();
            assert_eq!(shown, wanted, "{} {filter:?}", house.engine);
        }
    })
    .await;
}
