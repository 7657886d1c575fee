//! Passages and their vectors.

use mnemic_core::{
    ids::{ArchiveId, PassageId},
    passages::Passage,
    time::Timestamp,
};
use mnemic_store::{
    StoreError, archives,
    embed_scopes::{self, ScopeKind},
    page::{Order, Page},
    passages::{self, PassageFilter},
    vectors::{self, TextVectors},
};
use serde_json::json;

use crate::{
    archives::{archive, stored},
    build::{agent, stored_agent},
    house::{House, on_each_engine},
    read,
    thread::stranger,
    write,
};

fn passage(archive_id: ArchiveId, text: &str, at: i64) -> Passage {
    let metadata = json!({"n": at});
    Passage {
        seq: 0,
        id: PassageId::new(),
        archive_id,
        subject: None,
        text: text.to_owned(),
        tags: vec!["boat".to_owned()],
        metadata: metadata.as_object().cloned().unwrap_or_default(),
        created_by: None,
        created_at: Timestamp(at),
        updated_at: Timestamp(100),
    }
}

async fn written(house: &House, archive: ArchiveId, texts: &[(&str, i64)]) -> Vec<PassageId> {
    let new: Vec<Passage> = texts
        .iter()
        .map(|(text, at)| passage(archive, text, *at))
        .collect();
    let ids = new.iter().map(|passage| passage.id).collect();
    write!(house, |tx, scope| passages::insert(
        tx, scope, archive, &new
    )
    .await)
    .unwrap();
    ids
}

async fn texts(house: &House, filter: PassageFilter, page: Page) -> Vec<String> {
    let found = read!(house, |tx, scope| passages::list(tx, scope, &filter, &page)
        .await);
    let found = found.unwrap();
    found.into_iter().map(|passage| passage.text).collect()
}

