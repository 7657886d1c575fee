//! Contexts: which messages the model sees, in order, and what begins a turn.

use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, ConversationId, MessageId},
    messages::{Message, MessageBody, Role},
    runs::StopReason,
    time::Timestamp,
};
use mnemic_store::{
    StoreError,
    blocks::{self, BlockPatch},
    context::{self, CompiledPrompt},
    conversations, leases, messages,
    turns::{self, Head},
};

use crate::{
    build::{attached, block, stored_block},
    house::{House, on_each_engine},
    random::numbers,
    read,
    thread::{
        Place, accepted, default_thread, finished, said, stored_messages, stored_run, stranger,
        thread,
    },
    write,
};

async fn ids(house: &House, (_, conversation): Place) -> Vec<MessageId> {
    let ids = read!(house, |tx, scope| context::message_ids(tx, conversation)
        .await)
    .unwrap();
    let whole = read!(house, |tx, scope| context::messages(tx, conversation).await).unwrap();
    let of_whole: Vec<MessageId> = whole.iter().map(|message| message.id).collect();
    assert_eq!(ids, of_whole, "ids and messages tell of the same rows");
    ids
}

async fn head(house: &House, (agent, conversation): Place) -> Head {
    let thread = Thread::Id(conversation);
    write!(house, |tx, scope| turns::head(tx, scope, agent, thread)
        .await)
    .unwrap()
}

/// Stores new messages and appends them to the context, in one transaction as a turn does.
async fn append(house: &House, place: Place, count: usize) -> Vec<MessageId> {
    let new: Vec<Message> = (0..count).map(|_| said(place, "x")).collect();
    let ids: Vec<MessageId> = new.iter().map(|message| message.id).collect();
    let added = ids.clone();
    write!(house, |tx, scope| {
        let head = turns::head(tx, scope, place.0, Thread::Id(place.1)).await?;
        messages::insert(tx, scope, &new).await?;
        let revision =
            context::append(tx, place.1, head.next_position, &added, Timestamp(9)).await?;
        assert_eq!(revision, head.context_revision + 1);
        Ok(())
    })
    .unwrap();
    ids
}

async fn compact(
    house: &House,
    place: Place,
    out: Vec<MessageId>,
    summary: MessageId,
) -> Result<i64, StoreError> {
    let message = Message {
        id: summary,
        ..said(place, "what was said before")
    };
    write!(house, |tx, scope| {
        messages::insert(tx, scope, &[message]).await?;
        context::compact(tx, place.1, &out, summary).await
    })
}

async fn replace(house: &House, place: Place, by: Vec<MessageId>) -> Result<(), StoreError> {
    write!(house, |tx, scope| context::replace(
        tx,
        place.1,
        &by,
        Timestamp(9)
    )
    .await)
}

async fn save_prompt(house: &House, place: Place, text: &str) -> Result<MessageId, StoreError> {
    let prompt = CompiledPrompt {
        text: text.to_owned(),
        tokens: 7,
        signature: format!("signature of {text}"),
        rendered_at: Timestamp(5),
    };
    write!(house, |tx, scope| context::save_prompt(
        tx, scope, place, &prompt
    )
    .await)
}

#[tokio::test]
async fn messages_are_appended_in_their_order() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let mut wanted = append(house, place, 2).await;
        wanted.extend(append(house, place, 70).await);
        append(house, place, 0).await;
        assert_eq!(ids(house, place).await, wanted, "{}", house.engine);
        let shown = read!(house, |tx, scope| conversations::get(tx, scope, place.1)
            .await)
        .unwrap();
        assert_eq!(
            (shown.last_message_at, shown.context_revision),
            (Some(Timestamp(9)), 4)
        );
    })
    .await;
}

