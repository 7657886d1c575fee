//! Makes vectors of texts.

use std::{io, path::Path};

use mnemic_core::chunks::{self, ChunkSize};
use ndarray::{ArrayView2, Axis, Slice};

use crate::{
    arithmetic::normalise,
    bert::Bert,
    files::{self, FileError},
    manifest::{Model, Pooling, TOKENIZER, WEIGHTS},
    tensors::{TensorError, Weights},
    wordpiece::WordPiece,
};

/// Tokens that are computed together. More gain nothing on one core and cost memory: measured,
/// 4 texts of 64 tokens are nearly as fast as any larger batch, and need 4 MB of room.
pub const BATCH_TOKENS: usize = 256;
/// Tokens that neighbouring chunks share.
const OVERLAP: usize = 32;
/// Tokens of the marks before and after a text.
const MARKS: usize = 2;

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// A file of the model is missing or damaged.
    #[error("{0}; `mnemic models pull` fetches it anew")]
    File(#[from] FileError),
    /// The weights are not those of the model.
    #[error(transparent)]
    Weights(#[from] TensorError),
    /// The model's files cannot be read.
    #[error("the model's files cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A loaded model. It can be used by several threads at once; each call computes on the thread that
/// makes it, and on no other.
#[derive(Debug)]
pub struct Embedder {
    model: Model,
    tokenizer: WordPiece,
    bert: Bert,
}

impl Embedder {
    /// Loads a model from its folder, after checking that the files are the right ones. Takes a few
    /// tenths of a second: not for an asynchronous thread.
    ///
    /// # Errors
    /// A file is missing or another one than it must be.
    pub fn load(model: &Model, folder: &Path) -> Result<Self, EmbedError> {
        for file in &model.files {
            files::check(&folder.join(&file.name), file)?;
        }
        let weights = Weights::open(&folder.join(WEIGHTS))?;
        Ok(Self {
            tokenizer: WordPiece::load(&folder.join(TOKENIZER))?,
            bert: Bert::load(weights, model)?,
            model: model.clone(),
        })
    }

    /// The model that it is.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer of the model.
    #[must_use]
    pub const fn tokenizer(&self) -> &WordPiece {
        &self.tokenizer
    }

    /// The pieces of a text that the model reads whole.
    #[must_use]
    pub fn chunks(&self, text: &str) -> Vec<std::ops::Range<usize>> {
        let prefix = self.tokenizer.spans(&self.model.passage_prefix);
        let prefix: usize = prefix.iter().map(|span| span.tokens).sum();
        let size = ChunkSize {
            tokens: self.model.max_tokens.saturating_sub(MARKS + prefix),
            overlap: OVERLAP,
        };
        chunks::split(text, &self.tokenizer.spans(text), size)
    }

    /// The vector of what is searched for.
    ///
    /// # Errors
    /// The model's file cannot be read any more.
    pub fn embed_query(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        let text = format!("{}{text}", self.model.query_prefix);
        let mut vectors = self.embed_batch(&[&text])?;
        Ok(vectors.pop().unwrap_or_default())
    }

    /// The vectors of what is found; a text over the model's limit is cut.
    ///
    /// # Errors
    /// The model's file cannot be read any more.
    pub fn embed_passages(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let prefix = &self.model.passage_prefix;
        if prefix.is_empty() {
            return self.embed_batch(texts);
        }
        let texts: Vec<String> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.embed_batch(&texts)
    }

    /// The vectors of texts as they are, in their order. They are computed in batches of about
    /// [`BATCH_TOKENS`], so that memory does not grow with their number.
    ///
    /// # Errors
    /// The model's file cannot be read any more.
    pub fn embed_batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut batch: Vec<Vec<u32>> = Vec::new();
        let mut tokens = 0;
        for text in texts {
            let ids = self.tokenizer.encode(text, self.model.max_tokens);
            if tokens + ids.len() > BATCH_TOKENS && !batch.is_empty() {
                self.compute(&batch, &mut vectors)?;
                batch.clear();
                tokens = 0;
            }
            tokens += ids.len();
            batch.push(ids);
        }
        if !batch.is_empty() {
            self.compute(&batch, &mut vectors)?;
        }
        Ok(vectors)
    }

    fn compute(&self, batch: &[Vec<u32>], vectors: &mut Vec<Vec<f32>>) -> Result<(), EmbedError> {
        let ids: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
        let rows = self.bert.encode(&ids)?;
        let mut start = 0;
        for text in batch {
            let part = Slice::from(start..start + text.len());
            start += text.len();
            vectors.push(self.pool(rows.slice_axis(Axis(0), part)));
        }
        Ok(())
    }

    fn pool(&self, rows: ArrayView2<'_, f32>) -> Vec<f32> {
        let mut vector = match self.model.pooling {
            Pooling::Mean => rows.sum_axis(Axis(0)) / rows.nrows().max(1) as f32,
            Pooling::Cls => rows.row(0).to_owned(),
        }
        .to_vec();
        if self.model.normalise {
            normalise(&mut vector);
        }
        vector
    }
}
