//! The phrases that name times.

use jiff::{ToSpan as _, civil::Date};

use super::{
    Days,
    calendar::{
        Unit, feast, last_begun, month, month_named, season, season_named, weekday_named, year,
    },
};

/// A text's words: runs of letters and digits, with the dashes and slashes inside of them.
pub(super) struct Words {
    /// In lower case.
    words: Vec<String>,
}

/// A phrase: the days it names and how many words it takes.
type Phrase = Option<(Days, usize)>;

impl Words {
    pub fn new(text: &str) -> Self {
        let words = text
            .split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '/')))
            .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase);
        Self {
            words: words.collect(),
        }
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    fn get(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    fn before(&self, at: usize, back: usize) -> &str {
        at.checked_sub(back).map_or("", |at| self.get(at))
    }
}

/// The phrase that begins at a word.
pub(super) fn read(words: &Words, at: usize, today: Date) -> Phrase {
    written(words.get(at))
        .map(|days| (days, 1))
        .or_else(|| day_word(words, at, today))
        .or_else(|| relative(words, at, today))
        .or_else(|| ago(words, at, today))
        .or_else(|| within(words, at, today))
        .or_else(|| day_of_month(words, at, today))
        .or_else(|| named_month(words, at, today))
        .or_else(|| named_season(words, at, today))
        .or_else(|| named_day(words, at, today))
        .or_else(|| Some((year(year_number(words.get(at))?)?, 1)))
}

/// What stands before a phrase may open it to one side, or join it to the next.
pub(super) fn bounded(
    words: &Words,
    at: usize,
    phrase: (Days, usize),
    today: Date,
) -> (Days, usize) {
    let ((first, after), taken) = phrase;
    let article = usize::from(matches!(
        words.before(at, 1),
        "the" | "last" | "early" | "late"
    ));
    match words.before(at, 1 + article) {
        "since" => ((first, tomorrow(today).max(after)), taken),
        "after" => ((after, tomorrow(today).max(after)), taken),
        "before" | "until" => ((Date::constant(1, 1, 1), first), taken),
        "between" | "from" => {
            let joint = matches!(words.get(at + taken), "and" | "to" | "until" | "till");
            let next = at + taken + 1;
            match joint.then(|| read(words, next, today)).flatten() {
                Some(((_, end), more)) if end > first => ((first, end), taken + 1 + more),
                _ => phrase,
            }
        }
        _ => phrase,
    }
}

fn tomorrow(today: Date) -> Date {
    today.tomorrow().unwrap_or(Date::MAX)
}

fn year_number(word: &str) -> Option<i16> {
    let is_year = word.len() == 4 && (word.starts_with("19") || word.starts_with("20"));
    is_year.then(|| word.parse().ok()).flatten()
}

/// `2024-05-08`, `2024-05`, `5/8/2024` (the month first, unless it cannot be one).
fn written(word: &str) -> Option<Days> {
    let parts: Vec<&str> = word.split(['-', '/']).collect();
    match parts.as_slice() {
        [y, m, d] if y.len() == 4 => day(year_number(y)?, m.parse().ok()?, d.parse().ok()?),
        [y, m] if y.len() == 4 => month(year_number(y)?, m.parse().ok()?),
        [a, b, y] if y.len() == 4 => {
            let (a, b, y): (i8, i8, i16) = (a.parse().ok()?, b.parse().ok()?, year_number(y)?);
            day(y, a, b).or_else(|| day(y, b, a))
        }
        _ => None,
    }
}

fn day(year: i16, month: i8, day: i8) -> Option<Days> {
    Unit::Day.around(Date::new(year, month, day).ok()?)
}

/// Today, yesterday and their like.
fn day_word(words: &Words, at: usize, today: Date) -> Phrase {
    let back = |days: i64, taken| Some((Unit::Day.around(Unit::Day.back(today, days)?)?, taken));
    match (words.get(at), words.get(at + 1)) {
        ("day", "before") if words.get(at + 2) == "yesterday" => back(2, 3),
        ("today" | "tonight", _) => back(0, 1),
        ("yesterday", _) => back(1, 1),
        ("tomorrow", _) => back(-1, 1),
        ("last", "night") => back(1, 2),
        ("this", "morning" | "afternoon" | "evening") => back(0, 2),
        _ => None,
    }
}

/// Last week, this month, next Friday, last May, the past summer.
fn relative(words: &Words, at: usize, today: Date) -> Phrase {
    let back = match words.get(at) {
        "last" | "past" | "previous" => 1,
        "this" | "current" => 0,
        "next" | "coming" => -1,
        _ => return None,
    };
    let named = words.get(at + 1);
    let days = if let Some(unit) = Unit::parse(named) {
        // On a weekday "last weekend" is the one before this week's.
        unit.around(unit.back(today, back)?)?
    } else if let Some(weekday) = weekday_named(named) {
        let found = if back > 0 {
            today.nth_weekday(-1, weekday)
        } else {
            today.nth_weekday(1, weekday)
        };
        Unit::Day.around(found.ok()?)?
    } else {
        yearly(named, today, back)?
    };
    Some((days, 2))
}

/// A month, season or feast of last, this or next year's round.
fn yearly(name: &str, today: Date, back: i64) -> Option<Days> {
    let of_year = |year: i16| match (month_named(name), season_named(name)) {
        (Some(number), _) => month(year, number),
        (_, Some(first)) => season(year, first),
        _ => feast(name, year),
    };
    let begun = last_begun(today, of_year)?;
    match back {
        // "Last summer", said in summer, is the one before.
        1 if begun.1 > today => of_year(begun.0.year() - 1),
        -1 => of_year(begun.0.year() + 1),
        _ => Some(begun),
    }
}

