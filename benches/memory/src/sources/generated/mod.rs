//! Long labelled conversations made from templates: for scale and speed. Their wording is far more regular
//! than people's, so their quality figures compare versions of the retriever, not retrievers with each other.

mod words;

use std::collections::BTreeMap;

use jiff::{ToSpan as _, tz::TimeZone};
use mnemic_core::time::Timestamp;
use words::{
    CHATTER, EVENTS, FIRST, JOURNEY_QUESTIONS, JOURNEYS, LAST, PLACES, REACTIONS, RECENTLY,
    RELATIONS, SPOTS, THINGS, TOPICS, Topic,
};

use crate::{
    conversation::{Conversation, Question, Turn, time_of_turn},
    random::Random,
};

/// The two who talk.
const SPEAKERS: [&str; 2] = ["Henrike", "Aurelio"];
/// Turns of a session.
const SESSION: usize = 20;
/// Exchanges for one person who is talked of.
const EXCHANGES_PER_PERSON: usize = 24;
/// Questions of one kind at the most.
const QUESTIONS_OF_A_KIND: usize = 80;
/// When the first session is: a Monday evening.
const BEGIN: i64 = 946_926_000;

/// Somebody who is talked of.
struct Person {
    owner: usize,
    relation: &'static str,
    name: String,
}

/// Words that were said, and the fact that they tell a part of.
struct Said {
    owner: usize,
    told: String,
    /// What the other one says, and whether that comes first.
    other: String,
    other_first: bool,
    part: Option<(usize, Part)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Current,
    Outdated,
}

/// A fact that is asked for; its evidence is found when the turns are laid out.
struct Fact {
    kind: &'static str,
    question: String,
    answer: String,
    /// Asked with the month in which it was told, in place of `{month}`.
    by_month: bool,
}

/// A conversation of about so many turns; the same for the same numbers.
#[must_use]
pub fn generate(turns: usize, seed: u64) -> Conversation {
    let exchanges = (turns / 2).max(8);
    let mut writer = Writer {
        random: Random::new(seed),
        facts: Vec::new(),
        said: BTreeMap::new(),
        free: (0..exchanges).collect(),
    };
    let Writer { random, free, .. } = &mut writer;
    random.shuffle(free);
    // With more, several would have the same name.
    let people = exchanges.div_ceil(EXCHANGES_PER_PERSON);
    for number in 0..people.min(FIRST.len() * LAST.len()) {
        writer.person(number);
    }
    writer.lay_out(exchanges)
}

struct Writer {
    random: Random,
    facts: Vec<Fact>,
    said: BTreeMap<usize, Said>,
    /// Exchanges that nothing is planned for, in random order.
    free: Vec<usize>,
}

