//! What all tools of an organization have in common.

use mnemic_core::{
    ids::{SandboxConfigId, SandboxVariableId},
    sandbox_configs::{Layer, LocalConfig, SandboxConfig, SandboxVariable},
    time::Timestamp,
    tools::requirements::{Registry, Requirement},
};
use mnemic_store::{
    Secrets, StoreError,
    page::{Order, Page},
    sandbox_configs,
};

use crate::{
    house::{House, on_each_engine},
    paging::reads_completely,
    read,
    thread::stranger,
    write,
};

fn config(at: i64) -> SandboxConfig {
    let six = Requirement::new(Registry::Pip, "six", Some(">=1.16,<2"));
    SandboxConfig {
        id: SandboxConfigId::new(),
        config: LocalConfig {
            use_venv: true,
            venv_name: "umgebung ü".to_owned(),
            pip_requirements: vec![six.unwrap()],
        },
        packages_since: Some(Timestamp(7)),
        created_by: None,
        updated_by: None,
        created_at: Timestamp(at),
        updated_at: Timestamp(at),
    }
}

async fn stored(house: &House, config: &SandboxConfig) -> SandboxConfig {
    let config = config.clone();
    let stored = write!(house, |tx, scope| {
        sandbox_configs::insert_first(tx, scope, &config).await
    });
    stored.unwrap()
}

fn variable(config_id: SandboxConfigId, key: &str, at: i64) -> SandboxVariable {
    SandboxVariable {
        id: SandboxVariableId::new(),
        config_id,
        key: key.to_owned(),
        value: format!("value of {key}"),
        description: Some("what for".to_owned()),
        created_by: None,
        updated_by: None,
        created_at: Timestamp(at),
        updated_at: Timestamp(at),
    }
}

async fn add(house: &House, variable: &SandboxVariable) -> Result<(), StoreError> {
    let (variable, secrets) = (variable.clone(), house.store.secrets().clone());
    write!(house, |tx, scope| {
        sandbox_configs::insert_variable(tx, scope, &secrets, &variable).await
    })
}

async fn change(house: &House, variable: &SandboxVariable) -> Result<(), StoreError> {
    let (variable, secrets) = (variable.clone(), house.store.secrets().clone());
    write!(house, |tx, scope| {
        sandbox_configs::update_variable(tx, scope, &secrets, &variable).await
    })
}

async fn get(house: &House, id: SandboxVariableId) -> Result<SandboxVariable, StoreError> {
    let secrets = house.store.secrets().clone();
    write!(house, |tx, scope| {
        sandbox_configs::variable_for_update(tx, scope, &secrets, id).await
    })
}

async fn for_call(house: &House) -> Result<(Option<SandboxConfig>, Layer), StoreError> {
    let secrets = house.store.secrets().clone();
    read!(house, |tx, scope| sandbox_configs::for_call(
        tx, scope, &secrets
    )
    .await)
}

#[tokio::test]
async fn an_organization_has_one_config_which_comes_back_as_it_was_and_only_there() {
    on_each_engine(async |house| {
        let first = config(1);
        assert_eq!(stored(house, &first).await, first);
        assert_eq!(
            stored(house, &config(2)).await,
            first,
            "the first one stays"
        );
        let theirs = house.seen_by(stranger());
        assert_eq!(for_call(&theirs).await.unwrap(), (None, Layer::new()));
        let id = first.id;
        let found = read!(theirs, |tx, scope| sandbox_configs::get(tx, scope, id)
            .await);
        assert!(matches!(found, Err(StoreError::NotFound { .. })));
        let gone = write!(theirs, |tx, scope| sandbox_configs::delete(tx, scope, id)
            .await);
        assert!(matches!(gone, Err(StoreError::NotFound { .. })));
        let own = stored(&theirs, &config(3)).await;
        assert_ne!(own.id, first.id, "each organization has its own");

        let mut changed = first.clone();
        changed.config = LocalConfig::default();
        (changed.packages_since, changed.updated_at) = (None, Timestamp(9));
        let update = changed.clone();
        write!(house, |tx, scope| sandbox_configs::update(
            tx, scope, &update
        )
        .await)
        .unwrap();
        let listed = read!(house, |tx, scope| {
            sandbox_configs::list(tx, scope, &Page::first(10, Order::Asc)).await
        });
        assert_eq!(listed.unwrap(), [changed]);
    })
    .await;
}

