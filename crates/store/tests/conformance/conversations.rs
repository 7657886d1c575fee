//! Conversations.

use mnemic_core::{
    conversations::{Conversation, Thread},
    ids::{AgentId, ConversationId},
    runs::StopReason,
    time::Timestamp,
};
use mnemic_store::{
    StoreError, agents, context,
    conversations::{
        self, ConversationFilter, ConversationOrder, ConversationPatch, NewConversation,
    },
    messages,
    page::{Order, Page},
    runs,
};
use serde_json::json;

use crate::{
    house::{House, on_each_engine},
    paging::reads_completely,
    read,
    thread::{conversation, default_thread, end_user, said, stored_messages, stranger, thread},
    write,
};

async fn get(house: &House, id: ConversationId) -> Result<Conversation, StoreError> {
    read!(house, |tx, scope| conversations::get(tx, scope, id).await)
}

async fn delete(house: &House, id: ConversationId) -> Result<(), StoreError> {
    write!(house, |tx, scope| conversations::soft_delete(
        tx,
        scope,
        id,
        Timestamp(9)
    )
    .await)
}

fn about(summary: &str) -> NewConversation {
    NewConversation {
        summary: Some(summary.to_owned()),
        ..NewConversation::default()
    }
}

fn is_missing<T>(result: &Result<T, StoreError>) -> bool {
    matches!(
        result,
        Err(StoreError::NotFound {
            noun: "Conversation",
            ..
        })
    )
}

#[tokio::test]
async fn a_conversation_reads_back_as_it_was_made() {
    on_each_engine(async |house| {
        let (agent_id, default) = default_thread(house, "a").await;
        let new = NewConversation {
            model: Some("p/m".to_owned()),
            model_settings: Some(json!({"temperature": 0.5, "stop": "\0"})),
            ..about("Zoë's \0 \u{F8FE} boat")
        };
        let anna = house.seen_by(end_user("anna"));
        let id = conversation(&anna, agent_id, new.clone()).await;
        let wanted = Conversation {
            id,
            agent_id,
            is_default: false,
            subject: Some("anna".to_owned()),
            summary: new.summary,
            model: new.model,
            model_settings: new.model_settings,
            archived_at: None,
            context_window_limit: None,
            description: None,
            hidden: false,
            isolated_block_ids: Vec::new(),
            context_revision: 1,
            last_message_at: None,
            created_at: Timestamp(1_000),
            updated_at: Timestamp(1_000),
        };
        assert_eq!(get(house, id).await.unwrap(), wanted, "{}", house.engine);
        assert_eq!(get(&anna, id).await.unwrap(), wanted);
        for other in [stranger(), end_user("bert")] {
            let theirs = house.seen_by(other);
            assert!(is_missing(&get(&theirs, id).await));
            assert!(is_missing(&delete(&theirs, id).await));
        }
        assert!(get(house, default).await.unwrap().is_default);
    })
    .await;
}

