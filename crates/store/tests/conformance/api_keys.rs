//! Keys of the API and tokens of end users.

use mnemic_core::{
    api_keys::{ApiKey, KeyScope, UserToken},
    ids::{AgentId, ApiKeyId},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{
    StoreError, agents,
    api_keys::{self, NewApiKey, OtherAdmins, USE_MICROS},
    organizations,
    page::{Order, Page},
    user_tokens,
};

use crate::{
    build::{agent, stored_agent},
    house::{House, on_each_engine},
    read,
    thread::{end_user, stranger},
    write,
};

const NOW: Timestamp = Timestamp(1_000_000_000);

async fn peopled(house: &House) {
    write!(house, |tx, _scope| organizations::ensure_default(tx, NOW)
        .await)
    .unwrap();
}

async fn made(
    house: &House,
    scope: KeyScope,
    hash: &str,
    others: OtherAdmins,
) -> Result<ApiKey, StoreError> {
    let new = NewApiKey {
        name: "name".to_owned(),
        scope,
        hash: hash.to_owned(),
        hint: "abcd".to_owned(),
    };
    write!(house, |tx, scope| api_keys::insert(
        tx, scope, &new, others, NOW
    )
    .await)
}

async fn found(house: &House, hash: &'static str) -> Option<ApiKey> {
    read!(house, |tx, _scope| api_keys::by_hash(tx, hash).await).unwrap()
}

async fn revoked(house: &House, id: ApiKeyId, others: OtherAdmins) -> Result<ApiKey, StoreError> {
    write!(house, |tx, scope| api_keys::revoke(
        tx,
        scope,
        id,
        others,
        Timestamp(7)
    )
    .await)
}

async fn with_token(house: &House, hash: &'static str, token: UserToken) -> Result<(), StoreError> {
    write!(house, |tx, scope| user_tokens::insert(
        tx,
        scope,
        (hash, &token),
        NOW
    )
    .await)
}

fn token(agent_id: AgentId, subject: &str) -> UserToken {
    let scope = Scope::default();
    UserToken {
        organization_id: scope.organization,
        user_id: scope.actor,
        agent_id,
        subject: subject.to_owned(),
        api_key_id: None,
        expires_at: NOW.plus_micros(1),
    }
}

async fn opened(house: &House, hash: &'static str, now: Timestamp) -> Option<UserToken> {
    read!(house, |tx, _scope| user_tokens::by_hash(tx, hash, now)
        .await)
    .unwrap()
}

#[tokio::test]
async fn a_key_is_found_by_its_digest_until_it_is_revoked_and_listed_for_ever() {
    on_each_engine(async |house| {
        peopled(house).await;
        let any = || async { read!(house, |tx, _scope| api_keys::was_any_made(tx).await).unwrap() };
        assert!(!any().await);
        let key = made(house, KeyScope::Agent, "h1", OtherAdmins::Password)
            .await
            .unwrap();
        assert_eq!(found(house, "h1").await, Some(key.clone()));
        assert_eq!(found(house, "h2").await, None);
        let gone = revoked(house, key.id, OtherAdmins::Password).await.unwrap();
        assert_eq!(gone.revoked_at, Some(Timestamp(7)));
        assert_eq!(found(house, "h1").await, None);
        assert!(any().await, "the server stays closed");
        let page = Page::first(10, Order::Desc);
        let listed = read!(house, |tx, scope| api_keys::list(tx, scope, &page).await);
        assert_eq!(listed.unwrap(), [gone]);
        let foreign = house.seen_by(stranger());
        let page = Page::first(10, Order::Desc);
        let listed = read!(&foreign, |tx, scope| api_keys::list(tx, scope, &page).await);
        assert_eq!(listed.unwrap(), []);
        let refused = revoked(&foreign, key.id, OtherAdmins::Password).await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn somebody_can_always_administer_the_server() {
    on_each_engine(async |house| {
        peopled(house).await;
        let first = made(house, KeyScope::Read, "h0", OtherAdmins::None).await;
        assert!(matches!(first, Err(StoreError::Conflict(_))), "{first:?}");
        let one = made(house, KeyScope::Admin, "h1", OtherAdmins::None)
            .await
            .unwrap();
        let last = revoked(house, one.id, OtherAdmins::None).await;
        assert!(matches!(last, Err(StoreError::Conflict(_))), "{last:?}");
        let two = made(house, KeyScope::Admin, "h2", OtherAdmins::None)
            .await
            .unwrap();
        // All at once: on PostgreSQL these are different connections.
        let (a, b) = tokio::join!(
            revoked(house, one.id, OtherAdmins::None),
            revoked(house, two.id, OtherAdmins::None)
        );
        assert!(a.is_err() != b.is_err(), "{a:?} {b:?}");
        let left = if a.is_err() { one.id } else { two.id };
        assert!(revoked(house, left, OtherAdmins::Password).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn the_use_of_a_key_is_written_once_a_minute() {
    on_each_engine(async |house| {
        peopled(house).await;
        let key = made(house, KeyScope::Admin, "h", OtherAdmins::None)
            .await
            .unwrap();
        let times = [(0, 0), (USE_MICROS - 1, 0), (USE_MICROS, USE_MICROS)];
        for (later, kept) in times {
            let now = NOW.plus_micros(later);
            write!(house, |tx, _scope| api_keys::note_use(tx, key.id, now)
                .await)
            .unwrap();
            let used = found(house, "h").await.unwrap().last_used_at;
            assert_eq!(used, Some(NOW.plus_micros(kept)), "{later}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_opens_until_its_time_is_over_or_the_person_is_forgotten() {
    on_each_engine(async |house| {
        peopled(house).await;
        let (one, other) = (
            stored_agent(house, agent("one")).await,
            stored_agent(house, agent("other")).await,
        );
        let places = [("a", one, "anna"), ("b", other, "anna"), ("c", one, "bea"), ("d", one, "Anna")];
        for (hash, agent, subject) in places {
            with_token(house, hash, token(agent, subject)).await.unwrap();
            assert_eq!(opened(house, hash, NOW).await, Some(token(agent, subject)));
        }
        assert_eq!(opened(house, "a", NOW.plus_micros(1)).await, None);
        let end = |who: &'static str, agent| {
            let whose = house.seen_by(end_user(who));
            async move { write!(&whose, |tx, scope| user_tokens::end(tx, scope, agent).await).unwrap() }
        };
        assert_eq!(end("anna", Some(one)).await, 1);
        assert_eq!(opened(house, "a", NOW).await, None);
        assert!(opened(house, "b", NOW).await.is_some(), "that is another agent's");
        assert_eq!(end("anna", None).await, 1);
        assert_eq!(opened(house, "b", NOW).await, None);
        assert!(opened(house, "c", NOW).await.is_some(), "that is another person");
        assert!(opened(house, "d", NOW).await.is_some(), "names are told apart byte by byte");
        write!(house, |tx, scope| agents::delete(tx, scope, one).await).unwrap();
        assert_eq!(opened(house, "c", NOW).await, None);
        let gone = with_token(house, "e", token(one, "anna")).await;
        assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
    })
    .await;
}

#[tokio::test]
async fn a_token_ends_with_the_key_that_asked_for_it() {
    on_each_engine(async |house| {
        peopled(house).await;
        let place = stored_agent(house, agent("one")).await;
        let key = made(house, KeyScope::Agent, "h", OtherAdmins::Password)
            .await
            .unwrap();
        let with_key = UserToken {
            api_key_id: Some(key.id),
            ..token(place, "anna")
        };
        with_token(house, "a", with_key.clone()).await.unwrap();
        revoked(house, key.id, OtherAdmins::Password).await.unwrap();
        assert_eq!(opened(house, "a", NOW).await, None);
        // It was being made while the key was revoked.
        with_token(house, "b", with_key).await.unwrap();
        assert_eq!(opened(house, "b", NOW).await, None);
    })
    .await;
}
