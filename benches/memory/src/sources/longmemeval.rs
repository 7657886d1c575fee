//! LongMemEval ("Benchmarking Chat Assistants on Long-Term Interactive Memory", 2024) as its makers publish it: a
//! JSON list of questions, each with a history of its own of chats between a user and an assistant.

use std::{fs::File, io::BufReader, path::Path};

use jiff::civil::DateTime;
use mnemic_core::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::SourceError;
use crate::conversation::{Conversation, Question, Turn, time_of_turn};

/// What ids of questions end in that the history does not answer.
const UNANSWERABLE: &str = "_abs";

/// The type of questions about something that changed.
const UPDATE: &str = "knowledge-update";

#[derive(Deserialize)]
struct Instance {
    question_id: String,
    question_type: String,
    question: String,
    #[serde(default)]
    answer: Value,
    question_date: String,
    #[serde(default)]
    haystack_session_ids: Vec<String>,
    haystack_dates: Vec<String>,
    haystack_sessions: Vec<Vec<Said>>,
    #[serde(default)]
    answer_session_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: String,
    #[serde(default)]
    has_answer: Option<bool>,
}

/// Reads the file, but no more than so many questions.
///
/// # Errors
/// It cannot be read or is another one.
pub fn load(path: &Path, limit: usize) -> Result<Vec<Conversation>, SourceError> {
    let file = File::open(path).map_err(|error| SourceError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let wrong = |what| SourceError::Format {
        path: path.to_owned(),
        format: "LongMemEval",
        what,
    };
    // Typed at once: as free JSON the file would take several times its size of memory.
    let instances: Vec<Instance> =
        serde_json::from_reader(BufReader::new(file)).map_err(|error| wrong(error.to_string()))?;
    let instances = instances.into_iter().take(limit);
    instances
        .map(|instance| conversation(instance).map_err(wrong))
        .collect()
}

/// Reads the file's text.
///
/// # Errors
/// What is wrong.
pub fn parse(text: &str) -> Result<Vec<Conversation>, String> {
    let instances: Vec<Instance> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    instances.into_iter().map(conversation).collect()
}

/// The sessions of an instance in the order of time.
struct History {
    turns: Vec<Turn>,
    /// The turns that are marked as holding the answer.
    marked: Vec<usize>,
    /// The sessions that answer, by our numbers.
    answering: Vec<u64>,
}

fn conversation(instance: Instance) -> Result<Conversation, String> {
    let of = &instance.question_id;
    let asked = read_time(of, &instance.question_date)?;
    let history = history(&instance)?;
    // The history of an unanswerable question may hold marked turns about something near to it.
    let answerable = !of.ends_with(UNANSWERABLE);
    let (current, outdated) = if answerable && instance.question_type == UPDATE {
        newest_session(&history)
    } else {
        Default::default()
    };
    let question = Question {
        id: of.clone(),
        set: String::new(),
        kind: instance.question_type,
        text: instance.question,
        asked,
        answerable,
        evidence: history.marked,
        current,
        outdated,
        answer: match instance.answer {
            Value::String(text) => text,
            other => other.to_string(),
        },
    };
    Ok(Conversation {
        name: question.id.clone(),
        turns: history.turns,
        questions: vec![question],
    })
}

fn history(instance: &Instance) -> Result<History, String> {
    let of = &instance.question_id;
    if instance.haystack_dates.len() != instance.haystack_sessions.len() {
        return Err(format!("{of}: there are not as many dates as sessions"));
    }
    let mut sessions = Vec::new();
    let dated = instance.haystack_dates.iter();
    for (number, (date, said)) in dated.zip(&instance.haystack_sessions).enumerate() {
        let id = instance.haystack_session_ids.get(number);
        let answers = id.is_some_and(|id| instance.answer_session_ids.contains(id));
        sessions.push((read_time(of, date)?, answers, said));
    }
    // Stable: sessions of the same minute stay in the order of the file.
    sessions.sort_by_key(|(start, ..)| *start);
    let mut history = History {
        turns: Vec::new(),
        marked: Vec::new(),
        answering: Vec::new(),
    };
    for (number, (start, answers, said)) in (1..).zip(sessions) {
        if answers {
            history.answering.push(number);
        }
        for (place, said) in said.iter().enumerate() {
            if said.has_answer == Some(true) {
                history.marked.push(history.turns.len());
            }
            history.turns.push(Turn {
                id: format!("{number}:{}", place + 1),
                session: number,
                speaker: said.role.clone(),
                time: time_of_turn(start, place),
                text: said.content.trim().to_owned(),
            });
        }
    }
    Ok(history)
}

/// The marked turns of the newest session that answers, and those of the sessions before it.
fn newest_session(history: &History) -> (Vec<usize>, Vec<usize>) {
    let session = |place: &usize| history.turns.get(*place).map_or(0, |turn| turn.session);
    let answers = |place: &&usize| history.answering.contains(&session(place));
    let marked = history.marked.iter().filter(answers);
    let newest = marked.clone().map(session).max();
    marked
        .copied()
        .partition(|place| Some(session(place)) == newest)
}

fn read_time(of: &str, text: &str) -> Result<Timestamp, String> {
    let time = time(text);
    time.ok_or_else(|| format!("{of}: {text:?} is no time like 2023/05/30 (Tue) 23:40"))
}

/// `2023/05/30 (Tue) 23:40`; the name of the day tells nothing new.
fn time(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.trim().split_once(" (")?;
    let (_, clock) = rest.split_once(") ")?;
    let time = DateTime::strptime("%Y/%m/%d %H:%M", format!("{date} {clock}")).ok()?;
    let zoned = time.in_tz("UTC").ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = include_str!("../../tests/fixtures/longmemeval.json");

    #[test]
    fn each_question_has_its_own_history_in_the_order_of_time() {
        let read = parse(FIXTURE).unwrap();
        assert_eq!(read.len(), 2);
        let texts: Vec<&str> = read[0]
            .turns
            .iter()
            .map(|turn| turn.text.as_str())
            .collect();
        assert_eq!(
            texts,
            [
                "I run 5 km now.",
                "Well done!",
                "Any soup?",
                "I am up to 8 km!",
                "Great."
            ]
        );
        assert_eq!(
            read[0].turns[3].time.to_iso().get(..16),
            Some("2023-05-20T09:05")
        );
        assert_eq!(
            read[0].questions[0].asked.to_iso().get(..16),
            Some("2023-05-30T23:40")
        );
    }

    #[test]
    fn of_an_update_the_newest_session_that_answers_is_current() {
        let question = &parse(FIXTURE).unwrap()[0].questions[0];
        assert_eq!(question.evidence, [0, 3]);
        assert_eq!(
            (&question.current[..], &question.outdated[..]),
            (&[3][..], &[0][..])
        );
        assert!(question.answerable);
    }

    #[test]
    fn questions_whose_ids_say_so_are_unanswerable() {
        let question = &parse(FIXTURE).unwrap()[1].questions[0];
        assert!(!question.answerable && !question.is_update());
    }

    #[test]
    fn a_wrong_time_is_refused_with_a_reason() {
        let told = parse(&FIXTURE.replace("2023/05/30 (Tue) 23:40", "soon")).unwrap_err();
        assert!(told.contains("q1: \"soon\" is no time"), "{told}");
    }
}
