//! Points in time: microseconds since 1970 in UTC, as the store keeps them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Now, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    /// The instant, or the first or last one that the calendar can express.
    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// ISO 8601 in UTC with microseconds and `Z`: the form of resource timestamps.
    #[must_use]
    pub fn to_iso(self) -> String {
        self.instant()
            .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
            .to_string()
    }

    /// ISO 8601 with seconds and `+00:00`: the form of message dates.
    #[must_use]
    pub fn to_message_date(self) -> String {
        self.instant()
            .strftime("%Y-%m-%dT%H:%M:%S+00:00")
            .to_string()
    }

    /// ISO 8601 with microseconds and `+00:00`: the form of the times of search results.
    #[must_use]
    pub fn to_offset_iso(self) -> String {
        self.instant()
            .strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00")
            .to_string()
    }

    /// `YYYY-MM-DD HH:MM:SS AM/PM TZ+HHMM` in a named time zone (UTC when the name is unknown): the
    /// form in which models see times.
    #[must_use]
    pub fn to_human(self, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        self.instant()
            .to_zoned(zone)
            .strftime("%Y-%m-%d %I:%M:%S %p %Z%z")
            .to_string()
    }

    /// Parses ISO 8601; a text without offset is read as UTC, a date without time as its midnight. A time
    /// beyond the last that can be told is that one: many programs write one for "without end".
    ///
    /// # Errors
    /// Says that the text is no ISO 8601 date or time.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        match Self::parse_moment(text) {
            Err(InvalidTimestamp::TooLate(_)) => Ok(Self(last_moment())),
            parsed => parsed,
        }
    }

    /// Parses the time of something that happened, as [`Self::parse`] does, but refuses what could not be
    /// shown again as it was given.
    ///
    /// # Errors
    /// Says that the text is no ISO 8601 date or time, or too late a one.
    pub fn parse_moment(text: &str) -> Result<Self, InvalidTimestamp> {
        let text = text.trim();
        let shown = || text.chars().take(100).collect();
        if let Some(instant) = with_offset(text).or_else(|| with_offset(&text.replace(' ', "+"))) {
            return Ok(Self(instant));
        }
        let civil = text.parse::<jiff::civil::DateTime>();
        match civil.and_then(|civil| civil.to_zoned(TimeZone::UTC)) {
            Ok(zoned) if !has_offset(text) => Ok(Self(zoned.timestamp().as_microsecond())),
            _ if is_beyond_the_last(text) => Err(InvalidTimestamp::TooLate(shown())),
            _ => Err(InvalidTimestamp::NoTime(shown())),
        }
    }

    /// This instant moved by a number of microseconds.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// The instant of a text with an offset that some clock can have: RFC 3339 ends at 23:59, jiff later.
fn with_offset(text: &str) -> Option<i64> {
    let instant = text.parse::<jiff::Timestamp>().ok()?;
    is_offset_of_a_clock(text).then(|| instant.as_microsecond())
}

fn is_offset_of_a_clock(text: &str) -> bool {
    numeric_offset(text).is_none_or(|seconds| seconds.abs() < 24 * 60 * 60)
}

fn has_offset(text: &str) -> bool {
    numeric_offset(text).is_some()
}

/// The offset that a text names, in seconds.
fn numeric_offset(text: &str) -> Option<i32> {
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    Some(pieces.to_numeric_offset()?.seconds())
}

/// The last moment that can be told in every time zone.
fn last_moment() -> i64 {
    jiff::Timestamp::MAX.as_microsecond()
}

/// Whether a text is a time behind the last moment.
fn is_beyond_the_last(text: &str) -> bool {
    text.starts_with("9999-12-3")
        && is_offset_of_a_clock(text)
        && jiff::fmt::temporal::Pieces::parse(text).is_ok()
}

/// Which end of a span of time a date names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The first moment.
    Start,
    /// The last moment.
    End,
}

