//! LoCoMo ("Evaluating Very Long-Term Conversational Memory of LLM Agents", 2024) as its makers publish it: a
//! JSON list of long chats between two people, with questions and the ids of the turns that answer them.

use std::path::Path;

use jiff::civil::DateTime;
use mnemic_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{SourceError, read};
use crate::conversation::{Conversation, Question, Turn, time_of_turn, with_caption};

/// The kinds of questions by their category's number, from 1.
const KINDS: [&str; 5] = [
    "multi-hop",
    "temporal",
    "open-domain",
    "single-hop",
    "adversarial",
];

/// The category of questions that ask for what the other person did.
const ADVERSARIAL: usize = 5;

#[derive(Deserialize)]
struct Sample {
    #[serde(default)]
    sample_id: Value,
    conversation: Map<String, Value>,
    #[serde(default)]
    qa: Vec<Asked>,
}

#[derive(Deserialize)]
struct Said {
    speaker: String,
    dia_id: String,
    #[serde(default)]
    text: Value,
    blip_caption: Option<String>,
}

#[derive(Deserialize)]
struct Asked {
    question: Value,
    #[serde(default)]
    answer: Value,
    #[serde(default)]
    evidence: Value,
    category: Value,
    #[serde(default)]
    adversarial_answer: Value,
}

/// What was read, and how many labels name no turn of the conversation.
#[derive(Debug, Default)]
pub struct Locomo {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// Labels of evidence that name no turn; the file is known to hold a few.
    pub lost_labels: usize,
}

/// Reads the file.
///
/// # Errors
/// It cannot be read or is another one.
pub fn load(path: &Path) -> Result<Locomo, SourceError> {
    parse(&read(path)?).map_err(|what| SourceError::Format {
        path: path.to_owned(),
        format: "LoCoMo",
        what,
    })
}

/// Reads the file's text.
///
/// # Errors
/// What is wrong.
pub fn parse(text: &str) -> Result<Locomo, String> {
    let samples: Vec<Sample> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut read = Locomo::default();
    for (number, sample) in samples.into_iter().enumerate() {
        let name = match plain(&sample.sample_id) {
            name if name.is_empty() => format!("sample {}", number + 1),
            name => name,
        };
        let wrong = |what| format!("{name}: {what}");
        let mut conversation = Conversation {
            turns: turns(&sample.conversation).map_err(wrong)?,
            name: name.clone(),
            ..Conversation::default()
        };
        for (number, asked) in sample.qa.iter().enumerate() {
            let (question, lost) = question(&conversation, number, asked)
                .map_err(|what| format!("{name}, question {}: {what}", number + 1))?;
            read.lost_labels += lost;
            conversation.questions.push(question);
        }
        read.conversations.push(conversation);
    }
    Ok(read)
}

/// A string or number as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn turns(sessions: &Map<String, Value>) -> Result<Vec<Turn>, String> {
    let numbers = sessions
        .keys()
        .filter_map(|key| key.strip_prefix("session_")?.parse::<u64>().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    let mut turns = Vec::new();
    for session in numbers {
        let key = format!("session_{session}");
        let said = sessions.get(&key).cloned().unwrap_or_default();
        let said: Vec<Said> =
            serde_json::from_value(said).map_err(|error| format!("{key}: {error}"))?;
        let date = sessions.get(&format!("{key}_date_time")).map(plain);
        let date = date.unwrap_or_default();
        let start = time(&date).ok_or_else(|| {
            format!("{key}_date_time is {date:?}, not like \"1:56 pm on 8 May, 2023\"")
        })?;
        turns.extend(said.into_iter().enumerate().map(|(number, said)| Turn {
            id: said.dia_id,
            session,
            speaker: said.speaker,
            time: time_of_turn(start, number),
            text: with_caption(&plain(&said.text), said.blip_caption.as_deref()),
        }));
    }
    Ok(turns)
}

fn time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%I:%M %p on %d %B, %Y", text).ok()?;
    let zoned = time.in_tz("UTC").ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

