//! Messages: what is stored reads back, and history is read completely.

use mnemic_core::{
    compaction::{CompactionStats, Trigger},
    ids::{AgentId, MessageId, RunId, StepId},
    messages::{ContentPart, Message, MessageBody, Role, ToolCall, ToolReturn, ToolStatus},
    time::Timestamp,
};
use mnemic_store::{
    StoreError,
    messages::{self, MessageFilter, MessageSpan},
    page::{Order, Page},
};

use crate::{
    house::{House, on_each_engine},
    paging::reads_completely,
    read,
    thread::{Place, default_thread, end_user, said, stored_messages, stranger, thread},
};

async fn get(house: &House, id: MessageId) -> Result<Message, StoreError> {
    read!(house, |tx, scope| messages::get(tx, scope, id).await)
}

fn of_thread((_, conversation): Place) -> MessageFilter {
    MessageFilter {
        conversation_id: Some(conversation),
        ..MessageFilter::default()
    }
}

fn with(change: impl FnOnce(&mut MessageFilter)) -> MessageFilter {
    let mut filter = MessageFilter::default();
    change(&mut filter);
    filter
}

async fn listed(
    house: &House,
    filter: MessageFilter,
    page: Page,
) -> Result<Vec<MessageId>, StoreError> {
    let found = read!(house, |tx, scope| messages::list(tx, scope, &filter, &page)
        .await)?;
    Ok(found.into_iter().map(|message| message.id).collect())
}

/// A message with every field set, of texts that are hard to keep.
fn full(place: Place) -> Message {
    let odd = "nul \0 escape \u{F8FE} crab 🦀 \"quoted\" \\ \r\n".to_owned();
    Message {
        role: Role::Assistant,
        body: MessageBody {
            content: vec![
                ContentPart::Reasoning {
                    text: odd.clone(),
                    signature: Some("s".to_owned()),
                    origin: None,
                },
                ContentPart::text(&odd),
                ContentPart::Image {
                    media_type: "image/png".to_owned(),
                    data: "AAAA".to_owned(),
                },
            ],
            tool_calls: vec![ToolCall {
                id: "call_1".to_owned(),
                name: "t".to_owned(),
                arguments: odd.clone(),
            }],
            tool_returns: vec![ToolReturn {
                tool_call_id: "call_1".to_owned(),
                name: "t".to_owned(),
                status: ToolStatus::Error,
                text: odd.clone(),
                stdout: vec![odd.clone()],
                stderr: vec![String::new()],
                images: Vec::new(),
            }],
            awaiting: Vec::new(),
            answers: Vec::new(),
            compaction: Some(Box::new(CompactionStats {
                trigger: Trigger::Manual,
                context_tokens_before: Some(9),
                context_tokens_after: None,
                context_window: 10,
                messages_count_before: 3,
                messages_count_after: 2,
            })),
        },
        name: Some(odd.clone()),
        otid: Some(odd.clone()),
        sender_id: Some(odd),
        step_id: Some(StepId::new()),
        run_id: Some(RunId::new()),
        tokens: 42,
        created_at: Timestamp(-1),
        ..said(place, "")
    }
}

#[tokio::test]
async fn a_message_reads_back_as_it_was_stored() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let anna = house.seen_by(end_user("anna"));
        for stored in [full(place), said(place, "")] {
            let id = stored_messages(&anna, vec![stored.clone()]).await[0];
            assert_eq!(get(house, id).await.unwrap(), stored, "{}", house.engine);
            assert_eq!(get(&anna, id).await.unwrap(), stored);
            for other in [stranger(), end_user("bert")] {
                let theirs = house.seen_by(other);
                let read = get(&theirs, id).await;
                assert!(matches!(read, Err(StoreError::NotFound { .. })));
                let page = Page::first(9, Order::Asc);
                assert_eq!(listed(&theirs, of_thread(place), page).await.unwrap(), []);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn messages_stored_together_keep_their_order_however_many() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let mut all = Vec::new();
        for count in [0, 1, 2, 3, 63, 64, 65, 131] {
            let new = (0..count).map(|_| said(place, "x")).collect();
            all.extend(stored_messages(house, new).await);
        }
        let page = Page::first(1_000, Order::Asc);
        let read = listed(house, of_thread(place), page).await.unwrap();
        assert_eq!(read, all, "{}", house.engine);
        let count = read!(house, |tx, scope| messages::count(tx, scope, place.1).await);
        assert_eq!(count.unwrap(), i64::try_from(all.len()).unwrap());
    })
    .await;
}