/// Reads a day or time; what has no offset is meant in a named time zone. A day is its first moment as
/// a start and its last as an end.
#[must_use]
pub fn parse_bound(text: &str, zone: &str, bound: Bound) -> Option<Timestamp> {
    if let Some(instant) = with_offset(text) {
        return Some(Timestamp(instant));
    }
    if !is_offset_of_a_clock(text) {
        return None;
    }
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let micros = |at: jiff::civil::DateTime| {
        at.to_zoned(zone.clone())
            .ok()
            .map(|zoned| zoned.timestamp().as_microsecond())
    };
    let is_day = !text.contains([':', 'T', 't', ' ']);
    if is_beyond_the_last(text) {
        return Some(Timestamp(last_moment()));
    }
    let at: jiff::civil::DateTime = text.parse().ok()?;
    match bound {
        Bound::End if is_day => {
            let next_day = at
                .date()
                .tomorrow()
                .ok()?
                .to_datetime(jiff::civil::Time::midnight());
            micros(next_day).map(|micros| Timestamp(micros - 1))
        }
        _ => micros(at).map(Timestamp),
    }
}

/// A text that is no time, or none that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimestamp {
    /// It is no ISO 8601 timestamp.
    #[error("'{0}' is not an ISO 8601 date or time")]
    NoTime(String),
    /// It lies behind the last moment that can be shown.
    #[error("'{0}' is later than any time that can be kept; the last is 9999-12-30T22:00:00Z")]
    TooLate(String),
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_iso())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Where the engine takes its time from, so that tests can hold it still.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A clock that stands until a test moves it.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Manual(micros) => Timestamp(micros.load(Ordering::SeqCst)),
        }
    }
}

/// Whether a name is one that the time-zone database knows.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_forms_of_the_contract() {
        let at = Timestamp::parse("2026-11-22T09:19:27.393378Z").unwrap();
        assert_eq!(at.to_iso(), "2026-11-22T09:19:27.393378Z");
        assert_eq!(at.to_message_date(), "2026-11-22T09:19:27+00:00");
        assert_eq!(at.to_human("UTC"), "2026-11-22 09:19:27 AM UTC+0000");
        assert_eq!(at.to_human("Asia/Tokyo"), "2026-11-22 06:19:27 PM JST+0900");
    }

    #[test]
    fn a_time_without_offset_is_utc() {
        let with = Timestamp::parse("2026-11-22T09:00:00Z").unwrap();
        assert_eq!(Timestamp::parse("2026-11-22T09:00:00").unwrap(), with);
        assert_eq!(Timestamp::parse("2026-11-22 09:00:00").unwrap(), with);
        assert!(Timestamp::parse("2026-11-22").unwrap() < with);
        assert!(Timestamp::parse("yesterday").is_err());
    }

    #[test]
    fn an_offset_that_no_clock_has_is_refused() {
        for text in ["2026-11-22T09:00:00+25:00", "2026-11-22T09:00:00-24:00"] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
            assert_eq!(parse_bound(text, "UTC", Bound::Start), None, "{text}");
        }
        let widest = Timestamp::parse("2026-11-22T23:00:00+14:00").unwrap();
        assert_eq!(widest, Timestamp::parse("2026-11-22T09:00:00").unwrap());
        let spaced = Timestamp::parse("2026-11-22T23:00:00 14:00");
        assert_eq!(spaced, Ok(widest), "a plus that became a space in a query");
    }

    #[test]
    fn the_time_of_an_event_can_be_shown_as_it_was_given_or_is_refused() {
        let last = "9999-12-30T21:59:59.999999Z";
        assert_eq!(Timestamp::parse_moment(last).unwrap().to_iso(), last);
        for text in [
            "9999-12-30T22:30:00Z",
            "9999-12-31",
            "9999-12-31T23:59:59",
            "9999-12-31T23:59:59.999999+00:00",
        ] {
            let refused = Timestamp::parse_moment(text).unwrap_err();
            assert!(matches!(refused, InvalidTimestamp::TooLate(_)), "{text}");
            assert!(
                Timestamp::parse(text)
                    .unwrap()
                    .to_iso()
                    .starts_with("9999-12-30T22:00:00")
            );
        }
        assert!(Timestamp(i64::MAX).to_iso().starts_with("9999-12-30"));
    }

    #[test]
    fn a_time_without_end_is_the_last_one() {
        let now = Timestamp::parse("2026-11-22").unwrap();
        assert!(Timestamp::parse("9999-12-31T23:59:59Z").unwrap() > now);
        assert!(parse_bound("9999-12-31", "UTC", Bound::End).unwrap() > now);
    }
}
