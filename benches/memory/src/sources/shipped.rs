//! The development set: conversations as plain text, one file for each. The README tells the format.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use jiff::civil::{Date, DateTime};
use mnemic_core::time::Timestamp;

use super::{SourceError, read};
use crate::conversation::{Conversation, Question, Turn, time_of_turn};

/// The kinds of questions.
const KINDS: [&str; 5] = ["single", "multi", "time", "update", "none"];

/// The hour of the day at which questions are asked.
const HOUR_OF_QUESTIONS: i8 = 12;

/// The set of the questions that stand in a conversation's own file.
pub const OWN_SET: &str = "own";

/// Reads a file, or all files `*.txt` of a folder in the order of their names. A file of the same name in a
/// folder beside a conversation holds more questions about it; that folder's name is the name of their set.
///
/// # Errors
/// A file cannot be read, or a line of it is wrong.
pub fn load(path: &Path) -> Result<Vec<Conversation>, SourceError> {
    if path.is_file() {
        return Ok(vec![load_file(path, &[])?]);
    }
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let unreadable = |error| SourceError::Unreadable {
        path: path.to_owned(),
        error,
    };
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.path();
        if entry.is_dir() {
            folders.push(entry);
        } else if entry
            .extension()
            .is_some_and(|extension| extension == "txt")
        {
            files.push(entry);
        }
    }
    files.sort();
    folders.sort();
    if files.is_empty() {
        return Err(SourceError::Empty {
            path: path.to_owned(),
        });
    }
    files.iter().map(|file| load_file(file, &folders)).collect()
}

fn load_file(path: &Path, folders: &[PathBuf]) -> Result<Conversation, SourceError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut reader = Reader::new(&stem);
    reader.read(&read(path)?, &path.display().to_string())?;
    for folder in folders {
        let more = folder.join(path.file_name().unwrap_or_default());
        if more.is_file() {
            reader.set = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            reader.read(&read(&more)?, &more.display().to_string())?;
        }
    }
    Ok(reader.conversation)
}

/// Reads a conversation; `file` is what errors call it.
///
/// # Errors
/// A line is wrong.
pub fn parse(text: &str, name: &str, file: &str) -> Result<Conversation, SourceError> {
    let mut reader = Reader::new(name);
    reader.read(text, file)?;
    Ok(reader.conversation)
}
#[derive(Default)]
struct Reader {
    conversation: Conversation,
    places: HashMap<String, usize>,
    speakers: Vec<String>,
    session: u64,
    start: Timestamp,
    turns: usize,
    asked: Option<Timestamp>,
    /// To which set the questions belong that are read now.
    set: String,
}

impl Reader {
    fn new(name: &str) -> Self {
        Self {
            conversation: Conversation {
                name: name.to_owned(),
                ..Conversation::default()
            },
            set: OWN_SET.to_owned(),
            ..Self::default()
        }
    }

    fn read(&mut self, text: &str, file: &str) -> Result<(), SourceError> {
        let error = |line: usize, what: String| SourceError::Line {
            file: file.to_owned(),
            line,
            what,
        };
        self.asked = None;
        let mut last = 0;
        for (number, line) in (1..).zip(text.lines().map(str::trim_end)) {
            last = number;
            if !line.is_empty() {
                self.line(line, number)
                    .map_err(|what| error(number, what))?;
            }
        }
        if self.conversation.turns.is_empty() {
            return Err(error(last, "there are no turns".to_owned()));
        }
        Ok(())
    }

    fn line(&mut self, line: &str, number: usize) -> Result<(), String> {
        if let Some(names) = line.strip_prefix("@speakers ") {
            self.speakers = names
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect();
            Ok(())
        } else if let Some(rest) = line.strip_prefix("@session ") {
            self.session(rest)
        } else if let Some(date) = line.strip_prefix("@questions ") {
            let date: Date = date
                .trim()
                .parse()
                .map_err(|_| format!("{date:?} is no date like 2024-01-20"))?;
            self.asked = Some(timestamp(date.at(HOUR_OF_QUESTIONS, 0, 0, 0))?);
            Ok(())
        } else if let Some(asked) = self.asked {
            self.question(line, number, asked)
        } else {
            self.turn(line)
        }
    }

