//! Write jobs: each is a whole, its answer is the truth, and others do not feel its failure.

use std::{path::Path, sync::mpsc, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use mnemic_store::{Dialect, Location, Param, StoreError, Tx, params};
use tokio::{task::yield_now, time::Instant};

use crate::{
    house::{House, on_each_engine, open},
    random::numbers,
    read, write,
};

/// Adds a row that later statements find by its name.
async fn add(tx: &mut Tx<'_>, id: &str, name: &str) -> Result<(), StoreError> {
    let row = vec![Param::from(id), Param::from(name), Param::from(1)];
    let columns = ["id", "name", "created_at"];
    tx.insert_rows("organizations", &columns, vec![row]).await
}

/// The ids of all rows that were added.
async fn added(house: &House) -> Vec<String> {
    read!(house, |tx, scope| {
        let sql = "SELECT id FROM organizations WHERE created_at = 1 ORDER BY id";
        let rows = tx.query(sql, &[]).await?;
        rows.into_iter().map(|mut row| row.text()).collect()
    })
    .unwrap()
}

/// How a job ends, after it has added its row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Well,
    WithAnError,
    OverAUniqueRow,
    OverALink,
    InvalidSql,
    InAPanic,
}

async fn job(house: &House, id: String, end: End) -> Result<(), StoreError> {
    write!(house, |tx, scope| {
        add(tx, &id, "x").await?;
        match end {
            End::Well => Ok(()),
            End::WithAnError => Err(StoreError::Invalid("no".to_owned())),
            End::OverAUniqueRow => add(tx, &id, "again").await,
            End::OverALink => {
                let sql = "INSERT INTO agents_identities (agent_id, identity_id) VALUES ($1, $1)";
                tx.execute(sql, params![&id]).await.map(drop)
            }
            End::InvalidSql => tx.execute("INSERT nonsense", &[]).await.map(drop),
            End::InAPanic => panic!("as wanted"),
        }
    })
}

async fn one_by_one<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut answers = Vec::new();
    for one in all {
        answers.push(one.await);
    }
    answers
}