impl Writer {
    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        self.random.one_of(from).unwrap_or_default()
    }

    /// Several exchanges in the order of time; fewer when there are no more.
    fn take(&mut self, count: usize) -> Vec<usize> {
        let rest = self.free.len().saturating_sub(count);
        let mut taken = self.free.split_off(rest);
        taken.sort_unstable();
        taken
    }

    /// Plans all that is told of somebody.
    fn person(&mut self, number: usize) {
        let first = FIRST.get(number % FIRST.len()).copied().unwrap_or_default();
        // Each pair of a first and a family name occurs once.
        let family = LAST.get((number / FIRST.len() + number) % LAST.len());
        let family = family.copied().unwrap_or_default();
        let person = Person {
            owner: self.random.below(2),
            relation: self.pick(&RELATIONS),
            name: format!("{first} {family}"),
        };
        let mut topics: Vec<&Topic> = TOPICS.iter().collect();
        self.random.shuffle(&mut topics);
        let mut topics = topics.into_iter();
        for topic in topics.by_ref().take(2) {
            self.plain(&person, topic);
        }
        if let Some(topic) = topics.next() {
            self.elliptic(&person, topic);
        }
        if let Some(topic) = topics.next() {
            self.changed(&person, topic);
        }
        if number.is_multiple_of(2) {
            self.journeys(&person);
        } else {
            self.event(&person, number % 4 == 1);
        }
        if let Some(topic) = topics.next() {
            self.never_told(&person, topic);
        }
    }

    fn fact(&mut self, person: &Person, kind: &'static str, question: &str, answer: &str) -> usize {
        self.facts.push(Fact {
            kind,
            question: fill(question, person, answer),
            answer: answer.to_owned(),
            by_month: question.contains("{month}"),
        });
        self.facts.len() - 1
    }

    fn say(&mut self, at: usize, person: &Person, told: &str, part: (usize, Part)) {
        let other = self.pick(&REACTIONS).to_owned();
        let said = Said {
            owner: person.owner,
            told: sentence(told),
            other,
            other_first: false,
            part: Some(part),
        };
        self.said.insert(at, said);
    }

    fn plain(&mut self, person: &Person, topic: &Topic) {
        let [at] = self.take(1)[..] else { return };
        let value = self.pick(topic.values);
        let (told, question) = (self.pick(topic.told), self.pick(topic.questions));
        let fact = self.fact(person, "single", question, value);
        self.say(
            at,
            person,
            &fill(told, person, value),
            (fact, Part::Current),
        );
    }

    fn elliptic(&mut self, person: &Person, topic: &Topic) {
        let [at] = self.take(1)[..] else { return };
        let value = self.pick(topic.values);
        let question = self.pick(topic.questions);
        let fact = self.fact(person, "elliptic", question, value);
        let (asked, answered) = (self.pick(topic.asked_in_talk), self.pick(topic.answered));
        let said = Said {
            owner: person.owner,
            told: sentence(&fill(answered, person, value)),
            other: fill(asked, person, value),
            other_first: true,
            part: Some((fact, Part::Current)),
        };
        self.said.insert(at, said);
    }

    fn changed(&mut self, person: &Person, topic: &Topic) {
        let [before, after] = self.take(2)[..] else {
            return;
        };
        let (old, mut new) = (self.pick(topic.values), self.pick(topic.values));
        while new == old {
            new = self.pick(topic.values);
        }
        let question = self.pick(topic.questions);
        let fact = self.fact(person, "update", question, new);
        let (told, changed) = (self.pick(topic.told), self.pick(topic.changed));
        self.say(
            before,
            person,
            &fill(told, person, old),
            (fact, Part::Outdated),
        );
        self.say(
            after,
            person,
            &fill(changed, person, new),
            (fact, Part::Current),
        );
    }

    fn journeys(&mut self, person: &Person) {
        let places = self.take(3);
        let mut values = PLACES;
        self.random.shuffle(&mut values);
        let question = self.pick(&JOURNEY_QUESTIONS);
        let answer = values.get(..places.len()).unwrap_or_default().join(", ");
        if places.is_empty() {
            return;
        }
        let fact = self.fact(person, "multi", question, &answer);
        for (at, value) in places.into_iter().zip(values) {
            let told = self.pick(&JOURNEYS);
            self.say(
                at,
                person,
                &fill(told, person, value),
                (fact, Part::Current),
            );
        }
    }

    fn event(&mut self, person: &Person, by_month: bool) {
        let [at] = self.take(1)[..] else { return };
        let (told, done) = EVENTS
            .get(self.random.below(EVENTS.len()))
            .copied()
            .unwrap_or_default();
        let when = self.pick(&RECENTLY);
        let question = if by_month {
            format!("Did {{name}} {done} in {{month}}?")
        } else {
            format!("When did {{name}} {done}?")
        };
        let fact = self.fact(person, "time", &question, when);
        let told = fill(told, person, "").replace("{when}", when);
        self.say(at, person, &told, (fact, Part::Current));
    }

    fn never_told(&mut self, person: &Person, topic: &Topic) {
        let question = self.pick(topic.questions);
        self.fact(person, "none", question, "(never said)");
    }

    fn chatter(&mut self) -> Said {
        let chatter = self.pick(&CHATTER);
        let (thing, spot) = (self.pick(&THINGS), self.pick(&SPOTS));
        Said {
            owner: self.random.below(2),
            told: chatter.replace("{thing}", thing).replace("{place}", spot),
            other: self.pick(&REACTIONS).to_owned(),
            other_first: false,
            part: None,
        }
    }

    /// Writes the exchanges down, and the questions with the turns that answer them.
    fn lay_out(mut self, exchanges: usize) -> Conversation {
        let mut conversation = Conversation {
            name: "generated".to_owned(),
            ..Conversation::default()
        };
        let mut parts: Vec<(usize, Part, usize)> = Vec::new();
        let mut start = Timestamp(BEGIN * 1_000_000);
        for exchange in 0..exchanges {
            let said = match self.said.remove(&exchange) {
                Some(said) => said,
                None => self.chatter(),
            };
            let mut lines = [(said.owner, said.told), (1 - said.owner, said.other)];
            if said.other_first {
                lines.reverse();
            }
            if let Some((fact, part)) = said.part {
                parts.push((fact, part, exchange * 2 + usize::from(said.other_first)));
            }
            for (speaker, text) in lines {
                let number = conversation.turns.len();
                let (session, place) = (number / SESSION + 1, number % SESSION);
                if place == 0 && number > 0 {
                    let hours = i64::try_from(8 + self.random.below(50)).unwrap_or(24);
                    start = start.plus_micros(hours * 3_600_000_000);
                }
                conversation.turns.push(Turn {
                    id: format!("{session}:{}", place + 1),
                    session: session as u64,
                    speaker: SPEAKERS
                        .get(speaker)
                        .copied()
                        .unwrap_or_default()
                        .to_owned(),
                    time: time_of_turn(start, place),
                    text,
                });
            }
        }
        self.ask(&mut conversation, &parts);
        conversation
    }

    fn ask(self, conversation: &mut Conversation, parts: &[(usize, Part, usize)]) {
        let last = conversation.turns.last();
        let asked = last.map_or(Timestamp(0), |turn| turn.time.plus_micros(86_400_000_000));
        let mut of_kind: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, fact) in self.facts.into_iter().enumerate() {
            let count = of_kind.entry(fact.kind).or_default();
            if *count == QUESTIONS_OF_A_KIND {
                continue;
            }
            let of_part = |wanted: Part| -> Vec<usize> {
                let own = parts
                    .iter()
                    .filter(|(of, part, _)| *of == number && *part == wanted);
                own.map(|(.., place)| *place).collect()
            };
            let (evidence, outdated) = (of_part(Part::Current), of_part(Part::Outdated));
            let mut text = fact.question;
            if fact.by_month {
                let told = evidence
                    .first()
                    .and_then(|place| conversation.turns.get(*place));
                let Some(month) = told.and_then(|turn| month_before(turn.time)) else {
                    continue;
                };
                text = text.replace("{month}", &month);
            }
            *count += 1;
            conversation.questions.push(Question {
                id: (number + 1).to_string(),
                set: String::new(),
                kind: fact.kind.to_owned(),
                text,
                asked,
                answerable: !evidence.is_empty(),
                current: if outdated.is_empty() {
                    Vec::new()
                } else {
                    evidence.clone()
                },
                evidence,
                outdated,
                answer: fact.answer,
            });
        }
    }
}

