//! Which texts wait for their vectors.

use mnemic_core::{ids::OrganizationId, scope::Scope, time::Timestamp};
use mnemic_store::{
    agents,
    embed_scopes::{self, Claim, DirtyScope, ScopeKind},
};

use crate::{
    house::{House, on_each_engine},
    read,
    thread::{default_thread, said, stored_messages},
    write,
};

async fn notice(house: &House, at: i64) -> i64 {
    let kind = ScopeKind::Messages;
    write!(house, |tx, _s| embed_scopes::notice(
        tx,
        kind,
        Timestamp(at),
        20_000
    )
    .await)
    .unwrap()
}

async fn dirty(house: &House) -> Vec<DirtyScope> {
    read!(house, |tx, _s| embed_scopes::dirty(tx, 100).await).unwrap()
}

#[tokio::test]
async fn new_texts_mark_their_agents_newest_first_until_they_are_done() {
    on_each_engine(async |house| {
        let (a, b) = (
            default_thread(house, "a").await,
            default_thread(house, "b").await,
        );
        stored_messages(house, vec![said(a, "one")]).await;
        assert!(notice(house, 1).await > 0);
        stored_messages(house, vec![said(b, "two")]).await;
        assert!(notice(house, 2).await > 0);
        assert_eq!(notice(house, 3).await, 0, "{}", house.engine);
        let marked = dirty(house).await;
        let names: Vec<String> = marked.iter().map(|it| it.scope.clone()).collect();
        assert_eq!(names, [b.0.to_string(), a.0.to_string()]);
        assert_eq!(marked[0].organization, Scope::default().organization);
        let (top, seen) = {
            let kind = ScopeKind::Messages;
            read!(house, |tx, _s| embed_scopes::heights(tx, kind).await).unwrap()
        };
        assert_eq!(top, seen);
        let scope = marked[0].clone();
        write!(house, |tx, _s| embed_scopes::done(
            tx,
            &scope,
            Some("m"),
            top
        )
        .await)
        .unwrap();
        assert_eq!(dirty(house).await.len(), 1);
        assert_eq!(
            read!(house, |tx, _s| embed_scopes::backlog(tx).await).unwrap(),
            1
        );
    })
    .await;
}

