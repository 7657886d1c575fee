//! How a database is opened: fresh, again, from a newer program, beside another application.

use std::{collections::BTreeSet, sync::Mutex};

use mnemic_store::{Location, Secrets, Store, StoreError};
use tokio_postgres::NoTls;

use crate::{
    build::{agent, stored_agent},
    house::{administer, at_each_location, open},
    read,
};

async fn opened(location: &Location) -> Result<Store, StoreError> {
    Store::open(location.clone(), Secrets::new(b"test")).await
}

/// Runs statements beside the store.
async fn alter(location: &Location, sql: &str) {
    match location {
        Location::Sqlite(path) => rusqlite::Connection::open(path)
            .unwrap()
            .execute_batch(sql)
            .unwrap(),
        Location::Postgres { url, .. } => administer(url, sql).await,
    }
}

/// Reads the texts of a query's only column beside the store.
async fn texts(location: &Location, sql: &str) -> Vec<String> {
    match location {
        Location::Sqlite(path) => {
            let connection = rusqlite::Connection::open(path).unwrap();
            let mut statement = connection.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        }
        Location::Postgres { url, .. } => {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let rows = client.query(sql, &[]).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        }
    }
}

/// Our schema's name before a table's, where there are schemas.
fn qualified(location: &Location, table: &str) -> String {
    match location {
        Location::Sqlite(_) => table.to_owned(),
        Location::Postgres { .. } => format!("mnemic.{table}"),
    }
}

