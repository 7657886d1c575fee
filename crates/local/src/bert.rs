//! BERT's encoder (Devlin et al., 2018) on plain products of matrices.
//!
//! Texts are not padded to one length: the rows of all texts of a batch stand below each other, and only
//! attention looks at each text alone. So a batch costs what its tokens cost, and a text's vector does
//! not depend on its neighbours.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice, linalg::general_mat_mul};

use crate::{
    arithmetic::{LayerNorm, gelu, softmax},
    manifest::Model,
    tensors::{Table, TensorError, Weights},
};

/// `x * weight + bias`.
#[derive(Debug)]
struct Linear {
    /// Inputs as rows, outputs as columns: the order in which products read it.
    weight: Array2<f32>,
    bias: Vec<f32>,
}

impl Linear {
    /// One that stands for several, whose outputs stand beside each other.
    fn load(
        weights: &Weights,
        names: &[String],
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, TensorError> {
        let mut weight = Array2::zeros((inputs, outputs * names.len()));
        let mut bias = Vec::with_capacity(outputs * names.len());
        for (mut columns, name) in weight.axis_chunks_iter_mut(Axis(1), outputs).zip(names) {
            let stored = weights.matrix(&format!("{name}.weight"), outputs, inputs)?;
            columns.assign(&stored.t());
            bias.extend(weights.vector(&format!("{name}.bias"), outputs)?);
        }
        Ok(Self { weight, bias })
    }

    /// Sets `output` to the result.
    fn apply(&self, input: &Array2<f32>, output: &mut Array2<f32>) {
        for mut row in output.rows_mut() {
            if let Some(row) = row.as_slice_mut() {
                row.copy_from_slice(&self.bias);
            }
        }
        general_mat_mul(1.0, input, &self.weight, 1.0, output);
    }
}

#[derive(Debug)]
struct Layer {
    query_key_value: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    outer_norm: LayerNorm,
}

/// An encoder with its weights.
#[derive(Debug)]
pub(crate) struct Bert {
    words: Table,
    /// Of each position, the kind of text added.
    positions: Array2<f32>,
    embedded_norm: LayerNorm,
    layers: Vec<Layer>,
    heads: usize,
    width: usize,
    inner: usize,
}

/// Room that all layers work in.
struct Room {
    query_key_value: Array2<f32>,
    attended: Array2<f32>,
    output: Array2<f32>,
    inner: Array2<f32>,
}

impl Bert {
    /// Reads the weights of a model.
    pub fn load(weights: Weights, model: &Model) -> Result<Self, TensorError> {
        let width = model.dims;
        let mut positions =
            weights.matrix("embeddings.position_embeddings.weight", POSITIONS, width)?;
        let kinds = weights.matrix("embeddings.token_type_embeddings.weight", KINDS, width)?;
        positions += &kinds.row(0);
        let norm = |name: &str| {
            Ok::<_, TensorError>(LayerNorm {
                scale: weights.vector(&format!("{name}.weight"), width)?,
                shift: weights.vector(&format!("{name}.bias"), width)?,
                eps: model.layer_norm_eps,
            })
        };
        let embedded_norm = norm("embeddings.LayerNorm")?;
        let mut layers = Vec::with_capacity(model.layers);
        for number in 0..model.layers {
            let part = |name: &str| format!("encoder.layer.{number}.{name}");
            let parts =
                ["query", "key", "value"].map(|name| part(&format!("attention.self.{name}")));
            let (inner, outer) = ([part("intermediate.dense")], [part("output.dense")]);
            let attended = [part("attention.output.dense")];
            layers.push(Layer {
                query_key_value: Linear::load(&weights, &parts, width, width)?,
                attended: Linear::load(&weights, &attended, width, width)?,
                attended_norm: norm(&part("attention.output.LayerNorm"))?,
                inner: Linear::load(&weights, &inner, width, model.inner)?,
                outer: Linear::load(&weights, &outer, model.inner, width)?,
                outer_norm: norm(&part("output.LayerNorm"))?,
            });
        }
        let words = "embeddings.word_embeddings.weight";
        Ok(Self {
            words: weights.into_table(words, model.vocabulary, width)?,
            positions,
            embedded_norm,
            layers,
            heads: model.heads,
            width,
            inner: model.inner,
        })
    }

    /// The last layer's rows, one for each token, those of all texts below each other.
    pub fn encode(&self, texts: &[&[u32]]) -> std::io::Result<Array2<f32>> {
        let mut rows = self.embed(texts)?;
        let count = rows.nrows();
        let mut room = Room {
            query_key_value: Array2::zeros((count, 3 * self.width)),
            attended: Array2::zeros((count, self.width)),
            output: Array2::zeros((count, self.width)),
            inner: Array2::zeros((count, self.inner)),
        };
        for layer in &self.layers {
            self.forward(layer, texts, &mut rows, &mut room);
        }
        Ok(rows)
    }

    fn embed(&self, texts: &[&[u32]]) -> std::io::Result<Array2<f32>> {
        let count = texts.iter().map(|text| text.len()).sum();
        let mut rows = Array2::zeros((count, self.width));
        let (mut word, mut bytes) = (Vec::new(), Vec::new());
        let tokens = texts.iter().flat_map(|text| text.iter().enumerate());
        for (mut row, (position, token)) in rows.rows_mut().into_iter().zip(tokens) {
            self.words.read(*token as usize, &mut word, &mut bytes)?;
            if let Some(row) = row.as_slice_mut() {
                row.copy_from_slice(&word);
            }
            row += &self.positions.row(position.min(POSITIONS - 1));
        }
        self.embedded_norm.apply(&mut rows);
        Ok(rows)
    }

    fn forward(&self, layer: &Layer, texts: &[&[u32]], rows: &mut Array2<f32>, room: &mut Room) {
        layer.query_key_value.apply(rows, &mut room.query_key_value);
        let mut start = 0;
        for text in texts {
            let part = Slice::from(start..start + text.len());
            start += text.len();
            let seen = room.query_key_value.slice_axis(Axis(0), part);
            let into = room.attended.slice_axis_mut(Axis(0), part);
            self.attend(seen, into);
        }
        layer.attended.apply(&room.attended, &mut room.output);
        *rows += &room.output;
        layer.attended_norm.apply(rows);
        layer.inner.apply(rows, &mut room.inner);
        if let Some(numbers) = room.inner.as_slice_mut() {
            gelu(numbers);
        }
        layer.outer.apply(&room.inner, &mut room.output);
        *rows += &room.output;
        layer.outer_norm.apply(rows);
    }

    /// Lets each token of one text look at all others, head by head.
    fn attend(&self, seen: ArrayView2<'_, f32>, mut into: ArrayViewMut2<'_, f32>) {
        let size = self.width / self.heads;
        let scale = 1.0 / (size as f32).sqrt();
        let mut scores = Array2::zeros((seen.nrows(), seen.nrows()));
        for head in 0..self.heads {
            let from = head * size;
            let part = |which: usize| {
                let from = which * self.width + from;
                seen.slice_axis(Axis(1), Slice::from(from..from + size))
            };
            general_mat_mul(1.0, &part(0), &part(1).t(), 0.0, &mut scores);
            softmax(&mut scores, scale);
            let mut into = into.slice_axis_mut(Axis(1), Slice::from(from..from + size));
            general_mat_mul(1.0, &scores, &part(2), 0.0, &mut into);
        }
    }
}

/// Positions that the family's models have learned.
const POSITIONS: usize = 512;
/// Kinds of text that they tell apart.
const KINDS: usize = 2;
