//! Plans: named sets of limits on what an agent, an end user or a key may use, as `mnemic.toml` has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Whose use is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    /// An agent, by whomever it is used.
    Agent,
    /// A key of the API, with the user tokens that were made with it.
    ApiKey,
    /// An end user, with all agents.
    User,
}

impl HolderKind {
    /// All kinds, in the order in which they are looked at.
    pub const ALL: [Self; 3] = [Self::Agent, Self::ApiKey, Self::User];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::ApiKey => "api_key",
            Self::User => "user",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Who has a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    /// What it is.
    pub kind: HolderKind,
    /// Its id.
    pub id: String,
}

/// How long a limit counts before it begins anew, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// From one full minute to the next.
    Minute,
    /// From midnight to midnight.
    Day,
    /// From the first day of a month to that of the next.
    Month,
}

impl Period {
    /// All periods.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Day, Self::Month];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The period of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == name)
    }

    /// When the period began that an instant is in.
    #[must_use]
    pub fn begin(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Minute => Timestamp(now.0 - now.0.rem_euclid(MINUTE)),
            Self::Day => Timestamp(now.0 - now.0.rem_euclid(DAY)),
            Self::Month => month(now, 0),
        }
    }

    /// When the next one begins.
    #[must_use]
    pub fn end(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Minute => Timestamp(self.begin(now).0.saturating_add(MINUTE)),
            Self::Day => Timestamp(self.begin(now).0.saturating_add(DAY)),
            Self::Month => month(now, 1),
        }
    }
}

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// The first instant of an instant's month, or of one after it.
fn month(now: Timestamp, later: i32) -> Timestamp {
    let iso = now.to_iso();
    let part = |from: usize, to: usize| iso.get(from..to).and_then(|text| text.parse::<i32>().ok());
    let (Some(year), Some(month)) = (part(0, 4), part(5, 7)) else {
        return now;
    };
    let months = year * 12 + month - 1 + later;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    Timestamp::parse(&format!("{year:04}-{month:02}-01T00:00:00Z")).unwrap_or(now)
}

/// What a limit is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Requests that were accepted.
    Messages,
    /// Tokens of requests to models and of their answers.
    Tokens,
    /// Money by the price file, in millionths of its currency.
    Cost,
    /// Bytes of messages, passages and blocks that are stored.
    StoredBytes,
}

/// A limit of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Its name in `mnemic.toml`.
    pub name: &'static str,
    /// What it is of.
    pub measure: Measure,
    /// How long it counts; none for what is stored.
    pub period: Option<Period>,
    /// How much there may be.
    pub most: i64,
}

/// A named set of limits.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Its limits.
    pub limits: Vec<Limit>,
}

/// The limits that there are: their names in `mnemic.toml`, what they are of, and how long they count.
const LIMITS: [(&str, Measure, Option<Period>); 8] = [
    (
        "messages_per_minute",
        Measure::Messages,
        Some(Period::Minute),
    ),
    ("messages_per_day", Measure::Messages, Some(Period::Day)),
    ("messages_per_month", Measure::Messages, Some(Period::Month)),
    ("tokens_per_day", Measure::Tokens, Some(Period::Day)),
    ("tokens_per_month", Measure::Tokens, Some(Period::Month)),
    ("cost_per_day", Measure::Cost, Some(Period::Day)),
    ("cost_per_month", Measure::Cost, Some(Period::Month)),
    ("stored_bytes", Measure::StoredBytes, None),
];

/// Millionths of an amount of money.
#[must_use]
pub fn micros(amount: f64) -> i64 {
    whole((amount * 1_000_000.0).round())
}

/// A number without a fraction; one beyond all integers becomes the last.
#[allow(clippy::cast_possible_truncation)]
const fn whole(number: f64) -> i64 {
    number as i64
}