    fn session(&mut self, rest: &str) -> Result<(), String> {
        let wrong = || format!("{rest:?} is no number and time like 2 2023-05-25 19:10");
        let (number, time) = rest.trim().split_once(' ').ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        if number != self.session + 1 {
            return Err(format!(
                "session {number} comes after session {}",
                self.session
            ));
        }
        let time = DateTime::strptime("%Y-%m-%d %H:%M", time.trim()).map_err(|_| wrong())?;
        let start = timestamp(time)?;
        if self.session > 0 && start <= self.start {
            return Err("the session does not begin after the one before".to_owned());
        }
        (self.session, self.start, self.turns) = (number, start, 0);
        Ok(())
    }

    fn turn(&mut self, line: &str) -> Result<(), String> {
        let wrong = || "this is no turn: it must read NUMBER SPEAKER: TEXT".to_owned();
        let (number, rest) = line.split_once(' ').ok_or_else(wrong)?;
        let (speaker, text) = rest.split_once(": ").ok_or_else(wrong)?;
        let number: usize = number.parse().map_err(|_| wrong())?;
        if self.session == 0 {
            return Err("a turn stands before the first @session".to_owned());
        }
        if number != self.turns + 1 {
            return Err(format!("turn {number} comes after turn {}", self.turns));
        }
        if !self.speakers.iter().any(|known| known == speaker) {
            return Err(format!("{speaker:?} is not among the @speakers"));
        }
        self.turns = number;
        let id = format!("{}:{number}", self.session);
        self.places
            .insert(id.clone(), self.conversation.turns.len());
        self.conversation.turns.push(Turn {
            id,
            session: self.session,
            speaker: speaker.to_owned(),
            time: time_of_turn(self.start, number),
            text: text.trim().to_owned(),
        });
        Ok(())
    }

    fn question(&mut self, line: &str, number: usize, asked: Timestamp) -> Result<(), String> {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [kind, text, evidence, answer] = fields.as_slice() else {
            return Err("a question must read KIND | QUESTION | EVIDENCE | ANSWER".to_owned());
        };
        if !KINDS.contains(kind) {
            return Err(format!(
                "{kind:?} is none of the kinds {}",
                KINDS.join(", ")
            ));
        }
        let (now, before) = match evidence.split_once('<') {
            Some((now, before)) => (now, Some(before)),
            None => (*evidence, None),
        };
        let (now, before) = (self.turns_of(now)?, self.turns_of(before.unwrap_or(""))?);
        if now.is_empty() != (*kind == "none") {
            return Err("questions of kind none have no evidence, and all others have".to_owned());
        }
        if before.is_empty() == (*kind == "update") {
            return Err("updates, and only they, name outdated turns after <".to_owned());
        }
        let own = self.set == OWN_SET;
        let of_set = |text: &str| {
            if own {
                text.to_owned()
            } else {
                format!("{} {text}", self.set)
            }
        };
        self.conversation.questions.push(Question {
            id: of_set(&number.to_string()),
            set: self.set.clone(),
            kind: of_set(kind),
            text: (*text).to_owned(),
            asked,
            answerable: !now.is_empty(),
            current: if before.is_empty() {
                Vec::new()
            } else {
                now.clone()
            },
            evidence: now,
            outdated: before,
            answer: (*answer).to_owned(),
        });
        Ok(())
    }

    fn turns_of(&self, ids: &str) -> Result<Vec<usize>, String> {
        let place = |id: &str| {
            let place = self.places.get(id).copied();
            place.ok_or_else(|| format!("there is no turn {id}"))
        };
        let mut places: Vec<usize> = ids
            .split_whitespace()
            .map(place)
            .collect::<Result<_, _>>()?;
        places.dedup();
        Ok(places)
    }
}

