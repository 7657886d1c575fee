//! Labelled conversations, wherever they come from.

use mnemic_core::time::Timestamp;

/// Microseconds between two turns of a session whose source tells only when the session began.
const BETWEEN_TURNS: i64 = 40_000_000;

/// A turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Its name in the source, unique in the conversation.
    pub id: String,
    /// The number of its session, from 1.
    pub session: u64,
    /// Who speaks.
    pub speaker: String,
    /// When.
    pub time: Timestamp,
    /// What is said, with the caption of a picture at the end.
    pub text: String,
}

impl Turn {
    /// The turn as a text that stands alone.
    #[must_use]
    pub fn told(&self) -> String {
        format!("{}: {}", self.speaker, self.text)
    }
}

/// A question with the turns that answer it, as places in [`Conversation::turns`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its name in the source, unique in the conversation.
    pub id: String,
    /// To which set it belongs, where there are several.
    pub set: String,
    /// What kind of question the source says that it is.
    pub kind: String,
    /// What is asked.
    pub text: String,
    /// When it is asked.
    pub asked: Timestamp,
    /// Whether the conversation answers it.
    pub answerable: bool,
    /// The turns that are to be found.
    pub evidence: Vec<usize>,
    /// Of something that changed: the turns that tell how it is now. Empty for all others.
    pub current: Vec<usize>,
    /// The turns that tell how it was before.
    pub outdated: Vec<usize>,
    /// The answer, for people.
    pub answer: String,
}

impl Question {
    /// Whether it is about something that changed, and both states are told.
    #[must_use]
    pub fn is_update(&self) -> bool {
        !self.current.is_empty() && !self.outdated.is_empty()
    }
}

/// A long conversation with its questions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// Its name.
    pub name: String,
    /// Its turns, oldest first.
    pub turns: Vec<Turn>,
    /// What is asked about it.
    pub questions: Vec<Question>,
}

impl Conversation {
    /// The number of a speaker in the order in which they first speak.
    #[must_use]
    pub fn role(&self, speaker: &str) -> u8 {
        let mut known: Vec<&str> = Vec::new();
        for turn in &self.turns {
            if turn.speaker == speaker {
                break;
            }
            if !known.contains(&turn.speaker.as_str()) {
                known.push(&turn.speaker);
            }
        }
        u8::try_from(known.len()).unwrap_or(u8::MAX)
    }

    /// The place of a turn.
    #[must_use]
    pub fn place(&self, id: &str) -> Option<usize> {
        self.turns.iter().position(|turn| turn.id == id)
    }
}

/// The time of a turn of a session that began at `start`; turns are numbered from 0.
#[must_use]
pub fn time_of_turn(start: Timestamp, number: usize) -> Timestamp {
    let number = i64::try_from(number).unwrap_or(0);
    start.plus_micros(number.saturating_mul(BETWEEN_TURNS))
}

/// A text with the caption of the picture that was sent with it.
#[must_use]
pub fn with_caption(text: &str, caption: Option<&str>) -> String {
    match caption.map(str::trim) {
        Some(caption) if !caption.is_empty() => format!("{} [photo: {caption}]", text.trim())
            .trim()
            .to_owned(),
        _ => text.trim().to_owned(),
    }
}

impl Conversation {
    /// Keeps only the questions of some sets.
    pub fn keep_sets(&mut self, sets: &[String]) {
        self.questions
            .retain(|question| sets.contains(&question.set));
    }
}

/// All conversations as one: their sessions follow each other, and each question still means its own turns.
#[must_use]
pub fn pooled(conversations: Vec<Conversation>) -> Conversation {
    let mut all = Conversation {
        name: "pooled".to_owned(),
        ..Conversation::default()
    };
    let mut sessions = 0;
    for conversation in conversations {
        let first = all.turns.len();
        let name = &conversation.name;
        let mut last = 0;
        for turn in conversation.turns {
            last = last.max(turn.session);
            all.turns.push(Turn {
                id: format!("{name}/{}", turn.id),
                session: sessions + turn.session,
                ..turn
            });
        }
        sessions += last;
        let moved = |places: Vec<usize>| places.into_iter().map(|place| place + first).collect();
        for question in conversation.questions {
            all.questions.push(Question {
                id: format!("{name}/{}", question.id),
                evidence: moved(question.evidence),
                current: moved(question.current),
                outdated: moved(question.outdated),
                ..question
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(id: &str, session: u64, speaker: &str) -> Turn {
        Turn {
            id: id.into(),
            session,
            speaker: speaker.into(),
            time: Timestamp(0),
            text: format!("text of {id}"),
        }
    }

    fn question(evidence: usize) -> Question {
        Question {
            id: "1".into(),
            set: String::new(),
            kind: "single".into(),
            text: "?".into(),
            asked: Timestamp(0),
            answerable: true,
            evidence: vec![evidence],
            current: vec![evidence],
            outdated: vec![0],
            answer: String::new(),
        }
    }

    #[test]
    fn pooled_conversations_keep_sessions_and_evidence_apart() {
        let one = |name: &str| Conversation {
            name: name.into(),
            turns: vec![turn("1:1", 1, "A"), turn("2:1", 2, "B")],
            questions: vec![question(1)],
        };
        let all = pooled(vec![one("x"), one("y")]);
        let sessions: Vec<u64> = all.turns.iter().map(|turn| turn.session).collect();
        assert_eq!(sessions, [1, 2, 3, 4]);
        assert_eq!(all.questions[1].evidence, [3]);
        assert_eq!(all.questions[1].outdated, [2]);
        assert_eq!(all.turns[3].id, "y/2:1");
        assert_eq!(all.questions[1].id, "y/1");
    }

    #[test]
    fn captions_stand_at_the_end_of_a_text() {
        assert_eq!(
            with_caption("Look! ", Some("a cat")),
            "Look! [photo: a cat]"
        );
        assert_eq!(with_caption("", Some("a cat")), "[photo: a cat]");
        assert_eq!(with_caption("Look!", Some(" ")), "Look!");
        assert_eq!(with_caption("Look!", None), "Look!");
    }

    #[test]
    fn speakers_are_numbered_as_they_first_speak() {
        let conversation = Conversation {
            turns: vec![turn("1", 1, "B"), turn("2", 1, "A"), turn("3", 1, "B")],
            ..Conversation::default()
        };
        assert_eq!((conversation.role("B"), conversation.role("A")), (0, 1));
    }
}
