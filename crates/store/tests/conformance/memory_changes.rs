//! Changes of an agent's memory by its own tools: all or none, shared blocks included.

use std::collections::HashMap;

use mnemic_core::{
    blocks::{Author, Block},
    ids::{AgentId, RunId},
    memory::{MemoryChange, parse_patch},
    time::Timestamp,
};
use mnemic_store::{
    StoreError,
    blocks::{self, Changes},
};

use crate::{
    build::{agent, attached, block, stored_agent, stored_block},
    house::{House, on_each_engine},
    read, write,
};

async fn change(
    house: &House,
    agent: AgentId,
    changes: Vec<MemoryChange>,
) -> Result<String, StoreError> {
    let author = Author {
        agent_id: Some(agent),
        run_id: Some(RunId::new()),
        tool_call_id: Some("call_1".to_owned()),
        ..Author::default()
    };
    write!(house, |tx, scope| {
        let changes = Changes {
            changes: &changes,
            seen: &HashMap::new(),
            author: &author,
            now: Timestamp(3_000),
        };
        blocks::change(tx, scope, agent.into(), &changes).await
    })
}

async fn patch(house: &House, agent: AgentId, patch: &str) -> Result<String, StoreError> {
    change(house, agent, parse_patch(None, patch).unwrap()).await
}

async fn blocks_of(house: &House, agent: AgentId) -> Vec<Block> {
    read!(house, |tx, scope| blocks::of_agent(tx, scope, agent).await).unwrap()
}

async fn texts_of(house: &House, agent: AgentId) -> Vec<(String, String)> {
    let blocks = blocks_of(house, agent).await;
    blocks
        .into_iter()
        .map(|block| (block.label, block.value))
        .collect()
}

async fn agent_with(house: &House, blocks: &[(&str, &str)]) -> AgentId {
    let id = stored_agent(house, agent("a")).await;
    for (label, value) in blocks {
        let block = stored_block(house, block(label, value)).await;
        attached(house, id, block).await;
    }
    id
}

fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    texts
        .iter()
        .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_patch_changes_makes_renames_and_takes_away() {
    on_each_engine(async |house| {
        let agent = agent_with(house, &[("human", "a\nb"), ("old", "x"), ("plan", "p")]).await;
        let said = patch(
            house,
            agent,
            "*** Update Block: human\n a\n-b\n+c\n*** Delete Block: old\n*** Add Block: old\n+new\n\
             *** Update Block: plan\n*** Move to: plans\n-p\n+q",
        );
        let said = said.await.unwrap();
        assert!(said.contains("'human' now reads:\na\nc"), "{said}");
        let after = pairs(&[("human", "a\nc"), ("plans", "q"), ("old", "new")]);
        assert_eq!(texts_of(house, agent).await, after, "{}", house.engine);
        for block in blocks_of(house, agent).await {
            let id = block.id;
            let versions = read!(house, |tx, scope| {
                blocks::history(tx, scope, id, (None, 10)).await
            });
            let newest = versions.unwrap().remove(0);
            assert_eq!(
                (&newest.value, newest.version),
                (&block.value, block.revision)
            );
            assert_eq!(newest.author.agent_id, Some(agent));
            assert_eq!(newest.author.tool_call_id.as_deref(), Some("call_1"));
            assert!(newest.author.run_id.is_some());
        }
    })
    .await;
}

#[tokio::test]
async fn a_patch_of_which_a_part_is_refused_changes_nothing() {
    on_each_engine(async |house| {
        let texts = [("human", "a"), ("notes", "b")];
        let agent = agent_with(house, &texts).await;
        for (wrong, why) in [
            (
                "*** Add Block: garden\n+x\n*** Update Block: human\n-nope",
                "nope",
            ),
            (
                "*** Delete Block: human\n*** Add Block: notes\n+x",
                "already",
            ),
            (
                "*** Update Block: human\n-a\n+c\n*** Delete Block: nobody",
                "human, notes",
            ),
        ] {
            let refused = patch(house, agent, wrong).await;
            assert!(
                matches!(&refused, Err(StoreError::Invalid(text)) if text.contains(why)),
                "{refused:?}"
            );
            assert_eq!(
                texts_of(house, agent).await,
                pairs(&texts),
                "{}",
                house.engine
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_shared_block_gets_no_label_that_another_of_its_agents_uses() {
    on_each_engine(async |house| {
        let shared = stored_block(house, block("team", "x")).await;
        let first = agent_with(house, &[]).await;
        let second = agent_with(house, &[("ours", "y")]).await;
        attached(house, first, shared).await;
        attached(house, second, shared).await;
        let rename = |to: &str| {
            vec![MemoryChange::Rename {
                label: "team".to_owned(),
                to: to.to_owned(),
            }]
        };
        let refused = change(house, first, rename("ours")).await;
        assert!(
            matches!(refused, Err(StoreError::Invalid(_))),
            "{refused:?}"
        );
        change(house, first, rename("theirs")).await.unwrap();
        let after = pairs(&[("ours", "y"), ("theirs", "x")]);
        assert_eq!(texts_of(house, second).await, after, "{}", house.engine);
        let away = vec![MemoryChange::Detach {
            label: "theirs".to_owned(),
        }];
        change(house, first, away).await.unwrap();
        assert_eq!(
            texts_of(house, second).await,
            after,
            "the other agent keeps it"
        );
        assert!(texts_of(house, first).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_label_that_two_give_at_once_is_given_once_and_the_other_is_told() {
    on_each_engine(async |house| {
        let agent = agent_with(house, &[]).await;
        let create = || {
            vec![MemoryChange::Create {
                label: "garden".to_owned(),
                description: None,
                value: "x".to_owned(),
            }]
        };
        let both = tokio::join!(
            change(house, agent, create()),
            change(house, agent, create())
        );
        let refused =
            |made: &Result<String, StoreError>| matches!(made, Err(StoreError::Invalid(_)));
        assert_eq!(
            [&both.0, &both.1]
                .map(refused)
                .iter()
                .filter(|refused| **refused)
                .count(),
            1,
            "{both:?}"
        );
        assert_eq!(texts_of(house, agent).await, pairs(&[("garden", "x")]));
    })
    .await;
}