#[tokio::test]
async fn variables_come_back_as_they_were_and_only_in_their_organization() {
    on_each_engine(async |house| {
        let id = stored(house, &config(1)).await.id;
        let city = variable(id, "CITY", 1);
        add(house, &city).await.unwrap();
        assert_eq!(get(house, city.id).await.unwrap(), city);
        let (_, layer) = for_call(house).await.unwrap();
        assert_eq!(
            layer,
            Layer::from([("CITY".into(), "value of CITY".into())])
        );
        let theirs = house.seen_by(stranger());
        stored(&theirs, &config(2)).await;
        assert_eq!(for_call(&theirs).await.unwrap().1, Layer::new());
        let found = get(&theirs, city.id).await;
        assert!(matches!(found, Err(StoreError::NotFound { .. })));
        let gone = write!(theirs, |tx, scope| {
            sandbox_configs::delete_variable(tx, scope, city.id).await
        });
        assert!(matches!(gone, Err(StoreError::NotFound { .. })));
        assert_eq!(get(house, city.id).await.unwrap(), city);
    })
    .await;
}

#[tokio::test]
async fn a_name_is_given_once_in_a_config_and_can_be_given_anew_with_its_value() {
    on_each_engine(async |house| {
        let id = stored(house, &config(1)).await.id;
        let (city, mut land) = (variable(id, "CITY", 1), variable(id, "LAND", 2));
        add(house, &city).await.unwrap();
        add(house, &land).await.unwrap();
        let taken = add(house, &variable(id, "CITY", 3)).await;
        assert!(
            matches!(&taken, Err(StoreError::Conflict(text)) if text.contains("CITY")),
            "{taken:?}"
        );
        land.key = "CITY".to_owned();
        assert!(matches!(
            change(house, &land).await,
            Err(StoreError::Conflict(_))
        ));
        land.key = "COUNTRY".to_owned();
        land.value = String::new();
        land.description = None;
        change(house, &land).await.unwrap();
        assert_eq!(get(house, land.id).await.unwrap(), land);
        write!(house, |tx, scope| {
            sandbox_configs::delete_variable(tx, scope, city.id).await
        })
        .unwrap();
        land.key = "CITY".to_owned();
        change(house, &land).await.unwrap();
        assert_eq!(get(house, land.id).await.unwrap(), land);
        write!(house, |tx, scope| sandbox_configs::delete(tx, scope, id)
            .await)
        .unwrap();
        assert!(matches!(
            get(house, land.id).await,
            Err(StoreError::NotFound { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn values_are_encrypted_and_open_only_with_the_key_and_in_their_row() {
    on_each_engine(async |house| {
        let id = stored(house, &config(1)).await.id;
        let [one, other] = ["ONE", "OTHER"].map(|key| variable(id, key, 1));
        add(house, &one).await.unwrap();
        add(house, &other).await.unwrap();
        let sealed = read!(house, |tx, _s| {
            let sql = "SELECT value FROM sandbox_variables ORDER BY key";
            let rows = tx.query(sql, &[]).await?;
            rows.into_iter()
                .map(|mut row| row.opt_bytes())
                .collect::<Result<Vec<_>, _>>()
        });
        for sealed in sealed.unwrap() {
            let sealed = sealed.unwrap();
            assert!(!sealed.windows(5).any(|part| part == b"value"));
        }
        let wrong = Secrets::new(b"another key");
        let found = read!(house, |tx, scope| sandbox_configs::for_call(
            tx, scope, &wrong
        )
        .await);
        assert!(matches!(found, Err(StoreError::Corrupt(_))));
        write!(house, |tx, _s| {
            let sql = "UPDATE sandbox_variables SET value = \
                           (SELECT value FROM sandbox_variables WHERE key = 'OTHER')";
            tx.execute(sql, &[]).await
        })
        .unwrap();
        let moved = get(house, one.id).await;
        assert!(matches!(moved, Err(StoreError::Corrupt(_))), "{moved:?}");
    })
    .await;
}

#[tokio::test]
async fn variables_are_listed_in_pages() {
    on_each_engine(async |house| {
        let id = stored(house, &config(1)).await.id;
        let mut ids = Vec::new();
        for at in 1..6 {
            let one = variable(id, &format!("V{at}"), at);
            add(house, &one).await.unwrap();
            ids.push(one.id.to_string());
        }
        let list = async |page: Page| {
            let secrets = house.store.secrets().clone();
            let found = read!(house, |tx, scope| {
                sandbox_configs::list_variables(tx, scope, &secrets, id, &page).await
            });
            let found = found.unwrap().into_iter();
            found.map(|one| one.id.to_string()).collect::<Vec<_>>()
        };
        reads_completely(list, &ids).await;
    })
    .await;
}
