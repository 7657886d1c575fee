//! What was found for each question: to fit weights, and to see what was missed.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use crate::{conversation::Question, corpus::Corpus, retrievers::Ranking};

/// Hits that are shown of a question whose evidence was missed.
const SHOWN: usize = 10;
/// Characters of a text that are shown.
const SHOWN_CHARACTERS: usize = 160;

/// A CSV file of all scores.
pub struct Scores {
    out: BufWriter<File>,
    /// Whether the first line, which names the parts, is written.
    begun: bool,
}

impl Scores {
    /// A new file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::new(File::create(path)?),
            begun: false,
        })
    }

    /// Writes what a question found, and a line without rank for each evidence that it did not.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(
        &mut self,
        corpus: &Corpus<'_>,
        question: &Question,
        ranking: &Ranking,
    ) -> io::Result<()> {
        let Some(first) = ranking.found.first() else {
            return Ok(());
        };
        if !self.begun {
            write!(
                self.out,
                "conversation,question,kind,answerable,turn,rank,score"
            )?;
            for (part, _) in &first.parts {
                write!(self.out, ",{}", field(part))?;
            }
            writeln!(self.out, ",is_evidence,is_outdated")?;
            self.begun = true;
        }
        let columns = first.parts.len();
        for (rank, found) in (1..).zip(&ranking.found) {
            let mut middle = format!("{rank},{}", found.score);
            for (_, value) in &found.parts {
                middle.push_str(&format!(",{value}"));
            }
            self.line(corpus, question, found.turn, &middle)?;
        }
        for turn in &question.evidence {
            if !ranking.found.iter().any(|found| found.turn == *turn) {
                self.line(corpus, question, *turn, &",".repeat(columns + 1))?;
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        corpus: &Corpus<'_>,
        question: &Question,
        turn: usize,
        middle: &str,
    ) -> io::Result<()> {
        let conversation = corpus.conversation;
        let id = conversation
            .turns
            .get(turn)
            .map_or("", |turn| turn.id.as_str());
        writeln!(
            self.out,
            "{},{},{},{},{},{middle},{},{}",
            field(&conversation.name),
            field(&question.id),
            field(&question.kind),
            u8::from(question.answerable),
            field(id),
            u8::from(question.evidence.contains(&turn)),
            u8::from(question.outdated.contains(&turn)),
        )
    }
}

/// A field as RFC 4180 has it.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A text file of the questions whose evidence is not all among the first ten.
pub struct Misses {
    out: BufWriter<File>,
}

impl Misses {
    /// A new file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::new(File::create(path)?),
        })
    }

    /// Writes a question down if some evidence was missed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(
        &mut self,
        corpus: &Corpus<'_>,
        question: &Question,
        ranking: &Ranking,
    ) -> io::Result<()> {
        let first = ranking.found.iter().take(SHOWN);
        let found: Vec<usize> = first.clone().map(|found| found.turn).collect();
        let is_missed = |turn: &&usize| !found.contains(turn);
        let missed: Vec<usize> = question
            .evidence
            .iter()
            .filter(is_missed)
            .copied()
            .collect();
        if missed.is_empty() || !question.answerable {
            return Ok(());
        }
        let name = &corpus.conversation.name;
        writeln!(
            self.out,
            "{name}, {} {}: {}\n  answer: {}",
            question.kind, question.id, question.text, question.answer
        )?;
        for turn in missed {
            let rank = ranking.found.iter().position(|found| found.turn == turn);
            let rank = rank.map_or("-".to_owned(), |rank| (rank + 1).to_string());
            writeln!(self.out, "  missed, {rank:>3}: {}", shown(corpus, turn))?;
        }
        for (rank, hit) in (1..).zip(first) {
            let is_evidence = question.evidence.contains(&hit.turn);
            let mark = if is_evidence { '*' } else { ' ' };
            let parts: Vec<String> = hit
                .parts
                .iter()
                .map(|(part, value)| format!("{part} {value:.2}"))
                .collect();
            writeln!(
                self.out,
                "  {mark}{rank:>3} {:.3} ({}): {}",
                hit.score,
                parts.join(", "),
                shown(corpus, hit.turn)
            )?;
        }
        writeln!(self.out)
    }
}

fn shown(corpus: &Corpus<'_>, turn: usize) -> String {
    let Some(said) = corpus.conversation.turns.get(turn) else {
        return String::new();
    };
    let text: String = said.told().chars().take(SHOWN_CHARACTERS).collect();
    format!("[{}] {}", said.id, text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{corpus::Form, retrievers::Found, sources::shipped};

    const TEXT: &str = "\
@speakers Maya, Tom
@session 1 2023-05-08 13:56
1 Maya: one
2 Tom: two
@questions 2024-01-20
multi | One, or two? | 1:1 1:2 | both
";

    #[test]
    fn every_score_is_a_line_and_missed_evidence_one_without_rank() {
        let conversation = shipped::parse(TEXT, "a, b", "a").unwrap();
        let corpus = Corpus::new(&conversation, Form::Turns, None);
        let ranking = Ranking {
            found: vec![Found {
                turn: 1,
                score: 0.5,
                parts: vec![("text", 0.25), ("dense", 0.75)],
            }],
            ..Ranking::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.csv");
        let mut scores = Scores::create(&path).unwrap();
        scores
            .write(&corpus, &conversation.questions[0], &ranking)
            .unwrap();
        drop(scores);
        let lines = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            lines,
            "conversation,question,kind,answerable,turn,rank,score,text,dense,is_evidence,is_outdated\n\
             \"a, b\",6,multi,1,1:2,1,0.5,0.25,0.75,1,0\n\
             \"a, b\",6,multi,1,1:1,,,,,1,0\n"
        );
        let path = folder.path().join("misses.txt");
        let mut misses = Misses::create(&path).unwrap();
        misses
            .write(&corpus, &conversation.questions[0], &ranking)
            .unwrap();
        drop(misses);
        let told = std::fs::read_to_string(&path).unwrap();
        assert!(told.contains("missed,   -: [1:1] Maya: one"), "{told}");
        assert!(
            told.contains("*  1 0.500 (text 0.25, dense 0.75): [1:2] Tom: two"),
            "{told}"
        );
    }
}
