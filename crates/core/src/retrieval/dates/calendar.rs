//! Spans of days by their names.

use jiff::{
    ToSpan as _,
    civil::{Date, Weekday},
};

use super::Days;

/// A unit that time is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Day,
    Week,
    Weekend,
    Month,
    Year,
}

impl Unit {
    /// The unit of that name, in singular or plural.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.strip_suffix('s').unwrap_or(word) {
            "day" => Self::Day,
            "week" => Self::Week,
            "weekend" => Self::Weekend,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// The unit that a day is in; weeks begin on Monday.
    pub fn around(self, day: Date) -> Option<Days> {
        let monday = day
            .checked_sub(i64::from(day.weekday().to_monday_zero_offset()).days())
            .ok()?;
        Some(match self {
            Self::Day => (day, day.tomorrow().ok()?),
            Self::Week => (monday, monday.checked_add(7.days()).ok()?),
            Self::Weekend => {
                let saturday = monday.checked_add(5.days()).ok()?;
                (saturday, saturday.checked_add(2.days()).ok()?)
            }
            Self::Month => month(day.year(), day.month())?,
            Self::Year => year(day.year())?,
        })
    }

    /// The day that lies `count` units before (or, when negative, after) another.
    pub fn back(self, day: Date, count: i64) -> Option<Date> {
        let count = count.clamp(-4_000, 4_000);
        let moved = match self {
            Self::Day => day.checked_sub(count.days()),
            Self::Week | Self::Weekend => day.checked_sub(count.weeks()),
            Self::Month => day.checked_sub(count.months()),
            Self::Year => day.checked_sub(count.years()),
        };
        moved.ok()
    }

    /// How many days "three weeks ago" may be off on either side.
    pub const fn vagueness(self) -> i64 {
        match self {
            Self::Day => 0,
            Self::Week | Self::Weekend => 3,
            Self::Month => 15,
            Self::Year => 120,
        }
    }
}

/// A month.
pub(super) fn month(year: i16, month: i8) -> Option<Days> {
    let first = Date::new(year, month, 1).ok()?;
    Some((first, first.checked_add(1.month()).ok()?))
}

/// A year.
pub(super) fn year(year: i16) -> Option<Days> {
    let first = Date::new(year, 1, 1).ok()?;
    Some((first, first.checked_add(1.year()).ok()?))
}

/// A month by its English name or its usual short form.
pub(super) fn month_named(word: &str) -> Option<i8> {
    Some(match word {
        "january" | "jan" => 1,
        "february" | "feb" => 2,
        "march" | "mar" => 3,
        "april" | "apr" => 4,
        "may" => 5,
        "june" | "jun" => 6,
        "july" | "jul" => 7,
        "august" | "aug" => 8,
        "september" | "sept" | "sep" => 9,
        "october" | "oct" => 10,
        "november" | "nov" => 11,
        "december" | "dec" => 12,
        _ => return None,
    })
}

/// A day of the week by its English name.
pub(super) fn weekday_named(word: &str) -> Option<Weekday> {
    Some(match word {
        "monday" => Weekday::Monday,
        "tuesday" => Weekday::Tuesday,
        "wednesday" => Weekday::Wednesday,
        "thursday" => Weekday::Thursday,
        "friday" => Weekday::Friday,
        "saturday" => Weekday::Saturday,
        "sunday" => Weekday::Sunday,
        _ => return None,
    })
}

/// A season of the northern half of the earth, by its first month; winter is the one that begins in that year.
pub(super) fn season_named(word: &str) -> Option<i8> {
    Some(match word {
        "spring" => 3,
        "summer" => 6,
        "autumn" | "fall" => 9,
        "winter" => 12,
        _ => return None,
    })
}

/// The season that begins with a month of a year.
pub(super) fn season(year: i16, first_month: i8) -> Option<Days> {
    let first = Date::new(year, first_month, 1).ok()?;
    Some((first, first.checked_add(3.months()).ok()?))
}

/// A feast of a year, by its name.
pub(super) fn feast(name: &str, year: i16) -> Option<Days> {
    let (month, day, days) = match name {
        "christmas" => (12, 24, 3),
        "halloween" => (10, 31, 1),
        "valentine" | "valentines" => (2, 14, 1),
        "thanksgiving" => {
            let first = Date::new(year, 11, 1).ok()?;
            let day = first.nth_weekday_of_month(4, Weekday::Thursday).ok()?;
            return Unit::Day.around(day);
        }
        _ => return None,
    };
    let first = Date::new(year, month, day).ok()?;
    Some((first, first.checked_add(i64::from(days).days()).ok()?))
}

/// The last of something that comes every year and has begun by `today`.
pub(super) fn last_begun(today: Date, of_year: impl Fn(i16) -> Option<Days>) -> Option<Days> {
    let this = of_year(today.year())?;
    if this.0 <= today {
        Some(this)
    } else {
        of_year(today.year() - 1)
    }
}