#[tokio::test]
async fn a_failing_job_hurts_only_itself() {
    on_each_engine(async |house| {
        let ends = [
            End::WithAnError,
            End::Well,
            End::OverAUniqueRow,
            End::Well,
            End::OverALink,
            End::InvalidSql,
            End::Well,
            End::InAPanic,
            End::Well,
        ];
        let name = |n: usize| format!("job {n:02}");
        for round in 0..2 {
            let jobs = ends.iter().enumerate();
            let all: Vec<_> = jobs
                .map(|(n, end)| job(house, name(round * 9 + n), *end))
                .collect();
            let answers = match round {
                0 => join_all(all).await,
                _ => one_by_one(all).await,
            };
            for (end, answer) in ends.iter().zip(&answers) {
                let as_expected = match end {
                    End::Well => answer.is_ok(),
                    End::WithAnError => matches!(answer, Err(StoreError::Invalid(_))),
                    End::OverAUniqueRow | End::OverALink => {
                        matches!(answer, Err(StoreError::Conflict(_)))
                    }
                    End::InvalidSql => matches!(answer, Err(StoreError::Database(_))),
                    End::InAPanic => answer.is_err(),
                };
                assert!(as_expected, "{} {end:?} {answer:?}", house.engine);
            }
        }
        let good = |n: &usize| ends[n % 9] == End::Well;
        let wanted: Vec<String> = (0..18).filter(good).map(name).collect();
        assert_eq!(added(house).await, wanted, "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn a_job_goes_on_when_its_caller_goes_away() {
    on_each_engine(async |house| {
        let (go_on, gone_on) = mpsc::channel::<()>();
        let left = async {
            write!(house, |tx, scope| {
                // The writer's thread of SQLite waits until the caller is gone; a task on PostgreSQL
                // does not begin before.
                if tx.dialect() == Dialect::Sqlite {
                    gone_on.recv().unwrap();
                }
                add(tx, "left alone", "x").await
            })
        }
        .now_or_never();
        assert!(left.is_none(), "nobody heard how it ended");
        // On PostgreSQL nobody waits for it.
        let _ = go_on.send(());
        let deadline = Instant::now() + Duration::from_secs(30);
        while added(house).await.is_empty() {
            assert!(Instant::now() < deadline, "{}: it was lost", house.engine);
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn any_text_survives_and_is_found_by_itself_only() {
    on_each_engine(async |house| {
        let alphabet = [
            '\0', '0', '\u{F8FE}', 'a', 'A', '%', '_', '\\', '\'', '🦀', '\u{FFFF}',
        ];
        let mut next = numbers(1);
        let mut texts: Vec<String> = Vec::new();
        for _ in 0..200 {
            let text: String = (0..next(5)).map(|_| alphabet[next(11)]).collect();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let stored = texts.clone();
        write!(house, |tx, scope| {
            for (n, text) in stored.iter().enumerate() {
                add(tx, &format!("{n:03}"), text).await?;
            }
            Ok(())
        })
        .unwrap();
        let wanted = texts.clone();
        read!(house, |tx, scope| {
            let sql = "SELECT name FROM organizations WHERE created_at = 1 ORDER BY id";
            for (mut row, text) in tx.query(sql, &[]).await?.into_iter().zip(&wanted) {
                assert_eq!(row.text()?, *text);
            }
            let sql = "SELECT id FROM organizations WHERE created_at = 1 AND name = $1";
            for (n, text) in wanted.iter().enumerate() {
                let mut found = tx.query(sql, params![text]).await?;
                assert_eq!(found.len(), 1, "{text:?}");
                assert_eq!(found[0].text()?, format!("{n:03}"), "{text:?}");
            }
            Ok(())
        })
        .unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_contains_a_text_is_found_in_any_case_of_letters_and_literally() {
    on_each_engine(async |house| {
        let table = [
            ("Harbour", "harb", true),
            ("harbour", "HARB", true),
            ("Harbour", "", true),
            ("", "", true),
            ("", "h", false),
            ("Harbour", "h%r", false),
            ("100% sure", "100% S", true),
            ("a_b", "A_B", true),
            ("axb", "a_b", false),
            (r"back\slash", r"k\S", true),
            ("nul \0 here", "L \0 H", true),
            ("nul 0 here", "\0", false),
            ("a \u{F8FE} b", "\u{F8FE}", true),
            ("Zürich", "ürich", true),
            ("🦀", "🦀", true),
        ];
        for (n, (text, part, wanted)) in table.into_iter().enumerate() {
            let found = write!(house, |tx, scope| {
                let id = n.to_string();
                add(tx, &id, text).await?;
                let contains = tx.contains("name", 2);
                let sql =
                    format!("SELECT COUNT(*) FROM organizations WHERE id = $1 AND {contains}");
                tx.query_one(&sql, params![&id, part]).await?.int()
            });
            assert_eq!(
                found.unwrap() == 1,
                wanted,
                "{} {part:?} in {text:?}",
                house.engine
            );
        }
    })
    .await;
}

/// How many commits stand in a write-ahead log (https://sqlite.org/fileformat.html, section 4): of a
/// frame's header, bytes 4 to 7 are zero but for the last frame of a commit.
fn commits_in_log(database: &Path) -> usize {
    const HEADER: usize = 32;
    const FRAME_HEADER: usize = 24;
    let log = std::fs::read(database.with_extension("db-wal")).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap());
    let salts = &log[16..24];
    log[HEADER..]
        .chunks_exact(FRAME_HEADER + usize::try_from(page).unwrap())
        .take_while(|frame| &frame[8..16] == salts)
        .filter(|frame| frame[4..8] != [0; 4])
        .count()
}

#[tokio::test]
async fn jobs_that_wait_share_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mnemic.db");
    let house = open(Location::Sqlite(path.clone()), "SQLite").await;
    job(&house, "first".to_owned(), End::Well).await.unwrap();
    let before = commits_in_log(&path);
    job(&house, "second".to_owned(), End::Well).await.unwrap();
    assert_eq!(commits_in_log(&path), before + 1, "a job alone has its own");
    let (go_on, gone_on) = mpsc::channel::<()>();
    let held = async {
        write!(house, |tx, scope| {
            gone_on.recv().unwrap();
            add(tx, "held", "x").await
        })
    };
    let many = join_all((0..50).map(|n| job(&house, format!("{n}"), End::Well)));
    // The jobs are handed over in this order, and then the first goes on.
    let (held, many, ()) = tokio::join!(biased; held, many, async { go_on.send(()).unwrap() });
    held.unwrap();
    assert!(many.iter().all(Result::is_ok));
    let more = commits_in_log(&path) - before - 1;
    assert!((1..=2).contains(&more), "{more} commits of 51 jobs");
    assert_eq!(added(&house).await.len(), 53);
}

#[tokio::test]
async fn a_read_job_sees_one_state_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("mnemic.db"));
    let house = open(location, "SQLite").await;
    let (has_read, read_once) = tokio::sync::oneshot::channel();
    let (written, is_written) = mpsc::channel();
    let reading = async {
        read!(house, |tx, scope| {
            let sql = "SELECT COUNT(*) FROM organizations WHERE created_at = 1";
            let before = tx.query_one(sql, &[]).await?.int()?;
            has_read.send(()).unwrap();
            is_written.recv().unwrap();
            Ok((before, tx.query_one(sql, &[]).await?.int()?))
        })
    };
    let writing = async {
        read_once.await.unwrap();
        job(&house, "between".to_owned(), End::Well).await.unwrap();
        written.send(()).unwrap();
    };
    let (seen, ()) = tokio::join!(reading, writing);
    assert_eq!(seen.unwrap(), (0, 0));
    assert_eq!(added(&house).await, ["between"]);
}

#[tokio::test]
async fn a_job_on_sqlite_that_waits_for_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("mnemic.db"));
    let house = open(location, "SQLite").await;
    let refused = write!(house, |tx, scope| {
        add(tx, "waits", "x").await?;
        yield_now().await;
        Ok(())
    });
    assert!(matches!(refused, Err(StoreError::Database(_))));
    assert_eq!(added(&house).await, [""; 0]);
}

#[tokio::test]
async fn what_was_answered_as_done_is_there_even_if_a_statement_of_it_failed() {
    on_each_engine(async |house| {
        let answer = write!(house, |tx, scope| {
            add(tx, "kept", "x").await?;
            let _ = add(tx, "kept", "again").await;
            Ok(())
        });
        let kept = added(house).await.len();
        assert_eq!(
            kept,
            usize::from(answer.is_ok()),
            "{} {answer:?}",
            house.engine
        );
    })
    .await;
}
