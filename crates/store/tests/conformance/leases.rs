//! Leases: one running turn per conversation.

use std::time::Duration;

use mnemic_core::ids::{ConversationId, RunId};
use mnemic_store::{
    StoreError,
    leases::{self, Lease},
    messages, params,
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    house::{House, at_each_location, on_each_engine, open},
    read,
    thread::{default_thread, said, thread},
    write,
};

async fn acquire(house: &House, thread: ConversationId, owner: &str) -> Option<Lease> {
    let (owner, run) = (owner.to_owned(), RunId::new());
    write!(house, |tx, scope| leases::acquire(tx, thread, &owner, run)
        .await)
    .unwrap()
}

async fn renew(house: &House, lease: &Lease) -> Result<(), StoreError> {
    let lease = lease.clone();
    write!(house, |tx, scope| leases::renew(tx, &lease).await)
}

async fn release(house: &House, lease: &Lease) -> Result<(), StoreError> {
    let lease = lease.clone();
    write!(house, |tx, scope| leases::release(tx, &lease).await)
}

async fn free(house: &House, dead: &[&str]) -> u64 {
    let dead: Vec<String> = dead.iter().map(ToString::to_string).collect();
    write!(house, |tx, scope| leases::free_dead(tx, &dead).await).unwrap()
}

/// Lets a lease's time run out.
async fn expire(house: &House, lease: &Lease) {
    let thread = lease.conversation_id;
    let sql = "UPDATE leases SET expires_at = 1 WHERE conversation_id = $1";
    let changed = write!(house, |tx, scope| tx.execute(sql, params![thread]).await);
    assert_eq!(changed.unwrap(), 1);
}

async fn expires_at(house: &House, lease: &Lease) -> Option<i64> {
    let thread = lease.conversation_id;
    let sql = "SELECT expires_at FROM leases WHERE conversation_id = $1";
    read!(house, |tx, scope| {
        tx.query_one(sql, params![thread]).await?.opt_int()
    })
    .unwrap()
}

fn is_lost(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::LeaseLost))
}

#[tokio::test]
async fn a_held_conversation_is_nobody_elses_until_it_is_given_back() {
    on_each_engine(async |house| {
        let (agent, here) = default_thread(house, "a").await;
        let (_, there) = thread(house, agent).await;
        let lease = acquire(house, here, "one").await.unwrap();
        assert_eq!(
            (lease.conversation_id, lease.owner.as_str(), lease.epoch),
            (here, "one", 1)
        );
        assert_eq!(acquire(house, here, "two").await, None);
        assert_eq!(
            acquire(house, here, "one").await,
            None,
            "another run of the same owner waits too"
        );
        assert!(acquire(house, there, "two").await.is_some());
        release(house, &lease).await.unwrap();
        let next = acquire(house, here, "two").await.unwrap();
        assert_eq!(
            (next.owner.as_str(), next.epoch),
            ("two", 2),
            "{}",
            house.engine
        );
    })
    .await;
}

#[tokio::test]
async fn a_run_gets_the_lease_again_that_it_holds_unknowingly() {
    on_each_engine(async |house| {
        let (_, thread) = default_thread(house, "a").await;
        let unheard = acquire(house, thread, "one").await.unwrap();
        let run = unheard.run_id;
        let again = async |owner: &'static str| {
            write!(house, |tx, scope| leases::acquire(tx, thread, owner, run)
                .await)
            .unwrap()
        };
        assert_eq!(again("two").await, None, "another process is not it");
        let known = again("one").await.unwrap();
        assert_eq!(known.epoch, unheard.epoch + 1, "{}", house.engine);
        assert!(is_lost(&renew(house, &unheard).await));
    })
    .await;
}