fn question(
    conversation: &Conversation,
    number: usize,
    asked: &Asked,
) -> Result<(Question, usize), String> {
    let category: usize = plain(&asked.category).parse().unwrap_or(0);
    let kind = category.checked_sub(1).and_then(|index| KINDS.get(index));
    let kind = kind.ok_or_else(|| format!("{} is no category from 1 to 5", asked.category))?;
    let labels = match &asked.evidence {
        Value::Array(labels) => labels.iter().flat_map(|label| ids(&plain(label))).collect(),
        other => ids(&plain(other)),
    };
    let (mut evidence, mut lost) = (Vec::new(), 0);
    for label in labels {
        match conversation.place(&label) {
            Some(place) if evidence.contains(&place) => {}
            Some(place) => evidence.push(place),
            None => lost += 1,
        }
    }
    let answer = match plain(&asked.answer) {
        answer if answer.is_empty() => plain(&asked.adversarial_answer),
        answer => answer,
    };
    // The file does not tell when questions are asked.
    let last = conversation.turns.last();
    let question = Question {
        id: (number + 1).to_string(),
        set: String::new(),
        kind: (*kind).to_owned(),
        text: plain(&asked.question),
        asked: last.map_or(Timestamp(0), |turn| turn.time),
        answerable: category != ADVERSARIAL,
        evidence,
        current: Vec::new(),
        outdated: Vec::new(),
        answer,
    };
    Ok((question, lost))
}

/// The turns that a label names, however it is written: `D1:3`, `D8:6; D9:17`, `D:11:26`, `D30:05`.
fn ids(label: &str) -> Vec<String> {
    let parts = label.split(|c: char| !c.is_ascii_digit() && c != ':');
    let id = |part: &str| {
        let (session, turn) = part.trim_matches(':').split_once(':')?;
        let (session, turn): (u64, u64) = (session.parse().ok()?, turn.parse().ok()?);
        Some(format!("D{session}:{turn}"))
    };
    parts.filter_map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = include_str!("../../tests/fixtures/locomo.json");

    #[test]
    fn labels_are_understood_however_they_are_written() {
        assert_eq!(ids("D1:3"), ["D1:3"]);
        assert_eq!(ids("D8:6; D9:17"), ["D8:6", "D9:17"]);
        assert_eq!(ids("D9:1 D4:4 D4:6"), ["D9:1", "D4:4", "D4:6"]);
        assert_eq!(ids("D:11:26"), ["D11:26"]);
        assert_eq!(ids("D30:05"), ["D30:5"]);
        assert_eq!(ids("D"), [""; 0]);
    }

    #[test]
    fn sessions_come_in_the_order_of_their_numbers_with_times_and_captions() {
        let read = parse(FIXTURE).unwrap();
        let turns = &read.conversations[0].turns;
        let ids: Vec<&str> = turns.iter().map(|turn| turn.id.as_str()).collect();
        assert_eq!(ids, ["D1:1", "D1:2", "D2:1", "D2:2", "D10:1"]);
        assert_eq!(turns[0].time.to_iso().get(..16), Some("2023-05-08T13:56"));
        assert_eq!(turns[2].time.to_iso().get(..16), Some("2023-05-25T00:09"));
        assert_eq!(
            turns[3].text,
            "Look at her! [photo: a brown dog on a red rug]"
        );
        assert_eq!(turns[4].session, 10);
    }

    #[test]
    fn questions_have_their_kind_and_evidence() {
        let read = parse(FIXTURE).unwrap();
        let questions = &read.conversations[0].questions;
        let seen: Vec<(&str, &[usize], bool)> = questions
            .iter()
            .map(|q| (q.kind.as_str(), &q.evidence[..], q.answerable))
            .collect();
        assert_eq!(
            seen,
            [
                ("multi-hop", &[0, 3][..], true),
                ("temporal", &[1], true),
                ("open-domain", &[], true),
                ("single-hop", &[4], true),
                ("adversarial", &[3], false),
            ]
        );
        assert_eq!(questions[1].answer, "2021");
        assert_eq!(questions[4].answer, "a beagle");
        assert_eq!(read.lost_labels, 1, "D7:7 is no turn");
    }

    #[test]
    fn another_file_is_refused_with_a_reason() {
        assert!(parse("{}").is_err());
        let told = parse(&FIXTURE.replace("1:56 pm on 8 May, 2023", "yesterday")).unwrap_err();
        assert!(told.starts_with("chat-1: session_1_date_time"), "{told}");
        let told = parse(&FIXTURE.replace("\"category\": 3", "\"category\": 9")).unwrap_err();
        assert!(told.contains("question 3: 9 is no category"), "{told}");
    }
}