#[tokio::test]
async fn two_that_append_at_one_position_do_not_both() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let kept = append(house, place, 2).await;
        let late = stored_messages(house, vec![said(place, "late")]).await;
        let refused = write!(house, |tx, scope| {
            context::append(tx, place.1, 1, &late, Timestamp(9)).await
        });
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
        assert_eq!(ids(house, place).await, kept, "{}", house.engine);
        let nowhere = write!(house, |tx, scope| {
            context::append(tx, ConversationId::new(), 0, &[], Timestamp(9)).await
        });
        assert!(matches!(nowhere, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn the_compiled_prompt_stands_first_and_keeps_its_id() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let prompt = save_prompt(house, place, "one").await.unwrap();
        let said = append(house, place, 2).await;
        assert_eq!(save_prompt(house, place, "two \0").await.unwrap(), prompt);
        let wanted = [prompt, said[0], said[1]];
        assert_eq!(ids(house, place).await, wanted, "{}", house.engine);
        let read = read!(house, |tx, scope| messages::get(tx, scope, prompt).await).unwrap();
        assert_eq!(
            (read.role, read.body, read.tokens),
            (Role::System, MessageBody::text("two \0"), 7)
        );
        let head = head(house, place).await;
        assert_eq!(head.prompt_message_id, Some(prompt));
        assert_eq!(
            head.stored_signature.as_deref(),
            Some("signature of two \0")
        );
        let nowhere = (place.0, ConversationId::new());
        let refused = save_prompt(house, nowhere, "three").await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_reset_leaves_the_prompt_in_the_context_and_all_in_recall() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let prompt = save_prompt(house, place, "one").await.unwrap();
        let old = append(house, place, 3).await;
        let before = head(house, place).await;
        replace(house, place, Vec::new()).await.unwrap();
        assert_eq!(ids(house, place).await, [prompt], "{}", house.engine);
        assert!(head(house, place).await.context_revision > before.context_revision);
        let count = read!(house, |tx, scope| messages::count(tx, scope, place.1).await);
        assert_eq!(count.unwrap(), 4);
        replace(house, place, vec![old[2], old[0]]).await.unwrap();
        let new = append(house, place, 1).await;
        let wanted = [prompt, old[2], old[0], new[0]];
        assert_eq!(ids(house, place).await, wanted);
        let nowhere = (place.0, ConversationId::new());
        let refused = replace(house, nowhere, Vec::new()).await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn whatever_happens_to_a_context_it_is_the_list_that_it_should_be() {
    on_each_engine(async |house| {
        for seed in 0..3 {
            let mut next = numbers(seed);
            let place = default_thread(house, "a").await;
            let other = thread(house, place.0).await;
            let beside = append(house, other, 2).await;
            let prompt = save_prompt(house, place, "prompt").await.unwrap();
            let mut list = Vec::new();
            for _ in 0..25 {
                let before = head(house, place).await.context_revision;
                match next(4) {
                    0 | 1 => list.extend(append(house, place, 1 + next(4)).await),
                    2 => {
                        list.extend(append(house, place, 1).await);
                        let mut out = list.clone();
                        out.retain(|_| next(2) == 0);
                        out.push(list[next(list.len())]);
                        out.sort_by_key(|id| list.iter().position(|one| one == id));
                        out.dedup();
                        let summary = MessageId::new();
                        list.retain(|id| !out.contains(id));
                        list.insert(0, summary);
                        let revision = compact(house, place, out.clone(), summary).await.unwrap();
                        assert_eq!(revision, head(house, place).await.context_revision);
                        let again = compact(house, place, out, MessageId::new()).await;
                        assert!(matches!(again, Err(StoreError::Contended)));
                    }
                    _ => {
                        list.retain(|_| next(3) > 0);
                        list.reverse();
                        replace(house, place, list.clone()).await.unwrap();
                    }
                }
                let wanted = [vec![prompt], list.clone()].concat();
                assert_eq!(ids(house, place).await, wanted, "{} {seed}", house.engine);
                assert!(head(house, place).await.context_revision > before);
            }
            assert_eq!(ids(house, other).await, beside, "another thread's stays");
        }
    })
    .await;
}

#[tokio::test]
async fn default_contexts_of_several_agents_are_read_together() {
    on_each_engine(async |house| {
        let (one, two) = (
            default_thread(house, "a").await,
            default_thread(house, "b").await,
        );
        let empty = default_thread(house, "c").await;
        append(house, thread(house, one.0).await, 2).await;
        let (of_one, of_two) = (append(house, one, 3).await, append(house, two, 2).await);
        let agents: [AgentId; 4] = [two.0, one.0, empty.0, AgentId::new()];
        let read = async |house: &House| {
            read!(house, |tx, scope| {
                context::default_message_ids(tx, scope, &agents).await
            })
            .unwrap()
        };
        let found = read(house).await;
        assert_eq!(found.len(), 2, "{}", house.engine);
        assert_eq!((&found[&one.0], &found[&two.0]), (&of_one, &of_two));
        assert!(read(&house.seen_by(stranger())).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_head_says_who_runs_and_how_many_wait() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let busy = async || {
            let head = head(house, place).await;
            (head.open_runs, head.running)
        };
        assert_eq!(busy().await, (0, None));
        let first = stored_run(house, accepted(place)).await;
        stored_run(house, accepted(place)).await;
        stored_run(house, accepted(thread(house, place.0).await)).await;
        assert_eq!(busy().await, (2, None));
        let lease = write!(house, |tx, scope| {
            leases::acquire(tx, place.1, "boot-1", first).await
        });
        let lease = lease.unwrap().unwrap();
        assert_eq!(busy().await, (2, Some(first)), "{}", house.engine);
        finished(house, first, StopReason::EndTurn).await;
        write!(house, |tx, scope| leases::release(tx, &lease).await).unwrap();
        assert_eq!(busy().await, (1, None));
    })
    .await;
}

#[tokio::test]
async fn a_heads_signature_moves_with_everything_that_the_prompt_shows() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let (one, two) = (
            stored_block(house, block("one", "")).await,
            stored_block(house, block("two", "")).await,
        );
        let mut seen = vec![head(house, place).await.signature];
        let mut moved = async |what: &str| {
            let now = head(house, place).await.signature;
            assert!(!seen.contains(&now), "{} {what}: {now}", house.engine);
            seen.push(now);
        };
        attached(house, place.0, one).await;
        moved("a block is attached").await;
        attached(house, place.0, two).await;
        moved("a second block is attached").await;
        let patch = BlockPatch {
            value: Some("new".to_owned()),
            ..BlockPatch::default()
        };
        write!(house, |tx, scope| blocks::update(
            tx,
            scope,
            two,
            patch,
            Timestamp(9)
        )
        .await)
        .unwrap();
        moved("a block's value changes").await;
        write!(house, |tx, scope| {
            mnemic_store::agents::touch(tx, scope, place.0, Timestamp(9)).await
        })
        .unwrap();
        moved("the agent changes").await;
        let still = head(house, place).await.signature;
        append(house, place, 1).await;
        stored_block(house, block("three", "")).await;
        assert_eq!(head(house, place).await.signature, still);
    })
    .await;
}