#[tokio::test]
async fn a_request_reaches_only_threads_of_its_agent() {
    on_each_engine(async |house| {
        let (agent, default) = default_thread(house, "a").await;
        let (_, second) = thread(house, agent).await;
        let (_, elsewhere) = default_thread(house, "b").await;
        let resolve = async |house: &House, agent: AgentId, thread| {
            let found = read!(house, |tx, scope| conversations::resolve(
                tx, scope, agent, thread
            )
            .await);
            found.map(|conversation| conversation.id)
        };
        for (thread, wanted) in [
            (Thread::Default, default),
            (Thread::Id(default), default),
            (Thread::Id(second), second),
        ] {
            let found = resolve(house, agent, thread).await;
            assert_eq!(found.unwrap(), wanted, "{}", house.engine);
            let theirs = resolve(&house.seen_by(stranger()), agent, thread).await;
            assert!(matches!(theirs, Err(StoreError::NotFound { .. })));
        }
        assert!(is_missing(
            &resolve(house, agent, Thread::Id(elsewhere)).await
        ));
        let nobody = resolve(house, AgentId::new(), Thread::Default).await;
        assert!(matches!(
            nobody,
            Err(StoreError::NotFound { noun: "Agent", .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    on_each_engine(async |house| {
        let (agent, _) = default_thread(house, "a").await;
        let id = conversation(house, agent, about("old")).await;
        let before = get(house, id).await.unwrap();
        let patch = ConversationPatch {
            model: Some(Some("p/m".to_owned())),
            model_settings: Some(Some(json!({"a": 1}))),
            ..ConversationPatch::default()
        };
        let update = async |patch: ConversationPatch| {
            write!(house, |tx, scope| conversations::update(
                tx,
                scope,
                id,
                patch,
                Timestamp(7)
            )
            .await)
            .unwrap()
        };
        let wanted = Conversation {
            model: Some("p/m".to_owned()),
            model_settings: Some(json!({"a": 1})),
            context_revision: before.context_revision + 1,
            updated_at: Timestamp(7),
            ..before
        };
        assert_eq!(update(patch).await, wanted, "{}", house.engine);
        let cleared = ConversationPatch {
            summary: Some(None),
            model: Some(None),
            model_settings: Some(None),
            ..ConversationPatch::default()
        };
        let wanted = Conversation {
            summary: None,
            model: None,
            model_settings: None,
            context_revision: wanted.context_revision + 1,
            ..wanted
        };
        assert_eq!(update(cleared).await, wanted);
        assert_eq!(get(house, id).await.unwrap(), wanted);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_conversation_is_out_of_sight_and_its_messages_stay() {
    on_each_engine(async |house| {
        let (agent, default) = default_thread(house, "a").await;
        let place = thread(house, agent).await;
        let message = stored_messages(house, vec![said(place, "kept")]).await[0];
        delete(house, place.1).await.unwrap();
        assert!(is_missing(&get(house, place.1).await));
        assert!(is_missing(&delete(house, place.1).await));
        assert_eq!(listed(house, ConversationFilter::default()).await, []);
        read!(house, |tx, scope| messages::get(tx, scope, message).await).unwrap();
        let refused = delete(house, default).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
        get(house, default).await.unwrap();
        write!(house, |tx, scope| agents::delete(tx, scope, agent).await).unwrap();
        assert!(is_missing(&get(house, default).await), "{}", house.engine);
    })
    .await;
}

async fn page(
    house: &House,
    filter: ConversationFilter,
    page: Page,
) -> Result<Vec<ConversationId>, StoreError> {
    let found = read!(house, |tx, scope| conversations::list(
        tx, scope, &filter, &page
    )
    .await)?;
    Ok(found.into_iter().map(|one| one.id).collect())
}

async fn listed(house: &House, filter: ConversationFilter) -> Vec<ConversationId> {
    let mut found = page(house, filter, Page::first(100, Order::Asc))
        .await
        .unwrap();
    found.sort();
    found
}

#[tokio::test]
async fn filters_find_conversations_but_never_default_ones() {
    on_each_engine(async |house| {
        let (one, _) = default_thread(house, "a").await;
        let (two, _) = default_thread(house, "b").await;
        let boats = conversation(house, one, about("Boats: 100%_sure")).await;
        let cars = conversation(house, two, about("cars")).await;
        let anna = house.seen_by(end_user("anna"));
        let hers = conversation(&anna, two, NewConversation::default()).await;
        let search = |text: &str| ConversationFilter {
            summary_search: Some(text.to_owned()),
            ..ConversationFilter::default()
        };
        let of = |agent| ConversationFilter {
            agent_id: Some(agent),
            ..ConversationFilter::default()
        };
        let table = [
            (ConversationFilter::default(), vec![boats, cars, hers]),
            (of(one), vec![boats]),
            (of(two), vec![cars, hers]),
            (of(AgentId::new()), vec![]),
            (search("BOAT"), vec![boats]),
            (search("100%_s"), vec![boats]),
            (search("a"), vec![boats, cars]),
            (search("b%s"), vec![]),
        ];
        for (filter, mut wanted) in table {
            wanted.sort();
            let asked = format!("{} {filter:?}", house.engine);
            assert_eq!(listed(house, filter).await, wanted, "{asked}");
        }
        assert_eq!(listed(&anna, ConversationFilter::default()).await, [hers]);
        let theirs = house.seen_by(stranger());
        assert_eq!(listed(&theirs, ConversationFilter::default()).await, []);
    })
    .await;
}

/// Seven conversations that were all made at once, some of which ran or said something.
async fn seven(house: &House) -> Vec<ConversationId> {
    let (agent, _) = default_thread(house, "a").await;
    let mut ids = Vec::new();
    for n in 0i64..7 {
        let place = thread(house, agent).await;
        ids.push(place.1);
        if n % 3 > 0 {
            let (end, at) = (StopReason::EndTurn, Timestamp(10 - n / 2));
            write!(house, |tx, scope| {
                context::append(tx, place.1, 0, &[], Timestamp(n / 4)).await?;
                runs::note_end(tx, place, end, at, 1).await
            })
            .unwrap();
        }
    }
    ids
}

#[tokio::test]
async fn every_order_is_read_completely_page_by_page() {
    on_each_engine(async |house| {
        let made = seven(house).await;
        for order_by in [
            ConversationOrder::CreatedAt,
            ConversationOrder::LastRunCompletion,
            ConversationOrder::LastMessageAt,
        ] {
            let mut sorted: Vec<(i64, String)> = (0i64..)
                .zip(&made)
                .map(|(n, id)| {
                    let key = match order_by {
                        _ if n % 3 == 0 => 0,
                        ConversationOrder::CreatedAt => 0,
                        ConversationOrder::LastRunCompletion => 10 - n / 2,
                        ConversationOrder::LastMessageAt => n / 4,
                    };
                    (key, id.to_string())
                })
                .collect();
            sorted.sort();
            let ids: Vec<String> = sorted.into_iter().map(|(_, id)| id).collect();
            let list = async |asked: Page| {
                let filter = ConversationFilter {
                    order_by,
                    ..ConversationFilter::default()
                };
                let found = page(house, filter, asked).await.unwrap();
                found.iter().map(ToString::to_string).collect()
            };
            reads_completely(list, &ids).await;
        }
        let unknown = Page {
            before: Some(ConversationId::new().to_string()),
            ..Page::first(9, Order::Asc)
        };
        let refused = page(house, ConversationFilter::default(), unknown).await;
        assert!(is_missing(&refused));
    })
    .await;
}