/// The month in which something happened that is told within two days; `None` near a month's begin, where
/// it may have been the month before.
fn month_before(time: Timestamp) -> Option<String> {
    let told = jiff::Timestamp::from_microsecond(time.0)
        .ok()?
        .to_zoned(TimeZone::UTC);
    let happened = told.checked_sub(3.days()).ok()?;
    (told.month() == happened.month()).then(|| told.strftime("%B %Y").to_string())
}

fn fill(template: &str, person: &Person, value: &str) -> String {
    let owner = SPEAKERS.get(person.owner).copied().unwrap_or_default();
    template
        .replace("{who}", &format!("{} {}", person.relation, person.name))
        .replace("{name}", &person.name)
        .replace("{owner}", owner)
        .replace("{value}", value)
}

/// A text that begins with a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_conversation() {
        assert_eq!(generate(2_000, 7), generate(2_000, 7));
        assert_ne!(generate(2_000, 7), generate(2_000, 8));
    }

    #[test]
    fn there_are_about_as_many_turns_as_wanted_and_all_kinds_of_questions() {
        let made = generate(2_001, 1);
        assert_eq!(made.turns.len(), 2_000);
        for kind in ["single", "elliptic", "update", "multi", "time", "none"] {
            let count = made
                .questions
                .iter()
                .filter(|question| question.kind == kind)
                .count();
            assert!(count >= 10, "{kind}: {count}");
        }
        assert!(
            made.turns
                .windows(2)
                .all(|pair| pair[0].time < pair[1].time)
        );
    }

    #[test]
    fn every_evidence_holds_its_part_of_the_answer() {
        let made = generate(4_000, 3);
        for question in made.questions.iter().filter(|question| question.answerable) {
            for (place, answer) in question.evidence.iter().zip(question.answer.split(", ")) {
                let text = made.turns[*place].text.to_lowercase();
                assert!(
                    question.kind == "multi" || text.contains(&answer.to_lowercase()),
                    "{question:?}: {text}"
                );
            }
            if question.kind == "multi" {
                let told: String = question
                    .evidence
                    .iter()
                    .map(|place| made.turns[*place].text.as_str())
                    .collect();
                assert!(
                    question
                        .answer
                        .split(", ")
                        .all(|place| told.contains(place)),
                    "{question:?}"
                );
            }
            assert!(
                !question.text.contains('{')
                    && made.turns.iter().all(|turn| !turn.text.contains('{'))
            );
        }
    }

    #[test]
    fn what_is_outdated_was_told_before_what_is_current() {
        let made = generate(4_000, 3);
        let updates: Vec<&Question> = made
            .questions
            .iter()
            .filter(|question| question.is_update())
            .collect();
        assert!(updates.len() >= 40);
        for question in updates {
            assert!(question.outdated[0] < question.current[0], "{question:?}");
        }
    }

    #[test]
    fn tens_of_thousands_of_turns_still_name_every_person_apart() {
        let made = generate(60_000, 1);
        let mut questions: Vec<&str> = made
            .questions
            .iter()
            .map(|question| question.text.as_str())
            .collect();
        questions.sort_unstable();
        let all = questions.len();
        questions.dedup();
        assert_eq!(questions.len(), all);
    }
}