/// Stores messages of two threads, in turns and with few different times; gives those of the first.
async fn history(house: &House, here: Place, there: Place) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..10 {
        let place = if n % 4 == 3 { there } else { here };
        let message = Message {
            // Later messages may say earlier times: what is captured brings its own.
            created_at: Timestamp(5 - n / 5),
            ..said(place, "x")
        };
        let id = stored_messages(house, vec![message]).await[0];
        if place == here {
            ids.push(id.to_string());
        }
    }
    ids
}

#[tokio::test]
async fn history_is_read_completely_whatever_times_its_messages_have() {
    on_each_engine(async |house| {
        let here = default_thread(house, "a").await;
        let ids = history(house, here, default_thread(house, "b").await).await;
        let filters = [
            of_thread(here),
            MessageFilter {
                agent_id: Some(here.0),
                ..MessageFilter::default()
            },
        ];
        for filter in filters {
            let list = async |page: Page| {
                let found = listed(house, filter.clone(), page).await.unwrap();
                found.iter().map(ToString::to_string).collect()
            };
            reads_completely(list, &ids).await;
        }
    })
    .await;
}

#[tokio::test]
async fn history_that_grows_while_it_is_read_shows_every_message_once() {
    on_each_engine(async |house| {
        for (order, sees_new) in [(Order::Asc, true), (Order::Desc, false)] {
            let place = default_thread(house, "a").await;
            let mut all: Vec<MessageId> = Vec::new();
            for _ in 0..5 {
                all.extend(stored_messages(house, vec![said(place, "old")]).await);
            }
            let (mut read, mut page) = (Vec::new(), Page::first(2, order));
            loop {
                let part = listed(house, of_thread(place), page.clone()).await.unwrap();
                let Some(last) = part.last() else { break };
                page.after = Some(last.to_string());
                read.extend(part);
                if all.len() < 8 {
                    let new = stored_messages(house, vec![said(place, "new")]).await;
                    all.extend(new);
                }
            }
            if !sees_new {
                all.truncate(5);
                all.reverse();
            }
            assert_eq!(read, all, "{} {order:?}", house.engine);
        }
    })
    .await;
}

#[tokio::test]
async fn a_cursor_that_names_no_message_is_refused() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        stored_messages(house, vec![said(place, "x")]).await;
        let unknown = Some(MessageId::new().to_string());
        let page = Page::first(9, Order::Desc);
        for page in [
            Page {
                after: unknown.clone(),
                ..page.clone()
            },
            Page {
                before: unknown,
                ..page
            },
        ] {
            let refused = listed(house, of_thread(place), page).await;
            assert!(matches!(
                refused,
                Err(StoreError::NotFound {
                    noun: "Message",
                    ..
                })
            ));
        }
    })
    .await;
}

#[tokio::test]
async fn filters_find_messages() {
    on_each_engine(async |house| {
        let here = default_thread(house, "a").await;
        let there = thread(house, here.0).await;
        let (run, step) = (RunId::new(), StepId::new());
        let mut marked = said(here, "x");
        marked.run_id = Some(run);
        marked.step_id = Some(step);
        marked.otid = Some("o".to_owned());
        let ids = stored_messages(house, vec![marked, said(here, "y"), said(there, "z")]).await;
        let of_agent = with(|f| f.agent_id = Some(here.0));
        let table = [
            (with(|_| ()), vec![ids[0], ids[1], ids[2]]),
            (of_agent, vec![ids[0], ids[1], ids[2]]),
            (of_thread(here), vec![ids[0], ids[1]]),
            (of_thread(there), vec![ids[2]]),
            (with(|f| f.run_id = Some(run)), vec![ids[0]]),
            (with(|f| f.run_id = Some(RunId::new())), vec![]),
            (with(|f| f.step_id = Some(step)), vec![ids[0]]),
        ];
        for (filter, wanted) in table {
            let asked = format!("{} {filter:?}", house.engine);
            let page = Page::first(9, Order::Asc);
            assert_eq!(
                listed(house, filter, page).await.unwrap(),
                wanted,
                "{asked}"
            );
        }
        for (run, otid, wanted) in [
            (run, "o", Some(ids[0])),
            (run, "p", None),
            (RunId::new(), "o", None),
        ] {
            let found = read!(house, |tx, scope| messages::by_otid(tx, run, otid).await);
            assert_eq!(found.unwrap(), wanted);
        }
    })
    .await;
}

