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

    /// The instant, or the epoch for a value outside of what a calendar can express.
    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or_default()
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

    /// Parses ISO 8601; a text without offset is read as UTC, a date without time as its midnight.
    ///
    /// # Errors
    /// Says that the text is no ISO 8601 date or time.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        let text = text.trim();
        let spaced_plus = text.replace(' ', "+");
        let instant = text
            .parse::<jiff::Timestamp>()
            .or_else(|_| spaced_plus.parse::<jiff::Timestamp>())
            .or_else(|_| {
                text.parse::<jiff::civil::DateTime>()
                    .and_then(|civil| civil.to_zoned(TimeZone::UTC))
                    .map(|zoned| zoned.timestamp())
            })
            .map(|instant| instant.as_microsecond())
            .or_else(|_| end_of_time(text).ok_or(()))
            .map_err(|()| InvalidTimestamp(text.chars().take(100).collect()))?;
        Ok(Self(instant))
    }

    /// This instant moved by a number of microseconds.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// The last moment that the calendar can express, for the day after it, which many programs write for
/// "without end".
fn end_of_time(text: &str) -> Option<i64> {
    text.starts_with("9999-12-3")
        .then(|| jiff::Timestamp::MAX.as_microsecond())
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
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(instant.as_microsecond()));
    }
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let micros = |at: jiff::civil::DateTime| {
        at.to_zoned(zone.clone())
            .ok()
            .map(|zoned| zoned.timestamp().as_microsecond())
    };
    let is_day = !text.contains([':', 'T', 't', ' ']);
    if let Some(last) = end_of_time(text) {
        return Some(Timestamp(last));
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

/// A text that is no ISO 8601 timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an ISO 8601 date or time")]
pub struct InvalidTimestamp(pub String);

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
    fn a_time_without_end_is_the_last_one() {
        let now = Timestamp::parse("2026-11-22").unwrap();
        assert!(Timestamp::parse("9999-12-31T23:59:59Z").unwrap() > now);
        assert!(parse_bound("9999-12-31", "UTC", Bound::End).unwrap() > now);
    }
}
