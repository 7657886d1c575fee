use proptest::prelude::*;

use super::*;

const ZONE: &str = "UTC";

fn now() -> Timestamp {
    Timestamp::parse("2024-06-12T15:00:00Z").unwrap()
}

/// A text as tests write it.
#[derive(Debug, Clone, Copy, Default)]
struct Said<'a> {
    text: &'a str,
    speaker: Option<&'a str>,
    day: i64,
    session: u64,
    role: u8,
    tags: &'a [&'a str],
    superseded: bool,
}

fn said(text: &str) -> Said<'_> {
    Said {
        text,
        session: 1,
        ..Said::default()
    }
}

fn by<'a>(speaker: &'a str, text: &'a str) -> Said<'a> {
    Said {
        speaker: Some(speaker),
        ..said(text)
    }
}

fn on_day(day: i64, said: Said<'_>) -> Said<'_> {
    Said { day, ..said }
}

fn add(index: &mut Index, key: i64, said: &Said<'_>) {
    index.push(&Document {
        key,
        text: said.text,
        speaker: said.speaker,
        time: Timestamp(now().0 + said.day * 86_400_000_000),
        session: said.session,
        role: said.role,
        tags: said.tags,
        superseded: said.superseded,
    });
}

fn index_of(kind: Kind, texts: &[Said<'_>]) -> Index {
    let mut index = Index::new(kind);
    for (key, said) in (0..).zip(texts) {
        add(&mut index, key, said);
    }
    index
}

fn query(text: &str) -> Query<'_> {
    Query {
        text,
        vector: None,
        now: now(),
        zone: ZONE,
        filter: Filter::default(),
        limit: 10,
        settings: &Settings { off: 0 },
    }
}

fn keys(outcome: &Outcome) -> Vec<i64> {
    outcome.hits.iter().map(|hit| hit.key).collect()
}

fn found(index: &Index, text: &str) -> Vec<i64> {
    keys(&search(&[index], &query(text)))
}

#[test]
fn words_find_a_text_in_all_their_forms_and_rare_ones_count_more() {
    let texts = [
        said("We painted the kitchen."),
        said("The kitchen is large. The kitchen is warm."),
        said("A violin stands there."),
    ];
    let index = index_of(Kind::Passages, &texts);
    assert_eq!(found(&index, "Who paints a kitchen?")[0], 0);
    assert_eq!(found(&index, "violins"), [2]);
    assert!(found(&index, "zebra").is_empty());
    let nothing = search(&[&index], &query("zebra quantum"));
    assert!(nothing.nothing_relevant && nothing.embedded == 0);
}

#[test]
fn a_score_tells_how_well_a_passage_fits() {
    let texts = [
        said("The spare key is under the blue flowerpot."),
        said("The mast is made of spruce."),
        said("Varnish needs two days to cure."),
        said("The keel was laid in Bergen."),
    ];
    let index = index_of(Kind::Passages, &texts);
    let scores = |text: &str| {
        let outcome = search(&[&index], &query(text));
        let first = outcome.hits.first().map_or(0.0, |hit| hit.score);
        (first, outcome.nothing_relevant)
    };
    let (whole, nothing) = scores("Where is the spare key?");
    assert!(whole > 0.5 && !nothing, "{whole}");
    let (half, nothing) = scores("the key of the harbour");
    assert!(half > 0.05 && half < 0.5 && !nothing, "{half}");
    assert_eq!(scores("zebra soup"), (0.0, true));
}

#[test]
fn a_note_with_a_label_is_found_like_any_other() {
    let texts = [
        said("The mast of the Ada is made of spruce."),
        said("Shopping list: eggs, milk and flour"),
        said("Wifi password: marmalade"),
        said("Dentist: Friday at ten"),
        said("The cat is called Minka."),
    ];
    let index = index_of(Kind::Passages, &texts);
    for (text, wanted) in [
        ("What is on the shopping list?", 1),
        ("wifi password", 2),
        ("When is the dentist?", 3),
    ] {
        let outcome = search(&[&index], &query(text));
        let best = outcome.hits.first().unwrap();
        assert!(
            best.key == wanted && best.score > 0.5,
            "{text}: {outcome:?}"
        );
    }
}

#[test]
fn what_is_new_is_no_more_relevant_for_that() {
    let texts: Vec<String> = (0..200)
        .map(|n| {
            format!(
                "Entry {n} of the log: the wind was {} and the sea {}.",
                n % 12,
                n % 7
            )
        })
        .collect();
    let texts: Vec<Said<'_>> = (0..)
        .zip(&texts)
        .map(|(n, text)| on_day(n - 200, said(text)))
        .collect();
    let mut index = index_of(Kind::Passages, &texts);
    for key in 0..200 {
        index.set_vector(key, 0, &unit(1.4));
    }
    let vector = unit(0.0);
    for text in [
        "Where does Zorblax live now?",
        "Who is the president of France?",
    ] {
        let asked = Query {
            vector: Some(&vector),
            ..query(text)
        };
        let outcome = search(&[&index], &asked);
        let best = outcome.hits.first().map_or(0.0, |hit| hit.score);
        assert!(outcome.nothing_relevant && best < 0.2, "{text}: {best}");
    }
}

#[test]
fn one_odd_date_does_not_hide_what_is_newer() {
    let mut texts = vec![
        on_day(-800, said("Ada lives in Hamburg.")),
        on_day(-30, said("Ada lives in Oslo.")),
        on_day(-20, said("The oven was repaired.")),
    ];
    for odd in [None, Some(-300_000), Some(300_000)] {
        texts.extend(odd.map(|day| on_day(day, said("The castle stands there."))));
        let index = index_of(Kind::Passages, &texts);
        let hits = found(&index, "Where does Ada live now?");
        assert_eq!(hits[..2], [1, 0], "{odd:?}");
    }
}

#[test]
fn whoever_asks_again_finds_the_answer_and_not_the_question() {
    let texts = [
        by("user", "My dog is called Bruno, he is a beagle."),
        by("assistant", "A fine name!"),
        by("user", "What is my dog called?"),
        by("assistant", "Let me look that up."),
        by("user", "What is my dog called?"),
    ];
    let index = index_of(Kind::Turns, &texts);
    assert_eq!(found(&index, "What is my dog called?")[0], 0);
}

#[test]
fn a_short_history_does_not_deny_what_it_holds() {
    let texts = [
        by("user", "My sister Clara lives in Lisbon."),
        by("assistant", "How nice! Do you visit her often?"),
        by("user", "Every summer. The mast of my boat needs varnish."),
        by("assistant", "Two thin coats in dry weather."),
        by("user", "I will do it on Saturday."),
        by("assistant", "Good luck with it!"),
    ];
    let index = index_of(Kind::Turns, &texts);
    let outcome = search(&[&index], &query("In which city does Clara live?"));
    let best = outcome.hits.first().unwrap();
    assert!(best.key == 0 && !outcome.nothing_relevant, "{outcome:?}");
}

#[test]
fn a_single_character_finds_the_words_it_is_part_of() {
    let texts = [
        said("猫が好きです"),
        said("東京都に住んでいます"),
        said("犬"),
    ];
    let index = index_of(Kind::Passages, &texts);
    for (text, wanted) in [("猫", 0), ("京", 1), ("犬", 2), ("好き", 0)] {
        assert_eq!(found(&index, text), [wanted], "{text}");
    }
}

#[test]
fn a_query_of_nothing_but_function_words_finds_them() {
    let index = index_of(Kind::Passages, &[said("to be or not to be"), said("a cat")]);
    assert_eq!(found(&index, "be or not"), [0]);
    assert!(found(&index, "?!").is_empty());
}

#[test]
fn an_answer_is_found_by_the_question_before_it() {
    let texts = [
        by("Mia", "What colour is your new bicycle?"),
        by("Tom", "Blue, like the old one!"),
        by("Mia", "I made soup for lunch today."),
        by("Tom", "Sounds tasty to me, really."),
    ];
    let index = index_of(Kind::Turns, &texts);
    let hits = found(&index, "Which colour has Tom's bicycle?");
    assert!(hits[..2].contains(&1), "{hits:?}");
    assert!(
        hits.iter().all(|key| *key < 3),
        "{hits:?}: nothing speaks for the last"
    );
}

#[test]
fn who_is_asked_about_matters() {
    let texts = [
        by("Mia", "My garden has roses in every corner."),
        by("Tom", "My garden has roses in every corner."),
    ];
    let index = index_of(Kind::Turns, &texts);
    assert_eq!(found(&index, "What grows in Tom's garden, roses?")[0], 1);
    assert_eq!(found(&index, "What grows in Mia's garden, roses?")[0], 0);
}

#[test]
fn passages_that_are_written_as_turns_are_turns() {
    let texts = [
        said("Mia: What colour is your new bicycle?"),
        said("Tom: Blue, like the old one!"),
    ];
    let index = index_of(Kind::Passages, &texts);
    assert_eq!(found(&index, "bicycle colour").len(), 2);
    assert_eq!(embedding_text("Tom: Blue", Some("user")), "Tom: Blue");
    assert_eq!(embedding_text("Blue", Some("Tom")), "Tom: Blue");
}

#[test]
fn turns_of_other_threads_and_after_a_pause_are_no_neighbours() {
    let question = said("What colour is your new bicycle?");
    for answer in [
        Said {
            session: 2,
            ..said("Blue, like the old one!")
        },
        on_day(1, said("Blue, like the old one!")),
    ] {
        let index = index_of(Kind::Turns, &[question, answer]);
        assert_eq!(found(&index, "bicycle colour"), [0]);
    }
}

#[test]
fn a_time_in_the_query_raises_what_was_said_then() {
    let texts = [
        on_day(-40, said("We met in the park.")),
        on_day(-8, said("We met in the park.")),
        on_day(-1, said("We met in the park.")),
    ];
    let index = index_of(Kind::Passages, &texts);
    assert_eq!(found(&index, "Where did we meet last week?")[0], 1);
    assert_eq!(found(&index, "Where did we meet yesterday?")[0], 2);
    assert_eq!(found(&index, "Where did we meet in May 2024?")[0], 0);
    assert_eq!(
        found(&index, "Where did we meet?"),
        [2, 1, 0],
        "the newest first"
    );
}

#[test]
fn what_is_no_longer_true_comes_after_what_is() {
    let old = Said {
        superseded: true,
        ..said("She works at the bakery.")
    };
    let index = index_of(Kind::Passages, &[said("She works at the harbour."), old]);
    assert_eq!(found(&index, "Where does she work?"), [0, 1]);
}

fn tides() -> Index {
    let one = Said {
        role: 1,
        tags: &["a", "b"],
        ..said("tide one")
    };
    let two = Said {
        role: 2,
        tags: &["a"],
        session: 7,
        ..on_day(-5, said("tide two"))
    };
    let three = Said {
        role: 1,
        ..on_day(-9, said("tide three"))
    };
    index_of(Kind::Passages, &[one, two, three])
}

fn let_through(filter: Filter) -> Vec<i64> {
    let asked = Query {
        filter,
        ..query("tide")
    };
    let mut found = keys(&search(&[&tides()], &asked));
    found.sort_unstable();
    found
}

#[test]
fn tags_narrow_a_search() {
    let tagged = |tags| {
        let_through(Filter {
            tags,
            ..Filter::default()
        })
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(tagged(Tags::Every), [0, 1, 2]);
    assert_eq!(tagged(Tags::Any(names(&["a", "x"]))), [0, 1]);
    assert_eq!(tagged(Tags::All(names(&["a", "b"]))), [0]);
    assert!(tagged(Tags::All(names(&["a", "x"]))).is_empty());
}

#[test]
fn roles_threads_and_times_narrow_a_search() {
    let day = |day: i64| Some(Timestamp(now().0 + day * 86_400_000_000));
    let filter = Filter {
        roles: vec![1],
        ..Filter::default()
    };
    assert_eq!(let_through(filter), [0, 2]);
    let filter = Filter {
        sessions: vec![(7, i64::MAX)],
        ..Filter::default()
    };
    assert_eq!(let_through(filter), [1]);
    let filter = Filter {
        start: day(-5),
        end: day(-1),
        ..Filter::default()
    };
    assert_eq!(let_through(filter), [1]);
}

fn unit(angle: f32) -> [f32; 2] {
    [angle.cos(), angle.sin()]
}

#[test]
fn meaning_finds_what_words_do_not_whichever_came_first() {
    let texts = [said("My beagle is old."), said("The oven is new.")];
    let mut index = index_of(Kind::Passages, &texts[..1]);
    index.set_vector(1, 0, &unit(1.5));
    index.set_vector(0, 0, &unit(0.1));
    add(&mut index, 1, &texts[1]);
    let vector = unit(0.0);
    let asked = Query {
        vector: Some(&vector),
        ..query("pets")
    };
    let outcome = search(&[&index], &asked);
    assert_eq!(keys(&outcome), [0, 1]);
    assert!(outcome.hits[0].parts.dense > outcome.hits[1].parts.dense);
    assert_eq!((outcome.texts, outcome.embedded), (2, 2));
    index.clear_vectors();
    let outcome = search(&[&index], &asked);
    assert!(outcome.hits.is_empty() && outcome.embedded == 0);
    index.set_vector(1, 0, &unit(0.0));
    assert_eq!(keys(&search(&[&index], &asked))[0], 1);
    let text_only = Query {
        settings: &Settings::text_only(),
        ..asked
    };
    assert!(search(&[&index], &text_only).hits.is_empty());
}

#[test]
fn a_text_of_several_chunks_is_as_near_as_its_nearest() {
    let texts = [said("long"), said("short")];
    let mut index = index_of(Kind::Passages, &texts);
    index.set_vector(0, 0, &unit(1.4));
    index.set_vector(0, 1, &unit(0.0));
    index.set_vector(1, 0, &unit(0.3));
    let vector = unit(0.0);
    let asked = Query {
        vector: Some(&vector),
        ..query("pets")
    };
    assert_eq!(keys(&search(&[&index], &asked))[0], 0);
}

#[test]
fn what_is_taken_out_is_as_if_it_had_never_been() {
    let texts = [said("a red boat"), said("a blue boat"), said("a green car")];
    let mut index = index_of(Kind::Turns, &texts);
    index.set_vector(1, 0, &unit(0.0));
    index.remove(1);
    index.remove(1);
    index.remove(99);
    let fresh = {
        let mut fresh = Index::new(Kind::Turns);
        add(&mut fresh, 0, &texts[0]);
        add(&mut fresh, 2, &texts[2]);
        fresh
    };
    assert_eq!(index.len(), 2);
    assert_eq!(
        search(&[&index], &query("boat car")),
        search(&[&fresh], &query("boat car"))
    );
}

const WORDS: [&str; 8] = [
    "boat", "red", "harbour", "winter", "Mia", "sails", "to", "Oslo",
];

fn texts() -> impl Strategy<Value = Vec<String>> {
    let word = prop::sample::select(&WORDS[..]);
    let text = prop::collection::vec(word, 1..8).prop_map(|words| words.join(" "));
    prop::collection::vec(text, 1..30)
}

fn asked_for() -> impl Strategy<Value = String> {
    let word = prop::sample::select(&WORDS[..]);
    prop::collection::vec(word, 1..5).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn several_indexes_rank_as_one(texts in texts(), text in asked_for(), cut in 0_usize..30) {
        let cut = cut.min(texts.len());
        let all: Vec<Said<'_>> = texts.iter().map(|text| said(text)).collect();
        let whole = index_of(Kind::Passages, &all);
        let (mut one, mut two) = (Index::new(Kind::Passages), Index::new(Kind::Passages));
        for (key, said) in (0..).zip(&all) {
            add(if (key as usize) < cut { &mut one } else { &mut two }, key, said);
        }
        let together = search(&[&one, &two], &query(&text));
        let whole = search(&[&whole], &query(&text));
        prop_assert_eq!(keys(&together), keys(&whole));
        for (a, b) in together.hits.iter().zip(&whole.hits) {
            prop_assert!((a.score - b.score).abs() < 1e-5);
        }
    }

    #[test]
    fn hits_are_in_order_and_their_scores_likelihoods(
        texts in texts(),
        text in "\\PC{0,30}|[a-z ]{0,20}|red boat in Oslo",
        limit in 0_usize..12,
        angle in 0.0_f32..3.0,
        with_vectors in any::<bool>(),
    ) {
        let all: Vec<Said<'_>> = texts.iter().map(|text| said(text)).collect();
        let mut index = index_of(Kind::Turns, &all);
        if with_vectors {
            for key in (0..texts.len()).step_by(2) {
                index.set_vector(key as i64, 0, &unit(key as f32));
            }
        }
        let vector = unit(angle);
        let asked = Query { vector: Some(&vector), limit, ..query(&text) };
        let outcome = search(&[&index], &asked);
        prop_assert!(outcome.hits.len() <= limit);
        for pair in outcome.hits.windows(2) {
            prop_assert!(pair[0].score >= pair[1].score);
        }
        for hit in &outcome.hits {
            prop_assert!((0.0..=1.0).contains(&hit.score), "{hit:?}");
        }
        prop_assert_eq!(search(&[&index], &asked), outcome, "the same twice");
    }
}