/// What was said to an agent at the times 0 to 4, and to another.
async fn spoken(house: &House) -> AgentId {
    let place = default_thread(house, "a").await;
    let spoken = [
        (Role::System, "Apples: the prompt"),
        (Role::User, "I like apples"),
        (Role::Assistant, "Pears are better"),
        (Role::Tool, "plums"),
        (Role::User, "\u{c4}pfel"),
    ];
    let mut messages = vec![said(default_thread(house, "b").await, "apples")];
    for (n, (role, text)) in (0i64..).zip(spoken) {
        messages.push(Message {
            role,
            created_at: Timestamp(n),
            ..said(place, text)
        });
    }
    stored_messages(house, messages).await;
    place.0
}

async fn newest(house: &House, agent: AgentId, span: MessageSpan, limit: i64) -> Vec<i64> {
    let found = read!(house, |tx, scope| messages::newest(
        tx, scope, agent, &span, limit
    )
    .await)
    .unwrap();
    found.iter().map(|message| message.created_at.0).collect()
}

#[tokio::test]
async fn the_newest_messages_are_found_by_speakers_and_times() {
    on_each_engine(async |house| {
        let agent = spoken(house).await;
        let between = |start, end| MessageSpan {
            start: Some(Timestamp(start)),
            end: Some(Timestamp(end)),
            ..MessageSpan::default()
        };
        let of = |role| MessageSpan {
            roles: vec![role],
            ..MessageSpan::default()
        };
        let table: [(MessageSpan, &[i64]); 4] = [
            (MessageSpan::default(), &[4, 3, 2, 1]),
            (of(Role::User), &[4, 1]),
            (of(Role::System), &[0]),
            (between(1, 2), &[2, 1]),
        ];
        for (span, wanted) in table {
            let asked = format!("{} {span:?}", house.engine);
            assert_eq!(newest(house, agent, span, 100).await, wanted, "{asked}");
        }
        assert_eq!(newest(house, agent, MessageSpan::default(), 1).await, [4]);
        let theirs = house.seen_by(stranger());
        assert_eq!(
            newest(&theirs, agent, MessageSpan::default(), 9).await,
            [0; 0]
        );
    })
    .await;
}

#[tokio::test]
async fn what_an_index_reads_goes_on_from_a_number_in_both_directions() {
    on_each_engine(async |house| {
        let agent = spoken(house).await;
        let all = read!(house, |tx, _s| messages::after(tx, agent, None, (0, 100))
            .await)
        .unwrap();
        let seqs: Vec<i64> = all.iter().map(|row| row.seq).collect();
        assert_eq!(seqs.len(), 5);
        assert!(seqs.is_sorted());
        let (second, last) = (seqs[1], seqs[4]);
        let rest = read!(house, |tx, _s| messages::after(
            tx,
            agent,
            None,
            (second, 2)
        )
        .await);
        let rest: Vec<i64> = rest.unwrap().iter().map(|row| row.seq).collect();
        assert_eq!(rest, seqs[2..4]);
        let down = read!(house, |tx, _s| messages::downwards(
            tx,
            agent,
            (second, last),
            9
        )
        .await);
        let down: Vec<i64> = down.unwrap().iter().map(|row| row.seq).collect();
        assert_eq!(down, [seqs[3], seqs[2]]);
        let count = read!(house, |tx, _s| messages::count_between(
            tx,
            agent,
            None,
            (second, last)
        )
        .await);
        assert_eq!(count.unwrap(), 3);
        let found = read!(house, |tx, scope| messages::by_seqs(
            tx,
            scope,
            agent,
            &[second, 999_999]
        )
        .await);
        let found = found.unwrap();
        assert_eq!((found.len(), found[0].0), (1, second));
        let theirs = house.seen_by(stranger());
        let found = read!(theirs, |tx, scope| messages::by_seqs(
            tx,
            scope,
            agent,
            &[second]
        )
        .await);
        assert!(found.unwrap().is_empty());
    })
    .await;
}