#[tokio::test]
async fn of_many_who_ask_at_once_one_gets_it() {
    on_each_engine(async |house| {
        let (_, thread) = default_thread(house, "a").await;
        let names: Vec<String> = (0..8).map(|n| format!("owner {n}")).collect();
        let asked = names.iter().map(|owner| acquire(house, thread, owner));
        let got = futures_util::future::join_all(asked).await;
        let got: Vec<Lease> = got.into_iter().flatten().collect();
        assert_eq!(got.len(), 1, "{} {got:?}", house.engine);
        renew(house, &got[0]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_lost_a_lease_cannot_commit_anything() {
    on_each_engine(async |house| {
        let place = default_thread(house, "a").await;
        let old = acquire(house, place.1, "one").await.unwrap();
        assert_eq!(free(house, &["one"]).await, 1);
        let new = acquire(house, place.1, "one").await.unwrap();
        assert_eq!(new.epoch, 2, "the same owner, but another holding");
        let (message, lease) = (said(place, "too late"), old.clone());
        let commit = write!(house, |tx, scope| {
            messages::insert(tx, scope, &[message]).await?;
            leases::renew(tx, &lease).await
        });
        assert!(is_lost(&commit), "{}", house.engine);
        assert!(is_lost(&release(house, &old).await));
        let kept = read!(house, |tx, scope| messages::count(tx, scope, place.1).await);
        assert_eq!(kept.unwrap(), 0);

        let (message, lease) = (said(place, "in time"), new.clone());
        write!(house, |tx, scope| {
            messages::insert(tx, scope, &[message]).await?;
            leases::renew(tx, &lease).await
        })
        .unwrap();
        let kept = read!(house, |tx, scope| messages::count(tx, scope, place.1).await);
        assert_eq!(kept.unwrap(), 1);
        release(house, &new).await.unwrap();
        assert!(is_lost(&renew(house, &new).await), "it was given back");
        assert!(is_lost(&release(house, &new).await));
    })
    .await;
}

#[tokio::test]
async fn a_lease_whose_time_ran_out_is_kept_until_another_takes_it() {
    on_each_engine(async |house| {
        let (_, thread) = default_thread(house, "a").await;
        let slow = acquire(house, thread, "slow").await.unwrap();
        expire(house, &slow).await;
        renew(house, &slow).await.unwrap();
        assert_eq!(acquire(house, thread, "other").await, None);
        expire(house, &slow).await;
        let other = acquire(house, thread, "other").await.unwrap();
        assert_eq!((other.owner.as_str(), other.epoch), ("other", 2));
        assert!(is_lost(&renew(house, &slow).await), "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn what_the_dead_held_and_what_ran_out_is_freed_and_nothing_else() {
    on_each_engine(async |house| {
        let (agent, first) = default_thread(house, "a").await;
        let mut held = vec![acquire(house, first, "alive").await.unwrap()];
        for owner in ["dead", "dead", "late"] {
            let (_, thread) = thread(house, agent).await;
            held.push(acquire(house, thread, owner).await.unwrap());
        }
        let mut owners = read!(house, |tx, scope| leases::owners(tx).await).unwrap();
        owners.sort();
        assert_eq!(owners, ["alive", "dead", "late"]);
        expire(house, &held[3]).await;
        assert_eq!(free(house, &[]).await, 1, "what ran out");
        assert_eq!(free(house, &["dead", "never was"]).await, 2);
        assert_eq!(free(house, &["dead"]).await, 0, "{}", house.engine);
        let owners = read!(house, |tx, scope| leases::owners(tx).await).unwrap();
        assert_eq!(owners, ["alive"]);
        renew(house, &held[0]).await.unwrap();
        for lost in &held[1..] {
            assert!(is_lost(&renew(house, lost).await));
            let next = acquire(house, lost.conversation_id, "next").await.unwrap();
            assert_eq!(next.epoch, 2);
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_renews_its_own_leases_together() {
    on_each_engine(async |house| {
        let (agent, first) = default_thread(house, "a").await;
        let mut held = vec![acquire(house, first, "one").await.unwrap()];
        for owner in ["one", "two"] {
            let (_, thread) = thread(house, agent).await;
            held.push(acquire(house, thread, owner).await.unwrap());
        }
        for lease in &held {
            expire(house, lease).await;
        }
        let asked = vec![first.to_string(), held[2].conversation_id.to_string()];
        let renewed = write!(house, |tx, scope| leases::renew_all(tx, "one", asked).await);
        assert_eq!(renewed.unwrap(), 1, "its own of those that were named");
        assert!(expires_at(house, &held[0]).await.unwrap() > 1);
        assert_eq!(expires_at(house, &held[1]).await, Some(1));
        assert_eq!(expires_at(house, &held[2]).await, Some(1));
    })
    .await;
}

/// Asks, each time by a read of the database, until a condition holds.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
    }
}

#[tokio::test]
async fn a_takeover_waits_for_a_commit_under_way_and_then_comes_too_late() {
    on_each_engine(async |house| {
        if house.engine == "SQLite" {
            return; // One writer: no two jobs are under way at once.
        }
        let (_, thread) = default_thread(house, "a").await;
        let lease = acquire(house, thread, "paused").await.unwrap();
        expire(house, &lease).await;
        let (renewed, is_renewed) = oneshot::channel();
        let (go_on, gone_on) = oneshot::channel::<()>();
        let commit = async {
            let lease = lease.clone();
            write!(house, |tx, scope| {
                leases::renew(tx, &lease).await?;
                renewed.send(()).unwrap();
                gone_on.await.unwrap();
                Ok(())
            })
        };
        let control = async {
            is_renewed.await.unwrap();
            let waiting = "SELECT COUNT(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let release = async {
                until("the takeover waits for the row's lock", async || {
                    let count = read!(house, |tx, scope| tx.query_one(waiting, &[]).await);
                    count.unwrap().int().unwrap() == 1
                })
                .await;
                go_on.send(()).unwrap();
            };
            tokio::join!(acquire(house, thread, "other"), release).0
        };
        let (committed, taken) = tokio::join!(commit, control);
        committed.unwrap();
        assert_eq!(taken, None);
        renew(house, &lease).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_dead_owner_shows_at_once() {
    at_each_location(async |location, engine| {
        let ours = open(location.clone(), engine).await;
        let present = ours.store.announce("ours").await.unwrap();
        assert!(present.is_held());
        let dead = async |owners: &[&str]| {
            let owners = owners.iter().map(ToString::to_string).collect();
            ours.store.dead_owners("ours", owners).await.unwrap()
        };
        assert_eq!(dead(&["ours", "never was"]).await, ["never was"]);
        assert_eq!(dead(&["ours"]).await, [""; 0]);
        if engine == "SQLite" {
            return; // One process: whoever else is named is dead.
        }
        let theirs = open(location, engine).await;
        let presence = theirs.store.announce("theirs").await.unwrap();
        assert_eq!(dead(&["theirs", "gone", "ours"]).await, ["gone"]);
        assert_eq!(dead(&["theirs"]).await, [""; 0], "asking does not take it");
        drop(presence);
        until("the other process is seen to be dead", async || {
            dead(&["theirs"]).await == ["theirs"]
        })
        .await;
        assert!(present.is_held());
    })
    .await;
}
