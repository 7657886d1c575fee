//! What is deleted and erased is in no file any more.

use std::{path::Path, time::Duration};

use mnemic_core::time::Timestamp;
use mnemic_store::{Location, Store, StoreError, erasure, erasure::Erasure};

use crate::house::{at_each_location, open};

/// All bytes of a folder's files.
fn bytes_in(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let files = files.filter(|file| file.is_file());
    files
        .flat_map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// Waits until the threads of a store that was dropped have closed its files: the last of them takes the log along.
async fn is_closed(database: &Path) {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let closed = async {
        while Path::new(&log).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed)
        .await
        .unwrap();
}

fn count(bytes: &[u8], word: &str) -> usize {
    bytes
        .windows(word.len())
        .filter(|window| *window == word.as_bytes())
        .count()
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn text(&mut self, whose: &str) -> String {
        let lengths = [20, 150, 900, 3_000, 9_000];
        let length = lengths[usize::try_from(self.roll(5)).unwrap()];
        format!("canary-{whose}-{} ", self.roll(1_000_000)).repeat(length / 20 + 1)
    }
}

async fn run(store: &Store, statements: Vec<String>) {
    let done = store.write(move |tx| {
        Box::pin(async move {
            for sql in &statements {
                tx.execute(sql, &[]).await?;
            }
            Ok::<_, StoreError>(())
        })
    });
    done.await.unwrap();
}

/// Rows of two people come, change and go, in an order that makes trees grow, split and shrink.
async fn live_for_a_while(store: &Store, dice: &mut Dice) {
    for _ in 0..150 {
        let mut statements = Vec::new();
        for _ in 0..20 {
            let whose = ["ada", "bob"][usize::try_from(dice.roll(2)).unwrap()];
            let id = format!("{whose}-{}", dice.roll(1_500));
            let (text, key) = (dice.text(whose), dice.roll(u64::MAX >> 33));
            statements.push(match dice.roll(10) {
                0..5 => format!(
                    "INSERT INTO server_facts (name, value) VALUES ('{id}', CAST('{text}' AS BLOB)) \
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value"
                ),
                5..8 => format!("INSERT INTO organizations (id, name, created_at) VALUES ('{id}-{key}', '{text}', 1)"),
                8 => format!("DELETE FROM organizations WHERE id LIKE '{id}%'"),
                _ => format!("UPDATE organizations SET name = '{text}' WHERE id LIKE '{id}%'"),
            });
        }
        run(store, statements).await;
    }
}

#[tokio::test]
async fn what_was_deleted_is_in_no_file_after_it_was_erased_and_the_rest_is() {
    at_each_location(async |location, engine| {
        let Location::Sqlite(path) = location.clone() else {
            return;
        };
        let folder = path.parent().unwrap();
        let house = open(location, engine).await;
        let mut dice = Dice(7);
        for round in 0..3 {
            live_for_a_while(&house.store, &mut dice).await;
            let of_ada = ["organizations WHERE id", "server_facts WHERE name"]
                .map(|from| format!("DELETE FROM {from} LIKE 'ada-%'"));
            run(&house.store, of_ada.to_vec()).await;
            assert!(
                count(&bytes_in(folder), "ada-") > 0,
                "the test is one: copies are left, and the log is"
            );
            assert_eq!(house.store.erase().await.unwrap(), Erasure::Complete);
            let bytes = bytes_in(folder);
            assert_eq!(count(&bytes, "ada-"), 0, "round {round}");
            assert!(count(&bytes, "canary-bob-") > 1_000, "round {round}");
        }
        drop(house);
        let connection = rusqlite::Connection::open(&path).unwrap();
        let check: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    })
    .await;
}

#[tokio::test]
async fn what_is_due_stays_due_until_it_is_done_and_what_comes_meanwhile_as_well() {
    at_each_location(async |location, engine| {
        let house = open(location.clone(), engine).await;
        let note = || {
            house
                .store
                .write(|tx| Box::pin(async move { erasure::note_due(tx).await }))
        };
        assert!(!house.store.erasure_due().await.unwrap());
        note().await.unwrap();
        let again = open(location, engine).await;
        assert!(
            again.store.erasure_due().await.unwrap(),
            "another process knows it too"
        );
        drop(again);
        house.store.erase().await.unwrap();
        assert!(!house.store.erasure_due().await.unwrap());
        note().await.unwrap();
        let (done, noted) = tokio::join!(house.store.erase(), note());
        done.unwrap();
        noted.unwrap();
        house.store.erase().await.unwrap();
        assert!(!house.store.erasure_due().await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_database_that_did_not_overwrite_what_it_deleted_is_written_anew() {
    at_each_location(async |location, engine| {
        let Location::Sqlite(path) = location.clone() else {
            return;
        };
        let folder = path.parent().unwrap();
        drop(open(location.clone(), engine).await);
        is_closed(&path).await;
        let before = rusqlite::Connection::open(&path).unwrap();
        let texts = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
             INSERT INTO organizations (id, name, created_at) SELECT 'ada-' || i, replace(hex(zeroblob(300)), '00', 'canary-ada-'), 1 FROM n";
        before.execute_batch("PRAGMA secure_delete = OFF; DELETE FROM server_facts WHERE name = 'overwrites_deleted'").unwrap();
        before.execute_batch(texts).unwrap();
        before.execute_batch("DELETE FROM organizations").unwrap();
        drop(before);
        assert!(count(&bytes_in(folder), "canary-ada-") > 0);
        let house = open(location, engine).await;
        assert_eq!(house.store.erase().await.unwrap(), Erasure::Complete);
        assert_eq!(count(&bytes_in(folder), "canary-ada-"), 0);
        assert!(!folder.join("backups").exists(), "that is no migration");
    })
    .await;
}

#[tokio::test]
async fn copies_made_before_migrations_are_told_and_go_by_their_age() {
    at_each_location(async |location, engine| {
        let house = open(location.clone(), engine).await;
        let Location::Sqlite(path) = location else {
            assert!(house.store.copies().await.unwrap().is_empty());
            return;
        };
        assert!(house.store.copies().await.unwrap().is_empty());
        let folder = path.with_file_name("backups");
        std::fs::create_dir(&folder).unwrap();
        for name in [
            "schema-3-2000.db",
            "schema-2-1000.db",
            "my-own.db",
            "schema-x-1.db",
        ] {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        let told: Vec<_> = house
            .store
            .copies()
            .await
            .unwrap()
            .into_iter()
            .map(|copy| (copy.name, copy.made_at.0))
            .collect();
        assert_eq!(
            told,
            [
                ("schema-2-1000.db".to_owned(), 1_000),
                ("schema-3-2000.db".to_owned(), 2_000)
            ]
        );
        assert_eq!(
            house.store.delete_copies(Timestamp(2_000)).await.unwrap(),
            ["schema-2-1000.db"]
        );
        let mut left: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["my-own.db", "schema-3-2000.db", "schema-x-1.db"],
            "files of others stay"
        );
    })
    .await;
}