/// How many, in words or digits: the number, and the words it takes.
fn count(words: &Words, at: usize) -> Option<(i64, usize)> {
    const NUMBERS: [&str; 12] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    match words.get(at) {
        "a" if matches!(words.get(at + 1), "couple" | "few") => {
            let number = if words.get(at + 1) == "few" { 3 } else { 2 };
            Some((number, 2 + usize::from(words.get(at + 2) == "of")))
        }
        "a" | "an" => Some((1, 1)),
        "couple" => Some((2, 1 + usize::from(words.get(at + 1) == "of"))),
        "few" | "several" => Some((3, 1)),
        word => {
            let named = (1..).zip(NUMBERS).find(|(_, name)| *name == word);
            let number = named
                .map(|(number, _)| number)
                .or_else(|| word.parse().ok());
            number
                .filter(|number| (1..=400).contains(number))
                .map(|number| (number, 1))
        }
    }
}

/// Three weeks ago.
fn ago(words: &Words, at: usize, today: Date) -> Phrase {
    let (number, taken) = count(words, at)?;
    let unit = Unit::parse(words.get(at + taken))?;
    if !matches!(words.get(at + taken + 1), "ago" | "back" | "earlier") {
        return None;
    }
    let middle = unit.back(today, number)?;
    let vague = unit.vagueness();
    let first = middle.checked_sub(vague.days()).ok()?;
    let after = middle.checked_add((vague + 1).days()).ok()?;
    Some(((first, after), taken + 2))
}

/// The last three weeks.
fn within(words: &Words, at: usize, today: Date) -> Phrase {
    if !matches!(words.get(at), "last" | "past") {
        return None;
    }
    let (number, taken) = count(words, at + 1)?;
    let unit = Unit::parse(words.get(at + 1 + taken))?;
    Some(((unit.back(today, number)?, tomorrow(today)), taken + 2))
}

/// A number of a day, also `8th`.
fn day_number(word: &str) -> Option<i8> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = word.get(digits.len()..).unwrap_or_default();
    let fits = matches!(suffix, "" | "st" | "nd" | "rd" | "th");
    let number: i8 = digits.parse().ok()?;
    (fits && (1..=31).contains(&number)).then_some(number)
}

/// 8 May 2024, the 8th of May, May 8th, 2024.
fn day_of_month(words: &Words, at: usize, today: Date) -> Phrase {
    let (number, named, taken) = if let Some(number) = day_number(words.get(at)) {
        let of = usize::from(words.get(at + 1) == "of");
        (number, month_named(words.get(at + 1 + of))?, 2 + of)
    } else {
        let named = month_named(words.get(at))?;
        (day_number(words.get(at + 1))?, named, 2)
    };
    match year_number(words.get(at + taken)) {
        Some(year) => Some((day(year, named, number)?, taken + 1)),
        None => Some((last_begun(today, |year| day(year, named, number))?, taken)),
    }
}

/// May 2024, early May, in May.
fn named_month(words: &Words, at: usize, today: Date) -> Phrase {
    let named = month_named(words.get(at))?;
    let given = year_number(words.get(at + 1));
    // Verbs, and names of people.
    let is_other_too = matches!(
        words.get(at),
        "may" | "march" | "mar" | "april" | "june" | "august" | "sep" | "dec" | "jan" | "jun"
    );
    let led = matches!(
        words.before(at, 1),
        "in" | "since"
            | "of"
            | "until"
            | "before"
            | "after"
            | "during"
            | "early"
            | "late"
            | "mid"
            | "and"
            | "between"
            | "from"
            | "to"
            | "by"
            | "till"
            | "throughout"
    );
    if is_other_too && given.is_none() && !led {
        return None;
    }
    let (first, after) = match given {
        Some(year) => month(year, named)?,
        None => last_begun(today, |year| month(year, named))?,
    };
    let tenth = |days: i64| first.checked_add(days.days()).ok();
    let days = match words.before(at, 1) {
        "early" => (first, tenth(12)?),
        "mid" => (tenth(8)?, tenth(22)?),
        "late" => (tenth(18)?, after),
        _ => (first, after),
    };
    Some((days, 1 + usize::from(given.is_some())))
}

/// Summer 2023, the winter, Christmas.
fn named_season(words: &Words, at: usize, today: Date) -> Phrase {
    let name = words.get(at);
    let of = usize::from(words.get(at + 1) == "of");
    let given = year_number(words.get(at + 1 + of));
    if let Some(first) = season_named(name) {
        if let Some(year) = given {
            return Some((season(year, first)?, 2 + of));
        }
        // "Fall" and "spring" are verbs as well.
        let led = matches!(
            words.before(at, 1),
            "in" | "the" | "during" | "since" | "of" | "over"
        );
        return led.then(|| Some((yearly(name, today, 0)?, 1))).flatten();
    }
    match given {
        Some(year) => Some((feast(name, year)?, 2 + of)),
        None => Some((last_begun(today, |year| feast(name, year))?, 1)),
    }
}

/// Monday: the last one.
fn named_day(words: &Words, at: usize, today: Date) -> Phrase {
    let weekday = weekday_named(words.get(at))?;
    let found = if today.weekday() == weekday {
        today
    } else {
        today.nth_weekday(-1, weekday).ok()?
    };
    Some((Unit::Day.around(found)?, 1))
}
