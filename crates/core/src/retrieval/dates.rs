//! Time words in queries: "last week", "in May 2024", "three days ago", as spans of time.
//!
//! A span does not filter; it says when what is asked for was probably said. Words without a year mean the
//! last such time that has begun.

mod calendar;
mod phrases;
#[cfg(test)]
mod tests;

use jiff::{Timestamp as Instant, Zoned, civil::Date, tz::TimeZone};

use crate::time::Timestamp;
use phrases::Words;

/// Characters of a query in which time words are looked for.
const MAX_CHARS: usize = 2_000;

/// Spans that one query names at the most.
const MAX_SPANS: usize = 8;

/// A span of time: from `start` up to but not including `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

/// Days from the first up to but not including the second.
type Days = (Date, Date);

/// The times that a text names, as seen at `now` in a time zone (UTC where it is unknown).
#[must_use]
pub fn spans(text: &str, now: Timestamp, zone: &str) -> Vec<Span> {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let Ok(instant) = Instant::from_microsecond(now.0) else {
        return Vec::new();
    };
    let today = instant.to_zoned(zone.clone()).date();
    let text: String = text.chars().take(MAX_CHARS).collect();
    let words = Words::new(&text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() && found.len() < MAX_SPANS {
        match phrases::read(&words, at, today) {
            Some((days, taken)) => {
                let (days, taken) = phrases::bounded(&words, at, (days, taken), today);
                found.extend(span(days, &zone));
                at += taken.max(1);
            }
            None => at += 1,
        }
    }
    found
}

fn span((first, after): Days, zone: &TimeZone) -> Option<Span> {
    let moment = |date: Date| -> Option<Timestamp> {
        let zoned: Zoned = date.to_zoned(zone.clone()).ok()?;
        Some(Timestamp(zoned.timestamp().as_microsecond()))
    };
    let (start, end) = (moment(first)?, moment(after)?);
    (start < end).then_some(Span { start, end })
}

/// How well a time fits one of several spans, from 0 to 1. People tell of things after they happened, so the
/// time after a span fits too, less and less.
#[must_use]
pub fn fit(spans: &[Span], time: Timestamp) -> f32 {
    spans
        .iter()
        .map(|span| fit_one(span, time))
        .fold(0.0, f32::max)
}

fn fit_one(span: &Span, time: Timestamp) -> f32 {
    /// After so many days beyond a span, a time fits it by a third.
    const FADING: f32 = 4.0;
    /// Micros of a day.
    const DAY: f32 = 86_400.0 * 1e6;
    if time < span.start {
        return 0.0;
    }
    if time < span.end {
        return 1.0;
    }
    let length = (span.end.0 - span.start.0) as f32 / DAY;
    let late = (time.0 - span.end.0) as f32 / DAY;
    let fading = FADING + length.min(30.0) / 4.0;
    (-late / fading).exp() * 0.8
}