fn timestamp(time: DateTime) -> Result<Timestamp, String> {
    let zoned = time.in_tz("UTC").map_err(|error| error.to_string())?;
    Ok(Timestamp(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
@speakers Maya, Tom
@session 1 2023-05-08 13:56
1 Maya: Hey Tom! How was the move?
2 Tom: The kids fight over the bigger room: both want it.

@session 2 2023-05-25 19:10
1 Tom: I work at the bakery. [photo: a loaf]
2 Maya: And I at the observatory now.
@questions 2024-01-20
single | What do Tom's children argue about? | 1:2 | the bigger room
multi | Where do they work? | 2:1 2:2 | bakery, observatory
update | Where does Maya work now? | 2:2 < 1:1 1:2 | at the observatory
none | What is the name of Tom's boat? | | (never said)
";

    fn error(line: &str, instead: &str) -> String {
        assert!(TEXT.contains(line));
        parse(&TEXT.replace(line, instead), "a", "data/a.txt")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn turns_and_questions_are_read() {
        let read = parse(TEXT, "a", "a.txt").unwrap();
        let turn = &read.turns[1];
        assert_eq!(
            (turn.id.as_str(), turn.speaker.as_str(), turn.session),
            ("1:2", "Tom", 1)
        );
        assert_eq!(
            turn.text,
            "The kids fight over the bigger room: both want it."
        );
        assert_eq!(
            read.turns[0].time.to_iso().get(..16),
            Some("2023-05-08T13:56")
        );
        let evidence: Vec<&[usize]> = read.questions.iter().map(|q| &q.evidence[..]).collect();
        assert_eq!(evidence, [&[1][..], &[2, 3], &[3], &[]]);
        let update = &read.questions[2];
        assert!(update.is_update() && update.outdated == [0, 1]);
        assert!(!read.questions[1].is_update());
        assert!(!read.questions[3].answerable);
        assert_eq!(update.asked.to_iso().get(..13), Some("2024-01-20T12"));
    }

    #[test]
    fn more_questions_stand_in_a_folder_that_names_their_set() {
        let folder = tempfile::tempdir().unwrap();
        let literal = folder.path().join("literal");
        std::fs::create_dir(&literal).unwrap();
        std::fs::write(folder.path().join("a.txt"), TEXT).unwrap();
        std::fs::write(folder.path().join("b.txt"), TEXT).unwrap();
        let more =
            "@questions 2024-01-21\nsingle | Which room do the kids want? | 1:2 | the bigger\n";
        std::fs::write(literal.join("a.txt"), more).unwrap();
        let mut read = load(folder.path()).unwrap();
        assert_eq!(read[1].questions.len(), 4);
        let last = read[0].questions.last().unwrap();
        assert_eq!(
            (last.kind.as_str(), &last.evidence[..]),
            ("literal single", &[1][..])
        );
        read[0].keep_sets(&["literal".to_owned()]);
        assert_eq!(read[0].questions.len(), 1);
        std::fs::write(literal.join("a.txt"), "single | x | 1:2 | y\n").unwrap();
        let told = load(folder.path()).unwrap_err().to_string();
        assert!(told.contains("literal"), "{told}");
    }

    #[test]
    fn errors_name_file_and_line() {
        assert_eq!(
            error("| 1:2 |", "| 1:9 |"),
            "data/a.txt:10: there is no turn 1:9"
        );
        assert_eq!(
            error("@session 2", "@session 3"),
            "data/a.txt:6: session 3 comes after session 1"
        );
    }

    #[test]
    fn what_would_spoil_the_figures_is_refused() {
        for (line, instead, says) in [
            ("2 Tom: The", "3 Tom: The", "comes after turn 1"),
            ("2 Tom: The", "2 Tim: The", "not among the @speakers"),
            ("2 Tom: The", "and then the", "no turn"),
            (
                "2023-05-25 19:10",
                "2023-05-01 19:10",
                "does not begin after",
            ),
            ("2023-05-25 19:10", "25.5.2023", "is no number and time"),
            ("@questions 2024-01-20", "@questions soon", "is no date"),
            ("single |", "easy |", "none of the kinds"),
            ("single |", "single | x |", "must read KIND"),
            ("2:2 < 1:1 1:2", "2:2", "after <"),
            ("boat? | |", "boat? | 1:1 |", "have no evidence"),
            (
                "children argue about? | 1:2",
                "children argue about? |",
                "and all others have",
            ),
        ] {
            let told = error(line, instead);
            assert!(told.contains(says), "{told} should say {says}");
        }
        assert!(parse("", "a", "a.txt").is_err());
    }
}
