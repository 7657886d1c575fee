//! Making and storing the vectors of a few texts.

use mnemic_llm::LlmError;
use mnemic_store::{
    embed_scopes::{self, DirtyScope},
    failpoints,
    vectors::{self, TextVectors},
};
use tokio::time::Instant;

use super::{load, texts::Waiting};
use crate::{
    Engine, EngineError,
    embedding::{EmbeddingError, EmbeddingModel},
};

/// Chunks that are stored at once unless one text has more; a model of a provider is given as many.
pub(super) const CHUNKS: usize = 32;

/// Chunks of one text at the most, about a million characters; what is behind them is found by words.
const MAX_CHUNKS: usize = 1_024;
/// Texts of many chunks whose vectors are kept until the rest of them is made.
const MAX_BEGUN: usize = 8;

/// How long is worked, and what was begun and not finished in earlier slices.
pub(super) struct Slice<'a> {
    /// When others come first.
    pub until: Instant,
    /// Texts that have part of their vectors.
    pub begun: &'a mut Vec<Begun>,
}

impl Slice<'_> {
    /// What was made of a text in earlier slices.
    fn take(&mut self, scope: &DirtyScope, model: &EmbeddingModel, text: &Chunked) -> Begun {
        let wanted = Begun {
            scope: scope.scope.clone(),
            model: model.model_key(),
            item: text.item,
            chunks: text.chunks.len(),
            made: Vec::new(),
        };
        let place = self.begun.iter().position(|begun| begun.is_of(&wanted));
        place.map_or(wanted, |place| self.begun.remove(place))
    }

    /// Keeps what was made; of too many texts, the oldest give way.
    fn keep(&mut self, begun: Begun) {
        if self.begun.len() >= MAX_BEGUN {
            self.begun.remove(0);
        }
        self.begun.push(begun);
    }
}

/// A text that has part of its vectors.
pub(super) struct Begun {
    scope: String,
    model: String,
    item: i64,
    chunks: usize,
    made: Vec<Vec<f32>>,
}

impl Begun {
    fn is_of(&self, other: &Self) -> bool {
        (&self.scope, &self.model, self.item, self.chunks)
            == (&other.scope, &other.model, other.item, other.chunks)
    }
}

/// A text in the parts that its model reads whole.
struct Chunked {
    item: i64,
    chunks: Vec<String>,
}

/// How storing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// The texts have their vectors.
    Done,
    /// The model's vectors have another length than before: all of them are made anew.
    Outgrown,
    /// The time is up; what was begun goes on with the next slice.
    Unfinished,
}

impl Engine {
    /// Embeds texts of a scope. Texts that the model refuses, while it takes others, are left out.
    pub(super) async fn embed_batch(
        &self,
        scope: &DirtyScope,
        model: &EmbeddingModel,
        batch: Vec<Waiting>,
        slice: &mut Slice<'_>,
    ) -> Result<Stored, EngineError> {
        for group in groups(chunked(model, batch).await?) {
            let made = match group.as_slice() {
                [long] if long.chunks.len() > CHUNKS => {
                    self.vectors_of_long(scope, model, long, slice).await
                }
                _ => self.vectors_of(model, &group).await.map(Some),
            };
            let made = match made {
                Err(error) if is_refusal(&error) => {
                    self.one_by_one(scope, model, &group, error).await?
                }
                made => match made? {
                    Some(made) => made,
                    None => return Ok(Stored::Unfinished),
                },
            };
            if self.store_vectors(scope, model, made).await? == Stored::Outgrown {
                return Ok(Stored::Outgrown);
            }
        }
        Ok(Stored::Done)
    }

