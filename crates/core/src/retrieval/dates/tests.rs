use proptest::prelude::*;

use super::*;

/// A Wednesday.
const NOW: &str = "2024-06-12T15:00:00Z";

fn found(text: &str) -> Vec<String> {
    spans_at(text, "UTC")
}

fn spans_at(text: &str, zone: &str) -> Vec<String> {
    let zone_found = TimeZone::get(zone).unwrap();
    let date = |at: Timestamp| {
        let instant = Instant::from_microsecond(at.0).unwrap();
        instant.to_zoned(zone_found.clone()).date().to_string()
    };
    let now = Timestamp::parse(NOW).unwrap();
    let shown = spans(text, now, zone);
    shown
        .iter()
        .map(|span| format!("{}..{}", date(span.start), date(span.end)))
        .collect()
}

#[test]
fn time_words_are_understood() {
    for (text, wanted) in [
        ("What did I eat yesterday?", "2024-06-11..2024-06-12"),
        ("the day before yesterday", "2024-06-10..2024-06-11"),
        ("last night", "2024-06-11..2024-06-12"),
        ("this morning", "2024-06-12..2024-06-13"),
        ("What happened last week?", "2024-06-03..2024-06-10"),
        ("this week", "2024-06-10..2024-06-17"),
        ("last weekend", "2024-06-08..2024-06-10"),
        ("last month", "2024-05-01..2024-06-01"),
        ("last year", "2023-01-01..2024-01-01"),
        ("next month", "2024-07-01..2024-08-01"),
        ("last Friday", "2024-06-07..2024-06-08"),
        ("on Monday", "2024-06-10..2024-06-11"),
        ("last May", "2024-05-01..2024-06-01"),
        ("last summer", "2023-06-01..2023-09-01"),
        ("last winter", "2023-12-01..2024-03-01"),
        ("three days ago", "2024-06-09..2024-06-10"),
        ("2 weeks ago", "2024-05-26..2024-06-02"),
        ("a couple of months ago", "2024-03-28..2024-04-28"),
        ("in the last 10 days", "2024-06-02..2024-06-13"),
        ("over the past two months", "2024-04-12..2024-06-13"),
        ("What did we plan in May 2023?", "2023-05-01..2023-06-01"),
        ("what was said in may", "2024-05-01..2024-06-01"),
        ("Mar 8, 2024", "2024-03-08..2024-03-09"),
        ("since April", "2024-04-01..2024-06-13"),
        ("in December", "2023-12-01..2024-01-01"),
        ("early May 2023", "2023-05-01..2023-05-13"),
        ("on 8 May, 2023", "2023-05-08..2023-05-09"),
        ("on May 8th", "2024-05-08..2024-05-09"),
        ("the 8th of August", "2023-08-08..2023-08-09"),
        ("2023-05-08", "2023-05-08..2023-05-09"),
        ("in 2023-05", "2023-05-01..2023-06-01"),
        ("5/8/2023", "2023-05-08..2023-05-09"),
        ("25/8/2023", "2023-08-25..2023-08-26"),
        ("in 2022", "2022-01-01..2023-01-01"),
        ("the summer of 2023", "2023-06-01..2023-09-01"),
        ("at Christmas", "2023-12-24..2023-12-27"),
        ("Thanksgiving 2023", "2023-11-23..2023-11-24"),
        ("since March", "2024-03-01..2024-06-13"),
        ("between March and May 2024", "2024-03-01..2024-06-01"),
        ("since last week", "2024-06-03..2024-06-13"),
    ] {
        assert_eq!(found(text), [wanted], "{text}");
    }
}

#[test]
fn words_that_only_look_like_times_are_none() {
    for text in [
        "May I ask who painted this?",
        "We march on; I may fall or spring up",
        "Where does Marc live?",
        "What did April say about June?",
        "Where does Mia live?",
        "He has 3 cats and 2 dogs",
        "the second street",
        "call me back",
        "1234 5678 99999999999999999999",
        "",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn before_and_after_open_a_span() {
    let after = found("after April 2024");
    assert_eq!(after, ["2024-05-01..2024-06-13"]);
    let now = Timestamp::parse(NOW).unwrap();
    let before = spans("before 2023", now, "UTC").remove(0);
    assert_eq!(before.end, Timestamp::parse("2023-01-01").unwrap());
    assert!(before.start < Timestamp::parse("1900-01-01").unwrap());
}

#[test]
fn days_are_those_of_the_time_zone() {
    let now = Timestamp::parse("2024-06-12T23:30:00Z").unwrap();
    let there = spans("yesterday", now, "Asia/Tokyo").remove(0);
    assert_eq!(
        there.start,
        Timestamp::parse("2024-06-11T15:00:00Z").unwrap()
    );
    assert_eq!(
        spans_at("today", "America/New_York"),
        ["2024-06-12..2024-06-13"]
    );
}

#[test]
fn a_time_fits_its_span_and_less_and_less_the_days_after() {
    let now = Timestamp::parse(NOW).unwrap();
    let may = spans("in May 2024", now, "UTC");
    let at = |day: &str| fit(&may, Timestamp::parse(day).unwrap());
    assert_eq!((at("2024-05-20"), at("2024-04-30")), (1.0, 0.0));
    assert!(at("2024-06-02") > at("2024-06-12"));
    assert!(at("2024-09-02") < 0.01);
    assert_eq!(fit(&[], now), 0.0);
}

proptest! {
    #[test]
    fn any_text_at_any_time_has_spans_that_are_none_or_real(
        text in "((last|next|this|a few|early|between|since|12|31|2024|-|/|of|and|may|feb|29|weeks|ago|summer|monday|christmas|days|\\PC{0,6}) ?){0,12}",
        now in any::<i64>(),
    ) {
        for span in spans(&text, Timestamp(now), "Europe/Berlin") {
            prop_assert!(span.start < span.end);
            prop_assert!((0.0..=1.0).contains(&fit(&[span], Timestamp(now))));
        }
    }
}