#[tokio::test]
async fn a_database_opened_again_is_migrated_no_further_and_holds_what_was_written() {
    at_each_location(async |location, engine| {
        let house = open(location.clone(), engine).await;
        let first = house.store.migration().clone();
        assert_eq!((first.from, first.backup), (0, None), "{engine}");
        assert!(first.to > 0);
        let id = stored_agent(&house, agent("kept")).await;
        drop(house);
        for _ in 0..2 {
            let house = open(location.clone(), engine).await;
            let again = house.store.migration();
            assert_eq!((again.from, again.to), (first.to, first.to), "{engine}");
            assert_eq!(again.backup, None, "nothing is about to change");
            let kept = read!(house, |tx, scope| {
                mnemic_store::agents::get(tx, scope, id).await
            });
            assert_eq!(kept.unwrap().name, "kept");
        }
        let sql = format!(
            "SELECT CAST(m.version AS TEXT) FROM {} m ORDER BY m.version",
            qualified(&location, "schema_migrations")
        );
        let wanted: Vec<String> = (1..=first.to).map(|n| n.to_string()).collect();
        assert_eq!(texts(&location, &sql).await, wanted, "each once");
    })
    .await;
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_with_both_versions_and_left_alone() {
    at_each_location(async |location, _| {
        let known = opened(&location).await.unwrap().migration().to;
        let table = qualified(&location, "schema_migrations");
        let newer = known + 7;
        alter(
            &location,
            &format!("INSERT INTO {table} VALUES ({newer}, 0)"),
        )
        .await;
        let Err(StoreError::Invalid(text)) = opened(&location).await.map(drop) else {
            panic!("it was opened, or refused as something else");
        };
        for part in [newer.to_string(), known.to_string(), "newer".to_owned()] {
            assert!(text.contains(&part), "{text}");
        }
        let sql = format!("DELETE FROM {table} WHERE version = {newer}");
        alter(&location, &sql).await;
        let store = opened(&location).await.unwrap();
        assert_eq!(store.migration().from, known, "nothing else had changed");
    })
    .await;
}

#[tokio::test]
async fn both_engines_have_the_same_tables_and_columns() {
    let schemas: Mutex<Vec<BTreeSet<String>>> = Mutex::default();
    at_each_location(async |location, _| {
        opened(&location).await.unwrap();
        let sql = match &location {
            Location::Sqlite(_) => {
                "SELECT t.name || '.' || c.name FROM sqlite_master t, pragma_table_info(t.name) c \
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
            }
            Location::Postgres { .. } => {
                "SELECT table_name || '.' || column_name FROM information_schema.columns \
                 WHERE table_schema = 'mnemic'"
            }
        };
        let columns: BTreeSet<String> = texts(&location, sql).await.into_iter().collect();
        for column in ["agents.id", "messages.seq", "runs.status"] {
            assert!(columns.contains(column), "{column} in {columns:?}");
        }
        schemas.lock().unwrap().push(columns);
    })
    .await;
    let schemas = schemas.into_inner().unwrap();
    for schema in &schemas {
        assert_eq!(*schema, schemas[0]);
    }
}

#[tokio::test]
async fn another_applications_tables_are_named_and_left_alone() {
    at_each_location(async |location, engine| {
        if engine == "SQLite" {
            return; // The file is ours alone.
        }
        alter(
            &location,
            "CREATE TABLE public.agents (id TEXT); INSERT INTO public.agents VALUES ('theirs');
             CREATE SCHEMA old; CREATE TABLE old.runs (id TEXT)",
        )
        .await;
        let theirs = "SELECT table_schema || '.' || table_name || '.' || column_name \
             FROM information_schema.columns WHERE table_schema IN ('public', 'old') ORDER BY 1";
        let before = texts(&location, theirs).await;
        let house = open(location.clone(), engine).await;
        let found = &house.store.migration().foreign_tables;
        assert_eq!(*found, ["old.runs", "public.agents"]);
        stored_agent(&house, agent("ours")).await;
        assert_eq!(texts(&location, theirs).await, before);
        let rows = texts(&location, "SELECT id FROM public.agents").await;
        assert_eq!(rows, ["theirs"]);
    })
    .await;
}

#[tokio::test]
async fn replicas_that_start_at_once_migrate_once() {
    at_each_location(async |location, engine| {
        if engine == "SQLite" {
            return; // A second process is kept out of the data folder.
        }
        let replicas = (0..4).map(|_| opened(&location));
        let replicas = futures_util::future::join_all(replicas).await;
        let mut from = Vec::new();
        for replica in replicas {
            from.push(replica.unwrap().migration().from);
        }
        assert_eq!(
            from.iter().filter(|from| **from == 0).count(),
            1,
            "{from:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mnemic.db");
    let letter = "Dear Zoë, this is a letter and no database. ".repeat(100);
    std::fs::write(&path, &letter).unwrap();
    let refused = opened(&Location::Sqlite(path.clone())).await;
    assert!(refused.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);
}

#[tokio::test]
async fn a_place_that_cannot_be_reached_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let places = [
        Location::Sqlite(folder.path().join("no such folder/mnemic.db")),
        Location::Postgres {
            url: format!("postgresql://u:secret@127.0.0.1:{port}/db?sslmode=disable"),
            connections: 1,
        },
    ];
    for place in places {
        let Err(StoreError::Unavailable(text)) = opened(&place).await.map(drop) else {
            panic!("{place:?}");
        };
        assert!(!text.contains("secret"), "{text}");
    }
}

/// The first version of the schema, as a server of that time made it on SQLite.
fn first_version() -> String {
    let mut sql = include_str!("../../migrations/0001_spine.sql").to_owned();
    for (ours, theirs) in [
        ("@text", "TEXT"),
        ("@serial", "INTEGER PRIMARY KEY"),
        ("@bytes", "BLOB"),
        (" @by_key", " WITHOUT ROWID"),
    ] {
        sql = sql.replace(ours, theirs);
    }
    sql
}

#[tokio::test]
async fn an_older_sqlite_database_is_copied_before_it_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mnemic.db");
    let location = Location::Sqlite(path.clone());
    let older = format!(
        "CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL);
         INSERT INTO schema_migrations VALUES (1, 0);
         {}
         INSERT INTO organizations VALUES ('org-1', 'kept', 0);
         INSERT INTO archives (id, organization_id, name, created_at, updated_at)
             VALUES ('archive-1', 'org-1', 'notes', 0, 0);
         INSERT INTO passages (id, organization_id, archive_id, text, text_hash, tags, embed_state, created_at, updated_at)
             VALUES ('passage-1', 'org-1', 'archive-1', 'kept', '', '[]', '', 0, 0);",
        first_version()
    );
    alter(&location, &older).await;
    let store = opened(&location).await.unwrap();
    let report = store.migration().clone();
    assert_eq!(report.from, 1);
    assert!(report.to > 1);
    let copy = Location::Sqlite(report.backup.unwrap());
    let names = "SELECT name FROM organizations WHERE id = 'org-1'";
    assert_eq!(texts(&location, names).await, ["kept"]);
    assert_eq!(texts(&copy, names).await, ["kept"]);
    let passages = "SELECT text FROM passages WHERE archive_id = 'archive-1'";
    assert_eq!(texts(&location, passages).await, ["kept"]);
    let counts = "SELECT CAST(passage_count AS TEXT) FROM archives";
    assert_eq!(texts(&location, counts).await, ["1"]);
    let versions = "SELECT CAST(version AS TEXT) FROM schema_migrations ORDER BY version";
    assert_eq!(texts(&copy, versions).await, ["1"], "as it was before");
    drop(store);
    let again = opened(&location).await.unwrap();
    assert_eq!(again.migration().backup, None);
}
