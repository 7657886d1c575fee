//! A conversation as it is searched: its texts and their vectors.

use mnemic_core::retrieval::{Document, Index, Kind, embedding_text};

use crate::{
    conversation::{Conversation, Question, Turn},
    vectors::{Purpose, Vectors},
};

/// As what turns are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the turns of conversations.
    Turns,
    /// As passages that stand alone and tell their speaker themselves.
    Passages,
}

/// A conversation with the vectors of its texts.
#[derive(Debug)]
pub struct Corpus<'a> {
    /// The conversation.
    pub conversation: &'a Conversation,
    /// Each turn as a text that stands alone.
    pub told: Vec<String>,
    /// The vectors of each turn's chunks; none without a model.
    pub vectors: Vec<Vec<&'a [f32]>>,
    form: Form,
    model: Option<&'a Vectors>,
}

impl<'a> Corpus<'a> {
    /// A conversation; its vectors must be prepared.
    #[must_use]
    pub fn new(conversation: &'a Conversation, form: Form, model: Option<&'a Vectors>) -> Self {
        let of_turn = |turn: &Turn| {
            let Some(model) = model else {
                return Vec::new();
            };
            let text = text_of(turn, form);
            let chunks = model.chunks(&text).into_iter();
            chunks
                .filter_map(|chunk| model.of(Purpose::Passage, chunk))
                .collect()
        };
        Self {
            told: conversation.turns.iter().map(Turn::told).collect(),
            vectors: conversation.turns.iter().map(of_turn).collect(),
            conversation,
            form,
            model,
        }
    }

    /// The vector of a question.
    #[must_use]
    pub fn query_vector(&self, question: &Question) -> Option<&'a [f32]> {
        self.model?.of(Purpose::Query, &question.text)
    }

    /// The index that the server would make of it. Keys are places of turns.
    #[must_use]
    pub fn index(&self) -> Index {
        let mut index = Index::new(match self.form {
            Form::Turns => Kind::Turns,
            Form::Passages => Kind::Passages,
        });
        let turns = self.conversation.turns.iter();
        for (key, ((turn, told), vectors)) in (0..).zip(turns.zip(&self.told).zip(&self.vectors)) {
            let document = match self.form {
                Form::Turns => Document {
                    key,
                    text: &turn.text,
                    speaker: Some(&turn.speaker),
                    time: turn.time,
                    session: turn.session,
                    role: self.conversation.role(&turn.speaker),
                    tags: &[],
                    superseded: false,
                },
                Form::Passages => Document {
                    key,
                    text: told,
                    speaker: None,
                    time: turn.time,
                    session: 0,
                    role: 0,
                    tags: &[],
                    superseded: false,
                },
            };
            index.push(&document);
            for (chunk, vector) in (0..).zip(vectors) {
                index.set_vector(key, chunk, vector);
            }
        }
        index
    }
}

/// What of a turn the server embeds.
fn text_of(turn: &Turn, form: Form) -> String {
    match form {
        Form::Turns => embedding_text(&turn.text, Some(&turn.speaker)),
        Form::Passages => embedding_text(&turn.told(), None),
    }
}

/// Makes the vectors of conversations and their questions ready.
///
/// # Errors
/// The file of vectors cannot be read or written.
pub fn prepare(
    conversations: &[Conversation],
    form: Form,
    model: &mut Vectors,
) -> std::io::Result<()> {
    let turns = conversations
        .iter()
        .flat_map(|conversation| &conversation.turns);
    let texts: Vec<String> = turns.map(|turn| text_of(turn, form)).collect();
    let chunks = texts.iter().flat_map(|text| model.chunks(text));
    let mut wanted: Vec<(Purpose, &str)> = chunks.map(|chunk| (Purpose::Passage, chunk)).collect();
    let questions = conversations
        .iter()
        .flat_map(|conversation| &conversation.questions);
    wanted.extend(questions.map(|question| (Purpose::Query, question.text.as_str())));
    model.prepare(&wanted)
}