    /// The vectors of the texts that the model takes, after it refused them together.
    async fn one_by_one(
        &self,
        scope: &DirtyScope,
        model: &EmbeddingModel,
        group: &[Chunked],
        refusal: EmbeddingError,
    ) -> Result<Vec<TextVectors>, EngineError> {
        // A model that takes nothing at all is no embedding model.
        let probe = model.embed_passages(vec!["text".to_owned()]).await;
        if probe.is_err() {
            return Err(refusal.into());
        }
        let mut made = Vec::with_capacity(group.len());
        for text in group {
            match self.vectors_of(model, std::slice::from_ref(text)).await {
                Ok(vectors) => made.extend(vectors),
                Err(error) if is_refusal(&error) => tracing::warn!(
                    scope = scope.scope, row = text.item, %error,
                    "a text is found by its words only: its embedding model refuses it"
                ),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(made)
    }

    /// The vectors of a text of many chunks; `None` when the time is up before they are made.
    async fn vectors_of_long(
        &self,
        scope: &DirtyScope,
        model: &EmbeddingModel,
        text: &Chunked,
        slice: &mut Slice<'_>,
    ) -> Result<Option<Vec<TextVectors>>, EmbeddingError> {
        let mut begun = slice.take(scope, model, text);
        while begun.made.len() < text.chunks.len() {
            if !begun.made.is_empty() && Instant::now() > slice.until {
                slice.keep(begun);
                return Ok(None);
            }
            let rest = text.chunks.iter().skip(begun.made.len());
            let piece = Chunked {
                item: text.item,
                chunks: rest.take(CHUNKS).cloned().collect(),
            };
            match self.vectors_of(model, std::slice::from_ref(&piece)).await {
                Ok(vectors) => {
                    let vectors = vectors.into_iter().flat_map(|vectors| vectors.chunks);
                    begun.made.extend(vectors);
                }
                Err(error) => {
                    slice.keep(begun);
                    return Err(error);
                }
            }
        }
        Ok(Some(vec![TextVectors {
            item: text.item,
            chunks: begun.made,
        }]))
    }

    async fn vectors_of(
        &self,
        model: &EmbeddingModel,
        group: &[Chunked],
    ) -> Result<Vec<TextVectors>, EmbeddingError> {
        let chunks: Vec<String> = group.iter().flat_map(|text| text.chunks.clone()).collect();
        let mut made = Vec::with_capacity(chunks.len());
        for piece in chunks.chunks(load::chunks_of_a_call(model)) {
            self.yield_to_others(model).await;
            made.extend(model.embed_passages(piece.to_vec()).await?);
        }
        let dims = made.first().map_or(0, Vec::len);
        if dims == 0 || made.len() != chunks.len() || made.iter().any(|it| it.len() != dims) {
            return Err(EmbeddingError::Failed {
                handle: model.handle().to_owned(),
                reason: "its vectors are not one for each text, all of one length".to_owned(),
            });
        }
        let mut made = made.into_iter();
        let vectors = group.iter().map(|text| TextVectors {
            item: text.item,
            chunks: made.by_ref().take(text.chunks.len()).collect(),
        });
        Ok(vectors.collect())
    }

    async fn store_vectors(
        &self,
        scope: &DirtyScope,
        model: &EmbeddingModel,
        made: Vec<TextVectors>,
    ) -> Result<Stored, EngineError> {
        let (id, kind, key, now) = (
            scope.scope.clone(),
            scope.kind,
            model.model_key(),
            self.now(),
        );
        let stored = self.store().write(move |tx| {
            Box::pin(async move {
                let outgrown = vectors::drop_outgrown(tx, (&id, &key), &made).await?;
                if outgrown {
                    embed_scopes::restart(tx, &key, now).await?;
                }
                vectors::insert(tx, kind, (&id, &key), &made).await?;
                Ok::<_, EngineError>(outgrown)
            })
        });
        if stored.await? {
            let model = model.handle();
            tracing::warn!(
                model,
                "the embedding model makes vectors of another length than before: all texts of it \
                 are embedded anew"
            );
            return Ok(Stored::Outgrown);
        }
        failpoints::hit("vectors.stored");
        Ok(Stored::Done)
    }
}

/// Cuts texts into what the model reads whole, on a thread where that holds nobody up.
async fn chunked(model: &EmbeddingModel, batch: Vec<Waiting>) -> Result<Vec<Chunked>, EngineError> {
    let cutter = model.clone();
    let cut = move || {
        let cut = batch.into_iter().map(|waiting| {
            let ranges = cutter.chunks(&waiting.text)?.into_iter().take(MAX_CHUNKS);
            let chunks = ranges.filter_map(|range| waiting.text.get(range).map(str::to_owned));
            Ok(Chunked {
                item: waiting.item,
                chunks: chunks.collect(),
            })
        });
        cut.collect::<Result<Vec<_>, EmbeddingError>>()
    };
    let cut = tokio::task::spawn_blocking(cut).await;
    let cut = cut.map_err(|error| EmbeddingError::Failed {
        handle: model.handle().to_owned(),
        reason: format!("cutting a text died: {error}"),
    })?;
    Ok(cut?)
}

/// Texts in groups of [`CHUNKS`] chunks at the most; one that has more is a group of its own.
fn groups(texts: Vec<Chunked>) -> Vec<Vec<Chunked>> {
    let mut groups: Vec<Vec<Chunked>> = Vec::new();
    let mut room = 0;
    for text in texts.into_iter().filter(|text| !text.chunks.is_empty()) {
        let length = text.chunks.len();
        match groups.last_mut() {
            Some(group) if length <= room => group.push(text),
            _ => {
                groups.push(vec![text]);
                room = CHUNKS;
            }
        }
        room = room.saturating_sub(length);
    }
    groups
}

/// Whether a model will not take a text, rather than being unable to take any.
const fn is_refusal(error: &EmbeddingError) -> bool {
    matches!(
        error,
        EmbeddingError::Provider(
            LlmError::BadRequest { .. } | LlmError::ContextWindowExceeded { .. }
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_grouped_by_their_chunks() {
        let text = |item, chunks| Chunked {
            item,
            chunks: vec!["x".to_owned(); chunks],
        };
        let groups = groups(vec![
            text(1, 20),
            text(2, 12),
            text(3, 1),
            text(4, 90),
            text(5, 1),
            text(6, 0),
        ]);
        let items: Vec<Vec<i64>> = groups
            .iter()
            .map(|group| group.iter().map(|text| text.item).collect())
            .collect();
        assert_eq!(items, [vec![1, 2], vec![3], vec![4], vec![5]]);
    }
}
