//! Model providers that organizations add.

use mnemic_core::{ids::ProviderId, time::Timestamp};
use mnemic_store::{
    Secrets, StoreError,
    page::{Order, Page},
    providers::{self, Provider, ProviderFilter},
};

use crate::{
    house::{House, on_each_engine},
    read,
    thread::stranger,
    write,
};

fn provider(name: &str, key: &str, secrets: &Secrets) -> Provider {
    let mut provider = Provider {
        id: ProviderId::new(),
        name: name.to_owned(),
        provider_type: "openai".to_owned(),
        base_url: Some("https://h/v1".to_owned()),
        region: None,
        api_version: Some("2".to_owned()),
        api_key: None,
        access_key: None,
        last_synced: None,
        created_at: Timestamp(5),
        updated_at: Timestamp(6),
    };
    provider.seal_key(secrets, key).unwrap();
    provider
}

async fn insert(house: &House, provider: &Provider) -> Result<(), StoreError> {
    let provider = provider.clone();
    write!(house, |tx, scope| providers::insert(tx, scope, &provider)
        .await)
}

async fn all(house: &House) -> Vec<Provider> {
    read!(house, |tx, scope| providers::all(tx, scope).await).unwrap()
}

#[tokio::test]
async fn a_provider_reads_back_and_its_key_opens_only_in_its_row() {
    on_each_engine(async |house| {
        let secrets = house.store.secrets().clone();
        let (one, two) = (
            provider("one", "sk-one", &secrets),
            provider("two", "sk-two", &secrets),
        );
        insert(house, &one).await.unwrap();
        insert(house, &two).await.unwrap();
        let id = one.id;
        let mut found = read!(house, |tx, scope| providers::get(tx, scope, id).await).unwrap();
        assert_eq!(found, one);
        assert_eq!(found.open_key(&secrets).unwrap(), "sk-one");
        assert!(!format!("{found:?}").contains("sk-one"));
        found.api_key = two.api_key.clone();
        assert!(found.open_key(&secrets).is_err());
        let other = Secrets::new(b"another");
        assert!(one.open_key(&other).is_err());
    })
    .await;
}

#[tokio::test]
async fn a_name_is_one_organizations_and_taken_once_in_it() {
    on_each_engine(async |house| {
        let secrets = house.store.secrets().clone();
        let first = provider("mine", "sk-1", &secrets);
        insert(house, &first).await.unwrap();
        let again = insert(house, &provider("mine", "sk-2", &secrets)).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
        let foreign = house.seen_by(stranger());
        assert_eq!(all(&foreign).await, []);
        insert(&foreign, &provider("mine", "sk-3", &secrets))
            .await
            .unwrap();
        let id = first.id;
        let seen = read!(&foreign, |tx, scope| providers::get(tx, scope, id).await);
        assert!(matches!(seen, Err(StoreError::NotFound { .. })));
        let gone = write!(&foreign, |tx, scope| providers::delete(tx, scope, id).await);
        assert!(matches!(gone, Err(StoreError::NotFound { .. })));
        assert_eq!(all(house).await, [first]);
    })
    .await;
}

#[tokio::test]
async fn a_change_keeps_name_and_kind_and_a_deleted_one_is_gone() {
    on_each_engine(async |house| {
        let secrets = house.store.secrets().clone();
        let row = provider("mine", "sk-1", &secrets);
        insert(house, &row).await.unwrap();
        let mut changed = Provider {
            base_url: None,
            region: Some("eu".to_owned()),
            last_synced: Some(Timestamp(8)),
            updated_at: Timestamp(9),
            ..row.clone()
        };
        changed.seal_key(&secrets, "sk-2").unwrap();
        let wanted = changed.clone();
        write!(house, |tx, scope| providers::update(tx, scope, &changed)
            .await)
        .unwrap();
        assert_eq!(all(house).await, [wanted]);
        let filter = ProviderFilter {
            name: Some("mine".to_owned()),
            provider_type: Some("openai".to_owned()),
        };
        let page = Page::first(10, Order::Desc);
        let listed = read!(house, |tx, scope| providers::list(
            tx, scope, &filter, &page
        )
        .await);
        assert_eq!(listed.unwrap().len(), 1);
        let id = row.id;
        write!(house, |tx, scope| providers::delete(tx, scope, id).await).unwrap();
        assert_eq!(all(house).await, []);
    })
    .await;
}
