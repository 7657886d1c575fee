//! A fresh store for each test and engine.

use mnemic_core::scope::Scope;
use mnemic_store::{Location, Secrets, Store};
use tokio_postgres::NoTls;
use uuid::Uuid;

/// Names a PostgreSQL server; the user must be allowed to make databases.
const SERVER: &str = "MNEMIC_TEST_DATABASE_URL";

/// A store of a test.
pub struct House {
    pub store: Store,
    pub scope: Scope,
    /// The engine's name, for messages.
    pub engine: &'static str,
}

/// Runs a test on each engine. A database made for it is dropped when the test passes.
pub async fn on_each_engine(test: impl AsyncFn(&House)) {
    at_each_location(async |location, engine| test(&open(location, engine).await).await).await;
}

/// Runs a test on a place of each engine where nothing is yet, for tests of how a store is opened.
pub async fn at_each_location(test: impl AsyncFn(Location, &'static str)) {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("mnemic.db"));
    test(location, "SQLite").await;
    let Ok(server) = std::env::var(SERVER) else {
        return;
    };
    let name = format!("mnemic_test_{}", Uuid::new_v4().simple());
    administer(&server, &format!("CREATE DATABASE {name}")).await;
    let mut url = url_parts(&server);
    url.1 = name.clone();
    let location = Location::Postgres {
        url: joined(&url),
        connections: 4,
    };
    test(location, "PostgreSQL").await;
    administer(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// A store at that place.
pub async fn open(location: Location, engine: &'static str) -> House {
    let store = Store::open(location, Secrets::new(b"test")).await.unwrap();
    House {
        store,
        scope: Scope::default(),
        engine,
    }
}

impl House {
    /// The same store as another end user, or another organization, sees it.
    pub fn seen_by(&self, scope: Scope) -> Self {
        Self {
            store: self.store.clone(),
            scope,
            engine: self.engine,
        }
    }
}

/// Runs statements on a database, beside any store.
pub async fn administer(server: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(server, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// What stands before a URL's database, the database, and what stands after it.
fn url_parts(url: &str) -> (String, String, String) {
    let (base, query) = url
        .split_once('?')
        .map_or((url, String::new()), |(base, query)| {
            (base, format!("?{query}"))
        });
    let authority = base.find("://").map_or(0, |at| at + 3);
    match base[authority..].find('/') {
        Some(at) => {
            let (before, name) = base.split_at(authority + at + 1);
            (before.to_owned(), name.to_owned(), query)
        }
        None => (format!("{base}/"), String::new(), query),
    }
}

fn joined((before, name, after): &(String, String, String)) -> String {
    format!("{before}{name}{after}")
}

#[test]
fn a_databases_url_is_taken_apart_and_put_together() {
    for url in ["postgresql://u:p@h:1/db?sslmode=disable", "postgres://h/db"] {
        let parts = url_parts(url);
        assert_eq!((parts.1.as_str(), joined(&parts).as_str()), ("db", url));
    }
    assert_eq!(joined(&url_parts("postgres://h")), "postgres://h/");
}

/// Runs a write job that may use `scope`; gives its result.
#[macro_export]
macro_rules! write {
    ($house:expr, |$tx:ident, $scope:ident| $body:expr) => {{
        let own = $house.scope.clone();
        $house
            .store
            .write::<_, mnemic_store::StoreError, _>(move |$tx| {
                Box::pin(async move {
                    #[allow(unused_variables)]
                    let $scope = &own;
                    $body
                })
            })
            .await
    }};
}

/// Runs a read job that may use `scope`; gives its result.
#[macro_export]
macro_rules! read {
    ($house:expr, |$tx:ident, $scope:ident| $body:expr) => {{
        let own = $house.scope.clone();
        $house
            .store
            .read::<_, mnemic_store::StoreError, _>(move |$tx| {
                Box::pin(async move {
                    #[allow(unused_variables)]
                    let $scope = &own;
                    $body
                })
            })
            .await
    }};
}
