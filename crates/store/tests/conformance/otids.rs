//! Clients' own message ids.

use mnemic_core::ids::{ConversationId, MessageId, RunId};
use mnemic_store::{
    StoreError, agents,
    otids::{self, Offered},
    params, runs,
};

use crate::{
    house::{House, on_each_engine},
    read,
    thread::{accepted, default_thread, run, stored_run, thread},
    write,
};

type Taker = (Option<RunId>, Option<MessageId>);

async fn offer(
    house: &House,
    thread: ConversationId,
    (otid, hash): (&str, &str),
    taker: Taker,
) -> Result<Offered, StoreError> {
    let (otid, hash) = (otid.to_owned(), hash.to_owned());
    write!(house, |tx, scope| otids::offer(
        tx, thread, &otid, &hash, taker
    )
    .await)
}

async fn known(house: &House) -> i64 {
    let sql = "SELECT COUNT(*) FROM otids";
    read!(house, |tx, scope| tx.query_one(sql, &[]).await?.int()).unwrap()
}

#[tokio::test]
async fn the_same_content_attaches_and_other_content_is_refused() {
    on_each_engine(async |house| {
        let (_, thread) = default_thread(house, "a").await;
        let first = (Some(RunId::new()), None);
        let second = (Some(RunId::new()), Some(MessageId::new()));
        let new = offer(house, thread, ("o", "hash"), first).await.unwrap();
        assert_eq!(new, Offered::New);
        let again = offer(house, thread, ("o", "hash"), second).await.unwrap();
        let wanted = Offered::Known {
            run_id: first.0,
            message_id: None,
        };
        assert_eq!(again, wanted, "{}", house.engine);
        let other = offer(house, thread, ("o", "other hash"), second).await;
        let Err(StoreError::Conflict(text)) = other else {
            panic!("{other:?}");
        };
        assert!(text.contains("'o'"), "{text}");
        let again = offer(house, thread, ("o", "hash"), second).await.unwrap();
        assert_eq!(again, wanted, "what was refused changed nothing");
    })
    .await;
}

#[tokio::test]
async fn otids_are_told_apart_by_their_conversation_and_every_character() {
    on_each_engine(async |house| {
        let (agent, here) = default_thread(house, "a").await;
        let (_, there) = thread(house, agent).await;
        let long = "x".repeat(2_000);
        let otids = [
            "o",
            "O",
            "o ",
            "",
            "o\0",
            "o\u{F8FE}0",
            "ö",
            "o\u{308}",
            &long,
        ];
        for thread in [here, there] {
            for otid in otids {
                let taker = (None, Some(MessageId::new()));
                let new = offer(house, thread, (otid, "hash"), taker).await.unwrap();
                assert_eq!(new, Offered::New, "{} {otid:?}", house.engine);
                let again = offer(house, thread, (otid, "hash"), (None, None)).await;
                let wanted = Offered::Known {
                    run_id: None,
                    message_id: taker.1,
                };
                assert_eq!(again.unwrap(), wanted, "{} {otid:?}", house.engine);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn of_one_otid_offered_many_times_at_once_one_is_new_and_all_attach_to_it() {
    on_each_engine(async |house| {
        let (_, thread) = default_thread(house, "a").await;
        let runs: Vec<RunId> = (0..8).map(|_| RunId::new()).collect();
        let offered = runs
            .iter()
            .map(|run| offer(house, thread, ("o", "hash"), (Some(*run), None)));
        let offered = futures_util::future::join_all(offered).await;
        let offered: Result<Vec<Offered>, _> = offered.into_iter().collect();
        let offered = offered.unwrap();
        let new: Vec<usize> = (0..8).filter(|n| offered[*n] == Offered::New).collect();
        assert_eq!(new.len(), 1, "{} {offered:?}", house.engine);
        let known = Offered::Known {
            run_id: Some(runs[new[0]]),
            message_id: None,
        };
        let attached = offered.iter().filter(|one| **one == known).count();
        assert_eq!(attached, 7, "{} {offered:?}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn a_refused_otid_takes_its_run_with_it() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let taker = (None, Some(MessageId::new()));
        offer(house, place.1, ("taken", "hash"), taker)
            .await
            .unwrap();
        let new = accepted(place);
        let id = new.id;
        let refused = write!(house, |tx, scope| {
            runs::insert(tx, scope, &new).await?;
            otids::offer(tx, place.1, "mine", "hash", (Some(id), None)).await?;
            otids::offer(tx, place.1, "taken", "other", (Some(id), None)).await
        });
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
        let gone = read!(house, |tx, scope| runs::get(tx, scope, id).await);
        assert!(matches!(gone, Err(StoreError::NotFound { .. })));
        assert_eq!(known(house).await, 1, "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn otids_of_a_run_that_took_nothing_in_can_be_sent_again() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let (failed, good) = (
            stored_run(house, accepted(place)).await,
            stored_run(house, accepted(place)).await,
        );
        for (otid, run) in [("a", failed), ("b", failed), ("c", good)] {
            let taken = offer(house, place.1, (otid, "hash"), (Some(run), None)).await;
            assert_eq!(taken.unwrap(), Offered::New);
        }
        write!(house, |tx, scope| otids::free(tx, place.1, failed).await).unwrap();
        let other = (Some(good), None);
        for (otid, new) in [("a", true), ("b", true), ("c", false)] {
            let offered = offer(house, place.1, (otid, "hash"), other).await.unwrap();
            assert_eq!(offered == Offered::New, new, "{} {otid}", house.engine);
        }
        run(house, failed).await;
    })
    .await;
}

#[tokio::test]
async fn otids_outlive_their_run_and_go_with_their_conversation() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let id = stored_run(house, accepted(place)).await;
        offer(house, place.1, ("o", "hash"), (Some(id), None))
            .await
            .unwrap();
        let sql = "DELETE FROM runs WHERE id = $1";
        write!(house, |tx, scope| tx.execute(sql, params![id]).await).unwrap();
        assert_eq!(known(house).await, 1);
        let agent = place.0;
        write!(house, |tx, scope| agents::delete(tx, scope, agent).await).unwrap();
        assert_eq!(known(house).await, 0, "{}", house.engine);
    })
    .await;
}