#[tokio::test]
async fn a_mark_that_was_set_again_meanwhile_stays() {
    on_each_engine(async |house| {
        let organization = OrganizationId::DEFAULT;
        let mark = async |at| {
            let of = (organization, ScopeKind::Passages);
            write!(house, |tx, _s| embed_scopes::mark(
                tx,
                of,
                "x",
                Timestamp(at)
            )
            .await)
            .unwrap();
        };
        mark(1).await;
        let scope = dirty(house).await[0].clone();
        mark(2).await;
        write!(house, |tx, _s| embed_scopes::done(tx, &scope, Some("m"), 7)
            .await)
        .unwrap();
        let again = dirty(house).await;
        assert_eq!((again[0].done_to, again[0].dirty_at), (7, 2));
        write!(house, |tx, _s| embed_scopes::forget(tx, "x").await).unwrap();
        assert!(dirty(house).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn new_rows_of_a_marked_scope_outlive_the_work_that_goes_on() {
    on_each_engine(async |house| {
        let a = default_thread(house, "a").await;
        stored_messages(house, vec![said(a, "one")]).await;
        notice(house, 1).await;
        let scope = dirty(house).await[0].clone();
        // Another process looks for new rows while this one embeds the first.
        stored_messages(house, vec![said(a, "two")]).await;
        notice(house, 2).await;
        write!(house, |tx, _s| embed_scopes::done(tx, &scope, Some("m"), 1)
            .await)
        .unwrap();
        let again = dirty(house).await;
        assert_eq!(again.len(), 1, "{}: the second row is lost", house.engine);
        assert_eq!(again[0].dirty_at, 2);
    })
    .await;
}

#[tokio::test]
async fn one_process_at_a_time_embeds_a_scope_until_it_is_done_or_dies() {
    on_each_engine(async |house| {
        let of = (OrganizationId::DEFAULT, ScopeKind::Passages);
        write!(house, |tx, _s| embed_scopes::mark(
            tx,
            of,
            "x",
            Timestamp(1)
        )
        .await)
        .unwrap();
        let claim = async |owner: &'static str, seconds: i64| {
            write!(house, |tx, _s| embed_scopes::claim(tx, "x", owner, seconds)
                .await)
            .unwrap()
        };
        assert_eq!(claim("a", 60).await, Claim::Held);
        assert_eq!(claim("b", 60).await, Claim::Of("a".to_owned()));
        assert_eq!(claim("a", -1).await, Claim::Held, "it may keep it");
        assert_eq!(claim("b", 60).await, Claim::Held, "a's time is over");
        let owners = read!(house, |tx, _s| embed_scopes::owners(tx).await).unwrap();
        assert_eq!(owners, ["b"]);
        write!(house, |tx, _s| embed_scopes::free_dead(tx, &owners).await).unwrap();
        assert_eq!(claim("a", 60).await, Claim::Held);
        write!(house, |tx, _s| embed_scopes::release(tx, "x", "a").await).unwrap();
        assert_eq!(claim("b", 60).await, Claim::Held);
        let scope = dirty(house).await[0].clone();
        write!(house, |tx, _s| embed_scopes::done(tx, &scope, Some("m"), 7)
            .await)
        .unwrap();
        assert_eq!(claim("a", 60).await, Claim::Held);
        write!(house, |tx, _s| embed_scopes::forget(tx, "x").await).unwrap();
        assert_eq!(claim("a", 60).await, Claim::Gone);
    })
    .await;
}

#[tokio::test]
async fn scopes_whose_models_failed_come_last_and_in_turn() {
    on_each_engine(async |house| {
        let of = (OrganizationId::DEFAULT, ScopeKind::Passages);
        let mark = async |name: &'static str, at: i64| {
            write!(house, |tx, _s| embed_scopes::mark(
                tx,
                of,
                name,
                Timestamp(at)
            )
            .await)
            .unwrap();
        };
        let postpone = async |at: i64| {
            let first = dirty(house).await[0].clone();
            write!(house, |tx, _s| embed_scopes::postpone(
                tx,
                &first,
                Timestamp(at)
            )
            .await)
            .unwrap();
        };
        let order = async || {
            let marked = dirty(house).await.into_iter();
            marked.map(|it| it.scope).collect::<Vec<_>>().concat()
        };
        for (name, at) in [("a", 1), ("b", 2), ("c", 3)] {
            mark(name, at).await;
        }
        assert_eq!(order().await, "cba");
        postpone(4).await;
        assert_eq!(order().await, "bac");
        for at in 5..7 {
            postpone(at).await;
        }
        assert_eq!(order().await, "cba", "who waited longest is first");
        mark("a", 8).await;
        assert_eq!(order().await, "acb");
    })
    .await;
}

#[tokio::test]
async fn numbers_that_a_deleted_agent_leaves_free_are_noticed_again() {
    on_each_engine(async |house| {
        let (a, b) = (
            default_thread(house, "a").await,
            default_thread(house, "b").await,
        );
        stored_messages(house, vec![said(a, "one")]).await;
        notice(house, 1).await;
        let id = a.0;
        write!(house, |tx, scope| agents::delete(tx, scope, id).await).unwrap();
        stored_messages(house, vec![said(b, "two")]).await;
        let kind = ScopeKind::Messages;
        let (top, seen) = read!(house, |tx, _s| embed_scopes::heights(tx, kind).await).unwrap();
        assert!(top > seen, "{}: nobody would look", house.engine);
        notice(house, 2).await;
        assert_eq!(dirty(house).await[0].scope, b.0.to_string());
    })
    .await;
}

#[tokio::test]
async fn another_default_model_is_told_once_and_a_deleted_agent_is_forgotten() {
    on_each_engine(async |house| {
        let told = async |model: &'static str| {
            write!(house, |tx, _s| embed_scopes::remember_default(tx, model)
                .await)
            .unwrap()
        };
        assert_eq!(
            (told("m1").await, told("m1").await, told("m2").await),
            (true, false, true)
        );
        let a = default_thread(house, "a").await;
        stored_messages(house, vec![said(a, "one")]).await;
        notice(house, 1).await;
        let id = a.0;
        write!(house, |tx, scope| agents::delete(tx, scope, id).await).unwrap();
        assert!(dirty(house).await.is_empty());
    })
    .await;
}