#[tokio::test]
async fn a_head_is_found_by_thread_and_only_of_ones_own_agent() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let second = thread(house, place.0).await;
        let other = default_thread(house, "b").await;
        let find = async |house: &House, agent, thread| {
            let head = write!(house, |tx, scope| turns::head(tx, scope, agent, thread)
                .await);
            head.map(|head| (head.conversation_id, head.is_default))
        };
        for (thread, wanted) in [
            (Thread::Default, (place.1, true)),
            (Thread::Id(place.1), (place.1, true)),
            (Thread::Id(second.1), (second.1, false)),
        ] {
            assert_eq!(find(house, place.0, thread).await.unwrap(), wanted);
            let theirs = find(&house.seen_by(stranger()), place.0, thread).await;
            assert!(matches!(theirs, Err(StoreError::NotFound { .. })));
        }
        for (agent, thread, wanted) in [
            (AgentId::new(), Thread::Default, "Agent"),
            (place.0, Thread::Id(other.1), "Conversation"),
        ] {
            let Err(StoreError::NotFound { noun, .. }) = find(house, agent, thread).await else {
                panic!("{thread:?} is no thread of that agent");
            };
            assert_eq!(noun, wanted);
        }
    })
    .await;
}

#[tokio::test]
async fn a_context_that_was_never_compiled_is_reset_too() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        append(house, place, 2).await;
        replace(house, place, Vec::new()).await.unwrap();
        assert_eq!(ids(house, place).await, [], "{}", house.engine);
    })
    .await;
}