#[tokio::test]
async fn a_passage_comes_back_as_it_was_and_only_in_its_organization() {
    on_each_engine(async |house| {
        let notes = stored(house, archive("notes", 1)).await;
        let id = written(house, notes, &[("nul \u{0} and umlaut ü", 5)]).await[0];
        let found = read!(house, |tx, scope| passages::get(tx, scope, id).await).unwrap();
        assert!(found.seq > 0);
        let kept = Passage {
            id,
            seq: found.seq,
            ..passage(notes, "nul \u{0} and umlaut ü", 5)
        };
        assert_eq!(found, kept);
        let theirs = house.seen_by(stranger());
        let found = read!(theirs, |tx, scope| passages::get(tx, scope, id).await);
        assert!(matches!(found, Err(StoreError::NotFound { .. })));
        let new = [passage(notes, "x", 1)];
        let refused = write!(theirs, |tx, scope| {
            passages::insert(tx, scope, notes, &new).await
        });
        assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn passages_are_listed_by_date_text_and_agent_in_pages() {
    on_each_engine(async |house| {
        let ada = stored_agent(house, agent("ada")).await;
        let notes = stored(house, archive("notes", 1)).await;
        let other = stored(house, archive("other", 2)).await;
        let at = Timestamp(3);
        write!(house, |tx, scope| archives::attach(
            tx,
            scope,
            (ada, notes),
            at
        )
        .await)
        .unwrap();
        let ids = written(house, notes, &[("Keel", 3), ("mast", 1), ("oar", 2)]).await;
        written(house, other, &[("keel of another", 1)]).await;
        let of_ada = PassageFilter {
            agent_id: Some(ada),
            ..PassageFilter::default()
        };
        let all = Page::first(10, Order::Asc);
        assert_eq!(
            texts(house, of_ada.clone(), all.clone()).await,
            ["mast", "oar", "Keel"]
        );
        let next = Page {
            after: Some(ids[2].to_string()),
            ..all.clone()
        };
        assert_eq!(texts(house, of_ada.clone(), next).await, ["Keel"]);
        let with_keel = PassageFilter {
            search: Some("keel".into()),
            ..of_ada
        };
        assert_eq!(texts(house, with_keel, all).await, ["Keel"]);
        let count =
            async || read!(house, |tx, scope| passages::count(tx, scope, ada).await).unwrap();
        assert_eq!(count().await, 3);
        let gone = ids[0];
        write!(house, |tx, scope| passages::delete(tx, scope, gone).await).unwrap();
        assert_eq!(count().await, 2);
    })
    .await;
}

#[tokio::test]
async fn an_index_reads_passages_on_from_a_number() {
    on_each_engine(async |house| {
        let notes = stored(house, archive("notes", 1)).await;
        written(house, notes, &[("a", 9), ("b", 8), ("c", 7)]).await;
        let after = async |seq, limit| {
            read!(house, |tx, _s| passages::after(
                tx,
                notes,
                None,
                (seq, limit)
            )
            .await)
            .unwrap()
        };
        let all = after(0, 10).await;
        let first = all[0].seq;
        assert_eq!(
            all.iter().map(|row| &*row.text).collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        assert_eq!(after(first, 1).await[0].text, "b");
        let of_bea = read!(house, |tx, _s| passages::after(
            tx,
            notes,
            Some("bea"),
            (0, 9)
        )
        .await);
        assert!(of_bea.unwrap().is_empty());
        let last = all[2].seq;
        let down = read!(house, |tx, _s| passages::downwards(
            tx,
            notes,
            (first, last),
            9
        )
        .await);
        assert_eq!(down.unwrap()[0].text, "b");
        let seqs = [first, last, 77_777];
        let rows = read!(house, |tx, scope| passages::by_seqs(
            tx, scope, notes, &seqs
        )
        .await);
        assert_eq!(rows.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn vectors_are_kept_by_model_and_go_with_their_texts() {
    on_each_engine(async |house| {
        let notes = stored(house, archive("notes", 1)).await;
        let ids = written(house, notes, &[("a", 1), ("b", 2)]).await;
        let scope_name = notes.to_string();
        let rows = read!(house, |tx, _s| passages::after(tx, notes, None, (0, 9))
            .await)
        .unwrap();
        let made = |item| TextVectors {
            item,
            chunks: vec![vec![0.5, -0.5], vec![1.0, 0.0]],
        };
        for model in ["m1", "m2"] {
            let texts = [made(rows[0].seq), made(rows[1].seq)];
            let name = scope_name.clone();
            for _ in 0..2 {
                let (texts, name) = (texts.clone(), name.clone());
                let kind = ScopeKind::Passages;
                write!(house, |tx, _s| vectors::insert(
                    tx,
                    kind,
                    (&name, model),
                    &texts
                )
                .await)
                .unwrap();
            }
        }
        let of = async |model: &'static str| {
            let name = scope_name.clone();
            read!(house, |tx, _s| vectors::after(tx, (&name, model), (0, 9))
                .await)
            .unwrap()
        };
        assert_eq!(of("m1").await.len(), 2);
        assert_eq!(of("m1").await[0].vectors, made(rows[0].seq));
        let name = scope_name.clone();
        let (first, second) = (rows[0].seq, rows[1].seq);
        let known = read!(house, |tx, _s| {
            vectors::known(tx, (&name, "m1"), &[first, second, 99]).await
        });
        assert_eq!(known.unwrap().len(), 2);
        let gone = ids[0];
        write!(house, |tx, scope| passages::delete(tx, scope, gone).await).unwrap();
        assert_eq!(of("m1").await.len(), 1);
        let name = scope_name.clone();
        write!(house, |tx, _s| vectors::drop_others(tx, &name, "m1").await).unwrap();
        assert_eq!((of("m1").await.len(), of("m2").await.len()), (1, 0));
        write!(house, |tx, scope| archives::delete(tx, scope, notes).await).unwrap();
        assert!(of("m1").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_passage_that_is_deleted_while_it_is_embedded_gets_no_vectors() {
    on_each_engine(async |house| {
        let notes = stored(house, archive("notes", 1)).await;
        let ids = written(house, notes, &[("a", 1), ("b", 2)]).await;
        let rows = read!(house, |tx, _s| passages::after(tx, notes, None, (0, 9))
            .await)
        .unwrap();
        let texts: Vec<TextVectors> = rows
            .iter()
            .map(|row| TextVectors {
                item: row.seq,
                chunks: vec![vec![1.0]],
            })
            .collect();
        let gone = ids[1];
        write!(house, |tx, scope| passages::delete(tx, scope, gone).await).unwrap();
        let (name, kind) = (notes.to_string(), ScopeKind::Passages);
        write!(house, |tx, _s| vectors::insert(
            tx,
            kind,
            (&name, "m"),
            &texts
        )
        .await)
        .unwrap();
        let name = notes.to_string();
        let left = read!(house, |tx, _s| vectors::after(tx, (&name, "m"), (0, 9))
            .await)
        .unwrap();
        let items: Vec<i64> = left.iter().map(|it| it.vectors.item).collect();
        assert_eq!(items, [rows[0].seq], "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn the_number_of_a_deleted_passage_is_never_given_again() {
    on_each_engine(async |house| {
        let notes = stored(house, archive("notes", 1)).await;
        let ids = written(house, notes, &[("a", 1), ("b", 2)]).await;
        let last = async || {
            let rows = read!(house, |tx, _s| passages::after(tx, notes, None, (0, 9))
                .await)
            .unwrap();
            rows.last().unwrap().seq
        };
        let before = last().await;
        let gone = ids[1];
        write!(house, |tx, scope| passages::delete(tx, scope, gone).await).unwrap();
        written(house, notes, &[("c", 3)]).await;
        assert!(last().await > before, "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn vectors_of_another_length_take_the_place_of_all_of_their_model() {
    on_each_engine(async |house| {
        let notes = stored(house, archive("notes", 1)).await;
        written(house, notes, &[("a", 1), ("b", 2)]).await;
        let rows = read!(house, |tx, _s| passages::after(tx, notes, None, (0, 9))
            .await)
        .unwrap();
        let made = |at: usize, dims| TextVectors {
            item: rows[at].seq,
            chunks: vec![vec![1.0; dims]],
        };
        let kind = ScopeKind::Passages;
        let insert = async |text: TextVectors| {
            let (name, texts) = (notes.to_string(), [text]);
            let outgrown = write!(house, |tx, _s| {
                let outgrown = vectors::drop_outgrown(tx, (&name, "m"), &texts).await?;
                vectors::insert(tx, kind, (&name, "m"), &texts).await?;
                Ok::<_, StoreError>(outgrown)
            });
            outgrown.unwrap()
        };
        assert!(!insert(made(0, 3)).await);
        assert!(!insert(made(0, 3)).await);
        assert!(insert(made(1, 4)).await);
        let name = notes.to_string();
        let left = read!(house, |tx, _s| vectors::after(tx, (&name, "m"), (0, 9))
            .await)
        .unwrap();
        let left: Vec<&TextVectors> = left.iter().map(|it| &it.vectors).collect();
        assert_eq!(left, [&made(1, 4)], "{}", house.engine);
    })
    .await;
}

#[tokio::test]
async fn the_room_of_vectors_is_counted_over_all_texts_of_an_organization() {
    on_each_engine(async |house| {
        let mut wanted = 0;
        for (name, dims) in [("notes", 3), ("more notes", 5)] {
            let archive = stored(house, archive(name, 1)).await;
            written(house, archive, &[("a", 1)]).await;
            let rows = read!(house, |tx, _s| passages::after(tx, archive, None, (0, 9))
                .await);
            let text = TextVectors {
                item: rows.unwrap()[0].seq,
                chunks: vec![vec![0.5; dims]; 2],
            };
            wanted += i64::try_from(2 * dims * 2).unwrap();
            write!(house, |tx, scope| {
                let (name, kind) = (archive.to_string(), ScopeKind::Passages);
                let own = (scope.organization, kind);
                embed_scopes::mark(tx, own, &name, Timestamp(1)).await?;
                vectors::insert(tx, kind, (&name, "m"), &[text]).await
            })
            .unwrap();
        }
        let taken = async |house: &House| {
            read!(house, |tx, scope| vectors::stored_bytes(tx, scope).await).unwrap()
        };
        assert_eq!(taken(house).await, wanted, "two bytes for each number");
        assert_eq!(taken(&house.seen_by(stranger())).await, 0);
    })
    .await;
}