impl Plan {
    /// Makes a plan of its limits by their names; money is in the price file's currency.
    fn of(mut given: BTreeMap<String, f64>) -> Result<Self, String> {
        let mut limits = Vec::new();
        for (name, measure, period) in LIMITS {
            let Some(most) = given.remove(name) else {
                continue;
            };
            let is_money = measure == Measure::Cost;
            if !most.is_finite() || most < 0.0 || (!is_money && most.fract() != 0.0) {
                let kind = if is_money {
                    "an amount"
                } else {
                    "a whole number"
                };
                return Err(format!("{name} must be {kind} of at least 0"));
            }
            limits.push(Limit {
                name,
                measure,
                period,
                most: if is_money { micros(most) } else { whole(most) },
            });
        }
        match given.into_keys().next() {
            Some(unknown) => {
                let known: Vec<&str> = LIMITS.iter().map(|(name, ..)| *name).collect();
                Err(format!(
                    "there is no limit '{unknown}': use {}",
                    known.join(", ")
                ))
            }
            None => Ok(Self { limits }),
        }
    }
}

impl<'de> Deserialize<'de> for Plan {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(BTreeMap::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// All plans, and who has which unless somebody gave them another.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plans {
    plans: BTreeMap<String, Plan>,
    usual: BTreeMap<HolderKind, String>,
}

impl Plans {
    /// Plans by their names, and the usual plan of each kind.
    ///
    /// # Errors
    /// Names the usual plan that is none of the plans.
    pub fn new(
        plans: BTreeMap<String, Plan>,
        usual: BTreeMap<HolderKind, String>,
    ) -> Result<Self, String> {
        match usual.values().find(|name| !plans.contains_key(*name)) {
            Some(unknown) => Err(unknown.clone()),
            None => Ok(Self { plans, usual }),
        }
    }

    /// Whether there are none, so that nothing needs to be counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// The plan of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Plan> {
        self.plans.get(name)
    }

    /// The name of the plan that a kind has unless it was given another.
    #[must_use]
    pub fn usual(&self, kind: HolderKind) -> Option<&str> {
        self.usual.get(&kind).map(String::as_str)
    }

    /// All plans by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plan)> {
        self.plans.iter().map(|(name, plan)| (name.as_str(), plan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_period_ends_where_the_next_begins() {
        for (period, now, begin, end) in [
            (
                Period::Minute,
                "2026-11-27T10:20:59.999999Z",
                "2026-11-27T10:20:00Z",
                "2026-11-27T10:21:00Z",
            ),
            (
                Period::Day,
                "2026-11-27T00:00:00Z",
                "2026-11-27T00:00:00Z",
                "2026-11-28T00:00:00Z",
            ),
            (
                Period::Month,
                "2026-12-31T23:59:59Z",
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            (
                Period::Month,
                "2024-02-29T12:00:00Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Period::Day,
                "1969-12-31T23:00:00Z",
                "1969-12-31T00:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
        ] {
            assert_eq!(period.begin(at(now)), at(begin), "{now}");
            assert_eq!(period.end(at(now)), at(end), "{now}");
        }
    }

    #[test]
    fn a_plan_says_what_is_wrong_with_it() {
        let plan = |name: &str, most: f64| Plan::of(BTreeMap::from([(name.to_owned(), most)]));
        assert_eq!(plan("cost_per_month", 0.5).unwrap().limits[0].most, 500_000);
        assert_eq!(plan("messages_per_day", 20.0).unwrap().limits[0].most, 20);
        for (name, most) in [
            ("messages_per_day", 1.5),
            ("tokens_per_day", -1.0),
            ("cost_per_day", f64::NAN),
        ] {
            assert!(plan(name, most).unwrap_err().starts_with(name), "{name}");
        }
        assert!(
            plan("messages_per_year", 1.0)
                .unwrap_err()
                .contains("messages_per_month")
        );
    }

    #[test]
    fn a_usual_plan_must_be_one_of_the_plans() {
        let usual = BTreeMap::from([(HolderKind::User, "gold".to_owned())]);
        assert_eq!(Plans::new(BTreeMap::new(), usual), Err("gold".to_owned()));
    }
}
